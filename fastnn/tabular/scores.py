"""How good predictions are: the scores by which tables' models are chosen, and which are reported.

Those of classes and areas are the metrics of `fastnn.metrics`; here they get a truth and
predictions as arrays, in the target's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastnn import metrics
from fastnn.core.hints import unknown_name
from fastnn.metrics import Collected


@dataclass(frozen=True)
class Score:
    """A score of predictions.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    is_better_high : bool
    function : callable
        Of the truth (class numbers, or numbers), the predictions (probabilities of shape (rows,
        classes), or numbers), and the weight of each row.
    of_decisions : bool
        Whether it looks at the predicted class alone, so that a threshold can improve it.
    needs_two : bool
        Whether it says nothing about rows of a single class.
    needs_every : bool
        Whether it says nothing about rows among which a class is missing.
    needs_spread : bool
        Whether it says nothing about rows whose numbers are all the same.
    """

    name: str
    task: str
    is_better_high: bool
    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    of_decisions: bool = False
    needs_two: bool = False
    needs_every: bool = False
    needs_spread: bool = False

    def __call__(
        self, truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None
    ) -> float:
        """Return the score.

        Examples
        --------
        >>> get("rmse", "regression")(np.array([1.0, 2.0]), np.array([1.0, 4.0])).__round__(3)
        1.414
        """
        return float(self.function(truth, predicted, weight))

    def is_defined(
        self, truth: np.ndarray, weight: np.ndarray | None = None, classes: int = 0
    ) -> bool:
        """Return whether it says something about predictions of these rows.

        Parameters
        ----------
        truth : ndarray, shape (rows,)
        weight : ndarray, shape (rows,), optional
            Rows of weight 0 are none, unless all are.
        classes : int, default 0
            How many there are.

        Examples
        --------
        >>> get("roc_auc", "classification").is_defined(np.array([1, 1, 1]))
        False
        """
        if weight is not None and weight.any():
            truth = truth[weight > 0]
        if not len(truth):
            return False
        if self.needs_every and len(np.unique(truth)) < classes:
            return False
        return not (self.needs_two or self.needs_spread) or bool((truth != truth[0]).any())

    def loss(
        self, truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None
    ) -> float:
        """Return a number that is the smaller the better; infinite where it is not defined."""
        value = self(truth, predicted, weight)
        if np.isnan(value):
            return np.inf
        return -value if self.is_better_high else value


def _log_loss(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    chosen = predicted[np.arange(len(truth)), truth].astype(np.float64)
    tiny = np.finfo(np.float32).eps  # whatever the dtype is: a model is not better for being coarse
    return float(np.average(-np.log(np.clip(chosen, tiny, 1)), weights=weight))


def _accuracy(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(predicted.argmax(axis=1) == truth, weights=weight))


def _metric(
    name: str, truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None
) -> float:
    """Return a metric of `fastnn.metrics`."""
    metric: Any = metrics.get(name)
    is_binary = predicted.shape[1] == 2
    target = truth
    if is_binary:
        predicted, target = predicted[:, 1], truth.astype(predicted.dtype)
    return float(metric.compute(Collected(target, predicted, is_binary, False, weight)))


def _rmse(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    error = np.abs(predicted - truth)
    largest = error.max() or 1.0  # whose square may be 0, or infinite
    return float(largest * np.sqrt(np.average((error / largest) ** 2, weights=weight)))


def _mae(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(np.abs(predicted - truth), weights=weight))


def _r2(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    spread = _rmse(np.average(truth, weights=weight), truth, weight)
    return 1 - (_rmse(truth, predicted, weight) / spread) ** 2 if spread else np.nan


CLASSES, NUMBERS = "classification", "regression"
SCORES = {
    score.name: score
    for score in (
        Score("log_loss", CLASSES, False, _log_loss),
        Score("accuracy", CLASSES, True, _accuracy, of_decisions=True),
        Score(
            "roc_auc", CLASSES, True, partial(_metric, "roc_auc"), needs_two=True, needs_every=True
        ),
        Score(
            "average_precision", CLASSES, True, partial(_metric, "average_precision"),
            needs_two=True, needs_every=True,
        ),
        Score("f1", CLASSES, True, partial(_metric, "f1"), of_decisions=True),
        Score(
            "balanced_accuracy", CLASSES, True, partial(_metric, "balanced_accuracy"),
            of_decisions=True, needs_two=True,
        ),
        Score("rmse", NUMBERS, False, _rmse),
        Score("mae", NUMBERS, False, _mae),
        Score("r2", NUMBERS, True, _r2, needs_spread=True),
    )
}  # fmt: skip


def fallback(task: str) -> Score:
    """Return the score that is defined whatever the truth is."""
    return SCORES["rmse" if task == NUMBERS else "log_loss"]


def of_quantiles(quantiles: Sequence[float]) -> Score:
    """Return the score "pinball", the mean loss of quantiles.

    Parameters
    ----------
    quantiles : sequence of float
        Of the columns of the predictions, shape (rows, quantiles).

    Examples
    --------
    >>> of_quantiles([0.5, 0.9])(np.array([2.0]), np.array([[1.0, 3.0]])).__round__(3)
    0.3
    """
    function = partial(_pinball, tuple(quantiles))
    return Score("pinball", NUMBERS, False, function)


def _pinball(
    quantiles: tuple[float, ...],
    truth: np.ndarray,
    predicted: np.ndarray,
    weight: np.ndarray | None,
) -> float:
    return pinball(truth, predicted, quantiles, weight)


def pinball(
    truth: np.ndarray,
    predicted: np.ndarray,
    quantiles: Sequence[float],
    weight: np.ndarray | None = None,
) -> float:
    """Return the mean pinball loss of quantiles; see `fastnn.losses.Quantile`.

    Parameters
    ----------
    truth : ndarray, shape (rows,)
    predicted : ndarray, shape (rows, quantiles)
    quantiles : sequence of float
    weight : ndarray, shape (rows,), optional
    """
    q = np.asarray(quantiles, np.float64)
    error = truth[:, np.newaxis].astype(np.float64) - predicted
    losses = np.maximum(q * error, (q - 1) * error).mean(axis=1)
    return float(np.average(losses, weights=weight))


def of_task(task: str) -> list[Score]:
    """Return the scores of a task."""
    return [score for score in SCORES.values() if score.task == task]


def defined(
    task: str, truth: np.ndarray, outputs: np.ndarray, predictions: np.ndarray
) -> dict[str, float]:
    """Return all scores of a task that say something about some rows.

    Parameters
    ----------
    task : {"classification", "regression"}
    truth : ndarray, shape (rows,)
        Numbers of classes, or numbers.
    outputs : ndarray, shape (rows, classes) or (rows,)
        Probabilities, or numbers.
    predictions : ndarray, shape (rows,)
        Numbers of classes, which a threshold may have chosen; or numbers.

    Examples
    --------
    >>> found = defined("regression", np.zeros(2), np.ones(2), np.ones(2))
    >>> found  # all true numbers are the same, so that there is no r2
    {'rmse': 1.0, 'mae': 1.0}
    """
    classes = outputs.shape[1] if task == CLASSES else 0
    decided = np.eye(classes, dtype=outputs.dtype)[predictions] if classes else outputs
    made = {}
    for score in of_task(task):
        if score.is_defined(truth, classes=classes):
            value = score(truth, decided if score.of_decisions else outputs)
            if np.isfinite(value):
                made[score.name] = value
    return made


def get(name: str, task: str, classes: int = 0) -> Score:
    """Return a score by its name.

    Parameters
    ----------
    name : str
        "auto" is roc_auc for two classes, log_loss for more, rmse for numbers.
    task : {"classification", "regression"}
    classes : int, default 0

    Raises
    ------
    ValueError
        There is no such score, or it is one of the other task.
    """
    if name == "auto":
        name = "rmse" if task == NUMBERS else "roc_auc" if classes == 2 else "log_loss"
    if name not in SCORES:
        raise unknown_name("metric", name, SCORES)
    if SCORES[name].task != task:
        known = ", ".join(score.name for score in of_task(task))
        raise ValueError(f"metric must be one of a {task} ({known}), got {name!r}")
    return SCORES[name]
