"""Large memory maps (`np.memmap`): each window is one part, read and checked by a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from fastnn.data import pages
from fastnn.data.arrays import Source, check_finite, checked_array, wide
from fastnn.data.base import Batching, DataAdapter, Given, Parts
from fastnn.data.read_ahead import ReadAhead
from fastnn.data.samples import targets_by_name
from fastnn.data.specification import RowCheck, TargetSpecification
from fastnn.data.steps import Steps
from fastnn.data.targets import target

RangeCheck = Callable[[int, int], object]  # checks a range of rows


class MemmapAdapter(DataAdapter):
    """Reads arrays of which at least one is a large memory map."""

    def __init__(self, given: Given, batching: Batching) -> None:
        if batching.steps_per_epoch is not None:
            raise ValueError("steps_per_epoch is for an x that yields batches (x, y)")
        self._samples = samples = given.samples
        self._steps = samples.steps(batching.rows_of_a_step(samples.rows))
        self.steps_per_epoch = self._steps.count
        self._generator = batching.generator
        if batching.needs_all_rows:
            raise ValueError(
                f"{batching.needs_all_rows}: x and y must not be maps of "
                f"{pages.MAPPED_FROM >> 20} MB or more, which are read in windows; give a part of "
                "the rows, as arrays in memory"
            )
        found = _maps(given)
        self._maps = [mapped for _, _, mapped in found]
        self._row_bytes = sum(array.strides[0] for _, array, _ in found)
        self._checks = [check for i, array, _ in found for check in _checks(given, i, array)]

    @classmethod
    def accepts(cls, given: Given) -> bool:
        """Whether any of the arrays is a large memory map."""
        return bool(_maps(given))

    def first(self) -> Steps:
        """Return all rows."""
        return self._steps

    def epoch(self, number: int) -> Parts:
        """Yield the windows; when shuffling, each has blocks from all over the file."""
        generator = self._generator
        if generator is not None:  # the thread uses its own
            generator = np.random.default_rng(int(generator.integers(2**63)))
        yield from self._windows(self._steps.batch, generator)

    def once(self, batch: int) -> Parts:
        """Yield the windows."""
        yield from self._windows(batch, None)

    def _windows(self, batch: int, generator: np.random.Generator | None) -> Parts:
        """Yield a `Steps` for each window; its pages are released when the next is requested."""
        reader = ReadAhead(self._read(batch, generator), depth=1)
        try:
            for ranges, steps in reader:
                yield steps
                for mapped in self._maps:
                    for begin, end in ranges:
                        mapped.give_back(begin, end)
        finally:
            reader.close()
            for mapped in self._maps:
                mapped.give_all_back()

    def _read(
        self, batch: int, generator: np.random.Generator | None
    ) -> Iterator[tuple[pages.Ranges, Steps]]:
        samples = self._samples
        for ranges, order in pages.windows(samples.rows, self._row_bytes, batch, generator):
            for begin, end in ranges:
                for mapped in self._maps:
                    mapped.ask_for(begin, end)
            for begin, end in ranges:
                for check in self._checks:
                    pages.check_rows(check, begin, end)
            types = samples.target_types
            if order is not None:
                yield (
                    ranges,
                    Steps(samples.sources, len(order), batch, order, target_types=types),
                )
                continue
            begin, end = ranges[0]
            sources = [source.part(begin, end) for source in samples.sources]
            yield ranges, Steps(sources, end - begin, batch, target_types=types)


def _maps(given: Given) -> list[tuple[int, np.ndarray, pages.Map]]:
    """Return the positions of sources that are large memory maps, their rows, and the maps."""
    return [
        (i, source.array, mapped)
        for i, source in enumerate(given.samples.sources)
        if isinstance(source, Source) and (mapped := pages.map_of(source.array)) is not None
    ]


def _checks(given: Given, position: int, array: np.ndarray) -> list[RangeCheck]:
    """Return the checks of a source's rows that have been deferred."""
    specification, inputs = given.specification, len(given.specification.inputs)
    if position < inputs:
        label = specification.label(position)
        return [
            partial(_check_numbers, label, array, specification.dtype),
            *(
                partial(_check_by_layer, check, label, array)
                for check in specification.inputs[position].checks
            ),
        ]
    number = position - inputs
    if given.samples.target_types[number] == "weight":
        return [partial(_check_numbers, "sample_weight", array, specification.dtype)]
    name, part = targets_by_name(given.y, specification)[number]
    one = specification.targets[number]
    return [partial(_check_target, one, name, checked_array(name, part), specification.dtype)]


def _check_numbers(name: str, array: np.ndarray, dtype: str, begin: int, end: int) -> None:
    """Raise unless a range of rows holds numbers that the network's dtype can represent."""
    part = array[begin:end]
    if part.dtype.kind != "f":
        pages.touch(part)
    else:
        check_finite(name, part, dtype)


def _check_by_layer(check: RowCheck, name: str, array: np.ndarray, begin: int, end: int) -> None:
    """Raise unless a layer accepts a range of rows."""
    check(name, wide(array[begin:end]), None)


def _check_target(
    one: TargetSpecification, name: str, array: np.ndarray, dtype: str, begin: int, end: int
) -> None:
    """Raise unless the loss accepts a range of targets."""
    target(array[begin:end], end - begin, one, dtype, name=name)
