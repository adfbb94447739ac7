"""A generative adversarial network (Goodfellow et al. 2014) that learns eight clusters on a ring.

The generator turns noise into points, and the discriminator tells them from real ones. The third
model is the other two in a chain; it trains the generator so that its points are taken for real,
and leaves the discriminator as it is (`frozen`). They share their parameters; nothing is copied.

The usual failure is a generator that makes only some of the clusters. What prevents it here: the
discriminator sees all points blurred, less and less in the course of training (instance noise,
Sonderby et al. 2016), so that at first it judges the ring as a whole and later each cluster.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

STEPS, BATCH, NOISE, RADIUS, SPREAD, BLUR = 3500, 128, 8, 2.0, 0.15, 0.7

generator_of_numbers = np.random.default_rng(0)
angles = 2 * np.pi * np.arange(8) / 8
centers = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def real_points(count):
    """Return points of eight normal distributions around the centers."""
    near = centers[generator_of_numbers.integers(0, 8, count)]
    return near + SPREAD * noise(count, 2)


def noise(count, size=NOISE):
    """Return normally distributed numbers, by default those that the generator makes points of."""
    return generator_of_numbers.normal(size=(count, size))


def hidden():
    """Return the hidden layers of either network."""
    return [fnn.Dense(64, "leaky_relu"), fnn.Dense(64, "leaky_relu")]


generator = fnn.Sequential([*hidden(), fnn.Dense(2)], input_shape=(NOISE,), seed=1)
discriminator = fnn.Sequential([*hidden(), fnn.Dense(1)], input_shape=(2,), seed=2)
discriminator.compile(fnn.Adam(1e-3, beta_1=0.5), "binary_crossentropy")
z, blur = fnn.Input((NOISE,)), fnn.Input((2,))
gan = fnn.Model([z, blur], discriminator(fnn.Add()([generator(z), blur])))
gan.compile(fnn.Adam(1e-3, beta_1=0.5), "binary_crossentropy", frozen=discriminator)

is_real = np.repeat([1.0, 0.0], BATCH)
at_first = generator.predict(noise(1000))
for step in range(STEPS):
    width = BLUR * max(0, 1 - step / (0.8 * STEPS))
    both = np.concatenate([real_points(BATCH), generator.predict(noise(BATCH))])
    discriminator.train_on_batch(both + width * noise(2 * BATCH, 2), is_real)
    gan.train_on_batch([noise(BATCH), width * noise(BATCH, 2)], np.ones(BATCH))

made = generator.predict(noise(2000))
distances = np.linalg.norm(made[:, None] - centers, axis=2)
is_near = distances.min(axis=1) < 4 * SPREAD  # real ones are there in 99.97 % of all cases
shares = np.bincount(distances.argmin(axis=1)[is_near], minlength=8) / len(made)
print(f"{is_near.mean():.1%} of the points made lie within {4 * SPREAD:.1f} of a center")
print(f"share of each of the eight clusters: {', '.join(f'{share:.1%}' for share in shares)}")

figure, panels = plt.subplots(
    1, 3, figsize=(8.8, 3.4), layout="constrained", sharex=True, sharey=True
)
titles = ("made before training", "made after training", "real")
for ax, points, title in zip(
    panels, (at_first, made[:1000], real_points(1000)), titles, strict=True
):
    ax.plot(*points.T, ".", color=plots.style.BLUE, markersize=3, alpha=0.5)
    ax.plot(*centers.T, "+", color="black", markersize=9)
    plots.style.finish(ax, title=title, xlabel="first coordinate")
    ax.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
panels[0].set_ylabel("second coordinate")
figure.savefig(Path(*sys.argv[1:2], "gan_ring.png"), dpi=96)
