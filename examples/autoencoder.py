"""An autoencoder: a digit of 64 pixels, passed through two numbers and drawn again.

The network learns to return its input. The two numbers in its middle are a map of the digits, on
which pictures of the same digit come to lie together, although nobody tells it which is which.
Encoder and decoder are two further models over its tensors and layers: they share its parameters,
so that they are trained when it is trained.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out(x / 16, y, 0.2, stratify=True, seed=0)

pixels = fnn.Input((64,))
hidden = fnn.Dense(64, "relu")(fnn.Dense(128, "relu")(pixels))
code = fnn.Dense(2, name="code")(hidden)
drawn = code
decoding = [fnn.Dense(64, "relu"), fnn.Dense(128, "relu"), fnn.Dense(64, "sigmoid")]
for layer in decoding:
    drawn = layer(drawn)

autoencoder = fnn.Model(pixels, drawn, seed=0)
encoder = fnn.Model(pixels, code)
decoder = fnn.Sequential(decoding, input_shape=(2,))

epochs, batch = 60, 32
steps = epochs * -(-len(train[0]) // batch)
autoencoder.compile(fnn.Adam(fnn.schedules.CosineDecay(3e-3, steps)), "mse")
autoencoder.fit(train[0], train[0], epochs=epochs, batch_size=batch, verbose=0)

# The best that two numbers can do if they, and the drawing, are linear: principal components.
mean = train[0].mean(axis=0)
axes = np.linalg.svd(train[0] - mean, full_matrices=False)[2][:2]
flat = (held_out[0] - mean) @ axes.T @ axes + mean
error = autoencoder.evaluate(held_out[0], held_out[0])["loss"]
print(f"mean squared error of a held-out pixel: {error:.4f}")
print(f"by two principal components: {np.mean((flat - held_out[0]) ** 2):.4f}")
print(f"by the mean picture: {np.mean((mean - held_out[0]) ** 2):.4f}")

codes, known = encoder.predict(held_out[0]), encoder.predict(train[0])
redrawn = decoder.predict(codes)
assert np.array_equal(redrawn, autoencoder.predict(held_out[0]))  # they are its two halves
nearest = np.linalg.norm(codes[:, None] - known, axis=2).argmin(axis=1)
same = np.mean(train[1][nearest] == held_out[1])
print(f"the nearest digit on the map is the same one for {same:.1%} of the held-out digits")

figure = plt.figure(figsize=(8.8, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
ax = left.subplots()
for digit in range(10):
    points = codes[held_out[1] == digit]
    ax.scatter(*points.T, s=34, marker=f"${digit}$", color=plots.style.color(digit), linewidths=0.3)
plots.style.finish(
    ax, xlabel="first number", ylabel="second number", title="360 held-out digits on the map"
)
# Of each digit the one whose error is the median.
errors = np.mean((redrawn - held_out[0]) ** 2, axis=1)
rows = []
for digit in range(10):
    found = np.flatnonzero(held_out[1] == digit)
    rows.append(found[errors[found].argsort()[len(found) // 2]])
pairs = right.subplots(5, 4)
for panels, row in zip(pairs.reshape(-1, 2), rows, strict=True):
    for panel, picture in zip(panels, (held_out[0][row], redrawn[row]), strict=True):
        panel.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        panel.set_axis_off()
for panel, title in zip(pairs[0], ("held out", "redrawn") * 2, strict=True):
    panel.set_title(title)
figure.savefig(Path(*sys.argv[1:2], "autoencoder.png"), dpi=96)
