"""Training runs: loss, metrics and learning rates of one or several; range tests."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.metrics import is_number
from fastnn.plots import style
from fastnn.training.loop import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.analysis.lr_finder import LearningRateFinder

_LOG_FROM = 30.0  # ratio of losses from which on a linear axis hides the late epochs


def learning_curve(history: History, *, ax: Axes | None = None) -> Axes:
    """Draw the loss over the epochs, on the training and on the validation data.

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
    is at the epoch of the lowest validation loss; where the training loss still falls after it, the
    model learns the training data by heart.

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
    ax = style.axes(ax)
    epochs = [epoch + 1 for epoch in history.epoch]
    curves = {"training": (history.history["loss"], style.TRAINING)}
    if "val_loss" in history.history:
        curves["validation (held out)"] = (history.history["val_loss"], style.VALIDATION)
    markers = "os" if len(epochs) == 1 else " " * 2  # a line through one point is invisible
    for marker, (label, (losses, look)) in zip(markers, curves.items(), strict=False):
        known = _known(epochs, losses)
        dot = "." if 1 < len(known[0]) < len(epochs) else marker
        ax.plot(*known, label=label, marker=dot, linewidth=1.8, **look)
    _scale(ax, [loss for losses, _ in curves.values() for loss in losses])
    if "val_loss" in history.history and len(epochs) > 1:
        _mark_best(ax, epochs, history.history["val_loss"])
    style.whole_numbers(ax)
    ax.set(title="Learning curve", xlabel="epoch")
    return style.finish(ax, legend=True)


def history(history: History, *, ax: Any = None) -> list[Axes]:
    """Draw a training: the loss, the metrics if there are any, and the learning rate if it changes.

    The losses of several outputs have a panel of their own. The last epoch is marked, and the title
    says why training ended.

    Parameters
    ----------
    history : History
        What `fit` returned.
    ax : sequence of matplotlib Axes, optional
        One for each panel; default: a new figure.

    Returns
    -------
    list of matplotlib Axes
        Save them with ``axes[0].figure.savefig("training.png")``.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no epoch to draw, or the number of axes is not that of the panels.

    Examples
    --------
    >>> from fastnn import plots
    >>> history = model.fit(x, y, epochs=20, verbose=0)  # doctest: +SKIP
    >>> plots.history(history)[0].get_ylabel()  # doctest: +SKIP
    'loss'
    """
    if not history.epoch:
        raise ValueError("history has no finished epoch to draw")
    numbers = [
        name
        for name, values in history.history.items()
        if name not in ("loss", "learning_rate")
        and not name.startswith("val_")
        and all(map(is_number, values))
    ]
    losses = [name for name in numbers if name in history.loss_names]
    metrics = [name for name in numbers if name not in losses]
    rates = history.learning_rates
    has_rates = len(set(rates)) > 1
    count = 1 + bool(losses) + bool(metrics) + has_rates
    panels = style.panels(ax, count, (6.4, 2.9 if count > 1 else 4.0), sharex=ax is None)
    learning_curve(history, ax=panels[0])
    epochs = [epoch + 1 for epoch in history.epoch]
    if losses:
        _results(history, losses, epochs, panels[1], "loss of one output")
    if metrics:
        label = style.name(metrics[0]) if len(metrics) == 1 else "metrics"
        _results(history, metrics, epochs, panels[1 + bool(losses)], label)
    if has_rates:
        panels[-1].plot(epochs, rates, **style.TRAINING, linewidth=1.8)
        _scale(panels[-1], rates, "learning rate")
        style.finish(panels[-1])
    for panel in panels:
        panel.axvline(epochs[-1], color="0.5", linestyle=":", linewidth=1.0)
        panel.set_xlabel("epoch" if panel is panels[-1] else "")
        style.whole_numbers(panel)
    panels[0].set_title(
        f"Training\n{_wrapped(style.name(_ending(history), 400))}", fontsize="small"
    )
    return panels


def _results(history: History, names: list[str], epochs: list[int], ax: Axes, label: str) -> None:
    for number, name in enumerate(names):
        look: dict[str, Any] = {"color": style.color(number), "linewidth": 1.8}
        has_markers = len(names) > 1 or len(epochs) == 1
        marker = style.marker(number) if has_markers else None
        look |= {"marker": marker, "markevery": max(1, len(epochs) // 8), "markersize": 5}
        values, validation = history.history[name], history.history.get(f"val_{name}")
        ax.plot(*_known(epochs, values), label=style.name(name), **look)
        if validation is not None:
            look["linestyle"] = "--"
            ax.plot(*_known(epochs, validation), label=f"{style.name(name)}, held out", **look)
    style.finish(ax, legend=True, ylabel=label)


def _known(epochs: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Return the epochs that have a result, and the results: a line connects them."""
    known = [pair for pair in zip(epochs, values, strict=False) if not math.isnan(pair[1])]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _ending(history: History) -> str:
    """Return the reason for which training ended, and when, unless the reason says so itself."""
    last, reason = history.epoch[-1] + 1, history.stop_reason
    if reason.startswith("completed ") or not reason:
        return reason or f"{last} epochs"
    return f"stopped after epoch {last}: {reason}"


def _wrapped(text: str, width: int = 86) -> str:
    """Return lines that do not end between a word and its number, or within one."""
    bound = re.sub(r" (?=\d)", "\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(bound, width, break_on_hyphens=False)
    return "\n".join(lines[:3]).replace("\N{NO-BREAK SPACE}", " ") + " ..." * (len(lines) > 3)


def comparison(
    histories: Mapping[str, History] | Sequence[History] | History,
    *,
    result: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw one result of several training runs, such as one network with different optimizers.

    Parameters
    ----------
    histories : dict of str to History
        Histories by their names in the legend.
    result : str, default "loss"
        A key of their ``history``.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no training, or one of them does not have that result.

    Examples
    --------
    >>> from fastnn import plots
    >>> ax = plots.comparison({"SGD": with_sgd, "Adam": with_adam})  # doctest: +SKIP
    """
    if isinstance(histories, History):
        histories = {"training": histories}
    if not isinstance(histories, Mapping):
        histories = {f"training {i + 1}": one for i, one in enumerate(histories)}
    if not histories:
        raise ValueError("histories must hold at least one training, got none")
    for name, one in histories.items():
        if result not in one.history:
            known = ", ".join(one.history) or "none"
            raise ValueError(
                f"result {result!r} is not in the history of {name!r} (there are {known})"
            )
    ax = style.axes(ax)
    for number, (name, one) in enumerate(histories.items()):
        values = one.history[result]  # a callback may have added it to the first epochs only
        epochs = [epoch + 1 for epoch in one.epoch][: len(values)]
        every = (number % 5, max(1, len(epochs) // 6))
        ax.plot(epochs, values, label=style.name(name), marker=style.marker(number), markersize=5,
                markevery=every, **style.curve(number))  # fmt: skip
    _scale(ax, [v for one in histories.values() for v in one.history[result]], style.name(result))
    style.whole_numbers(ax)
    style.finish(ax, xlabel="epoch", title=f"{style.name(result)} of {len(histories)} runs")
    style.legend_below(ax, 4)
    return ax


def learning_rate_finder(found: LearningRateFinder, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of a range test over the learning rates, with the suggestion marked.

    Parameters
    ----------
    found : LearningRateFinder
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
    The axis of the loss ends at twice the first smoothed loss: the losses that explode after it
    would press everything else to the bottom.

    Examples
    --------
    >>> from fastnn import plots
    >>> plots.learning_rate_finder(model.find_learning_rate(x, y)).get_xscale()  # doctest: +SKIP
    'log'
    """
    if not len(found.rates):
        raise ValueError(f"the range test has no step to draw: {found.stop_reason}")
    ax = style.axes(ax)
    ax.plot(found.rates, found.losses, color="0.75", linewidth=0.8, label="loss of a batch")
    ax.plot(found.rates, found.smoothed, label="smoothed", linewidth=1.8, **style.TRAINING)
    if found.suggestion is not None:
        height = float(np.interp(found.suggestion, found.rates, found.smoothed))
        ax.axvline(found.suggestion, color=style.VALIDATION["color"], linestyle=":", linewidth=1.2)
        ax.plot(
            found.suggestion,
            height,
            "D",
            color="white",
            markeredgecolor=style.VALIDATION["color"],
            markersize=7,
            label=f"falls most steeply: {found.suggestion:.2g}",
            zorder=3,
        )
    ax.set_xscale("log")
    least, most = float(found.smoothed.min()), float(found.smoothed[0])
    if least < most:
        ax.set_ylim(least - 0.1 * (most - least), most + (most - least))
    ax.set(title="Learning rate range test", xlabel="learning rate (log scale)", ylabel="loss")
    return style.finish(ax, legend=True)


def _scale(ax: Axes, losses: list[float], label: str = "loss") -> None:
    """Choose a linear or logarithmic axis for some numbers, and label it."""
    from matplotlib import ticker

    finite = [loss for loss in losses if math.isfinite(loss)]
    least, most = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if least > 0 and most > _LOG_FROM * least:
        ax.set_yscale("log")
        ax.set_ylabel(f"{label} (log scale)")
        if most < 1e3 * least:  # decades alone would leave one or two numbers on the axis
            ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        if least > 1e-4:
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.yaxis.set_minor_formatter(ticker.NullFormatter())
        return
    ax.set_ylabel(label)
    if least >= 0:
        ax.set_ylim(bottom=0)


def _mark_best(ax: Axes, epochs: list[int], losses: list[float]) -> None:
    best = min(
        range(len(losses)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf
    )
    if math.isfinite(losses[best]):
        label = f"lowest validation loss: {losses[best]:.3g}, epoch {epochs[best]}"
        ax.plot(
            epochs[best],
            losses[best],
            "D",
            color="white",
            markeredgecolor=style.VALIDATION["color"],
            markersize=7,
            label=label,
            zorder=3,
        )
