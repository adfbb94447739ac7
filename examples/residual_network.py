"""Residual blocks: a connection that bypasses each block lets a deep network learn.

Sixty layers one after the other learn next to nothing in ten epochs. If what goes into a block of
three is added to what comes out of it (`Residual`), the same layers with the same number of
parameters read nearly all digits. The right half of the picture shows such a block, written out
with `Add`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn as fnn
from fastnn import plots

BLOCKS = 20

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out(x / 16, y, 0.2, stratify=True, seed=0)


def block():
    """Return layers that keep the shape of their input."""
    return [fnn.LayerNormalization(), fnn.Dense(32, "relu"), fnn.Dense(32)]


stacks = {
    "plain": [layer for _ in range(BLOCKS) for layer in block()],
    "residual": [fnn.Residual(block()) for _ in range(BLOCKS)],
}
histories = {}
for name, stack in stacks.items():
    model = fnn.Sequential([fnn.Dense(32), *stack, fnn.Dense(10)], input_shape=(64,), seed=0)
    model.compile("adam", "crossentropy", metrics=["accuracy"])
    histories[name] = model.fit(*train, epochs=10, verbose=0)
    accuracy = model.evaluate(*held_out)["accuracy"]
    print(f"{name}: {accuracy:.1%} of the held-out digits, {model.count_parameters():,} parameters")

inputs = fnn.Input((32,))
changed = inputs
for layer in block():
    changed = layer(changed)
written_out = fnn.Model(inputs, fnn.Add()([inputs, changed]), seed=0)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
plots.comparison(histories, ax=left)
plots.graph(written_out, ax=right)
figure.savefig(Path(*sys.argv[1:2], "residual_network.png"), dpi=96)
