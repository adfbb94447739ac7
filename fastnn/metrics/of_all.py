"""Metrics that are computed from all samples of an epoch at once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import checked, number
from fastnn.metrics.base import Metric, check_numbers, logit
from fastnn.program.ops import Value


@dataclass(frozen=True)
class Collected:
    """The predictions of an epoch and their targets.

    Attributes
    ----------
    target : ndarray, shape (rows,) of class labels, or (rows, *output_shape)
        Labels are int64, numbers have the dtype of the predictions.
    prediction : ndarray, shape (rows, *output_shape)
        The model's output.
    is_binary : bool
        Whether each output is a decision of its own; otherwise the largest is the class.
    is_logit : bool
        Whether the output is the input of the loss's softmax or sigmoid, or a number whose sign is
        the decision.
    weight : ndarray, shape (rows,), optional
        The weight of each row, for a weighted metric; None: all count the same.
    """

    target: np.ndarray
    prediction: np.ndarray
    is_binary: bool
    is_logit: bool
    weight: np.ndarray | None = None

    @property
    def weights(self) -> np.ndarray:
        """The weight of each row, in float64."""
        if self.weight is None:
            return np.ones(len(self.prediction))
        return self.weight.astype(np.float64, copy=False)

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return targets (0 or 1) and scores, shape (rows, outputs or classes)."""
        scores = self.prediction.reshape(len(self.prediction), -1)
        if self.is_binary:
            return self.target.reshape(scores.shape) > 0.5, scores
        return np.eye(scores.shape[1], dtype=bool)[self.classes()[0]], scores

    def decisions(self, threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
        """Return true and predicted decisions (0 or 1), shape (rows, outputs or classes).

        `threshold` is the probability above which an output that is a decision of its own is
        positive.
        """
        truth, scores = self.columns()
        if self.is_binary:
            return truth, scores > (logit(threshold) if self.is_logit else threshold)
        return truth, np.eye(scores.shape[1], dtype=bool)[self.classes()[1]]

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted class of each row."""
        scores = self.prediction.reshape(len(self.prediction), -1)
        target = self.target if self.target.ndim == 1 else self.target.argmax(axis=1)
        return target, scores.argmax(axis=1)


class EpochMetric(Metric):
    """Base class of metrics that are computed from all samples of an epoch at once."""

    needs_all: ClassVar[bool] = True

    def compute(self, collected: Collected) -> Any:
        """Return the metric."""
        raise NotImplementedError


AVERAGES = ("macro", "micro", "weighted")


def _average(name: str, value: object) -> str:
    if value not in AVERAGES:
        raise ValueError(f"{name} must be one of {', '.join(AVERAGES)}, got {value!r}")
    return str(value)


class _OfDecisions(EpochMetric):
    """Base class of metrics that compare the predicted classes with the true ones."""

    average: str = checked(_average, default="macro")
    threshold: float = number(default=0.5, is_positive=True, below=1)

    def compute(self, collected: Collected) -> float:
        """Return the metric."""
        truth, said = collected.decisions(self.threshold)
        weights = collected.weights
        right, positive, said_positive = (
            weights @ column.astype(np.float64) for column in (truth & said, truth, said)
        )
        if not collected.is_binary:  # a class counts if it is in the targets or predicted
            counts = (truth | said)[weights != 0].any(axis=0)
            right, positive, said_positive = right[counts], positive[counts], said_positive[counts]
        if self.average == "micro":
            right, positive, said_positive = right.sum(), positive.sum(), said_positive.sum()
        each = self.ratio(right, positive, said_positive)
        if self.average != "weighted":
            return float(np.mean(each))
        return float(_share((each * positive).sum(), positive.sum()))

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the metric, given numbers of samples."""
        raise NotImplementedError


def _share(part: Any, whole: Any) -> Any:
    """Return part / whole, or 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) != 0)


class Precision(_OfDecisions):
    """The fraction of the samples predicted positive that are positive; name ``"precision"``.

    With several classes, or several outputs that are separate decisions, it is computed for each.
    It is 0 if nothing is predicted positive.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"}, default "macro"
        The mean over the classes that occur among targets or predictions, the metric of all of
        them together, or the mean weighted by the number of samples of each, as in scikit-learn.
    threshold : float, default 0.5
        The probability above which an output that is a decision of its own is positive.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.Precision("micro").average
    'micro'
    """

    name: ClassVar[str] = "precision"
    direction: ClassVar[str] = "max"

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the fraction of the predicted positives that is right."""
        return _share(right, said_positive)


class Recall(_OfDecisions):
    """The fraction of the positive samples that are predicted positive; name ``"recall"``.

    Parameters
    ----------
    average, threshold
        As for `Precision`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("recall")
    Recall(average='macro')
    """

    name: ClassVar[str] = "recall"
    direction: ClassVar[str] = "max"

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return the fraction of the actual positives that is found."""
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
    direction: ClassVar[str] = "max"

    def ratio(self, right: Any, positive: Any, said_positive: Any) -> Any:
        """Return twice the true positives over the sum of actual and predicted positives."""
        return _share(2 * right, positive + said_positive)


class ROCAUC(EpochMetric):
    """Area under the curve of true over false positive rate; name ``"roc_auc"``.

    This is the exact probability, computed from ranks, that a positive sample has a larger score
    than a negative one, with ties counted half. For several outputs it is the mean over them; for
    classes, the mean over each against all others. It is NaN if all samples are of one class.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("roc_auc")
    ROCAUC()
    """

    name: ClassVar[str] = "roc_auc"
    direction: ClassVar[str] = "max"

    def compute(self, collected: Collected) -> float:
        """Return the area."""
        return _mean_over_columns(_area, collected)


class AveragePrecision(EpochMetric):
    """Average precision, the area under steps of precision over recall; name "average_precision".

    The sum over all thresholds of precision times the gain in recall, as in scikit-learn. For
    several outputs it is the mean over them; for classes, the mean over each against all others.
    It is 0 for a class that does not occur.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("average_precision")
    AveragePrecision()
    """

    name: ClassVar[str] = "average_precision"
    direction: ClassVar[str] = "max"

    def compute(self, collected: Collected) -> float:
        """Return the average precision."""
        return _mean_over_columns(_precision_over_recall, collected)


def _mean_over_columns(
    area: Callable[[np.ndarray, np.ndarray, np.ndarray], float], collected: Collected
) -> float:
    """Return the mean over outputs or classes of an area under a curve."""
    truth, scores = collected.columns()
    if collected.is_logit and not collected.is_binary:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = scores / scores.sum(axis=1, keepdims=True)
    weights = collected.weights
    return float(np.mean([area(*pair, weights) for pair in zip(truth.T, scores.T, strict=True)]))


def _counts(
    yes: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the positive and of the negative samples at each score, ascending."""
    values, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, weights * yes, len(values))
    return positive, np.bincount(place, weights * ~yes, len(values))


def _area(yes: np.ndarray, score: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the curve of true over false positive rate."""
    positive, negative = _counts(yes, score, weights)
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative / 2  # ties count half
    return float(positive @ below / pairs)


def _precision_over_recall(yes: np.ndarray, score: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the steps of precision over recall."""
    positive, negative = (part[::-1] for part in _counts(yes, score, weights))
    found = np.cumsum(positive)
    precision = _share(found, found + np.cumsum(negative))
    return float(_share(positive @ precision, positive.sum()))


class ConfusionMatrix(EpochMetric):
    """How often a sample of class i was classified as class j; name ``"confusion_matrix"``.

    The matrix is an array of integers (of weights, as a weighted metric) of shape (classes,
    classes), with rows for the true class and columns for the predicted one; for a single binary
    output, the classes are negative and positive. Progress bars and files leave it out.

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
    is_scalar: ClassVar[bool] = False

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if there are several outputs that are separate decisions."""
        _check_one_class(self, output, is_binary)

    def compute(self, collected: Collected) -> np.ndarray:
        """Return the matrix."""
        return _confusion(collected)


def _confusion(collected: Collected) -> np.ndarray:
    """Return how often, or with which weight, a sample of class i was classified as class j."""
    if collected.is_binary:
        yes, yes_said = collected.decisions()
        truth, said, count = yes[:, 0].astype(int), yes_said[:, 0].astype(int), 2
    else:
        truth, said = collected.classes()
        count = collected.prediction.reshape(len(truth), -1).shape[1]
    pairs = truth.astype(np.int64) * count + said
    return np.bincount(pairs, collected.weight, count * count).reshape(count, count)


class BalancedAccuracy(EpochMetric):
    """The mean over the classes of the fraction found; name ``"balanced_accuracy"``.

    As in scikit-learn, this is the mean recall of the classes that occur among the targets, so
    that a rare class counts as much as a frequent one. For a single output the classes are
    negative and positive.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("balanced_accuracy")
    BalancedAccuracy()
    """

    name: ClassVar[str] = "balanced_accuracy"
    direction: ClassVar[str] = "max"

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if there are several outputs that are separate decisions."""
        _check_one_class(self, output, is_binary)

    def compute(self, collected: Collected) -> float:
        """Return the mean."""
        matrix = _confusion(collected)
        support = matrix.sum(axis=1)
        occurs = support != 0
        return float(np.mean(np.diag(matrix)[occurs] / support[occurs]))


def _check_one_class(metric: Metric, output: Value, is_binary: bool) -> None:
    """Raise ValueError if there are several outputs that are separate decisions."""
    if is_binary and math.prod(output.shape) > 1:
        raise ValueError(
            f"metric {metric.name!r} is for classes or for one output, got "
            f"{math.prod(output.shape)} outputs that are right or wrong by themselves"
        )


class R2(EpochMetric):
    """Fraction of the targets' variance that is explained; name ``"r2"``.

    It is the mean over the outputs of 1 - (sum of squared errors) / (sum of squared distances from
    the mean), as in scikit-learn; a constant target counts 1 if it is predicted exactly, else 0.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.metrics.get("r2")
    R2()
    """

    name: ClassVar[str] = "r2"
    direction: ClassVar[str] = "max"

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if the target is a class label."""
        check_numbers(self, target)

    def compute(self, collected: Collected) -> float:
        """Return the fraction."""
        target = collected.target.reshape(len(collected.target), -1).astype(np.float64)
        weights = collected.weights
        error = weights @ (collected.prediction.reshape(target.shape) - target) ** 2
        total = weights @ (target - weights @ target / weights.sum()) ** 2
        varies = total > 0
        explained = 1 - np.divide(error, total, out=np.ones_like(error), where=varies)
        return float(np.mean(np.where(varies, explained, error == 0)))


def _function(name: str, value: object) -> Callable[..., Any]:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} must be a function of (y_true, y_pred), got {value!r}")
    return value


def _direction(name: str, value: object) -> str:
    return checks.choice(name, value, ("min", "max"))


class Function(EpochMetric):
    """A metric of your own: a function of all targets and predictions of an epoch.

    `compile(metrics=[function])` creates one.

    Parameters
    ----------
    function : callable
        It takes ``(y_true, y_pred)``: class labels of shape (rows,), int64, or targets of shape
        (rows, *output_shape), and the model's outputs, both of the model's dtype. It is called once
        per epoch, not for each batch. As one of ``weighted_metrics`` it takes
        ``(y_true, y_pred, sample_weight)``. The file of a saved model stores only its name: give
        it to ``load(path, custom_objects={name: function})``.
    direction : {"min", "max"}, optional
        The direction of improvement, for callbacks that monitor it.

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

    function: Callable[[np.ndarray, np.ndarray], Any] = checked(_function)
    direction: str | None = checked(  # type: ignore[misc]
        _direction, default=None, is_optional=True
    )

    @property
    def label(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", "function"))

    def compute(self, collected: Collected) -> Any:
        """Return what the function returns."""
        if collected.weight is None:
            return self.function(collected.target, collected.prediction)
        weighted: Callable[..., Any] = self.function
        return weighted(collected.target, collected.prediction, collected.weight)

    def check_weighted(self) -> None:
        """Raise TypeError if the function takes no weights."""
        try:
            inspect.signature(self.function).bind(0, 0, 0)
        except TypeError:
            raise TypeError(
                f"weighted_metrics: function {self.label!r} must take "
                "(y_true, y_pred, sample_weight)"
            ) from None
        except ValueError:  # it has no signature
            return
