"""Decision boundaries: where one class ends and the next begins, for classifiers of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data
from fastnn.callbacks.recorder import Recorder, put_parameters, used
from fastnn.core import checks
from fastnn.plots import style
from fastnn.plots.predictions import checked_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model

_GRID_POINTS = 161
_PALE = 0.35  # share of a color that is left behind the data


def decision_boundary(
    model: Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    names: Sequence[str] = ("x[0]", "x[1]"),
    ax: Axes | None = None,
) -> Axes:
    """Draw the class that a classifier of two inputs predicts at each point, and the data.

    Parameters
    ----------
    model : Model
        A model of two inputs, with an output for each class or a single one (the probability or
        logit of class 1).
    x : array_like, shape (rows, 2)
    y : array_like of int, shape (rows,)
        Classes of the rows; or rows of probabilities.
    names : sequence of two str
        Names of the inputs, for the labels.
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
        The model does not have two inputs.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.decision_boundary(model, x, y)  # doctest: +SKIP
    """
    points, classes = _checked(model, x, y, names)
    ax = style.axes(ax, (5.6, 4.6))
    _areas(model, ax, _around(points), _count(model))
    _data(ax, points, classes)
    across, up = map(style.name, names)
    ax.set(xlabel=across, ylabel=up, title="Decision boundary")
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
    """Save how the boundary of a classifier of two inputs moved as it learned, as an animation.

    Parameters
    ----------
    recorder : Recorder
        A recorder that was among the callbacks of `fit`.
    x, y, names
        See `decision_boundary`.
    file : str or Path
        ``learning.gif``, or ``learning.mp4`` where ffmpeg is installed.
    fps : float, default 10
        Frames a second; of a gif at most 50.
    frames : int, default 100
        The most frames to draw, evenly spread over the copies that the recorder has.

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
    network = model.network.clone()
    moved = model.of(network)

    def draw(look: int) -> None:
        ax.clear()
        put_parameters(network, recorder.parameters[look])
        _areas(moved, ax, limits, count)
        _data(ax, points, classes)
        title = f"Decision boundary after {recorder.epochs[look]} epochs"
        across, up = map(style.name, names)
        ax.set(xlabel=across, ylabel=up, title=title)
        style.legend_below(ax, 5)

    try:
        return style.animate(figure, draw, style.spread(len(recorder.epochs), frames), path, fps)
    finally:
        plt.close(figure)


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
    return points.astype(np.float64), checked_classes(classes, _count(model))


def _count(model: Model) -> int:
    """Return the number of classes that a model distinguishes."""
    return max(2, int(np.prod(model.network.runtime.output_shapes[0])))


def _around(points: np.ndarray) -> list[tuple[float, float]]:
    found = []
    for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True):
        margin = 0.12 * (high - low) or 1.0
        found.append((float(low - margin), float(high + margin)))
    return found


def _areas(model: Model, ax: Axes, limits: list[tuple[float, float]], count: int) -> None:
    """Color each point by its class; for two classes, a deeper color is a surer prediction."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    x, y = np.meshgrid(*(np.linspace(low, high, _GRID_POINTS) for low, high in limits))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(model.dtype)
    ax.grid(False)
    width, height = (high - low for low, high in limits)
    style.same_scale(ax, width, height)
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
    for number in range(said.shape[1]):  # smooth lines that cover the steps of the grid
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
    """Return the outputs of the model as probabilities, whatever form they have."""
    said = np.asarray(model.predict(points), np.float64).reshape(len(points), -1)
    end = getattr(model.network.graph.steps[-1][0], "activation", None)
    span = None if end is None else end.range
    if span == (0.0, 1.0):
        return said
    objective = model.network.objective
    loss = None if objective is None or not objective.has_loss else objective.loss
    if span == (-1.0, 1.0) or (loss is not None and loss.target_range == (-1, 1)):
        return np.clip((said + 1) / 2, 0, 1)
    is_linear = span is None or span == (-np.inf, np.inf)
    is_probability = said.min() >= 0 and said.max() <= 1
    if not is_linear and is_probability:
        return said
    if is_linear and (loss is None or loss.target_range != (0, 1)):
        return np.clip(said, 0, 1) if said.shape[1] == 1 else said
    if said.shape[1] == 1:
        return 1 / (1 + np.exp(-np.clip(said, -500, 500)))
    powers = np.exp(said - said.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
