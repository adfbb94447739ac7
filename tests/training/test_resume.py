"""Trainings that are killed or interrupted, and resumed, end with the bits of one left alone."""

import contextlib
import copy
import functools
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optimizers
from fastnn.data import pages
from fastnn.exchange import model_file, training_file
from fastnn.exchange.plain_data import encode
from fastnn.network import Network
from fastnn.runtime import Runtime
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


def memmap(tmp_path_factory):
    x, y = rows(700)
    path = tmp_path_factory.mktemp("maps") / "x.npy"
    np.save(path, x)
    return lambda: (np.load(path, mmap_mode="r"), y)


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


@pytest.fixture
def small_maps(monkeypatch):
    """Let every memory map count as a large one, read in windows of a few rows."""
    monkeypatch.setattr(pages, "MAPPED_FROM", 0)


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


@pytest.mark.parametrize("save_freq", ["epoch", 3])
@pytest.mark.parametrize("name", CASES)
def test_killed_training_resumes_to_the_same_bits(name, save_freq, tmp_path, monkeypatch):
    case = CASES[name]
    model, callbacks = case.model(), list(case.callbacks())
    wanted = everything(model, case.train(model, *callbacks), callbacks)
    found, killed = resumed(case, [3, 4, 5], monkeypatch, tmp_path / "backup", save_freq)
    assert killed
    assert differences(found, wanted) == []


@pytest.mark.parametrize("name", CASES)
def test_interrupted_training_resumes_where_it_was(name, tmp_path, monkeypatch):
    """Ctrl-C comes when steps have been made natively, of which Python has not heard yet."""
    case = CASES[name]
    model, callbacks = case.model(), list(case.callbacks())
    wanted = everything(model, case.train(model, *callbacks), callbacks)
    found, interrupted = resumed(case, [3, 1, 2], monkeypatch, tmp_path / "backup", 2, is_late=True)
    assert interrupted
    assert differences(found, wanted) == []


@pytest.mark.parametrize("lost", ["results", "order", "done", "history", "callbacks", "generator"])
def test_comparison_finds_what_is_lost(lost, tmp_path, monkeypatch):
    """Each thing that is saved is needed: without it the bits differ, or nothing goes on."""
    case = Case(metrics=("f1",), callbacks=lambda: [Counts()])
    model, callbacks = case.model(), list(case.callbacks())
    wanted = everything(model, case.train(model, *callbacks), callbacks)
    read = training_file.read

    def damaged(path):
        checkpoint = read(path)
        state = checkpoint.state
        place = state["trainer"]["place"]
        if lost == "results":
            place["results"] = {
                **place["results"],
                "_sums": [1.01 * one for one in place["results"]["_sums"]],
            }
        elif lost == "order":
            place["order"] = np.random.default_rng(77).bit_generator.state
        elif lost == "done":
            place["done"] -= 1
        elif lost == "history":
            state["history"]["history"]["loss"] = []
        elif lost == "callbacks":
            (own,) = (one for one in state["callbacks"] if one["class"] == "Counts")
            own["state"]["rng"] = np.random.default_rng(77)
        else:
            about = checkpoint.network._about
            about["generator"] = np.random.default_rng(77).bit_generator.state
        return checkpoint

    monkeypatch.setattr(training_file, "read", damaged)
    found, _ = resumed(case, [5], monkeypatch, tmp_path / "backup", 2)
    assert differences(found, wanted)


# --- other data and models ------------------------------------------------------------------------


def several():
    """A model with two inputs, one of them sparse, and two outputs."""
    a, b = fnn.Input((6,), name="a"), fnn.Input((4,), name="b")
    both = fnn.Concatenate()([fnn.Dense(5, "relu")(a), fnn.Dense(5, "tanh")(b)])
    one, two = fnn.Dense(3, name="one")(both), fnn.Dense(1, name="two")(both)
    model = fnn.Model([a, b], [one, two], seed=3)
    model.compile("adam", {"one": "crossentropy", "two": "mse"}, {"one": ["accuracy", "f1"]})
    return model


def test_several_inputs_and_outputs(tmp_path, monkeypatch):
    sparse = pytest.importorskip("scipy.sparse")
    x, y = rows()
    data = {
        "x": {"a": sparse.csr_matrix(np.where(x > 0.5, x, 0)), "b": x[:, :4]},
        "y": {"one": y, "two": x[:, 5]},
        "sample_weight": np.linspace(0.5, 1.5, ROWS), "batch_size": BATCH, "verbose": 0,
    }  # fmt: skip
    left_alone = several()
    wanted = everything(left_alone, left_alone.fit(**data, epochs=4), [])
    with ended_after(5, Killed(), monkeypatch), pytest.raises(Killed):
        several().fit(**data, epochs=4, callbacks=[fnn.BackupAndRestore(tmp_path, save_freq=2)])
    model = several()
    history = model.fit(**data, epochs=4, callbacks=[fnn.BackupAndRestore(tmp_path, 2)])
    assert differences(everything(model, history, []), wanted) == []


@pytest.mark.parametrize("shuffle", [True, False])
def test_memory_maps(shuffle, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MAPPED_FROM", 1)
    monkeypatch.setattr(pages, "WINDOW_BYTES", 4 * 6 * 4 * BATCH)
    monkeypatch.setattr(pages, "BLOCK_BYTES", 4 * 6 * BATCH)
    x, y = rows(260)
    np.save(tmp_path / "x.npy", x)
    case = Case(
        data=lambda: (np.load(tmp_path / "x.npy", mmap_mode="r"), y), fit={"shuffle": shuffle}
    )
    model = case.model()
    wanted = everything(model, case.train(model), [])
    found, killed = resumed(case, [10, 13], monkeypatch, tmp_path / "backup", 5)
    assert killed == 2
    assert differences(found, wanted) == []


def test_model_that_waits_for_the_shape_of_its_data(tmp_path, monkeypatch):
    def waiting():
        model = fnn.Sequential([fnn.Dense(4, "relu"), fnn.Dense(3)], seed=2)
        model.compile("adam", "crossentropy")
        return model

    x, y = rows()
    left_alone = waiting()
    wanted = everything(left_alone, left_alone.fit(x, y, epochs=4, verbose=0), [])
    with ended_after(2, Killed(), monkeypatch), pytest.raises(Killed):
        waiting().fit(x, y, epochs=4, verbose=0, callbacks=[fnn.BackupAndRestore(tmp_path)])
    model = waiting()
    history = model.fit(x, y, epochs=4, verbose=0, callbacks=[fnn.BackupAndRestore(tmp_path)])
    assert differences(everything(model, history, []), wanted) == []


def test_without_a_seed(tmp_path, monkeypatch):
    """Dropout and order of a training without a seed go on, too."""
    layers = [fnn.Dense(9, "relu"), fnn.Dropout(0.3), fnn.Dense(3)]
    x, y = rows()
    first = fnn.Sequential(layers, input_shape=(6,))
    first.compile("adam", "crossentropy")
    with ended_after(2, Killed(), monkeypatch), pytest.raises(Killed):
        first.fit(x, y, epochs=4, verbose=0, callbacks=[fnn.BackupAndRestore(tmp_path)])
    ends = []
    for _ in range(2):
        model = fnn.Sequential(
            [fnn.Dense(9, "relu"), fnn.Dropout(0.3), fnn.Dense(3)], input_shape=(6,)
        )
        model.compile("adam", "crossentropy")
        path = tmp_path / "training.safetensors"
        history = model.fit(x, y, epochs=4, verbose=0, resume_from=path)
        ends.append(everything(model, history, []))
    assert differences(*ends) == []


# --- budgets, files and errors --------------------------------------------------------------------


@pytest.mark.parametrize("save_freq", ["epoch", 3, 1000])
def test_a_chain_of_time_budgets_is_one_training(save_freq, tmp_path):
    case = Case(callbacks=lambda: [Counts()], fit=held, metrics=("f1",))
    model, callbacks = case.model(), list(case.callbacks())
    wanted = everything(model, case.train(model, *callbacks), callbacks)
    cuts = 0
    while True:
        model, callbacks = case.model(), list(case.callbacks())
        backup = fnn.BackupAndRestore(tmp_path, save_freq)
        history = case.train(model, *callbacks, backup, time_budget=1e-9)
        if history.stop_reason.startswith("completed"):
            break
        cuts += 1
        assert backup.path.is_file()
        assert cuts < 100
    # After the last step nothing is left but the time for callbacks.
    assert cuts >= EPOCHS * STEPS - 1
    assert differences(everything(model, history, callbacks), wanted) == []


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


@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_interrupted_while_batches_are_passed_over(data, tmp_path, monkeypatch):
    """What was saved stays, until the place is reached again."""
    parts = [(rows()[0][i::10], rows()[1][i::10]) for i in range(10)]
    case = Case(data=rows if data == "arrays" else lambda: parts, metrics=("f1",))
    model = case.model()
    wanted = everything(model, case.train(model), [])
    with ended_after(3, Killed(), monkeypatch), pytest.raises(Killed):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path, 2))
    with ctrl_c_at_call(2, StepTrainer, "_bind", monkeypatch):  # the first is that of `prepare`
        case.train(case.model(), fnn.BackupAndRestore(tmp_path, 2))
    assert differences(resumed_once(case, tmp_path, 2), wanted) == []


def test_interrupted_at_the_begin_of_an_epoch(tmp_path, monkeypatch):
    case = Case()
    model = case.model()
    wanted = everything(model, case.train(model), [])
    with ctrl_c_at_call(3, Runtime, "copy_parameters", monkeypatch):
        case.train(case.model(), fnn.BackupAndRestore(tmp_path, 4))
    assert differences(resumed_once(case, tmp_path, 4), wanted) == []


@pytest.mark.parametrize(
    ("owner", "name"), [(Runtime, "take_average"), (Network, "get_weights")]
)  # fmt: skip
def test_interrupted_while_the_average_is_looked_at(owner, name, tmp_path, monkeypatch):
    case = Case(
        fnn.SGD(0.1, use_ema=True, ema_momentum=0.8), fit=held,
        callbacks=lambda: [fnn.SwapEMAWeights()],
    )  # fmt: skip
    model, callbacks = case.model(), list(case.callbacks())
    wanted = everything(model, case.train(model, *callbacks), callbacks)
    with ctrl_c_at_call(3, owner, name, monkeypatch, is_late=True):
        case.train(case.model(), *case.callbacks(), fnn.BackupAndRestore(tmp_path, 3))
    assert differences(resumed_once(case, tmp_path, 3), wanted) == []


def test_a_callbacks_stop_is_kept(tmp_path):
    class Stops(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = epoch == 1

    class Interrupts(fnn.Callback):
        def on_rest(self):
            if self.model.stop_training and not self.training.is_cut_short:
                raise KeyboardInterrupt

    case = Case()
    with pytest.raises(KeyboardInterrupt):
        case.train(case.model(), Stops(), fnn.BackupAndRestore(tmp_path), Interrupts())
    history = case.train(case.model(), Stops(), fnn.BackupAndRestore(tmp_path))
    assert history.epoch == [0, 1]


def test_rest_within_epochs():
    class Rests(fnn.Callback):
        rest_every = 3

        def __init__(self):
            self.batches = []

        def on_rest(self):
            self.batches.append(self.training.batches)

    rests = Rests()
    Case().train(Case().model(), rests, epochs=2)
    assert rests.batches == [3, 6, 7, 9, 12, 14]


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


# --- files from strangers -------------------------------------------------------------------------

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
