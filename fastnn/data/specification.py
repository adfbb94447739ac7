"""What a network requires of its data, which is all that the checks need to know about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastnn.data.frames import ColumnNames
from fastnn.data.labels import Classes
from fastnn.data.lookups import Lookup
from fastnn.losses import Loss

Shape = tuple[int, ...]
# check(label, rows, first_row) raises if a layer does not accept rows of an input. `first_row` is
# the number of the first of them, or None if the message should not name a row.
RowCheck = Callable[[str, np.ndarray, int | None], None]


@dataclass(frozen=True)
class InputSpecification:
    """One input of a network.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Shape of one sample.
    checks : tuple of callable
        Checks of the layers that read the input directly; see `RowCheck`.
    lookup : Lookup, optional
        Turns what comes into the whole numbers that programs read.
    columns : tuple of str, optional
        Names of the columns that the network was trained on, by which those of a frame are taken.
    """

    name: str
    shape: Shape
    checks: tuple[RowCheck, ...] = ()
    lookup: Lookup | None = None
    columns: ColumnNames | None = None


@dataclass(frozen=True)
class TargetSpecification:
    """The target of one output of a network.

    Attributes
    ----------
    name : str
        Name of the output.
    shape : tuple of int
        Shape of one sample of the output.
    loss : Loss
        Determines what the target may hold.
    columns : tuple of str, optional
        As for an input.
    classes : tuple, optional
        The labels that the classes 0, 1, ... stand for.
    has_plain_metrics : bool, default False
        Whether a metric counts all rows alike, also those of weight 0.
    has_weighted_metrics : bool, default False
        Whether a metric counts the rows with their weights.
    """

    name: str
    shape: Shape
    loss: Loss
    columns: ColumnNames | None = None
    classes: Classes | None = None
    has_plain_metrics: bool = False
    has_weighted_metrics: bool = False


@dataclass(frozen=True)
class DataSpecification:
    """The data that a network takes.

    Attributes
    ----------
    inputs : tuple of InputSpecification
    targets : tuple of TargetSpecification
        Empty for a network that has not been compiled.
    dtype : {"float32", "float64"}
        Dtype in which the network computes; data may have any real dtype.
    """

    inputs: tuple[InputSpecification, ...]
    targets: tuple[TargetSpecification, ...]
    dtype: str

    @cached_property
    def input_shapes(self) -> list[tuple[str, Shape]]:
        """Name and shape of one sample of each input."""
        return [(one.name, one.shape) for one in self.inputs]

    @cached_property
    def lookups(self) -> list[Lookup | None]:
        """The lookup of each input."""
        return [one.lookup for one in self.inputs]

    @cached_property
    def columns(self) -> list[ColumnNames | None]:
        """The names of the columns of each input, if they are known."""
        return [one.columns for one in self.inputs]

    @cached_property
    def has_weighted_metrics(self) -> bool:
        """Whether a metric of any output counts the rows with their weights."""
        return any(one.has_weighted_metrics for one in self.targets)

    def label(self, position: int) -> str:
        """Return the name of an input's data in messages: "x", or "x[1]" if there are several."""
        return "x" if len(self.inputs) == 1 else f"x[{position}]"


def classes_told_apart(shape: Shape, loss: Loss) -> int:
    """Return how many classes an output tells apart; 0 if it is not a classifier of labels.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample of the output.
    loss : Loss
    """
    width = math.prod(shape)
    if loss.takes_labels and width > 1:
        return width
    return 2 if loss.link == "sigmoid" and width == 1 else 0
