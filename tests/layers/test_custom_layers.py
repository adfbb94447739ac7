"""Layers and activations that the user writes with NumPy, inside fit and everywhere else."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from program_cases import train_by_reference, train_natively

import fastnn as fnn


class Scale(fnn.Layer):
    """x * factor + shift, with an attribute that backward needs."""

    kind = "test_scale"

    def __init__(self, power=1, *, name=None):
        super().__init__(name)
        self.power = power

    def build(self, input_shape):
        self.add_weight("factor", input_shape, fnn.initializers.Normal(1.0, 0.2))
        self.add_weight("shift", input_shape, "zeros")

    def forward(self, x, *, training):
        self.x = x
        self.was_training = training
        return self.parameters["factor"] * x**self.power + self.parameters["shift"]

    def backward(self, grad_output):
        self.gradients["factor"][...] = (grad_output * self.x**self.power).sum(axis=0)
        self.gradients["shift"] += grad_output.sum(axis=0)
        slope = self.power * self.x ** (self.power - 1)
        return grad_output * self.parameters["factor"] * slope

    def config(self):
        return {"power": self.power}


class Outer(fnn.Layer):
    """The outer product of two vectors."""

    def output_shape(self, a, b):
        return (a[0], b[0])

    def forward(self, x, *, training):
        self.a, self.b = x
        return self.a[:, :, None] * self.b[:, None, :]

    def backward(self, grad_output):
        return (grad_output * self.b[:, None, :]).sum(2), (grad_output * self.a[:, :, None]).sum(1)


def model_of(*layers, dtype="float64", optimizer="adam", loss="mse"):
    model = fnn.Sequential(layers, input_shape=(4,), dtype=dtype, seed=3)
    model.compile(optimizer, loss)
    return model


def typical(dtype="float64", optimizer="adam"):
    return model_of(
        fnn.Dense(6, "tanh"), Scale(2), fnn.Dropout(0.2), fnn.BatchNormalization(), fnn.Dense(3),
        dtype=dtype, optimizer=optimizer,
    )  # fmt: skip


@pytest.fixture
def batch(rng):
    return rng.normal(size=(33, 4)), rng.normal(size=(33, 3))


def two_inputs():
    a, b = fnn.Input((3,), name="a"), fnn.Input((2,), name="b")
    shared = Scale(2)
    a2 = shared(shared(a))  # twice: each forward's attributes belong to its own backward
    y = fnn.Flatten()(Outer()([a2, fnn.Dense(4)(b)]))
    return fnn.Model([a, b], fnn.Dense(3)(fnn.Residual([Scale(), fnn.Dense(12)])(y)),
                     dtype="float64", seed=0)  # fmt: skip


def test_gradients_are_right(batch, rng):
    x, y = batch
    assert fnn.gradcheck(typical(), x, y)
    assert fnn.gradcheck(typical("float32"), x, y)
    model = two_inputs()
    model.compile("sgd", "mse")
    data = [rng.normal(size=(7, 3)), rng.normal(size=(7, 2))]
    assert fnn.gradcheck(model, data, y[:7])


def test_gradcheck_finds_a_wrong_backward(batch):
    class Wrong(Scale):
        def backward(self, grad_output):
            return super().backward(grad_output) * 1.01

    x, y = batch
    with pytest.raises(fnn.GradientError, match="dense/kernel"):
        fnn.gradcheck(model_of(fnn.Dense(6, "tanh"), Wrong(), fnn.Dense(3)), x, y)


@pytest.mark.parametrize("make", [typical, two_inputs])
def test_a_step_agrees_with_reference(make, batch, rng):
    model = make()
    x, y = batch
    if make is two_inputs:
        model.compile("adam", "mse")
        x = [rng.normal(size=(33, 3)), rng.normal(size=(33, 2))]
    for _ in range(2):
        want = train_by_reference(model, x, y)
        got = train_natively(model, x, y)
        for name, array in got.items():
            assert_close(array, want[name], 1e-10, name)


@pytest.mark.parametrize("optimizer", ["adam", fnn.SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_is_that_of_the_native_layer(dtype, optimizer, batch, team):
    """PReLU written with NumPy, compared with the native one: the same fit, for any team size."""

    class Slope(fnn.Layer):
        def build(self, input_shape):
            self.add_weight("alpha", input_shape, "zeros")

        def forward(self, x, *, training):
            self.x = x
            return np.where(x > 0, x, self.parameters["alpha"] * x)

        def backward(self, grad_output):
            self.gradients["alpha"][...] = (np.minimum(self.x, 0) * grad_output).sum(axis=0)
            return np.where(self.x > 0, grad_output, self.parameters["alpha"] * grad_output)

    x, y = batch
    found = []
    for layer, workers in ((fnn.PReLU, 1), (Slope, 1), (Slope, 2)):
        team(workers)
        model = model_of(
            fnn.Dense(6), fnn.Dropout(0.3), layer(name="slope"), fnn.Dense(3), dtype=dtype,
            optimizer=copy.deepcopy(optimizer),
        )  # fmt: skip
        history = model.fit(x, y, epochs=4, batch_size=8, validation_split=0.2, verbose=0)
        found.append((model, history.history))
        assert model.network.runtime.step == 4 * 4  # 27 rows
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    (native, losses), (python, others), (team_of_two, _) = found
    for name, values in losses.items():
        assert_close(others[name], values, tolerance, name)
    for name, view in native.parameters.items():
        assert_close(python.parameters[name], view, tolerance, name)
        assert_same_bits(team_of_two.parameters[name], python.parameters[name], name)
    assert_close(python.predict(x), native.predict(x), tolerance)
    assert_close(python.evaluate(x, y)["loss"], native.evaluate(x, y)["loss"], tolerance)
    assert_close(python.train_on_batch(x, y), native.train_on_batch(x, y), tolerance)
    for _ in range(3):
        assert_close(python.learn_one(x[0], y[0]), native.learn_one(x[0], y[0]), tolerance)
        assert_close(python.predict_one(x[1]), native.predict_one(x[1]), tolerance)


def test_by_hand_with_predict_in_between(batch):
    x, y = batch
    model = model_of(fnn.Dense(6), Scale(2), fnn.Dense(3), optimizer="sgd")
    y_hat = model.forward(x, training=True)
    assert model.layers[1].was_training
    model.predict(3 * x)
    assert not model.layers[1].was_training
    gradients = {k: v.copy() for k, v in model.backward(2 * (y_hat - y) / y.size).items()}
    want = train_by_reference(model, x, y)
    for name, gradient in gradients.items():
        assert_close(gradient, want[f"gradient of {name}"], 1e-10, name)
    for name, gradient in model.backward(2 * (y_hat - y) / y.size).items():
        assert_same_bits(gradient, gradients[name], name)


@pytest.mark.filterwarnings("ignore:the last batch of 33 rows")
def test_an_error_of_the_users_leaves_the_step_unmade(batch):
    class Fails(Scale):
        calls = 0

        def backward(self, grad_output):
            Fails.calls += 1
            if Fails.calls == 4:
                raise ZeroDivisionError("mine")
            return super().backward(grad_output)

    x, y = batch
    model = model_of(fnn.Dense(6), fnn.BatchNormalization(), Fails(), fnn.Dense(3))
    twin = model_of(fnn.Dense(6), fnn.BatchNormalization(), Scale(name="fails"), fnn.Dense(3))
    with pytest.raises(ZeroDivisionError, match=r"^mine$"):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for i in range(3):
        twin.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    assert model.network.runtime.step == 3
    for mine, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        assert_same_bits(mine, other)
    model.train_on_batch(x, y)  # training continues


@pytest.mark.filterwarnings("ignore:the last batch of 33 rows")
def test_a_loss_that_is_not_finite_stops_before_the_step(batch):
    class Breaks(Scale):
        def forward(self, x, *, training):
            y = super().forward(x, training=training)
            return y * np.nan if training else y

    x, y = batch
    model = model_of(fnn.Dense(6), fnn.BatchNormalization(), Breaks(name="breaks"), fnn.Dense(3))
    before = model.get_weights()
    with pytest.raises(fnn.NonFiniteLossError, match="layer 'breaks' is the first"):
        model.fit(x, y, verbose=0)
    for now, old in zip(model.get_weights(), before, strict=True):
        assert_same_bits(now, old)


def returning(forward=None, backward=None):
    class Bad(fnn.Layer):
        def build(self, input_shape):
            self.add_weight("w", (2,), "ones")

    Bad.forward = lambda self, x, *, training: x if forward is None else forward(x)
    Bad.backward = lambda self, grad: grad if backward is None else backward(self, grad)
    return Bad(name="bad")


def set_gradient(layer, value):
    layer.gradients["w"] = value
    return np.zeros((33, 6))


@pytest.mark.parametrize(
    ("layer", "error", "match"),
    [
        (returning(lambda x: None), TypeError, r"forward must return an array .*\(33, 6\).* None"),
        (returning(lambda x: x[:, :2]), ValueError, r"forward .*\(33, 6\), got shape \(33, 2\)"),
        (returning(lambda x: x * 1j), TypeError, r"forward must return real numbers, got dtype co"),
        (returning(lambda x: x.astype(str)), TypeError, r"forward must return real numbers"),
        (returning(lambda x: [[1], [1, 2]]), ValueError, r"forward must .*different lengths"),
        (returning(backward=lambda s, g: None), TypeError, r"backward must return .* got None"),
        (returning(backward=lambda s, g: g.T), ValueError, r"backward .*got shape \(6, 33\)"),
        (returning(backward=lambda s, g: set_gradient(s, None)), TypeError,
         r"backward: the gradient of 'w' must .*\(2,\), got None"),
        (returning(backward=lambda s, g: set_gradient(s, np.ones(3))), ValueError,
         r"backward: the gradient of 'w' must .*\(2,\), got shape \(3,\)"),
    ],
)  # fmt: skip
def test_what_is_returned_is_checked(layer, error, match, batch):
    model = model_of(fnn.Dense(6), layer, fnn.Dense(3))
    before = model.get_weights()
    with pytest.raises(error, match=f"^layer 'bad': {match}"):
        model.fit(*batch, batch_size=33, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_what_is_given_is_read_only(batch):
    for layer in (
        returning(lambda x: np.negative(x, out=x)),
        returning(backward=lambda s, g: np.negative(g, out=g)),
        returning(backward=lambda s, g: np.negative(s.parameters["w"], out=s.parameters["w"])),
    ):
        with pytest.raises(ValueError, match="read-only"):
            model_of(fnn.Dense(6), layer, fnn.Dense(3)).fit(*batch, verbose=0)


def test_what_is_not_defined_is_said():
    class NoBackward(fnn.Layer):
        def forward(self, x, *, training):
            return x

    class NoInit(fnn.Layer):
        def __init__(self):
            self.mine = 1

    class Twice(fnn.Layer):
        def build(self, input_shape):
            self.add_weight("w", (1,))
            self.add_weight("w", (1,))

    with pytest.raises(TypeError, match="NoBackward must define backward"):
        fnn.Sequential([NoBackward()], input_shape=(2,)).predict(np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"NoInit.__init__ must begin with super\(\)"):
        fnn.Sequential([NoInit()], input_shape=(2,))
    with pytest.raises(TypeError, match=r"NoInit.__init__ must begin with super\(\)"):
        NoInit()(fnn.Input((2,)))
    with pytest.raises(ValueError, match="has a weight 'w' already"):
        fnn.Sequential([Twice()], input_shape=(2,))
    with pytest.raises(ValueError, match="NoBackward must define output_shape"):
        NoBackward()([fnn.Input((2,)), fnn.Input((3,))])


def test_frozen_and_slowed_layers(batch):
    model = model_of(fnn.Dense(6), Scale(2), fnn.Dense(3))
    model.layers[1].trainable = False
    before = model.layers[1].parameters["factor"].copy()
    model.fit(*batch, verbose=0)
    assert_same_bits(model.layers[1].parameters["factor"], before)
    model.layers[1].trainable = True
    model.fit(*batch, verbose=0)
    assert (model.layers[1].parameters["factor"] != before).all()


def test_first_and_last_of_a_model(batch, rng):
    """It reads the model's input in place, and writes its output."""
    x, _ = batch
    layer = Scale(2)
    model = model_of(layer, optimizer="sgd")
    y = rng.normal(size=(33, 4))
    want = layer.parameters["factor"] * x**2 + layer.parameters["shift"]
    assert_close(model.predict(x), want, 1e-12)
    assert_close(model.predict(x, batch_size=5), want, 1e-12)
    assert_close(model.forward(x, training=True), want, 1e-12)
    assert fnn.gradcheck(model, x, y)
    model.fit(x, y, batch_size=5, verbose=0)
    assert model.network.runtime.step == 7


def test_it_is_shown(capsys, batch):
    model = typical()
    model.summary()
    assert "Scale (Python)" in capsys.readouterr().out
    model.explain()
    shown = capsys.readouterr().out
    assert "python(" in shown
    assert "runs=in Python" in shown
    with pytest.raises(ValueError, match="runs in Python"):
        model.profile(*batch)


# --- activations ------------------------------------------------------------------------------


def test_custom_activation(batch):
    x, y = batch
    mine = fnn.activations.Custom(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    model = model_of(fnn.Dense(6, mine), fnn.Activation(mine), fnn.Dense(3))
    twin = model_of(fnn.Dense(6, "tanh"), fnn.Activation("tanh"), fnn.Dense(3))
    assert fnn.gradcheck(model, x, y)
    for one in (model, twin):
        one.fit(x, y, epochs=2, batch_size=8, verbose=0)
    assert_close(model.predict(x), twin.predict(x), 1e-10)
    with pytest.raises(TypeError, match="derivative must be callable, got 1"):
        fnn.activations.Custom(np.tanh, 1)
    bad = fnn.activations.Custom(np.tanh, lambda x: None)
    with pytest.raises(TypeError, match="layer 'dense': the derivative of its activation must ret"):
        model_of(fnn.Dense(6, bad), fnn.Dense(3)).fit(x, y, verbose=0)


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(fnn.layers.registry, "_classes", dict(fnn.layers.registry._classes))
    assert fnn.layers.registry.add(Scale) is Scale
    assert fnn.layers.registry.add(Scale) is Scale  # as when a notebook's cell is run again
    return Scale


def test_a_registered_layer_is_saved(registered, tmp_path, batch, monkeypatch):
    x, y = batch
    model = model_of(fnn.Dense(4), Scale(2), fnn.Residual([Scale(3, name="inner")]), fnn.Dense(3))
    model.fit(x, y, verbose=0)
    path = tmp_path / "m"
    model.save(path)
    for other in (fnn.load(path), copy.deepcopy(model)):
        assert_same_bits(other.predict(x), model.predict(x))
        assert other.layers[1].power == 2
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"kind 'test_scale', which is not known.*custom_objects"):
        fnn.load(path)
    for name in ("Scale", "test_scale"):
        loaded = fnn.load(path, custom_objects={name: Scale})
        assert_same_bits(loaded.predict(x), model.predict(x))
    assert loaded.train_on_batch(x, y) == model.train_on_batch(x, y)
    with pytest.raises(TypeError, match=r"custom_objects\['Scale'\] must be a class of layers"):
        fnn.load(path, custom_objects={"Scale": Scale(1)})


def test_what_cannot_be_saved(tmp_path, registered):
    class NotRegistered(Scale):
        pass

    class BadConfig(Scale):
        kind = "bad_config"

        def config(self):
            return {"power": np.ones(2)}

    fnn.layers.registry.add(BadConfig)
    custom = fnn.Activation(fnn.activations.Custom(np.tanh, np.cos))
    for layer, match in (
        (NotRegistered(), "layer 'not_registered' is a NotRegistered, which load would not know"),
        (fnn.Residual(NotRegistered()), "layer 'not_registered' is a NotRegistered"),
        (BadConfig(), "layer 'bad_config' cannot be saved: its config must be JSON"),
        (custom, "layer 'activation' cannot be saved: its config must be JSON"),
    ):
        with pytest.raises(ValueError, match=match):
            model_of(layer).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(ValueError, match="kind must be another one: 'dense' is fastnn's Dense"):
        fnn.layers.registry.add(type("Dense", (Scale,), {"kind": "dense"}))


def test_sparse_rows_and_several_outputs(rng):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random_array((40, 6), density=0.3, rng=rng, format="csr")
    inputs = fnn.Input((6,))
    scaled = Scale(2)(inputs)
    outputs = [fnn.Dense(2)(scaled), Scale(3)(fnn.Dense(2)(inputs))]
    model = fnn.Model(inputs, outputs, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    y = [rng.normal(size=(40, 2)) for _ in range(2)]
    for one, other in zip(model.predict(x), model.predict(x.toarray()), strict=True):
        assert_same_bits(one, other)
    assert fnn.gradcheck(model, x, y)
    model.fit(x, y, epochs=2, verbose=0)


class Flagged(fnn.Layer):
    """It keeps its input, and whether it was training; its gradient shows which."""

    def forward(self, x, *, training):
        self.x, self.was_training = x, training
        return x * 1.0

    def backward(self, grad_output):
        assert self.x.shape == grad_output.shape
        return grad_output if self.was_training else grad_output * 1000


def flagged():
    model = fnn.Sequential([fnn.Dense(3), Flagged(), fnn.Dense(2)], input_shape=(4,), seed=0)
    model.compile(fnn.SGD(0.0), "mse")
    return model


def test_what_forward_keeps_is_put_back_though_it_was_the_same_before(rng):
    x, grad = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    model, want = flagged(), None
    for _ in range(3):  # from the second on, was_training is already True
        model.forward(x, training=True)
        model.predict(x)
        got = model.backward(grad)["dense/kernel"].copy()
        want = got if want is None else want
        np.testing.assert_array_equal(got, want)


def test_prediction_in_another_thread_does_not_disturb_training(rng):
    x, grad = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    model, stop, errors = flagged(), threading.Event(), []
    want = model.predict(x[:2])

    def predict():
        while not stop.is_set():
            if not np.array_equal(model.predict(x[:2]), want):
                errors.append("differs")

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        found = set()
        for _ in range(300):
            model.forward(x, training=True)
            found.add(model.backward(grad)["dense/kernel"].tobytes())
    finally:
        stop.set()
        thread.join()
    assert len(found) == 1
    assert not errors


def test_layers_frozen_after_forward_do_not_count_for_the_norm(rng):
    x, grad = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    weights = []
    for is_late in (False, True):
        model = fnn.Sequential([fnn.Dense(3), fnn.Dense(2)], input_shape=(4,), seed=0)
        model.compile(fnn.SGD(1.0, global_clipnorm=1e-3), "mse")
        model.layers[0].trainable = is_late
        model.forward(x, training=True)
        model.layers[0].trainable = False
        model.backward(grad)
        model.apply_gradients()
        weights.append(np.concatenate([array.ravel() for array in model.get_weights()]))
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize("name", ["", "a/b", 3, None], ids=repr)
def test_names_of_weights(name):
    with pytest.raises(ValueError, match=r"name must be a non-empty string without '/', got"):
        Scale().add_weight(name, (3,))


@pytest.mark.parametrize("returned", ["array", "three"])
def test_backward_of_two_inputs_returns_two_gradients(returned, rng):
    class Sum(fnn.Layer):
        def forward(self, inputs, *, training):
            return inputs[0] + inputs[1]

        def backward(self, grad_output):
            return grad_output if returned == "array" else (grad_output,) * 3

    entrance = fnn.Input((4,))
    both = [fnn.Dense(3)(entrance), fnn.Dense(3)(entrance)]
    model = fnn.Model(entrance, Sum(name="sum")(both))
    model.compile("sgd", "mse")
    kind = {"array": "ndarray", "three": "tuple"}[returned]
    with pytest.raises(TypeError, match=f"must return a tuple of 2 arrays, .* got {kind}"):
        model.fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 3)), verbose=0)
