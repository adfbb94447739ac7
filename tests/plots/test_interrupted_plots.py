"""Ctrl-C at any place of the pictures of a trained model: it is as it was, and can be used."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from interruptions import Interrupted, check_places

import fastnn as fnn
from fastnn import plots

pytestmark = [
    pytest.mark.alone,  # it handles signals
    # KeyboardInterrupt within a finalizer is printed and ignored by Python.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 2))
Y = (X[:, 0] > 0).astype(int)
RECORDER = fnn.Recorder()
MODEL = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(2)], input_shape=(2,), seed=0)
MODEL.compile("adam", "crossentropy", metrics=["accuracy"])
MODEL.fit(X, Y, epochs=3, verbose=0, callbacks=[RECORDER], validation_split=0.2)
WANTED = MODEL.predict(X)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def statistics():
    RECORDER._activations.clear()
    RECORDER._gradients.clear()
    return RECORDER.means, RECORDER.gradient_norms


def looks(call):
    def check(*_):
        assert np.array_equal(MODEL.predict(X), WANTED)
        MODEL.evaluate(X, Y)

    return Interrupted(lambda _: plt.close("all"), lambda _, folder: call(folder), check)


# Not `animate_decision_boundary`: matplotlib ends a movie without frames with an IndexError.
CALLS = {
    "landscape": looks(lambda _: plots.landscape(MODEL, X, Y, points=4)),
    "landscape of a path": looks(
        lambda _: plots.landscape(MODEL, X, Y, points=3, recorder=RECORDER)
    ),
    "statistics of a recorder": looks(lambda _: statistics()),
    "decision_boundary": looks(lambda _: plots.decision_boundary(MODEL, X, Y)),
    "learning_curve": looks(lambda _: plots.learning_curve(MODEL.history)),
    "graph": looks(lambda _: plots.graph(MODEL)),
}
ALWAYS = ("landscape", "statistics of a recorder")


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize(("count", "second"), [(2, None), (2, 2)], ids=["once", "twice"])
def test_some_places(name, count, second, tmp_path):
    check_places(CALLS[name], tmp_path, count, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("second", [None, 2, 5])
def test_many_places(name, second, tmp_path):
    check_places(CALLS[name], tmp_path, 60 if second is None else 20, second)


def test_a_model_is_not_changed_while_its_surroundings_are_looked_at():
    """Not for a moment, because another thread may predict."""
    others, is_over = [], threading.Event()

    def predict():
        while not is_over.is_set():
            if not np.array_equal(MODEL.predict(X), WANTED):
                others.append(1)

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        plots.landscape(MODEL, X, Y, points=9)
        statistics()
    finally:
        is_over.set()
        thread.join()
    assert not others
