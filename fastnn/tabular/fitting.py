"""From a table to a model that takes tables: encoding, target, and the networks between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.tabular import recipes, scores
from fastnn.tabular.calibration import best_threshold
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.learning import Learned, Progress, learn
from fastnn.tabular.recipes import Recipe, Task
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
        Their numbers in the table; rows without a target are left out.
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
    members, metric, groups, time_budget, seed, progress, stop
        See `learn`.
    class_weight : dict or "balanced", optional
        Weight of the rows of each class; "balanced": inversely to how often it occurs.
    sample_weight : ndarray, shape (rows,), optional
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
    table = data if isinstance(data, Table) else of(data)
    if len(y) != table.rows:
        raise ValueError(f"y must have a target for each of the {table.rows} rows, got {len(y)}")
    made = recipes.get("realmlp" if recipe is None or recipe == "auto" else recipe)
    assert isinstance(made, Recipe)
    levels = _levels(quantiles)
    target = Target.fit(y, task, name=name, where=table.where)
    if levels and target.classes is not None:
        raise ValueError("quantiles are of numbers, but the target has classes")
    present = target.present(y)
    rows = np.flatnonzero(present)
    known = table if present.all() else table.take(present)
    truth = target.encode(y if present.all() else _taken(y, rows))
    encoding = Encoding.fit(known, drop=drop, kinds=kinds, numbers=made.scaling)
    if progress is not None:
        progress.encoded(encoding, target)
    classes = 0 if target.classes is None else len(target.classes)
    task_of = Task(
        encoding.numbers, encoding.flags, encoding.cardinalities, classes=classes, quantiles=levels
    )
    if class_weight is not None and metric == "auto":
        metric = "log_loss"  # the area under the curve does not see the weight of a class
    learned = learn(
        encoding.encode(known),
        truth,
        task_of,
        recipe=made,
        members=members,
        metric=metric,
        weight=_weights(target, truth, class_weight, sample_weight, rows),
        groups=None if groups is None else np.asarray(groups)[rows],
        scale=target.scale,
        time_budget=time_budget,
        seed=seed,
        progress=progress,
        stop=stop,
    )
    model = TabularModel(learned.model, encoding, target)
    if classes == 2 and learned.score.of_decisions:
        found = ~np.isnan(learned.out_of_fold[:, 0])
        model.threshold = best_threshold(learned.out_of_fold[found], truth[found], learned.score)
    return Fitted(model, learned, truth, rows)


def _levels(quantiles: Iterable[float]) -> tuple[float, ...]:
    """Check quantiles."""
    levels = tuple(float(q) for q in quantiles)
    if any(not 0 < q < 1 for q in levels) or list(levels) != sorted(set(levels)):
        raise ValueError(
            f"quantiles must be different numbers between 0 and 1, ascending, got {levels}"
        )
    return levels


def _taken(y: Any, rows: np.ndarray) -> Any:
    """Return some rows of a target, whatever it is."""
    if hasattr(y, "iloc"):
        return y.iloc[rows]
    if hasattr(y, "take"):
        return y.take(rows)
    if hasattr(y, "__array__"):
        return np.asarray(y)[rows]
    return [y[row] for row in rows.tolist()]


def _weights(
    target: Target, truth: np.ndarray, class_weight: Any, sample_weight: Any, rows: np.ndarray
) -> np.ndarray | None:
    """Return the weight of each row that is learned, or None."""
    weight = None
    if sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64)
        if weight.ndim != 1 or (len(rows) and len(weight) <= rows[-1]):
            raise ValueError(f"sample_weight must have shape (rows,), got {weight.shape}")
        weight = weight[rows]
    if class_weight is not None:
        of_class = weights_of_classes(target, truth, class_weight)[truth]
        weight = of_class if weight is None else weight * of_class
    return None if weight is None else weight.astype(np.float32)


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
        return len(truth) / (count * np.bincount(truth, minlength=count))
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be 'balanced' or a dict, got {class_weight!r}")
    weights = np.ones(count)
    for one, value in class_weight.items():
        weights[int(target.encode([one])[0])] = float(value)
    return weights


def score_of(fitted: Fitted, name: str = "auto") -> float:
    """Return a score of the out-of-fold predictions, in the target's unit."""
    target = fitted.model.target
    classes = 0 if target.classes is None else len(target.classes)
    return fitted.learned.scores[scores.get(name, target.task, classes).name]
