"""One row is encoded, or refused, as the same row in a table: each kind of column, any cell."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from fastnn.tabular import Encoding

N = 24
UTC = datetime.UTC
COLUMNS = {
    "number": [0.5, 1.5, 2.25, 7.0] * 6,
    "whole": list(range(N)),
    "codes": [0, 0, 0, 1, 2, 3] * 4,
    "flag": [True, False] * 12,
    "word": ["a", "b", "c", "d"] * 6,
    "pair": ["yes", "no"] * 12,
    "numbers as text": ["1,234", "2,5", "3"] * 8,
    "date": [datetime.datetime(2000, 1, 1 + i) for i in range(N)],
    "year": [datetime.date(2000 + i, 1, 1) for i in range(N)],
    "date as text": [f"2001-02-{i + 1:02d}" for i in range(N)],
    "span": [datetime.timedelta(hours=i) for i in range(N)],
    "time": [datetime.time(i) for i in range(N)],
    "span as text": [f"{i}:30" for i in range(N)],
    "postcode": ["01", "02", "30"] * 8,
    "class": [1, 2, 3] * 8,
    "number and text": ["a", 1, "b", 2.5, True, None] * 4,
    "number and flag": [True, 2, 3.5, False] * 6,
    "date and text": [datetime.datetime(2000, 1, 1), "2000-03-01", "?", ""] * 6,
    "span and text": [datetime.timedelta(1), "1:30", "?", ""] * 6,
}
KINDS = {
    "class": "category", "number and flag": "number", "date and text": "date",
    "span and text": "duration",
}  # fmt: skip
# NumPy 2.5 warns of durations without a unit.
WITHOUT_UNIT = [np.timedelta64(5)] if np.lib.NumpyVersion(np.__version__) < "2.5.0" else []
CELLS = [
    None, float("nan"), Decimal("NaN"), np.float64("nan"), np.datetime64("NaT", "s"),
    np.timedelta64("NaT", "s"), pd.NA, pd.NaT, "", " ",
    False, True, np.True_, 0, 1, -1, 2**70, 10**400, 0.0, -0.0, 1.5, 1e308, 1.7e308,
    float("inf"), -float("inf"), Decimal("Infinity"), np.float64("inf"),
    np.float32(1.5), np.float16(1), np.int64(3), np.uint8(1), np.longdouble(1),
    Decimal("1.5"), Fraction(1, 3), 1j, np.complex64(1),
    b"1", b"a", bytearray(b"1"), "1", "1.5", "-", "a", "inf", "1e400", "9" * 400, "nan",
    "NA", "None",
    "<NA>", "True", "yes", "2001-02-03", "10:30", "1,234", "45%", "$3", "0x10", "\uff11",
    np.str_("a"), np.str_("1"),
    datetime.date(2000, 1, 2), datetime.datetime(2000, 1, 2), datetime.datetime.min,
    datetime.datetime.max, datetime.datetime(2000, 1, 2, tzinfo=UTC), datetime.time(3),
    datetime.timedelta(1), datetime.timedelta.max, np.datetime64("2000-01-01"),
    np.datetime64("20000-01-01"), np.timedelta64(5, "s"), *WITHOUT_UNIT,
    pd.Timestamp("2000-01-02"), pd.Timestamp("2000-01-02", tz="Asia/Tokyo"), pd.Timedelta("1h"),
    np.datetime64(10**18, "ns"), np.timedelta64(10**18 + 1, "ns"), np.datetime64(5, "Y"),
    np.timedelta64(5, "Y"), np.datetime64("2000-01-02", "D"), np.timedelta64(10**13, "s"),
    10**30 + 1, 2**53 + 1, Decimal("sNaN"), np.ma.masked, np.datetime64(2**60, "s"),
    np.timedelta64(2**62, "D"), np.datetime64("9999-12-31T23:59:59.999999"), "1:00", "?", 5,
    datetime.date(2000, 1, 2), Decimal("2"), Fraction(2), 0.5, 2,
    [1], (1,), {}, set(), object(), float, np.array(1.0), np.array([1.0]), np.array("a"),
]  # fmt: skip


def tried(call, *arguments):
    """Return the result and None, or None and the message; another error than ValueError fails."""
    try:
        return call(*arguments), None
    except ValueError as error:
        return None, str(error)


def test_columns_of_several_kinds_are_recognised():
    encoding = Encoding.fit(COLUMNS, kinds={"class": "category"})
    kinds = {name: column.kind for name, column in encoding.columns.items()}
    assert {name: kinds[name] for name in KINDS} == KINDS
    assert kinds["postcode"] == kinds["number and text"] == "category"


@pytest.mark.parametrize("name", COLUMNS)
def test_one_row_agrees_with_a_table(name):
    columns = {one: COLUMNS[one] for one in ("number", "word", name, "flag")}
    kinds = {name: "category"} if name == "class" else None
    encoding = Encoding.fit(columns, kinds=kinds)
    first = {one: cells[0] for one, cells in columns.items()}
    taken = 0
    for cell in CELLS:
        row = {**first, name: cell}
        x, message = tried(encoding.encode, {one: [value] for one, value in row.items()})
        one, message_of_one = tried(encoding.encode_one, row)
        shown = f"{name}: {type(cell).__name__} {cell!s:.30}"
        if isinstance(cell, (np.datetime64, np.timedelta64)):
            array = {one: [value] for one, value in row.items()} | {name: np.array([cell])}
            of_array, message_of_array = tried(encoding.encode, array)
            assert (message is None) == (message_of_array is None), (shown, message_of_array)
            np.testing.assert_array_equal(of_array, x, shown)
        for at in (0, 1):  # beside a good row
            rows = [row, first] if at == 0 else [first, row]
            both, message_of_both = tried(encoding.encode, rows)
            assert (message is None) == (message_of_both is None), (
                f"{shown}: alone: {message}; beside a good row: {message_of_both}"
            )
            if message is None:
                np.testing.assert_array_equal(both[at], one, shown)
                np.testing.assert_array_equal(both[1 - at], encoding.encode_one(first), shown)
            else:
                assert f"column {name!r}, row {at + 1}: " in message_of_both
        if message is None:
            assert message_of_one is None, f"{shown}: {message_of_one}"
            assert np.isfinite(x).all(), shown
            np.testing.assert_array_equal(one, x[0], shown)
            taken += 1
        else:
            assert message_of_one is not None, f"{shown}: only a table refuses it: {message}"
            assert all(f"column {name!r}" in one for one in (message, message_of_one)), shown
    assert 0 < taken < len(CELLS)
