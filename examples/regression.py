"""Regression on a table: rents of flats from size, age and distance to the center.

Columns of different size are scaled with mean and standard deviation of the training rows (never
of the held-out ones), and so is the target. The curves show loss and r2 of both parts: r2 is the
share of the rents' variance that the model explains.
"""

import sys
from pathlib import Path

import numpy as np

import fastnn as fnn

generator = np.random.default_rng(0)
rows = 2000
size = generator.uniform(20, 150, rows)  # square metres
age = generator.uniform(0, 100, rows)  # years
distance = generator.exponential(6, rows)  # kilometres
rent = 200 + 12 * size * (0.6 + np.exp(-distance / 5)) - 4 * np.minimum(age, 50)
rent += generator.normal(0, 60, rows)

table = np.column_stack([size, age, distance])
(x, y), (x_held_out, y_held_out) = fnn.datasets.hold_out(table, rent, 0.25, seed=0)
mean, scale = x.mean(axis=0), x.std(axis=0)
rent_mean, rent_scale = y.mean(), y.std()

model = fnn.Sequential(
    [fnn.Dense(32, "relu"), fnn.Dense(32, "relu"), fnn.Dense(1)], input_shape=(3,), seed=0
)
model.compile(fnn.Adam(3e-3), "mse", metrics=["r2"])
history = model.fit(
    (x - mean) / scale,
    (y - rent_mean) / rent_scale,
    epochs=40,
    validation_data=((x_held_out - mean) / scale, (y_held_out - rent_mean) / rent_scale),
    verbose=0,
)

predicted = model.predict((x_held_out - mean) / scale)[:, 0] * rent_scale + rent_mean
error = np.abs(predicted - y_held_out).mean()
print(f"held-out r2: {history.history['val_r2'][-1]:.3f}")
print(f"mean error of a held-out rent: {error:.0f} (noise alone: {60 * np.sqrt(2 / np.pi):.0f})")
history.plot()[0].figure.savefig(Path(*sys.argv[1:2], "regression.png"), dpi=96)
