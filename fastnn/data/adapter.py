"""Where the rows of an epoch come from: memory, files that are mapped, or an iterable of batches.

An epoch comes in parts, each a `Steps` whose data have been checked. Arrays in memory are one part,
each window of a map is one, and each batch of an iterable.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastnn import data
from fastnn.data import AnySource, Source, memmap
from fastnn.data.batches import Ahead, batches_of, is_batches, is_iterator, taken_apart
from fastnn.layers.embedding import Embedding, check_columns, embeddings
from fastnn.runtime import Steps

if TYPE_CHECKING:
    from fastnn.model import Model

Parts = Generator[Steps, None, None]


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

    def epoch(self, number: int) -> Parts:
        """Yield the parts of an epoch, counted from 0."""
        ...

    def close(self) -> None:
        """End what goes on in the background."""
        ...


class InMemory:
    """Arrays: one part an epoch, in an order of its own."""

    ended = ""

    def __init__(
        self,
        sources: list[AnySource],
        target_types: tuple[str, ...],
        batch: int,
        generator: np.random.Generator | None,
    ) -> None:
        rows = sources[0].rows
        self.first = Steps(sources, rows, min(batch, rows), target_types=target_types)
        self.count = self.first.count
        self._generator = generator

    def epoch(self, number: int) -> Parts:
        """Yield all rows."""
        if self._generator is not None:
            self.first.order = self._generator.permutation(self.first.rows)
        yield self.first

    def close(self) -> None:
        """Nothing goes on in the background."""


class Mapped:
    """Arrays some of which are large maps: a part for each window, read and checked by a thread.

    Parameters
    ----------
    reader : Windows
    batch : int
    generator : numpy.random.Generator, optional
        Shuffles.
    """

    ended = ""

    def __init__(self, reader: Windows, batch: int, generator: np.random.Generator | None) -> None:
        rows = reader.sources[0].rows
        self._reader, self._generator = reader, generator
        self.first = Steps(reader.sources, rows, min(batch, rows), target_types=reader.target_types)
        self.count = self.first.count

    def epoch(self, number: int) -> Parts:
        """Yield the windows."""
        generator = self._generator
        if generator is not None:  # the thread has one of its own
            generator = np.random.default_rng(int(generator.integers(2**63)))
        yield from self._reader.parts(self.first.batch, generator)

    def close(self) -> None:
        """The thread has ended with the epoch."""


class Windows:
    """Checked data of which some are large maps.

    Parameters
    ----------
    model : Model
    sources : list of Source or Sparse
    target_types : tuple of {"real", "label", "weight"}
        What follows the inputs; see `Runtime.bound`.
    y : object
        As the user gave it; None if there is no target.
    """

    def __init__(
        self,
        model: Model,
        sources: list[AnySource],
        target_types: tuple[str, ...] = ("real",),
        y: object = None,
    ) -> None:
        self.sources, self.target_types = sources, target_types
        found = [
            (i, source.array, pages)
            for i, source in enumerate(sources)
            if isinstance(source, Source) and (pages := memmap.map_of(source.array)) is not None
        ]
        self._maps = [pages for _, _, pages in found]
        self._row_bytes = sum(array.strides[0] for _, array, _ in found)
        inputs = len(model.input_shapes)
        self._checks: list[Callable[[int, int], Any]] = []
        for i, array, _ in found:
            if i < inputs:
                name = f"x[{i}]" if inputs > 1 else "x"
                self._checks.append(_number_check(model, name, array))
                self._checks += [
                    partial(_category_check, layer, name, array)
                    for number, layer in embeddings(model.runtime.graph)
                    if number == i
                ]
            elif target_types[i - inputs] == "weight":
                self._checks.append(_number_check(model, "sample_weight", array))
            else:
                self._checks.append(_target_check(model, i - inputs, y))

    @property
    def is_needed(self) -> bool:
        """Whether any of them is a large map."""
        return bool(self._maps)

    def parts(self, batch: int, generator: np.random.Generator | None) -> Parts:
        """Yield a `Steps` for each window; its pages are given back when the next is asked for."""
        reader = Ahead(self._read(batch, generator), depth=1)
        try:
            for ranges, steps in reader:
                yield steps
                for pages in self._maps:
                    for begin, end in ranges:
                        pages.give_back(begin, end)
        finally:
            reader.close()
            for pages in self._maps:
                pages.give_all_back()

    def _read(
        self, batch: int, generator: np.random.Generator | None
    ) -> Iterator[tuple[memmap.Ranges, Steps]]:
        rows = self.sources[0].rows
        for ranges, order in memmap.windows(rows, self._row_bytes, batch, generator):
            for begin, end in ranges:
                for pages in self._maps:
                    pages.ask_for(begin, end)
            for begin, end in ranges:
                for check in self._checks:
                    memmap.check_rows(check, begin, end)
            if order is not None:
                yield (
                    ranges,
                    Steps(self.sources, len(order), batch, order, target_types=self.target_types),
                )
                continue
            begin, end = ranges[0]
            sources = [source.part(begin, end) for source in self.sources]
            yield ranges, Steps(sources, end - begin, batch, target_types=self.target_types)


def _number_check(model: Model, name: str, array: np.ndarray) -> Callable[[int, int], None]:
    """Return a check that a range of an input's rows are numbers that the model can hold."""

    def check(begin: int, end: int) -> None:
        part = array[begin:end]
        if part.dtype.kind != "f":
            memmap.touch(part)
        else:
            data.check_finite(name, part, model.dtype)

    return check


def _category_check(layer: Embedding, name: str, array: np.ndarray, begin: int, end: int) -> None:
    """Raise where a range of an input's rows are not the categories of a layer."""
    check_columns(layer, name, array[begin:end])


def _target_check(model: Model, number: int, y: object) -> Callable[[int, int], object]:
    """Return a check that a range of the targets of an output are what its loss takes."""
    name, part = model.targets_of(y)[number]
    array = data.checked_array(name, part)
    return lambda begin, end: model.checked_target(number, name, array[begin:end], end - begin)


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

    def epoch(self, number: int) -> Parts:
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
) -> Parts:
    """Yield a `Steps` of one step for each (x, y), once they are known to be right."""
    for number, batch in enumerate(batches_of(x, count)):
        try:
            sources, target_types = model.training_data(*taken_apart(batch), class_weight)
            data.not_empty(sources[0].rows)
        except (TypeError, ValueError) as error:
            raise type(error)(f"batch {number + 1}{of_what}: {error}") from None
        rows = sources[0].rows
        yield Steps([source.copy() for source in sources], rows, rows, target_types=target_types)


def checked_inputs(model: Model, x: object) -> Parts:
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
    batch: int | None,
    shuffle: bool,
    steps_per_epoch: int | None,
    epochs: int,
) -> Feed:
    """Return what `fit` trains on."""
    optimizer = model._compiled().optimizer
    needs_all = f"{type(optimizer).__name__} needs all rows for each step"
    if is_batches(x, takes_lists=y is None):
        _refuse_beside_batches(x, y, sample_weight)
        if optimizer.full_batch:
            raise ValueError(f"{needs_all}: x must be arrays, got batches ({type(x).__name__})")
        return Batches(model, x, class_weight, steps_per_epoch, epochs)
    if steps_per_epoch is not None:
        raise ValueError("steps_per_epoch is for an x that yields batches (x, y)")
    sources, target_types = model.training_data(x, y, sample_weight, class_weight, in_windows=True)
    data.not_empty(sources[0].rows)
    reader = Windows(model, sources, target_types, y)
    batch = optimizer.rows_of_a_step(batch, sources[0].rows)
    generator = model.generator if shuffle and not optimizer.full_batch else None
    if reader.is_needed and optimizer.full_batch:
        raise ValueError(
            f"{needs_all}: x and y must not be maps of {memmap.MAPPED_FROM >> 20} MB or more, "
            "which are read in windows; give a part of the rows, as arrays in memory"
        )
    if reader.is_needed:
        return Mapped(reader, batch, generator)
    return InMemory(sources, target_types, batch, generator)


def _refuse_beside_batches(x: object, y: object, sample_weight: object) -> None:
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} must be None where x yields batches (x, y), which {type(x).__name__} does"
            )


def parts_for_evaluation(
    model: Model, x: object, y: object, sample_weight: object, batch: int
) -> Parts:
    """Yield the data to evaluate, in parts that `batch` divides where it can."""
    if is_batches(x, takes_lists=y is None):
        _refuse_beside_batches(x, y, sample_weight)
        return _closing(Ahead(checked_batches(model, x)))
    sources, target_types = model.training_data(x, y, sample_weight, in_windows=True)
    return _parts(Windows(model, sources, target_types, y), batch)


def parts_for_prediction(model: Model, x: object, batch: int) -> Parts:
    """Yield the data to predict for, in parts that `batch` divides where it can."""
    if is_batches(x, takes_lists=False):
        return _closing(Ahead(checked_inputs(model, x)))
    return _parts(Windows(model, model._checked_inputs(x, in_windows=True)), batch)


def _parts(reader: Windows, batch: int) -> Parts:
    if reader.is_needed:
        yield from reader.parts(batch, None)
    else:
        yield Steps(reader.sources, reader.sources[0].rows, 1, target_types=reader.target_types)


def _closing(reader: Ahead[Steps]) -> Parts:
    try:
        yield from reader
    finally:
        reader.close()
