"""Accuracy: gradients, agreement with the reference and PyTorch, thread counts, digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model_helpers import assert_agree, reference_training, weights_as_bytes
from torch_helpers import activations as torch_activations
from torch_helpers import import_torch, optimizer_like
from torch_helpers import losses as torch_losses

import fastnn as fnn
from fastnn.program import ops, reference
from fastnn.runtime import Run

OPTIMIZERS = {
    "sgd": fnn.SGD(0.05),
    "momentum": fnn.SGD(0.02, momentum=0.9),
    "nesterov": fnn.SGD(0.02, momentum=0.9, nesterov=True),
    "adagrad": fnn.Adagrad(0.02),
    "rmsprop": fnn.RMSprop(0.002),
    "rmsprop_momentum": fnn.RMSprop(0.002, momentum=0.5),
    "rmsprop_centered": fnn.RMSprop(0.002, centered=True),
    "rmsprop_centered_momentum": fnn.RMSprop(0.002, centered=True, momentum=0.5),
    "adam": fnn.Adam(0.002, epsilon=1e-8),
    "adamw": fnn.AdamW(0.002, weight_decay=0.01),
    "amsgrad": fnn.Adam(0.002, epsilon=1e-8, amsgrad=True),
    "adamw_amsgrad": fnn.AdamW(0.002, weight_decay=0.01, amsgrad=True),
    "nadam": fnn.NAdam(0.002),
    "lion": fnn.Lion(0.0002, weight_decay=0.1),
    "sgd_decay": fnn.SGD(0.05, weight_decay=0.01),
    "nesterov_decay": fnn.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adagrad_decay": fnn.Adagrad(0.02, weight_decay=0.01),
    "rmsprop_decay": fnn.RMSprop(0.002, weight_decay=0.01),
    "adam_decay": fnn.Adam(0.002, weight_decay=0.01),
    "gradient_descent": fnn.GradientDescent(0.05),
}


def make(activations=("relu", "tanh"), *, optimizer="adam", loss="crossentropy", dtype="float64",
         seed=0, dropout=0.0, metrics=()):  # fmt: skip
    """A network of 13 inputs and 5 outputs, with a layer for each activation."""
    layers = []
    for i, activation in enumerate(activations):
        layers += [fnn.Dense(17 - 3 * i, activation=activation), fnn.Dropout(dropout)]
    model = fnn.Sequential([*layers, fnn.Dense(5)], input_shape=(13,), dtype=dtype, seed=seed)
    model.compile(optimizer, loss, metrics)
    return model


def batches(rng, count, rows=20, loss="crossentropy"):
    def target():
        labels = rng.integers(0, 5, rows)
        y = labels if loss == "crossentropy" else np.eye(5)[labels]
        return 2 * y - 1 if loss == "hinge" else y

    return [(rng.normal(size=(rows, 13)), target()) for _ in range(count)]


def train(model, steps):
    return [model.train_on_batch(x, y) for x, y in steps]


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(fnn.losses.registry))
@pytest.mark.parametrize("activation", fnn.activations.NAMES)
def test_gradients_of_every_activation_with_every_loss(activation, loss, rng):
    # Without a bias, a row that dropout empties would be at relu's kink.
    options = {"activation": activation, "bias_initializer": "normal"}
    model = fnn.Sequential(
        [fnn.Dense(5, **options), fnn.Dropout(0.3), fnn.Dense(3, **options)],
        input_shape=(4,), seed=0,
    )  # fmt: skip
    model.compile("sgd", loss)
    before = weights_as_bytes(model)
    x, labels = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    one_hot = np.eye(3)[labels]
    for y in (labels, one_hot) if loss == "crossentropy" else (one_hot * 0.7 + 0.1,):
        assert fnn.gradcheck(model, x, y)
    assert weights_as_bytes(model) == before


@pytest.mark.parametrize("name", ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"])
@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_gradcheck_names_a_wrong_gradient(name, error, rng, monkeypatch):
    make_steps = Run.make

    def wrong(self, *arguments, **options):
        done = make_steps(self, *arguments, **options)
        self.bound.arenas["gradients"][self.bound.plan.parameters[name] + 1] += error
        return done

    model = make(["tanh"], loss="mse")
    (x, y), = batches(rng, 1, loss="mse")  # fmt: skip
    assert fnn.gradcheck(model, x, y, samples=10**6)
    monkeypatch.setattr(Run, "make", wrong)
    where = r"\[0, 1\]" if "kernel" in name else r"\[1\]"
    with pytest.raises(fnn.GradientError, match=f"gradient of '{name}' at {where} is .* central"):
        fnn.gradcheck(model, x, y, samples=10**6)
    assert fnn.gradcheck(model, x, y, samples=10**6, raise_exception=False) is False


@pytest.mark.parametrize("kind", ["dropout", "activation"])
def test_gradcheck_notices_a_wrong_row_of_the_op_table(kind, rng, monkeypatch):
    def passed_on(op, grad, emit):
        return (grad,)

    monkeypatch.setitem(ops.OPS, kind, replace(ops.OPS[kind], gradient=passed_on))
    (x, y), = batches(rng, 1)  # fmt: skip
    with pytest.raises(fnn.GradientError, match=r"gradient of 'dense/kernel'"):
        fnn.gradcheck(make(["tanh"], dropout=0.5), x, y)


# --- the reference --------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize(
    ("activations", "loss", "dropout"),
    [
        (("relu", "tanh"), "crossentropy", 0.0),
        (("gelu", "silu", "softplus"), "mse", 0.25),
        (("elu", "leaky_relu", "sigmoid"), "binary_crossentropy", 0.0),
        (("tanh", "softmax"), "huber", 0.1),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_reference_agrees_over_200_adam_steps(activations, loss, dropout, dtype, tolerance, rng):
    model = make(activations, loss=loss, dropout=dropout, dtype=dtype)
    steps = batches(rng, 200, loss=loss)
    kind = "label" if loss == "crossentropy" else "real"
    weights, losses = reference_training(model, steps, kind)
    started = model.get_weights()
    native = train(model, steps)
    assert_agree(model.get_weights(), weights, tolerance)
    assert native == pytest.approx(losses, rel=tolerance)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(model.get_weights(), started, tolerance)
    wrong = [weight * (1 + 3 * tolerance) for weight in weights]
    with pytest.raises(AssertionError, match="array 0 differs by"):
        assert_agree(model.get_weights(), wrong, tolerance)


@pytest.mark.parametrize("case", OPTIMIZERS)
@pytest.mark.parametrize("clipping", [{}, {"clipvalue": 0.01}, {"global_clipnorm": 0.05}], ids=str)
def test_reference_agrees_with_every_optimizer(case, clipping, rng):
    optimizer = fnn.optimizers.get({**OPTIMIZERS[case].config(), **clipping})
    model = make(optimizer=optimizer)
    steps = batches(rng, 30)
    weights, _ = reference_training(model, steps, "label")
    train(model, steps)
    assert_agree(model.get_weights(), weights, 1e-10)


def test_a_wrong_formula_is_noticed(rng, monkeypatch):
    forward, derivative = reference.ACTIVATION_FORMULAS["tanh"]
    monkeypatch.setitem(
        reference.ACTIVATION_FORMULAS, "tanh", (lambda x, a: forward(x, a) + 1e-8, derivative)
    )
    model, steps = make(), batches(rng, 20)
    weights, _ = reference_training(model, steps, "label")
    train(model, steps)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(model.get_weights(), weights, 1e-10)


# --- PyTorch --------------------------------------------------------------------------------------


def torch_training(model, steps, optimizer, activations, loss):
    """Return the weights after the same steps in PyTorch, and the losses."""
    torch = import_torch()
    weights = [torch.tensor(weight, requires_grad=True) for weight in model.get_weights()]
    trained = optimizer_like(torch, optimizer, weights)
    activate, measure = torch_activations(torch), torch_losses(torch)[loss]
    losses = []
    for x, y in steps:
        h = torch.tensor(x)
        pairs = zip(weights[::2], weights[1::2], [*activations, "linear"], strict=True)
        for kernel, bias, activation in pairs:
            h = activate[activation](h @ kernel + bias)
        trained.zero_grad()
        value = measure(h, torch.tensor(y))
        value.backward()
        trained.step()
        losses.append(value.item())
    return [weight.detach().numpy() for weight in weights], losses


@pytest.mark.parametrize(
    ("activation", "loss"),
    [(activation, "crossentropy") for activation in fnn.activations.NAMES]
    + [("relu", loss) for loss in fnn.losses.registry if loss != "crossentropy"],
)
def test_pytorch_agrees_over_200_adam_steps(activation, loss, rng):
    activations = ("tanh", activation)
    optimizer = fnn.Adam(epsilon=1e-8)
    model = make(activations, loss=loss, optimizer=optimizer)
    steps = batches(rng, 200, loss=loss)
    weights, losses = torch_training(model, steps, optimizer, activations, loss)
    native = train(model, steps)
    assert_agree(model.get_weights(), weights, 1e-9)
    assert native == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_pytorch_agrees_with_every_optimizer_over_100_steps(case, rng):
    optimizer, activations = OPTIMIZERS[case], ("relu", "tanh")
    model = make(activations, optimizer=optimizer)
    steps = batches(rng, 100)
    weights, losses = torch_training(model, steps, optimizer, activations, "crossentropy")
    native = train(model, steps)
    assert_agree(model.get_weights(), weights, 1e-9)
    assert native == pytest.approx(losses, rel=1e-9)


def test_every_optimizer_is_among_these():
    named = {optimizer.name for optimizer in OPTIMIZERS.values()}
    assert named | {"lbfgs"} == set(fnn.optimizers.registry)  # which is in test_full_batch.py


# --- threads --------------------------------------------------------------------------------------


def residual(dtype):
    a, b = fnn.Input((40,)), fnn.Input((3, 4))
    h = fnn.Dense(64, activation="gelu")(a)
    h = fnn.Add()([h, fnn.Dense(64, activation="elu")(h)])
    h = fnn.Dropout(0.2)(fnn.Concatenate()([h, fnn.Flatten()(b), fnn.Activation("silu")(h)]))
    model = fnn.Model([a, b], fnn.Dense(6, activation="softmax")(h), dtype=dtype, seed=2)
    model.compile(fnn.AdamW(1e-2, global_clipnorm=0.5), "crossentropy", ["accuracy"])
    return model


def dense(dtype):
    model = fnn.Sequential(
        [fnn.Dense(129, activation="relu"), fnn.Dense(70, activation="tanh"), fnn.Dropout(0.5),
         fnn.Dense(6)],
        input_shape=(40,), dtype=dtype, seed=1,
    )  # fmt: skip
    model.compile(fnn.SGD(0.05, momentum=0.9, clipvalue=0.1), "huber", ["mae"])
    return model


def deep(dtype):
    layers = [fnn.Dense(31, activation=name) for name in fnn.activations.NAMES]
    model = fnn.Sequential([*layers, fnn.Dense(6)], input_shape=(40,), dtype=dtype, seed=3)
    model.compile(fnn.RMSprop(1e-3, centered=True, momentum=0.5), "binary_crossentropy")
    return model


def everything(build, dtype, rng):
    """Return all numbers that a training produces, as bytes."""
    model = build(dtype)
    x, y = rng.normal(size=(275, 40)), rng.integers(0, 6, 275)
    if build is residual:
        x = [x, rng.normal(size=(275, 3, 4))]
    else:
        y = np.eye(6)[y]
    history = model.fit(x, y, batch_size=64, epochs=3, verbose=0)  # with a last batch of 19
    results = [*history.history.values(), list(model.evaluate(x, y).values())]
    out = model.forward(x, training=True)
    gradients = model.backward(np.ones_like(out))
    return {
        "weights": weights_as_bytes(model),
        "state": model.network.runtime.arenas["state"].tobytes(),
        "results": repr(results),
        "predictions": model.predict(x).tobytes(),
        "forward": out.tobytes(),
        "gradients": b"".join(view.tobytes() for view in gradients.values()),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", [dense, residual, deep])
def test_same_bits_for_any_number_of_threads(build, dtype, team, monkeypatch):
    workers = []
    make_steps = Run.make

    def watched(self, *arguments, **options):
        workers.append(fnn.core.threads.workers_for(1e12))
        return make_steps(self, *arguments, **options)

    monkeypatch.setattr(Run, "make", watched)
    expected = None
    for threads in (1, 2, 3, 8):
        team(threads)
        got = everything(build, dtype, np.random.default_rng(0))
        assert workers[-1] == threads
        expected = expected or got
        assert got == expected
    changed = everything(build, dtype, np.random.default_rng(1))
    assert not {name for name in expected if changed[name] == expected[name]}


# --- digits ---------------------------------------------------------------------------------------


def held_out_accuracy(seed):
    """Return the accuracy of 64-128-10 on a stratified, held-out fifth."""
    x, y = fnn.datasets.load_digits()
    train_rows, held_out = fnn.datasets.split(y, share=0.2, seed=seed)
    mean, deviation = x[train_rows].mean(), x[train_rows].std()  # over all pixels together
    x = (x - mean) / deviation
    model = fnn.Sequential(
        [fnn.Dense(128, activation="relu"), fnn.Dense(10)], input_shape=(64,), seed=seed
    )
    model.compile(fnn.Adam(1e-3), "crossentropy", metrics=["accuracy"])
    model.fit(x[train_rows], y[train_rows], batch_size=64, epochs=50, verbose=0)
    return model.evaluate(x[held_out], y[held_out])["accuracy"]


def test_digits():
    accuracies = [held_out_accuracy(seed) for seed in range(5)]
    assert np.mean(accuracies) >= 0.975, accuracies


def test_digits_splits_are_stratified_and_disjoint():
    x, y = fnn.datasets.load_digits()
    assert (x.shape, y.shape, x.min(), x.max()) == ((1797, 64), (1797,), 0, 16)
    for seed in range(5):
        rows, held_out = fnn.datasets.split(y, share=0.2, seed=seed)
        assert np.array_equal(np.sort(np.r_[rows, held_out]), np.arange(1797))
        for digit in range(10):
            share = (y[held_out] == digit).sum() / (y == digit).sum()
            assert abs(share - 0.2) < 0.005
