"""Runs fastnn under valgrind's memcheck and tells the errors in its compiled code.

Errors count if fastnn's extension modules are on their stack: reads and writes outside of what is
allocated, and decisions that depend on memory that nobody has written. What CPython and NumPy do by
themselves does not count. Memcheck translates no AVX-512, so that kernels of "v3" run.

    python tools/memcheck.py
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

OURS = os.sep + os.path.join("fastnn", "native") + os.sep


def session() -> None:
    """Train, predict, save and load, each in several ways."""
    import numpy as np
    from scipy import sparse

    import fastnn as fnn
    from fastnn.core import threads

    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 13)).astype("float32")
    y, labels = np.tanh(x.sum(axis=1)), rng.integers(0, 3, 150)

    def used(name: str, model: fnn.Model, x: object, y: object) -> None:
        for workers in (1, 2):
            fnn.set_num_threads(workers)
            model.fit(x, y, epochs=2, batch_size=32, verbose=0)
            model.fit(x, y, batch_size=37, sample_weight=np.ones(150), verbose=0)
            model.evaluate(x, y)
        before = model.predict(x)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            assert np.array_equal(fnn.load(Path(folder) / "model").predict(x), before)
        print(name, "done", flush=True)

    for dtype in ("float32", "float64"):
        for optimizer in ("sgd", "adam", "rmsprop"):
            model = fnn.Sequential(
                [
                    fnn.Dense(37, "relu"),
                    fnn.BatchNormalization(),
                    fnn.Dropout(0.3),
                    fnn.Dense(21, "gelu"),
                    fnn.LayerNormalization(),
                    fnn.Dense(3),
                ],
                input_shape=(13,), seed=0, dtype=dtype,
            )  # fmt: skip
            model.compile(optimizer, "crossentropy", metrics=["accuracy"])
            used(f"{dtype}-{optimizer}", model, x.astype(dtype), labels)
        model = fnn.Sequential(
            [fnn.Dense(19, "tanh"), fnn.Dense(1)], input_shape=(13,), seed=0, dtype=dtype
        )
        model.compile("adam", "mse")
        used(f"{dtype}-regression", model, x.astype(dtype), y)
        for i in range(20):  # the programs of single rows and of batches
            model.learn_one(x[i], float(y[i]))
            model.train_on_batch(x[: 1 + i], y[: 1 + i])
            model.predict_one(x[i])
            model.predict(x[: 1 + i])
        model.forward(x, training=True)
        model.backward(rng.normal(size=(150, 1)))
        model.apply_gradients()
    model = fnn.Sequential([fnn.Dense(16, "relu"), fnn.Dense(3)], input_shape=(60,), seed=0)
    model.compile("adam", "crossentropy")
    rows = sparse.random(150, 60, 0.1, "csr", dtype="float32", random_state=0)
    used("sparse", model, rows, labels)
    model = fnn.Sequential(
        [fnn.Embedding(7, 5), fnn.Flatten(), fnn.Dense(1)], input_shape=(2,), seed=0
    )
    model.compile("adam", "mse")
    used("embedding", model, rng.integers(0, 7, (150, 2)), y)
    threads.WORK_PER_WORKER = 1  # from here on, every step has a team
    model = fnn.Sequential([fnn.Dense(70, "relu"), fnn.Dense(1)], input_shape=(13,), seed=0)
    model.compile("adam", "mse")
    used("team", model, x, y)
    print("instruction set", fnn.show_config("dict")["isa"])


def control() -> None:
    """Let a kernel decide by numbers that nobody has written."""
    import numpy as np

    import fastnn as fnn

    model = fnn.Sequential([fnn.Dense(1)], input_shape=(50_000,), seed=0)
    model.predict(np.empty((2, 50_000), "float32"))


def errors_of(part: str) -> collections.Counter[str]:
    """Run a part under valgrind; return how often each error of fastnn's code was seen."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = os.environ | {"PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"}
        command = ["valgrind", "--xml=yes", f"--xml-file={report}", "--num-callers=40", "-q",
                   sys.executable, "-P", __file__, "--part", part]  # fmt: skip
        subprocess.run(command, check=True, env=environment)
        found: collections.Counter[str] = collections.Counter()
        root = ElementTree.parse(report).getroot()
    counts = {
        pair.findtext("unique"): int(pair.findtext("count", "1"))
        for pair in root.iterfind("errorcounts/pair")
    }
    for error in root.iterfind("error"):
        # Leaks are looked for wherever the report is XML, and Python frees little at its end.
        is_leak = error.findtext("kind", "").startswith("Leak")
        frames = error.findall("stack[1]/frame")
        if not is_leak and any(OURS in frame.findtext("obj", "") for frame in frames[:12]):
            where = [frame.findtext("fn") or frame.findtext("ip", "?") for frame in frames[:6]]
            what = error.findtext("what") or error.findtext("xwhat/text", "?")
            found[f"{what}: {' < '.join(where)}"] += counts.get(error.findtext("unique"), 1)
    return found


def main() -> int:
    """Run the control, then the session, under valgrind; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["session", "control"], help="run it without valgrind")
    part = parser.parse_args().part
    if part:
        {"session": session, "control": control}[part]()
        return 0
    if not errors_of("control"):
        print("memcheck does not see that a kernel reads what nobody has written")
        return 1
    found = errors_of("session")
    for error, times in found.most_common():
        print(f"{times} times: {error}")
    print(f"{len(found)} kinds of errors in fastnn's compiled code")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
