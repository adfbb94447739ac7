"""Inputs, targets and weights of samples, checked against what a network takes.

An error names the argument, what came and what was expected, and comes before anything has changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from fastnn.data import pages, sample_weight, sparse
from fastnn.data.arrays import (
    AnySource,
    Source,
    check_finite,
    checked_rows,
    contiguous_rows,
    wide,
)
from fastnn.data.frames import ColumnNames
from fastnn.data.lookups import Lookup, converted, read
from fastnn.data.specification import (
    DataSpecification,
    InputSpecification,
    Shape,
)
from fastnn.data.steps import Steps
from fastnn.data.targets import target

# The count of numbers that are checked at once, which keeps temporary arrays small.
CHECKED_AT_ONCE = 1 << 20
Limits = tuple[float, float]
UNLIMITED: Limits = (-math.inf, math.inf)
Look = tuple[np.ndarray, str, Limits]  # an array, the model's dtype, and a range


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

    def looks(self, specification: DataSpecification) -> list[Look] | None:
        """Return what to look at, to see that the numbers still fit although they may have changed.

        The samples have been checked against the same specification. None if a quick look at
        ranges is not enough.
        """
        kinds = [*repeat("input", len(specification.inputs)), *self.target_types]
        found = []
        for position, (source, kind) in enumerate(zip(self.sources, kinds, strict=True)):
            limits = _limits(kind, position, specification)
            if limits is None or not isinstance(source, Source):
                return None
            found.append((source.array, specification.dtype, limits))
        return found

    def steps(self, batch: int | None = None) -> Steps:
        """Return the steps that see every row, `batch` rows at a time; by default all in one."""
        rows = self.rows
        return Steps(
            self.sources, rows, rows if batch is None else batch, target_types=self.target_types
        )

    def copy(self) -> Samples:
        """Return a copy that does not change when the user's arrays do."""
        return Samples([source.copy() for source in self.sources], self.target_types)


def _limits(kind: str, position: int, specification: DataSpecification) -> Limits | None:
    """Return the range of an input or a target, infinite if it has none; None if that is not all.

    The numbers must be finite in any case.
    """
    if kind == "input":
        one = specification.inputs[position]
        return None if one.checks or one.lookup is not None else UNLIMITED
    if kind == "weight":
        return None
    target = specification.targets[position - len(specification.inputs)]
    if kind == "label":
        return 0, math.prod(target.shape) - 1
    if target.loss.is_distribution or not target.loss.is_checked_by_range:
        return None
    limits = target.loss.target_range
    return UNLIMITED if limits == UNLIMITED else limits


def still_fits(look: Look) -> bool:
    """Whether the numbers of an array are finite in the model's dtype, and within limits."""
    array, dtype, limits = look
    if array.dtype.kind == "f" and not pages.is_surely_finite(array, dtype):
        return False
    return limits is UNLIMITED or bool(limits[0] <= array.min() and array.max() <= limits[1])


def inputs_alone(
    x: object, specification: DataSpecification, *, in_windows: bool = False
) -> Samples:
    """Check x, without a target.

    Parameters
    ----------
    x : array_like or sparse matrix, or a list or dict of them for several inputs
    specification : DataSpecification
    in_windows : bool, default False
        Whether the numbers of large memory maps are checked later, as they are read.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    sources = inputs(
        x,
        specification.input_shapes,
        specification.dtype,
        lookups=specification.lookups,
        columns=specification.columns,
        in_windows=in_windows,
    )
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
    x : array_like or sparse matrix, or a list or dict of them for several inputs
    y : array_like, or a list or dict of them for several outputs
    sample_weight_ : array_like, or a list or dict of them for several outputs, optional
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
    rows, wanted, dtype = sources[0].rows, specification.targets, specification.dtype
    if class_weight is not None and len(wanted) > 1:
        raise ValueError("class_weight is for models of one output; use sample_weight")
    weights: list[Source] = []
    if sample_weight_ is not None:
        weights = sample_weight.sources(sample_weight_, rows, wanted, dtype)
    target_types = []
    parts = targets_by_name(y, specification)
    for number, ((name, part), one) in enumerate(zip(parts, wanted, strict=True)):
        ignored = _ignored(weights[number % len(weights)]) if weights else None
        found, target_type = target(
            part, rows, one, dtype, name=name, ignored=ignored, in_windows=in_windows
        )
        sources.append(found)
        target_types.append(target_type)
    if class_weight is not None:
        of_class = sources[-1], target_types[-1], wanted[0]
        weights = [sample_weight.by_class(class_weight, weights, *of_class, dtype)]
    if specification.has_weighted_metrics:
        # All batches of an iterable must come in one form, whether or not they have weights.
        weights = weights or [sample_weight.equal(rows)]
        weights = [weights[number % len(weights)] for number in range(len(wanted))]
    target_types += ["weight"] * len(weights)
    return Samples([*sources, *weights], tuple(target_types))


def _ignored(weights: Source) -> np.ndarray | None:
    """Return which rows have weight 0; None if there are none, or in a large memory map."""
    if pages.map_of(weights.array):
        return None
    is_zero = weights.array[:, 0] == 0
    return is_zero if is_zero.any() else None


def targets_by_name(y: object, specification: DataSpecification) -> list[tuple[str, object]]:
    """Return the target of each output, with its name for error messages."""
    names = [one.name for one in specification.targets]
    if len(names) == 1 and not isinstance(y, dict):
        return [("y", y)]
    return [(f"y[{name!r}]", part) for name, part in by_name("y", y, names).items()]


def by_name(
    argument: str, value: object, names: Sequence[str], ends: str = "output"
) -> dict[str, object]:
    """Return one entry for each of several outputs, from a list or from a dict by name.

    Parameters
    ----------
    argument : str
        Name of the argument, for the message.
    value : list or dict
    names : sequence of str
        Names of the outputs.
    ends : str, default "output"
        What the names are of, for the message.

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
            f"{argument} must be a list of {len(names)}, one for each {ends} "
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
    columns: Sequence[ColumnNames | None] = (),
    in_windows: bool = False,
    ends: str = "input",
) -> list[AnySource]:
    """Check input arrays, one for each of the given shapes.

    Parameters
    ----------
    x : array_like or sparse matrix, shape (rows, *shape), or a list for several inputs
        Also a dict by the names of the inputs.
    shapes : sequence of (name, shape)
        Of the inputs.
    dtype : {"float32", "float64"}
    name : str, default "x"
        Name of the argument, for the message.
    lookups : sequence of Lookup or None, optional
        What turns the data of each input into whole numbers.
    columns : sequence of tuple of str, optional
        For each input, the names by which the columns of a frame are taken, if they are known.
    in_windows : bool, default False
        Whether the numbers of large memory maps are checked later, as they are read.
    ends : str, default "input"
        What the names are of, for the message.

    Returns
    -------
    list of Source or Sparse

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    if isinstance(x, dict) and not sparse.is_sparse(x):  # SciPy has one that is a dict
        named = by_name(name, x, [one for one, _ in shapes], ends)
        arrays: Sequence[object] = list(named.values())
        names = [f"{name}[{one!r}]" for one in named]
    elif len(shapes) == 1:
        arrays = [x]
        names = [name]
    else:
        if not isinstance(x, (list, tuple)) or len(x) != len(shapes):
            got = f"{len(x)}" if isinstance(x, (list, tuple)) else type(x).__name__
            listed = ", ".join(one for one, _ in shapes)
            raise ValueError(
                f"{name} must be a list of {len(shapes)} arrays, got {got}; or a dict by the names "
                f"of the {ends}s ({listed})"
            )
        arrays, names = x, [f"{name}[{i}]" for i in range(len(shapes))]
    sources: list[AnySource] = []
    nothing = [None] * len(shapes)
    each = zip(names, arrays, shapes, lookups or nothing, columns or nothing, strict=True)
    for label, value, (_, shape), lookup, own in each:
        array = read(label, value, lookup, shape) if lookup else checked_rows(label, value, own)
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
            check(label, wide(part), first)
