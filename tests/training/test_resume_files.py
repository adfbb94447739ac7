"""Files of trainings: those of callbacks go on, and what cannot be resumed is refused."""

import contextlib
import copy
import random
from collections import Counter

import numpy as np
import pytest
from resuming import (
    EPOCHS,
    ROWS,
    STEPS,
    Case,
    Counts,
    Killed,
    differences,
    ended_after,
    endless,
    everything,
    held,
    rows,
)

import fastnn as fnn
from fastnn.exchange import model_file


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_of_callbacks_go_on(tmp_path, monkeypatch):
    def callbacks(folder):
        return [
            fnn.CSVLogger(folder / "log.csv"),
            fnn.ModelCheckpoint(folder / "best", save_best_only=True),
            fnn.ModelCheckpoint(folder / "{epoch}"),
        ]

    case = Case(fnn.Adam(0.1), fit=held)
    wanted, found = tmp_path / "wanted", tmp_path / "found"
    for folder in (wanted, found):
        folder.mkdir()
    case.train(case.model(), *callbacks(wanted))
    # The first backup that counts is older than the files: some epochs are trained twice.
    for end in (5, 2, None):
        backup = fnn.BackupAndRestore(tmp_path / "backup", save_freq=9)
        with contextlib.ExitStack() as stack:
            if end is not None:
                stack.enter_context(pytest.raises(Killed))
                stack.enter_context(ended_after(end, Killed(), monkeypatch))
            case.train(case.model(), *callbacks(found), backup)
    assert files_of(found).keys() == files_of(wanted).keys()
    assert (found / "log.csv").read_text() == (wanted / "log.csv").read_text()
    for name in ("best", "1", "5"):
        one, other = fnn.load(found / name), fnn.load(wanted / name)
        for view, same in zip(one.get_weights(), other.get_weights(), strict=True):
            assert view.tobytes() == same.tobytes()


def test_table_that_has_lost_lines_is_refused(tmp_path, monkeypatch):
    case, log = Case(), tmp_path / "log.csv"
    with ended_after(3, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.CSVLogger(log), fnn.BackupAndRestore(tmp_path / "b"))
    log.write_text("epoch")
    with pytest.raises(OSError, match=r"log.csv' has 5 bytes, \d+ were written before"):
        case.train(case.model(), fnn.CSVLogger(log), fnn.BackupAndRestore(tmp_path / "b"))


def test_table_that_lines_are_added_to_keeps_those_before(tmp_path, monkeypatch):
    case, log = Case(metrics=()), tmp_path / "log.csv"
    log.write_text("epoch,loss\n7,0.5\n")
    for end in (1, 2, None):  # the first backup is made before the first line
        with contextlib.ExitStack() as stack:
            if end is not None:
                stack.enter_context(pytest.raises(Killed))
                stack.enter_context(ended_after(end, Killed(), monkeypatch))
            table = fnn.CSVLogger(log, append=True)
            case.train(case.model(), table, fnn.BackupAndRestore(tmp_path / "b", 3))
    lines = log.read_text().splitlines()
    assert lines[:2] == ["epoch,loss", "7,0.5"]
    assert [line.split(",")[0] for line in lines[2:]] == ["0", "1", "2", "3", "4"]


def test_table_that_is_new_in_a_resumed_training_begins_empty(backup):
    log = backup.parent / "log.csv"
    log.write_text("something else\n")
    Case(metrics=()).train(Case().model(), fnn.CSVLogger(log), resume_from=backup)
    assert log.read_text().startswith("epoch,loss,accuracy\n2,")


def test_table_that_was_used_before(tmp_path, monkeypatch):
    case, table = Case(), fnn.CSVLogger(tmp_path / "log.csv")
    case.train(case.model(), table)
    with ended_after(1, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), table, fnn.BackupAndRestore(tmp_path / "b", 3))
    case.train(case.model(), table, fnn.BackupAndRestore(tmp_path / "b", 3))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + EPOCHS


def test_refused_state_leaves_the_model_as_it_was(tmp_path, monkeypatch):
    case, log = Case(), tmp_path / "log.csv"
    with ended_after(3, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.CSVLogger(log), fnn.BackupAndRestore(tmp_path / "b"))
    log.write_text("")
    model, ended = case.model(), []
    before = everything(model, fnn.History(), [])
    told = fnn.LambdaCallback(on_train_end=ended.append)
    with pytest.raises(OSError, match="were written before"):
        case.train(model, told, fnn.CSVLogger(log), fnn.BackupAndRestore(tmp_path / "b"))
    assert differences(everything(model, fnn.History(), []), before) == []
    assert ended == [{}]


def test_iterations_that_converge_earlier_on_other_rows(tmp_path, monkeypatch):
    def case(y):
        return Case("lbfgs", loss="mse", metrics=(), data=lambda: (rows()[0], y), fit={"epochs": 9})

    first = case(np.eye(3)[rows()[1]])
    with ended_after(6, Killed(), monkeypatch), pytest.raises(Killed):
        first.train(first.model(), fnn.BackupAndRestore(tmp_path))
    other = case(np.zeros((ROWS, 3)))
    with pytest.raises(ValueError, match="lead to other parameters"):
        other.train(other.model(), fnn.BackupAndRestore(tmp_path))
    assert (tmp_path / "training.safetensors").exists()


def test_tensorboard_hides_what_is_trained_twice(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    from fastnn.callbacks import tensorboard

    made = []

    class Writer:
        def __init__(self, folder, purge_step=None):
            made.append((purge_step, []))

        def add_scalar(self, name, value, epoch):
            made[-1][1].append(epoch)

        def flush(self):
            pass

        close = flush

    monkeypatch.setattr(tensorboard, "_writer_class", lambda: Writer)
    case = Case(metrics=())
    with ended_after(3, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path), fnn.TensorBoard())
    case.train(case.model(), fnn.BackupAndRestore(tmp_path), fnn.TensorBoard())
    (first, early), (second, late) = made
    assert (first, second) == (None, 3)
    assert sorted(set(early)) == [0, 1, 2]
    assert sorted(set(late)) == [3, 4]


@pytest.fixture
def backup(tmp_path, monkeypatch):
    """A training that was killed in its third epoch, after the second was saved."""
    case = Case()
    with ended_after(2, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path))
    return tmp_path / "training.safetensors"


def test_backup_is_a_model_file(backup):
    model = fnn.load(backup)
    assert model.network.runtime.step == 2 * STEPS
    assert model.predict(rows()[0]).shape == (ROWS, 3)


def test_more_epochs_than_before(backup):
    case = Case()
    longer = case.model()
    wanted = everything(longer, case.train(longer, epochs=9), [])
    model = case.model()
    history = case.train(model, epochs=9, resume_from=backup)
    assert differences(everything(model, history, []), wanted) == []
    assert backup.exists()  # only BackupAndRestore deletes its own


def test_training_that_is_complete_ends_at_once(backup):
    model = Case().model()
    history = Case().train(model, resume_from=backup, epochs=2)
    assert history.epoch == [0, 1]
    assert history.stop_reason == "completed 2 epochs"
    assert model.network.runtime.step == 2 * STEPS


OTHERS = {
    "has completed 2 epochs; epochs says where training ends": lambda model: (model, {"epochs": 1}),
    "initial_epoch=1: the training in": lambda model: (model, {"initial_epoch": 1}),
    "had rows 52, now there is 40": lambda model: (
        model, dict(zip("xy", rows(40), strict=True))
    ),
    "had batch_size 8, now there is 4": lambda model: (model, {"batch_size": 4}),
    "layer 'dense' was": lambda _: (
        Case(layers=lambda: [fnn.Dense(8, "relu"), fnn.Dense(3)]).model(), {}
    ),
    "the number of layers was 2, is 1": lambda _: (Case(layers=lambda: [fnn.Dense(3)]).model(), {}),
    "the optimizer's name was 'adam', is 'sgd'": lambda _: (Case("sgd").model(), {}),
    "the optimizer's beta_1 was 0.9, is 0.5": lambda _: (Case(fnn.Adam(beta_1=0.5)).model(), {}),
    "metrics was": lambda _: (Case(metrics=("f1",)).model(), {}),
    "dtype was 'float32', is 'float64'": lambda _: (Case(dtype="float64").model(), {}),
}  # fmt: skip


@pytest.mark.parametrize("message", OTHERS)
def test_another_training_is_refused_before_anything_changes(message, backup):
    model, more = OTHERS[message](Case().model())
    before = everything(model, fnn.History(), [])
    with pytest.raises(ValueError, match=message):
        Case().train(model, resume_from=backup, **more)
    assert differences(everything(model, fnn.History(), []), before) == []
    assert model.history is None


def test_file_without_a_training_is_refused(tmp_path):
    model = Case().model()
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a model, but no training that could be resumed"):
        Case().train(model, resume_from=tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        Case().train(model, resume_from=tmp_path / "nothing")


def test_iterations_on_other_rows_are_noticed(tmp_path, monkeypatch):
    case = Case("lbfgs")
    with ended_after(3, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path))
    other = Case("lbfgs", data=lambda: rows(seed=1))
    with pytest.raises(ValueError, match="lead to other parameters"):
        other.train(other.model(), fnn.BackupAndRestore(tmp_path))


def test_batches_that_have_run_out_are_noticed(tmp_path, monkeypatch):
    def short():
        return (batch for batch, _ in zip(endless(), range(5)))  # noqa: B905

    case = Case(data=endless, fit={"steps_per_epoch": 7})
    with ended_after(9, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path))
    other = Case(data=short, fit={"steps_per_epoch": 7})
    with pytest.raises(ValueError, match="resume_from: x ended after"):
        other.train(other.model(), fnn.BackupAndRestore(tmp_path))


def test_state_that_is_not_plain_is_told(tmp_path):
    class Keeps(fnn.Callback):
        def on_train_begin(self):
            self.file, self.best = object(), 3

    with pytest.warns(UserWarning, match=r"Keeps is saved without file \(a object\)"):
        Case().train(Case().model(), Keeps(), fnn.BackupAndRestore(tmp_path))


def test_callbacks_that_are_missing_are_told(tmp_path, monkeypatch):
    case = Case(callbacks=lambda: [Counts()])
    with ended_after(2, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), Counts(), fnn.BackupAndRestore(tmp_path))
    with pytest.warns(UserWarning, match="not there now: Counts$"):
        case.train(case.model(), resume_from=tmp_path / "training.safetensors")


def test_saving_where_a_training_does_not_rest(tmp_path):
    class Saves(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.training.save(tmp_path / "training")

    with pytest.raises(RuntimeError, match="in a callback's on_rest only"):
        Case().train(Case().model(), Saves())
    assert not (tmp_path / "training").exists()


def test_layer_that_cannot_be_saved_is_told_before_training(tmp_path):
    class Own(fnn.Layer):
        kind = "own_and_unknown"

        def emit(self, builder, inputs):
            return inputs

    model = Case(layers=lambda: [Own(), fnn.Dense(3)]).model()
    with pytest.raises(ValueError, match="load would not know"):
        Case().train(model, fnn.BackupAndRestore(tmp_path))
    assert model.network.runtime.step == 0


HOSTILE = [None, True, -1, 2**70, 0.5, "x" * 1000, "\x1b[2J", [], {}, [[]], {"float": "nan"},
           {"float": 1}, {"array": "99"}, {"array": "0"}, {"tuple": 3}, {"dict": [[[], 1]]},
           {"object": ["Popen", {}]}, {"generator": {"dict": [["bit_generator", "os"]]}},
           {"number": ["float64", "x"]}, {"number": ["O", 1]}, {"deque": [-1, []]}]  # fmt: skip


def places(value, at=()):
    """Yield the paths of all nodes of a JSON value."""
    yield at
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from places(one, (*at, key))


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_states_from_strangers(count, tmp_path, monkeypatch):
    """A training is continued from a state that makes sense, or refused with a short message."""
    case = Case(metrics=("f1",), fit=held, callbacks=lambda: [fnn.EarlyStopping(patience=3)])
    backup = fnn.BackupAndRestore(tmp_path, save_freq=2)
    with ended_after(5, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), *case.callbacks(), backup)
    about, tensors = model_file.read(backup.path)
    monkeypatch.setattr(model_file, "read", lambda path: (changed, tensors))
    of_model = {key: one for key, one in about.items() if key != "attachments"}
    every = [("attachments", "fit", *at) for at in places(about["attachments"]["fit"])]
    every += [at for at in places(of_model) if at]
    assert len(every) > 200
    rng, outcomes = random.Random(count), Counter()
    for _ in range(count):
        changed = copy.deepcopy(about)
        *path, last = rng.choice(every)
        node = changed
        for key in path:
            node = node[key]
        if rng.random() < 0.2:
            del node[last]
        else:
            node[last] = rng.choice(HOSTILE)
        message = ""
        try:
            case.train(case.model(), *case.callbacks(), resume_from=backup.path)
        except ValueError as error:
            message = str(error)
            outcomes[type(error).__name__] += 1
        except fnn.NonFiniteLossError:
            if last != "learning_rate":  # of which any number is one
                raise
        assert len(message) < 700
        assert message.isprintable()
    assert outcomes["FormatError"] > count / 2
