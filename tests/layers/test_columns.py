"""Scale, ParametricActivation and Columns: arguments, gradients by hand, what they learn."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close

import fastnn as fnn

OF_NUMBERS = [name for name in fnn.activations.NAMES if name not in fnn.activations.OF_ROWS]


def model_of(*layers, shape=(4,), optimizer="sgd"):
    model = fnn.Sequential(layers, input_shape=shape, dtype="float64", seed=0)
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_alpha_leads_from_the_line_to_the_activation(name, rng):
    x = rng.normal(0, 2, (9, 4))
    f = model_of(fnn.Activation(name)).predict(x)
    layer = fnn.ParametricActivation(name)
    model = model_of(layer)
    assert_close(model.predict(x), f, 1e-13)
    layer.alpha[...] = 0
    assert_close(model.predict(x), x, 1e-15)
    layer.alpha[...] = [1, 0, 0.5, -2]
    assert_close(model.predict(x), x + np.array([1, 0, 0.5, -2]) * (f - x), 1e-12)


def test_a_parameter_of_the_activation_is_used():
    steep = fnn.activations.get("leaky_relu", negative_slope=0.5)
    found = model_of(fnn.ParametricActivation(steep)).predict([[-2.0, -1.0, 1.0, 2.0]])
    assert_close(found, [[-1, -0.5, 1, 2]], 1e-15)


def test_gradients_by_hand():
    """Of the sum of outputs: relu and alpha 1/4 on -2 and 3; a scale of 1/2 in front."""
    scale = fnn.Scale(fnn.initializers.Constant(0.5))
    blend = fnn.ParametricActivation("relu", fnn.initializers.Constant(0.25))
    model = model_of(scale, blend, shape=(2,))
    y = model.forward([[-4.0, 6.0]], training=True)
    assert_close(y, [[-1.5, 3]], 1e-15)
    gradients = model.backward(np.ones((1, 2)))
    assert_close(gradients["parametric_activation/alpha"], [2, 0], 1e-15)
    assert_close(gradients["scale/scale"], [-4 * 0.75, 6], 1e-15)
    by_input = model.gradients_of([[-4.0, 6.0]], output_gradient=np.ones((1, 2)))
    assert_close(by_input, [[0.375, 0.5]], 1e-15)


def test_columns_that_are_not_taken_have_no_gradient(rng):
    x = fnn.Input((5,))
    model = fnn.Model(x, fnn.Concatenate()([fnn.Columns(0, 2)(x), fnn.Columns(1, 3)(x)]))
    found = model.gradients_of(rng.normal(size=(3, 5)), output_gradient=np.ones((3, 4)))
    np.testing.assert_array_equal(found, [[1, 2, 1, 0, 0]] * 3)


def test_scale_learns_which_columns_matter(rng):
    x = rng.normal(size=(300, 6))
    scale = fnn.Scale()
    model = model_of(scale, fnn.Dense(8, "tanh"), fnn.Dense(1), shape=(6,), optimizer="adam")
    scale.learning_rate_factor = 6.0
    model.fit(x, 3 * x[:, 0] - 2 * x[:, 1], epochs=60, verbose=0)
    assert np.abs(scale.scale[:2]).min() > 2 * np.abs(scale.scale[2:]).max()


def test_alpha_learns_that_a_line_is_wanted(rng):
    x = rng.normal(size=(200, 3))
    layer = fnn.ParametricActivation("tanh")
    model = model_of(fnn.Dense(5), layer, fnn.Dense(1), shape=(3,), optimizer=fnn.Adam(0.02))
    model.fit(x, x @ [3.0, -2.0, 1.0], epochs=200, verbose=0)
    assert np.median(np.abs(layer.alpha)) < 0.2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.ParametricActivation("softmax"), ValueError, "on single numbers, got 'softma"),
        (lambda: fnn.ParametricActivation("log_softmax"), ValueError, "on single numbers, got 'lo"),
        (
            lambda: fnn.ParametricActivation(fnn.activations.Custom(np.sin, np.cos)),
            ValueError, "activation must be a built-in one that acts on single numbers",
        ),
        (lambda: fnn.ParametricActivation("rleu"), ValueError, "did you mean 'relu'"),
        (lambda: fnn.ParametricActivation(), TypeError, "missing the argument 'activation'"),
        (lambda: fnn.Columns(2, 2), ValueError, "start must be below stop, got 2 and 2"),
        (lambda: fnn.Columns(-1, 2), ValueError, "start must be an integer of at least 0, got -1"),
        (lambda: fnn.Columns(0.5, 2), ValueError, "start must be an integer of at least 0, got 0"),
        (
            lambda: fnn.Columns(1, 4)(fnn.Input((3,))),
            ValueError, "stop must be at most the 3 columns there are, got 4",
        ),
        (
            lambda: fnn.Columns(0, 1)(fnn.Input((3, 2))),
            ValueError, r"Columns takes samples of shape \(columns,\), got \(3, 2\); add Flatten",
        ),
        (lambda: fnn.Scale("one"), ValueError, "did you mean 'ones'"),
        (lambda: fnn.Scale().scale, AttributeError, "has no scale .yet.: build the model first"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
