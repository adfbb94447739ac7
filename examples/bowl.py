"""A walk down the bowl x^2 + y^2 with three learning rates.

With 0.1 the walk goes straight to the middle. With 0.9 it jumps across from side to side, and only
arrives because each jump is a fifth shorter than the last; beyond 1 it would leave the bowl. With
0.001 it has hardly begun after 20 steps.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn as fnn
from fastnn import plots

bowl = fnn.descent.functions.bowl
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for learning_rate, ax in zip((0.1, 0.9, 0.001), panels, strict=True):
    optimizer = fnn.GradientDescent(learning_rate)
    walk = fnn.descent.minimize(bowl, [-8, 6], optimizer=optimizer, steps=20)
    plots.descent(walk, ax=ax).set_title(f"learning rate {learning_rate:g}")
    print(f"learning rate {learning_rate:g}: {walk.values[0]:g} -> {walk.values[-1]:.4g}")
figure.savefig(Path(*sys.argv[1:2], "bowl.png"), dpi=96)
