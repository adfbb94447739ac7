"""Means and variances of columns, of rows that come in parts, in float64.

All numbers are taken relative to the first row, and parts are combined by their counts, means and
sums of squared differences (Chan, Golub & LeVeque 1979), so that nothing large is subtracted from
something large: columns with a large mean and a small spread keep their digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Moments:
    """Count, means, and sums of squared differences from the means.

    Attributes
    ----------
    count : int
        Numbers in each column.
    shift : ndarray of float64, shape (columns,)
        What the means are relative to.
    mean, squares : ndarray of float64, shape (columns,)
    """

    count: int
    shift: Array
    mean: Array
    squares: Array

    @classmethod
    def of(cls, rows: Array, shift: Array | None = None) -> Moments:
        """Return those of an array, shape (rows, columns); the default shift is its first row."""
        shift = rows[0].astype(np.float64) if shift is None else shift
        relative = rows - shift
        mean = relative.mean(axis=0)
        relative -= mean
        return cls(len(rows), shift, mean, np.einsum("ij,ij->j", relative, relative))

    @classmethod
    def of_sparse(cls, matrix: Any, features: int) -> Moments:
        """Return those of a sparse matrix (CSR): of each column, or, for one feature, of all."""
        count, width = matrix.shape
        used = slice(0, matrix.indptr[-1])
        columns, values = matrix.indices[used], matrix.data[used].astype(np.float64)
        if features == 1:
            count, width, columns = count * width, 1, np.zeros_like(columns)
        mean = np.bincount(columns, values, width) / count
        entries = np.bincount(columns, minlength=width)
        squares = np.bincount(columns, (values - mean[columns]) ** 2, width)
        return cls(count, np.zeros(width), mean, squares + (count - entries) * mean**2)

    def joined(self, other: Moments) -> Moments:
        """Return those of the rows of both."""
        count = self.count + other.count
        apart = (other.mean - self.mean) + (other.shift - self.shift)
        return Moments(
            count,
            self.shift,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart**2 * (self.count * other.count / count),
        )

    @property
    def means(self) -> Array:
        """The means themselves."""
        return self.shift + self.mean

    @property
    def scales(self) -> Array:
        """The standard deviations, biased; 1 for columns that are constant but for rounding.

        What counts as constant is as in scikit-learn's StandardScaler.
        """
        variance = self.squares / self.count
        epsilon = np.finfo(np.float64).eps
        error = self.count * epsilon * variance + (self.count * self.means * epsilon) ** 2
        return np.where(variance <= error, 1.0, np.sqrt(variance))
