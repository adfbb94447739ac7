"""How well a model predicts rows of a known target: scores of all of them, and of groups."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.tabular import scores, texts
from fastnn.tabular.cells import Cells
from fastnn.tabular.columns import row_number, short
from fastnn.tabular.fitting import taken
from fastnn.tabular.scores import pinball
from fastnn.tabular.table import Table
from fastnn.tabular.tabular_model import TabularModel

FEW = 10  # different numbers up to which each is a group of its own
MOST = 8  # groups of categories; the others are one


@dataclass(frozen=True)
class Evaluation:
    """Predictions of rows whose target is known, and how good they are.

    Attributes
    ----------
    truth : ndarray, shape (rows,)
        Numbers of classes; or numbers in the target's unit.
    outputs : ndarray, shape (rows, classes) or (rows,)
        Probabilities; or numbers, of quantiles the one nearest to 1/2.
    predictions : ndarray, shape (rows,)
        Numbers of classes; or numbers.
    raw : ndarray, shape (rows, outputs)
        What the network returned.
    rows : ndarray of int, shape (rows,)
        Positions in the table; rows without a target are left out.
    scores : dict of str to float
        Those that are defined on these rows.
    """

    truth: np.ndarray
    outputs: np.ndarray
    predictions: np.ndarray
    raw: np.ndarray
    rows: np.ndarray
    scores: dict[str, float]

    def of(self, chosen: np.ndarray, task: str) -> dict[str, float]:
        """Return the scores of some of the rows, given as bool."""
        return scores.defined(
            task, self.truth[chosen], self.outputs[chosen], self.predictions[chosen]
        )


def evaluate(
    model: TabularModel, table: Table, y: Cells, *, outputs: np.ndarray | None = None
) -> Evaluation:
    """Predict rows and compare with their target.

    Parameters
    ----------
    model : TabularModel
    table : Table
    y : Cells, array, series or list, shape (rows,)
        Rows where it is missing are left out.
    outputs : ndarray, shape (rows, outputs), optional
        Of the network, if they are known already.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        No row has a target, or a class is one that the model does not know.
    """
    target = model.target
    present = target.present(y)
    rows = np.flatnonzero(present)
    if not len(rows):
        raise ValueError(f"{table.where}target {target.name!r}: every row is missing")
    known = table if present.all() else table.take(rows)
    y = y if present.all() else taken(y, rows)
    outputs = model.outputs(known) if outputs is None else outputs[rows]
    more = {}
    if target.classes is None:
        truth = target.numbers(y)
        check_numbers(truth, rows, table, target.name)
        numbers = model.decode(outputs)
        if numbers.ndim == 2:
            if model.quantiles:
                more["pinball"] = pinball(truth, numbers, model.quantiles)
            inside = (numbers[:, 0] <= truth) & (truth <= numbers[:, -1])
            more["coverage"] = float(inside.mean())
        found = predictions = model.middle(numbers)
    else:
        truth = target.encode(y, where=known.where, numbers=known.numbers)
        found, predictions = outputs, model.decisions(outputs)
    made = scores.defined(target.task, truth, found, predictions)
    return Evaluation(truth, found, predictions, outputs, rows, made | more)


def check_numbers(truth: np.ndarray, rows: np.ndarray, table: Table, name: str) -> None:
    """Raise ValueError where no error can be computed: a target is infinite, or its square is.

    Parameters
    ----------
    truth : ndarray, shape (rows,)
    rows : ndarray of int, shape (rows,)
        Their places in the table.
    table : Table
    name : str
        Of the target.
    """
    with np.errstate(over="ignore"):
        if np.isfinite(4 * np.square(truth).sum()):
            return
    largest = int(np.abs(truth).argmax())
    number = row_number(int(rows[largest]), table.numbers)
    what = "is too large" if np.isfinite(truth[largest]) else "is infinite"
    raise ValueError(
        f"{table.where}target {name!r}, row {number:,}: {what} ({truth[largest]:g}); "
        "expected finite numbers, of the size of those in training"
    )


@dataclass(frozen=True)
class Group:
    """Some of the rows.

    Attributes
    ----------
    name : str
    rows : int
    scores : dict of str to float
    """

    name: str
    rows: int
    scores: dict[str, float]


def by_group(evaluation: Evaluation, labels: Cells, task: str) -> list[Group]:
    """Return the scores of each group of rows.

    Parameters
    ----------
    evaluation : Evaluation
    labels : Cells, shape (rows of the table,)
        Numbers fall into four groups of the same size, if more than ten differ. Of categories the
        most frequent are groups, and the others one.
    task : {"classification", "regression"}
    """
    names, group = _groups(labels.take(evaluation.rows))
    made = []
    for number, name in enumerate(names):
        chosen = group == number
        if chosen.any():
            made.append(Group(name, int(chosen.sum()), evaluation.of(chosen, task)))
    return made


def _groups(cells: Cells) -> tuple[list[str], np.ndarray]:
    """Return names, and the number of the group of each row."""
    cells = _ordered(cells)
    missing, values = cells.missing, cells.values
    if cells.kind in ("number", "duration", "date") and len(np.unique(values[~missing])) > FEW:
        moments = values.astype(np.int64).astype(float) if cells.kind == "date" else values
        edges = np.unique(np.quantile(moments[~missing], [0.25, 0.5, 0.75], method="lower"))
        named = [_edge(edge, cells.kind) for edge in edges.tolist()]
        names = [f"up to {named[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(named))]
        names += [f"above {named[-1]}", "missing"]
        group = np.where(missing, len(names) - 1, np.searchsorted(edges, moments, side="left"))
        return names, group
    text = cells.as_text()
    counts = text.counts()
    order = np.argsort(-counts, kind="stable")
    kept = order[: MOST if len(order) > MOST + 1 else len(order)]
    place = np.full(len(counts) + 1, len(kept))
    place[kept] = np.arange(len(kept))
    place[-1] = len(kept) + 1
    others = len(order) - len(kept)
    names = [text.texts[i] for i in kept]
    return [*names, f"{others:,} others", "missing"], place[text.values]


def _edge(value: float, kind: str) -> str:
    if kind == "date":
        return str(np.datetime64(int(value), "us").astype("datetime64[D]"))
    return short(value)


def _ordered(cells: Cells) -> Cells:
    """Return text as the numbers or dates that it stands for, if it does, as columns are read."""
    if cells.kind != "text" or cells.is_category or texts.are_codes(cells.texts):
        return cells
    numbers = texts.read_numbers(cells.texts, cells.counts(), cells.decimal)
    if numbers is not None:
        return Cells("number", np.append(numbers.values, np.nan)[cells.values])
    dates = texts.read_dates(cells.texts, cells.counts())
    if dates is not None:
        return Cells("date", np.append(dates.values, np.datetime64("NaT", "us"))[cells.values])
    return cells


def as_table(rows: Sequence[Group]) -> tuple[list[str], list[list[Any]]]:
    """Return names of columns and cells, for a table that people read."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    cells = [[row.name, row.rows, *(row.scores.get(name) for name in names)] for row in rows]
    return ["group", "rows", *names], cells
