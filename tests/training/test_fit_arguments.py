"""Arguments of `fit`, `evaluate` and `predict`: which epochs, how often, and what shows."""

from __future__ import annotations

import csv
import inspect
import re
import sys

import numpy as np
import pytest
from model_helpers import weights_as_bytes

import fastnn as fnn


def data(rows=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, np.tanh(x @ rng.normal(size=(4, 2)))


def small(optimizer="adam", metrics=()):
    model = fnn.Sequential(
        [fnn.Dense(6, "tanh"), fnn.Dense(2)], input_shape=(4,), dtype="float64", seed=0
    )
    model.compile(optimizer, "mse", metrics)
    return model


# --- by position ----------------------------------------------------------------------------------


def test_arguments_of_fit_are_in_keras_order():
    assert list(inspect.signature(fnn.Model.fit).parameters)[1:17] == [
        "x", "y", "batch_size", "epochs", "verbose", "callbacks", "validation_split",
        "validation_data", "shuffle", "class_weight", "sample_weight", "initial_epoch",
        "steps_per_epoch", "validation_steps", "validation_batch_size", "validation_freq",
    ]  # fmt: skip


def test_arguments_by_position_are_those_by_name():
    (x, y), model, twin = data(), small(), small()
    calls = []
    watch = fnn.LambdaCallback(on_epoch_end=lambda epoch, logs: calls.append(epoch))
    got = model.fit(x, y, 16, 3, 0, [watch], 0.25)
    want = twin.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_split=0.25)
    assert got.history == want.history
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert calls == [0, 1, 2]
    assert (model.predict(x, 7) == model.predict(x)).all()


def test_weights_in_the_place_of_the_batch_size_are_named():
    (x, y), model = data(), small()
    match = r"batch_size must be a positive integer, got an array of shape \(64,\); sample_weight"
    with pytest.raises(ValueError, match=match):
        model.fit(x, y, np.ones(64))


def test_a_batch_size_in_the_place_of_the_weights_is_named():
    (x, y), model = data(), small()
    match = r"sample_weight must have shape \(rows,\), got 32; batch_size is given by name"
    for number in (32, 32.0, np.int64(32)):
        with pytest.raises(TypeError, match=re.escape(f"got {number!r}; batch_size is")):
            model.evaluate(x, y, number)
    with pytest.raises(TypeError, match=match):
        model.evaluate(x, y, 32)
    assert model.evaluate(x, y, np.ones(64)) == model.evaluate(x, y, batch_size=64)


# --- which epochs ---------------------------------------------------------------------------------


def test_initial_epoch_counts_on():
    (x, y), model, twin = data(), small(), small()
    seen = []
    watch = fnn.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    model.fit(x, y, epochs=3, verbose=0)
    second = model.fit(x, y, epochs=5, initial_epoch=3, verbose=0, callbacks=[watch])
    whole = twin.fit(x, y, epochs=5, verbose=0)
    assert second.epoch == seen == [3, 4]
    assert second.history["loss"] == whole.history["loss"][3:]
    assert second.stop_reason == "completed 2 epochs (4 to 5)"
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_files_of_a_resumed_training_go_on(tmp_path):
    (x, y), model, path = data(), small(), tmp_path / "log.csv"

    def callbacks():
        return [fnn.ModelCheckpoint(tmp_path / "k-{epoch:02d}"), fnn.CSVLogger(path, append=True)]

    model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks())
    first = (tmp_path / "k-01").read_bytes()
    again = fnn.load(tmp_path / "k-02")
    again.fit(x, y, epochs=4, initial_epoch=2, verbose=0, callbacks=callbacks())
    assert sorted(p.name for p in tmp_path.glob("k-*")) == ["k-01", "k-02", "k-03", "k-04"]
    assert (tmp_path / "k-01").read_bytes() == first
    with path.open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]


def test_epochs_that_are_shown_go_on(capsys):
    small().fit(*data(), epochs=12, initial_epoch=10, verbose=2)
    assert [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "epoch 11/12", "epoch 12/12",
    ]  # fmt: skip


def test_callbacks_count_from_the_initial_epoch():
    x, y = data()
    rates = fnn.LearningRateScheduler(lambda epoch: 0.1**epoch)
    stop = fnn.EarlyStopping("loss", start_from_epoch=6, patience=1, min_delta=9.0)
    model = small(fnn.SGD(0.0))
    history = model.fit(
        x, y, epochs=20, initial_epoch=4, verbose=0, callbacks=[rates, stop], batch_size=64
    )
    assert history.epoch == [4, 5, 6, 7]
    assert history.history["learning_rate"] == pytest.approx([1e-4, 1e-5, 1e-6, 1e-7])
    assert history.stop_reason.endswith("best in epoch 7")


def test_full_batch_iterations_are_counted_on():
    pytest.importorskip("scipy")
    x, y = data()
    model = small(fnn.LBFGS())
    history = model.fit(x, y, epochs=6, initial_epoch=4, verbose=0)
    assert history.epoch == [4, 5]
    assert history.stop_reason.startswith("completed 2 epochs (5 to 6)")


def test_a_budget_that_is_over_still_allows_the_first_epoch_to_begin():
    history = small().fit(*data(), epochs=9, initial_epoch=5, time_budget=1e-9, verbose=0)
    assert history.epoch == [5]
    assert history.stop_reason == "the time_budget of 1e-09 seconds is used up in epoch 6, step 1"


# --- how often to validate ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freq", "validated"),
    [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (5, [4]), ([1, 4], [0, 3]), ({2}, [1]),
     (range(1, 6, 2), [0, 2, 4]), (np.array([3, 99]), [2])],
)  # fmt: skip
def test_validation_freq(freq, validated):
    (x, y), model, twin = data(), small(), small()
    options = {"validation_data": (x[:9], y[:9]), "verbose": 0, "epochs": 5}
    got = model.fit(x, y, validation_freq=freq, **options).history
    want = twin.fit(x, y, **options).history
    assert got["loss"] == want["loss"]
    assert [epoch for epoch, value in enumerate(got["val_loss"]) if value == value] == validated
    assert len(got["val_loss"]) == 5  # one for each epoch, so that a table can be made of it
    assert [got["val_loss"][i] for i in validated] == [want["val_loss"][i] for i in validated]


def test_epochs_without_validation_do_not_count_for_callbacks(tmp_path):
    x, y = data()

    class Scripted(fnn.Callback):
        added_results = ()

        def on_epoch_end(self, epoch, logs):
            if "val_loss" in logs:
                logs["val_loss"] = {1: 3.0, 3: 2.0, 5: 4.0, 7: 5.0, 9: 1.0}[epoch]

    stop = fnn.EarlyStopping(patience=2)
    save = fnn.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True)
    slow = fnn.ReduceLROnPlateau(patience=2, factor=0.5)
    history = small(fnn.SGD(1.0)).fit(
        x, y, epochs=10, validation_split=0.5, validation_freq=2, verbose=0,
        callbacks=[Scripted(), stop, save, slow, fnn.TerminateOnValue("val_loss", -1),
                   fnn.TerminateOnSmallImprovement("val_loss", epochs=9)],
    )  # fmt: skip
    assert len(history.epoch) == 8
    assert stop.best_epoch == 3
    assert history.stop_reason == (
        "EarlyStopping: val_loss has not improved for 2 epochs, best in epoch 4"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "4"]
    assert history.history["learning_rate"] == [1.0] * 8
    assert slow.model.optimizer.learning_rate == 0.5


def test_epochs_are_validated_by_their_number_from_the_first_of_all():
    x, y = data()
    history = small().fit(
        x, y, epochs=7, initial_epoch=4, validation_split=0.5, validation_freq=3, verbose=0
    )
    assert [np.isnan(value) for value in history.history["val_loss"]] == [True, False, True]


def test_validation_batch_size_changes_no_result():
    (x, y), model, twin = data(), small(metrics=["r2"]), small(metrics=["r2"])
    options = {"validation_data": (x, y), "verbose": 0}
    got = model.fit(x, y, validation_batch_size=5, **options).history
    want = twin.fit(x, y, **options).history
    assert got == {name: pytest.approx(values, rel=1e-12) for name, values in want.items()}


X, Y = data(8)
PAIRS = [(X, Y), (X, Y)]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"initial_epoch": -1}, ValueError, "initial_epoch must be an integer of at least 0, got"),
        ({"initial_epoch": 1.5}, ValueError, "initial_epoch must be an integer of at least 0, got"),
        (
            {"initial_epoch": 10, "epochs": 5},
            ValueError,
            "initial_epoch=10 leaves nothing of 5 epochs: epochs says where training ends, as in "
            "Keras, not how many more there are (epochs=15 for 5 more)",
        ),
        ({"initial_epoch": 1}, ValueError, "initial_epoch=1 leaves nothing of 1 epoch: epochs say"),
        ({"validation_freq": 0}, ValueError, "validation_freq must be a positive integer, got 0"),
        ({"validation_freq": "1"}, ValueError, "validation_freq must be a positive integer, got"),
        ({"validation_freq": [0]}, ValueError, "validation_freq must be a positive integer, got 0"),
        ({"validation_freq": 2}, ValueError, "validation_freq needs data to validate with: give v"),
        ({"validation_steps": 2}, ValueError, "validation_steps needs data to validate with"),
        ({"validation_batch_size": 2}, ValueError, "validation_batch_size needs data to validate"),
        (
            {"validation_freq": 5, "epochs": 4, "validation_split": 0.5},
            ValueError,
            "validation_freq=5 leaves none of the epochs 1 to 4 to validate",
        ),
        (
            {"validation_freq": [9, 2], "epochs": 4, "initial_epoch": 2, "validation_split": 0.5},
            ValueError,
            "validation_freq=[2, 9] leaves none of the epochs 3 to 4 to validate",
        ),
        (
            {"validation_freq": [], "validation_split": 0.5},
            ValueError,
            "validation_freq=[] leaves none of the epochs 1 to 1",
        ),
        (
            {"validation_steps": 1, "validation_split": 0.5},
            ValueError,
            "validation_steps is for validation_data that yields batches (x, y); of arrays give",
        ),
        (
            {"validation_batch_size": 4, "validation_data": PAIRS},
            ValueError,
            "validation_batch_size is for arrays; validation_data yields batches (x, y)",
        ),
        (
            {"validation_steps": 0, "validation_data": PAIRS},
            ValueError,
            "validation_steps must be a positive integer, got 0",
        ),
        (
            {"validation_data": iter(PAIRS)},
            TypeError,
            "validation_data must be (x, y) or an iterable of batches that can be read once an ep",
        ),
        (
            {"validation_data": iter([]), "validation_steps": 1},
            ValueError,
            "validation_data: x must have at least one row",
        ),
        ({"verbose": "yes"}, ValueError, "verbose must be 0, 1 or 2, got 'yes' ('auto' stands for"),
        ({"verbose": [1]}, ValueError, "verbose must be 0, 1 or 2, got [1]"),
        ({"verbose": np.ones(3)}, ValueError, "verbose must be 0, 1 or 2, got array"),
        ({"verbose": 1.0}, ValueError, "verbose must be 0, 1 or 2, got 1.0"),
        ({"start_epoch": 3}, TypeError, "Model.fit() got an unexpected keyword argument 'start_ep"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_has_changed(options, error, match):
    (x, y), model = data(), small()
    before, state = weights_as_bytes(model), model.network.generator.bit_generator.state
    with pytest.raises(error) as caught:
        model.fit(x, y, **{"verbose": 0, **options})
    assert str(caught.value).startswith(match)
    assert weights_as_bytes(model) == before
    assert model.network.generator.bit_generator.state == state
    assert model.history is None


# --- what shows -----------------------------------------------------------------------------------


def test_verbose_auto_is_what_fit_shows_by_default(capsys):
    x, y = data()
    shown = []
    for options in ({}, {"verbose": "auto"}, {"verbose": 1}):
        small().fit(x, y, **options)
        shown.append(capsys.readouterr().err)
    assert shown[0] == shown[1] == shown[2] != ""


@pytest.mark.parametrize("verbose", ["auto", 0, 1, 2])
def test_evaluate_and_predict_show_what_they_are_asked_for(verbose, capsys):
    (x, y), model = data(1500), small(metrics=["mae"])
    plain, results = model.predict(x), model.evaluate(x, y)
    assert capsys.readouterr().err == ""
    for _ in range(3):  # the first time is another path than later ones
        for rows in (3, 1500):
            assert (model.predict(x[:rows], verbose=verbose) == plain[:rows]).all()
            err = capsys.readouterr().err
            assert err == ("" if verbose in ("auto", 0) else f"predict  {rows:,} rows\n")
    assert model.evaluate(x, y, verbose=verbose) == results
    line = f"evaluate  loss {results['loss']:.4f}  mae {results['mae']:.4f}\n"
    assert capsys.readouterr().err == ("" if verbose in ("auto", 0) else line)


def test_bars_on_a_terminal(capsys, monkeypatch):
    (x, y), model = data(1500), small()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    results = model.evaluate(x, y, verbose=1)
    err = capsys.readouterr().err
    assert "evaluate 100%" in err
    assert f"loss {results['loss']:.4f}" in err
    model.predict((x[i : i + 500] for i in (0, 500, 1000)), verbose=1)
    assert "predict 1500 rows" in capsys.readouterr().err
    model.predict(x, verbose=2)
    assert capsys.readouterr().err == "predict  1,500 rows\n"


@pytest.mark.parametrize("rows", [3, 1500])
def test_a_wrong_verbose_is_refused(rows):
    (x, y), model = data(rows), small()
    for _ in range(3):
        with pytest.raises(ValueError, match=r"verbose must be 0, 1 or 2, got 3 \('auto' stands f"):
            model.predict(x, verbose=3)
        model.predict(x)
    with pytest.raises(ValueError, match="verbose must be 0, 1 or 2, got 'no'"):
        model.evaluate(x, y, verbose="no")
