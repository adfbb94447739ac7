"""How a column of numbers is scaled, for arrays and for single numbers, with the same bits.

    robust     minus the median, times 1 / (q75 - q25), or 2 / (max - min) where that is 0; then
               x / sqrt(1 + (x / 3)^2), which bends what lies outside towards 3
    standard   minus the mean, divided by the standard deviation
    quantile   to the quantile of the normal distribution, straight between the knots

Only +, -, *, / and the square root are used, and no fused ones: IEEE 754 rounds each correctly,
so NumPy and Python agree to the last bit. The robust scale is that of RealMLP (Holzmüller,
Grinsztajn, Steinwart, 2024).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

SCALES = ("robust", "quantile", "standard")
_FAR = 1e9  # beyond, where all is one to a network; keeps float32 and squares finite
_LARGEST = _LARGEST_FACTOR = 1e300
_KNOTS = 1000


def _factor(span: float) -> float:
    """Return 1 / span, which stays finite."""
    return min(1 / span, _LARGEST_FACTOR) if span > 0 else 0.0


def _near(values: np.ndarray) -> np.ndarray:
    """Return numbers of which sums and differences are finite."""
    return np.clip(values, -_LARGEST, _LARGEST)


@dataclass(frozen=True)
class Linear:
    """(x - center) * factor, then the bend where asked for."""

    center: float
    factor: float
    is_smooth: bool
    kind: ClassVar[str] = "linear"

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return scaled float64 values."""
        with np.errstate(over="ignore", under="ignore"):
            z = (values - self.center) * self.factor
            np.clip(z, -_FAR, _FAR, out=z)
            if self.is_smooth:
                third = z / 3.0
                z /= np.sqrt(1.0 + third * third)
        return z

    def one(self) -> Callable[[float], float]:
        """Return the function for a single number."""
        center, factor, root = self.center, self.factor, math.sqrt
        if not self.is_smooth:
            return lambda x: min(max((x - center) * factor, -_FAR), _FAR)

        def scaled(x: float) -> float:
            z = (x - center) * factor
            if not -_FAR <= z <= _FAR:
                z = _FAR if z > 0 else -_FAR
            third = z / 3.0
            return z / root(1.0 + third * third)

        return scaled

    def arrays(self) -> np.ndarray:
        """Return what `from_array` takes."""
        return np.array([self.center, self.factor, self.is_smooth], np.float64)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Linear:
        """Return the scale that `arrays` described; ValueError if it is damaged."""
        if array.shape != (3,) or not np.isfinite(array).all():
            raise ValueError("a scale is damaged")
        return cls(float(array[0]), float(array[1]), bool(array[2]))


@dataclass(frozen=True)
class Quantile:
    """Straight lines between knots, constant outside."""

    knots: np.ndarray
    heights: np.ndarray
    kind: ClassVar[str] = "quantile"

    def _slopes(self) -> np.ndarray:
        with np.errstate(over="ignore"):
            spans = np.diff(self.knots)
            slopes = np.minimum(np.diff(self.heights) / spans, _LARGEST_FACTOR)
        return np.append(slopes, 0.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return scaled float64 values."""
        inside = np.clip(values, self.knots[0], self.knots[-1])
        at = np.searchsorted(self.knots, inside, side="right") - 1
        return self.heights[at] + self._slopes()[at] * (inside - self.knots[at])

    def one(self) -> Callable[[float], float]:
        """Return the function for a single number."""
        knots, heights, slopes = (
            array.tolist() for array in (self.knots, self.heights, self._slopes())
        )
        low, high = knots[0], knots[-1]

        def scaled(x: float) -> float:
            x = min(max(x, low), high)
            at = bisect_right(knots, x) - 1
            return heights[at] + slopes[at] * (x - knots[at])

        return scaled

    def arrays(self) -> np.ndarray:
        """Return what `from_array` takes."""
        return np.concatenate([self.knots, self.heights])

    @classmethod
    def from_array(cls, array: np.ndarray) -> Quantile:
        """Return the scale that `arrays` described; ValueError if it is damaged."""
        knots, heights = np.split(array, 2) if len(array) % 2 == 0 else (array, array[:0])
        is_sound = len(knots) == len(heights) >= 2 and np.isfinite(array).all()
        if not is_sound or (np.diff(knots) <= 0).any():
            raise ValueError("a scale is damaged")
        return cls(knots.copy(), heights.copy())


Scale = Linear | Quantile
KINDS: dict[str, type[Linear] | type[Quantile]] = {"linear": Linear, "quantile": Quantile}


def fitted(values: np.ndarray, how: str = "robust") -> Scale:
    """Return the scale for numbers that are not all the same.

    Parameters
    ----------
    values : ndarray of float64
        Finite.
    how : {"robust", "quantile", "standard"}, default "robust"

    Examples
    --------
    >>> import numpy as np
    >>> scale = fitted(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    >>> scale.apply(np.array([3.0, 5.0, 1e6])).round(3).tolist()
    [0.0, 0.949, 3.0]
    """
    values = _near(values)
    if how == "quantile":
        return _quantile(values)
    if how == "standard":
        largest = float(np.abs(values).max()) or 1.0
        shares = values / largest  # so that squares of large numbers stay finite
        deviation = float(shares.std())
        mean = float(shares.mean()) * largest
        factor = min(_factor(deviation) / largest, _LARGEST_FACTOR)
        return Linear(mean, factor, is_smooth=False)
    low, q25, median, q75, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    factor = _factor(q75 - q25) or 2 * _factor(high - low)
    # Never 0, which would make NaN of what is infinitely far.
    return Linear(median, min(factor, _LARGEST_FACTOR) or 1 / _LARGEST_FACTOR, is_smooth=True)


def _quantile(values: np.ndarray) -> Quantile:
    count = min(len(values), _KNOTS)
    positions = (np.arange(count) + 0.5) / count
    found = np.quantile(values, np.arange(count) / max(count - 1, 1))
    knots, first, repeats = np.unique(found, return_index=True, return_counts=True)
    shares = (positions[first] + positions[first + repeats - 1]) / 2
    heights = [NormalDist().inv_cdf(share) for share in shares.tolist()]
    return Quantile(knots, np.array(heights, np.float64))


def of_bits(zeros: np.ndarray, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what 0, 1/2 and 1 become in columns of bits, under the robust scale.

    Parameters
    ----------
    zeros, ones : ndarray of int, shape (columns,)
        How often each occurs in the column.

    Returns
    -------
    off, half, on : ndarray of float64, shape (columns,)

    Examples
    --------
    >>> import numpy as np
    >>> [part.round(3).tolist() for part in of_bits(np.array([5, 9]), np.array([5, 1]))]
    [[-0.493, 0.0], [0.0, 0.949], [0.493, 1.664]]
    """
    zeros, ones = np.asarray(zeros), np.asarray(ones)

    def quantile(q: float) -> np.ndarray:
        position = q * (zeros + ones - 1)
        below = np.floor(position)
        at_below, at_above = below >= zeros, np.ceil(position) >= zeros
        return at_below + (position - below) * (at_above.astype(float) - at_below)

    span = quantile(0.75) - quantile(0.25)
    factor = np.where(span > 0, 1 / np.where(span > 0, span, 1), 2.0 * ((zeros > 0) & (ones > 0)))
    made = []
    for bit in (0.0, 0.5, 1.0):
        z = (bit - quantile(0.5)) * factor
        third = z / 3.0
        made.append(z / np.sqrt(1.0 + third * third))
    return made[0], made[1], made[2]
