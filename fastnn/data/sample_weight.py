"""The weight of each sample in the loss: `sample_weight` and `class_weight`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import cast

import numpy as np

from fastnn.core import checks
from fastnn.data.arrays import AnySource, Source, check_finite, checked_array, contiguous_rows
from fastnn.data.labels import shown
from fastnn.data.specification import TargetSpecification


def sources(
    sample_weight: object,
    rows: int,
    outputs: Sequence[TargetSpecification],
    dtype: str,
) -> list[Source]:
    """Return the weights of the samples: one for all outputs, or one for each output.

    Parameters
    ----------
    sample_weight : array_like, shape (rows,)
        For several outputs also a list of such, or a dict by the names of the outputs; an output
        whose entry is None or missing has weights of 1.
    rows : int
        Number of rows of x.
    outputs : sequence of TargetSpecification
    dtype : {"float32", "float64"}

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    names = [one.name for one in outputs]
    given = weights_of_outputs(sample_weight, names)
    if given is None:
        return [_source("sample_weight", sample_weight, rows, dtype)]
    return [
        equal(rows) if part is None else _source(f"sample_weight[{name!r}]", part, rows, dtype)
        for name, part in zip(names, given, strict=True)
    ]


def equal(rows: int) -> Source:
    """Return the weights of samples that count the same."""
    return Source(np.ones((rows, 1)))


def weights_of_outputs(value: object, names: Sequence[str]) -> list[object] | None:
    """Return the weights of each output, or None if they are for all outputs."""
    if isinstance(value, Mapping):
        unknown = [str(name) for name in value if name not in names]
        if unknown:
            raise ValueError(
                f"sample_weight must be for the outputs {', '.join(names)}, "
                f"got {', '.join(unknown)}"
            )
        return [value.get(name) for name in names]
    is_list = isinstance(value, (list, tuple)) and len(names) > 1
    if not is_list or not all(one is None or np.ndim(one) for one in cast(Sequence, value)):
        return None
    listed = list(cast(Sequence, value))
    if len(listed) != len(names):
        raise ValueError(
            f"sample_weight must have {len(names)} entries, one for each output "
            f"({', '.join(names)}), got {len(listed)}"
        )
    return listed


def _source(name: str, value: object, rows: int, dtype: str) -> Source:
    array = checked_array(name, value)
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{name} must have shape ({rows},), one for each row, got {array.shape}")
    check_finite(name, array, dtype)
    return Source(contiguous_rows(array, 1))


def by_class(
    class_weight: object,
    given: Sequence[Source],
    target: AnySource,
    target_type: str,
    one: TargetSpecification,
    dtype: str,
) -> Source:
    """Return the weights of the samples, times the weight of the class of each.

    Parameters
    ----------
    class_weight : dict of class to float
        Weights of the classes in y; 1 for those left out.
    given : sequence of Source
        The weights of the samples, if any.
    target : Source
        The target of the only output.
    target_type : {"real", "label"}
    one : TargetSpecification
    dtype : {"float32", "float64"}

    Raises
    ------
    TypeError, ValueError
        y has no classes, or not these.
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight must be a dict of class to weight, got {class_weight!r} "
            f"({type(class_weight).__name__})"
        )
    classes, known = _classes(target.take(), target_type, one)
    weights = given[0].take()[:, 0].astype(np.float64) if given else np.ones(len(classes))
    for label, weight in class_weight.items():
        factor = checks.number(f"class_weight[{label!r}]", weight, least=0)
        weights[classes == _number_of(label, one.classes, known, classes)] *= factor
    check_finite("class_weight", weights, dtype)
    return Source(np.ascontiguousarray(weights).reshape(-1, 1))


def _classes(
    array: np.ndarray, target_type: str, one: TargetSpecification
) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Return the class of each row, and all classes if they are known."""
    loss, width = one.loss, math.prod(one.shape)
    if target_type == "label":
        return array[:, 0], tuple(range(width))
    if width > 1:
        if not loss.is_distribution:
            raise ValueError(
                f"class_weight needs one class for each row, but with loss {loss.name!r} a row of "
                f"y holds {width} numbers that are not shares of classes: use sample_weight"
            )
        return array.argmax(axis=1), tuple(range(width))
    column = array[:, 0]
    if array.dtype.kind == "f" and not np.array_equal(column, np.rint(column)):
        raise ValueError("class_weight needs classes, but y holds numbers that are not whole")
    if loss.link == "sigmoid":
        return column, (0, 1)
    return column, (-1, 1) if loss.target_range == (-1, 1) else None


def _number_of(
    label: object,
    labels: tuple | None,
    known: tuple[int, ...] | None,
    classes: np.ndarray,
) -> int:
    """Return the number of a class, which must be known or, for a regression loss, occur in y."""
    if labels is not None:
        if label not in labels:
            raise ValueError(
                f"class_weight must be for classes among {shown(labels)}, got {label!r}"
            )
        return labels.index(label)
    if isinstance(label, bool) or not isinstance(label, Integral):
        raise TypeError(f"class_weight must have integers as classes, got {label!r}")
    if known is not None and label not in known:
        expected = shown(known) if len(known) <= 2 else f"{known[0]} to {known[-1]}"
        raise ValueError(f"class_weight must be for the classes {expected}, got {label}")
    if known is None and label not in (0, 1) and not (classes == label).any():
        raise ValueError(f"class_weight must be for classes in y, got {label}, which is not there")
    return int(label)
