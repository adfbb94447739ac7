"""The cells of one column in one of five forms, whatever they came as.

    number     float64, NaN where missing        ints, floats, Decimal, nullable dtypes
    boolean    float64 of 0 and 1, NaN           bool, nullable ones
    text       int64 codes into `texts`, -1      str, categories, mixed objects, text files
    date       datetime64[us], NaT               datetime64, date, datetime, by their own clock
    duration   float64 seconds, NaN              timedelta64, timedelta, time

Text is kept as codes, so that whatever is found out about a text (is it a number? which category?)
is found out once for each that differs. Text is taken without the spaces around it, and an empty
one is missing: so a file and a frame give the same cells.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

KINDS = ("number", "boolean", "text", "date", "duration")
_MICROSECONDS = np.dtype("datetime64[us]")
# Microseconds from 1970 to the years 1 and 9999.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_000_000
TOO_FAR = "is not within the years 1 to 9999"
_DAYS = 999_999_999  # what a timedelta of Python holds
_TOO_LONG = f"is a duration of more than {_DAYS:,} days"
_SECONDS = {
    "Y": 31_556_952.0, "M": 2_629_746.0, "W": 604_800.0, "D": 86_400.0, "h": 3600.0, "m": 60.0,
    "s": 1.0, "ms": 1e-3, "us": 1e-6, "generic": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15,
    "as": 1e-18,
}  # fmt: skip


class WrongCell(ValueError):
    """A cell that cannot be used.

    Parameters
    ----------
    row : int
        Its position, from 0; -1 where it stands in no row.
    what : str
        What is wrong, to be read after the name of the column.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row
        self.what = what


@dataclass(frozen=True, repr=False)
class Cells:
    """The cells of a column.

    Attributes
    ----------
    kind : {"number", "boolean", "text", "date", "duration"}
    values : ndarray, shape (rows,)
        See the top of this module.
    texts : list of str
        What the codes of a text stand for, each once.
    is_whole : bool
        The source says that the numbers are integers.
    is_category : bool
        The source says that these are categories.
    decimal : {".", ","}
        What stands before the decimals where a text could be read both ways.
    objects : ndarray of object, optional
        The cells as they came, None where missing, if they are of several kinds; `kind` is then
        "text". What a column takes is decided for each of them, as it is for a single row.
    """

    kind: str
    values: np.ndarray
    texts: Sequence[str] = ()
    is_whole: bool = False
    is_category: bool = False
    decimal: str = "."
    objects: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Cells of kind {self.kind!r}: {len(self)} rows>"

    @property
    def missing(self) -> np.ndarray:
        """Whether each cell is missing."""
        if self.kind == "text":
            return self.values < 0
        return np.isnat(self.values) if self.kind == "date" else np.isnan(self.values)

    def take(self, rows: np.ndarray) -> Cells:
        """Return the cells of some rows, given by their numbers."""
        values = self.values[rows]
        if self.kind != "text":
            return replace(self, values=values)
        objects = None if self.objects is None else self.objects[rows]
        used = np.bincount(values[values >= 0], minlength=len(self.texts)) > 0
        if used.all():
            return replace(self, values=values, objects=objects)
        place = np.append(np.cumsum(used) - 1, -1)  # -1, a missing cell, finds the last
        kept = [text for text, is_used in zip(self.texts, used, strict=True) if is_used]
        return replace(self, values=place[values], texts=kept, objects=objects)

    def as_text(self) -> Cells:
        """Return the cells as text: 1 and 1.0 are "1"."""
        if self.kind == "text":
            return self
        values = self.values.astype(np.int64) if self.kind == "date" else self.values
        distinct, codes = np.unique(values, return_inverse=True)
        if self.kind == "date":
            distinct = distinct.view(_MICROSECONDS)
        name = _TEXT_OF[self.kind]
        missing = self.missing
        texts = [name(one) for one in distinct.tolist() if one is not None and one == one]
        codes = np.where(missing, -1, codes.reshape(-1) - (self.kind == "date" and missing.any()))
        return Cells("text", codes, texts, is_category=self.is_category)

    def first(self, is_wanted: np.ndarray) -> int:
        """Return the row of the first cell for which an array of the texts, or rows, is True."""
        if self.kind == "text":
            is_wanted = np.append(is_wanted, False)[self.values]
        return int(is_wanted.argmax())

    def counts(self) -> np.ndarray:
        """Return how many rows hold each of the texts."""
        return np.bincount(self.values[self.values >= 0], minlength=len(self.texts))


def number_as_text(value: float) -> str:
    """Return a number as a category is called: without ".0" where it is whole."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def _date_as_text(value: datetime.datetime) -> str:
    return value.isoformat(" ") if isinstance(value, datetime.datetime) else str(value)


_TEXT_OF = {
    "number": number_as_text,
    "boolean": lambda value: str(bool(value)),
    "date": _date_as_text,
    "duration": number_as_text,
}


# --- single cells -----------------------------------------------------------------------------


def is_missing(cell: object) -> bool:
    """Whether a Python object stands for a missing cell: None, NaN, NaT, NA, empty text."""
    if cell is None or type(cell).__name__ in _MISSING_TYPES:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    if isinstance(cell, Decimal):  # a signaling NaN cannot be compared
        return cell.is_nan()
    return bool(cell != cell) if isinstance(cell, (float, np.generic)) else False


_MISSING_TYPES = ("NAType", "NaTType", "MaskedConstant")


def unmasked(array: np.ma.MaskedArray) -> np.ndarray:
    """Return the objects of a masked array, None where they are masked."""
    # Not with `filled`, to which None means a value of NumPy's choice.
    objects = np.ma.getdata(array).astype(object)
    objects[np.ma.getmaskarray(array)] = None
    return objects


def is_number(kind: type) -> bool:
    """Whether objects of a type are numbers; booleans and durations are not."""
    return issubclass(kind, _NUMBERS) and not issubclass(kind, (bool, np.timedelta64))


_NUMBERS = (int, float, Decimal, Fraction, np.integer, np.floating)


def naive(moment: datetime.date) -> datetime.datetime:
    """Return a date or time of day on its own clock, without a zone."""
    if not isinstance(moment, datetime.datetime):
        return datetime.datetime(moment.year, moment.month, moment.day)
    return moment.replace(tzinfo=None)


def seconds_of(span: datetime.timedelta | datetime.time | np.timedelta64) -> float:
    """Return a duration, or a time of day since midnight, in seconds."""
    if isinstance(span, np.timedelta64):
        held = span.item()  # an int where Python has no such duration
        if isinstance(held, datetime.timedelta):
            return _microseconds(held) / 1e6
        if np.datetime_data(span.dtype) == ("ns", 1):
            return int(span.astype("timedelta64[us]").astype(np.int64)) / 1e6
        return float(_of_durations(np.array([span])).values[0])
    if isinstance(span, datetime.time):
        return span.hour * 3600 + span.minute * 60 + span.second + span.microsecond / 1e6
    return _microseconds(span) / 1e6


def _microseconds(span: datetime.timedelta) -> int:
    return (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds


# --- columns ----------------------------------------------------------------------------------


def of_texts(texts: Iterable[str | None], *, decimal: str = ".") -> Cells:
    """Return text as cells.

    Parameters
    ----------
    texts : iterable of str or None
    decimal : {".", ","}, default "."

    Examples
    --------
    >>> made = of_texts(["a", " a", None, "b", ""])
    >>> made.values.tolist(), made.texts
    ([0, 0, -1, 1, -1], ['a', 'b'])
    """
    texts = list(texts)
    distinct = list(dict.fromkeys(texts))
    place = dict(zip(distinct, range(len(distinct)), strict=True))
    codes = np.fromiter(map(place.__getitem__, texts), np.int64, len(texts))
    return of_codes(codes, distinct, decimal=decimal)


def of_codes(
    codes: np.ndarray, texts: Sequence[str | None], *, decimal: str = ".", is_category: bool = False
) -> Cells:
    """Return codes into texts, which may repeat or be missing, as cells."""
    stripped = [None if text is None else text.strip() or None for text in texts]
    distinct = list(dict.fromkeys(text for text in stripped if text is not None))
    codes = np.asarray(codes, np.int64)
    if len(distinct) < len(texts):
        places: dict[str | None, int] = {text: i for i, text in enumerate(distinct)}
        places[None] = -1
        codes = np.array([*map(places.__getitem__, stripped), -1], np.int64)[codes]
    return Cells("text", codes, distinct, decimal=decimal, is_category=is_category)


def of_array(array: np.ndarray) -> Cells:
    """Return a one-dimensional array as cells.

    Raises
    ------
    WrongCell
        A cell holds something else than numbers, text, dates or durations.
    """
    kind = array.dtype.kind
    if kind == "b":
        return Cells("boolean", array.astype(np.float64))
    if kind in "iuf":
        return Cells("number", array.astype(np.float64), is_whole=kind in "iu")
    if kind == "U":
        return of_texts(array.tolist())
    if kind == "M":
        return Cells("date", microseconds(array))
    if kind == "m":
        return _of_durations(array)
    if kind in "OT":  # what stands for missing text may be any object
        return of_objects(array.tolist())
    raise WrongCell(0, f"holds {array.dtype}; {_EXPECTED}")


_EXPECTED = "expected numbers, text, booleans, dates or durations; convert it or leave it out"


def of_masked(array: np.ma.MaskedArray) -> Cells:
    """Return a one-dimensional masked array as cells; what is masked is missing.

    Raises
    ------
    WrongCell
        A cell that is not masked holds something else than `of_array` takes.
    """
    mask, data = np.ma.getmaskarray(array), np.ma.getdata(array)
    if data.dtype.kind in "biu":
        made = of_array(data)
        return replace(made, values=np.where(mask, np.nan, made.values))
    if data.dtype.kind in "fMm":
        data = data.copy()
        data[mask] = np.nan if data.dtype.kind == "f" else "NaT"
    elif data.dtype.kind in "UTO":
        data = data.astype(object)
        data[mask] = None
    return of_array(data)


def microseconds(array: np.ndarray) -> np.ndarray:
    """Return dates of any unit in microseconds.

    Raises
    ------
    WrongCell
        A year has more than four digits: NumPy's conversion wraps round at such.
    """
    is_far = np.abs(_seconds(array)) > 1e12  # nothing else wraps round
    made = np.where(is_far, _missing(array), array).astype(_MICROSECONDS)
    since = made.astype(np.int64)
    is_far |= ((since < FIRST) | (since > LAST + 999_999)) & ~np.isnat(made)
    if is_far.any():
        raise WrongCell(int(is_far.argmax()), TOO_FAR)
    return made


def _seconds(array: np.ndarray) -> np.ndarray:
    """Return about how many seconds dates, from 1970, or durations are; 0 where missing."""
    unit, count = np.datetime_data(array.dtype)
    return np.where(np.isnat(array), 0.0, array.astype(np.int64) * (count * _SECONDS[unit]))


def _missing(array: np.ndarray) -> np.ndarray:
    """Return NaT in the unit of an array: NumPy 2.5 warns of one that has none."""
    return np.full((), "NaT", array.dtype)


def _of_durations(array: np.ndarray) -> Cells:
    about = _seconds(array)
    if (np.abs(about) > _DAYS * 86_400.0).any():
        raise WrongCell(int((np.abs(about) > _DAYS * 86_400.0).argmax()), _TOO_LONG)
    wraps = np.abs(about) > 9e12  # in microseconds
    span = np.where(wraps, _missing(array), array).astype("timedelta64[us]")
    seconds = np.where(wraps, about, span.astype(np.int64) / 1e6)
    return Cells("duration", np.where(np.isnat(array), np.nan, seconds))


SPANS = (datetime.timedelta, datetime.time, np.timedelta64)


def of_objects(cells: Sequence[Any]) -> Cells:
    """Return Python objects as cells; those of several kinds are text, and kept as objects.

    Raises
    ------
    WrongCell
        A cell is something else; it names the row.
    """
    types = set(map(type, cells))
    if types <= {str}:
        return of_texts(cells)
    if any(
        issubclass(one, (str, float, Decimal, np.generic)) or one.__name__ in _MISSING_TYPES
        for one in types
    ):
        cells = [None if is_missing(cell) else cell for cell in cells]
        types = set(map(type, cells))
    types.discard(type(None))
    if not types:
        return of_texts([None] * len(cells))
    if all(issubclass(one, (bool, np.bool_)) for one in types):
        return Cells("boolean", _floats(cells))
    if all(map(is_number, types)):
        whole = all(issubclass(one, (int, np.integer)) for one in types)
        return Cells("number", _floats(cells), is_whole=whole)
    if all(issubclass(one, (datetime.date, np.datetime64)) for one in types):
        moments = each(cells, lambda cell: None if cell is None else moment_of(cell))
        return Cells("date", np.array(moments, _MICROSECONDS))
    if all(issubclass(one, SPANS) for one in types):
        spans = each(cells, lambda cell: np.nan if cell is None else seconds_of(cell))
        return Cells("duration", np.array(spans, np.float64))
    if all(issubclass(one, str) for one in types):
        return of_texts(cells)
    objects = np.empty(len(cells), object)
    objects[:] = cells
    return replace(of_texts(each(objects, as_key)), objects=objects)


def each(cells: Iterable[Any], call: Callable[[Any], Any]) -> list[Any]:
    """Return what a function that takes one cell gives for each.

    Raises
    ------
    WrongCell
        The function refuses a cell; it names the row.
    """
    made = []
    for row, cell in enumerate(cells):
        try:
            made.append(call(cell))
        except WrongCell as error:
            raise WrongCell(row, error.what) from None
    return made


def kind_of(cell: Any) -> str:
    """Return which of the five kinds one cell that is there is."""
    return next((kind for kind, types in _TYPES.items() if isinstance(cell, types)), "number")


_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "boolean": (bool, np.bool_),
    "date": (datetime.date, np.datetime64),
    "duration": SPANS,
}


def mixture(objects: np.ndarray) -> WrongCell:
    """Return the error for cells of several kinds."""
    present = [(row, cell) for row, cell in enumerate(objects) if not is_missing(cell)]
    first = present[0][1]
    row, other = next(one for one in present if kind_of(one[1]) != kind_of(first))
    what = f"mixes {type(first).__name__} and {type(other).__name__}; expected one kind"
    return WrongCell(row, what)


def _floats(cells: Sequence[Any]) -> np.ndarray:
    try:
        return np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64)
    except OverflowError:  # which does not say where
        return np.array(each(cells, lambda cell: np.nan if cell is None else as_float(cell)))


_TOO_LARGE = "holds a whole number that is too large"


def as_float(cell: Any) -> float:
    """Return one number of any type as a float.

    Raises
    ------
    WrongCell
        It is a whole number that no float holds.
    """
    try:
        return float(cell)
    except OverflowError:
        raise WrongCell(-1, _TOO_LARGE) from None


def moment_of(cell: Any) -> datetime.datetime:
    """Return one date on its own clock.

    Raises
    ------
    WrongCell
        It is not within the years 1 to 9999.
    """
    if not isinstance(cell, np.datetime64):
        return naive(cell)
    moment: Any = cell.item()  # an int where Python has no such moment
    if not isinstance(moment, datetime.date):
        is_fine = np.datetime_data(cell.dtype) == ("ns", 1)
        moment = (
            cell.astype(_MICROSECONDS) if is_fine else microseconds(np.array([cell]))[0]
        ).item()
    return naive(moment)


def as_key(cell: Any) -> str | None:
    """Return one cell as a category is called, None where it is missing.

    Raises
    ------
    WrongCell
        It is neither text nor a number, boolean, date or duration.
    """
    if isinstance(cell, str):
        return cell.strip() or None
    if is_missing(cell):
        return None
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell))
    if is_number(type(cell)):
        return number_as_text(as_float(cell))
    if isinstance(cell, (datetime.date, np.datetime64)):
        return _date_as_text(moment_of(cell))
    if isinstance(cell, SPANS):
        return number_as_text(seconds_of(cell))
    raise WrongCell(-1, f"holds {type(cell).__name__}; {_EXPECTED}")
