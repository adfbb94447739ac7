"""scikit-learn's MLPRegressor, trained by fastnn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.multilayer import Multilayer
from fastnn.estimators.parameters import CONSTRAINTS
from fastnn.estimators.rows import Rows
from fastnn.estimators.scores import R2


class MLPRegressor(RegressorMixin, Multilayer):
    """A multilayer perceptron for numbers: scikit-learn's `MLPRegressor`, trained by fastnn.

    Constructor, methods and fitted attributes are those of scikit-learn 1.9, so that only the
    import need be changed; `dropout`, activations by layer, and held-out rows of your own come in
    addition.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default "squared_error"
        Half the squared error; or half the Poisson deviance of a network that ends with an
        exponential, for counts and rates: y must then be at least 0.
    hidden_layer_sizes : int or array_like of int, default (100,)
        Units of each hidden layer; an empty tuple: none.
    activation : str, ActivationFunction, or list of them, default "relu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any other of fastnn's
        ("gelu", "silu", "selu", ...; see `fastnn.activations`). A list has one for each layer.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
    alpha : float, default 0.0001
        L2: half of it times the sum of squares of all kernels, divided by the rows of a batch, is
        added to the loss.
    batch_size : int or "auto", default "auto"
        Rows of a step; "auto": 200, or all if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd". invscaling: ``learning_rate_init / (t_ + 1) ** power_t`` after each iteration;
        adaptive: a fifth of it whenever `n_iter_no_change` iterations have brought no progress.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
    max_iter : int, default 200
        Iterations; for "sgd" and "adam", each is a pass over all rows.
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
        Determines initial weights, which are those of scikit-learn, held-out rows, which are the
        same too, shuffling and dropout.
    tol : float, default 0.0001
        What counts as progress; for "lbfgs", the largest element of the gradient at its end.
    verbose : bool or int, default False
    warm_start : bool, default False
        Whether `fit` continues with the weights, and the optimizer's state, of the last one.
    momentum : float, default 0.9
    nesterovs_momentum : bool, default True
    early_stopping : bool, default False
        Whether to hold rows out, and to keep the weights with the best score on them.
    validation_fraction : float, default 0.1
        The share of rows that is held out.
    beta_1, beta_2 : float, default 0.9 and 0.999
    epsilon : float, default 1e-8
    n_iter_no_change : int or inf, default 10
        Iterations without progress after which training ends.
    max_fun : int, default 15000
        Evaluations of the loss after which "lbfgs" ends.
    dropout : float or list of float, default 0.0
        The share of each hidden layer's outputs that is left out of a step; a list has one for
        each layer. Not with "lbfgs".

    Attributes
    ----------
    model_ : fastnn.Sequential
        The network: it can be saved, inspected, and trained further.
    coefs_, intercepts_ : list of ndarray
        Views of its parameters, shape (inputs, units) and (units,). Writing into one, or putting
        another array of its shape in its place, changes the network.
    loss_, best_loss_ : float
        Loss of the last iteration, penalty included, and the lowest; `best_loss_` is None with
        early stopping.
    loss_curve_ : list of float
        `loss_` of each iteration, also with "lbfgs".
    validation_loss_curve_ : list of float or None
        Loss of the held-out rows after each iteration, without the penalty.
    validation_scores_ : list of float or None
        R² of the held-out rows after each iteration, with early stopping.
    best_validation_score_ : float or None
    stopped_ : bool
        Whether `partial_fit` has ended the training early; further calls change nothing.
    n_iter_, t_ : int
        Iterations of the last call, and rows seen in all.
    n_layers_, n_outputs_ : int
    out_activation_ : str

    See Also
    --------
    fastnn.Sequential : The network itself.

    Notes
    -----
    Training takes the dtype of X, float64 or float32, as scikit-learn does: with float32 it is up
    to twice as fast. All arithmetic is one native `fastnn.Model.fit`; an estimator may predict in
    several threads at a time.

    Differences to scikit-learn: weights of rows are divided by their mean over all rows, and not
    over those of each batch; alpha is divided by the batch size, also in the last, smaller batch of
    an iteration; Adam's epsilon is added to the unbiased estimate; `warm_start` keeps the
    optimizer's state.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = x[:, 0] * x[:, 1] + x[:, 2]
    >>> model = fnn.MLPRegressor(solver="lbfgs", random_state=0).fit(x, y)
    >>> model.score(x, y) > 0.99
    True
    >>> model.coefs_[0].shape
    (3, 100)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: object,
        y: object,
        sample_weight: object = None,
        *,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
    ) -> MLPRegressor:
        """Train.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)
            Numbers; standardize them, for example by a `StandardScaler` in a pipeline.
        y : array_like, shape (rows,) or (rows, outputs)
        sample_weight : array_like, shape (rows,), optional
        X_val, y_val, sample_weight_val : array_like, optional
            Held-out rows, instead of those that `early_stopping` would take from X; without
            `early_stopping`, their loss is recorded in `validation_loss_curve_`.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            An argument does not fit, or the training has diverged.

        Warns
        -----
        ConvergenceWarning
            The number of iterations, or of evaluations of the loss, was too small.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda self: self._takes_parts())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: object,
        y: object,
        sample_weight: object = None,
        *,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
    ) -> MLPRegressor:
        """Continue the training with one pass over some rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        X_val, y_val, sample_weight_val : array_like, optional
            Held-out rows. With `early_stopping`, which needs them here, each call scores them;
            after `n_iter_no_change` calls without progress the best weights are restored, and
            `stopped_` becomes True.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            An argument does not fit, or the training has diverged.
        """
        return self._fit(
            X, y, sample_weight, (X_val, y_val, sample_weight_val), is_incremental=True
        )

    def predict(self, X: object) -> np.ndarray:
        """Return the prediction of each row.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows,) or (rows, outputs)
        """
        check_is_fitted(self)
        outputs = self._outputs(X)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _checked(
        self, X: Any, y: Any, *, is_first: bool, is_incremental: bool
    ) -> tuple[Any, Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=is_first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"y must be at least 0 for loss='poisson', got {y.min()}")
        return X, y, self._targets(y)

    def _targets(self, y: Any) -> np.ndarray:
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _output(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self) -> tuple[str, float, float]:
        # scikit-learn descends along the sum over the outputs, but shows the mean of squares.
        if self.loss == "poisson":
            return "poisson", float(self.n_outputs_), 1.0
        return "mse", 0.5 * self.n_outputs_, 1.0 / self.n_outputs_

    def _loss_constant(self, rows: Rows) -> float:
        """Return what makes half the deviance of Poisson's loss, which leaves out these terms."""
        if self.loss != "poisson":
            return 0.0
        of_rows = (xlogy(rows.targets, rows.targets) - rows.targets).sum(axis=1)
        return float(np.average(of_rows, weights=rows.weights))

    def _score_of(self, held: Rows) -> R2:
        return R2(held.targets, held.weights)
