"""Callbacks as classes: hooks that are called, and settings."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field

import pytest
from callback_helpers import BUILT_IN, REQUIRED, data, made, scripted, small
from model_helpers import is_finite

import fastnn as fnn
from fastnn.callbacks.base import HOOKS

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


def test_a_method_that_a_base_brings_along_is_refused():
    class Mixin:
        def on_batch_end(self, batch, logs):
            """It would never be called."""

    match = r"Mine.on_batch_end is never called; did you mean on_train_batch_end\?"
    for bases in ((Mixin, fnn.Callback), (fnn.EarlyStopping, Mixin)):
        with pytest.raises(TypeError, match=match):
            type("Mine", bases, {})


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("set_model", "self.model is set before check"),
        ("set_params", "what fit was given is known where it is called"),
    ],
)
def test_setters_that_keras_calls_are_refused(name, instead):
    with pytest.raises(TypeError, match=f"Mine.{name} is never called; {instead}"):
        type("Mine", (fnn.Callback,), {name: lambda self, given: None})


@pytest.mark.parametrize("name", ["stop_training", "stop_reason"])
def test_what_the_model_is_to_be_told_is_refused_on_the_callback(name):
    class Mine(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            setattr(self, name, True)

    (x, y), model = data(8), small()
    with pytest.raises(AttributeError, match=f"Mine.{name} is never read: set self.model.{name}"):
        model.fit(x, y, verbose=0, callbacks=[Mine()])


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
    fnn.BackupAndRestore: (
        {"save_freq": 100}, "BackupAndRestore('backup', save_freq=100)"
    ),
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
    fnn.SwapEMAWeights: ({"swap_on_epoch": True}, "SwapEMAWeights(swap_on_epoch=True)"),
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
