"""What is to be predicted: classes or numbers, to what a network learns and back."""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import Any

import numpy as np

from fastnn.core.formats import whole_number
from fastnn.tabular import texts
from fastnn.tabular.cells import Cells, WrongCell, naive, number_as_text
from fastnn.tabular.class_labels import (
    are_different,
    classes_of_cells,
    distinct_of,
    equal,
    keys_of,
    of_dtype,
    places_of,
)
from fastnn.tabular.columns import LONGEST_NAME, listed, row_number, shown
from fastnn.tabular.sources import cells_of

TASKS = ("classification", "regression")
MAX_CLASSES = 1000
FEW = 20  # up to this many different whole numbers in a table's target are taken for classes


class Target:
    """Classes, or numbers that are standardised; made by `fit`.

    Attributes
    ----------
    task : {"classification", "regression"}
    name : str
    classes : ndarray, shape (classes,), or None
        The network's class 0, 1, and so on. Of values given in Python they are what `numpy.unique`
        finds in the rows that are not missing, in its order and dtype; of cells, as a file has
        them, text without the spaces around it, or integers where all are whole numbers.
    mean, scale : float
        Of the numbers; 0 and 1 for classes.
    low, high : float
        The range of the numbers; NaN for classes.
    counts : ndarray of int, or None
        How many rows each class had.
    missing : int
        Rows that were left out because their target is missing.
    is_guess : bool
        Whether the task was guessed from whole numbers.

    Examples
    --------
    >>> target = Target.fit(["no", "yes", None, "no"])
    >>> target.classes.tolist(), target.missing, target.present(["no", None]).tolist()
    (['no', 'yes'], 1, [True, False])
    >>> target.encode(["yes", "no"]).tolist()
    [1, 0]
    """

    def __init__(
        self,
        task: str,
        name: str,
        *,
        classes: np.ndarray | None = None,
        mean: float = 0.0,
        scale: float = 1.0,
        low: float = float("nan"),
        high: float = float("nan"),
        counts: np.ndarray | None = None,
        missing: int = 0,
        is_guess: bool = False,
        decimal: str = ".",
    ) -> None:
        self.task = task
        self.name = name
        self.classes = classes
        self.mean = mean
        self.scale = scale
        self.low = low
        self.high = high
        self.counts = counts
        self.missing = missing
        self.is_guess = is_guess
        self.decimal = decimal
        self._places = {} if classes is None else places_of(classes)

    @classmethod
    def fit(
        cls,
        values: Any,
        task: str = "auto",
        *,
        name: str = "y",
        where: str = "",
        numbers: np.ndarray | None = None,
    ) -> Target:
        """Find the classes, or mean and standard deviation.

        Parameters
        ----------
        values : Cells, array, series or list, shape (rows,)
            Missing ones are left out, and counted.
        task : {"auto", "classification", "regression"}, default "auto"
            auto: text, categories and booleans are classes, and so are whole numbers of which at
            most 20 differ; other numbers are regression.
        name : str, default "y"
            What it is called in messages.
        where : str, default ""
            How messages begin, such as "table.csv: ".
        numbers : ndarray of int, shape (rows,), optional
            How messages number the rows, if they are some of a table; default: from 1.

        Returns
        -------
        Target

        Raises
        ------
        ValueError
            There is only one class, or too many; text where numbers are asked for; an infinite
            number; or every value is missing.
        """
        if task not in ("auto", *TASKS):
            raise ValueError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")
        about = f"{where}target {name!r}"
        values = _column(values, about)
        cells = _cells(values, about, numbers)
        missing = cells.missing
        if len(cells) == 0 or missing.all():
            what = "every row is missing" if len(cells) else "there are no rows"
            raise ValueError(f"{about}: {what}; expected at least two different values")
        found, decimal, odd = _as_numbers(cells)
        if found is not None and cells.kind == "text" and odd.any() and task != "classification":
            missing = missing | odd  # "?" among numbers
        is_guess = False
        if task == "auto":
            task = "classification"
            if found is not None and not cells.is_category and cells.kind != "boolean":
                present = found[~missing]
                is_whole = bool((present == np.floor(present)).all())
                if cells.kind == "number" and not cells.is_whole:
                    is_whole = False
                few = is_whole and len(np.unique(present)) <= FEW
                is_guess = is_whole
                task = "classification" if few else "regression"
        count = int(missing.sum())
        if task == "regression":
            made = cls._of_numbers(about, name, cells, found, missing, decimal, numbers)
        else:
            made = cls._of_classes(about, name, cells, values, numbers)
        made.missing, made.is_guess = count, is_guess
        return made

    @classmethod
    def _of_numbers(
        cls,
        about: str,
        name: str,
        cells: Cells,
        found: np.ndarray | None,
        missing: np.ndarray,
        decimal: str,
        numbers: np.ndarray | None,
    ) -> Target:
        if found is None:
            row = int((~missing).argmax())
            text = cells.take(np.array([row])).as_text().texts[0]
            if cells.kind == "text":
                is_text = np.isnan(_parsed(cells, cells.decimal)) & ~missing
                row = int(is_text.argmax())
                text = cells.texts[cells.values[row]]
            raise ValueError(
                f"{about} holds text such as {shown(text)} (row {row_number(row, numbers):,}); "
                "regression expects numbers"
            )
        present = found[~missing]
        if np.isinf(present).any():
            row = row_number(int(np.isinf(found).argmax()), numbers)
            raise ValueError(f"{about}, row {row:,}: is infinite; expected finite numbers")
        low, high = float(present.min()), float(present.max())
        if low == high:
            raise ValueError(
                f"{about} is {number_as_text(low)} in every row; "
                "expected at least two different values"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(present.mean()), float(present.std())
        if not np.isfinite([mean, scale]).all():
            raise ValueError(f"{about} holds too large numbers (up to {high:g}); divide them first")
        largest = max(-low, high)  # the square of a tiny number would be 0
        scale = float((present / largest).std() * largest) or high - low
        return cls("regression", name, mean=mean, scale=scale, low=low, high=high, decimal=decimal)

    @classmethod
    def _of_classes(
        cls, about: str, name: str, cells: Cells, values: Any, numbers: np.ndarray | None
    ) -> Target:
        if cells.kind == "number" and np.isinf(cells.values).any():
            row = row_number(int(np.isinf(cells.values).argmax()), numbers)
            raise ValueError(f"{about}, row {row:,}: is infinite; expected classes")
        found = None if isinstance(values, Cells) else distinct_of(values, ~cells.missing)
        if found is not None:
            classes, codes = found
            counts = np.bincount(codes, minlength=len(classes))
        else:
            texts_of = cells.as_text()
            counts_of = dict(zip(texts_of.texts, texts_of.counts().tolist(), strict=True))
            counts_of = {text: count for text, count in counts_of.items() if count}
            classes = classes_of_cells(cells, list(counts_of))
            counts = np.array([counts_of[key] for key in keys_of(classes)], np.int64)
        if len(classes) < 2:
            (only,) = keys_of(classes)
            raise ValueError(
                f"{about} has only one class, {only!r}, in every row; "
                "expected at least two different values"
            )
        if len(classes) > MAX_CLASSES:
            raise ValueError(
                f"{about} has {len(classes):,} classes, the limit is {MAX_CLASSES:,}; numbers "
                "can be learned with task regression"
            )
        return cls("classification", name, classes=classes, counts=counts)

    def __repr__(self) -> str:
        what = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"<Target {self.name!r}: {self.task}{what}>"

    def present(self, values: Any) -> np.ndarray:
        """Return whether each value is there: the rows that can be trained on.

        Returns
        -------
        ndarray of bool, shape (rows,)
        """
        cells = _cells(values, f"target {self.name!r}")
        if self.classes is None and cells.kind == "text":
            return ~np.isnan(_parsed(cells, self.decimal))
        return ~cells.missing

    def encode(
        self, values: Any, *, where: str = "", numbers: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the network learns.

        Parameters
        ----------
        values : Cells, array, series or list, shape (rows,)
            Without missing ones: see `present`.
        where : str, default ""
            How messages begin.
        numbers : ndarray of int, shape (rows,), optional
            How messages number the rows, if they are some of a table; default: from 1.

        Returns
        -------
        ndarray, shape (rows,)
            int64 numbers of classes, or float32 standardised numbers.

        Raises
        ------
        ValueError
            A value is missing, a class is unknown, or text stands for a number; names the row.
        """
        about = f"{where}target {self.name!r}"
        values = _column(values, about)
        cells = _cells(values, about, numbers)
        if self.classes is None:
            found = self._numbers(cells)
            bad = ~np.isfinite(found)
            if bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    f"{about}, row {row_number(row, numbers):,}: expected a finite number, "
                    f"got {_cell(cells, row)}"
                )
            return ((found - self.mean) / self.scale).astype(np.float32)
        codes = self._codes(values, cells)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"{about}, row {row_number(row, numbers):,}: {_cell(cells, row)} is no class that "
                f"the model knows: {listed(self.classes)}"
            )
        return codes

    def numbers(self, values: Any) -> np.ndarray:
        """Return values in the target's unit as float64, NaN where missing."""
        return self._numbers(_cells(values, f"target {self.name!r}"))

    def _numbers(self, cells: Cells) -> np.ndarray:
        return _parsed(cells, self.decimal) if cells.kind == "text" else cells.values

    def _codes(self, values: Any, cells: Cells) -> np.ndarray:
        """Return the numbers of classes, -1 for what is none: equal ones, or else equal texts."""
        assert self.classes is not None
        codes = np.full(len(cells), -1, np.int64)
        present = ~cells.missing
        found = None if isinstance(values, Cells) else distinct_of(values, present)
        if found is not None:
            distinct, place = found
            codes[present] = equal(self.classes, distinct)[place]
        rows = np.flatnonzero(present & (codes < 0))
        if len(rows):
            text = cells.take(rows).as_text()
            of_text = np.array([*map(self._place, text.texts), -1], np.int64)
            codes[rows] = of_text[text.values]
        return codes

    def _place(self, text: str) -> int:
        place = self._places.get(text, -1)
        if place < 0 and self.classes is not None and self.classes.dtype.kind in "iuf":
            try:
                return self._places.get(number_as_text(float(text)), -1)
            except ValueError:
                pass
        if place < 0 and self.classes is not None and self.classes.dtype.kind == "M":
            try:  # a file may leave out the time of day
                moment = naive(datetime.datetime.fromisoformat(text))
            except ValueError:
                return -1
            return self._places.get(moment.isoformat(" "), -1)
        return place

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return predictions for the outputs of the network.

        Parameters
        ----------
        outputs : ndarray, shape (rows, classes), or (rows, 1) or (rows,) for numbers

        Returns
        -------
        ndarray, shape (rows,)
            Classes as they came, or float64 numbers in the target's unit.
        """
        outputs = np.asarray(outputs)
        if self.classes is not None:
            return self.classes[outputs.argmax(axis=1)]
        return outputs.reshape(len(outputs)).astype(np.float64) * self.scale + self.mean

    # --- in a file ---

    def to_file(self) -> dict[str, Any]:
        """Return it as JSON, for `from_file`."""
        entry: dict[str, Any] = {
            key: getattr(self, key)
            for key in ("task", "name", "mean", "scale", "missing", "is_guess", "decimal")
        }
        entry |= {"low": None, "high": None, "classes": None, "dtype": None, "counts": None}
        if self.classes is None:
            return entry | {"low": self.low, "high": self.high}
        counts = None if self.counts is None else self.counts.tolist()
        classes = self.classes
        if classes.dtype.kind in "Mm":
            classes = classes.astype(np.int64)
        plain = [one.item() if isinstance(one, np.generic) else one for one in classes.tolist()]
        dtype = {"T": "T", "O": "O"}.get(self.classes.dtype.kind, self.classes.dtype.str)
        return entry | {"classes": plain, "dtype": dtype, "counts": counts}

    @classmethod
    def from_file(cls, entry: Any) -> Target:
        """Return the target that `to_file` described.

        Raises
        ------
        ValueError
            The description is damaged.
        """
        try:
            own = dict(entry)
            dtype, classes, counts = own.pop("dtype"), own.pop("classes"), own.pop("counts")
            nan = float("nan")
            own |= {key: nan if own[key] is None else own[key] for key in ("low", "high")}
            if classes is not None:
                made_of = np.empty(len(classes), object)
                made_of[:] = classes
                types = (str, bool, int, float)
                if not all(isinstance(one, types) for one in classes) or dtype[-2:] == "O8":
                    raise ValueError("classes")
                own["classes"] = of_dtype(made_of, dtype)
                if counts is not None:
                    told = [whole_number("counts", count) for count in counts]
                    own["counts"] = np.array(told, np.int64)
                    if len(told) != len(classes):
                        raise ValueError("counts")
            own["missing"] = whole_number("missing", own["missing"])
            made = cls(**own)
            numbers = [made.mean, made.scale, made.low, made.high]
            is_sound = (
                made.task in TASKS
                and (made.task == "classification") == (made.classes is not None)
                and isinstance(made.name, str)
                and len(made.name) <= LONGEST_NAME
                and made.decimal in (".", ",")
                and isinstance(made.is_guess, bool)
                and all(isinstance(one, (int, float)) for one in numbers)
                and bool(np.isfinite(numbers[:2]).all())
                and made.scale > 0
                and (made.classes is None or are_different(made.classes))
            )
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"the description of the target is damaged ({error})") from None
        if not is_sound:
            raise ValueError("the description of the target is damaged")
        return made


def _column(values: Any, about: str) -> Any:
    """Return what was given as one column."""
    if isinstance(values, Cells):
        return values
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        return values.iloc[:, 0] if hasattr(values, "iloc") else np.asanyarray(values)[:, 0]
    if shape is not None and len(shape) != 1:
        raise ValueError(f"{about}: expected shape (rows,), got {tuple(shape)}")
    return values


def _cells(values: Any, about: str, numbers: np.ndarray | None = None) -> Cells:
    try:
        return cells_of(_column(values, about))
    except WrongCell as error:
        row = row_number(error.row, numbers)
        raise ValueError(f"{about}, row {row:,}: {error.what}") from None


def _cell(cells: Cells, row: int) -> str:
    if cells.missing[row]:
        return "a missing one"
    found = cells.as_text()
    return shown(found.texts[found.values[row]])


def _as_numbers(cells: Cells) -> tuple[np.ndarray | None, str, np.ndarray]:
    """Return numbers, how their text is read, and where a text stands for a missing one."""
    nothing = np.zeros(len(cells), bool)
    if cells.kind in ("number", "boolean", "duration"):
        return cells.values, ".", nothing
    if cells.kind == "text" and not cells.is_category and not texts.are_codes(cells.texts):
        found = texts.read_numbers(cells.texts, cells.counts(), cells.decimal)
        if found is not None:
            numbers = np.append(found.values, np.nan)[cells.values]
            return numbers, found.decimal, np.isnan(numbers)
    return None, ".", nothing


def _parsed(cells: Cells, decimal: str) -> np.ndarray:
    """Return the numbers in a text, NaN for what is none."""
    found = np.full(len(cells.texts) + 1, np.nan)
    for i, text in enumerate(cells.texts):
        with suppress(ValueError):
            found[i] = texts.number_in(text, decimal)
    return found[cells.values]
