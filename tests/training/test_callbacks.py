"""Callbacks with Keras' names, and what ends `fit`. Hooks and early stopping: test_training.py."""

from __future__ import annotations

import csv
import math
import struct
import time

import numpy as np
import pytest
from model_helpers import is_finite, weights_as_bytes

import fastnn as fnn
from fastnn.analysis import inspection
from fastnn.callbacks.base import asks_for_batches


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
    """Gives every epoch a scripted value."""

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


def test_only_who_has_a_batch_hook_asks_for_batches():
    made = {
        fnn.callbacks.CSVLogger: ("log.csv",),
        fnn.callbacks.LearningRateScheduler: (lambda epoch: 0.1,),
        fnn.callbacks.ModelCheckpoint: ("m",),
        fnn.callbacks.TerminateOnValue: ("loss", 0.1),
    }
    for name in fnn.callbacks.__all__:
        kind = getattr(fnn.callbacks, name)
        assert not asks_for_batches(kind(*made.get(kind, ()))), name
        assert getattr(fnn, name) is kind
    assert asks_for_batches(fnn.LambdaCallback(on_train_batch_begin=print))
    assert asks_for_batches(fnn.LambdaCallback(on_train_batch_end=print))


def test_callbacks_change_nothing_in_training(tmp_path):
    x, y = data()
    model, twin = small(), small()
    model.gradients["last/bias"][...] = 7
    callbacks = [
        fnn.Monitor(), fnn.TerminateOnSmallGradient(1e-9), fnn.CSVLogger(tmp_path / "log.csv"),
        fnn.ModelCheckpoint(tmp_path / "m"), fnn.TerminateOnNaN(), fnn.TerminateOnValue("loss", 0),
    ]  # fmt: skip
    history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
    assert history.history == twin.fit(x, y, batch_size=8, epochs=3, verbose=0).history
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert model.generator.bit_generator.state == twin.generator.bit_generator.state


# --- early stopping: what Keras has, too ----------------------------------------------------------


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
    stopping = fnn.EarlyStopping("score", **options)
    history = scripted(values, stopping)
    assert (len(history.epoch), stopping.best_epoch) == (epochs, best)
    if len(history.epoch) < len(values):
        assert history.stop_reason.startswith("EarlyStopping: score has not improved")
        assert ("baseline" in options) == ("beyond its baseline" in history.stop_reason)


# --- what ends fit --------------------------------------------------------------------------------


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
    history = scripted(values, fnn.TerminateOnValue("score", **options))
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
    history = scripted(values, fnn.TerminateOnSmallImprovement("score", **options))
    assert len(history.epoch) == epochs
    if epochs < len(values):
        assert history.stop_reason.startswith("TerminateOnSmallImprovement: score has improved by")


def numeric_norm(model, x, y):
    """The norm of the gradient of `evaluate`'s loss, by central differences."""
    squares = 0.0
    for view in model.parameters.values():
        for place in np.ndindex(view.shape):
            kept, losses = view[place], []
            for step in (1e-6, -1e-6):
                view[place] = kept + step
                losses.append(model.evaluate(x, y)["loss"])
            view[place] = kept
            squares += ((losses[0] - losses[1]) / 2e-6) ** 2
    return math.sqrt(squares)


@pytest.mark.parametrize("rows", [1, 64, 1300])
def test_gradient_of_the_whole_training_loss(rows):
    """Of a number of rows that 512 does not divide."""
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


def test_inspection_leaves_the_gradients_as_they_are():
    (x, y), model = data(), small()
    model.forward(x, training=True)
    model.backward(y)
    before = model.runtime.arenas["gradients"].tobytes()
    sources, kind = model.training_data(x, y)
    inspection.gradients(model, sources, kind)
    assert model.runtime.arenas["gradients"].tobytes() == before


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
    callbacks = [fnn.TerminateOnValue("score", 1), fnn.EarlyStopping("score", patience=1)]
    history = scripted([2, 1.5, 1], *callbacks)
    assert history.stop_reason == "TerminateOnValue: score has reached 1: 1"
    assert scripted([1, 1.5], *callbacks[::-1]).stop_reason.startswith("TerminateOnValue: ")


# --- a budget of time -----------------------------------------------------------------------------


def test_time_budget_ends_within_an_epoch_at_the_end_of_a_step():
    (x, y), model = data(200_000), small()
    began = time.perf_counter()
    history = model.fit(x, y, batch_size=4, epochs=1000, verbose=0, time_budget=0.3)
    seconds = time.perf_counter() - began
    assert 0.25 < seconds < 0.6  # a machine may be busy: what is exact is tested below
    found = history.stop_reason
    assert found.startswith("the time_budget of 0.3 seconds is used up ")
    if " in epoch " in found:
        steps = (len(history.epoch) - 1) * 50_000 + int(found.split()[-1])
    else:  # in between, by chance
        assert found.endswith(f" after epoch {len(history.epoch)}")
        steps = len(history.epoch) * 50_000
    assert model.runtime.step == steps

    class StopAt(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = self.model.runtime.step == 100

    model, twin = small(), small()
    model.fit(x, y, batch_size=4, verbose=0, time_budget=1e-3)
    wanted = model.runtime.step
    StopAt.on_train_batch_end = lambda self, batch, logs: setattr(
        self.model, "stop_training", self.model.runtime.step == wanted
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
        elapsed = asked * step * (1 + 0.3 * math.sin(len(slices)))  # now quicker, now slower
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
    clock.now = 5.0  # two seconds for validation
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
    """By Keras' own loop, whose cooldown ends an epoch before the waiting begins."""
    callback = fnn.ReduceLROnPlateau("score", factor=0.5, **options)
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


def events(folder):
    """(tag, step, scalar or number of values) of the one file of events in a folder."""
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


def test_tensorboard_without_its_writer(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[tensorboard\]"):
        small().fit(*data(), verbose=0, callbacks=[fnn.TensorBoard(tmp_path)])


# --- functions, and a look inside -----------------------------------------------------------------


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


def test_monitor_beside_numpy():
    x, y = data(1000)
    layers = [fnn.Dropout(0.5), fnn.Dense(5, "relu", name="middle"), fnn.Flatten()]
    model, monitor = small(layers=layers), fnn.Monitor(rows=100)
    before = []

    class Keep(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            before.append({name: view.copy() for name, view in model.parameters.items()})

    model.fit(x, y, epochs=2, verbose=0, callbacks=[Keep(), monitor])
    assert monitor.epochs.tolist() == [0, 1]
    assert monitor.layers == ["first", "dropout", "middle", "flatten", "last"]
    rows = x[np.linspace(0, 999, 100).astype(int)]
    for look, p in enumerate(before):
        first = np.tanh(rows @ p["first/kernel"] + p["first/bias"])
        middle = np.maximum(first @ p["middle/kernel"] + p["middle/bias"], 0)
        last = middle @ p["last/kernel"] + p["last/bias"]
        for place, a in enumerate([first, first, middle, middle, last]):
            found = (monitor.means[look, place], monitor.deviations[look, place])
            assert found == pytest.approx((a.mean(), a.std()), rel=1e-9)
            assert monitor.zeros[look, place] == (a == 0).mean()
    assert 0 < monitor.zeros[0, 2] < 1
    assert monitor.gradient_norms.shape == (2, len(monitor.parameters))
    assert (monitor.gradient_norms > 0).all()


def test_gradients_of_a_monitor():
    (x, y), model, monitor = data(), small(fnn.SGD(0.1)), fnn.Monitor(every=2)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[monitor])
    assert monitor.epochs.tolist() == [1, 3]
    model, twin = small(fnn.SGD(0.1)), fnn.Monitor()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[twin])
    np.testing.assert_array_equal(twin.gradient_norms[1], monitor.gradient_norms[0])
    norm = math.sqrt((twin.gradient_norms[1] ** 2).sum())
    assert norm == pytest.approx(numeric_norm(model, x, y), rel=1e-6)


def test_activations_of_a_layer_used_twice_and_of_an_input():
    a, b = fnn.Input((3,)), fnn.Input((3,))
    layer, flat = fnn.Dense(3, "tanh", name="twice"), fnn.Flatten()(a)
    model = fnn.Model([a, b], fnn.Add()([layer(layer(flat)), b]), dtype="float64", seed=0)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    found = inspection.activations(model, model._checked_inputs([x[0], x[1]]))
    assert list(found) == ["flatten", "twice", "twice:2", "add"]
    kernel = model.parameters["twice/kernel"]
    once = np.tanh(x[0] @ kernel)
    wanted = [x[0], once, np.tanh(once @ kernel), np.tanh(once @ kernel) + x[1]]
    for got, want in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


# --- what is refused ------------------------------------------------------------------------------

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
    "rows": (lambda: fnn.Monitor(0), "rows must be a positive integer, got 0"),
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
    before, state = weights_as_bytes(model), model.generator.bit_generator.state
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.fit(x, y, verbose=0, callbacks=[fnn.Monitor(), callback])
    assert str(caught.value).startswith(message)
    assert weights_as_bytes(model) == before
    assert model.generator.bit_generator.state == state


@pytest.mark.parametrize("name", list(fnn.metrics.registry))
@pytest.mark.parametrize("around", ["{}", "val_{}", "val_last_{}"])
def test_auto_knows_whether_more_of_a_metric_is_better(name, around):
    falls = name in ("mse", "rmse", "mae", "confusion_matrix")
    watcher = fnn.EarlyStopping(around.format(name))
    assert watcher.mode == ("min" if falls else "max")
    assert fnn.EarlyStopping("loss_of_area1").mode == "min"


def test_early_stopping_gives_back_the_best_by_a_metric_that_rises():
    x, y = data()
    model = small(fnn.Adam(0.05), ["r2"])
    stopping = fnn.EarlyStopping("val_r2", patience=3, restore_best_weights=True)
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.5, callbacks=[stopping])
    assert len(history.epoch) > 4
    best = max(history.history["val_r2"])
    assert model.evaluate(x[32:], y[32:])["r2"] == pytest.approx(best)
