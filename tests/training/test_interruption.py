"""Ctrl-C in a step that takes seconds: it is answered at once, and the step has not been made."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn as fnn
from fastnn.program.fuse import fuse
from fastnn.program.lower import Purpose
from fastnn.program.plan import _barriers, check, plan
from fastnn.runtime.bound import Run

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="a process of Windows cannot send itself Ctrl-C alone"
)

SCRIPT = """
import hashlib, json, os, signal, sys, threading, time
import numpy as np
import fastnn as fnn
from fastnn.runtime.bound import Run

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
ROWS, WIDTH = 6000, 3000  # a step takes some 1e12 multiply-adds
rng = np.random.default_rng(0)
x, y = rng.standard_normal((ROWS, 16), dtype=np.float32), rng.integers(0, 10, ROWS)

def made(optimizer):
    layers = [fnn.Dense(WIDTH, "gelu") for _ in range(5)]
    model = fnn.Sequential([*layers, fnn.Dense(10)], input_shape=(16,), seed=0)
    model.compile(optimizer, "crossentropy", metrics=["accuracy"])
    return model

model = made("sgd")
by_lbfgs = made(fnn.LBFGS()) if "LBFGS" in sys.argv else None
seed = np.ones((ROWS, 10), np.float32)
calls = {
    "fit": lambda: model.fit(x, y, batch_size=ROWS, epochs=2, verbose=0),
    "train_on_batch": lambda: model.train_on_batch(x, y),
    "predict": lambda: model.predict(x, batch_size=10**6),
    "evaluate": lambda: model.evaluate(x, y, batch_size=10**6),
    "forward": lambda: model.forward(x, training=True),
    "gradients_of": lambda: model.gradients_of(x, y),
    "LBFGS": lambda: by_lbfgs.fit(x, y, epochs=1, verbose=0),
    "find_learning_rate": lambda: model.find_learning_rate(x, y, batch_size=ROWS),
    "diagnose": lambda: model.diagnose(x, y),
    "gradcheck": lambda: fnn.gradcheck(model, x, y),
}
number = getattr(signal, sys.argv[1])
native, delay, sent = Run._make, 0.0, []

def terminated(*_):
    raise SystemExit("terminated")

signal.signal(signal.SIGTERM, terminated)

def watched(run, *arguments, **options):
    def send():
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), number)
    if not sent and delay:
        threading.Thread(target=send).start()
    return native(run, *arguments, **options)

Run._make = watched

def digest(model):
    return hashlib.sha256(b"".join(map(bytes, model.get_weights()))).hexdigest()

for name in sys.argv[2:]:
    for delay in 0.1, 0.6:
        for _ in range(3):  # a busy machine may be slow once, the mechanism always
            before, counted = digest(model), model.network.runtime.step
            sent.clear()
            try:
                calls[name]()
                answered = None
            except (KeyboardInterrupt, SystemExit):
                answered = time.perf_counter() - sent[0]
            is_as_before = (digest(model), model.network.runtime.step) == (before, counted)
            if not is_as_before or (answered is not None and answered < 0.5):
                break
        print(json.dumps([name, delay, answered, is_as_before]), flush=True)
"""


def answers(tmp_path, number, names):
    script = tmp_path / "interrupted.py"
    script.write_text(SCRIPT)
    made = subprocess.run(
        [sys.executable, "-P", script, number, *names],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path, timeout=600, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in made.stdout.splitlines()]


CALLS = [
    "fit", "train_on_batch", "predict", "evaluate", "forward", "gradients_of", "LBFGS",
    "find_learning_rate", "diagnose", "gradcheck",
]  # fmt: skip


@pytest.mark.alone
@pytest.mark.parametrize(
    ("number", "names"),
    [
        ("SIGTERM", ["fit", "predict"]),
        pytest.param("SIGINT", CALLS, marks=pytest.mark.slow),
    ],
)
def test_a_long_step_is_given_up_at_once(tmp_path, number, names):
    found = answers(tmp_path, number, names)
    assert len(found) == 2 * len(names)
    for name, delay, answered, is_as_before in found:
        assert answered is not None, (name, delay)
        assert answered < 0.5, (name, delay, answered)
        assert is_as_before, (name, delay)


# --- signals whose handler lets the step go on ----------------------------------------------------


def trained(rows=1500, width=1024, *, optimizer="adam", layers=(), epochs=4):
    """Train on full batches that are long enough for the engine to look out for signals."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((rows, 24), dtype=np.float32), rng.integers(0, 10, rows)
    wide = [fnn.Dense(width, "gelu"), *layers, fnn.Dense(width, "relu")]
    model = fnn.Sequential([*wide, fnn.Dense(10)], input_shape=(24,), seed=5)
    model.compile(optimizer, "crossentropy")
    history = model.fit(x, y, batch_size=rows, epochs=epochs, verbose=0)
    state = [model.predict(x, batch_size=rows), *model.get_weights()]
    digest = hashlib.sha256(b"".join(map(bytes, state))).hexdigest()
    return digest, history.history["loss"], model.network.runtime.step


@pytest.fixture
def signals():
    """Every few milliseconds a SIGINT, whose handler counts it and returns."""
    count, former = [], signal.signal(signal.SIGINT, lambda *_: count.append(1))
    is_over = threading.Event()

    def send():
        while not is_over.wait(0.004):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    yield count
    is_over.set()
    thread.join()
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize(
    ("kind", "workers"), [("plain", 1), ("plain", 2), ("statistics and clipping", 2)]
)
def test_signals_that_do_not_end_a_step_change_no_bit(kind, workers, threads, request):
    layers = [] if kind == "plain" else [fnn.BatchNormalization(), fnn.Dropout(0.3)]
    options = {} if kind == "plain" else {"optimizer": fnn.AdamW(1e-3, global_clipnorm=1.0)}
    threads(workers)
    quiet = trained(layers=layers, **options)
    count = request.getfixturevalue("signals")
    layers = [] if kind == "plain" else [fnn.BatchNormalization(), fnn.Dropout(0.3)]
    assert trained(layers=layers, **options) == quiet
    assert len(count) > 3


# --- what may be left -----------------------------------------------------------------------------


def test_the_updates_of_a_long_step_stay_at_its_end():
    model = fnn.Sequential([fnn.Dense(1024, "relu"), fnn.Dense(1024)], input_shape=(64,), seed=0)
    model.compile("adam", "mse")
    runtime = model.network.runtime
    program = runtime.program(Purpose.TRAIN)
    short, long = fuse(program, 32), fuse(program, 100_000)
    assert "kernel_gradient_update" in [op.name for op in short.ops]
    assert [op.name for op in long.ops][-1] == "update"
    assert "kernel_gradient_update" not in [op.name for op in long.ops]
    for fused, rows in ((short, 32), (long, 100_000)):
        made = plan(fused, "float32", rows, {**runtime.offsets, "average": 0})
        changes = [op.row.updates for op in fused.ops]
        first = changes.index(True)
        assert not any(made.repeats[first:])
        assert all(made.repeats[:first]) or fused is short


# Each makes layers of which one lasts long and another one must not be run again.
UNEVEN = {
    "one output": lambda: [fnn.Dense(2048, "relu"), fnn.Dense(2048, "relu"), fnn.Dense(1)],
    "statistics": lambda: [
        fnn.Dense(2048), fnn.BatchNormalization(), fnn.Dense(2048), fnn.Dense(9),
    ],
    "statistics first": lambda: [fnn.BatchNormalization(), fnn.Dense(2048, "gelu"), fnn.Dense(2)],
    "statistics and one output": lambda: [
        fnn.Dense(2048, "relu"), fnn.BatchNormalization(), fnn.Dense(2048), fnn.Dense(1),
    ],
    "penalty": lambda: [
        fnn.Dense(2048, "relu", kernel_regularizer=fnn.regularizers.L2(1e-3)), fnn.Dense(1),
    ],
    "residual": lambda: [
        fnn.Dense(1024), fnn.Residual([fnn.LayerNormalization(), fnn.Dense(1024)]), fnn.Dense(3),
    ],
    "embedded numbers": lambda: [
        fnn.PeriodicEmbedding(16), fnn.Flatten(), fnn.Dense(2048), fnn.PReLU(), fnn.Dense(1),
    ],
}  # fmt: skip
OPTIMIZERS = {
    "adam": lambda: fnn.Adam(),
    "clipping": lambda: fnn.AdamW(global_clipnorm=1.0, use_ema=True),
    "accumulation": lambda: fnn.SGD(gradient_accumulation_steps=2),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", UNEVEN)
def test_what_lasts_long_is_given_up_whatever_is_beside_it(kind, optimizer):
    """In a step over 200,000 rows, all that lasts is run again, or belongs to the update."""
    rows = 200_000
    model = fnn.Sequential(UNEVEN[kind](), input_shape=(64,), seed=0)
    model.compile(OPTIMIZERS[optimizer](), "mse")
    runtime = model.network.runtime
    purposes = [Purpose.TRAIN, Purpose.ACCUMULATE, Purpose.MANUAL, Purpose.EVALUATE,
                Purpose.PREDICT, Purpose.LOSS_GRADIENTS, Purpose.GRADIENTS]  # fmt: skip
    for purpose in purposes:
        places = {**runtime.offsets, "average": max(len(runtime.slots) - 1, 0) * runtime.count}
        made = plan(fuse(runtime.program(purpose), rows), "float32", rows, places)
        check(made)
        for op, repeats in zip(made.program.ops, made.repeats, strict=True):
            work = op.row.work(op) * (rows if op.batched else 1)
            assert repeats or op.row.updates or work < 1e8, (purpose, op.name, work)


def test_a_short_step_has_no_barrier_that_it_does_not_need():
    for layers in UNEVEN.values():
        model = fnn.Sequential(layers(), input_shape=(64,), seed=0)
        model.compile("adam", "mse")
        runtime = model.network.runtime
        made = plan(fuse(runtime.program(Purpose.TRAIN), 4), "float32", 4, {**runtime.offsets})
        assert made.barriers == _barriers(made)


def test_no_op_that_may_be_run_again_changes_what_it_reads():
    layers = [
        fnn.Dense(8, "relu", kernel_regularizer=fnn.regularizers.L2(1e-3)),
        fnn.BatchNormalization(),
    ]
    model = fnn.Sequential([*layers, fnn.Dense(3)], input_shape=(5,), seed=0)
    model.compile(fnn.Adam(use_ema=True), "mse")
    runtime = model.network.runtime
    for purpose in (Purpose.TRAIN, Purpose.ACCUMULATE, Purpose.MANUAL, Purpose.PREDICT):
        made = runtime.bound(purpose, 16).plan
        is_kept = {"parameter", "state"}
        for op, repeats in zip(made.program.ops, made.repeats, strict=True):
            if not repeats:
                continue
            assert not {value.storage for value in op.writes()} & is_kept
            if op.row.kernel:
                assert not set(op.reads()) & set(op.writes()), op.name


def test_a_handler_may_use_the_model_in_the_middle_of_a_step():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1500, 24), dtype=np.float32), rng.integers(0, 10, 1500)

    def made():
        wide = [fnn.Dense(1500, "gelu"), fnn.Dense(1500, "relu")]
        model = fnn.Sequential([*wide, fnn.Dense(10)], input_shape=(24,), seed=5)
        model.compile("sgd", "crossentropy")
        return model

    twin, model = made(), made()
    for _ in range(4):
        twin.fit(x, y, batch_size=1500, verbose=0)
    used = []

    def use(*_):
        used.append(model.predict(x[:40]))

    former = signal.signal(signal.SIGINT, use)
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        for _ in range(4):
            model.fit(x, y, batch_size=1500, verbose=0)
        timer.join()
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, former)
    assert len(used) == 1
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))


@pytest.mark.alone
def test_a_handler_may_predict_few_rows_in_the_middle_of_a_long_prediction(threads):
    """The program for few rows has the same workspace; the long one begins its rows again."""
    threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 24), dtype=np.float32)
    wide = [fnn.Dense(1500, "gelu"), fnn.Dense(1500, "relu"), fnn.Dense(1500, "relu")]
    model = fnn.Sequential([*wide, fnn.Dense(10)], input_shape=(24,), seed=5)
    wanted, few = model.predict(x, batch_size=1500), model.predict(x[:4])
    for _ in range(3):  # the fast path is prepared
        model.predict(x[:4])
    used = []
    former = signal.signal(signal.SIGINT, lambda *_: used.append(model.predict(x[:4])))
    try:
        for delay in np.linspace(0.003, 0.06, 8):
            timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            assert np.array_equal(model.predict(x, batch_size=1500), wanted)
            timer.join()
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, former)
    assert used
    assert all(np.array_equal(one, few) for one in used)


@pytest.mark.parametrize("section", ["forward", "backward"])
def test_an_interrupted_section_leaves_nothing_half(section, monkeypatch):
    model = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile("sgd", "mse")
    x, seed = np.ones((5, 3)), np.ones((5, 2))
    model.forward(x, training=True)
    model.backward(seed)
    model.forward(x, training=True)
    gradients = {name: view.copy() for name, view in model.gradients.items()}
    native = Run.section

    def interrupted(run, name, number):
        native(run, name, number)
        if (name == "forward") == (section == "forward"):
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "section", interrupted)
    if section == "forward":
        with pytest.raises(KeyboardInterrupt):
            model.forward(2 * x, training=True)
    else:
        with pytest.raises(KeyboardInterrupt):
            model.backward(seed, accumulate=True)
    monkeypatch.undo()
    for name, view in model.gradients.items():
        np.testing.assert_array_equal(view, gradients[name])
    if section == "forward":  # what the earlier one has kept has been overwritten
        with pytest.raises(RuntimeError, match="call forward"):
            model.backward(seed)


def test_handlers_are_as_before_afterwards():
    former = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGTERM)
        trained(epochs=1)
        assert signal.getsignal(signal.SIGTERM) is mine
        os.kill(os.getpid(), signal.SIGTERM)  # would end the process if nobody handled it
    finally:
        signal.signal(signal.SIGTERM, former)
