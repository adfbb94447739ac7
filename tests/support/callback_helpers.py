"""What the tests of callbacks share: a small training, and a callback with scripted results."""

from __future__ import annotations

import numpy as np

import fastnn as fnn


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
    fnn.BackupAndRestore: ("backup",),
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
