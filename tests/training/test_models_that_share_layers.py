"""Models that share layers, each in a thread: a change of one is a change of the others."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import os
import pickle
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from interrupted_turns import USES, check_interrupted_use

import fastnn as fnn
from fastnn.runtime.turns import Turns

SECONDS = 20  # after which a test gives up waiting
LOOKS = 40


class Mirrored:
    """Two models that share two layers, which always learn the same.

    What one of them gives is therefore equal at each step's end, and only there.
    """

    def __init__(self, rng):
        inputs = fnn.Input((64,))
        halves = [fnn.Dense(256, "relu", name=name)(inputs) for name in ("left", "right")]
        self.trained = fnn.Model(
            inputs, [fnn.Dense(1, name=f"{i}")(half) for i, half in enumerate(halves)]
        )
        self.other = fnn.Model(inputs, halves)
        weights = dict(zip(self.trained.parameters, self.trained.get_weights(), strict=True))
        for of_left, of_right in (("left", "right"), ("0", "1")):
            for name in ("kernel", "bias"):
                weights[f"{of_right}/{name}"] = weights[f"{of_left}/{name}"]
        self.trained.set_weights(list(weights.values()))
        for model in (self.trained, self.other):
            model.compile("sgd", "mse")
        self.x = rng.normal(size=(2000, 64)).astype("float32")
        self.y = self.x.sum(axis=1)

    def fit(self, until):
        """Train the one until an event is set."""
        self.trained.fit(
            self.x, [self.y, self.y], epochs=10**6, batch_size=100, verbose=0,
            callbacks=[Ends(until)],
        )  # fmt: skip

    def are_torn(self, pair):
        return not np.array_equal(*pair)

    def predicted(self):
        return self.other.predict(self.x[:600])

    def weights(self):
        return self._pair(self.other.get_weights())

    def copied(self):
        return self._pair(copy.deepcopy(self.other).get_weights())

    def pickled(self):
        return self._pair(pickle.loads(pickle.dumps(self.other)).get_weights())

    def saved(self):
        file = io.BytesIO()
        self.other.save(file)
        file.seek(0)
        return self._pair(fnn.load(file).get_weights())

    def gradients(self):
        found = self.other.gradients_of(self.x[:256], wrt="parameters")
        return found["left/kernel"], found["right/kernel"]

    def updated(self):
        """A third model takes over the parameters of the other one."""
        target = fnn.clone_model(self.other)
        fnn.soft_update(target, self.other, 1.0)
        return self._pair(target.get_weights())

    def cloned(self):
        return self._pair(self.other.network.clone().get_weights())

    @staticmethod
    def _pair(weights):
        half = len(weights) // 2
        return [
            np.concatenate([array.ravel() for array in side])
            for side in (weights[:half], weights[half:])
        ]


class Ends(fnn.callbacks.Callback):
    """Ends a training after an epoch, when an event is set; tells when it has begun."""

    def __init__(self, until, begun=None):
        self.until, self.begun = until, begun or threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        self.begun.set()
        self.model.stop_training = self.until.is_set()


class Pause(fnn.callbacks.Callback):
    """Tells that training has begun, and lets it wait at the end of an epoch."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        self.begun.set()
        assert self.go_on.wait(SECONDS)


@contextlib.contextmanager
def trained_elsewhere(model, x, y):
    """A thread is in `fit` of a model, between two epochs."""
    pause, errors = Pause(), []

    def work():
        try:
            model.fit(x, y, epochs=3, callbacks=[pause], verbose=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(name="other", daemon=True, target=work)
    thread.start()
    assert pause.begun.wait(SECONDS)
    try:
        yield
    finally:
        pause.go_on.set()
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert not errors


@pytest.fixture
def x(rng):
    return rng.normal(size=(64, 4)).astype("float32")


def pair(*, trainable=True, compiled=True):
    """Two models over the same layer, with a head each."""
    base = fnn.Dense(8, "tanh", name="base", trainable=trainable)
    models = [fnn.Sequential([base, fnn.Dense(1)], input_shape=(4,), name=n, seed=0) for n in "ab"]
    for model in models if compiled else ():
        model.compile("adam", "mse")
    return models


LOOKING = ["predicted", "weights", "copied", "pickled", "saved", "gradients", "updated", "cloned"]


@pytest.mark.parametrize("how", LOOKING)
def test_a_look_at_a_model_sees_the_end_of_a_step_of_another(how, rng):
    mirrored, until = Mirrored(rng), threading.Event()
    torn, looks, errors = 0, 0, []

    def train():
        try:
            mirrored.fit(until)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    end = time.monotonic() + 1.0
    while thread.is_alive() and (looks < 3 or (looks < LOOKS and time.monotonic() < end)):
        torn += mirrored.are_torn(getattr(mirrored, how)())
        looks += 1
    until.set()
    thread.join(SECONDS)
    assert not errors
    assert torn == 0, f"{torn} of {looks}"


CHANGES = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "learn_one": lambda model, x, y: model.learn_one(x[0], y[0]),
    "set_weights": lambda model, x, y: model.set_weights(model.get_weights()),
    "apply_gradients": lambda model, x, y: model.apply_gradients(),
    "forward": lambda model, x, y: model.forward(x, training=True),
    "soft_update": lambda model, x, y: fnn.soft_update(model, copy.deepcopy(model), 0.5),
}


@pytest.mark.parametrize("method", CHANGES)
def test_two_trainings_of_the_same_layer_raise_an_error_that_names_both(method, x):
    model, other = pair()
    twin, _ = pair()
    y = x.sum(axis=1)
    for one in (model, twin):
        for _ in range(2):  # also where a program for single steps has been prepared
            one.train_on_batch(x, y)
            one.learn_one(x[0], y[0])
        one.gradients["base/kernel"][...] = 1
    twin_of_other = [layer.get_weights() for layer in other.layers]
    message = (
        f"^{method} cannot change model 'a' while thread 'other' is in fit of model 'b', which "
        "shares 'base/kernel': wait for it, or take a copy .*, or freeze what is shared"
    )
    with trained_elsewhere(other, x, y), pytest.raises(RuntimeError, match=message):
        CHANGES[method](model, x, y)
    assert not np.array_equal(other.layers[0].get_weights()[0], twin_of_other[0][0])
    for got, want in zip(model.layers[1].get_weights(), twin.layers[1].get_weights(), strict=True):
        assert np.array_equal(got, want)  # nothing has changed
    CHANGES[method](model, x, y)  # it is free again


def test_what_changes_nothing_that_is_shared_is_in_nobodys_way(x, tmp_path):
    model, other = pair()
    y = x.sum(axis=1)
    with trained_elsewhere(other, x, y):
        model.predict(x)
        model.predict_one(x[0])
        model.evaluate(x, y)
        model.save(tmp_path / "model.fnn")
        model.compile("sgd", "mse")
        model.add(fnn.Dense(1))
        model.pop()
        third = fnn.Sequential([*other.layers, fnn.Dense(2)], input_shape=(4,))
        third.compile("sgd", "mse", frozen=list(other.layers))
        third.train_on_batch(x, np.zeros((64, 2)))
        copied = copy.deepcopy(model)
        copied.compile("sgd", "mse")
        copied.fit(x, y, verbose=0)


@pytest.mark.parametrize("frozen", ["layer", "model"])
def test_heads_on_a_frozen_base_are_trained_at_the_same_time(frozen, x):
    """Neither waits for the other, although one of them is within a step."""
    model, other = pair(trainable=frozen != "layer")
    for one in (model, other) if frozen == "model" else ():
        one.compile("adam", "mse", frozen=[one.layers[0]])
    y, twin = x.sum(axis=1), copy.deepcopy(model)
    done = []

    def work():
        model.fit(x, y, epochs=3, verbose=0)
        done.append(model.predict(x))

    with other.network.turns.owned("fit"), other.network.turns.change("fit"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(SECONDS)
    assert done
    twin.fit(x, y, epochs=3, verbose=0)
    assert np.array_equal(done[0], twin.predict(x))


def test_what_one_trains_and_the_other_only_reads_takes_turns(x):
    """A discriminator, and a generator in front of it, in two threads."""
    discriminator = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(1)], input_shape=(4,), seed=0)
    discriminator.compile("adam", "mse")
    both = fnn.Sequential([fnn.Dense(4), discriminator], input_shape=(4,), seed=1)
    both.compile("adam", "mse", frozen=[discriminator])
    y = x.sum(axis=1)
    with trained_elsewhere(both, x, y):
        discriminator.fit(x, y, epochs=2, verbose=0)
    waits = []

    def work():
        discriminator.train_on_batch(x, y)
        waits.append(True)

    with both.network.turns.change("fit"):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        assert not waits
    thread.join(SECONDS)
    assert waits


def test_one_thread_may_train_models_that_share_layers_in_turn(x):
    model, other = pair()
    y, ones = x.sum(axis=1), []

    class TrainsTheOther(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ones.append(other.train_on_batch(x, y))
            ones.append(other.learn_one(x[0], y[0]))
            other.fit(x, y, verbose=0)

        on_train_batch_end = on_epoch_end

    for _ in range(3):
        model.train_on_batch(x, y)
        other.train_on_batch(x, y)
    model.fit(x, y, epochs=2, callbacks=[TrainsTheOther()], verbose=0)
    assert len(ones) == 2 * 2 + 2 * 4
    assert all(np.isfinite(ones))
    for one in (model, other):
        assert not one.network.turns.changes
        assert not one.network.turns.looks


def test_a_model_that_is_built_while_its_layers_are_trained_is_told(x):
    model, _ = pair()
    y = x.sum(axis=1)
    with trained_elsewhere(model, x, y):
        later = fnn.Sequential([model.layers[0], fnn.Dense(1)], name="later")  # built by fit
        later.compile("adam", "mse")
        with pytest.raises(RuntimeError, match="fit cannot change model 'later' while thread"):
            later.fit(x, y, verbose=0)
        assert not later.built
    later.fit(x, y, verbose=0)


def test_threads_that_use_a_chain_of_models_never_wait_in_a_circle(rng):
    """A shares a layer with B, and B another one with C."""
    layers = [fnn.Dense(4, "tanh") for _ in range(4)]
    models = [
        fnn.Sequential([*part, fnn.Dense(1)], input_shape=(4,), seed=0)
        for part in (layers[:2], layers[1:3], layers[2:])
    ]
    for model in models:
        model.compile("sgd", "mse")
    targets = [copy.deepcopy(model) for model in models]
    x, y = rng.normal(size=(32, 4)), rng.normal(size=32)
    errors, counts = [], []
    end = time.monotonic() + 1.5

    class UsesAll(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for model in models:
                model.predict(x)

    def work(seed):
        own, count = np.random.default_rng(seed), 0
        try:
            while time.monotonic() < end:
                first, second = own.choice(3, 2, replace=False)
                model, other = models[first], models[second]
                match own.integers(6):
                    case 0:
                        model.train_on_batch(x, y)
                    case 1:
                        model.predict(x)
                    case 2:
                        model.save_weights(io.BytesIO())
                    case 3:
                        fnn.soft_update(targets[first], model, 0.5)
                        fnn.soft_update(model, targets[first], 0.5)
                    case 4:
                        with contextlib.suppress(RuntimeError):
                            model.fit(x, y, callbacks=[UsesAll()], verbose=0)
                    case 5:
                        with contextlib.suppress(RuntimeError):
                            other.set_weights(other.get_weights())
                count += 1
        except RuntimeError as error:
            if "is in fit" not in str(error):
                errors.append(error)
        except BaseException as error:
            errors.append(error)
        counts.append(count)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    workers = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(4)]
    try:
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in workers)
    assert not errors
    assert all(counts)
    for model in models:
        turns = model.network.turns
        assert (turns.changes, turns.looks, turns.waiting) == ([], [], [])


def test_soft_updates_in_both_directions_do_not_wait_for_each_other(x):
    model, other = (copy.deepcopy(pair()[0]) for _ in range(2))
    counts = []

    def work(target, source):
        for _ in range(300):
            fnn.soft_update(target, source, 0.5)
        counts.append(True)

    pairs = (model, other), (other, model)
    workers = [threading.Thread(target=work, args=one, daemon=True) for one in pairs]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(SECONDS)
    assert len(counts) == 2


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_layer_of_its_own_is_looked_at_and_set_in_turns(is_shared, x):
    model, other = pair() if is_shared else pair()[:1] * 2
    layer, seen = model.layers[0], []

    def look():
        seen.append(layer.get_weights())

    with other.network.turns.change("fit"):
        thread = threading.Thread(target=look)
        thread.start()
        time.sleep(0.05)
        assert not seen
    thread.join(SECONDS)
    assert seen
    with trained_elsewhere(other, x, x.sum(axis=1)):
        look()
        with pytest.raises(RuntimeError, match=r"set_weights cannot change .* is in fit"):
            layer.set_weights(seen[0])
    layer.set_weights(seen[0])
    assert np.array_equal(other.layers[0].get_weights()[0], seen[0][0])


# --- who is a relative ----------------------------------------------------------------------------


def test_only_models_that_share_parameters_are_relatives(x):
    base = fnn.Sequential([fnn.Dense(4), fnn.Dense(3)], input_shape=(4,))
    assert base.network.turns.relatives == []
    first = fnn.Sequential([base.layers[0], fnn.Dense(2)], input_shape=(4,))
    second = fnn.Sequential([base.layers[1], fnn.Dense(2)], input_shape=(4,))
    clone = fnn.clone_model(base)

    def related(model):
        return {turns().number for turns in model.network.turns.relatives}

    numbers = [model.network.turns.number for model in (base, first, second)]
    assert related(base) == set(numbers[1:])
    assert related(first) == related(second) == {numbers[0]}
    assert related(clone) == related(copy.deepcopy(first)) == set()
    assert base.network.clone().turns.relatives == []
    first.pop()
    first.add(fnn.Dense(5))
    assert related(base) == set(numbers[1:])
    del second
    gc.collect()
    assert related(base) == {numbers[1]}
    gone = weakref.ref(first.network)
    del first
    gc.collect()
    assert gone() is None
    assert base.network.turns.relatives == []


def test_a_layer_that_is_frozen_later_is_in_nobodys_way(x):
    model, other = pair()
    y = x.sum(axis=1)
    refused = pytest.raises(RuntimeError, match="shares 'base/kernel'")
    with trained_elsewhere(other, x, y), refused:
        model.fit(x, y, verbose=0)
    model.layers[0].trainable = False
    with trained_elsewhere(other, x, y):
        model.fit(x, y, verbose=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_the_models_for_itself(x):
    model, other = pair()
    y = x.sum(axis=1)
    with trained_elsewhere(other, x, y):
        child = os.fork()
        if child == 0:
            try:
                model.fit(x, y, verbose=0)
                os._exit(0)
            finally:
                os._exit(1)
        end = time.monotonic() + SECONDS
        while not (found := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(child, 9)
                os.waitpid(child, 0)
                raise AssertionError("the child hangs")
            time.sleep(0.01)
    assert os.waitstatus_to_exitcode(found[1]) == 0


@pytest.mark.parametrize("name", USES)
def test_ctrl_c_on_any_line_leaves_nobody_in_the_way_of_relatives(name):
    def related():
        turns, other = Turns("a"), Turns("b")
        turns.parameters = turns.learned = other.parameters = other.learned = {1: "base/kernel"}
        turns.relate(other)
        return turns, other

    assert check_interrupted_use(name, related) > 9
