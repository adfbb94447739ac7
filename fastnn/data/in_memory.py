"""Arrays, frames and sparse matrices in memory."""

from __future__ import annotations

from fastnn.data.base import Batching, DataAdapter, Given, Parts
from fastnn.data.samples import Samples
from fastnn.data.steps import Steps


class ArrayAdapter(DataAdapter):
    """Reads rows in memory: an epoch is one part, in a new order if rows are shuffled."""

    def __init__(self, given: Given, batching: Batching) -> None:
        if batching.steps_per_epoch is not None:
            raise ValueError("steps_per_epoch is for an x that yields batches (x, y)")
        samples = given.samples
        self._steps = samples.steps(batching.rows_of_a_step(samples.rows) or 1)
        self.steps_per_epoch = self._steps.count
        self.samples: Samples = samples
        self._generator = batching.generator

    @classmethod
    def accepts(cls, given: Given) -> bool:
        """Whether x can be read as arrays: true for anything that no other adapter accepts."""
        return True

    def first(self) -> Steps:
        """Return all rows."""
        return self._steps

    def epoch(self, number: int) -> Parts:
        """Yield all rows."""
        self.next_order()
        yield self._steps

    def next_order(self) -> None:
        """Draw the order of the next epoch, if rows are shuffled."""
        if self._generator is not None:
            order = self._generator.permutation(self._steps.rows)
            if self._steps.order is None:
                self._steps.order = order
            else:
                self._steps.order[...] = order  # in the place that a prepared run knows

    def once(self, batch: int) -> Parts:
        """Yield all rows."""
        yield self.samples.steps(1)
