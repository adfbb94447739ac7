"""The weight of each sample in the loss: `sample_weight` and `class_weight`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np

from fastnn.core import checks
from fastnn.data.arrays import AnySource, Source, check_finite, checked_array


def source(
    sample_weight: object,
    class_weight: object,
    targets: Sequence[AnySource],
    target_types: Sequence[str],
    dtype: str,
) -> Source:
    """Return the weight of each sample.

    Parameters
    ----------
    sample_weight : array_like, shape (rows,), or None
    class_weight : dict of int to float, or None
        Weights of the classes in y; 1 for those left out.
    targets : sequence of Source
    target_types : sequence of {"real", "label"}
        Types of the targets.
    dtype : {"float32", "float64"}

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    rows = targets[0].rows
    weights = np.ones(rows)
    if sample_weight is not None:
        weights = _checked("sample_weight", sample_weight, rows, dtype)
    if class_weight is not None:
        weights = weights * _by_class(class_weight, targets, target_types)
        check_finite("class_weight", weights, dtype)
    return Source(np.ascontiguousarray(weights).reshape(rows, 1))


def _checked(name: str, value: object, rows: int, dtype: str) -> np.ndarray:
    array = checked_array(name, value)
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{name} must have shape ({rows},), one for each row, got {array.shape}")
    check_finite(name, array, dtype)
    if array.size and array.min() < 0:
        raise ValueError(f"{name} must be at least 0, got {array.min()} at [{array.argmin()}]")
    return array.reshape(rows)


def _by_class(
    value: object, targets: Sequence[AnySource], target_types: Sequence[str]
) -> np.ndarray:
    if not isinstance(value, Mapping):
        raise TypeError(
            f"class_weight must be a dict of class to weight, got {value!r} "
            f"({type(value).__name__})"
        )
    if len(targets) > 1:
        raise ValueError("class_weight is for models of one output; use sample_weight")
    (target,), (target_type,) = targets, target_types
    array = target.take()
    is_column = target_type == "label" or array.shape[1] == 1
    classes = array[:, 0] if is_column else array.argmax(axis=1)
    if is_column and array.dtype.kind == "f" and not np.array_equal(classes, np.rint(classes)):
        raise ValueError("class_weight needs classes, but y holds numbers that are not whole")
    weights = np.ones(len(classes))
    for label, weight in value.items():
        if isinstance(label, bool) or not isinstance(label, Integral):
            raise TypeError(f"class_weight must have integers as classes, got {label!r}")
        weights[classes == label] = checks.number(f"class_weight[{label}]", weight, least=0)
    return weights
