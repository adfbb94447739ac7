"""The loss around a trained model, along two directions, with the way that training has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data
from fastnn.callbacks.recorder import Recorder, parameters_of, used
from fastnn.core import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model

_ROWS = 1024  # of the data, at most: the picture takes hundreds of evaluations
_MARGIN = 0.25  # of the way's extent, on each side


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
    r"""Draw the loss around a model's parameters along two directions.

    With a recorder the directions are the two principal ones of the way that the training has
    gone (Li, Xu, Taylor, Studer & Goldstein 2018), which is drawn; the labels say how much of it
    they hold. Without one they are random, and for each kernel and bias as long as it is
    ("filter-normalized", there by filter), so that steps of 1 mean the same in all layers; what
    is not trained stays as it is.

    Parameters
    ----------
    model : Model
        Compiled. Its parameters are as they were when the picture is done.
    x, y
        Data for the loss, as in `fit`; 1,024 rows evenly spread, if there are more.
    recorder : Recorder, optional
        That was among the callbacks of `fit`.
    points : int, default 31
        In each direction; as many evaluations squared.
    span : float, default 1.0
        Random directions: how far to go, in lengths of the parameters.
    seed : int, default 0
        Of random directions.
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
        `recorder` is no recorder.
    ValueError
        It has watched another model, or seen fewer than three looks.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.landscape(model, x, y, recorder=recorder)  # doctest: +SKIP
    """
    points = checks.integer("points", points, 3)
    span = checks.number("span", span, is_positive=True)
    x, y = _some_rows(model, x, y)
    center = model.runtime.arenas["parameters"].copy()
    if recorder is None:
        first, second = _random_directions(model, checks.integer("seed", seed, 0))
        limits = [(-span, span)] * 2
        labels = ["random direction, lengths of the parameters", "another one"]
        way = None
    else:
        if used(recorder).model.runtime.shapes != model.runtime.shapes:
            raise ValueError("recorder has watched another model")
        first, second, way, kept = _principal_directions(recorder, center)
        limits = [_with_margin(way[:, column]) for column in range(2)]
        labels = [
            f"principal direction {i + 1} of the way ({part:.0%})" for i, part in enumerate(kept)
        ]
    across, up = (np.linspace(low, high, points) for low, high in limits)
    losses = np.empty((points, points))
    for i, b in enumerate(up):
        for j, a in enumerate(across):
            moved = (center + a * first + b * second).astype(center.dtype)
            with parameters_of(model, moved):
                losses[i, j] = model.evaluate(x, y)["loss"]
    ax = style.axes(ax, (6.4, 4.8))
    finite = losses[np.isfinite(losses)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    style.contours(ax, across, up, losses, "loss", least if 0 < least < most / 20 else None)
    if way is not None:
        look: dict[str, Any] = {
            "color": style.VERMILLION,
            "linewidth": 1.8,
            "marker": "o",
            "markersize": 4,
        }
        ax.plot(*way.T, label="training", markeredgecolor="black", markeredgewidth=0.5, **look)
        ax.plot(*way[0], "o", color=style.GREEN, markeredgecolor="black", label="start")
    ax.plot(0, 0, "*", markersize=15, color="white", markeredgecolor="black", label="now")
    ax.set(xlabel=labels[0], ylabel=labels[1], title="Loss around the model")
    style.legend_below(ax, 3)
    return ax


def _some_rows(model: Model, x: Any, y: Any) -> tuple[Any, Any]:
    """Return rows evenly spread, in lists where the model has several inputs or outputs."""
    inputs = x if len(model.input_shapes) > 1 else [x]
    targets = y
    if len(model.output_names) == 1:
        targets = [y]
    elif isinstance(y, dict):
        targets = list(data.by_name("y", y, model.output_names).values())
    xs, ys = (
        [data.checked_rows("x", a) for a in inputs],
        [data.checked_rows("y", a) for a in targets],
    )
    count = xs[0].shape[0] if xs[0].ndim else 0
    if count > _ROWS and all(a.shape[:1] == (count,) for a in (*xs, *ys)):  # else evaluate objects
        rows = np.linspace(0, count - 1, _ROWS).astype(int)
        xs, ys = [a[rows] for a in xs], [a[rows] for a in ys]
    return (xs if len(xs) > 1 else xs[0]), (ys if len(ys) > 1 else ys[0])


def _random_directions(model: Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    runtime = model.runtime
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
    """Return two directions of length 1, the way along them, and their shares of its variance."""
    if len(recorder.parameters) < 3:
        raise ValueError(
            f"the recorder has looked {len(recorder.parameters)} times; a way takes three looks: "
            "train for more epochs"
        )
    moves = np.array(recorder.parameters, np.float64) - center
    # Of the moves' products with each other, a small matrix, where their own would be a large one.
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
