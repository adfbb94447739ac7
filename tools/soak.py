"""Use fastnn in every way at once for a long time, and look for what grows or goes wrong.

A generator that a seed determines chooses one action after the other (`ACTIONS`): trainings of all
kinds, predictions in several threads, files, copies, forks, interrupts, processes that are killed
and resumed. Whatever can be compared is compared by its bits with what the same action gave first.
Once a minute memory, handles, threads and temporary files are counted.

Run it with ``python tools/soak.py --minutes 20 --seed 0`` (``make soak``). It prints what it did
and fails if an action failed, or if memory, handles or threads have grown.
"""

from __future__ import annotations

import argparse
import copy
import gc
import hashlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fastnn as fnn

GROWTH_MB = 24  # of resident memory after the first tenth of the time: caches still fill up
CHILD_SECONDS = 60


def data(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels of three classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 8)).astype(np.float32)
    return x, (np.abs(x[:, 0]) + x[:, 1] ** 2 > 1).astype(np.int64) + (x[:, 2] > 1)


def network(optimizer: object = "adam", seed: int = 4) -> fnn.Model:
    """Return a compiled network with dropout and normalization."""
    layers = [
        fnn.Dense(24, "gelu"), fnn.Dropout(0.2), fnn.BatchNormalization(), fnn.Dense(3),
    ]  # fmt: skip
    model = fnn.Sequential(layers, input_shape=(8,), seed=seed)
    model.compile(optimizer, "crossentropy", ["accuracy", "f1"])
    return model


def bits(model: fnn.Model) -> str:
    """Return a digest of the parameters and the optimizer's state."""
    digest = hashlib.sha256()
    for view in [*model.parameters.values(), *model.network.runtime.state_views().values()]:
        digest.update(np.ascontiguousarray(view).tobytes())
    return digest.hexdigest()[:16]


def batches(x: np.ndarray, y: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of the rows, over and over."""
    for i in range(count):
        begin = i * 20 % (len(x) - 20)
        yield x[begin : begin + 20], y[begin : begin + 20]


@dataclass
class Soak:
    """One run.

    Attributes
    ----------
    rng : random.Random
    folder : Path
        For files.
    first : dict of str to object
        What an action gave the first time.
    done, failures : Counter
        How often each action was done, and has failed.
    """

    rng: random.Random
    folder: Path
    first: dict[str, object] = field(default_factory=dict)
    done: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def same(self, what: str, found: object) -> None:
        """Raise unless this is what was found the first time."""
        wanted = self.first.setdefault(what, found)
        if found != wanted:
            raise AssertionError(f"{what}: {found}, the first time {wanted}")

    # --- trainings ----------------------------------------------------------------------------

    def fit(self) -> None:
        """Train on arrays, with any number of threads."""
        x, y = data()
        count = self.rng.randint(1, fnn.get_num_threads() + 2)
        before = fnn.get_num_threads()
        fnn.set_num_threads(count)
        try:
            model = network()
            model.fit(x, y, epochs=4, verbose=0, validation_split=0.2)
        finally:
            fnn.set_num_threads(before)
        self.same("fit", bits(model))

    def fit_batches(self) -> None:
        """Train on a generator, which a thread reads."""
        model, (x, y) = network(), data()
        model.fit(batches(x, y, 80), epochs=4, steps_per_epoch=20, verbose=0)
        self.same("fit on batches", bits(model))

    def fit_in_threads(self) -> None:
        """Train several models at the same time."""

        def train(seed: int) -> str:
            model, (x, y) = network(seed=seed), data()
            model.fit(x, y, epochs=3, verbose=0)
            return bits(model)

        with ThreadPoolExecutor(3) as pool:
            self.same("fits in threads", tuple(pool.map(train, range(3))))

    def fit_full_batch(self) -> None:
        """Train with L-BFGS."""
        x, y = data()
        model = fnn.Sequential([fnn.Dense(6, "tanh"), fnn.Dense(3)], input_shape=(8,), seed=0)
        model.compile("lbfgs", "crossentropy")
        model.fit(x, y, epochs=8, verbose=0)
        self.same("L-BFGS", bits(model))

    def learn_one(self) -> None:
        """Learn from single samples, and predict them."""
        x, y = data()
        model = fnn.Sequential([fnn.Dense(9, "tanh"), fnn.Dense(3)], input_shape=(8,), seed=1)
        model.compile(fnn.SGD(0.01), "crossentropy")
        for row, label in zip(x[:100], y, strict=False):
            model.learn_one(row, label)
            model.predict_one(row)
        self.same("single samples", bits(model))

    def table(self) -> None:
        """Learn a table."""
        x, y = data(120)
        found = fnn.TabularRegressor(n_members=2, random_state=0).fit(x[:, :4], x[:, 5] + y)
        self.same("table", found.predict(x[:, :4]).tobytes())

    # --- predictions --------------------------------------------------------------------------

    def predict_in_threads(self) -> None:
        """Predict with one model from several threads."""
        model, (x, _) = network(), data(2000)
        with ThreadPoolExecutor(4) as pool:
            found = {array.tobytes() for array in pool.map(model.predict, [x] * 8)}
        assert len(found) == 1
        self.same("predict", hashlib.sha256(found.pop()).hexdigest())

    # --- files and copies ---------------------------------------------------------------------

    def save_and_load(self) -> None:
        """Save over the same file, and load it."""
        model, (x, y) = network(), data()
        model.fit(x, y, epochs=1, verbose=0)
        path = self.folder / "model.safetensors"
        model.save(path)
        self.same("saved and loaded", (bits(fnn.load(path)), bits(model)))

    def load_damaged(self) -> None:
        """Load a file with a flipped bit, or cut off: an error, or the same model."""
        path = self.folder / "damaged.safetensors"
        model = network()
        model.save(path)
        content = bytearray(path.read_bytes())
        if self.rng.random() < 0.5:
            content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
        else:
            del content[self.rng.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            loaded = fnn.load(path)
        except ValueError:
            self.notes["damaged files that were refused"] += 1
        else:
            assert bits(loaded) == bits(model), "a damaged file was loaded as another model"
        path.unlink()

    def copies(self) -> None:
        """Copy and pickle a model, and train the copies on."""
        model, (x, y) = network(), data()
        model.fit(x, y, epochs=1, verbose=0)
        for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model):
            one.fit(x, y, epochs=1, verbose=0)
            self.same("trained on", bits(one))

    # --- processes, interrupts, kills ---------------------------------------------------------

    def fork(self) -> None:
        """Train in a forked child."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a process with threads forks
            child = os.fork()
        if not child:
            try:
                signal.alarm(CHILD_SECONDS)
                model, (x, y) = network(), data()
                model.fit(x, y, epochs=4, verbose=0, validation_split=0.2)
                os.write(writing, bits(model).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            found = pipe.read()
        os.waitpid(child, 0)
        self.same("fit", found)

    def interrupt(self) -> None:
        """Interrupt a training at a random moment; the model is that of some step."""
        model, (x, y) = network(), data()
        is_generator = self.rng.random() < 0.5
        source = (batches(x, y, 10**6),) if is_generator else (x, y)
        more = {"steps_per_epoch": 50} if is_generator else {}
        timer = threading.Timer(
            self.rng.uniform(0, 0.1),
            lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT),
        )
        try:
            timer.start()
            model.fit(*source, epochs=10**5, verbose=0, **more)
        except KeyboardInterrupt:
            self.notes["trainings that were interrupted"] += 1
        finally:
            _without_interrupt(timer.join)
        assert all(np.isfinite(view).all() for view in model.parameters.values())
        step = model.network.runtime.step
        if not is_generator and 0 < step < 600:
            again = network()
            again.fit(x, y, epochs=100, verbose=0, callbacks=[_StopAt(step)])
            assert bits(again) == bits(model), f"interrupted after step {step}: other bits"

    def interrupt_save(self) -> None:
        """Interrupt saves at random moments; the file is always whole."""
        model, path = network(), self.folder / "interrupted.safetensors"
        model.save(path)
        main = threading.main_thread().ident
        timer = threading.Timer(
            self.rng.uniform(0, 0.01), lambda: signal.pthread_kill(main, signal.SIGINT)
        )
        try:
            timer.start()
            while True:
                model.save(path)
        except KeyboardInterrupt:
            self.notes["saves that were interrupted"] += 1
        finally:
            _without_interrupt(timer.join)
        assert bits(fnn.load(path)) == bits(model)

    def resume(self) -> None:
        """Train within time budgets, one after the other."""
        folder, x, y = self.folder / "resume", *data()
        budget: float | None = self.rng.uniform(1e-4, 0.01)
        for _ in range(1000):
            model = network()
            backup = fnn.BackupAndRestore(folder, save_freq=self.rng.randint(1, 30))
            history = model.fit(x, y, epochs=6, verbose=0, time_budget=budget, callbacks=[backup])
            if history.stop_reason.startswith("completed"):
                self.same("resumed", (bits(model), repr(history.history)))
                return
            self.notes["trainings that were resumed"] += 1
        raise AssertionError("a training that is resumed again and again does not end")

    def kill(self) -> None:
        """Kill a process that trains, and resume in another one until it is done."""
        folder = self.folder / "killed"
        for attempt in range(4):
            command = [sys.executable, "-P", __file__, "--child", str(folder)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
                if attempt < 3:
                    time.sleep(self.rng.uniform(0, 0.15))
                    child.kill()
                found = child.stdout.read()
                child.wait(CHILD_SECONDS)
            finally:
                child.stdout.close()  # type: ignore[union-attr]
            if found:
                self.same("killed and resumed", found)
                return
            self.notes["processes that were killed"] += 1
        raise AssertionError("the last process has not ended by itself")


class _StopAt(fnn.Callback):
    """Ends a training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        """Count."""
        self.model.stop_training = self.model.network.runtime.step >= self.step


def _without_interrupt(function: Callable[[], object]) -> None:
    """Call a function; an interrupt that comes late is forgotten."""
    while True:
        try:
            function()
            return
        except KeyboardInterrupt:
            continue


ACTIONS: dict[str, float] = {  # with their weights
    "fit": 4, "fit_batches": 3, "fit_in_threads": 2, "fit_full_batch": 1, "learn_one": 2,
    "table": 0.2, "predict_in_threads": 3, "save_and_load": 3, "load_damaged": 3, "copies": 2,
    "fork": 2, "interrupt": 3, "interrupt_save": 2, "resume": 1, "kill": 0.3,
}  # fmt: skip


def measured(folder: Path) -> dict[str, float]:
    """Return resident memory in MB, handles, threads and temporary files."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "temporary files": sum(path.name.startswith(".") for path in folder.rglob("*")),
    }


def child(folder: str) -> None:
    """Train with backups; what `Soak.kill` starts."""
    model, (x, y) = network(), data()
    print("ready", flush=True)
    model.fit(x, y, epochs=40, verbose=0, callbacks=[fnn.BackupAndRestore(folder, save_freq=15)])
    print(bits(model))


def main() -> int:
    """Run for the time that was asked for; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=ACTIONS, help="actions to choose from")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="fastnn-soak-"))
    soak = Soak(rng, folder)
    weights = {name: ACTIONS[name] for name in arguments.only or ACTIONS}
    began, told, early = time.monotonic(), 0.0, None
    seconds = arguments.minutes * 60
    try:
        while (elapsed := time.monotonic() - began) < seconds and len(soak.failures) < 5:
            (name,) = rng.choices(list(weights), list(weights.values()))
            try:
                getattr(soak, name)()
            except Exception:
                soak.failures.append(f"{name}\n{traceback.format_exc()}")
            soak.done[name] += 1
            if early is None and elapsed > seconds / 10:
                early = measured(folder)
            if elapsed - told > 60:
                told = elapsed
                print(f"{elapsed / 60:5.1f} min  {_line(measured(folder))}", flush=True)
        end = measured(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _report(soak, early or end, end, arguments.seed, time.monotonic() - began)


def _line(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:.0f}" for name, number in numbers.items())


def _report(
    soak: Soak, early: dict[str, float], end: dict[str, float], seed: int, seconds: float
) -> int:
    """Print what was done, and return 1 if anything went wrong."""
    print(f"seed {seed}, {seconds / 60:.1f} minutes, fastnn {fnn.__version__}")
    for counts in (soak.done, soak.notes):
        for name, count in sorted(counts.items()):
            print(f"{count:8,}  {name.replace('_', ' ')}")
    print(f"early: {_line(early)}\nend:   {_line(end)}")
    limits = {"memory": GROWTH_MB, "handles": 0, "threads": 1, "temporary files": 0}
    grown = [name for name, limit in limits.items() if end[name] - early[name] > limit]
    for failure in soak.failures:
        print(f"FAILED {failure}")
    if grown:
        print(f"FAILED what has grown: {', '.join(grown)}")
    print(f"{len(soak.failures)} failures")
    return int(bool(soak.failures or grown))


if __name__ == "__main__":
    sys.exit(main())
