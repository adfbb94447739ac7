"""What a network says of the data that it takes; all that the checks need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastnn.losses import Loss

Shape = tuple[int, ...]
# check(label, rows, first_row) raises where rows of an input are not what a layer takes. The third
# is the number of the first of them, or None where the message should not name a row.
RowCheck = Callable[[str, np.ndarray, int | None], None]


@dataclass(frozen=True)
class InputSpecification:
    """One input of a network.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of one sample.
    checks : tuple of callable
        Those of the layers that read the input as it comes; see `RowCheck`.
    """

    name: str
    shape: Shape
    checks: tuple[RowCheck, ...] = ()


@dataclass(frozen=True)
class TargetSpecification:
    """The target of one output of a network.

    Attributes
    ----------
    name : str
        Of the output.
    shape : tuple of int
        Of one sample of the output.
    loss : Loss
        Says what the target may hold.
    """

    name: str
    shape: Shape
    loss: Loss


@dataclass(frozen=True)
class DataSpecification:
    """The data of a network.

    Attributes
    ----------
    inputs : tuple of InputSpecification
    targets : tuple of TargetSpecification
        Empty for a network that has not been compiled.
    dtype : {"float32", "float64"}
        In which the network computes; data may have any.
    """

    inputs: tuple[InputSpecification, ...]
    targets: tuple[TargetSpecification, ...]
    dtype: str

    def label(self, position: int) -> str:
        """Return what messages call the data of an input: "x", or "x[1]" of several."""
        return "x" if len(self.inputs) == 1 else f"x[{position}]"
