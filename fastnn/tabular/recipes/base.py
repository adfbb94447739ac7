"""What recipes have in common, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn import layers
from fastnn.core import checks
from fastnn.core.declare import Declaration, integer
from fastnn.core.registry import Registry
from fastnn.layers.base import Tensor
from fastnn.losses import Crossentropy, Loss, Quantile
from fastnn.model import Model


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


def checked_widths(name: str, value: Any) -> tuple[int, ...]:
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
get = registry.get


def embedded(
    task: Task,
    given: Tensor,
    numbers: Callable[[Tensor], list[Tensor]],
    codes: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the inputs of a table with its numbers and codes embedded, and its flags.

    Parameters
    ----------
    task : Task
    given : Tensor
        As `Encoding` lays the inputs out.
    numbers, codes : callable
        What a recipe makes of each, if there are any.
    """
    parts = []
    flags_end = task.numbers + task.flags
    if task.numbers:
        parts += numbers(layers.Columns(0, task.numbers)(given))
    if task.flags:
        parts.append(layers.Columns(task.numbers, flags_end)(given))
    if task.cardinalities:
        parts.append(codes(layers.Columns(flags_end, task.inputs)(given)))
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
