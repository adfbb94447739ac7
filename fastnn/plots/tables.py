"""Models of tables: how their members learned, how far predictions are off, what columns matter.

They take arrays, so that any model's predictions can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.plots import style
from fastnn.plots.predictions import checked_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.6, 3.5)  # inches: also legible on the screen of a phone
MOST_POINTS = 5000
MOST_CURVES = 7
LONGEST = 22  # letters of a name in a legend or beside a bar
LONGEST_LABEL = 28  # and of one in the label of an axis


def member_curves(
    curves: Sequence[Sequence[float]],
    best_epochs: Sequence[int],
    score: str,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score of each member of an ensemble over its epochs, and mark the best ones.

    Parameters
    ----------
    curves : sequence of sequences of float
        On the rows that a member has not learned.
    best_epochs : sequence of int
        From 0.
    score : str
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        A curve is empty, or there is none.

    Examples
    --------
    >>> ax = member_curves([[0.9, 0.5, 0.6], [0.8, 0.7, 0.4]], [1, 2], "rmse")
    >>> ax.get_ylabel()
    'rmse'
    """
    if not len(curves) or not all(len(curve) for curve in curves):
        raise ValueError("curves must hold at least one epoch of each member")
    ax = style.axes(ax, SIZE)
    for number, (curve, best) in enumerate(zip(curves, best_epochs, strict=True)):
        epochs = np.arange(1, len(curve) + 1)
        look = style.curve(number) | {"linewidth": 1.2, "alpha": 0.8}
        ax.plot(epochs, curve, **look)
        ax.plot(best + 1, curve[best], "o", color=style.color(number), markersize=7,
                markeredgecolor="black", label="best epochs" if number == 0 else None)  # fmt: skip
    values = np.concatenate([np.asarray(one, float) for one in curves])
    if values.min() > 0 and values.max() > 30 * np.median(values):
        ax.set_yscale("log")
    style.whole_numbers(ax)
    title = "Each network on the rows it has not learned"
    return style.finish(ax, legend=True, xlabel="epoch", ylabel=style.name(score), title=title)


def roc(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[object],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many rows of a class are found, for each share of the others taken for it.

    Parameters
    ----------
    truth : array_like of int, shape (rows,)
        Numbers of classes.
    probabilities : array_like, shape (rows, classes)
    labels : sequence
        Names of the classes. Of two, the curve of the second is drawn; of many, those of the
        seven most frequent.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The shapes do not fit, or a class is not among the labels.

    Examples
    --------
    >>> ax = roc([0, 1, 1], [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], ["no", "yes"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['yes: area 1.000']
    """
    said = np.asarray(probabilities, np.float64)
    if said.ndim != 2 or said.shape[1] != len(labels):
        raise ValueError(f"probabilities must have shape (rows, {len(labels)}), got {said.shape}")
    truth = checked_classes(np.asarray(truth), len(labels))
    ax = style.axes(ax, SIZE)
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1.0)
    counts = np.bincount(truth, minlength=len(labels))
    chosen = [1] if len(labels) == 2 else np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist()
    for number, place in enumerate(chosen):
        is_class = truth == place
        if is_class.all() or not is_class.any():
            continue
        false, true = _rates(is_class, said[:, place])
        area = float(np.trapezoid(true, false))
        name = style.name(labels[place], LONGEST)
        ax.plot(false, true, label=f"{name}: area {area:.3f}", **style.curve(number))
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return style.finish(
        ax, legend=True, xlabel="share of the other rows taken for it",
        ylabel="share of its rows found", title="ROC curve",
    )  # fmt: skip


def _rates(is_class: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates at each threshold, from the strictest."""
    order = np.argsort(-score, kind="stable")
    found, last = np.cumsum(is_class[order]), np.flatnonzero(np.diff(score[order]))
    ends = np.append(last, len(order) - 1)
    true = np.append(0, found[ends]) / is_class.sum()
    false = np.append(0, ends + 1 - found[ends]) / (~is_class).sum()
    return false, true


def predicted_against_true(
    truth: np.ndarray, predicted: np.ndarray, name: str, *, ax: Axes | None = None
) -> Axes:
    """Draw predicted against true numbers; on the diagonal they are equal.

    Parameters
    ----------
    truth, predicted : array_like, shape (rows,)
        At most 5,000 rows, evenly chosen, are drawn.
    name : str
        Of the target.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The shapes differ, or there are no rows.

    Examples
    --------
    >>> ax = predicted_against_true([1.0, 2.0, 3.0], [1.1, 2.2, 2.7], "price")
    >>> ax.get_xlabel()
    'true price'
    """
    truth, predicted = _some(truth, predicted)
    ax = style.axes(ax, SIZE)
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    ax.plot([low, high], [low, high], color="0.4", linestyle="--", linewidth=1.2, label="equal")
    _points(ax, truth, predicted)
    name = style.name(name, LONGEST_LABEL)
    title = "Predicted against true numbers"
    return style.finish(
        ax, legend=True, xlabel=f"true {name}", ylabel=f"predicted {name}", title=title
    )


def residuals(
    truth: np.ndarray, predicted: np.ndarray, name: str, *, ax: Axes | None = None
) -> Axes:
    """Draw by how much predictions are too high, over the predictions.

    Parameters
    ----------
    truth, predicted : array_like, shape (rows,)
        At most 5,000 rows, evenly chosen, are drawn.
    name : str
        Of the target.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The shapes differ, or there are no rows.

    Examples
    --------
    >>> ax = residuals([1.0, 2.0, 3.0], [1.1, 2.2, 2.7], "price")
    >>> ax.get_xlabel()
    'predicted price'
    """
    truth, predicted = _some(truth, predicted)
    ax = style.axes(ax, SIZE)
    ax.axhline(0, color="0.4", linestyle="--", linewidth=1.2)
    _points(ax, predicted, predicted - truth)
    return style.finish(
        ax, xlabel=f"predicted {style.name(name, LONGEST_LABEL)}", ylabel="predicted minus true",
        title="Residuals",
    )  # fmt: skip


def importance(
    columns: Sequence[str],
    mean: np.ndarray,
    std: np.ndarray,
    score: str,
    *,
    most: int = 15,
    ax: Axes | None = None,
) -> Axes:
    """Draw by how much a score gets worse when the cells of a column are mixed.

    Parameters
    ----------
    columns : sequence of str
        The most important first.
    mean, std : array_like, shape (columns,)
    score : str
    most : int, default 15
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        The lengths differ, or there are no columns.

    Examples
    --------
    >>> ax = importance(["age", "income"], [0.08, 0.02], [0.01, 0.005], "roc_auc")
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['age', 'income']
    """
    if not len(columns) == len(mean) == len(std) > 0:
        raise ValueError(
            f"columns, mean and std must be as many, got {len(columns)}, {len(mean)}, {len(std)}"
        )
    names = [style.name(name, LONGEST) for name in columns[:most]]
    ax = style.axes(ax, (SIZE[0], max(1.6, 0.26 * len(names) + 1.0)))
    places = np.arange(len(names))
    ax.barh(places, mean[: len(names)], color=style.BLUE, height=0.7)
    ax.errorbar(mean[: len(names)], places, xerr=std[: len(names)], fmt="none", ecolor="0.3",
                capsize=2, linewidth=1.0)  # fmt: skip
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=5)
    return style.finish(
        ax,
        xlabel=f"by how much {style.name(score, LONGEST)} gets worse",
        title="Importance of columns",
    )


def _some(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise ValueError(
            f"truth and predicted must have the same shape (rows,), got {truth.shape} and "
            f"{predicted.shape}"
        )
    if len(truth) > MOST_POINTS:
        chosen = np.linspace(0, len(truth) - 1, MOST_POINTS).astype(np.int64)
        return truth[chosen], predicted[chosen]
    return truth, predicted


def _points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    see_through = float(np.clip(200 / len(x), 0.15, 0.7))
    ax.plot(x, y, ".", color=style.BLUE, alpha=see_through, markersize=5, rasterized=True)
