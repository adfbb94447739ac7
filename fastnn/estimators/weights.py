"""The weights of rows: `sample_weight` times `class_weight`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight


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
