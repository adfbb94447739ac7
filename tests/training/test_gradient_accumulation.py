"""One update with the mean gradient of several batches, in `fit` and by single batches."""

from __future__ import annotations

import copy
import signal
import sys

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn.schedules import PiecewiseConstantDecay

ROWS = 48


@pytest.fixture
def data(rng):
    return rng.normal(size=(ROWS, 5)), rng.normal(size=(ROWS, 3))


def model_of(optimizer, *layers):
    layers = layers or (fnn.Dense(8, "tanh"), fnn.Dense(3))
    model = fnn.Sequential(layers, input_shape=(5,), dtype="float64", seed=2)
    model.compile(optimizer, "mse", ["mae"])
    return model


def assert_alike(got, want, tolerance=1e-11):
    for one, other in zip(got.get_weights(), want.get_weights(), strict=True):
        assert_close(one, other, tolerance)


OPTIMIZERS = {
    "sgd": lambda **o: fnn.SGD(0.1, momentum=0.9, weight_decay=0.01, **o),
    "adam": lambda **o: fnn.Adam(0.01, global_clipnorm=0.05, weight_decay=0.1, **o),
    "adamw": lambda **o: fnn.AdamW(0.01, clipnorm=0.02, weight_decay=0.1, **o),
    "nadam": lambda **o: fnn.NAdam(0.01, clipvalue=0.01, **o),
    "adagrad": lambda **o: fnn.Adagrad(0.1, use_ema=True, **o),
    "rmsprop": lambda **o: fnn.RMSprop(0.01, centered=True, use_ema=True, ema_momentum=0.5, **o),
    "lion": lambda **o: fnn.Lion(0.001, weight_decay=0.1, **o),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_four_batches_are_one_of_four_times_the_rows(name, data):
    make = OPTIMIZERS[name]
    got, want = model_of(make(gradient_accumulation_steps=4)), model_of(make())
    got.fit(*data, batch_size=4, epochs=4, shuffle=False, verbose=0)
    want.fit(*data, batch_size=16, epochs=4, shuffle=False, verbose=0)
    assert got.network.runtime.step == want.network.runtime.step == 12
    assert_alike(got, want)
    losses = [model.history.history for model in (got, want)]
    for key in ("loss", "mae"):
        assert_close(np.array(losses[0][key]), np.array(losses[1][key]), 1e-11)


def test_what_remains_of_an_epoch_is_kept_for_the_next(data):
    """As in Keras: 6 batches an epoch, 4 in an update."""
    x, y = data
    got = model_of(fnn.Adam(0.01, gradient_accumulation_steps=4))
    got.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert (got.network.runtime.step, got.network.runtime.accumulated) == (3, 0)
    want = model_of(fnn.Adam(0.01))
    order = [*range(6), *range(6)]
    for first in range(0, 12, 4):
        rows = np.concatenate([np.arange(8 * i, 8 * i + 8) for i in order[first : first + 4]])
        want.train_on_batch(x[rows], y[rows])
    assert_alike(got, want)


def test_single_batches_and_fits_continue_each_other(data):
    x, y = data
    whole, parts, by_hand = (
        model_of(fnn.Adam(0.01, gradient_accumulation_steps=4)) for _ in range(3)
    )
    whole.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    parts.fit(x[:8], y[:8], batch_size=8, shuffle=False, verbose=0)
    for epoch in range(2):
        for first in range(0, ROWS, 8):
            rows = slice(first, first + 8)
            if epoch or first:
                parts.train_on_batch(x[rows], y[rows])
            y_hat = by_hand.forward(x[rows], training=True)
            by_hand.backward(2 * (y_hat - y[rows]) / y_hat.size)
            by_hand.apply_gradients()
    assert_alike(parts, whole, 0)
    assert_alike(by_hand, whole)


@pytest.mark.parametrize("way", ["file", "copy", "clone"])
def test_gradients_that_wait_are_saved(way, data, tmp_path):
    x, y = data
    whole, parts = (model_of(fnn.Adam(0.01, gradient_accumulation_steps=3)) for _ in range(2))
    for model in (whole, parts):
        for first in range(0, 40, 8):
            model.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert parts.network.runtime.accumulated == 2
    if way == "file":
        parts.save(tmp_path / "m.safetensors")
        parts = fnn.load(tmp_path / "m.safetensors")
    elif way == "copy":
        parts = copy.deepcopy(parts)
    else:
        parts = fnn.Model.of(parts.network.clone(keeps_optimizer_state=True))
    for model in (whole, parts):
        model.train_on_batch(x[:8], y[:8])
    assert parts.network.runtime.step == 2
    assert_alike(parts, whole, 0)


def test_schedules_count_updates(data):
    rates = PiecewiseConstantDecay([1, 2], [0.5, 0.05, 0.005])
    got, want = model_of(fnn.SGD(rates, gradient_accumulation_steps=4)), model_of(fnn.SGD(rates))
    got.fit(*data, batch_size=4, shuffle=False, verbose=0)
    want.fit(*data, batch_size=16, shuffle=False, verbose=0)
    assert_alike(got, want)


def test_one_sample_at_a_time(data):
    x, y = data
    got = model_of(fnn.Adam(0.01, gradient_accumulation_steps=4))
    want = model_of(fnn.Adam(0.01))
    for first in range(0, ROWS, 4):
        for i in range(first, first + 4):
            got.learn_one(x[i], y[i])
        want.train_on_batch(x[first : first + 4], y[first : first + 4])
    assert_alike(got, want)


def test_statistics_move_and_dropout_is_drawn_with_each_batch(data):
    x, y = data
    layers = lambda: (fnn.BatchNormalization(0.5), fnn.Dropout(0.5), fnn.Dense(3))  # noqa: E731
    got = model_of(fnn.SGD(0.0, gradient_accumulation_steps=4), *layers())
    want = model_of(fnn.SGD(0.0), *layers())
    losses = []
    for _ in range(5):
        losses.append(got.train_on_batch(x, y))
        want.train_on_batch(x, y)
    assert_alike(got, want, 0)
    assert len(set(losses)) == 5


def test_callbacks_of_batches_see_each_batch(data):
    seen = []
    watcher = fnn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    got, want = (model_of(fnn.Adam(0.01, gradient_accumulation_steps=4)) for _ in range(2))
    got.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[watcher])
    want.fit(*data, batch_size=4, shuffle=False, verbose=0)
    assert seen == list(range(12))
    assert_alike(got, want, 0)


def test_a_loss_that_is_not_finite_adds_nothing(data):
    x, y = data
    model = model_of(fnn.Adam(0.01, gradient_accumulation_steps=4))
    model.train_on_batch(x, y)
    kept = model.network.runtime.slot_views("gradient_sum")["dense/kernel"].copy()
    with pytest.raises(fnn.NonFiniteLossError, match="the parameters are those before this step"):
        model.train_on_batch(x, y * 1e200)
    runtime = model.network.runtime
    assert runtime.accumulated == 1
    assert np.array_equal(runtime.slot_views("gradient_sum")["dense/kernel"], kept)
    with pytest.raises(fnn.NonFiniteLossError):
        model.fit(x, y * 1e200, verbose=0)


def test_without_it_nothing_is_different():
    optimizer = fnn.Adam()
    assert optimizer.gradient_accumulation_steps is None
    assert optimizer.slots == ["mean", "variance"]
    assert optimizer.initial_states == [0.0, 0.0]
    accumulating = fnn.Adagrad(gradient_accumulation_steps=2, use_ema=True)
    assert accumulating.slots == ["accumulator", "gradient_sum", "average"]
    assert accumulating.initial_states == [0.1, 0.0, 0.0]


@pytest.mark.parametrize("steps", [1, 0, 2.5, True, "4"])
def test_bad_numbers(steps):
    with pytest.raises(ValueError, match="must be an integer of at least 2"):
        fnn.Adam(gradient_accumulation_steps=steps)


@pytest.mark.parametrize("kind", [fnn.LBFGS, fnn.GradientDescent])
def test_optimizers_that_take_all_rows_refuse_it(kind):
    with pytest.raises(ValueError, match="has no gradient_accumulation_steps: each step takes all"):
        kind(gradient_accumulation_steps=4)


def test_setting_it_later(data):
    model = model_of(fnn.Adam(0.01))
    model.optimizer.gradient_accumulation_steps = 4
    for call in (model.train_on_batch, lambda *data: model.fit(*data, verbose=0)):
        with unchanged(model), pytest.raises(RuntimeError, match="call it again"):
            call(*data)
    model.compile(model.optimizer, "mse")
    model.train_on_batch(*data)
    model.optimizer.gradient_accumulation_steps = 2
    model.train_on_batch(*data)
    assert model.network.runtime.step == 1


def test_a_function_has_no_batches():
    with pytest.raises(ValueError, match="a function has none"):
        fnn.descent.minimize(np.square, 1.0, optimizer=fnn.SGD(0.1, gradient_accumulation_steps=2))


@pytest.mark.alone
def test_ctrl_c_while_gradients_are_added():
    """Wherever it comes, the sums belong to their count."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)

    def made():
        model = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(2)], input_shape=(3,), seed=0)
        model.compile(fnn.Adam(0.1, gradient_accumulation_steps=3), "crossentropy")
        return model

    def left(model):
        runtime = model.network.runtime
        views = [*runtime.parameters.values(), *runtime.state_views().values()]
        return runtime.step * 3 + runtime.accumulated, b"".join(view.tobytes() for view in views)

    states, twin = {}, made()
    for batch in range(11):
        states.update([left(twin)])
        if batch < 10:
            twin.train_on_batch(x[4 * batch : 4 * batch + 4], y[4 * batch : 4 * batch + 4])
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    parted, number, passed = 0, 0, 0
    try:
        while passed >= number:
            number, passed, model = number + 1, 0, made()

            def profile(frame, event, _, number=number):
                nonlocal passed
                if frame.f_code.co_filename.endswith("/gradient_accumulation.py"):
                    passed += 1
                    if passed == number:
                        signal.raise_signal(signal.SIGINT)

            sys.setprofile(profile)
            try:
                model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
            except KeyboardInterrupt:
                sys.setprofile(None)
                made_batches, content = left(model)
                assert states[made_batches] == content, f"at event {number}"
                parted += 0 < made_batches < 10
            finally:
                sys.setprofile(None)
    finally:
        signal.signal(signal.SIGINT, former)
    assert parted > 100
