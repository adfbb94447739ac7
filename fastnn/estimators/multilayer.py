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
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from fastnn.activations import ActivationFunction
from fastnn.core import checks
from fastnn.estimators import networks
from fastnn.estimators.failures import unchanged_on_failure
from fastnn.estimators.iterations import STOCHASTIC, Trained, Training
from fastnn.estimators.networks import Weights
from fastnn.estimators.parameters import CONSTRAINTS
from fastnn.estimators.rows import Rows, row_weights
from fastnn.estimators.tasks import Iterations

_SEEDS = np.iinfo(np.int32).max


class Multilayer(CallbackSupportMixin, Trained, BaseEstimator):
    """Base class of the multilayer perceptrons.

    Attributes
    ----------
    model_ : fastnn.Sequential
        The trained network; `coefs_` and `intercepts_` are views of its parameters.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    class_weight: Any = None
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    out_activation_: str
    n_outputs_: int
    classes_: np.ndarray
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
    def _score_of(self, held: Rows) -> Any:
        """Return the function that scores the model's outputs for held-out rows."""

    def _stratification(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes whose shares the held-out rows should keep."""
        return None

    # --- training -------------------------------------------------------------------------------

    @unchanged_on_failure
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
        self.n_outputs_ = targets.shape[1] if targets.ndim == 2 else len(self.classes_)
        held = self._given_held_out(targets.shape[1:], *held_out)
        stops_early = self.early_stopping and self.solver in STOCHASTIC
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
            batch=self._batch(rows.count) if self.solver in STOCHASTIC else rows.count,
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

    def _given_held_out(
        self, shape: tuple[int, ...], X: Any, y: Any, sample_weight: object
    ) -> Rows | None:
        """Return the held-out rows that the user has given."""
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val must be given together, got only one of them")
        if X is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val, which are None")
            return None
        checked, _, targets = self._checked(X, y, is_first=False, is_incremental=True)
        if targets.shape[1:] != shape:
            raise ValueError(
                f"y_val must have the columns of y, {checks.counted(self.n_outputs_, 'output')}, "
                f"got an array of shape {np.shape(y)}"
            )
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
            self.loss_curve_ = []
        if is_first or not hasattr(self, "_no_improvement_count"):
            self._no_improvement_count = 0
        if is_first or not hasattr(self, "validation_loss_curve_"):
            self.validation_loss_curve_ = None
        if is_first or stops_early != (getattr(self, "validation_scores_", None) is not None):
            self.validation_scores_ = [] if stops_early else None
            self.best_validation_score_ = -math.inf if stops_early else None
            self.best_loss_ = None if stops_early else math.inf
            self._best = self.model_.get_weights() if stops_early else []
        if not is_incremental:
            self.stopped_ = False
        elif stops_early and self._no_improvement_count > self.n_iter_no_change:
            self._no_improvement_count = 0  # what has ended an earlier fit
        self.n_iter_ = 0

    def _takes_parts(self) -> bool:
        """Whether there is `partial_fit`; otherwise raise AttributeError."""
        if self.solver not in STOCHASTIC:
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
