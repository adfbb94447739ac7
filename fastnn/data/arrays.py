"""Arrays for x and y: the checks on them, and what the kernels need to know about them.

Data keep their dtype: a batch is converted when it is gathered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.data import frames, labels, objects, pages, sparse
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
        """Return the given rows, by default all."""
        return self.array if rows is None else self.array[rows]

    def copy(self) -> Source:
        """Return a copy that does not change when the user's array does."""
        return Source(np.array(self.array, order="C"))

    def part(self, begin: int, end: int) -> Source:
        """Return a range of rows."""
        return Source(self.array[begin:end])

    @property
    def number(self) -> int:
        """Number of the dtype in the kernels' interface."""
        number = source_number(self.array.dtype)
        assert number is not None  # checked_array has ensured this
        return number

    @property
    def stride(self) -> int:
        """Bytes from one row to the next."""
        return self.array.strides[0]

    def is_native(self, dtype: str, value_type: str) -> bool:
        """Whether a program of this dtype can read the rows in place."""
        wanted = np.dtype("int32" if value_type == "label" else dtype)
        return bool(
            self.array.dtype == wanted
            and self.array.flags.c_contiguous
            and self.array.flags.aligned
        )


AnySource = Source | sparse.Sparse


def checked_rows(name: str, value: object, columns: frames.ColumnNames | None = None) -> Any:
    """Return x as an array, or as a SciPy sparse matrix (CSR); see `checked_array`."""
    if type(value) is not np.ndarray and sparse.is_sparse(value):
        return sparse.checked_matrix(name, value)
    return checked_array(name, value, columns)


def sliceable(name: str, value: object) -> Any:
    """Return rows of numbers, of labels or of a frame as something that has a shape and slices.

    A frame keeps its names, and labels are not looked at; numbers are checked.
    """
    if frames.is_frame(value):
        return frames.Rows(value)
    return np.asarray(value) if labels.are_labels(value) else checked_rows(name, value)


def checked_array(
    name: str, value: object, columns: frames.ColumnNames | None = None
) -> np.ndarray:
    """Return `value` as an array of numbers whose dtype the kernels can read.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        May also be a pandas or Polars frame or series, or an array of objects that are numbers.
    columns : tuple of str, optional
        Names of the columns of a frame, in the order in which they are to be taken.

    Raises
    ------
    TypeError
        It does not hold real numbers.
    ValueError
        It is ragged, or it is a frame with missing values or with other names.
    """
    array = value if type(value) is np.ndarray else _as_array(name, value, columns)
    kind = array.dtype.kind
    if kind == "b":
        array = array.view(np.uint8)
    elif kind == "O":
        array = objects.numbers_of(name, array)
    elif kind not in "fiu":
        what = f"dtype {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        if isinstance(value, (list, tuple)) and kind in "US":
            what = f"{what} of text"
        raise TypeError(f"{name} must hold real numbers, got {what}")
    if source_number(array.dtype) is None:
        native = array.dtype.newbyteorder("=")
        if source_number(native) is None:  # float16, long double
            native = np.dtype("float32" if native.itemsize < 4 else "float64")
        with np.errstate(over="ignore"):  # a long double; `check_finite` finds the infinity
            array = array.astype(native)
    return array


def _as_array(name: str, value: object, columns: frames.ColumnNames | None = None) -> np.ndarray:
    """Return an array made from anything that is not exactly an ndarray."""
    if value is None:
        raise TypeError(f"{name} must be an array of numbers, got None")
    if sparse.is_sparse(value):
        raise TypeError(f"{name} must be a dense array, got a sparse one; use {name}.toarray()")
    if frames.is_frame(value):
        value = frames.as_array(name, value, columns)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be an array, got rows of different lengths") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked elements; use {name}.filled(...)")
    return array


def wide(array: np.ndarray) -> np.ndarray:
    """Return integers as int64, for code of the user's: uint8 would turn 0 - 1 into 255."""
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iu" else array


def distinct_elements(array: np.ndarray) -> np.ndarray:
    """Return each stored element of a broadcast array once, which may be far fewer."""
    if 0 not in array.strides:
        return array
    return array[tuple(slice(1 if stride == 0 else None) for stride in array.strides)]


def check_finite(
    name: str,
    array: np.ndarray,
    dtype: str,
    position: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
) -> None:
    """Raise if an element is NaN, infinite, or too large for the model's dtype.

    `position` maps an element's index in the array to the one that the message shows.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    if pages.is_surely_finite(array, dtype):
        return
    distinct = distinct_elements(array)
    with np.errstate(all="ignore"):  # a warning must not come in place of the error below
        low, high = float(distinct.min()), float(distinct.max())
    limit = pages.LARGEST[dtype]
    if -limit <= low and high <= limit:
        return
    bad = ~np.isfinite(distinct)
    if not bad.any():  # otherwise the limit may be infinite as a number of the data's dtype
        bad = np.abs(distinct) > limit
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    found = float(distinct[where])
    index = ", ".join(map(str, where if position is None else position(where)))
    count = int(bad.sum()) * (array.size // distinct.size)
    what = (
        repr(found)
        + (f" at [{index}]" if index else "")
        + (f" and {count - 1} more" if count > 1 else "")
    )
    limits = "finite numbers" if not math.isfinite(found) else f"numbers that {dtype} can hold"
    raise ValueError(f"{name} must hold {limits}, got {what}")


def checked_weights(
    parameters: Mapping[str, np.ndarray], weights: Iterable[object]
) -> list[np.ndarray]:
    """Return arrays that fit parameters, one each.

    Parameters
    ----------
    parameters : dict of str to ndarray
    weights : iterable of array_like, or dict of them by name

    Raises
    ------
    ValueError
        The number, the names, a shape or the content does not fit.
    """
    if isinstance(weights, Mapping):
        if set(weights) != set(parameters):
            raise ValueError(
                f"weights must be for the parameters {', '.join(parameters)}, "
                f"got {', '.join(map(str, weights)) or 'none'}"
            )
        weights = [weights[name] for name in parameters]
    given = list(weights)
    if len(given) != len(parameters):
        raise ValueError(f"weights must be {len(parameters)} arrays, got {len(given)}")
    arrays = []
    for (name, view), weight in zip(parameters.items(), given, strict=True):
        array = checked_array(f"weights of {name!r}", weight)
        if array.shape != view.shape:
            raise ValueError(f"weights of {name!r} must have shape {view.shape}, got {array.shape}")
        check_finite(f"weights of {name!r}", array, view.dtype.name)
        arrays.append(array)
    return arrays


def contiguous_rows(array: np.ndarray, width: int) -> np.ndarray:
    """Return the array as (rows, width) with contiguous rows; copy only if necessary."""
    flat = array.reshape(len(array), width)
    is_row_contiguous = width == 1 or flat.strides[1] == flat.itemsize
    if not (is_row_contiguous and flat.strides[0] >= 0):
        flat = np.ascontiguousarray(flat)
    return flat
