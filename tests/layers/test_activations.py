"""The facts about each activation, compared with what it computes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import activations

GRID = np.concatenate([-np.logspace(3, -3, 4001), [0.0], np.logspace(-3, 2, 4001)])
every_activation = pytest.mark.parametrize("name", activations.NAMES)


def outputs(function, dtype="float64"):
    is_of_rows = function.name in activations.OF_ROWS
    x = np.stack([GRID, -GRID, 0 * GRID], axis=1) if is_of_rows else GRID[:, None]
    model = fnn.Sequential([fnn.Activation(function)], input_shape=x.shape[1:], dtype=dtype)
    with np.errstate(over="ignore"):
        return model.predict(x.astype(dtype))


def holds(interval, values):
    """Whether an interval is the smallest one, to within a millionth."""
    low, high = interval
    is_inside = low <= values.min() and values.max() <= high
    touches_low = values.min() <= low + 1e-3 if math.isfinite(low) else values.min() < -10
    touches_high = values.max() >= high - 1e-2 if math.isfinite(high) else values.max() > 10
    return is_inside and touches_low and touches_high


def test_no_activation_is_without_facts():
    assert set(activations.FACTS) == set(activations.NAMES)


@every_activation
def test_the_range_holds_all_outputs_and_no_more(name):
    function = activations.get(name)
    low, high = function.range
    values = outputs(function)
    assert holds((low, high), values)
    assert not holds((low + 0.01, high), values) or math.isinf(low)
    assert not holds((low - 0.01, high), values) or math.isinf(low)
    assert not holds((low, high - 0.02), values) or math.isinf(high)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (activations.get("elu", alpha=2.5), (-2.5, math.inf)),
        (activations.get("leaky_relu", negative_slope=0.0), (0.0, math.inf)),
        (activations.get("leaky_relu", negative_slope=0.1), (-math.inf, math.inf)),
    ],
)
def test_the_range_depends_on_the_parameter(function, expected):
    assert function.range == expected
    assert holds(expected, outputs(function))


@every_activation
def test_it_saturates_where_it_says(name):
    function = activations.get(name)
    if name in activations.OF_ROWS:
        assert function.saturation is None
        return
    values = outputs(function)[:, 0]
    slopes = np.diff(values) / np.diff(GRID)
    is_flat = [abs(slopes[0]) < 1e-3, abs(slopes[-1]) < 1e-3]
    assert all(is_flat) == (function.saturation is not None)
    if function.saturation is not None:
        np.testing.assert_allclose(values[[0, -1]], function.saturation, atol=0.02)


@every_activation
def test_a_kernel_starts_from_what_the_activation_says(name):
    function = activations.get(name)
    assert fnn.Dense(3, name).kernel_initializer == function.initializer
    zeros = fnn.Dense(3, name, kernel_initializer="zeros")
    assert zeros.kernel_initializer == fnn.initializers.get("zeros")


def test_initializers_of_the_families():
    found = {name: activations.get(name).initializer.name for name in activations.NAMES}
    he = {name for name, initializer in found.items() if initializer == "he_uniform"}
    assert he == {
        "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus",
    }  # fmt: skip
    assert found.pop("selu") == "lecun_normal"
    assert {found[name] for name in set(found) - he} == {"glorot_uniform"}
