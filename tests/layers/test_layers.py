"""Layers: shapes, arithmetic and gradients of every row of `fnn.layers.registry`."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastnn as fnn
from fastnn.layers.base import make as make_layer
from fastnn.native.engine import MAX_INPUTS_OF_CONCATENATE

ANYTHING = fnn.initializers.Normal(1.0, 0.3)


def residual(layer, x):
    dense, normal, last = layer.block[0], layer.block[1], layer.block[2]
    h = np.tanh(x @ dense.kernel + dense.bias)
    h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-3)
    return x + (h * normal.gamma + normal.beta) @ last.kernel


def normalized_rows(layer, x):
    z = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 0.01)
    return z * layer.gamma + layer.beta


def normalized_columns(layer, x):
    z = (x - layer.moving_mean) / np.sqrt(layer.moving_variance + 1e-3)
    return z * layer.gamma + layer.beta


def waves(layer, x):
    turns = layer.frequency * x[:, :, np.newaxis] + layer.phase
    each = np.cos(2 * np.pi * turns)[..., np.newaxis] * layer.kernel
    return (each.sum(axis=2) + layer.bias).reshape(len(x), -1)


def lines(layer, x):
    """Interpolates between the values at the edges, and goes on straight on either side."""
    values = layer.bias[:, np.newaxis] + np.pad(
        layer.kernel.cumsum(axis=1), ((0, 0), (1, 0), (0, 0))
    )
    y = np.empty((len(x), *layer.bias.shape))
    for column, unit in np.ndindex(layer.bias.shape):
        edges, heights = layer.edges[column], values[column, :, unit]
        slope = np.diff(heights) / np.diff(edges)
        at, inside = x[:, column], np.interp(x[:, column], edges, heights)
        below, above = np.minimum(at - edges[0], 0), np.maximum(at - edges[-1], 0)
        y[:, column, unit] = inside + slope[0] * below + slope[-1] * above
    return y.reshape(len(x), -1)


def dense_of_members(layer, x, member):
    kernels = layer.kernel.reshape(len(layer.kernel), layer.members, layer.units)
    biases = layer.bias.reshape(layer.members, layer.units)
    return np.stack(
        [
            row @ kernels[:, number] + biases[number]
            for row, (number,) in zip(x, member, strict=True)
        ]
    )


def piecewise():
    layer = fnn.PiecewiseLinearEmbedding(units=3, bins=4)
    layer.adapt(np.random.default_rng(8).uniform(-0.8, 0.8, (50, 4)))
    return layer


# kind: (makes the layer, shapes of its inputs, formula outside training)
CASES = {
    "dense": (
        lambda: fnn.Dense(5, activation="tanh", bias_initializer="normal"),
        [(4,)],
        lambda layer, x: np.tanh(x @ layer.kernel + layer.bias),
    ),
    "activation": (
        lambda: fnn.Activation("sigmoid"),
        [(3, 2)],
        lambda layer, x: 1 / (1 + np.exp(-x)),
    ),
    "dropout": (lambda: fnn.Dropout(0.4), [(7,)], lambda layer, x: x),
    "flatten": (
        lambda: fnn.Flatten(),
        [(2, 3, 2)],
        lambda layer, x: x.reshape(len(x), -1),
    ),
    "reshape": (
        lambda: fnn.Reshape((2, -1)),
        [(4, 3)],
        lambda layer, x: x.reshape(len(x), 2, 6),
    ),
    "prelu": (
        lambda: fnn.PReLU(ANYTHING),
        [(2, 3)],
        lambda layer, x: np.where(x > 0, x, layer.alpha * x),
    ),
    "layer_normalization": (
        lambda: fnn.LayerNormalization(0.01, gamma_initializer=ANYTHING, beta_initializer=ANYTHING),
        [(7,)],
        normalized_rows,
    ),
    "batch_normalization": (
        lambda: fnn.BatchNormalization(
            gamma_initializer=ANYTHING,
            beta_initializer=ANYTHING,
            moving_mean_initializer=ANYTHING,
            moving_variance_initializer=ANYTHING,
        ),
        [(7,)],
        normalized_columns,
    ),
    "embedding": (
        lambda: fnn.Embedding(5, 3),
        [(4,)],
        lambda layer, x: layer.tables[0][x],
    ),
    "residual": (
        lambda: fnn.Residual(
            [
                fnn.Dense(5, "tanh"),
                fnn.LayerNormalization(gamma_initializer=ANYTHING),
                fnn.Dense(4, use_bias=False),
            ],
        ),
        [(4,)],
        residual,
    ),
    "normalization": (
        lambda: fnn.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.5, 2.0, 0.0]),
        [(2, 3)],
        lambda layer, x: (x - np.array([1.0, 2.0, 3.0])) / np.sqrt([0.5, 2.0, 1.0]),
    ),
    "rescaling": (lambda: fnn.Rescaling(0.3, -2.0), [(2, 3)], lambda layer, x: x * 0.3 - 2.0),
    "category_encoding": (
        lambda: fnn.CategoryEncoding(5, "count"),
        [(4,)],
        lambda layer, x: (x[:, :, np.newaxis] == np.arange(5)).sum(axis=1),
    ),
    "integer_lookup": (
        lambda: fnn.IntegerLookup(vocabulary=[3, 1]),
        [(4,)],
        lambda layer, x: np.where(x == 3, 1, np.where(x == 1, 2, 0)),
    ),
    "string_lookup": (
        lambda: fnn.StringLookup(vocabulary=["d", "b"], output_mode="multi_hot"),
        [(4,)],
        lambda layer, x: np.stack(
            [((x != "d") & (x != "b")).any(1), (x == "d").any(1), (x == "b").any(1)], axis=1
        ),
    ),
    "scale": (lambda: fnn.Scale(ANYTHING), [(2, 3)], lambda layer, x: x * layer.scale),
    "parametric_activation": (
        lambda: fnn.ParametricActivation("tanh", ANYTHING),
        [(2, 3)],
        lambda layer, x: x + layer.alpha * (np.tanh(x) - x),
    ),
    "columns": (lambda: fnn.Columns(1, 3), [(4,)], lambda layer, x: x[:, 1:3]),
    "periodic_embedding": (
        lambda: fnn.PeriodicEmbedding(units=2, waves=5, frequency_scale=0.4),
        [(4,)],
        waves,
    ),
    "piecewise_linear_embedding": (piecewise, [(4,)], lines),
    "member_scale": (
        lambda: fnn.MemberScale(5, ANYTHING),
        [(4,), (1,)],
        lambda layer, x, member: x * layer.scale[member[:, 0]],
    ),
    "member_dense": (
        lambda: fnn.MemberDense(3, members=5, bias_initializer="normal"),
        [(4,), (1,)],
        dense_of_members,
    ),
    "average": (lambda: fnn.Average(), [(4,)] * 3, lambda layer, a, b, c: (a + b + c) / 3),
    "multiply": (lambda: fnn.Multiply(), [(4,)] * 3, lambda layer, a, b, c: a * b * c),
    "add": (lambda: fnn.Add(), [(4,)] * 3, lambda layer, a, b, c: a + b + c),
    "concatenate": (
        lambda: fnn.Concatenate(),
        [(2,), (5,), (3,)],
        lambda layer, *parts: np.concatenate(parts, axis=1),
    ),
}


OF_CATEGORIES = ("embedding", "category_encoding", "integer_lookup", "string_lookup")
OF_MEMBERS = ("member_scale", "member_dense")


def takes_numbers(kind, position):
    return kind not in OF_CATEGORIES and not (kind in OF_MEMBERS and position == 1)


def arrays(rng, shapes, rows=6, kind=""):
    if kind == "string_lookup":
        return [rng.choice(np.array(list("abcde"), object), (rows, *shape)) for shape in shapes]
    return [
        rng.normal(size=(rows, *shape))
        if takes_numbers(kind, position)
        else rng.integers(0, 5, (rows, *shape))
        for position, shape in enumerate(shapes)
    ]


def alone(make, shapes, **options):
    """A model of one layer, and the layer."""
    layer, inputs = make(), [fnn.Input(shape) for shape in shapes]
    return fnn.Model(inputs, layer(*inputs), dtype="float64", seed=0, **options), layer


def predict(model, data):
    return model.predict(data if len(data) > 1 else data[0])


def test_every_layer_has_a_case():
    assert set(CASES) == set(fnn.layers.registry)


@pytest.mark.parametrize("kind", CASES)
def test_computes_its_formula(kind, rng):
    make, shapes, formula = CASES[kind]
    model, layer = alone(make, shapes)
    data = arrays(rng, shapes, kind=kind)
    y = predict(model, data)
    np.testing.assert_allclose(y, formula(layer, *data), rtol=1e-13, atol=1e-15)
    assert y.shape[1:] == model.output_shape == layer.output_shape(*shapes)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(y + 1e-9, formula(layer, *data), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", CASES)
def test_config_makes_an_equal_layer(kind):
    make, _, _ = CASES[kind]
    layer = make()
    layer.learning_rate_factor, layer.trainable = 0.5, False
    described = json.loads(json.dumps(layer.describe()))
    again = make_layer({**described, "name": "again"}, {})
    assert again.describe() == {**layer.describe(), "name": "again"}
    assert type(again) is type(layer)
    assert (again.name, layer.kind) == ("again", kind)


@pytest.mark.parametrize("kind", CASES)
def test_gradients_before_and_behind_the_layer(kind, rng):
    make, shapes, _ = CASES[kind]
    inputs = [fnn.Input(shape) for shape in shapes]
    # A Dense in front has parameters that need the layer's gradients; it takes vectors only.
    before = [
        fnn.Dense(x.shape[0], "tanh")(x) if len(x.shape) == 1 and takes_numbers(kind, i) else x
        for i, x in enumerate(inputs)
    ]
    behind = make()(*before)
    if len(behind.shape) > 1:
        behind = fnn.Flatten()(behind)
    model = fnn.Model(inputs, fnn.Dense(3)(behind), dtype="float64", seed=1)
    model.compile("sgd", "mse")
    data = arrays(rng, shapes, kind=kind)
    x = data if len(data) > 1 else data[0]
    assert fnn.gradcheck(model, x, rng.normal(size=(6, 3)))


@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_parameters_are_views(use_bias, rng):
    layer = fnn.Dense(2, use_bias=use_bias)
    model = fnn.Sequential([layer], input_shape=(3,), dtype="float64", seed=0)
    x = rng.normal(size=(4, 3))
    layer.kernel[...] = np.arange(6).reshape(3, 2)
    np.testing.assert_allclose(model(x), x @ np.arange(6).reshape(3, 2), rtol=1e-14)
    assert ("dense/bias" in model.parameters) == use_bias
    if use_bias:
        layer.bias[...] = 100
        assert model(x).min() > 50
    else:
        with pytest.raises(AttributeError, match="layer 'dense' has no bias"):
            _ = layer.bias


def test_unbuilt_dense_says_so():
    with pytest.raises(AttributeError, match="build the model first"):
        _ = fnn.Dense(3).kernel


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    model = fnn.Sequential([fnn.Dropout(rate)], input_shape=(1000,), seed=0)
    x = np.ones((100, 1000), np.float32)
    y = model.forward(x, training=True)
    assert set(np.unique(y)) <= {np.float32(0), np.float32(1 / (1 - rate))}
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((y == 0).mean() - rate) <= 5 * deviation
    assert abs((y == 0).mean() - (rate + 0.05)) > 5 * deviation
    assert np.array_equal(model.predict(x), x)


def test_dropout_mask_changes_with_step_seed_and_layer():
    def masks(seed):
        model = fnn.Sequential(
            [fnn.Dropout(0.5), fnn.Dropout(0.5)], input_shape=(64,), dtype="float64", seed=seed
        )
        model.compile("sgd", "mse")
        x = np.ones((8, 64))
        first = model.forward(x, training=True)
        again = model.forward(x, training=True)
        model.backward(x)
        model.apply_gradients()
        return first, again, model.forward(x, training=True)

    first, again, next_step = masks(0)
    assert not np.array_equal(first, again)
    assert not np.array_equal(first, next_step)
    assert np.array_equal(first, masks(0)[0])
    assert not np.array_equal(first, masks(1)[0])
    # Two layers with the same mask would keep half of the numbers, not a quarter.
    assert 0.15 < (first != 0).mean() < 0.35


@pytest.mark.parametrize("count", [2, MAX_INPUTS_OF_CONCATENATE, 2 * MAX_INPUTS_OF_CONCATENATE + 1])
def test_concatenate_and_add_of_many(count, rng):
    data = arrays(rng, [(3,)] * count)
    for layer, expected in (
        (fnn.Concatenate(), np.concatenate(data, axis=1)),
        (fnn.Add(), sum(data)),
    ):
        inputs = [fnn.Input((3,)) for _ in range(count)]
        model = fnn.Model(inputs, layer(inputs), dtype="float64")
        np.testing.assert_allclose(model.predict(data), expected, rtol=1e-13, atol=1e-14)


def test_concatenate_of_many_passes_gradients(rng):
    count = MAX_INPUTS_OF_CONCATENATE + 2
    inputs = [fnn.Input((2,)) for _ in range(count)]
    joined = fnn.Concatenate()([fnn.Dense(1 + i % 3)(x) for i, x in enumerate(inputs)])
    model = fnn.Model(inputs, fnn.Dense(2)(joined), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    assert fnn.gradcheck(model, arrays(rng, [(2,)] * count), rng.normal(size=(6, 2)))


def test_names_are_numbered_by_kind_and_given_names_kept():
    model = fnn.Sequential(
        [fnn.Dense(2), fnn.Dense(2, name="dense_1"), fnn.Dense(2), fnn.Dropout(0.1)],
        input_shape=(2,),
    )
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2", "dropout"]
    assert repr(model.layers[1]) == "Dense(2, name='dense_1')"
