"""What is wrong with the layout of a figure: text that hides data, overlaps, is cut or small."""

from __future__ import annotations

import itertools

import numpy as np

LEAST_TEXT = 9.5  # pixels that letters need, at the size at which a page shows the picture
WIDEST = 880  # pixels that a page has for a picture


def faults(figure, dpi):
    """Return what a reader would stumble over, if the figure is saved with so many dots an inch."""
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    found = []
    width = figure.bbox.width
    if width > WIDEST:
        found.append(f"it is {width:.0f} pixels wide")
    texts = _texts(figure)
    for text, box in texts:
        said = text.get_text()
        if text.get_fontsize() * dpi / 72 < LEAST_TEXT:
            found.append(f"{said!r} is too small")
        if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > figure.bbox.height + 2:
            found.append(f"{said!r} is cut")
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        if _overlap(a, b):
            found.append(f"{one.get_text()!r} and {other.get_text()!r} overlap")
    for ax in figure.axes:
        found += _hidden(ax)
        if ax.axison and ax.name == "rectilinear" and not _is_named(ax):
            found.append(f"axes {ax.get_title()!r} have no label")
    return found


def _texts(figure):
    """Return the texts that are seen, with the boxes that they take."""
    from matplotlib.text import Text

    found = []
    ticks = set()
    for ax in figure.axes:
        axes = [getattr(ax, f"{name}axis") for name in "xyz" if hasattr(ax, f"{name}axis")]
        for axis in axes:
            labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
            ticks |= {label for tick in (*axis.majorTicks, *axis.minorTicks)
                      for label in (tick.label1, tick.label2)}  # fmt: skip
            shown = axis.get_visible() and ax.axison and ax.name == "rectilinear"
            low, high = sorted(axis.get_view_interval())
            found += [
                label for label in labels
                if shown and low <= label.get_position()[axis is axes[1]] <= high
            ]  # fmt: skip
    found += [text for text in figure.findobj(Text) if text not in ticks]
    seen = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text, text.get_window_extent()) for text in seen]


def _overlap(a, b):
    across = min(a.x1, b.x1) - max(a.x0, b.x0)
    up = min(a.y1, b.y1) - max(a.y0, b.y0)
    return across > 1 and up > 4  # boxes include some space above and below the letters


def _hidden(ax):
    """Return a fault if the legend lies over something that is drawn."""
    legend = ax.get_legend()
    if legend is None:
        return []
    box = legend.get_window_extent()
    is_image = ax.images or any(len(one.get_paths()) > 1 for one in ax.collections)
    if is_image and _overlap(box, ax.bbox):
        return ["the legend lies over an image"]
    points = [_along(line.get_transform().transform(line.get_xydata())) for line in ax.lines]
    points += [ax.transData.transform(one.get_offsets()) for one in ax.collections]
    bars = [patch.get_window_extent() for patch in ax.patches]
    is_over = any(((p > box.min) & (p < box.max)).all(axis=1).any() for p in points if len(p))
    is_over |= any(_overlap(box, bar) for bar in bars)
    return ["the legend lies over data"] * is_over


def _along(points):
    """Return points of a line that are so close that none could pass through a legend unseen."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return points
    parts = [np.linspace(a, b, 2 + int(np.abs(b - a).max() // 4))
             for a, b in itertools.pairwise(points) if np.abs(b - a).max() < 1e5]  # fmt: skip
    return np.concatenate(parts) if parts else points


def _is_named(ax):
    """Whether both axes say what they show, by themselves or by those below or to the left."""
    for name in "xy":
        axis = getattr(ax, f"{name}axis")
        sup = getattr(ax.figure, f"get_sup{name}label")()
        shown = [label for label in axis.get_ticklabels() if label.get_text()]
        if not axis.get_label_text() and not sup and shown and not _is_category(shown):
            beyond = [other for other in ax.figure.axes if other is not ax
                      and getattr(other, f"get_{name}label")()]  # fmt: skip
            if not beyond:
                return False
    return True


def _is_category(labels):
    """Whether the ticks name things, which need no unit."""
    return any(any(letter.isalpha() for letter in label.get_text()[1:]) for label in labels)
