"""One model in several threads: who changes it has it alone, and who looks at it waits."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import sys
import threading
import time

import numpy as np
import pytest
from interrupted_turns import USES, check_interrupted_use

import fastnn as fnn
from fastnn.core import threads as thread_limits
from fastnn.runtime.turns import Turns

SECONDS = 20  # after which a test gives up waiting


class Pause(fnn.callbacks.Callback):
    """Tells that training has begun, and lets it wait at the end of an epoch."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        self.begun.set()
        assert self.go_on.wait(SECONDS)


def compiled(**options):
    model = fnn.Sequential(
        [fnn.Dense(16, "tanh"), fnn.Dense(1)], input_shape=(4,), seed=0, **options
    )
    model.compile("adam", "mse")
    return model


@pytest.fixture
def data(rng):
    x = rng.normal(size=(256, 4)).astype("float32")
    return x, x.sum(axis=1)


@contextlib.contextmanager
def trained_elsewhere(model, data, **options):
    """A thread is in `fit` of a model, between two epochs."""
    pause = Pause()
    thread = threading.Thread(
        name="other", daemon=True,
        target=lambda: model.fit(*data, epochs=3, callbacks=[pause], verbose=0, **options),
    )  # fmt: skip
    thread.start()
    assert pause.begun.wait(SECONDS)
    try:
        yield
    finally:
        pause.go_on.set()
        thread.join(SECONDS)
        assert not thread.is_alive()


CHANGES = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "learn_one": lambda model, x, y: model.learn_one(x[0], y[0]),
    "compile": lambda model, x, y: model.compile("sgd", "mse"),
    "set_weights": lambda model, x, y: model.set_weights(model.get_weights()),
    "add": lambda model, x, y: model.add(fnn.Dense(1)),
    "backward": lambda model, x, y: model.backward(y[:, None]),
    "apply_gradients": lambda model, x, y: model.apply_gradients(),
}


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_model_that_is_trained_belongs_to_its_thread(method, is_prepared, data):
    """Also where a program for single steps has been prepared before."""
    model, alone = compiled(), compiled()
    for one in (model, alone):
        if is_prepared:
            one.forward(data[0], training=True)
            for _ in range(2):
                one.train_on_batch(*data)
                one.learn_one(data[0][0], data[1][0])
    alone.fit(*data, epochs=3, verbose=0)
    message = f"^{method} cannot change this model while thread 'other' is in fit: wait for it, or"
    with trained_elsewhere(model, data), pytest.raises(RuntimeError, match=message):
        CHANGES[method](model, *data)
    for got, want in zip(model.get_weights(), alone.get_weights(), strict=True):
        assert np.array_equal(got, want)
    if method not in ("add", "backward"):
        CHANGES[method](model, *data)  # it is free again


def test_load_weights_and_pop_of_a_model_that_is_trained(data, tmp_path):
    model = compiled()
    model.save_weights(tmp_path / "weights.safetensors")
    with trained_elsewhere(model, data):
        with pytest.raises(RuntimeError, match=r"^load_weights cannot change this model"):
            model.load_weights(tmp_path / "weights.safetensors")
        with pytest.raises(RuntimeError, match=r"^pop cannot change this model"):
            model.pop()


def test_others_may_look_while_a_model_is_trained(data, tmp_path):
    x, y = data
    model = compiled()
    model.predict_one(x[0]), model.predict_one(x[0]), model.predict(x[:3])
    with trained_elsewhere(model, data):
        weights = model.get_weights()
        assert model.predict(x).tobytes() == model.predict(x).tobytes()
        assert model.predict_one(x[0]).tobytes() == model.predict(x[:1])[0].tobytes()
        model.evaluate(x, y)
        model.save(tmp_path / "model.fnn")
        found = fnn.load(tmp_path / "model.fnn").get_weights()
        assert all(np.array_equal(*pair) for pair in zip(weights, found, strict=True))
        copied = fnn.clone_model(model)
        copied.compile("sgd", "mse")
        copied.fit(x, y, verbose=0)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_callback_may_use_the_model(optimizer, data):
    x, y = data
    seen = []

    class Uses(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model = self.model
            seen.append(model.predict(x).tobytes() == model.predict(x).tobytes())
            model.set_weights(model.get_weights())
            if optimizer == "adam":
                model.train_on_batch(x, y)
                model.fit(x, y, verbose=0)

    model = compiled()
    model.compile(optimizer, "mse")
    model.fit(x, y, epochs=2, callbacks=[Uses()], verbose=0)
    assert seen == [True, True]


def test_an_error_frees_the_model(data):
    class Fails(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    model = compiled()
    failed = []

    def work():
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(*data, callbacks=[Fails()], verbose=0)
        with contextlib.suppress(ValueError):
            model.fit(data[0], data[1][:3], verbose=0)
        failed.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(SECONDS)
    assert failed
    model.fit(*data, verbose=0)
    assert not model.network.turns.changes
    assert not model.network.turns.looks
    assert not thread_limits._busy


def test_a_look_sees_the_end_of_a_step(rng):
    """Two halves of the model always learn the same, so that its output is 0 at each step's end."""
    inputs = fnn.Input((64,))
    halves = [fnn.Dense(256, "relu", name=name)(inputs) for name in ("left", "right")]
    ends = [fnn.Dense(1, name=f"end_{i}")(half) for i, half in enumerate(halves)]
    model = fnn.Model(inputs, ends)
    model.compile("sgd", "mse")
    names = list(model.parameters)
    sides = [[i for i, name in enumerate(names) if name.split("/")[0] in side]
             for side in (("left", "end_0"), ("right", "end_1"))]  # fmt: skip
    weights = model.get_weights()
    for left, right in zip(*sides, strict=True):
        weights[right] = weights[left]
    model.set_weights(weights)
    x = rng.normal(size=(2000, 64)).astype("float32")
    y = x.sum(axis=1)
    begun, seen, pairs, errors = threading.Event(), threading.Event(), [], []

    class Begun(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            begun.set()
            self.model.stop_training = seen.is_set()

    def train():
        try:
            model.fit(x, [y, y], epochs=10**6, batch_size=100, callbacks=[Begun()], verbose=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    assert begun.wait(SECONDS)
    while thread.is_alive() and len(pairs) < 60:
        pairs.append(model.predict(x))
        weights = [array.ravel() for array in model.get_weights()]
        pairs.append([np.concatenate([weights[i] for i in side]) for side in sides])
    seen.set()
    thread.join()
    assert not errors
    torn = sum(not np.array_equal(*pair) for pair in pairs)
    assert torn == 0, f"{torn} of {len(pairs)}"


def test_a_look_does_not_wait_for_the_end_of_the_training(data):
    """However quickly the training returns for its next steps."""
    model = fnn.Sequential([fnn.Dense(256, "relu"), fnn.Dense(1)], input_shape=(4,), seed=0)
    model.compile("adam", "mse")
    end, looks = threading.Event(), 0

    class Ends(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if end.is_set():
                self.model.stop_training = True

    thread = threading.Thread(
        target=lambda: model.fit(*data, epochs=10**6, callbacks=[Ends()], verbose=0)
    )
    thread.start()
    began = time.monotonic()
    try:
        while looks < 20 and time.monotonic() - began < SECONDS:
            model.evaluate(*data)
            looks += 1
    finally:
        end.set()
        thread.join(SECONDS)
    assert looks == 20


def test_single_steps_from_several_threads_wait_for_each_other(data):
    x, y = data
    model = compiled()

    def work():
        for i in range(100):
            model.train_on_batch(x[: 16 + i], y[: 16 + i])
            model.learn_one(x[i], y[i])
            model.predict(x)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert model.iterations == 600
    assert not model.network.turns.changes
    assert not model.network.turns.looks


@pytest.mark.parametrize("method", ["train_on_batch", "learn_one"])
def test_an_error_tells_of_the_step_of_its_own_thread(method, rng):
    """Others make good steps meanwhile, which are neither refused nor taken back."""
    model = fnn.Sequential([fnn.Dense(64, "tanh"), fnn.Dense(1)], input_shape=(4,), seed=0)
    model.compile(fnn.SGD(1e-4), "mse")
    x, y = rng.normal(size=(32, 4)).astype("float32"), rng.normal(size=32).astype("float32")
    if method == "learn_one":
        x, y = x[0], y[0]
    step = getattr(model, method)
    step(x, y), step(x, y)  # a program for single steps has been prepared
    bad_y = y * 0 + np.float32(1e25)  # whose square is infinite
    good, refused, wrong, end = [], [], [], threading.Event()

    def steps_well():
        try:
            while not end.is_set():
                good.append(step(x, y))
        except BaseException as error:
            wrong.append(error)

    def steps_badly():
        for _ in range(150):
            try:
                wrong.append(step(x, bad_y))
            except fnn.NonFiniteLossError as error:
                refused.append(str(error))
            except BaseException as error:
                wrong.append(error)
        end.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    workers = [threading.Thread(target=work) for work in (steps_well, steps_well, steps_badly)]
    try:
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join(SECONDS)
    finally:
        end.set()
        sys.setswitchinterval(interval)
    assert not wrong, wrong[:3]
    assert len(refused) == 150
    assert all("the loss is inf in step" in text for text in refused)
    assert np.isfinite(good).all()
    assert model.iterations == 2 + len(good)


@pytest.mark.parametrize("method", ["train_on_batch", "learn_one"])
def test_no_step_comes_between_one_that_failed_and_its_error(method, data, monkeypatch):
    model = compiled()
    x, y = (part[0] for part in data) if method == "learn_one" else data
    step = getattr(model, method)
    step(x, y), step(x, y)
    other = threading.Thread(target=lambda: step(x, y))
    runtime = model.network.runtime
    native = runtime.parameters_change

    def changed():
        native()
        if other.ident is None:
            other.start()
            other.join(0.05)

    monkeypatch.setattr(runtime, "parameters_change", changed)
    with pytest.raises(fnn.NonFiniteLossError, match="the loss is inf in step 3"):
        step(x, y * 0 + np.float32(1e25))
    other.join(SECONDS)
    assert model.iterations == 3


def test_a_copy_has_turns_of_its_own(data):
    model = compiled()
    with trained_elsewhere(model, data):
        clone = model.network.clone()
        others = [fnn.clone_model(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    assert clone.turns is not model.network.turns
    for other in others:
        other.compile("sgd", "mse")
        other.fit(*data, verbose=0)


def test_short_changes_wait_and_an_owner_waits_for_them():
    turns, order = Turns(), []
    inside, leave = threading.Event(), threading.Event()

    def change():
        with turns.change("step"):
            inside.set()
            assert leave.wait(SECONDS)
            order.append("step")

    def own():
        with turns.owned("fit"), turns.change("fit"):
            order.append("fit")

    def look():
        with turns.look():
            order.append("look")

    workers = [threading.Thread(target=change)]
    workers[0].start()
    assert inside.wait(SECONDS)
    workers += [threading.Thread(target=own), threading.Thread(target=look)]
    for thread in workers[1:]:
        thread.start()
    time.sleep(0.05)
    assert order == []
    leave.set()
    for thread in workers:
        thread.join(SECONDS)
    assert order[0] == "step"
    assert sorted(order) == ["fit", "look", "step"]


@pytest.mark.parametrize("name", USES)
def test_ctrl_c_on_any_line_leaves_nobody_in_the_way(name):
    """Another thread has the model for itself afterwards."""

    def alone():
        turns = Turns()
        return turns, turns

    assert (
        check_interrupted_use(name, alone) > 0
    )  # most of it is compiled, where Ctrl-C is not noticed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_the_model_for_itself(data):
    model = compiled()
    model.fit(*data, verbose=0)
    with trained_elsewhere(model, data):
        child = os.fork()
        if child == 0:
            try:
                model.fit(*data, verbose=0)
                model.predict(data[0])
                os._exit(0)
            finally:
                os._exit(1)
        for _ in range(10 * SECONDS):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.1)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_training_that_others_want_to_begin_goes_on(data):
    """Who is refused is on the list for a moment, in which the owner must not be refused."""
    model, begun, errors = compiled(), threading.Event(), []

    class Ends(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            begun.set()
            self.model.stop_training = len(refused) >= 3000

    def train():
        try:
            model.fit(*data, epochs=10**6, verbose=0, callbacks=[Ends()])
        except BaseException as error:
            errors.append(error)

    refused = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=train)
    try:
        thread.start()
        assert begun.wait(SECONDS)
        while thread.is_alive() and len(refused) < 3000:
            try:
                model.network.turns.owned("fit").__enter__()
            except RuntimeError as error:
                refused.append(error)
        thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert len(refused) == 3000


def test_ctrl_c_while_others_are_woken_leaves_nobody_in_the_way(monkeypatch):
    turns = Turns()
    waits, other = threading.Event(), []

    def interrupted():
        raise KeyboardInterrupt

    def look():
        waits.set()
        with turns.look():
            other.append(True)

    thread = threading.Thread(target=look)
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch, turns.change("step")
    ):  # fmt: skip
        thread.start()
        waits.wait(SECONDS)
        while not turns.waiting:
            time.sleep(0.001)
        patch.setattr(turns, "wake", interrupted)
    thread.join(SECONDS)
    assert other
    assert not turns.changes
