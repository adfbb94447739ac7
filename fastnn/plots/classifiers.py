"""Classifiers: where one class ends and the next begins, what is taken for what, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data
from fastnn.callbacks.recorder import Recorder, parameters_of, used
from fastnn.core import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model

_GRID_POINTS = 161
_PALE = 0.35  # of the colours behind the data


def decision_boundary(
    model: Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    names: Sequence[str] = ("x[0]", "x[1]"),
    ax: Axes | None = None,
) -> Axes:
    """Draw what a classifier of two inputs says of each point, and the data.

    Parameters
    ----------
    model : Model
        Of two inputs; its outputs are one for each class, or a single one (the probability or
        logit of class 1).
    x : array_like, shape (rows, 2)
    y : array_like of int, shape (rows,)
        Their classes; or rows of probabilities.
    names : sequence of two str
        Of the inputs, for the labels.
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
        The model has not two inputs.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.decision_boundary(model, x, y)  # doctest: +SKIP
    """
    points, classes = _checked(model, x, y, names)
    ax = style.axes(ax, (5.6, 4.6))
    _areas(model, ax, _around(points), _count(model))
    _data(ax, points, classes)
    ax.set(xlabel=names[0], ylabel=names[1], title="Decision boundary")
    style.legend_below(ax, 5)
    return ax


def animate_decision_boundary(
    recorder: Recorder,
    x: np.ndarray,
    y: np.ndarray,
    file: str | Path,
    *,
    names: Sequence[str] = ("x[0]", "x[1]"),
    fps: float = 10,
    frames: int = 100,
) -> Path:
    """Save how the boundary of a classifier of two inputs has moved as it learned.

    Parameters
    ----------
    recorder : Recorder
        That was among the callbacks of `fit`.
    x, y, names
        See `decision_boundary`.
    file : str or Path
        ``learning.gif``, or ``learning.mp4`` where ffmpeg is installed.
    fps : float, default 10
        Frames a second; of a gif at most 50.
    frames : int, default 100
        At most so many of the recorder's looks, evenly spread.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The recorder has not been used yet, or the file's name ends otherwise.
    RuntimeError
        ffmpeg, which writes mp4, is missing.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.animate_decision_boundary(recorder, x, y, "xor.gif")  # doctest: +SKIP
    """
    used(recorder)
    path = style.check_movie(file, fps)
    frames = checks.integer("frames", frames)
    model = recorder.model
    points, classes = _checked(model, x, y, names)
    limits, count = _around(points), _count(model)
    plt = style.pyplot()
    figure, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")

    def draw(look: int) -> None:
        ax.clear()
        with parameters_of(model.network.runtime, recorder.parameters[look]):
            _areas(model, ax, limits, count)
        _data(ax, points, classes)
        title = f"Decision boundary after {recorder.epochs[look]} epochs"
        ax.set(xlabel=names[0], ylabel=names[1], title=title)
        style.legend_below(ax, 5)

    try:
        return style.animate(figure, draw, style.spread(len(recorder.epochs), frames), path, fps)
    finally:
        plt.close(figure)


def confusion_matrix(
    matrix: np.ndarray, *, labels: Sequence[object] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how often a sample of one class was taken for another.

    Parameters
    ----------
    matrix : array_like of int, shape (classes, classes)
        Rows for what is, columns for what was said: the metric ``"confusion_matrix"``.
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
        It is not square, or there are not as many labels.

    Notes
    -----
    The colour is the share of the row, so that rare classes can be compared with frequent ones.

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
    shown = [str(label) for label in (range(len(counts)) if labels is None else labels)]
    if len(shown) != len(counts):
        raise ValueError(f"labels must name {len(counts)} classes, got {len(shown)}")
    size = min(max(3.6, 0.55 * len(counts) + 1.6), 12)
    ax = style.axes(ax, (size + 0.9, size))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True, dtype=np.float64), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):  # zeros would hide the mistakes
        ax.text(
            column, row, f"{counts[row, column]:,}", ha="center", va="center",
            color="white" if shares[row, column] > 0.55 else "0.15",
            fontsize=9 if counts.max() < 10_000 else 7,
        )  # fmt: skip
    turned: dict[str, Any] = {"rotation": 90} if max(map(len, shown)) > 4 else {}
    ax.set_xticks(range(len(shown)), shown, **turned)
    ax.set_yticks(range(len(shown)), shown)
    right = float(np.trace(counts, dtype=np.float64)) / max(
        float(counts.sum(dtype=np.float64)), 1.0
    )
    ax.set(xlabel="said", ylabel="is", title=f"Confusion matrix: {right:.2%} right")
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label("share of the row")
    return ax


def calibration(
    y: np.ndarray, probabilities: np.ndarray, *, bins: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw how often what was said with a probability was right.

    On the diagonal a classifier is as sure as it may be; below it, too sure.

    Parameters
    ----------
    y : array_like of int, shape (rows,)
        Classes; 0 or 1 where there is one probability a row.
    probabilities : array_like, shape (rows,), (rows, 1) or (rows, classes)
        Of class 1; or of each class, and then the largest of each row is looked at.
    bins : int, default 10
        As many groups of probabilities, equally wide.
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
        The shapes do not fit, or something is no probability.

    Notes
    -----
    The expected calibration error of the title (Guo, Pleiss, Sun & Weinberger 2017) is the mean
    distance from the diagonal, weighted with the rows of each group.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.calibration(y, model.predict(x))  # doctest: +SKIP
    """
    bins = checks.integer("bins", bins)
    if bins > 1000:
        raise ValueError(f"bins must be at most 1000, got {bins}")
    truth = data.checked_array("y", y)
    said = data.checked_array("probabilities", probabilities).astype(np.float64)
    if said.ndim == 2 and said.shape[1] == 1:
        said = said[:, 0]
    if said.ndim not in (1, 2) or truth.ndim == 0 or len(said) != len(truth) or not said.size:
        raise ValueError(
            f"probabilities must have a row for each of y, of shape {truth.shape}, got {said.shape}"
        )
    truth = _classes(truth, 2 if said.ndim == 1 else said.shape[1])
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError(
            "probabilities must lie in [0, 1]; of logits, take their sigmoid or softmax"
        )
    if said.ndim == 2:
        is_right, sure = said.argmax(axis=1) == truth, said.max(axis=1)
        labels = ("probability of the class that was said", "share of the rows that were right")
    else:
        is_right, sure = truth == 1, said
        labels = ("probability of class 1", "share of the rows of class 1")
    group = np.minimum((sure * bins).astype(int), bins - 1)
    sizes = np.bincount(group, minlength=bins)
    used = sizes > 0
    means = np.bincount(group, sure, bins)[used] / sizes[used]
    rates = np.bincount(group, is_right, bins)[used] / sizes[used]
    error = float((np.abs(means - rates) * sizes[used]).sum() / sizes.sum())
    ax = style.axes(ax, (5.0, 4.6))
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1.2, label="as sure as right")
    ax.plot(means, rates, marker="o", linewidth=1.8, label="classifier", **style.TRAINING)
    ax.bar(
        (np.arange(bins) + 0.5) / bins, sizes / sizes.sum(), width=1 / bins, color="0.8",
        edgecolor="white", zorder=0, label="share of all rows",
    )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    return style.finish(
        ax, legend=True, xlabel=labels[0], ylabel=labels[1],
        title=f"Calibration: expected error {error:.3f}",
    )  # fmt: skip


def _checked(model: Model, x: Any, y: Any, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the data as points and classes."""
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != 2:
        raise ValueError(f"names must be two, one for each input, got {names!r}")
    points, classes = data.checked_array("x", x), data.checked_array("y", y)
    shapes = [shape for _, shape in model.input_shapes]
    if shapes != [(2,)]:
        raise ValueError(f"the model must have one input of shape (2,), it has {shapes}")
    if len(model.network.runtime.output_shapes) != 1:
        raise ValueError(f"the model must have one output, it has {model.output_names}")
    is_row = points.ndim == 2 and points.shape[1] == 2 and len(points) > 0
    if not is_row or classes.ndim not in (1, 2) or len(points) != len(classes):
        raise ValueError(
            f"x must have shape (rows, 2) and y as many rows, got {points.shape} and "
            f"{classes.shape}"
        )
    data.check_finite("x", points, model.dtype)
    data.check_finite("y", classes, "float64")
    if classes.ndim == 2 and classes.shape[1] > 1:
        classes = classes.argmax(axis=1)
    return points.astype(np.float64), _classes(classes, _count(model))


def _classes(y: np.ndarray, count: int) -> np.ndarray:
    """Return y as integers, if it holds classes of so many; -1 and 1 are two classes."""
    least = -1 if count == 2 else 0
    if y.ndim not in (1, 2) or y.size != len(y):
        raise ValueError(f"y must have shape (rows,) or (rows, 1), got {y.shape}")
    flat = y.reshape(-1)
    wrong = ~((flat >= least) & (flat < count) & (flat == np.rint(flat)))
    if wrong.any():
        classes = "0 and 1 (or -1 and 1)" if count == 2 else f"classes from 0 to {count - 1}"
        raise ValueError(f"y must hold {classes}, got {flat[wrong][0]}")
    return flat.astype(int)


def _count(model: Model) -> int:
    """Return how many classes a model tells apart."""
    return max(2, int(np.prod(model.network.runtime.output_shapes[0])))


def _around(points: np.ndarray) -> list[tuple[float, float]]:
    found = []
    for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True):
        margin = 0.12 * (high - low) or 1.0
        found.append((float(low - margin), float(high + margin)))
    return found


def _areas(model: Model, ax: Axes, limits: list[tuple[float, float]], count: int) -> None:
    """Colour each point by its class; of two classes, the deeper the surer."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    x, y = np.meshgrid(*(np.linspace(low, high, _GRID_POINTS) for low, high in limits))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(model.dtype)
    said = _probabilities(model, points)
    if count == 2:
        share = (said[:, 0] if said.shape[1] == 1 else said[:, 1]).reshape(x.shape)
        colors = [_pale(0), "white", _pale(1)]
        between = LinearSegmentedColormap.from_list("two classes", colors)
        ax.contourf(x, y, share, np.linspace(0, 1, 21), cmap=between)
        if share.min() < 0.5 < share.max():
            ax.contour(x, y, share, [0.5], colors="black", linewidths=1.4)
        return
    classes = said.argmax(axis=1).reshape(x.shape)
    palette = ListedColormap([_pale(i) for i in range(count)])
    ax.pcolormesh(x, y, classes, cmap=palette, vmin=-0.5, vmax=count - 0.5, rasterized=True)
    for number in range(said.shape[1]):  # smooth lines over the steps of the grid
        others = np.delete(said, number, axis=1).max(axis=1)
        ahead = (said[:, number] - others).reshape(x.shape)
        if ahead.min() < 0 < ahead.max():
            ax.contourf(x, y, ahead, [0, ahead.max()], colors=[_pale(number)])
            ax.contour(x, y, ahead, [0], colors="black", linewidths=1.0)


def _pale(number: int) -> Any:
    from matplotlib.colors import to_rgb

    color = np.array(to_rgb(style.color(number)))
    return tuple(1 - _PALE * (1 - color))


def _data(ax: Axes, points: np.ndarray, classes: np.ndarray) -> None:
    for number in np.unique(classes):
        across, up = points[classes == number].T
        place = max(number, 0)  # of -1 and 1, the first is drawn as class 0
        ax.scatter(
            across, up, s=26, label=f"class {number}", edgecolor="black",
            color=style.color(place), marker=style.marker(place), linewidth=0.5,
        )  # fmt: skip


def _probabilities(model: Model, points: np.ndarray) -> np.ndarray:
    """Return what the model gives as probabilities, of whatever form it gives."""
    said = np.asarray(model.predict(points), np.float64).reshape(len(points), -1)
    last = getattr(model.network.runtime.graph.steps[-1][0], "activation", None)
    end = getattr(last, "name", "linear")
    if end in ("sigmoid", "softmax", "hard_sigmoid"):
        return said
    loss = None if model.network.objective is None else model.network.objective.loss
    if end == "tanh" or getattr(loss, "name", "") == "hinge":  # between -1 and 1
        return np.clip((said + 1) / 2, 0, 1)
    if end != "linear" and end != "log_softmax" and said.min() >= 0 and said.max() <= 1:
        return said
    if end == "linear" and getattr(loss, "link", "") not in ("sigmoid", "softmax"):
        return np.clip(said, 0, 1) if said.shape[1] == 1 else said
    if said.shape[1] == 1:
        return 1 / (1 + np.exp(-np.clip(said, -500, 500)))
    powers = np.exp(said - said.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
