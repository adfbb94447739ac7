"""Estimators that take tables as they are: TabularClassifier and TabularRegressor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.failures import unchanged_on_failure
from fastnn.estimators.tabular import Tabular
from fastnn.tabular.intervals import Intervals


class TabularClassifier(ClassifierMixin, Tabular):
    """Learns the classes of a table: numbers, categories, dates and missing cells as they are.

    An ensemble of networks that need no tuning, each trained on other folds of the rows, with the
    weights of its best epoch and calibrated probabilities.

    Parameters
    ----------
    recipe : {"auto", "realmlp", "tabm"}, Recipe or dict, default "auto"
        The network and its training; see `fastnn.tabular.recipes`.
    n_members : int, optional
        Networks of the ensemble; default: 5 up to 100,000 rows, 3 up to 300,000, then 1.
    metric : str, default "auto"
        By which the best epoch is chosen: "log_loss", "accuracy", "roc_auc", "average_precision",
        "f1" or "balanced_accuracy"; auto: "roc_auc" for two classes, "log_loss" for more, and with
        `class_weight`, which "roc_auc" does not see. With a metric of decisions, two classes are
        told apart by the threshold that it likes best.
    class_weight : dict or "balanced", optional
        Weight of the rows of each class.
    time_budget : float, optional
        Seconds that the training is to take; the result then depends on the machine.
    kinds : dict, optional
        What columns are, where it is recognised wrongly; see `fastnn.tabular.Encoding.fit`.
    drop : sequence of str, optional
        Columns that are not inputs.
    random_state : int, RandomState or None, default None
        Folds, initial weights, order of rows and dropout.
    verbose : bool or int, default False
        Whether to show a bar with the time that is left.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
        As `numpy.unique` finds them in the targets that are not missing.
    model_ : TabularModel
        The ensemble as one network, with its encoding.
    members_ : list of Member
        Each with the score of its epochs on the rows it has not seen.
    scores_ : dict of str to float
        Scores of the out-of-fold predictions; every row counts the same. The same rows have chosen
        the best epochs, so that the scores are a little too good, most of all with few rows and
        much noise: compare models by rows held out, as ``cross_val_score`` does.
    out_of_fold_ : ndarray, shape (rows, classes)
        Without the rows that have no target, or weight 0; NaN where no member held the row out.
    n_iter_ : int
        Epochs of the longest training.
    stop_reason_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the columns have names.

    Notes
    -----
    shap explains single rows: ``shap.Explainer(model.predict_proba, frame[:100])(rows)``. It can
    mix cells only if they are numbers; give it, and `fit`, categories as their codes, with
    ``kinds={"plan": "category"}``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> table = {"age": [25, 47, None, 33] * 10, "plan": ["a", "b", "a", None] * 10}
    >>> left = ["no", "yes", "no", "yes"] * 10
    >>> model = fnn.TabularClassifier(n_members=1, random_state=0).fit(table, left)
    >>> model.predict(table)[:4].tolist()
    ['no', 'yes', 'no', 'yes']
    >>> model.predict_one({"plan": "b", "age": 50})
    'yes'
    """

    _task = "classification"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Tabular._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        recipe: Any = "auto",
        *,
        n_members: int | None = None,
        metric: str = "auto",
        class_weight: Any = None,
        time_budget: float | None = None,
        kinds: Mapping[str, Any] | None = None,
        drop: Iterable[str] | None = None,
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        self.recipe = recipe
        self.n_members = n_members
        self.metric = metric
        self.class_weight = class_weight
        self.time_budget = time_budget
        self.kinds = kinds
        self.drop = drop
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @unchanged_on_failure
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> Self:
        """Learn a table.

        Parameters
        ----------
        X : pandas, Polars or Arrow frame, array, dict of columns, or list of dicts
        y : array_like, shape (rows,)
            Rows where it is missing are left out.
        sample_weight : array_like, shape (rows,), optional
            At least 0; a row of weight 0 is left out.
        groups : array_like, shape (rows,), optional
            Rows of equal groups are in one fold: those of one customer, say.

        Returns
        -------
        self
        """
        found = self._fitted(X, y, sample_weight, groups, class_weight=self.class_weight)
        classes = found.model.target.classes
        assert classes is not None
        self.classes_ = classes
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row.

        Parameters
        ----------
        X : frame, array, dict of columns, or list of dicts

        Returns
        -------
        ndarray, shape (rows,)
        """
        outputs = self._outputs(X)
        return self.model_.decode(outputs)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class of `classes_`.

        Returns
        -------
        ndarray of float64, shape (rows, classes)
        """
        found = self._outputs(X).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        return np.log(self.predict_proba(X))


class TabularRegressor(RegressorMixin, Tabular):
    """Learns the numbers of a table: from numbers, categories, dates and missing cells as they are.

    Parameters
    ----------
    recipe, n_members, time_budget, kinds, drop, random_state, verbose
        As in `TabularClassifier`.
    metric : str, default "auto"
        By which the best epoch is chosen: "rmse", "mae" or "r2"; auto: "rmse".
    quantiles : sequence of float, optional
        In (0, 1), ascending: what is learned instead of the mean. `predict` then returns the one
        that is nearest to 1/2, and `predict_quantiles` all of them.

    Attributes
    ----------
    model_, members_, scores_, n_iter_, stop_reason_, n_features_in_, feature_names_in_
        As in `TabularClassifier`.
    out_of_fold_ : ndarray, shape (rows, 1 or quantiles)
        As in `TabularClassifier`, in standard deviations of the target from its mean.

    Examples
    --------
    >>> import fastnn as fnn
    >>> table = {"size": [40.0, 75.0, 120.0, 60.0] * 10, "town": ["A", "B", "B", "A"] * 10}
    >>> price = [100.0, 170.0, 260.0, 140.0] * 10
    >>> model = fnn.TabularRegressor(n_members=1, random_state=0).fit(table, price)
    >>> model.predict(table)[:2].round(-1).tolist()
    [100.0, 170.0]
    """

    _task = "regression"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Tabular._parameter_constraints,
        "quantiles": ["array-like", None],
    }

    def __init__(
        self,
        recipe: Any = "auto",
        *,
        n_members: int | None = None,
        metric: str = "auto",
        quantiles: Sequence[float] | None = None,
        time_budget: float | None = None,
        kinds: Mapping[str, Any] | None = None,
        drop: Iterable[str] | None = None,
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        self.recipe = recipe
        self.n_members = n_members
        self.metric = metric
        self.quantiles = quantiles
        self.time_budget = time_budget
        self.kinds = kinds
        self.drop = drop
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @unchanged_on_failure
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> Self:
        """Learn a table.

        Parameters
        ----------
        X : pandas, Polars or Arrow frame, array, dict of columns, or list of dicts
        y : array_like of float, shape (rows,)
            Rows where it is missing are left out.
        sample_weight : array_like, shape (rows,), optional
            At least 0; a row of weight 0 is left out.
        groups : array_like, shape (rows,), optional
            Rows of equal groups are in one fold: those of one customer, say.

        Returns
        -------
        self
        """
        quantiles = () if self.quantiles is None else self.quantiles
        found = self._fitted(X, y, sample_weight, groups, quantiles=quantiles)
        self.quantiles_ = tuple(float(q) for q in quantiles)
        self.intervals_ = Intervals.fit(found, self.quantiles_)
        self.model_.attachments["intervals"] = self.intervals_.to_file()  # for the saved file
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the number of each row; of quantiles, the one nearest to 1/2.

        Parameters
        ----------
        X : frame, array, dict of columns, or list of dicts

        Returns
        -------
        ndarray of float64, shape (rows,)
        """
        outputs = self._outputs(X)
        return self.model_.middle(self.model_.decode(outputs))

    def predict_one(self, row: Any) -> float:
        """Return the number for one row, without a frame; of quantiles, the one nearest to 1/2.

        Parameters
        ----------
        row : dict or sequence
            Cells by name, or all of them in the order of the columns.
        """
        found = np.atleast_2d(super().predict_one(row))
        return float(self.model_.middle(found)[0])

    def predict_quantiles(self, X: Any) -> np.ndarray:
        """Return the quantiles that were learned.

        Returns
        -------
        ndarray of float64, shape (rows, quantiles)

        Raises
        ------
        ValueError
            The estimator has no `quantiles`.
        """
        check_is_fitted(self)
        if not self.quantiles_:
            raise ValueError("give quantiles=[...] to the estimator, which has learned the mean")
        return self.model_.decode(self._outputs(X)).reshape(-1, len(self.quantiles_))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return an interval for each row that holds the number with a given probability.

        Its width comes from the errors of the out-of-fold predictions (split conformal prediction
        over folds; of quantiles, conformalized quantile regression, Romano et al. 2019), so that
        the coverage is right on average for rows like those of the training.

        Parameters
        ----------
        X : frame, array, dict of columns, or list of dicts
        coverage : float, default 0.9
            In (0, 1).

        Returns
        -------
        ndarray of float64, shape (rows, 2)
        """
        check_is_fitted(self)
        numbers = self.model_.decode(self._outputs(X))
        return self.intervals_.around(numbers, coverage)
