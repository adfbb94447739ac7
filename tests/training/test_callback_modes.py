"""Callbacks that monitor a result: whether less or more of it is better."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from callback_helpers import Scripted, data, small
from model_helpers import weights_as_bytes

import fastnn as fnn

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
