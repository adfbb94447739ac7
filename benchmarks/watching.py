"""The cost of recording: a walk compared with its bare calls, and training with a `Recorder`.

Run it as `python benchmarks/watching.py`. Prints lines of a Markdown table. The walk has one
variable, 10,000 steps of gradient descent on x^2 + e^(-x) with its derivative, both Python
functions; its cost is its time minus that of calling both at the same points. The trainings use
the digits, with and without a `Recorder`.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from math import exp

import numpy as np
from timing import QUICK, paired

import fastnn as fnn

STEPS = 1_000 if QUICK else 10_000
PAIRS = 3 if QUICK else 15
NETWORKS = {  # hidden layers, epochs, batch
    "64-32-10": ((32,), 200, 64),
    "64-128-10": ((128,), 50, 32),
    "64-512-512-10": ((512, 512), 10, 64),
    "64-16-10, all rows": ((16,), 300, 1797),
}


def function(x: float) -> float:
    """Return x^2 + e^(-x)."""
    return x * x + exp(-x)


def derivative(x: float) -> float:
    """Return its derivative."""
    return 2 * x - exp(-x)


def walk_seconds() -> tuple[float, float]:
    """Return the time of a walk, and that of its calls alone."""
    began = time.perf_counter()
    walk = fnn.descent.minimize(
        function, 3.0, grad=derivative, optimizer=fnn.SGD(0.0005), steps=STEPS
    )
    between = time.perf_counter()
    points = walk.path.tolist()
    again = time.perf_counter()
    for x in points:
        function(x)
        derivative(x)
    return between - began, time.perf_counter() - again


def train(
    x: np.ndarray,
    y: np.ndarray,
    hidden: tuple[int, ...],
    epochs: int,
    batch: int,
    callbacks: list[fnn.Callback] | None = None,
) -> None:
    """Train a network from scratch."""
    layers = [*(fnn.Dense(units, activation="relu") for units in hidden), fnn.Dense(10)]
    model = fnn.Sequential(layers, input_shape=(64,), seed=0)
    model.compile("adam", "crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0, callbacks=callbacks)


def main() -> None:
    """Print the measurements."""
    costs = [walk - calls for walk, calls in (walk_seconds() for _ in range(PAIRS))]
    low, middle, high = statistics.quantiles(costs, n=4)
    print(
        f"| walk of {STEPS:,} steps over its calls | {1e3 * middle:.1f} ms "
        f"({1e3 * low:.1f} to {1e3 * high:.1f}) | {PAIRS} runs |"
    )
    x, y = fnn.datasets.load_digits()
    x = (x / 16).astype("float32")
    for name, (hidden, epochs, batch) in NETWORKS.items():
        plain = partial(train, x, y, hidden, 2 if QUICK else epochs, batch)
        found = paired(plain, lambda plain=plain: plain([fnn.Recorder()]), PAIRS)
        print(
            f"| {name}, recorded against plain | {found['ratio']:.3f} "
            f"({found['ratio_q1']:.3f} to {found['ratio_q3']:.3f}) | {found['pairs']} pairs |"
        )


if __name__ == "__main__":
    main()
