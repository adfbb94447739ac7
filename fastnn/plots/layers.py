"""The inside of a network while it learns: histograms by layer over the epochs."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.callbacks.recorder import BINS, Histogram, Recorder, used
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEFT_OUT = 0.01  # share of a histogram below the scale of gradients
_LABELS = {
    "parameters": "parameter",
    "activations": "activation",
    "gradients": "log10 |gradient|",
}


def histograms(
    recorder: Recorder,
    what: str = "activations",
    *,
    names: str | Sequence[str] | None = None,
    ax: Any = None,
) -> list[Axes]:
    """Draw the distributions of parameters, activations or gradients, by layer, over the epochs.

    There is one panel for each layer (for parameters and gradients, one for each kernel and bias).
    A column is a histogram; where it is darker, there are more of the numbers. The line is their
    median. A ReLU layer that dies gathers at 0, gradients that vanish sink from panel to panel,
    and those that explode rise out of sight.

    Parameters
    ----------
    recorder : Recorder
        A recorder that was among the callbacks of `fit`.
    what : {"activations", "gradients", "parameters"}, default "activations"
    names : str or sequence of str, optional
        Which to draw: names, or patterns such as ``"*/kernel"``; default: all.
    ax : sequence of matplotlib Axes, optional
        One for each panel; default: a new figure.

    Returns
    -------
    list of matplotlib Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        `what` is something else, `names` fit nothing, the recorder has not been used yet, or the
        number of axes is not that of the panels.

    Notes
    -----
    Panels of gradients have one scale, which ends where fewer than one in a hundred of them are
    smaller.

    Examples
    --------
    >>> from fastnn import plots
    >>> recorder = fnn.Recorder()  # doctest: +SKIP
    >>> history = model.fit(x, y, epochs=20, callbacks=[recorder])  # doctest: +SKIP
    >>> plots.histograms(recorder, "gradients")  # doctest: +SKIP
    """
    if not isinstance(what, str) or what not in _LABELS:
        raise ValueError(f"what must be one of {', '.join(_LABELS)}, got {what!r}")
    used(recorder)
    looks = _of_parameters(recorder) if what == "parameters" else getattr(recorder, what)
    chosen = _chosen(list(looks[0]), names)
    panels = style.panels(
        ax, len(chosen), (2.9, 2.1), 3, "layers' panels", sharex=ax is None,
        sharey=ax is None and what == "gradients",
    )  # fmt: skip
    for panel, name in zip(panels, chosen, strict=True):
        _heat(panel, recorder.epochs, [look[name] for look in looks])
        last = looks[-1][name]
        notes = [f"{last.zeros:.0%} zeros"] * (last.zeros > 0.005)
        notes += [f"{1 - last.finite:.0%} not finite"] * (last.finite < 1)
        title = ": ".join([style.name(name), ", ".join(notes)] if notes else [style.name(name)])
        panel.set_title(style.wrapped(title, panel), fontsize="medium")
    if what == "gradients":
        panels[0].set_ylim(*_common_scale([look[name] for look in looks for name in chosen]))
        for panel in panels[1:]:
            panel.set_ylim(panels[0].get_ylim())
        for panel in panels:
            panel.yaxis.set_major_locator(style.integers(4))  # whole powers of ten
    for panel in panels if ax is not None else panels[::3]:
        panel.set_ylabel(_LABELS[what])
    for panel in panels if ax is not None else panels[-3:]:
        panel.set_xlabel("epochs done")
    style.legend_above(panels)
    return panels


def _chosen(known: list[str], names: Any) -> list[str]:
    """Return those that names or patterns ask for, in the order of the network."""
    if names is None:
        return known
    patterns = [names] if isinstance(names, str) else list(names)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, str(pattern)) for name in known):
            raise ValueError(f"names must fit some of {', '.join(known)}, got {pattern!r}")
    return [name for name in known if any(fnmatch.fnmatchcase(name, str(one)) for one in patterns)]


def _common_scale(looks: list[Histogram]) -> tuple[float, float]:
    """Return limits between which all but a hundredth of each histogram lies."""
    full = [look for look in looks if not look.is_empty] or looks
    low, high = min(look.low for look in full), max(look.high for look in full)
    edges = np.linspace(low, high, BINS + 1)
    below = np.cumsum([look.on(edges) for look in full], axis=1)
    share = below / np.maximum(below[:, -1:], 1e-300)
    first = int((share < _LEFT_OUT).sum(axis=1).min())
    margin = max(0.02 * (high - float(edges[first])), 0.05)
    return float(edges[first]) - margin, high + margin


def _of_parameters(recorder: Recorder) -> list[dict[str, Histogram]]:
    runtime = recorder.model.network.runtime
    return [
        {name: Histogram.of(view) for name, view in runtime.views_of(flat).items()}
        for flat in recorder.parameters
    ]


def _heat(ax: Axes, epochs: list[int], looks: list[Histogram]) -> None:
    full = [look for look in looks if not look.is_empty] or looks
    low, high = min(look.low for look in full), max(look.high for look in full)
    edges = np.linspace(low, high, BINS + 1)
    shares = np.array([look.on(edges) for look in looks]).T
    # Each column extends to the next one.
    sides = np.append(epochs, epochs[-1] + max(1, epochs[-1] - epochs[-2]) if epochs[1:] else 1)
    # Square roots, because a few numbers far out matter most. The scale ends where the zeros of a
    # relu, which are half of the numbers or more, leave the others a visible color.
    roots = np.sqrt(shares)
    darkest = float(np.quantile(roots[roots > 0], 0.97)) if roots.any() else 1.0
    heat = ax.pcolormesh(
        sides, edges, roots, cmap="Blues", vmin=0, vmax=darkest, shading="flat", rasterized=True
    )
    ax.set_facecolor(heat.cmap(0.0))  # shared axes may extend beyond it
    medians = [look.median for look in looks]
    ax.step(
        sides, [*medians, medians[-1]], where="post", color=style.VERMILLION, linewidth=1.2,
        label="median",
    )  # fmt: skip
    style.whole_numbers(ax)
    ax.grid(False)
    ax.margins(x=0)
    ax.spines[["top", "right"]].set_visible(False)
