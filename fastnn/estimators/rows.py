"""Rows that an estimator was given, with their weights: `sample_weight` times `class_weight`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight


@dataclass
class Rows:
    """Rows to train on or to validate with.

    Attributes
    ----------
    X : ndarray or CSR matrix, shape (rows, columns)
    targets : ndarray
        As the model takes them.
    weights : ndarray, shape (rows,), or None
    """

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def mean_weight(self) -> float:
        """The mean of the weights."""
        return 1.0 if self.weights is None else float(self.weights.mean())

    def scaled(self) -> np.ndarray | None:
        """Return weights with a mean of 1."""
        return None if self.weights is None else self.weights / self.mean_weight

    def arguments(self) -> tuple[Any, ...]:
        """Return what `fit` takes as validation_data."""
        weights = self.scaled()
        targets = numbers(self.targets)
        return (self.X, targets) if weights is None else (self.X, targets, weights)


def row_weights(
    X: Any, sample_weight: object, class_weight: Any = None, y: object = None
) -> np.ndarray | None:
    """Return the weight of each row; None if all are 1.

    Parameters
    ----------
    X : array or sparse matrix, shape (rows, columns)
    sample_weight : array_like, shape (rows,), optional
    class_weight : dict, list of dict or "balanced", optional
    y : array_like, shape (rows,) or (rows, outputs), optional
        The classes; for `class_weight`.

    Returns
    -------
    ndarray, shape (rows,), or None

    Raises
    ------
    ValueError
        They do not fit, or their sum is not positive.
    """
    found = None
    if sample_weight is not None:
        found = _check_sample_weight(sample_weight, X)
    if class_weight is not None:
        of_classes = compute_sample_weight(class_weight, y)
        found = of_classes if found is None else found * of_classes
    if found is not None and not found.sum() > 0:
        names = "sample_weight" if class_weight is None else "sample_weight and class_weight"
        raise ValueError(f"{names} must have a positive sum over the rows, got {found.sum():g}")
    return found


def numbers(targets: np.ndarray) -> np.ndarray:
    """Return targets as the model takes them: true and false as 1 and 0."""
    return targets.astype(np.float32) if targets.dtype == bool else targets
