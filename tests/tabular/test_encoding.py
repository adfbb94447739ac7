"""Encoding: the inputs that columns give, against plain formulas; unseen cells; files."""

import datetime
import json

import numpy as np
import pytest

from fastnn.tabular import Encoding, of, scaling

G = np.random.default_rng(0)


def bend(z):
    return z / np.sqrt(1 + (z / 3) ** 2)


def robust(x):
    """The robust scale of RealMLP, written out; x has no missing ones."""
    low, q25, median, q75, high = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    factor = 1 / (q75 - q25) if q75 > q25 else 2 / (high - low)
    return bend((x - median) * factor)


def fitted(cells, **options):
    encoding = Encoding.fit({"a": cells}, **options)
    return encoding, encoding.encode({"a": cells})


# --- numbers ----------------------------------------------------------------------------------


NUMBERS = {
    "normal": G.normal(5, 3, 99),
    "long": G.exponential(size=99) ** 3,
    "zeros": np.r_[np.zeros(90), 1, 2, 3],
}


@pytest.mark.parametrize("cells", NUMBERS.values(), ids=NUMBERS)
def test_robust_scale(cells):
    encoding, x = fitted(cells)
    np.testing.assert_allclose(x[:, 0], robust(cells), rtol=1e-6)
    assert (encoding.numbers, encoding.flags, encoding.cardinalities) == (1, 0, [])
    assert np.abs(x).max() < 3


def test_standard_scale():
    cells = G.normal(5, 3, 99)
    _, x = fitted(cells, numbers="standard")
    np.testing.assert_allclose(x[:, 0], (cells - cells.mean()) / cells.std(), rtol=1e-5)


def test_quantiles_to_the_normal_distribution():
    cells = np.exp(G.normal(size=3000) * 2)
    encoding, x = fitted(cells, numbers="quantile")
    order = np.argsort(cells)
    assert (np.diff(x[order, 0]) >= 0).all()
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=0.02)
    from scipy import stats

    wanted = stats.norm.ppf((np.arange(3000) + 0.5) / 3000)
    np.testing.assert_allclose(x[order[100:-100], 0], wanted[100:-100], atol=0.02)
    far = encoding.encode({"a": [-1e300, 1e300]})[:, 0]
    np.testing.assert_array_equal(far, [x.min(), x.max()])


def test_a_gap_counts_as_the_median_and_is_said():
    cells = np.array([1.0, 2.0, np.nan, 4.0, 9.0])
    encoding, x = fitted(cells)
    assert encoding.input_names == ["a", "a is missing"]
    assert encoding.groups == {"a": [0, 1]}
    present = ~np.isnan(cells)
    np.testing.assert_allclose(x[present, 0], robust(cells[present]), rtol=1e-6)
    assert x[2, 0] == encoding.encode({"a": [3.0]})[0, 0]
    np.testing.assert_allclose(x[:, 1], robust((~present).astype(float)), rtol=1e-6)


def test_a_gap_that_training_did_not_have():
    encoding, _ = fitted([1.0, 2.0, 3.0])
    assert encoding.encode({"a": [None]}).tolist() == [[0.0]]


def test_one_number_or_none():
    encoding, x = fitted([5, None, 5, None])
    assert encoding.input_names == ["a is missing"]
    assert x[0, 0] < x[1, 0]


def test_constant_column_has_no_effect_later():
    """A column that was constant in training once moved predictions by six deviations."""
    table = {"a": [5] * 30, "b": np.arange(30) % 7}
    encoding = Encoding.fit(table)
    later = encoding.encode({"a": [15] * 30, "b": table["b"]})
    np.testing.assert_array_equal(later, encoding.encode(table))
    np.testing.assert_array_equal(encoding.encode({"b": table["b"]}), later)


def test_large_offset_keeps_its_digits():
    seconds = 1.7e9 + G.permutation(50) * 1.5  # in float32 alone many would be equal
    assert len(np.unique(fitted(seconds)[1])) == 50


@pytest.mark.parametrize("numbers", scaling.SCALES)
@pytest.mark.parametrize(
    "cells",
    [[1e308, -1e308, 1e308], [5e-324, 0, 1e-323], [-1.7e308, 1.7e308, 0.0], [0, 1e-300, 1e300]],
)
def test_extreme_numbers_stay_finite(cells, numbers):
    encoding, x = fitted(cells, numbers=numbers)
    later = encoding.encode({"a": [1.7e308, -1.7e308, 0.0, 5e-324]})
    assert np.isfinite(x).all()
    assert np.isfinite(later).all()


# --- categories -------------------------------------------------------------------------------


def test_one_hot_columns_are_scaled_too():
    cells = ["x"] * 5 + ["y"] * 3 + ["z"]
    encoding, x = fitted(cells)
    assert encoding.input_names == ["a=x", "a=y", "a=z"]
    for i, text in enumerate("xyz"):
        bits = np.array(cells) == text
        np.testing.assert_allclose(x[:, i], robust(bits.astype(float)), rtol=1e-6, atol=1e-7)


def test_two_values_are_one_flag():
    cells = ["x"] * 7 + ["y"] * 3
    encoding, x = fitted(cells)
    assert encoding.input_names == ["a=y"]
    signs = np.where(np.array(cells) == "y", 1.0, -1.0)
    np.testing.assert_allclose(x[:, 0], robust(signs), rtol=1e-6)
    middle = encoding.encode({"a": ["z", None]})
    assert middle[0] == middle[1]
    low, high = np.unique(x)
    assert low < middle[0, 0] < high


def test_missing_is_a_value_and_unknown_is_another():
    cells = ["x", "y", None] * 5
    encoding, x = fitted(cells)
    assert encoding.input_names == ["a=x", "a=y", "a is missing"]
    unknown = encoding.encode({"a": ["w"]})[0]
    np.testing.assert_array_equal(unknown, x.min(axis=0))
    assert x[2, 2] > unknown[2]
    two = fitted(["x", None, None, "x"])[0]
    assert two.input_names == ["a is missing"]
    assert len(np.unique(two.encode({"a": ["x", None, "w"]}))) == 3


def test_up_to_nine_values_are_one_hot():
    nine = [chr(97 + i % 8) for i in range(40)] + [None]
    assert fitted(nine)[0].flags == 9
    assert fitted([*nine, "i"])[0].flags == 0
    assert fitted([*nine, "i"], one_hot_up_to=20)[0].flags == 10


def test_codes():
    cells = [chr(97 + i % 20) for i in range(60)] + ["rare"] + [None]
    encoding, x = fitted(cells)
    assert (encoding.cardinalities, encoding.inputs) == ([22], 1)
    assert x[:3, 0].tolist() == [2, 3, 4]
    assert x[-2:, 0].tolist() == [0, 1]
    assert encoding.encode({"a": ["new", None, "t", " b "]})[:, 0].tolist() == [0, 1, 21, 3]
    assert "1 of them rare, taken together as other" in encoding.columns["a"].reason


def test_codes_of_categories_that_all_occur_once():
    encoding, x = fitted([f"n{i}x" for i in range(15)])
    assert encoding.cardinalities == [17]
    assert len(np.unique(x)) == 15


def test_a_million_categories_are_capped():
    from fastnn.tabular.categorical import MOST_CATEGORIES

    codes = np.repeat(np.arange(500_000), 2)
    cells = np.concatenate([codes, np.zeros(10, int)]).astype(str)
    encoding = Encoding.fit({"a": np.char.add("c", cells)})
    assert encoding.cardinalities == [MOST_CATEGORIES + 2]
    assert "490,000 of them rare" in encoding.columns["a"].reason
    assert encoding.encode({"a": ["c0", "c499999"]})[:, 0].min() == 0


def test_categories_that_are_numbers_have_one_name():
    kinds = {"a": "category"}
    encoding = Encoding.fit({"a": [1, 2, 3] * 9}, kinds=kinds)
    want = encoding.encode({"a": [1, 2, 3]})
    for same in ([1.0, 2.0, 3.0], ["1", "2.0", "03"], np.array([1, 2, 3], np.int8)):
        np.testing.assert_array_equal(encoding.encode({"a": same}), want)


def test_booleans():
    encoding, x = fitted([True, False, True, True])
    assert encoding.input_names == ["a=True"]
    for same in (["true", "FALSE", "True", "TRUE"], [1, 0, 1, 1], ["1", "0", "1", "1.0"]):
        np.testing.assert_array_equal(encoding.encode({"a": same}), x)
    with pytest.raises(ValueError, match="column 'a', row 2: is neither true nor false"):
        encoding.encode({"a": [1, 7]})
    with pytest.raises(ValueError, match="column 'a': is neither true nor false"):
        encoding.encode_one({"a": 7})


# --- dates ------------------------------------------------------------------------------------


def test_parts_of_dates_that_vary():
    moments = np.datetime64("2023-01-15T10:30") + np.arange(0, 700, 7).astype("m8[D]")
    encoding, x = fitted(moments)
    assert encoding.input_names == ["a year", "a month", "a day", "a day of year", "a time"]
    python = moments.astype("M8[us]").tolist()
    plain = {
        "year": [m.year for m in python],
        "month": [m.month for m in python],
        "day": [m.day for m in python],
        "day of year": [m.timetuple().tm_yday for m in python],
        "time": [m.timestamp() for m in python],
    }
    for i, part in enumerate(plain.values()):
        np.testing.assert_allclose(x[:, i], robust(np.array(part, float)), rtol=1e-4, atol=1e-6)


def test_dates_in_any_form_are_the_same():
    days = [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d} {i % 24:02d}:{i % 60:02d}" for i in range(90)]
    encoding, x = fitted(days)
    assert "a hour" in encoding.input_names
    assert "a second" not in encoding.input_names
    moments = [datetime.datetime.fromisoformat(one) for one in days]
    zone = datetime.timezone(datetime.timedelta(hours=5))
    for same in (
        moments,
        np.array(days, "M8[m]"),
        [one.replace(tzinfo=zone) for one in moments],
        [one.strftime("%d %b %Y, %H:%M") for one in moments],
    ):
        np.testing.assert_array_equal(encoding.encode({"a": same}), x)
        one = same[7]
        np.testing.assert_array_equal(encoding.encode_one({"a": one}), x[7])
    with pytest.raises(ValueError, match="holds '03/04/2024'; expected dates such as 2024-12-31"):
        encoding.encode({"a": ["03/04/2024"]})  # could be either, and is not guessed
    assert np.isfinite(encoding.encode({"a": [None]})).all()


# --- tables -----------------------------------------------------------------------------------


def mixed(rows=40):
    g = np.random.default_rng(1)
    return {
        "age": np.where(g.random(rows) < 0.2, np.nan, g.integers(18, 90, rows)),
        "town": [["Köln", "Nara", "Oslo", None][i % 4] for i in range(rows)],
        "street": [f"s{i % 13}" for i in range(rows)],
        "owner": g.random(rows) < 0.3,
        "since": np.datetime64("2020-01-01") + g.integers(0, 2000, rows),
        "fee": [f"${i * 37 % 11:,}.50" for i in range(rows)],
        "id": [f"k{i:04x}" for i in range(rows)],
    }


def test_blocks_names_and_groups():
    encoding = Encoding.fit(mixed())
    x = encoding.encode(mixed())
    assert x.shape == (40, encoding.inputs)
    assert (x.dtype, x.flags.c_contiguous) == (np.float32, True)
    assert encoding.inputs == encoding.numbers + encoding.flags + len(encoding.cardinalities)
    assert len(encoding.input_names) == encoding.inputs
    assert encoding.input_names[0] == "age"
    assert encoding.input_names[encoding.numbers] == "age is missing"
    assert encoding.input_names[-1] == "street"
    assert sorted(i for group in encoding.groups.values() for i in group) == list(
        range(encoding.inputs)
    )
    assert "id" not in encoding.groups
    codes = x[:, -1]
    assert (codes == codes.round()).all()
    assert codes.max() < encoding.cardinalities[0]
    assert repr(encoding) == f"<Encoding of 6 of 7 columns: {encoding.inputs} inputs>"


def test_order_and_number_of_columns_do_not_matter():
    table = mixed()
    encoding = Encoding.fit(table)
    other = {name: table[name] for name in reversed(table) if name != "id"} | {"new": [None] * 40}
    np.testing.assert_array_equal(encoding.encode(other), encoding.encode(table))


def test_rows_one_by_one():
    table = mixed()
    encoding = Encoding.fit(table)
    x = encoding.encode(table)
    for i in range(40):
        row = {name: cells[i] for name, cells in table.items()}
        np.testing.assert_array_equal(encoding.encode_one(row), x[i])
        np.testing.assert_array_equal(encoding.encode_one(list(row.values())), x[i])
        np.testing.assert_array_equal(encoding.encode([row])[0], x[i])


WRONG_LATER = {
    "missing column": ({"town": None, "age": None}, "the model needs column 'age', 'town'"),
    "misspelt": ({"town": None, "towns": ["Oslo"] * 40}, "column 'town'; did you mean 'towns'"),
    "text": ({"age": ["30"] * 5 + ["many"] + ["30"] * 34},
             "column 'age', row 6: holds the text 'many'; it held numbers in training"),
    "date": ({"age": np.arange(40).astype("M8[D]")}, "column 'age', row 1: holds a date; expected"),
    "infinite": ({"age": [1.0] * 39 + [-np.inf]}, "column 'age', row 40: is infinite"),
    "numbers for words": ({"town": np.arange(40)}, "column 'town', row 1: holds '0', not a"),
    "texts of numbers for words": ({"town": list(map(str, range(40)))}, "'town', row 1: holds '0'"),
    "number for a date": ({"since": np.arange(40)}, "row 1: holds a number; expected dates"),
    "word for a date": ({"since": ["2020-01-01"] * 39 + ["soon"]},
                        "row 40: holds 'soon'; expected dates such as 2024-12-31, as in training"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_LATER)
def test_wrong_later(name):
    change, message = WRONG_LATER[name]
    encoding = Encoding.fit(mixed())
    table = {name: one for name, one in (mixed() | change).items() if one is not None}
    with pytest.raises(ValueError, match=f"new.csv: .*{message}"):
        encoding.encode(of(table, source="new.csv"))


WRONG_ROWS = {
    "missing": ({"age": 3}, "the row has no 'town'"),
    "misspelt": (lambda row: {("towns" if k == "town" else k): v for k, v in row.items()},
                 "the row has no 'town', but 'towns'; None"),
    "text": (lambda row: row | {"age": "many"}, "column 'age': holds the text 'many'"),
    "list": (lambda row: row | {"town": []}, "column 'town': holds list"),
    "infinite": (lambda row: row | {"age": np.inf}, "column 'age': is infinite"),
    "date": (lambda row: row | {"since": 3}, "column 'since': holds int; expected a date"),
    "number": (lambda row: row | {"town": 3}, "column 'town': holds '3', not a text"),
    "short": (lambda row: [1, 2], "a row of 2 cells; expected 7: 'age', 'town'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_rows(name):
    change, message = WRONG_ROWS[name]
    table = mixed()
    row = {name: cells[0] for name, cells in table.items()}
    row = change(row) if callable(change) else change
    with pytest.raises(ValueError, match=message):
        Encoding.fit(table).encode_one(row)


def test_row_of_the_source_is_named():
    table = of({"a": [1.0] * 9 + [np.inf], "b": np.arange(10)}, source="t.csv")
    with pytest.raises(ValueError, match=r"t\.csv: column 'a', row 10: is infinite"):
        Encoding.fit(table.take(np.array([2, 9])))


def test_arrays_go_by_position():
    x = G.normal(size=(30, 4))
    x[:, 1] = 7
    encoding = Encoding.fit(x)
    assert encoding.input_names == ["x0", "x2", "x3"]
    np.testing.assert_array_equal(
        encoding.encode(x), encoding.encode({f"x{i}": x[:, i] for i in (3, 2, 0)})
    )
    np.testing.assert_array_equal(encoding.encode_one(x[3]), encoding.encode(x)[3])
    with pytest.raises(ValueError, match="3 columns without names; the model takes 4"):
        encoding.encode(x[:, :3])


def test_objects_in_an_array():
    x = np.array([[1, "a", None], [2.5, "b", True], [3, "a", False]], object)
    encoding = Encoding.fit(x)
    assert [column.kind for column in encoding.columns.values()] == [
        "number",
        "category",
        "boolean",
    ]
    np.testing.assert_array_equal(encoding.encode(x.tolist()), encoding.encode(x))


def test_ten_thousand_columns():
    x = G.normal(size=(30, 10_000))
    encoding = Encoding.fit(x)
    assert encoding.inputs == 10_000
    np.testing.assert_array_equal(encoding.encode(x)[7], encoding.encode_one(x[7]))
    entries, tensors = encoding.to_file()
    assert Encoding.from_file(json.loads(json.dumps(entries)), tensors).inputs == 10_000


def test_describe_and_decisions():
    encoding = Encoding.fit(mixed(), drop=["fee"])
    text = encoding.describe()
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert list(lines) == ["column", *mixed()]
    assert "category, one-hot" in lines["town"]
    assert "3: 'Köln', 'Nara', 'Oslo'" in lines["town"]
    assert "1 of 15" in lines["street"]
    assert lines["fee"].endswith("as told")
    assert lines["id"].endswith("an id: nearly every row has a text of its own")
    assert "2020-" in lines["since"]
    by_name = {one.column: one for one in encoding.decisions}
    assert by_name["town"].missing == 10
    assert by_name["town"].inputs[-1] == "town is missing"
    assert by_name["id"].inputs == []
    assert [name for one in encoding.decisions for name in one.inputs if "=" in name] == [
        name for name in encoding.input_names if "=" in name
    ]


# --- in a file --------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", scaling.SCALES)
def test_file_round_trip(numbers):
    encoding = Encoding.fit(mixed(), numbers=numbers)
    entries, tensors = encoding.to_file()
    again = Encoding.from_file(json.loads(json.dumps(entries)), tensors)
    np.testing.assert_array_equal(again.encode(mixed()), encoding.encode(mixed()))
    assert again.describe() == encoding.describe()
    assert again.cardinalities == encoding.cardinalities
    row = {name: cells[5] for name, cells in mixed().items()}
    np.testing.assert_array_equal(again.encode_one(row), encoding.encode_one(row))


def damaged(change):
    entries, tensors = Encoding.fit(mixed()).to_file()
    entries = json.loads(json.dumps(entries))
    change(entries["columns"], tensors)
    return entries, tensors


DAMAGES = {
    "no columns": lambda columns, tensors: columns.clear(),
    "no kind": lambda columns, tensors: columns[0].pop("kind"),
    "other kind": lambda columns, tensors: columns[0].update(kind="nothing"),
    "name": lambda columns, tensors: columns[0].update(name=3),
    "twice": lambda columns, tensors: columns[0].update(name="town"),
    "sizes": lambda columns, tensors: columns[0].update(arrays=[1000]),
    "negative": lambda columns, tensors: columns[0].update(arrays=[-1]),
    "parts": lambda columns, tensors: columns[0].update(parts={"year": "linear"}),
    "scale": lambda columns, tensors: columns[0].update(parts={"": "cubic"}),
    "decimal": lambda columns, tensors: columns[0].update(decimal=";"),
    "known": lambda columns, tensors: columns[1].update(known=[1, 2, 3]),
    "too few": lambda columns, tensors: columns[1].update(known=["x"]),
    "layout": lambda columns, tensors: columns[1].update(layout="x"),
    "order": lambda columns, tensors: columns[4].update(order="x"),
    "no tensor": lambda columns, tensors: tensors.clear(),
    "short tensor": lambda columns, tensors: tensors.update(encoding=tensors["encoding"][:-1]),
    "nan": lambda columns, tensors: tensors.update(encoding=tensors["encoding"] * np.nan),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_description(name):
    with pytest.raises(ValueError, match="the description of the columns is damaged"):
        Encoding.from_file(*damaged(DAMAGES[name]))


@pytest.mark.parametrize("entries", [None, [], {"columns": 3}, "x"])
def test_no_description(entries):
    with pytest.raises(ValueError, match="is damaged"):
        Encoding.from_file(entries, {"encoding": np.zeros(3)})
