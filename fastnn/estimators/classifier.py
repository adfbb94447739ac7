"""scikit-learn's MLPClassifier, trained by fastnn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.multilayer import Multilayer
from fastnn.estimators.parameters import CONSTRAINTS
from fastnn.estimators.rows import Rows
from fastnn.estimators.scores import Accuracy


class MLPClassifier(ClassifierMixin, Multilayer):
    """A multilayer perceptron for classes: scikit-learn's `MLPClassifier`, trained by fastnn.

    Constructor, methods and fitted attributes are those of scikit-learn 1.9, so that only the
    import need be changed; `class_weight`, `dropout`, activations by layer, and held-out rows of
    your own come in addition.

    Parameters
    ----------
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
    class_weight : dict, list of dict, "balanced" or None, default None
        The weight of each class, by label; 1 for one that is left out. "balanced": in inverse
        proportion to its rows. For several labels a row, a list with a dict for each.
    dropout : float or list of float, default 0.0
        The share of each hidden layer's outputs that is left out of a step; a list has one for
        each layer. Not with "lbfgs".

    Attributes
    ----------
    classes_ : ndarray
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
        Accuracy of the held-out rows after each iteration, with early stopping.
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
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.MLPClassifier((32,), activation="gelu", dropout=0.1, learning_rate_init=0.01,
    ...                           early_stopping=True, class_weight="balanced", random_state=0)
    >>> model.fit(x / 16, y).score(x / 16, y) > 0.95
    True
    >>> model.predict_proba(x[:2] / 16).shape
    (2, 10)
    """

    loss: ClassVar[str] = "log_loss"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        dropout: Any = 0.0,
    ) -> None:
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
        self.class_weight = class_weight
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
    ) -> MLPClassifier:
        """Train.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)
            Numbers; standardize them, for example by a `StandardScaler` in a pipeline.
        y : array_like, shape (rows,) or (rows, classes)
        sample_weight : array_like, shape (rows,), optional
        X_val, y_val, sample_weight_val : array_like, optional
            Held-out rows, instead of those that `early_stopping` would take from X; without
            `early_stopping`, their loss is recorded in `validation_loss_curve_`.

        Returns
        -------
        MLPClassifier
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
        classes: object = None,
        *,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
    ) -> MLPClassifier:
        """Continue the training with one pass over some rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like, shape (classes,), optional
            All classes that later calls may bring; needed in the first call.
        X_val, y_val, sample_weight_val : array_like, optional
            Held-out rows. With `early_stopping`, which needs them here, each call scores them;
            after `n_iter_no_change` calls without progress the best weights are restored, and
            `stopped_` becomes True.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            An argument does not fit, or the training has diverged.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does not see all "
                "rows: compute the weights with sklearn.utils.compute_class_weight and pass a dict"
            )
        if _check_partial_fit_first_call(self, classes):
            is_multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if is_multilabel else classes)
        return self._fit(
            X, y, sample_weight, (X_val, y_val, sample_weight_val), is_incremental=True
        )

    def predict(self, X: object) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows,) or (rows, classes)
        """
        check_is_fitted(self)
        outputs = self._outputs(X)
        if self._label_binarizer.y_type_ == "multiclass":
            return self.classes_[outputs.argmax(axis=1)]
        if len(self.classes_) == 2 and self.n_outputs_ == 1:
            return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]
        outputs = outputs[:, 0] if self.n_outputs_ == 1 else outputs
        return self._label_binarizer.inverse_transform(outputs)

    def predict_proba(self, X: object) -> np.ndarray:
        """Return the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows, classes)
            For several labels a row, each is the probability that the class applies.
        """
        check_is_fitted(self)
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs

    def predict_log_proba(self, X: object) -> np.ndarray:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows, classes)
        """
        found = self.predict_proba(X)
        return np.log(found, out=found)

    def _checked(
        self, X: Any, y: Any, *, is_first: bool, is_incremental: bool
    ) -> tuple[Any, Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True,
            dtype=(np.float64, np.float32), reset=is_first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or is_incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y), is_incremental)
        return X, y, self._targets(y)

    def _check_classes(self, came: np.ndarray, is_incremental: bool) -> None:
        if self.warm_start and not is_incremental:
            if set(came) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {self.classes_}, `y` has {came}"
                )
        elif len(np.setdiff1d(came, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {came}."
            )

    def _targets(self, y: Any) -> np.ndarray:
        if self._label_binarizer.y_type_ == "multiclass":
            return np.searchsorted(self.classes_, y)
        return self._label_binarizer.transform(y).astype(bool)

    def _output(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _loss(self) -> tuple[str, float, float]:
        if self.out_activation_ == "softmax":
            return "crossentropy", 1.0, 1.0
        return "binary_crossentropy", float(self.n_outputs_), 1.0  # a sum over the labels

    def _loss_constant(self, rows: Rows) -> float:
        return 0.0

    def _score_of(self, held: Rows) -> Accuracy:
        return Accuracy(held.targets, held.weights)

    def _stratification(self, targets: np.ndarray) -> np.ndarray | None:
        return targets if self.n_outputs_ == 1 else None

    def __sklearn_tags__(self) -> Any:
        """Return the tags: a row may have several labels."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
