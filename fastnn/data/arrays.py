"""Arrays for x and y: what they must be like, and what the kernels need of them.

Data keeps its dtype: a batch is converted when it is gathered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.data import frames, memmap, sparse
from fastnn.losses import Loss
from fastnn.native.kernels import source_number


@dataclass(frozen=True)
class Source:
    """Rows of numbers that a program gathers from.

    Attributes
    ----------
    array : ndarray, shape (rows, width)
        Contiguous rows; kept alive as long as it is used.
    """

    array: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.array.nbytes

    def take(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return some rows, by default all."""
        return self.array if rows is None else self.array[rows]

    def copy(self) -> Source:
        """Return a copy that does not change when the user's array does."""
        return Source(np.array(self.array, order="C"))

    def part(self, begin: int, end: int) -> Source:
        """Return a range of rows."""
        return Source(self.array[begin:end])

    @property
    def number(self) -> int:
        """The dtype's number in the kernels' interface."""
        number = source_number(self.array.dtype)
        assert number is not None  # checked_array saw to it
        return number

    @property
    def stride(self) -> int:
        """Bytes from one row to the next."""
        return self.array.strides[0]

    def is_native(self, dtype: str, kind: str) -> bool:
        """Whether a program of this dtype can read the rows where they are."""
        wanted = np.dtype("int32" if kind == "label" else dtype)
        return bool(
            self.array.dtype == wanted
            and self.array.flags.c_contiguous
            and self.array.flags.aligned
        )


AnySource = Source | sparse.Sparse


def checked_rows(name: str, value: object) -> Any:
    """Return x as an array, or as a sparse matrix (CSR) of SciPy; see `checked_array`."""
    if type(value) is not np.ndarray and sparse.is_sparse(value):
        return sparse.checked_matrix(name, value)
    return checked_array(name, value)


def checked_array(name: str, value: object) -> np.ndarray:
    """Return `value` as an array of numbers of a dtype that the kernels read.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : array_like
        A frame or series of pandas or Polars, too.

    Raises
    ------
    TypeError
        It does not hold real numbers.
    ValueError
        It is ragged, or a frame with missing values.
    """
    array = value if type(value) is np.ndarray else _as_array(name, value)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind not in "fiu":
        what = f"dtype {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must hold real numbers, got {what}")
    if source_number(array.dtype) is None:
        native = array.dtype.newbyteorder("=")
        if source_number(native) is None:  # float16, long double
            native = np.dtype("float32" if native.itemsize < 4 else "float64")
        array = array.astype(native)
    return array


def _as_array(name: str, value: object) -> np.ndarray:
    """Return an array of what is none yet, or of a subclass."""
    if value is None:
        raise TypeError(f"{name} must be an array of numbers, got None")
    if sparse.is_sparse(value):
        raise TypeError(f"{name} must be a dense array, got a sparse one; use {name}.toarray()")
    if frames.is_frame(value):
        value = frames.as_array(name, value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be an array, got rows of different lengths") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked elements; use {name}.filled(...)")
    return array


def _distinct(array: np.ndarray) -> np.ndarray:
    """Return the elements of a broadcast array once each, which may be far fewer."""
    if 0 not in array.strides:
        return array
    return array[tuple(slice(1 if stride == 0 else None) for stride in array.strides)]


def check_finite(
    name: str,
    array: np.ndarray,
    dtype: str,
    position: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
) -> None:
    """Raise where an element is NaN, infinite, or too large for the model's dtype.

    `position` tells from its index in the array what the message shows.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    if memmap.is_surely_finite(array, dtype):
        return
    distinct = _distinct(array)
    with np.errstate(invalid="ignore"):
        low, high = float(distinct.min()), float(distinct.max())
    limit = memmap.LARGEST[dtype]
    if -limit <= low and high <= limit:
        return
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(distinct) <= limit)
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    found = float(distinct[where])
    index = ", ".join(map(str, where if position is None else position(where)))
    count = int(bad.sum()) * (array.size // distinct.size)
    what = f"{found!r} at [{index}]" + (f" and {count - 1} more" if count > 1 else "")
    limits = "finite numbers" if not math.isfinite(found) else f"numbers that {dtype} can hold"
    raise ValueError(f"{name} must hold {limits}, got {what}")


def _rows(array: np.ndarray, width: int) -> np.ndarray:
    """Return the array as (rows, width) with contiguous rows; copies only where it must."""
    flat = array.reshape(len(array), width)
    is_row_contiguous = width == 1 or flat.strides[1] == flat.itemsize
    if not (is_row_contiguous and flat.flags.aligned and flat.strides[0] >= 0):
        flat = np.ascontiguousarray(flat)
    return flat


def inputs(
    x: object,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    dtype: str,
    name: str = "x",
    *,
    in_windows: bool = False,
) -> list[AnySource]:
    """Check x against the model's inputs.

    Parameters
    ----------
    x : array_like or sparse matrix, shape (rows, *shape), or a list for several inputs
    shapes : sequence of (name, shape)
        Of the model's inputs.
    dtype : {"float32", "float64"}
    name : str, default "x"
        For the message.
    in_windows : bool, default False
        Whether the numbers of large maps are checked later (`memmap.py`).

    Returns
    -------
    list of Source or Sparse

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected.
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
    for label, value, (_, shape) in zip(names, arrays, shapes, strict=True):
        array = checked_rows(label, value)
        if array.ndim == 0 or array.shape[1:] != shape:
            sizes = "".join(f", {size}" for size in shape) or ","
            hint = "; one sample is x[np.newaxis]" if array.shape == shape else ""
            raise ValueError(f"{label} must have shape (rows{sizes}), got {array.shape}{hint}")
        sources.append(_source(label, array, math.prod(shape), dtype, in_windows=in_windows))
        if sources[-1].rows != sources[0].rows:
            raise ValueError(
                f"{label} must have as many rows as {names[0]}, {sources[0].rows}, "
                f"got {sources[-1].rows}"
            )
    return sources


def by_name(argument: str, value: object, names: Sequence[str]) -> dict[str, object]:
    """Return one entry for each of several outputs, from a list or from a dict by name.

    Raises
    ------
    TypeError, ValueError
        `value` is something else, or its entries are not those of the outputs.
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


def _source(name: str, array: Any, width: int, dtype: str, *, in_windows: bool) -> AnySource:
    """Check the numbers of what `checked_rows` returned, and make it readable."""
    if isinstance(array, np.ndarray):
        rows = _rows(array, width)
        if not (in_windows and memmap.map_of(rows)):
            check_finite(name, array, dtype)
        return Source(rows)
    if width > sparse.LARGEST_INT32:
        raise ValueError(f"{name} must have at most 2**31 - 1 columns, got {width}")
    values = array.data[: array.indptr[-1]]
    check_finite(name, values, dtype, lambda where: sparse.position(array, where[0]))
    return sparse.made_native(array, dtype)


def target(
    y: object,
    rows: int,
    shape: tuple[int, ...],
    dtype: str,
    *,
    loss: Loss,
    name: str = "y",
    in_windows: bool = False,
) -> tuple[Source, str]:
    """Check y against the model's output and loss.

    Parameters
    ----------
    y : array_like
    rows : int
        Of x.
    shape : tuple of int
        Of one sample of the model's output.
    dtype : {"float32", "float64"}
    loss : Loss
        Says what y may hold.
    name : str, default "y"
    in_windows : bool, default False
        Whether the numbers of a large map are checked later.

    Returns
    -------
    Source
    kind : {"real", "label"}

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected.
    """
    array = checked_array(name, y)
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
    if in_windows and memmap.map_of(_rows(array, math.prod(shape))):
        return Source(_rows(array, math.prod(shape))), "real"
    check_finite(name, array, dtype)
    loss.check_target(name, _distinct(array))
    if loss.is_distribution and array.size:
        sums = array.reshape(rows, -1).sum(axis=1, dtype=np.float64)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > 1e-3:
            raise ValueError(
                f"{name} must hold probabilities that sum to 1 in each row, "
                f"got {sums[worst]:g} in row {worst}"
            )
    return Source(_rows(array, math.prod(shape))), "real"


def _labels(
    array: np.ndarray, given: object, classes: int, name: str, *, in_windows: bool
) -> Source:
    """Check class labels; `given` is what the array was made of, for the message."""
    if array.dtype.kind == "f":
        raise TypeError(
            f"{name} must hold integer class labels, or probabilities of shape (rows, {classes}), "
            f"got {np.asarray(given).dtype} of shape {array.shape}; use {name}.astype(int)"
        )
    if array.size and not (in_windows and memmap.map_of(_rows(array, 1))):
        low, high = _distinct(array).min(), _distinct(array).max()
        if low < 0 or high >= classes:
            raise ValueError(
                f"{name} must hold class labels from 0 to {classes - 1} (the model has {classes} "
                f"outputs), got {low} to {high}"
            )
    return Source(_rows(array, 1))


def not_empty(rows: int, name: str = "x") -> None:
    """Raise if there is nothing to work on."""
    if rows == 0:
        raise ValueError(f"{name} must have at least one row, got none")
