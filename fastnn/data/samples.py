"""Inputs, targets and weights of samples, checked against what a network takes.

An error names the argument, what came and what was expected, and comes before anything has changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.data import pages, sample_weight, sparse
from fastnn.data.arrays import (
    AnySource,
    Source,
    check_finite,
    checked_array,
    checked_rows,
    contiguous_rows,
    distinct_elements,
)
from fastnn.data.lookups import Lookup, converted, read
from fastnn.data.specification import (
    DataSpecification,
    InputSpecification,
    Shape,
    TargetSpecification,
)
from fastnn.data.steps import Steps

# The count of numbers that are checked at once, which keeps temporary arrays small.
CHECKED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Samples:
    """Data that have been checked.

    Attributes
    ----------
    sources : list of Source or Sparse
        The inputs, followed, for training and evaluation, by the target of each output and the
        sample weights, if any.
    target_types : tuple of {"real", "label", "weight"}
        Types of the sources after the inputs; see `Runtime.bound`.
    """

    sources: list[AnySource]
    target_types: tuple[str, ...] = ("real",)

    @property
    def rows(self) -> int:
        """Number of samples."""
        return self.sources[0].rows

    def steps(self, batch: int | None = None) -> Steps:
        """Return the steps that see every row, `batch` rows at a time; by default all in one."""
        rows = self.rows
        return Steps(
            self.sources, rows, rows if batch is None else batch, target_types=self.target_types
        )

    def copy(self) -> Samples:
        """Return a copy that does not change when the user's arrays do."""
        return Samples([source.copy() for source in self.sources], self.target_types)


def inputs_alone(
    x: object, specification: DataSpecification, *, in_windows: bool = False
) -> Samples:
    """Check x, without a target.

    Parameters
    ----------
    x : array_like or sparse matrix, or a list of them for several inputs
    specification : DataSpecification
    in_windows : bool, default False
        Whether the numbers of large memory maps are checked later, as they are read.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    shapes = [(one.name, one.shape) for one in specification.inputs]
    lookups = [one.lookup for one in specification.inputs]
    sources = inputs(x, shapes, specification.dtype, lookups=lookups, in_windows=in_windows)
    for position, (source, one) in enumerate(zip(sources, specification.inputs, strict=True)):
        if in_windows and isinstance(source, Source) and pages.map_of(source.array):
            continue
        _check_by_layers(source, one, specification.label(position))
    return Samples(sources)


def with_targets(
    x: object,
    y: object,
    sample_weight_: object,
    class_weight: object,
    specification: DataSpecification,
    *,
    in_windows: bool = False,
) -> Samples:
    """Check data for training or evaluation.

    Parameters
    ----------
    x : array_like or sparse matrix, or a list of them for several inputs
    y : array_like, or a list or dict of them for several outputs
    sample_weight_ : array_like, optional
    class_weight : dict of int to float, optional
    specification : DataSpecification
    in_windows : bool, default False
        Whether the numbers of large memory maps are checked later, as they are read.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    for one in specification.targets:
        if one.loss.is_distribution and math.prod(one.shape) == 1:
            raise ValueError(
                f"loss {one.loss.name!r} needs two or more outputs, the model has one, of "
                "which softmax is always 1: use 'binary_crossentropy', or as many outputs as "
                "there are classes"
            )
    sources = inputs_alone(x, specification, in_windows=in_windows).sources
    target_types = []
    for (name, part), one in zip(
        targets_by_name(y, specification), specification.targets, strict=True
    ):
        found, target_type = target(
            part, sources[0].rows, one, specification.dtype, name=name, in_windows=in_windows
        )
        sources.append(found)
        target_types.append(target_type)
    if sample_weight_ is not None or class_weight is not None:
        targets = sources[-len(target_types) :]
        sources.append(
            sample_weight.source(
                sample_weight_, class_weight, targets, target_types, specification.dtype
            )
        )
        target_types.append("weight")
    return Samples(sources, tuple(target_types))


def targets_by_name(y: object, specification: DataSpecification) -> list[tuple[str, object]]:
    """Return the target of each output, with its name for error messages."""
    names = [one.name for one in specification.targets]
    if len(names) == 1:
        return [("y", y)]
    return [(f"y[{name!r}]", part) for name, part in by_name("y", y, names).items()]


def by_name(argument: str, value: object, names: Sequence[str]) -> dict[str, object]:
    """Return one entry for each of several outputs, from a list or from a dict by name.

    Raises
    ------
    TypeError, ValueError
        `value` is something else, or its entries do not match the outputs.
    """
    if isinstance(value, dict):
        if set(value) != set(names):
            raise ValueError(
                f"{argument} must have the entries {', '.join(names)}, "
                f"got {', '.join(map(str, value)) or 'none'}"
            )
        return {name: value[name] for name in names}
    if not isinstance(value, (list, tuple)) or len(value) != len(names):
        got = f"{len(value)}" if isinstance(value, (list, tuple)) else type(value).__name__
        raise ValueError(
            f"{argument} must be a list of {len(names)}, one for each output "
            f"({', '.join(names)}), or a dict by their names, got {got}"
        )
    return dict(zip(names, value, strict=True))


def not_empty(rows: int, name: str = "x") -> None:
    """Raise if there are no rows."""
    if rows == 0:
        raise ValueError(f"{name} must have at least one row, got none")


# --- inputs -----------------------------------------------------------------------------------


def inputs(
    x: object,
    shapes: Sequence[tuple[str, Shape]],
    dtype: str,
    name: str = "x",
    *,
    lookups: Sequence[Lookup | None] = (),
    in_windows: bool = False,
) -> list[AnySource]:
    """Check input arrays, one for each of the given shapes.

    Parameters
    ----------
    x : array_like or sparse matrix, shape (rows, *shape), or a list for several inputs
    shapes : sequence of (name, shape)
        Of the inputs.
    dtype : {"float32", "float64"}
    name : str, default "x"
        Name of the argument, for the message.
    lookups : sequence of Lookup or None, optional
        What turns the data of each input into whole numbers.
    in_windows : bool, default False
        Whether the numbers of large memory maps are checked later, as they are read.

    Returns
    -------
    list of Source or Sparse

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    if len(shapes) == 1:
        arrays: Sequence[object] = [x]
        names = [name]
    else:
        if not isinstance(x, (list, tuple)) or len(x) != len(shapes):
            got = f"{len(x)}" if isinstance(x, (list, tuple)) else type(x).__name__
            raise ValueError(f"{name} must be a list of {len(shapes)} arrays, got {got}")
        arrays, names = x, [f"{name}[{i}]" for i in range(len(shapes))]
    sources: list[AnySource] = []
    each = zip(names, arrays, shapes, lookups or [None] * len(shapes), strict=True)
    for label, value, (_, shape), lookup in each:
        array = read(label, value, lookup, shape) if lookup else checked_rows(label, value)
        if array.ndim == 0 or array.shape[1:] != shape:
            sizes = "".join(f", {size}" for size in shape) or ","
            hint = "; one sample is x[np.newaxis]" if array.shape == shape else ""
            raise ValueError(f"{label} must have shape (rows{sizes}), got {array.shape}{hint}")
        array = converted(label, array, lookup) if lookup else array
        sources.append(_source(label, array, math.prod(shape), dtype, in_windows=in_windows))
        if sources[-1].rows != sources[0].rows:
            raise ValueError(
                f"{label} must have as many rows as {names[0]}, {sources[0].rows}, "
                f"got {sources[-1].rows}"
            )
    return sources


def _source(name: str, array: Any, width: int, dtype: str, *, in_windows: bool) -> AnySource:
    """Check the numbers of what `checked_rows` returned, and make it readable for the kernels."""
    if isinstance(array, np.ndarray):
        rows = contiguous_rows(array, width)
        if not (in_windows and pages.map_of(rows)):
            check_finite(name, array, dtype)
        return Source(rows)
    if width > sparse.LARGEST_INT32:
        raise ValueError(f"{name} must have at most 2**31 - 1 columns, got {width}")
    values = array.data[: array.indptr[-1]]
    check_finite(name, values, dtype, lambda where: sparse.position(array, where[0]))
    return sparse.made_native(array, dtype)


def _check_by_layers(source: AnySource, one: InputSpecification, label: str) -> None:
    """Run the checks of the layers that read an input directly on its rows."""
    if not one.checks:
        return
    rows = max(1, CHECKED_AT_ONCE // max(1, math.prod(one.shape)))
    for first in range(0, source.rows, rows):
        last = min(first + rows, source.rows)
        if isinstance(source, Source):
            part = source.array[first:last]
        else:
            part = source.take(np.arange(first, last))
        for check in one.checks:
            check(label, part, first)


# --- targets ----------------------------------------------------------------------------------


def target(
    y: object,
    rows: int,
    one: TargetSpecification,
    dtype: str,
    *,
    name: str = "y",
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
    array, (shape, loss) = checked_array(name, y), (one.shape, one.loss)
    if array.ndim == 0:
        raise ValueError(f"{name} must have one entry for each row of x, got a single number")
    if len(array) != rows:
        raise ValueError(f"{name} must have as many rows as x, {rows}, got {len(array)}")
    is_column = array.shape[1:] in ((), (1,))
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


def _check_sums(probabilities: np.ndarray, name: str) -> None:
    """Raise if the probabilities of any row do not sum to 1."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 1e-3:
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
