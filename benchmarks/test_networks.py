"""Whole epochs of the six networks: `fit` compared with the same arithmetic in NumPy.

Both sides start from the same weights and take the rows in the same shuffled order. They are
compared in float64 after an epoch, where rounding cannot hide an error (in float32 Adam divides
a gradient that is only rounding by its own size, and the two sides diverge), and again, losses
only, in the float32 that is timed.
"""

import copy

import numpy as np
import pytest
import timing
from networks import NETWORKS
from numpy_network import NumpyNetwork

import fastnn as fnn

LEARNING_RATE = 1e-3


def both(network, dtype):
    """Return the model, the NumPy network with the same weights, and data for both."""
    inputs, *hidden, outputs = network.sizes
    layers = [fnn.Dense(units, activation="relu") for units in hidden]
    model = fnn.Sequential(
        [*layers, fnn.Dense(outputs)], input_shape=(inputs,), dtype=dtype, seed=0
    )
    model.compile(fnn.Adam(LEARNING_RATE), network.loss)
    twin = NumpyNetwork(
        network, model.get_weights(), copy.deepcopy(model.network.generator), LEARNING_RATE
    )
    rng = np.random.default_rng(1)
    x = rng.standard_normal((network.rows, inputs)).astype(dtype)
    if network.loss == "crossentropy":
        y = rng.integers(0, outputs, network.rows)
    else:
        y = rng.standard_normal((network.rows, outputs)).astype(dtype)
    return model, twin, x, y


def fitted_loss(model, network, x, y):
    history = model.fit(x, y, batch_size=network.batch, epochs=1, shuffle=True, verbose=0)
    return history.history["loss"][0]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_epochs_are_equal(network):
    model, twin, x, y = both(network, "float64")
    for _ in range(2):
        losses = fitted_loss(model, network, x, y), twin.epoch(x, y)
        np.testing.assert_allclose(*losses, rtol=1e-9)
    for ours, theirs in zip(model.get_weights(), twin.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4 * LEARNING_RATE)


def test_the_comparison_can_fail():
    """One weight of 5,000 that is off by a thousandth is noticed."""
    network = NETWORKS[0]
    model, twin, x, y = both(network, "float64")
    twin.kernels[1][3, 5] *= 1.001
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(fitted_loss(model, network, x, y), twin.epoch(x, y), rtol=1e-9)


@pytest.mark.parametrize("side", ["fastnn", "numpy"])
@pytest.mark.parametrize("network", NETWORKS[:3] if timing.QUICK else NETWORKS, ids=str)
def test_epoch(network, side, timed):
    model, twin, x, y = both(network, "float32")
    timed(
        side,
        lambda: fitted_loss(model, network, x, y),
        lambda: twin.epoch(x, y),
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4),
        group="epoch",
        cell={
            "kernel": "epoch",
            "row": str(network),
            "size": f"{network.steps} steps of {network.batch}",
            "dtype": "float32",
            "steps": network.steps,
        },
        rounds=5,
    )
