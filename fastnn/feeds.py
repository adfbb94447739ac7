"""Where the rows of an epoch come from: memory, or an iterable of batches.

An epoch comes in parts, each a `Steps` whose data have been checked. Arrays in memory are one part,
each batch of an iterable is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from fastnn import data
from fastnn.data.batches import Ahead, batches_of, is_batches, is_iterator, taken_apart
from fastnn.runtime import Steps

if TYPE_CHECKING:
    from fastnn.model import Model


class Feed(Protocol):
    """What `fit` trains on.

    Attributes
    ----------
    count : int or None
        Steps of an epoch, if known.
    first : Steps
        Of the kind of data that the epochs have; it may be one of their parts.
    ended : str
        Why there is nothing for another epoch, or "".
    """

    first: Steps

    @property
    def count(self) -> int | None: ...  # noqa: D102

    @property
    def ended(self) -> str: ...  # noqa: D102

    def epoch(self, number: int) -> Iterator[Steps]:
        """Yield the parts of an epoch, counted from 0."""
        ...

    def close(self) -> None:
        """End what goes on in the background."""
        ...


class InMemory:
    """Arrays: one part an epoch, in an order of its own."""

    ended = ""

    def __init__(self, model: Model, given: tuple[object, ...], batch: int, shuffle: bool) -> None:
        sources, kinds = model.training_data(*given)
        rows = sources[0].rows
        data.not_empty(rows)
        self.first = Steps(sources, rows, min(batch, rows), kinds=kinds)
        self.count = self.first.count
        self._generator = model.generator if shuffle else None

    def epoch(self, number: int) -> Iterator[Steps]:
        """Yield all rows."""
        if self._generator is not None:
            self.first.order = self._generator.permutation(self.first.rows)
        yield self.first

    def close(self) -> None:
        """Nothing goes on in the background."""


class Batches:
    """An iterable of (x, y): a part for each, checked and copied by a thread.

    Copied, because who yields them may fill the same arrays again.
    """

    def __init__(
        self,
        model: Model,
        x: object,
        class_weight: object,
        steps_per_epoch: int | None,
        epochs: int,
    ) -> None:
        if is_iterator(x) and steps_per_epoch is None and epochs > 1:
            raise ValueError(
                f"steps_per_epoch must be given for {epochs} epochs of an iterator, which can be "
                "read only once"
            )
        self._model, self._x, self._steps = model, x, steps_per_epoch
        self._class_weight = class_weight
        self.count = steps_per_epoch
        if self.count is None and hasattr(x, "__len__"):
            self.count = len(x)
        self.ended = ""
        self._reader = self._read(0)
        try:
            first = self._reader.peek()
        except BaseException:
            self.close()
            raise
        if first is None:
            raise ValueError("x must yield at least one batch, got none")
        self.first = first

    def _read(self, number: int) -> Ahead[Steps]:
        where = f" of epoch {number + 1}"
        return Ahead(checked_batches(self._model, self._x, self._steps, where, self._class_weight))

    def epoch(self, number: int) -> Iterator[Steps]:
        """Yield the batches; an iterable that can be read again is started again."""
        if number:
            self._reader = self._read(number)
        done = 0
        for steps in self._reader:
            yield steps
            done += 1
        if self._steps is not None and done < self._steps:
            self.ended = f"x ended after {done} of {self._steps} batches of epoch {number + 1}"
        elif not done:
            self.ended = f"x yielded no batch in epoch {number + 1}"

    def close(self) -> None:
        """End the thread."""
        self._reader.close()


def checked_batches(
    model: Model,
    x: object,
    count: int | None = None,
    of_what: str = "",
    class_weight: object = None,
) -> Iterator[Steps]:
    """Yield a `Steps` of one step for each (x, y), once they are known to be right."""
    for number, batch in enumerate(batches_of(x, count)):
        try:
            sources, kinds = model.training_data(*taken_apart(batch), class_weight)
            data.not_empty(sources[0].rows)
        except (TypeError, ValueError) as error:
            raise type(error)(f"batch {number + 1}{of_what}: {error}") from None
        rows = sources[0].rows
        yield Steps([source.copy() for source in sources], rows, rows, kinds=kinds)


def checked_inputs(model: Model, x: object) -> Iterator[Steps]:
    """Yield a `Steps` for each x, or for the x of each (x, ...)."""
    for number, batch in enumerate(batches_of(x)):
        given = batch[0] if isinstance(batch, tuple) and batch else batch
        try:
            sources = model._checked_inputs(given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"batch {number + 1}: {error}") from None
        rows = sources[0].rows
        yield Steps([source.copy() for source in sources], rows, rows)


def feed_of(
    model: Model,
    x: object,
    y: object,
    *,
    sample_weight: object,
    class_weight: object,
    batch: int,
    shuffle: bool,
    steps_per_epoch: int | None,
    epochs: int,
) -> Feed:
    """Return what `fit` trains on."""
    if is_batches(x, takes_lists=y is None):
        _refuse_beside_batches(x, y, sample_weight)
        return Batches(model, x, class_weight, steps_per_epoch, epochs)
    if steps_per_epoch is not None:
        raise ValueError("steps_per_epoch is for an x that yields batches (x, y)")
    return InMemory(model, (x, y, sample_weight, class_weight), batch, shuffle)


def _refuse_beside_batches(x: object, y: object, sample_weight: object) -> None:
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} must be None where x yields batches (x, y), which {type(x).__name__} does"
            )


def parts_for_evaluation(
    model: Model, x: object, y: object, sample_weight: object = None
) -> Iterator[Steps]:
    """Yield the data to evaluate, in parts of any size."""
    if not is_batches(x, takes_lists=y is None):
        sources, kinds = model.training_data(x, y, sample_weight)
        yield Steps(sources, sources[0].rows, 1, kinds=kinds)
        return
    _refuse_beside_batches(x, y, sample_weight)
    yield from _closing(Ahead(checked_batches(model, x)))


def parts_for_prediction(model: Model, x: object) -> Iterator[Steps]:
    """Yield the data to predict for, in parts of any size."""
    if not is_batches(x, takes_lists=False):
        sources = model._checked_inputs(x)
        yield Steps(sources, sources[0].rows, 1)
        return
    yield from _closing(Ahead(checked_inputs(model, x)))


def _closing(reader: Ahead[Steps]) -> Iterator[Steps]:
    try:
        yield from reader
    finally:
        reader.close()
