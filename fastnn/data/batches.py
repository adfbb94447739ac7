"""Iterables of batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from fastnn.core.hints import nearest
from fastnn.data.base import Batching, DataAdapter, Given, Parts
from fastnn.data.batches_of import batches_of, is_iterator, taken_apart
from fastnn.data.read_ahead import ReadAhead
from fastnn.data.samples import Samples, inputs_alone, not_empty, with_targets
from fastnn.data.steps import Steps


class BatchesAdapter(DataAdapter):
    """Reads an iterable of (x, y), or of x for `predict`; each batch is one part.

    A thread checks and copies the batches. The copy is needed because the iterable may reuse its
    arrays. The iterable's own methods `on_epoch_begin` and `on_epoch_end` are called by the thread
    that trains, while nothing is being read.
    """

    def __init__(self, given: Given, batching: Batching) -> None:
        x, steps = given.x, batching.steps_per_epoch
        for name, value in (("y", given.y), ("sample_weight", given.sample_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None where x yields batches (x, y), which "
                    f"{type(x).__name__} does"
                )
        if batching.needs_all_rows:
            raise ValueError(
                f"{batching.needs_all_rows}: x must be arrays, got batches ({type(x).__name__})"
            )
        if is_iterator(x) and steps is None and batching.epochs > 1:
            raise ValueError(
                f"steps_per_epoch must be given for {batching.epochs} epochs of an iterator, which "
                "can be read only once"
            )
        _check_hooks(x)
        self._given, self._steps = given, steps
        self._number = batching.initial_epoch
        self.steps_per_epoch = steps
        if steps is None and hasattr(x, "__len__"):
            self.steps_per_epoch = len(x)
        self._rest: Iterator[Any] | None = None  # what the last epoch has left
        self._reader: ReadAhead[Steps] | None = None
        self._is_fresh = False  # whether the reader is for an epoch that has not begun
        self._first: Steps | None = None

    @classmethod
    def accepts(cls, given: Given) -> bool:
        """Whether x is to be iterated over."""
        return given.is_batches

    def first(self) -> Steps:
        """Return the first batch; this call starts the reading."""
        if self._first is None:
            self._reader = self._read(self._number)
            try:
                self._first = self._reader.peek()
            except BaseException:
                self.close()
                raise
            if self._first is None:
                raise ValueError("x must yield at least one batch, got none")
        return self._first

    def _read(self, number: int) -> ReadAhead[Steps]:
        _tell(self._given.x, "on_epoch_begin")
        self._is_fresh = True
        return ReadAhead(self._checked(self._of_epoch(), f" of epoch {number + 1}"))

    def _of_epoch(self) -> Iterator[Any]:
        """Yield the batches of an epoch: all of them, or those that follow the last epoch's."""
        x, missing = self._given.x, self._steps
        if missing is None:
            yield from batches_of(x)
            return
        while True:
            is_new = self._rest is None
            self._rest = batches_of(x) if self._rest is None else self._rest
            before = missing
            for batch in islice(self._rest, missing):
                yield batch
                missing -= 1
            if not missing:
                return  # there may be more, for the next epoch
            self._rest = None
            if is_iterator(x) or (is_new and missing == before):
                return

    def epoch(self, number: int) -> Parts:
        """Yield the batches; an iterable that can be read again begins anew at its end."""
        if self._reader is None or not self._is_fresh:
            self._reader = self._read(number)
        self._is_fresh = False
        done = 0
        for steps in self._reader:
            yield steps
            done += 1
        if self._steps is not None and done < self._steps:
            self.ended = f"x ended after {done} of {self._steps} batches of epoch {number + 1}"
        elif not done:
            self.ended = f"x yielded no batch in epoch {number + 1}"
        _tell(self._given.x, "on_epoch_end")

    def pass_over(self, epochs: range) -> None:
        """Read the batches of these epochs: only so is the iterable where it was after them."""
        for number in epochs:
            for _ in self.epoch(number):
                pass

    def once(self, batch: int) -> Parts:
        """Yield the batches."""
        _tell(self._given.x, "on_epoch_begin")
        reader = ReadAhead(self._checked(batches_of(self._given.x, self._steps)))
        try:
            yield from reader
        finally:
            reader.close()
        _tell(self._given.x, "on_epoch_end")

    def _checked(self, batches: Iterator[Any], of_what: str = "") -> Iterator[Steps]:
        """Yield a `Steps` of one step for each batch after checking it."""
        for number, batch in enumerate(batches):
            try:
                samples = self._samples(batch)
            except (TypeError, ValueError) as error:
                raise type(error)(f"batch {number + 1}{of_what}: {error}") from None
            yield samples.copy().steps()

    def _samples(self, batch: object) -> Samples:
        given = self._given
        if not given.has_targets:  # x, or the first entry of (x, ...)
            x = batch[0] if isinstance(batch, tuple) and batch else batch
            return inputs_alone(x, given.specify(x))
        x, y, sample_weight = taken_apart(batch)
        samples = with_targets(x, y, sample_weight, given.class_weight, given.specify(x))
        not_empty(samples.rows)
        return samples

    def close(self) -> None:
        """Stop the thread."""
        if self._reader is not None:
            self._reader.close()


def _tell(x: object, hook: str) -> None:
    """Call a method of the data that an epoch begins or ends with, as Keras calls a PyDataset's."""
    method = getattr(x, hook, None)
    if callable(method):
        method()


def _check_hooks(x: object) -> None:
    """Raise TypeError if an iterable has a method that looks as if it were called, but is not."""
    for name in dir(type(x)):
        if name.startswith("on_") and name not in _HOOKS:
            is_of_batch = name.startswith(("on_batch_", "on_train_"))
            near = nearest(name, _HOOKS, cutoff=0.8)
            if is_of_batch or near is not None:
                hint = f"; did you mean {near}?" if near else ""
                raise TypeError(
                    f"x: {type(x).__name__}.{name} is never called, "
                    f"{' and '.join(_HOOKS)} are{hint}"
                )


_HOOKS = ("on_epoch_begin", "on_epoch_end")
