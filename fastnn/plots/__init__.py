"""Pictures: of functions, of descents, of trainings, of what is inside a network.

Each takes ``ax=``, returns the axes it has drawn on, and works without a screen. matplotlib, the
extra ``plot``, is imported when the first one is drawn.
"""

from fastnn.plots.classifiers import (
    animate_decision_boundary,
    calibration,
    confusion_matrix,
    decision_boundary,
)
from fastnn.plots.descents import animate_descent, convergence, descent, surface
from fastnn.plots.functions import activations
from fastnn.plots.landscapes import landscape
from fastnn.plots.layers import histograms
from fastnn.plots.programs import graph, profile
from fastnn.plots.training import comparison, history, learning_curve, range_test

__all__ = [
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
    "landscape",
    "learning_curve",
    "profile",
    "range_test",
    "surface",
]
