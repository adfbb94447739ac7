"""A file larger than its memory limit, compared with the same rows in memory: `fit` in turn.

Run it as `python benchmarks/memmap.py [GIGABYTES]`, default 2. 784 columns in float32, Dense(128)
with relu, Dense(10), Adam, batch 128, shuffled. The file is in the page cache. A separate process
measures the peak of resident memory. Prints one line of a Markdown table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import QUICK, paired

import fastnn as fnn

COLUMNS, BATCH = 784, 128
PAIRS = 3 if QUICK else 7


def build() -> fnn.Sequential:
    """Return the network, compiled."""
    layers = [fnn.Dense(128, activation="relu"), fnn.Dense(10)]
    model = fnn.Sequential(layers, input_shape=(COLUMNS,), seed=0)
    model.compile(fnn.Adam(1e-3), "crossentropy")
    return model


def open_map(path: Path) -> np.ndarray:
    """Return the file's rows."""
    return np.memmap(path, np.float32, "r").reshape(-1, COLUMNS)


def labels(rows: int) -> np.ndarray:
    """Return a label for each row."""
    return np.random.default_rng(1).integers(0, 10, rows)


def write(path: Path, rows: int) -> None:
    """Write the rows, some at a time."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, rows, 50_000):
            part = rng.standard_normal((min(50_000, rows - first), COLUMNS), np.float32)
            file.write(part.tobytes())


def peak_megabytes() -> float:
    """Return the peak of this process's resident memory, including pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def train_on_map(path: Path) -> None:
    """Fit, evaluate and predict on a map alone, and print the peak of resident memory."""
    x = open_map(path)
    y, model, before = labels(len(x)), build(), peak_megabytes()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    model.evaluate(x, y)
    model.predict(x)
    print(f"{before:.0f} {peak_megabytes():.0f}")


def main() -> None:
    """Print the measurements."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5 if QUICK else 2.0
    rows = int(gigabytes * 2**30 / COLUMNS / 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.bin"
        write(path, rows)
        command = [sys.executable, __file__, "--map", str(path)]
        alone = subprocess.run(command, check=True, capture_output=True, text=True)
        before, peak = alone.stdout.split()
        y, ours, theirs = labels(rows), build(), build()
        x = open_map(path)
        loaded = np.array(x)
        found = paired(
            lambda: ours.fit(x, y, batch_size=BATCH, verbose=0),
            lambda: theirs.fit(loaded, y, batch_size=BATCH, verbose=0),
            PAIRS,
        )
        steps = -(-rows // BATCH)
        facts = fnn.show_config("dict")
        assert facts is not None
        print(
            f"| {gigabytes:g} GB, {COLUMNS} columns, Dense(128), Dense(10), Adam, batch {BATCH} "
            f"| map {1e6 * found['fastnn_seconds'] / steps:.0f} µs a step "
            f"| memory {1e6 * found['numpy_seconds'] / steps:.0f} µs a step "
            f"| {found['ratio']:.2f} ({found['ratio_q1']:.2f} to {found['ratio_q3']:.2f}) "
            f"| resident {peak} MB at most, {before} MB before | {found['pairs']} pairs, "
            f"{facts['processor']}, {facts['isa']}, {facts['threads']} threads |"
        )


if __name__ == "__main__":
    if "--map" in sys.argv:
        train_on_map(Path(sys.argv[-1]))
    else:
        main()
