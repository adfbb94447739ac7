"""Pictures of functions, descents, trainings, the inside of a network, and models of tables.

Each takes ``ax=``, returns the axes it has drawn on, and works without a screen. matplotlib, the
extra ``plot``, is imported when the first one is drawn.

``plt.style.use(plots.STYLE)`` gives the look of these pictures to those that are drawn with
matplotlib itself: colors that the color-blind distinguish, together with line styles.
"""

from fastnn.plots.classifiers import animate_decision_boundary, decision_boundary
from fastnn.plots.descents import animate_descent, convergence, descent, surface
from fastnn.plots.functions import activations
from fastnn.plots.graphs import graph
from fastnn.plots.landscapes import landscape
from fastnn.plots.layers import histograms
from fastnn.plots.predictions import calibration, confusion_matrix
from fastnn.plots.programs import profile
from fastnn.plots.style import STYLE
from fastnn.plots.tables import (
    importance,
    member_curves,
    predicted_against_true,
    residuals,
    roc,
)
from fastnn.plots.training import comparison, history, learning_curve, learning_rate_finder

__all__ = [
    "STYLE",
    "activations",
    "animate_decision_boundary",
    "animate_descent",
    "calibration",
    "comparison",
    "confusion_matrix",
    "convergence",
    "decision_boundary",
    "descent",
    "graph",
    "histograms",
    "history",
    "importance",
    "landscape",
    "learning_curve",
    "learning_rate_finder",
    "member_curves",
    "predicted_against_true",
    "profile",
    "residuals",
    "roc",
    "surface",
]


def __dir__() -> list[str]:
    return __all__
