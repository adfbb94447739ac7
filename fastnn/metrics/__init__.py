"""Metrics: what `compile(metrics=[...])` takes. None of them interrupts the engine within an epoch.

A metric that is a mean over samples is computed natively. One that needs all samples at once (an
area under a curve, a confusion matrix, your own function) is computed at the end of the epoch from
the predictions that the engine has collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastnn.core import hints
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
    AveragePrecision,
    BalancedAccuracy,
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
    AveragePrecision,
    BalancedAccuracy,
    ConfusionMatrix,
    R2,
):
    registry.add(_metric)


def direction_of(
    result: str, objectives: Sequence[OutputObjective], output_names: Sequence[str]
) -> str | None:
    """Return the direction in which a result of training improves, as its loss or metric says.

    Parameters
    ----------
    result : str
        A key of the history: "loss", "val_accuracy", or with several outputs "digit_f1".
    objectives : sequence of OutputObjective
        The objective of each output: `Objective.outputs`.
    output_names : sequence of str
        The names of the outputs.

    Returns
    -------
    {"min", "max"} or None
        None if it cannot be known, as for a user's function, and for anything that is neither a
        loss nor a metric.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    >>> model.compile("adam", "crossentropy", ["accuracy"])
    >>> objectives = model.network.objective.outputs
    >>> fnn.metrics.direction_of("val_accuracy", objectives, model.output_names)
    'max'
    """
    losses = ["loss"]
    if len(output_names) > 1:
        losses += [f"{name}_loss" for name in output_names]
    if result in losses or result.removeprefix("val_") in losses:
        return "min"
    metric = metric_of(result, objectives, output_names)
    return None if metric is None else metric.direction


def metric_of(
    result: str, objectives: Sequence[OutputObjective], output_names: Sequence[str]
) -> Metric | None:
    """Return the metric that a result of training is of, or None: see `direction_of`."""
    several = len(output_names) > 1
    found: dict[str, Metric] = {}
    for name, objective in zip(output_names, objectives, strict=True):
        for label, metric, _ in objective.labelled():
            found[f"{name}_{label}" if several else label] = metric
    return found.get(result) or found.get(result.removeprefix("val_"))


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
    "AveragePrecision",
    "BalancedAccuracy",
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
    "metric_of",
    "registry",
    "scalars",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)
