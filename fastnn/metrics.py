"""Metrics: what `compile(metrics=[...])` takes; computed natively, batch by batch."""

from __future__ import annotations

from typing import ClassVar

from fastnn.program.ops import EmitOp, Op, Value
from fastnn.registry import Declaration, Registry


class Metric(Declaration):
    """A mean over samples of a number per sample.

    Attributes
    ----------
    name : str
        What `compile(metrics=[name])` is told, and the key in the history.
    takes_scores : bool
        Whether it can be told from the logits just as well; then the model's last softmax or
        sigmoid need not be computed for it.
    """

    takes_scores: ClassVar[bool] = False

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row.

        `threshold` is where a yes begins if each output counts by itself, None for classes.
        """
        if target.dtype == "label":
            raise ValueError(
                f"metric {self.name!r} compares numbers, but y holds class labels; "
                "give y as rows of probabilities, or leave the metric out"
            )
        return emit(
            "elementwise_loss", (prediction, target), ((), None), loss=self.name, parameter=0.0
        )


class Accuracy(Metric):
    """Share of samples whose class is right; name ``"accuracy"``.

    With class labels, or rows of probabilities, the class is that of the largest output. With
    a target of the same shape and one output, or with ``"binary_crossentropy"``, each output
    counts by itself: above 1/2 (above 0 for logits) is a yes.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("accuracy")
    Accuracy()
    """

    name: ClassVar[str] = "accuracy"
    takes_scores: ClassVar[bool] = True

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row."""
        if threshold is None:
            return emit("categorical_accuracy", (prediction, target), ((),))
        return emit("binary_accuracy", (prediction, target), ((),), threshold=threshold)


class MeanSquaredErrorMetric(Metric):
    """Mean squared error of the model's output; name ``"mse"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("mse").name
    'mse'
    """

    name: ClassVar[str] = "mse"


class MeanAbsoluteErrorMetric(Metric):
    """Mean absolute error of the model's output; name ``"mae"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("mae").name
    'mae'
    """

    name: ClassVar[str] = "mae"


registry = Registry("metric", Metric)
for _metric in (Accuracy, MeanSquaredErrorMetric, MeanAbsoluteErrorMetric):
    registry.add(_metric)
get = registry.get
