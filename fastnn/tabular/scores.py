"""How good predictions are: the scores by which tables' models are chosen, and which are reported.

Those of classes and areas are the metrics of `fastnn.metrics`; here they get a truth and
predictions as arrays, in the target's unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
        Whether it is not defined if only one class is among the rows.
    """

    name: str
    task: str
    is_better_high: bool
    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    of_decisions: bool = False
    needs_two: bool = False

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
    tiny = np.finfo(predicted.dtype).eps
    return float(np.average(-np.log(np.clip(chosen, tiny, 1)), weights=weight))


def _accuracy(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(predicted.argmax(axis=1) == truth, weights=weight))


def _of_metric(name: str) -> Callable[..., float]:
    """Return a metric of `fastnn.metrics` as a function of arrays."""

    def score(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
        metric: Any = metrics.get(name)
        is_binary = predicted.shape[1] == 2
        target = truth
        if is_binary:
            predicted, target = predicted[:, 1], truth.astype(predicted.dtype)
        return float(metric.compute(Collected(target, predicted, is_binary, False, weight)))

    return score


def _rmse(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.sqrt(np.average((predicted - truth) ** 2, weights=weight)))


def _mae(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(np.abs(predicted - truth), weights=weight))


def _r2(truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    spread = np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight)
    if spread == 0:
        return np.nan
    return float(1 - np.average((predicted - truth) ** 2, weights=weight) / spread)


CLASSES, NUMBERS = "classification", "regression"
SCORES = {
    score.name: score
    for score in (
        Score("log_loss", CLASSES, False, _log_loss),
        Score("accuracy", CLASSES, True, _accuracy, of_decisions=True),
        Score("roc_auc", CLASSES, True, _of_metric("roc_auc"), needs_two=True),
        Score("average_precision", CLASSES, True, _of_metric("average_precision"), needs_two=True),
        Score("f1", CLASSES, True, _of_metric("f1"), of_decisions=True),
        Score(
            "balanced_accuracy", CLASSES, True, _of_metric("balanced_accuracy"),
            of_decisions=True, needs_two=True,
        ),
        Score("rmse", NUMBERS, False, _rmse),
        Score("mae", NUMBERS, False, _mae),
        Score("r2", NUMBERS, True, _r2),
    )
}  # fmt: skip


def of_task(task: str) -> list[Score]:
    """Return the scores of a task."""
    return [score for score in SCORES.values() if score.task == task]


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
