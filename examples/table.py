"""A table as people have them, learned as it is: numbers, categories, dates, missing cells.

A thousand sales of flats with some disorder: the floor is missing in every tenth row, the area is
written with a decimal comma, and the number of the contract says nothing. `TabularRegressor` finds
out what each column is, learns, and knows how good it is from rows that it has not learned.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots
from fastnn.plots import tables

plt.style.use(plots.STYLE)

rows, rng = 1000, np.random.default_rng(0)
area = rng.uniform(25, 140, rows).round(1)
town = rng.choice(["Kiel", "Ulm", "Bonn", "Jena"], rows, p=[0.4, 0.3, 0.2, 0.1])
floor = rng.integers(0, 6, rows).astype(float)
day = np.datetime64("2020-01-01") + rng.integers(0, 1500, rows)
of_town = {"Kiel": 2600, "Ulm": 3100, "Bonn": 3600, "Jena": 2400}
square_meter = np.array([of_town[one] for one in town]) + 60 * floor
rise = 1 + 0.0002 * (day - day.min()).astype(int)
price = area * square_meter * rise + rng.normal(0, 12_000, rows)
floor[rng.random(rows) < 0.1] = np.nan

sales = {
    "contract": [f"C-{number:05d}" for number in rng.permutation(rows)],
    "area": [f"{value:.1f}".replace(".", ",") for value in area],
    "town": town,
    "floor": floor,
    "sold": day,
}
train, held_out = np.split(rng.permutation(rows), [800])


def chosen(numbers):
    """Return some rows of the table."""
    return {name: np.asarray(column)[numbers] for name, column in sales.items()}


model = fnn.TabularRegressor(n_members=2, recipe={"name": "realmlp", "epochs": 40}, random_state=0)
model.fit(chosen(train), price[train])
print(model.describe())

predicted = model.predict(chosen(held_out))
r2 = model.score(chosen(held_out), price[held_out])
low, high = model.predict_interval(chosen(held_out), 0.9).T
inside = np.mean((low <= price[held_out]) & (price[held_out] <= high))
print(f"held-out r2: {r2:.3f}, out of fold: {model.scores_['r2']:.3f}")
print(f"share of prices inside their intervals of 90%: {inside:.1%}")
flat = {"area": "80,0", "town": "Bonn", "floor": 2, "sold": "2023-05-01", "contract": None}
print(f"80 square meters in Bonn, second floor: {model.predict_one(flat):,.0f}")

needed = model.permutation_importance(chosen(held_out), price[held_out], random_state=0)
print(f"most important: {', '.join(needed.columns[:2])}")

figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.6))
thousands = price[held_out] / 1000, predicted / 1000
tables.predicted_against_true(*thousands, "price in thousands", ax=left)
left.get_legend().remove()
tables.importance(needed.columns, needed.mean, needed.std, needed.metric, ax=right)
figure.savefig(Path(*sys.argv[1:2], "table.png"), dpi=76)
