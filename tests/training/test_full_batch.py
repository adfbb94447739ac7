"""Optimizers that use all rows in each step: gradient descent and L-BFGS."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from model_helpers import is_finite, unchanged, weights_as_bytes

import fastnn as fnn
from fastnn import optimizers
from fastnn.training import lbfgs

ROWS = 1300  # three chunks of the program, the last one ragged
FULL_BATCH = [name for name in optimizers.registry if optimizers.registry[name].full_batch]
EXACT = {"tolerance_gradient": 1e-12, "tolerance_change": 0.0}


def linear(rng, rows=ROWS):
    x = rng.normal(size=(rows, 5))
    return x, x @ rng.normal(size=5) + 0.3 + 0.1 * rng.normal(size=rows)


def network(*layers, optimizer=None, loss="mse", dtype="float64", inputs=5, **rest):
    layers = layers or (fnn.Dense(1),)
    model = fnn.Sequential(list(layers), input_shape=(inputs,), dtype=dtype, seed=0)
    model.compile(fnn.LBFGS(**EXACT) if optimizer is None else optimizer, loss, **rest)
    return model


def solution(x, y, weight=None, penalty=0.0):
    """Least squares, with a penalty on all coefficients, the last of which is the constant."""
    a = np.column_stack([x, np.ones(len(x))])
    weight = np.ones(len(x)) if weight is None else weight
    left = a.T @ (weight[:, None] * a) / len(x) + penalty * np.eye(a.shape[1])
    return np.linalg.solve(left, a.T @ (weight * y) / len(x))


def coefficients(model):
    return np.concatenate([view.ravel() for view in model.parameters.values()])


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FULL_BATCH)
def test_takes_all_rows_or_says_so(name, rng):
    x, y = linear(rng, 50)
    model = network(optimizer=name)
    kind = type(model.optimizer).__name__
    calls = [
        (lambda: model.fit(x, y, batch_size=32), "batch_size must be left out, or be all 50 rows"),
        (lambda: model.fit([(x, y)], steps_per_epoch=1), f"{kind} needs all rows for each step: x"),
    ]
    for call, message in calls:
        with unchanged(model), pytest.raises(ValueError, match=message):
            call()
    model.fit(x, y, batch_size=50, verbose=0)
    model.fit(x, y, batch_size=64, verbose=0)
    assert model.network.runtime.step == 2


@pytest.mark.parametrize("name", FULL_BATCH)
def test_large_maps_are_refused(name, rng, tmp_path, monkeypatch):
    from fastnn.data import pages

    monkeypatch.setattr(pages, "MAPPED_FROM", 1)
    x, y = linear(rng, 50)
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=x.shape)
    mapped[...] = x
    model = network(optimizer=name)
    with unchanged(model), pytest.raises(ValueError, match="x and y must not be maps of"):
        model.fit(mapped, y)


@pytest.mark.parametrize("name", FULL_BATCH)
def test_goes_on_after_a_file(name, rng, tmp_path):
    x, y = linear(rng, 50)
    model = network(optimizer=name)
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m")
    assert loaded.optimizer == model.optimizer
    histories = [one.fit(x, y, epochs=3, verbose=0).history for one in (model, loaded)]
    assert histories[0] == histories[1]
    assert weights_as_bytes(loaded) == weights_as_bytes(model)


def test_gradient_descent_is_sgd_with_one_batch(rng):
    x, y = linear(rng, 100)
    descent, sgd = network(optimizer=fnn.GradientDescent(0.1)), network(optimizer=fnn.SGD(0.1))
    descent.fit(x, y, epochs=5, verbose=0)
    sgd.fit(x, y, epochs=5, verbose=0, batch_size=100, shuffle=False)
    assert weights_as_bytes(descent) == weights_as_bytes(sgd)
    sgd.fit(x, y, verbose=0)
    assert sgd.network.runtime.step == 5 + 4  # the default of other optimizers is still 32


def test_range_test_of_gradient_descent_takes_all_rows(rng):
    x, y = linear(rng, 60)
    found = network(optimizer=fnn.GradientDescent()).find_learning_rate(x, y, steps=50)
    again = network(optimizer="sgd").find_learning_rate(x, y, batch_size=60, steps=50)
    assert np.array_equal(found.losses, again.losses)


# --- L-BFGS ---------------------------------------------------------------------------------------


def test_reaches_the_least_squares_solution(rng):
    x, y = linear(rng)
    model = network()
    history = model.fit(x, y, epochs=100, verbose=0)
    assert np.abs(coefficients(model) - solution(x, y)).max() < 1e-8
    assert history.stop_reason.startswith("CONVERGENCE")
    assert len(history.epoch) == model.network.runtime.step < 30
    losses = history.history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(model.evaluate(x, y)["loss"], rel=1e-12)


def test_of_weights_penalties_decay_and_sparse_rows(rng):
    x, y = linear(rng)
    x[rng.random(x.shape) < 0.7] = 0
    weight = rng.random(ROWS)
    regularizer = {"kernel_regularizer": "l2", "bias_regularizer": "l2"}
    cases = [
        (network(), {"sample_weight": weight}, solution(x, y, weight)),
        (network(fnn.Dense(1, **regularizer)), {}, solution(x, y, penalty=0.01)),
        # the loss is not halved, unlike the decay's term, so that the decay counts half
        (network(optimizer=fnn.LBFGS(**EXACT, weight_decay=0.1)), {}, solution(x, y, penalty=0.05)),
    ]
    for model, options, expected in cases:
        for rows in (x, scipy.sparse.csr_matrix(x)):
            model.set_weights([np.zeros((5, 1)), np.zeros(1)])
            model.fit(rows, y, epochs=100, verbose=0, **options)
            assert np.abs(coefficients(model) - expected).max() < 1e-8


def test_logistic_regression_as_scipy_by_hand(rng):
    x = rng.normal(size=(ROWS, 5))
    labels = (x[:, 0] + x[:, 1] ** 2 + rng.normal(size=ROWS) > 0.5).astype(float)
    a = np.column_stack([x, np.ones(ROWS)])

    def loss(w):
        z = a @ w
        value = np.mean(np.logaddexp(0, z) - labels * z)
        return value, a.T @ (1 / (1 + np.exp(-z)) - labels) / ROWS

    found = scipy.optimize.minimize(
        loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"gtol": 1e-12, "ftol": 0}
    )
    model = network(fnn.Dense(1, "sigmoid", kernel_initializer="zeros"), loss="binary_crossentropy")
    history = model.fit(x, labels, epochs=100, verbose=0)
    assert np.abs(coefficients(model) - found.x).max() < 1e-7
    assert history.history["loss"][-1] == pytest.approx(found.fun, rel=1e-12)


def test_two_outputs_share_a_layer(rng):
    x, y = linear(rng, 200)
    given = fnn.Input((5,))
    hidden = fnn.Dense(4, "tanh")(given)
    ends = [fnn.Dense(1, name="a")(hidden), fnn.Dense(2, name="b")(hidden)]
    model = fnn.Model(given, ends, dtype="float64", seed=0)
    model.compile(fnn.LBFGS(tolerance_gradient=1e-6), ["mse", "mae"], {"b": ["mse"]})
    history = model.fit(x, {"a": y, "b": x[:, :2]}, epochs=300, verbose=0).history
    expected = model.evaluate(x, {"a": y, "b": x[:, :2]})
    assert list(history) == list(expected)
    for name, value in expected.items():
        assert history[name][-1] == pytest.approx(value, rel=1e-9)
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_frozen_layers_stand_still(rng):
    x, y = linear(rng, 200)
    frozen = fnn.Dense(4, "tanh", name="frozen")
    model = network(frozen, fnn.Dense(1))
    frozen.trainable = False
    before = {name: view.copy() for name, view in model.parameters.items()}
    model.fit(x, y, epochs=100, verbose=0)
    hidden = np.tanh(x @ frozen.kernel + frozen.bias)
    assert np.abs(coefficients(model)[-5:] - solution(hidden, y)).max() < 1e-6
    for name, view in model.parameters.items():
        assert np.array_equal(view, before[name]) == name.startswith("frozen")
    model.layers[1].trainable = False
    with unchanged(model), pytest.raises(ValueError, match="nothing to train: all layers are fro"):
        model.fit(x, y)


def test_needs_fewer_epochs_than_adam(rng):
    x, y = linear(rng, 300)
    layers = fnn.Dense(8, "tanh"), fnn.Dense(1)
    reached = {}
    for name, optimizer in (("lbfgs", "lbfgs"), ("adam", fnn.Adam(0.01))):
        model = network(*layers, optimizer=optimizer)
        stop = fnn.TerminateOnValue("loss", 0.02)
        model.fit(x, y, epochs=400, batch_size=300, verbose=0, callbacks=[stop])
        reached[name] = model.network.runtime.step
        assert model.history.history["loss"][-1] <= 0.02
        layers = fnn.Dense(8, "tanh"), fnn.Dense(1)
    assert 3 * reached["lbfgs"] < reached["adam"]


def test_same_bits_with_any_number_of_threads(rng, threads):
    x, y = linear(rng)
    weights = []
    for count in (1, 3):
        threads(count)
        model = network(fnn.Dense(7, "tanh"), fnn.Dense(1), dtype="float32", optimizer="lbfgs")
        model.fit(x, y, epochs=10, verbose=0)
        weights.append(weights_as_bytes(model))
    assert weights[0] == weights[1]


class Hooks(fnn.Callback):
    """Records what it is told; ends training in a given epoch, or raises."""

    def __init__(self, act=lambda callback, epoch: None):
        self.told, self.act = [], act

    def on_epoch_begin(self, epoch):
        self.told.append(("begin", epoch))

    def on_epoch_end(self, epoch, logs):
        self.told.append(("end", epoch))
        self.weights = self.model.get_weights()
        self.loss = logs["loss"]
        self.act(self, epoch)

    def on_train_batch_end(self, batch, logs):
        self.told.append("batch")

    def on_train_end(self, logs):
        self.told.append("over")


def test_callbacks_see_iterates_and_can_end_it(rng):
    x, y = linear(rng)

    def stop(callback, epoch):
        callback.model.stop_training = epoch == 2

    hooks, model = Hooks(stop), network(fnn.Dense(4, "tanh"), fnn.Dense(1))
    history = model.fit(
        x, y, epochs=50, verbose=0, callbacks=[hooks], validation_data=(x[:9], y[:9])
    )
    assert hooks.told == [(what, i) for i in range(3) for what in ("begin", "end")] + ["over"]
    assert history.stop_reason == "a callback set stop_training"
    assert list(history.history) == ["loss", "val_loss"]
    assert all(map(np.array_equal, hooks.weights, model.get_weights()))
    assert model.evaluate(x, y)["loss"] == pytest.approx(hooks.loss, rel=1e-12)
    assert history.samples_per_second > 0


def test_early_stopping_gives_the_best_weights_back(rng):
    x = rng.normal(size=(40, 5))
    stop = fnn.EarlyStopping(patience=3)
    model = network(fnn.Dense(20, "tanh"), fnn.Dense(1))
    noise = rng.normal(size=40)
    history = model.fit(
        x, noise, epochs=500, verbose=0, callbacks=[stop], validation_data=(-x, noise)
    )
    assert "has not improved for 3 epochs" in history.stop_reason
    best = min(history.history["val_loss"])
    assert model.evaluate(-x, noise)["loss"] == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_the_last_iterate_stays_whatever_happens(error, rng, monkeypatch):
    from fastnn.training import lbfgs

    x, y = linear(rng)
    looks = []
    plain = lbfgs.sum_gradients

    def interrupted(*args):
        results = plain(*args)
        looks.append(len(looks))
        if len(looks) == 6:
            raise error
        return results

    hooks, model = Hooks(), network(fnn.Dense(4, "tanh"), fnn.Dense(1))
    monkeypatch.setattr(lbfgs, "sum_gradients", interrupted)
    with pytest.raises(error):
        model.fit(x, y, epochs=50, verbose=0, callbacks=[hooks])
    assert len(model.history.epoch) >= 2
    assert all(map(np.array_equal, hooks.weights, model.get_weights()))
    assert model.history.stop_reason.startswith(("interrupted", "OSError"))


def test_time_budget_ends_it(rng):
    x, y = linear(rng)
    model = network(fnn.Dense(30, "tanh"), fnn.Dense(30, "tanh"), fnn.Dense(1))
    history = model.fit(x, rng.normal(size=ROWS), epochs=10**6, verbose=0, time_budget=0.1)
    assert history.stop_reason.startswith("the time_budget of 0.1 seconds is used up")
    last = history.history["loss"][-1]
    assert len(history.epoch) >= 1
    assert model.evaluate(x, y)["loss"] > 0
    assert last == min(history.history["loss"])


def test_an_epoch_is_told_where_it_has_converged_before(rng):
    x, y = linear(rng, 50)
    model = network(optimizer="lbfgs")
    model.fit(x, y, epochs=50, verbose=0)
    before = weights_as_bytes(model)
    history = model.fit(x, y, epochs=50, verbose=0)
    assert len(history.epoch) == len(history.history["loss"]) == 1
    assert history.stop_reason.startswith("CONVERGENCE")
    assert weights_as_bytes(model) == before


def test_turns_back_where_the_loss_is_not_finite(rng):
    """At the first point that is tried, rates of e^(100 w) overflow in float32."""
    x = np.linspace(0, 100, 200)[:, None]
    counts = rng.poisson(np.exp(0.05 * x[:, 0]))
    model = network(
        fnn.Dense(1, "exponential", kernel_initializer="zeros"),
        optimizer="lbfgs", loss="poisson", dtype="float32", inputs=1,
    )  # fmt: skip
    looks = []
    plain = lbfgs.sum_gradients
    with pytest.MonkeyPatch.context() as patch:

        def sum_gradients(*arguments):
            results = plain(*arguments)
            looks.append(results[0, 0])
            return results

        patch.setattr(lbfgs, "sum_gradients", sum_gradients)
        history = model.fit(x, counts, epochs=100, verbose=0)
    assert not np.isfinite(looks).all(), "the check cannot fail"
    assert np.isfinite(history.history["loss"]).all()
    assert coefficients(model)[0] == pytest.approx(0.05, rel=0.2)


def test_a_start_that_is_not_finite_is_refused(rng):
    x, y = linear(rng)
    model = network(dtype="float32", optimizer="lbfgs")
    model.set_weights([np.full((5, 1), 1e30), np.zeros(1)])
    before = weights_as_bytes(model)
    with pytest.raises(fnn.NonFiniteLossError, match="the loss is inf in epoch 1, before its step"):
        model.fit(x, y, verbose=0)
    assert weights_as_bytes(model) == before
    history = model.fit(x, y, verbose=0, callbacks=[fnn.TerminateOnNaN()])
    assert history.stop_reason.startswith("TerminateOnNaN: the loss is inf")
    assert is_finite(model)


def test_what_is_no_function_of_the_parameters_is_refused(rng):
    x, y = linear(rng, 50)
    for layer, message in (
        (fnn.Dropout(0.5), "is a Dropout: leave it out"),
        (fnn.BatchNormalization(), "is a BatchNormalization: freeze it"),
    ):
        model = network(layer, fnn.Dense(1))
        with unchanged(model), pytest.raises(ValueError, match=message):
            model.fit(x, y)
    layer.trainable = False
    model.fit(x, y, epochs=20, verbose=0)
    assert np.abs(model.predict(x)[:, 0] - y).max() < 1


def test_single_steps_are_refused(rng):
    x, y = linear(rng, 50)
    model = network(optimizer="lbfgs")
    model.forward(x, training=True)
    model.backward(y[:, None])
    calls = [
        lambda: model.train_on_batch(x, y),
        lambda: model.learn_one(x[0], y[0]),
        model.apply_gradients,
        lambda: model.find_learning_rate(x, y),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(RuntimeError, match="LBFGS makes no single steps"):
            call()


def test_what_only_looks_still_works(rng, capsys):
    x, y = linear(rng, 50)
    model = network(optimizer="lbfgs")
    model.explain()
    assert "gradients: " in capsys.readouterr().out
    with unchanged(model):
        model.diagnose(x, y)
        model.profile(x, y, steps=5)
        assert fnn.gradcheck(model, x, y)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("learning_rate", "a line search finds the length of each step"),
        ("clipvalue", "its line search needs the gradient as it is"),
        ("global_clipnorm", "its line search needs the gradient as it is"),
        ("use_ema", "its iterates need no average"),
    ],
)
def test_arguments_without_a_meaning(argument, reason):
    message = f"LBFGS has no {argument}: {reason}"
    optimizer = fnn.LBFGS()
    with pytest.raises(ValueError, match=message):
        fnn.LBFGS(**{argument: 0.1})
    with pytest.raises(ValueError, match=message):
        setattr(optimizer, argument, 0.1)
    assert not hasattr(optimizer, "learning_rate")


def test_arguments_of_others():
    message = r"'maxiter': give fit epochs: each is one iteration"
    with pytest.raises(TypeError, match=f"LBFGS.. got an unexpected keyword argument {message}"):
        fnn.LBFGS(maxiter=100)
    with pytest.raises(AttributeError, match=f"LBFGS has no attribute {message}"):
        fnn.LBFGS().maxiter = 100


def test_without_scipy_it_names_the_extra(rng, monkeypatch):
    x, y = linear(rng, 50)
    model = network(optimizer="lbfgs")
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with unchanged(model), pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[scipy\]'"):
        model.fit(x, y)


def test_the_number_of_evaluations_can_be_limited(rng):
    x = rng.normal(size=(200, 4))
    counts = []
    for limit in (None, 10, 3):
        model = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(1)], input_shape=(4,), seed=0)
        model.compile(fnn.LBFGS(max_evaluations=limit), "mse")
        history = model.fit(x, np.sin(x.sum(axis=1)), epochs=30, verbose=0)
        counts.append(len(history.epoch))
        said = "EVALUATIONS EXCEEDS LIMIT" in history.stop_reason
        assert said == (limit is not None), history.stop_reason
    assert counts[0] == 30 > counts[1] > counts[2] >= 1
    with pytest.raises(ValueError, match="max_evaluations must be a positive integer, got 0"):
        fnn.LBFGS(max_evaluations=0)
