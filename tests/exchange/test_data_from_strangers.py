"""Tables from strangers: packed files that unpack to gigabytes, false sizes, endless lines."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import fastnn as fnn
from fastnn.tabular import read, unpacking

MB = 1 << 20
SLOW = pytest.mark.slow


def npz(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def array_file(array, **changes):
    """Return the bytes of a .npy file whose header says something else."""
    header = np.lib.format.header_data_from_array_1_0(array) | changes
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + array.tobytes()


X = np.arange(12.0).reshape(4, 3)
ARRAYS = {
    "a shape of 10**12": ("x.npy", array_file(X, shape=(10**12, 3))),
    "a shape of 2**70": ("x.npy", array_file(X, shape=(2**70,))),
    "a shape that wraps": ("x.npy", array_file(X, shape=(2**32, 2**32, 12))),
    "a negative shape": ("x.npy", array_file(X, shape=(-4, -3))),
    "a smaller shape": ("x.npy", array_file(X, shape=(4, 2))),
    "a dtype of objects": ("x.npy", array_file(X, descr="|O")),
    "a dtype of 10**9 letters": ("x.npy", array_file(X, descr="<U1000000000")),
    "an unknown dtype": ("x.npy", array_file(X, descr="<q77")),
    "a dtype of fields of objects": ("x.npy", array_file(X, descr=[("a", "|O")])),
    "code for a header": ("x.npy", array_file(X).replace(b"'fortran_order': False", b"1+f(): 2")),
    "half": ("x.npy", array_file(X)[:90]),
    "an escape sequence in its name": ("\x1b[2J.npy", array_file(X, shape=(10**12, 3))),
    "a name of a megabyte": ("n" * 60_000 + ".npy", array_file(X, shape=(10**12, 3))),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_not_what_they_say(name, tmp_path):
    member, content = ARRAYS[name]
    path = npz(tmp_path / "a.npz", {member: content})
    with pytest.raises(fnn.FormatError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 600


def test_an_array_that_is_not_wanted_is_not_unpacked(tmp_path):
    damaged = bytearray(array_file(np.arange(1000.0)))
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", array_file(X))
        file.writestr("other.npy", bytes(damaged))
        file.writestr("y.npy", array_file(np.arange(4)))
    content = bytearray(path.read_bytes())
    content[content.index(array_file(np.arange(1000.0))[-64:])] ^= 1  # its checksum is wrong
    path.write_bytes(content)
    table = read(path, target="y")
    assert list(table.columns) == ["x[0]", "x[1]", "x[2]", "y"]
    assert table.left_out == ("other",)


def zeros_in_zip(path, size):
    header = array_file(np.zeros((0, 4)), shape=(size // 32, 4))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as part:
        part.write(header)
        for _ in range(size // MB):
            part.write(bytes(MB))
    return path


PACKERS = {
    "a.csv.gz": gzip.compress,
    "a.csv.bz2": bz2.compress,
    "a.csv.xz": lzma.compress,
}
READING = """
import resource, sys
import fastnn as fnn
from fastnn.tabular import read
import csv, gzip, bz2, lzma, zipfile, numpy, pyarrow
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read(sys.argv[1])
except fnn.FormatError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def peak_of(path):
    """Return how many bytes it takes to refuse a file, and the message."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    found = subprocess.run(
        [sys.executable, "-P", "-c", READING, str(path)],
        capture_output=True, text=True, timeout=100, preexec_fn=limit, check=True,
    )  # fmt: skip
    size, _, message = found.stdout.partition(" ")
    return int(size) * 1024, message


def test_a_small_file_of_numbers_that_unpacks_to_gigabytes(tmp_path):
    path = zeros_in_zip(tmp_path / "a.npz", 120 * MB)
    assert path.stat().st_size < MB
    peak, message = peak_of(path)
    assert peak < 64 * MB
    assert "write it with numpy.savez, which does not pack" in message


@pytest.mark.parametrize(
    "name", ["a.csv.gz", *(pytest.param(f"a.csv.{one}", marks=SLOW) for one in ("bz2", "xz"))]
)
def test_a_small_text_that_unpacks_to_gigabytes(name, tmp_path):
    path = tmp_path / name
    part = PACKERS[name](b"1,2\n" * MB)
    path.write_bytes(PACKERS[name](b"a,b\n") + part * 40)
    assert path.stat().st_size < MB
    peak, message = peak_of(path)
    assert "unpack it first" in message
    assert peak < 3 * unpacking.most(path.stat().st_size)


@pytest.mark.parametrize("name", PACKERS)
def test_texts_that_are_packed_well_are_read(name, tmp_path):
    path = tmp_path / name
    text = b"a,b\n" + b"1,2\n" * 20_000
    path.write_bytes(PACKERS[name](text))
    assert len(text) > 50 * path.stat().st_size
    assert read(path).rows == 20_000
    path.write_bytes(PACKERS[name](text[:2000]) + PACKERS[name](text[2000:]))  # two, one behind
    assert read(path).rows == 20_000
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(fnn.FormatError, match=r"it was cut|is not a whole"):
        read(path)


def test_a_packed_file_that_asks_for_memory_to_unpack_it(tmp_path, monkeypatch):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4 * MB}]  # to pack takes ten times as much
    monkeypatch.setattr(unpacking, "_XZ_MEMORY", 2 * MB)
    path = tmp_path / "a.csv.xz"
    path.write_bytes(lzma.compress(b"a,b\n1,2\n", filters=filters))
    with pytest.raises(fnn.FormatError, match=r"is not a whole .xz file"):
        read(path)


LINES = {
    "a row behind a quote": b'a,b\n"",' + b"1," * (33 * MB),
    "names": b"a," * (40 * MB),
}


@pytest.mark.parametrize("name", ["a row behind a quote", pytest.param("names", marks=SLOW)])
def test_a_line_without_an_end_takes_little_more_than_its_text(name, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(LINES[name])
    peak, message = peak_of(path)
    assert "there is a line of more than" in message
    assert peak < 5 * len(LINES[name]) + 32 * MB


def test_names_and_cells_that_are_whole_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n" * 100_000 + ",b\n1,2\n")
    with pytest.raises(ValueError, match="the name of column 1 has 100,000 letters") as caught:
        read(path)
    assert len(str(caught.value)) < 300
    path.write_text("a\x1b[2J,a\x1b[2J\n1,2\n")
    with pytest.raises(ValueError, match=re.escape("both called 'a\\x1b[2J'")):
        read(path)
    path.write_bytes(b"a,b\n1," + b"x" * 200_000 + b"\n")
    with pytest.raises(ValueError, match="more than 131,072 characters"):
        read(path)
    path.write_bytes(b"a,b\n1,\x002\n")
    with pytest.raises(ValueError, match="zero byte"):
        read(path)
    path.write_bytes(b"a,b\n" + b"1,2\n" * 3000 + b"\x00,2\n")
    read(path)  # a cell like any other
