"""Regularizers: what they add to the loss and to the gradients."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import weights_as_bytes

import fastnn as fnn
from fastnn import regularizers

PENALTIES = {
    "l1": (fnn.regularizers.L1(0.3), lambda p: 0.3 * np.abs(p).sum(), lambda p: 0.3 * np.sign(p)),
    "l2": (fnn.regularizers.L2(0.2), lambda p: 0.2 * (p**2).sum(), lambda p: 0.4 * p),
    "l1_l2": (
        fnn.regularizers.L1L2(0.1, 0.2),
        lambda p: 0.1 * np.abs(p).sum() + 0.2 * (p**2).sum(),
        lambda p: 0.1 * np.sign(p) + 0.4 * p,
    ),
}


def network(kernel=None, bias=None, **options):
    layers = [
        fnn.Dense(70, "tanh", kernel_regularizer=kernel, bias_regularizer=bias,
                  bias_initializer="normal"),
        fnn.Dense(2),
    ]  # fmt: skip
    model = fnn.Sequential(layers, input_shape=(65,), dtype="float64", seed=2)
    model.compile(fnn.SGD(0.1), "mse", **options)
    return model


@pytest.fixture
def batch(rng):
    return rng.normal(size=(9, 65)), rng.normal(size=(9, 2))


def test_every_regularizer_is_expected():
    assert set(PENALTIES) == set(regularizers.registry)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("part", ["kernel", "bias"])
def test_penalty_counts_in_the_loss_and_in_the_gradient(name, part, batch):
    regularizer, value, gradient = PENALTIES[name]
    plain, model = network(), network(**{part: regularizer})
    p = plain.parameters[f"dense/{part}"].copy()
    assert_close(model.evaluate(*batch)["loss"], plain.evaluate(*batch)["loss"] + value(p), 1e-12)
    assert_close(model.train_on_batch(*batch), plain.train_on_batch(*batch) + value(p), 1e-12)
    for other, view in model.parameters.items():
        more = 0.1 * gradient(p) if other == f"dense/{part}" else 0
        assert_close(view, plain.parameters[other] - more, 1e-12, other)
    with pytest.raises(AssertionError):
        assert_close(model.parameters[f"dense/{part}"], plain.parameters[f"dense/{part}"], 1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_gradcheck(name, batch):
    assert fnn.gradcheck(network(PENALTIES[name][0], PENALTIES[name][0]), *batch, samples=40)


def test_frozen_layer_has_no_penalty(batch):
    model = network("l2", "l1")
    model.layers[0].trainable = False
    plain = network()
    plain.layers[0].trainable = False
    assert model.train_on_batch(*batch) == plain.train_on_batch(*batch)
    assert weights_as_bytes(model) == weights_as_bytes(plain)


def test_evaluate_notices_a_frozen_layer():
    """Its penalty is not in the loss; computed by hand, with kernel and bias of one number."""
    x, y = np.array([[1.0], [3.0]]), np.array([[0.0], [2.0]])
    model = fnn.Sequential(
        [fnn.Dense(1, kernel_regularizer=fnn.regularizers.L2(0.5))],
        input_shape=(1,), dtype="float64",
    )  # fmt: skip
    model.compile("sgd", "mse")
    model.set_weights([np.array([[2.0]]), np.array([1.0])])
    of_the_data = ((2 * 1 + 1 - 0) ** 2 + (2 * 3 + 1 - 2) ** 2) / 2
    layer = model.layers[0]
    for is_trainable in (True, False, True):
        layer.trainable = is_trainable
        expected = of_the_data + 0.5 * 2.0**2 * is_trainable
        assert model.evaluate(x, y)["loss"] == expected
    history = model.fit(x, y, epochs=1, validation_data=(x, y), verbose=0).history
    layer.trainable = False
    with pytest.warns(UserWarning, match="no parameter of this model learns"):
        again = model.fit(x, y, epochs=1, validation_data=(x, y), verbose=0).history
    penalty = 0.5 * model.get_weights()[0].item() ** 2
    assert history["val_loss"][0] - again["val_loss"][0] == pytest.approx(penalty, rel=1e-12)


def test_shared_layer_is_penalised_once(rng):
    x = fnn.Input((4,))
    shared = fnn.Dense(4, kernel_regularizer=fnn.regularizers.L2(0.5))
    model = fnn.Model(x, shared(shared(x)), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    want = ((model.predict(x) - y) ** 2).mean() + 0.5 * (shared.kernel**2).sum()
    assert_close(model.evaluate(x, y)["loss"], want, 1e-12)


# kind: (layer with these regularizers, its input)
LAYERS = {
    "dense": (lambda **r: fnn.Dense(3, bias_initializer="normal", **r), (4,)),
    "prelu": (lambda **r: fnn.PReLU("normal", **r), (4,)),
    "scale": (lambda **r: fnn.Scale("normal", **r), (4,)),
    "parametric_activation": (
        lambda **r: fnn.ParametricActivation("relu", "normal", **r), (4,)
    ),
    "layer_normalization": (
        lambda **r: fnn.LayerNormalization(beta_initializer="normal", **r), (4,)
    ),
    "batch_normalization": (
        lambda **r: fnn.BatchNormalization(beta_initializer="normal", **r), (4,)
    ),
    "embedding": (lambda **r: fnn.Embedding(5, 3, **r), (4,)),
    "embedding of columns": (lambda **r: fnn.Embedding([5, 6, 7, 8], 3, **r), (4,)),
}  # fmt: skip


def test_every_layer_with_parameters_is_expected():
    registry, base = fnn.layers.registry, fnn.Layer
    kinds = {k for k in registry if registry[k].parameter_shapes is not base.parameter_shapes}
    without = {
        "residual", "normalization", "periodic_embedding", "piecewise_linear_embedding",
        "member_scale", "member_dense",
    }  # fmt: skip
    assert {name.split(" ")[0] for name in LAYERS} | without == kinds


@pytest.mark.parametrize("name", LAYERS)
def test_every_parameter_of_every_layer(name, rng, tmp_path):
    make, shape = LAYERS[name]
    arguments = inspect.signature(fnn.layers.registry[name.split(" ")[0]]).parameters
    every = {key: PENALTIES["l1_l2"][0] for key in arguments if key.endswith("_regularizer")}
    x, y = rng.integers(0, 5, (7, *shape)), rng.normal(size=(7, 2))

    def model_with(regularizers):
        layers = [make(**regularizers), fnn.Flatten(), fnn.Dense(2, name="end")]
        model = fnn.Sequential(layers, input_shape=shape, dtype="float64", seed=3)
        model.compile("sgd", "mse")
        return model

    plain, model = model_with({}), model_with(every)
    learned = [
        view for name, view in model.parameters.items()
        if not name.startswith("end/") and "moving" not in name
    ]  # fmt: skip
    penalty = sum(PENALTIES["l1_l2"][1](view) for view in learned)
    assert len(learned) >= len(every) > 0
    assert all(view.any() for view in learned)
    more = model.evaluate(x, y)["loss"] - plain.evaluate(x, y)["loss"]
    assert_close(more, penalty, 1e-12)
    assert fnn.gradcheck(model, x, y)
    model.save(tmp_path / "m")
    assert fnn.load(tmp_path / "m").evaluate(x, y) == model.evaluate(x, y)
    for key in every:
        for one in (plain, model):
            with pytest.raises(AttributeError, match=f"{key} cannot be changed"):
                setattr(one.layers[0], key, None)
    with pytest.raises(ValueError, match="unknown regularizer 'L3'"):
        make(**dict.fromkeys(every, "L3"))


@pytest.mark.parametrize("name", PENALTIES)
def test_saved_and_named(name, tmp_path):
    model = network(PENALTIES[name][0], name)
    model.save(tmp_path / "m")
    layer = fnn.load(tmp_path / "m").layers[0]
    assert layer.kernel_regularizer == PENALTIES[name][0]
    assert layer.bias_regularizer == regularizers.get(name)


def test_evaluate_counts_penalties_of_what_learns_now(rng):
    """Also if it was called before a layer was frozen."""
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 1))
    losses = []
    for is_called_before in (True, False):
        layers = [fnn.Dense(3, kernel_regularizer="l2"), fnn.Dense(1)]
        model = fnn.Sequential(layers, input_shape=(4,), seed=0)
        model.compile("sgd", "mse")
        before = model.evaluate(x, y)["loss"] if is_called_before else None
        layers[0].trainable = False
        losses.append(model.evaluate(x, y)["loss"])
        assert before != losses[-1]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fnn.regularizers.L1(-1), ValueError, "l1 must be a finite number of at least 0"),
        (lambda: fnn.regularizers.L2("x"), ValueError, "l2 must be a finite number of at least 0"),
        (lambda: fnn.Dense(2, kernel_regularizer="L3"), ValueError, "unknown regularizer 'L3'"),
        (lambda: fnn.Dense(2, bias_regularizer=0.1), TypeError, "regularizer must be a name or"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
