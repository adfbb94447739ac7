"""Networks for tables that need no tuning: their layers, optimizer, schedules and initial weights.

A recipe is a declaration of hyper-parameters. It makes a compiled network for encoded inputs
(`Recipe.network`) and sets initial weights that fit the data (`Recipe.initialize`); `learning.py`
trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn import activations, initializers, layers, optimizers, schedules
from fastnn.core import checks
from fastnn.core.declare import Declaration, boolean, checked, integer, number
from fastnn.core.registry import Registry
from fastnn.layers.base import Tensor
from fastnn.losses import Crossentropy, Loss, Quantile
from fastnn.model import Model

INITIAL_ROWS = 2048  # that initial weights are fitted to
SAMPLES_OF_A_BIAS = 5
ROWS_AT_ONCE = 8192  # that are repeated for all members, when they answer


@dataclass(frozen=True)
class Task:
    """What a network learns, and from what.

    Attributes
    ----------
    numbers, flags : int
        Inputs of each kind, in this order, as `Encoding` lays them out; codes follow.
    cardinalities : sequence of int
        For each code, how many there are.
    classes : int
        0: numbers are to be predicted.
    quantiles : tuple of float
        Of the numbers, one output each; none: their mean.
    """

    numbers: int
    flags: int
    cardinalities: Sequence[int]
    classes: int = 0
    quantiles: tuple[float, ...] = ()

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.numbers + self.flags + len(self.cardinalities)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.classes or len(self.quantiles) or 1


def _widths(name: str, value: Any) -> tuple[int, ...]:
    """Check the widths of hidden layers."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    widths = tuple(checks.integer(name, width) for width in value)
    if not widths:
        raise ValueError(f"{name} must hold at least one width, got none")
    return widths


class Recipe(Declaration):
    """Base class of recipes.

    Parameters
    ----------
    epochs : int, optional
        Default: as many as `rows` call for.
    batch_size : int, optional
        Default: the same.
    """

    epochs: int | None = integer(default=None, is_optional=True, kw_only=True)
    batch_size: int | None = integer(default=None, is_optional=True, kw_only=True)

    scaling: ClassVar[str] = "robust"  # of numbers, as `Encoding.fit` takes it
    patience: ClassVar[int | None] = None  # epochs without improvement; None: all are made
    has_logits: ClassVar[bool] = True  # whether a temperature can divide what its softmax takes

    def network(self, task: Task, *, steps: int, seed: int) -> Model:
        """Return a compiled network.

        Parameters
        ----------
        task : Task
        steps : int
            Of the whole training.
        seed : int
        """
        raise NotImplementedError

    def initialize(self, model: Model, x: np.ndarray, generator: np.random.Generator) -> None:
        """Set initial weights that fit some rows of the training; by default none."""

    @property
    def copies(self) -> int:
        """How many rows of the training each row of the table becomes."""
        return 1

    def repeated(self, x: np.ndarray) -> np.ndarray:
        """Return the rows that the network trains on; `copies` for each, one behind the other."""
        return x

    def answers(self, model: Model, x: np.ndarray) -> np.ndarray:
        """Return what the trained network answers, shape (rows, outputs)."""
        found = model.predict(x)
        return np.concatenate(found, axis=1) if isinstance(found, list) else np.asarray(found)

    def logits(self, model: Model, given: Tensor) -> Tensor:
        """Return the input of the network's softmax, if it `has_logits`."""
        return Model(model.layers[0].input, model.layers[-1].input)(given)

    def ends(self, model: Model, task: Task, given: Tensor) -> list[Tensor]:
        """Return the outputs of the trained network for the inputs of a table."""
        found = model(given)
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def rows_of_a_step(self, rows: int) -> int:
        """Return the size of a batch for so many rows to train on."""
        raise NotImplementedError

    def epochs_for(self, rows: int, task: Task) -> int:
        """Return how many epochs to train on so many rows."""
        raise NotImplementedError


registry = Registry("recipe", Recipe)
AUTO = "realmlp"  # what "auto" stands for


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
        Default: 256, and fewer from 2,500 rows on for classes, from 7,800 on for numbers.
    batch_size : int, optional
        Default: 64 up to 1,024 rows, 128 up to 8,192, 256 up to 30,000, then 512.

    Notes
    -----
    What differs from the source: the number of epochs falls with the rows, the batches grow with
    them, and labels are not smoothed.

    Examples
    --------
    >>> from fastnn.tabular.recipes import RealMLP, Task
    >>> model = RealMLP().network(Task(3, 2, [], classes=2), steps=100, seed=0)
    >>> model.output_shape
    (2,)
    """

    name: ClassVar[str] = "realmlp"

    hidden: Sequence[int] = checked(_widths, default=(256, 256, 256))
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
        return min(next((size for most, size in sizes if rows <= most), 512), rows)

    def epochs_for(self, rows: int, task: Task) -> int:
        """Return the number of epochs."""
        if self.epochs is not None:
            return self.epochs
        seen = SAMPLES_FOR_CLASSES if task.classes else SAMPLES_FOR_NUMBERS
        return int(np.clip(seen // rows, 16, 256))

    def network(self, task: Task, *, steps: int, seed: int) -> Model:
        """Return a compiled network."""
        given = layers.Input((task.inputs,))
        scale = layers.Scale()
        scale.learning_rate_factor = 6.0
        h = scale(joined(self._inputs(task, given)))
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

    def _inputs(self, task: Task, given: Tensor) -> list[Tensor]:
        parts = []
        flags_end = task.numbers + task.flags
        if task.numbers:
            numbers = layers.Columns(0, task.numbers)(given)
            parts.append(numbers)
            if self.periodic:
                embedding = layers.PeriodicEmbedding()
                embedding.learning_rate_factor = 0.1
                parts.append(embedding(numbers))
        if task.flags:
            parts.append(layers.Columns(task.numbers, flags_end)(given))
        if task.cardinalities:
            codes = layers.Columns(flags_end, task.inputs)(given)
            table = layers.Embedding(
                list(task.cardinalities), 8, embeddings_initializer=initializers.Normal(stddev=1.0)
            )
            parts.append(table(codes))
        return parts

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


@registry.add
class TabM(Recipe):
    """TabM-mini (Gorishniy, Kotelnikov, Babenko, ICLR 2025).

    Members that share their weights: each has its own scale of the embedded inputs, and its own
    last layer; their mean answers. A row of the table becomes one row of the training for each
    member, so that one product of rows times members serves all of them, and the loss is the mean
    of theirs.

    Parameters
    ----------
    hidden : sequence of int, optional
        Default: (512, 512) with embedded numbers, else (512, 512, 512).
    members : int, default 32
    bins : int, default 48
        Of the piecewise linear embeddings; 0: numbers are not embedded.
    embedding_units : int, default 16
    dropout : float, default 0.1
    learning_rate : float, default 0.002
    weight_decay : float, default 0.0003
    epochs : int, default 200
        At most; training ends 16 epochs after the best one.
    batch_size : int, optional
        Rows of the table in a step; default: 32 below 2,800 rows, 64 below 4,500, 128 below 6,400,
        256 below 32,000, 512 below 108,000, then 1024, as in AutoGluon.

    Notes
    -----
    Members see different batches, because their rows are shuffled with all others; in the source
    they share them by default. Thirty-two members take about thirty times the arithmetic of one
    network of this size.

    Examples
    --------
    >>> from fastnn.tabular.recipes import TabM, Task
    >>> recipe = TabM(members=4)
    >>> recipe.repeated(np.float32([[7.0], [8.0]])).tolist()[:5]
    [[7.0, 0.0], [7.0, 1.0], [7.0, 2.0], [7.0, 3.0], [8.0, 0.0]]
    """

    name: ClassVar[str] = "tabm"
    scaling: ClassVar[str] = "quantile"
    patience: ClassVar[int | None] = 16
    has_logits: ClassVar[bool] = False  # the mean of probabilities has none

    hidden: Sequence[int] | None = checked(_widths, default=None, is_optional=True)
    members: int = integer(default=32, kw_only=True)
    bins: int = integer(default=48, least=0, kw_only=True)
    embedding_units: int = integer(default=16, kw_only=True)
    dropout: float = number(default=0.1, least=0, below=1, kw_only=True)
    learning_rate: float = number(default=0.002, is_positive=True, kw_only=True)
    weight_decay: float = number(default=0.0003, least=0, kw_only=True)

    def rows_of_a_step(self, rows: int) -> int:
        """Return the size of a batch."""
        if self.batch_size is not None:
            return min(self.batch_size, rows)
        sizes = ((2800, 32), (4500, 64), (6400, 128), (32_000, 256), (108_000, 512))
        return min(next((size for limit, size in sizes if rows < limit), 1024), rows)

    def epochs_for(self, rows: int, task: Task) -> int:
        """Return the largest number of epochs."""
        return self.epochs or 200

    @property
    def copies(self) -> int:
        """One row for each member."""
        return self.members

    def repeated(self, x: np.ndarray) -> np.ndarray:
        """Return each row once for each member, with the member's number behind it."""
        numbers = np.tile(np.arange(self.members, dtype=x.dtype), len(x))
        return np.column_stack([np.repeat(x, self.members, axis=0), numbers])

    def network(self, task: Task, *, steps: int, seed: int) -> Model:
        """Return a compiled network, which takes the number of the member as its last input."""
        given = layers.Input((task.inputs + 1,))
        member = layers.Columns(task.inputs, task.inputs + 1)(given)
        embedded = joined(self._inputs(task, given))
        is_embedded = bool(self.bins and task.numbers)
        first = initializers.Normal(stddev=1.0) if is_embedded else "random_sign"
        h = layers.MemberScale(self.members, first)([embedded, member])
        for units in self.hidden or (512,) * (2 if is_embedded else 3):
            h = layers.Dense(units, "relu", **_uniform(h.shape[0]))(h)
            if self.dropout:
                h = layers.Dropout(self.dropout)(h)

        def dense(units: int) -> Any:
            layer = layers.MemberDense(units, self.members, **_uniform(h.shape[0]))
            return lambda inputs: layer([inputs, member])

        outputs, losses = heads(task, h, dense, 0.0)
        model = Model(given, outputs, seed=seed)
        optimizer = optimizers.AdamW(
            self.learning_rate, weight_decay=self.weight_decay, epsilon=1e-8
        )
        model.compile(optimizer, losses)
        return model

    def _inputs(self, task: Task, given: Tensor) -> list[Tensor]:
        parts = []
        flags_end = task.numbers + task.flags
        if task.numbers:
            numbers = layers.Columns(0, task.numbers)(given)
            embedding = layers.PiecewiseLinearEmbedding(self.embedding_units, max(self.bins, 1))
            parts.append(embedding(numbers) if self.bins else numbers)
        if task.flags:
            parts.append(layers.Columns(task.numbers, flags_end)(given))
        if task.cardinalities:
            codes = layers.Columns(flags_end, task.inputs)(given)
            parts.append(layers.Embedding(list(task.cardinalities), 8)(codes))
        return parts

    def initialize(self, model: Model, x: np.ndarray, generator: np.random.Generator) -> None:
        """Measure the bins of the numbers."""
        for layer in model.layers:
            if isinstance(layer, layers.PiecewiseLinearEmbedding):
                layer.adapt(x[:, : layer.parameters["edges"].shape[0]])

    def answers(self, model: Model, x: np.ndarray) -> np.ndarray:
        """Return the mean of what the members answer."""
        means = []
        for at in range(0, max(len(x), 1), ROWS_AT_ONCE):
            some = x[at : at + ROWS_AT_ONCE]
            found = super().answers(model, self.repeated(some))
            means.append(found.reshape(len(some), self.members, found.shape[1]).mean(axis=1))
        return np.concatenate(means)

    def ends(self, model: Model, task: Task, given: Tensor) -> list[Tensor]:
        """Return the mean of the members, each a branch that shares the hidden layers."""
        scale = next(one for one in model.layers if isinstance(one, layers.MemberScale))
        last = [one for one in model.layers if isinstance(one, layers.MemberDense)]
        embedded = Model(model.layers[0].input, scale.input[0])(_with_a_member(given))
        hidden = Model(scale.output, last[0].input[0])
        means: list[Tensor] = []
        weights: list[tuple[layers.Layer, list[np.ndarray]]] = []
        for head in last:
            members = []
            for member in range(self.members):
                own, dense = layers.Scale(), layers.Dense(head.units)
                columns = slice(member * head.units, (member + 1) * head.units)
                weights.append((own, [scale.scale[member]]))
                weights.append((dense, [head.kernel[:, columns], head.bias[columns]]))
                found = dense(hidden(own(embedded)))
                members.append(layers.Activation("softmax")(found) if task.classes else found)
            means.append(layers.Average()(members) if len(members) > 1 else members[0])
        made = Model(given, means)  # it has parameters for the layers
        for layer, values in weights:
            layer.set_weights(values)
        del made
        return means


def _with_a_member(given: Tensor) -> Tensor:
    """Return the inputs of a table with a column behind them, for a network of members."""
    return layers.Concatenate()([given, layers.Columns(0, 1)(given)])


def _uniform(inputs: int) -> dict[str, Any]:
    """Return the initializers of PyTorch's linear layers."""
    made = initializers.Uniform(-(inputs**-0.5), inputs**-0.5)
    return {"kernel_initializer": made, "bias_initializer": made}


# Rows times epochs of a training. Classes are learned earlier, and then by heart: of 40 and 120
# epochs of 15,000 rows, the second end with an area under the curve of 0.922 instead of 0.943.
SAMPLES_FOR_CLASSES = 640_000
SAMPLES_FOR_NUMBERS = 2_000_000


def _dense(units: int, initializer: Any = None) -> layers.Dense:
    """Return a dense layer whose bias learns slowly."""
    initializer = initializer or initializers.Normal(stddev=1.0)
    layer = layers.Dense(units, kernel_initializer=initializer, bias_initializer=initializer)
    layer.learning_rate_factor = {"bias": 0.1}
    return layer


def _last_dense(units: int) -> layers.Dense:
    """Return a layer that begins at 0: all classes alike, or the mean of standardised numbers."""
    return _dense(units, "zeros")


def joined(parts: list[Tensor]) -> Tensor:
    """Return the concatenation of any number of parts."""
    return parts[0] if len(parts) == 1 else layers.Concatenate()(parts)


def heads(task: Task, h: Tensor, dense: Any, label_smoothing: float) -> tuple[Any, Any]:
    """Return the outputs of a network, and their losses.

    Parameters
    ----------
    task : Task
    h : Tensor
        What the last hidden layer returned.
    dense : callable
        Makes a layer of so many units.
    label_smoothing : float
    """
    if task.classes:
        output = layers.Activation("softmax")(dense(task.classes)(h))
        return output, Crossentropy(label_smoothing=label_smoothing)
    if not task.quantiles:
        return dense(1)(h), "mse"
    losses: list[Loss] = [Quantile(q) for q in task.quantiles]
    return [dense(1)(h) for _ in losses], losses


get = registry.get
