"""Linear regression twice: as a function to be minimized, and as the smallest of all networks.

A dense layer with one input, one unit and no bias computes visitors = a * advertising. Trained
with gradient descent on the mean squared error it takes the same path as the descent on the
error, which is a function of a: training a network is gradient descent.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

plt.style.use(plots.STYLE)

advertising = np.array([10.0, 2.0, 5.0, 10.0, 10.0, 5.0])
visitors = np.array([12.0, 4.0, 8.0, 12.0, 11.0, 4.0])


def error(a):
    """Return the mean squared error of visitors = a * advertising."""
    return np.mean((visitors - a * advertising) ** 2)


def slope(a):
    """Return the derivative of the error by a."""
    return np.mean(-2 * advertising * (visitors - a * advertising))


walk = fnn.descent.minimize(
    error, -4.0, grad=slope, optimizer=fnn.GradientDescent(0.001), steps=100
)

model = fnn.Sequential(
    [fnn.Dense(1, use_bias=False, kernel_initializer=fnn.initializers.Constant(-4.0))],
    input_shape=(1,),
    dtype="float64",
)
model.compile(fnn.GradientDescent(0.001), "mse")
history = model.fit(advertising[:, None], visitors, epochs=100, verbose=0)
learned = model.parameters["dense/kernel"].item()

best = advertising @ visitors / (advertising @ advertising)
print(f"walk on the error:   a = {walk.x:.16f} after {walk.steps} steps")
print(f"one-weight network: a = {learned:.16f} after {len(history.epoch)} epochs")
print(f"least squares:       a = {best:.16f}")
assert math.isclose(walk.x, 1.1807727108001826, rel_tol=1e-12)
assert math.isclose(learned, walk.x, rel_tol=1e-12)

figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 4.2))
line = np.array([[0.0], [11.0]])
left.plot(advertising, visitors, "o", color="black", label="shops")
left.plot(line, model.predict(line), label=f"visitors = {learned:.2f} advertising")
left.set(xlabel="advertising", ylabel="visitors", title="What was learned", xlim=0, ylim=0)
plots.style.legend_below(left)
walk.plot(ax=right)
right.set(xlabel="a", ylabel="mean squared error", title="How: downhill on the error")
figure.savefig(Path(*sys.argv[1:2], "advertising.png"), dpi=96)
