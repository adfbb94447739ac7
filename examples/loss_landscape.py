"""The loss around a trained network, and the path of its training.

A network has thousands of parameters; the picture shows the plane in which most of the path lies.
The path is steep at first, then follows the floor of a valley, as on functions of two variables.
"""

import sys
from pathlib import Path

import fastnn as fnn
from fastnn import plots

x, y = fnn.datasets.load_digits()
x = x / 16

model = fnn.Sequential([fnn.Dense(16, "tanh"), fnn.Dense(10)], input_shape=(64,), seed=0)
model.compile(fnn.SGD(0.05, momentum=0.9), "crossentropy")
recorder = fnn.Recorder()
history = model.fit(x, y, epochs=30, verbose=0, callbacks=[recorder])
losses = history.history["loss"]
print(f"{model.count_parameters():,} parameters, loss {losses[0]:.3f} -> {losses[-1]:.4f}")

ax = plots.landscape(model, x, y, recorder=recorder, points=25)
print(f"seen along: {ax.get_xlabel()}; {ax.get_ylabel()}")
ax.figure.savefig(Path(*sys.argv[1:2], "loss_landscape.png"), dpi=96)
