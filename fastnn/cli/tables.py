"""What commands do with tables: read them, name their target, show what is in their columns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import fastnn as fnn
from fastnn.cli.arguments import reading
from fastnn.cli.output import amount, short, show, write
from fastnn.core.hints import did_you_mean
from fastnn.tabular import Encoding, Table, TabularModel, Target, read
from fastnn.tabular.columns import listed
from fastnn.tabular.evaluation import Group
from fastnn.tabular.reading import SUFFIXES, digits
from fastnn.tabular.target import TASKS

MOST_COLUMNS = 100  # that are shown


def table_of(args: argparse.Namespace, target: str | None = None) -> Table:
    """Return the table that DATA names."""
    return digits() if args.data == "digits" else read(args.data, target=target, **reading(args))


def training_table(args: argparse.Namespace) -> tuple[Table, str]:
    """Return the table and the name of its target."""
    if args.data == "digits":
        misplaced = next((name for name in args.drop if name.lower().endswith(SUFFIXES)), None)
        if misplaced is not None:
            raise ValueError(f"--drop {misplaced}: DATA goes before the options")
        if args.target not in (None, "digit"):
            raise ValueError(f"--target {args.target}: the digits' target is 'digit'")
        return digits(), "digit"
    is_arrays = args.data.lower().endswith(".npz")
    target = args.target or ("y" if is_arrays else None)
    table = table_of(args, target)
    if target not in table.columns:
        hint = did_you_mean(target, map(str, table.columns)) if target else ""
        given = f"there is no {target!r}{hint}" if target else "--target is missing"
        what = "array" if is_arrays else "column"
        names = dict.fromkeys([*table.columns, *table.left_out])
        if is_arrays:
            names = dict.fromkeys(name.split("[")[0] for name in names)
        raise ValueError(
            f"{args.data}: {given}{' ' if hint else '; '}--target must name the {what} to predict; "
            f"there is {listed(names, 20)}"
        )
    assert target is not None
    if target in args.drop:
        raise ValueError(f"{table.where}cannot leave out {target!r}, which is the target")
    if args.group is not None and args.group in args.drop:
        args.drop.remove(args.group)  # it is no input anyway
    return table, target


def tabular_model(path: str) -> TabularModel:
    """Return the model of a file.

    Raises
    ------
    ValueError
        It does not take the columns of a table.
    """
    model = fnn.load(path)
    if not isinstance(model, TabularModel):
        raise ValueError(
            f"{path}: was not saved by `fastnn train`, so what its inputs are is not "
            "known; use fastnn.load in Python"
        )
    return model


def show_columns(encoding: Encoding) -> None:
    """Show what was decided for each column."""
    rows = []
    for one in encoding.decisions[:MOST_COLUMNS]:
        cardinality = encoding.columns[one.column].cardinality
        inputs = f"1 of {cardinality:,}" if cardinality else str(len(one.inputs))
        cells = [one.column, one.label, one.values, f"{one.missing:,}", inputs, one.reason]
        rows.append([_cut(cell) for cell in cells])
    write("\n")
    show(["column", "taken as", "values", "missing", "inputs", "why"], rows, (3, 4))
    more = len(encoding.decisions) - len(rows)
    write(f"and {amount(more, 'more column')}\n\n" if more else "\n")


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def described(target: Target, is_guess: bool) -> str:
    """Describe a target, with the option for the other task where the task had to be guessed."""
    other = TASKS[1 - TASKS.index(target.task)]
    hint = f" (for {other}: --task {other})" if is_guess else ""
    if target.classes is not None:
        return f"{target.name}, {len(target.classes)} classes{hint}"
    return f"{target.name}, numbers from {short(target.low)} to {short(target.high)}{hint}"


def show_scores(scores: dict[str, float], rows: int) -> None:
    """Show scores, and of how many rows they are."""
    made = [[name, score_as_text(name, value)] for name, value in scores.items()]
    show(["score", "value"], [*made, ["rows", f"{rows:,}"]], (1,))


def show_groups(name: str, groups: Sequence[Group]) -> None:
    """Show the scores of groups."""
    heads: list[str] = list(dict.fromkeys(key for group in groups for key in group.scores))
    rows = [
        [
            group.name,
            f"{group.rows:,}",
            *(score_as_text(head, group.scores.get(head)) for head in heads),
        ]
        for group in groups
    ]
    write("\n")
    show([name, "rows", *heads], rows, range(1, len(heads) + 2))


def score_as_text(name: str, value: float | None) -> str:
    """Return a score, the share of right classes in percent."""
    if value is None:
        return "-"
    return f"{value:.2%}" if name == "accuracy" else short(float(value))
