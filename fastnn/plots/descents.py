"""Walks down a function, drawn on its curve, its contours, its surface, and over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.core import checks
from fastnn.descent import Descent
from fastnn.plots import paths, style
from fastnn.plots.paths import Descents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d.axes3d import Axes3D

_CURVE_POINTS = 400
_GRID_POINTS = 121  # in each direction
_STEPS_WITH_DOTS = 60  # more dots would overlap


def descent(descents: Descents, *, ax: Axes | None = None) -> Axes:
    """Draw walks down a function: on its curve, on its contours, or over the steps.

    A function of one variable is drawn as a curve, one of two variables as filled contours; for
    more variables, the value is drawn over the steps.

    Parameters
    ----------
    descents : Descent, or several of one function
        The keys of a dict are the names in the legend; otherwise the optimizers are.
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
    TypeError, ValueError
        There is no walk, or something other than a walk, or the walks differ in their number of
        variables.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn import plots
    >>> bowl = fnn.descent.functions.bowl
    >>> walk = fnn.descent.minimize(bowl, [-8, 6], optimizer=fnn.SGD(0.1), steps=20)
    >>> plots.descent(walk).get_xlabel()  # doctest: +SKIP
    'x'
    """
    walks = paths.of_one_function(paths.named(descents))
    first = next(iter(walks.values()))
    if first.variables > 2:
        return _values(walks, style.axes(ax))
    draw = _on_curve if first.variables == 1 else _on_contours
    return draw(walks, style.axes(ax, (6.4, 4.8)))


def surface(descents: Descents, *, ax: Axes3D | None = None) -> Axes3D:
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
        The function does not have two variables, or the axes do not have three dimensions.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.surface(walk).get_zlabel()  # doctest: +SKIP
    'f(x, y)'
    """
    walks = paths.of_one_function(paths.named(descents))
    first = next(iter(walks.values()))
    if first.variables != 2:
        raise ValueError(f"a surface takes a function of two variables, this has {first.variables}")
    if ax is not None and not hasattr(ax, "plot_surface"):
        raise ValueError('ax must have three dimensions: subplots(subplot_kw={"projection": "3d"})')
    ax = style.axes(ax, (7.0, 5.4), projection="3d")
    limits = paths.limits_of(walks)
    x, y, z = paths.grid(first, limits, 61)
    ax.computed_zorder = False  # else a walk is half hidden in the surface
    ax.plot_surface(x, y, z, cmap=style.SEQUENTIAL, alpha=0.75, linewidth=0, zorder=1)
    extent = np.nanmax(z) - np.nanmin(z) if np.isfinite(z).any() else 0.0
    for number, (name, walk) in enumerate(walks.items()):
        _walk_on_surface(ax, walk, limits, number, len(walks), name, lift=0.01 * extent)
    for minimum in paths.minima(first):
        ax.scatter(*minimum, first.function(np.array(minimum)), marker="*", s=140, label="minimum",
                   color="white", edgecolor="black", zorder=4)  # fmt: skip
    ax.set(xlabel="x", ylabel="y", zlabel="f(x, y)", title=paths.title(walks, ax))
    ax.tick_params(labelsize=8)
    ax.locator_params(nbins=5)  # more labels would overlap where the axes are small
    sides = [high - low for low, high in limits]
    is_similar = max(sides) <= 2 * min(sides)  # one scale, so that circles are round
    floor = [side / max(sides) for side in sides] if is_similar else [1.0, 1.0]
    ax.set_box_aspect((*floor, 0.75), zoom=1.0)  # else the label of z is cut off
    style.legend_below(ax, 5)
    return ax


def _walk_on_surface(
    ax: Axes3D,
    walk: Descent,
    limits: list[tuple[float, float]],
    number: int,
    count: int,
    name: str,
    *,
    lift: float,
) -> None:
    """Draw the part of a walk within the limits, lifted, since a line in a surface flickers."""
    is_in = np.all([(low <= column) & (column <= high) for column, (low, high) in
                    zip(walk.path.T, limits, strict=True)], axis=0)  # fmt: skip
    way = np.where(is_in, walk.values + lift, np.nan)
    if number == 0:
        ax.scatter(
            *walk.path[0],
            way[0],
            color=style.GREEN,
            edgecolor="black",
            s=70,
            label="start",
            zorder=4,
        )
    line = paths.curve(number)
    line["linewidth"] += paths.nested(number, count)
    end = paths.end(number, count)
    ax.plot(
        *walk.path[is_in].T, way[is_in], label=paths.shown(name), zorder=3, marker=end["marker"],
        markevery=[], markersize=5, path_effects=paths.outlined("white", line["linewidth"]), **line,
    )  # fmt: skip
    if is_in[-1]:
        ax.plot(*([where] for where in (*walk.path[-1], way[-1])), **end)


def convergence(descents: Descents, *, ax: Any = None) -> list[Axes]:
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
        The axes of the value, and those of the norm.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        `ax` does not hold two axes.

    Notes
    -----
    The value is drawn as its height above the function's minimum, where that is known and no walk
    has gone below it. The axes are logarithmic where the numbers are positive and span a decade.

    Examples
    --------
    >>> from fastnn import plots
    >>> [ax.get_ylabel() for ax in plots.convergence(walk)]  # doctest: +SKIP
    ['f - min f (log scale)', '|gradient| (log scale)']
    """
    walks = paths.named(descents)
    upper, lower = style.panels(ax, 2, (6.4, 2.7), names="value and the norm", sharex=ax is None)
    _values(walks, upper, has_legend=False)
    for number, (name, walk) in enumerate(walks.items()):
        lower.plot(walk.gradient_norms, label=paths.shown(name), **paths.curve(number))
    style.whole_numbers(lower)
    style.finish(lower, xlabel="step", ylabel="|gradient|" + _log_scale(lower))
    if len(walks) > 1:
        style.legend_below(lower, 2)
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
        Frames a second; of a gif at most 50.
    frames : int, default 100
        The most frames to draw; steps are left out evenly.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The walk has more variables, or the name of the file ends otherwise.
    RuntimeError
        ffmpeg, which writes mp4, is missing.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.animate_descent(walk, "walk.gif", fps=10)  # doctest: +SKIP
    """
    if not isinstance(walk, Descent):
        raise TypeError(f"walk must be what minimize returned, got {walk!r}")
    path = style.check_movie(file, fps)
    if walk.variables > 2:
        raise ValueError(f"only walks of one or two variables can move, this has {walk.variables}")
    chosen = style.spread(walk.steps + 1, checks.integer("frames", frames))
    plt = style.pyplot()
    figure, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    try:
        descent(walk, ax=ax)
        (line,) = (one for one in ax.lines if one.get_gid() == "way")
        dot = ax.plot([], [], "o", color="black", markersize=8, zorder=5)[0]
        first = ax.get_title()
        across, up = walk.path.T if walk.variables == 2 else (walk.path, walk.values)
        for other in ax.lines:
            if other.get_gid() == "end":
                other.set_visible(False)

        def draw(step: int) -> None:
            line.set_data(across[: step + 1], up[: step + 1])
            dot.set_data(across[step : step + 1], up[step : step + 1])
            # Over the picture it would hide a part of the walk.
            ax.set_title(f"{first}\nstep {step}: f = {walk.values[step]:.6g}")

        return style.animate(figure, draw, chosen, path, fps)
    finally:
        plt.close(figure)


def _on_curve(walks: dict[str, Descent], ax: Axes) -> Axes:
    first = next(iter(walks.values()))
    ((low, high),) = paths.limits_of(walks)
    across = np.linspace(low, high, _CURVE_POINTS)
    with np.errstate(all="ignore"):
        up = np.array([paths.value_at(first, float(x)) for x in across])
    ax.plot(across, up, color="0.45", linewidth=1.6, zorder=1)
    extents = (high - low, float(np.ptp(up[np.isfinite(up)])) if np.isfinite(up).any() else 0.0)
    for number, (name, walk) in enumerate(walks.items()):
        _way(ax, walk.path, walk.values, number, len(walks), name, extents)
    for i, minimum in enumerate(paths.minima(first)):
        label = "minimum" if i == 0 else None
        ax.plot(minimum[0], paths.value_at(first, minimum[0]), label=label, **_STAR)
    ax.set_xlim(low, high)
    seen = up[np.isfinite(up)]
    if (
        any(walk.path.min() < low or walk.path.max() > high for walk in walks.values())
        and seen.size
    ):
        margin = 0.05 * float(np.ptp(seen)) or 1.0
        ax.set_ylim(seen.min() - margin, seen.max() + margin)
    style.finish(ax, xlabel="x", ylabel="f(x)", title=paths.title(walks, ax))
    style.legend_below(ax, 3 if len(walks) == 1 else 2)
    return ax


def _on_contours(walks: dict[str, Descent], ax: Axes) -> Axes:
    first = next(iter(walks.values()))
    limits = paths.limits_of(walks)
    x, y, z = paths.grid(first, limits, _GRID_POINTS)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    middle = float(np.nanmedian(z))
    # Where most of the picture is far below its highest point, even steps would show one color.
    is_steep = low >= -1e-9 * high and 0 < middle < high / 8
    style.contours(ax, x, y, z, "f(x, y)", max(low, high * 1e-5) if is_steep else None)
    extents = (limits[0][1] - limits[0][0], limits[1][1] - limits[1][0])
    for number, (name, walk) in enumerate(walks.items()):
        across, up = walk.path.T
        _way(ax, across, up, number, len(walks), name, extents, is_dark=True)
    for i, minimum in enumerate(paths.minima(first)):
        ax.plot(*minimum, label="minimum" if i == 0 else None, **_STAR)
    ax.set(xlabel="x", ylabel="y", title=paths.title(walks, ax), xlim=limits[0], ylim=limits[1])
    style.same_scale(ax, *extents, beside=1.9)
    style.legend_below(ax, 3 if len(walks) == 1 else 2)
    return ax


_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 15, "markerfacecolor": "white", "markeredgecolor": "black",
    "linestyle": "none", "zorder": 4,
}  # fmt: skip


def _way(
    ax: Axes,
    across: np.ndarray,
    up: np.ndarray,
    number: int,
    count: int,
    name: str,
    extents: tuple[float, float],
    *,
    is_dark: bool = False,
) -> None:
    """Draw a walk, one of several perhaps, with its start and its end.

    A single walk has a dot at each step; of several, so many would hide the others.
    """
    line, end = paths.curve(number), paths.end(number, count)
    line["linewidth"] += paths.nested(number, count)
    edge = "white" if line["color"] == style.BLACK else "black"
    line |= {"marker": style.marker(number), "markersize": 4}
    every: Any = max(1, len(across) // _STEPS_WITH_DOTS)
    if number == 0:
        ax.plot(across[0], up[0], "o", color=style.GREEN, label="start", zorder=4, markersize=9,
                markeredgecolor="black")  # fmt: skip
    ax.plot(across[-1], up[-1], **end)
    if count > 1:
        every = []
        dots = paths.spaced(across, up, extents)
        ax.plot(across[dots], up[dots], linestyle="none", marker=style.marker(number), zorder=3,
                markersize=4 + paths.nested(number, count), color=line["color"],
                markeredgecolor=edge, markeredgewidth=0.6)  # fmt: skip
    ax.plot(
        across, up, label=paths.shown(name) if count > 1 else "steps", gid="way", markevery=every,
        path_effects=paths.outlined(edge if is_dark else "white", line["linewidth"]), zorder=2,
        **line,
    )  # fmt: skip


def _base(walk: Descent) -> float | None:
    """Return the least value of the function, if it is known and none of the walk's is less."""
    with np.errstate(all="ignore"):
        known = [
            paths.value_at(walk, paths.point_of(walk, minimum)) for minimum in paths.minima(walk)
        ]
    least = min(known, default=np.inf)
    lowest = float(walk.values.min())
    return least if known and least <= lowest + 1e-12 * (1 + abs(least)) else None


def _values(walks: dict[str, Descent], ax: Axes, *, has_legend: bool = True) -> Axes:
    """Draw values over the steps."""
    bases = [_base(walk) for walk in walks.values()]
    is_above = None not in bases
    for number, ((name, walk), base) in enumerate(zip(walks.items(), bases, strict=True)):
        ax.plot(
            walk.values - (base or 0.0) * is_above, label=paths.shown(name), **paths.curve(number)
        )
    style.whole_numbers(ax)
    label = "f - min f" if is_above else "f"
    style.finish(ax, xlabel="step", ylabel=label + _log_scale(ax), title=paths.title(walks, ax))
    if has_legend and len(walks) > 1:
        style.legend_below(ax, 2)
    return ax


_LEAST, _MOST = 1e-200, 1e200  # limits on a logarithmic axis, whose ticks go further


def _log_scale(ax: Axes) -> str:
    """Make the axis logarithmic if the curves span a decade; return what to add to its label."""
    curves = [np.asarray(line.get_ydata(), np.float64) for line in ax.lines]
    numbers = np.concatenate(curves)
    shown = numbers[(numbers > _LEAST) & (numbers < _MOST)]
    if (numbers < 0).any() or not shown.size or shown.max() < 10 * shown.min():
        return ""
    for line, curve in zip(ax.lines, curves, strict=True):  # gaps beyond the axis
        line.set_ydata(np.where((curve > _LEAST) & (curve < _MOST), curve, np.nan))
    ax.relim()
    ax.set_yscale("log")
    return " (log scale)"
