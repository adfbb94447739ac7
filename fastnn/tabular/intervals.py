"""Intervals around predicted numbers, from the errors of out-of-fold predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.core.formats import whole_number
from fastnn.core.notices import warn
from fastnn.tabular.fitting import Fitted

KEPT = 1001  # errors in a file


@dataclass(frozen=True)
class Intervals:
    """The errors by which intervals are as wide as they must be.

    Attributes
    ----------
    low, high : int
        The columns of the predictions that an interval lies around.
    errors : ndarray of float64, shape (rows,)
        By how much each number lay outside of them, in its unit, ascending; negative if inside.
    rows : int, default 0
        Of which they were kept; 0: all of them.
    """

    low: int
    high: int
    errors: np.ndarray
    rows: int = 0

    @classmethod
    def fit(cls, fitted: Fitted, quantiles: tuple[float, ...]) -> Intervals:
        """Measure the errors.

        Parameters
        ----------
        fitted : Fitted
        quantiles : tuple of float
            That were learned; the outer two are what intervals lie around.
        """
        found = fitted.learned.out_of_fold.astype(np.float64)
        known = ~np.isnan(found[:, 0])
        target = fitted.model.target
        predicted = found[known] * target.scale + target.mean
        truth = fitted.truth[known].astype(np.float64) * target.scale + target.mean
        low, high = 0, max(len(quantiles), 1) - 1
        outside = np.maximum(predicted[:, low] - truth, truth - predicted[:, high])
        return cls(low, high, np.sort(outside))

    def to_file(self) -> dict[str, Any]:
        """Return it as JSON, with at most `KEPT` of the errors, evenly spread over their ranks."""
        errors = self.errors
        if len(errors) > KEPT:
            errors = errors[np.linspace(0, len(errors) - 1, KEPT).round().astype(np.int64)]
        rows = max(self.rows, len(self.errors))
        return {"low": self.low, "high": self.high, "errors": errors.tolist(), "rows": rows}

    @classmethod
    def from_file(cls, entry: Any) -> Intervals:
        """Return the intervals that `to_file` described.

        Raises
        ------
        ValueError
            The file has none, or their description is damaged.
        """
        if entry is None:
            raise ValueError(
                "the file does not say how far its predictions are off, which an interval needs; "
                "train it again"
            )
        try:
            errors = np.array(entry["errors"], np.float64)
            low, high = whole_number("low", entry["low"]), whole_number("high", entry["high"])
            rows = whole_number("rows", entry.get("rows", len(errors)), least=1)
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(f"the description of the intervals is damaged ({error})") from None
        if (
            errors.ndim != 1
            or not len(errors)
            or not np.isfinite(errors).all()
            or min(low, high) < 0
        ):
            raise ValueError("the description of the intervals is damaged")
        return cls(low, high, np.sort(errors), rows)

    def around(self, numbers: np.ndarray, coverage: float) -> np.ndarray:
        """Return the interval of each row.

        Parameters
        ----------
        numbers : ndarray, shape (rows,) or (rows, predictions)
        coverage : float
            In (0, 1).

        Returns
        -------
        ndarray of float64, shape (rows, 2)

        Warns
        -----
        UserWarning
            There are too few errors for that coverage: of n, the largest lies above n / (n + 1) of
            new ones.

        Examples
        --------
        >>> Intervals(0, 0, np.array([1.0, 2.0, 3.0, 4.0])).around(np.array([[10.0]]), 0.7)
        array([[ 6., 14.]])
        """
        coverage = checks.number("coverage", coverage, is_positive=True, below=1)
        numbers = numbers[:, None] if numbers.ndim == 1 else numbers
        count = len(self.errors)
        rows = max(count, self.rows)
        if coverage * (rows + 1) > rows + 1e-9:
            warn(
                f"coverage {coverage:g} needs more rows: intervals rest on the errors of {rows:,}, "
                f"which support at most {rows / (rows + 1):.3g}"
            )
        place = min(int(np.ceil((count + 1) * coverage)), count) - 1
        more = self.errors[place]
        low, high = numbers[:, self.low] - more, numbers[:, self.high] + more
        middle = (low + high) / 2
        return np.stack([np.minimum(low, middle), np.maximum(high, middle)], axis=1)
