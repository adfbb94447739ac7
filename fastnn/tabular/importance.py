"""Which columns a model needs: by how much its score falls if the cells of one are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.tabular.calibration import decided
from fastnn.tabular.evaluation import check_numbers
from fastnn.tabular.fitting import taken
from fastnn.tabular.learning import chosen_scores
from fastnn.tabular.recipes import Task
from fastnn.tabular.table import Table, of
from fastnn.tabular.tabular_model import TabularModel


@dataclass(frozen=True)
class Importance:
    """The importance of columns, the largest first.

    Attributes
    ----------
    columns : list of str
    mean, std : ndarray of float64, shape (columns,)
        Of the loss of score over the repetitions.
    metric : str
    score : float
        With all columns as they are.
    """

    columns: list[str]
    mean: np.ndarray
    std: np.ndarray
    metric: str
    score: float

    def __str__(self) -> str:
        width = max(len(name) for name in self.columns)
        pairs = zip(self.columns, self.mean, self.std, strict=True)
        lines = [f"{name:{width}}  {mean:8.4f} ± {std:.4f}" for name, mean, std in pairs]
        return "\n".join([f"{self.metric} {self.score:.4f}; without a column it loses", *lines])


def permutation(
    model: TabularModel,
    data: Any,
    y: Any,
    *,
    metric: str = "auto",
    repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """Return the importance of each column (Breiman 2001).

    Parameters
    ----------
    model : TabularModel
    data : Table, frame, array, dict of columns, or list of dicts
        Rows that were not trained on.
    y : array_like, shape (rows,)
        Rows where it is missing are left out.
    metric : str, default "auto"
        See `fastnn.tabular.scores`; of a model of quantiles, their pinball loss.
    repeats : int, default 5
    seed : int, default 0

    Returns
    -------
    Importance

    Raises
    ------
    ValueError
        There is a class that the model does not know, no row with a target, or the metric is not
        defined for these rows, such as the area under the curve of rows of one class.
    """
    repeats = checks.integer("n_repeats", repeats)
    target = model.target
    classes = 0 if target.classes is None else len(target.classes)
    quantiles = model.quantiles
    task = Task(model.encoding.inputs, 0, [], classes=classes, quantiles=quantiles)
    score, _ = chosen_scores(metric, task)
    table = data if isinstance(data, Table) else of(data)
    if len(y) != table.rows:
        raise ValueError(f"y must have a target for each of the {table.rows} rows, got {len(y)}")
    present = target.present(y)
    if not present.any():
        raise ValueError("y: every target is missing")
    x = model.encoding.encode(table)[present]
    y = y if present.all() else taken(y, np.flatnonzero(present))
    if target.classes is None:
        truth = target.numbers(y)
        check_numbers(truth, np.flatnonzero(present), table, target.name)
    else:
        numbers = table.numbers if table.numbers is not None else np.arange(1, table.rows + 1)
        truth = target.encode(y, where=table.where, numbers=numbers[present])
    if not score.is_defined(truth, classes=classes):
        missing = "of all classes" if score.needs_every else "that differ"
        raise ValueError(f"metric {score.name!r} needs rows {missing} in y; choose another")

    def scored(inputs: np.ndarray) -> float:
        outputs = np.asarray(model.model.predict(inputs))
        if target.classes is None:
            found = model.decode(outputs)
            return score(truth, found.reshape(len(found), -1) if quantiles else found)
        if score.of_decisions and model.threshold != 0.5:
            outputs = decided(outputs, model.threshold)
        return score(truth, outputs)

    whole = scored(x)
    generator = np.random.default_rng(seed)
    losses = {}
    for column, places in model.encoding.groups.items():
        found = []
        for _ in range(repeats):
            mixed = x.copy()
            mixed[:, places] = x[generator.permutation(len(x))][:, places]
            found.append(scored(mixed))
        lost = whole - np.array(found) if score.is_better_high else np.array(found) - whole
        losses[column] = lost.mean(), lost.std()
    order = sorted(losses, key=lambda column: -losses[column][0])
    means, deviations = zip(*(losses[column] for column in order), strict=True)
    return Importance(order, np.array(means), np.array(deviations), score.name, whole)
