"""Means and variances of columns, of rows that come in parts, in float64.

Parts are combined by their counts, means and sums of squared differences (Chan, Golub & LeVeque
1979), so that nothing large is subtracted from something large: columns with a large mean and a
small spread keep their digits.
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
    mean, squares : ndarray of float64, shape (columns,)
    """

    count: int
    mean: Array
    squares: Array

    @classmethod
    def of(cls, part: Any) -> Moments:
        """Return those of an array of shape (rows, columns), or of a sparse matrix (CSR)."""
        if hasattr(part, "indptr"):
            return cls._of_sparse(part)
        rows = part.astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        # The mean is rounded; the second sum takes its error out again.
        mean += (error := rows.mean(axis=0))
        rows -= error
        return cls(len(rows), mean, np.einsum("ij,ij->j", rows, rows))

    @classmethod
    def _of_sparse(cls, matrix: Any) -> Moments:
        count, width = matrix.shape
        used = slice(0, matrix.indptr[-1])
        columns, values = matrix.indices[used], matrix.data[used].astype(np.float64)
        mean = np.bincount(columns, values, width) / count
        entries = np.bincount(columns, minlength=width)
        squares = np.bincount(columns, (values - mean[columns]) ** 2, width)
        return cls(count, mean, squares + (count - entries) * mean**2)

    def joined(self, other: Moments) -> Moments:
        """Return those of the rows of both."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart**2 * (self.count * other.count / count),
        )

    def pooled(self, features: int) -> Moments:
        """Return those of `features` columns, each of which is every `features`-th one of these."""
        means = self.mean.reshape(-1, features)
        mean = means.mean(axis=0)
        squares = self.squares.reshape(-1, features) + self.count * (means - mean) ** 2
        return Moments(self.count * len(means), mean, squares.sum(axis=0))

    @property
    def scale(self) -> Array:
        """The standard deviations, biased; 1 for columns that are constant but for rounding.

        What counts as constant is as in scikit-learn's StandardScaler.
        """
        variance = self.squares / self.count
        epsilon = np.finfo(np.float64).eps
        error = self.count * epsilon * variance + (self.count * self.mean * epsilon) ** 2
        return np.where(variance <= error, 1.0, np.sqrt(variance))
