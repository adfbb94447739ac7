"""What the commands print: labeled lines, complaints, and numbers as text."""

from __future__ import annotations

import argparse
import math
import sys


def complain(args: argparse.Namespace, text: str, status: int) -> int:
    """Print one line on stderr and return the exit status."""
    line = " ".join(text.replace("error: path: ", "error: ").split())
    print(f"fastnn {args.command}: {line}", file=sys.stderr)
    return status


def say(label: str, text: str) -> None:
    """Print a line of the results, its label in a column of its own."""
    line = f"{label:<10}{text}"
    encoding = sys.stdout.encoding or "utf-8"  # a name must not end a training on an old terminal
    print(line.encode(encoding, "backslashreplace").decode(encoding))


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
    """Return "mse 0.25, mae 0.4"."""
    return ", ".join(f"{name} {short(value)}" for name, value in results.items())


def method(optimizer: str, rate: float | None, batch: int | None) -> str:
    """Return "adam 0.001, batch 64"."""
    rows = "all rows" if batch is None else f"batch {batch}"
    return f"{optimizer}{'' if rate is None else f' {rate:g}'}, {rows}"
