"""`Sequential` and `Model`: building, weights, predicting, evaluating, custom loops."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from model_helpers import weights_as_bytes
from scipy.special import erf

import fastnn as fnn
from fastnn.runtime import ROWS, arenas


def small(loss="mse", *, dtype="float64", optimizer="sgd", metrics=(), end=None, seed=0):
    """A model of 4 inputs and 3 outputs."""
    model = fnn.Sequential(
        [fnn.Dense(7, activation="tanh"), fnn.Dense(3, activation=end)],
        input_shape=(4,), dtype=dtype, seed=seed,
    )  # fmt: skip
    model.compile(optimizer, loss, metrics)
    return model


# --- building -------------------------------------------------------------------------------------


def test_input_may_be_a_shape_an_input_or_the_first_data(rng):
    def layers():
        return [fnn.Dense(5, "relu"), fnn.Dense(2)]

    x = rng.normal(size=(3, 4))
    by_shape = fnn.Sequential(layers(), input_shape=(4,), seed=3)
    by_input = fnn.Sequential([fnn.Input((4,)), *layers()], seed=3)
    by_data = fnn.Sequential(layers(), seed=3)
    assert (by_shape.built, by_data.built) == (True, False)
    expected = by_shape.predict(x)
    assert np.array_equal(by_input.predict(x), expected)
    assert np.array_equal(by_data.predict(x), expected)
    assert by_data.built
    assert list(by_data.parameters) == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias",
    ]  # fmt: skip


def test_unbuilt_model_says_what_is_missing():
    model = fnn.Sequential([fnn.Dense(5)])
    with pytest.raises(RuntimeError, match="give Sequential an input_shape"):
        model.get_weights()
    with pytest.raises(RuntimeError, match="no parameters yet"):
        model.summary()


def test_shapes_and_counts():
    model = small()
    assert model.output_shape == (3,)
    assert model.input_shapes == [("input", (4,))]
    assert model.count_parameters() == 4 * 7 + 7 + 7 * 3 + 3
    assert {name: view.shape for name, view in model.gradients.items()} == {
        "dense/kernel": (4, 7), "dense/bias": (7,), "dense_1/kernel": (7, 3), "dense_1/bias": (3,),
    }  # fmt: skip
    assert all(view.dtype == np.float64 for view in model.parameters.values())
    assert all(view.ctypes.data % 64 == 0 for view in model.parameters.values())


def test_functional_model_computes_its_graph(rng):
    x, z = fnn.Input((6,)), fnn.Input((2, 2), name="picture")
    h = fnn.Dense(6, activation="gelu", name="hidden")(x)
    joined = fnn.Concatenate()([fnn.Add()([x, h]), fnn.Flatten()(z)])
    model = fnn.Model([x, z], fnn.Dense(2, name="out")(joined), dtype="float64", seed=0)
    assert model.input_shapes == [("input", (6,)), ("picture", (2, 2))]
    data, picture = rng.normal(size=(5, 6)), rng.normal(size=(5, 2, 2))
    p = model.parameters
    before = data @ p["hidden/kernel"] + p["hidden/bias"]
    hidden = before * (1 + erf(before / np.sqrt(2))) / 2
    expected = np.hstack([data + hidden, picture.reshape(5, 4)]) @ p["out/kernel"] + p["out/bias"]
    np.testing.assert_allclose(model.predict([data, picture]), expected, rtol=1e-13)
    model.compile("sgd", "mse")
    assert fnn.gradcheck(model, [data, picture], rng.normal(size=(5, 2)))


def test_shared_layer_has_one_kernel_and_summed_gradients(rng):
    shared = fnn.Dense(4, activation="tanh")
    a, b = fnn.Input((4,)), fnn.Input((4,))
    model = fnn.Model([a, b], fnn.Add()([shared(shared(a)), shared(b)]), dtype="float64", seed=0)
    assert list(model.parameters) == ["dense/kernel", "dense/bias"]
    model.compile("sgd", "mse")
    data = [rng.normal(size=(5, 4)), rng.normal(size=(5, 4))]
    kernel, bias = shared.kernel, shared.bias
    twice = np.tanh(np.tanh(data[0] @ kernel + bias) @ kernel + bias)
    expected = twice + np.tanh(data[1] @ kernel + bias)
    np.testing.assert_allclose(model.predict(data), expected, rtol=1e-13)
    assert fnn.gradcheck(model, data, rng.normal(size=(5, 4)))


def test_layer_shared_in_a_sequential(rng):
    shared = fnn.Dense(4, activation="tanh")
    model = fnn.Sequential([shared, shared], input_shape=(4,), dtype="float64", seed=0)
    assert model.count_parameters() == 20
    model.compile("sgd", "mse")
    assert fnn.gradcheck(model, rng.normal(size=(5, 4)), rng.normal(size=(5, 4)))


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("training", [False, True])
def test_output_that_is_the_input(rows, training, rng):
    data = rng.normal(size=(rows, 2, 3))
    for layers in ([fnn.Flatten()], [fnn.Dropout(0.0), fnn.Flatten()]):
        model = fnn.Sequential(layers, input_shape=(2, 3), dtype="float64")
        if rows or not training:
            y = model.forward(data, training=training)
            assert np.array_equal(y, data.reshape(rows, 6))


# --- weights --------------------------------------------------------------------------------------


def test_weights_go_out_as_copies_and_in_as_copies():
    model, other = small(seed=0), small(seed=1)
    weights = model.get_weights()
    other.set_weights(weights)
    assert weights_as_bytes(other) == weights_as_bytes(model)
    weights[0][...] = 7
    assert model.parameters["dense/kernel"].max() < 7
    assert other.parameters["dense/kernel"].max() < 7


def test_parameters_are_views(rng):
    model = small()
    for view in model.parameters.values():
        view[...] = 0
    model.parameters["dense_1/bias"][...] = [1, 2, 3]
    assert np.array_equal(model.predict(rng.normal(size=(2, 4))), [[1, 2, 3]] * 2)


def test_seed_gives_everything_and_numpys_generator_is_left_alone(rng):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))

    def trained(seed):
        model = fnn.Sequential(
            [fnn.Dense(7, "relu"), fnn.Dropout(0.3), fnn.Dense(3)], input_shape=(4,), seed=seed
        )
        model.compile("adam", "mse")
        model.fit(x, y, epochs=3, verbose=0)
        return weights_as_bytes(model)

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert trained(5) == trained(5)
    assert trained(5) != trained(6)
    assert trained(None) != trained(None)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# --- predict --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 31, 257, ROWS, ROWS + 1, 2 * ROWS + 17])
def test_predictions_do_not_depend_on_how_rows_are_grouped(dtype, rows, rng):
    model = fnn.Sequential(
        [fnn.Dense(33, activation="gelu"), fnn.Dense(19, activation="relu"),
         fnn.Dense(5, activation="softmax")],
        input_shape=(21,), dtype=dtype, seed=0,
    )  # fmt: skip
    x = rng.normal(size=(rows, 21)).astype(dtype)
    expected = model.predict(x)
    assert expected.dtype == dtype
    assert np.array_equal(model(x), expected)
    for batch_size in (1, 7, 64, 10_000):
        assert np.array_equal(model.predict(x, batch_size=batch_size), expected)
    cut = rows // 3
    assert np.array_equal(np.vstack([model(x[:cut]), model(x[cut:])]), expected)
    assert np.array_equal(model.predict(x[::-1])[::-1], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "given",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(">f8"),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.int16),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.uint64),
        lambda x: x.tolist(),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.repeat(x, 3, axis=1)[:, ::3],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), "u1")[1:].view(x.dtype).reshape(x.shape),
    ],
    ids=["f8", "f4", "f2", "swapped", "longdouble", "u1", "i1", "i2", "i8", "u8", "list",
         "Fortran", "strided rows", "strided columns", "reversed rows", "reversed columns",
         "unaligned"],
)  # fmt: skip
def test_data_of_any_dtype_and_layout(dtype, given, rng):
    x = rng.integers(0, 100, (23, 4)).astype(np.float64)
    y = rng.normal(size=(23, 3))
    model, twin = small(dtype=dtype), small(dtype=dtype)
    assert np.array_equal(model.predict(given(x)), model.predict(x.astype(dtype)))
    for one, data in ((model, given(x)), (twin, x.astype(dtype))):
        one.compile(fnn.SGD(1e-5), "mse")
        one.fit(data, y, batch_size=5, epochs=2, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert not np.array_equal(model.predict(given(x)), model.predict(x + 1))


@pytest.mark.parametrize("shape", [(9, 4), (1, 4), (9, 1), (1, 1), ()])
def test_data_that_are_the_same_numbers_many_times(shape, rng):
    x = np.broadcast_to(rng.normal(size=shape), (9, 4))
    y = np.broadcast_to(rng.normal(size=3), (9, 3))
    model, twin = small(), small()
    assert np.array_equal(model.predict(x), model.predict(x.copy()))
    history = model.fit(x, y, batch_size=4, verbose=0).history
    assert history == twin.fit(x.copy(), y.copy(), batch_size=4, verbose=0).history


def test_no_rows_give_no_predictions():
    model = small(dtype="float32")
    for nothing in (np.empty((0, 4)), np.empty((0, 4), np.uint8)):
        y = model.predict(nothing)
        assert (y.shape, y.dtype) == ((0, 3), np.float32)


def test_predictions_are_the_callers_own(rng):
    model, x = small(), rng.normal(size=(2, 4))
    first = model.predict(x)
    kept = first.copy()
    model.predict(x + 1)
    assert np.array_equal(first, kept)
    first[...] = 0
    assert np.array_equal(model.predict(x), kept)


# --- losses and metrics ---------------------------------------------------------------------------


def test_evaluate_is_the_mean_over_samples_whatever_the_batch(rng):
    model = small("mse", metrics=["mae", "mse", "accuracy"])
    x, y = rng.normal(size=(101, 4)), rng.normal(size=(101, 3))
    p = model.predict(x)
    expected = {
        "loss": ((p - y) ** 2).mean(),
        "mae": np.abs(p - y).mean(),
        "mse": ((p - y) ** 2).mean(),
        "accuracy": (p.argmax(axis=1) == y.argmax(axis=1)).mean(),
    }
    for batch_size in (1, 10, 100, 101, 500):
        got = model.evaluate(x, y, batch_size=batch_size)
        assert list(got) == list(expected)
        assert got == pytest.approx(expected, rel=1e-12)
    assert got != pytest.approx({**expected, "mae": expected["mae"] * (1 + 1e-9)}, rel=1e-12)


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("end", [None, "softmax"])
def test_crossentropy_of_labels_and_of_probabilities(end, rng):
    x, labels = rng.normal(size=(37, 4)), rng.integers(0, 3, 37)
    one_hot = np.eye(3)[labels]
    model, twin = (small("crossentropy", end=end, metrics=["accuracy"]) for _ in range(2))
    result = model.evaluate(x, labels)
    p = model.predict(x)
    expected = -(np.log(p) if end else log_softmax(p))[np.arange(37), labels].mean()
    assert result["loss"] == pytest.approx(expected, rel=1e-12)
    assert result["accuracy"] == (p.argmax(axis=1) == labels).mean()
    assert twin.evaluate(x, one_hot) == pytest.approx(result, rel=1e-13)
    smooth = 0.9 * one_hot + 0.1 / 3
    expected = -(smooth * (np.log(p) if end else log_softmax(p))).sum(axis=1).mean()
    assert model.evaluate(x, smooth)["loss"] == pytest.approx(expected, rel=1e-12)
    for one, y in ((model, labels), (twin, one_hot)):
        one.fit(x, y, batch_size=8, epochs=4, verbose=0)
    for weight, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-12)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint16, bool, ">i4", ">i8", ">u2", list]
)
def test_labels_of_any_integer_dtype(dtype, rng):
    x, labels = rng.normal(size=(20, 4)), rng.integers(0, 2, 20)
    model = small("crossentropy")
    given = labels.tolist() if dtype is list else labels.astype(dtype)
    assert model.evaluate(x, given) == model.evaluate(x, labels)
    assert model.evaluate(x, given) == model.evaluate(x, labels[:, np.newaxis])


@pytest.mark.parametrize(
    ("loss", "link"), [("crossentropy", "softmax"), ("binary_crossentropy", "sigmoid")]
)
def test_training_on_the_link_is_training_on_logits(loss, link, rng):
    x, y = rng.normal(size=(30, 4)), np.eye(3)[rng.integers(0, 3, 30)]
    for as_layer in (False, True):
        ends = [[fnn.Dense(3)], [fnn.Dense(3, activation=link)]]
        if as_layer:
            ends[1] = [fnn.Dense(3, kernel_initializer="glorot_uniform"), fnn.Activation(link)]
        models = [
            fnn.Sequential([fnn.Dense(7, "tanh"), *end], input_shape=(4,), seed=0) for end in ends
        ]
        histories = []
        for model in models:
            model.compile("adam", loss, ["accuracy"])
            histories.append(model.fit(x, y, batch_size=8, epochs=5, verbose=0).history)
        assert histories[0] == histories[1]
        assert weights_as_bytes(models[0]) == weights_as_bytes(models[1])
        assert not np.array_equal(models[0].predict(x), models[1].predict(x))


def test_extreme_logits_do_not_overflow():
    for loss, link, x, y in (
        ("crossentropy", "softmax", [[1e4, 0.0], [0.0, 1e4]], [1, 0]),
        ("binary_crossentropy", "sigmoid", [[1e4, -1e4]], [[0.0, 1.0]]),
    ):
        model = fnn.Sequential([fnn.Activation(link)], input_shape=(2,))
        model.compile("sgd", loss)
        assert model.evaluate(x, y)["loss"] == 1e4


def test_binary_accuracy_counts_each_output_by_itself(rng):
    x, y = rng.normal(size=(40, 4)), rng.integers(0, 2, (40, 3))
    for end, threshold in ((None, 0), ("sigmoid", 0.5)):
        model = small("binary_crossentropy", end=end, metrics=["accuracy"])
        expected = ((model.predict(x) > threshold) == y).mean()
        assert model.evaluate(x, y)["accuracy"] == pytest.approx(expected, rel=1e-14)


def test_column_of_targets_may_be_flat(rng):
    x, y = rng.normal(size=(10, 4)), rng.normal(size=10)
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,), seed=0)
    model.compile("sgd", "mse")
    assert model.evaluate(x, y) == model.evaluate(x, y[:, np.newaxis])


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("mse", lambda p, t: (p - t) ** 2),
        ("mae", lambda p, t: np.abs(p - t)),
        ("huber", lambda p, t: np.where(abs(p - t) <= 1, (p - t) ** 2 / 2, abs(p - t) - 0.5)),
        (fnn.Huber(0.25),
         lambda p, t: np.where(abs(p - t) <= 0.25, (p - t) ** 2 / 2, abs(p - t) / 4 - 1 / 32)),
        ("binary_crossentropy", lambda p, t: np.log(1 + np.exp(p)) - t * p),
    ],
)  # fmt: skip
def test_losses_by_formula(loss, formula, rng):
    model = small(loss)
    x, y = rng.normal(size=(17, 4)), rng.uniform(size=(17, 3))
    expected = formula(model.predict(x), y).mean()
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-13)


# --- custom loops ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_own_loop_makes_the_steps_of_train_on_batch(optimizer, rng):
    model, twin = small(optimizer=optimizer), small(optimizer=optimizer)
    for _ in range(20):
        x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
        y_hat = model.forward(x, training=True)
        gradients = model.backward(2 * (y_hat - y) / y.size)
        before = twin.evaluate(x, y)["loss"]
        loss = twin.train_on_batch(x, y)
        model.apply_gradients()
        assert isinstance(loss, float)
        assert loss == pytest.approx(((y_hat - y) ** 2).mean(), rel=1e-12)
        assert loss == pytest.approx(before, rel=1e-12)
        for name, gradient in twin.gradients.items():
            np.testing.assert_allclose(gradients[name], gradient, rtol=1e-9, atol=1e-14)
    assert model.network.runtime.step == twin.network.runtime.step == 20
    for weight, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-7)


def test_train_on_batch_is_a_step_of_fit(rng):
    x, y = rng.normal(size=(24, 4)), rng.normal(size=(24, 3))
    model, twin = small(optimizer="adam"), small(optimizer="adam")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for first in (0, 8, 16):
        twin.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_gradients_of_the_own_loop_go_through_dropout(rng):
    model = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dropout(0.5), fnn.Dense(2)],
        input_shape=(3,), dtype="float64", seed=0,
    )  # fmt: skip
    x, direction = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    model.forward(x, training=True)
    gradients = {name: view.copy() for name, view in model.backward(direction).items()}
    for name, view in model.parameters.items():
        where = (0,) * view.ndim
        kept, sums = view[where], []
        for shift in (1e-6, -1e-6):
            view[where] = kept + shift
            model._manual._forwards = (-1, 0)  # repeats the same mask
            sums.append((model.forward(x, training=True) * direction).sum())
        view[where] = kept
        assert gradients[name][where] == pytest.approx((sums[0] - sums[1]) / 2e-6, abs=1e-7)


def test_outputs_of_forward_outlive_backward(rng):
    model, x = small(), rng.normal(size=(5, 4))
    y = model.forward(x, training=True)
    kept = y.copy()
    model.backward(np.ones_like(y))
    assert np.array_equal(y, kept)
    assert np.array_equal(y, model.forward(x))


def test_backward_twice_gives_the_same_gradients(rng):
    model = fnn.Sequential(
        [fnn.Dense(50, "gelu"), fnn.Dense(60, "elu"), fnn.Dense(50, "softmax"), fnn.Dense(3)],
        input_shape=(4,), dtype="float64", seed=0,
    )  # fmt: skip
    y = model.forward(rng.normal(size=(20, 4)), training=True)
    first = {name: view.copy() for name, view in model.backward(np.ones_like(y)).items()}
    for name, gradient in model.backward(np.ones_like(y)).items():
        assert np.array_equal(gradient, first[name]), name


def test_steps_out_of_order_say_what_to_call_first():
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    with pytest.raises(RuntimeError, match=r"call forward\(x, training=True\) first"):
        model.backward(np.ones((1, 3)))
    with pytest.raises(RuntimeError, match=r"call compile\(optimizer, loss\) first"):
        model.apply_gradients()


# --- inspection -----------------------------------------------------------------------------------


def test_summary_shows_each_layer_once_with_its_parameters(capsys):
    shared = fnn.Dense(4, name="twin")
    x = fnn.Input((4,), name="data")
    fnn.Model(x, fnn.Dense(2, name="end")(shared(shared(x))), dtype="float64").summary()
    lines = capsys.readouterr().out.splitlines()
    cells = [line.split() for line in lines]
    assert cells[2] == ["data", "Input", "(batch,", "4)"]
    assert cells[3] == ["twin", "Dense", "(batch,", "4)", "20"]
    assert cells[4] == ["twin", "Dense", "(batch,", "4)", "0"]
    assert cells[5] == ["end", "Dense", "(batch,", "2)", "10"]
    assert lines[-1] == "30 parameters, float64, 240 bytes"
    assert {len(line) for line in (lines[1], *lines[3:-1])} == {len(lines[0])}


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        (None, "train: "),
        ("train", "update(parameters, gradients, state)"),
        ("gradients", "gradients: "),
        ("evaluate", "elementwise_loss("),
        ("predict", "affine(input, dense/kernel, dense/bias)"),
        ("manual", "gather("),
        ("update", "optimizer=adam"),
    ],
)
def test_explain_shows_ops_places_and_fusions(program, shown, capsys):
    model = small(optimizer="adam", end="relu")
    before = weights_as_bytes(model)
    model.explain(program, batch_size=16)
    text = capsys.readouterr().out
    assert shown in text
    assert "float64" in text
    if program not in ("update", "predict"):
        assert "@" in text
    if program != "update":
        assert "fused  dense: affine + tanh" in text
    assert weights_as_bytes(model) == before


def test_explain_shows_the_shape_of_what_each_op_writes(capsys):
    model = fnn.Sequential([fnn.Dense(3), fnn.Dense(2)], input_shape=(4,))
    model.compile("adam", "mse")
    model.explain("train", batch_size=16)
    text = capsys.readouterr().out
    assert "\n        -> dense/affine (batch, 3) @" in text
    assert "\n        -> loss ()\n" in text
    assert "\n        -> dense_1/kernel (3, 2), dense_1/bias (2)\n" in text


def test_explain_of_an_uncompiled_model_shows_predict(capsys):
    fnn.Sequential([fnn.Dense(3)], input_shape=(4,)).explain()
    assert capsys.readouterr().out.splitlines()[1].startswith("predict: ")


def test_explain_says_how_many_parameters_are_padding(capsys):
    fnn.Sequential([fnn.Dense(3)], input_shape=(4,)).explain()
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "15 parameters, 32 with padding: each array starts on a cache line of its own"
    fnn.Sequential([fnn.Dense(16)], input_shape=(100,)).explain()
    assert capsys.readouterr().out.splitlines()[0] == "1,616 parameters"


def test_every_public_name_is_there():
    for name in fnn.__all__:
        assert getattr(fnn, name) is not None


def test_x_may_be_reused_between_forward_and_backward(rng):
    model, x = small(dtype="float32"), rng.normal(size=(5, 4)).astype(np.float32)
    y = model.forward(x, training=True)
    expected = {name: view.copy() for name, view in model.backward(np.ones_like(y)).items()}
    model.forward(x, training=True)
    x[...] = 0
    for name, view in model.backward(np.ones_like(y)).items():
        assert np.array_equal(view, expected[name])


def test_backward_has_the_mask_of_the_last_forward(rng):
    model = fnn.Sequential([fnn.Dense(64, use_bias=False), fnn.Dropout(0.5)], input_shape=(64,))
    model.parameters["dense/kernel"][...] = np.eye(64)
    x = np.ones((2, 64))
    first = model.forward(x, training=True)
    y = model.forward(x, training=True)
    assert not np.array_equal(first, y)
    gradient = model.backward(np.ones_like(y))["dense/kernel"]
    assert np.array_equal(gradient[0], y.sum(axis=0))


class ForwardInTheFirstEpoch(fnn.Callback):
    def on_epoch_end(self, epoch, logs):
        if epoch == 0:
            self.model.forward(np.ones((2, 4)), training=True)


CHANGES_OF_THE_WEIGHTS = {
    "apply_gradients": lambda model: model.apply_gradients(),
    "train_on_batch": lambda model: model.train_on_batch(np.ones((2, 4)), np.ones((2, 3))),
    "fit": lambda model: model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0),
    "fit with a forward in it": lambda model: model.fit(
        np.ones((2, 4)), np.ones((2, 3)), epochs=2, callbacks=[ForwardInTheFirstEpoch()], verbose=0
    ),
    "set_weights": lambda model: model.set_weights(model.get_weights()),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_WEIGHTS)
def test_backward_needs_a_forward_with_the_weights_of_now(change):
    model = small()
    y = model.forward(np.ones((2, 4)), training=True)
    model.backward(np.ones_like(y))
    CHANGES_OF_THE_WEIGHTS[change](model)
    with pytest.raises(RuntimeError, match=r"call forward\(x, training=True\) first"):
        model.backward(np.ones_like(y))
    model.forward(np.ones((2, 4)), training=True)
    model.backward(np.ones_like(y))


def test_backward_still_has_its_forward_after_what_changes_no_weights():
    model, x, y = small(), np.ones((2, 4)), np.ones((2, 3))
    model.forward(x, training=True)
    expected = {name: view.copy() for name, view in model.backward(y).items()}
    model.predict(x)
    model.evaluate(x, y)
    fnn.gradcheck(model, x, y)
    model.compile("adam", "mae")
    for refused in (
        lambda: model.train_on_batch(x, y[:1]),
        lambda: model.fit(x, y[:1]),
        lambda: model.set_weights([]),
    ):
        with pytest.raises(ValueError, match="must"):
            refused()
    for name, gradient in model.backward(y).items():
        assert np.array_equal(gradient, expected[name])


def test_compile_from_a_callback_is_refused(rng):
    class Recompiles(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.compile("adam", "mse", metrics=["mae"])

    model = small()
    with pytest.raises(RuntimeError, match="while fit runs"):
        model.fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 3)), verbose=0,
                  callbacks=[Recompiles()])  # fmt: skip
    model.compile("adam", "mse")


def test_epsilon_of_zero_trains(rng):
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile(fnn.Adam(epsilon=0), "mse")
    history = model.fit(rng.normal(size=(8, 3)), rng.normal(size=8), epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_many_inputs(rng):
    inputs = [fnn.Input((2,)) for _ in range(20)]
    model = fnn.Model(inputs, fnn.Dense(1)(fnn.Concatenate()(inputs)), seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    x = [rng.normal(size=(8, 2)) for _ in inputs]
    model.fit(x, rng.normal(size=8), verbose=0)
    assert model.predict(x).shape == (8, 1)


def test_threads_may_share_a_model(rng):
    model, x = small(), rng.normal(size=(3000, 4))
    expected, wrong = model.predict(x), []

    def work(rows):
        for _ in range(20):
            if not np.array_equal(model.predict(x[:rows], batch_size=rows), expected[:rows]):
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (700, 1100, 1900, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("has_huge_pages", [True, False])
@pytest.mark.parametrize("count", [1, 1000, arenas.HUGE_PAGE // 8, 400_000, arenas.NUMPY_FROM // 8])
def test_arenas_are_zeros_on_boundaries(has_huge_pages, count, monkeypatch):
    if not has_huge_pages:
        monkeypatch.delattr(arenas.mmap, "MADV_HUGEPAGE", raising=False)
    array = arenas.aligned((1, count), "float64")
    assert array.shape == (1, count)
    assert not array.any()
    is_large = has_huge_pages and arenas.HUGE_PAGE <= array.nbytes < arenas.NUMPY_FROM
    assert array.ctypes.data % (arenas.HUGE_PAGE if is_large else 64) == 0
    array[...] = 1


def test_an_entry_of_parameters_cannot_be_replaced():
    model = small()
    for views, name in (
        (model.parameters, "dense/kernel"),
        (model.gradients, "dense/kernel"),
        (model.layers[0].parameters, "kernel"),
    ):
        with pytest.raises(TypeError, match=f"'{name}' is a view, write into it"):
            views[name] = np.ones((4, 7))
        with pytest.raises(TypeError, match="there is no 'kernl', others are views"):
            views["kernl"] = np.ones((4, 7))
        with pytest.raises(TypeError, match="is a view"):
            views.update({name: np.ones((4, 7))})
        with pytest.raises(TypeError, match="cannot be removed"):
            del views[name]
    before = model.get_weights()[0]
    model.parameters["dense/kernel"] += 1
    model.layers[0].parameters["kernel"][...] += 1
    np.testing.assert_allclose(model.get_weights()[0], before + 2)


def test_weights_by_name():
    model, other = small(seed=1), small(seed=2)
    model.set_weights({name: 2 * view for name, view in reversed(other.parameters.items())})
    for got, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(got, 2 * want)
    before = weights_as_bytes(model)
    with pytest.raises(
        ValueError, match=r"weights must be for the parameters dense/kernel, .*, got"
    ):
        model.set_weights({"dense/kernel": np.ones((4, 7))})
    with pytest.raises(ValueError, match=r"'dense_1/bias' must have shape \(3,\)"):
        model.set_weights({**other.parameters, "dense_1/bias": np.ones(4)})
    assert weights_as_bytes(model) == before
    model.layers[0].set_weights(other.layers[0].parameters)
    np.testing.assert_array_equal(model.layers[0].kernel, other.layers[0].kernel)


def test_summary_goes_where_it_is_sent(capsys):
    shown = []
    small().summary(print_fn=shown.append)
    assert capsys.readouterr().out == ""
    small().summary()
    assert [capsys.readouterr().out] == [one + "\n" for one in shown]
    with pytest.raises(TypeError, match="print_fn must be callable, got 80"):
        small().summary(print_fn=80)


def test_a_model_is_called_as_in_training_or_not():
    model = fnn.Sequential([fnn.Dense(8), fnn.Dropout(0.5)], input_shape=(4,), seed=0)
    x = np.ones((5, 4))
    np.testing.assert_array_equal(model(x, training=False), model.predict(x))
    assert (model(x, training=True) == 0).any()
    assert not (model(x) == 0).any()
