"""Copies of models in other processes, which do not know the classes that a model is made of."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("joblib")
pytest.importorskip("cloudpickle")

# What a user writes: in a module, or in the program that is run.
OWN = """
import hashlib
import numpy as np
import fastnn as fnn
from fastnn.layers import registry

@registry.add
class Twice(fnn.Layer):
    factor = 2.0

    def forward(self, x, training=False):
        return self.factor * x

    def backward(self, grad):
        return self.factor * grad

class Mine(fnn.Sequential):
    def hello(self):
        return f"hello {self.note.seen}"

class Last(fnn.Callback):
    def on_epoch_end(self, epoch, logs):
        self.seen = epoch

def distance(y, p):
    return float(np.abs(y - p).mean())

def squares(y, p):
    return ((y - p) ** 2).mean(axis=-1)

def slopes(y, p):
    return 2 * (p - y)

rng = np.random.default_rng(0)
x = rng.normal(size=(40, 3))
y = x[:, :1]

def made():
    layers = [fnn.Dense(8, "tanh"), Twice(), fnn.Dropout(0.3), fnn.BatchNormalization()]
    model = Mine([*layers, fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile(fnn.Adam(use_ema=True), fnn.losses.Custom(squares, slopes), metrics=[distance])
    model.note = Last()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[model.note])
    return model

def trained_on(model):
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    weights = b"".join(weight.tobytes() for weight in model.get_weights())
    facts = type(model).__name__, model.hello(), model.network.runtime.step, model.history.history
    return hashlib.sha256(weights).hexdigest(), repr(facts)
"""

PROGRAM = """
import copy, multiprocessing, pickle, sys
import joblib

if __name__ == "__main__":
    model = made()
    parts = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    wanted = trained_on(copy.deepcopy(model))
    assert trained_on(parts[0]) == trained_on(parts[1]) == wanted
    found = {}
    for backend in sys.argv[1:]:
        if backend == "spawn":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[backend] = pool.map(trained_on, [model])
        else:
            run = joblib.Parallel(2, backend=backend)
            found[backend] = run(joblib.delayed(trained_on)(copy.deepcopy(model)) for _ in "ab")
    for backend, results in found.items():
        assert all(one == wanted for one in results), backend
    joblib.dump(model, "model.joblib")
    assert trained_on(joblib.load("model.joblib")) == wanted
    assert trained_on(joblib.load("model.joblib", mmap_mode="r")) == wanted
    import cloudpickle
    sys.stdout.buffer.write(repr(wanted).encode() + b"\\0" + cloudpickle.dumps(model))
"""

# It knows neither the classes nor the module, and loads the model twice.
STRANGER = """
import hashlib, pickle, sys
import numpy as np
data = sys.stdin.buffer.read()
pickle.loads(data)
model = pickle.loads(data)
x = np.random.default_rng(0).normal(size=(40, 3))
model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0)
weights = b"".join(weight.tobytes() for weight in model.get_weights())
facts = type(model).__name__, model.hello(), model.network.runtime.step, model.history.history
print((hashlib.sha256(weights).hexdigest(), repr(facts)))
"""


def run(arguments, folder, given=b""):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=given, capture_output=True, timeout=120,
    )  # fmt: skip


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("where", "backends"),
    [
        ("__main__", ["loky"]),
        pytest.param("__main__", ["spawn"], marks=SLOW),  # it imports the program, too
        pytest.param("module", ["loky", "multiprocessing", "spawn"], marks=SLOW),
    ],
)
def test_a_model_of_ones_own_trains_on_in_other_processes(tmp_path, where, backends):
    if where == "module":
        (tmp_path / "own.py").write_text(OWN)
        program = "from own import *\n" + PROGRAM
    else:
        program = OWN + PROGRAM
    (tmp_path / "program.py").write_text(program)
    made = run(["program.py", *backends], tmp_path)
    assert made.returncode == 0, made.stderr.decode()[-2000:]
    wanted, _, pickled = made.stdout.partition(b"\0")
    if where == "module":  # pickled by reference, so the module is there
        (tmp_path / "stranger.py").write_text(STRANGER)
        found = run(["stranger.py"], tmp_path, pickled)
    else:
        found = run(["-c", STRANGER], tmp_path, pickled)
    assert found.returncode == 0, found.stderr.decode()[-2000:]
    assert found.stdout.decode().strip() == wanted.decode()


def test_what_cannot_be_pickled_is_said_by_pickle(tmp_path):
    code = (
        OWN
        + """
import copy, pickle
model = made()
model.name_of_mine = lambda: "mine"
assert copy.deepcopy(model).name_of_mine() == "mine"
try:
    pickle.dumps(model)
except (pickle.PicklingError, AttributeError) as error:
    print(error)
trained_on(model)  # it is whole
"""
    )
    made = run(["-c", code], tmp_path)
    assert made.returncode == 0, made.stderr.decode()[-2000:]
    assert "lambda" in made.stdout.decode()
