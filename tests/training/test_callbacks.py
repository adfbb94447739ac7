"""Callbacks with Keras' names, and how `fit` ends. Hooks and early stopping: test_training.py."""

from __future__ import annotations

import csv
import inspect
import math
import re
import struct
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from model_helpers import is_finite, numeric_gradient_norms, weights_as_bytes

import fastnn as fnn
from fastnn.analysis import inspection
from fastnn.callbacks.base import HOOKS, asks_for_batches


def data(rows=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, np.tanh(x @ rng.normal(size=(4, 2)))


def small(optimizer="adam", metrics=(), *, dtype="float64", layers=()):
    model = fnn.Sequential(
        [fnn.Dense(6, "tanh", name="first"), *layers, fnn.Dense(2, name="last")],
        input_shape=(4,), dtype=dtype, seed=0,
    )  # fmt: skip
    model.compile(optimizer, "mse", metrics)
    return model


class Scripted(fnn.Callback):
    """Reports a scripted value for every epoch."""

    added_results = ("score",)

    def __init__(self, values, key="score"):
        self.values, self.key = values, key

    def on_epoch_end(self, epoch, logs):
        logs[self.key] = self.values[epoch]


def scripted(values, *callbacks, optimizer="adam", key="score"):
    """The history of a training whose result `key` takes these values."""
    x, y = data(8)
    return small(optimizer).fit(
        x, y, epochs=len(values), verbose=0, callbacks=[Scripted(values, key), *callbacks]
    )


REQUIRED = {  # arguments that have no default
    fnn.callbacks.CSVLogger: ("log.csv",),
    fnn.callbacks.LearningRateScheduler: (max,),
    fnn.callbacks.ModelCheckpoint: ("m",),
    fnn.callbacks.TerminateOnValue: ("loss", 0.1),
}
ALL = [getattr(fnn.callbacks, name) for name in fnn.callbacks.__all__]
BUILT_IN = [cls for cls in ALL if cls is not fnn.Callback]


def made(cls):
    """A callback with its defaults."""
    return cls(*REQUIRED.get(cls, ()))


def test_only_who_has_a_batch_hook_asks_for_batches():
    for cls in ALL:
        assert not asks_for_batches(made(cls)), cls
        assert getattr(fnn, cls.__name__) is cls
    assert asks_for_batches(fnn.LambdaCallback(on_train_batch_begin=print))
    assert asks_for_batches(fnn.LambdaCallback(on_train_batch_end=print))


def test_callbacks_change_nothing_in_training(tmp_path):
    x, y = data()
    model, twin = small(), small()
    model.gradients["last/bias"][...] = 7
    callbacks = [
        fnn.Recorder(), fnn.TerminateOnSmallGradient(1e-9), fnn.CSVLogger(tmp_path / "log.csv"),
        fnn.ModelCheckpoint(tmp_path / "m"), fnn.TerminateOnNaN(), fnn.TerminateOnValue("loss", 0),
    ]  # fmt: skip
    history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
    assert history.history == twin.fit(x, y, batch_size=8, epochs=3, verbose=0).history
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert model.network.generator.bit_generator.state == twin.network.generator.bit_generator.state


# --- early stopping: options shared with Keras ----------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {"baseline": 2.5, "patience": 3}, 3, 2),  # too late
        ([5, 4, 2, 2, 2, 2], {"baseline": 2.5, "patience": 3}, 6, 2),
        ([5, 4, 2, 2, 2, 2, 2], {"baseline": 2.5, "patience": 3}, 6, 2),
        ([1, 2, 3, 4], {"baseline": 3.5, "patience": 4, "mode": "max"}, 4, 3),
        ([1, 2, 3, 4, 4], {"baseline": 9, "patience": 2, "mode": "max"}, 2, 1),
        ([1, 5, 4, 6, 3], {"start_from_epoch": 2, "patience": 1}, 4, 2),
        ([1, 5], {"start_from_epoch": 2}, 2, -1),
    ],
)
def test_early_stopping(values, options, epochs, best):
    stopping = fnn.EarlyStopping("score", **{"mode": "min", **options})
    history = scripted(values, stopping)
    assert (len(history.epoch), stopping.best_epoch) == (epochs, best)
    if len(history.epoch) < len(values):
        assert history.stop_reason.startswith("EarlyStopping: score has not improved")
        assert ("baseline" in options) == ("beyond its baseline" in history.stop_reason)


# --- how fit ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([3, 2, 1, 0], {"value": 1}, 3),
        ([3, 2, 1, 0], {"value": -1}, 4),
        ([1, 2, 3, 4], {"value": 3, "mode": "max"}, 3),
        ([1, math.nan, 3, 4], {"value": 2, "mode": "max"}, 3),
    ],
)
def test_terminate_on_value(values, options, epochs):
    history = scripted(values, fnn.TerminateOnValue("score", **{"mode": "min", **options}))
    assert len(history.epoch) == epochs
    if epochs < len(values):
        assert history.stop_reason.startswith("TerminateOnValue: score has reached ")
    else:
        assert history.stop_reason == "completed 4 epochs"


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([8, 4, 2, 1.99, 0], {"min_delta": 0.1, "epochs": 1}, 4),
        ([8, 4, 2, 1.7, 0], {"min_delta": 0.1, "epochs": 1}, 5),
        ([8, 4, 2, 1.7, 0], {"min_delta": 0.5, "epochs": 1, "relative": False}, 4),
        ([8, 4, 5, 3, 3, 3], {"min_delta": 0.1, "epochs": 2}, 6),
        ([8, 4, 5, 5, 3, 3], {"min_delta": 0.1, "epochs": 2}, 4),
        ([1, 2, 4, 4.1, 9], {"min_delta": 0.1, "epochs": 1, "mode": "max"}, 4),
        ([-1, -2, -2.1, -4], {"min_delta": 0.1, "epochs": 1}, 3),
        ([3, 3, 3], {"epochs": 5}, 3),
        ([math.nan, 3, 2, 1], {"epochs": 1}, 4),
    ],
)
def test_terminate_on_small_improvement(values, options, epochs):
    stop = fnn.TerminateOnSmallImprovement("score", **{"mode": "min", **options})
    history = scripted(values, stop)
    assert len(history.epoch) == epochs
    if epochs < len(values):
        assert history.stop_reason.startswith("TerminateOnSmallImprovement: score has improved by")


def numeric_norm(model, x, y):
    """The norm of the gradient of `evaluate`'s loss, by central differences."""
    return math.hypot(*numeric_gradient_norms(model, x, y))


@pytest.mark.parametrize("rows", [1, 64, 1300])
def test_gradient_of_the_whole_training_loss(rows):
    """For a number of rows that is not a multiple of 512."""
    (x, y), model = data(rows), small(fnn.SGD(0.1))
    stop = fnn.TerminateOnSmallGradient(1e-9)
    model.fit(x, y, verbose=0, callbacks=[stop])
    assert stop.norm == pytest.approx(numeric_norm(model, x, y), rel=1e-6)


def test_terminate_on_small_gradient():
    x = data()[0]
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,), dtype="float64", seed=0)
    model.compile(fnn.SGD(0.1), "mse")
    stop = fnn.TerminateOnSmallGradient(1e-3)
    history = model.fit(x, x @ [1, 2, 3, 4], epochs=5000, verbose=0, callbacks=[stop])
    assert len(history.epoch) < 5000
    assert stop.norm < 1e-3
    assert history.stop_reason == (
        f"TerminateOnSmallGradient: the norm of the gradient is {stop.norm:.3g}, below 0.001"
    )
    assert numeric_norm(model, x, x @ [1, 2, 3, 4]) == pytest.approx(stop.norm, rel=1e-3)


def test_the_gradient_is_looked_at_every_few_epochs():
    (x, y), model = data(), small()
    seen = []
    stop = fnn.TerminateOnSmallGradient(1e-9, every=3)
    look = fnn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(stop.norm))
    model.fit(x, y, epochs=7, verbose=0, callbacks=[stop, look])
    assert [math.isnan(norm) for norm in seen] == [True] * 2 + [False] * 5
    assert seen[2] == seen[3] == seen[4] != seen[5] == seen[6]


def test_why_training_ends_can_be_read_before_it_has():
    (x, y), model, seen = data(), small(), []

    class Stop(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(self.model.stop_reason)
            self.model.stop_reason, self.model.stop_training = f"enough after {epoch}", True
            seen.append(self.model.stop_reason)

    history = model.fit(x, y, epochs=5, verbose=0, callbacks=[Stop()])
    assert seen == ["", "enough after 0"]
    assert (len(history.epoch), history.stop_reason) == (1, "enough after 0")


def test_inspection_leaves_the_gradients_as_they_are():
    (x, y), model = data(), small()
    model.forward(x, training=True)
    model.backward(y)
    before = model.network.runtime.arenas["gradients"].tobytes()
    samples = model.network.checked_samples(x, y)
    sources, kind = samples.sources, samples.target_types
    inspection.gradients(model.network.runtime, sources, kind)
    assert model.network.runtime.arenas["gradients"].tobytes() == before


def test_terminate_on_nan():
    (x, y), model = data(), small(fnn.SGD(1e300))
    ends = []
    end = fnn.LambdaCallback(on_train_end=ends.append)
    history = model.fit(
        x, y, batch_size=8, epochs=3, verbose=0, callbacks=[fnn.TerminateOnNaN(), end]
    )
    assert history.stop_reason.startswith("TerminateOnNaN: the loss is ")
    assert "in epoch 1, step" in history.stop_reason
    assert history is model.history
    assert len(ends) == 1
    assert is_finite(model)
    with pytest.raises(fnn.NonFiniteLossError):
        small(fnn.SGD(1e300)).fit(x, y, batch_size=8, epochs=3, verbose=0)


def test_the_first_to_stop_says_why():
    callbacks = [
        fnn.TerminateOnValue("score", 1, mode="min"),
        fnn.EarlyStopping("score", patience=1, mode="min"),
    ]
    history = scripted([2, 1.5, 1], *callbacks)
    assert history.stop_reason == "TerminateOnValue: score has reached 1: 1"
    assert scripted([1, 1.5], *callbacks[::-1]).stop_reason.startswith("TerminateOnValue: ")


# --- a time limit ---------------------------------------------------------------------------------


@pytest.mark.alone
def test_time_budget_ends_within_an_epoch_at_the_end_of_a_step():
    (x, y), model = data(200_000), small()
    began = time.perf_counter()
    history = model.fit(x, y, batch_size=4, epochs=1000, verbose=0, time_budget=0.3)
    seconds = time.perf_counter() - began
    assert 0.25 < seconds < 0.6  # a machine may be busy: exact times are tested below
    found = history.stop_reason
    assert found.startswith("the time_budget of 0.3 seconds is used up ")
    if " in epoch " in found:
        steps = (len(history.epoch) - 1) * 50_000 + int(found.split()[-1])
    else:  # in between, as it happens
        assert found.endswith(f" after epoch {len(history.epoch)}")
        steps = len(history.epoch) * 50_000
    assert model.network.runtime.step == steps

    class StopAt(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = self.model.network.runtime.step == 100

    model, twin = small(), small()
    model.fit(x, y, batch_size=4, verbose=0, time_budget=1e-3)
    wanted = model.network.runtime.step
    StopAt.on_train_batch_end = lambda self, batch, logs: setattr(
        self.model, "stop_training", self.model.network.runtime.step == wanted
    )
    twin.fit(x, y, batch_size=4, verbose=0, callbacks=[StopAt()])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


class Clock:
    """A clock that only `tick` moves."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize("step", [1e-5, 3e-3, 0.07, 2.0])
def test_time_budget_overshoots_by_a_batch_at_most(step, monkeypatch):
    from fastnn.training import time_budget

    clock, slices = Clock(), []
    monkeypatch.setattr(time_budget, "time", clock)
    made = time_budget.TimeBudget(1.0)
    while not made.is_over:
        asked = min(made.steps(), max(1, int(0.04 / step)))
        elapsed = asked * step * (1 + 0.3 * math.sin(len(slices)))  # faster or slower
        clock.now += elapsed
        made.record(asked, elapsed)
        slices.append(asked)
    assert 1.0 <= clock.now <= 1.0 + 1.3 * step
    assert len(slices) <= 26 + max(30, 1 / step if step > 0.01 else 0)


def test_time_budget_leaves_time_for_validation(monkeypatch):
    from fastnn.training import time_budget

    clock = Clock()
    monkeypatch.setattr(time_budget, "time", clock)
    made = time_budget.TimeBudget(10.0)
    clock.now = 3.0
    made.epoch_end()
    clock.now = 5.0  # validation takes two seconds
    made.epoch_begin()
    assert not made.is_over
    clock.now = 8.0
    assert made.is_over


def test_time_budget_with_hooks_and_between_epochs():
    (x, y), model = data(), small()
    batches = fnn.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    history = model.fit(x, y, epochs=10**6, verbose=0, callbacks=[batches], time_budget=0.05)
    assert "time_budget" in history.stop_reason
    history = model.fit(x, y, epochs=10**6, verbose=0, time_budget=1e-6)
    assert history.stop_reason == "the time_budget of 1e-06 seconds is used up in epoch 1, step 1"
    assert model.fit(x, y, verbose=0, time_budget=60).stop_reason == "completed 1 epoch"


# --- the learning rate ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "rates"),
    [
        ([3, 2, 1], {}, [1, 1, 1]),
        ([3, 3, 3, 3], {"patience": 2}, [1, 1, 1, 0.5]),
        ([3, 3, 3, 3, 3, 3], {"patience": 1}, [1, 1, 0.5, 0.25, 0.125, 0.0625]),
        ([3, 3, 3, 3], {"patience": 1, "min_lr": 0.4}, [1, 1, 0.5, 0.4]),
        ([3] * 7, {"patience": 1, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        ([3, 2.9, 2.8, 2.4], {"patience": 1, "min_delta": 0.5}, [1, 1, 0.5, 0.25]),
        ([1, 2, 2, 2], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.5]),
    ],
)
def test_reduce_on_plateau(values, options, rates):
    """The rates of Keras' own loop, whose cooldown ends an epoch before the waiting begins."""
    callback = fnn.ReduceLROnPlateau("score", factor=0.5, **{"mode": "min", **options})
    history = scripted(values, callback, optimizer=fnn.SGD(1.0))
    assert history.history["learning_rate"] == rates


def test_learning_rate_scheduler():
    seen = []

    def halve(epoch, rate):
        seen.append((epoch, rate))
        return rate / 2

    (x, y), model = data(), small(fnn.SGD(0.4))
    for schedule in (halve, lambda epoch: 0.4 / 2 ** (epoch + 1)):
        model.optimizer.learning_rate = 0.4
        history = model.fit(
            x, y, epochs=3, verbose=0, callbacks=[fnn.LearningRateScheduler(schedule)]
        )
        assert history.history["learning_rate"] == [0.2, 0.1, 0.05]
    assert seen == [(0, 0.4), (1, 0.2), (2, 0.1)]
    bad = fnn.LearningRateScheduler(lambda epoch: "fast")
    with pytest.raises(ValueError, match="what schedule returns must be a finite number of at"):
        model.fit(x, y, verbose=0, callbacks=[bad])


def test_a_schedule_that_python_cannot_look_into_takes_both_arguments():
    (x, y), model = data(), small(fnn.SGD(0.5))
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[fnn.LearningRateScheduler(max)])
    assert history.history["learning_rate"] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    "callback", [fnn.ReduceLROnPlateau("loss"), fnn.LearningRateScheduler(lambda epoch: 0.1)]
)
def test_a_schedule_is_not_set(callback):
    (x, y), model = data(), small(fnn.SGD(fnn.schedules.CosineDecay(0.1, 10)))
    before = weights_as_bytes(model)
    with pytest.raises(ValueError, match="sets the learning rate, but the optimizer has a schedu"):
        model.fit(x, y, verbose=0, callbacks=[callback])
    assert weights_as_bytes(model) == before


# --- files ----------------------------------------------------------------------------------------


def test_checkpoints_of_every_epoch(tmp_path):
    (x, y), model = data(), small(metrics=["mae"])
    path = tmp_path / "new" / "m-{epoch:02d}-{val_mae:.3f}.safetensors"
    callback = fnn.ModelCheckpoint(path)
    history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=0, callbacks=[callback])
    names = [f"m-{i + 1:02d}-{value:.3f}.safetensors"
             for i, value in enumerate(history.history["val_mae"])]  # fmt: skip
    assert sorted(file.name for file in path.parent.iterdir()) == names
    assert callback.last_path == str(path.parent / names[-1])
    loaded = fnn.load(callback.last_path)
    assert weights_as_bytes(loaded) == weights_as_bytes(model)
    assert loaded.fit(x, y, verbose=0).history == model.fit(x, y, verbose=0).history


@pytest.mark.parametrize(
    ("values", "options", "saved"),
    [
        ([3, 2, 2.5, 1, 1], {}, 4),
        ([3, 2, 2.5, 1, 1], {"initial_value_threshold": 2.2}, 4),
        ([3, 2, 2.5], {"initial_value_threshold": 1}, None),
        ([1, 3, 2], {"mode": "max"}, 2),
    ],
)
def test_checkpoint_of_the_best(values, options, saved, tmp_path):
    path = tmp_path / "{epoch}"
    options = {"mode": "min", **options}
    callback = fnn.ModelCheckpoint(path, "score", save_best_only=True, **options)
    scripted(values, callback)
    assert callback.last_path == (saved and str(tmp_path / str(saved)))


def test_csv_logger(tmp_path):
    (x, y), model, path = data(), small(metrics=["mae"]), tmp_path / "log.csv"
    first = model.fit(x, y, epochs=2, verbose=0, callbacks=[fnn.CSVLogger(path)])
    second = model.fit(x, y, epochs=1, verbose=0, callbacks=[fnn.CSVLogger(path, append=True)])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "mae"]
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    for name in ("loss", "mae"):
        wanted = first.history[name] + second.history[name]
        assert [float(row[name]) for row in rows] == wanted
    model.fit(x, y, verbose=0, callbacks=[fnn.CSVLogger(path, ";")])
    assert path.read_text().startswith("epoch;loss;mae\n0;")
    assert len(path.read_text().splitlines()) == 2
    model.compile("adam", "mse", ["accuracy"])
    with pytest.raises(ValueError, match="has the columns epoch, loss, mae, which have no place"):
        model.fit(x, y, verbose=0, callbacks=[fnn.CSVLogger(path, ";", append=True)])
    with pytest.raises(FileNotFoundError):
        model.fit(x, y, verbose=0, callbacks=[fnn.CSVLogger(tmp_path / "none" / "log.csv")])


def test_csv_lines_are_appended_to_an_empty_file_below_a_header(tmp_path):
    (x, y), model, path = data(), small(), tmp_path / "log.csv"
    path.write_text("")
    history = model.fit(x, y, verbose=0, callbacks=[fnn.CSVLogger(path, append=True)])
    assert path.read_text() == f"epoch,loss\n0,{history.history['loss'][0]}\n"


def events(folder):
    """(tag, step, scalar or number of values) of the only event file in a folder."""
    from tensorboardX.proto import event_pb2

    (file,) = folder.iterdir()
    content, at, found = file.read_bytes(), 0, []
    while at < len(content):
        size = struct.unpack_from("<Q", content, at)[0]
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
        at += 16 + size
        for value in event.summary.value:
            is_scalar = value.HasField("simple_value")
            number = value.simple_value if is_scalar else value.histo.num
            found.append((value.tag, event.step, number))
    return found


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    (x, y), model = data(), small(fnn.Adam(0.25), ["mae"])
    board = fnn.TensorBoard(tmp_path / "logs", histogram_freq=2)
    history = model.fit(
        x, y, epochs=3, validation_split=0.5, verbose=0, callbacks=[board]
    ).history  # fmt: skip
    train, validation = events(tmp_path / "logs" / "train"), events(tmp_path / "logs/validation")
    for epoch in range(3):
        for name in ("loss", "mae"):
            assert (f"epoch_{name}", epoch, np.float32(history[name][epoch])) in train
            assert (f"epoch_{name}", epoch, np.float32(history[f"val_{name}"][epoch])) in validation
        assert ("epoch_learning_rate", epoch, 0.25) in train
    histograms = [found for found in train if "histogram" in found[0]]
    assert histograms == [
        (f"{name}/histogram", 1, view.size) for name, view in model.parameters.items()
    ]
    assert len(validation) == 6


def test_tensorboard_shows_the_rate_that_each_epoch_was_trained_with(tmp_path):
    pytest.importorskip("tensorboardX")
    (x, y), model = data(), small(fnn.SGD(0.5))
    halve = fnn.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[halve, fnn.TensorBoard(tmp_path)])
    rates = [found for found in events(tmp_path / "train") if found[0] == "epoch_learning_rate"]
    assert rates == [("epoch_learning_rate", epoch, 0.25 / 2**epoch) for epoch in range(3)]


def test_tensorboard_without_its_writer(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[tensorboard\]"):
        small().fit(*data(), verbose=0, callbacks=[fnn.TensorBoard(tmp_path)])


# --- functions, and looking inside ----------------------------------------------------------------


def test_lambda_callback():
    calls = []

    def note(name):
        return lambda *given: calls.append((name, *given))

    hooks = ["train_begin", "epoch_begin", "train_batch_begin", "train_batch_end", "epoch_end",
             "train_end"]  # fmt: skip
    (x, y), model = data(), small()
    callback = fnn.LambdaCallback(**{f"on_{hook}": note(hook) for hook in hooks})
    history = model.fit(x, y, batch_size=64, verbose=0, callbacks=[callback]).history
    logs = {"loss": history["loss"][0]}
    assert calls == [
        ("train_begin", {}), ("epoch_begin", 0, {}), ("train_batch_begin", 0, {}),
        ("train_batch_end", 0, logs), ("epoch_end", 0, logs), ("train_end", logs),
    ]  # fmt: skip


def test_activations_of_a_layer_used_twice_and_of_an_input():
    a, b = fnn.Input((3,)), fnn.Input((3,))
    layer, flat = fnn.Dense(3, "tanh", name="twice"), fnn.Flatten()(a)
    model = fnn.Model([a, b], fnn.Add()([layer(layer(flat)), b]), dtype="float64", seed=0)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    found = inspection.activations(
        model.network.runtime, model.network.checked_inputs([x[0], x[1]]).sources
    )
    assert list(found) == ["flatten", "twice", "twice:2", "add"]
    kernel = model.parameters["twice/kernel"]
    once = np.tanh(x[0] @ kernel)
    wanted = [x[0], once, np.tanh(once @ kernel), np.tanh(once @ kernel) + x[1]]
    for got, want in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


# --- errors ---------------------------------------------------------------------------------------

BAD = {
    "time": (lambda: small().fit(*data(), time_budget=0), "time_budget must be a positive number"),
    "factor": (lambda: fnn.ReduceLROnPlateau(factor=1.0), "factor must be a number in [0, 1), got"),
    "schedule": (lambda: fnn.LearningRateScheduler(0.1), "schedule must be a function (epoch, le"),
    "frequency": (lambda: fnn.ModelCheckpoint("m", save_freq=10), "save_freq must be 'epoch', got"),
    "path": (lambda: fnn.ModelCheckpoint(3), "filepath must be the name of a file, got 3"),
    "braces": (lambda: fnn.ModelCheckpoint("m{"), "filepath 'm{': "),
    "separator": (lambda: fnn.CSVLogger("log", "ab"), "separator must be one character, got 'ab'"),
    "csv path": (lambda: fnn.CSVLogger(""), "filename must be the name of a file, got ''"),
    "log_dir": (lambda: fnn.TensorBoard(3), "log_dir must be the name of a folder, got 3"),
    "hook": (lambda: fnn.LambdaCallback(on_epoch_end=3), "on_epoch_end must be a function, got 3"),
    "begin": (lambda: fnn.LambdaCallback(3), "on_epoch_begin must be a function, got 3"),
    "value": (lambda: fnn.TerminateOnValue("loss", "a"), "value must be a finite number, got 'a'"),
    "tolerance": (lambda: fnn.TerminateOnSmallGradient(0), "tolerance must be a positive number"),
    "delta": (
        lambda: fnn.TerminateOnSmallImprovement(min_delta=0), "min_delta must be a positive number"
    ),
    "rows": (lambda: fnn.Recorder(0), "rows must be a positive integer, got 0"),
    "baseline": (lambda: fnn.EarlyStopping(baseline="a"), "baseline must be a finite number, got"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, message = BAD[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (fnn.ReduceLROnPlateau(), "monitor 'val_loss' is not among the results loss; give fit val"),
        (fnn.ModelCheckpoint("m", save_best_only=True), "monitor 'val_loss' is not among"),
        (fnn.ModelCheckpoint("m-{los}"), "filepath 'm-{los}' has a field 'los', but there are onl"),
        (
            fnn.TerminateOnValue("lss", 1),
            "monitor 'lss' is not among the results loss; did you me",
        ),
    ],
)
def test_results_that_are_not_there_are_refused_before_anything_has_changed(callback, message):
    (x, y), model = data(), small()
    before, state = weights_as_bytes(model), model.network.generator.bit_generator.state
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.fit(x, y, verbose=0, callbacks=[fnn.Recorder(), callback])
    assert str(caught.value).startswith(message)
    assert weights_as_bytes(model) == before
    assert model.network.generator.bit_generator.state == state


# --- whether more is better -----------------------------------------------------------------------

MONITORED = {
    "EarlyStopping": lambda monitor, **options: fnn.EarlyStopping(monitor, **options),
    "ReduceLROnPlateau": lambda monitor, **options: fnn.ReduceLROnPlateau(monitor, **options),
    "ModelCheckpoint": lambda monitor, **options: fnn.ModelCheckpoint(
        "never-{epoch}", monitor, save_best_only=True, **options
    ),
    "TerminateOnValue": lambda monitor, **options: fnn.TerminateOnValue(monitor, 0.5, **options),
    "TerminateOnSmallImprovement": lambda monitor, **options: fnn.TerminateOnSmallImprovement(
        monitor, **options
    ),
}
LESS_IS_BETTER = ("mse", "rmse", "mae")


def test_every_callback_that_has_a_mode_is_tested():
    with_mode = {
        name
        for name in fnn.callbacks.__all__
        if "mode" in inspect.signature(getattr(fnn.callbacks, name)).parameters
    }
    assert with_mode == set(MONITORED)


def two_outputs(names, metrics, loss="mse"):
    """A model with two outputs of one number each."""
    x = fnn.Input((4,))
    model = fnn.Model(x, [fnn.Dense(1, name=name)(x) for name in names], seed=0)
    model.compile(fnn.SGD(0.0), loss, metrics)
    return model


def checked(callback, model, *, validates=True):
    """The callback, after the check at the beginning of training."""
    x, y = data(16)
    targets = [y[:, :1]] * len(model.output_names) if len(model.output_names) > 1 else y
    model.fit(
        x, targets, validation_data=(x, targets) if validates else None, verbose=0,
        callbacks=[callback, Stop()],
    )  # fmt: skip
    return callback


class Stop(fnn.Callback):
    """Ends the training before anything is compared: only the check counts."""

    def on_train_begin(self):
        self.model.stop_training = True

    def on_epoch_begin(self, epoch):
        self.model.stop_training = True


@pytest.mark.parametrize("around", ["{}", "val_{}"])
@pytest.mark.parametrize("name", [n for n in fnn.metrics.registry if n != "confusion_matrix"])
@pytest.mark.parametrize("callback", MONITORED)
def test_auto_is_the_direction_of_the_metric(callback, name, around):
    metric = fnn.metrics.get(name)
    watcher = MONITORED[callback](around.format(metric.label))
    assert (watcher.mode, watcher.direction) == ("auto", None)
    checked(watcher, small(fnn.SGD(0.0), [metric]))
    assert watcher.direction == ("min" if name in LESS_IS_BETTER else "max")
    assert watcher.mode == "auto"


@pytest.mark.parametrize("callback", MONITORED)
@pytest.mark.parametrize(
    ("names", "monitor", "wanted"),
    [
        (("acc", "accel"), "accel_loss", "min"),
        (("acc", "accel"), "acc_loss", "min"),
        (("acc", "accel"), "val_accel_loss", "min"),
        (("acc", "accel"), "loss", "min"),
        (("acc", "accel"), "val_loss", "min"),
        (("acc", "accel"), "acc_mse", "min"),
        (("acc", "accel"), "accel_r2", "max"),
        (("acc", "accel"), "val_acc_r2", "max"),
        (("val_f1", "r2"), "val_f1_mse", "min"),
        (("val_f1", "r2"), "val_val_f1_loss", "min"),
        (("val_f1", "r2"), "r2_loss", "min"),
        (("val_f1", "r2"), "val_r2_r2", "max"),
    ],
)
def test_auto_with_several_outputs(callback, names, monitor, wanted):
    model = two_outputs(names, ["mse", "r2"])
    assert checked(MONITORED[callback](monitor), model).direction == wanted


def test_auto_is_what_it_is_in_this_training():
    def falls(y_true, y_pred):
        return 1.0

    falls.__name__ = "r2"
    watcher = fnn.EarlyStopping("r2")
    assert checked(watcher, small(metrics=["r2"])).direction == "max"
    with pytest.raises(ValueError, match="cannot tell whether less or more of monitor 'r2' is bet"):
        checked(watcher, small(metrics=[falls]))
    named_r2 = two_outputs(("r2", "other"), None)
    with pytest.raises(ValueError, match="monitor 'r2' is not among the results"):
        checked(watcher, named_r2)
    assert checked(fnn.EarlyStopping("r2_loss"), named_r2).direction == "min"


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("callback", MONITORED)
def test_a_mode_that_is_given_is_taken(callback, mode):
    watcher = MONITORED[callback]("loss", mode=mode)
    assert checked(watcher, small()).direction == mode


@pytest.mark.parametrize("callback", MONITORED)
@pytest.mark.parametrize("around", ["{}", "val_{}"])
def test_a_function_of_the_users_has_no_direction(callback, around):
    def mean_accuracy(y_true, y_pred):
        return float(np.mean(y_true - y_pred))

    monitor = around.format("mean_accuracy")
    model = small(metrics=[mean_accuracy])
    before = weights_as_bytes(model)
    message = (
        f"{callback} cannot tell whether less or more of monitor {monitor!r} is better: "
        "give mode='min' or mode='max'"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        checked(MONITORED[callback](monitor), model)
    assert weights_as_bytes(model) == before
    assert model.history is None
    assert checked(MONITORED[callback](monitor, mode="max"), model).direction == "max"


def test_what_other_callbacks_add_has_no_direction():
    (x, y), model = data(), small(fnn.SGD(0.1))
    adds = {"learning_rate": fnn.LearningRateScheduler(lambda epoch: 0.1), "score": Scripted([1])}
    for added, first in adds.items():
        with pytest.raises(ValueError, match=f"of monitor '{added}' is better: give mode="):
            model.fit(x, y, verbose=0, callbacks=[first, fnn.EarlyStopping(added)])
        stop = fnn.EarlyStopping(added, mode="min")
        model.fit(x, y, verbose=0, callbacks=[first, stop])


def test_a_checkpoint_of_every_epoch_needs_no_direction(tmp_path):
    (x, y), model = data(), small()
    save = fnn.ModelCheckpoint(tmp_path / "m", "anything")
    model.fit(x, y, verbose=0, callbacks=[save])
    assert save.last_path == str(tmp_path / "m")


def test_reduce_on_plateau_of_a_metric_that_rises():
    x, y = data(16)
    model = small(fnn.SGD(1e-12), ["r2"])  # it does not improve by 1e-4
    plateau = fnn.ReduceLROnPlateau("r2", factor=0.5, patience=2)
    rates = model.fit(x, y, epochs=4, verbose=0, callbacks=[plateau]).history["learning_rate"]
    assert rates == [1e-12, 1e-12, 1e-12, 5e-13]


def test_a_checkpoint_of_the_best_by_a_metric_that_rises(tmp_path):
    x, y = data()
    model = small(fnn.Adam(0.05), ["r2"])
    save = fnn.ModelCheckpoint(
        tmp_path / "{epoch}", "r2", save_best_only=True, initial_value_threshold=-1e9
    )
    found = model.fit(x, y, epochs=5, verbose=0, callbacks=[save]).history["r2"]
    assert save.last_path == str(tmp_path / str(found.index(max(found)) + 1))
    never = fnn.ModelCheckpoint(
        tmp_path / "n", "r2", save_best_only=True, initial_value_threshold=1.0
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[never])
    assert never.last_path is None


def test_early_stopping_gives_back_the_best_by_a_metric_that_rises():
    x, y = data()
    model = small(fnn.Adam(0.05), ["r2"])
    stopping = fnn.EarlyStopping("val_r2", patience=3, restore_best_weights=True)
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.5, callbacks=[stopping])
    assert len(history.epoch) > 4
    best = max(history.history["val_r2"])
    assert model.evaluate(x[32:], y[32:])["r2"] == pytest.approx(best)


# --- hooks ----------------------------------------------------------------------------------------


def test_a_callback_of_ones_own_may_end_a_training_whose_loss_is_not_finite():
    told = []

    class Note(fnn.Callback):
        def __init__(self, answer):
            self.answer = answer

        def on_nonfinite_loss(self, error):
            assert is_finite(self.model)
            told.append((type(self).__name__, str(error)))
            return self.answer

    class Calm(Note):
        pass

    def fit(*callbacks):
        told.clear()
        (x, y), model = data(), small(fnn.SGD(1e300))
        return model, lambda: model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks)

    model, run = fit(Note(False), Calm(True), fnn.TerminateOnNaN(), Note(True))
    history = run()
    assert [name for name, _ in told] == ["Note", "Calm", "Note"]
    assert history.stop_reason == f"Calm: {told[0][1]}"
    assert told[0][1].startswith("the loss is ")
    assert is_finite(model)
    model, run = fit(Note(False), Note(None))
    with pytest.raises(fnn.NonFiniteLossError):
        run()
    assert len(told) == 2
    assert model.history.stop_reason == told[0][1]


def test_a_callback_of_ones_own_says_which_epoch_it_gives_back():
    class GoBack(fnn.Callback):
        """Restores the weights of the first epoch."""

        kept = None

        @property
        def restores_epoch(self):
            return None if self.kept is None else 0

        def on_epoch_end(self, epoch, logs):
            if self.kept is None:
                self.kept = self.model.get_weights()
                self.model.optimizer.learning_rate = 1e300

        def on_train_end(self, logs):
            self.model.set_weights(self.kept)

    (x, y), model, back = data(), small(fnn.SGD(0.01)), GoBack()
    with pytest.raises(fnn.NonFiniteLossError, match="those of epoch 1, the best, which GoBack gi"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[fnn.EarlyStopping("loss"), back])
    for one, other in zip(model.get_weights(), back.kept, strict=True):
        assert (one == other).all()
    assert fnn.Callback().restores_epoch is None
    assert fnn.Callback().on_nonfinite_loss(fnn.NonFiniteLossError("")) is False


NEVER_CALLED = {
    "on_batch_begin": "did you mean on_train_batch_begin? (Keras has it under both names)",
    "on_batch_end": "did you mean on_train_batch_end? (Keras has it under both names)",
    "on_epoch_ends": "did you mean on_epoch_end?",
    "on_epoch_start": "did you mean on_epoch_begin?",
    "on_train_start": "did you mean on_train_begin?",
    "on_train_epoch_end": "did you mean on_epoch_end?",
    "on_train_batch_ends": "did you mean on_train_batch_end?",
    "on_fit_end": "did you mean on_train_end?",
    "on_test_end": "did you mean on_epoch_end? (it is called after the validation, with its resul",
    "on_validation_end": "did you mean on_epoch_end? (it is called after the validation, with",
    "on_predict_batch_end": "predict calls no callbacks",
    "on_non_finite_loss": "did you mean on_nonfinite_loss?",
    "on_xyzzy": "the hooks are on_train_begin, on_train_end, on_epoch_begin, ",
}


@pytest.mark.parametrize("name", NEVER_CALLED)
@pytest.mark.parametrize("wrap", [lambda f: f, staticmethod, classmethod])
def test_a_method_that_is_never_called_is_refused(name, wrap):
    with pytest.raises(TypeError) as caught:
        type("Mine", (fnn.Callback,), {name: wrap(lambda *given: None)})
    assert str(caught.value).startswith(f"Mine.{name} is never called; {NEVER_CALLED[name]}")
    with pytest.raises(TypeError, match="is never called"):
        type("Mine", (fnn.EarlyStopping,), {name: lambda self, *given: None})
    callback = fnn.Callback()
    with pytest.raises(AttributeError) as caught:
        setattr(callback, name, print)
    assert str(caught.value).startswith(f"Callback.{name} is never called; {NEVER_CALLED[name]}")


def test_hooks_and_other_attributes_may_be_given():
    class Mine(fnn.Callback):
        on_what = "not a method"

        def once(self):
            """It is not a hook, and does not look like one."""

    calls = []
    mine = Mine()
    mine.on_epoch_end = lambda epoch, logs: calls.append(epoch)
    mine.on_gpu = False
    (x, y), model = data(), small()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[mine])
    assert calls == [0, 1]
    for hook in HOOKS:
        type("One", (fnn.Callback,), {hook: lambda self, *given: None})
    assert set(HOOKS) == {name for name in dir(fnn.Callback) if name.startswith("on_")}


# --- settings -------------------------------------------------------------------------------------

CHANGED = {
    fnn.CSVLogger: ({"separator": ";"}, "CSVLogger('log.csv', separator=';')"),
    fnn.Diagnose: ({"batch_size": 8}, "Diagnose(every=10, batch_size=8)"),
    fnn.EarlyStopping: (
        {"patience": 3, "mode": "max"},
        "EarlyStopping(monitor='val_loss', patience=3, mode='max')",
    ),
    fnn.LambdaCallback: (
        {"on_epoch_end": max}, "LambdaCallback(on_epoch_end=<built-in function max>)"
    ),
    fnn.LearningRateScheduler: (
        {"schedule": min}, "LearningRateScheduler(<built-in function min>)"
    ),
    fnn.ModelCheckpoint: ({"save_best_only": True}, "ModelCheckpoint('m', save_best_only=True)"),
    fnn.Recorder: ({"looks": 9}, "Recorder(rows=256, looks=9)"),
    fnn.ReduceLROnPlateau: (
        {"factor": 0.5}, "ReduceLROnPlateau(monitor='val_loss', factor=0.5)"
    ),
    fnn.TensorBoard: ({"histogram_freq": 2}, "TensorBoard(log_dir='logs', histogram_freq=2)"),
    fnn.TerminateOnNaN: ({}, "TerminateOnNaN()"),
    fnn.TerminateOnSmallGradient: (
        {"tolerance": 1e-6}, "TerminateOnSmallGradient(tolerance=1e-06)"
    ),
    fnn.TerminateOnSmallImprovement: (
        {"relative": False}, "TerminateOnSmallImprovement(monitor='loss', relative=False)"
    ),
    fnn.TerminateOnValue: ({"value": 2}, "TerminateOnValue('loss', value=2.0)"),
}  # fmt: skip


@pytest.mark.parametrize("cls", BUILT_IN)
def test_settings_are_shown_and_make_an_equal_one_again(cls):
    changes, shown = CHANGED[cls]
    given = dict(zip(inspect.signature(cls).parameters, REQUIRED.get(cls, ()), strict=False))
    one = cls(**{**given, **changes})
    assert repr(one) == shown
    assert cls(**one.config()) == one
    assert hash(cls(**one.config())) == hash(one)
    assert (one == made(cls)) == (not changes)
    assert made(cls) == made(cls)
    assert one != fnn.Callback()


def test_what_a_training_leaves_behind_is_no_setting(tmp_path):
    x, y = data(16)
    callbacks = [
        fnn.EarlyStopping("loss"), fnn.Recorder(), fnn.Diagnose(1), fnn.TerminateOnSmallGradient(),
        fnn.ModelCheckpoint(tmp_path / "m"), fnn.ReduceLROnPlateau("loss"),
        fnn.TerminateOnSmallImprovement(), fnn.TerminateOnValue("loss", 0),
        fnn.CSVLogger(tmp_path / "log"),
    ]  # fmt: skip
    before = [(repr(callback), callback.config()) for callback in callbacks]
    small(fnn.SGD(0.01)).fit(x, y, epochs=2, verbose=0, callbacks=callbacks)
    assert [(repr(callback), callback.config()) for callback in callbacks] == before


@pytest.mark.parametrize("cls", BUILT_IN)
def test_arguments_that_there_are_not(cls):
    with pytest.raises(TypeError, match=f"{cls.__name__}.*'patiance'"):
        cls(*REQUIRED.get(cls, ()), patiance=3)
    with pytest.raises(TypeError, match=r"'verbose': leave it out: fit\(verbose=...\) shows"):
        fnn.EarlyStopping(verbose=1)
    with pytest.raises(TypeError, match=r"'patiance'; did you mean 'patience'\?"):
        fnn.EarlyStopping(patiance=1)
    with pytest.raises(
        TypeError, match="has no hook 'on_batch_end'; did you mean on_train_batch_e"
    ):
        fnn.LambdaCallback(on_batch_end=print)


@pytest.mark.parametrize("cls", BUILT_IN)
def test_attributes_that_nothing_reads(cls):
    callback = made(cls)
    with pytest.raises(AttributeError, match=f"{cls.__name__} has no attribute 'patiance_of'"):
        callback.patiance_of = 3
    with pytest.raises(AttributeError, match=r"'patiance'; did you mean 'patience'\?"):
        fnn.EarlyStopping().patiance = 3
    with pytest.raises(AttributeError, match="direction cannot be set"):
        fnn.EarlyStopping().direction = "max"


@pytest.mark.parametrize("cls", [cls for cls in BUILT_IN if cls.fields()])
def test_settings_are_checked_whenever_they_are_set(cls):
    """None is outside the bounds of all of them, except where it has a meaning."""
    for name, setting in cls.fields().items():
        callback = made(cls)
        before = getattr(callback, name)
        if setting.is_optional:
            setattr(callback, name, None)
            continue
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
            setattr(callback, name, None)
        assert getattr(callback, name) == before
        setattr(callback, name, before)


def test_a_setting_counts_in_the_training_after_it_was_set(tmp_path):
    stop = fnn.EarlyStopping("score", mode="min")
    assert len(scripted([1, 2, 3, 4], stop).epoch) == 2
    stop.patience = 3
    assert len(scripted([1, 2, 3, 4], stop).epoch) == 4
    stop.mode = "max"
    assert len(scripted([1, 2, 3, 4, 5], stop).epoch) == 5
    save = fnn.ModelCheckpoint(tmp_path / "{epoch}")
    save.filepath = tmp_path / "again-{epoch}"
    scripted([1], save)
    assert save.last_path == str(tmp_path / "again-1")
    rates = fnn.LearningRateScheduler(lambda epoch: 0.5)
    rates.schedule = lambda epoch, rate: rate / 2
    assert scripted([1], rates, optimizer=fnn.SGD(1.0)).history["learning_rate"] == [0.5]


def test_callbacks_of_ones_own_keep_what_they_like():
    class Mine(fnn.EarlyStopping):
        lowest: float = math.inf

        def on_train_begin(self):
            super().on_train_begin()
            self.seen, self.lowest = [], -math.inf

        def on_epoch_end(self, epoch, logs):
            super().on_epoch_end(epoch, logs)
            self.seen.append(epoch)

    class Plain(fnn.Callback):
        def __init__(self, limit):  # without calling that of the base class
            self.limit = limit

        def on_train_begin(self):
            self.count = 0

    mine, plain = Mine("loss", patience=2), Plain(3)
    small().fit(*data(8), epochs=2, verbose=0, callbacks=[mine, plain])
    assert mine.seen == [0, 1]
    assert (plain.limit, plain.count) == (3, 0)
    assert mine != Mine("loss", patience=2)
    assert plain in [plain]
    assert plain != Plain(3)
    assert len({mine, plain}) == 2
    assert repr(mine).startswith("Mine(monitor='loss', patience=2")
    with pytest.raises(ValueError, match="patience must be an integer of at least 0, got -1"):
        mine.patience = -1


def test_a_callback_may_be_a_dataclass():
    @dataclass
    class Mine(fnn.Callback):
        limit: float = 1.0
        seen: list = field(default_factory=list)

        def on_epoch_end(self, epoch, logs):
            self.seen.append(epoch)

    mine = Mine(2.0)
    small().fit(*data(8), epochs=2, verbose=0, callbacks=[mine])
    assert (mine.limit, mine.seen, Mine().seen) == (2.0, [0, 1], [])


def test_a_field_of_a_subclass_is_checked_like_those_of_the_base():
    from fastnn.core.declare import number

    class Patient(fnn.EarlyStopping):
        share: float = number(default=0.5, least=0, below=1, kw_only=True)

    one = Patient("loss", patience=2, share=0.25)
    assert repr(one) == "Patient(monitor='loss', share=0.25, patience=2)"
    with pytest.raises(ValueError, match="share must be a number in"):
        one.share = 2
    with pytest.raises(ValueError, match="share must be a number in"):
        Patient(share=-1)
