"""Metrics that are means over samples, computed natively."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastnn.core.declare import integer, number
from fastnn.metrics.base import Metric, distance, logit
from fastnn.program.ops import EmitOp, Op, Value


class Accuracy(Metric):
    """Fraction of samples that are classified correctly; name ``"accuracy"``.

    With class labels, or rows of probabilities, the class is that of the largest output. With
    a target of the same shape and one output, or with ``"binary_crossentropy"``, each output is
    a decision of its own, positive above 1/2 (above 0 for logits, and with ``"hinge"``).

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("accuracy")
    Accuracy()
    """

    name: ClassVar[str] = "accuracy"
    direction: ClassVar[str] = "max"
    takes_scores: ClassVar[bool] = True

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is one number per row."""
        if threshold is None:
            return emit("categorical_accuracy", (prediction, target), ((),), k=1)
        return emit("binary_accuracy", (prediction, target), ((),), threshold=threshold)


class BinaryAccuracy(Metric):
    """Fraction of outputs on the right side of a threshold; name ``"binary_accuracy"``.

    Each output is a decision of its own, compared with a target of the same shape.

    Parameters
    ----------
    threshold : float, default 0.5
        For probabilities, in (0, 1); with ``"binary_crossentropy"`` on logits, for their sigmoid.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.BinaryAccuracy(0.9).threshold
    0.9
    """

    name: ClassVar[str] = "binary_accuracy"
    direction: ClassVar[str] = "max"
    takes_scores: ClassVar[bool] = True

    threshold: float = number(default=0.5, is_positive=True, below=1)

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is one number per row."""
        if target.dtype == "label":
            raise ValueError("metric 'binary_accuracy' is for outputs that count by themselves")
        cut = logit(self.threshold) if threshold == 0 else self.threshold
        return emit("binary_accuracy", (prediction, target), ((),), threshold=cut)


class TopKAccuracy(Metric):
    """Fraction of samples whose class is among the k largest outputs; name ``"top_k_accuracy"``.

    Its key in the history contains the number: "top_5_accuracy".

    Parameters
    ----------
    k : int, default 5

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.TopKAccuracy(3).label
    'top_3_accuracy'
    """

    name: ClassVar[str] = "top_k_accuracy"
    direction: ClassVar[str] = "max"
    takes_scores: ClassVar[bool] = True

    k: int = integer(default=5)

    @property
    def label(self) -> str:
        """The key in the history."""
        return f"top_{self.k}_accuracy"

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is one number per row."""
        if prediction.width < 2:
            raise ValueError("metric 'top_k_accuracy' needs an output for each class")
        return emit("categorical_accuracy", (prediction, target), ((),), k=self.k)


class MeanSquaredErrorMetric(Metric):
    """Mean squared error of the model's output; name ``"mse"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("mse").name
    'mse'
    """

    name: ClassVar[str] = "mse"
    direction: ClassVar[str] = "min"


class RootMeanSquaredError(Metric):
    """Root of the mean squared error of the model's output; name ``"rmse"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("rmse").name
    'rmse'
    """

    name: ClassVar[str] = "rmse"
    direction: ClassVar[str] = "min"

    def finish(self, mean: float) -> float:
        """Return the root of the mean of all squares."""
        return float(np.sqrt(mean))


class MeanAbsoluteErrorMetric(Metric):
    """Mean absolute error of the model's output; name ``"mae"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("mae").name
    'mae'
    """

    name: ClassVar[str] = "mae"
    direction: ClassVar[str] = "min"

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is one number per row."""
        return distance(self, "mae", emit, prediction, target)
