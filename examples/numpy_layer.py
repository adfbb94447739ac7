"""Your own layer, written with NumPy, trained together with the others.

Each unit of `Bumps` is a bell around a center that it learns: exp(-((x - center) / width)^2).
`build` says which parameters there are, `forward` computes, `backward` is the chain rule, and
`gradcheck` tells whether `backward` fits `forward`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

plt.style.use(plots.STYLE)


class Bumps(fnn.Layer):
    """Bells around learned centers, for one input."""

    def __init__(self, units, width, name=None):
        super().__init__(name)
        self.units, self.width = units, width

    def config(self):
        """Return what the layer can be made of again."""
        return {"units": self.units, "width": self.width}

    def output_shape(self, input_shape):
        """Return the shape of one sample of the output."""
        return (self.units,)

    def build(self, input_shape):
        """Add the centers, anywhere between -3 and 3 at first."""
        self.add_weight("center", (self.units,), fnn.initializers.Uniform(-3, 3))

    def forward(self, x, *, training):
        """Return the bells at x, shape (rows, units), and keep what `backward` needs."""
        self.distance = (x - self.parameters["center"]) / self.width
        self.bell = np.exp(-(self.distance**2))
        return self.bell

    def backward(self, grad_output):
        """Return the gradient with respect to x; the centers' is its opposite, summed over rows."""
        by_x = grad_output * self.bell * (-2 * self.distance / self.width)
        self.gradients["center"][...] = -by_x.sum(axis=0)
        return by_x.sum(axis=1, keepdims=True)


generator = np.random.default_rng(0)
x = generator.uniform(-3, 3, (300, 1))
y = np.sin(2 * x) + 0.3 * x + generator.normal(0, 0.1, x.shape)

model = fnn.Sequential(
    [Bumps(10, width=0.8), fnn.Dense(1, use_bias=False)], input_shape=(1,), seed=0
)
model.compile(fnn.Adam(0.02), "mse", metrics=["r2"])
print("the derivative is right:", fnn.gradcheck(model, x[:20], y[:20]))
history = model.fit(x, y, epochs=100, verbose=0)
print(f"r2 after {len(history.epoch)} epochs: {history.history['r2'][-1]:.3f}")

grid = np.linspace(-3, 3, 300)[:, None]
bells = model.layers[0].forward(grid, training=False)
figure, ax = plt.subplots()
weighted = bells * model.parameters["dense/kernel"][:, 0]
ax.plot(grid, weighted, color="0.7", linestyle="-", linewidth=1)[0].set_label("bells")
ax.plot(x, y, ".", color="0.5", label="data")
ax.plot(grid, model.predict(grid), linewidth=2.5, linestyle="-", label="their sum, learned")
ax.set(xlabel="x", ylabel="y", title="A layer written with NumPy")
figure.legend(loc="outside lower center", ncols=3)
figure.savefig(Path(*sys.argv[1:2], "numpy_layer.png"), dpi=96)
