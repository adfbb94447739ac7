"""What callbacks that monitor a result do with one that is NaN or missing, and what they keep."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn

NAN = math.nan


class Scripted(fnn.Callback):
    """Reports a scripted value for every epoch; None: no value."""

    added_results = ("score",)

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        if self.values[epoch] is not None:
            logs["score"] = self.values[epoch]


class Undeclared(Scripted):
    """Does not say what it adds, so that nothing can be checked before the training."""

    def on_epoch_end(self, epoch, logs):
        super().on_epoch_end(epoch, logs)


def scripted(values, *callbacks, kind=Scripted, rate=1.0, model=None):
    x = np.zeros((4, 3))
    if model is None:
        model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
        model.compile(fnn.SGD(rate), "mse")
    return model.fit(
        x, x[:, 0], epochs=len(values), verbose=0, callbacks=[kind(values), *callbacks]
    )


def monitoring(tmp_path):
    return {
        "EarlyStopping": fnn.EarlyStopping("score", mode="min", patience=9),
        "ReduceLROnPlateau": fnn.ReduceLROnPlateau("score", mode="min"),
        "ModelCheckpoint": fnn.ModelCheckpoint(
            tmp_path / "{epoch}", "score", save_best_only=True, mode="min"
        ),
        "TerminateOnValue": fnn.TerminateOnValue("score", -1, mode="min"),
        "TerminateOnSmallImprovement": fnn.TerminateOnSmallImprovement("score", mode="min"),
    }


@pytest.mark.parametrize("name", monitoring(Path()))
@pytest.mark.parametrize("values", [[NAN, NAN, 2, NAN], [3, NAN, 2, NAN]])
def test_a_nan_is_warned_of_once(name, values, tmp_path):
    callback = monitoring(tmp_path)[name]
    epoch = 1 + values.index(NAN)
    match = f"^{name}: in epoch {epoch} monitor 'score' is NaN$"
    with pytest.warns(UserWarning, match=match) as caught:
        scripted(values, callback)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="in epoch 2 monitor 'score' is NaN"):  # in each training
        scripted([1, NAN], callback)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scripted([3, 2.0], callback)


@pytest.mark.parametrize("kind", [Scripted, Undeclared])
@pytest.mark.parametrize("name", monitoring(Path()))
def test_a_missing_result_is_warned_of_once(name, kind, tmp_path):
    callback = monitoring(tmp_path)[name]
    match = f"^{name}: in epoch 1 monitor 'score' is not among the results loss"
    with pytest.warns(UserWarning, match=match) as caught:
        history = scripted([None, None, 2.0], callback, kind=kind)
    assert len(caught) == 1
    assert len(history.epoch) == 3


def test_the_reason_says_that_it_was_nan():
    with pytest.warns(UserWarning, match="is NaN"):
        history = scripted([NAN] * 5, fnn.EarlyStopping("score", mode="max", patience=3))
    assert history.stop_reason == "EarlyStopping: score has been NaN for 3 epochs"
    with pytest.warns(UserWarning, match="is NaN"):
        history = scripted([1, NAN, 2, 3], fnn.EarlyStopping("score", mode="min", patience=3))
    assert history.stop_reason == (
        "EarlyStopping: score has not improved for 3 epochs (1 of them NaN or missing), "
        "best in epoch 1"
    )
    with pytest.warns(UserWarning, match="is NaN"):
        history = scripted([1, NAN, NAN, 3], fnn.EarlyStopping("score", mode="min", patience=2))
    assert history.stop_reason == "EarlyStopping: score has been NaN for 2 epochs, best in epoch 1"
    with pytest.warns(UserWarning, match="is not among the results loss"):
        history = scripted([None] * 3, fnn.EarlyStopping("score", mode="min"), kind=Undeclared)
    assert history.stop_reason == "EarlyStopping: score has been missing for 1 epoch"


def test_a_metric_that_is_nan_for_one_class():
    """As in a fold whose validation data have one class."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), np.repeat([1, 0], 20)
    model = fnn.Sequential([fnn.Dense(1, "sigmoid")], input_shape=(3,), seed=0)
    model.compile("adam", "binary_crossentropy", ["roc_auc"])
    stop = fnn.EarlyStopping("val_roc_auc", patience=2)
    with pytest.warns(UserWarning, match="EarlyStopping: in epoch 1 monitor 'val_roc_auc' is NaN"):
        history = model.fit(x, y, validation_split=0.5, epochs=9, verbose=0, callbacks=[stop])
    assert history.stop_reason == "EarlyStopping: val_roc_auc has been NaN for 2 epochs"
    assert stop.best_epoch == -1


# --- the best of earlier trainings ----------------------------------------------------------------


def test_a_checkpoint_keeps_its_best_over_several_fits(tmp_path):
    save = fnn.ModelCheckpoint(tmp_path / "m", "score", save_best_only=True, mode="min")
    assert save.best is None
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile(fnn.SGD(0.0), "mse")
    saved = []
    for score in (3.0, 1.0, 2.0, 0.5, 4.0):
        model.set_weights([np.full_like(w, score) for w in model.get_weights()])
        scripted([score], save, model=model)
        saved.append(float(fnn.load(tmp_path / "m").get_weights()[1][0]))
    assert saved == [3.0, 1.0, 1.0, 0.5, 0.5]
    assert save.best == 0.5


def test_a_checkpoint_begins_anew_where_results_cannot_be_compared(tmp_path):
    save = fnn.ModelCheckpoint(tmp_path / "m", "score", save_best_only=True, mode="min")
    scripted([1.0], save)
    save.mode = "max"
    scripted([0.5, 0.25], save)
    assert save.best == 0.5
    save.initial_value_threshold = 0.75
    scripted([0.5], save)
    assert save.best is None
    scripted([0.875], save)
    assert save.best == 0.875
    save.monitor, save.mode, save.initial_value_threshold = "loss", "auto", None
    scripted([9.0], save)
    assert save.best == 0.0  # the loss of zeros


def test_early_stopping_and_plateaus_begin_anew_with_each_fit():
    stop = fnn.EarlyStopping("score", mode="min", patience=2)
    slow = fnn.ReduceLROnPlateau("score", mode="min", patience=2, factor=0.5)
    for _ in range(2):
        assert len(scripted([1, 2, 3, 4], stop).epoch) == 3
        assert scripted([1, 2, 3, 4], slow).history["learning_rate"] == [1.0, 1.0, 1.0, 0.5]
    assert scripted([2, 1, 0, 0], slow).history["learning_rate"] == [1.0] * 4


def test_what_is_not_one_number_is_refused_before_training():
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(2,), seed=0)
    model.compile("sgd", "crossentropy", ["confusion_matrix"])
    before = model.get_weights()
    for name in ("confusion_matrix", "val_confusion_matrix"):
        with pytest.raises(
            ValueError, match=f"monitor must be a result that is one number.*'{name}"
        ):
            model.fit(x, y, validation_split=0.5, verbose=0,
                      callbacks=[fnn.EarlyStopping(name, mode="min")])  # fmt: skip
    assert all(map(np.array_equal, before, model.get_weights()))
