"""Tables from files: what is found in them, and that errors name file, line and cure."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import zipfile

import numpy as np
import pytest

from fastnn.tabular import Encoding, read, reading

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")

TOWNS = ["Köln", "Nara", "Oslo"]


def frame(rows=60):
    g = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "size": g.normal(50, 10, rows),
            "rooms": g.integers(1, 6, rows),
            "garden": g.random(rows) > 0.5,
            "town": [TOWNS[i % 3] for i in range(rows)],
            "price": g.normal(1e6, 1e5, rows),
        }
    )


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def savez(path, **arrays):
    np.savez(path, **arrays)
    return path


def texts(table, name):
    cells = table.cells(name)
    return [cells.texts[code] if code >= 0 else None for code in cells.values]


def pack(text, suffix):
    data = text.encode()
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    return packed[suffix](data) if suffix else data


PLAIN = "a,b\n1,x\n2,y\n"


@pytest.mark.parametrize("suffix", ["", *reading.PACKED])
@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt"])
def test_text_files_also_packed(tmp_path, kind, suffix):
    text = PLAIN.replace(",", "\t") if kind == ".tsv" else PLAIN
    if suffix == ".zst":
        path = tmp_path / f"t{kind}.zst"
        with pyarrow.CompressedOutputStream(str(path), "zstd") as out:
            out.write(text.encode())
    else:
        path = write(tmp_path / f"t{kind}{suffix}", pack(text, suffix))
    table = read(path)
    assert (table.rows, texts(table, "a"), texts(table, "b")) == (2, ["1", "2"], ["x", "y"])


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_files_of_arrow_are_as_csv(tmp_path, kind):
    original = frame()
    original.to_csv(tmp_path / "t.csv", index=False)
    getattr(original, f"to_{kind}")(tmp_path / f"plain.{kind}")
    nullable = {"town": "category", "rooms": "Int64", "garden": "boolean"}
    getattr(original.astype(nullable), f"to_{kind}")(tmp_path / f"nullable.{kind}")
    cells = read(tmp_path / "t.csv")
    encoding = Encoding.fit(cells)
    for name in ("plain", "nullable"):
        other = read(tmp_path / f"{name}.{kind}")
        np.testing.assert_array_equal(encoding.encode(other), encoding.encode(cells))
        np.testing.assert_array_equal(Encoding.fit(other).encode(other), encoding.encode(cells))


def test_arrow_streams(tmp_path):
    table = pyarrow.table({"a": [1, 2]})
    with pyarrow.ipc.new_stream(str(tmp_path / "t.arrow"), table.schema) as out:
        out.write_table(table)
    assert read(tmp_path / "t.arrow").cells("a").values.tolist() == [1, 2]


def test_index_of_a_frame_is_kept_or_said(tmp_path):
    plain = pandas.DataFrame({"a": [1, 2]}, index=[5, 7])
    plain.to_parquet(tmp_path / "plain.parquet")
    table = read(tmp_path / "plain.parquet")
    assert list(table.columns) == ["a"]
    assert table.left_out == ("__index_level_0__, the index",)
    plain.rename_axis("year").to_parquet(tmp_path / "named.parquet")
    assert list(read(tmp_path / "named.parquet").columns) == ["a", "year"]


@pytest.mark.parametrize("content", [PLAIN.encode(), pack(PLAIN, ".gz")], ids=["text", "gz"])
def test_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read("-")
    assert table.source == "standard input"
    assert texts(table, "b") == ["x", "y"]


def test_parquet_from_standard_input(monkeypatch, tmp_path):
    frame().to_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read("-").rows == 60


def test_fifo(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(PLAIN,))
    writer.start()
    assert texts(read(path), "a") == ["1", "2"]
    writer.join()


# --- how a text is written --------------------------------------------------------------------

SEPARATED = {
    "semicolon": ("a;b\n1,5;x\n2,25;y\n", ";"),
    "tab": ("a\tb\n1,5\tx\n2,25\ty\n", "a tab"),
    "bar": ("a|b\n1.5|x\n2.25|y\n", "'|'"),
    "said in the first line": ("sep=;\na;b\n1,5;x\n2,25;y\n", ";"),
    "quoted": ('"a";"b"\n"1,5";"x"\n"2,25";"y"\n', ";"),
}


@pytest.mark.parametrize("name", SEPARATED)
def test_separator_is_found(tmp_path, name):
    text, said = SEPARATED[name]
    table = read(write(tmp_path / "t.csv", text))
    encoding = Encoding.fit(table, kinds={"a": "number"})
    assert (encoding.columns["a"].low, encoding.columns["a"].high) == (1.5, 2.25)
    assert said in table.notes[0]


def test_first_line_may_say_a_comma(tmp_path):
    table = read(write(tmp_path / "t.csv", "sep=,\n" + PLAIN))
    assert texts(table, "b") == ["x", "y"]


def test_groups_or_decimals_are_told_by_the_file(tmp_path):
    """1,234 is a thousand in a file of commas, and 1.234 units in one with decimal commas."""
    german = "a;b\n" + "".join(f"{i},{i:03d};{i},5\n" for i in range(1, 9))
    columns = Encoding.fit(read(write(tmp_path / "g.csv", german))).columns
    assert columns["a"].high == 8.008
    english = "a;b\n" + "".join(f'"{i},{i:03d}";{i}.5\n' for i in range(1, 9))
    columns = Encoding.fit(read(write(tmp_path / "e.csv", english))).columns
    assert columns["a"].high == 8008
    columns = Encoding.fit(read(tmp_path / "e.csv", decimal=",")).columns
    assert columns["a"].high == 8.008


def test_separator_and_decimal_can_be_said(tmp_path):
    table = read(write(tmp_path / "t.csv", "a:b\n1:x\n"), sep=":")
    assert texts(table, "b") == ["x"]
    for wrong, message in (
        ({"sep": ""}, "sep must be one character, got ''"),
        ({"decimal": ";"}, "decimal must be '.' or ','"),
        ({"encoding": "utf9"}, "encoding 'utf9' is not known; try 'utf-8'"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "t.csv", **wrong)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encoding_is_found(tmp_path, encoding):
    text = "größe,ort\n" + "1,Köln\n2,Gießen\n" * 20
    table = read(write(tmp_path / "t.csv", text, encoding))
    assert list(table.columns) == ["größe", "ort"]
    assert texts(table, "ort")[:2] == ["Köln", "Gießen"]
    assert bool(table.notes) == (encoding == "cp1252")
    if encoding == "cp1252":
        assert "not UTF-8; it was read as Windows-1252" in table.notes[0]


def test_encoding_can_be_said(tmp_path):
    path = write(tmp_path / "t.csv", "имя,b\n1,2\n", "cp1251")
    assert list(read(path, encoding="cp1251").columns) == ["имя", "b"]
    with pytest.raises(ValueError, match=r"t.csv: is not utf-8-sig text: byte 0x.*latin-1 or cp12"):
        read(path, encoding="utf-8")


def test_quoted_cells_spaces_and_empty_lines(tmp_path):
    text = 'a, b\r\n1, "x, ""y"""\r\n\r\n2,"two\nlines"\r\n'
    table = read(write(tmp_path / "t.csv", text))
    assert list(table.columns) == ["a", "b"]
    assert texts(table, "b") == ['x, "y"', "two\nlines"]


def test_separator_at_the_end_of_each_line(tmp_path):
    table = read(write(tmp_path / "t.csv", "a,b,\n1,x,\n2,y\n"))
    assert list(table.columns) == ["a", "b"]
    assert texts(table, "b") == ["x", "y"]


def test_only_an_empty_cell_is_missing_in_text(tmp_path):
    table = read(write(tmp_path / "t.csv", "a,b\nNA,1\nNone,\n,2\nnull,NA\n"))
    assert texts(table, "a") == ["NA", "None", None, "null"]
    encoding = Encoding.fit(table)
    assert encoding.columns["a"].known == ["NA", "None", "null"]
    assert (encoding.columns["b"].kind, encoding.columns["b"].missing) == ("number", 2)


def test_nameless_columns_are_left_out(tmp_path):
    frame(5).to_csv(tmp_path / "with_index.csv")
    table = read(tmp_path / "with_index.csv")
    assert list(table.columns) == list(frame(5).columns)
    assert table.left_out == ("column 1, which has no name",)


def test_a_first_line_of_numbers_is_said(tmp_path):
    table = read(write(tmp_path / "t.csv", "5.1,3.5\n4.9,3.0\n"))
    assert "first line, '5.1', '3.5', holds numbers" in table.notes[0]


# --- what is wrong with a file ----------------------------------------------------------------

WRONG_FILES = {
    "empty.csv": ("", "is empty; expected column names in the first line"),
    "blank.csv": ("\n \n", "is empty"),
    "header.csv": ("a,b\n", "has column names but no rows"),
    "long.csv": ("a,b\n1,2\n1,2,3\n", r"line 3 has 3 cells, the first line has 2; a cell that hol"),
    "all_long.csv": ("a,b\n1,2,3\n1,2,3\n", "line 2 has 3 cells, the first line has 2"),
    "short.csv": ("a,b,c\n1,2,3\n1,2\n1,2,3\n", "line 3 has 2 cells, the first line has 3$"),
    "short_after_sep.csv": ("sep=,\na,b,c\n1,2\n1,2,3\n", "line 3 has 2 cells"),
    "cut.csv": ("a,b,c\n1,2,3\n1,2", "line 3 has 2 cells.*the file was cut, or is still being"),
    "quote.csv": ('a,b\n"1,2\n', 'line 2: a cell that begins with " is never closed; the file may'),
    "after.csv": ('a,b\n"1"x,2\n', 'line 2: after a cell in "..." comes something else than \',\''),
    "binary.csv": (bytes(range(256)) * 9, "is not text"),
    "control.csv": (bytes([1, 2, 3, 200]) * 99, "is not text"),
    "utf16.csv": ("a,b\n1,2\n".encode("utf-16")[:-1], "is not utf-16 text.*the file may be cut"),
    "twice.csv": ("y,v,y\n1,2,3\n", "columns 1 and 3 are both called 'y'"),
    "twice_nameless.csv": (",v,w,v\n1,2,3,4\n", "columns 2 and 4 are both called 'v'"),
    "no_names.csv": (",\n1,2\n", "line"),
    "cut.csv.gz": (pack(PLAIN * 99, ".gz")[:-20], "ends in the middle of its packed data; it was"),
    "cut.csv.bz2": (pack(PLAIN * 99, ".bz2")[:-20], "ends in the middle of its packed data"),
    "cut.csv.xz": (pack(PLAIN * 99, ".xz")[:-20], "ends in the middle of its packed data"),
    "no.csv.gz": ("hello", "is not a whole .gz file"),
    "no.csv.zst": ("hello", "is not a whole .zst file"),
    "no.parquet": ("hello", "is not a Parquet table, or was cut"),
    "empty.parquet": ("", "is empty"),
    "no.feather": ("hello", "is not a Feather or Arrow table"),
    "no.npz": ("hello", "is not a .npz file"),
    "empty.npz": ("", "is not a .npz file"),
    "other.xlsx": ("", "unknown kind of file '.xlsx'; expected .csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_file(tmp_path, name):
    content, message = WRONG_FILES[name]
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_and_missing_file(tmp_path):
    (tmp_path / "a.csv").mkdir()
    for name, what in (("a.csv", "is a folder"), ("b.csv", "does not exist")):
        with pytest.raises(FileNotFoundError, match=what):
            read(tmp_path / name)


def test_parquet_without_rows_and_with_repeated_names(tmp_path):
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": pyarrow.array([], "int64")}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: has columns but no rows"):
        read(tmp_path / "a.parquet")
    twice = pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"])
    parquet.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: columns 1 and 2 are both called 'a'"):
        read(tmp_path / "b.parquet")


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv", PLAIN)
    sizes = iter([0, 4])
    fstat = os.fstat

    def growing(descriptor):
        with open(path, "a") as more:
            more.write("3,z\n"[: next(sizes, 0)])
        return fstat(descriptor)

    monkeypatch.setattr(reading.os, "fstat", growing)
    with pytest.raises(ValueError, match=r"t\.csv: changed while it was read \(12 bytes, then 16"):
        read(path)


def test_without_pyarrow(tmp_path, monkeypatch):
    frame(5).to_parquet(tmp_path / "t.parquet")
    frame(5).to_csv(tmp_path / "t.csv", index=False)
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"files need pyarrow.*fastnn-cpu\[table\]"):
        read(tmp_path / "t.parquet")
    assert Encoding.fit(read(tmp_path / "t.csv")).inputs


# --- arrays -----------------------------------------------------------------------------------


def test_npz(tmp_path):
    x = np.arange(24.0).reshape(4, 3, 2)
    table = read(savez(tmp_path / "a.npz", images=x, label=np.arange(4)), target="label")
    assert list(table.columns) == [f"images[{i}]" for i in range(6)] + ["label"]
    np.testing.assert_array_equal(table.cells("images[5]").values, x[:, 2, 1])
    assert not table.has_names


WRONG_ARRAYS = {
    "objects": ({"x": np.array([[{}]], object)}, "Python objects"),
    "no_x": ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "expected the inputs as array 'x'"),
    "text": ({"x": np.array([["a"]])}, "must hold numbers"),
    "flat": ({"x": np.ones(3)}, r"shape \(rows, columns\)"),
    "short": ({"x": np.ones((3, 2)), "y": np.ones(2)}, r"'y' must have shape \(3,\), got \(2,\)"),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_wrong_arrays(tmp_path, name):
    arrays, message = WRONG_ARRAYS[name]
    with pytest.raises(ValueError, match=message):
        read(savez(tmp_path / "a.npz", **arrays), target="y")


def test_damaged_npz(tmp_path):
    content = io.BytesIO()
    np.savez_compressed(content, x=np.arange(4000.0).reshape(-1, 2))
    data = bytearray(content.getvalue())
    data[200:260] = bytes(60)
    with pytest.raises(ValueError, match="cannot be read"):
        read(write(tmp_path / "a.npz", bytes(data)))


def test_npz_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    evil = f"cposix\nsystem\n(S'touch {ran}'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", evil)
    with pytest.raises(ValueError, match="expected the inputs"):
        read(tmp_path / "a.npz")
    assert not ran.exists()
