"""Callbacks with Keras' names, and how `fit` ends. Hooks and early stopping: test_training.py."""

from __future__ import annotations

import csv
import math
import struct
import time

import numpy as np
import pytest
from callback_helpers import ALL, data, made, scripted, small
from model_helpers import is_finite, numeric_gradient_norms, weights_as_bytes

import fastnn as fnn
from fastnn.analysis import inspection
from fastnn.callbacks.base import asks_for_batches


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


@pytest.mark.filterwarnings("ignore:.*monitor .* is NaN")  # see test_monitors.py
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


@pytest.mark.filterwarnings("ignore:.*monitor .* is NaN")  # see test_monitors.py
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
