"""Numbers and dates that are written as text: how they are recognised, and read."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Among numbers and dates, these stand for a missing cell; among other texts they are texts.
_WORDS = "na n/a n.a. #n/a #na <na> nan nat null none nil missing ? - -- . #value! #ref!"
MISSING_WORDS = frozenset(_WORDS.split())
NEARLY_ALL = 0.95
_SAMPLE = 50

_CURRENCY = r"(?:[$€£¥₹₩₽]|USD|EUR|GBP|CHF|JPY|kr)"
_MINUS = "\u2212"
_SPACES = "\u0020\u00a0\u2009\u202f'\u2019"


def _written(group: str, decimal: str) -> re.Pattern[str]:
    """Return the pattern of a number with groups of three digits, a currency or a percent sign."""
    groups = f"[{re.escape(group)}{_SPACES}]"
    digits = rf"\d{{1,3}}(?:{groups}\d{{3}})+|\d+"
    number = rf"(?P<whole>{digits})?(?P<rest>{re.escape(decimal)}\d*)?(?P<power>[eE][-+]?\d+)?"
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+{_MINUS}])?\s*{_CURRENCY}?\s*(?P<inner>[-+{_MINUS}])?{number}"
        rf"\s*(?:{_CURRENCY}|%)?(?(open)\))"
    )


_PATTERNS = {".": _written(",", "."), ",": _written(".", ",")}
_NOT_DIGITS = re.compile(r"\D")


def is_missing_word(text: str) -> bool:
    """Whether a text among numbers or dates stands for a missing cell."""
    return text.lower() in MISSING_WORDS


def number_in(text: str, decimal: str = ".") -> float:
    """Return the number that a text stands for, NaN for a missing one.

    Parameters
    ----------
    text : str
    decimal : {".", ","}, default "."
        What stands before the decimals; the other one separates groups of three digits.

    Raises
    ------
    ValueError
        It is no number.

    Examples
    --------
    >>> number_in("-$1,234.50"), number_in("1.234,5", decimal=","), number_in("45 %")
    (-1234.5, 1234.5, 45.0)
    """
    if decimal == ".":  # nearly all are plain; float also takes 1_000, which is a name
        try:
            value = float(text)
        except ValueError:
            return _number_as_written(text, decimal)
        if "_" not in text:
            return value
    return _number_as_written(text, decimal)


def _number_as_written(text: str, decimal: str) -> float:
    text = text.strip()
    if is_missing_word(text):
        return math.nan
    found = _PATTERNS[decimal].fullmatch(text)
    if found and (found["whole"] or (found["rest"] and len(found["rest"]) > 1)):
        whole = _NOT_DIGITS.sub("", found["whole"] or "0")
        rest = (found["rest"] or "").replace(",", ".")
        value = float(whole + rest + (found["power"] or ""))
        is_negative = [
            found["sign"] in ("-", _MINUS),
            found["inner"] in ("-", _MINUS),
            found["open"],
        ]
        return -value if sum(map(bool, is_negative)) % 2 else value
    if "," not in text and "_" not in text and is_plain_number(text):
        return float(text)
    raise ValueError(f"{text!r} is no number")


@dataclass(frozen=True)
class Numbers:
    """What was read from the texts of a column.

    Attributes
    ----------
    values : ndarray of float64
        One for each text; NaN for what stands for a missing cell.
    decimal : {".", ","}
    is_plain : bool
        All of it is as Python writes numbers.
    others : list of int
        The texts that are neither; they count as missing.
    """

    values: np.ndarray
    decimal: str
    is_plain: bool
    others: list[int]


def read_numbers(texts: Sequence[str], counts: np.ndarray, decimal: str = ".") -> Numbers | None:
    """Return the numbers in a column of texts, or None if that is not what they are.

    Parameters
    ----------
    texts : sequence of str
        Each that occurs, once.
    counts : ndarray of int
        How often each occurs.
    decimal : {".", ","}, default "."
        How "1,234" is read where nothing else in the column tells.
    """
    other = "," if decimal == "." else "."
    best: Numbers | None = None
    for mark in (decimal, other):
        sample = texts[:_SAMPLE]
        if sum(_is_read(text, mark) for text in sample) < len(sample) * 0.5:
            continue
        made = _read(texts, mark)
        if not made.others:
            if np.isnan(made.values).all():
                return None
            return made
        if best is None or len(made.others) < len(best.others):
            best = made
    if best is None:
        return None
    strange = counts[best.others].sum()
    distinct = int((~np.isnan(best.values)).sum())
    # Sizes 38, 40, S, M are categories, and so are a few numbers with a name among them.
    is_nearly_all = strange <= (1 - NEARLY_ALL) * counts.sum() and distinct > 20
    return best if is_nearly_all else None


def _is_read(text: str, decimal: str) -> bool:
    try:
        number_in(text, decimal)
    except ValueError:
        return False
    return True


def _read(texts: Sequence[str], decimal: str) -> Numbers:
    if decimal == ".":
        try:
            plain = list(map(float, texts))
        except ValueError:
            pass
        else:
            if "_" not in "".join(texts):
                return Numbers(np.array(plain, np.float64), decimal, True, [])
    values, others = np.full(len(texts), np.nan), []
    is_plain = True
    for i, text in enumerate(texts):
        try:
            values[i] = number_in(text, decimal)
        except ValueError:
            others.append(i)
            continue
        is_plain = is_plain and (values[i] != values[i] or is_plain_number(text))
    return Numbers(values, decimal, is_plain, others)


def is_plain_number(text: str) -> bool:
    """Whether a text is a number as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


_CODE = re.compile(r"[0-9]+")


def are_codes(texts: Sequence[str]) -> bool:
    """Whether texts are digits that keep leading zeros, such as a postcode."""
    if not any(len(text) > 1 and text[0] == "0" for text in texts):
        return False
    words = [text for text in texts if not is_missing_word(text)]
    zeros = [t for t in words if len(t) > 1 and t[0] == "0"]
    return bool(zeros) and all(map(_CODE.fullmatch, words))


# --- dates ------------------------------------------------------------------------------------

_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july",
         "aug august", "sep sept september", "oct october", "nov november", "dec december"), 1
    )
    for name in names.split()
}  # fmt: skip
_CLOCK = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?\s*(?:Z|UTC|GMT|[-+]\d{2}:?(?:\d{2})?)?"
)
_DATE = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<a>\d{1,4})(?:st|nd|rd|th|\.)?\s?[-/. ]\s?"
    r"(?P<b>\d{1,2}|[A-Za-z]{3,9})\.?,?\s?[-/. ]\s?(?P<c>\d{4}|\d{1,2})" + _CLOCK
)
_MONTH_FIRST = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<b>[A-Za-z]{3,9})\.?\s+(?P<a>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<c>\d{4})"
    + _CLOCK
)
_HAS_MARK = re.compile(r"\d\s?[-/. ]\s?(\d|[A-Za-z])|[A-Za-z]{3}")
EXAMPLES = {"ymd": "2024-12-31", "dmy": "31.12.2024", "mdy": "12/31/2024"}
ORDERS = tuple(EXAMPLES)


def date_in(text: str, order: str) -> datetime.datetime | None:
    """Return the date that a text stands for, on its own clock; None for a missing one.

    Parameters
    ----------
    text : str
        ISO 8601, or numbers with "-", "/" or "." between, or the month by its English name.
    order : {"ymd", "dmy", "mdy"}
        In which day, month and year stand where the text does not tell.

    Raises
    ------
    ValueError
        It is no date.

    Examples
    --------
    >>> date_in("3/4/2024 1:05 PM", "mdy")
    datetime.datetime(2024, 3, 4, 13, 5)
    """
    text = text.strip()
    if len(text) >= 10 and text[4] == "-":
        try:
            return datetime.datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            pass
    if is_missing_word(text):
        return None
    found = _DATE.fullmatch(text) or _MONTH_FIRST.fullmatch(text)
    if found is None or not _HAS_MARK.search(text):
        raise ValueError(f"{text!r} is no date")
    day, month, year = _ordered(found["a"], found["b"], found["c"], order)
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{text!r} is no date: hour {hour} with AM or PM")
        hour = hour % 12 + 12 * (found["half"][0] in "pP")
    part = int((found["part"] or "0")[:6].ljust(6, "0"))
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    try:
        return datetime.datetime(year, month, day, hour, minute, second, part)
    except ValueError as error:
        raise ValueError(f"{text!r} is no date: {error}") from None


def _ordered(a: str, b: str, c: str, order: str) -> tuple[int, int, int]:
    """Return day, month and year."""
    if len(a) == 4:
        return int(c), _month(b), int(a)
    if len(a) == 3:
        raise ValueError(f"a year of three digits, {a}, is no date")
    if b.isalpha():
        return int(a), _month(b), _year(c)
    if order == "ymd":
        raise ValueError(f"{a} is no date: it does not begin with a year of four digits")
    day, month = (a, b) if order == "dmy" else (b, a)
    return int(day), int(month), _year(c)


def _month(text: str) -> int:
    month = _MONTHS.get(text.lower(), 0) if text.isalpha() else int(text)
    if not month:
        raise ValueError(f"{text!r} is no month, so no date")
    return month


def _year(text: str) -> int:
    year = int(text)
    if len(text) == 1:
        raise ValueError(f"{text} is no year, so no date")
    return year if len(text) == 4 else year + (1900 if year >= 69 else 2000)


@dataclass(frozen=True)
class Dates:
    """What was read from the texts of a column.

    Attributes
    ----------
    values : ndarray of datetime64[us]
        One for each text; NaT for what stands for a missing cell.
    order : {"ymd", "dmy", "mdy"}
    is_guess : bool
        Day and month could also be the other way round.
    others : list of int
        The texts that are neither; a column that holds one is an error.
    """

    values: np.ndarray
    order: str
    is_guess: bool
    others: list[int]


def read_dates(texts: Sequence[str], counts: np.ndarray) -> Dates | None:
    """Return the dates in a column of texts, or None if that is not what they are."""
    found = []
    for order in ORDERS:
        if sum(_reads(date_in, text, order) for text in texts[:_SAMPLE]) * 2 < len(texts[:_SAMPLE]):
            continue
        made = _read_dates(texts, order)
        strange = counts[made.others].sum()
        if strange <= (1 - NEARLY_ALL) * counts.sum() and not np.isnat(made.values).all():
            found.append(made)
        if order == "ymd" and found:
            return found[0]  # the year stands in front: nothing to guess
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    by_faults = sorted(found, key=lambda one: len(one.others))
    if len(by_faults[0].others) < len(by_faults[1].others):
        return by_faults[0]
    # Points are written where the day comes first, slashes more often where the month does.
    same = np.array_equal(found[0].values, found[1].values, equal_nan=True)
    points = sum(text.count(".") >= 2 for text in texts[:_SAMPLE]) * 2 > len(texts[:_SAMPLE])
    wanted = "dmy" if points else "mdy"
    chosen = next(one for one in found if one.order == wanted)
    return Dates(chosen.values, chosen.order, not same and not points, chosen.others)


def _reads(read: Callable[..., Any], *arguments: Any) -> bool:
    try:
        read(*arguments)
    except ValueError:
        return False
    return True


def _read_dates(texts: Sequence[str], order: str) -> Dates:
    values, others = np.full(len(texts), "NaT", "datetime64[us]"), []
    for i, text in enumerate(texts):
        try:
            moment = date_in(text, order)
        except ValueError:
            others.append(i)
            continue
        if moment is not None:
            values[i] = moment
    return Dates(values, order, False, others)


# --- durations --------------------------------------------------------------------------------

_SPAN = re.compile(
    r"(?:(?P<days>-?\d+) days?,?\s*)?(?P<sign>[-+])?"
    r"(?:(?P<hours>\d+):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:\.\d{1,9})?))?)?"
)


def duration_in(text: str) -> float:
    """Return the seconds that a text such as "2 days 03:04:05" stands for, NaN for a missing one.

    Raises
    ------
    ValueError
        It is no duration or time of day.
    """
    text = text.strip()
    if is_missing_word(text):
        return math.nan
    found = _SPAN.fullmatch(text)
    if found is None or not (found["days"] or found["hours"]):
        raise ValueError(f"{text!r} is no duration")
    clock = int(found["hours"] or 0) * 3600 + int(found["minutes"] or 0) * 60
    seconds = clock + float(found["seconds"] or 0)
    return int(found["days"] or 0) * 86400 + (-seconds if found["sign"] == "-" else seconds)


def are_durations(texts: Sequence[str]) -> bool:
    """Whether all texts are durations or times of day, or stand for a missing one."""
    is_one = any(":" in text for text in texts[:_SAMPLE])
    return is_one and all(_reads(duration_in, text) for text in texts)
