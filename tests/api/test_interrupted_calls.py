"""Ctrl-C at any place of the calls that save, load, copy, resume and look.

Whatever was given to the call is as it was and can be used, also by another thread; files are the
old ones or the new ones; no temporary file, open file, thread or setting of the process is left,
even while somebody keeps the exception, as an interactive session does.
"""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
from interruptions import Interrupted, check_places

import fastnn as fnn

pytestmark = [
    pytest.mark.alone,  # it handles signals
    # KeyboardInterrupt within a finalizer is printed and ignored by Python.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*not there now. Saves"),
]

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)), RNG.integers(0, 2, 24)


def made(seed=0):
    model = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(2)], input_shape=(3,), seed=seed)
    model.compile(fnn.Adam(use_ema=True), "crossentropy", metrics=["accuracy"])
    return model


def bits(model):
    network = model.network
    parts = [*network.runtime.parameters.values(), *network.runtime.state_views().values()]
    return b"".join(one.tobytes() for one in parts), repr(network.generator.bit_generator.state)


def trained(seed):
    model = made(seed)
    model.fit(X, Y, epochs=1, verbose=0)
    return model


OLD, NEW = trained(0), trained(1)
BITS = bits(OLD)[0], bits(NEW)[0]


# --- a model that is only looked at ---------------------------------------------------------------


def saved(folder):
    """Return a model, and write the file of another one."""
    OLD.save(folder / "m")
    OLD.save_weights(folder / "w")
    return trained(1)


def is_unchanged(model, folder):
    assert bits(model) == bits(NEW)
    model.predict(X)
    assert bits(fnn.load(folder / "m"))[0] in BITS
    assert not fnn.clone_model(model).load_weights(folder / "w").missing
    model.save(folder / "m")
    assert bits(fnn.load(folder / "m")) == bits(NEW)


LOOKS = {
    "save": lambda model, folder: model.save(folder / "m"),
    "save_weights": lambda model, folder: model.save_weights(folder / "w"),
    "save to a file object": lambda model, _: model.save(io.BytesIO()),
    "load": lambda _, folder: fnn.load(folder / "m"),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "clone_model": lambda model, _: fnn.clone_model(model, seed=1),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "summary": lambda model, _: model.summary(print_fn=str),
    "gradients_of": lambda model, _: model.gradients_of(X, Y),
    "find_learning_rate": lambda model, _: model.find_learning_rate(X, Y, steps=12),
    "diagnose": lambda model, _: model.diagnose(X, Y),
    "profile": lambda model, _: model.profile(X, Y),
}
ALWAYS = (
    "save", "load", "load_weights", "pickle", "BackupAndRestore", "ModelCheckpoint", "CSVLogger",
    "resume_from",
)  # fmt: skip


def weights_of_either(model, folder):
    assert all(np.isfinite(one).all() for one in model.get_weights())
    given = [OLD.get_weights(), NEW.get_weights()]
    assert any(all(map(np.array_equal, model.get_weights(), one)) for one in given)
    model.evaluate(X, Y)


# --- trainings ------------------------------------------------------------------------------------


def fit(model, *callbacks, **more):
    return model.fit(
        X, Y, batch_size=8, epochs=2, verbose=0, callbacks=list(callbacks), validation_split=0.25,
        **more,
    )  # fmt: skip


LEFT_ALONE = made()
fit(LEFT_ALONE)
WANTED = bits(LEFT_ALONE)


def training(callbacks, look=lambda folder: None):
    """A training with callbacks; its script runs again, and ends as if nothing had happened."""

    def check(model, folder):
        model.predict(X)
        assert all(np.isfinite(one).all() for one in model.get_weights())
        look(folder)
        again = made()
        fit(again, *callbacks(folder))
        assert bits(again) == WANTED
        fit(model)

    return Interrupted(lambda _: made(), lambda model, f: fit(model, *callbacks(f)), check)


def every_file_loads(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            fnn.load(path)


def lines_are_whole(folder):
    path = folder / "log.csv"
    text = path.read_text() if path.exists() else ""
    assert text == "" or text.endswith("\n")
    assert len({line.count(",") for line in text.splitlines()}) <= 1


class Saves(fnn.Callback):
    """Saves the training within its first epoch, and ends it."""

    rest_every = 2

    def __init__(self, path):
        self.path = str(path)

    def on_rest(self):
        self.training.save(self.path)
        raise KeyboardInterrupt


def begun(folder):
    with pytest.raises(KeyboardInterrupt):
        fit(made(), Saves(folder / "training"))
    return made()


def resumes(model, folder):
    model.predict(X)
    fit(model, resume_from=folder / "training")
    assert bits(model) == WANTED


TRAININGS = {
    "BackupAndRestore": training(
        lambda folder: [fnn.BackupAndRestore(folder / "b", save_freq=2)], every_file_loads
    ),
    "ModelCheckpoint": training(
        lambda folder: [fnn.ModelCheckpoint(folder / "{epoch}", save_best_only=True)],
        every_file_loads,
    ),
    "CSVLogger": training(lambda folder: [fnn.CSVLogger(folder / "log.csv")], lines_are_whole),
    "resume_from": Interrupted(
        begun, lambda model, folder: fit(model, resume_from=folder / "training"), resumes
    ),
}
CALLS = {
    **{name: Interrupted(saved, look, is_unchanged) for name, look in LOOKS.items()},
    "load_weights": Interrupted(
        saved, lambda model, folder: model.load_weights(folder / "w"), weights_of_either
    ),
    **TRAININGS,
}


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize(("count", "second"), [(3, None), (2, 2)], ids=["once", "twice"])
def test_some_places(name, count, second, tmp_path):
    check_places(CALLS[name], tmp_path, count, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("second", [None, 2, 5])
def test_many_places(name, second, tmp_path):
    check_places(CALLS[name], tmp_path, 60 if second is None else 20, second)
