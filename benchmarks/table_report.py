"""The report of `benchmarks/tables.py`: a Markdown table for errors, and one for times.

The ratio of a side on a table is its mean error divided by that of the base, over the splits that
both have. A table is won with a ratio below 1. Where the base makes no error at all the ratio has
no value, and the table does not count for the means.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, median, stdev
from typing import Any

Record = dict[str, Any]
Runs = dict[str, dict[str, dict[int, Record]]]  # table: side: split


def arranged(records: Iterable[Record]) -> Runs:
    """The last record of each table, side and split; all must be of the same rows."""
    runs: Runs = {}
    for record in records:
        sides = runs.setdefault(record["table"], {})
        sides.setdefault(record["side"], {})[record["split"]] = record
    for table, sides in runs.items():
        data: dict[int, str] = {}
        for side, splits in sides.items():
            for number, record in splits.items():
                if data.setdefault(number, record["data"]) != record["data"]:
                    raise ValueError(
                        f"{table}, split {number}: {side} was measured on other rows than the rest"
                    )
    return runs


def ratio(splits: dict[int, Record], base: dict[int, Record]) -> float | None:
    """Mean error relative to the base's over shared splits; None if it has no value."""
    shared = splits.keys() & base.keys()
    theirs = sum(base[number]["error"] for number in shared)
    if not theirs:
        return None
    return sum(splits[number]["error"] for number in shared) / theirs


def standing(splits: dict[int, Record], base: dict[int, Record]) -> int:
    """-1 for clearly better than the base, 1 for clearly worse, 0 within noise.

    Clearly: the mean of the differences on shared splits is more than two standard errors from 0.
    Fewer than three splits are not enough for that. The splits overlap, so the standard error is
    too small rather than too large.
    """
    shared = splits.keys() & base.keys()
    if len(shared) < 3:
        return 0
    differences = [splits[number]["error"] - base[number]["error"] for number in shared]
    middle = mean(differences)
    if abs(middle) <= 2 * stdev(differences) / len(shared) ** 0.5:
        return 0
    return 1 if middle > 0 else -1


def report(records: Iterable[Record], tables: list[str], sides: list[str], base: str) -> str:
    """Markdown: errors with ratios and what they come to, then seconds."""
    runs = arranged(records)
    tables = [table for table in tables if table in runs]
    if not tables:
        return "No results."
    sides = [side for side in sides if any(side in runs[table] for table in tables)]
    # The base comes first, since the ratios beside it are relative to it.
    sides.sort(key=lambda side: side != base)
    parts = [_errors(runs, tables, sides, base), _summary(runs, tables, sides, base)]
    if times := _times(runs, tables, sides):
        parts.append(times)
    parts.append(_origin(runs))
    return "\n\n".join(parts)


def _rows(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table; columns after the first two are numbers, so they end on the right."""
    rule = ["---" if column < 2 else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _errors(runs: Runs, tables: list[str], sides: list[str], base: str) -> str:
    most = max(len(splits) for table in tables for splits in runs[table].values())

    def row(table: str) -> list[str]:
        found = runs[table]
        any_record = next(record for splits in found.values() for record in splits.values())
        ratios = {
            side: value
            for side in found.keys() & set(sides)
            if (value := ratio(found[side], found.get(base, {}))) is not None
        }
        best = min(ratios.values(), default=None)
        cells = []
        for side in sides:
            if side not in found:
                cells.append("")
                continue
            cell = f"{mean(each['error'] for each in found[side].values()):.4g}"
            if side in ratios and side != base:
                cell += f" ({ratios[side]:.3f})"
            if side in ratios and ratios[side] == best:
                cell = f"**{cell}**"
            if len(found[side]) < most:
                cell += f" [{len(found[side])}]"
            cells.append(cell)
        size = f"{any_record['rows']} x {any_record['columns']}"
        return [f"{table}, {size}", any_record["measure"], *cells]

    note = (
        f"Mean error over {most} splits; in parentheses the ratio to {base}; in brackets the "
        "number of splits where there are fewer. The lowest ratio is bold."
    )
    return note + "\n\n" + _rows(["Table", "Error", *sides], map(row, tables))


def _summary(runs: Runs, tables: list[str], sides: list[str], base: str) -> str:
    def row(side: str) -> list[str]:
        ratios = [
            value
            for table in tables
            if side in runs[table]
            and (value := ratio(runs[table][side], runs[table].get(base, {}))) is not None
        ]
        if not ratios:
            return [side, "0", "", "", "", ""]
        standings = [
            standing(runs[table][side], runs[table].get(base, {}))
            for table in tables
            if side in runs[table]
        ]
        won = sum(value < 1 for value in ratios)
        return [
            side,
            str(len(ratios)),
            f"{won} ({100 * won / len(ratios):.0f} %)",
            f"{standings.count(-1)} / {standings.count(1)}",
            f"{mean(ratios):.3f}",
            f"{median(ratios):.3f}",
        ]

    header = ["Side", "Tables", "Won", "Clearly better / worse", "Mean ratio", "Median ratio"]
    rows = [row(side) for side in sides if side != base]
    return f"Relative to {base}:\n\n" + _rows(header, rows)


def _times(runs: Runs, tables: list[str], sides: list[str]) -> str:
    """Median seconds of fits that had the machine to themselves; "" if there are none."""

    def seconds(table: str, side: str, what: str) -> str:
        timed = [each[what] for each in runs[table].get(side, {}).values() if each["timed"]]
        return f"{median(timed):.3g}" if timed else ""

    def cell(table: str, side: str) -> str:
        fit, predict = (seconds(table, side, f"{what}_seconds") for what in ("fit", "predict"))
        return f"{fit} + {predict}" if fit else ""

    rows = [[table, "", *(cell(table, side) for side in sides)] for table in tables]
    rows = [[row[0], *row[2:]] for row in rows if any(row[2:])]
    if not rows:
        return ""
    header = ["Table", *sides]
    rule = ["---", *("---:" for _ in sides)]
    lines = ["| " + " | ".join(row) + " |" for row in [header, rule, *rows]]
    return "Seconds to fit + to predict the held-out rows (medians):\n\n" + "\n".join(lines)


def _origin(runs: Runs) -> str:
    """The versions and the machines that the results are from."""
    versions, machines = set(), set()
    for sides in runs.values():
        for splits in sides.values():
            for record in splits.values():
                versions |= {f"{name} {version}" for name, version in record["versions"].items()}
                found = record["machine"]
                machines.add(
                    f"{found['processor']}, {found['processors']} processors, "
                    f"{found['threads']} thread{'s' * (found['threads'] > 1)}, "
                    f"Python {found['python']}"
                )
    return f"{', '.join(sorted(versions))}. {'; '.join(sorted(machines))}."
