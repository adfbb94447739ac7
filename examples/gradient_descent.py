"""Gradient descent by hand: x is changed by -learning_rate * f'(x), again and again.

Four functions of one variable, from an exercise to a trap. They show that the steps shrink with the
slope, that a small learning rate takes many of them, and that a descent ends in the valley below
its start, which need not be the deepest one.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn as fnn
from fastnn import plots
from fastnn.descent import functions, minimize


def walk(function, start, learning_rate, steps):
    """Walk downhill with steps of learning_rate * slope."""
    return minimize(function, start, optimizer=fnn.GradientDescent(learning_rate), steps=steps)


# 1. The minimum of x^2 + exp(-x) has no closed form: 2x = exp(-x) is solved by gradient
# descent. The learning rate is tiny, so that it takes thousands of steps.
slow = walk(functions.square_and_exponential, 3.0, learning_rate=0.0005, steps=10_001)
print(f"x^2 + exp(-x): x = {slow.path[1]} after 1 step, {slow.x} after {slow.steps:,}")
assert math.isclose(slow.path[1], 2.997024893534184, rel_tol=1e-12)
assert math.isclose(slow.x, 0.3517383210080008, rel_tol=1e-12)

# 2. On x^2 each step multiplies x by 1 - 2 * learning_rate.
shrinking = walk(functions.square, 3.0, learning_rate=0.1, steps=100)
print(f"x^2: x = {shrinking.x:.6g} after 100 steps; 3 * 0.8^100 = {3 * 0.8**100:.6g}")
assert math.isclose(shrinking.x, 3 * 0.8**100, rel_tol=1e-12)

# 3. A function that nobody wants to differentiate by hand; it brings its gradient.
flat = walk(functions.log_over_square, 3.0, learning_rate=0.5, steps=100)
print(f"-log(sigmoid(x) + 1) / (x^2 + 1): x = {flat.x:.6f}, f(x) = {flat.values[-1]:.6f}")
assert math.isclose(flat.x, functions.log_over_square.minima[0][0], abs_tol=1e-6)

# 4. Waves: each start leads to another valley, and only the first to the deepest one.
starts = (4.0, 6.0, 8.0, -2.0)
trapped = {f"from {x:g}": walk(functions.waves, x, 0.01, steps=500) for x in starts}
for name, one in trapped.items():
    print(f"x^2/10 + 10 sin(x^2/4) {name}: x = {one.x:.4f}, f(x) = {one.values[-1]:.4f}")
assert min(trapped, key=lambda name: trapped[name].values[-1]) == "from 4"

figure, panels = plt.subplots(2, 2, figsize=(8.8, 8.4), layout="constrained")
for what, ax in zip((slow, shrinking, flat, trapped), panels.flat, strict=True):
    plots.descent(what, ax=ax)
figure.savefig(Path(*sys.argv[1:2], "gradient_descent.png"), dpi=96)
