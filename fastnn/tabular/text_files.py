"""Tables from text: encoding, separator, decimals, and rows that do not fit.

A text is read as a whole, with the csv module of Python: a row that has too few cells is then as
much an error as one that has too many (pandas fills the one and cuts the other), and what a column
is can be decided from its cells as they are written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from fastnn.core.formats import FormatError
from fastnn.tabular.cells import Cells, of_texts
from fastnn.tabular.columns import listed, shown
from fastnn.tabular.table import Table, check_unique

_SEPARATORS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_SAMPLE = 50  # lines
_LONGEST_CELL = 2 * 131_072 + 3  # characters of a cell in "...", each of them written twice
_LONGEST_LINE = 64 << 20  # characters; a line of single digits takes five times as much memory
_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def read_text(
    content: bytes, source: str, sep: str | None, decimal: str | None, encoding: str | None
) -> Table:
    """Return the columns of a text, each as text.

    Parameters
    ----------
    content : bytes
    source : str
        What it is called in messages.
    sep, decimal, encoding : str, optional
        See `reading.read`.

    Raises
    ------
    ValueError
        It is no table; the message names the line.
    """
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
            raise ValueError(f"{source}: is not text (there is a zero byte in it)")
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
        raise ValueError(f"{source}: is not text")
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


def _check_lines(text: str, source: str, longest: int) -> None:
    """Raise FormatError if a line is so long that its cells would fill the memory."""
    at = 0
    while len(text) - at > longest:
        ends = text.rfind("\n", at, at + longest), text.rfind("\r", at, at + longest)
        if max(ends) < 0:
            raise FormatError(
                f"{source}: there is a line of more than {longest:,} characters, too long for the "
                "columns that the first line names"
            )
        at = max(ends) + 1


def _rows_of(text: str, source: str, sep: str, skipped: int) -> tuple[list[str], list[list[str]]]:
    """Return the names and the rows, each of as many cells as there are names."""
    is_whole = text.endswith(("\n", "\r"))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=True, strict=True
    )
    names: list[str] = []
    rows: list[list[str]] = []
    _check_lines(text, source, _LONGEST_LINE)
    try:
        for names in reader:
            if names:
                break
        names = [name.strip() for name in names]
        if len(names) > 1 and not names[-1]:  # a separator at the end of each line
            names = _without_last(names, reader, rows, source)
        width = len(names)
        _check_lines(text, source, min(_LONGEST_LINE, width * _LONGEST_CELL))
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
