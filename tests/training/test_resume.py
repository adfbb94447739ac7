"""Trainings that are killed or interrupted, and resumed, end with the bits of one left alone."""

import numpy as np
import pytest
from resuming import (
    BATCH,
    CASES,
    EPOCHS,
    ROWS,
    STEPS,
    Case,
    Counts,
    Killed,
    ctrl_c_at_call,
    differences,
    ended_after,
    everything,
    held,
    resumed,
    resumed_once,
    rows,
)

import fastnn as fnn
from fastnn.data import pages
from fastnn.exchange import training_file
from fastnn.network import Network
from fastnn.runtime import Runtime
from fastnn.training.step_trainer import StepTrainer


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
