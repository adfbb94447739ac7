"""Targets, checked against the outputs of a network and their losses."""

from __future__ import annotations

import math

import numpy as np

from fastnn.data import labels, pages
from fastnn.data.arrays import (
    Source,
    check_finite,
    checked_array,
    contiguous_rows,
    distinct_elements,
)
from fastnn.data.specification import TargetSpecification, classes_told_apart

# The distance from 1 that a sum of probabilities may have.
SUM_ERROR = 1e-3


def target(
    y: object,
    rows: int,
    one: TargetSpecification,
    dtype: str,
    *,
    name: str = "y",
    ignored: np.ndarray | None = None,
    in_windows: bool = False,
) -> tuple[Source, str]:
    """Check y against the network's output and loss.

    Parameters
    ----------
    y : array_like
    rows : int
        Number of rows of x.
    one : TargetSpecification
    dtype : {"float32", "float64"}
    name : str, default "y"
    ignored : ndarray of bool, shape (rows,), optional
        Rows of weight 0, whose target may be anything; where it would not do, another takes its
        place.
    in_windows : bool, default False
        Whether the numbers of a large memory map are checked later.

    Returns
    -------
    Source
    target_type : {"real", "label"}

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    shape, loss = one.shape, one.loss
    if type(y) is np.ndarray and y.dtype.kind in "fiub" and one.classes is None:
        array = checked_array(name, y)
    else:
        array = _numbers(y, one, name, ignored)
    if array.ndim == 0:
        raise ValueError(f"{name} must have one entry for each row of x, got a single number")
    if len(array) != rows:
        raise ValueError(f"{name} must have as many rows as x, {rows}, got {len(array)}")
    is_column = array.shape[1:] in ((), (1,))
    if ignored is not None and not pages.map_of(array):
        array = _with_neutral(array, one, name, ignored, dtype)
    if loss.takes_labels and is_column and array.shape[1:] != shape:
        return _labels(array, y, math.prod(shape), name, in_windows=in_windows), "label"
    if array.shape[1:] != shape and not (is_column and math.prod(shape) == 1):
        sizes = "".join(f", {size}" for size in shape)
        labels = " or class labels of shape (rows,)" if loss.takes_labels else ""
        raise ValueError(f"{name} must have shape (rows{sizes}){labels}, got {array.shape}")
    flat = contiguous_rows(array, math.prod(shape))
    if in_windows and pages.map_of(flat):
        return Source(flat), "real"
    check_finite(name, array, dtype)
    loss.check_target(name, distinct_elements(array))
    if loss.is_distribution and array.size:
        _check_sums(array.reshape(rows, -1), name)
    return Source(flat), "real"


def _numbers(
    y: object, one: TargetSpecification, name: str, ignored: np.ndarray | None
) -> np.ndarray:
    """Return y as numbers: those of its classes if it holds labels."""
    if not labels.are_labels(y):
        array = checked_array(name, y, one.columns if math.prod(one.shape) > 1 else None)
        if one.classes is None or array.shape[1:] not in ((), (1,)):
            return array
        if all(isinstance(label, str) for label in one.classes):
            raise TypeError(
                f"{name} must hold the labels that the model knows ({labels.shown(one.classes)}), "
                f"got {array.dtype} of shape {array.shape}"
            )
        return labels.coded(name, array, one.classes, ignored)
    if one.classes is None and not classes_told_apart(one.shape, one.loss):
        raise TypeError(
            f"{name} must hold numbers for loss {one.loss.name!r}, got text; losses for labels are "
            "'crossentropy' and, for one output, 'binary_crossentropy'"
        )
    if one.classes is None:
        raise ValueError(
            f"{name} holds labels, and the model does not know its classes yet: fit finds them if "
            "all of them occur, or set model.classes to the list of them"
        )
    return labels.coded(name, y, one.classes, ignored)


def _with_neutral(
    array: np.ndarray, one: TargetSpecification, name: str, ignored: np.ndarray, dtype: str
) -> np.ndarray:
    """Return targets in which those of rows of weight 0 cannot spoil the loss.

    Raises
    ------
    ValueError
        A metric would count such a row.
    """
    flat, numbers = array.reshape(len(array), -1), np.flatnonzero(ignored)
    part, (shape, loss) = flat[numbers], (one.shape, one.loss)
    neutral = np.full(part.shape[1:], loss.neutral_target)
    if loss.takes_labels and part.shape[1] == 1 and array.shape[1:] != shape:
        if array.dtype.kind == "f":
            return array  # which is reported
        is_bad = ~((part >= 0) & (part < math.prod(shape)))
    else:
        # The square must be finite, because infinity times 0 is NaN.
        limit = pages.LARGEST[dtype] ** 0.5 / 2
        with np.errstate(all="ignore"):
            is_bad = ~((np.abs(part.astype(np.float64)) <= limit) & loss.are_targets(part))
            if loss.is_distribution:
                is_bad |= ~(np.abs(part.sum(axis=1, dtype=np.float64) - 1) <= SUM_ERROR)[:, None]
                neutral[:1] = 1
    bad = numbers[is_bad.any(axis=1)]
    if not len(bad):
        return array
    if one.has_plain_metrics:
        raise ValueError(
            f"{name} has {flat[bad[0]].tolist()} in row {bad[0]}, which is no target for this "
            "loss; the row has weight 0, but metrics count every row: give them to compile as "
            "weighted_metrics"
        )
    copy = np.array(array, order="C")
    copy.reshape(len(array), -1)[bad] = neutral
    return copy


def _check_sums(probabilities: np.ndarray, name: str) -> None:
    """Raise if the probabilities of any row do not sum to 1."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_ERROR:
        raise ValueError(
            f"{name} must hold probabilities that sum to 1 in each row, "
            f"got {sums[worst]:g} in row {worst}"
        )


def _labels(
    array: np.ndarray, given: object, classes: int, name: str, *, in_windows: bool
) -> Source:
    """Check class labels; `given` is what the array was made from, for the message."""
    if array.dtype.kind == "f":
        raise TypeError(
            f"{name} must hold integer class labels, or probabilities of shape (rows, {classes}), "
            f"got {np.asarray(given).dtype} of shape {array.shape}; use {name}.astype(int)"
        )
    column = contiguous_rows(array, 1)
    if array.size and not (in_windows and pages.map_of(column)):
        low, high = distinct_elements(array).min(), distinct_elements(array).max()
        if low < 0 or high >= classes:
            raise ValueError(
                f"{name} must hold class labels from 0 to {classes - 1} (the model has {classes} "
                f"outputs), got {low} to {high}"
            )
    return Source(column)
