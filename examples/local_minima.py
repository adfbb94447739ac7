"""A trap and a pass: what momentum and Adam do where plain gradient descent stays.

The double well is a W with a shallow valley on the left: only an optimizer with enough
momentum rolls on into the deep one. On the saddle the slope is nearly zero although it is not a
minimum, and the way down begins very gently: plain gradient descent takes longest to find it.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn as fnn
from fastnn import plots
from fastnn.descent import functions, minimize

OPTIMIZERS = {
    "SGD": fnn.SGD(0.05),
    "momentum": fnn.SGD(0.05, momentum=0.95),
    "Adam": fnn.Adam(0.05),
}


def is_down(step, point, value):
    """Tell whether the saddle is left behind: from there it falls without end."""
    return value < -3


wells, saddles = {}, {}
for name, optimizer in OPTIMIZERS.items():
    wells[name] = minimize(functions.double_well, -2.8, optimizer=optimizer, steps=200)
    saddles[name] = minimize(
        functions.saddle, [-1.5, 0.01], optimizer=optimizer, steps=200, callback=is_down
    )
    print(
        f"{name:8} double well: x = {wells[name].x:+.2f}, f(x) = {wells[name].values[-1]:+.2f}; "
        f"saddle: down after {saddles[name].steps} steps"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
plots.descent(wells, ax=left)
plots.descent(saddles, ax=right)
figure.savefig(Path(*sys.argv[1:2], "local_minima.png"), dpi=88)
