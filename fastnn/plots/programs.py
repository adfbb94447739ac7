"""Programs and models: the time of each op, and the layers as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.analysis.profiling import Profile
    from fastnn.model import Model

# The hatches tell the groups apart in greyscale. An op that is not named
# here is one output an element.
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


def profile(profile: Profile, *, ax: Axes | None = None) -> Axes:
    """Draw the time of each op of a step, and what it would take at the machine's limit.

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
    ax = style.axes(ax, (7.2, 1.4 + 0.28 * len(rows)))
    groups = [_GROUP_OF.get(row.kind, "elementwise") for row in rows]
    for group, look in _GROUPS.items():
        places = [place for place, other in enumerate(groups) if other == group]
        if places:
            times = [rows[place].microseconds for place in places]
            ax.barh(places, times, label=group, edgecolor="black", linewidth=0.6, **look)
    least = [row.microseconds * row.of_limit for row in rows]
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
    ax.set_yticks(range(len(rows)), [f"{row.layer} {row.what}".strip() for row in rows])
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


def graph(model: Model, *, ax: Axes | None = None) -> Axes:
    """Draw the layers of a model, from the inputs down to the outputs.

    Each box names a layer, its class, the shape of what it gives, and its number of parameters.

    Parameters
    ----------
    model : Model
        Built.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure, as large as the model needs.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.graph(model).figure.savefig("model.png")  # doctest: +SKIP
    """
    made = model.network.runtime.graph
    texts = [f"{name}\nInput ({_sizes(shape)})" for name, shape in made.inputs]
    depths = [0] * len(texts)
    shapes = [shape for _, shape in made.inputs]
    edges: list[tuple[int, int]] = []
    counted: set[int] = set()
    for layer, positions in made.steps:
        number = len(texts)
        edges += [(source, number) for source in positions]
        depths.append(1 + max(depths[source] for source in positions))
        shapes.append(layer.output_shape(*(shapes[source] for source in positions)))
        own = sum(view.size for view in layer.parameters.values())
        count = f", {own:,} parameters" if own and id(layer) not in counted else ""
        counted.add(id(layer))
        texts.append(f"{layer.name}\n{type(layer).__name__} ({_sizes(shapes[-1])}){count}")
    places = _places(depths, edges)
    columns = 1 + max(abs(across) for across, _ in places) * 2
    ax = style.axes(ax, (min(3.2 * columns + 0.4, 16), min(0.8 * (max(depths) + 1) + 0.4, 30)))
    outputs = set(made.outputs)
    boxes = []
    for number, (text, (across, down)) in enumerate(zip(texts, places, strict=True)):
        is_end = number < len(made.inputs) or number in outputs
        box = {
            "boxstyle": "round,pad=0.45", "facecolor": "#DCEBF7" if is_end else "white",
            "edgecolor": style.BLUE if is_end else "0.3", "linewidth": 1.4 if is_end else 1.0,
        }  # fmt: skip
        drawn = ax.text(across, down, text, ha="center", va="center", fontsize=8.5, bbox=box)
        boxes.append(drawn.get_bbox_patch())
    half = columns / 2
    ax.set(xlim=(-half, half), ylim=(-max(depths) - 0.6, 0.6))
    ax.set_axis_off()
    arm = 14 + 2.6 * max(len(line) for text in texts for line in text.split("\n"))  # points
    step = ax.transData.transform([(0, 0), (0, 1)])[:, 1] @ [-1, 1] * 72 / ax.figure.dpi
    around: list[tuple[float, int, int, int]] = []  # column, first and last row, lane
    for source, target in edges:
        (column, _), first, last = places[source], depths[source], depths[target]
        way = "arc3"
        if last - first > 1 and column == places[target][0]:  # past boxes of the same column
            taken = {lane for other, top, end, lane in around
                     if other == column and top < last and first < end}  # fmt: skip
            lane = min(set(range(len(taken) + 1)) - taken)
            around.append((column, first, last, lane))
            way = f"bar,fraction={-(arm + 7 * lane) / ((last - first) * step):.3f}"
        ax.annotate(
            "", places[target], places[source],
            arrowprops={
                "arrowstyle": "-|>", "color": "0.3", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0,
                "patchA": boxes[source], "patchB": boxes[target], "connectionstyle": way,
            },
        )  # fmt: skip
    return ax


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "1"


def _places(depths: list[int], edges: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Return where each box stands: rows by depth, in a row as near as can be to its sources."""
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(depths)
    for depth in range(max(depths) + 1):
        row = [number for number, other in enumerate(depths) if other == depth]
        wanted = {}
        for number in row:
            sources = [places[a][0] for a, b in edges if b == number]
            wanted[number] = sum(sources) / len(sources) if sources else 0.0
        row.sort(key=lambda number: wanted[number])
        middle = sum(wanted.values()) / len(row) if len(row) > 1 else 0.0
        for i, number in enumerate(row):
            across = middle + i - (len(row) - 1) / 2 if len(row) > 1 else wanted[number]
            places[number] = across, -float(depth)
    return places
