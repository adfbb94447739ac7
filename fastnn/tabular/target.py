"""What is to be predicted: classes or numbers, to what a network learns and back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from fastnn.tabular import texts
from fastnn.tabular.cells import Cells, WrongCell, number_as_text
from fastnn.tabular.columns import listed, row_number, shown
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
        In order, and of the dtype that the values had: the network's class 0, 1, and so on.
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
        keys = [] if classes is None else _keys(classes)
        self._places = {key: i for i, key in enumerate(keys)}

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
            if found is not None and not cells.is_category:
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
        # The square of a tiny deviation may be 0.
        return cls(
            "regression", name, mean=mean, scale=scale or 1.0, low=low, high=high, decimal=decimal
        )

    @classmethod
    def _of_classes(
        cls, about: str, name: str, cells: Cells, values: Any, numbers: np.ndarray | None
    ) -> Target:
        texts_of = cells.as_text()
        counts_of = dict(zip(texts_of.texts, texts_of.counts().tolist(), strict=True))
        counts_of = {text: count for text, count in counts_of.items() if count}
        if cells.kind == "number" and np.isinf(cells.values).any():
            row = row_number(int(np.isinf(cells.values).argmax()), numbers)
            raise ValueError(f"{about}, row {row:,}: is infinite; expected classes")
        if len(counts_of) < 2:
            (only,) = counts_of
            raise ValueError(
                f"{about} has only one class, {only!r}, in every row; "
                "expected at least two different values"
            )
        if len(counts_of) > MAX_CLASSES:
            raise ValueError(
                f"{about} has {len(counts_of):,} classes, the limit is {MAX_CLASSES:,}; numbers "
                "can be learned with task regression"
            )
        classes = _classes(cells, list(counts_of), getattr(values, "dtype", None))
        counts = np.array([counts_of[key] for key in _keys(classes)], np.int64)
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
        cells = cells.as_text()
        codes = np.array([*(self._place(text) for text in cells.texts), -1], np.int64)[cells.values]
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

    def _place(self, text: str) -> int:
        place = self._places.get(text, -1)
        if place < 0 and self.classes is not None and self.classes.dtype.kind in "iuf":
            try:
                return self._places.get(number_as_text(float(text)), -1)
            except ValueError:
                pass
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
        dtype = self.classes.dtype.str if self.classes.dtype.kind != "T" else "O"
        return entry | {
            "classes": self.classes.tolist(),
            "dtype": dtype.replace("|O", "O"),
            "counts": counts,
        }

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
                own["classes"] = made_of if dtype == "O" else made_of.astype(np.dtype(dtype))
                own["counts"] = None if counts is None else np.array(counts, np.int64)
            made = cls(**own)
            numbers = [made.mean, made.scale, made.low, made.high]
            is_sound = (
                made.task in TASKS
                and (made.task == "classification") == (made.classes is not None)
                and isinstance(made.name, str)
                and made.decimal in (".", ",")
                and all(isinstance(one, (int, float)) for one in numbers)
                and bool(np.isfinite(numbers[:2]).all())
                and made.scale > 0
                and (made.classes is None or len(set(_keys(made.classes))) == len(made.classes) > 1)
            )
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"the description of the target is damaged ({error})") from None
        if not is_sound:
            raise ValueError("the description of the target is damaged")
        return made


def _cells(values: Any, about: str, numbers: np.ndarray | None = None) -> Cells:
    if isinstance(values, Cells):
        return values
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        values = values.iloc[:, 0] if hasattr(values, "iloc") else np.asarray(values)[:, 0]
    elif shape is not None and len(shape) != 1:
        raise ValueError(f"{about}: expected shape (rows,), got {tuple(shape)}")
    try:
        return cells_of(values)
    except WrongCell as error:
        row = row_number(error.row, numbers)
        raise ValueError(f"{about}, row {row:,}: {error.what}") from None


def _cell(cells: Cells, row: int) -> str:
    if cells.missing[row]:
        return "a missing one"
    found = cells.as_text()
    return shown(found.texts[found.values[row]])


def _keys(classes: np.ndarray) -> list[str]:
    cells = cells_of(np.asarray(classes)).as_text()
    return [cells.texts[i] for i in cells.values]


def _as_numbers(cells: Cells) -> tuple[np.ndarray | None, str, np.ndarray]:
    """Return numbers, how their text is read, and where a text stands for a missing one."""
    nothing = np.zeros(len(cells), bool)
    if cells.kind in ("number", "duration"):
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


def _classes(cells: Cells, found: list[str], dtype: Any) -> np.ndarray:
    """Return the classes in order, in the dtype that the values had."""
    if cells.kind == "number":
        numbers = np.sort(np.array([float(text) for text in found]))
        if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
            return numbers.astype(dtype)
        return numbers.astype(np.int64) if cells.is_whole else numbers
    if cells.kind == "boolean":
        return np.array([False, True])
    whole = [text for text in found if text.lstrip("-").isdecimal() and str(int(text)) == text]
    if len(whole) == len(found):
        if not _is_text(dtype) and not cells.is_category:  # a text file: 1 is a number there
            return np.array(sorted(map(int, found)), np.int64)
        found = sorted(found, key=int)
    else:
        found = sorted(found)
    if isinstance(dtype, np.dtype) and dtype.kind == "U":
        return np.array(found)
    made = np.empty(len(found), object)
    made[:] = found
    return made


def _is_text(dtype: Any) -> bool:
    """Whether the values came with a dtype of their own, which says that these are text."""
    return dtype is not None
