"""What an estimator does after each iteration: its curves, and whether training ends."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastnn.callbacks import LambdaCallback
from fastnn.estimators import networks
from fastnn.estimators.networks import Weights
from fastnn.estimators.parameters import Parameters
from fastnn.estimators.rows import Rows, numbers
from fastnn.estimators.tasks import Iterations
from fastnn.model import Model
from fastnn.runtime.nonfinite import NonFiniteLossError

STOCHASTIC = ("sgd", "adam")
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


@dataclass
class Training:
    """What the iterations of one `fit` need to know.

    Attributes
    ----------
    rows : Rows
    batch : int
        Rows of a step.
    decay : float
        The factor of half the sum of squares in the loss.
    constant : float
        What scikit-learn's loss has beside the model's.
    tasks : Iterations or None
    score : Accuracy, R2 or None
        Of the held-out rows.
    held : Rows or None
    is_incremental : bool
        Whether `partial_fit` was called.
    shown : float
        The factor with which the model's loss is shown.
    squares : float
        The sum of squares of all kernels at the start of the iteration.
    has_stopped : bool
        Whether the training has ended by itself.
    """

    rows: Rows
    batch: int
    decay: float
    constant: float
    tasks: Iterations | None
    score: Any
    held: Rows | None
    is_incremental: bool
    shown: float = 1.0
    squares: float = 0.0
    has_stopped: bool = False

    def __post_init__(self) -> None:
        """Compute what the iterations have in common: one may take microseconds."""
        self.count = self.rows.count
        steps = math.ceil(self.count / self.batch)
        self._share = (steps - 1) / (2 * steps)

    def penalty(self, squares: float) -> float:
        """Return the mean of the penalty before the steps, given the sum of squares after them."""
        before, self.squares = self.squares, squares
        return 0.5 * self.decay * (before + (squares - before) * self._share)


class Trained(Parameters):
    """The part of an estimator that trains and keeps its records.

    Attributes
    ----------
    model_ : fastnn.Sequential
    n_iter_, t_ : int
    loss_curve_ : list of float
    validation_loss_curve_, validation_scores_ : list of float or None
    best_loss_, best_validation_score_ : float or None
    stopped_ : bool
    """

    model_: Model
    n_iter_: int
    t_: int
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    validation_scores_: list[float] | None
    best_loss_: float | None
    best_validation_score_: float | None
    stopped_: bool
    _views: Weights
    _best: list[np.ndarray]
    _no_improvement_count: int

    @abstractmethod
    def _loss(self) -> tuple[str, float, float]:
        """Return the model's loss, its weight, and the factor with which it is shown."""

    @abstractmethod
    def _loss_constant(self, rows: Rows) -> float:
        """Return what scikit-learn's loss has beside the model's."""

    def _train(self, training: Training) -> None:
        """Run the iterations."""
        model, rows = self.model_, training.rows
        is_stochastic = self.solver in STOCHASTIC
        loss, weight, training.shown = self._loss()
        networks.configure(model, networks.optimizer(self, training.decay), loss, weight)
        if is_stochastic:
            networks.set_learning_rate(model, self._first_rate(training.is_incremental))
        training.squares = self._views.squares()
        tasks = training.tasks
        if tasks is not None and not tasks.are_awaited:
            tasks = training.tasks = None
        hooks = LambdaCallback(
            on_epoch_begin=None if tasks is None else lambda epoch, logs: tasks.begin(),
            on_epoch_end=lambda epoch, logs: self._end_iteration(training, logs),
        )
        try:
            history = model.fit(
                rows.X,
                numbers(rows.targets),
                batch_size=training.batch if is_stochastic else None,
                epochs=1 if training.is_incremental else self.max_iter,
                verbose=0,
                callbacks=[hooks],
                validation_data=None if training.held is None else training.held.arguments(),
                shuffle=bool(self.shuffle) and training.batch < training.count,  # else: one sum
                sample_weight=rows.scaled(),
            )
        except NonFiniteLossError as error:
            self._diverged(training, error)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.")
        else:
            self._warn_of_limits(training, history.stop_reason)
        if training.score is not None and (training.has_stopped or not training.is_incremental):
            model.set_weights(self._best)
            self.stopped_ = training.is_incremental

    def _end_iteration(self, training: Training, logs: dict[str, float]) -> None:
        """Take the results of an iteration, and end the training if it no longer helps."""
        self.n_iter_ += 1
        self.t_ += training.count
        squares = self._views.squares()
        if self.solver == "lbfgs":  # whose loss is that after the iteration
            penalty = 0.5 * training.decay * squares
        else:
            penalty = training.penalty(squares)
        self.loss_ = logs["loss"] * training.shown + training.constant + penalty
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if "val_loss" in logs:
            self._validate(training, logs["val_loss"] * training.shown)
        self._count_improvement(training)
        if self.solver in STOCHASTIC:
            self._adapt(training)
        asks_to_stop = training.tasks is not None and training.tasks.end()
        if training.has_stopped or asks_to_stop:
            training.has_stopped = self.model_.stop_training = True

    def _validate(self, training: Training, loss: float) -> None:
        """Take the loss of the held-out rows, and their score for early stopping."""
        assert training.held is not None
        if self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        self.validation_loss_curve_.append(loss + self._loss_constant(training.held))
        if training.score is None:
            return
        score = training.score(self.model_.predict(training.held.X))
        assert self.validation_scores_ is not None
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    def _count_improvement(self, training: Training) -> None:
        """Count iterations without progress, and keep the weights of the best score."""
        if training.score is not None:
            assert self.validation_scores_ is not None
            assert self.best_validation_score_ is not None
            score = self.validation_scores_[-1]
            is_worse = score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                self.best_validation_score_ = score
                self._best = self.model_.get_weights()
        else:
            assert self.best_loss_ is not None
            is_worse = self.loss_ > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, self.loss_)
        self._no_improvement_count = self._no_improvement_count + 1 if is_worse else 0

    def _first_rate(self, is_incremental: bool) -> float:
        """Return the learning rate to begin with."""
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            return self.learning_rate_init / (self.t_ + 1) ** self.power_t
        if self.solver == "sgd" and self.learning_rate == "adaptive" and is_incremental:
            assert self.model_.optimizer is not None
            return float(self.model_.optimizer.learning_rate)  # type: ignore[arg-type]
        return self.learning_rate_init

    def _adapt(self, training: Training) -> None:
        """Set the learning rate of the next iteration; decide whether there is one."""
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            networks.set_learning_rate(self.model_, self._first_rate(training.is_incremental))
        if self._no_improvement_count <= self.n_iter_no_change:
            return
        what = "Training loss" if training.score is None else "Validation score"
        told = (
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} "
            "consecutive epochs."
        )
        if self.solver != "sgd" or self.learning_rate != "adaptive":
            training.has_stopped, told = True, f"{told} Stopping."
        else:
            assert self.model_.optimizer is not None
            rate = float(self.model_.optimizer.learning_rate)  # type: ignore[arg-type]
            if rate <= 1e-6:
                training.has_stopped = True
                told = f"{told} Learning rate too small. Stopping."
            else:
                networks.set_learning_rate(self.model_, rate / 5)
                told = f"{told} Setting learning rate to {rate / 5:f}"
                self._no_improvement_count = 0
        if self.verbose:
            print(told)

    def _diverged(self, training: Training, error: NonFiniteLossError) -> None:
        """Keep the best weights after a loss that is not finite, or raise."""
        if training.score is None:
            raise ValueError(f"{_NOT_FINITE} ({error})") from error
        assert self.validation_scores_ is not None
        self.loss_ = math.nan
        self.loss_curve_.append(self.loss_)
        self.validation_scores_.append(math.nan)
        if self.validation_loss_curve_ is not None:
            self.validation_loss_curve_.append(math.nan)
        self.n_iter_ += 1
        training.has_stopped = True
        warnings.warn(
            f"The weights with the best validation score are kept: {error}", ConvergenceWarning
        )

    def _warn_of_limits(self, training: Training, reason: str) -> None:
        """Warn of a training that has ended because of a limit."""
        if self.solver == "lbfgs":
            if not training.has_stopped and not reason.startswith("CONVERGENCE"):
                warnings.warn(
                    f"lbfgs failed to converge after {self.n_iter_} iteration(s): {reason}\n\n"
                    f"Increase max_iter={self.max_iter} or max_fun={self.max_fun}, or scale the "
                    "data.",
                    ConvergenceWarning,
                )
        elif not training.has_stopped and not training.is_incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )
