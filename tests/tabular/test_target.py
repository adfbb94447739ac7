"""Targets: task, classes in their dtype, numbers in their unit, missing ones, errors."""

import json
from decimal import Decimal

import numpy as np
import pytest

from fastnn.tabular import Target, read
from fastnn.tabular.cells import of_texts
from fastnn.tabular.class_labels import shown_classes
from fastnn.tabular.fitting import taken

TASKS = {
    "text": (["b", "a", "b"], "classification", ["a", "b"]),
    "bools": (np.array([True, False, True]), "classification", [False, True]),
    "ints": (np.array([10, 9, 10]), "classification", [9, 10]),
    "whole floats": (np.array([1.0, 2.0, 1.0]), "regression", None),
    "floats": (np.array([1.0, 2.5, 1.0]), "regression", None),
    "many ints": (np.arange(30), "regression", None),
    "decimals": ([Decimal("1.5"), Decimal("2")], "regression", None),
    "ints of a file": (of_texts(["10", "9", "10"]), "classification", [9, 10]),
    "codes of a file": (of_texts(["00501", "10115"]), "classification", ["00501", "10115"]),
    "NA and None of a file": (of_texts(["NA", "None"]), "classification", ["NA", "None"]),
    "numbers of a file": (of_texts(["1.5", "2"]), "regression", None),
    "decimal commas": (of_texts(["1,5", "2,25"]), "regression", None),
    "booleans of a file": (of_texts(["True", "False"]), "classification", ["False", "True"]),
}


@pytest.mark.parametrize("name", TASKS)
def test_task(name):
    values, task, classes = TASKS[name]
    target = Target.fit(values)
    assert target.task == task
    assert (None if target.classes is None else target.classes.tolist()) == classes


def test_task_can_be_said():
    target = Target.fit([1.0, 2.5, 1.0], "classification")
    assert target.classes.tolist() == [1.0, 2.5]
    assert target.encode([2.5, 1]).tolist() == [1, 0]
    assert Target.fit([1, 2, 1], "regression").mean == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="task must be 'auto', 'classification' or 'regression'"):
        Target.fit([1, 2], "classify")


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 1, 2], np.int8),
        np.array([1.5, 2.5]),
        np.array(["b", "a"]),
        np.array(["b", "a"], object),
        np.array([True, False]),
        np.array([0, 1], np.uint16),
    ],
    ids=lambda values: values.dtype.str,
)
def test_classes_keep_their_dtype(values):
    target = Target.fit(values, "classification")
    assert target.classes.dtype == values.dtype
    np.testing.assert_array_equal(target.classes, np.unique(values))
    outputs = np.eye(len(target.classes))[target.encode(values)]
    np.testing.assert_array_equal(target.decode(outputs), values)
    again = Target.from_file(json.loads(json.dumps(target.to_file())))
    assert again.classes.dtype == values.dtype
    np.testing.assert_array_equal(again.decode(outputs), values)


LABELS = {
    "digits": np.array(["1", "2", "10"]),
    "digits as objects": np.array(["1", "2", "10"], object),
    "a list of digits": ["1", "2", "10"],
    "spaces": np.array(["no ", "no", " no"]),
    "large": 2**60 + np.arange(3),
    "a list of larger": [2**70, 2**70 + 1],
    "days": np.array(["2021-01-01", "2020-01-01"], "datetime64[D]"),
    "moments": np.array([1, 2, 3], "datetime64[ns]"),
    "spans": np.array([3, 1], "timedelta64[s]"),
    "strings": np.array(["b", "a", "10", "9"], np.dtypes.StringDType()),
    "small floats": np.array([0.1, 2], np.float32),
    "a list of floats": [1, 1.0, 2.0],
}


@pytest.mark.parametrize("name", LABELS)
def test_classes_given_in_python_are_those_of_numpy(name):
    values = LABELS[name]
    want = np.unique(values)
    target = Target.fit(values, "classification")
    again = Target.from_file(json.loads(json.dumps(target.to_file())))
    for one in (target, again):
        assert one.classes.dtype == want.dtype
        np.testing.assert_array_equal(one.classes, want)
        np.testing.assert_array_equal(one.classes[one.encode(values)], np.asarray(values))
    codes = target.encode(values)
    assert target.counts.tolist() == np.bincount(codes).tolist()


def columns_with_gaps():
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    yield pd.Series([2, 10, None], dtype="Int8"), np.array([2, 10], np.int8)
    yield pd.Series([2, 10, None], dtype="int16[pyarrow]"), np.array([2, 10], np.int16)
    yield pd.Series([2, 10, 10]).astype("category"), np.array([2, 10])
    yield pd.Series(["2", None, "10"], dtype="string"), np.array(["10", "2"], object)
    yield pd.Series(["2", None, "10"], dtype="category"), np.array(["10", "2"], object)
    yield pd.Index([2, 10]), np.array([2, 10])
    yield pd.Categorical([2, 10, None]), np.array([2, 10])
    yield pa.array(["2", None, "10"]), np.array(["10", "2"], object)
    yield pa.chunked_array([pa.array([10], pa.int8()), [None, 2]], pa.int8()), np.int8([2, 10])
    yield pa.array(["2", "10"]).dictionary_encode(), np.array(["10", "2"], object)
    yield np.ma.MaskedArray([2, 7, 10], [0, 1, 0]), np.array([2, 10])
    yield [None, "2", "10"], np.array(["10", "2"])


def test_classes_of_columns_with_missing_cells():
    for column, want in columns_with_gaps():
        target = Target.fit(column, "classification")
        assert target.classes.dtype == want.dtype, column
        np.testing.assert_array_equal(target.classes, want)
        present = taken(column, np.flatnonzero(target.present(column)))
        assert sorted(set(target.encode(present).tolist())) == [0, 1]


def test_classes_of_polars():
    pl = pytest.importorskip("polars")
    for column, want in (
        (pl.Series([10, None, 2], dtype=pl.Int8), np.array([2, 10], np.int8)),
        (pl.Series(["2", None, "10"]), np.array(["10", "2"], object)),
        (pl.Series(["2", None, "10"], dtype=pl.Categorical), np.array(["10", "2"], object)),
    ):
        target = Target.fit(column, "classification")
        assert target.classes.dtype == want.dtype
        np.testing.assert_array_equal(target.classes, want)
        assert target.encode(taken(column, np.array([0, 2]))).tolist() in ([0, 1], [1, 0])


def test_a_file_finds_classes_that_were_given_in_python():
    target = Target.fit(np.array(["no ", "yes ", "1", "10", "2"]))
    assert target.encode(of_texts(["yes", "2", "no", "10"])).tolist() == [4, 2, 3, 1]
    target = Target.fit(["no", "no ", " yes", "yes "])
    assert target.encode(of_texts(["no "])).tolist() == [target.classes.tolist().index("no")]
    with pytest.raises(ValueError, match="'yes' is no class"):  # which of the two?
        target.encode(of_texts(["yes"]))
    days = Target.fit(np.array(["2020-01-05", "2021-01-05"], "datetime64[D]"))
    assert days.encode(of_texts(["2021-01-05", "2020-01-05T00:00:00"])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="'soon' is no class"):
        days.encode(of_texts(["soon"]))
    large = Target.fit(2**60 + np.arange(3), "classification")
    assert large.encode(of_texts([str(2**60 + 2)])).tolist() == [2]


def test_classes_as_they_are_written():
    moments = np.array(["2020-01-01T12:00"], "datetime64[ns]")
    assert shown_classes(moments) == ["2020-01-01T12:00:00.000000000"]
    assert shown_classes(np.array([True])) == [True]


def test_targets_of_older_files_load():
    entry = {
        "task": "classification", "name": "y", "mean": 0.0, "scale": 1.0, "missing": 0,
        "is_guess": False, "decimal": ".", "low": None, "high": None,
        "classes": ["1", "2", "10"], "dtype": "O", "counts": [1, 1, 1],
    }  # fmt: skip
    target = Target.from_file(entry)
    assert target.classes.tolist() == ["1", "2", "10"]
    assert target.encode(of_texts(["10", "1"])).tolist() == [2, 0]
    assert target.encode(["10", "2"]).tolist() == [2, 1]


def test_numbers_of_any_size_are_standardised():
    for size in (1e-300, 1e-170, 1e150):
        target = Target.fit(np.array([1.0, 2.0, 4.5]) * size)
        assert target.scale == pytest.approx(np.std([1.0, 2.0, 4.5]) * size)
    assert Target.fit([0.0, 5e-324]).encode([0.0, 5e-324]).tolist() == [0, 1]


def test_booleans_are_0_and_1_for_a_regression():
    target = Target.fit(np.array([True, False]), "regression")
    assert (target.mean, target.scale) == (0.5, 0.5)
    assert target.encode([True, False]).tolist() == [1, -1]
    assert target.numbers(np.array([True, False])).tolist() == [1, 0]


def test_leading_zeros_stay_in_a_file(tmp_path):
    (tmp_path / "t.csv").write_text("code,a\n00501,1\n10115,2\n00501,3\n")
    target = Target.fit(read(tmp_path / "t.csv").cells("code"))
    assert target.decode(np.eye(2)).tolist() == ["00501", "10115"]


def test_classes_of_a_frame_of_another_dtype():
    target = Target.fit(np.array([1, 2]))
    assert target.encode(["2", "1", "2.0"]).tolist() == [1, 0, 1]


def test_missing_targets_are_left_out_and_counted():
    for values in (["a", None, "b"], np.array([1.0, np.nan, 2.5]), of_texts(["1.5", "?", "2"])):
        target = Target.fit(values)
        assert target.missing == 1
        present = target.present(values)
        assert present.tolist() == [True, False, True]
        with pytest.raises(ValueError, match=r"target 'y', row 2: .*missing|row 2: expected a fin"):
            target.encode(values)


def test_numbers_are_standardised_and_come_back():
    values = np.array([1e6, 2e6, 4e6])
    target = Target.fit(values)
    y = target.encode(values)
    assert y.dtype == np.float32
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
    np.testing.assert_allclose(target.decode(y[:, None]), values, rtol=1e-6)
    assert (target.low, target.high) == (1e6, 4e6)


def test_counts_of_classes():
    target = Target.fit(["b", "a", "b", None])
    assert target.counts.tolist() == [1, 2]


WRONG = {
    "one class": (["a", "a"], "auto", "has only one class, 'a', in every row"),
    "one class, gaps": (["a", None], "auto", "has only one class"),
    "constant": ([2.5, 2.5], "auto", "is 2.5 in every row"),
    "text": (["a", "b"], "regression", r"holds text such as 'a' \(row 1\); regression expects"),
    "one text": (["1", "2", "x", "3"], "regression", r"holds text such as 'x' \(row 3\)"),
    "many": (np.arange(2000), "classification", "2,000 classes, the limit is 1,000"),
    "infinite": ([1.0, np.inf], "auto", "row 2: is infinite"),
    "infinite class": ([1.0, np.inf], "classification", "row 2: is infinite"),
    "all missing": ([None, np.nan], "auto", "every row is missing"),
    "nothing": ([], "auto", "there are no rows"),
    "huge": ([1e308, -1e308, 1e308], "auto", "too large numbers"),
    "list": ([[1], [2]], "auto", "row 1: holds list"),
    "wide": (np.ones((3, 2)), "auto", r"expected shape \(rows,\), got \(3, 2\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_target(name):
    values, task, message = WRONG[name]
    with pytest.raises(ValueError, match=f"t.csv: target 'price'.*{message}"):
        Target.fit(values, task, name="price", where="t.csv: ")


def test_wrong_later():
    with pytest.raises(ValueError, match="row 2: 'c' is no class that the model knows: 'a', 'b'"):
        Target.fit(["a", "b"]).encode(["a", "c"])
    with pytest.raises(ValueError, match="row 1: expected a finite number, got 'x'"):
        Target.fit([1.5, 2]).encode(["x", "1"])


@pytest.mark.parametrize(
    "change",
    [
        {"task": "x"}, {"classes": None}, {"classes": [1, [2]]}, {"classes": ["a"]}, {"dtype": "x"},
        {"classes": ["a", "a"]}, {"scale": 0}, {"mean": "x"}, {"more": 1}, {"name": 3},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_description(change):
    entry = Target.fit(["a", "b"]).to_file()
    with pytest.raises(ValueError, match="description of the target is damaged"):
        Target.from_file(entry | change)


@pytest.mark.parametrize("entry", [None, 3, {}, []])
def test_no_description(entry):
    with pytest.raises(ValueError, match="description of the target is damaged"):
        Target.from_file(entry)
