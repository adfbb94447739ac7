"""Classifiers' predictions: which class is taken for which, and how far to trust probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LONGEST = 20  # letters in a line of a class's name


def confusion_matrix(
    matrix: np.ndarray, *, labels: Sequence[object] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how often samples of each class were predicted to be of each class.

    Parameters
    ----------
    matrix : array_like of int, shape (classes, classes)
        A row for each true class, a column for each predicted one: the metric
        ``"confusion_matrix"``.
    labels : sequence, optional
        Names of the classes; default: their numbers.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The matrix is not square, or the number of labels is not that of the classes.

    Notes
    -----
    The color shows the share of the row, so that rare classes can be compared with frequent ones.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.confusion_matrix(model.evaluate(x, y)["confusion_matrix"])  # doctest: +SKIP
    """
    counts = data.checked_array("matrix", matrix)
    data.check_finite("matrix", counts, "float64")
    if counts.size and counts.min() < 0:
        raise ValueError(f"matrix must hold counts, got {counts.min()}")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"matrix must have shape (classes, classes), got {counts.shape}")
    shown = [style.name(label) for label in (range(len(counts)) if labels is None else labels)]
    if len(shown) != len(counts):
        raise ValueError(f"labels must name {len(counts)} classes, got {len(shown)}")
    names = [style.filled(name, _LONGEST) for name in shown]
    longest = max(len(line) for name in names for line in name.split("\n"))
    # No wider than a page shows, unless there are very many classes.
    wanted = 0.55 * len(counts) + 1.6 + 0.08 * max(longest - 4, 0)
    size = min(max(3.6, wanted), max(8.2, 0.3 * len(counts)))
    ax = style.axes(ax, (size + 0.9, size))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True, dtype=np.float64), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):  # zeros would distract from the mistakes
        ax.text(
            column, row, f"{counts[row, column]:,}", ha="center", va="center",
            color="white" if shares[row, column] > 0.55 else "0.15",
            fontsize=9 if counts.max() < 10_000 else 7,
        )  # fmt: skip
    ax.grid(False)
    turned: dict[str, Any] = {"rotation": 90} if longest > 4 else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_yticks(range(len(names)), names)
    right = float(np.trace(counts, dtype=np.float64)) / max(
        float(counts.sum(dtype=np.float64)), 1.0
    )
    ax.set(
        xlabel="predicted class",
        ylabel="true class",
        title=f"Confusion matrix: accuracy {right:.2%}",
    )
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label("share of the row")
    return ax


def calibration(
    y: np.ndarray, probabilities: np.ndarray, *, bins: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw how often predictions of each probability were right.

    On the diagonal a classifier is as confident as it should be; below it, too confident.

    Parameters
    ----------
    y : array_like of int, shape (rows,)
        Classes; 0 or 1 where each row has one probability.
    probabilities : array_like, shape (rows,), (rows, 1) or (rows, classes)
        Probabilities of class 1; or of each class, of which the largest of each row is used.
    bins : int, default 10
        Number of groups of probabilities, which are equally wide.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The shapes do not fit, or a number is not a probability.

    Notes
    -----
    The expected calibration error of the title (Guo, Pleiss, Sun & Weinberger 2017) is the mean
    distance from the diagonal, weighted by the rows of each group.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.calibration(y, model.predict(x))  # doctest: +SKIP
    """
    bins = checks.integer("bins", bins)
    if bins > 1000:
        raise ValueError(f"bins must be at most 1000, got {bins}")
    truth, said = _checked_probabilities(y, probabilities)
    if said.ndim == 2:
        is_right, sure = said.argmax(axis=1) == truth, said.max(axis=1)
        labels = ("predicted probability", "share of correct predictions")
    else:
        is_right, sure = truth == 1, said
        labels = ("probability of class 1", "share of the rows of class 1")
    group = np.minimum((sure * bins).astype(int), bins - 1)
    sizes = np.bincount(group, minlength=bins)
    used = sizes > 0
    means = np.bincount(group, sure, bins)[used] / sizes[used]
    rates = np.bincount(group, is_right, bins)[used] / sizes[used]
    error = float((np.abs(means - rates) * sizes[used]).sum() / sizes.sum())
    ax = style.axes(ax, (5.4, 5.0))
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1.2, label="perfect calibration")
    ax.plot(means, rates, marker="o", linewidth=1.8, label="classifier", **style.TRAINING)
    ax.bar(
        (np.arange(bins) + 0.5) / bins, sizes / sizes.sum(), width=1 / bins, color="0.8",
        edgecolor="white", zorder=0, label="share of all rows",
    )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    style.same_scale(ax, 1.0, 1.02)
    return style.finish(
        ax, legend=True, xlabel=labels[0], ylabel=labels[1],
        title=f"Calibration: expected error {error:.3f}",
    )  # fmt: skip


def _checked_probabilities(y: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return classes of shape (rows,), and probabilities of shape (rows,) or (rows, classes)."""
    truth = data.checked_array("y", y)
    said = data.checked_array("probabilities", probabilities).astype(np.float64)
    if said.ndim == 2 and said.shape[1] == 1:
        said = said[:, 0]
    if said.ndim not in (1, 2) or truth.ndim == 0 or len(said) != len(truth) or not said.size:
        raise ValueError(
            f"probabilities must have a row for each of y, of shape {truth.shape}, got {said.shape}"
        )
    truth = checked_classes(truth, 2 if said.ndim == 1 else said.shape[1])
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError(
            "probabilities must lie in [0, 1]; of logits, take their sigmoid or softmax"
        )
    return truth, said


def checked_classes(y: np.ndarray, count: int) -> np.ndarray:
    """Return y as integers, if it holds classes below `count`; -1 and 1 are two classes."""
    least = -1 if count == 2 else 0
    if y.ndim not in (1, 2) or y.size != len(y):
        raise ValueError(f"y must have shape (rows,) or (rows, 1), got {y.shape}")
    flat = y.reshape(-1)
    wrong = ~((flat >= least) & (flat < count) & (flat == np.rint(flat)))
    if wrong.any():
        classes = "0 and 1 (or -1 and 1)" if count == 2 else f"classes from 0 to {count - 1}"
        raise ValueError(f"y must hold {classes}, got {flat[wrong][0]}")
    return flat.astype(int)
