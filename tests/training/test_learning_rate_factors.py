"""Factors of the learning rate for some parameters of a layer."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn.layers.base import make as make_layer

NORMAL = fnn.initializers.Normal(0.3, 0.5)


def model_of(*layers, optimizer=None):
    layers = layers or (fnn.Dense(6, "tanh", name="first"), fnn.Dense(3, name="second"))
    model = fnn.Sequential(layers, input_shape=(5,), dtype="float64", seed=2)
    model.compile(optimizer or fnn.SGD(0.1), "mse")
    return model


@pytest.fixture
def data(rng):
    return rng.normal(size=(20, 5)), rng.normal(size=(20, 3))


def change(model, data):
    """What one step changes in each parameter."""
    before = {name: view.copy() for name, view in model.parameters.items()}
    model.train_on_batch(*data)
    return {name: view - before[name] for name, view in model.parameters.items()}


@pytest.mark.parametrize("optimizer", [lambda: fnn.SGD(0.1), lambda: fnn.Adam(0.01)])
def test_the_bias_learns_a_tenth_as_fast(optimizer, data):
    whole, model = model_of(optimizer=optimizer()), model_of(optimizer=optimizer())
    model.layers[0].learning_rate_factor = {"bias": 0.1}
    wanted, found = change(whole, data), change(model, data)
    for name, one in found.items():
        factor = 0.1 if name == "first/bias" else 1.0
        assert np.abs(wanted[name]).max() > 1e-4
        assert_close(one, factor * wanted[name], 1e-14, name)


def test_they_are_changed_while_it_trains(data):
    model, layer = model_of(), fnn.Dense(3)
    layer = model.layers[0]
    layer.learning_rate_factor = {"bias": 0.0, "kernel": 2.0}
    assert not change(model, data)["first/bias"].any()
    layer.learning_rate_factor = 1.0
    assert change(model, data)["first/bias"].any()
    layer.learning_rate_factor = {"bias": 1e-3}
    layer.trainable = False
    frozen = change(model, data)
    assert not frozen["first/bias"].any()
    assert not frozen["first/kernel"].any()
    layer.trainable = True
    assert change(model, data)["first/bias"].any()
    model.learn_one(data[0][0], data[1][0])
    layer.learning_rate_factor = {"bias": 0.0}
    before = layer.bias.copy()
    model.learn_one(data[0][0], data[1][0])
    model.fit(*data, verbose=0)
    np.testing.assert_array_equal(layer.bias, before)


def test_a_given_dict_is_copied(data):
    model, factors = model_of(), {"bias": 0.0}
    model.layers[0].learning_rate_factor = factors
    factors["bias"] = 1.0
    assert model.layers[0].learning_rate_factor == {"bias": 0.0}
    assert not change(model, data)["first/bias"].any()


def test_before_the_layer_is_built(data):
    layer = fnn.Dense(3)
    layer.learning_rate_factor = {"bias": 0.0}
    model = model_of(fnn.Dense(4), layer)
    assert not change(model, data)["dense_1/bias"].any()


def test_in_a_residual_block_both_count(data):
    def changes(outer, inner):
        block = fnn.Residual([fnn.Dense(5, "tanh", name="inner")])
        model = model_of(block, fnn.Dense(3))
        block.block[0].learning_rate_factor = inner
        block.learning_rate_factor = outer
        return change(model, data)

    whole = changes(1.0, 1.0)
    by_both = changes({"inner/bias": 0.5}, {"bias": 0.2, "kernel": 0.3})
    assert_close(by_both["residual/inner/bias"], 0.1 * whole["residual/inner/bias"], 1e-14)
    assert_close(by_both["residual/inner/kernel"], 0.3 * whole["residual/inner/kernel"], 1e-14)
    assert_close(changes(0.5, {"bias": 0.2})["residual/inner/bias"],
                 0.1 * whole["residual/inner/bias"], 1e-14)  # fmt: skip


def test_parameters_that_do_not_learn_stay_as_they_are(data):
    layer = fnn.BatchNormalization()
    model = model_of(layer, fnn.Dense(3))
    layer.learning_rate_factor = {"moving_mean": 5.0, "gamma": 0.0}
    model.fit(*data, epochs=2, verbose=0)
    np.testing.assert_array_equal(layer.gamma, 1)
    assert layer.beta.any()
    mean = np.zeros(5)
    for _ in range(2):
        mean = 0.99 * mean + 0.01 * data[0].mean(axis=0)
    assert_close(layer.moving_mean, mean, 1e-12)


def test_they_are_saved_copied_and_described(data, tmp_path):
    model = model_of()
    model.layers[0].learning_rate_factor = {"bias": 0.1}
    described = json.loads(json.dumps(model.layers[0].describe()))
    assert described["learning_rate_factor"] == {"bias": 0.1}
    assert make_layer(described, {}).learning_rate_factor == {"bias": 0.1}
    model.save(tmp_path / "m.safetensors")
    copies = [
        fnn.load(tmp_path / "m.safetensors"), copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]  # fmt: skip
    wanted = change(model, data)
    for one in copies:
        assert one.layers[0].learning_rate_factor == {"bias": 0.1}
        for name, found in change(one, data).items():
            np.testing.assert_array_equal(found, wanted[name])


def test_unknown_names_and_bad_numbers_change_nothing(data):
    model = model_of()
    layer = model.layers[0]
    layer.learning_rate_factor = {"bias": 0.5}
    wanted = change(copy.deepcopy(model), data)
    for value, message in (
        ({"bais": 0.1}, "layer 'first': there is no parameter 'bais'; there is kernel, bias"),
        ({"bias": -0.1}, r"learning_rate_factor\['bias'\] must be a finite number of at least 0"),
        ({"bias": "a"}, r"learning_rate_factor\['bias'\] must be a finite number of at least 0"),
        ("bias", "learning_rate_factor must be a finite number of at least 0, got 'bias'"),
    ):
        with unchanged(model), pytest.raises(ValueError, match=message):
            layer.learning_rate_factor = value
        assert layer.learning_rate_factor == {"bias": 0.5}
    for name, found in change(model, data).items():
        np.testing.assert_array_equal(found, wanted[name])
    without = model_of(fnn.Flatten(), fnn.Dense(3))
    with pytest.raises(ValueError, match="there is no parameter 'bias'; there is none"):
        without.layers[0].learning_rate_factor = {"bias": 0.5}


def test_an_unknown_name_given_before_it_is_built_is_told_when_it_is():
    layer = fnn.Dense(3, use_bias=False)
    layer.learning_rate_factor = {"bias": 0.1}
    with pytest.raises(ValueError, match="there is no parameter 'bias'; there is kernel"):
        model_of(layer)
