"""The base class of the adapters, and what they are constructed from."""

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
    """The arguments of `fit`, `evaluate` or `predict`, unchecked.

    Attributes
    ----------
    specify : callable
        Maps x to the specification of the data that the network takes; a network without an
        input shape adopts that of x.
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
        """Whether x yields batches; a list does if y is not given."""
        return is_batches(self.x, takes_lists=self.has_targets and self.y is None)

    @cached_property
    def specification(self) -> DataSpecification:
        """The specification of the data that the network takes."""
        return self.specify(self.x)

    @cached_property
    def samples(self) -> Samples:
        """The arrays, checked except for the numbers of large memory maps."""
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
        Maps the number of rows to the number that a step takes.
    generator : numpy.random.Generator, optional
        Shuffles the rows; None: they are taken in order.
    steps_per_epoch : int, optional
        Batches of an iterable per epoch; None: all.
    epochs : int, default 1
        Maximum number of epochs.
    initial_epoch : int, default 0
        Number of the first.
    needs_all_rows : str, default ""
        What needs all rows in each step, for the message if a source cannot provide them.
    """

    rows_of_a_step: Callable[[int], int] = lambda rows: rows
    generator: np.random.Generator | None = None
    steps_per_epoch: int | None = None
    epochs: int = 1
    initial_epoch: int = 0
    needs_all_rows: str = ""


class DataAdapter(ABC):
    """A source of rows. An epoch comes in parts, each a `Steps` whose data have been checked.

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
        Why there are no data for another epoch, or "".
    samples : Samples or None
        All rows, if they are arrays in memory.
    """

    steps_per_epoch: int | None = None
    ended: str = ""
    samples: Samples | None = None

    @abstractmethod
    def __init__(self, given: Given, batching: Batching) -> None: ...

    @classmethod
    @abstractmethod
    def accepts(cls, given: Given) -> bool:
        """Whether the adapter can read this source."""

    @abstractmethod
    def first(self) -> Steps:
        """Return steps with the same types of data as the epochs; may be a part of an epoch.

        Raises
        ------
        TypeError, ValueError
            There are no data, or they do not fit.
        """

    @abstractmethod
    def epoch(self, number: int) -> Parts:
        """Yield the parts of a training epoch; epochs are counted from 0."""

    def next_order(self) -> None:
        """Put the rows of `samples` into the order of the next epoch."""
        raise NotImplementedError("only rows in memory have an order")

    def pass_over(self, epochs: range) -> None:
        """Take the data to where they are after some epochs, the first of which is the first.

        Rows whose order a generator determines need nothing: the generator says where they are.
        """
        return None

    @abstractmethod
    def once(self, batch: int) -> Parts:
        """Yield all rows in order, in parts that are multiples of `batch` where possible."""

    def close(self) -> None:
        """Stop any work in the background."""
        return None
