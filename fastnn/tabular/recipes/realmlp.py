"""RealMLP-TD: the recipe that "auto" stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import activations, initializers, layers, optimizers, schedules
from fastnn.core.declare import boolean, checked, number
from fastnn.layers.base import Tensor
from fastnn.model import Model
from fastnn.tabular.recipes.base import Recipe, Task, checked_widths, embedded, heads, registry

INITIAL_ROWS = 2048  # that initial weights are fitted to
SAMPLES_OF_A_BIAS = 5
# Rows times epochs of a training. Classes are learned earlier, and then by heart: of 40 and 120
# epochs of 15,000 rows, the second end with an area under the curve of 0.922 instead of 0.943.
SAMPLES_FOR_CLASSES = 640_000
SAMPLES_FOR_NUMBERS = 2_000_000
# 128 epochs take twice the time for an error that is 1 % smaller (geometric mean of 26 tables).
FEWEST_EPOCHS, MOST_EPOCHS = 16, 64
FEWEST_STEPS = 256  # few rows make few steps in an epoch


@registry.add
class RealMLP(Recipe):
    """RealMLP-TD (Holzmüller, Grinsztajn, Steinwart 2024, "Better by default").

    Numbers beside their periodic embeddings, flags, and embedded codes; a learned scale of each
    input; hidden layers in the neural-tangent parametrization, y = x @ kernel / sqrt(inputs) +
    bias, whose kernels begin normalized on the data and whose biases begin at points of the data;
    parametric activations; AdamW with a learning rate in cycles.

    Parameters
    ----------
    hidden : sequence of int, default (256, 256, 256)
    learning_rate : float, optional
        Default: 0.04 for classes, 0.2 for numbers.
    dropout : float, default 0.15
        Of the first half of the training; it then falls to 0, as `weight_decay` does.
    weight_decay : float, default 0.02
    label_smoothing : float, default 0.0
        RealMLP-TD's own 0.1 serves the accuracy and harms probabilities.
    periodic : bool, default True
        Whether numbers are embedded.
    activation : str, optional
        Default: selu for classes, mish for numbers.
    epochs : int, optional
        Default: 64, more below 200 rows, and fewer from 10,000 rows on for classes, from 31,000 on
        for numbers.
    batch_size : int, optional
        Default: 64 up to 1,024 rows, 128 up to 8,192, 256 up to 30,000, then 512.

    Notes
    -----
    What differs from the source: 64 epochs instead of 256, and fewer for many rows, batches that
    grow with the rows, and labels that are not smoothed.

    Examples
    --------
    >>> from fastnn.tabular.recipes import RealMLP, Task
    >>> model = RealMLP().network(Task(3, 2, [], classes=2), steps=100, seed=0)
    >>> model.output_shape
    (2,)
    """

    name: ClassVar[str] = "realmlp"

    hidden: Sequence[int] = checked(checked_widths, default=(256, 256, 256))
    learning_rate: float | None = number(
        default=None, is_positive=True, is_optional=True, kw_only=True
    )
    dropout: float = number(default=0.15, least=0, below=1, kw_only=True)
    weight_decay: float = number(default=0.02, least=0, kw_only=True)
    label_smoothing: float = number(default=0.0, least=0, below=1, kw_only=True)
    periodic: bool = boolean(default=True, kw_only=True)
    activation: Any = checked(
        lambda name, value: activations.get(value).name,
        default=None, is_optional=True, kw_only=True,
    )  # fmt: skip

    def rows_of_a_step(self, rows: int) -> int:
        """Return the size of a batch."""
        if self.batch_size is not None:
            return min(self.batch_size, rows)
        sizes = ((1024, 64), (8192, 128), (30_000, 256))
        return min(next((size for up_to, size in sizes if rows <= up_to), 512), rows)

    def epochs_for(self, rows: int, task: Task) -> int:
        """Return the number of epochs."""
        if self.epochs is not None:
            return self.epochs
        seen = SAMPLES_FOR_CLASSES if task.classes else SAMPLES_FOR_NUMBERS
        steps = math.ceil(rows / self.rows_of_a_step(rows))
        of_steps = math.ceil(FEWEST_STEPS / steps)
        return max(min(seen // rows, MOST_EPOCHS), FEWEST_EPOCHS, of_steps)

    def network(self, task: Task, *, steps: int, seed: int) -> Model:
        """Return a compiled network."""
        given = layers.Input((task.inputs,))
        scale = layers.Scale()
        scale.learning_rate_factor = 6.0

        def codes(inputs: Tensor) -> Tensor:
            normal = initializers.Normal(stddev=1.0)
            return layers.Embedding(list(task.cardinalities), 8, embeddings_initializer=normal)(
                inputs
            )

        h = scale(embedded(task, given, self._numbers, codes))
        activation = self.activation or ("selu" if task.classes else "mish")
        for units in self.hidden:
            h = layers.Rescaling(h.shape[0] ** -0.5)(h)
            h = _dense(units)(h)
            f = layers.ParametricActivation(activation)
            f.learning_rate_factor = 0.1
            h = f(h)
            if self.dropout:
                h = layers.Dropout(schedules.FlatCosineDecay(self.dropout, steps))(h)
        h = layers.Rescaling(h.shape[0] ** -0.5)(h)
        outputs, losses = heads(task, h, _last_dense, self.label_smoothing)
        model = Model(given, outputs, seed=seed)
        rate = self.learning_rate or (0.04 if task.classes else 0.2)
        optimizer = optimizers.AdamW(
            schedules.CosineLogCycles(rate, steps),
            beta_2=0.95,
            epsilon=1e-8,
            weight_decay=schedules.FlatCosineDecay(self.weight_decay, steps),
            weight_decay_exclusions=["bias"],
        )
        model.compile(optimizer, losses)
        return model

    def _numbers(self, numbers: Tensor) -> list[Tensor]:
        if not self.periodic:
            return [numbers]
        embedding = layers.PeriodicEmbedding()
        embedding.learning_rate_factor = 0.1
        return [numbers, embedding(numbers)]

    def initialize(self, model: Model, x: np.ndarray, generator: np.random.Generator) -> None:
        """Normalize hidden layers on the data: "std" kernels and "he+5" biases of the source.

        Each column of a kernel is scaled so that its outputs have standard deviation 1. A bias is
        minus the output at a random point between `SAMPLES_OF_A_BIAS` rows, so that the kinks of
        activations begin among the data.
        """
        some = x[generator.permutation(len(x))[:INITIAL_ROWS]]
        dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
        for layer in dense[: len(self.hidden)]:
            # The model's own arithmetic, which is the same for any number of threads.
            layer.bias[...] = 0
            until = Model(model.layers[0].input, layer.output)
            outputs = np.asarray(until.predict(some), np.float64)
            deviation = outputs.std(axis=0)
            scale = np.where(deviation > 0, deviation, 1)
            layer.kernel[...] /= scale
            size = SAMPLES_OF_A_BIAS, layer.units
            rows = generator.integers(0, len(some), size)
            weights = generator.exponential(size=size)
            points = np.take_along_axis(outputs / scale, rows, axis=0) * weights
            layer.bias[...] = -points.sum(axis=0) / weights.sum(axis=0)


def _dense(units: int, initializer: Any = None) -> layers.Dense:
    """Return a dense layer whose bias learns slowly."""
    initializer = initializer or initializers.Normal(stddev=1.0)
    layer = layers.Dense(units, kernel_initializer=initializer, bias_initializer=initializer)
    layer.learning_rate_factor = {"bias": 0.1}
    return layer


def _last_dense(units: int) -> layers.Dense:
    """Return a layer that begins at 0: all classes alike, or the mean of standardised numbers."""
    return _dense(units, "zeros")
