"""Trainings of many kinds that are killed or interrupted, and resumed; comparison of their bits."""

import contextlib
import functools
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optimizers
from fastnn.exchange import training_file
from fastnn.exchange.plain_data import encode
from fastnn.training.gradient_accumulation import AccumulatingTrainer
from fastnn.training.lbfgs import IterationTrainer
from fastnn.training.step_trainer import StepTrainer

ROWS, BATCH, EPOCHS = 52, 8, 5
STEPS = -(-ROWS // BATCH)  # of an epoch; the last one has four rows


class Killed(BaseException):
    """What ends a training without giving it time to do anything."""


def rows(count=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    return x, (np.abs(x[:, 0] + x[:, 1] ** 2) * 1.4).astype(np.int64) % 3


class Shuffled:
    """Batches whose order a generator of their own draws anew after each epoch."""

    def __init__(self):
        self.x, self.y = rows()
        self.rng = np.random.default_rng(5)
        self.order = np.arange(ROWS)

    def __len__(self):
        return STEPS

    def __getitem__(self, i):
        if i >= STEPS:
            raise IndexError(i)
        own = self.order[i * BATCH : (i + 1) * BATCH]
        return self.x[own], self.y[own]

    def on_epoch_end(self):
        self.rng.shuffle(self.order)


def endless():
    """Yield random batches for ever."""
    rng = np.random.default_rng(3)
    while True:
        x = rng.normal(size=(BATCH, 6)).astype(np.float32)
        yield x, rng.integers(0, 3, BATCH)


class Counts(fnn.Callback):
    """A callback of the user's, with state of many kinds."""

    def __init__(self):
        self.seen, self.rng = [], np.random.default_rng(9)
        self.by_epoch, self.set = {}, {0}
        self.total = np.zeros(2)

    def on_epoch_end(self, epoch, logs):
        self.seen.append((epoch, logs["loss"]))
        self.by_epoch[epoch] = self.rng.random()
        self.set.add(epoch)
        self.total += logs["loss"]


class Batches(fnn.Callback):
    """A callback with batch hooks, for which steps are made one at a time."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, batch, logs):
        self.losses.append((batch, logs["loss"]))


@dataclass
class Case:
    """What is trained: how the model is compiled, the data, and the other arguments of `fit`."""

    optimizer: Any = "adam"
    loss: str = "crossentropy"
    metrics: tuple = ("accuracy",)
    layers: Any = None
    dtype: str = "float32"
    data: Any = rows
    fit: dict = field(default_factory=dict)
    callbacks: Any = tuple

    def model(self):
        layers = self.layers() if self.layers else [fnn.Dense(7, "relu"), fnn.Dense(3)]
        model = fnn.Sequential(layers, input_shape=(6,), dtype=self.dtype, seed=1)
        model.compile(self.optimizer, self.loss, metrics=list(self.metrics))
        return model

    def train(self, model, *callbacks, **more):
        data = self.data()
        given = {"x": data[0], "y": data[1]} if isinstance(data, tuple) else {"x": data}
        if isinstance(data, tuple) and not model.optimizer.full_batch:
            given["batch_size"] = BATCH
        own = self.fit() if callable(self.fit) else self.fit
        arguments = {"epochs": EPOCHS, "verbose": 0, **given, **own, **more}
        return model.fit(callbacks=list(callbacks), **arguments)


def held():
    return {"validation_data": rows(30, seed=2)}


CASES = {
    "plain": Case(),
    "in order": Case(fit={"shuffle": False}),
    "float64": Case(dtype="float64"),
    "mse": Case(loss="mse", data=lambda: (rows()[0], np.eye(3)[rows()[1]]), metrics=("mae",)),
    "class weights": Case(fit={"class_weight": {0: 2.0, 2: 0.5}}),
    "sample weights": Case(fit={"sample_weight": np.linspace(0, 2, ROWS)}),
    "dropout": Case(layers=lambda: [fnn.Dense(9, "tanh"), fnn.Dropout(0.4), fnn.Dense(3)]),
    "normalized": Case(
        layers=lambda: [fnn.BatchNormalization(), fnn.Dense(9, "relu"), fnn.Dense(3)]
    ),
    "measured": Case(layers=lambda: [fnn.Normalization(), fnn.Dense(3)]),
    "epoch metric": Case(metrics=("accuracy", "f1", fnn.metrics.ConfusionMatrix())),
    "validation": Case(fit=held),
    "validation split": Case(fit={"validation_split": 0.3, "validation_freq": 2}),
    "validation batches": Case(fit=lambda: {"validation_data": endless(), "validation_steps": 2}),
    "list": Case(data=lambda: [(rows()[0][i::4], rows()[1][i::4]) for i in range(4)]),
    "list, on and on": Case(
        data=lambda: [(rows()[0][i::4], rows()[1][i::4]) for i in range(4)],
        fit={"steps_per_epoch": 3},
    ),
    "batches shuffled": Case(data=Shuffled),
    "generator": Case(data=endless, fit={"steps_per_epoch": 7}),
    "accumulated": Case(fnn.Adam(0.01, gradient_accumulation_steps=3)),
    "average": Case(fnn.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.8), fit=held),
    "average seen": Case(
        fnn.Adam(0.01, use_ema=True, ema_momentum=0.9),
        fit=held,
        callbacks=lambda: [fnn.SwapEMAWeights(True), Counts()],
    ),
    "clipped": Case(fnn.AdamW(0.01, global_clipnorm=0.5, weight_decay=0.1)),
    "early stopping": Case(
        fnn.Adam(0.2), fit=held, callbacks=lambda: [fnn.EarlyStopping(patience=2)]
    ),
    "average, early stopping": Case(
        fnn.Adam(0.1, use_ema=True, ema_momentum=0.9),
        fit=held,
        callbacks=lambda: [fnn.EarlyStopping(patience=2)],
    ),
    "plateau": Case(
        fnn.Adam(0.1),
        fit=held,
        callbacks=lambda: [fnn.ReduceLROnPlateau(patience=1, factor=0.3, cooldown=1)],
    ),
    "scheduler": Case(
        callbacks=lambda: [fnn.LearningRateScheduler(lambda epoch, rate: rate * 0.7)]
    ),
    "improvement": Case(
        callbacks=lambda: [fnn.TerminateOnSmallImprovement(min_delta=0.02, epochs=2)]
    ),
    "gradient": Case(callbacks=lambda: [fnn.TerminateOnSmallGradient(1e-9)]),
    "recorder": Case(callbacks=lambda: [fnn.Recorder(looks=4)]),
    "diagnosis": Case(fnn.SGD(1e-7), callbacks=lambda: [fnn.Diagnose(every=2)]),
    "own callback": Case(callbacks=lambda: [Counts()]),
    "batch hooks": Case(callbacks=lambda: [Batches()]),
    "functions": Case(callbacks=lambda: [fnn.LambdaCallback(on_epoch_end=lambda *_: None)]),
    **{
        f"optimizer {name}": Case(optimizer=name, metrics=())
        for name in optimizers.registry
        if name != "lbfgs"
    },
    "lbfgs": Case("lbfgs"),
    "lbfgs, validation": Case(
        fnn.LBFGS(memory=3), fit=held, callbacks=lambda: [fnn.EarlyStopping(patience=2)]
    ),
    **{
        f"schedule {type(one).__name__}": Case(fnn.SGD(one))
        for one in (
            fnn.schedules.CosineDecay(0.1, 31),
            fnn.schedules.ExponentialDecay(0.1, 7, 0.8),
            fnn.schedules.OneCycle(0.1, 33),
        )
    },
}


def everything(model, history, callbacks):
    """Return all that a training leaves behind, in a form that compares bits."""
    network, runtime = model.network, model.network.runtime
    found = {f"parameter {name}": view.tobytes() for name, view in runtime.parameters.items()}
    found |= {f"state {name}": view.tobytes() for name, view in runtime.state_views().items()}
    found |= {
        "step": (runtime.step, runtime.accumulated, runtime.key),
        "generator": json.dumps(network.generator.bit_generator.state),
        "rate": repr(network.optimizer.config()),
        "epochs": history.epoch,
        "rates": history.learning_rates,
        "stop reason": history.stop_reason,
    }
    for name, values in history.history.items():
        found[f"history {name}"] = [np.asarray(value).tobytes() for value in values]
    for i, callback in enumerate(callbacks):
        tensors: dict[str, np.ndarray] = {}
        state = encode(callback.get_state(), tensors, training_file.CLASSES)
        found[f"callback {i}"] = json.dumps(state), [one.tobytes() for one in tensors.values()]
    return found


def differences(one, other):
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


@contextlib.contextmanager
def ended_after(steps, error, monkeypatch, *, is_late=False):
    """Let the trainers raise an error instead of a slice of steps, or after it (`is_late`)."""
    left = [steps]
    with monkeypatch.context() as patch:
        for cls, name in (
            (StepTrainer, "_make"), (AccumulatingTrainer, "_make"), (IterationTrainer, "_accept"),
        ):  # fmt: skip
            original = vars(cls)[name]

            @functools.wraps(original)  # SciPy looks at the names of the arguments
            def make(self, *args, original=original, **kwargs):
                if left[0] <= 0 and not is_late:
                    raise error
                left[0] -= 1
                made = original(self, *args, **kwargs)
                if left[0] <= 0 and is_late:
                    raise error
                return made

            patch.setattr(cls, name, make)
        yield


def resumed(case, ends, monkeypatch, folder, save_freq, *, is_late=False):
    """Train with interruptions after so many calls; return all that is left behind, and how often
    the training was interrupted."""
    done = 0
    for end in [*ends, None]:
        model, callbacks = case.model(), list(case.callbacks())
        backup = fnn.BackupAndRestore(folder, save_freq=save_freq)
        if end is None:
            history = case.train(model, backup, *callbacks)
            assert not backup.path.exists()
            return everything(model, history, callbacks), done
        error = KeyboardInterrupt() if is_late else Killed()
        try:
            with ended_after(end, error, monkeypatch, is_late=is_late):
                history = case.train(model, *callbacks, backup)
        except (KeyboardInterrupt, Killed):
            done += 1
        else:
            return everything(model, history, callbacks), done
    raise AssertionError


@contextlib.contextmanager
def ctrl_c_at_call(number, owner, name, monkeypatch, *, is_late=False):
    """Raise KeyboardInterrupt in place of the n-th call of a method, or behind it (`is_late`)."""
    original, calls = getattr(owner, name), []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == number and not is_late:
            raise KeyboardInterrupt
        found = original(*args)
        if len(calls) == number:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield


def resumed_once(case, folder, save_freq):
    """Return everything that a training leaves behind that is resumed."""
    model, callbacks = case.model(), list(case.callbacks())
    history = case.train(model, *callbacks, fnn.BackupAndRestore(folder, save_freq))
    return everything(model, history, callbacks)
