"""What a column is, decided from its cells, its name, and what the user says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.core.hints import unknown_name
from fastnn.tabular import texts
from fastnn.tabular.categorical import ONE_HOT_UP_TO, Boolean, Category
from fastnn.tabular.cells import (
    Cells,
    WrongCell,
    is_missing,
    kind_of,
    mixture,
    of_objects,
    of_texts,
)
from fastnn.tabular.columns import Column, LeftOut, shown
from fastnn.tabular.dates import Date
from fastnn.tabular.numeric import Duration, Number, Numeric
from fastnn.tabular.scaling import SCALES

KINDS: dict[str, type[Column]] = {
    one.kind: one for one in (Number, Category, Boolean, Date, Duration, LeftOut)
}
_MANY = 20  # rows; of fewer, each may have its own text and still mean something
_ID_SHARE = 0.9
_LONG_TEXT = 30  # characters on average
_ID_NAME = re.compile(
    r"(?:^|[\s_.\-])(?:id|ids|idx|index|key|uuid|guid|row|rownum|rownames|rowid|nr|no|serial)$"
    r"|(?<=[a-z])(?:Id|ID|Idx|Index|Key|Nr|No)$|^(?:Unnamed: \d+|)$",
)


@dataclass(frozen=True)
class Options:
    """What the user says of a column, with the defaults for those of which nothing is said.

    Attributes
    ----------
    kind : str or None
        None: it is recognised.
    numbers : {"robust", "quantile", "standard"}
        How numbers are scaled.
    one_hot_up_to : int
        How many categories, missing counted, get an input each.
    order : {"ymd", "dmy", "mdy"} or None
        How dates are written.
    decimal : {".", ","} or None
        How numbers are written.
    """

    kind: str | None = None
    numbers: str = "robust"
    one_hot_up_to: int = ONE_HOT_UP_TO
    order: str | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Decision:
    """What a column is taken for, before it is fitted.

    Attributes
    ----------
    kind : str
    reason : str
    own : dict
        What the kind needs to read the cells.
    """

    kind: str
    reason: str
    own: Mapping[str, Any] = field(default_factory=dict)


def options_of(name: str, given: object, default: Options) -> Options:
    """Return what `kinds` says of a column, checked.

    Raises
    ------
    TypeError, ValueError
        It is not a kind, or not a dict of options.
    """
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"kinds[{name!r}] must be a kind such as 'category', or a dict of options, "
            f"got {given!r}"
        )
    values = {key: getattr(default, key) for key in Options.__dataclass_fields__}
    for key, value in given.items():
        if key not in values:
            raise unknown_name(f"option of kinds[{name!r}]", key, values)
        values[key] = value
    made = Options(**values)
    check_options(made, f"kinds[{name!r}]: ")
    return made


def check_options(options: Options, where: str = "") -> None:
    """Raise ValueError for an option that is none of those there are."""
    choices = {"kind": (*KINDS, None), "numbers": SCALES, "order": (*texts.ORDERS, None)}
    for key, known in (choices | {"decimal": (".", ",", None)}).items():
        if getattr(options, key) not in known:
            names = ", ".join(repr(one) for one in known)
            raise ValueError(f"{where}{key} must be one of {names}, got {getattr(options, key)!r}")
    count = options.one_hot_up_to
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"{where}one_hot_up_to must be a whole number from 0, got {count!r}")


def fitted(
    name: str, cells: Cells, options: Options, *, is_named: bool = True, is_first: bool = False
) -> Column:
    """Return what the column of these cells is, fitted to them.

    Parameters
    ----------
    name : str
    cells : Cells
    options : Options
    is_named : bool, default True
        The name was given, and is not a number for the column of an array.
    is_first : bool, default False
        It is the first column of the table, where numbers of rows stand.

    Raises
    ------
    WrongCell
        A cell does not fit.
    """
    decision = recognised(name, cells, options, is_named=is_named, is_first=is_first)
    kind, reason = KINDS[decision.kind], decision.reason
    missing = int(cells.missing.sum())
    made: Column = LeftOut(name, reason, missing)
    if issubclass(kind, Numeric):
        made = kind.fit(name, reason, cells, numbers=options.numbers, **decision.own)
    elif issubclass(kind, Category):
        made = kind.fit(name, reason, cells, one_hot_up_to=options.one_hot_up_to)
    if not made.inputs and kind is not LeftOut:
        return LeftOut(name, f"constant: {_constant(cells)} in every row", missing)
    return made


def _constant(cells: Cells) -> str:
    if cells.missing.all():
        return "missing"
    row = int((~cells.missing).argmax())
    text = cells.take(np.array([row])).as_text().texts[0]
    return shown(text) if cells.kind == "text" else text


def recognised(
    name: str, cells: Cells, options: Options, *, is_named: bool = True, is_first: bool = False
) -> Decision:
    """Return what the column of these cells is, and why."""
    if options.kind is not None:
        return _as_told(cells, options)
    if cells.missing.all():
        return Decision("left out", "every cell is missing" if len(cells) else "no rows")
    if cells.is_category:
        return Decision("category", "the table says so")
    if cells.objects is not None:
        objects = cells.objects.tolist()
        present = [cell for cell in objects if not is_missing(cell)]
        kinds = {kind_of(cell) for cell in present}
        if len(kinds) == 1:  # some rows of a column of several kinds
            cells = of_objects(objects)
        elif kinds & {"date", "duration"}:
            return _times(cells, kinds, options)
        elif kinds == {"number", "boolean"}:
            values = [np.nan if is_missing(cell) else float(cell) for cell in objects]
            is_whole = all(isinstance(cell, (int, np.integer, np.bool_)) for cell in present)
            cells = Cells("number", np.array(values), is_whole=is_whole)
    if cells.kind == "number":
        return _number(name, cells, is_named, is_first)
    if cells.kind == "text":
        return _text(name, cells, options, is_named, is_first)
    reasons = {"boolean": "booleans", "date": "dates", "duration": "durations"}
    return Decision(cells.kind, reasons[cells.kind])


def _as_told(cells: Cells, options: Options) -> Decision:
    kind, told = options.kind, "as told"
    assert kind is not None
    if kind == "number" and cells.kind == "text":
        found = texts.read_numbers(cells.texts, cells.counts(), options.decimal or cells.decimal)
        decimal = options.decimal or (found.decimal if found else cells.decimal)
        words = [cells.texts[i] for i in found.others] if found else []
        return Decision(kind, told, {"decimal": decimal, "words": words})
    if kind == "date" and cells.kind == "text":
        return Decision(kind, told, {"order": _order(_written(cells), options)})
    return Decision(kind, told)


def _written(cells: Cells) -> Cells:
    """Return those of the cells that came as text."""
    if cells.objects is None:
        return cells
    return of_texts([cell if isinstance(cell, str) else None for cell in cells.objects])


def _order(written: Cells, options: Options) -> str:
    """Return in which order dates are written."""
    dates = texts.read_dates(written.texts, written.counts())
    return options.order or (dates.order if dates else "ymd")


def _times(cells: Cells, kinds: set[str], options: Options) -> Decision:
    """Return what dates or durations are among which text stands, if it can be read as they."""
    written = _written(cells)
    assert cells.objects is not None
    try:
        if kinds == {"date", "text"}:
            order = _order(written, options)
            for text in written.texts:
                texts.date_in(text, order)
            return Decision("date", "dates, also as text", {"order": order})
        if kinds == {"duration", "text"}:
            for text in written.texts:
                texts.duration_in(text)
            return Decision("duration", "durations, also as text")
    except ValueError:
        pass
    raise mixture(cells.objects)


def _number(name: str, cells: Cells, is_named: bool, is_first: bool) -> Decision:
    reason = "whole numbers" if cells.is_whole else "numbers"
    if is_named and len(cells) >= _MANY and not cells.missing.any():
        values = cells.values
        has_name = bool(_ID_NAME.search(name))
        if (has_name or is_first) and (values == np.floor(values)).all():
            distinct = np.unique(values)
            if len(distinct) == len(values):
                if has_name:
                    return Decision("left out", "an id: each row has a number of its own")
                # Rows were perhaps shuffled, and some of them taken away.
                low, span = distinct[0], distinct[-1] - distinct[0] + 1
                if 0 <= low <= len(values) / 5 and span <= 2 * len(values):
                    return Decision("left out", "counts the rows")
    return Decision("number", reason)


def _text(name: str, cells: Cells, options: Options, is_named: bool, is_first: bool) -> Decision:
    counts = cells.counts()
    if len(cells.texts) <= 6 and {text.lower() for text in cells.texts} <= {"true", "false"}:
        return Decision("boolean", "true and false")
    codes = texts.are_codes(cells.texts)
    if not codes:
        decimal = options.decimal or cells.decimal
        numbers = texts.read_numbers(cells.texts, counts, decimal)
        if numbers is not None:
            return _numbers_as_text(name, cells, numbers, is_named, is_first)
        dates = texts.read_dates(cells.texts, counts)
        if dates is not None:
            return _dates_as_text(cells, dates, options)
        if texts.are_durations(cells.texts):
            return Decision("duration", "durations or times of day")
    present, distinct = int(counts.sum()), len(cells.texts)
    if present >= _MANY and distinct > _ID_SHARE * present:
        what = "text" if not codes else "code"
        return Decision("left out", f"an id: nearly every row has a {what} of its own")
    length = sum(map(len, cells.texts)) / distinct
    if present >= _MANY and distinct > 0.5 * present and length > _LONG_TEXT:
        return Decision("left out", "free text")
    return Decision("category", "digits that begin with 0, so codes" if codes else "text")


def _numbers_as_text(
    name: str, cells: Cells, numbers: texts.Numbers, is_named: bool, is_first: bool
) -> Decision:
    counts = cells.counts()
    reasons = []
    if not numbers.is_plain:
        written = next(
            text
            for text, value in zip(cells.texts, numbers.values, strict=True)
            if value == value and not texts.is_plain_number(text)
        )
        reasons.append(f"numbers written as text, such as {shown(written)}")
    words = [i for i in np.flatnonzero(np.isnan(numbers.values)).tolist()]
    if words:
        count = int(counts[words].sum())
        some = ", ".join(shown(cells.texts[i]) for i in words[:3])
        cell = "cell counts" if count == 1 else "cells count"
        reasons.append(f"{count:,} {cell} as missing: {some}")
    own = {"decimal": numbers.decimal, "words": [cells.texts[i] for i in numbers.others]}
    values = np.append(numbers.values, np.nan)[cells.values]
    present = numbers.values[~np.isnan(numbers.values)]
    is_whole = bool((present == np.floor(present)).all())
    plain = _number(name, Cells("number", values, is_whole=is_whole), is_named, is_first)
    if plain.kind == "left out":
        return plain
    return Decision("number", "; ".join(reasons) or plain.reason, own)


def _dates_as_text(cells: Cells, dates: texts.Dates, options: Options) -> Decision:
    order = options.order or dates.order
    reason = f"dates as text, such as {shown(cells.texts[0])}"
    if dates.is_guess and options.order is None:
        reason += ", read as month, day, year"
    if dates.others:
        word = cells.texts[dates.others[0]]
        row = int((cells.values == dates.others[0]).argmax())
        raise WrongCell(
            row,
            f"holds {shown(word)} among dates; mend it, leave the column out, or say what it is",
        )
    return Decision("date", reason, {"order": order})
