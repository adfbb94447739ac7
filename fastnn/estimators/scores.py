"""Scores of held-out rows, prepared once for all iterations; the formulas are scikit-learn's."""

from __future__ import annotations

import numpy as np


class Accuracy:
    """The share of rows whose classes are all predicted correctly.

    Parameters
    ----------
    targets : ndarray
        Labels of shape (rows,), or whether each class applies, shape (rows, classes).
    weights : ndarray, shape (rows,), optional
    """

    def __init__(self, targets: np.ndarray, weights: np.ndarray | None) -> None:
        self._targets, self._weights = targets, weights

    def __call__(self, outputs: np.ndarray) -> float:
        """Return the score of probabilities, NaN if they are not finite."""
        if not np.isfinite(outputs).all():
            return float("nan")
        if self._targets.ndim == 1:
            right = outputs.argmax(axis=1) == self._targets
        else:
            right = ((outputs > 0.5) == self._targets).all(axis=1)
        return float(np.average(right, weights=self._weights))


class R2:
    """The share of the variance that is explained, a mean over the outputs.

    Parameters
    ----------
    targets : ndarray, shape (rows, outputs)
    weights : ndarray, shape (rows,), optional
    """

    def __init__(self, targets: np.ndarray, weights: np.ndarray | None) -> None:
        self._targets = targets.astype(np.float64)
        self._weights = np.ones(len(targets)) if weights is None else weights
        mean = np.average(self._targets, axis=0, weights=weights)
        self._spread = self._weights @ (self._targets - mean) ** 2

    def __call__(self, outputs: np.ndarray) -> float:
        """Return the score of predictions, NaN if they are not finite."""
        if not np.isfinite(outputs).all():
            return float("nan")
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            missed = self._weights @ (self._targets - outputs) ** 2
            found = 1 - missed / self._spread
        constant = self._spread == 0  # as scikit-learn: 1 for a perfect prediction, else 0
        return float(np.where(constant, missed == 0, found).mean())
