"""Half a second to retrain: training inside a program that cannot wait.

What is to be learned changes: the border between two classes rotates from round to round. In each
round the program has half a second for the newest data. `fit(time_budget=...)` ends in time, within
an epoch if necessary, and the model continues from where it was.
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

plt.style.use(plots.STYLE)

ROUNDS, SECONDS = 4, 0.5

generator = np.random.default_rng(0)


def newest_data(angle, rows=4000):
    """Return points in the plane; class 1 lies beyond a wavy line at this angle."""
    x = generator.normal(size=(rows, 2))
    along = x @ [np.cos(angle), np.sin(angle)]
    across = x @ [-np.sin(angle), np.cos(angle)]
    return x, (across > 0.7 * np.sin(2 * along)).astype(int)


model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(2)], input_shape=(2,), seed=0)
model.compile(fnn.Adam(3e-3), "crossentropy", metrics=["accuracy"])

before, after = [], []
for round_number in range(1, ROUNDS + 1):
    x, y = newest_data(angle=0.8 * round_number)
    before.append(model.evaluate(x, y)["accuracy"])
    start = time.perf_counter()
    # More epochs than can be done: it is the time that ends it.
    history = model.fit(x, y, epochs=1_000_000, time_budget=SECONDS, verbose=0)
    seconds = time.perf_counter() - start
    after.append(model.evaluate(*newest_data(angle=0.8 * round_number))["accuracy"])
    print(f"round {round_number}: accuracy {before[-1]:.1%} -> {after[-1]:.1%}, {seconds:.3f} s")
    print(f"  {history.stop_reason}")

figure, ax = plt.subplots()
rounds = np.arange(1, ROUNDS + 1)
for shift, accuracies, label, color in (
    (-0.2, before, "before retraining", "0.75"),
    (0.2, after, f"after {SECONDS:g} seconds of it", "C0"),
):
    bars = ax.bar(rounds + shift, accuracies, 0.4, label=label, color=color)
    ax.bar_label(bars, fmt="{:.1%}")
ax.set(xlabel="round", ylabel="accuracy on new data", xticks=rounds, ylim=(0, 1.1))
ax.grid(False, axis="x")
figure.legend(loc="outside lower center", ncols=2)
figure.savefig(Path(*sys.argv[1:2], "time_budget.png"), dpi=96)
