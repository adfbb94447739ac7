"""Pictures. matplotlib, the extra `fastnn[plot]`, is imported when one is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.profiling import Profile
    from fastnn.range_test import RangeTest
    from fastnn.training import History

# Okabe and Ito's blue and vermillion: told apart by the colour-blind; the line styles tell the
# curves apart in greyscale.
_TRAINING: dict[str, Any] = {"color": "#0072B2", "linestyle": "-"}
_VALIDATION: dict[str, Any] = {"color": "#D55E00", "linestyle": "--"}
_LOG_FROM = 30.0  # largest by smallest loss from which a linear axis hides the late epochs


def learning_curve(history: History, *, ax: Axes | None = None) -> Axes:
    """Draw the loss over the epochs, of the training and of the validation data.

    Parameters
    ----------
    history : History
        What `fit` returned.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes
        Save it with ``ax.figure.savefig("curve.png")``.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no epoch to draw.

    Notes
    -----
    The axis of the loss is logarithmic where the losses span more than a factor of 30. The mark
    is the epoch of the least validation loss: what falls on the training curve after it is
    learned by heart.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn import plots
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> history = model.fit(x, y, epochs=3, verbose=0)
    >>> plots.learning_curve(history).get_xlabel()  # doctest: +SKIP
    'epoch'
    """
    if not history.epoch:
        raise ValueError("history has no finished epoch to draw")
    pyplot = _pyplot()
    if ax is None:
        ax = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
    epochs = [epoch + 1 for epoch in history.epoch]
    curves = {"training": (history.history["loss"], _TRAINING)}
    if "val_loss" in history.history:
        curves["validation (held out)"] = (history.history["val_loss"], _VALIDATION)
    markers = "os" if len(epochs) == 1 else " " * 2  # a line through one point is invisible
    for marker, (label, (losses, style)) in zip(markers, curves.items(), strict=False):
        ax.plot(epochs, losses, label=label, marker=marker, linewidth=1.8, **style)
    _scale(ax, [loss for losses, _ in curves.values() for loss in losses])
    if "val_loss" in history.history and len(epochs) > 1:
        _mark_best(ax, epochs, history.history["val_loss"])
    ax.xaxis.set_major_locator(pyplot.MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    ax.margins(x=0.02)
    ax.set(title="Learning curve", xlabel="epoch")
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def range_test(found: RangeTest, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of a range test over the learning rates, with the suggestion marked.

    Parameters
    ----------
    found : RangeTest
        What `Model.find_learning_rate` returned.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes
        Save it with ``ax.figure.savefig("range.png")``.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no step to draw.

    Notes
    -----
    The axis of the loss ends at twice the first smoothed loss: what explodes behind would press
    all else to the bottom.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.range_test(model.find_learning_rate(x, y)).get_xscale()  # doctest: +SKIP
    'log'
    """
    if not len(found.rates):
        raise ValueError(f"the range test has no step to draw: {found.stop_reason}")
    pyplot = _pyplot()
    if ax is None:
        ax = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
    ax.plot(found.rates, found.losses, color="0.75", linewidth=0.8, label="loss of a batch")
    ax.plot(found.rates, found.smoothed, label="smoothed", linewidth=1.8, **_TRAINING)
    if found.suggestion is not None:
        height = float(np.interp(found.suggestion, found.rates, found.smoothed))
        ax.axvline(found.suggestion, color=_VALIDATION["color"], linestyle=":", linewidth=1.2)
        ax.plot(
            found.suggestion,
            height,
            "D",
            color="white",
            markeredgecolor=_VALIDATION["color"],
            markersize=7,
            label=f"falls most steeply: {found.suggestion:.2g}",
            zorder=3,
        )
    ax.set_xscale("log")
    least, most = float(found.smoothed.min()), float(found.smoothed[0])
    if least < most:
        ax.set_ylim(least - 0.1 * (most - least), most + (most - least))
    ax.set(title="Learning rate range test", xlabel="learning rate (log scale)", ylabel="loss")
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


# Okabe and Ito's colours; the hatches tell the groups apart in greyscale. An op that is not named
# here is one output an element.
_GROUPS: dict[str, dict[str, Any]] = {
    "products": {"color": "#0072B2", "hatch": ""},
    "elementwise": {"color": "#56B4E9", "hatch": "//"},
    "loss and metrics": {"color": "#E69F00", "hatch": ".."},
    "optimizer": {"color": "#D55E00", "hatch": "xx"},
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
    pyplot = _pyplot()
    rows = profile.rows
    if ax is None:
        height = 1.4 + 0.28 * len(rows)
        ax = pyplot.subplots(figsize=(7.2, height), layout="constrained")[1]
    groups = [_GROUP_OF.get(row.kind, "elementwise") for row in rows]
    for group, style in _GROUPS.items():
        places = [place for place, other in enumerate(groups) if other == group]
        if places:
            times = [rows[place].microseconds for place in places]
            ax.barh(places, times, label=group, edgecolor="black", linewidth=0.6, **style)
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
    ax.grid(True, axis="x", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'fastnn[plot]'") from None
    return matplotlib.pyplot


def _scale(ax: Axes, losses: list[float]) -> None:
    """Choose the axis of the loss, and say which it is."""
    from matplotlib import ticker

    finite = [loss for loss in losses if math.isfinite(loss)]
    least, most = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if least > 0 and most > _LOG_FROM * least:
        ax.set_yscale("log")
        ax.set_ylabel("loss (log scale)")
        if most < 1e3 * least:  # decades alone would leave one or two numbers on the axis
            ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        if least > 1e-4:
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.yaxis.set_minor_formatter(ticker.NullFormatter())
        return
    ax.set_ylabel("loss")
    if least >= 0:
        ax.set_ylim(bottom=0)


def _mark_best(ax: Axes, epochs: list[int], losses: list[float]) -> None:
    best = min(
        range(len(losses)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf
    )
    if math.isfinite(losses[best]):
        label = f"least validation loss: {losses[best]:.3g}, epoch {epochs[best]}"
        ax.plot(
            epochs[best],
            losses[best],
            "D",
            color="white",
            markeredgecolor=_VALIDATION["color"],
            markersize=7,
            label=label,
            zorder=3,
        )
