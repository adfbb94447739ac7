"""The same cells in pandas, Polars, Arrow, arrays, dicts and lists give the same inputs."""

import datetime
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from fastnn.tabular import Encoding, Target, of

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")

N = 30
DAYS = [datetime.datetime(2024, 1 + i % 12, 1 + i % 28, i % 24) for i in range(N)]
CELLS = {
    "whole": [i * 7 % 13 for i in range(N)],
    "gap": [None if i % 5 == 0 else i * 3 % 11 for i in range(N)],
    "real": [i * 0.37 % 1.7 for i in range(N)],
    "town": [["Köln", "Nara", None][i % 3] for i in range(N)],
    "flag": [i % 4 == 0 for i in range(N)],
    "flag gap": [None if i % 3 == 0 else i % 4 == 0 for i in range(N)],
    "when": DAYS,
    "day": [None if i % 7 == 0 else one.date() for i, one in enumerate(DAYS)],
    "took": [datetime.timedelta(minutes=i * 7 % 17) for i in range(N)],
    "price": [Decimal(i * 5 % 19) / 4 for i in range(N)],
}


def with_pandas(**dtypes):
    return lambda: pandas.DataFrame(CELLS).astype(dtypes)


def with_polars():
    return pytest.importorskip("polars").DataFrame(CELLS)


def with_polars_categories():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(CELLS).with_columns(polars.col("town").cast(polars.Categorical))


def of_arrow_in_pandas():
    return pyarrow.table(CELLS).to_pandas(types_mapper=pandas.ArrowDtype)


def encoded_as_dictionary():
    table = pyarrow.table(CELLS)
    at = table.column_names.index("town")
    return table.set_column(at, "town", table["town"].dictionary_encode())


SAME = {
    "rows": lambda: [{name: CELLS[name][i] for name in CELLS} for i in range(N)],
    "pandas": with_pandas(),
    "nullable": with_pandas(whole="Int64", gap="Int64", real="Float64", town="string",
                            flag="boolean"),
    "objects": with_pandas(whole=object, real=object, town=object, flag=object),
    "small": with_pandas(whole="int8", gap="float32", town="category"),
    "arrow in pandas": of_arrow_in_pandas,
    "arrow": lambda: pyarrow.table(CELLS),
    "arrow, chunks": lambda: pyarrow.concat_tables([pyarrow.table(CELLS).slice(0, 9),
                                                    pyarrow.table(CELLS).slice(9)]),
    "arrow, dictionary": encoded_as_dictionary,
    "arrow, batch": lambda: pyarrow.table(CELLS).to_batches()[0],
    "polars": with_polars,
    "polars, categories": with_polars_categories,
    "polars, lazy": lambda: with_polars().lazy(),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_same_cells_same_inputs(name):
    encoding = Encoding.fit(CELLS)
    assert set(encoding.groups) == set(CELLS)
    want = encoding.encode(CELLS)
    data = SAME[name]()
    np.testing.assert_array_equal(encoding.encode(data), want)
    again = Encoding.fit(data)
    assert again.input_names == encoding.input_names
    np.testing.assert_array_equal(again.encode(data), want)


def test_rows_of_a_frame():
    frame = pandas.DataFrame(CELLS)
    encoding = Encoding.fit(frame)
    for i in range(N):
        np.testing.assert_array_equal(
            encoding.encode_one(frame.iloc[i]), encoding.encode(frame.iloc[i : i + 1])[0]
        )


def in_tokyo(series):
    return series.dt.tz_localize("Asia/Tokyo")


ZONES = {
    "pandas": in_tokyo,
    "arrow": lambda series: pyarrow.table({"t": pyarrow.array(in_tokyo(series))})["t"],
    "arrow dtype": lambda series: in_tokyo(series).astype("timestamp[us, tz=Asia/Tokyo][pyarrow]"),
}


@pytest.mark.parametrize("name", ZONES)
def test_zones_are_taken_by_their_own_clock(name):
    series = pandas.Series(DAYS)
    encoding = Encoding.fit({"t": series})
    np.testing.assert_array_equal(
        encoding.encode({"t": ZONES[name](series)}), encoding.encode({"t": series})
    )


def test_categories_of_pandas_are_categories_though_they_are_numbers():
    frame = pandas.DataFrame({"a": pandas.Categorical([3, 1, 2, 1] * 5)})
    encoding = Encoding.fit(frame)
    assert encoding.columns["a"].reason == "the table says so"
    assert encoding.input_names == ["a=1", "a=2", "a=3"]
    np.testing.assert_array_equal(encoding.encode({"a": [3, 1, 2, 1] * 5}), encoding.encode(frame))


def test_more_of_pandas():
    frame = pandas.DataFrame(
        {
            "period": pandas.period_range("2024-01", periods=20, freq="M"),
            "sparse": pandas.arrays.SparseArray([0, 1] * 10),
            "range": pandas.cut(np.arange(20), 3),
        }
    )
    columns = Encoding.fit(frame).columns
    assert [one.kind for one in columns.values()] == ["date", "number", "category"]


def test_masked_array():
    x = np.ma.array(np.arange(20.0).reshape(10, 2), mask=np.eye(10, 2) > 0)
    assert Encoding.fit(x).input_names == ["x0", "x1", "x0 is missing", "x1 is missing"]


def test_frames_without_text_for_names_are_taken_by_position():
    x = np.random.default_rng(0).normal(size=(20, 3))
    encoding = Encoding.fit(x)
    np.testing.assert_array_equal(encoding.encode(pandas.DataFrame(x)), encoding.encode(x))


WRONG = {
    "text": ("abc", TypeError, "expected a frame, an array of shape .* got str"),
    "number": (3, TypeError, "got int"),
    "series": (pandas.Series([1, 2]), TypeError, "expected a table, got one column"),
    "flat": (np.ones(3), ValueError, r"shape \(rows, columns\), got \(3,\)"),
    "deep": (np.ones((3, 2, 2)), ValueError, "got"),
    "ragged": ([[1, 2], [3]], ValueError, "rows of the same number of cells"),
    "lengths": ({"a": [1, 2], "b": [1]}, ValueError, "column 'b' has 1 rows, column 'a' has 2"),
    "one row": ({"a": 1}, TypeError, "column 'a' must be a list or array.* a list of one dict"),
    "twice": (pandas.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]), ValueError,
              "columns 1 and 3 are both called 'a'"),
    "no rows": (pandas.DataFrame({"a": []}), ValueError, "no rows"),
    "nested": ({"a": pyarrow.array([[1], [2]])}, ValueError, "holds list<item: int64>"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data(name):
    data, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        Encoding.fit(data)


def test_column_that_is_not_there():
    with pytest.raises(ValueError, match=r"t: there is no column 'twon'; did you mean 'town'\?"):
        of({"town": [1]}, source="t").cells("twon")


def test_targets_of_frames():
    for values in (
        pandas.Series(["a", None, "b"], dtype="category"),
        pandas.Series(["a", None, "b"], dtype="string"),
        pandas.DataFrame({"y": ["a", None, "b"]}),
        pyarrow.array(["a", None, "b"]),
        pytest.importorskip("polars").Series(["a", None, "b"]),
    ):
        target = Target.fit(values)
        assert (target.classes.tolist(), target.missing) == (["a", "b"], 1)
    nullable = pandas.Series([1, None, 3], dtype="Int64")
    assert Target.fit(nullable).classes.tolist() == [1, 3]


def test_heavy_libraries_are_not_imported():
    program = (
        "import sys; from fastnn.tabular import Encoding, Target\n"
        "table = {'a': [1, 2, None], 'b': ['x', 'y', 'x']}\n"
        "Encoding.fit(table).encode(table); Target.fit([1, 2]).encode([1])\n"
        "print([m for m in ('pandas', 'pyarrow', 'polars', 'scipy') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
