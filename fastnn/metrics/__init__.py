"""Metrics: what `compile(metrics=[...])` takes. None of them interrupts the engine within an epoch.

A metric that is a mean over samples is computed natively. One that needs all samples at once (an
area under a curve, a confusion matrix, a function of yours) gets the predictions of an epoch, which
the engine has collected, and is computed when the epoch is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastnn.core.registry import Registry
from fastnn.metrics.base import Metric, is_number, scalars
from fastnn.metrics.means import (
    Accuracy,
    BinaryAccuracy,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    RootMeanSquaredError,
    TopKAccuracy,
)
from fastnn.metrics.of_all import (
    F1,
    R2,
    ROCAUC,
    Collected,
    ConfusionMatrix,
    EpochMetric,
    Function,
    Precision,
    Recall,
)

if TYPE_CHECKING:
    from fastnn.program.objective import OutputObjective

registry = Registry("metric", Metric)
for _metric in (
    Accuracy,
    BinaryAccuracy,
    TopKAccuracy,
    MeanSquaredErrorMetric,
    RootMeanSquaredError,
    MeanAbsoluteErrorMetric,
    Precision,
    Recall,
    F1,
    ROCAUC,
    ConfusionMatrix,
    R2,
):
    registry.add(_metric)


def get(what: object) -> Metric:
    """Return the metric that `what` stands for.

    Parameters
    ----------
    what : str, dict, Metric, or function of (y_true, y_pred)

    Returns
    -------
    Metric

    Raises
    ------
    ValueError
        The name is unknown; the nearest one is suggested.
    TypeError
        `what` is something else.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get({"name": "top_k_accuracy", "k": 2})
    TopKAccuracy(k=2)
    """
    if callable(what) and not isinstance(what, (type, Metric)):
        return Function(what)
    return registry.get(what)


__all__ = [
    "F1",
    "R2",
    "ROCAUC",
    "Accuracy",
    "BinaryAccuracy",
    "Collected",
    "ConfusionMatrix",
    "EpochMetric",
    "Function",
    "MeanAbsoluteErrorMetric",
    "MeanSquaredErrorMetric",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
    "direction_of",
    "get",
    "is_number",
    "registry",
    "scalars",
]
