"""What estimators of tables share: checks of their arguments, the training, and single rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _num_samples,
    check_consistent_length,
    check_is_fitted,
)

from fastnn.core import files
from fastnn.core.declare import Declaration
from fastnn.estimators.rows import row_weights
from fastnn.tabular import Table, TabularModel, importance, of
from fastnn.tabular.cells import WrongCell, unmasked
from fastnn.tabular.fitting import Fitted, fit
from fastnn.tabular.plan import FOLDS
from fastnn.tabular.progress import Bar
from fastnn.tabular.sources import cells_of, library_of, values_of


class Tabular(BaseEstimator):
    """What both estimators share."""

    _task: ClassVar[str]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "recipe": [str, dict, Declaration],
        "n_members": [Interval(Integral, 1, None, closed="left"), None],
        "metric": [str],
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        "kinds": [dict, None],
        "drop": ["array-like", None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    recipe: Any
    n_members: int | None
    metric: str
    time_budget: float | None
    kinds: Mapping[str, Any] | None
    drop: Iterable[str] | None
    random_state: Any
    verbose: Any
    model_: TabularModel

    def _fitted(self, X: Any, y: Any, sample_weight: Any, groups: Any, **options: Any) -> Fitted:
        table = self._table(X, reset=True)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        y = _column(y)
        check_consistent_length(np.empty(table.rows), y)
        if table.rows < 2 * FOLDS:
            raise ValueError(
                f"{type(self).__name__} needs at least {2 * FOLDS} rows, "
                f"got n_samples = {table.rows}"
            )
        if self._task == "classification":
            _check_classes(y)
        weight = None
        if sample_weight is not None:
            weight = row_weights(np.empty((table.rows, 1)), sample_weight)
        state = check_random_state(self.random_state)
        found = fit(
            table,
            y,
            task=self._task,
            recipe=self.recipe,
            members=self.n_members,
            metric=self.metric,
            sample_weight=weight,
            groups=groups,
            drop=[] if self.drop is None else self.drop,
            kinds=self.kinds,
            time_budget=self.time_budget,
            seed=int(state.randint(np.iinfo(np.int32).max)),
            progress=Bar() if self.verbose else None,
            **options,
        )
        learned = found.learned
        if learned.stop_reason == "interrupted":
            warnings.warn("Training interrupted by user.", ConvergenceWarning)
        self.model_ = found.model
        self.members_ = learned.members
        self.scores_ = learned.scores
        self.out_of_fold_ = learned.out_of_fold
        self.n_iter_ = max(len(member.curve) for member in learned.members)
        self.stop_reason_ = learned.stop_reason
        return found

    def _table(self, X: Any, *, reset: bool) -> Table:
        """Return what was given as a table, and check or remember its columns."""
        if hasattr(X, "__array__") and not hasattr(X, "dtype") and not hasattr(X, "columns"):
            X = np.asarray(X)
        is_named = (
            isinstance(X, Table)
            or hasattr(X, "columns")
            or hasattr(X, "column_names")
            or isinstance(X, Mapping)
        )
        if not is_named and isinstance(X, Sequence) and X and isinstance(X[0], Mapping):
            is_named = True
        if is_named and not issparse(X):  # a matrix of keys is a mapping, too
            table = of(X)
            if not reset and not table.has_names and hasattr(self, "feature_names_in_"):
                # Labels that are no text: columns are not taken by position if they have names.
                labels = (str(label) for label in X.columns)
                table = Table(dict(zip(labels, table.columns.values(), strict=True)), table.rows)
            if not reset and table.has_names and not hasattr(self, "feature_names_in_"):
                return self._by_position(table)
            if reset:
                self.n_features_in_ = len(table.columns)
                names = list(table.columns)
                if table.has_names:
                    self.feature_names_in_ = np.array(names, object)
                elif hasattr(self, "feature_names_in_"):
                    del self.feature_names_in_
            return table
        array = check_array(
            _unmasked(X), dtype=None, ensure_all_finite="allow-nan", estimator=self, input_name="X"
        )
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, X, reset=reset)
        # NumPy would make text of all cells of a list with some text, and forget what is masked.
        table = of(X if isinstance(X, (np.ma.MaskedArray, list, tuple)) else array)
        if not reset and hasattr(self, "feature_names_in_"):
            names = self.feature_names_in_.tolist()
            columns = dict(zip(names, table.columns.values(), strict=True))
            return Table(columns, table.rows)
        return table

    def _by_position(self, table: Table) -> Table:
        """Return a table with names as the array without names that the estimator was fitted to."""
        name = type(self).__name__
        if len(table.columns) != self.n_features_in_:
            raise ValueError(
                f"X has {len(table.columns)} features, but {name} is expecting "
                f"{self.n_features_in_} features as input"
            )
        warnings.warn(f"X has feature names, but {name} was fitted without feature names")
        names = (f"x{i}" for i in range(self.n_features_in_))
        columns = dict(zip(names, table.columns.values(), strict=True))
        return Table(columns, table.rows, has_names=False)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.model_.outputs(self._table(X, reset=False))

    def describe(self) -> str:
        """Return what was decided for each column, as a table of text."""
        check_is_fitted(self)
        return self.model_.encoding.describe()

    def predict_one(self, row: Any) -> Any:
        """Return the prediction for one row, without a frame.

        Parameters
        ----------
        row : dict or sequence
            Cells by name, or all of them in the order of the columns.
        """
        check_is_fitted(self)
        return self.model_.predict_one(row)

    def permutation_importance(
        self, X: Any, y: Any, *, n_repeats: int = 5, metric: str = "auto", random_state: Any = None
    ) -> importance.Importance:
        """Return by how much the score falls if the cells of a column are mixed.

        Parameters
        ----------
        X : frame, array, dict of columns, or list of dicts
            Rows that were not trained on tell more.
        y : array_like, shape (rows,)
        n_repeats : int, default 5
        metric : str, default "auto"
        random_state : int, RandomState or None, default None

        Returns
        -------
        Importance
        """
        check_is_fitted(self)
        table = self._table(X, reset=False)
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        return importance.permutation(
            self.model_, table, _column(y), metric=metric, repeats=n_repeats, seed=seed
        )

    def save(self, path: files.Target) -> None:
        """Save the model with its encoding, for `fastnn.load` and the command.

        Parameters
        ----------
        path : path-like or binary file object
        """
        check_is_fitted(self)
        self.model_.save(path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _column(y: Any) -> Any:
    """Return a target as one column, with scikit-learn's warning for one of shape (rows, 1)."""
    if isinstance(y, str):
        raise TypeError(
            f"y must hold the target of each row, got the name {y!r}; pass the column, and X "
            "without it"
        )
    shape = getattr(y, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        return column_or_1d(y, warn=True)
    if hasattr(y, "__array__") and not hasattr(y, "dtype"):
        y = np.asarray(y)
    _num_samples(y)
    return y


def _unmasked(X: Any) -> Any:
    """Return an array with its masked cells missing."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    return np.ma.filled(X, np.nan) if X.dtype.kind == "f" else unmasked(X)


def _check_classes(y: Any) -> None:
    """Raise ValueError if y has several columns, numbers with decimals, or no labels."""
    try:
        _check_labels(y)
    except WrongCell as error:
        raise ValueError(f"target 'y', row {error.row + 1:,}: {error.what}") from None


def _check_labels(y: Any) -> None:
    if library_of(y) and not isinstance(getattr(y, "dtype", None), np.dtype):
        # Of a frame: text, categories, numbers that may be missing.
        values = values_of(y, np.flatnonzero(~cells_of(y).missing))
        if values.dtype.kind == "f":
            check_classification_targets(values)
        return
    values = np.asarray(y, None if hasattr(y, "dtype") else object)
    if values.ndim == 1:
        values = values[~cells_of(y).missing]
        if values.dtype.kind == "O":
            values = np.array(values.tolist())
        if not len(values) or values.ndim > 1:
            return
    check_classification_targets(values)
