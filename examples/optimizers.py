"""The same network trained by five optimizers.

All start from the same weights and see the same batches in the same order, except
`GradientDescent`, which takes one step per epoch, on all rows at once. The learning rate was chosen
for each of them; one that is good for SGD is far too large for Adam.
"""

import sys
from pathlib import Path

import fastnn as fnn
from fastnn import plots

OPTIMIZERS = {
    "gradient descent": fnn.GradientDescent(0.5),
    "SGD": fnn.SGD(0.05),
    "SGD with momentum": fnn.SGD(0.05, momentum=0.9),
    "RMSprop": fnn.RMSprop(0.002),
    "Adam": fnn.Adam(0.002),
}

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out(x / 16, y, 0.2, stratify=True, seed=0)

histories = {}
for name, optimizer in OPTIMIZERS.items():
    model = fnn.Sequential([fnn.Dense(32, "tanh"), fnn.Dense(10)], input_shape=(64,), seed=0)
    model.compile(optimizer, "crossentropy", metrics=["accuracy"])
    histories[name] = model.fit(*train, epochs=30, verbose=0)
    loss = histories[name].history["loss"][-1]
    accuracy = model.evaluate(*held_out)["accuracy"]
    print(f"{name:17}: training loss {loss:.4f}, {accuracy:.1%} of the held-out digits")

ax = plots.comparison(histories)
ax.figure.savefig(Path(*sys.argv[1:2], "optimizers.png"), dpi=96)
