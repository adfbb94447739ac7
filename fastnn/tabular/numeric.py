"""Columns that become numbers: numbers, also written as text, and durations."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn.tabular import scaling, texts
from fastnn.tabular.cells import (
    SPANS,
    Cells,
    WrongCell,
    as_float,
    each,
    is_missing,
    is_number,
    seconds_of,
)
from fastnn.tabular.columns import Column, Put, check_finite, common, short, shown

_LARGE = 1e308
_ABSENT = " is missing"


class Numeric(Column):
    """The base of the kinds that become numbers: some parts, each scaled, and "is missing".

    A missing cell gets the median of each part. That it was missing is an input of its own if
    cells were missing in training. Where the middle half of the cells is a single number, such as
    the 0 of gains that few people have, the numbers that occur often are codes as well: a scale
    that such a column can have brings the others too close together.

    Parameters
    ----------
    name, reason, missing
        See `Column`.
    parts : dict of str to Scale
        What of it is an input; a part that is constant is none.
    fill : list of float
        What a missing cell counts as, scaled, for each part.
    flag : tuple of float, optional
        What "is missing" is, scaled, where a cell is there and where it is not.
    low, high : float
        The range in training; NaN where there is none.
    levels : ndarray of float64, optional
        Numbers that have a code of their own, ascending: 2 and so on; 0 is any other number, and 1
        a missing one.
    """

    has_levels: ClassVar[bool] = False
    _is_new = False  # its cells are read for the first time, so errors say nothing of training

    def __init__(
        self,
        name: str,
        reason: str,
        missing: int,
        *,
        parts: dict[str, scaling.Scale],
        fill: Sequence[float],
        flag: tuple[float, float] | None,
        low: float,
        high: float,
        levels: np.ndarray | None = None,
        **own: Any,
    ) -> None:
        super().__init__(name, reason, missing)
        self.levels = levels
        self._codes: dict[float, float] = {}
        if levels is not None:
            self._codes = {level: float(i + 2) for i, level in enumerate(levels.tolist())}
        self.parts = parts
        self.fill = list(fill)
        self.flag = flag
        self.low = low
        self.high = high
        for key, value in own.items():
            setattr(self, key, value)

    @classmethod
    def fit(
        cls, name: str, reason: str, cells: Cells, *, numbers: str = "robust", **own: Any
    ) -> Numeric:
        """Measure the cells.

        Parameters
        ----------
        name, reason : str
        cells : Cells
        numbers : {"robust", "quantile", "standard"}, default "robust"
        **own
            What the kind needs to read the cells.

        Raises
        ------
        WrongCell
            A cell is infinite, or not of this kind.
        """
        reader = cls(
            name, reason, 0, parts={}, fill=(), flag=None, low=math.nan, high=math.nan, **own
        )
        reader._is_new = True
        values = reader.read(cells)
        absent = np.isnan(values)
        present = values[~absent]
        missing = int(absent.sum())
        found: dict[str, scaling.Scale] = {}
        fill = []
        if len(present):
            for part, numbers_of in reader.parts_of(present).items():
                if numbers_of.min() < numbers_of.max():
                    found[part] = scaling.fitted(numbers_of, numbers)
                    median = np.median(numbers_of)
                    fill.append(float(found[part].apply(np.array([median]))[0]))
        flag = None
        if 0 < missing < len(values):
            off, _, on = scaling.of_bits(np.array([len(present)]), np.array([missing]))
            flag = (float(off[0]), float(on[0]))
        levels = levels_of(present) if cls.has_levels and found else None
        low, high = (present.min(), present.max()) if len(present) else (math.nan, math.nan)
        return cls(
            name,
            reason,
            missing,
            parts=found,
            fill=fill,
            flag=flag,
            low=float(low),
            high=float(high),
            levels=levels,
            **own,
        )

    @property
    def number_names(self) -> list[str]:
        """Names of its parts."""
        return [f"{self.name}{' ' * bool(part)}{part}" for part in self.parts]

    @property
    def flag_names(self) -> list[str]:
        """The name of "is missing", if that is an input."""
        return [] if self.flag is None else [self.name + _ABSENT]

    @property
    def cardinality(self) -> int:
        """How many codes it has."""
        return 0 if self.levels is None else len(self.levels) + 2

    @property
    def label(self) -> str:
        """What it is."""
        return self.kind if self.levels is None else f"{self.kind}, also codes"

    # The type of a single cell that needs no reading: the fast way to predict for one row.
    plain: ClassVar[type | None] = float

    def read(self, cells: Cells) -> np.ndarray:
        """Return the cells as float64 numbers, NaN where missing."""
        if cells.objects is None:
            # A column without a cell has the kind that its source gives to such: any will do.
            empty = cells.kind != "text" and cells.missing.all()
            return np.full(len(cells), np.nan) if empty else self.read_all(cells)
        return np.array(each(cells.objects, self.read_one), np.float64)

    def read_all(self, cells: Cells) -> np.ndarray:
        """Return cells that are all of one kind as such numbers."""
        raise NotImplementedError

    def read_one(self, cell: Any) -> float:
        """Return one cell as such a number."""
        raise NotImplementedError

    def parts_of(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return what can be an input, from numbers without a missing one."""
        return {"": values}

    def parts_of_one(self) -> list[Callable[[float], float]]:
        """Return the functions that give each input from one number, scaled."""
        return [scale.one() for scale in self.parts.values()]

    def encode(
        self, cells: Cells, numbers: np.ndarray, flags: np.ndarray, code: np.ndarray | None
    ) -> None:
        """Write the inputs for some cells."""
        values = self.read(cells)
        absent = np.isnan(values)
        has_absent = bool(absent.any())
        if self.levels is not None:
            assert code is not None
            at = np.minimum(np.searchsorted(self.levels, values), len(self.levels) - 1)
            code[...] = np.where(self.levels[at] == values, at + 2, absent)
        if has_absent:
            values = np.where(absent, 0.0, values)
        found = self.parts_of(values) if self.parts else {}
        for i, (part, scale) in enumerate(self.parts.items()):
            numbers[:, i] = scale.apply(found[part])
            if has_absent:
                numbers[absent, i] = self.fill[i]
        if self.flag is not None:
            flags[:, 0] = np.where(absent, self.flag[1], self.flag[0])

    def one(self, number: int, flag: int, code: int) -> Put:
        """Return the function that writes the inputs for one cell."""
        put = self._one(number, flag)
        if self.levels is None:
            return put
        read, codes = self.read_one, self._codes

        def put_with_code(out: Any, cell: Any) -> None:
            put(out, cell)
            value = read(cell)
            out[code] = codes.get(value, 0.0) if value == value else 1.0

        return put_with_code

    def _one(self, number: int, flag: int) -> Put:
        """Return the function that writes the numbers and the flag for one cell."""
        read, functions, fill = self.read_one, self.parts_of_one(), self.fill
        plain = self.plain
        off, on = self.flag or (0.0, 0.0)
        has_flag = self.flag is not None
        if len(functions) == 1:
            (scale,), (median,) = functions, fill

            def put(out: Any, cell: Any) -> None:
                value: Any = cell if type(cell) is plain else read(cell)
                if not -_LARGE < value < _LARGE:
                    value = read(cell)  # which says if it is missing or infinite
                if value == value:
                    out[number] = scale(value)
                    if has_flag:
                        out[flag] = off
                else:
                    out[number] = median
                    if has_flag:
                        out[flag] = on

            return put
        places = range(number, number + len(functions))

        def put_parts(out: Any, cell: Any) -> None:
            value = read(cell)
            is_there = value == value
            for at, function, median in zip(places, functions, fill, strict=True):
                out[at] = function(value) if is_there else median
            if has_flag:
                out[flag] = off if is_there else on

        return put_parts

    own: ClassVar[tuple[str, ...]] = ()

    def to_file(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Return what it holds."""
        entry = self._entry(
            parts={part: scale.kind for part, scale in self.parts.items()},
            has_flag=self.flag is not None,
            has_levels=self.levels is not None,
            **{key: getattr(self, key) for key in self.own},
        )
        flag = self.flag or (0.0, 0.0)
        facts = np.array([*flag, self.low, self.high, *self.fill], np.float64)
        levels = [] if self.levels is None else [self.levels]
        return entry, [facts, *(scale.arrays() for scale in self.parts.values()), *levels]

    @classmethod
    def from_file(cls, entry: dict[str, Any], arrays: Sequence[np.ndarray]) -> Numeric:
        """Return what `to_file` described."""
        facts, *scales = arrays
        levels = scales.pop() if entry["has_levels"] else None
        if levels is not None and not (
            cls.has_levels and levels.ndim == 1 and len(levels) and (np.diff(levels) > 0).all()
        ):
            raise ValueError(f"column {entry['name']!r} is damaged")
        parts = {
            part: scaling.KINDS[kind].from_array(array)
            for (part, kind), array in zip(entry["parts"].items(), scales, strict=True)
        }
        if len(facts) != 4 + len(parts) or not np.isfinite(np.delete(facts, [2, 3])).all():
            raise ValueError(f"column {entry['name']!r} is damaged")
        off, on, low, high, *fill = facts.tolist()
        made = cls(
            *common(entry),
            parts=parts,
            fill=fill,
            flag=(off, on) if entry["has_flag"] else None,
            low=low,
            high=high,
            levels=levels,
            **{key: entry[key] for key in cls.own},
        )
        made.check()
        return made

    def check(self) -> None:
        """Raise ValueError for a description that is damaged."""
        if list(self.parts) not in ([], [""]):
            raise ValueError(f"column {self.name!r} is damaged")


class Number(Numeric):
    """Numbers, also those that are written as text.

    Parameters
    ----------
    decimal : {".", ","}
        How a text is read that could be read both ways.
    words : list of str
        Texts besides "NA" and the like that counted as missing in training.
    """

    kind = "number"
    has_levels: ClassVar[bool] = True
    own = ("decimal", "words")
    decimal: str = "."
    words: Sequence[str] = ()

    @property
    def values(self) -> str:
        """The range."""
        return "" if math.isnan(self.low) else f"{short(self.low)} to {short(self.high)}"

    def read_all(self, cells: Cells) -> np.ndarray:
        """Return the cells as numbers."""
        if cells.kind in ("number", "boolean"):
            check_finite(cells.values, cells)
            return cells.values
        if cells.kind == "text":
            found = np.full(len(cells.texts) + 1, np.nan)
            try:
                found[:-1] = [self._number(text) for text in cells.texts]
            except ValueError:
                self._refuse(cells)
            check_finite(found[:-1], cells)
            return found[cells.values]
        raise WrongCell(first_present(cells), f"holds a {cells.kind}; expected numbers")

    def _number(self, text: str) -> float:
        return math.nan if text in self.words else texts.number_in(text, self.decimal)

    def _refuse(self, cells: Cells) -> None:
        """Raise the error for the first cell that is no number."""
        is_wrong = np.zeros(len(cells.texts), bool)
        for i, text in enumerate(cells.texts):
            try:
                self._number(text)
            except ValueError:
                is_wrong[i] = True
        row = cells.first(is_wrong)
        text = cells.texts[cells.values[row]]
        raise WrongCell(row, self._refusal(text))

    def _refusal(self, text: str) -> str:
        what = "expected numbers, as told" if self._is_new else "it held numbers in training"
        return f"holds the text {shown(text)}; {what}"

    def read_one(self, cell: Any) -> float:
        """Return one cell as a number."""
        if isinstance(cell, str):
            try:
                value = self._number(cell.strip() or "NA")
            except ValueError:
                raise WrongCell(-1, self._refusal(cell)) from None
        elif is_missing(cell):
            return math.nan
        elif is_number(type(cell)) or isinstance(cell, (bool, np.bool_)):
            value = as_float(cell)
        else:
            raise WrongCell(-1, f"holds {type(cell).__name__}; expected a number")
        if math.isinf(value):
            raise WrongCell(-1, "is infinite; expected finite numbers")
        return value

    def check(self) -> None:
        """Raise ValueError for a description that is damaged."""
        super().check()
        if self.decimal not in (".", ",") or not all(isinstance(one, str) for one in self.words):
            raise ValueError(f"column {self.name!r} is damaged")


class Duration(Numeric):
    """Durations and times of day, in seconds."""

    kind = "duration"

    @property
    def values(self) -> str:
        """The range."""
        if math.isnan(self.low):
            return ""
        try:
            low, high = (datetime.timedelta(seconds=one) for one in (self.low, self.high))
        except OverflowError:
            return f"{short(self.low)} to {short(self.high)} seconds"
        return f"{low} to {high}"

    def read_all(self, cells: Cells) -> np.ndarray:
        """Return the cells as seconds."""
        if cells.kind in ("duration", "number"):
            check_finite(cells.values, cells)
            return cells.values
        if cells.kind != "text":
            raise WrongCell(first_present(cells), f"holds a {cells.kind}; expected durations")
        found = np.full(len(cells.texts) + 1, np.nan)
        for i, text in enumerate(cells.texts):
            try:
                found[i] = texts.duration_in(text)
            except ValueError:
                row = int((cells.values == i).argmax())
                raise WrongCell(row, f"holds {shown(text)}; expected durations") from None
        return found[cells.values]

    def read_one(self, cell: Any) -> float:
        """Return one cell in seconds."""
        if is_missing(cell):
            return math.nan
        if isinstance(cell, SPANS):
            return seconds_of(cell)
        if isinstance(cell, str):
            try:
                return texts.duration_in(cell)
            except ValueError:
                raise WrongCell(-1, f"holds {shown(cell)}; expected a duration") from None
        if is_number(type(cell)):
            value = as_float(cell)
            if math.isinf(value):
                raise WrongCell(-1, "is infinite; expected finite numbers")
            return value
        raise WrongCell(-1, f"holds {type(cell).__name__}; expected a duration")


FEWEST_OF_A_LEVEL = 10  # rows
MOST_LEVELS = 500


def levels_of(values: np.ndarray) -> np.ndarray | None:
    """Return the numbers that get codes of their own, ascending; None if there is no need.

    Parameters
    ----------
    values : ndarray of float64
        Without missing ones.

    Examples
    --------
    >>> import numpy as np
    >>> levels_of(np.repeat([0.0, 5.0, 7.0, 8.0], [90, 12, 10, 3])).tolist()
    [0.0, 5.0, 7.0]
    >>> levels_of(np.arange(100.0)) is None
    True
    """
    low, high = np.quantile(values, [0.25, 0.75], method="nearest")
    if low != high:
        return None
    found, counts = np.unique(values, return_counts=True)
    is_often = counts >= FEWEST_OF_A_LEVEL
    if is_often.sum() > MOST_LEVELS:
        is_often &= counts >= np.sort(counts)[-MOST_LEVELS]
    levels = found[is_often]
    return levels[:MOST_LEVELS] if len(levels) >= 3 else None


def first_present(cells: Cells) -> int:
    """Return the row of the first cell that is there."""
    return int((~cells.missing).argmax())
