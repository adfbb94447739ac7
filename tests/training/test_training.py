"""`fit`: results, callbacks, early stopping, Ctrl-C, and losses that are not finite."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from model_helpers import is_finite, weights_as_bytes

import fastnn as fnn
from fastnn.runtime import Bound


def regression(rng, rows=64):
    x = rng.normal(size=(rows, 4))
    return x, np.tanh(x @ rng.normal(size=(4, 2)))


def small(optimizer="adam", loss="mse", metrics=(), *, dtype="float64", seed=0):
    """A model of 4 inputs and 2 outputs."""
    model = fnn.Sequential(
        [fnn.Dense(6, activation="tanh", name="first"), fnn.Dense(2, name="last")],
        input_shape=(4,), dtype=dtype, seed=seed,
    )  # fmt: skip
    model.compile(optimizer, loss, metrics)
    return model


# --- history --------------------------------------------------------------------------------------


def test_history_has_every_result_of_every_epoch(rng):
    x, y = regression(rng)
    model = small(metrics=["mae", "accuracy"])
    history = model.fit(x, y, epochs=4, validation_data=(x[:7], y[:7]), verbose=0)
    assert history is model.history
    assert list(history.history) == [
        "loss", "mae", "accuracy", "val_loss", "val_mae", "val_accuracy",
    ]  # fmt: skip
    assert history.epoch == [0, 1, 2, 3]
    for values in history.history.values():
        assert len(values) == 4
        assert all(isinstance(value, float) for value in values)
    assert history.stop_reason == "completed 4 epochs"
    assert history.samples_per_second > 0
    last = {key: values[-1] for key, values in history.history.items()}
    expected = {f"val_{key}": v for key, v in model.evaluate(x[:7], y[:7]).items()}
    assert {key: last[key] for key in expected} == expected


def test_one_epoch_is_singular(rng):
    assert small().fit(*regression(rng), verbose=0).stop_reason == "completed 1 epoch"


@pytest.mark.parametrize("batch_size", [1, 7, 32, 64, 1000])
def test_loss_of_an_epoch_is_the_mean_over_samples(batch_size, rng):
    x, y = regression(rng)
    model = small(fnn.SGD(0.0), metrics=["mae"])
    history = model.fit(x, y, batch_size=batch_size, verbose=0).history
    expected = model.evaluate(x, y)
    assert history["loss"][0] == pytest.approx(expected["loss"], rel=1e-12)
    assert history["mae"][0] == pytest.approx(expected["mae"], rel=1e-12)
    assert model.network.runtime.step == -(-64 // batch_size)


def test_validation_split_takes_the_last_rows(rng):
    x, y = regression(rng)
    model, twin = small(), small()
    split = model.fit(x, y, epochs=3, validation_split=0.25, verbose=0)
    data = twin.fit(x[:48], y[:48], epochs=3, validation_data=(x[48:], y[48:]), verbose=0)
    assert split.history == data.history
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_validation_changes_nothing_in_training(rng):
    x, y = regression(rng)
    model, twin = small(), small()
    model.fit(x, y, epochs=3, validation_data=(x, y), verbose=0)
    twin.fit(x, y, epochs=3, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)


@pytest.mark.parametrize("kind", [list, tuple])
def test_validation_split_of_several_inputs(kind, rng):
    x, y = regression(rng)
    a, b = fnn.Input((3,)), fnn.Input((1,))
    model = fnn.Model([a, b], fnn.Dense(2)(fnn.Concatenate()([a, b])), seed=0)
    model.compile("adam", "mse")
    history = model.fit(kind([x[:, :3], x[:, 3:]]), y, validation_split=0.5, verbose=0)
    assert len(history.history["val_loss"]) == 1


def test_validation_split_of_lists(rng):
    x, y = regression(rng)
    model, twin = small(), small()
    history = model.fit(x.tolist(), y.tolist(), validation_split=0.25, verbose=0)
    assert history.history == twin.fit(x, y, validation_split=0.25, verbose=0).history


def test_shuffle_takes_another_order_each_epoch(rng):
    x, y = regression(rng)

    def losses(shuffle):
        # At learning rate 0, the loss of a batch reveals which rows it has.
        model, seen = small(fnn.SGD(0.0)), []

        class Watch(fnn.Callback):
            def on_train_batch_end(self, batch, logs):
                seen.append(logs["loss"])

        model.fit(x, y, batch_size=8, epochs=2, shuffle=shuffle, callbacks=[Watch()], verbose=0)
        return seen[:8], seen[8:]

    first, second = losses(shuffle=False)
    assert first == second
    first, second = losses(shuffle=True)
    assert set(first).isdisjoint(second)
    assert np.mean(first) == pytest.approx(np.mean(second), rel=1e-12)


@pytest.mark.parametrize(
    ("verbose", "lines"), [(0, 0), (1, 3), (2, 3)], ids=["silent", "no terminal", "lines"]
)
def test_verbose(verbose, lines, rng, capsys):
    small().fit(*regression(rng), epochs=3, verbose=verbose)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == lines
    if lines:
        assert re.fullmatch(r"epoch 3/3  loss \d\.\d{4}", err.splitlines()[-1])


def test_numbers_of_epochs_stand_below_each_other(rng, capsys):
    small().fit(*regression(rng), epochs=100, verbose=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch   1/100  loss ")
    assert lines[9].startswith("epoch  10/100  loss ")
    assert lines[99].startswith("epoch 100/100  loss ")


def test_progress_bar_on_a_terminal(rng, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    small().fit(*regression(rng), epochs=3, verbose=1)
    err = capsys.readouterr().err
    assert "epoch 3/3 100%" in err
    assert "epoch 3/3" in err


# --- callbacks ------------------------------------------------------------------------------------


class Recorder(fnn.Callback):
    def __init__(self, calls, name=""):
        self.calls, self.name = calls, name

    def on_train_begin(self):
        self.calls.append(f"{self.name}train begin")

    def on_train_end(self, logs):
        self.calls.append(f"{self.name}train end")

    def on_epoch_begin(self, epoch):
        self.calls.append(f"{self.name}epoch {epoch} begin")

    def on_epoch_end(self, epoch, logs):
        self.calls.append(f"{self.name}epoch {epoch} end {' '.join(logs)}")


class BatchRecorder(Recorder):
    def on_train_batch_begin(self, batch):
        self.calls.append(f"batch {batch} begin")

    def on_train_batch_end(self, batch, logs):
        self.calls.append(f"batch {batch} end {' '.join(logs)}")


def test_hooks_come_in_order(rng):
    x, y = regression(rng)
    calls = []
    callbacks = [BatchRecorder(calls), Recorder(calls, "second ")]
    model = small(metrics=["mae"])
    model.fit(x, y, batch_size=40, epochs=2, callbacks=callbacks, verbose=0)
    epochs = [
        [
            f"epoch {epoch} begin", f"second epoch {epoch} begin",
            "batch 0 begin", "batch 0 end loss mae", "batch 1 begin", "batch 1 end loss mae",
            f"epoch {epoch} end loss mae", f"second epoch {epoch} end loss mae",
        ]
        for epoch in (0, 1)
    ]  # fmt: skip
    assert calls == [
        "train begin", "second train begin", *epochs[0], *epochs[1],
        "train end", "second train end",
    ]  # fmt: skip
    assert callbacks[0].model is callbacks[1].model is model


def test_batch_hooks_change_nothing_in_training(rng):
    x, y = regression(rng)
    model, twin = small(), small()
    history = model.fit(x, y, batch_size=7, epochs=3, callbacks=[BatchRecorder([])], verbose=0)
    assert history.history == twin.fit(x, y, batch_size=7, epochs=3, verbose=0).history
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_callback_may_stop_after_an_epoch_or_a_batch(rng):
    x, y = regression(rng)

    class AfterEpoch(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = epoch == 1

    class AfterBatch(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = self.model.network.runtime.step == 11

    for callback, steps in ((AfterEpoch(), 16), (AfterBatch(), 11)):
        model = small()
        history = model.fit(x, y, batch_size=8, epochs=9, callbacks=[callback], verbose=0)
        assert history.epoch == [0, 1]
        assert model.network.runtime.step == steps
        assert history.stop_reason == "a callback set stop_training"
        assert model.fit(x, y, verbose=0).stop_reason == "completed 1 epoch"


def test_callback_may_set_the_learning_rate(rng):
    x, y = regression(rng)

    class Freeze(fnn.Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 2:
                self.model.optimizer.learning_rate = 0.0

    model, twin = small(), small()
    model.fit(x, y, epochs=5, callbacks=[Freeze()], verbose=0)
    twin.fit(x, y, epochs=2, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_a_rate_set_within_an_epoch_holds_for_the_whole_next_one(rng):
    """The arrays of an epoch are used again for the next, if it has the same rows."""
    x, y = regression(rng)

    class Lower(fnn.Callback):
        def on_train_batch_begin(self, batch):
            if batch == 2:
                self.model.optimizer.learning_rate = 1e-4

    model, twin = small(), small()
    model.fit(x, y, 16, epochs=3, shuffle=False, callbacks=[Lower()], verbose=0)
    for step in range(12):
        if step == 2:
            twin.optimizer.learning_rate = 1e-4
        rows = slice(step % 4 * 16, step % 4 * 16 + 16)
        twin.train_on_batch(x[rows], y[rows])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_error_in_a_callback_ends_training_and_is_passed_on(rng):
    calls = []

    class Broken(Recorder):
        def on_epoch_end(self, epoch, logs):
            raise LookupError("mine")

    model = small()
    with pytest.raises(LookupError, match="mine"):
        model.fit(*regression(rng), callbacks=[Broken(calls)], verbose=0)
    assert calls[-1] == "train end"
    assert model.history.epoch == [0]


# --- early stopping -------------------------------------------------------------------------------


class Scripted(fnn.Callback):
    """Reports a scripted value for every epoch, and sets the weights to the number of the epoch."""

    def __init__(self, values, key="val_loss"):
        self.values, self.key = values, key

    def on_epoch_end(self, epoch, logs):
        logs[self.key] = self.values[epoch]
        for view in self.model.parameters.values():
            view[...] = epoch


def stopped(values, key="val_loss", **options):
    """The number of epochs that a scripted course took, and the epoch whose weights are left."""
    model = small(metrics=["accuracy"])
    stopping = fnn.EarlyStopping(key, **options)
    x = np.zeros((4, 4))
    history = model.fit(
        x, x[:, :2], epochs=len(values), callbacks=[Scripted(values, key), stopping], verbose=0
    )
    return len(history.epoch), float(model.get_weights()[0].max()), stopping, history


@pytest.mark.filterwarnings("ignore:.*monitor .* is NaN")  # see test_monitors.py
@pytest.mark.parametrize(
    ("values", "options", "epochs", "kept"),
    [
        ([3, 2, 1, 0], {}, 4, 3),  # the best is the last
        ([3, 2, 2.5, 2.5, 0], {}, 3, 1),
        ([3, 2, 2.5, 2.5, 0], {"patience": 2}, 4, 1),
        ([3, 2, 2.5, 2.5, 0], {"patience": 3}, 5, 4),
        ([3, 2, 2.5, 1, 4, 5, 0], {"patience": 2}, 6, 3),  # an improvement restarts the count
        ([3, 2.9, 2.8, 2.7], {"min_delta": 0.15, "patience": 2}, 4, 2),
        ([3, 2, 2.5], {"restore_best_weights": False}, 3, 2),
        ([1, 2, 1.5, 3], {"mode": "max"}, 3, 1),
        ([3, float("nan"), 2], {"patience": 2}, 3, 2),
        ([3, 2, 3, 4], {"patience": 9}, 4, 1),  # it runs to the end and still goes back
    ],
)
def test_early_stopping(values, options, epochs, kept):
    took, left, stopping, history = stopped(values, **options)
    assert (took, left) == (epochs, kept)
    if options.get("restore_best_weights", True):
        assert stopping.best_epoch == kept
    if took < len(values):
        assert history.stop_reason.startswith("EarlyStopping: val_loss has not improved for")
        assert history.stop_reason.endswith(f"best in epoch {stopping.best_epoch + 1}")


def test_early_stopping_takes_more_of_an_accuracy_as_better():
    assert stopped([0.5, 0.7, 0.6], "val_accuracy")[:2] == (3, 1)
    assert stopped([0.5, 0.7, 0.6], "val_accuracy", mode="min")[:2] == (2, 0)


def test_early_stopping_of_a_real_training(rng):
    x, y = regression(rng, 40)
    model = small(fnn.Adam(0.03))
    history = model.fit(
        x, y, epochs=2000, validation_data=(x + 0.5, y),
        callbacks=[fnn.EarlyStopping(patience=5)], verbose=0,
    )  # fmt: skip
    losses = history.history["val_loss"]
    assert len(losses) < 2000
    assert losses.index(min(losses)) == len(losses) - 6
    assert model.evaluate(x + 0.5, y)["loss"] == min(losses)


def test_early_stopping_may_be_used_again():
    stopping, model = fnn.EarlyStopping(), small()
    x = np.zeros((4, 4))
    for values in ([3, 1, 2], [9, 8, 8.5]):
        history = model.fit(
            x, x[:, :2], epochs=3, callbacks=[Scripted(values), stopping], verbose=0
        )
        assert history.epoch == [0, 1, 2]
        assert stopping.best_epoch == 1


# --- Ctrl-C ---------------------------------------------------------------------------------------

INTERRUPTED = """
import json, signal, sys, time
import numpy as np
import fastnn as fnn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
rng = np.random.default_rng(0)
x, y = rng.normal(size=(3000, 64)), rng.integers(0, 10, 3000)

def make():
    model = fnn.Sequential([fnn.Dense(256, "relu"), fnn.Dropout(0.2), fnn.Dense(10)],
                           input_shape=(64,), seed=0)
    model.compile("adam", "crossentropy")
    return model

class StopAt(fnn.Callback):
    def on_train_batch_end(self, batch, logs):
        self.model.stop_training = self.model.network.runtime.step == wanted

model, calls = make(), []

class End(fnn.Callback):
    def on_train_end(self, logs):
        calls.append("end")

print("ready", flush=True)
try:
    model.fit(x, y, batch_size=64, epochs=10**6, verbose=0, callbacks=[End()])
except KeyboardInterrupt:
    print("stopped", flush=True)
wanted, weights, reason = model.network.runtime.step, model.get_weights(), model.history.stop_reason
twin = make()
twin.fit(x, y, batch_size=64, epochs=10**6, verbose=0, callbacks=[StopAt()])
print(json.dumps({
    "stop_reason": reason,
    "is_finite": all(bool(np.isfinite(weight).all()) for weight in weights),
    "has_stepped": wanted > 0,
    "ends": len(calls),
    "is_at_a_step": all(map(np.array_equal, weights, twin.get_weights())),
    "goes_on": model.fit(x, y, verbose=0).stop_reason,
}), flush=True)
"""


@pytest.mark.alone
def test_ctrl_c_ends_fit_within_half_a_second_at_the_end_of_a_step(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.4)
            child.send_signal(signal.SIGINT)
            began = time.perf_counter()
            assert child.stdout.readline() == "stopped\n"
            seconds = time.perf_counter() - began
            facts = json.loads(child.stdout.readline())
        finally:
            child.kill()
    assert seconds < 0.5
    assert facts == {
        "stop_reason": "interrupted", "is_finite": True, "has_stepped": True, "ends": 1,
        "is_at_a_step": True, "goes_on": "completed 1 epoch",
    }  # fmt: skip


# --- losses that are not finite -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_names_epoch_step_and_layer_and_leaves_a_usable_model(optimizer, dtype, rng):
    x, y = regression(rng)
    model = small(dtype=dtype)
    history = model.fit(x, y, epochs=2, verbose=0)
    rate = 1e300 if dtype == "float64" else 1e38
    model.compile({"name": optimizer, "learning_rate": rate}, "mse")
    before = weights_as_bytes(model)
    ends = []

    class End(fnn.Callback):
        def on_train_end(self, logs):
            ends.append(is_finite(self.model))

    pattern = (
        r"the loss is (nan|inf) in epoch 1, step [23] of 8: "
        r"(layer '(first|last)' is the first with a number that is not finite"
        r"|every layer is finite, the loss is not); .*Try a smaller learning_rate"
    )
    with pytest.raises(fnn.NonFiniteLossError, match=pattern) as caught:
        model.fit(x, y, batch_size=8, epochs=3, callbacks=[End()], verbose=0)
    assert isinstance(caught.value, FloatingPointError)
    assert model.history is not history
    assert (model.history.epoch, model.history.stop_reason) == ([], str(caught.value))
    assert ends == [True]
    assert is_finite(model)
    if "from the start of the epoch" in str(caught.value):
        assert weights_as_bytes(model) == before
        assert model.network.runtime.step == 0
        assert not model.network.runtime.arenas["state"].any()
    assert np.isfinite(model.predict(x)).all()
    model.optimizer.learning_rate = 1e-3
    model.set_weights(small(dtype=dtype).get_weights())
    assert model.fit(x, y, verbose=0).stop_reason == "completed 1 epoch"


def test_overflow_in_a_layer_is_named_and_the_step_not_made(rng):
    x, y = regression(rng)
    model = fnn.Sequential(
        [fnn.Dense(6, "tanh", name="in"), fnn.Dense(5, name="middle"), fnn.Dense(2, name="out")],
        input_shape=(4,), seed=0,
    )  # fmt: skip
    model.compile("adam", "mse")
    model.parameters["middle/kernel"][...] = 3e38
    before = weights_as_bytes(model)
    pattern = "step 1 of 2: layer 'middle' .* the parameters are those before this step"
    with pytest.raises(fnn.NonFiniteLossError, match=pattern):
        model.fit(x, y, verbose=0)
    assert weights_as_bytes(model) == before
    assert model.network.runtime.step == 0
    with pytest.raises(fnn.NonFiniteLossError, match="step 1: layer 'middle'"):
        model.train_on_batch(x, y)
    assert weights_as_bytes(model) == before
    assert model.network.runtime.step == 0


class RateOfEpoch(fnn.Callback):
    """Sets the learning rate of an epoch, and records the weights of each."""

    def __init__(self, rates):
        self.rates, self.weights = rates, []

    def on_epoch_begin(self, epoch):
        self.model.optimizer.learning_rate = self.rates[epoch]

    def on_epoch_end(self, epoch, logs):
        self.weights.append(weights_as_bytes(self.model))


@pytest.mark.parametrize("rate", [1e160, 1e300], ids=["loss", "parameters"])
def test_divergence_says_which_parameters_early_stopping_has_left(rate, rng):
    x, y = regression(rng)
    model, watch = small(fnn.SGD(0.01)), RateOfEpoch([0.01, 0.0, rate])
    model.parameters["last/kernel"][...] = 1e10 if rate == 1e300 else 1
    stopping = fnn.EarlyStopping("loss", patience=9)
    with pytest.raises(fnn.NonFiniteLossError) as caught:
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[watch, stopping])
    best = stopping.best_epoch
    assert weights_as_bytes(model) == watch.weights[best]
    kept = f"the parameters are those of epoch {best + 1}, the best, which EarlyStopping gives back"
    assert kept in str(caught.value)
    assert "before this step" not in str(caught.value)
    assert "start of the epoch" not in str(caught.value)
    assert (", the optimizer starts afresh" in str(caught.value)) == (
        model.network.runtime.step == 0
    )
    assert model.history.stop_reason == str(caught.value)


def test_divergence_before_early_stopping_has_anything_to_give_back(rng):
    x, y = regression(rng)
    for options in ({}, {"restore_best_weights": False}):
        model = small(fnn.SGD(1e300))
        with pytest.raises(fnn.NonFiniteLossError, match=r"the parameters are those (before|from)"):
            model.fit(x, y, callbacks=[fnn.EarlyStopping("loss", **options)], verbose=0)


def test_loss_alone_may_overflow(rng):
    model = small(dtype="float32")
    with pytest.raises(fnn.NonFiniteLossError, match=r"the loss is inf .*every layer is finite"):
        model.fit(rng.normal(size=(4, 4)), np.full((4, 2), 1e30), verbose=0)


def test_parameters_lost_in_the_last_step_of_an_epoch(rng):
    x, y = regression(rng)
    model = small(fnn.SGD(1e300))
    model.parameters["last/kernel"][...] = 1e10
    before = weights_as_bytes(model)
    with pytest.raises(fnn.NonFiniteLossError, match="step 1 of 1"):
        model.fit(x, y, batch_size=64, verbose=0)
    assert weights_as_bytes(model) == before


def test_train_on_batch_leaves_finite_parameters(rng):
    x, y = regression(rng)
    model = small(fnn.SGD(1e300))
    model.parameters["last/kernel"][...] = 1e10
    refusals = 0
    for _ in range(6):
        try:
            model.train_on_batch(x, y)
        except fnn.NonFiniteLossError:
            refusals += 1
            assert is_finite(model)
    assert refusals >= 2


def test_labels_that_change_under_way_are_refused_and_not_followed(rng):
    """The engine checks each label before it is used as an index, in the metrics too."""
    x, y = rng.standard_normal((64, 5)).astype("f"), np.zeros(64, np.int32)
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(5,), seed=0)
    model.compile("sgd", "crossentropy", metrics=["accuracy"])

    class Spoil(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            y[:] = 2_000_000_000

    with pytest.raises(ValueError, match="a class label lies outside"):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[Spoil()])


def test_fit_inside_a_callback_leaves_compile_refused(rng):
    x, y = regression(rng)
    model = small(fnn.SGD(0.01))

    def nested(epoch, logs):
        model.fit(x, y, verbose=0)
        model.compile("adam", "mae")

    with pytest.raises(RuntimeError, match="compile cannot be called while fit runs"):
        model.fit(x, y, verbose=0, callbacks=[fnn.LambdaCallback(on_epoch_end=nested)])
    assert not model.network.is_fitting
    model.compile("adam", "mae")


@pytest.mark.filterwarnings("error")
def test_warning_of_a_single_row_comes_before_training_begins():
    """So that nothing has changed where warnings are errors."""
    layers = [fnn.Normalization(), fnn.BatchNormalization(), fnn.Dense(1)]
    model = fnn.Sequential(layers, input_shape=(3,), seed=0)
    model.compile("sgd", "mse")
    x = np.arange(99.0).reshape(33, 3)
    with pytest.raises(UserWarning, match="the last batch of 33 rows has one row"):
        model.fit(x, x[:, 0], batch_size=8, verbose=0)
    assert model.history is None
    assert not layers[0].is_adapted


def test_an_epoch_like_the_one_before_is_prepared_once(rng, monkeypatch):
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    prepared, prepare = [], Bound.prepare
    monkeypatch.setattr(Bound, "prepare", lambda *a, **k: prepared.append(1) or prepare(*a, **k))

    def trained(calls, epochs, callbacks=()):
        model = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(1)], input_shape=(3,), seed=0)
        model.compile(fnn.SGD(0.1, momentum=0.5), "mse")
        losses = []
        prepared.clear()
        for _ in range(calls):
            fit = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks)
            losses += fit.history["loss"]
        return model.get_weights(), losses, len(prepared)

    weights, losses, count = trained(1, 6)
    assert count == 1
    separate, own, count = trained(6, 1)
    assert count == 6
    assert losses == own
    assert all(np.array_equal(a, b) for a, b in zip(weights, separate, strict=True))

    def change(epoch, logs):
        other.model.optimizer.momentum = 0.1 * (epoch + 1)  # built into the program

    other = fnn.LambdaCallback(on_epoch_end=change)
    assert trained(1, 4, [other])[2] == 4
