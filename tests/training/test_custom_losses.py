"""User-defined losses: `losses.Custom`."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
from helpers import assert_close
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn

Custom = fnn.losses.Custom


def square(y_true, y_pred):
    return (y_pred - y_true) ** 2


def square_slope(y_true, y_pred):
    return 2 * (y_pred - y_true)


def distance(y_true, y_pred):
    """The norm of each sample's error."""
    return np.sqrt(1 + ((y_pred - y_true) ** 2).sum(axis=1))


def distance_slope(y_true, y_pred):
    return (y_pred - y_true) / distance(y_true, y_pred)[:, None]


def crossentropy(labels, z):
    return np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), labels]


def crossentropy_slope(labels, z):
    shares = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
    shares[np.arange(len(z)), labels] -= 1
    return shares


def model_of(loss, *, optimizer="adam", dtype="float64", outputs=3, end=None, **rest):
    layers = [fnn.Dense(6, "tanh"), fnn.Dense(outputs, end)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype=dtype, seed=0)
    model.compile(optimizer, loss, **rest)
    return model


@pytest.fixture
def batch(rng):
    return rng.normal(size=(33, 4)), rng.normal(size=(33, 3))


TWINS = {
    "elementwise": (lambda: Custom(square, square_slope), "mse", False),
    "of rows": (
        lambda: Custom(
            lambda t, p: square(t, p).mean(axis=1), lambda t, p: square_slope(t, p) / 3
        ),
        "mse",
        False,
    ),
    "of labels": (
        lambda: Custom(crossentropy, crossentropy_slope, takes_labels=True),
        "crossentropy",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", TWINS)
def test_as_the_native_loss(case, dtype, batch, rng):
    make, name, is_labels = TWINS[case]
    x, y = batch
    y = rng.integers(0, 3, 33) if is_labels else y
    weight = rng.random(33)
    tolerance = 1e-12 if dtype == "float64" else 3e-5
    models = [model_of(loss, dtype=dtype, metrics=["accuracy"]) for loss in (make(), name)]
    done = []
    for model in models:
        history = model.fit(
            x, y, batch_size=10, epochs=2, verbose=0, sample_weight=weight,
            validation_data=(x[:7], y[:7]),
        ).history  # fmt: skip
        steps = [model.train_on_batch(x[:9], y[:9]), model.learn_one(x[0], y[0])]
        weighted = model.evaluate(x, y, weight)
        done.append([*map(np.array, history.values()), np.array(steps), *weighted.values()])
    for ours, native in zip(*done, strict=True):
        assert_close(np.asarray(ours), np.asarray(native), tolerance)
    for ours, native in zip(*(model.get_weights() for model in models), strict=True):
        assert_close(ours, native, tolerance)


def test_is_checked_by_gradcheck(batch):
    assert fnn.gradcheck(model_of(Custom(distance, distance_slope)), *batch)
    with pytest.raises(fnn.GradientError):
        fnn.gradcheck(model_of(Custom(distance, square_slope)), *batch)
    layers = [fnn.Dense(6), fnn.Reshape((2, 3))]
    for loss in (
        Custom(square, square_slope),
        Custom(lambda t, p: square(t, p).sum(axis=(1, 2)), square_slope),
    ):
        model = fnn.Sequential(layers, input_shape=(4,), seed=0)
        model.compile("sgd", loss)
        assert fnn.gradcheck(model, batch[0][:5], batch[1][:10].reshape(5, 2, 3))
        layers = [fnn.Dense(6), fnn.Reshape((2, 3))]
    of_one = model_of(Custom(square, square_slope), outputs=1)
    assert fnn.gradcheck(of_one, batch[0], batch[1][:, 0])


def test_of_several_outputs(batch):
    x, y = batch
    results = []
    for loss in (["mse", Custom(square, square_slope)], "mse"):
        given = fnn.Input((4,))
        ends = [fnn.Dense(3, name="a")(given), fnn.Dense(3, "sigmoid", name="b")(given)]
        model = fnn.Model(given, ends, dtype="float64", seed=0)
        model.compile(fnn.SGD(0.1), loss, loss_weights=[1.0, 0.25])
        assert fnn.gradcheck(model, x, [y, y])
        results.append(model.fit(x, [y, y], epochs=2, verbose=0, sample_weight=x[:, 0] ** 2))
    for name, values in results[0].history.items():
        assert_close(np.array(values), np.array(results[1].history[name]), 1e-12)
    both = [Custom(lambda t, p: t, lambda t, p: t), Custom(lambda t, p: p, lambda t, p: p)]
    with unchanged(model), pytest.raises(ValueError, match="two losses of your own are both call"):
        model.compile("sgd", both)
    model.compile("sgd", [both[0], both[0]])


def test_with_sparse_rows_regularizers_and_lbfgs(batch):
    x, y = batch
    rows = scipy.sparse.csr_matrix(np.where(x > 0, x, 0))
    found = []
    for loss in (Custom(square, square_slope), "mse"):
        layers = [fnn.Dense(3, kernel_regularizer="l2")]
        model = fnn.Sequential(layers, input_shape=(4,), dtype="float64", seed=0)
        model.compile(fnn.LBFGS(tolerance_gradient=1e-10, tolerance_change=0.0), loss)
        model.fit(rows, y, epochs=100, verbose=0)
        found.append(model.get_weights()[0])
    assert_close(found[0], found[1], 1e-7)


def test_same_bits_with_any_number_of_threads(batch, threads):
    weights = []
    for count in (1, 3):
        threads(count)
        model = model_of(Custom(distance, distance_slope), dtype="float32")
        model.fit(*batch, batch_size=10, epochs=3, verbose=0)
        weights.append(weights_as_bytes(model))
    assert weights[0] == weights[1]


def test_reads_but_does_not_change(batch):
    def greedy(y_true, y_pred):
        y_pred[0] = 0
        return y_pred

    model = model_of(Custom(greedy, square_slope))
    with pytest.raises(ValueError, match="read-only"):
        model.train_on_batch(*batch)


@pytest.mark.parametrize(
    ("function", "derivative", "message"),
    [
        (lambda t, p: 1.0, square_slope, r"its function must return an array of shape \(33, 3\), "
         r"got shape \(\); or \(33,\), one loss for each row. The mean over them is taken here"),
        (lambda t, p: (p - t).mean(axis=0), square_slope, r".* got shape \(3,\); or \(33,\)"),
        (lambda t, p: [[1], [1, 2]], square_slope, "its function .* got rows of different lengths"),
        (lambda t, p: None, square_slope, "its function must return an array of .* got None"),
        (lambda t, p: ["a"] * 33, square_slope, "its function must return real numbers, got dtyp"),
        (square, lambda t, p: None, "its derivative must return an array of shape .* got None"),
        (square, lambda t, p: 1.0, r"its derivative must return an array of shape \(33, 3\), got"),
        (square, lambda t, p: p[:, 0], r"its derivative .* \(33, 3\), got shape \(33,\)"),
    ],
)  # fmt: skip
def test_what_comes_back_is_checked(function, derivative, message, batch):
    model = model_of(Custom(function, derivative, "mine"))
    with unchanged(model), pytest.raises((ValueError, TypeError), match="^loss 'mine': " + message):
        model.train_on_batch(*batch)


def test_a_loss_that_is_not_finite_stops_before_the_step(batch):
    model = model_of(Custom(lambda t, p: p[:, 0] * np.nan, square_slope))
    before = weights_as_bytes(model)
    with pytest.raises(fnn.NonFiniteLossError, match="every layer is finite, the loss is not"):
        model.fit(*batch, verbose=0)
    assert weights_as_bytes(model) == before


def test_is_shown_and_looked_at(batch, capsys):
    model = model_of(Custom(distance, distance_slope))
    model.explain()
    shown = capsys.readouterr().out
    assert "python_loss(" in shown
    assert "[code='distance', runs=in Python]" in shown
    with pytest.raises(ValueError, match="runs in Python"):
        model.profile(*batch)
    with unchanged(model):
        model.diagnose(*batch)
        model.find_learning_rate(*batch, steps=20)


def test_files_keep_the_name(batch, tmp_path):
    loss = Custom(distance, distance_slope)
    model = model_of(loss)
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"with loss 'distance', .* custom_objects=\{'dis"):
        fnn.load(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m", custom_objects={"distance": loss})
    renamed = Custom(distance, distance_slope, "other")
    again = fnn.load(tmp_path / "m", custom_objects={"distance": renamed})
    copies = [loaded, again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.fit(*batch, verbose=0)
    for one in copies:
        one.fit(*batch, verbose=0)
        assert weights_as_bytes(one) == weights_as_bytes(model)
    assert loaded.network.runtime.objective == model.network.runtime.objective
    message = r"custom_objects\['distance'\] must be a losses.Custom\(function, derivative\), got"
    with pytest.raises(TypeError, match=message):
        fnn.load(tmp_path / "m", custom_objects={"distance": distance})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Custom(3, square_slope), "function must be callable, got 3"),
        (lambda: Custom(square), "derivative must be given: .*; fastnn.gradcheck"),
        (lambda: Custom(square, "slope"), "derivative must be callable, got 'slope'"),
        (lambda: Custom(square, square_slope, 3), "name must be a non-empty string, got 3"),
        (lambda: Custom(square, square_slope, "mse"), "name must not be that of another loss"),
        (lambda: Custom(square, square_slope, takes_labels=1), "takes_labels must be True or Fal"),
        (lambda: model_of(square), "a function needs its derivative beside it, fastnn.losses.Cus"),
        (lambda: model_of((square, square_slope)), "a function needs its derivative beside it"),
        (lambda: model_of(Custom), "loss must be a name or a Loss, got the class Custom"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_names():
    assert Custom(square, square_slope).name == "square"
    assert Custom(lambda t, p: p, square_slope).name == "custom"
    assert Custom(square, square_slope, "mine").config() == {"name": "mine"}
    assert Custom(square, square_slope) == Custom(square, square_slope)
    assert Custom(square, square_slope) != Custom(square, distance_slope)
