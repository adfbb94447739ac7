"""Data that comes with fastnn."""

from __future__ import annotations

import os

import numpy as np

DIGIT_NAMES = tuple("0123456789")


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 images of handwritten digits, 8 by 8 pixels.

    Returns
    -------
    x : ndarray of uint8, shape (1797, 64)
        Pixels from 0 to 16, row by row.
    y : ndarray of int64, shape (1797,)
        The digit.

    Notes
    -----
    The test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak,
    UCI Machine Learning Repository (1998), licence CC BY 4.0; see `DIGITS.md` beside this file.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> x.shape, int(y[0])
    ((1797, 64), 0)
    """
    with np.load(os.path.join(os.path.dirname(__file__), "digits.npz")) as table:
        return table["x"], table["y"].astype(np.int64)


def split(y: np.ndarray, share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers to train on and to hold out, stratified by class.

    Parameters
    ----------
    y : ndarray of int, shape (rows,)
    share : float, default 0.2
        Held out of each class.
    seed : int, default 0

    Returns
    -------
    train, held_out : ndarray of int64

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> train, held_out = fnn.datasets.split(y)
    >>> len(train), len(held_out)
    (1438, 359)
    """
    generator = np.random.default_rng(seed)
    held = []
    for label in np.unique(y):
        rows = generator.permutation(np.flatnonzero(y == label))
        held.append(rows[: round(len(rows) * share)])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out
