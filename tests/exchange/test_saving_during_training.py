"""A model that is saved, or copied, while another thread trains it is the model of one step."""

from __future__ import annotations

import copy
import io
import threading

import numpy as np
import pytest

import fastnn as fnn

STEPS = 36


def made(accumulates, has_statistics):
    norm = [fnn.BatchNormalization()] if has_statistics else []
    layers = [fnn.Dense(256, "relu"), *norm, fnn.Dense(256), fnn.Dense(1)]
    model = fnn.Sequential(layers, input_shape=(64,), seed=0)
    model.compile(fnn.Adam(1e-3, gradient_accumulation_steps=accumulates), "mse")
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32 * STEPS, 64)), rng.normal(size=(32 * STEPS, 1))


def fit(model, x, y):
    model.fit(x, y, batch_size=32, epochs=1, shuffle=False, verbose=0)


def single_batches(model, x, y):
    for first in range(0, len(x), 32):
        model.train_on_batch(x[first : first + 32], y[first : first + 32])


def by_hand(model, x, y):
    for first in range(0, len(x), 32):
        output = model.forward(x[first : first + 32], training=True)
        model.backward((output - y[first : first + 32]) / 16)
        model.apply_gradients()


def saved(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return fnn.load(file)


def state(model):
    """Return all that a step changes, and the number of steps."""
    runtime = model.network.runtime
    arrays = [*runtime.parameters.values(), *runtime.state_views().values()]
    return (
        runtime.step * 100 + runtime.accumulated, b"".join(one.tobytes() for one in arrays)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("train", "accumulates", "take"),
    [
        (fit, None, saved), (single_batches, None, saved), (by_hand, 3, saved),
        (fit, None, copy.deepcopy),
        pytest.param(fit, 3, saved, marks=pytest.mark.slow),
        pytest.param(single_batches, 3, saved, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_what_is_saved_is_the_model_of_one_step(train, accumulates, take):
    x, y = data()
    has_statistics = train is not by_hand  # forward moves them before the step is counted
    model, alone = made(accumulates, has_statistics), made(accumulates, has_statistics)
    found, errors = [state(model)], []
    is_begun, is_done = threading.Event(), threading.Event()

    def trained():
        try:
            is_begun.set()
            train(model, x, y)
        except BaseException as error:
            errors.append(error)
        finally:
            is_done.set()

    thread = threading.Thread(target=trained)
    thread.start()
    is_begun.wait()
    while not is_done.is_set() and len(found) < 20:
        found.append(state(take(model)))
    thread.join()
    assert not errors
    wanted = dict(found)
    for first in range(0, len(x), 32):
        now = state(alone)
        assert wanted.pop(now[0], now[1]) == now[1], f"step {now[0]}"
        train(alone, x[first : first + 32], y[first : first + 32])
    last = state(alone)
    assert wanted.pop(last[0], last[1]) == last[1]
    assert not wanted


def test_a_save_during_lbfgs_is_an_iterate():
    x, y = (part[:256] for part in data())

    def model():
        made = fnn.Sequential([fnn.Dense(32, "tanh"), fnn.Dense(1)], input_shape=(64,), seed=0)
        made.compile(fnn.LBFGS(), "mse")
        return made

    iterates, found, is_done = {}, [], threading.Event()
    record = fnn.LambdaCallback(
        on_epoch_end=lambda epoch, logs: iterates.update([state(alone)])
    )  # fmt: skip
    alone, trained = model(), model()
    iterates.update([state(alone)])
    alone.fit(x, y, epochs=6, verbose=0, callbacks=[record])
    thread = threading.Thread(
        target=lambda: (trained.fit(x, y, epochs=6, verbose=0), is_done.set())
    )
    thread.start()
    while not is_done.is_set():
        found.append(state(saved(trained)))
    thread.join()
    for number, content in found:
        assert iterates[number] == content
