"""Programs: the time of each op of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.analysis.profiling import OpProfile, Profile

# The hatches tell the groups apart in grayscale. An op that is not named here computes one output
# for each element.
_GROUPS: dict[str, dict[str, Any]] = {
    "products": {"color": style.BLUE, "hatch": ""},
    "elementwise": {"color": style.SKY, "hatch": "//"},
    "loss and metrics": {"color": style.ORANGE, "hatch": ".."},
    "optimizer": {"color": style.VERMILLION, "hatch": "xx"},
    "data": {"color": "#CCCCCC", "hatch": "--"},
}
_GROUP_OF = {
    **dict.fromkeys(
        ["affine", "affine_halves", "add_halves", "input_gradient", "kernel_gradient"], "products"
    ),
    **dict.fromkeys(
        ["kernel_gradient_halves", "add_gradient_half", "bias_gradient", "kernel_gradient_update"],
        "products",
    ),
    **dict.fromkeys(
        ["elementwise_loss", "softmax_crossentropy", "categorical_accuracy", "binary_accuracy"],
        "loss and metrics",
    ),
    "mean": "loss and metrics",
    **dict.fromkeys(["squared_norm", "update"], "optimizer"),
    **dict.fromkeys(["gather", "concatenate", "slice_columns"], "data"),
}

_LONGEST = 36  # letters in a line of an op's name


def profile(profile: Profile, *, ax: Axes | None = None) -> Axes:
    """Draw the time of each op of a step, and the time it would take at the machine's limit.

    Parameters
    ----------
    profile : Profile
        What `Model.profile` returned.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes
        Save it with ``ax.figure.savefig("profile.png")``.

    Raises
    ------
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.profile(model.profile(x, y)).get_xlabel()  # doctest: +SKIP
    'µs a step'
    """
    rows = profile.rows
    ax = style.axes(ax, (7.2, 1.6 + 0.32 * len(rows)))
    least = [row.microseconds * row.of_limit for row in rows]
    _draw_times(ax, rows)
    _draw_limits(ax, rows, least)
    names = [style.filled(f"{style.name(row.layer)} {row.what}".strip(), _LONGEST) for row in rows]
    ax.set_yticks(range(len(rows)), names, fontsize="small")
    ax.invert_yaxis()  # the first op on top
    ax.set_xlim(0, 1.12 * max(least + [row.microseconds for row in rows]))
    ax.set(
        title=f"{profile.program}, {profile.batch_size} rows: {profile.microseconds:.4g} µs a step",
        xlabel="µs a step",
    )
    style.finish(ax)
    style.legend_below(ax, 3)
    ax.grid(False, axis="y")
    return ax


def _draw_times(ax: Axes, rows: Sequence[OpProfile]) -> None:
    """Draw a bar for each op, in the color of its group."""
    groups = [_GROUP_OF.get(row.op, "elementwise") for row in rows]
    for group, look in _GROUPS.items():
        places = [place for place, other in enumerate(groups) if other == group]
        if places:
            times = [rows[place].microseconds for place in places]
            ax.barh(places, times, label=group, edgecolor="black", linewidth=0.6, **look)


def _draw_limits(ax: Axes, rows: Sequence[OpProfile], least: list[float]) -> None:
    """Mark the time of each op at the machine's limit, and write its share next to it."""
    ax.plot(
        least,
        range(len(rows)),
        "D",
        color="white",
        markeredgecolor="black",
        markersize=5,
        label="at the machine's limit",
    )
    for place, row in enumerate(rows):
        end = max(row.microseconds, least[place])
        ax.annotate(
            f"{row.share:.0%}", (end, place), (6, 0), textcoords="offset points", va="center"
        )
