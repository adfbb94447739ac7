"""Transfer learning: what was learned on the digits 0 to 4 helps to read 5 to 9.

The digits lie somewhere in a larger picture, so that a network has to learn what a stroke is,
wherever it lies. A first network learns that from many pictures of 0 to 4. Its first layer, shared
and `frozen`, is then the first layer of networks that learn 5 to 9 from few labeled pictures. From
scratch, the same network needs one and a half times to twice as many for the same accuracy.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

SIZE, COUNTS, SEEDS = 12, (50, 100, 200, 400), 4

digits, y = fnn.datasets.load_digits()
digits, is_first = digits.reshape(-1, 8, 8) / 16, y < 5
generator = np.random.default_rng(0)


def placed(pictures):
    """Return each picture somewhere in one of 12 by 12 pixels, as a row."""
    made = np.zeros((len(pictures), SIZE, SIZE), "float32")
    corners = generator.integers(0, SIZE - 8 + 1, (len(pictures), 2))
    for picture, large, (row, column) in zip(pictures, made, corners, strict=True):
        large[row : row + 8, column : column + 8] = picture
    return made.reshape(len(made), -1)


# Each picture of 0 to 4 in forty places. Dropout keeps features that other digits may need.
x, labels = placed(np.tile(digits[is_first], (40, 1, 1))), np.tile(y[is_first], 40)
first = fnn.Dense(256, "relu")
base = fnn.Sequential(
    [first, fnn.Dropout(0.5), fnn.Dense(128, "relu"), fnn.Dropout(0.5), fnn.Dense(5)],
    input_shape=(SIZE * SIZE,),
    seed=0,
)
base.compile("adam", "crossentropy")
base.fit(x, labels, batch_size=64, epochs=6, verbose=0)
kernel = first.kernel.copy()

train, held_out = fnn.datasets.hold_out(
    placed(digits[~is_first]), y[~is_first] - 5, 0.5, stratify=True, seed=0
)
accuracies = {"first layer from 0 to 4": [], "from scratch": []}
for count in COUNTS:
    found = {name: [] for name in accuracies}
    for seed in range(SEEDS):
        rows = np.random.default_rng(seed).permutation(len(train[1]))[:count]
        for name, layer, frozen in (
            ("first layer from 0 to 4", first, [first]),
            ("from scratch", fnn.Dense(256, "relu"), []),
        ):
            model = fnn.Sequential(
                [layer, fnn.Dense(128, "relu"), fnn.Dense(5)], input_shape=(SIZE * SIZE,), seed=seed
            )
            model.compile("adam", "crossentropy", metrics=["accuracy"], frozen=frozen)
            model.fit(train[0][rows], train[1][rows], batch_size=16, epochs=40, verbose=0)
            found[name].append(model.evaluate(*held_out)["accuracy"])
    texts = [f"{np.mean(values):.1%} {name}" for name, values in found.items()]
    print(f"{count} labeled pictures of 5 to 9: {', '.join(texts)}")
    for name, values in found.items():
        accuracies[name].append(values)
assert np.array_equal(kernel, first.kernel)  # it was shared with all of them, and changed by none

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for number, (name, values) in enumerate(accuracies.items()):
    look = plots.style.curve(number) | {"marker": plots.style.marker(number)}
    ax.plot(COUNTS, np.mean(values, axis=1), **look, label=name)
    ax.fill_between(
        COUNTS, np.min(values, axis=1), np.max(values, axis=1), alpha=0.15, linewidth=0,
        color=plots.style.color(number),
    )  # fmt: skip
ax.set_xscale("log")
ax.set_xticks(COUNTS, [str(count) for count in COUNTS])
ax.minorticks_off()
plots.style.finish(
    ax, xlabel="labeled pictures of 5 to 9", ylabel=f"accuracy on {len(held_out[1])} others",
    title=f"Mean and range of {SEEDS} seeds", ylim=(0, 1),
)  # fmt: skip
ax.legend(loc="lower right", frameon=False)
figure.savefig(Path(*sys.argv[1:2], "transfer.png"), dpi=96)
