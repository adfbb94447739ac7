"""Uses of a network that begin and end at the same moment, in threads that run at once.

On an interpreter with a GIL they take turns between two instructions of Python, and quickly here;
without one (free-threaded CPython) they meet within compiled code too.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn as fnn
from fastnn.runtime.turns import Turns

SECONDS = 60  # after which a test gives up waiting
IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture
def busy_interpreter():
    """Threads are switched often, so that they meet."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(*functions):
    """Call functions in a thread each, beginning together; return what they return or raise."""
    start = threading.Barrier(len(functions))

    def call(function):
        start.wait(SECONDS)
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as threads:
        return [one.result(SECONDS) for one in [threads.submit(call, f) for f in functions]]


@pytest.mark.skipif(not IS_FREE_THREADED, reason="needs a free-threaded CPython")
def test_the_import_leaves_the_gil_disabled():
    code = "import sys, fastnn, fastnn.estimators, fastnn.tabular; assert not sys._is_gil_enabled()"
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], check=True, timeout=SECONDS)


def test_each_use_takes_itself_off_the_list(busy_interpreter):
    turns = Turns()

    def look():
        for _ in range(3000):
            with turns.look():
                pass

    assert at_once(look, look, look) == [None] * 3
    assert (turns.changes, turns.looks, turns.waiting) == ([], [], [])


def test_changes_exclude_each_other_and_looks(busy_interpreter):
    turns, inside, mixed = Turns(), [], []

    def change():
        for _ in range(300):
            with turns.change("step"):
                inside.append("change")
                if len(inside) != 1:
                    mixed.append(tuple(inside))
                inside.pop()

    def look():
        for _ in range(300):
            with turns.look():
                if "change" in inside:
                    mixed.append("look")

    assert at_once(change, change, look) == [None] * 3
    assert not mixed
    assert (turns.changes, turns.looks, turns.waiting) == ([], [], [])


def test_of_two_trainings_that_begin_at_once_only_one_is_refused(busy_interpreter):
    """Each may see the other on the list; the first on it begins."""
    rounds, turns, outcomes, places = 300, Turns(), [[], []], [0, 0]

    def meet(number, place):
        places[number] = place
        while places[1 - number] < place:
            time.sleep(0)  # anything that sleeps would let one of them begin first

    def own(number):
        for i in range(rounds):
            meet(number, 2 * i + 1)
            owned = turns.owned("fit")
            try:
                owned.__enter__()
            except RuntimeError:
                outcomes[number].append(False)
            else:
                outcomes[number].append(True)
            meet(number, 2 * i + 2)
            if outcomes[number][-1]:
                owned.__exit__(None, None, None)

    assert at_once(lambda: own(0), lambda: own(1)) == [None, None]
    assert [sum(pair) for pair in zip(*outcomes, strict=True)] == [1] * rounds
    assert turns.changes == []


def test_models_in_threads_of_their_own_learn_what_they_learn_alone(rng):
    x = rng.normal(size=(256, 8)).astype("float32")
    y = np.tanh(x.sum(axis=1))

    def trained(seed):
        model = fnn.Sequential([fnn.Dense(16, "tanh"), fnn.Dense(1)], input_shape=(8,), seed=seed)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=5, verbose=0)
        for i in range(100):
            model.learn_one(x[i], y[i])
            model.train_on_batch(x[:32], y[:32])
        return model.predict(x).tobytes() + model.predict_one(x[0]).tobytes()

    alone = [trained(seed) for seed in range(4)]
    assert at_once(*[lambda seed=seed: trained(seed) for seed in range(4)]) == alone


def test_one_model_predicts_in_several_threads_what_it_predicts_alone(rng, busy_interpreter):
    """Also the first time, when its programs are made."""
    x = rng.normal(size=(300, 8)).astype("float32")
    model, twin = (
        fnn.Sequential([fnn.Dense(16, "tanh"), fnn.Dense(2)], input_shape=(8,), seed=0)
        for _ in range(2)
    )
    expected = twin.predict(x)

    def differences():
        found = 0
        for i in range(100):
            rows = 1 + 7 * i % 300
            found += not np.array_equal(model.predict(x[:rows]), expected[:rows])
            found += not np.array_equal(model.predict_one(x[i]), expected[i])
        return found

    assert at_once(*[differences] * 4) == [0] * 4
    assert model.network.turns.looks == []


def test_a_model_learns_and_predicts_in_several_threads(rng, busy_interpreter):
    """Steps, trainings that others are refused, looks, copies: all numbers stay finite."""
    x = rng.normal(size=(128, 8)).astype("float32")
    y = np.tanh(x.sum(axis=1))
    model = fnn.Sequential([fnn.Dense(16, "tanh"), fnn.Dense(1)], input_shape=(8,), seed=0)
    model.compile("sgd", "mse")
    fits = []

    def unless_refused(function, *arguments, **options):
        try:
            function(*arguments, **options)
        except RuntimeError as error:
            if "cannot change this model while thread" not in str(error):
                raise
            return False
        return True

    def fit():
        for _ in range(20):
            fits.append(unless_refused(model.fit, x, y, epochs=2, verbose=0))
        return True

    def learn():
        for i in range(100):
            unless_refused(model.learn_one, x[i], y[i])
            unless_refused(model.train_on_batch, x[: 1 + i], y[: 1 + i])
        return True

    def look():
        for i in range(60):
            assert np.isfinite(model.predict(x[: 1 + i])).all()
            assert np.isfinite(model.predict_one(x[i])).all()
            assert np.isfinite(model.evaluate(x, y)["loss"])
            assert all(np.isfinite(array).all() for array in model.get_weights())
        return True

    assert at_once(fit, fit, learn, look, look) == [True] * 5
    assert any(fits)
    assert (model.network.turns.changes, model.network.turns.looks) == ([], [])
