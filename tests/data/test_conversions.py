"""What numbers may come as: no warning before an error, and arrays of objects."""

from __future__ import annotations

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from model_helpers import unchanged

import fastnn as fnn

X = np.random.default_rng(0).normal(size=(12, 3))
Y = X[:, :2].copy()


def model_of(dtype):
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), dtype=dtype, seed=0)
    model.compile("adam", "mse")
    return model


def spoilt(array, dtype, value):
    array = array.astype(dtype)
    array.reshape(-1)[3] = value  # in row 1 of each
    return array


def frame(array):
    return pytest.importorskip("pandas").DataFrame(array)


def sparse(array):
    return pytest.importorskip("scipy.sparse").csr_array(array)


CALLS = {
    "fit": lambda m, bad: m.fit(bad(X), Y, verbose=0),
    "y": lambda m, bad: m.fit(X, bad(Y), verbose=0),
    "weights": lambda m, bad: m.fit(X, Y, sample_weight=bad(np.ones(12)), verbose=0),
    "validation": lambda m, bad: m.fit(X, Y, validation_data=(bad(X), Y), verbose=0),
    "batches": lambda m, bad: m.fit([(bad(X), Y)], verbose=0),
    "evaluate": lambda m, bad: m.evaluate(bad(X), Y),
    "predict": lambda m, bad: m.predict(bad(X)),
    "columns": lambda m, bad: m.predict(np.asfortranarray(bad(X))),
    "strided": lambda m, bad: m.predict(np.repeat(bad(X), 2, axis=0)[::2]),
    "train_on_batch": lambda m, bad: m.train_on_batch(bad(X), Y),
    "predict_one": lambda m, bad: m.predict_one(bad(X)[1]),
    "learn_one": lambda m, bad: m.learn_one(bad(X)[1], Y[1]),
    "learn_one y": lambda m, bad: m.learn_one(X[1], bad(Y)[1]),
    "set_weights": lambda m, bad: m.set_weights([bad(X[:3, :2]), np.zeros(2)]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("model_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f4", ">f8"])
def test_the_error_comes_before_any_warning(call, value, model_dtype, dtype):
    model = model_of(model_dtype)
    with warnings.catch_warnings(), unchanged(model):
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="must hold finite numbers"):
            CALLS[call](model, lambda array: spoilt(array, dtype, value))


@pytest.mark.parametrize("made", [frame, sparse])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_comes_before_any_warning_for_frames_and_sparse(made, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"must hold finite numbers|missing value"):
            model_of("float64").predict(made(spoilt(X, dtype, np.nan)))


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e300, "numbers that float32 can hold"), (np.longdouble("1e4000"), "finite numbers")],
)
def test_numbers_that_are_too_large(value, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"x must hold {message}"):
            model_of("float32").predict(spoilt(X, type(value), value))


# --- arrays of objects ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kinds",
    [
        [float], [int], [bool], [np.float32], [np.int8, int], [Decimal], [Fraction],
        [float, int, bool, Decimal, Fraction, np.float64],
    ],
)  # fmt: skip
def test_objects_that_are_numbers(kinds):
    values = np.arange(12).reshape(4, 3) % 7
    objects = np.empty((4, 3), object)
    for position, (where, value) in enumerate(np.ndenumerate(values)):
        objects[where] = kinds[position % len(kinds)](int(value))
    wanted = objects.astype(np.float64)
    for model in (model_of("float32"), model_of("float64")):
        np.testing.assert_array_equal(model.predict(objects), model.predict(wanted))
        np.testing.assert_array_equal(model.predict_one(objects[1]), model.predict_one(wanted[1]))
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({name: objects[:, i] for i, name in enumerate("abc")}, dtype=object)
    np.testing.assert_array_equal(model.predict(table), model.predict(wanted))


def test_objects_as_labels_and_weights():
    labels = np.array([0, 1, True, np.int8(1)] * 3, object)
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile("adam", "crossentropy")
    weights = np.array([1, 2.5, Decimal("0.5"), True] * 3, object)
    found = model.evaluate(X, labels, weights)
    assert found == model.evaluate(X, labels.astype(int), weights.astype(float))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("cat", TypeError, r"x must hold real numbers, got 'cat' \(str\) at \[1, 2\]"),
        (None, TypeError, r"x must hold real numbers, got nothing \(None\) at \[1, 2\]"),
        (1j, TypeError, r"x must hold real numbers, got 1j \(complex\) at \[1, 2\]"),
        ([1], TypeError, r"x must hold real numbers, got \[1\] \(list\) at \[1, 2\]"),
        (10**400, ValueError, r"x must hold numbers that float64 can hold, got 1000"),
        (float("nan"), ValueError, r"x must hold finite numbers, got nan at \[1, 2\]"),
        (Decimal("NaN"), ValueError, r"x must hold finite numbers, got nan at \[1, 2\]"),
    ],
)
def test_objects_that_are_none(value, error, message):
    objects = np.full((2, 3), 0.5, object)
    objects[1, 2] = value
    model = model_of("float32")
    for call in (model.predict, lambda x: model.fit(x, Y[:2], verbose=0)):
        with unchanged(model), pytest.raises(error, match=message):
            call(objects)
    with pytest.raises(error, match=message.split(",")[0]):
        model.predict_one(objects[1])
