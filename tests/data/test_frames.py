"""Frames and series of pandas and Polars, for x and y."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_same_bits
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn

COLUMNS = {
    "a": np.array([1.5, 2, -3, 4] * 3),
    "b": np.array([1, 2, 3, 4] * 3, np.int8),
    "c": np.array([True, False, True, True] * 3),
    "d": np.array([7, 8, 9, 1] * 3, np.float32),
    "e": np.array([3, 1, 2, 2] * 3, np.uint32),
}
WANTED = np.stack([column.astype(np.float64) for column in COLUMNS.values()], axis=1)
LABELS = np.array([0, 1, 2] * 4)


def library(name):
    return pytest.importorskip(name)


def small():
    model = fnn.Sequential([fnn.Dense(4), fnn.Dense(3)], input_shape=(5,), seed=0, dtype="float64")
    model.compile("adam", "crossentropy")
    return model


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_frame_and_series_are_the_same_as_arrays(name):
    module = library(name)
    x, y = module.DataFrame(COLUMNS), module.Series("label", LABELS) if name == "polars" else (
        module.Series(LABELS, index=range(100, 112))
    )  # fmt: skip
    one, other = small(), small()
    a = one.fit(x, y, validation_split=0.25, epochs=2, verbose=0)
    b = other.fit(WANTED, LABELS, validation_split=0.25, epochs=2, verbose=0)
    assert weights_as_bytes(one) == weights_as_bytes(other)
    assert a.history == b.history
    assert_same_bits(one.predict(x), one.predict(WANTED))
    assert one.evaluate(x, y) == one.evaluate(WANTED, LABELS)
    assert one.evaluate([(x, y)]) == one.evaluate(WANTED, LABELS)
    assert one.train_on_batch(x, module.DataFrame({"y": LABELS})) == other.train_on_batch(
        WANTED, LABELS
    )


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_unbuilt_model_takes_its_width_from_a_frame(name):
    model = fnn.Sequential([fnn.Dense(3)])
    assert model.predict(library(name).DataFrame(COLUMNS)).shape == (12, 3)


def test_pandas_dtypes_of_extensions():
    pandas = library("pandas")
    frame = pandas.DataFrame(COLUMNS).astype(
        {"a": "Float32", "b": "Int64", "c": "boolean", "e": pandas.SparseDtype("int64", 0)}
    )
    assert_same_bits(small().predict(frame), small().predict(WANTED))
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(COLUMNS).astype({"a": "float64[pyarrow]", "c": "bool[pyarrow]"})
    assert_same_bits(small().predict(frame), small().predict(WANTED))


def test_columns_of_the_same_name():
    pandas = library("pandas")
    frame = pandas.DataFrame(WANTED, columns=["a", "a", "b", "b", "b"])
    assert_same_bits(small().predict(frame), small().predict(WANTED))


def pandas_frame(pandas, **columns):
    return pandas.DataFrame({**COLUMNS, **columns})


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda p: p.array([1, None] * 6, dtype="Int64"), ValueError,
         r"column 'b' of x has 6 missing values; use fillna\(...\) or dropna\(\) first"),
        (lambda p: np.array([np.nan] + [1.0] * 11), ValueError, "column 'b' of x has 1 missing"),
        (lambda p: np.array(["u", "v"] * 6, object), TypeError,
         r"column 'b' of x must hold numbers, got dtype (object|str); turn it into numbers"),
        (lambda p: p.Categorical(["u", "v"] * 6), TypeError, "column 'b' of x .*category"),
        (lambda p: np.array(["2024-01-01"] * 12, "M8[s]"), TypeError, "column 'b' .*datetime64"),
        (lambda p: np.ones(12, complex), TypeError, "column 'b' .*complex128"),
        (lambda p: np.array([np.inf] * 12), ValueError, r"x must hold finite .* inf at \[0, 1\]"),
    ],
)  # fmt: skip
def test_bad_column_of_pandas_is_named(change, error, match):
    pandas = library("pandas")
    model = small()
    frame = pandas_frame(pandas, b=change(pandas))
    with unchanged(model), pytest.raises(error, match=match):
        model.fit(frame, LABELS, verbose=0)


def test_bad_column_of_polars_is_named():
    polars = library("polars")
    model = small()
    for column, error, match in [
        ([1, None] * 6, ValueError, r"column 'b' of x has 6 missing values; use fill_null"),
        ([1.0, float("nan")] * 6, ValueError, "column 'b' of x has 6 missing values"),
        (["u", "v"] * 6, TypeError, "column 'b' of x must hold numbers, got dtype String"),
        ([[1]] * 12, TypeError, r"column 'b' of x must hold numbers, got dtype List"),
    ]:
        frame = polars.DataFrame(COLUMNS).with_columns(polars.Series("b", column))
        with unchanged(model), pytest.raises(error, match=match):
            model.fit(frame, LABELS, verbose=0)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_bad_y_is_named(name):
    module, model = library(name), small()
    with unchanged(model), pytest.raises(ValueError, match=r"^y has 1 missing value"):
        model.fit(WANTED, module.Series([0.0, 1.0] * 5 + [1.0, None]), verbose=0)
    with unchanged(model), pytest.raises(ValueError, match=r"^y holds 2 different labels"):
        model.fit(WANTED, module.Series(["u", "v"] * 6), verbose=0)


def test_frame_without_columns_is_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(rows, 5\), got \(3, 0\)"):
        small().predict(library("pandas").DataFrame(index=range(3)))


def test_fastnn_imports_neither():
    code = """if True:
        import sys, fastnn as fnn, numpy as np
        model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,))
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        assert not {"pandas", "polars"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_a_lazy_frame_is_to_be_collected():
    class LazyFrame:
        def collect(self):
            raise AssertionError

    with pytest.raises(
        TypeError, match=r"x must hold real numbers, got .*; collect\(\) makes a fr"
    ):
        small().predict(LazyFrame())
