"""A table learned and tested: rows held out, a model of the others, and how good it is on both.

The model that is kept has learned the training rows only, so that its scores on the rows held out
are those of this very model. Dropped: to train once more on all rows, which takes as long again,
and gives a model that nobody has tested.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn import datasets
from fastnn.core.checks import rows_of_share
from fastnn.runtime.nonfinite import NonFiniteLossError
from fastnn.tabular import importance, scores
from fastnn.tabular.evaluation import Evaluation, Group, by_group, evaluate
from fastnn.tabular.fitting import Fitted, fit, group_codes
from fastnn.tabular.intervals import Intervals
from fastnn.tabular.plan import FOLDS, Progress
from fastnn.tabular.table import Table
from fastnn.tabular.target import Target

DIVERGED = 3.0  # times the loss of predicting the mean, or the frequencies of the classes
MOST_ROWS = 1000  # from which importance is measured
MOST_COLUMNS = 200
MOST_PREDICTIONS = 40_000
REPEATS = 5


@dataclass
class Study:
    """A table whose rows fall into those to learn and those held out; made by `of_table`.

    Attributes
    ----------
    table : Table
        Rows of a known target, without the target and without the column of groups.
    whole : Table
        The same rows with all columns.
    name : str
        Of the target.
    target : Target
        Of all rows.
    train, held_out : ndarray of int
        Positions in `table`.
    groups : ndarray or None, shape (rows,)
        Rows of equal ones stay together.
    """

    table: Table
    whole: Table
    name: str
    target: Target
    train: np.ndarray
    held_out: np.ndarray
    groups: np.ndarray | None = None

    @classmethod
    def of_table(
        cls,
        table: Table,
        name: str,
        *,
        task: str = "auto",
        held_out: float = 0.2,
        group: str | None = None,
        seed: int = 0,
    ) -> Study:
        """Choose the rows to hold out.

        Parameters
        ----------
        table : Table
        name : str
            Of the target.
        task : {"auto", "classification", "regression"}, default "auto"
            Whole numbers in arrays, whose columns have no names, are classes.
        held_out : float, default 0.2
            The share of rows; the same of each class.
        group : str, optional
            A column; rows of equal cells are held out together, and one whose cell is missing is a
            group of its own.
        seed : int, default 0

        Raises
        ------
        ValueError
            The target or the group is no column, or too few rows are left.
        """
        values = table.cells(name)
        if task == "auto" and not table.has_names and values.is_whole:
            task = "classification"
        target = Target.fit(values, task, name=name, where=table.where, numbers=table.numbers)
        if target.missing:
            present = target.present(values)
            table, values = table.take(present), values.take(np.flatnonzero(present))
        groups = None
        if group is not None:
            if group == name:
                raise ValueError(f"{table.where}the group cannot be {group!r}, which is the target")
            groups = group_codes(table.cells(group), table.rows)
        inputs = table.without(name, *([] if group is None else [group]))
        if not inputs.columns:
            raise ValueError(f"{table.where}no column is left as input besides {name!r}")
        y = np.zeros(table.rows, np.int64)
        if target.classes is not None:
            y = target.encode(values, where=table.where, numbers=table.numbers)
        if groups is None:
            train, held = datasets.split(y, held_out, seed)
        else:
            train, held = split_groups(groups, held_out, seed)
        if held_out and not (len(train) and len(held)):
            raise ValueError(
                f"{table.source}: --held-out {held_out:g} of {table.rows} rows leaves {len(train)} "
                f"to train on and {len(held)} to test with; give more rows, or --held-out 0"
            )
        if len(train) < 2 * FOLDS:
            raise ValueError(
                f"{table.source}: {len(train)} rows are left to train on, at least {2 * FOLDS} are "
                "needed; give more rows"
            )
        _check_classes(table, target, y, train, held)
        return cls(inputs, table, name, target, train, held, groups)

    def fit(
        self,
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
        **options: Any,
    ) -> Result:
        """Learn the rows that are not held out.

        Parameters
        ----------
        progress, stop
            See `fastnn.tabular.learning.learn`.
        **options
            Of `fastnn.tabular.fitting.fit`.

        Raises
        ------
        ValueError
            An option does not fit.
        NonFiniteLossError
            The training diverged.
        """
        quantiles = tuple(options.get("quantiles", ()))
        values = self.whole.cells(self.name)
        fitted = fit(
            self.table.take(self.train),
            values.take(self.train),
            task=self.target.task,
            name=self.name,
            groups=None if self.groups is None else self.groups[self.train],
            progress=progress,
            stop=stop,
            **options,
        )
        _check_convergence(fitted, max(len(quantiles), 1))
        if fitted.model.target.classes is None:
            fitted.model.attachments["intervals"] = Intervals.fit(fitted, quantiles).to_file()
        return Result(self, fitted)


@dataclass
class Result:
    """A model, and how good it is.

    Attributes
    ----------
    study : Study
    fitted : Fitted
    """

    study: Study
    fitted: Fitted

    def __post_init__(self) -> None:
        self._evaluation: Evaluation | None = None

    @property
    def has_held_out(self) -> bool:
        """Whether rows were held out; the predictions are otherwise those out of fold."""
        return len(self.study.held_out) > 0

    @property
    def evaluation(self) -> Evaluation:
        """Predictions for the rows held out, or else out of fold; `rows` are those of the table."""
        if self._evaluation is None:
            self._evaluation = self._held_out() if self.has_held_out else self._out_of_fold()
        return self._evaluation

    def _held_out(self) -> Evaluation:
        study = self.study
        found = evaluate(
            self.fitted.model,
            study.table.take(study.held_out),
            study.whole.cells(study.name).take(study.held_out),
        )
        return replace(found, rows=study.held_out[found.rows])

    def _out_of_fold(self) -> Evaluation:
        study, learned = self.study, self.fitted.learned
        known = np.flatnonzero(~np.isnan(learned.out_of_fold[:, 0]))  # some folds, if interrupted
        rows = study.train[self.fitted.rows[known]]
        found = evaluate(
            self.fitted.model,
            study.table.take(rows),
            study.whole.cells(study.name).take(rows),
            outputs=learned.out_of_fold[known],
        )
        return replace(found, rows=rows[found.rows])

    def importance(self, *, seed: int = 0) -> importance.Importance | None:
        """Return the permutation importance on rows held out, or else on those of the training.

        None if there are too many columns to try each. The score is the one that chose the best
        epochs, or `scores.fallback` if these rows do not define it.
        """
        study = self.study
        if len(self.fitted.model.encoding.groups) > MOST_COLUMNS:
            return None
        rows = study.held_out if self.has_held_out else study.train
        if len(rows) > MOST_ROWS:
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
        once = len(rows) * len(self.fitted.model.encoding.groups)
        repeats = int(np.clip(MOST_PREDICTIONS // max(once, 1), 1, REPEATS))
        y = study.whole.cells(study.name).take(rows)
        target, score = self.fitted.model.target, self.fitted.learned.score
        if target.classes is None:
            is_defined = score.is_defined(target.numbers(y))
        else:
            is_defined = score.is_defined(target.encode(y), classes=len(target.classes))
        return importance.permutation(
            self.fitted.model,
            study.table.take(rows),
            y,
            metric=(score if is_defined else scores.fallback(target.task)).name,
            repeats=repeats,
            seed=seed,
        )

    def groups(self, columns: Iterable[str]) -> dict[str, list[Group]]:
        """Return the scores of groups of the evaluated rows, for each of some columns."""
        task = self.study.target.task
        found = self.evaluation
        return {name: by_group(found, self.study.whole.cells(name), task) for name in columns}


def split_groups(groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers to train on and to hold out; rows of equal groups stay together.

    Parameters
    ----------
    groups : ndarray, shape (rows,)
    share : float
        About that share of the rows is held out.
    seed : int

    Examples
    --------
    >>> train, held_out = split_groups(np.array([1, 2, 1, 3, 3, 2, 4, 4]), 0.25, 0)
    >>> len(train), len(held_out)
    (6, 2)
    """
    wanted = rows_of_share(len(groups), share)
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    chosen, total = [], 0
    for one in np.random.default_rng(seed).permutation(len(counts)).tolist():
        if total + counts[one] / 2 <= wanted:
            chosen.append(one)
            total += int(counts[one])
    is_held = np.isin(number, chosen)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _check_classes(
    table: Table, target: Target, y: np.ndarray, train: np.ndarray, held: np.ndarray
) -> None:
    """Raise ValueError if a class is among the rows held out only."""
    if target.classes is None:
        return
    missing = np.setdiff1d(y[held], y[train])
    if len(missing):
        raise ValueError(
            f"{table.where}class {str(target.classes[missing[0]])!r} of {target.name!r} is only "
            "among the rows held out; try another --seed, or --held-out 0"
        )


def _check_convergence(fitted: Fitted, outputs: int) -> None:
    """Raise NonFiniteLossError if no epoch was better than predicting nothing in particular."""
    target = fitted.model.target
    nothing = float(outputs)
    if target.classes is not None:
        nothing = float(np.log(len(target.classes)))
    least = min(min(member.losses) for member in fitted.learned.members)
    if not least <= DIVERGED * nothing:
        what = "the mean" if target.classes is None else "all classes alike"
        raise NonFiniteLossError(
            f"the training diverged: its lowest loss is {least:.3g}, and predicting {what} gives "
            f"{nothing:.3g}; try a smaller learning rate"
        )
