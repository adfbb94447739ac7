"""Optimizers: hyper-parameters, state, and single steps computed by hand.

Whole trainings are compared with the reference executor and with PyTorch in test_accuracy.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optimizers
from fastnn.program.purpose import Purpose

# configuration: (optimizer, its slots, parameter 1 after steps with gradients 2 and 0.5)
BY_HAND = {
    "sgd": (fnn.SGD(0.1), [], 1 - 0.2 - 0.05),
    "gradient_descent": (fnn.GradientDescent(0.1), [], 1 - 0.2 - 0.05),
    "momentum": (fnn.SGD(0.1, momentum=0.5), ["velocity"], 1 - 0.2 - 0.1 * (0.5 * 2 + 0.5)),
    "nesterov": (
        fnn.SGD(0.1, momentum=0.5, nesterov=True),
        ["velocity"],
        1 - 0.1 * (2 + 0.5 * 2) - 0.1 * (0.5 + 0.5 * 1.5),
    ),
    "adagrad": (
        fnn.Adagrad(0.1),
        ["accumulator"],
        1 - 0.2 / (np.sqrt(4.1) + 1e-7) - 0.05 / (np.sqrt(4.35) + 1e-7),
    ),
    "rmsprop": (
        fnn.RMSprop(0.1),
        ["mean_square"],
        1 - 0.2 / (np.sqrt(0.4) + 1e-7) - 0.05 / (np.sqrt(0.385) + 1e-7),
    ),
    "rmsprop_momentum": (
        fnn.RMSprop(0.1, momentum=0.5),
        ["mean_square", "velocity"],
        1 - 1.5 * 0.2 / (np.sqrt(0.4) + 1e-7) - 0.05 / (np.sqrt(0.385) + 1e-7),
    ),
    "rmsprop_centered": (
        fnn.RMSprop(0.1, centered=True),
        ["mean_square", "mean"],
        1 - 0.2 / (np.sqrt(0.4 - 0.04) + 1e-7) - 0.05 / (np.sqrt(0.385 - 0.23**2) + 1e-7),
    ),
    "rmsprop_centered_momentum": (
        fnn.RMSprop(0.1, centered=True, momentum=0.5),
        ["mean_square", "mean", "velocity"],
        1 - 1.5 * 0.2 / (0.6 + 1e-7) - 0.05 / (np.sqrt(0.385 - 0.23**2) + 1e-7),
    ),
    "adam": (
        fnn.Adam(0.1),
        ["mean", "variance"],
        1 - 0.1 * 2 / (2 + 1e-7)
        - 0.1 * (0.23 / 0.19) / (np.sqrt((0.999 * 0.004 + 0.00025) / (1 - 0.999**2)) + 1e-7),
    ),
    "adamw": (
        fnn.AdamW(0.1, weight_decay=0.5),
        ["mean", "variance"],
        (1 * 0.95 - 0.1 * 2 / (2 + 1e-7)) * 0.95
        - 0.1 * (0.23 / 0.19) / (np.sqrt((0.999 * 0.004 + 0.00025) / (1 - 0.999**2)) + 1e-7),
    ),
    # v is 0.9 * 4, then smaller, 0.1 * 3.6 + 0.9 / 4: the first remains the largest.
    "adam_amsgrad": (
        fnn.Adam(0.1, amsgrad=True, beta_2=0.1),
        ["mean", "variance", "largest"],
        1 - 0.1 * 2 / (2 + 1e-7) - 0.1 * (0.23 / 0.19) / (np.sqrt(3.6 / 0.99) + 1e-7),
    ),
    "adamw_amsgrad": (
        fnn.AdamW(0.1, weight_decay=0.5, amsgrad=True, beta_2=0.1),
        ["mean", "variance", "largest"],
        (1 * 0.95 - 0.1 * 2 / (2 + 1e-7)) * 0.95
        - 0.1 * (0.23 / 0.19) / (np.sqrt(3.6 / 0.99) + 1e-7),
    ),
    # psi = 0: all mu are 0.45; m is 0.2, then 0.23, and P 0.45, then 0.2025.
    "nadam": (
        fnn.NAdam(0.1, momentum_decay=0.0),
        ["mean", "variance", "momentum_product"],
        1 - 0.1 * (0.55 / 0.55 * 2 + 0.45 / (1 - 0.2025) * 0.2) / (2 + 1e-7)
        - 0.1 * (0.55 / (1 - 0.2025) * 0.5 + 0.45 / (1 - 0.2025 * 0.45) * 0.23)
        / (np.sqrt((0.999 * 0.004 + 0.00025) / (1 - 0.999**2)) + 1e-7),
    ),
    "lion": (fnn.Lion(0.1, weight_decay=0.5), ["mean"], (1 * 0.95 - 0.1) * 0.95 - 0.1),
}  # fmt: skip


# LBFGS does not make single steps; see test_full_batch.py.
STEPPED = [name for name in optimizers.registry if optimizers.get(name).rate_of(0) is not None]


def one_weight(optimizer, gradients, start=1.0, *, change=None):
    """The only parameter of a model after steps with these gradients."""
    model = fnn.Sequential([fnn.Dense(1, use_bias=False)], input_shape=(1,), dtype="float64")
    model.compile(optimizer, "mse")
    model.parameters["dense/kernel"][...] = start
    for gradient in gradients:
        model.forward([[1.0]], training=True)
        model.backward([[gradient]])
        model.apply_gradients()
        if change is not None:
            change(model)
    return float(model.parameters["dense/kernel"][0, 0])


def test_every_kernel_is_worked_out_by_hand():
    from fastnn.program.ops import OPTIMIZERS

    assert {optimizer.kernel for optimizer, _, _ in BY_HAND.values()} == set(OPTIMIZERS)
    assert {optimizer.name for optimizer, _, _ in BY_HAND.values()} == set(STEPPED)
    assert set(optimizers.registry) - set(STEPPED) == {"lbfgs"}


@pytest.mark.parametrize("case", BY_HAND)
def test_two_steps_by_hand(case):
    optimizer, slots, expected = BY_HAND[case]
    assert one_weight(optimizer, [2.0, 0.5]) == pytest.approx(expected, rel=1e-14)
    assert one_weight(optimizer, [2.0, -0.5001]) != pytest.approx(expected, rel=1e-14)
    assert optimizer.slots == slots


@pytest.mark.parametrize("case", BY_HAND)
def test_config_makes_an_equal_one(case):
    optimizer = BY_HAND[case][0]
    assert optimizers.get(optimizer.config()) == optimizer
    assert optimizers.get(optimizer) is optimizer


@pytest.mark.parametrize("name", STEPPED)
def test_lowers_the_loss(name, rng):
    model = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile({"name": name, "learning_rate": 0.05}, "mse")
    x = rng.normal(size=(64, 3))
    history = model.fit(x, x.sum(axis=1), epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize("name", STEPPED)
def test_learning_rate_zero_stands_still(name):
    assert one_weight(optimizers.get({"name": name, "learning_rate": 0.0}), [1.0, 2.0]) == 1.0


@pytest.mark.parametrize("name", STEPPED)
def test_weight_decay_pulls_towards_zero(name):
    def after(decay):
        return one_weight(
            optimizers.get({"name": name, "weight_decay": decay}), [0.0] * 3, start=2.0
        )

    assert after(0.0) == 2.0
    assert 0 < after(0.1) < 2.0


def test_weight_decay_is_coupled_but_in_adamw():
    # With coupled decay, the size of Adam's step is the learning rate, whatever the decay is.
    coupled = one_weight(fnn.Adam(0.1, weight_decay=0.5), [0.0], start=2.0)
    decoupled = one_weight(fnn.AdamW(0.1, weight_decay=0.5), [0.0], start=2.0)
    assert coupled == pytest.approx(2 - 0.1, rel=1e-6)
    assert decoupled == pytest.approx(2 - 0.1 * 0.5 * 2, rel=1e-14)


def gradient_steps(optimizer, gradients):
    """Parameters after one SGD step from zeros with these gradients."""
    model = fnn.Sequential([fnn.Dense(3), fnn.Dense(2)], input_shape=(4,), dtype="float64")
    model.compile(optimizer, "mse")
    for name, gradient in zip(model.gradients, gradients, strict=True):
        model.parameters[name][...] = 0
        model.gradients[name][...] = gradient
    model.apply_gradients()
    return [-view for view in model.parameters.values()]


def test_clipvalue_and_global_clipnorm(rng):
    gradients = [3 * rng.normal(size=shape) for shape in ((4, 3), (3,), (3, 2), (2,))]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    scale = 1.5 / (norm + 1e-6)
    cases = [
        (fnn.SGD(1.0, clipvalue=0.7), lambda g: np.clip(g, -0.7, 0.7)),
        (fnn.SGD(1.0, global_clipnorm=1.5), lambda g: g * scale),
        (fnn.SGD(1.0, global_clipnorm=2 * norm), lambda g: g),
        (
            fnn.SGD(1.0, global_clipnorm=1.5, clipvalue=0.1),
            lambda g: np.clip(g * scale, -0.1, 0.1),
        ),
    ]
    for optimizer, expected in cases:
        for got, gradient in zip(gradient_steps(optimizer, gradients), gradients, strict=True):
            np.testing.assert_allclose(got, expected(gradient), rtol=1e-12)


def test_learning_rate_may_be_set_at_any_time():
    def halve(model):
        model.optimizer.learning_rate /= 2

    assert one_weight(fnn.SGD(0.1), [1.0] * 3, change=halve) == pytest.approx(
        1 - 0.1 - 0.05 - 0.025
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda o: setattr(o, "weight_decay", 0.5), 0.9 - 0.1 * (1 + 0.5 * 0.9)),
        (lambda o: setattr(o, "clipvalue", 0.5), 0.9 - 0.05),
        (lambda o: setattr(o, "global_clipnorm", 0.5), 0.9 - 0.05),
    ],
    ids=["weight_decay", "clipvalue", "global_clipnorm"],
)
def test_other_hyper_parameters_may_be_set_too(change, expected):
    got = one_weight(fnn.SGD(0.1), [1.0, 1.0], change=lambda model: change(model.optimizer))
    assert got == pytest.approx(expected, rel=1e-5)


def test_compile_starts_the_state_afresh(rng):
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    for optimizer in (fnn.Adam(), fnn.Adagrad(initial_accumulator_value=0.25, use_ema=True)):
        model.compile(optimizer, "mse")
        assert model.network.runtime.step == 0
        begun = np.reshape(optimizer.initial_states, (-1, 1))
        assert np.all(model.network.runtime.arenas["state"] == begun)
        model.train_on_batch(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
        assert model.network.runtime.step == 1
        assert np.any(model.network.runtime.arenas["state"] != begun)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("sgd", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        ("adagrad", {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        ("rmsprop", {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
        ("adam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("adamw", {"learning_rate": 0.001, "weight_decay": 0.004}),
        ("gradient_descent", {"learning_rate": 0.01}),
        ("lion", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99}),
        ("nadam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    ],
)
def test_defaults_are_keras(name, defaults):
    config = optimizers.get(name).config()
    assert {key: config[key] for key in defaults} == defaults


def two_layers(**settings):
    model = fnn.Sequential(
        [fnn.Dense(5, "tanh", name="first"), fnn.Dense(2, name="second")],
        input_shape=(3,), dtype="float64", seed=1,
    )  # fmt: skip
    model.compile(fnn.SGD(0.1, **settings), "mse")
    return model


def step_of(model, rng):
    """The change that one step on the same batch makes, by parameter."""
    x, y = np.random.default_rng(5).normal(size=(2, 8, 3))
    before = {name: view.copy() for name, view in model.parameters.items()}
    model.train_on_batch(x, y[:, :2])
    return {name: view - before[name] for name, view in model.parameters.items()}


def test_frozen_layer_stands_still_whatever_the_optimizer_wants(rng):
    for settings in ({}, {"weight_decay": 0.5}, {"momentum": 0.9}, {"global_clipnorm": 0.1}):
        model = two_layers(**settings)
        plain = step_of(two_layers(), rng)
        step_of(model, rng)
        model.layers[0].trainable = False
        change = step_of(model, rng)
        assert not change["first/kernel"].any(), settings
        assert not change["first/bias"].any(), settings
        assert change["second/kernel"].any()
        assert plain["first/kernel"].any(), "the check cannot fail"
        ops = model.network.runtime.bound(Purpose.TRAIN, 8).plan.program.ops
        assert not any(op.layer == "first" and "gradient" in op.name for op in ops)
        model.layers[0].trainable = True
        assert step_of(model, rng)["first/kernel"].any()


def test_norm_of_all_leaves_out_what_is_frozen(rng):
    model = two_layers(global_clipnorm=1e-3)
    step_of(model, rng)
    model.layers[0].trainable = False
    change = step_of(model, rng)
    norm = np.sqrt(sum((c**2).sum() for c in change.values()))
    assert norm == pytest.approx(1e-4, rel=1e-2)


def test_frozen_model_still_counts_its_steps(rng):
    model = two_layers()
    for layer in model.layers:
        layer.trainable = False
    with pytest.warns(UserWarning, match="no parameter of this model learns"):
        assert not any(change.any() for change in step_of(model, rng).values())
    assert model.network.runtime.step == 1


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "rmsprop"])
def test_learning_rate_factor_of_a_layer(kind, rng):
    def changes(factor):
        model = two_layers()
        optimizer = fnn.optimizers.get({"name": kind, "learning_rate": 1e-3, "weight_decay": 0.0})
        model.compile(optimizer, "mse")
        model.layers[1].learning_rate_factor = factor
        return step_of(model, rng)

    whole, half = changes(1.0), changes(0.5)
    np.testing.assert_allclose(half["first/kernel"], whole["first/kernel"], rtol=1e-12)
    np.testing.assert_allclose(half["second/kernel"], 0.5 * whole["second/kernel"], rtol=1e-9)
    assert not changes(0.0)["second/bias"].any()


def test_clipnorm_limits_each_parameter(rng):
    free, limited = step_of(two_layers(), rng), step_of(two_layers(clipnorm=0.02), rng)
    for name, change in free.items():
        norm = np.linalg.norm(change) / 0.1
        scale = min(1.0, 0.02 / (norm + 1e-6))
        np.testing.assert_allclose(limited[name], scale * change, rtol=1e-9, err_msg=name)
    assert min(np.linalg.norm(c) for c in free.values()) < 0.002 or len(free) == 4


def test_average_of_the_parameters_is_what_fit_ends_with(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    model, plain = two_layers(use_ema=True, ema_momentum=0.8), two_layers()
    average = None
    for _ in range(3):
        for i in range(0, 20, 5):
            plain.train_on_batch(x[i : i + 5], y[i : i + 5])
            now = plain.get_weights()
            average = now if average is None else [
                0.8 * a + 0.2 * p for a, p in zip(average, now, strict=True)
            ]  # fmt: skip
    model.fit(x, y, batch_size=5, epochs=3, shuffle=False, verbose=0)
    for got, want in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    assert any((p != a).any() for p, a in zip(plain.get_weights(), average, strict=True))


def test_weights_that_are_set_are_the_average_too(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    model = two_layers(use_ema=True, ema_momentum=0.99)
    model.fit(x, y, epochs=2, verbose=0)
    model.set_weights([np.full_like(w, 5.0) for w in model.get_weights()])
    model.optimizer.learning_rate = 0.0
    model.fit(x, y, verbose=0)
    assert all(np.allclose(w, 5.0) for w in model.get_weights())


def test_what_a_layer_learns_is_saved(tmp_path, rng):
    model = two_layers(use_ema=True)
    model.layers[0].trainable, model.layers[1].learning_rate_factor = False, 0.25
    step_of(model, rng)
    model.save(tmp_path / "m.safetensors")
    again = fnn.load(tmp_path / "m.safetensors")
    assert (again.layers[0].trainable, again.layers[1].learning_rate_factor) == (False, 0.25)
    for mine, others in zip(
        step_of(model, rng).values(), step_of(again, rng).values(), strict=True
    ):
        np.testing.assert_array_equal(mine, others)


def test_learn_one_notices_a_frozen_layer(rng):
    model = two_layers()
    x, y = rng.normal(size=3), rng.normal(size=2)
    for _ in range(3):
        model.learn_one(x, y)
    model.layers[1].trainable = False
    before = model.parameters["second/kernel"].copy()
    for _ in range(3):
        model.learn_one(x, y)
    np.testing.assert_array_equal(model.parameters["second/kernel"], before)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="give clipnorm or global_clipnorm, not both"):
        fnn.SGD(clipnorm=1.0, global_clipnorm=1.0)
    with pytest.raises(TypeError, match="use_ema must be True or False, got 1"):
        fnn.Adam(use_ema=1)
    with pytest.raises(ValueError, match="ema_momentum must be a number in"):
        fnn.Adam(ema_momentum=1.0)
    with pytest.raises(TypeError, match="trainable must be True or False, got 'no'"):
        fnn.Dense(3, trainable="no")
    layer = fnn.Dense(3)
    with pytest.raises(ValueError, match="learning_rate_factor must be a finite number of at"):
        layer.learning_rate_factor = -1
    assert layer.learning_rate_factor == 1
