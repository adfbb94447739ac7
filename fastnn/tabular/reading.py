"""Tables from files.

A text file is read once, as a whole, with the csv module of Python: a row that has too few cells
is then as much an error as one that has too many (pandas fills the one and cuts the other), and
what a column is can be decided from its cells as they are written. Nothing in a file is evaluated.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.core import extras
from fastnn.tabular.cells import Cells, of_texts
from fastnn.tabular.columns import listed, shown
from fastnn.tabular.table import Table, check_unique, of

TEXT = (".csv", ".tsv", ".txt")
PACKED = (".gz", ".bz2", ".xz", ".zst")
ARROW = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
SUFFIXES = (*TEXT, *(text + packed for text in TEXT for packed in PACKED), *ARROW, ".npz")
_EXPECTED = (
    "expected .csv, .tsv or .txt (also with .gz, .bz2, .xz, .zst), .parquet, .feather, .arrow "
    "or .npz, or - for the standard input"
)
_SEPARATORS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_SAMPLE = 50  # lines
_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def digits() -> Table:
    """Return the embedded digits as a table; the target is called "digit"."""
    from fastnn import datasets

    x, y = datasets.load_digits()
    columns = {f"pixel_{i}": x[:, i] for i in range(x.shape[1])}
    return Table({**columns, "digit": y}, len(x), "digits", has_names=False)


def read(
    path: str | os.PathLike,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    target: str | None = None,
) -> Table:
    """Read a table.

    Parameters
    ----------
    path : path-like
        A text file with names in its first line: ``.csv``, ``.tsv``, ``.txt``, also packed
        (``.gz``, ``.bz2``, ``.xz``, ``.zst``); ``.parquet``, ``.feather``, ``.arrow``; ``.npz``;
        or "-", the standard input, which is text or Parquet. A pipe is read like a file.
    sep : str, optional
        What separates the cells of a text file; default: found in it (comma, semicolon, tab, |).
    decimal : {".", ","}, optional
        How numbers are written; default: found in the cells.
    encoding : str, optional
        Of a text file; default: UTF-8, what a byte-order mark says, or else Windows-1252.
    target : str, optional
        The array of a ``.npz`` that is not the inputs.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it cannot be read as a table. The message names the line.
    ImportError
        pyarrow is missing; the message names the extra to install.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastnn.tabular import read
    >>> path = os.path.join(tempfile.mkdtemp(), "data.csv")
    >>> _ = open(path, "w").write("a;b\\n1,5;x\\n2,5;y\\n")
    >>> read(path).cells("b").texts
    ['x', 'y']
    """
    _check_options(sep, decimal, encoding)
    if str(path) == "-":
        return _read_stream(sys.stdin.buffer.read(), "standard input", sep, decimal, encoding)
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists() or path.is_dir():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path}: {what}; {_EXPECTED}")
    is_regular = stat.S_ISREG(path.stat().st_mode)
    if is_regular and suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file {suffix!r}; {_EXPECTED}")
    if suffix == ".npz":
        return _read_npz(path, target)
    content = _content(path)
    if suffix in ARROW:
        return _read_arrow(content, str(path), suffix)
    if not is_regular:
        return _read_stream(content, str(path), sep, decimal, encoding)
    content = _unpacked(content, str(path), path.suffix.lower())
    if sep is None and ".tsv" in suffix:
        sep = "\t"
    return _read_text(content, str(path), sep, decimal, encoding)


def _check_options(sep: str | None, decimal: str | None, encoding: str | None) -> None:
    if sep is not None and (not isinstance(sep, str) or len(sep) != 1 or sep in '\r\n"'):
        raise ValueError(f"sep must be one character, got {sep!r}")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if encoding is not None:
        try:
            b"a".decode(encoding, "replace")
        except (LookupError, TypeError):
            raise ValueError(
                f"encoding {encoding!r} is not known; try 'utf-8', 'utf-16', 'latin-1' or 'cp1252'"
            ) from None


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() + suffix if suffix in PACKED else suffix


def _content(path: Path) -> bytes:
    """Return what is in a file, which must not change meanwhile."""
    with open(path, "rb") as file:
        before = os.fstat(file.fileno())
        content = file.read()
        after = os.fstat(file.fileno())
    if stat.S_ISREG(before.st_mode):
        is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not is_same or len(content) != after.st_size:
            raise ValueError(
                f"{path}: changed while it was read ({before.st_size:,} bytes, then "
                f"{after.st_size:,}); try again once it is written"
            )
    return content


def _unpacked(content: bytes, source: str, suffix: str) -> bytes:
    """Return what is in a packed file."""
    cut = f"{source}: ends in the middle of its packed data; it was cut: copy or download it again"
    try:
        if suffix == ".gz":
            return gzip.decompress(content)
        if suffix == ".bz2":
            return _all_of(bz2.BZ2Decompressor(), content, cut)
        if suffix == ".xz":
            return _all_of(lzma.LZMADecompressor(), content, cut)
        if suffix == ".zst":
            return _unpacked_zstandard(content, source)
    except EOFError:
        raise ValueError(cut) from None
    except (OSError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{source}: is not a whole {suffix} file ({error})") from None
    return content


def _all_of(decompressor: Any, content: bytes, cut: str) -> bytes:
    parts = []
    while content:
        parts.append(decompressor.decompress(content))
        if not decompressor.eof:
            raise ValueError(cut)
        content = decompressor.unused_data
        decompressor = type(decompressor)()
    return b"".join(parts)


def _unpacked_zstandard(content: bytes, source: str) -> bytes:
    pyarrow = _pyarrow("reading .zst")
    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd") as stream:
            return bytes(stream.read())
    except (OSError, ValueError) as error:
        raise ValueError(f"{source}: is not a whole .zst file ({error})") from None


def _read_stream(
    content: bytes, source: str, sep: str | None, decimal: str | None, encoding: str | None
) -> Table:
    """Return a table from a pipe, whose first bytes say what it is."""
    if content[:4] == b"PAR1":
        return _read_arrow(content, source, ".parquet")
    if content[:6] == b"ARROW1":
        return _read_arrow(content, source, ".feather")
    magic = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
    suffix = next((suffix for head, suffix in magic.items() if content.startswith(head)), "")
    return _read_text(_unpacked(content, source, suffix), source, sep, decimal, encoding)


# --- text -------------------------------------------------------------------------------------


def _read_text(
    content: bytes, source: str, sep: str | None, decimal: str | None, encoding: str | None
) -> Table:
    if not content.strip():
        raise ValueError(f"{source}: is empty; expected column names in the first line")
    notes: list[str] = []
    text = _decoded(content, source, encoding, notes)
    first, _, rest = text.partition("\n")
    if (told := re.fullmatch(r"\s*\"?sep=(.)\"?\s*", first, re.IGNORECASE)) is not None:
        text, sep = rest, sep or told[1]
        skipped = 1
    else:
        skipped = 0
    if sep is None:
        sep = _separator_in(text)
    names, rows = _rows_of(text, source, sep, skipped)
    del text
    if not rows:
        raise ValueError(f"{source}: has column names but no rows")
    notes += _notes_on(names, sep)
    by_column: Sequence[tuple[str, ...]] = list(zip(*rows, strict=True))
    mark = decimal or _decimal_in(by_column, sep)
    columns: dict[str, Cells] = {}
    nameless = []
    check_unique([name or object() for name in names], f"{source}: ")
    for i, (name, cells) in enumerate(zip(names, by_column, strict=True)):
        if name:
            columns[name] = of_texts(cells, decimal=mark)
        else:
            nameless.append(f"column {i + 1}, which has no name")
    if not columns:
        raise ValueError(f"{source}: the first line holds no column name")
    return Table(columns, len(rows), source, left_out=nameless, notes=notes)


def _notes_on(names: Sequence[str], sep: str) -> list[str]:
    made = []
    if sep != ",":
        made.append(f"cells are separated by {_SEPARATORS.get(sep, repr(sep))}")
    if names and all(re.fullmatch(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", name) for name in names):
        made.append(
            f"the first line, {listed(names, 3)}, holds numbers; it was taken as column names"
        )
    return made


def _decoded(content: bytes, source: str, encoding: str | None, notes: list[str]) -> str:
    """Return the text of a file."""
    mark = next((name for head, name in _ENCODINGS if content.startswith(head)), None)
    guess = encoding or mark
    if guess is None and b"\0" in content[:4096]:
        head = content[:4096]
        odd, even = head[1::2].count(0), head[::2].count(0)
        if max(odd, even) > 0.4 * len(head) / 2 and min(odd, even) == 0:
            guess = "utf-16-le" if odd else "utf-16-be"
        else:
            raise ValueError(f"{source}: is not text (there is a zero byte in it); {_EXPECTED}")
    try:
        if encoding is not None and encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            guess = "utf-8-sig"
        return content.decode(guess or "utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at {error.start:,}"
        if guess is not None:
            cut = " (the file may be cut)" if error.end >= len(content) - 3 else ""
            raise ValueError(
                f"{source}: is not {guess} text: {byte}{cut}; say which encoding it has, "
                "such as latin-1 or cp1252"
            ) from None
    except UnicodeError as error:
        raise ValueError(f"{source}: is not {guess} text: {error}") from None
    if sum(one < 9 or 13 < one < 32 for one in content[:4096]) > 0.02 * len(content[:4096]):
        raise ValueError(f"{source}: is not text; {_EXPECTED}")
    notes.append("the text is not UTF-8; it was read as Windows-1252 (the option encoding says it)")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:  # five bytes have no meaning there
        return content.decode("latin-1")


def _separator_in(text: str) -> str:
    """Return the separator by which the first lines fall into the same number of cells."""
    lines = text[:200_000].splitlines(keepends=True)
    if len(text) > 200_000:
        lines = lines[:-1] or lines
    lines = lines[:_SAMPLE]
    best, most = ",", (False, 1)
    for sep in _SEPARATORS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=sep) if row]
        except csv.Error:
            continue
        if counts and counts[0] > 1:
            is_even = sum(count == counts[0] for count in counts) > 0.9 * len(counts)
            if (is_even, counts[0]) > most:
                best, most = sep, (is_even, counts[0])
    return best


def _rows_of(text: str, source: str, sep: str, skipped: int) -> tuple[list[str], list[list[str]]]:
    """Return the names and the rows, each of as many cells as there are names."""
    is_whole = text.endswith(("\n", "\r"))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=True, strict=True
    )
    names: list[str] = []
    rows: list[list[str]] = []
    try:
        for names in reader:
            if names:
                break
        names = [name.strip() for name in names]
        if len(names) > 1 and not names[-1]:  # a separator at the end of each line
            names = _without_last(names, reader, rows, source)
        width = len(names)
        for row in reader:
            if len(row) != width:
                if not row or not any(map(str.strip, row)):
                    if width > 1:
                        continue
                    row = [""]
                else:
                    raise _ragged(source, reader.line_num + skipped, row, width, text, is_whole)
            rows.append(row)
    except csv.Error as error:
        line = reader.line_num + skipped
        reason = str(error)
        if "unexpected end of data" in reason:
            reason = 'a cell that begins with " is never closed; the file may be cut'
        elif "field larger" in reason:
            reason = 'a cell of more than 131,072 characters; is a " never closed?'
        elif "expected after" in reason:
            reason = f'after a cell in "..." comes something else than {shown(sep)}'
        raise ValueError(f"{source}: line {line:,}: {reason}") from None
    while width == 1 and rows and rows[-1] == [""]:
        rows.pop()
    return names, rows


def _without_last(names: list[str], reader: Any, rows: list[list[str]], source: str) -> list[str]:
    """Return the names without the last, empty one, if the rows have nothing there either."""
    rest = [row for row in reader if row]
    if all(len(row) in (len(names), len(names) - 1) and not (row[len(names) - 1 :] or [""])[0]
           for row in rest):  # fmt: skip
        rows += [row[: len(names) - 1] for row in rest]
        return names[:-1]
    wrong = next((row for row in rest if len(row) != len(names)), None)
    if wrong is not None:
        raise ValueError(
            f"{source}: the row that begins with {shown(wrong[0])} has {len(wrong)} cells, "
            f"the first line has {len(names)}"
        )
    rows += rest
    return names


def _ragged(
    source: str, line: int, row: Sequence[str], width: int, text: str, is_whole: bool
) -> ValueError:
    cells = f"{len(row)} cell{'s' * (len(row) != 1)}"
    lines = text.count("\n") + (not text.endswith("\n"))
    is_last = line >= lines
    if len(row) < width and is_last and not is_whole:
        hint = "; it is the last line: the file was cut, or is still being written"
    elif len(row) > width:
        hint = '; a cell that holds the separator must stand in "..."'
    else:
        hint = ""
    return ValueError(f"{source}: line {line:,} has {cells}, the first line has {width}{hint}")


_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
_THREE = re.compile(r"\s*[-+]?\d{1,3},\d{3}\s*")
_POINT = re.compile(r"\s*[-+]?\d*\.(?:\d{1,2}|\d{4,})\s*")


def _decimal_in(columns: Sequence[Sequence[str]], sep: str) -> str:
    """Return what stands before the decimals where a cell does not tell by itself."""
    if sep == ",":
        return "."
    commas = points = 0
    for column in columns:
        for cell in column[:200]:
            commas += bool(_COMMA.fullmatch(cell)) and not _THREE.fullmatch(cell)
            points += bool(_POINT.fullmatch(cell))
    return "," if commas > points else "."


# --- Arrow ------------------------------------------------------------------------------------


def _pyarrow(need: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise extras.missing(f"{need} needs pyarrow", "table") from None
    return pyarrow


def _read_arrow(content: bytes, source: str, suffix: str) -> Table:
    pyarrow = _pyarrow(f"reading {suffix}")
    what = "Parquet" if suffix in (".parquet", ".pq") else "Feather or Arrow"
    stream = pyarrow.BufferReader(content)
    if not content:
        raise ValueError(f"{source}: is empty; expected a {what} table")
    try:
        if what == "Parquet":
            from pyarrow import parquet

            frame = parquet.ParquetFile(stream).read()
        elif content[:6] == b"ARROW1":
            frame = pyarrow.ipc.open_file(stream).read_all()
        elif content[:4] == b"FEA1":
            from pyarrow import feather

            frame = feather.read_table(stream)
        else:
            frame = pyarrow.ipc.open_stream(stream).read_all()
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source}: is not a {what} table, or was cut: {reason}") from None
    if frame.num_rows == 0:
        raise ValueError(f"{source}: has columns but no rows")
    # pandas stores an index without a name under such a name: numbers of rows, as a rule.
    nameless = [n for n in frame.column_names if re.fullmatch(r"__index_level_\d+__|Unnamed: 0", n)]
    made = of(frame, source=source)
    left_out = [f"{name}, the index" for name in nameless]
    table = made.without(*nameless)
    return Table(table.columns, table.rows, source, left_out=left_out)


# --- NumPy ------------------------------------------------------------------------------------


def _read_npz(path: Path, target: str | None) -> Table:
    arrays = _arrays_in(path)
    name = _inputs_among(path, arrays, target)
    x = arrays[name]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: array {name!r} must hold numbers of shape (rows, columns), "
            f"got {x.dtype} of shape {x.shape}"
        )
    x = x.reshape(len(x), -1)
    columns = {f"{name}[{i}]": x[:, i] for i in range(x.shape[1])}
    if target is not None and target in arrays:
        y = arrays[target]
        if y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(f"{path}: array {target!r} must have shape ({len(x)},), got {y.shape}")
        columns[target] = y.reshape(-1)
    unused = tuple(array for array in arrays if array not in (name, target))
    return Table(columns, len(x), str(path), has_names=False, left_out=unused)


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file, by name."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: is not a .npz file; numpy.savez(path, x=..., y=...) writes one")
    try:
        # allow_pickle=False is the default, and explicit here: a file must not run anything.
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy passes on whatever its parsers raise for a damaged file
        reason = " ".join(str(error).split())
        if "allow_pickle" in reason:
            reason = "it holds Python objects; save arrays of numbers"
        raise ValueError(f"{path}: cannot be read: {reason}") from None
    # NumPy returns members that are not arrays as bytes; they are of no use here.
    return {name: part for name, part in members.items() if isinstance(part, np.ndarray)}


def _inputs_among(path: Path, arrays: dict[str, np.ndarray], target: str | None) -> str:
    """Return the name of the array that holds the inputs: "x", or the only one there is."""
    others = [name for name in arrays if name != target]
    if "x" not in others and len(others) != 1:
        raise ValueError(f"{path}: expected the inputs as array 'x', there is {listed(arrays)}")
    return "x" if "x" in others else others[0]
