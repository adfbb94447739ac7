"""Which columns a model needs: by how much its score falls if the cells of one are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.tabular import scores
from fastnn.tabular.cells import Cells
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
    y : Cells or array_like, shape (rows,)
        Rows where it is missing are left out.
    metric : str, default "auto"
        See `fastnn.tabular.scores`.
    repeats : int, default 5
    seed : int, default 0

    Returns
    -------
    Importance
    """
    repeats = checks.integer("n_repeats", repeats)
    table = data if isinstance(data, Table) else of(data)
    target = model.target
    score = scores.get(metric, target.task, 0 if target.classes is None else len(target.classes))
    present = np.flatnonzero(target.present(y))
    x = model.encoding.encode(table)[present]
    truth: np.ndarray
    if target.classes is None:
        truth = target.numbers(y)[present]
    else:
        known = y.take(present) if isinstance(y, Cells) else np.asarray(y, object)[present]
        truth = target.encode(known)

    def scored(inputs: np.ndarray) -> float:
        outputs = np.asarray(model.model.predict(inputs))
        if target.classes is None:
            found = model.decode(outputs)
            outputs = found if found.ndim == 1 else found[:, found.shape[1] // 2]
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
