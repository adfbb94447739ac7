"""The base class of metrics, and what they share."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fastnn.core.declare import Declaration
from fastnn.program.ops import EmitOp, Op, Value


class Metric(Declaration):
    """A mean over samples of a number per sample.

    Attributes
    ----------
    name : str
        The name that `compile(metrics=[name])` takes.
    label : str
        The key in the history; usually the name.
    takes_scores : bool
        Whether it can be computed from the logits just as well, so that the model's last softmax
        or sigmoid need not be computed for it.
    needs_all : bool
        Whether it is computed from all samples at once; see `EpochMetric`.
    direction : {"min", "max"} or None
        The direction of improvement, for callbacks that monitor it; None if it cannot be known.
    is_scalar : bool
        Whether it is one number, which callbacks can monitor.
    """

    takes_scores: ClassVar[bool] = False
    needs_all: ClassVar[bool] = False
    direction: ClassVar[str | None] = None
    is_scalar: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The key in the history."""
        return self.name

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is one number per row.

        `threshold` is the score above which an output is positive if each output is a decision of
        its own; see `Loss.threshold`.
        """
        return distance(self, "mse", emit, prediction, target)

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if the metric does not fit an output and its target; called before training."""

    def check_weighted(self) -> None:
        """Raise if the metric cannot be weighted; called by `compile(weighted_metrics=...)`."""

    def finish(self, mean: float) -> float:
        """Return the metric, given the mean over all samples."""
        return mean


def distance(metric: Metric, loss: str, emit: EmitOp, prediction: Value, target: Value) -> Op:
    """Append the op that computes the distance of each row from its target."""
    check_numbers(metric, target)
    return emit("elementwise_loss", (prediction, target), ((), None), loss=loss, parameter=0.0)


def check_numbers(metric: Metric, target: Value) -> None:
    """Raise ValueError if the target is a class label."""
    if target.dtype == "label":
        raise ValueError(
            f"metric {metric.name!r} compares numbers, but y holds class labels; "
            "give y as rows of probabilities, or leave the metric out"
        )


def logit(probability: float) -> float:
    """Return the number whose sigmoid is `probability`."""
    return float(np.log(probability / (1 - probability)))


def scalars(logs: dict[str, Any]) -> dict[str, float]:
    """Return the results that are single numbers."""
    return {name: float(value) for name, value in logs.items() if is_number(value)}


def is_number(value: object) -> bool:
    """Whether a result is a single number: a user's function may return anything."""
    return isinstance(value, (Real, np.bool_)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiub"
    )
