"""Which kind of model suits a table: fastnn's recipes and scikit-learn's models, cross-validated.

All get the same rows in each fold. Trees and linear models get the columns as `Encoding` reads
them: numbers and flags, and categories as codes for the trees, one-hot for the linear models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.core import extras
from fastnn.tabular import recipes, scores
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.fitting import fit, weights_of_classes
from fastnn.tabular.folds import folds_of
from fastnn.tabular.study import Study
from fastnn.tabular.target import Target

ONE_HOT = 100  # categories of a column for linear models; the others are left out
MOST_CODES = 255  # that scikit-learn's trees take as categories

# Learns a part of a table; returns probabilities and the numbers of the classes that it predicts
# for another part, or twice the same numbers.
Side = Callable[["_Fold"], tuple[np.ndarray, np.ndarray]]


@dataclass
class Row:
    """A model's scores over the folds.

    Attributes
    ----------
    name : str
    scores : dict of str to list of float
        One for each fold that it is defined on.
    seconds : list of float
        Of training and prediction.
    """

    name: str
    scores: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def mean(self, score: str) -> float:
        """Return the mean of a score over the folds, NaN if it is defined on none."""
        return float(np.mean(self.scores[score])) if self.scores.get(score) else float("nan")

    def deviation(self, score: str) -> float:
        """Return the standard deviation of a score over the folds."""
        return float(np.std(self.scores[score])) if self.scores.get(score) else float("nan")


@dataclass
class _Fold:
    """A part of a table to learn, and one to predict."""

    study: Study
    train: np.ndarray
    held_out: np.ndarray
    seed: int
    options: dict[str, Any]

    def encoded(self, **options: Any) -> tuple[Encoding, np.ndarray, np.ndarray]:
        """Return an encoding of the training part, and both parts encoded."""
        table = self.study.table
        chosen = {key: self.options[key] for key in ("drop", "kinds") if key in self.options}
        train = table.take(self.train)
        encoding = Encoding.fit(train, **chosen, **options)
        return encoding, encoding.encode(train), encoding.encode(table.take(self.held_out))

    @cached_property
    def targets(self) -> tuple[Target, np.ndarray, np.ndarray]:
        """Return the target, and both parts of it as class numbers or numbers in its unit."""
        target = self.study.target
        all_of = _truth(self.study)
        return target, all_of[self.train], all_of[self.held_out]

    @property
    def class_weight(self) -> Any:
        """The weights of the classes, without those that the training part lacks."""
        told = self.options.get("class_weight")
        if not isinstance(told, Mapping):
            return told
        target, y, _ = self.targets
        weights_of_classes(target, y, told)  # names what is no class of any part
        known = set(y.tolist())
        return {one: value for one, value in told.items() if target.encode([one])[0] in known}

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of each row of the training part."""
        told = self.class_weight
        if told is None:
            return None
        target, y, _ = self.targets
        return weights_of_classes(target, y, told)[y]


def _truth(study: Study) -> np.ndarray:
    """Return the targets as class numbers, or as numbers in their unit."""
    values = study.whole.cells(study.name)
    if study.target.classes is None:
        return study.target.numbers(values)
    return study.target.encode(values, where=study.whole.where, numbers=study.whole.numbers)


def compare(
    study: Study, *, folds: int = 5, seed: int = 0, options: dict[str, Any] | None = None
) -> Iterator[tuple[Row, int]]:
    """Cross-validate each model on the same folds.

    Parameters
    ----------
    study : Study
        Without rows held out.
    folds : int, default 5
    seed : int, default 0
    options : dict, optional
        Of `fastnn.tabular.fitting.fit`.

    Yields
    ------
    Row, int
        A model whose next fold is done, and how many folds it has done.

    Raises
    ------
    ImportError
        scikit-learn is missing; the message names the extra.
    ValueError
        There are fewer rows, or groups, than folds, or the rows besides a fold are of one class.
    """
    if folds < 2 or study.table.rows < 2 * folds:
        raise ValueError(
            f"{study.table.where}{folds} folds of {study.table.rows:,} rows: expected at least 2 "
            "folds, of at least 2 rows"
        )
    sides = sides_of(study.target)
    y = None if study.target.classes is None else _truth(study)
    of_row = folds_of(y, folds, study.table.rows, np.random.default_rng(seed), study.groups)
    if y is not None:
        _check_classes(study, y, of_row, folds)
    rows = {name: Row(name) for name in sides}
    for number in range(folds):
        held_out = np.flatnonzero(of_row == number)
        fold = _Fold(study, np.flatnonzero(of_row != number), held_out, seed, options or {})
        target, _, truth = fold.targets
        for name, side in sides.items():
            at = time.perf_counter()
            outputs, predictions = side(fold)
            rows[name].seconds.append(time.perf_counter() - at)
            if target.classes is not None:
                outputs = outputs.astype(np.float32)  # log_loss depends on how small they can be
            for score, value in scores.defined(target.task, truth, outputs, predictions).items():
                rows[name].scores.setdefault(score, []).append(value)
            yield rows[name], number + 1


def _check_classes(study: Study, y: np.ndarray, of_row: np.ndarray, folds: int) -> None:
    """Raise ValueError if the rows that are learned for a fold are all of one class."""
    for number in range(folds):
        learned = y[of_row != number]
        if (learned == learned[0]).all():
            only = str(study.target.classes[learned[0]])  # type: ignore[index]
            raise ValueError(
                f"{study.table.where}target {study.name!r}: the rows besides fold {number + 1} are "
                f"all {only!r}; expected rows of two classes, whichever fold is held out"
            )


def sides_of(target: Target) -> dict[str, Side]:
    """Return the models that are compared for a task, by name."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise extras.missing("a comparison needs scikit-learn", "table") from None
    # The quick ones first: who interrupts a comparison has at least these.
    made: dict[str, Side] = {
        "logistic regression" if target.classes is not None else "linear regression": _linear,
        "gradient boosting": _trees,
    }
    return made | {f"fastnn {name}": _recipe(name) for name in recipes.registry}


def _recipe(name: str) -> Side:
    recipe = recipes.get(name)
    assert isinstance(recipe, recipes.Recipe)
    # What is an ensemble by itself would take five times as long for little.
    members = {"members": 1} if recipe.copies > 1 else {}

    def side(fold: _Fold) -> tuple[np.ndarray, np.ndarray]:
        study = fold.study
        values = study.whole.cells(study.name)
        table = study.table
        told = {key: value for key, value in fold.options.items() if value is not None}
        fitted = fit(
            table.take(fold.train),
            values.take(fold.train),
            task=study.target.task,
            name=study.name,
            recipe=name,
            seed=fold.seed,
            groups=None if study.groups is None else study.groups[fold.train],
            **{**members, **told, "class_weight": fold.class_weight},
        )
        if fitted.learned.stop_reason == "interrupted":  # by Ctrl-C, which is for the comparison
            raise KeyboardInterrupt
        model = fitted.model
        outputs = model.outputs(table.take(fold.held_out))
        if study.target.classes is None:
            numbers = model.middle(model.decode(outputs))
            return numbers, numbers
        assert model.target.classes is not None
        # Which of all classes each of the model's is: it has learned those of its rows.
        places = study.target.encode(model.target.classes)
        found = np.zeros((len(outputs), len(study.target.classes)), outputs.dtype)
        found[:, places] = outputs
        return found, places[model.decisions(outputs)]

    return side


def _trees(fold: _Fold) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import ensemble

    encoding, x, x_held_out = fold.encoded(numbers="standard", one_hot_up_to=2)
    first = encoding.numbers + encoding.flags
    is_category = np.zeros(encoding.inputs, bool)
    is_category[first:] = np.array(encoding.cardinalities) <= MOST_CODES
    target, y, _ = fold.targets
    options = {"categorical_features": is_category, "random_state": fold.seed}
    if target.classes is None:
        numbers = ensemble.HistGradientBoostingRegressor(**options).fit(x, y).predict(x_held_out)
        return numbers, numbers
    if 1 in np.bincount(y):
        options["early_stopping"] = False  # its split needs two rows of each class
    return _probabilities(ensemble.HistGradientBoostingClassifier(**options), x, x_held_out, fold)


def _linear(fold: _Fold) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import linear_model

    encoding, x, x_held_out = fold.encoded(numbers="standard", one_hot_up_to=ONE_HOT)
    inputs = slice(0, encoding.numbers + encoding.flags)
    target, y, _ = fold.targets
    x, x_held_out = x[:, inputs].astype(np.float64), x_held_out[:, inputs].astype(np.float64)
    if target.classes is None:
        numbers = linear_model.Ridge().fit(x, y).predict(x_held_out)
        return numbers, numbers
    return _probabilities(linear_model.LogisticRegression(max_iter=1000), x, x_held_out, fold)


def _probabilities(
    model: Any, x: np.ndarray, x_held_out: np.ndarray, fold: _Fold
) -> tuple[np.ndarray, np.ndarray]:
    """Fit; return a column for each class, also for those that the rows lack, and decisions."""
    import warnings

    target, y, _ = fold.targets
    assert target.classes is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: its scores say what it is worth
        model.fit(x, y, sample_weight=fold.weights)
    found = np.zeros((len(x_held_out), len(target.classes)))
    found[:, model.classes_] = model.predict_proba(x_held_out)
    return found, found.argmax(axis=1)
