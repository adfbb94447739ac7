"""The pictures of a report, each as the text of a data: URI."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.plots import predictions, style, tables
from fastnn.tabular.class_labels import shown_classes
from fastnn.tabular.importance import Importance
from fastnn.tabular.study import Result

MOST_CLASSES = 25  # of a confusion matrix that can be read
MOST_BINS = 10
MOST_IMPORTANT = 15  # columns


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes
    ----------
    name : str
    source : str
        A data: URI.
    text : str
        What it shows, for those who cannot see it.
    """

    name: str
    source: str
    text: str


def pictures(result: Result, importance: Importance | None) -> Iterator[Picture]:
    """Draw the pictures that suit a result.

    Parameters
    ----------
    result : Result
    importance : Importance, optional
    """
    learned, target = result.fitted.learned, result.study.target
    found = result.evaluation
    # Scores of two kinds have no axis in common.
    members = [m for m in learned.members if m.score.name == learned.score.name] or learned.members
    score, left_out = members[0].score.name, len(learned.members) - len(members)
    curves = [member.curve for member in members]
    best = [member.best_epoch for member in members]
    ends = ", ".join(f"{c[b]:.4g} in epoch {b + 1}" for c, b in zip(curves, best, strict=True))
    yield _drawn(
        "curves",
        lambda ax: tables.member_curves(curves, best, score, ax=ax),
        f"{score} of {len(members)} networks over the epochs; best: {ends}"
        + (f"; {left_out} with another score left out" if left_out else ""),
    )
    if target.classes is not None:
        labels = [str(one) for one in shown_classes(target.classes)]
        right = float(np.mean(found.predictions == found.truth))
        if len(labels) <= MOST_CLASSES:
            matrix = np.zeros((len(labels), len(labels)), np.int64)
            np.add.at(matrix, (found.truth, found.predictions), 1)
            size = max(4.4, 0.5 * len(labels) + 1.4)
            yield _drawn(
                "confusion",
                lambda ax: predictions.confusion_matrix(matrix, labels=labels, ax=ax),
                f"Confusion matrix of {len(labels)} classes; {right:.1%} are on its diagonal",
                (size, size * 0.85),
            )
        if len(np.unique(found.truth)) > 1:
            yield _drawn(
                "roc",
                lambda ax: tables.roc(found.truth, found.outputs, labels, ax=ax),
                "ROC curve" + _said(found.scores, "roc_auc", "area"),
            )
        said = found.outputs[:, 1] if len(labels) == 2 else found.outputs
        said = np.clip(said.astype(np.float64), 0, 1)
        bins = int(np.clip(len(found.truth) // 20, 4, MOST_BINS))
        yield _drawn(
            "calibration",
            lambda ax: _calibration(found.truth, said, labels, bins, ax),
            "Calibration: how often predictions of each probability were right",
            (4.6, 4.3),
        )
    else:
        name = target.name
        yield _drawn(
            "predicted",
            lambda ax: tables.predicted_against_true(found.truth, found.predictions, name, ax=ax),
            f"Predicted against true {name}" + _said(found.scores, "r2", "R²"),
        )
        yield _drawn(
            "residuals",
            lambda ax: tables.residuals(found.truth, found.predictions, name, ax=ax),
            "Predicted minus true numbers, over the predicted ones; mean absolute error "
            f"{found.scores['mae']:.4g}",
        )
    if importance is not None and importance.columns:
        first = ", ".join(importance.columns[:5])
        rows = min(len(importance.columns), MOST_IMPORTANT)
        yield _drawn(
            "importance",
            lambda ax: tables.importance(
                importance.columns,
                importance.mean,
                importance.std,
                importance.metric,
                most=MOST_IMPORTANT,
                ax=ax,
            ),
            f"Importance of columns; the most important are {first}",
            (4.6, max(1.9, 0.27 * rows + 1.1)),
        )


def _said(scores: Mapping[str, float], score: str, name: str) -> str:
    """Return a score for the end of a text; nothing if the rows do not define it."""
    return f"; {name} {scores[score]:.4f}" if score in scores else ""


def _calibration(truth: Any, said: Any, labels: list[str], bins: int, ax: Any) -> Any:
    ax = predictions.calibration(truth, said, bins=bins, ax=ax)
    if len(labels) == 2:
        name = style.name(labels[1], tables.LONGEST_LABEL)
        ax.set(xlabel=f"probability of {name}", ylabel=f"share of rows of {name}")
    return ax


def _drawn(
    name: str,
    draw: Callable[[Any], Any],
    text: str,
    size: tuple[float, float] = tables.SIZE,
) -> Picture:
    import matplotlib
    from matplotlib.figure import Figure

    # Figures of its own, not pyplot's: no window, whatever backend the user has set.
    look = matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"})
    with style.any_glyphs(), look:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        content = io.BytesIO()
        figure.savefig(content, format="svg", dpi=200, metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(content.getvalue()).decode()
    return Picture(name, source, text)
