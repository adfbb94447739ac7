"""Walks down a function: on its curve, its contours, its surface, and over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d.axes3d import Axes3D

    from fastnn.descent import Descent

_CURVE_POINTS = 400
_GRID_POINTS = 121  # in each direction
_LEVELS = 24
_STEPS_WITH_DOTS = 60  # more would run into each other


def descent(
    descents: Descent | Sequence[Descent] | dict[str, Descent], *, ax: Axes | None = None
) -> Axes:
    """Draw walks down a function: on its curve, on its contours, or over the steps.

    A function of one variable is drawn as a curve, one of two as filled contours; of more, the
    value over the steps.

    Parameters
    ----------
    descents : Descent, or several of one function
        A dict names them in the legend; else their optimizers do.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes
        Save it with ``ax.figure.savefig("descent.png")``.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no walk, or they are not all of as many variables.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn import plots
    >>> bowl = fnn.descent.functions.bowl
    >>> walk = fnn.descent.minimize(bowl, [-8, 6], optimizer=fnn.SGD(0.1), steps=20)
    >>> plots.descent(walk).get_xlabel()  # doctest: +SKIP
    'x'
    """
    walks = _named(descents)
    first = next(iter(walks.values()))
    if first.variables > 2:
        return _values(walks, style.axes(ax))
    draw = _on_curve if first.variables == 1 else _on_contours
    return draw(walks, style.axes(ax, (6.4, 4.8)))


def surface(
    descents: Descent | Sequence[Descent] | dict[str, Descent], *, ax: Axes3D | None = None
) -> Axes3D:
    """Draw walks on the surface of a function of two variables.

    Parameters
    ----------
    descents : Descent, or several of one function
        See `descent`.
    ax : matplotlib Axes3D, optional
        Where to draw, made with ``projection="3d"``; default: a new figure.

    Returns
    -------
    matplotlib Axes3D

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The function has not two variables, or the axes not three dimensions.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.surface(walk).get_zlabel()  # doctest: +SKIP
    'f(x, y)'
    """
    walks = _named(descents)
    first = next(iter(walks.values()))
    if first.variables != 2:
        raise ValueError(f"a surface takes a function of two variables, this has {first.variables}")
    if ax is not None and not hasattr(ax, "plot_surface"):
        raise ValueError('ax must have three dimensions: subplots(subplot_kw={"projection": "3d"})')
    ax = style.axes(ax, (7.0, 5.4), projection="3d")
    limits = _limits(walks)
    x, y, z = _grid(first, limits, 61)
    effects = _outlined("white")
    ax.computed_zorder = False  # a walk lies on the surface, not half in it
    ax.plot_surface(x, y, z, cmap=style.SEQUENTIAL, alpha=0.75, linewidth=0, zorder=1)
    for number, (name, walk) in enumerate(walks.items()):
        height = np.ptp(z) * 0.01  # a line in the surface would flicker
        is_inside = np.all([(low <= way) & (way <= high) for way, (low, high)
                            in zip(walk.path.T, limits, strict=True)], axis=0)  # fmt: skip
        way = np.where(is_inside, (*walk.path.T, walk.values + height), np.nan)
        ax.plot(*way, label=name, zorder=3, path_effects=effects, **_look(number))
        if number == 0:
            ax.scatter(
                *walk.path[0],
                walk.values[0] + height,
                color=style.GREEN,
                edgecolor="black",
                s=70,
                label="start",
                zorder=4,
            )
        if is_inside[-1]:
            ax.scatter(*way[:, -1], color="black", s=25, zorder=4)
    for minimum in _minima(first):
        ax.scatter(*minimum, first.function(np.array(minimum)), marker="*", s=140, label="minimum",
                   color="white", edgecolor="black", zorder=4)  # fmt: skip
    ax.set(xlabel="x", ylabel="y", zlabel="f(x, y)", title=_title(walks))
    ax.tick_params(labelsize=8)
    ax.set_box_aspect(None, zoom=0.88)  # else the label of z is cut
    ax.legend(frameon=False, loc="upper left", fontsize="small")
    return ax


def convergence(
    descents: Descent | Sequence[Descent] | dict[str, Descent], *, ax: Any = None
) -> list[Axes]:
    """Draw value and gradient norm over the steps.

    Parameters
    ----------
    descents : Descent, or several
        See `descent`.
    ax : two matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    list of matplotlib Axes
        That of the value, that of the norm.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The axes given are not two.

    Notes
    -----
    The value is drawn above the least that is known (the function's minimum, or the least value of
    all walks), on a logarithmic axis, where that is no less than the walks' values.

    Examples
    --------
    >>> from fastnn import plots
    >>> [ax.get_ylabel() for ax in plots.convergence(walk)]  # doctest: +SKIP
    ['f - min f (log scale)', '|gradient| (log scale)']
    """
    walks = _named(descents)
    upper, lower = style.panels(ax, 2, (6.4, 2.7), names="value and the norm", sharex=ax is None)
    _values(walks, upper)
    for number, (name, walk) in enumerate(walks.items()):
        lower.plot(_positive(walk.gradient_norms), label=name, **_look(number))
    lower.set_yscale("log")
    style.whole_numbers(lower)
    style.finish(lower, xlabel="step", ylabel="|gradient| (log scale)")
    upper.set_xlabel("")
    return [upper, lower]


def animate_descent(walk: Descent, file: str | Path, *, fps: float = 10, frames: int = 100) -> Path:
    """Save a walk of one or two variables as a moving picture.

    Parameters
    ----------
    walk : Descent
    file : str or Path
        ``walk.gif``, or ``walk.mp4`` where ffmpeg is installed.
    fps : float, default 10
        Frames a second.
    frames : int, default 100
        At most so many; steps are left out, evenly.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The walk is of more variables, or the file's name ends otherwise.
    RuntimeError
        ffmpeg, which writes mp4, is missing.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.animate_descent(walk, "walk.gif", fps=10)  # doctest: +SKIP
    """
    if walk.variables > 2:
        raise ValueError(f"only walks of one or two variables can move, this has {walk.variables}")
    fps = checks.number("fps", fps, is_positive=True)
    chosen = style.spread(walk.steps + 1, checks.integer("frames", frames))
    plt = style.pyplot()
    figure, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    try:
        descent(walk, ax=ax)
        (line,) = (one for one in ax.lines if one.get_gid() == "way")
        dot = ax.plot([], [], "o", color="black", markersize=8, zorder=5)[0]
        text = ax.annotate("", (0.03, 0.05), xycoords="axes fraction", backgroundcolor="white")
        across, up = walk.path.T if walk.variables == 2 else (walk.path, walk.values)
        for other in ax.lines:
            if other.get_gid() == "end":
                other.set_visible(False)

        def draw(step: int) -> None:
            line.set_data(across[: step + 1], up[: step + 1])
            dot.set_data(across[step : step + 1], up[step : step + 1])
            text.set_text(f"step {step}: f = {walk.values[step]:.6g}")

        return style.animate(figure, draw, chosen, file, fps)
    finally:
        plt.close(figure)


def _named(descents: Descent | Sequence[Descent] | dict[str, Descent]) -> dict[str, Descent]:
    """Return the walks with their names in the legend."""
    if isinstance(descents, dict):
        walks = dict(descents)
    else:
        listed = list(descents) if isinstance(descents, Sequence) else [descents]
        walks = {}
        for walk in listed:
            name = repr(walk.optimizer)
            while name in walks:
                name += " again"
            walks[name] = walk
    if len({walk.variables for walk in walks.values()}) != 1:
        raise ValueError("descents must be walks, all of as many variables")
    return walks


def _title(walks: dict[str, Descent]) -> str:
    function = next(iter(walks.values())).function
    formula = getattr(function, "formula", "")
    title = f"$f = {formula}$" if formula else "Descent"
    if len(walks) == 1:
        name, walk = next(iter(walks.items()))
        title += f"\n{name}, {walk.steps} steps"
    return title


def _minima(walk: Descent) -> tuple[tuple[float, ...], ...]:
    return getattr(walk.function, "minima", ())


def _limits(walks: dict[str, Descent]) -> list[tuple[float, float]]:
    """Return what to draw in each direction: the function's own limits, and all walks."""
    first = next(iter(walks.values()))
    paths = np.concatenate([walk.path.reshape(len(walk.path), -1) for walk in walks.values()])
    found = []
    for column in range(first.variables):
        low, high = float(paths[:, column].min()), float(paths[:, column].max())
        own = getattr(first.function, "limits", None)
        margin = 0.08 * (high - low) if own else max(0.25 * (high - low), 1e-3 * abs(high), 1e-9)
        low, high = low - margin, high + margin
        if own and len(own) == first.variables:
            left, right = own[column]
            beyond = 0.5 * (right - left)  # a walk that runs away leaves the picture
            low = min(left, max(low, left - beyond))
            high = max(right, min(high, right + beyond))
        found.append((low, high))
    return found


def _on_curve(walks: dict[str, Descent], ax: Axes) -> Axes:
    first = next(iter(walks.values()))
    ((low, high),) = _limits(walks)
    across = np.linspace(low, high, _CURVE_POINTS)
    with np.errstate(all="ignore"):
        up = np.array([_value(first, float(x)) for x in across])
    ax.plot(across, up, color="0.45", linewidth=1.6, zorder=1)
    for number, (name, walk) in enumerate(walks.items()):
        _way(ax, walk.path, walk.values, number, name if len(walks) > 1 else "steps")
    for i, minimum in enumerate(_minima(first)):
        label = "minimum" if i == 0 else None
        ax.plot(minimum[0], _value(first, minimum[0]), label=label, **_STAR)
    style.finish(ax, xlabel="x", ylabel="f(x)", title=_title(walks))
    if len(walks) == 1:
        ax.legend(frameon=False)
    else:
        style.legend_below(ax, 3)
    return ax


def _on_contours(walks: dict[str, Descent], ax: Axes) -> Axes:
    from matplotlib.colors import LogNorm

    first = next(iter(walks.values()))
    limits = _limits(walks)
    x, y, z = _grid(first, limits, _GRID_POINTS)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    middle = float(np.nanmedian(z))
    # Where most of the picture is far below its highest point, even steps would show one colour.
    is_steep = low >= -1e-9 * high and 0 < middle < high / 8
    if is_steep:
        least = max(low, high * 1e-5)
        levels = np.geomspace(least, high, _LEVELS)
        filled = ax.contourf(
            x, y, np.maximum(z, least), levels, cmap=style.SEQUENTIAL, norm=LogNorm(least, high)
        )
    else:
        filled = ax.contourf(x, y, z, _LEVELS, cmap=style.SEQUENTIAL)
    ax.contour(x, y, z, filled.levels, colors="white", linewidths=0.3, alpha=0.6)
    bar = ax.figure.colorbar(filled, ax=ax)
    bar.set_label("f(x, y)" + " (log scale)" * is_steep)
    if is_steep:
        decades = np.arange(np.ceil(np.log10(least)), np.floor(np.log10(high)) + 1)
        bar.set_ticks(list(10.0**decades), labels=[f"{10.0**d:g}" for d in decades])
    for number, (name, walk) in enumerate(walks.items()):
        across, up = walk.path.T
        _way(ax, across, up, number, name if len(walks) > 1 else "steps", is_dark=True)
    for i, minimum in enumerate(_minima(first)):
        ax.plot(*minimum, label="minimum" if i == 0 else None, **_STAR)
    ax.set(xlabel="x", ylabel="y", title=_title(walks), xlim=limits[0], ylim=limits[1])
    style.legend_below(ax, 3 if len(walks) == 1 else 2)
    return ax


_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 15, "markerfacecolor": "white", "markeredgecolor": "black",
    "linestyle": "none", "zorder": 4,
}  # fmt: skip


# On curves, contours and surfaces alike; blue would drown in the ground of the latter.
_COLORS = (style.VERMILLION, style.SKY, style.BLACK, style.PURPLE, style.ORANGE, style.GREEN)


def _look(number: int) -> dict[str, Any]:
    """Return color and line style of a walk among several."""
    return {**style.curve(number), "color": _COLORS[number % len(_COLORS)]}


def _outlined(color: str) -> list[Any]:
    """Return what sets a line off from the ground."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=3.0, foreground=color), patheffects.Normal()]


def _way(
    ax: Axes,
    across: np.ndarray,
    up: np.ndarray,
    number: int,
    label: str,
    *,
    is_dark: bool = False,
) -> None:
    """Draw a walk, its start and its end."""
    line = _look(number)
    marker = style.MARKERS[number % len(style.MARKERS)]
    edge = "white" if line["color"] == style.BLACK else "black"
    effects = _outlined(edge if is_dark else "white")
    every = max(1, len(across) // _STEPS_WITH_DOTS)
    ends: dict[str, Any] = {
        "marker": "o",
        "markersize": 9,
        "markeredgecolor": "black",
        "linestyle": "none",
    }
    if number == 0:
        ax.plot(across[0], up[0], color=style.GREEN, label="start", zorder=3, **ends)
    ax.plot(across[-1], up[-1], color="black", gid="end", zorder=3, **{**ends, "markersize": 6})
    ax.plot(
        across, up, label=label, gid="way", marker=marker, markersize=4, markevery=every, zorder=2,
        path_effects=effects, **line,
    )  # fmt: skip


def _values(walks: dict[str, Descent], ax: Axes) -> Axes:
    """Draw values over the steps."""
    first = next(iter(walks.values()))
    with np.errstate(all="ignore"):
        known = [_value(first, _point(first, minimum)) for minimum in _minima(first)]
    least = min(known, default=np.inf)
    lowest = min(float(walk.values.min()) for walk in walks.values())
    is_above = least <= lowest + 1e-12 * (1 + abs(least))
    base = least if is_above else 0.0
    is_log = is_above or lowest > 0
    for number, (name, walk) in enumerate(walks.items()):
        values = walk.values - base
        ax.plot(_positive(values) if is_log else values, label=name, **_look(number))
    ax.set_yscale("log" if is_log else "linear")
    style.whole_numbers(ax)
    label = "f - min f" if is_above else "f"
    style.finish(ax, xlabel="step", ylabel=label + " (log scale)" * is_log, title=_title(walks))
    if len(walks) > 1:
        ax.legend(frameon=False)
    return ax


def _positive(values: np.ndarray) -> np.ndarray:
    """Return the values with gaps where a logarithmic axis has no place for them."""
    return np.where(values > 0, values, np.nan)


def _point(walk: Descent, point: Sequence[float]) -> Any:
    return point[0] if walk.path.ndim == 1 else np.array(point)


def _value(walk: Descent, x: Any) -> float:
    """Return the function at a point; NaN where it has no value."""
    try:
        if walk.path.ndim == 2 and np.ndim(x) == 0:
            x = np.array([x])
        return float(np.asarray(walk.function(x)).reshape(()))
    except (OverflowError, ZeroDivisionError, ValueError):
        return np.nan


def _grid(
    walk: Descent, limits: list[tuple[float, float]], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and the function on a grid of count by count points."""
    x, y = np.meshgrid(*(np.linspace(low, high, count) for low, high in limits))
    with np.errstate(all="ignore"):
        z = [_value(walk, np.array(point)) for point in zip(x.flat, y.flat, strict=True)]
    return x, y, np.array(z).reshape(x.shape)
