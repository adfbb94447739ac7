"""Predictions as columns of text, with the digits that tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from fastnn.tabular.class_labels import shown_classes
from fastnn.tabular.intervals import Intervals
from fastnn.tabular.tabular_model import TabularModel


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name for a column that is not taken yet.

    Examples
    --------
    >>> free_name("row", ["row", "row_2"])
    'row_3'
    """
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def renamed(wanted: str, name: str) -> str:
    """Return that a column is called otherwise, as people read it."""
    return f"the column {wanted!r} is called {name!r}, because another one has its name"


def names_of(
    model: TabularModel,
    *,
    probabilities: bool = False,
    interval: bool = False,
    taken: Iterable[str] = (),
) -> list[tuple[str, str]]:
    """Return what the columns of predictions would be called, and what they are called.

    Both are the same unless a name is taken: by the target, by another column, or as told.

    Parameters
    ----------
    model : TabularModel
    probabilities, interval : bool, default False
        Whether they get columns.
    taken : iterable of str, optional
        Names of other columns.

    Returns
    -------
    list of (str, str)
        The target, then the columns that are added.
    """
    target = model.target
    wanted: list[str] = []
    if target.classes is not None:
        if probabilities:
            wanted = [f"probability_{one}" for one in shown_classes(target.classes)]
    else:
        levels = model.quantiles if len(model.quantiles) > 1 else ()  # one is the prediction
        wanted = [f"{target.name}_{level:g}" for level in levels]
        if interval:
            wanted += [f"{target.name}_low", f"{target.name}_high"]
    pairs = [(target.name, target.name)]
    used = {*taken, target.name}
    for one in wanted:
        pairs.append((one, free_name(one, used)))
        used.add(pairs[-1][1])
    return pairs


def answers(
    model: TabularModel,
    outputs: np.ndarray,
    *,
    probabilities: bool = False,
    coverage: float | None = None,
    taken: Iterable[str] = (),
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
    taken : iterable of str, optional
        Names that the columns cannot have; see `names_of`.

    Returns
    -------
    dict of str to list
        Text, or classes as they were; the target's column is the first.

    Raises
    ------
    ValueError
        Probabilities of numbers, an interval of classes, or one that the model cannot tell.
    """
    target = model.target
    pairs = names_of(model, probabilities=probabilities, interval=coverage is not None, taken=taken)
    names = [name for _, name in pairs]
    if target.classes is not None:
        if coverage is not None:
            raise ValueError("an interval is of numbers, but the model predicts classes")
        made: list[list[Any]] = [shown_classes(model.decode(outputs))]
        if probabilities:
            made += [[str(p) for p in column] for column in outputs.T.astype(np.float32)]
        return dict(zip(names, made, strict=True))
    if probabilities:
        raise ValueError("the model predicts numbers, it has no classes")
    numbers = model.decode(outputs)
    steps = np.spacing(np.abs(outputs).astype(np.float32)) * target.scale
    step = steps.min(axis=1)
    made = [as_text(model.middle(numbers), step)]
    if numbers.ndim == 2:
        made += [as_text(one, step) for one in numbers.T[: len(model.quantiles)]]
    if coverage is not None:
        intervals = Intervals.from_file(model.attachments.get("intervals"))
        ends = intervals.around(numbers, coverage)
        made += [as_text(end, step) for end in ends.T]
    return dict(zip(names, made, strict=True))


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
