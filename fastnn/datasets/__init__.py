"""Data that comes with fastnn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.core import checks, hints
from fastnn.data.frames import is_frame, rows_of
from fastnn.data.sparse import is_sparse

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
    UCI Machine Learning Repository (1998), license CC BY 4.0; see `DIGITS.md` next to this module.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> x.shape, int(y[0])
    ((1797, 64), 0)
    """
    path = os.path.join(os.path.dirname(__file__), "digits.npz")
    with open(path, "rb") as file, np.load(file) as table:
        return table["x"], table["y"].astype(np.int64)


def split(y: np.ndarray, share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers to train on and to hold out, stratified by class.

    Parameters
    ----------
    y : array_like, shape (rows,)
        Class labels.
    share : float, default 0.2
        Share of each class to hold out, in [0, 1); rounded to whole rows.
    seed : int, default 0

    Returns
    -------
    train, held_out : ndarray of int64

    Raises
    ------
    ValueError
        An argument does not fit.

    See Also
    --------
    hold_out : Returns the parts of x and y themselves; stratified only if asked.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> train, held_out = fnn.datasets.split(y)
    >>> len(train), len(held_out)
    (1438, 359)
    """
    share = checks.number("share", share, least=0, below=1)
    generator = np.random.default_rng(checks.integer("seed", seed, least=0))
    labels = _indexable(y)
    total = labels.shape[0] if labels.shape else 0
    held = []
    for group in _classes(labels) if total else []:
        rows = generator.permutation(group)
        held.append(rows[: checks.rows_of_share(len(rows), share)])
    held_out = np.sort(np.concatenate(held)) if held else np.zeros(0, int)
    return np.setdiff1d(np.arange(total), held_out), held_out


def hold_out(
    x: Any,
    y: Any,
    share: float = 0.2,
    *,
    stratify: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Split data into rows to train on and rows to hold out.

    Parameters
    ----------
    x : array_like, sparse matrix, or frame, shape (rows, ...)
        Or a list of arrays for a model of several inputs.
    y : array_like, series or frame, shape (rows, ...)
    share : float, default 0.2
        Share of the rows to hold out.
    stratify : bool, default False
        Whether each class of y is split by itself, so that both parts have the same mix of classes.
    shuffle : bool, default True
        Whether the rows are drawn at random; if not, the last ones (of each class, if stratified)
        are held out. In both parts the rows keep their order.
    seed : int, optional
        Seed of the draw; None: another draw each time.

    Returns
    -------
    train, held_out : tuple (x, y)
        Arguments for `fit`, and for its ``validation_data``, of the types of x and y. They are
        views where the rows are neither stratified nor shuffled, and copies otherwise.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit, or a part would have no row.

    See Also
    --------
    split : Returns row numbers, stratified by class.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> train, held_out = fnn.datasets.hold_out(x, y, 0.2, stratify=True, seed=0)
    >>> len(train[1]), held_out[0].shape
    (1438, (359, 64))
    """
    share = checks.number("share", share, least=0, below=1)
    stratify = checks.boolean("stratify", stratify)
    shuffle = checks.boolean("shuffle", shuffle)
    if seed is not None:
        seed = checks.integer("seed", seed, least=0)
    several = isinstance(x, (list, tuple)) and any(hasattr(part, "shape") for part in x)
    inputs = [_indexable(part) for part in (x if several else [x])]
    target = _indexable(y)
    rows = _checked_rows(inputs, target)
    groups = _classes(target) if stratify else [np.arange(rows)]
    held_out = _drawn(groups, share, np.random.default_rng(seed) if shuffle else None)
    if not 0 < len(held_out) < rows:
        raise ValueError(
            f"share={share:g} leaves {rows - len(held_out)} of {rows} rows to train on and "
            f"{len(held_out)} to hold out; both must have at least one"
        )
    train: Any = np.setdiff1d(np.arange(rows), held_out)
    chosen: Any = held_out
    if not stratify and not shuffle:  # slices, of which arrays make views
        train, chosen = slice(None, len(train)), slice(len(train), None)

    def take(some: Any) -> tuple[Any, Any]:
        taken = [_rows(part, some) for part in inputs]
        return taken if several else taken[0], _rows(target, some)

    return take(train), take(chosen)


def _checked_rows(inputs: list[Any], target: Any) -> int:
    """Return the number of rows, which x and y must have in common."""
    rows = target.shape[0] if target.shape else 0
    for part in inputs:
        found = part.shape[0] if part.shape else 0
        if found != rows:
            raise ValueError(f"y must have as many rows as x, {found}, got {rows}")
    return rows


def _drawn(
    groups: list[np.ndarray], share: float, generator: np.random.Generator | None
) -> np.ndarray:
    """Return a share of the rows of each group, in ascending order: drawn, or the last ones."""
    held: list[np.ndarray] = []
    for group in groups:
        drawn = group if generator is None else generator.permutation(group)
        held.append(drawn[len(drawn) - checks.rows_of_share(len(drawn), share) :])
    return np.sort(np.concatenate(held)) if held else np.zeros(0, int)


def _indexable(value: Any) -> Any:
    """Return data as something that can be indexed by rows."""
    if is_sparse(value):
        return value.tocsr()
    return value if is_frame(value) and hasattr(value, "shape") else np.asarray(value)


def _rows(value: Any, rows: Any) -> Any:
    return rows_of(value, rows) if is_frame(value) else value[rows]


def _classes(y: Any) -> list[np.ndarray]:
    """Return the row numbers of each class."""
    labels = y.to_numpy() if is_frame(y) else y
    if is_sparse(y) or labels.size != labels.shape[0]:
        raise ValueError(f"y must have shape (rows,) to be stratified, got {y.shape}")
    _, numbers = np.unique(labels.reshape(-1), return_inverse=True)
    return [np.flatnonzero(numbers == number) for number in range(numbers.max(initial=-1) + 1)]


__all__ = ["DIGIT_NAMES", "hold_out", "load_digits", "split"]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)


def __dir__() -> list[str]:
    return __all__
