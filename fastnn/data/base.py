"""What the adapters of all sources of data have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastnn.data.batches_of import is_batches
from fastnn.data.samples import Samples, inputs_alone, not_empty, with_targets
from fastnn.data.specification import DataSpecification
from fastnn.data.steps import Steps

Parts = Generator[Steps, None, None]


@dataclass(frozen=True)
class Given:
    """What `fit`, `evaluate` or `predict` was given, as it came.

    Attributes
    ----------
    specify : callable
        Of x, to what the network takes; a network without an input shape takes that of x.
    x, y, sample_weight, class_weight : object
    has_targets : bool
        False for `predict`.
    """

    specify: Callable[[object], DataSpecification]
    x: object
    y: object = None
    sample_weight: object = None
    class_weight: object = None
    has_targets: bool = True

    @property
    def is_batches(self) -> bool:
        """Whether x yields batches; of a list, where there is no y beside it."""
        return is_batches(self.x, takes_lists=self.has_targets and self.y is None)

    @cached_property
    def specification(self) -> DataSpecification:
        """What the network takes."""
        return self.specify(self.x)

    @cached_property
    def samples(self) -> Samples:
        """The arrays, checked, but for the numbers of large memory maps."""
        if not self.has_targets:
            return inputs_alone(self.x, self.specification, in_windows=True)
        samples = with_targets(
            self.x, self.y, self.sample_weight, self.class_weight, self.specification,
            in_windows=True,
        )  # fmt: skip
        not_empty(samples.rows)
        return samples


@dataclass(frozen=True)
class Batching:
    """How the epochs of a training take the data.

    Attributes
    ----------
    rows_of_a_step : callable
        Of the number of rows, to how many a step takes.
    generator : numpy.random.Generator, optional
        Shuffles; None: rows come in their order.
    steps_per_epoch : int, optional
        Of an iterable of batches; None: all.
    epochs : int, default 1
        How many there will be, at most.
    needs_all_rows : str, default ""
        What needs all rows for each step, for the message where a source cannot give them.
    """

    rows_of_a_step: Callable[[int], int] = lambda rows: rows
    generator: np.random.Generator | None = None
    steps_per_epoch: int | None = None
    epochs: int = 1
    needs_all_rows: str = ""


class DataAdapter(ABC):
    """Where rows come from. An epoch comes in parts, each a `Steps` whose data have been checked.

    Parameters
    ----------
    given : Given
        Accepted by `accepts`.
    batching : Batching

    Attributes
    ----------
    steps_per_epoch : int or None
        If known.
    ended : str
        Why there is nothing for another epoch, or "".
    """

    steps_per_epoch: int | None = None
    ended: str = ""

    @abstractmethod
    def __init__(self, given: Given, batching: Batching) -> None: ...

    @classmethod
    @abstractmethod
    def accepts(cls, given: Given) -> bool:
        """Whether this is a source of the adapter's."""

    @abstractmethod
    def first(self) -> Steps:
        """Return steps with the types of data that the epochs have; they may be one of their parts.

        Raises
        ------
        TypeError, ValueError
            There are none, or they do not fit.
        """

    @abstractmethod
    def epoch(self, number: int) -> Parts:
        """Yield the parts of an epoch of training, counted from 0."""

    @abstractmethod
    def once(self, batch: int) -> Parts:
        """Yield all rows in their order, in parts that `batch` divides where it can."""

    def close(self) -> None:
        """End what goes on in the background, where something does."""
        return None
