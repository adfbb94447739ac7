"""What the commands print: labeled lines, tables, complaints, and numbers as text.

A reader that leaves, as `head` does, ends nothing: what is printed from then on is thrown away. An
output that is full is told of at the end, by `lost`.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from fastnn.core.printing import printable

LABEL = 13  # letters, with the space behind
_lost: list[OSError] = []


def write(text: str) -> None:
    """Print text, with escapes for letters that an old terminal does not have."""
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def write_data(text: str) -> None:
    """Print text for programs: UTF-8, whatever the terminal has."""
    if sys.stdout is None:
        return
    try:
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write(text)
        else:
            sys.stdout.flush()
            buffer.write(text.encode())
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def _give_up(error: OSError) -> None:
    """Throw away what is printed from now on."""
    if not isinstance(error, BrokenPipeError):
        _lost.append(error)
    _silence(sys.stdout)


def _silence(stream: Any) -> None:
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):  # a stream without a descriptor
        pass


def finish() -> None:
    """Print what the streams still hold; an error at the end would be the exit status."""
    write("")
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)


def lost() -> OSError | None:
    """Return why something that was printed was not taken, and forget it."""
    found = _lost[0] if _lost else None
    _lost.clear()
    return found


def complain(args: argparse.Namespace, text: str, status: int) -> int:
    """Print one line on stderr and return the exit status."""
    line = printable(" ".join(text.replace("error: path: ", "error: ").split()))
    if sys.stderr is not None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        line = line.encode(encoding, "backslashreplace").decode(encoding)
        try:
            print(f"fastnn {args.command}: {line}", file=sys.stderr, flush=True)
        except OSError:
            _silence(sys.stderr)
    return status


def reason(error: OSError) -> str:
    """Return which file the system refused, and why."""
    name = "" if error.filename is None else f"{error.filename}: "
    return f"{name}{error.strerror}" if error.strerror else str(error)


def say(label: str, text: str) -> None:
    """Print a line of the results, its label in a column of its own."""
    write(f"{label:<{LABEL}}{printable(text)}\n")


def show(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table: as wide as the screen if there is one and rich is installed, else as it is.

    Parameters
    ----------
    heads : sequence of str
    rows : sequence of sequences of str
    right : sequence of int
        The columns that are aligned on the right.
    """
    heads = list(map(printable, heads))
    rows = [list(map(printable, row)) for row in rows]
    drawn = _rich(heads, rows, right) if _is_screen() else None
    write(_plain(heads, rows, right) if drawn is None else drawn)


def _is_screen() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _plain(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    all_of = [heads, *rows]
    widths = [max(len(row[i]) for row in all_of) for i in range(len(heads))]
    lines = []
    for row in all_of:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _rich(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str | None:
    """Return the table as rich draws it, or None if it is not installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    table = Table(box=box.SIMPLE_HEAD if is_unicode else box.ASCII2, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a name are no markup
    text = io.StringIO()
    Console(file=text, width=_width()).print(table)
    return text.getvalue()


def _width() -> int:
    """Return how many letters a line of the screen holds."""
    return shutil.get_terminal_size().columns


def amount(count: int, what: str) -> str:
    """Return "1 row" or "1,200 rows"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def short(value: float, digits: int = 4) -> str:
    """Return a number with a few digits, without an exponent where one can read it so."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    if value.is_integer():
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def results_as_text(results: dict[str, float]) -> str:
    """Return "rmse 0.25, mae 0.4"."""
    return ", ".join(f"{name} {short(float(value))}" for name, value in results.items())
