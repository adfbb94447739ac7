"""XOR: no straight line separates the classes, but a hidden layer of four units does.

Pairs of bits, blurred: class 1 is where exactly one of them is set. Saves the decision boundary
after training (xor.png), and how it develops (xor.gif).
"""

import sys
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn import plots

directory = Path(*sys.argv[1:2])
generator = np.random.default_rng(0)
bits = generator.integers(0, 2, (200, 2))
x = bits + generator.normal(0, 0.15, bits.shape)
y = bits[:, 0] ^ bits[:, 1]

line = fnn.Sequential([fnn.Dense(1, "sigmoid")], input_shape=(2,), seed=0)
network = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(1, "sigmoid")], input_shape=(2,), seed=0)
recorder = fnn.Recorder(looks=40)
for name, model in (("without a hidden layer", line), ("with four hidden units", network)):
    model.compile(fnn.Adam(0.05), "binary_crossentropy", metrics=["binary_accuracy"])
    model.fit(x, y, epochs=150, verbose=0, callbacks=[recorder] if model is network else [])
    print(f"{name}: accuracy {model.evaluate(x, y)['binary_accuracy']:.1%}")

plots.decision_boundary(network, x, y).figure.savefig(directory / "xor.png", dpi=96)
plots.animate_decision_boundary(recorder, x, y, directory / "xor.gif", fps=4, frames=16)
