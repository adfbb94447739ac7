"""One network of an ensemble: its training, and the choice of its best epoch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.callbacks import Callback
from fastnn.core import threads
from fastnn.model import Model
from fastnn.tabular.plan import Plan, Progress
from fastnn.tabular.recipes import Recipe, Task
from fastnn.tabular.scores import Score

COMPLETED, WAITED, STOPPED, LATE = "completed", "no better epoch", "interrupted", "out of time"


@dataclass
class Member:
    """A network of the ensemble.

    Attributes
    ----------
    model : Model
        With the weights of its best epoch.
    recipe : Recipe
        That made it.
    held_out : ndarray of int
        The rows by which that was chosen.
    score : Score
        By what it was chosen: the metric, or `scores.fallback` if the held-out rows do not define
        it.
    curve : list of float
        The score of each epoch on them.
    losses : list of float
        The loss of each epoch on the rows it trained on.
    best_epoch : int
        Counted from 0.
    epochs : int
        How many were planned.
    stop_reason : {"completed", "no better epoch", "interrupted", "out of time"}
    low, high : float
        The range of the numbers that it trained on, to which its predictions are clipped.
    """

    model: Model
    recipe: Recipe
    held_out: np.ndarray
    score: Score
    curve: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_epoch: int = -1
    epochs: int = 0
    stop_reason: str = COMPLETED
    low: float = -np.inf
    high: float = np.inf

    @property
    def has_ended(self) -> bool:
        """Whether its training ended by itself."""
        return self.stop_reason in (COMPLETED, WAITED)

    def predict(self, x: np.ndarray, task: Task) -> np.ndarray:
        """Return probabilities, or numbers within the range that it knows, quantiles in order.

        Parameters
        ----------
        x : ndarray of float32, shape (rows, inputs)
        task : Task

        Returns
        -------
        ndarray of float32, shape (rows, outputs)
        """
        found = self.recipe.answers(self.model, x)
        if task.classes:
            return found
        return np.sort(np.clip(found, self.low, self.high), axis=1)


class Trainer:
    """Trains members on rows of one table.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, inputs)
    y : ndarray, shape (rows,)
    task : Task
    plan : Plan
    score, fallback : Score
        By which best epochs are chosen, and by which if the held-out rows do not define it.
    weight : ndarray of float32, shape (rows,), optional
    scale : float
        The standard deviation that numbers were divided by.
    progress : Progress
    deadline : float, optional
        In `time.perf_counter`'s seconds; the epoch after which it has passed is the last.
    is_stopped : callable, optional
        Whether the epoch is the last.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        task: Task,
        plan: Plan,
        score: Score,
        fallback: Score,
        weight: np.ndarray | None,
        scale: float,
        progress: Progress,
        deadline: float | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._x, self._y, self._task, self._weight = x, y, task, weight
        self._score, self._fallback, self._scale = score, fallback, scale
        self.plan, self.progress = plan, progress
        self.deadline, self.is_stopped = deadline, is_stopped

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.perf_counter() > self.deadline

    def member(self, train: np.ndarray, held_out: np.ndarray, seed: int) -> Member:
        """Train a member; Ctrl-C ends it, with the best epoch so far.

        Parameters
        ----------
        train, held_out : ndarray of int
            Numbers of rows.
        seed : int
        """
        member = self._made(train, held_out, seed)
        watch = _BestEpoch(self, member)
        try:
            self._fit(member.model, train, self.plan.epochs, [watch])
        except KeyboardInterrupt:
            if member.best_epoch < 0:
                raise
            member.stop_reason = STOPPED
        watch.restore()
        return member

    def _made(self, train: np.ndarray, held_out: np.ndarray, seed: int) -> Member:
        plan, task, truth = self.plan, self._task, self._y[held_out]
        steps = plan.epochs * plan.steps_for(len(train))
        model = plan.recipe.network(task, steps=steps, seed=seed)
        plan.recipe.initialize(model, self._x[train], np.random.default_rng(seed))
        is_defined = self._score.is_defined(truth, self._weights(held_out), task.classes)
        score = self._score if is_defined else self._fallback
        member = Member(model, plan.recipe, held_out, score, epochs=plan.epochs)
        if not task.classes:
            member.low, member.high = float(self._y[train].min()), float(self._y[train].max())
        return member

    def _weights(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._weight is None else self._weight[rows]

    def _fit(
        self, model: Model, train: np.ndarray, epochs: int, callbacks: Sequence[Callback]
    ) -> None:
        recipe, quantiles = self.plan.recipe, len(self._task.quantiles)
        repeated = np.repeat(train, recipe.copies)
        y = self._y[repeated]
        model.fit(
            recipe.repeated(self._x[train]),
            [y] * quantiles if quantiles > 1 else y,
            batch_size=self.plan.batch_size * recipe.copies,
            epochs=epochs,
            sample_weight=self._weights(repeated),
            verbose=0,
            callbacks=list(callbacks),
        )

    def pace(self, train: np.ndarray, seed: int, workers: int) -> float:
        """Return the seconds of a step, its share of an epoch's scoring included.

        Parameters
        ----------
        train : ndarray of int
        seed : int
        workers : int
            Threads of a step.
        """
        return threads.at_most(workers, self._pace, train, seed)

    def _pace(self, train: np.ndarray, seed: int) -> float:
        member = self._made(train, train[: max(self.plan.rows // 4, 1)], seed)
        few = train[: self.plan.batch_size * 8]
        self._fit(member.model, few, 1, [])
        at = time.perf_counter()
        self._fit(member.model, few, 1, [])
        pace = (time.perf_counter() - at) / self.plan.steps_for(len(few))
        at = time.perf_counter()
        self.loss_of(member)
        return pace + (time.perf_counter() - at) / self.plan.steps_per_epoch

    def loss_of(self, member: Member) -> float:
        """Return what the best epoch is to minimize, on the rows that a member holds out."""
        truth = self._y[member.held_out]
        found = member.predict(self._x[member.held_out], self._task)
        weight = self._weights(member.held_out)
        if weight is not None and not weight.any():
            weight = None
        if self._task.classes:
            return member.score.loss(truth, found, weight)
        found = found if self._task.quantiles else found[:, 0]
        truth, found = truth.astype(np.float64), found.astype(np.float64)  # before they are large
        return member.score.loss(truth * self._scale, found * self._scale, weight)


class _BestEpoch(Callback):
    """Keeps the weights of the best epoch; of equals, those of the last."""

    def __init__(self, trainer: Trainer, member: Member) -> None:
        super().__init__()
        self._trainer, self._member = trainer, member
        self._best, self._weights = np.inf, member.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Score the epoch, and end the training if it is time."""
        trainer, member = self._trainer, self._member
        loss = trainer.loss_of(member)
        if loss <= self._best or member.best_epoch < 0:
            # The weights come first: Ctrl-C between two lines leaves them as good as it says.
            self._weights = member.model.get_weights()
            self._best, member.best_epoch = loss, epoch
        member.losses.append(float(logs["loss"]))
        member.curve.append(-loss if member.score.is_better_high else loss)
        trainer.progress.advance(trainer.plan.steps_per_epoch, member.curve[-1])
        if epoch + 1 == member.epochs:
            return
        patience = trainer.plan.recipe.patience
        if trainer.is_stopped():
            self._end(STOPPED)
        elif trainer.is_late:
            self._end(LATE)
        elif patience is not None and epoch - member.best_epoch >= patience:
            self._end(WAITED)

    def _end(self, reason: str) -> None:
        self._member.stop_reason = reason
        self.model.stop_training = True

    def restore(self) -> None:
        """Give the member the weights of its best epoch."""
        self._member.model.set_weights(self._weights)


class Halt:
    """Ends all members after their epoch: because somebody asked for it, or one has failed.

    Parameters
    ----------
    stop : threading.Event
        The caller's; it is looked at, and never set.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop, self._own = stop, threading.Event()

    def set(self) -> None:
        """End them."""
        self._own.set()

    def is_set(self) -> bool:
        """Whether they are to end."""
        return self._own.is_set() or self._stop.is_set()
