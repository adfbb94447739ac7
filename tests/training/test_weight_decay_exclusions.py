"""Weight decay that leaves out parameters by name."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn.program.purpose import Purpose

ONES = fnn.initializers.Constant(1.0)
NAMES = ("bias", "gamma", "beta")


def model_of(optimizer, width=5):
    layers = [
        fnn.Dense(width, bias_initializer=ONES),
        fnn.LayerNormalization(beta_initializer=ONES),
        fnn.Dense(3, bias_initializer=ONES),
    ]
    model = fnn.Sequential(layers, input_shape=(width,), dtype="float64", seed=2)
    model.compile(optimizer, "mse")
    return model


def without(optimizer, names=NAMES):
    optimizer.exclude_from_weight_decay(var_names=names)
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda decay: fnn.SGD(0.1, weight_decay=decay),
        lambda decay: fnn.Adam(0.1, weight_decay=decay, clipnorm=0.1),
        lambda decay: fnn.AdamW(0.1, weight_decay=decay),
        lambda decay: fnn.AdamW(0.1, weight_decay=decay, amsgrad=True, global_clipnorm=0.1),
        lambda decay: fnn.Lion(0.1, weight_decay=decay),
        lambda decay: fnn.GradientDescent(0.1, weight_decay=decay),
    ],
)
@pytest.mark.parametrize("width", [5, 600])
def test_one_step_with_each_kind_of_decay(make, width, rng):
    x, y = rng.normal(size=(20, width)), rng.normal(size=(20, 3))
    found, decaying, plain = (
        model_of(optimizer, width) for optimizer in (without(make(0.3)), make(0.3), make(0.0))
    )
    for model in (found, decaying, plain):
        model.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    for name, view in found.parameters.items():
        is_excluded = any(part in name for part in NAMES)
        wanted, other = (plain, decaying) if is_excluded else (decaying, plain)
        assert_close(view, wanted.parameters[name], 1e-13, name)
        assert np.abs(view - other.parameters[name]).max() > 1e-8, name


@pytest.mark.parametrize(
    ("names", "excluded"),
    [
        (["bias"], {"dense/bias", "dense_1/bias"}),
        (["dense_1"], {"dense_1/kernel", "dense_1/bias"}),
        ([r"^dense/.*s$"], {"dense/bias"}),
        (["gamma|beta"], {"layer_normalization/gamma", "layer_normalization/beta"}),
    ],
)
def test_names_are_parts_or_regular_expressions(names, excluded):
    optimizer = without(fnn.AdamW(), names)
    model = model_of(optimizer)
    assert {name for name in model.parameters if not model.optimizer.decays(name)} == excluded


def test_exclusions_are_saved_compared_and_shown(tmp_path):
    optimizer = without(fnn.AdamW(weight_decay=0.1), ["bias"])
    optimizer.exclude_from_weight_decay(["gamma", "bias"])
    assert optimizer == fnn.AdamW(weight_decay=0.1, weight_decay_exclusions=["bias", "gamma"])
    assert optimizer != fnn.AdamW(weight_decay=0.1)
    assert "weight_decay_exclusions=('bias', 'gamma')" in repr(optimizer)
    assert isinstance(hash(optimizer), int)
    model = model_of(optimizer)
    model.save(tmp_path / "m.safetensors")
    assert fnn.load(tmp_path / "m.safetensors").optimizer == optimizer


def test_they_may_be_set_between_steps(rng):
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    found, wanted = model_of(fnn.AdamW(0.1, weight_decay=0.3)), model_of(fnn.AdamW(0.1))
    wanted.optimizer.weight_decay = 0.3
    for model in (found, wanted):
        model.train_on_batch(x, y)
        model.optimizer.exclude_from_weight_decay(["bias"])
        model.train_on_batch(x, y)
    assert_close(found.parameters["dense/bias"], wanted.parameters["dense/bias"], 0)
    ops = found.network.runtime.bound(Purpose.TRAIN, 20).plan.program.ops
    assert len({op.attributes["hyper_parameters"] for op in ops if op.name == "update"}) == 2


@pytest.mark.parametrize("optimizer", [fnn.AdamW(), without(fnn.Adam())])
def test_where_nothing_differs_there_is_one_pass(optimizer):
    model = model_of(optimizer)
    ops = model.network.runtime.bound(Purpose.TRAIN, 20).plan.program.ops
    assert [op.name for op in ops].count("update") == 1


def test_lbfgs(rng):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 1)) + 3
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,), dtype="float64", seed=0)
    model.compile(fnn.LBFGS(weight_decay=0.8, weight_decay_exclusions=["bias"]), "mse")
    model.fit(x, y, epochs=100, verbose=0)
    # 2/n X'(X w + b - y) + 0.8 w = 0 for the kernel, without the last term for the bias
    with_ones = np.hstack([x, np.ones((50, 1))])
    decay = np.diag([0.8] * 4 + [0.0])
    wanted = np.linalg.solve(2 / 50 * with_ones.T @ with_ones + decay, 2 / 50 * with_ones.T @ y)
    assert_close(model.parameters["dense/kernel"], wanted[:4], 1e-4)
    assert_close(model.parameters["dense/bias"], wanted[4], 1e-4)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("bias", TypeError, "var_names must be a list"),
        ([1], TypeError, "var_names"),
        (["("], ValueError, r"regular expressions, got '\('"),
    ],
)
def test_bad_names(names, error, message):
    optimizer = fnn.AdamW()
    with pytest.raises(error, match=message):
        optimizer.exclude_from_weight_decay(names)
    assert optimizer == fnn.AdamW()


@pytest.mark.parametrize("steps", [None, 4])
def test_names_that_no_parameter_has(steps, rng):
    model = model_of(without(fnn.AdamW(gradient_accumulation_steps=steps), ["biass"]))
    with unchanged(model), pytest.raises(ValueError, match=r"no parameter has one of \['biass'\]"):
        model.train_on_batch(rng.normal(size=(20, 5)), rng.normal(size=(20, 3)))
