"""Ctrl-C at any place, once or twice: no thread stays, and the model can be used and trained on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from interruptions import Interruption, readers

import fastnn as fnn

# KeyboardInterrupt within a finalizer is printed and ignored by Python.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)), RNG.integers(0, 2, 24)


def made():
    model = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile("adam", "crossentropy", metrics=["accuracy"])
    return model


def forever():
    while True:
        yield X[:8], Y[:8]


CALLS = {
    "generator": lambda model: model.fit(forever(), steps_per_epoch=2, epochs=2, verbose=0),
    "arrays": lambda model: model.fit(
        X, Y, batch_size=8, epochs=2, verbose=0, validation_split=0.25,
        callbacks=[fnn.EarlyStopping(patience=1, restore_best_weights=True)],
    ),
    "average": lambda model: model.fit(
        X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[fnn.SwapEMAWeights()],
    ),
    "evaluate": lambda model: model.evaluate([(X, Y)] * 2),
    "predict": lambda model: model.predict(iter([X] * 2)),
    "own loop": lambda model: (
        model.forward(X, training=True), model.backward(np.ones((24, 2))), model.apply_gradients(),
    ),
}  # fmt: skip


def ready(kind):
    model = made()
    if kind == "average":
        model.compile(fnn.Adam(use_ema=True), "crossentropy")
    return model


def places(kind):
    CALLS[kind](ready(kind))
    model = ready(kind)
    with Interruption() as counted:
        CALLS[kind](model)
    return counted.places


def check(kind, at, second=None):
    """Interrupt a call; return whether that ended it."""
    model = ready(kind)
    interruption = Interruption(at, second)
    try:
        with interruption:
            CALLS[kind](model)
        has_ended = False
    except KeyboardInterrupt:
        has_ended = True
    where = interruption.where
    limit = time.monotonic() + 10
    while readers() and time.monotonic() < limit:
        time.sleep(0.001)
    assert not readers(), where
    assert not model.network.is_fitting, where
    if kind == "average":  # the average is not left in the parameters' place
        model.compile("adam", "crossentropy")
    assert all(bool(np.isfinite(weight).all()) for weight in model.get_weights()), where
    model.fit(X, Y, verbose=0)
    model.predict(X)
    return has_ended


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("second", [None, 2], ids=["once", "twice"])
def test_a_sample_of_places(kind, second):
    count = places(kind)
    tried = np.unique(np.linspace(1, count, 12).astype(int))
    assert sum(check(kind, int(at), second) for at in tried) >= 0.7 * len(tried)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("second", [None, 1, 3, 8])
def test_many_places(kind, second):
    for at in range(1 + (second or 0), places(kind) + 1, 9):
        check(kind, at, second)


def test_a_thread_ends_whose_start_was_interrupted(monkeypatch):
    start, model = threading.Thread.start, made()

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(forever(), steps_per_epoch=2, verbose=0)
    monkeypatch.undo()
    limit = time.monotonic() + 10
    while readers() and time.monotonic() < limit:
        time.sleep(0.001)
    assert not readers()


RANDOM_DELAYS = """
import os, random, signal, sys, threading, time
import numpy as np
import fastnn as fnn

signal.signal(signal.SIGINT, signal.default_int_handler)
x, y = np.zeros((64, 5), np.float32), np.zeros(64, int)

def forever():
    while True:
        yield x, y

model = fnn.Sequential([fnn.Dense(2)], input_shape=(5,), seed=0)
model.compile("sgd", "crossentropy")
delays, ended = random.Random(0), 0
for _ in range(int(sys.argv[1])):
    is_over = threading.Event()
    def send(delay):  # again if it is not heard: Python drops what comes in a weakref's callback
        while not is_over.wait(delay):
            os.kill(os.getpid(), signal.SIGINT)
            delay = 2
    sender = threading.Thread(target=send, args=(delays.uniform(0, 0.006),))
    try:
        sender.start()
        while True:  # most of the time is spent at the beginning and the end of a call
            model.fit(forever(), steps_per_epoch=2, verbose=0)
    except KeyboardInterrupt:
        ended += 1
    is_over.set()
    sender.join()
time.sleep(0.2)
print(ended, threading.active_count(), len(os.listdir("/proc/self/task")) if os.path.exists(
    "/proc/self/task") else 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_no_thread_stays_after_fits_that_were_interrupted_at_random(count, tmp_path):
    found = subprocess.run(
        [sys.executable, "-P", "-c", RANDOM_DELAYS, str(count)], cwd=tmp_path, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    ended, alive, tasks = map(int, found.stdout.split())
    assert (ended, alive) == (count, 1)
    assert tasks <= 3  # other libraries may have a few of their own
