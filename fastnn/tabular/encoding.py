"""From a table to a network and back: columns, categories, standardisation, classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastnn.tabular.columns import (
    TASKS,
    as_text,
    categories_of,
    check_target,
    codes_of,
    distinct_texts,
    mean_and_scale,
    standardised,
    task_of,
)
from fastnn.tabular.table import Table, listed


@dataclass(repr=False)
class Encoding:
    """How columns become inputs, and outputs become predictions.

    Text columns are one-hot, with one input for each category. Numbers and booleans (0 and 1) are
    standardised, (value - mean) / scale, with mean and standard deviation of the training rows;
    a column that is constant there has scale 1. A regression target is standardised too, so
    that one learning rate suits any unit; `decode` undoes it.

    Attributes
    ----------
    task : {"classification", "regression"}
    target : str
    columns : list of str
        The inputs' columns, in order.
    categories : dict of str to list of str
        Categories of the text columns.
    classes : list of str
        Names of the classes, in the order of the network's outputs.
    mean, scale : ndarray of float64, shape (numeric columns,)
    target_mean, target_scale : float
        Mean and scale of a regression's target, in its unit; 0 and 1 for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.encoding import Encoding
    >>> from fastnn.tabular.table import Table
    >>> cells = {"age": np.array([1, 3]), "kind": np.array(["a", "b"]), "y": np.array([5.0, 9.0])}
    >>> table = Table("cells", cells, rows=2)
    >>> plan = Encoding.plan(table, "y")
    >>> plan.fit(table, np.arange(2))
    >>> plan.encode(table).tolist()
    [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    >>> plan.decode(np.array([[0.0], [1.0]])).tolist()
    [7.0, 9.0]
    """

    task: str
    target: str
    columns: list[str]
    categories: dict[str, list[str]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scale: np.ndarray = field(default_factory=lambda: np.ones(0))
    target_mean: float = 0.0
    target_scale: float = 1.0

    @classmethod
    def plan(
        cls, table: Table, target: str, *, task: str = "auto", drop: Iterable[str] = ()
    ) -> Encoding:
        """Decide what each column is, and the task; `fit` then measures the numbers.

        Parameters
        ----------
        table : Table
        target : str
        task : {"auto", "classification", "regression"}, default "auto"
            auto: text and booleans are classes; so are whole numbers, but in a table of named
            columns only if there are at most 20 different ones; other numbers are regression.
        drop : iterable of str, optional
            Columns that are not inputs.

        Raises
        ------
        ValueError
            A column does not fit; the message names it.
        """
        left_out = list(drop)
        _check_left_out(table, target, left_out)
        values = table.values(target)
        names = [name for name in table.columns if name != target and name not in left_out]
        if not names:
            raise ValueError(f"{table.source}: no column is left as input besides {target!r}")
        made = cls(task_of(table, values) if task == "auto" else task, target, names)
        if made.task == "classification":
            made.classes = distinct_texts(values)
        check_target(table, target, values, made.classes)
        for name in names:
            cells = table.values(name)
            if cells.dtype.kind == "O":
                made.categories[name] = categories_of(table, name, cells)
        return made

    def __repr__(self) -> str:
        goal = f"{self.task} of {self.target!r}"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Encoding for {goal}: {len(self.columns)} columns, {self.inputs} inputs{classes}>"

    @property
    def inputs(self) -> int:
        """Number of the network's inputs."""
        one_hot = sum(len(known) for known in self.categories.values())
        return len(self.columns) - len(self.categories) + one_hot

    def fit(self, table: Table, rows: np.ndarray) -> None:
        """Measure means and scales on the training rows.

        Parameters
        ----------
        table : Table
        rows : ndarray of int
        """
        numeric = [name for name in self.columns if name not in self.categories]
        measured = [mean_and_scale(table, name, table.values(name)[rows]) for name in numeric]
        self.mean, self.scale = np.array(measured, np.float64).reshape(-1, 2).T.copy()
        if self.task == "regression":
            y = table.values(self.target)[rows]
            self.target_mean, self.target_scale = mean_and_scale(table, self.target, y)

    def encode(self, table: Table) -> np.ndarray:
        """Return the inputs of the network.

        Parameters
        ----------
        table : Table
            Columns that are not inputs are ignored, the target too.

        Returns
        -------
        ndarray of float32, shape (rows, inputs)

        Raises
        ------
        ValueError
            A column is missing or empty, or holds a cell that was not there in training.
        """
        x = np.zeros((table.rows, self.inputs), np.float32)
        position = numeric = 0
        for name, source in zip(self.columns, self._sources(table), strict=True):
            cells = table.values(source)
            known = self.categories.get(name)
            if known is not None:
                codes = codes_of(table, source, cells, known)
                x[np.arange(table.rows), position + codes] = 1
                position += len(known)
            else:
                mean, scale = self.mean[numeric], self.scale[numeric]
                x[:, position] = standardised(table, source, cells, mean, scale)
                position, numeric = position + 1, numeric + 1
        return x

    def _sources(self, table: Table) -> list[str]:
        """Return the names of the inputs' columns in this table."""
        if not table.has_names:
            names = [name for name in table.columns if name != self.target]
            if len(names) != len(self.columns) or self.categories:
                text = ", some of them text" if self.categories else ""
                raise ValueError(
                    f"{table.source}: {len(names)} columns without names; "
                    f"the model takes {len(self.columns)}{text}: {listed(self.columns)}"
                )
            return names
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise ValueError(
                f"{table.source}: the model needs column {listed(missing)}; "
                f"there is {listed(table.columns)}"
            )
        return self.columns

    def encode_target(self, table: Table) -> np.ndarray:
        """Return the targets of the network.

        Returns
        -------
        ndarray, shape (rows,)
            int64 class numbers, or float32 standardised numbers.
        """
        values = table.values(self.target)
        if self.task == "classification":
            return codes_of(table, self.target, as_text(values), self.classes)
        return ((values.astype(np.float64) - self.target_mean) / self.target_scale).astype(
            np.float32
        )

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return predictions for the outputs of the network.

        Parameters
        ----------
        outputs : ndarray, shape (rows, classes) or (rows, 1)

        Returns
        -------
        ndarray, shape (rows,)
            Class names, or float64 numbers in the target's unit.
        """
        if self.task == "classification":
            return np.array(self.classes, object)[outputs.argmax(axis=1)]
        return outputs[:, 0].astype(np.float64) * self.target_scale + self.target_mean

    def to_file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a part of the attachments, and the tensors, for `model_file.save`."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {name: entries.pop(name) for name in ("mean", "scale")}
        return entries, tensors

    @classmethod
    def from_file(cls, entries: Any, tensors: dict[str, np.ndarray]) -> Encoding:
        """Return the encoding that `to_file` described.

        Raises
        ------
        ValueError
            The description is damaged.
        """
        try:
            made = cls(
                **entries,
                mean=tensors["preprocessing/mean"],
                scale=tensors["preprocessing/scale"],
            )
            numeric = len(made.columns) - len(made.categories)
            texts = [made.columns, made.classes, *made.categories.values()]
            is_sound = (
                made.task in TASKS
                and made.mean.shape == made.scale.shape == (numeric,)
                and all(isinstance(text, str) for part in texts for text in part)
                and set(made.categories) <= set(made.columns)
                and isinstance(made.target_mean * made.target_scale, float)
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"the description of the columns is damaged ({error})") from None
        if not is_sound:
            raise ValueError("the description of the columns is damaged")
        return made


def _check_left_out(table: Table, target: str, names: list[str]) -> None:
    """Raise ValueError for names that are not columns, or the target."""
    for name in names:
        if name not in table.columns or name == target:
            what = "is the target" if name == target else "is not a column"
            raise ValueError(f"{table.source}: cannot leave out {name!r}, which {what}")
