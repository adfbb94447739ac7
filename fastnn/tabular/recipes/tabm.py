"""TabM-mini: networks that share most of their weights, one for each member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn import initializers, layers, optimizers
from fastnn.core.declare import checked, integer, number
from fastnn.layers.base import Tensor
from fastnn.model import Model
from fastnn.tabular.recipes.base import Recipe, Task, checked_widths, embedded, heads, registry

ROWS_AT_ONCE = 8192  # that are repeated for all members, when they answer


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

    hidden: Sequence[int] | None = checked(checked_widths, default=None, is_optional=True)
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

        def codes(inputs: Tensor) -> Tensor:
            return layers.Embedding(list(task.cardinalities), 8)(inputs)

        inputs = embedded(task, given, self._numbers, codes)
        is_embedded = bool(self.bins and task.numbers)
        first = initializers.Normal(stddev=1.0) if is_embedded else "random_sign"
        h = layers.MemberScale(self.members, first)([inputs, member])
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

    def _numbers(self, numbers: Tensor) -> list[Tensor]:
        embedding = layers.PiecewiseLinearEmbedding(self.embedding_units, max(self.bins, 1))
        return [embedding(numbers) if self.bins else numbers]

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
