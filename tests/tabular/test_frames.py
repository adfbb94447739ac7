"""The same cells in pandas, Polars, Arrow, arrays, dicts and lists give the same inputs."""

import datetime
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from fastnn.tabular import Encoding, Target, of, read

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

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
            "intervals": pandas.Series(pandas.cut(np.arange(20), 3)).astype("interval"),
            "months": pandas.period_range("2024-01", periods=4, freq="M").astype("category")[
                [0, 1, 2, 3] * 5
            ],
            "blank": pandas.Categorical(["", "a", "b", "a"] * 5),
        }
    )
    encoding = Encoding.fit(frame)
    kinds = ["date", "number", *["category"] * 4]
    assert [one.kind for one in encoding.columns.values()] == kinds
    intervals = encoding.columns["intervals"].known
    assert intervals == encoding.columns["range"].known == sorted(map(str, set(frame["range"])))
    assert encoding.columns["months"].known[0] == "2024-01-01 00:00:00"
    assert encoding.columns["blank"].missing == 5
    np.testing.assert_array_equal(
        encoding.encode(frame.assign(intervals=frame["range"].astype(str))), encoding.encode(frame)
    )


def test_index_with_a_zone_is_a_column():
    index = pandas.date_range("2024-01-01", periods=24, tz="Asia/Tokyo")
    want = Encoding.fit({"a": index.tz_localize(None)}).encode({"a": index.tz_localize(None)})
    np.testing.assert_array_equal(Encoding.fit({"a": index}).encode({"a": index}), want)


def test_integers_of_polars_that_numpy_has_not():
    polars = pytest.importorskip("polars")
    column = polars.Series([1, None, 3] * 8, dtype=polars.Int128)
    assert Encoding.fit({"a": column}).columns["a"].reason == "whole numbers"


def test_strings_of_numpy_with_gaps():
    column = np.array(["a", np.nan, "b"] * 8, np.dtypes.StringDType(na_object=np.nan))
    column = Encoding.fit({"a": column}).columns["a"]
    assert (column.known, column.missing) == (["a", "b"], 8)


def test_masked_array():
    x = np.ma.array(np.arange(20.0).reshape(10, 2), mask=np.eye(10, 2) > 0)
    assert Encoding.fit(x).input_names == ["x0", "x1", "x0 is missing", "x1 is missing"]


MASKED = {
    "text": np.array(["a", "b", "c"] * 8),
    "objects": np.array(["a", "b", object()] * 8, object),
    "whole": np.arange(24) % 3,
    "real": np.arange(24.0) % 3,
    "flag": np.arange(24) % 3 > 1,
    "date": np.array(["2020-01-01", "2021-01-01", "20000-01-01"] * 8, "M8[D]"),
    "nanoseconds": np.array([1, 10**9, 10**18] * 8, "M8[ns]"),
    "span": np.array([1, 2, 3] * 8, "m8[h]"),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_cells_are_missing(name):
    array = np.ma.array(MASKED[name], mask=[False, False, True] * 8)
    plain = [None if i % 3 == 2 else one for i, one in enumerate(MASKED[name])]
    want = Encoding.fit({"a": plain}).encode({"a": plain})
    for table in ({"a": array}, {"a": array[:, None]}, {"a": [*array]}, array[:, None]):
        encoding = Encoding.fit(table)
        (column,) = encoding.columns.values()
        assert column.missing == 8
        np.testing.assert_array_equal(encoding.encode(table), want)


FAR = 2**60
FAR_DATES = {
    "numpy": lambda: np.array([FAR, 1] * 12, "M8[s]"),
    "years": lambda: np.array([FAR, 1] * 12, "M8[Y]"),
    "objects": lambda: [np.datetime64(FAR, "s"), np.datetime64(1, "s")] * 12,
    "pandas": lambda: pandas.Series(np.array([2**55, 1] * 12, "M8[s]")),
    "arrow": lambda: pyarrow.array([FAR, 1] * 12, pyarrow.timestamp("s")),
    "arrow, zone": lambda: pyarrow.array([2**55, 1] * 12, pyarrow.timestamp("s", "Asia/Tokyo")),
    "polars": lambda: polars_times("Datetime", "ms"),
    "polars, zone": lambda: polars_times("Datetime", "ms", "Asia/Tokyo"),
}  # fmt: skip
FAR_SPANS = {
    "numpy": lambda: np.array([2**62, 1] * 12, "m8[D]"),
    "objects": lambda: [np.timedelta64(2**62, "D"), np.timedelta64(1, "D")] * 12,
    "arrow": lambda: pyarrow.array([FAR, 1] * 12, pyarrow.duration("s")),
    "polars": lambda: polars_times("Duration", "ms"),
}


def polars_times(kind, *arguments):
    polars = pytest.importorskip("polars")
    return polars.Series([FAR, 1] * 12).cast(getattr(polars, kind)(*arguments))


@pytest.mark.parametrize("name", FAR_DATES)
def test_dates_that_are_far_away_are_refused(name):
    with pytest.raises(ValueError, match="'a', row 1: is not within the years 1 to 9999"):
        Encoding.fit({"a": FAR_DATES[name]()})


@pytest.mark.parametrize("name", FAR_SPANS)
def test_durations_that_are_too_long_are_refused(name):
    with pytest.raises(ValueError, match="'a', row 1: is a duration of more than 999,999,999 days"):
        Encoding.fit({"a": FAR_SPANS[name]()})


@pytest.mark.parametrize("kind", ["f8", "M8[s]", "m8[s]", "object"])
def test_column_without_a_cell_fits_any_kind(kind):
    encoding = Encoding.fit(CELLS)
    names = list(CELLS)
    empty = pandas.DataFrame({name: pandas.Series([None] * 2, dtype=kind) for name in names})
    want = encoding.encode([dict.fromkeys(names)] * 2)
    np.testing.assert_array_equal(encoding.encode(empty), want)


def test_the_longest_durations_are_taken():
    days = [999_999_999, 1, None] * 8
    spans = [None if one is None else datetime.timedelta(one) for one in days]
    want = Encoding.fit({"a": spans}).encode({"a": spans})
    array = np.array([np.timedelta64("NaT" if one is None else one, "D") for one in days])
    encoding = Encoding.fit({"a": array.astype("m8[s]")})
    longest = Encoding.fit({"a": [datetime.timedelta.max, datetime.timedelta(1)] * 12})
    assert longest.columns["a"].values == "86,400 to 8.64e+13 seconds"
    np.testing.assert_array_equal(encoding.encode({"a": array}), want)
    np.testing.assert_array_equal(encoding.encode_one({"a": array[0]}), want[0])


def test_times_far_away_in_a_file(tmp_path):
    times = {"a": np.array([2**53, 1] * 12, "M8[ms]"), "b": np.arange(24.0)}
    pyarrow.parquet.write_table(pyarrow.table(times), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t.parquet: column 'a', row 1: is not within the years"):
        Encoding.fit(read(tmp_path / "t.parquet"))


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
    "dict as column": ({"a": {0: 1.0, 1: 2.0}}, TypeError, "column 'a' must be a list .* got dict"),
    "set as column": ({"a": {1, 2}}, TypeError, "column 'a' must be a list .* got set"),
    "frame as column": ({"a": pandas.DataFrame({"b": [1, 2]})}, TypeError,
                        r"column 'a' must be a list .* got DataFrame of shape \(2, 1\)"),
    "three columns as one": ({"a": np.ones((2, 3))}, TypeError,
                             r"column 'a' .* got ndarray of shape \(2, 3\)"),
    "0-d": ({"a": np.array(1.0)}, TypeError, r"column 'a' .* got ndarray of shape \(\)"),
    "arrow table as column": ({"a": pyarrow.table({"b": [1, 2]})}, TypeError,
                              r"column 'a' .* got Table of shape \(2, 1\)"),
    "bytes": ({"a": bytearray(b"ab")}, TypeError, "column 'a' must be a list .* got bytearray"),
    "table as column": ({"a": of({"b": [1, 2]})}, TypeError, "column 'a' must be a list"),
    "keys": ([{1: 2.0, "1": 3.0}] * 2, ValueError, "columns 1 and 2 are both called '1'"),
    "nested": ({"a": pyarrow.array([[1], [2]])}, ValueError, "holds list<item: int64>"),
}  # fmt: skip


def test_sparse_matrix_as_a_column():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(np.ones((2, 1))), sparse.csr_array(np.ones((2, 3)))):
        with pytest.raises(TypeError, match=r"column 'a' must be a list .* got csr_.* of shape"):
            of({"a": matrix})


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
