"""What `MLPClassifier` and `MLPRegressor` have in common: scikit-learn's training, by fastnn.

Names, defaults, the order in which random numbers are drawn, what counts as an iteration without
progress and the texts of warnings are scikit-learn's; the arithmetic is one native `fit`. These
differ from scikit-learn:

- Weights of rows are divided by their mean over all rows, and not over those of each batch, so
  that a batch of heavy rows counts for more; both are the same where a batch holds all rows.
- `alpha` is divided by the batch size, also in the last batch of an epoch, which may be smaller.
- Adam's epsilon is added to the unbiased estimate.
- `warm_start` keeps the optimizer's state; scikit-learn begins with a new one.
"""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import validate_data

from fastnn.activations import ActivationFunction
from fastnn.callbacks import LambdaCallback
from fastnn.estimators import networks
from fastnn.estimators.networks import Weights
from fastnn.estimators.tasks import Iterations
from fastnn.estimators.weights import row_weights
from fastnn.model import Model
from fastnn.runtime.nonfinite import NonFiniteLossError

_STOCHASTIC = ("sgd", "adam")
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
_SEEDS = np.iinfo(np.int32).max


@dataclass
class Rows:
    """Rows to train on or to validate with.

    Attributes
    ----------
    X : ndarray or CSR matrix, shape (rows, columns)
    targets : ndarray
        As the model takes them.
    weights : ndarray, shape (rows,), or None
    """

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def mean_weight(self) -> float:
        """The mean of the weights."""
        return 1.0 if self.weights is None else float(self.weights.mean())

    def scaled(self) -> np.ndarray | None:
        """Return weights with a mean of 1."""
        return None if self.weights is None else self.weights / self.mean_weight

    def arguments(self) -> tuple[Any, ...]:
        """Return what `fit` takes as validation_data."""
        weights = self.scaled()
        targets = _numbers(self.targets)
        return (self.X, targets) if weights is None else (self.X, targets, weights)


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
    squares: float = 0.0
    has_stopped: bool = False

    def penalty(self, squares: float) -> float:
        """Return the mean of the penalty before the steps, given the sum of squares after them."""
        steps = math.ceil(self.rows.count / self.batch)
        before, self.squares = self.squares, squares
        return 0.5 * self.decay * (before + (squares - before) * (steps - 1) / (2 * steps))


def _numbers(targets: np.ndarray) -> np.ndarray:
    """Return targets as the model takes them: true and false as 1 and 0."""
    return targets.astype(np.float32) if targets.dtype == bool else targets


class Multilayer(CallbackSupportMixin, BaseEstimator):
    """Base class of the multilayer perceptrons.

    Attributes
    ----------
    model_ : fastnn.Sequential
        The trained network; `coefs_` and `intercepts_` are views of its parameters.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(networks.ACTIVATIONS)), "array-like", ActivationFunction],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    }

    # The parameters of all, and the fitted attributes, for type checkers.
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    class_weight: Any = None
    model_: Model
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    out_activation_: str
    n_outputs_: int
    _told: tuple[Any, ...]

    # --- what the two kinds of targets answer ---------------------------------------------------

    @abstractmethod
    def _checked(self, X: Any, y: Any, *, is_first: bool, is_incremental: bool) -> Any:
        """Return X, y and the targets of the model."""

    @abstractmethod
    def _targets(self, y: Any) -> np.ndarray:
        """Return the targets of the model for checked y."""

    @abstractmethod
    def _output(self) -> str:
        """Return scikit-learn's name for the activation of the outputs."""

    @abstractmethod
    def _loss(self) -> tuple[str, float, float]:
        """Return the model's loss, its weight, and the factor with which it is shown."""

    @abstractmethod
    def _loss_constant(self, rows: Rows) -> float:
        """Return what scikit-learn's loss has beside the model's."""

    @abstractmethod
    def _score_of(self, held: Rows) -> Any:
        """Return the function that scores the model's outputs for held-out rows."""

    def _stratification(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes whose shares the held-out rows should keep."""
        return None

    # --- training -------------------------------------------------------------------------------

    def _fit(
        self,
        X: object,
        y: object,
        sample_weight: object,
        held_out: tuple[object, object, object] = (None, None, None),
        *,
        is_incremental: bool = False,
    ) -> Any:
        """Train; see `fit` and `partial_fit`."""
        hidden = networks.sizes(self.hidden_layer_sizes)
        functions = networks.hidden_activations(self.activation, len(hidden))
        dropout = networks.dropout_rates(self.dropout, len(hidden))
        is_first = not hasattr(self, "coefs_") or not (self.warm_start or is_incremental)
        checked, labels, targets = self._checked(
            X, y, is_first=is_first, is_incremental=is_incremental
        )
        rows = Rows(
            checked, targets, row_weights(checked, sample_weight, self.class_weight, labels)
        )
        held = self._given_held_out(*held_out)
        stops_early = self.early_stopping and self.solver in _STOCHASTIC
        if stops_early and is_incremental:
            if held is None:
                raise ValueError(
                    "partial_fit does not support early_stopping=True, unless it is given X_val "
                    "and y_val"
                )
            if getattr(self, "stopped_", False):
                return self
        random = check_random_state(self.random_state)
        units = [checked.shape[1], *hidden, self.n_outputs_]
        weights = None
        if is_first:
            weights = networks.initial_weights(units, functions, random, checked.dtype)
            self.out_activation_, self.n_layers_ = self._output(), len(units)
        if stops_early and held is None:
            rows, held = self._split(rows, random)
        self._make_model(weights, units, functions, dropout, random)
        self._begin(is_first, stops_early, is_incremental)
        tasks = None
        if not is_incremental:
            tasks = Iterations(
                self,
                self._init_callback_context(max_subtasks=self.max_iter),
                X,
                y,
                None if sample_weight is None else {"sample_weight": sample_weight},
                self._fitted_attributes,
            )
        training = Training(
            rows,
            batch=self._batch(rows.count) if self.solver in _STOCHASTIC else rows.count,
            decay=0.0,
            constant=self._loss_constant(rows),
            tasks=tasks,
            score=self._score_of(held) if held is not None and stops_early else None,
            held=held,
            is_incremental=is_incremental,
        )
        training.decay = self.alpha / (training.batch * rows.mean_weight)
        self._train(training)
        if tasks is not None:
            tasks.close()
        return self

    def _given_held_out(self, X: object, y: object, sample_weight: object) -> Rows | None:
        """Return the held-out rows that the user has given."""
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val must be given together, got only one of them")
        if X is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val, which are None")
            return None
        checked, _, targets = self._checked(X, y, is_first=False, is_incremental=True)
        return Rows(checked, targets, row_weights(checked, sample_weight))

    def _split(self, rows: Rows, random: Any) -> tuple[Rows, Rows]:
        """Hold rows out, the same ones as scikit-learn."""
        arrays = [rows.X, rows.targets]
        if rows.weights is not None:
            arrays.append(rows.weights)
        parts = train_test_split(
            *arrays,
            random_state=random,
            test_size=self.validation_fraction,
            stratify=self._stratification(rows.targets),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        return Rows(*parts[::2]), Rows(*parts[1::2])

    def _batch(self, rows: int) -> int:
        """Return the number of rows of a step."""
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        return int(np.clip(self.batch_size, 1, rows))

    def _make_model(
        self,
        weights: Weights | None,
        units: list[int],
        functions: list[ActivationFunction],
        dropout: list[float],
        random: Any,
    ) -> None:
        """Make the model, or keep the one that there is."""
        told = (functions, dropout, self.out_activation_)
        if weights is None and hasattr(self, "model_"):
            self._take_weights()
            if told == self._told and units == Weights.of(self.model_).units:
                return
        if weights is None:  # of an earlier fit, or set by hand
            weights = Weights(list(map(np.asarray, self.coefs_)),
                              list(map(np.asarray, self.intercepts_)))  # fmt: skip
            if weights.units != units:
                raise ValueError(
                    f"hidden_layer_sizes={self.hidden_layer_sizes!r} needs layers of {units} "
                    f"units, but coefs_ has {weights.units}: fit without warm_start begins anew"
                )
        seed = int(random.randint(_SEEDS))
        self.model_ = networks.network(weights, functions, dropout, self.out_activation_, seed)
        self._told = told
        self._show_weights()

    def _begin(self, is_first: bool, stops_early: bool, is_incremental: bool) -> None:
        """Set the attributes that an iteration adds to."""
        if is_first:
            self.t_ = 0
            self.loss_curve_: list[float] = []
        if is_first or not hasattr(self, "_no_improvement_count"):
            self._no_improvement_count = 0
        if is_first or not hasattr(self, "validation_loss_curve_"):
            self.validation_loss_curve_: list[float] | None = None
        if is_first or stops_early != (getattr(self, "validation_scores_", None) is not None):
            self.validation_scores_: list[float] | None = [] if stops_early else None
            self.best_validation_score_ = -math.inf if stops_early else None
            self.best_loss_ = None if stops_early else math.inf
            self._best = self.model_.get_weights() if stops_early else []
        if not is_incremental:
            self.stopped_ = False
        elif stops_early and self._no_improvement_count > self.n_iter_no_change:
            self._no_improvement_count = 0  # what has ended an earlier fit
        self.n_iter_ = 0

    def _train(self, training: Training) -> None:
        """Run the iterations."""
        model, rows = self.model_, training.rows
        is_stochastic = self.solver in _STOCHASTIC
        loss, weight, _ = self._loss()
        networks.configure(model, networks.optimizer(self, training.decay), loss, weight)
        if is_stochastic:
            networks.set_learning_rate(model, self._first_rate(training.is_incremental))
        training.squares = self._views.squares()
        tasks = training.tasks
        begin = None if tasks is None else lambda epoch, logs: tasks.begin()
        hooks = LambdaCallback(
            on_epoch_begin=begin,
            on_epoch_end=lambda epoch, logs: self._end_iteration(training, logs),
        )
        try:
            history = model.fit(
                rows.X,
                _numbers(rows.targets),
                batch_size=training.batch if is_stochastic else None,
                epochs=1 if training.is_incremental else self.max_iter,
                verbose=0,
                callbacks=[hooks],
                validation_data=None if training.held is None else training.held.arguments(),
                shuffle=bool(self.shuffle),
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
        _, _, shown = self._loss()
        self.n_iter_ += 1
        self.t_ += training.rows.count
        squares = self._views.squares()
        if self.solver == "lbfgs":  # whose loss is that after the iteration
            penalty = 0.5 * training.decay * squares
        else:
            penalty = training.penalty(squares)
        self.loss_ = logs["loss"] * shown + training.constant + penalty
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if "val_loss" in logs:
            self._validate(training, logs["val_loss"] * shown)
        self._count_improvement(training)
        if self.solver in _STOCHASTIC:
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

    def _takes_parts(self) -> bool:
        """Whether there is `partial_fit`; otherwise raise AttributeError."""
        if self.solver not in _STOCHASTIC:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # --- weights --------------------------------------------------------------------------------

    def _show_weights(self) -> None:
        """Let `coefs_` and `intercepts_` be the parameters of the model."""
        self._views = Weights.of(self.model_)
        self.coefs_, self.intercepts_ = list(self._views.kernels), list(self._views.biases)

    def _take_weights(self) -> None:
        """Write arrays that have replaced those of the model into it."""
        views = self._views
        for mine, own in ((self.coefs_, views.kernels), (self.intercepts_, views.biases)):
            if len(mine) != len(own) or any(a is not b for a, b in zip(mine, own, strict=True)):
                networks.put(Weights(list(self.coefs_), list(self.intercepts_)), views)
                self.model_.network.runtime.weights_set()
                self._show_weights()
                return

    def _fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes of an estimator that predicts with the current weights."""
        model = copy.deepcopy(self.model_)
        views = Weights.of(model)
        return {
            "model_": model,
            "_views": views,
            "coefs_": list(views.kernels),
            "intercepts_": list(views.biases),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the views, which would become copies."""
        if hasattr(self, "model_"):
            self._take_weights()
        state = dict(super().__getstate__())
        if "model_" in state:
            for name in ("_views", "coefs_", "intercepts_"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self._show_weights()

    # --- prediction -----------------------------------------------------------------------------

    def _outputs(self, X: object) -> np.ndarray:
        """Return the outputs of the model, shape (rows, outputs)."""
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        self._take_weights()
        return self.model_.predict(X)  # type: ignore[return-value]

    def __sklearn_tags__(self) -> Any:
        """Return the tags: rows may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
