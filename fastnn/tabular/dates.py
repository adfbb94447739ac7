"""Columns of dates and times, which become several numbers."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.tabular import texts
from fastnn.tabular.cells import FIRST, LAST, TOO_FAR, Cells, WrongCell, is_missing, moment_of
from fastnn.tabular.columns import shown
from fastnn.tabular.numeric import Numeric, first_present

_EPOCH = datetime.datetime(1970, 1, 1)
_DAY = 86_400_000_000  # microseconds


def _moment(value: float) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=int(value))


def _checked(since: int) -> float:
    """Return the microseconds since 1970 of one cell, if the year has at most four digits."""
    if not FIRST <= since <= LAST:
        raise WrongCell(-1, TOO_FAR)
    return float(since)


_DAY_OF_WEEK = "day of week"
_DAY_OF_YEAR = "day of year"
_ONE_PART: dict[str, Callable[[datetime.datetime], float]] = {
    "year": lambda moment: moment.year,
    "month": lambda moment: moment.month,
    "day": lambda moment: moment.day,
    _DAY_OF_WEEK: lambda moment: moment.weekday(),
    _DAY_OF_YEAR: lambda moment: moment.timetuple().tm_yday,
    "hour": lambda moment: moment.hour,
    "minute": lambda moment: moment.minute,
    "second": lambda moment: moment.second,
}


class Date(Numeric):
    """Dates and times: what of them varies, and the time as a number of days.

    Dates with a time zone are taken as the clock shows them there.

    Parameters
    ----------
    order : {"ymd", "dmy", "mdy"}
        How a text is read that could be read several ways.
    """

    kind = "date"
    own = ("order",)
    plain = None
    order: str = "ymd"

    @property
    def values(self) -> str:
        """The range."""
        if math.isnan(self.low):
            return ""
        low, high = (np.datetime64(int(one), "us") for one in (self.low, self.high))
        unit = "D" if self.low % _DAY == self.high % _DAY == 0 else "s"
        return " to ".join(str(one.astype(f"M8[{unit}]")).replace("T", " ") for one in (low, high))

    def read_all(self, cells: Cells) -> np.ndarray:
        """Return the cells as microseconds since 1970; float64 keeps them for centuries."""
        if cells.kind == "date":
            moments = cells.values
        elif cells.kind == "text":
            found = np.full(len(cells.texts) + 1, "NaT", "datetime64[us]")
            for i, text in enumerate(cells.texts):
                try:
                    moment = texts.date_in(text, self.order)
                except ValueError:
                    row = int((cells.values == i).argmax())
                    raise WrongCell(row, self._refusal(text)) from None
                if moment is not None:
                    found[i] = moment
            moments = found[cells.values]
        else:
            raise WrongCell(first_present(cells), f"holds a {cells.kind}; expected dates")
        since = moments.astype(np.int64)
        is_far = (since < FIRST) | (since > LAST)
        if (is_far & ~np.isnat(moments)).any():
            row = int((is_far & ~np.isnat(moments)).argmax())
            raise WrongCell(row, TOO_FAR)
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))

    def read_one(self, cell: Any) -> float:
        """Return one cell in microseconds since 1970."""
        moment: datetime.datetime | None
        if isinstance(cell, str):
            try:
                moment = texts.date_in(cell, self.order) if cell.strip() else None
            except ValueError:
                raise WrongCell(-1, self._refusal(cell)) from None
        elif is_missing(cell):
            moment = None
        elif isinstance(cell, (datetime.date, np.datetime64)):
            moment = moment_of(cell)
        else:
            raise WrongCell(-1, f"holds {type(cell).__name__}; expected a date")
        if moment is None:
            return math.nan
        span = moment - _EPOCH
        return _checked((span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds)

    def _refusal(self, text: str) -> str:
        example = texts.EXAMPLES[self.order]
        source = "as told" if self._is_new else "as in training"
        return f"holds {shown(text)}; expected dates such as {example}, {source}"

    def parts_of(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return year, month and so on."""
        moments = values.astype(np.int64).view("datetime64[us]")
        days = moments.astype("M8[D]")
        months, years = days.astype("M8[M]"), days.astype("M8[Y]")
        day_number = days.astype(np.int64)
        seconds = (moments - days).astype(np.int64) // 1_000_000
        whole = {
            "year": years.astype(np.int64) + 1970,
            "month": months.astype(np.int64) % 12 + 1,
            "day": (days - months.astype("M8[D]")).astype(np.int64) + 1,
            _DAY_OF_WEEK: (day_number + 3) % 7,
            _DAY_OF_YEAR: (days - years.astype("M8[D]")).astype(np.int64) + 1,
            "hour": seconds // 3600,
            "minute": seconds // 60 % 60,
            "second": seconds % 60,
        }
        return {part: found.astype(np.float64) for part, found in whole.items()} | {
            "time": values / _DAY
        }

    def parts_of_one(self) -> list[Callable[[float], float]]:
        """Return the functions that give each part of one time, scaled."""
        return [_one_part(part, scale.one()) for part, scale in self.parts.items()]

    def check(self) -> None:
        """Raise ValueError for a description that is damaged."""
        if self.order not in texts.ORDERS or not set(self.parts) <= {*_ONE_PART, "time"}:
            raise ValueError(f"column {self.name!r} is damaged")


def _one_part(part: str, scaled: Callable[[float], float]) -> Callable[[float], float]:
    if part == "time":
        return lambda value: scaled(value / _DAY)
    part_of = _ONE_PART[part]
    return lambda value: scaled(float(part_of(_moment(value))))
