"""Derivatives of kernels, compared with central differences of their forward, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, numeric_gradient

from fastnn.native import kernels


@pytest.fixture
def x(rng):
    """Numbers of both signs, away from the kinks at 0 and, for huber, at 1."""
    x = rng.choice([-1.0, 1.0], (4, 7)) * rng.uniform(0.05, 0.95, (4, 7))
    x[:, 4:] *= 4
    assert (np.abs(np.abs(x) - 1) > 1e-3).all()
    return x


@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_activation_gradient(name, x, rng):
    grad = rng.standard_normal(x.shape)
    y = kernels.activation(x, name)
    saved = x if kernels.ACTIVATIONS[name][0] == "input" else y
    got = kernels.activation_gradient(saved, grad, name)
    want = numeric_gradient(lambda x: (grad * kernels.activation(x, name)).sum(), x.copy())
    assert_close(got, want, 1e-8)


@pytest.mark.parametrize("name", kernels.LOSSES)
def test_loss_gradient(name, x):
    target = np.zeros_like(x)
    if name == "binary_crossentropy":
        target[:] = np.linspace(0, 1, x.size).reshape(x.shape)
    _, got = kernels.elementwise_loss(x, target, name)
    want = numeric_gradient(
        lambda x: kernels.elementwise_loss(x, target, name, gradient=False)[0].mean(), x.copy()
    )
    assert_close(got, want, 1e-8)


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_huber_gradient_with_another_delta(delta, x):
    target = np.zeros_like(x)
    x = x[np.abs(np.abs(x) - delta) > 1e-3][None]
    target = np.zeros_like(x)
    _, got = kernels.elementwise_loss(x, target, "huber", parameter=delta)

    def loss(x):
        return kernels.elementwise_loss(x, target, "huber", parameter=delta)[0].mean()

    assert_close(got, numeric_gradient(loss, x.copy()), 1e-8)


def test_softmax_gradient(x, rng):
    grad = rng.standard_normal(x.shape)
    got = kernels.softmax_gradient(kernels.softmax(x), grad)
    want = numeric_gradient(lambda x: (grad * kernels.softmax(x)).sum(), x.copy())
    assert_close(got, want, 1e-8)


@pytest.mark.parametrize("kind", ["labels", "probabilities", "weights that do not sum to 1"])
def test_softmax_crossentropy_gradient(kind, x, rng):
    if kind == "labels":
        target = rng.integers(0, 7, 4).astype(np.int32)
    else:
        target = rng.random((4, 7))
        target /= target.sum(axis=1, keepdims=True) if kind == "probabilities" else 1
    _, got = kernels.softmax_crossentropy(x, target)
    want = numeric_gradient(
        lambda x: kernels.softmax_crossentropy(x, target, gradient=False)[0].mean(), x.copy()
    )
    assert_close(got, want, 1e-8)


def test_dense_gradients(x, rng):
    kernel, bias = rng.standard_normal((7, 5)), rng.standard_normal(5)
    grad = rng.standard_normal((4, 5))

    def value(*_):
        return (grad * kernels.affine(x, kernel, bias)).sum()

    assert_close(kernels.kernel_gradient(x, grad), numeric_gradient(value, kernel), 1e-8)
    assert_close(kernels.bias_gradient(grad), numeric_gradient(value, bias), 1e-8)
    assert_close(kernels.input_gradient(grad, kernel), numeric_gradient(value, x), 1e-8)
