"""What the pictures of descents share: names and checks of walks, the function around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.descent import Descent
from fastnn.plots import style

Descents = Descent | Iterable[Descent] | Mapping[str, Descent]

# These stand out on white and on colored ground, on which blue and yellow would not.
_COLORS = (style.VERMILLION, style.BLACK, style.SKY, style.PURPLE, style.GREEN)
_LONGEST = 200  # letters of a name
_APART = 0.04  # between the markers of a walk, where several are drawn


def named(descents: Descents) -> dict[str, Descent]:
    """Return the walks by their names in the legend."""
    if isinstance(descents, Mapping):
        walks = {str(name): walk for name, walk in descents.items()}
        listed = list(walks.values())
    else:
        if not isinstance(descents, (Descent, Iterable)):
            raise TypeError(f"descents must be what minimize returned, got {descents!r}")
        listed = [descents] if isinstance(descents, Descent) else list(descents)
        names = [repr(getattr(walk, "optimizer", None)) for walk in listed]
        walks = {
            name + f" ({names[:i].count(name) + 1})" * (name in names[:i]): walk
            for i, (name, walk) in enumerate(zip(names, listed, strict=True))
        }
    for walk in listed:
        if not isinstance(walk, Descent):
            raise TypeError(f"descents must be what minimize returned, got {walk!r}")
    if len({walk.variables for walk in listed}) != 1:
        raise ValueError("descents must be walks, at least one, all of as many variables")
    return walks


def of_one_function(walks: dict[str, Descent]) -> dict[str, Descent]:
    """Check that the walks may be drawn on one function's curve, contours or surface."""
    first = next(iter(walks.values()))
    for name, walk in walks.items():
        if walk.function is first.function:
            continue
        found = value_at(first, walk.path[0])
        if not np.isclose(found, walk.values[0], rtol=1e-9):
            raise ValueError(
                f"descents must be walks down one function: it is {found:.6g} where the walk "
                f"{name!r} starts, which says {walk.values[0]:.6g}"
            )
    return walks


def shown(name: str) -> str:
    """Return a walk's name to draw; it may be an optimizer with all its settings."""
    return style.name(name, _LONGEST)


def title(walks: dict[str, Descent], ax: Any) -> str:
    """Return the function's formula; of a single walk, its name and length too."""
    function = next(iter(walks.values())).function
    formula = getattr(function, "formula", "")
    title = f"$f = {formula}$" if formula else "Descent"
    if len(walks) == 1:
        name, walk = next(iter(walks.items()))
        title += "\n" + style.wrapped(f"{shown(name)}, {walk.steps} steps", ax)
    return title


def minima(walk: Descent) -> tuple[tuple[float, ...], ...]:
    """Return where the function is least, as far as that is known."""
    return getattr(walk.function, "minima", ())


def limits_of(walks: dict[str, Descent]) -> list[tuple[float, float]]:
    """Return the limits of the picture: those of the function, widened to show all walks."""
    first = next(iter(walks.values()))
    paths = np.concatenate([walk.path.reshape(len(walk.path), -1) for walk in walks.values()])
    found = []
    for column in range(first.variables):
        low, high = float(paths[:, column].min()), float(paths[:, column].max())
        own = getattr(first.function, "limits", None)
        margin = 0.08 * (high - low) if own else 0.25 * (high - low)
        if low == high:  # the walk does not move
            margin = max(1.0, 0.1 * abs(high))
        low, high = low - margin, high + margin
        if own and len(own) == first.variables:
            left, right = own[column]
            beyond = 0.5 * (right - left)  # a walk that diverges leaves the picture
            low = min(left, max(low, left - beyond))
            high = max(right, min(high, right + beyond))
        found.append((low, high))
    return found


def point_of(walk: Descent, point: Sequence[float]) -> Any:
    """Return a point as the function of the walk takes it."""
    return point[0] if walk.path.ndim == 1 else np.array(point)


def value_at(walk: Descent, x: Any) -> float:
    """Return the function at a point; NaN where it has no value."""
    try:
        if walk.path.ndim == 2 and np.ndim(x) == 0:
            x = np.array([x])
        return float(np.asarray(walk.function(x)).reshape(()))
    except (ArithmeticError, TypeError, ValueError):
        return np.nan


def grid(
    walk: Descent, limits: list[tuple[float, float]], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and the function on a grid of count by count points."""
    x, y = np.meshgrid(*(np.linspace(low, high, count) for low, high in limits))
    with np.errstate(all="ignore"):
        z = [value_at(walk, np.array(point)) for point in zip(x.flat, y.flat, strict=True)]
    heights = np.array(z).reshape(x.shape)
    heights[~np.isfinite(heights)] = np.nan  # gaps in the picture
    if np.isnan(heights).all():
        raise ValueError("the function has no finite value in the picture")
    return x, y, heights


def curve(number: int) -> dict[str, Any]:
    """Return how a walk is drawn, the same in every picture."""
    return {**style.curve(number), "color": _COLORS[number % len(_COLORS)]}


def nested(number: int, count: int) -> float:
    """Return how much wider a walk is drawn than the last one, in points.

    Walks often take the same way; those below then show at the sides of those above.
    """
    return (count - 1 - number) * min(1.0, 5.0 / max(count - 1, 1))


def end(number: int, count: int) -> dict[str, Any]:
    """Return how the end of a walk is marked: in its color, with its marker, nested as well."""
    own = style.BLACK if count == 1 else curve(number)["color"]
    return {
        "marker": "o" if count == 1 else style.marker(number),
        "color": own,
        "markersize": 6 if count == 1 else 8.0 + nested(number, count),
        "markeredgecolor": "white" if own == style.BLACK and count > 1 else "black",
        "linestyle": "none",
        "gid": "end",
        "zorder": 5,
    }


def outlined(color: str, width: float = 1.8) -> list[Any]:
    """Return path effects that set a line of this width off from the ground."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=width + 1.0, foreground=color), patheffects.Normal()]


def spaced(across: np.ndarray, up: np.ndarray, extents: tuple[float, float]) -> list[int]:
    """Return steps that are apart from each other, by a share of the picture's extents."""
    chosen = [0]
    for step in range(1, len(across)):
        move = np.hypot(
            (across[step] - across[chosen[-1]]) / extents[0],
            (up[step] - up[chosen[-1]]) / extents[1],
        )
        if move > _APART:
            chosen.append(step)
    return chosen
