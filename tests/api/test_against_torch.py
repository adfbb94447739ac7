"""Each activation, loss and layer with parameters, compared with PyTorch in float64, to 1e-12.

Derivatives with respect to an input x are read from the kernel of a preceding layer: with rows
of ones as its input, that kernel is x.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch_helpers
from torch_helpers import import_torch, relative_error

import fastnn as fnn
from fastnn.analysis import inspection

TOLERANCE = 1e-12
NORMAL = fnn.initializers.Normal(0.3, 0.5)
EPSILON = 1e-3


def agree(got, want, what):
    """Fail if the two differ by more than rounding. `pytest -rP` shows by how much they do."""
    error = relative_error(got, want)
    print(f"{error:.1e} {what}")
    assert error <= TOLERANCE, f"{what} differs by {error:.3g} of its size"


def model_of(*layers, inputs):
    return fnn.Sequential(layers, input_shape=(inputs,), dtype="float64", seed=5)


def forward_and_backward(model, x, weights):
    """Return the model's training outputs, and the gradients of their sum with these weights."""
    y = model.forward(x, training=True)
    gradients = {name: view.copy() for name, view in model.backward(weights).items()}
    return y, {name.split("/")[-1]: gradient for name, gradient in gradients.items()}


# --- activations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fnn.activations.NAMES)
def test_activation_and_derivative(name, rng):
    torch = import_torch()
    points = np.concatenate([rng.uniform(-6, 6, 400), rng.normal(0, 1e-3, 50)])
    weights = rng.normal(size=(1, points.size))
    model = model_of(fnn.Dense(points.size, name, use_bias=False), inputs=1)
    model.set_weights([points[None]])
    y, gradients = forward_and_backward(model, np.ones((1, 1)), weights)

    x = torch.tensor(points[None], requires_grad=True)
    wanted = torch_helpers.activations(torch)[name](x)
    wanted.backward(torch.tensor(weights))
    agree(y, wanted, f"{name}, forward")
    agree(gradients["kernel"], x.grad, f"{name}, derivative")


# --- losses ---------------------------------------------------------------------------------------


def targets(loss, rng, rows, outputs):
    """Return targets of each kind that a loss takes."""
    least, most = loss.target_range
    if loss.is_distribution:
        found = [rng.dirichlet(np.ones(outputs), rows)]
    elif (least, most) == (-1, 1):
        found = [rng.choice([-1.0, 1.0], (rows, outputs))]
    elif least == 0:
        found = [rng.uniform(0, min(most, 5), (rows, outputs))]
    else:
        found = [rng.normal(size=(rows, outputs))]
    return [*found, rng.integers(0, outputs, rows)] if loss.takes_labels else found


@pytest.mark.parametrize("name", list(fnn.losses.registry))
def test_loss_and_gradient(name, rng):
    torch = import_torch()
    rows, outputs = 31, 13
    model = model_of(fnn.Dense(outputs, use_bias=False), inputs=rows)
    model.set_weights([3 * rng.normal(size=(rows, outputs))])
    model.compile("sgd", name)
    for number, y in enumerate(targets(fnn.losses.get(name), rng, rows, outputs)):
        x = np.eye(rows)  # so that the predictions are the kernel
        samples = model.network.checked_samples(x, y)
        sources, kinds = samples.sources, samples.target_types
        gradient = inspection.gradients(model.network.runtime, sources, kinds)["dense/kernel"]

        prediction = torch.tensor(model.parameters["dense/kernel"], requires_grad=True)
        wanted = torch_helpers.losses(torch)[name](prediction, torch.tensor(y))
        wanted.backward()
        agree(model.evaluate(x, y)["loss"], wanted, f"{name}, value, target {number}")
        agree(gradient, prediction.grad, f"{name}, gradient, target {number}")


# --- layers with parameters -----------------------------------------------------------------------

NORMALIZED = {"epsilon": EPSILON, "gamma_initializer": NORMAL, "beta_initializer": NORMAL}
LAYERS = {
    "batch_normalization": (
        lambda: fnn.BatchNormalization(**NORMALIZED),
        lambda f, x, p: f.batch_norm(
            x, None, None, p["gamma"], p["beta"], training=True, eps=EPSILON
        ),
    ),
    "layer_normalization": (
        lambda: fnn.LayerNormalization(**NORMALIZED),
        lambda f, x, p: f.layer_norm(x, x.shape[1:], p["gamma"], p["beta"], EPSILON),
    ),
    "prelu": (lambda: fnn.PReLU(NORMAL), lambda f, x, p: f.prelu(x, p["alpha"])),
    "prelu, shared": (
        lambda: fnn.PReLU(NORMAL, shared=True), lambda f, x, p: f.prelu(x, p["alpha"])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_layer_forward_and_backward(case, rng):
    torch = import_torch()
    rows, units = 37, 19
    make, formula = LAYERS[case]
    model = model_of(fnn.Dense(units, use_bias=False), make(), inputs=rows)
    weights = rng.normal(size=(rows, units))
    model.parameters["dense/kernel"][...] = rng.normal(1.0, 2.0, size=(rows, units))
    parameters = {
        name.split("/")[-1]: torch.tensor(view, requires_grad=True)
        for name, view in model.parameters.items()
    }
    y, gradients = forward_and_backward(model, np.eye(rows), weights)

    wanted = formula(torch.nn.functional, parameters["kernel"], parameters)
    wanted.backward(torch.tensor(weights))
    agree(y, wanted, f"{case}, forward")
    for name, parameter in parameters.items():
        if not name.startswith("moving_"):
            agree(gradients[name], parameter.grad, f"{case}, gradient of {name}")


@pytest.mark.parametrize("columns", [1, 4])
def test_embedding(columns, rng):
    torch = import_torch()
    table = fnn.Embedding(11, 7, embeddings_initializer=NORMAL)
    model = model_of(table, inputs=columns)
    x, weights = rng.integers(0, 9, (50, columns)), rng.normal(size=(50, columns, 7))
    wanted_table = torch.tensor(model.get_weights()[0], requires_grad=True)
    y, gradients = forward_and_backward(model, x, weights)
    wanted = torch.nn.functional.embedding(torch.tensor(x), wanted_table)
    wanted.backward(torch.tensor(weights))
    agree(y, wanted, "embedding, forward")
    agree(gradients["embeddings"], wanted_table.grad, "embedding, gradient")
    assert not gradients["embeddings"][9:].any(), "categories that occur in no row"


def test_moving_statistics_and_what_they_give(rng):
    """PyTorch updates with the unbiased variance, Keras and fastnn with the biased one."""
    torch = import_torch()
    rows, units, momentum = 29, 6, 0.8
    layer = fnn.BatchNormalization(momentum, **NORMALIZED)
    model = model_of(layer, inputs=units)
    model.compile(fnn.SGD(0.0), "mse")
    other = torch.nn.BatchNorm1d(units, eps=EPSILON, momentum=1 - momentum)
    other.weight.data = torch.tensor(layer.gamma.copy())
    other.bias.data = torch.tensor(layer.beta.copy())
    for step in range(5):
        x = rng.normal(step, 1 + step, size=(rows, units))
        before = other.running_var.clone()
        other(torch.tensor(x))
        moved = other.running_var - momentum * before
        other.running_var = momentum * before + moved * (rows - 1) / rows
        model.train_on_batch(x, np.zeros((rows, units)))
        agree(layer.moving_mean, other.running_mean, f"moving mean, step {step}")
        agree(layer.moving_variance, other.running_var, f"moving variance, step {step}")
    agree(model.predict(x), other.eval()(torch.tensor(x)), "what the moving statistics give")


# --- the comparison itself ------------------------------------------------------------------------


def test_a_wrong_number_is_noticed(rng):
    wanted = rng.normal(size=(4, 5))
    agree(wanted * (1 + 1e-13), wanted, "rounding")
    for wrong in (wanted * (1 + 2e-12), wanted + 1e-14 * (wanted == wanted.min()) / 1e-3):
        with pytest.raises(AssertionError, match="differs by"):
            agree(wrong, wanted, "a wrong one")
    with pytest.raises(AssertionError, match="shape"):
        agree(wanted[:1], wanted, "a part")


def test_every_row_has_a_formula():
    torch = import_torch()
    assert set(torch_helpers.activations(torch)) == set(fnn.activations.NAMES)
    assert set(torch_helpers.losses(torch)) == set(fnn.losses.registry)
