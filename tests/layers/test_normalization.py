"""LayerNormalization, BatchNormalization and PReLU: how training changes them, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

import fastnn as fnn
from fastnn.native import kernels


def batch_model(dtype="float64", optimizer="adam", **options):
    layers = [fnn.Dense(5, "tanh"), fnn.BatchNormalization(0.9, 0.01, **options), fnn.Dense(2)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype=dtype, seed=2)
    model.compile(optimizer, "mse")
    return model, layers[1]


@pytest.fixture
def batch(rng):
    return rng.normal(2, 3, size=(24, 4)), rng.normal(size=(24, 2))


def hidden(model, x):
    dense = model.layers[0]
    return np.tanh(x @ dense.kernel + dense.bias)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moving_statistics_are_those_of_the_formula(dtype, batch):
    x, y = batch
    model, layer = batch_model(dtype)
    mean, variance = np.zeros(5), np.ones(5)
    for i in range(3):
        h = hidden(model, x[8 * i :][:8]).astype(np.float64)
        mean = 0.9 * mean + 0.1 * h.mean(axis=0)
        variance = 0.9 * variance + 0.1 * h.var(axis=0)
        model.train_on_batch(x[8 * i :][:8], y[8 * i :][:8])
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert_close(layer.moving_mean, mean, tolerance)
    assert_close(layer.moving_variance, variance, tolerance)
    z = (hidden(model, x) - layer.moving_mean) / np.sqrt(layer.moving_variance + 0.01)
    want = (z * layer.gamma + layer.beta) @ model.layers[2].kernel + model.layers[2].bias
    assert_close(model.predict(x), want, tolerance)


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        fnn.AdamW(0.01),
        fnn.SGD(0.1, weight_decay=0.9),
        fnn.Adam(0.01, global_clipnorm=0.1),
        fnn.Adam(0.01, use_ema=True, ema_momentum=0.5),
    ],
)
def test_the_optimizer_never_touches_the_moving_statistics(optimizer, batch):
    x, y = batch
    model, layer = batch_model(optimizer=optimizer)
    twin, other = batch_model(optimizer=fnn.SGD(0.1))
    for name, view in model.network.runtime.state_views().items():
        if "moving" in name:
            view[...] = 1e6  # a state that would make the step explode
    before = hidden(model, x)
    for one in (model, twin):
        one.train_on_batch(x, y)
    assert_same_bits(layer.moving_mean, other.moving_mean)
    assert_same_bits(layer.moving_variance, other.moving_variance)
    assert_close(layer.moving_mean, 0.1 * before.mean(axis=0), 1e-12)
    assert not model.network.runtime.gradients["batch_normalization/moving_mean"].any()


@pytest.mark.filterwarnings("ignore:.* batch has one row")
def test_fit_by_hand_and_one_at_a_time_move_them_alike(batch):
    x, y = batch
    layers = []
    for step in ("fit", "batch", "hand", "one"):
        model, layer = batch_model(optimizer=fnn.SGD(0.1))
        layers.append(layer)
        for i in range(3):
            a, b = x[i : i + 1], y[i : i + 1]
            if step == "fit":
                model.fit(a, b, verbose=0)
            elif step == "batch":
                model.train_on_batch(a, b)
            elif step == "one":
                model.learn_one(a[0], b[0])
            else:
                y_hat = model.forward(a, training=True)
                model.backward(2 * (y_hat - b) / y_hat.size)
                model.apply_gradients()
    for layer in layers[1:]:
        assert_close(layer.moving_mean, layers[0].moving_mean, 1e-12)
        assert_close(layer.moving_variance, layers[0].moving_variance, 1e-12)


def test_predict_evaluate_and_gradcheck_leave_them_alone(batch):
    x, y = batch
    model, _ = batch_model()
    model.train_on_batch(x, y)
    before = model.get_weights()
    model.predict(x)
    model.evaluate(x, y)
    model.forward(x)
    assert fnn.gradcheck(model, x, y)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_refused_step_leaves_them_alone(batch):
    x, y = batch
    model, _ = batch_model()
    model.parameters["dense_1/bias"][0] = 1e308
    before = model.get_weights()
    with pytest.raises(fnn.NonFiniteLossError):
        model.fit(x, y, verbose=0)
    with pytest.raises(fnn.NonFiniteLossError):
        model.train_on_batch(x, y)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_frozen_layer_takes_the_moving_statistics(batch):
    x, y = batch
    model, layer = batch_model(moving_mean_initializer="normal")
    layer.trainable = False
    before = [view.copy() for view in layer.parameters.values()]
    assert_close(model.forward(x, training=True), model.predict(x), 1e-12)
    assert fnn.gradcheck(model, x, y)
    model.fit(x, y, epochs=2, verbose=0)
    assert all(map(np.array_equal, before, layer.parameters.values()))
    layer.trainable = True
    model.fit(x, y, verbose=0)
    assert not any(map(np.array_equal, before, layer.parameters.values()))


def test_weights_are_set_and_saved_with_them(batch, tmp_path):
    x, y = batch
    model, layer = batch_model("float32")
    model.fit(x, y, verbose=0)
    names = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert list(layer.parameters) == names
    model.save(tmp_path / "m")
    assert_same_bits(fnn.load(tmp_path / "m").predict(x), model.predict(x))
    other, _ = batch_model("float32")
    other.set_weights(model.get_weights())
    assert_same_bits(other.predict(x), model.predict(x))


@pytest.mark.parametrize("make", [fnn.BatchNormalization, fnn.LayerNormalization])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_center_and_scale(make, center, scale, batch):
    x, y = batch
    layers = [make(center=center, scale=scale), fnn.Dense(2)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    assert ("gamma" in layers[0].parameters, "beta" in layers[0].parameters) == (scale, center)
    assert fnn.gradcheck(model, x, y)


def test_a_large_mean_leaves_the_variance_right(rng):
    """It is summed from differences; computed from two sums, its error would exceed its value."""
    x = (1e4 + rng.normal(size=(5, 300))).astype(np.float32)
    wide = x.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-3)
    assert_close(kernels.layer_normalization(x), want, 1e-2)
    want = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-3)
    assert_close(kernels.batch_normalization(x)[0], want, 1e-2)


def test_prelu_of_one_slope(batch):
    x, y = batch
    layer = fnn.PReLU(fnn.initializers.Constant(0.25), shared=True)
    model = fnn.Sequential([layer, fnn.Dense(2)], input_shape=(4,), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    assert layer.alpha.shape == (1,)
    assert fnn.gradcheck(model, x, y)
    model.fit(x, y, verbose=0)
    assert layer.alpha[0] != 0.25


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: fnn.BatchNormalization(1.0), ValueError, r"momentum must be .*\[0, 1\), got 1.0"),
        (lambda: fnn.BatchNormalization(epsilon=0), ValueError, "epsilon must be a positive"),
        (lambda: fnn.LayerNormalization(-1), ValueError, "epsilon must be a positive number"),
        (lambda: fnn.LayerNormalization(scale=1), TypeError, "scale must be True or False, got 1"),
        (lambda: fnn.LayerNormalization(gamma_initializer="one"), ValueError, "mean 'ones'"),
        (lambda: fnn.PReLU(shared="no"), TypeError, "shared must be True or False"),
        (lambda: fnn.Reshape((2, -1, -1)), ValueError, r"one of which may be -1, got \(2, -1, -1"),
        (lambda: fnn.Reshape((2, 0)), ValueError, r"target_shape must be .*got \(2, 0\)"),
        (lambda: fnn.Reshape(2.5), ValueError, r"target_shape must be .*got 2.5"),
        (lambda: fnn.Reshape((2, 4))(fnn.Input((6,))), ValueError, r"\(2, 4\) of .*\(6,\).* 6 num"),
        (lambda: fnn.Reshape((-1, 4))(fnn.Input((6,))), ValueError, r"cannot make \(-1, 4\)"),
        (lambda: fnn.LayerNormalization()(fnn.Input((6, 2))), ValueError, r"add Flatten\(\)"),
        (lambda: fnn.Multiply()(fnn.Input((6,))), ValueError, "Multiply takes two or more inputs"),
        (lambda: fnn.Multiply()([fnn.Input((6,)), fnn.Input((5,))]), ValueError, "of one shape"),
    ],
)  # fmt: skip
def test_bad_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_unbuilt_layers_say_so():
    for read in (lambda: fnn.PReLU().alpha, lambda: fnn.BatchNormalization().moving_mean):
        with pytest.raises(AttributeError, match="build the model first"):
            read()


# --- batches of one row ---------------------------------------------------------------------------

ONE_ROW = r"{} one row, of which BatchNormalization \(layer 'middle'\) makes a constant"


def small_model(layer=None, optimizer="sgd"):
    layer = fnn.BatchNormalization(name="middle") if layer is None else layer
    model = fnn.Sequential([fnn.Dense(4), layer, fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile(optimizer, "mse")
    return model


ROWS = np.random.default_rng(0).normal(size=(33, 3))
SUMS = ROWS.sum(axis=1)


@pytest.mark.parametrize(
    ("train", "which"),
    [
        (lambda m: m.fit(ROWS, SUMS, batch_size=1, verbose=0), "each batch has"),
        (lambda m: m.fit(ROWS[:1], SUMS[:1], verbose=0), "each batch has"),
        (lambda m: m.fit(ROWS, SUMS, batch_size=32, verbose=0), "the last batch of 33 rows has"),
        (lambda m: m.fit(ROWS, SUMS, batch_size=16, epochs=3, verbose=0), "the last batch of 33"),
        (lambda m: m.fit([(ROWS, SUMS), (ROWS[:1], SUMS[:1])], verbose=0), "has"),
        (lambda m: m.train_on_batch(ROWS[:1], SUMS[:1]), "the batch has"),
        (lambda m: m.learn_one(ROWS[0], SUMS[0]), "the batch has"),
        (lambda m: m.forward(ROWS[:1], training=True), "the batch has"),
    ],
)
def test_a_batch_of_one_row_is_warned_of(train, which):
    message = ONE_ROW.format(which) if which.endswith("has") else which
    with pytest.warns(UserWarning, match=message) as caught:
        train(small_model())
    assert len(caught) == 1


def test_where_one_row_is_no_trouble_there_is_no_warning():
    frozen = fnn.BatchNormalization(name="middle")
    frozen.trainable = False
    for model in (small_model(frozen), small_model(fnn.LayerNormalization())):
        model.fit(ROWS, SUMS, batch_size=1, verbose=0)
        model.learn_one(ROWS[0], SUMS[0])
    model = small_model()
    model.fit(ROWS, SUMS, batch_size=11, verbose=0)
    model.train_on_batch(ROWS[:2], SUMS[:2])
    model.evaluate(ROWS[:1], SUMS[:1])
    model.predict_one(ROWS[0])


def test_diagnose_names_batches_of_one_row():
    model = small_model(optimizer=fnn.Adam(0.01))
    found = model.diagnose(ROWS, SUMS, batch_size=1).findings
    assert ("batches of one row", "middle") in [(one.problem, one.layer) for one in found]
    usual = model.diagnose(ROWS, SUMS, batch_size=11).findings
    assert "batches of one row" not in [one.problem for one in usual]


def test_what_the_warning_says_is_so():
    """The output for a batch of one row is beta, whatever the row holds."""
    model = fnn.Sequential([fnn.BatchNormalization(name="middle")], input_shape=(3,))
    with pytest.warns(UserWarning, match="one row"):
        outputs = [model.forward(ROWS[i : i + 1], training=True) for i in range(3)]
    assert not np.any(outputs)
