"""The loss around a trained model, along two directions, with the path of the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data
from fastnn.callbacks.recorder import Recorder, put_parameters, used
from fastnn.core import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model

_ROWS = 1024  # the most rows of the data: the picture takes hundreds of evaluations
_MARGIN = 0.25  # on each side, as a share of the path's extent


def landscape(
    model: Model,
    x: Any,
    y: Any,
    *,
    recorder: Recorder | None = None,
    points: int = 31,
    span: float = 1.0,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss around a model's parameters along two directions.

    With a recorder the directions are the two principal directions of the path that the training
    took (Li, Xu, Taylor, Studer & Goldstein 2018), which is drawn; the labels say which share of
    its variance each has. Without a recorder they are random, scaled for each kernel and bias to
    its length ("filter-normalized", which the paper does for each filter), so that steps of 1 mean
    the same in all layers; parameters that are not trained stay as they are.

    Parameters
    ----------
    model : Model
        A compiled model; its parameters are restored afterwards.
    x, y
        Data for the loss, as in `fit`. Of more than 1,024 rows, 1,024 are used, evenly spread.
    recorder : Recorder, optional
        A recorder that was among the callbacks of `fit`.
    points : int, default 31
        Number of points in each direction; the loss is evaluated points * points times.
    span : float, default 1.0
        How far to go along random directions, in lengths of the parameters.
    seed : int, default 0
        Seed of random directions.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError
        `recorder` is not a recorder.
    ValueError
        It has recorded another model, or fewer than three copies of the parameters.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.landscape(model, x, y, recorder=recorder)  # doctest: +SKIP
    """
    points = checks.integer("points", points, 3)
    span = checks.number("span", span, is_positive=True)
    x, y = _some_rows(model, x, y)
    center = model.network.runtime.copy_parameters()
    if recorder is None:
        plane = _random_plane(model, checks.integer("seed", seed, 0), span)
    else:
        plane = _recorded_plane(model, recorder, center)
    across, up = (np.linspace(low, high, points) for low, high in plane.limits)
    losses = _losses(model, x, y, center, plane, across, up)
    ax = style.axes(ax, (6.4, 4.8))
    finite = losses[np.isfinite(losses)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    style.contours(ax, across, up, losses, "loss", least if 0 < least < most / 20 else None)
    width, height = (high - low for low, high in plane.limits)
    style.same_scale(ax, width, height, beside=1.9)
    if plane.way is not None:
        _draw_way(ax, plane.way)
    ax.plot(0, 0, "*", markersize=15, color="white", markeredgecolor="black", label="now")
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1], title="Loss around the model")
    style.legend_below(ax, 3)
    return ax


@dataclass(frozen=True)
class _Plane:
    """Two directions from the parameters of a model, with limits, labels and a path.

    Attributes
    ----------
    directions : tuple of two ndarray, shape (parameters,)
    limits : list of two (float, float)
        How far to go along each, in lengths of the directions.
    labels : list of two str
    way : ndarray, shape (looks, 2), or None
        Where the parameters were while the model was trained.
    """

    directions: tuple[np.ndarray, np.ndarray]
    limits: list[tuple[float, float]]
    labels: list[str]
    way: np.ndarray | None = None


def _random_plane(model: Model, seed: int, span: float) -> _Plane:
    labels = ["random direction, lengths of the parameters", "another one"]
    return _Plane(_random_directions(model, seed), [(-span, span)] * 2, labels)


def _recorded_plane(model: Model, recorder: Recorder, center: np.ndarray) -> _Plane:
    if used(recorder).model.network.runtime.shapes != model.network.runtime.shapes:
        raise ValueError("recorder has watched another model")
    first, second, way, kept = _principal_directions(recorder, center)
    limits = [_with_margin(way[:, column]) for column in range(2)]
    labels = [
        f"principal direction {i + 1} of the path ({part:.0%})" for i, part in enumerate(kept)
    ]
    return _Plane((first, second), limits, labels, way)


def _losses(
    model: Model,
    x: Any,
    y: Any,
    center: np.ndarray,
    plane: _Plane,
    across: np.ndarray,
    up: np.ndarray,
) -> np.ndarray:
    """Return the loss at each point of a grid, shape (up, across)."""
    first, second = plane.directions
    losses = np.empty((len(up), len(across)))
    network = model.network.clone()
    model = model.of(network)
    for i, b in enumerate(up):
        for j, a in enumerate(across):
            moved = (center + a * first + b * second).astype(center.dtype)
            put_parameters(network, moved)
            losses[i, j] = model.evaluate(x, y)["loss"]
    return losses


def _draw_way(ax: Axes, way: np.ndarray) -> None:
    """Draw where the parameters were while the model was trained, and where they started."""
    look: dict[str, Any] = {
        "color": style.VERMILLION,
        "linewidth": 1.8,
        "marker": "o",
        "markersize": 4,
    }
    ax.plot(*way.T, label="training", markeredgecolor="black", markeredgewidth=0.5, **look)
    ax.plot(*way[0], "o", color=style.GREEN, markeredgecolor="black", label="start")


def _some_rows(model: Model, x: Any, y: Any) -> tuple[Any, Any]:
    """Return rows evenly spread, in lists where the model has several inputs or outputs."""
    inputs = x if len(model.input_shapes) > 1 else [x]
    targets = _targets_by_output(y, model.output_names)
    xs = [data.checked_rows("x", one) for one in inputs]
    ys = [data.checked_rows("y", one) for one in targets]
    count = xs[0].shape[0] if xs[0].ndim else 0
    if count > _ROWS and all(a.shape[:1] == (count,) for a in (*xs, *ys)):  # else evaluate raises
        rows = np.linspace(0, count - 1, _ROWS).astype(int)
        xs, ys = [a[rows] for a in xs], [a[rows] for a in ys]
    return (xs if len(xs) > 1 else xs[0]), (ys if len(ys) > 1 else ys[0])


def _targets_by_output(y: Any, names: list[str]) -> list[Any]:
    """Return the targets as a list, in the order of the outputs."""
    if len(names) == 1:
        return [y]
    return list(data.by_name("y", y, names).values()) if isinstance(y, dict) else y


def _random_directions(model: Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    runtime = model.network.runtime
    made = []
    factors = runtime.graph.rate_factors()
    for _ in range(2):
        flat = np.zeros(runtime.count)
        for name, view in runtime.views_of(flat).items():
            direction = generator.normal(size=view.shape)
            length = np.linalg.norm(runtime.parameters[name]) if factors[name] else 0.0
            view[...] = direction * (length / max(float(np.linalg.norm(direction)), 1e-30))
        made.append(flat)
    return made[0], made[1]


def _principal_directions(
    recorder: Recorder, center: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Return two directions of length 1, the path along them, and their shares of its variance."""
    if len(recorder.parameters) < 3:
        raise ValueError(
            f"the recorder has kept the parameters {len(recorder.parameters)} times; a path takes "
            "three: train for more epochs"
        )
    moves = np.array(recorder.parameters, np.float64) - center
    # The eigenvectors of the small matrix of products between moves, not of their covariances,
    # which are a large one.
    sizes, mixtures = np.linalg.eigh(moves @ moves.T)
    directions = mixtures[:, :-3:-1].T @ moves
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    total = max(float(sizes.clip(0).sum()), 1e-300)
    directions[(directions @ moves[0]) > 0] *= -1  # training starts on the left, below
    kept = [max(float(size), 0.0) / total for size in sizes[:-3:-1]]
    return directions[0], directions[1], moves @ directions.T, kept


def _with_margin(values: np.ndarray) -> tuple[float, float]:
    low, high = float(min(values.min(), 0)), float(max(values.max(), 0))
    margin = max(_MARGIN * (high - low), 1e-6)
    return low - margin, high + margin
