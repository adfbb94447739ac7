"""The layers of a model as a graph, from the inputs down to the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model
    from fastnn.program.lower import Graph

_POINTS_A_LETTER = 2.6  # half the width of a letter of the boxes' text
_BOX_MARGIN = 14.0  # points between the end of the text and an arrow that goes around the box
_LANE_WIDTH = 7.0  # points between two arrows side by side


@dataclass(frozen=True)
class _Box:
    """An input or a layer as it is drawn.

    Attributes
    ----------
    text : str
    sources : tuple of int
        Numbers of the boxes that it reads.
    depth : int
        Its row: 0 for inputs, else one below the lowest of its sources.
    is_end : bool
        Whether it is an input or an output of the model.
    """

    text: str
    sources: tuple[int, ...]
    depth: int
    is_end: bool


def graph(model: Model, *, ax: Axes | None = None) -> Axes:
    """Draw the layers of a model, from the inputs down to the outputs.

    Each box names a layer, its class, the shape of its output, and its number of parameters.

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
    boxes = _boxes_of(model.network.runtime.graph)
    places = _places(boxes)
    deepest = max(box.depth for box in boxes)
    columns = 1 + max(abs(across) for across, _ in places) * 2
    ax = style.axes(ax, (min(3.2 * columns + 0.4, 16), min(0.8 * (deepest + 1) + 0.4, 30)))
    patches = [_draw_box(ax, box, place) for box, place in zip(boxes, places, strict=True)]
    half = columns / 2
    ax.set(xlim=(-half, half), ylim=(-deepest - 0.6, 0.6))
    ax.set_axis_off()
    _draw_edges(ax, boxes, places, patches)
    return ax


def _boxes_of(graph: Graph) -> list[_Box]:
    """Return a box for each input and each use of a layer; parameters are counted once."""
    outputs = set(graph.outputs)
    boxes = [
        _Box(f"{style.name(name)}\nInput ({_sizes(shape)})", (), 0, True)
        for name, shape in graph.inputs
    ]
    shapes = [shape for _, shape in graph.inputs]
    counted: set[int] = set()
    for layer, positions, name in graph.steps:
        shapes.append(layer.output_shape(*(shapes[source] for source in positions)))
        own = sum(view.size for view in layer.parameters.values())
        count = f", {own:,} parameters" if own and id(layer) not in counted else ""
        counted.add(id(layer))
        text = f"{style.name(name)}\n{type(layer).__name__} ({_sizes(shapes[-1])}){count}"
        depth = 1 + max(boxes[source].depth for source in positions)
        boxes.append(_Box(text, tuple(positions), depth, len(boxes) in outputs))
    return boxes


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "1"


def _places(boxes: list[_Box]) -> list[tuple[float, float]]:
    """Return the place of each box: its row is its depth, its column is near its sources."""
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(boxes)
    for depth in range(max(box.depth for box in boxes) + 1):
        row = [number for number, box in enumerate(boxes) if box.depth == depth]
        wanted = {}
        for number in row:
            sources = [places[source][0] for source in boxes[number].sources]
            wanted[number] = sum(sources) / len(sources) if sources else 0.0
        row.sort(key=lambda number: wanted[number])
        middle = sum(wanted.values()) / len(row) if len(row) > 1 else 0.0
        for i, number in enumerate(row):
            across = middle + i - (len(row) - 1) / 2 if len(row) > 1 else wanted[number]
            places[number] = across, -float(depth)
    return places


def _draw_box(ax: Axes, box: _Box, place: tuple[float, float]) -> Any:
    """Draw a box, and return the patch that arrows begin and end at."""
    look = {
        "boxstyle": "round,pad=0.45", "facecolor": "#DCEBF7" if box.is_end else "white",
        "edgecolor": style.BLUE if box.is_end else "0.3", "linewidth": 1.4 if box.is_end else 1.0,
    }  # fmt: skip
    drawn = ax.text(*place, box.text, ha="center", va="center", fontsize=8.5, bbox=look)
    return drawn.get_bbox_patch()


def _draw_edges(
    ax: Axes, boxes: list[_Box], places: list[tuple[float, float]], patches: list[Any]
) -> None:
    """Draw an arrow from each box to those that read it, around the boxes in between."""
    longest = max(len(line) for box in boxes for line in box.text.split("\n"))
    arm = _BOX_MARGIN + _POINTS_A_LETTER * longest
    row_points = ax.transData.transform([(0, 0), (0, 1)])[:, 1] @ [-1, 1] * 72 / ax.figure.dpi
    lanes = _Lanes()
    for target, box in enumerate(boxes):
        for source in box.sources:
            column, first, last = places[source][0], boxes[source].depth, box.depth
            connection = "arc3"
            if last - first > 1 and column == places[target][0]:
                lane = lanes.take(column, first, last)
                reach = (arm + _LANE_WIDTH * lane) / ((last - first) * row_points)
                connection = f"bar,fraction={-reach:.3f}"
            ax.annotate(
                "", places[target], places[source],
                arrowprops={
                    "arrowstyle": "-|>", "color": "0.3", "linewidth": 1.2,
                    "shrinkA": 0, "shrinkB": 0, "patchA": patches[source],
                    "patchB": patches[target], "connectionstyle": connection,
                },
            )  # fmt: skip


class _Lanes:
    """Keeps the arrows that go around boxes of a column apart: each has a lane of its own."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, int, int, int]] = []  # column, first and last row, lane

    def take(self, column: float, first: int, last: int) -> int:
        """Return the innermost lane that is free from row `first` to row `last`."""
        taken = {
            lane
            for other, top, end, lane in self._taken
            if other == column and top < last and first < end
        }
        lane = min(set(range(len(taken) + 1)) - taken)
        self._taken.append((column, first, last, lane))
        return lane
