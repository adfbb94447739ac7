"""What lies between a table and a network: columns, categories, standardisation, classes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastnn.exchange import model_file
from fastnn.model import Model
from fastnn.tabular.table import Table, listed

MAX_CATEGORIES = 1000
MAX_CLASSES = 1000
FEW = 20  # so many different whole numbers in a table's target are still taken for classes
TASKS = ("classification", "regression")


@dataclass
class Preprocessing:
    """How columns become inputs, and outputs become predictions.

    Text columns are one-hot, one input a category. Numbers and booleans (0 and 1) are
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
        Of the text columns.
    classes : list of str
        Names of the classes, in the order of the network's outputs.
    mean, scale : ndarray of float64, shape (numeric columns,)
    target_mean, target_scale : float
        In the target's unit; 0 and 1 for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.encoding import Preprocessing
    >>> from fastnn.tabular.table import Table
    >>> cells = {"age": np.array([1, 3]), "kind": np.array(["a", "b"]), "y": np.array([5.0, 9.0])}
    >>> table = Table("cells", cells, rows=2)
    >>> plan = Preprocessing.plan(table, "y")
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
    ) -> Preprocessing:
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
        for name in left_out:
            if name not in table.columns or name == target:
                what = "is the target" if name == target else "is not a column"
                raise ValueError(f"{table.source}: cannot leave out {name!r}, which {what}")
        values = table.values(target)
        columns = [name for name in table.columns if name != target and name not in left_out]
        if not columns:
            raise ValueError(f"{table.source}: no column is left as input beside {target!r}")
        chosen = _task(table, target, values) if task == "auto" else task
        made = cls(chosen, target, columns)
        if chosen == "classification":
            made.classes = _names(values)
        elif values.dtype.kind == "O":
            raise ValueError(
                f"{table.source}: target {target!r} holds text such as {values[0]!r}; "
                "regression expects numbers"
            )
        distinct = len(made.classes) or len(np.unique(values))
        if distinct < 2:
            raise ValueError(
                f"{table.source}: target {target!r} is {str(values[0])!r} in every row; "
                "expected at least two different values"
            )
        if len(made.classes) > MAX_CLASSES:
            raise ValueError(
                f"{table.source}: target {target!r} has {len(made.classes):,} classes, the limit "
                f"is {MAX_CLASSES:,}; numbers can be learned with --task regression"
            )
        for name in columns:
            cells = table.values(name)
            if cells.dtype.kind == "O":
                made.categories[name] = _categories(table, name, cells)
        return made

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
        measured = [_mean_and_scale(table, name, table.values(name)[rows]) for name in numeric]
        self.mean, self.scale = np.array(measured, np.float64).reshape(-1, 2).T.copy()
        if self.task == "regression":
            y = table.values(self.target)[rows]
            self.target_mean, self.target_scale = _mean_and_scale(table, self.target, y)

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
            A column is missing or empty, or holds what was not there in training.
        """
        x = np.zeros((table.rows, self.inputs), np.float32)
        position = numeric = 0
        for name, source in zip(self.columns, self._sources(table), strict=True):
            cells = table.values(source)
            known = self.categories.get(name)
            if known is not None:
                x[np.arange(table.rows), position + _codes(table, source, cells, known)] = 1
                position += len(known)
                continue
            if cells.dtype.kind == "O":
                raise ValueError(
                    f"{table.source}: column {source!r} must hold numbers, as in training; "
                    f"it holds {_not_a_number(cells)}"
                )
            with np.errstate(over="ignore"):
                x[:, position] = (cells.astype(np.float64) - self.mean[numeric]) / (
                    self.scale[numeric]
                )
            is_bad = ~np.isfinite(x[:, position])
            if is_bad.any():
                row = int(is_bad.argmax())
                raise ValueError(
                    f"{table.source}: column {source!r} holds {cells[row]:g} in row {row + 1}, "
                    "which is too large beside the training data"
                )
            position, numeric = position + 1, numeric + 1
        return x

    def _sources(self, table: Table) -> list[str]:
        """Names of the inputs' columns in this table."""
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
        """Return what the network is to learn.

        Returns
        -------
        ndarray, shape (rows,)
            int64 class numbers, or float32 standardised numbers.
        """
        values = table.values(self.target)
        if self.task == "classification":
            return _codes(table, self.target, _as_text(values), self.classes)
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
        """Return what `model_file.save` takes: a part of the attachments, and tensors."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {name: entries.pop(name) for name in ("mean", "scale")}
        return entries, tensors

    @classmethod
    def from_file(cls, entries: Any, tensors: dict[str, np.ndarray]) -> Preprocessing:
        """Return what `to_file` described.

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


def _task(table: Table, target: str, values: np.ndarray) -> str:
    """Tell the task from the target; in arrays, whole numbers are labels by custom."""
    if values.dtype.kind in "Ob":
        return "classification"
    is_few = not table.has_names or len(np.unique(values)) <= FEW
    return "classification" if values.dtype.kind in "iu" and is_few else "regression"


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return cells as text: 1 and 1.0 are the same class."""
    if values.dtype.kind == "O":
        return values
    cells = values.tolist()
    if values.dtype.kind == "f":
        cells = [int(cell) if cell.is_integer() else cell for cell in cells]
    return np.array(list(map(str, cells)), object)


def _names(values: np.ndarray) -> list[str]:
    """Return the distinct cells as text; numbers in the order of numbers."""
    if values.dtype.kind == "O":
        return sorted(set(values.tolist()))
    return _as_text(np.unique(values)).tolist()


def _categories(table: Table, name: str, cells: np.ndarray) -> list[str]:
    known = _names(cells)
    if len(known) > FEW:
        other = [text for text in known if not _is_number(text)]
        if len(other) < 0.1 * len(known):  # one "?" makes a column of numbers text
            row = int(np.argmax(cells == other[0])) + 1 if other else 1
            raise ValueError(
                f"{table.source}: column {name!r} holds numbers, but also {listed(other, 3)} "
                f"(row {row}); mend these, or leave the column out with --drop"
            )
    if len(known) > MAX_CATEGORIES:
        raise ValueError(
            f"{table.source}: column {name!r} holds {len(known):,} different texts, the limit is "
            f"{MAX_CATEGORIES:,}; leave it out with --drop"
        )
    return known


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not_a_number(cells: np.ndarray) -> str:
    row = next((i for i, cell in enumerate(cells) if not _is_number(cell)), 0)
    return f"{cells[row]!r} in row {row + 1}"


def _codes(table: Table, name: str, cells: np.ndarray, known: list[str]) -> np.ndarray:
    """Return the position of each cell in `known`."""
    place = {text: i for i, text in enumerate(known)}
    codes = np.array([place.get(text, -1) for text in _as_text(cells)], np.int64)
    if codes.size and codes.min() < 0:
        row = int(codes.argmin())
        raise ValueError(
            f"{table.source}: column {name!r} holds {str(cells[row])!r} in row {row + 1}; "
            f"the model knows only {listed(known)}"
        )
    return codes


def _mean_and_scale(table: Table, name: str, cells: np.ndarray) -> tuple[float, float]:
    values = cells.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not np.isfinite([mean, scale]).all():
        raise ValueError(f"{table.source}: column {name!r} holds too large numbers")
    # A tiny deviation may be rounding only; whether all are equal is told exactly.
    return mean, scale if scale > 0 and values.min() < values.max() else 1.0


def load(path: str | os.PathLike) -> tuple[Model, Preprocessing | None, dict[str, Any]]:
    """Load a model with its preprocessing.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    model : Model
    preprocessing : Preprocessing or None
        None for a model that `Model.save` wrote.
    attachments : dict
        What else was saved with it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `fastnn.load`.
    """
    about, tensors = model_file.read(path)
    attachments = about.get("attachments") or {}
    model = Model.of(model_file.restore(about, tensors, path))
    if "table" not in attachments:
        return model, None, attachments
    try:
        preprocessing = Preprocessing.from_file(attachments["table"], tensors)
    except ValueError as error:
        raise ValueError(f"path: {str(path)!r}: {error}") from None
    if model.input_shapes[0][1] != (preprocessing.inputs,):
        raise ValueError(f"path: {str(path)!r}: columns and network do not fit each other")
    return model, preprocessing, attachments
