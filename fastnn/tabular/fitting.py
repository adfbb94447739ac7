"""From a table to a model that takes tables: encoding, target, and the networks between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.tabular import recipes
from fastnn.tabular.cells import WrongCell
from fastnn.tabular.columns import listed, shown
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.learning import Learned, chosen_scores, learn
from fastnn.tabular.plan import Progress, planned
from fastnn.tabular.recipes import Recipe, Task
from fastnn.tabular.sources import cells_of
from fastnn.tabular.table import Table, of
from fastnn.tabular.tabular_model import TabularModel
from fastnn.tabular.target import Target


@dataclass
class Fitted:
    """A model of a table, and how it was learned.

    Attributes
    ----------
    model : TabularModel
    learned : Learned
    truth : ndarray, shape (rows,)
        The encoded targets of the rows that were learned.
    rows : ndarray of int, shape (rows,)
        Their numbers in the table; rows without a target, or of weight 0, are left out.
    """

    model: TabularModel
    learned: Learned
    truth: np.ndarray
    rows: np.ndarray


def fit(
    data: Any,
    y: Any,
    *,
    task: str = "auto",
    recipe: Any = None,
    members: int | None = None,
    metric: str = "auto",
    class_weight: Any = None,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    quantiles: Iterable[float] = (),
    drop: Iterable[str] = (),
    kinds: Mapping[str, Any] | None = None,
    time_budget: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    name: str = "y",
) -> Fitted:
    """Learn a table.

    Parameters
    ----------
    data : Table, frame, array, dict of columns, or list of dicts
        Without the target.
    y : Cells, array, series or list, shape (rows,)
        Rows where it is missing are left out.
    task : {"auto", "classification", "regression"}, default "auto"
        See `Target.fit`.
    recipe : str, Recipe or dict, optional
        The name of a recipe, a recipe, or its ``config()``; default: `RealMLP()`.
    members, metric, time_budget, seed, progress, stop
        See `learn`. The time budget counts from here, the encoding included.
    class_weight : dict or "balanced", optional
        Weight of the rows of each class; "balanced": inversely to how often it occurs.
    sample_weight : array_like, shape (rows,), optional
        At least 0. A row of weight 0 is left out, as if it were not in the table.
    groups : array or series, shape (rows,), optional
        Rows of equal groups are held out together; one whose group is missing is one of its own.
    quantiles : iterable of float, optional
        Of numbers, in (0, 1): one output each instead of the mean.
    drop, kinds
        See `Encoding.fit`.
    name : str, default "y"
        Of the target, in messages.

    Returns
    -------
    Fitted

    Raises
    ------
    TypeError, ValueError
        Data or an argument do not fit; the message names it.
    """
    began = time.perf_counter()
    made = recipes.get(recipes.AUTO if recipe is None or recipe == "auto" else recipe)
    assert isinstance(made, Recipe)
    levels = _levels(quantiles)
    if members is not None:
        members = checks.integer("members", members)
    if time_budget is not None:
        time_budget = checks.number("time_budget", time_budget, is_positive=True)
    seed = checks.integer("seed", seed, least=0)
    table = data if isinstance(data, Table) else of(data)
    if not hasattr(y, "__len__"):
        raise TypeError(f"y must be an array, series or list of targets, got {y!r}")
    if len(y) != table.rows:
        raise ValueError(f"y must have a target for each of the {table.rows} rows, got {len(y)}")
    weight = _row_weights(sample_weight, table.rows)
    codes = None if groups is None else group_codes(groups, table.rows)
    rows = np.arange(table.rows)
    if weight is not None and not weight.all():
        rows = np.flatnonzero(weight)
        table, y = table.take(rows), taken(y, rows)
    target = Target.fit(y, task, name=name, where=table.where, numbers=table.numbers)
    classes = 0 if target.classes is None else len(target.classes)
    if levels and classes:
        raise ValueError("quantiles are of numbers, but the target has classes")
    if class_weight is not None and metric == "auto":
        metric = "log_loss"  # the area under the curve does not see the weight of a class
    present = target.present(y)
    if not present.all():
        kept = np.flatnonzero(present)
        table, y, rows = table.take(kept), taken(y, kept), rows[kept]
    truth = target.encode(y, where=table.where, numbers=table.numbers)
    if class_weight is not None:
        of_class = weights_of_classes(target, truth, class_weight)[truth]
        weight = of_class if weight is None else weight[rows] * of_class
    elif weight is not None:
        weight = weight[rows]
    like = Task(1, 0, [], classes=classes, quantiles=levels)  # before the columns are known
    chosen_scores(metric, like)
    planned(made, like, len(rows), members)
    encoding = Encoding.fit(table, drop=drop, kinds=kinds, numbers=made.scaling)
    if progress is not None:
        progress.encoded(encoding, target)
    learned = learn(
        encoding.encode(table),
        truth,
        Task(
            encoding.numbers,
            encoding.flags,
            encoding.cardinalities,
            classes=classes,
            quantiles=levels,
        ),
        recipe=made,
        members=members,
        metric=metric,
        weight=None if weight is None else _of_mean_one(weight),
        groups=None if codes is None else codes[rows],
        scale=target.scale,
        time_budget=time_budget,
        seed=seed,
        progress=progress,
        stop=stop,
        began=began,
    )
    attachments = {"quantiles": list(levels)} if levels else None
    model = TabularModel(learned.model, encoding, target, attachments)
    model.threshold = learned.threshold
    return Fitted(model, learned, truth, rows)


def _levels(quantiles: Iterable[float]) -> tuple[float, ...]:
    """Check quantiles."""
    try:
        levels = tuple(float(q) for q in quantiles)
    except (TypeError, ValueError):
        raise ValueError(
            f"quantiles must be numbers between 0 and 1, ascending, got {quantiles!r}"
        ) from None
    if any(not 0 < q < 1 for q in levels) or list(levels) != sorted(set(levels)):
        raise ValueError(
            f"quantiles must be different numbers between 0 and 1, ascending, got {levels}"
        )
    return levels


def taken(y: Any, rows: np.ndarray) -> Any:
    """Return some rows of a target, whatever it is.

    Parameters
    ----------
    y : Cells, array, series or list, shape (rows,)
    rows : ndarray of int
    """
    if hasattr(y, "iloc"):
        return y.iloc[rows]
    if hasattr(y, "gather"):  # Polars
        return y.gather(rows)
    if hasattr(y, "take"):
        return y.take(rows)
    if hasattr(y, "__array__"):
        return np.asarray(y)[rows]
    return [y[row] for row in rows.tolist()]


def _row_weights(sample_weight: Any, rows: int) -> np.ndarray | None:
    """Check the weights of rows."""
    if sample_weight is None:
        return None
    try:
        weight = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"sample_weight must hold a number for each row, got {shown(sample_weight)}"
        ) from None
    if weight.shape != (rows,):
        raise ValueError(f"sample_weight must have shape ({rows},), got {weight.shape}")
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"sample_weight, row {row + 1:,}: expected a finite number of at least 0, "
            f"got {weight[row]:g}"
        )
    if not weight.any():
        raise ValueError("sample_weight must have a positive sum over the rows, got 0")
    return weight / weight.max()  # so that sums and products are finite


def _of_mean_one(weight: np.ndarray) -> np.ndarray:
    """Return weights as float32 whose mean is 1: only their ratios matter, not their unit."""
    weight = weight / weight.max()
    return (weight / weight.mean()).astype(np.float32)


def group_codes(groups: Any, rows: int) -> np.ndarray:
    """Return the groups of rows as numbers; a row whose group is missing is one of its own.

    Parameters
    ----------
    groups : Cells, array, series or list, shape (rows,)
    rows : int
        How many there must be.

    Returns
    -------
    ndarray of int64, shape (rows,)

    Raises
    ------
    ValueError
        They have another shape, or a cell is nothing that a table can hold.
    """
    shape = getattr(groups, "shape", (0,))
    if not hasattr(groups, "__len__") or isinstance(groups, str) or len(shape) != 1:
        raise ValueError(f"groups must have shape (rows,), got {shown(groups)}")
    if len(groups) != rows:
        raise ValueError(f"groups must have a group for each of the {rows} rows, got {len(groups)}")
    try:
        cells = cells_of(groups)
    except WrongCell as error:
        raise ValueError(f"groups, row {error.row + 1:,}: {error.what}") from None
    codes = cells.as_text().values.astype(np.int64)
    alone = np.flatnonzero(cells.missing)
    codes[alone] = -1 - np.arange(len(alone))
    return codes


def weights_of_classes(target: Target, truth: np.ndarray, class_weight: Any) -> np.ndarray:
    """Return the weight of each class.

    Parameters
    ----------
    target : Target
    truth : ndarray of int, shape (rows,)
    class_weight : dict or "balanced"
        Classes that a dict lacks have weight 1.

    Raises
    ------
    ValueError
        It is for numbers, a class is not known, or it is something else.
    """
    if target.classes is None:
        raise ValueError("class_weight is for classes, but the target is numbers")
    count = len(target.classes)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(truth, minlength=count)  # 0 in a fold without a rare class
        return len(truth) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be 'balanced' or a dict, got {class_weight!r}")
    weights = np.ones(count)
    for one, value in class_weight.items():
        try:
            place = int(target.encode([one])[0])
        except ValueError:
            raise ValueError(
                f"class_weight: {one!r} is no class of the target: {listed(target.classes)}"
            ) from None
        weights[place] = checks.number(f"class_weight of {one!r}", value, least=0)
    if not weights.any():
        raise ValueError("class_weight must be above 0 for at least one class, got only 0")
    return weights
