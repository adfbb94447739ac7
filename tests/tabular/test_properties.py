"""What holds for every table: finite inputs, the same for one row, in any order, after a file."""

import datetime
import json

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fastnn.tabular import Encoding, Target
from fastnn.tabular.scaling import SCALES

FINITE = st.floats(allow_nan=False, allow_infinity=False)
CELLS = {
    "float": FINITE,
    "small": st.floats(-100, 100),
    "whole": st.integers(-(2**60), 2**60),
    "few": st.integers(0, 3),
    "flag": st.booleans(),
    "text": st.text(max_size=4),
    "word": st.sampled_from(["red", "green", "NA", "None", " blue", "x,y"]),
    "number": st.sampled_from(["1,234", "45%", "$3.50", "?", "7", "1.5"]),
    "date": st.datetimes(datetime.datetime(1800, 1, 1), datetime.datetime(2200, 1, 1)),
    "day": st.dates(),
    "span": st.timedeltas(datetime.timedelta(-99), datetime.timedelta(99)),
    "mixed": st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["a", "b"])),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 40))
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=6, unique=True))
    table = {}
    for name in names:
        cell = CELLS[name]
        if draw(st.booleans()):
            cell = st.one_of(cell, st.none())
        table[name] = draw(st.lists(cell, min_size=rows, max_size=rows))
    return table


def tried(call, *arguments, **options):
    """Return the result, or the message of the ValueError."""
    try:
        return call(*arguments, **options), ""
    except ValueError as error:
        return None, str(error)


def fitted(table, **options):
    encoding, message = tried(Encoding.fit, table, **options)
    assert not message or "no column is left as input" in message or "among dates" in message
    assume(encoding is not None)
    return encoding


@given(tables(), st.sampled_from(SCALES), st.integers(0, 4))
def test_every_table(table, numbers, one_hot_up_to):
    encoding = fitted(table, numbers=numbers, one_hot_up_to=one_hot_up_to)
    x = encoding.encode(table)
    assert np.isfinite(x).all()
    assert len(set(encoding.input_names)) == encoding.inputs
    for i, count in enumerate(encoding.cardinalities, encoding.numbers + encoding.flags):
        assert (x[:, i] == x[:, i].round()).all()
        assert 0 <= x[:, i].min() <= x[:, i].max() < count
    for i in range(len(x)):
        row = {name: cells[i] for name, cells in table.items()}
        np.testing.assert_array_equal(encoding.encode_one(row), x[i])
    backwards = dict(reversed(table.items()))
    np.testing.assert_array_equal(encoding.encode(backwards), x)
    entries, tensors = encoding.to_file()
    again = Encoding.from_file(json.loads(json.dumps(entries)), tensors)
    np.testing.assert_array_equal(again.encode(table), x)


@given(tables(), st.data())
def test_other_rows_are_encoded_or_refused(table, data):
    encoding = fitted(table)
    name = data.draw(st.sampled_from(sorted(table)))
    kinds = [st.none(), *CELLS.values()]
    other = {one: cells[:1] for one, cells in table.items()}
    other[name] = [data.draw(st.one_of(kinds))]
    row = {one: cells[0] for one, cells in other.items()}
    x, message = tried(encoding.encode, other)
    one, message_of_one = tried(encoding.encode_one, row)
    if message:
        assert f"column {name!r}, row 1: " in message
        assert f"column {name!r}: " in message_of_one
    else:
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(one, x[0])


@given(st.lists(st.sampled_from(["a", "b", "NA", "1", "01"]), min_size=2))
def test_classes_come_back(values):
    assume(len(set(values)) > 1)
    target = Target.fit(values)
    again = Target.from_file(json.loads(json.dumps(target.to_file())))
    outputs = np.eye(len(target.classes))[again.encode(values)]
    assert again.decode(outputs).tolist() == values
