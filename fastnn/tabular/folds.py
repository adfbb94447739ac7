"""Folds of rows, each of which is held out once."""

from __future__ import annotations

import numpy as np


def folds_of(
    classes: np.ndarray | None,
    folds: int,
    rows: int,
    generator: np.random.Generator,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return the fold of each row, with the same share of each class in every fold.

    Parameters
    ----------
    classes : ndarray of int, shape (rows,), optional
    folds, rows : int
    generator : numpy.random.Generator
    groups : ndarray, shape (rows,), optional
        Rows of equal groups get the same fold; the classes then fall as they do.

    Returns
    -------
    ndarray of int, shape (rows,)

    Raises
    ------
    ValueError
        There are fewer groups than folds.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> found = folds_of(np.array([0, 0, 0, 1, 1, 1]), 3, 6, generator)
    >>> sorted(zip([0, 0, 0, 1, 1, 1], found.tolist()))
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    """
    if groups is not None:
        return _of_groups(groups, folds, generator)
    order = generator.permutation(rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(rows, np.int64)
    fold[order] = np.arange(rows) % folds
    return fold


def _of_groups(groups: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Return folds of whole groups: the largest first, each into the smallest fold."""
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise ValueError(
            f"groups: the rows have {len(names)} different groups, expected at least {folds}, "
            "because each fold holds other groups out"
        )
    counts = np.bincount(group)
    order = generator.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    of_group, sizes = np.empty(len(names), np.int64), np.zeros(folds, np.int64)
    for one in order.tolist():
        smallest = int(sizes.argmin())
        of_group[one] = smallest
        sizes[smallest] += counts[one]
    return of_group[group]
