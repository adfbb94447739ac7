"""The layers that read a network's inputs: lookups, and what they check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.layers.base import Layer, Shape, Tensor
from fastnn.program.graph import Graph

# check(label, rows, first_row): see `fastnn.data.specification`.
RowCheck = Callable[[str, np.ndarray, int | None], None]


@dataclass(frozen=True)
class InputLookup:
    """A lookup that an input goes through, and the layers that read what it makes.

    Attributes
    ----------
    layer : Layer
        With `is_lookup`.
    readers : list of (Layer, shape of its samples)
    """

    layer: Any
    readers: list[tuple[Layer, Shape]]

    @property
    def takes_text(self) -> bool:
        """Whether it looks up text instead of whole numbers."""
        return bool(self.layer.takes_text)

    @property
    def encodes(self) -> bool:
        """Whether the numbers of tokens are encoded before other layers read them."""
        return bool(self.layer.output_mode != "int")

    def indices(self, label: str, rows: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the numbers of tokens, which all readers take."""
        for reader, shape in self.readers:
            reader.check_vocabulary(self.layer.name, self.layer.vocabulary_size(), shape)
        found: np.ndarray = self.layer.indices(label, rows, first_row)
        return found


def input_lookups(graph: Graph) -> list[InputLookup | None]:
    """Return, for each input, the lookup that it goes through.

    Raises
    ------
    ValueError
        A lookup reads something else than an input, or other layers read its input, too.
    """
    found: list[InputLookup | None] = [None for _ in graph.inputs]
    if not graph.has_lookups:
        return found
    origin = {i: i for i in range(len(graph.inputs))}  # of values that are still plain inputs
    readers: list[list[Layer]] = [[] for _ in graph.inputs]
    made: dict[int, int] = {}  # numbers of tokens, with the input that they are made of
    shapes = [shape for _, shape in graph.inputs]
    for position, (layer, inputs, _) in enumerate(graph.steps, start=len(graph.inputs)):
        shapes.append(layer.output_shape(*(shapes[i] for i in inputs)))
        if layer.is_reshape:
            for where in (origin, made):
                if inputs[0] in where:
                    where[position] = where[inputs[0]]
            continue
        for source in inputs:
            if source in origin:
                readers[origin[source]].append(layer)
            if source in made and (lookup := found[made[source]]) is not None:
                lookup.readers.append((layer, shapes[source]))
        if layer.is_lookup:
            if inputs[0] not in origin:
                raise ValueError(
                    f"layer {layer.name!r} ({type(layer).__name__}) must read an input of the "
                    "model, since it is applied where data come in"
                )
            number = origin[inputs[0]]
            lookup = found[number] = found[number] or InputLookup(layer, [])
            if not lookup.encodes:
                made[position] = number
    for (name, _), reading, lookup in zip(graph.inputs, readers, found, strict=True):
        others = [layer for layer in reading if lookup and layer is not lookup.layer]
        if lookup is not None and others:
            raise ValueError(
                f"input {name!r} is read by {lookup.layer.name!r}, a lookup, and by "
                f"{others[0].name!r}: give each an Input of its own"
            )
    return found


def check_lookups(inputs: Sequence[Tensor], layers: Sequence[Layer], graph: Graph) -> None:
    """Raise ValueError if a lookup is where none can be, or text is not looked up."""
    for layer in layers:
        for part in layer.parts():
            if part.is_lookup and part is not layer:
                raise ValueError(
                    f"layer {part.name!r} ({type(part).__name__}) must read an input of the "
                    f"model, and cannot be inside {layer.name!r}"
                )
    for tensor, (name, _), lookup in zip(inputs, graph.inputs, input_lookups(graph), strict=True):
        if tensor.dtype and not (lookup and lookup.takes_text):
            raise not_looked_up(name)


def not_looked_up(name: str) -> ValueError:
    """Return the error for an input of text that no lookup reads."""
    return ValueError(
        f"input {name!r} holds text, dtype='string', which only a StringLookup can read"
    )


def input_readers(graph: Graph) -> list[list[Layer]]:
    """Return, for each input, the layers that read it directly or reshaped."""
    return [[layer for layer, _ in reading] for reading in _reading(graph)]


def _reading(graph: Graph) -> list[list[tuple[Layer, int]]]:
    """Return the same, and as which of its inputs each layer reads it."""
    found: list[list[tuple[Layer, int]]] = [[] for _ in graph.inputs]
    origin = {i: i for i in range(len(graph.inputs))}  # of values that are still plain inputs
    for position, (layer, inputs, _) in enumerate(graph.steps, start=len(graph.inputs)):
        read = [(origin[source], at) for at, source in enumerate(inputs) if source in origin]
        if layer.is_reshape and read:
            origin[position] = read[0][0]
            continue
        for number, at in read:
            found[number].append((layer, at))
    return found


def input_checks(graph: Graph) -> list[list[RowCheck]]:
    """Return, for each input, the checks of the layers that read it directly or reshaped."""
    return [
        [
            layer.check_input
            for layer, at in reading
            if layer.checks_input and layer.checked_input in (None, at)
        ]
        for reading in _reading(graph)
    ]


def takes_any_scale(graph: Graph) -> list[bool]:
    """Return, for each input, whether all that reads it takes numbers of any size."""
    return [
        bool(reading)
        and all(layer.takes_any_scale or layer.checked_input == at for layer, at in reading)
        for reading in _reading(graph)
    ]
