"""Metrics: what `compile(metrics=[...])` takes. None of them stops the engine for a batch.

A metric that is a mean over samples is computed natively. One that needs all samples at once (an
area under a curve, a confusion matrix, a function of yours) gets the predictions of an epoch, which
the engine has collected, and is computed when the epoch is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fastnn import checks
from fastnn.program.ops import EmitOp, Op, Value
from fastnn.registry import Declaration, Registry


class Metric(Declaration):
    """A mean over samples of a number per sample.

    Attributes
    ----------
    name : str
        What `compile(metrics=[name])` is told.
    label : str
        The key in the history; mostly the name.
    takes_scores : bool
        Whether it can be told from the logits just as well; then the model's last softmax or
        sigmoid need not be computed for it.
    needs_all : bool
        Whether it is computed of all samples at once; see `EpochMetric`.
    more_is_better : bool
        What a callback that watches it takes for an improvement.
    """

    takes_scores: ClassVar[bool] = False
    needs_all: ClassVar[bool] = False
    more_is_better: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The key in the history."""
        return self.name

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row.

        `threshold` is where a yes begins if each output counts by itself, None for classes.
        """
        return _distance(self, "mse", emit, prediction, target)

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if the metric does not fit an output and its target; before the first step."""

    def finish(self, mean: float) -> float:
        """Return the metric for the mean over all samples."""
        return mean


def _distance(metric: Metric, loss: str, emit: EmitOp, prediction: Value, target: Value) -> Op:
    _check_numbers(metric, target)
    return emit("elementwise_loss", (prediction, target), ((), None), loss=loss, parameter=0.0)


def _check_numbers(metric: Metric, target: Value) -> None:
    if target.dtype == "label":
        raise ValueError(
            f"metric {metric.name!r} compares numbers, but y holds class labels; "
            "give y as rows of probabilities, or leave the metric out"
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
    more_is_better: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row."""
        if threshold is None:
            return emit("categorical_accuracy", (prediction, target), ((),), k=1)
        return emit("binary_accuracy", (prediction, target), ((),), threshold=threshold)


class BinaryAccuracy(Metric):
    """Share of outputs on the right side of a threshold; name ``"binary_accuracy"``.

    Each output counts by itself, against a target of the same shape.

    Parameters
    ----------
    threshold : float, default 0.5
        Of a probability, in (0, 1); with ``"binary_crossentropy"`` on logits, of their sigmoid.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.BinaryAccuracy(0.9).threshold
    0.9
    """

    name: ClassVar[str] = "binary_accuracy"
    more_is_better: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = checks.number("threshold", threshold, is_positive=True, below=1)

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row."""
        if target.dtype == "label":
            raise ValueError("metric 'binary_accuracy' is for outputs that count by themselves")
        number = _logit(self.threshold) if threshold == 0 else self.threshold
        return emit("binary_accuracy", (prediction, target), ((),), threshold=number)


class TopKAccuracy(Metric):
    """Share of samples whose class is among the k largest outputs; name ``"top_k_accuracy"``.

    Its key in the history has the number in it: "top_5_accuracy".

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
    more_is_better: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True

    def __init__(self, k: int = 5) -> None:
        self.k = checks.integer("k", k)

    @property
    def label(self) -> str:
        """The key in the history."""
        return f"top_{self.k}_accuracy"

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row."""
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


class RootMeanSquaredError(Metric):
    """Root of the mean squared error of the model's output; name ``"rmse"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("rmse").name
    'rmse'
    """

    name: ClassVar[str] = "rmse"

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

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the number of each row."""
        return _distance(self, "mae", emit, prediction, target)


# --- of all samples at once -------------------------------------------------------------------


@dataclass(frozen=True)
class Collected:
    """The predictions of an epoch and their targets.

    Attributes
    ----------
    target : ndarray, shape (rows,) of class labels, or (rows, *output_shape)
    prediction : ndarray, shape (rows, *output_shape)
        The model's output.
    is_binary : bool
        Whether each output counts by itself; else the largest is the class.
    is_logit : bool
        Whether the output is what softmax or sigmoid of the loss is applied to.
    """

    target: np.ndarray
    prediction: np.ndarray
    is_binary: bool
    is_logit: bool

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return targets (0 or 1) and scores, shape (rows, outputs or classes)."""
        scores = self.prediction.reshape(len(self.prediction), -1)
        if self.is_binary:
            return self.target.reshape(scores.shape) > 0.5, scores
        return np.eye(scores.shape[1], dtype=bool)[self.classes()[0]], scores

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted class of each row."""
        scores = self.prediction.reshape(len(self.prediction), -1)
        target = self.target if self.target.ndim == 1 else self.target.argmax(axis=1)
        return target, scores.argmax(axis=1)


class EpochMetric(Metric):
    """A metric of all samples of an epoch at once."""

    needs_all: ClassVar[bool] = True

    def compute(self, collected: Collected) -> Any:
        """Return the metric."""
        raise NotImplementedError


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


class _OfDecisions(EpochMetric):
    """Of what was said to be positive, or to be of a class, and what is."""

    AVERAGES: ClassVar[tuple[str, ...]] = ("macro", "micro", "weighted")

    def __init__(self, average: str = "macro", threshold: float = 0.5) -> None:
        if average not in self.AVERAGES:
            raise ValueError(f"average must be one of {', '.join(self.AVERAGES)}, got {average!r}")
        self.average = average
        self.threshold = checks.number("threshold", threshold, is_positive=True, below=1)

    def compute(self, collected: Collected) -> float:
        """Return the metric."""
        truth, scores = collected.columns()
        if collected.is_binary:
            said = scores > (_logit(self.threshold) if collected.is_logit else self.threshold)
        else:
            said = np.eye(scores.shape[1], dtype=bool)[collected.classes()[1]]
        right = (truth & said).sum(axis=0, dtype=np.float64)
        positive, said_positive = truth.sum(axis=0), said.sum(axis=0)
        if self.average == "micro":
            right, positive, said_positive = right.sum(), positive.sum(), said_positive.sum()
        each = self.ratio(right, positive, said_positive)
        if self.average != "weighted":
            return float(np.mean(each))
        return float(_share((each * positive).sum(), positive.sum()))

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the metric for numbers of samples."""
        raise NotImplementedError


def _share(part: Any, whole: Any) -> Any:
    """Return part / whole, and 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


class Precision(_OfDecisions):
    """Of what is said to be positive, the share that is; name ``"precision"``.

    Of several classes, or of several outputs that count by themselves, it is computed for each.
    0 where nothing is said to be positive.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"}, default "macro"
        The mean over classes; of all together; the mean weighted with how many there are. As in
        scikit-learn.
    threshold : float, default 0.5
        Of the probability where each output counts by itself.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.Precision("micro").average
    'micro'
    """

    name: ClassVar[str] = "precision"
    more_is_better: ClassVar[bool] = True

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the share of what is said that is right."""
        return _share(right, said_positive)


class Recall(_OfDecisions):
    """Of what is positive, the share that is found; name ``"recall"``.

    Parameters
    ----------
    average, threshold
        As for `Precision`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("recall")
    Recall(average='macro', threshold=0.5)
    """

    name: ClassVar[str] = "recall"
    more_is_better: ClassVar[bool] = True

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the share of what is there that is found."""
        return _share(right, positive)


class F1(_OfDecisions):
    """The harmonic mean of precision and recall; name ``"f1"``.

    Parameters
    ----------
    average, threshold
        As for `Precision`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("f1").average
    'macro'
    """

    name: ClassVar[str] = "f1"
    more_is_better: ClassVar[bool] = True

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return twice what is right over what is there and what is said together."""
        return _share(2 * right, positive + said_positive)


class ROCAUC(EpochMetric):
    """Area under the curve of hits over false alarms; name ``"roc_auc"``.

    The probability that a positive sample has a larger score than a negative one, ties counting
    half, exactly (by ranks). Of several outputs the mean over them; of classes that of each
    against all others. NaN where all samples are of one kind.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("roc_auc")
    ROCAUC()
    """

    name: ClassVar[str] = "roc_auc"
    more_is_better: ClassVar[bool] = True

    def compute(self, collected: Collected) -> float:
        """Return the area."""
        truth, scores = collected.columns()
        if collected.is_logit and not collected.is_binary:
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = scores / scores.sum(axis=1, keepdims=True)
        pairs = zip(truth.T, scores.T, strict=True)
        return float(np.mean([_area(yes, score) for yes, score in pairs]))


def _area(yes: np.ndarray, score: np.ndarray) -> float:
    """Return the area under one curve."""
    positive, negative = int(yes.sum()), int((~yes).sum())
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean of the ranks of those alike
    least = positive * (positive + 1) / 2
    return float((rank[place][yes].sum() - least) / (positive * negative))


class ConfusionMatrix(EpochMetric):
    """How often a sample of class i was taken for class j; name ``"confusion_matrix"``.

    An array of integers of shape (classes, classes), rows for what is, columns for what was said;
    of one output that counts by itself the classes are no and yes. Progress bars and files leave
    it out.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> model = fnn.Sequential([fnn.Activation("linear")], input_shape=(2,))
    >>> model.compile("sgd", "crossentropy", metrics=["confusion_matrix"])
    >>> model.evaluate(np.array([[1, 0], [1, 0], [0, 1]]), [0, 1, 1])["confusion_matrix"]
    array([[1, 0],
           [1, 1]])
    """

    name: ClassVar[str] = "confusion_matrix"

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if there are several outputs that count by themselves."""
        if is_binary and math.prod(output.shape) > 1:
            raise ValueError(
                "metric 'confusion_matrix' is for classes or for one output, got "
                f"{math.prod(output.shape)} outputs that are right or wrong by themselves"
            )

    def compute(self, collected: Collected) -> np.ndarray:
        """Return the matrix."""
        if not collected.is_binary:
            truth, said = collected.classes()
            count = collected.prediction.reshape(len(truth), -1).shape[1]
        else:
            yes, scores = collected.columns()
            truth, count = yes[:, 0].astype(int), 2
            said = (scores[:, 0] > (0.0 if collected.is_logit else 0.5)).astype(int)
        found = np.bincount(truth.astype(np.int64) * count + said, minlength=count * count)
        return found.reshape(count, count)


class R2(EpochMetric):
    """Share of the targets' variance that is explained; name ``"r2"``.

    1 - (sum of squared errors) / (sum of squared distances from the mean), the mean of that over
    the outputs, as in scikit-learn; a target that does not vary counts 1 if it is met, else 0.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("r2")
    R2()
    """

    name: ClassVar[str] = "r2"
    more_is_better: ClassVar[bool] = True

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if the target is a class label."""
        _check_numbers(self, target)

    def compute(self, collected: Collected) -> float:
        """Return the share."""
        target = collected.target.reshape(len(collected.target), -1).astype(np.float64)
        error = ((collected.prediction.reshape(target.shape) - target) ** 2).sum(axis=0)
        total = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
        varies = total > 0
        explained = 1 - np.divide(error, total, out=np.ones_like(error), where=varies)
        return float(np.mean(np.where(varies, explained, error == 0)))


class Function(EpochMetric):
    """A metric of your own: a function of all targets and predictions of an epoch.

    `compile(metrics=[function])` makes one.

    Parameters
    ----------
    function : callable
        Of ``(y_true, y_pred)``: class labels of shape (rows,) or targets of shape
        (rows, *output_shape), and the model's outputs. Called once an epoch, not for each batch.
        A saved model is saved without it.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> def worst(y_true, y_pred):
    ...     return np.abs(y_true - y_pred).max()
    >>> model = fnn.Sequential([fnn.Activation("linear")], input_shape=(1,))
    >>> model.compile("sgd", "mse", metrics=[worst])
    >>> float(model.evaluate(np.array([[1.0], [2.0]]), [1.0, 5.0])["worst"])
    3.0
    """

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"function must be a function of (y_true, y_pred), got {function!r}")
        self.function = function

    @property
    def label(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", "function"))

    def compute(self, collected: Collected) -> Any:
        """Return what the function returns."""
        return self.function(collected.target, collected.prediction)


def scalars(logs: dict[str, Any]) -> dict[str, float]:
    """Return the results that are single numbers."""
    return {name: float(value) for name, value in logs.items() if is_number(value)}


def is_number(value: object) -> bool:
    """Whether a result is a single number: a function of the user's may return anything."""
    return isinstance(value, (Real, np.bool_)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiub"
    )


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


def more_is_better(result: str) -> bool:
    """Whether a result, such as "val_f1" or "output_accuracy", is better where it is larger."""
    rising = (name for name in registry if registry[name].more_is_better)
    return "acc" in result or any(f"_{result}".endswith(f"_{name}") for name in rising)


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
