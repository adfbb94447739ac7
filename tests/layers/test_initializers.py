"""Initializers: the distribution of every row of `fnn.initializers.registry`."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import initializers

INPUTS, UNITS = 400, 250
# name: (mean, variance, bound of its magnitude)
EXPECTED = {
    "zeros": (0, 0, 0),
    "constant": (0, 0, 0),
    "normal": (0, 0.05**2, np.inf),
    "uniform": (0, 0.1**2 / 12, 0.05),
    "glorot_uniform": (0, 2 / (INPUTS + UNITS), np.sqrt(6 / (INPUTS + UNITS))),
    "glorot_normal": (0, 2 / (INPUTS + UNITS), np.inf),
    "he_uniform": (0, 2 / INPUTS, np.sqrt(6 / INPUTS)),
    "he_normal": (0, 2 / INPUTS, np.inf),
    "lecun_uniform": (0, 1 / INPUTS, np.sqrt(3 / INPUTS)),
    "lecun_normal": (0, 1 / INPUTS, np.inf),
    "ones": (1, 0, 1),
    "truncated_normal": (0, 0.05**2 * 0.7737413, 0.1),
    "orthogonal": (0, 1 / INPUTS, np.inf),
    "random_sign": (0, 1, 1),
}


def kernel(name, seed=0, inputs=INPUTS, units=UNITS):
    layer = fnn.Dense(units, kernel_initializer=name)
    fnn.Sequential([layer], input_shape=(inputs,), dtype="float64", seed=seed)
    return layer.kernel


def assert_distributed(values, mean, variance, bound):
    """Mean and variance within five standard errors (a normal's, the widest of these)."""
    assert abs(values.mean() - mean) <= 5 * np.sqrt(variance / values.size)
    assert abs(values.var() - variance) <= 5 * variance * np.sqrt(2 / values.size)
    assert np.abs(values).max() <= bound
    if np.isfinite(bound):
        assert np.abs(values).max() >= 0.999 * bound


def test_every_initializer_is_expected():
    assert set(EXPECTED) == set(initializers.registry)


@pytest.mark.parametrize("name", EXPECTED)
def test_mean_variance_and_bound(name):
    assert_distributed(kernel(name), *EXPECTED[name])


@pytest.mark.parametrize("change", [lambda w: w * 1.05, lambda w: w + 0.002], ids=["wide", "off"])
def test_a_wrong_distribution_is_noticed(change):
    with pytest.raises(AssertionError):
        assert_distributed(change(kernel("he_uniform")), *EXPECTED["he_uniform"])


@pytest.mark.parametrize("name", EXPECTED)
def test_seed_gives_the_numbers(name):
    one, same, other = (kernel(name, seed, 40, 25) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    if EXPECTED[name][1]:
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_orthogonal_keeps_lengths(shape, rng):
    w = fnn.initializers.Orthogonal(gain=2.0).sample(shape, rng)
    short = w if shape[0] < shape[1] else w.T
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(min(shape)), atol=1e-13)
    with pytest.raises(ValueError, match=r"kernels of shape \(inputs, units\), got \(3,\)"):
        fnn.initializers.get("orthogonal").sample((3,), rng)


def test_random_signs_are_nothing_else(rng):
    signs = initializers.RandomSign().sample((8, 500), rng)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    counts = (signs > 0).sum(axis=1)
    assert (np.abs(counts - 250) < 5 * 500**0.5 / 2).all()
    assert abs((signs[0] * signs[1]).sum()) < 5 * 500**0.5, "rows depend on each other"


def test_layers_of_one_model_start_differently():
    model = fnn.Sequential([fnn.Dense(9), fnn.Dense(9)], input_shape=(9,), seed=0)
    assert not np.array_equal(*(layer.kernel for layer in model.layers))


@pytest.mark.parametrize("name", EXPECTED)
def test_config_makes_an_equal_one(name):
    initializer = initializers.get(name)
    assert initializers.get(initializer.config()) == initializer
    assert initializers.get(initializer) is initializer


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (initializers.Constant(0.5), (0.5, 0, 0.5)),
        (initializers.Normal(mean=2.0, stddev=0.1), (2, 0.01, np.inf)),
        (initializers.Uniform(-2, 2), (0, 16 / 12, 2)),
    ],
    ids=lambda value: str(value),
)
def test_parameters_count(initializer, expected):
    assert_distributed(kernel(initializer), *expected)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", "he_uniform"),
        ("gelu", "he_uniform"),
        (None, "glorot_uniform"),
        ("tanh", "glorot_uniform"),
        ("softmax", "glorot_uniform"),
    ],
)
def test_default_follows_the_activation(activation, expected):
    layer = fnn.Dense(3, activation=activation)
    assert layer.kernel_initializer.name == expected
    assert layer.bias_initializer.name == "zeros"


def test_bias_initializer():
    layer = fnn.Dense(3, bias_initializer=initializers.Constant(-1.5))
    fnn.Sequential([layer], input_shape=(2,))
    assert layer.bias.tolist() == [-1.5] * 3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal_has_the_signs_of_the_normal_matrix(shape):
    """Mezzadri (2007): uniformly distributed if the triangular factor has a positive diagonal."""
    for seed in range(20):
        normal = np.random.default_rng(seed).standard_normal((max(shape), min(shape)))
        w = fnn.initializers.Orthogonal().sample(shape, np.random.default_rng(seed))
        triangular = (w.T if shape[0] >= shape[1] else w) @ normal
        assert np.abs(np.tril(triangular, -1)).max() < 1e-12
        assert (np.diag(triangular) > 0).all()
