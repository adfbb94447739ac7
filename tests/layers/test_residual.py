"""Residual: names, gradients, freezing and files of a block of layers; and bad input."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import assert_same_bits

import fastnn as fnn
from fastnn.program.purpose import Purpose


def model_of(block, **options):
    layer = fnn.Residual(block, **options)
    model = fnn.Sequential([layer, fnn.Dense(2)], input_shape=(4,), dtype="float64", seed=1)
    model.compile("adam", "mse")
    return model, layer


@pytest.fixture
def batch(rng):
    return rng.normal(size=(20, 4)), rng.normal(size=(20, 2))


def test_parameters_and_ops_carry_both_names(capsys):
    inner = fnn.Residual(fnn.Dense(6), name="inner")
    model, layer = model_of([fnn.Dense(6, "tanh"), inner, fnn.Dense(4)])
    names = ["dense", "inner/dense", "dense_1"]
    assert list(model.parameters) == [
        f"{path}/{name}"
        for path in (*(f"residual/{name}" for name in names), "dense")
        for name in ("kernel", "bias")
    ]
    assert layer.block[0].kernel is layer.block[0].parameters["kernel"]
    assert_same_bits(inner.block[0].kernel, model.parameters["residual/inner/dense/kernel"])
    ops = model.network.runtime.bound(Purpose.TRAIN, 4).plan.program.ops
    assert {f"residual/{name}" for name in names} <= {op.layer for op in ops}


def test_gradients_and_a_shared_layer(batch):
    shared = fnn.Dense(4, "tanh")
    model, _ = model_of([shared, fnn.BatchNormalization(), shared, fnn.Dropout(0.2)])
    assert len(model.parameters) == 2 + 4 + 2
    assert fnn.gradcheck(model, *batch)


def test_freezing_and_rates_reach_the_block(batch):
    model, layer = model_of([fnn.Dense(3), fnn.BatchNormalization(), fnn.Dense(4)])
    layer.trainable = False
    assert not any(part.trainable for part in layer.block)
    before = [view.copy() for view in layer.parameters.values()]
    model.fit(*batch, verbose=0)
    assert all(map(np.array_equal, before, layer.parameters.values()))
    layer.trainable = True
    layer.block[0].trainable = False
    layer.learning_rate_factor, layer.block[2].learning_rate_factor = 0.5, 0.5
    assert layer.rate_factor("dense/kernel") == 0
    assert layer.rate_factor("dense_1/kernel") == 0.25
    assert layer.rate_factor("batch_normalization/moving_mean") == 0
    model.fit(*batch, verbose=0)
    now = layer.parameters.values()
    changed = [not np.array_equal(a, b) for a, b in zip(before, now, strict=True)]
    assert changed == [False] * 2 + [True] * 6
    assert not fnn.Residual(fnn.Dense(4), trainable=False).block[0].trainable


def test_a_regularizer_inside_counts(batch):
    plain, _ = model_of(fnn.Dense(4))
    model, _ = model_of(fnn.Dense(4, kernel_regularizer="l2"))
    assert model.train_on_batch(*batch) > plain.train_on_batch(*batch)


def test_it_comes_back(batch, tmp_path):
    shared = fnn.Dense(4, "tanh", name="mine")
    model, layer = model_of([shared, fnn.Residual([fnn.PReLU("ones"), fnn.Dense(4)]), shared])
    layer.block[1].block[1].trainable = False
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m")
    again = loaded.layers[0]
    assert again.describe() == layer.describe()
    assert again.block[0] is again.block[2]
    assert list(loaded.parameters) == list(model.parameters)
    assert loaded.train_on_batch(*batch) == model.train_on_batch(*batch)
    assert_same_bits(loaded.predict(batch[0]), model.predict(batch[0]))


def test_non_finite_parameters_inside_are_named(batch):
    model, layer = model_of([fnn.Dense(3), fnn.Dense(4)])
    layer.block[1].kernel[0, 0] = np.nan
    with pytest.raises(fnn.NonFiniteLossError, match="layer 'residual/dense_1' is the first"):
        model.fit(*batch, verbose=0)


def test_a_model_that_was_waiting_gives_its_layers_back():
    dense = fnn.Dense(4)
    model = fnn.Sequential([fnn.Residual(dense)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have as many rows"):
        model.fit(np.ones((3, 4)), np.ones((2, 4)), verbose=0)
    assert not dense.is_built
    assert dense.parameters == {}
    model.fit(np.ones((3, 4)), np.ones((3, 4)), verbose=0)
    assert dense.is_built
    again = fnn.Sequential([dense], input_shape=(4,))
    assert np.shares_memory(again.layers[0].kernel, model.parameters["residual/dense/kernel"])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: fnn.Residual([]), ValueError, "block must hold at least one layer, got none"),
        (lambda: fnn.Residual("dense"), TypeError, "block must be a list of Layer instances"),
        (lambda: fnn.Residual([fnn.Dense]), TypeError, r"did you mean Dense\(\.\.\.\)"),
        (lambda: fnn.Residual(fnn.Dense(3))(fnn.Input((4,))), ValueError,
         r"layer 'residual': the block .* must keep the shape.*\(3,\) of \(4,\)"),
        (lambda: fnn.Residual([fnn.Reshape((2, 2)), fnn.Dense(4)])(fnn.Input((4,))), ValueError,
         r"layer 'residual': 'dense' in its block: Dense takes samples of shape \(inputs,\)"),
        (lambda: fnn.Residual(fnn.Add())(fnn.Input((4,))), ValueError, "Add takes two or more"),
        (lambda: fnn.Residual(fnn.Dense(4))([fnn.Input((4,))] * 2), ValueError, "one input, got 2"),
        (lambda: fnn.Residual([fnn.Dense(4, name="a"), fnn.Dense(4, name="a")]), ValueError,
         "layer names must be unique"),
    ],
)  # fmt: skip
def test_bad_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_layer_that_would_need_two_sizes_is_refused():
    shared = fnn.Dense(4, name="shared")
    with pytest.raises(
        ValueError,
        match=r"layer 'shared' is used for inputs of different sizes in the block of 'residual': "
        r"kernel would be \(4, 4\) and \(7, 4\)",
    ):
        model_of([shared, fnn.Dense(7), shared])


def test_a_copy_has_a_block_of_its_own():
    model, layer = model_of([fnn.Dense(4)])
    copied, _ = copy.copy(layer), copy.deepcopy(layer)
    assert np.array_equal(copied.block[0].kernel, layer.block[0].kernel)
    other = fnn.Sequential([copied], input_shape=(4,), dtype="float64")
    pairs = zip(other.parameters.values(), model.parameters.values(), strict=False)
    assert not any(np.shares_memory(*pair) for pair in pairs)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x, layer: fnn.Residual([layer])(layer(x)),
        lambda x, layer: layer(fnn.Residual([layer])(x)),
        lambda x, layer: fnn.Residual([layer])(fnn.Residual([fnn.Residual([layer])])(x)),
    ],
)
@pytest.mark.parametrize("is_built", [False, True])
def test_a_layer_of_a_block_cannot_have_a_second_name(outputs, is_built):
    """Its parameters would be two, each with an optimizer state of its own."""
    layer = fnn.Dense(4)
    first = fnn.Sequential([layer], input_shape=(4,)) if is_built else None
    x = fnn.Input((4,))
    with pytest.raises(
        ValueError, match=r"layer 'dense' is in the block .* \(.*dense and .*dense\)"
    ):
        fnn.Model(x, outputs(x, layer))
    assert first is None or layer.is_built
