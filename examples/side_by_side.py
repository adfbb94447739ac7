"""Many networks at once: each in a Python thread, on one processor of its own.

A small network does not gain from a second processor: handing out the work would take longer than
the work. Two networks do. `set_num_threads(1)` keeps each training on the thread that called `fit`,
which lets the others run meanwhile, and a `ThreadPoolExecutor` does the rest; no processes, no
copies of the data. Every network comes out with the same bits as when it is trained alone.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

SEEDS, EPOCHS = range(8), 30

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out((x / 16).astype("float32"), y, 0.2, stratify=True, seed=0)


def trained(seed):
    """Return a network and its history."""
    layers = [fnn.Dense(128, "relu"), fnn.Dense(64, "relu"), fnn.Dense(10)]
    model = fnn.Sequential(layers, input_shape=(64,), seed=seed)
    model.compile("adam", "crossentropy", metrics=["accuracy"])
    history = model.fit(*train, epochs=EPOCHS, validation_data=held_out, verbose=0)
    return model, history


fnn.set_num_threads(1)
start = time.perf_counter()
one_by_one = [trained(seed) for seed in SEEDS]
between = time.perf_counter()
with ThreadPoolExecutor() as pool:
    side_by_side = list(pool.map(trained, SEEDS))
end = time.perf_counter()
print(f"{len(SEEDS)} networks, one after the other: {between - start:.2f} s")
print(f"{len(SEEDS)} networks, side by side: {end - between:.2f} s")

for (alone, _), (together, _) in zip(one_by_one, side_by_side, strict=True):
    pairs = zip(alone.get_weights(), together.get_weights(), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
print("the same bits either way")
best = [history.history["val_accuracy"][-1] for _, history in side_by_side]
together = np.mean([model.predict(held_out[0]) for model, _ in side_by_side], axis=0)
print(f"held-out digits: {min(best):.1%} to {max(best):.1%} for each network alone")
print(f"their mean output: {np.mean(together.argmax(axis=1) == held_out[1]):.1%}")

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
losses = np.array([history.history["val_loss"] for _, history in side_by_side])
epochs = np.arange(1, EPOCHS + 1)
ax.plot(epochs, losses.T, color=plots.style.SKY, linewidth=1)[0].set_label("each of 8 networks")
ax.plot(epochs, losses.mean(axis=0), color=plots.style.BLUE, linewidth=2.5, label="their mean")
plots.style.whole_numbers(ax)
plots.style.finish(ax, xlabel="epoch", ylabel="loss on held-out digits (log scale)", yscale="log")
ax.legend(loc="upper right", frameon=False)
figure.savefig(Path(*sys.argv[1:2], "side_by_side.png"), dpi=96)
