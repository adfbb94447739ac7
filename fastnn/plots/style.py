"""What all pictures share: colors that the color-blind distinguish, axes, panels, animations.

Curves differ in line style or marker as well, so that they can be told apart in grayscale. A legend
stands beside the data, never on them: under the axes, or above all panels. Where it needs room, the
figure grows, if it is one of this package's own; the user's keep their size.
matplotlib, the extra `plot`, is imported when something is drawn.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.core import checks, extras
from fastnn.core.printing import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008).
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
COLORS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TRAINING: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
VALIDATION: dict[str, Any] = {"color": VERMILLION, "linestyle": "--"}
SIZE = (6.4, 4.0)  # inches
LEVELS = 24  # of contours
LONGEST = 60  # letters of a name
_DOLLAR = "\ud800"  # no letter of any name: a line must not end between a dollar and its escape
_OWN = "fastnn"  # gid of the figures that were made here
_LONGEST_SIDE = 2.0  # of a picture with one scale, if the other side is 1
_BAR = 20  # how many times as high as wide a color bar is
_LINE = 0.19  # inches that a line of a legend takes
SEQUENTIAL = "cividis"  # uniform in grayscale, and made for the color-blind (Nunez et al. 2018)

# The look of this package's pictures for those that are drawn with matplotlib itself.
STYLE: dict[str, Any] = {
    "axes.prop_cycle": (f"cycler('color', {list(COLORS)}) + cycler('linestyle', {list(DASHES)})"),
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.figsize": SIZE,
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "image.cmap": SEQUENTIAL,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def name(text: object, most: int = LONGEST) -> str:
    r"""Return a name of the user's as matplotlib is to draw it: in one line, short, no formula.

    Parameters
    ----------
    text : object
        The name of a column, a class, a layer, a result, a run.
    most : int
        Letters; a longer name ends in dots, since no layout has room for a class of a whole page.

    Examples
    --------
    >>> print(name("cost in $ or in $US"), name("a" * 99, 8))
    cost in \$ or in \$US aaaaa...
    """
    shown = printable(str(text))
    shown = shown if len(shown) <= most else shown[: most - 3] + "..."
    return shown.replace("$", r"\$")


def filled(text: str, letters: int) -> str:
    """Break a text that may hold names into lines of so many letters."""
    lines = textwrap.fill(text.replace(r"\$", _DOLLAR), max(1, letters))
    return lines.replace(_DOLLAR, r"\$")


@contextmanager
def any_glyphs() -> Iterator[None]:
    """Draw without a warning of letters that the font does not have: they become boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        yield


def color(number: int) -> str:
    """Return the color of the curve, or class, of this number."""
    return COLORS[number % len(COLORS)]


def marker(number: int) -> str:
    """Return the marker of the curve, or class, of this number."""
    return MARKERS[_shifted(number)]


def curve(number: int) -> dict[str, Any]:
    """Return color, style and width of the line of the curve of this number."""
    return {
        "color": color(number),
        "linestyle": DASHES[_shifted(number)],
        "linewidth": 1.8,
    }


def _shifted(number: int) -> int:
    """Return a place in seven looks that is another one when the seven colors start again."""
    return (number + number // len(COLORS)) % len(COLORS)


def pyplot() -> Any:
    """Return matplotlib.pyplot.

    Raises
    ------
    ImportError
        It is not installed; the message names the extra.
    """
    try:
        import matplotlib.pyplot
    except ImportError:
        raise extras.missing("pictures need matplotlib", "plot") from None
    return matplotlib.pyplot


def axes(ax: Any, size: tuple[float, float] = SIZE, **options: Any) -> Any:
    """Return the axes to draw on: `ax`, or those of a new figure."""
    plt = pyplot()
    if ax is not None:
        return _checked(ax)
    figure, made = plt.subplots(figsize=size, layout="constrained", subplot_kw=options or None)
    figure.set_gid(_OWN)
    return made


def _checked(ax: Any) -> Any:
    if not hasattr(ax, "plot") or not hasattr(ax, "set_xlabel"):
        raise TypeError(f"ax must be matplotlib Axes, got {ax!r}")
    return ax


def panels(
    ax: Any,
    count: int,
    size: tuple[float, float] = (4.0, 2.6),
    columns: int = 1,
    names: str = "panels",
    **options: Any,
) -> list[Any]:
    """Return `count` axes: `ax`, or a grid on a new figure whose spare places are empty.

    Parameters
    ----------
    ax : matplotlib Axes, sequence of them, or None
    count : int
    size : tuple of float
        Size of a panel, in inches.
    columns : int, default 1
    names : str
        What a panel shows, for the error message.
    **options
        For `matplotlib.pyplot.subplots`.

    Raises
    ------
    ValueError
        `ax` does not hold `count` axes.
    """
    plt = pyplot()
    if ax is not None:
        given = [_checked(one) for one in ([ax] if hasattr(ax, "plot") else np.ravel(ax))]
        if len(given) != count:
            raise ValueError(
                f"ax must be {count} axes, one for each of the {names}, got {len(given)}"
            )
        return given
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        layout="constrained",
        squeeze=False,
        **options,
    )
    figure.set_gid(_OWN)
    flat = list(grid.ravel())
    for spare in flat[count:]:
        spare.set_axis_off()
    for lowest in flat[max(0, count - columns) : count]:
        lowest.xaxis.set_tick_params(labelbottom=True)
    return flat[:count]


def finish(ax: Axes, *, legend: bool = False, **labels: str) -> Axes:
    """Set title and labels, put a grid behind everything, and remove the frame at top and right."""
    ax.set(**labels)
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        legend_below(ax)
    return ax


def same_scale(ax: Axes, across: float, up: float, beside: float = 1.0) -> None:
    """Give both axes one scale, unless the picture of these extents would then be a strip.

    Circles are round then, and right angles are right.

    Parameters
    ----------
    ax : matplotlib Axes
    across, up : float
        Extents of the picture.
    beside : float, default 1.0
        Inches that labels and a color bar take beside it; an own figure gets its shape.
    """
    if not (across > 0 and up > 0 and max(across / up, up / across) <= _LONGEST_SIDE):
        return
    ax.set_aspect("equal")
    figure: Any = ax.figure
    if figure.get_gid() == _OWN:
        width, height = figure.get_size_inches()
        over = 1.25  # the title and the label of x
        inches = min((width - beside) / across, (height - over) / up)  # of a unit
        figure.set_size_inches(max(inches * across + beside, 4.0), inches * up + over)


def wrapped(text: str, ax: Axes, points: float = 6.0) -> str:
    """Break a text so that it is not wider than axes, if a letter takes so many points."""
    box, spec = ax.figure.bbox, ax.get_subplotspec()  # the layout is not known yet
    share = ax.get_position().width
    if spec is not None:
        share = 0.85 * len(spec.colspan) / spec.get_gridspec().ncols
    return filled(text, max(8, int(share * box.width * 72 / ax.figure.dpi / points)))


def contours(
    ax: Axes, x: np.ndarray, y: np.ndarray, z: np.ndarray, label: str, least: float | None = None
) -> None:
    """Fill the levels of a function and draw their contours, with a bar that tells their values.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y, z : ndarray
        As `matplotlib.axes.Axes.contourf` takes them.
    label : str
        Of the bar.
    least : float, optional
        The lowest level, above zero: the others then grow by one factor, and what is lower looks
        like it. Default: even levels.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.grid(False)
    if least is None:
        filled = ax.contourf(x, y, z, LEVELS, cmap=SEQUENTIAL)
        bar = ax.figure.colorbar(filled, ax=ax, label=label)
    else:
        most = float(z[np.isfinite(z)].max())
        filled = ax.contourf(
            x, y, np.maximum(z, least), np.geomspace(least, most, LEVELS), cmap=SEQUENTIAL,
            norm=LogNorm(least, most),
        )  # fmt: skip
        ticks = LogLocator(subs=(1, 2, 5) if most < 1000 * least else (1,))
        bar = ax.figure.colorbar(filled, ax=ax, ticks=ticks, label=f"{label} (log scale)")
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    ax.contour(x, y, z, filled.levels, colors="white", linewidths=0.3, alpha=0.6)
    bar.ax.set_axes_locator(_Beside(ax))


class _Beside:
    """Keeps a color bar beside axes that their aspect makes smaller; can be pickled."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax

    def __call__(self, *_: Any) -> Any:
        """Return the place of the bar, in shares of the figure."""
        from matplotlib.transforms import Bbox

        box, page = self.ax.get_position(), self.ax.figure.bbox
        gap = 0.12 * self.ax.figure.dpi / page.width
        width = box.height * page.height / _BAR / page.width
        return Bbox.from_bounds(box.x1 + gap, box.y0, width, box.height)


def legend_below(ax: Axes, columns: int = 2) -> None:
    """Put a legend under the axes and their label, in fewer columns if the names are long."""
    from matplotlib.transforms import ScaledTranslation

    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return
    width = ax.bbox.width * 72 / ax.figure.dpi  # points, of which a letter takes about 5
    names = [filled(name, max(10, int(width / 5 - 8))) for name in names]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    columns = max(1, min(columns, int(width / (5 * longest + 40))))
    has_labels = ax.name == "rectilinear" and ax.xaxis.get_tick_params().get("labelbottom", True)
    inches = ScaledTranslation(0, -0.45 if has_labels else -0.1, ax.figure.dpi_scale_trans)
    ax.legend(
        handles, names, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns,
        fontsize="small", bbox_transform=ax.transAxes + inches, borderaxespad=0,
    )  # fmt: skip
    lines = sum(
        max(name.count("\n") + 1 for name in names[row::rows])
        for rows in [math.ceil(len(names) / columns)]
        for row in range(rows)
    )
    _grow(ax.figure, (lines - 1) * _LINE)
    if ax.get_aspect() != "auto" and ax.figure.get_gid() == _OWN:
        # One layout more, because the legend hangs on a box that the aspect makes smaller.
        engine: Any = ax.figure.get_layout_engine()
        engine.execute(ax.figure)


def legend_above(panels: Sequence[Axes], columns: int = 4) -> None:
    """Put the legend of the first panel above all of an own figure, or else below that panel."""
    figure: Any = panels[0].figure
    if figure.get_gid() != _OWN:
        legend_below(panels[0], columns)
        return
    _grow(figure, 1.5 * _LINE)
    legend = panels[0].legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1), ncols=columns,
        fontsize="small", bbox_transform=figure.transFigure,
    )  # fmt: skip
    legend.set_in_layout(False)
    share = 1.5 * _LINE / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - share))


def _grow(figure: Any, inches: float) -> None:
    """Make one of the package's own figures higher."""
    if figure.get_gid() == _OWN and inches > 0:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + inches)


def whole_numbers(ax: Axes) -> None:
    """Put ticks of the x axis at whole numbers only: epochs, steps."""
    ax.xaxis.set_major_locator(integers())
    ax.margins(x=0.02)


def integers(most: int | None = None) -> Any:
    """Return a locator of at most so many ticks, by default ten or so, at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most or 10, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def check_movie(file: object, fps: object) -> Path:
    """Check, before it is drawn, that an animation can be saved, and return its path.

    Parameters
    ----------
    file : str or Path
        Ends in ``.gif``, or ``.mp4``.
    fps : float
        Frames a second.

    Raises
    ------
    TypeError, ValueError
        `file` does not name such a file, or `fps` is not such a number.
    RuntimeError
        ffmpeg, which writes mp4, is not installed.
    """
    pyplot()  # is there matplotlib?
    from matplotlib import animation

    path = checks.file_path(file, "file")
    checks.number("fps", fps, least=0.01)  # a gif's times are 16 bits of hundredths of a second
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"file must end in .gif or .mp4, got {str(file)!r}")
    if path.is_dir():
        raise ValueError(f"file must not be a folder, got {str(file)!r}")
    if path.suffix.lower() == ".mp4" and not animation.writers.is_available("ffmpeg"):
        raise RuntimeError("mp4 needs ffmpeg, which is not there: save a .gif, or install ffmpeg")
    return path


def animate(
    figure: Figure,
    draw: Callable[[int], None],
    frames: Sequence[int],
    path: Path,
    fps: float,
) -> Path:
    """Save an animation.

    Parameters
    ----------
    figure : matplotlib Figure
    draw : callable
        Changes the figure; called with the number of a frame.
    frames : sequence of int
    path : Path
        What `check_movie` returned.
    fps : float
        Frames a second.
    """
    from matplotlib import animation

    is_gif = path.suffix.lower() == ".gif"
    made: Any = animation.PillowWriter if is_gif else animation.FFMpegWriter
    if is_gif:
        fps = min(fps, 50.0)  # its times are hundredths of a second, and viewers want two of them
    writer = made(fps=fps)
    # matplotlib's FuncAnimation would lay out and draw each frame three times.
    draw(frames[0])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    dpi = pyplot().rcParams["savefig.dpi"]
    with writer.saving(figure, path, figure.dpi if dpi == "figure" else dpi):
        for frame in frames:
            draw(frame)
            writer.grab_frame()
    return path


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers from 0 to count - 1, evenly spread, with the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i) for i in np.linspace(count - 1, 0, most)})
