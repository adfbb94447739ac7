"""Predictions as columns of text, with the digits that tell them apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.tabular.intervals import Intervals
from fastnn.tabular.tabular_model import TabularModel
from fastnn.tabular.target import shown_classes


def answers(
    model: TabularModel,
    outputs: np.ndarray,
    *,
    probabilities: bool = False,
    coverage: float | None = None,
) -> dict[str, list[Any]]:
    """Return columns of predictions.

    Parameters
    ----------
    model : TabularModel
    outputs : ndarray, shape (rows, outputs)
        Of the network.
    probabilities : bool, default False
        Whether each class gets a column.
    coverage : float, optional
        Of an interval, which gets two columns.

    Returns
    -------
    dict of str to list
        Text, or classes as they were.

    Raises
    ------
    ValueError
        Probabilities of numbers, an interval of classes, or one that the model cannot tell.
    """
    target = model.target
    name = target.name
    if target.classes is not None:
        if coverage is not None:
            raise ValueError("an interval is of numbers, but the model predicts classes")
        made: dict[str, list[Any]] = {name: shown_classes(model.decode(outputs))}
        if probabilities:
            for place, one in enumerate(shown_classes(target.classes)):
                made[f"probability_{one}"] = [str(p) for p in outputs[:, place].astype(np.float32)]
        return made
    if probabilities:
        raise ValueError("the model predicts numbers, it has no classes")
    numbers = model.decode(outputs)
    steps = np.spacing(np.abs(outputs).astype(np.float32)) * target.scale
    step = steps.min(axis=1)
    made = {name: as_text(model.middle(numbers), step)}
    if numbers.ndim == 2:
        for level, column in zip(model.quantiles, numbers.T, strict=False):
            made[f"{name}_{level:g}"] = as_text(column, step)
    if coverage is not None:
        intervals = Intervals.from_file(model.attachments.get("intervals"))
        ends = intervals.around(numbers, coverage)
        made[f"{name}_low"] = as_text(ends[:, 0], step)
        made[f"{name}_high"] = as_text(ends[:, 1], step)
    return made


def as_text(numbers: np.ndarray, step: np.ndarray) -> list[str]:
    """Return numbers with as many digits as tell them from their neighbors.

    Parameters
    ----------
    numbers : ndarray of float64, shape (rows,)
    step : ndarray, shape (rows,)
        The smallest distance to another number that can occur.

    Examples
    --------
    >>> as_text(np.array([1e9 + 1 / 3, 0.1 + 0.2]), np.array([60.0, 1e-8]))
    ['1000000000', '0.3']
    """
    with np.errstate(divide="ignore"):
        places = np.ceil(-np.log10(step))
    digits = np.where(np.isfinite(places), places, 17).astype(np.int64) + 1
    made = []
    for number, place in zip(numbers.tolist(), digits.tolist(), strict=True):
        rounded = round(number, place)
        text = repr(rounded)
        made.append(text.removesuffix(".0"))
    return made
