"""Gradients with respect to inputs, accumulation and weight decay, compared with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch_helpers
from torch_helpers import import_torch, relative_error

import fastnn as fnn

TOLERANCE = 1e-9
NORMAL = fnn.initializers.Normal(0.3, 0.5)
EPSILON = 1e-3


def agree(got, want, what):
    """Fail if the two differ by more than rounding. `pytest -rP` shows by how much they do."""
    error = relative_error(got, want)
    print(f"{error:.1e} {what}")
    assert error <= TOLERANCE, f"{what} differs by {error:.3g} of its size"


def model_of(*layers, inputs):
    return fnn.Sequential(layers, input_shape=(inputs,), dtype="float64", seed=5)


def leaf(torch, array):
    return torch.tensor(np.asarray(array), requires_grad=True)


# --- each row of the registries -------------------------------------------------------------------


@pytest.mark.parametrize("name", fnn.activations.NAMES)
def test_activations(name, rng):
    torch = import_torch()
    model = model_of(fnn.Activation(name), inputs=13)
    rows, weights = rng.uniform(-6, 6, (31, 13)), rng.normal(size=(31, 13))
    x = leaf(torch, rows)
    torch_helpers.activations(torch)[name](x).backward(torch.tensor(weights))
    agree(model.gradients_of(rows, output_gradient=weights), x.grad, name)


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


@pytest.mark.parametrize("rows", [31, 700])
@pytest.mark.parametrize("name", list(fnn.losses.registry))
def test_losses(name, rows, rng):
    torch = import_torch()
    model = model_of(fnn.Activation("linear"), inputs=7)
    model.compile("sgd", name)
    for number, y in enumerate(targets(fnn.losses.get(name), rng, rows, 7)):
        predictions = 3 * rng.normal(size=(rows, 7))
        x = leaf(torch, predictions)
        torch_helpers.losses(torch)[name](x, torch.tensor(y)).backward()
        agree(model.gradients_of(predictions, y), x.grad, f"{name}, target {number}")


OF_NUMBERS = [name for name in fnn.activations.NAMES if name not in fnn.activations.OF_ROWS]


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_parametric_activations(name, rng):
    torch = import_torch()
    layer = fnn.ParametricActivation(name, NORMAL)
    model = model_of(layer, inputs=13)
    rows, weights = rng.uniform(-6, 6, (31, 13)), rng.normal(size=(31, 13))
    x, alpha = leaf(torch, rows), leaf(torch, layer.alpha)
    wanted = torch_helpers.parametric_activation(torch, name, x, alpha)
    wanted.backward(torch.tensor(weights))
    by_inputs, by_parameters = model.gradients_of(
        rows, output_gradient=weights, wrt=("inputs", "parameters")
    )
    agree(model.predict(rows), wanted, name)
    agree(by_inputs, x.grad, f"{name}, by its input")
    agree(by_parameters["parametric_activation/alpha"], alpha.grad, f"{name}, by alpha")


@pytest.mark.parametrize("bins", [1, 2, 7])
def test_piecewise_embeddings_of_any_number_of_bins(bins, rng):
    torch = import_torch()
    layer = fnn.PiecewiseLinearEmbedding(units=3, bins=bins)
    layer.adapt(rng.normal(size=(90, 5)))
    model = model_of(layer, inputs=5)
    rows, weights = 2 * rng.normal(size=(40, 5)), rng.normal(size=(40, 15))
    x = leaf(torch, rows)
    parameters = {name: leaf(torch, view) for name, view in layer.parameters.items()}
    wanted = torch_helpers.piecewise_embedding(torch, x, parameters)
    wanted.backward(torch.tensor(weights))
    by_inputs, by_parameters = model.gradients_of(
        rows, output_gradient=weights, wrt=("inputs", "parameters")
    )
    agree(model.predict(rows), wanted, "value")
    agree(by_inputs, x.grad, "by its input")
    for name in ("kernel", "bias"):
        found = by_parameters[f"piecewise_linear_embedding/{name}"]
        agree(found, parameters[name].grad, f"by {name}")


NORMALIZED = {"epsilon": EPSILON, "gamma_initializer": NORMAL, "beta_initializer": NORMAL}
LAYERS = {
    "dense": (
        lambda: fnn.Dense(9, "tanh", bias_initializer=NORMAL),
        lambda f, x, p, training: f.linear(x, p["kernel"].T, p["bias"]).tanh(),
    ),
    "batch_normalization": (
        lambda: fnn.BatchNormalization(**NORMALIZED, moving_variance_initializer=NORMAL,
                                       moving_mean_initializer=NORMAL),
        lambda f, x, p, training: f.batch_norm(
            x, p["moving_mean"].detach().clone(), p["moving_variance"].detach().abs().clone(),
            p["gamma"], p["beta"], training=training, eps=EPSILON,
        ),
    ),
    "layer_normalization": (
        lambda: fnn.LayerNormalization(**NORMALIZED),
        lambda f, x, p, training: f.layer_norm(x, x.shape[1:], p["gamma"], p["beta"], EPSILON),
    ),
    "prelu": (lambda: fnn.PReLU(NORMAL), lambda f, x, p, training: f.prelu(x, p["alpha"])),
    "scale": (lambda: fnn.Scale(NORMAL), lambda f, x, p, training: x * p["scale"]),
    "columns": (lambda: fnn.Columns(2, 7), lambda f, x, p, training: x[:, 2:7]),
    "periodic_embedding": (
        lambda: fnn.PeriodicEmbedding(4, waves=9, frequency_scale=0.5),
        lambda f, x, p, training: torch_helpers.periodic_embedding(import_torch(), x, p),
    ),
}  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", LAYERS)
def test_layers(case, training, rng):
    torch = import_torch()
    make, formula = LAYERS[case]
    model = model_of(make(), inputs=11)
    for name, view in model.parameters.items():
        if name.endswith("moving_variance"):
            view[...] = np.abs(view)
    rows = rng.normal(1.0, 2.0, size=(37, 11))
    parameters = {name.split("/")[-1]: leaf(torch, view) for name, view in model.parameters.items()}
    x = leaf(torch, rows)
    wanted = formula(torch.nn.functional, x, parameters, training)
    weights = rng.normal(size=tuple(wanted.shape))
    wanted.backward(torch.tensor(weights))
    by_inputs, by_parameters = model.gradients_of(
        rows, output_gradient=weights, wrt=("inputs", "parameters"), training=training
    )
    agree(by_inputs, x.grad, f"{case}, by its input")
    for name, gradient in by_parameters.items():
        own = name.split("/")[-1]
        if not own.startswith("moving_"):
            agree(gradient, parameters[own].grad, f"{case}, by {own}")


def test_layers_of_members(rng):
    """The second layer reads what the first returns, as in TabM, and all rows of a member."""
    torch = import_torch()
    members, units = 5, 3
    x, member = fnn.Input((4,)), fnn.Input((1,))
    dense = fnn.MemberDense(units, members, bias_initializer=NORMAL)
    h = fnn.Activation("tanh")(fnn.MemberScale(members, NORMAL)([x, member]))
    model = fnn.Model([x, member], dense([h, member]), dtype="float64", seed=0)
    rows, numbers = rng.normal(size=(600, 4)), rng.integers(0, members - 1, (600, 1))
    weights = rng.normal(size=(600, units))
    own, kernel, bias = (leaf(torch, view) for view in model.parameters.values())
    each = torch.tensor(numbers[:, 0])
    kernels = kernel.reshape(4, members, units).permute(1, 0, 2)[each]
    inner = (torch.tensor(rows) * own[each]).tanh()
    wanted = torch.einsum("ri,riu->ru", inner, kernels) + bias.reshape(members, units)[each]
    wanted.backward(torch.tensor(weights))
    y = model.forward([rows, numbers], training=True)
    agree(y, wanted.detach(), "value")
    gradients = model.backward(weights)
    for got, want in zip(gradients.values(), (own, kernel, bias), strict=True):
        agree(got, want.grad, "by a parameter")
        with pytest.raises(AssertionError):
            agree(got * (1 + 1e-8), want.grad, "another")
    assert not gradients["member_scale/scale"][-1].any(), "a member of no row"


def test_a_network_of_several_inputs(rng):
    torch = import_torch()
    a, b = fnn.Input((4,), "a"), fnn.Input((3,), "b")
    first, second, end = fnn.Dense(6, "tanh"), fnn.Dense(6, "gelu"), fnn.Dense(2)
    h = fnn.Multiply()([first(a), second(b)])
    model = fnn.Model([a, b], end(fnn.Concatenate()([h, a])), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    rows, y = [rng.normal(size=(600, width)) for width in (4, 3)], rng.normal(size=(600, 2))
    x = [leaf(torch, part) for part in rows]

    def layer(one, value):
        kernel, bias = (torch.tensor(one.parameters[name]) for name in ("kernel", "bias"))
        return value @ kernel + bias

    product = layer(first, x[0]).tanh() * torch.nn.functional.gelu(layer(second, x[1]))
    out = layer(end, torch.cat([product, x[0]], 1))
    torch.nn.functional.mse_loss(out, torch.tensor(y)).backward()
    for got, want in zip(model.gradients_of(rows, y), x, strict=True):
        agree(got, want.grad, "by an input")


# --- training -------------------------------------------------------------------------------------


def twins(torch):
    """A model, and its copy in PyTorch."""
    model = model_of(fnn.Dense(8, "tanh", bias_initializer=NORMAL), fnn.Dense(3), inputs=5)
    parameters = [leaf(torch, view) for view in model.parameters.values()]

    def forward(x):
        kernel, bias, last, end = parameters
        return (x @ kernel + bias).tanh() @ last + end

    return model, parameters, forward


def test_accumulated_batches(rng):
    torch = import_torch()
    model, parameters, forward = twins(torch)
    model.compile(fnn.Adam(0.01, gradient_accumulation_steps=4), "mse")
    other = torch.optim.Adam(parameters, lr=0.01, eps=1e-7)
    x, y = rng.normal(size=(96, 5)), rng.normal(size=(96, 3))
    model.fit(x, y, batch_size=8, epochs=5, shuffle=False, verbose=0)
    for step in range(60):
        rows = slice(8 * (step % 12), 8 * (step % 12) + 8)
        loss = torch.nn.functional.mse_loss(forward(torch.tensor(x[rows])), torch.tensor(y[rows]))
        (loss / 4).backward()
        if step % 4 == 3:
            other.step()
            other.zero_grad()
    for view, parameter in zip(model.parameters.values(), parameters, strict=True):
        agree(view, parameter, "a parameter after 15 updates")


def test_weight_decay_in_groups(rng):
    torch = import_torch()
    model, parameters, forward = twins(torch)
    optimizer = fnn.AdamW(0.01, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    groups = [
        {"params": parameters[::2], "weight_decay": 0.3},
        {"params": parameters[1::2], "weight_decay": 0.0},
    ]
    other = torch.optim.AdamW(groups, lr=0.01, eps=1e-7)
    x, y = rng.normal(size=(32, 5)), rng.normal(size=(32, 3))
    for _ in range(50):
        model.train_on_batch(x, y)
        other.zero_grad()
        torch.nn.functional.mse_loss(forward(torch.tensor(x)), torch.tensor(y)).backward()
        other.step()
    for view, parameter in zip(model.parameters.values(), parameters, strict=True):
        agree(view, parameter, "a parameter after 50 steps")


def test_an_actor_that_climbs_its_critic(rng):
    """The step of an actor in DDPG: its loss is the negative mean of the critic's value."""
    torch = import_torch()
    actor = fnn.Sequential([fnn.Dense(6, "tanh"), fnn.Dense(2, "tanh")], input_shape=(3,),
                           dtype="float64", seed=1)  # fmt: skip
    critic = fnn.Sequential([fnn.Dense(7, "gelu"), fnn.Dense(1)], input_shape=(5,),
                            dtype="float64", seed=2)  # fmt: skip
    actor.compile(fnn.Adam(0.01))
    mine = [leaf(torch, view) for view in actor.parameters.values()]
    fixed = [torch.tensor(view) for view in critic.parameters.values()]
    other = torch.optim.Adam(mine, lr=0.01, eps=1e-7)
    for _ in range(50):
        states = rng.normal(size=(32, 3))
        actions = actor.forward(states, training=True)
        both = np.hstack([states, actions])
        by_actions = critic.gradients_of(both)[:, 3:]
        actor.backward(-by_actions / 32)
        actor.apply_gradients()

        s = torch.tensor(states)
        a = ((s @ mine[0] + mine[1]).tanh() @ mine[2] + mine[3]).tanh()
        hidden = torch.nn.functional.gelu(torch.cat([s, a], 1) @ fixed[0] + fixed[1])
        other.zero_grad()
        (-(hidden @ fixed[2] + fixed[3]).mean()).backward()
        other.step()
    for view, parameter in zip(actor.parameters.values(), mine, strict=True):
        agree(view, parameter, "the actor after 50 steps")


def test_a_wrong_number_is_noticed(rng):
    wanted = rng.normal(size=(4, 5))
    agree(wanted * (1 + 1e-10), wanted, "rounding")
    with pytest.raises(AssertionError, match="differs by"):
        agree(wanted * (1 + 2e-9), wanted, "a wrong one")
