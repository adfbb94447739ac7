"""SciPy sparse matrices as the kernels read them: compressed rows (CSR), never made dense.

SciPy is not imported here: a caller who passes one of its matrices has imported it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Sparse:
    """Rows of a sparse matrix that a program reads.

    Attributes
    ----------
    values : ndarray, shape (entries,)
        Of the model's dtype.
    columns : ndarray of int32, shape (entries,)
        Ascending in each row.
    indptr : ndarray of int64, shape (rows + 1,)
        Offset of the first entry of each row.
    width : int
        Number of columns of the matrix.
    """

    values: np.ndarray
    columns: np.ndarray
    indptr: np.ndarray
    width: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of all three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.indptr.nbytes

    @cached_property
    def entries(self) -> np.ndarray:
        """Addresses of values and columns: `fastnn_entries` of the kernels' interface."""
        return np.array([self.values.ctypes.data, self.columns.ctypes.data], np.uintp)

    def take(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the given rows, by default all, as a dense array."""
        numbers = np.arange(self.rows) if rows is None else rows
        dense = np.zeros((len(numbers), self.width), self.values.dtype)
        for out, row in zip(dense, numbers, strict=True):
            entries = slice(self.indptr[row], self.indptr[row + 1])
            out[self.columns[entries]] = self.values[entries]
        return dense

    def copy(self) -> Sparse:
        """Return a copy that does not change when the user's arrays do."""
        return Sparse(self.values.copy(), self.columns.copy(), self.indptr.copy(), self.width)

    def part(self, begin: int, end: int) -> Sparse:
        """Return a range of rows."""
        return Sparse(self.values, self.columns, self.indptr[begin : end + 1], self.width)


def is_sparse(value: object) -> bool:
    """Whether this is a SciPy sparse matrix or array."""
    return hasattr(value, "tocsr") and any(
        one.__module__.startswith("scipy.sparse") for one in type(value).__mro__
    )


def checked_matrix(name: str, value: Any) -> Any:
    """Return a SciPy sparse matrix as CSR with sorted columns and without duplicates.

    Raises
    ------
    TypeError
        It does not hold real numbers.
    ValueError
        It does not have two dimensions, or its index arrays are wrong.
    """
    if value.ndim != 2:
        raise ValueError(f"{name} must have shape (rows, columns), got a sparse {value.shape}")
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {value.dtype}")
    if hasattr(value, "indptr"):  # CSR, CSC, BSR: a conversion would trust the indices
        _check_indices(name, value)
    matrix = value.tocsr()
    if not _is_canonical(matrix):
        matrix = matrix.copy()
        matrix.sort_indices()
        matrix.has_canonical_format = False  # SciPy caches what it once found
        matrix.sum_duplicates()
    return matrix


def _check_indices(name: str, matrix: Any) -> None:
    """Raise if the index arrays of compressed rows or columns are out of bounds."""
    sizes = matrix.shape[::-1] if matrix.format == "csc" else matrix.shape
    blocks = getattr(matrix, "blocksize", (1, 1))
    outer, inner = sizes[0] // blocks[0], sizes[1] // blocks[1]
    indptr, indices = matrix.indptr, matrix.indices
    if indptr.shape != (outer + 1,):
        raise ValueError(f"{name}.indptr must have {outer + 1} entries, got shape {indptr.shape}")
    count = min(len(indices), len(matrix.data))
    if indptr[0] != 0 or indptr[-1] > count or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"{name}.indptr must ascend from 0 to at most {count}, the number of entries"
        )
    used = indices[: indptr[-1]]
    if used.size and not (used.min() >= 0 and used.max() < inner):
        bad = int(np.argmax((used < 0) | (used >= inner)))
        raise ValueError(
            f"{name}.indices must lie in [0, {inner}), got {used[bad]} at {bad}; "
            f"the shape is {matrix.shape}"
        )


def _is_canonical(matrix: Any) -> bool:
    """Whether the column indices of each row are in ascending order."""
    indptr, indices = matrix.indptr, matrix.indices[: matrix.indptr[-1]]
    ascends = np.ones(len(indices) + 1, bool)
    np.greater(indices[1:], indices[:-1], out=ascends[1:-1])
    ascends[indptr] = True  # where a row begins
    return bool(ascends.all())


def made_native(matrix: Any, dtype: str) -> Sparse:
    """Return a matrix from `checked_matrix` with values of the model's dtype."""
    count = int(matrix.indptr[-1])
    return Sparse(
        np.require(matrix.data[:count], dtype, ["C", "A"]),
        np.require(matrix.indices[:count], np.int32, ["C", "A"]),
        np.array(matrix.indptr, np.int64, order="C"),  # a copy, because the kernels trust it
        matrix.shape[1],
    )


def position(matrix: Any, entry: int) -> tuple[int, int]:
    """Return the row and column of an entry."""
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    return row, int(matrix.indices[entry])
