"""The facts about each activation, compared with what it computes."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn import activations
from fastnn.native import engine

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


# --- closed ranges, on every ISA ------------------------------------------------------------------

# Run in a child: dense points, where the pieces of a function meet, and the largest numbers.
CHILD = """
import sys
import numpy as np
import fastnn as fnn
from fastnn import activations
from fastnn.native import engine

def points(dtype):
    edges = np.array([0, 1, 3, 5, 10, 14.4, 20, 38.6, 40, 88, 103, 710, 745, 1e30], dtype)
    big = np.finfo(dtype).max
    tiny = np.finfo(dtype).smallest_subnormal
    near = [np.nextafter(edges, dtype(0)), edges, np.nextafter(edges, np.full_like(edges, big))]
    powers = np.geomspace(1e-44 if dtype is np.float32 else 1e-320, float(big) / 2, 20001)
    half = np.concatenate([np.linspace(0, 60, 200001), np.linspace(2.9, 3.1, 20001), powers,
                           *near, [big, tiny]]).astype(dtype)
    return np.concatenate([-half, half])

found = []
for dtype in (np.float32, np.float64):
    x = points(dtype)
    for name in activations.NAMES:
        function = activations.get(name)
        low, high = function.range
        rows = np.stack([x, -x, 0 * x], axis=1) if name in activations.OF_ROWS else x[:, None]
        for shape in ("few", "many"):
            model = fnn.Sequential([fnn.Activation(function)], input_shape=rows.shape[1:],
                                   dtype=np.dtype(dtype).name)
            model.compile("sgd", "mse")
            y = model.predict(rows) if shape == "many" else model.predict(rows[-9:])
            if not (low <= y.min() and y.max() <= high):  # false for NaN, too
                found.append(f"{name} {dtype.__name__}: {y.min()!r} to {y.max()!r}")
        if name not in activations.OF_ROWS:
            inside = np.abs(x) < 1e30
            probe = np.ascontiguousarray(rows[inside])
            layer = fnn.Dense(1, name, kernel_initializer="ones")
            net = fnn.Sequential([layer], input_shape=(1,), dtype=np.dtype(dtype).name)
            net.forward(probe, training=True)
            slopes = net.backward(np.ones((len(probe), 1)))
            assert not np.isnan(slopes["dense/bias"]).any(), name
assert engine.ISA == sys.argv[1], engine.ISA
print("; ".join(found))
"""


@pytest.mark.parametrize(
    "isa",
    [
        pytest.param(isa, marks=() if isa == engine.ISA else pytest.mark.slow)
        for isa in engine.supported_isas()
    ],
)
def test_outputs_stay_in_their_range(isa):
    environment = {**os.environ, "FASTNN_ISA": isa}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, isa], env=environment, cwd="/", text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == ""


def test_the_check_of_ranges_notices_a_narrower_one():
    """What hard_sigmoid(-5) once was, -1.49e-8, is outside its range."""
    low, high = activations.get("hard_sigmoid").range
    assert not holds((low, high), np.array([-1.49e-8, 1.0]))
    model = fnn.Sequential([fnn.Activation("hard_sigmoid")], input_shape=(1,))
    values = model.predict(np.array([[-5.0], [-3.0], [3.0], [5.0]]))[:, 0]
    assert values.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_slope_of_hard_sigmoid_agrees_with_its_pieces(dtype):
    x = np.array([[-1e30], [-5.0], [-3.0], [-2.999], [0.0], [2.999], [3.0], [5.0], [1e30]], dtype)
    for row, inside in zip(x, [0, 0, 0, 1, 1, 1, 0, 0, 0], strict=True):
        layer = fnn.Dense(1, "hard_sigmoid", kernel_initializer="ones")
        model = fnn.Sequential([layer], input_shape=(1,), dtype=dtype)
        model.forward(row[np.newaxis], training=True)
        slope = model.backward(np.ones((1, 1)))["dense/bias"][0]
        assert slope == pytest.approx(inside / 6, rel=1e-6)
