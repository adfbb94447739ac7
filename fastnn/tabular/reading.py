"""Tables from files.

A file is read once and as a whole, and must not change meanwhile. Nothing in it is evaluated.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

from fastnn.core import extras
from fastnn.core.formats import FormatError, brief
from fastnn.tabular.npz_files import read_npz
from fastnn.tabular.table import Table, of
from fastnn.tabular.text_files import read_text
from fastnn.tabular.unpacking import PACKED, most, too_large, unpacked

TEXT = (".csv", ".tsv", ".txt")
ARROW = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
SUFFIXES = (*TEXT, *(text + packed for text in TEXT for packed in PACKED), *ARROW, ".npz")
_CELL = 8  # bytes of a number; Parquet packs equal ones to next to nothing
_MOST_CELLS = 2 << 30  # bytes that they may take in any case
_EXPECTED = (
    "expected .csv, .tsv or .txt (also with .gz, .bz2, .xz, .zst), .parquet, .feather, .arrow "
    "or .npz, or - for the standard input"
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
    >>> import pathlib, tempfile
    >>> from fastnn.tabular import read
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.csv"
    >>> _ = path.write_text("a;b\\n1,5;x\\n2,5;y\\n")
    >>> read(path).cells("b").texts
    ['x', 'y']
    """
    _check_options(sep, decimal, encoding)
    if str(path) == "-":
        return _read_stream(_standard_input(), "standard input", sep, decimal, encoding)
    if not os.fspath(path):
        raise ValueError(f"path: is empty; {_EXPECTED}")
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists() or path.is_dir():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path}: {what}; {_EXPECTED}")
    is_regular = stat.S_ISREG(path.stat().st_mode)
    if is_regular and suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file {suffix!r}; {_EXPECTED}")
    if suffix == ".npz":
        return read_npz(path, target)
    content = _content(path)
    if suffix in ARROW:
        return _read_arrow(content, str(path), suffix)
    if not is_regular:
        return _read_stream(content, str(path), sep, decimal, encoding)
    content = unpacked(content, str(path), path.suffix.lower())
    if sep is None and ".tsv" in suffix:
        sep = "\t"
    return read_text(content, str(path), sep, decimal, encoding)


def _check_options(sep: str | None, decimal: str | None, encoding: str | None) -> None:
    if sep is not None and (not isinstance(sep, str) or len(sep) != 1 or sep in '\r\n"'):
        raise ValueError(f"sep must be one character, got {sep!r}")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if encoding is not None:
        try:
            b"a".decode(encoding, "replace")
        except (LookupError, TypeError, ValueError) as error:
            # Some that Python has, such as idna, are not of files: ValueError.
            what = "is not of files" if isinstance(error, UnicodeError) else "is not known"
            raise ValueError(
                f"encoding {encoding!r} {what}; try 'utf-8', 'utf-16', 'latin-1' or 'cp1252'"
            ) from None


def _standard_input() -> bytes:
    """Return what comes from the standard input, which a shell may have closed."""
    try:
        if sys.stdin is None:
            raise ValueError("it is closed")
        return sys.stdin.buffer.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"standard input: cannot be read ({reason})") from None


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
    return read_text(unpacked(content, source, suffix), source, sep, decimal, encoding)


# --- Arrow ------------------------------------------------------------------------------------


def pyarrow_module() -> Any:
    """Return pyarrow; ImportError that names the extra if it is missing."""
    try:
        import pyarrow
    except ImportError:
        raise extras.missing("Parquet and Feather files need pyarrow", "table") from None
    return pyarrow


def _read_arrow(content: bytes, source: str, suffix: str) -> Table:
    pyarrow = pyarrow_module()
    what = "Parquet" if suffix in (".parquet", ".pq") else "Feather or Arrow"
    stream = pyarrow.BufferReader(content)
    if not content:
        raise ValueError(f"{source}: is empty; expected a {what} table")
    try:
        if what == "Parquet":
            from pyarrow import parquet

            file = parquet.ParquetFile(stream)
            size = file.metadata.num_rows * file.metadata.num_columns
            if size * _CELL > max(most(len(content)), _MOST_CELLS):
                raise too_large(source, len(content), "write it without repeated values packed")
            frame = file.read()
        elif content[:6] == b"ARROW1":
            frame = pyarrow.ipc.open_file(stream).read_all()
        elif content[:4] == b"FEA1":
            from pyarrow import feather

            frame = feather.read_table(stream)
        else:
            frame = pyarrow.ipc.open_stream(stream).read_all()
    except FormatError:
        raise
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        reason = brief(" ".join(str(error).split()))
        raise FormatError(f"{source}: is not a {what} table, or was cut: {reason}") from None
    if frame.num_rows == 0:
        raise ValueError(f"{source}: has columns but no rows")
    # pandas stores an index without a name under such a name: numbers of rows, as a rule.
    nameless = [n for n in frame.column_names if re.fullmatch(r"__index_level_\d+__|Unnamed: 0", n)]
    made = of(frame, source=source)
    left_out = [f"{name}, the index" for name in nameless]
    table = made.without(*nameless)
    return Table(table.columns, table.rows, source, left_out=left_out)
