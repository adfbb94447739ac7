"""What lowering needs to know about a network: its layers, in order, and their parameters.

The protocols say what a layer and a regularizer must provide; nothing is imported here from the
packages that declare those.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from fastnn.program.builder import Builder
from fastnn.program.ops import Value

Shape = tuple[int, ...]


class Penalty(Protocol):
    """A regularizer: it adds l1 * |p| + l2 * p ** 2, summed over a parameter, to the loss."""

    @property
    def weights(self) -> tuple[float, float]:
        """The factors l1 and l2."""


class LowerableLayer(Protocol):
    """The part of a layer that lowering uses."""

    name: str
    trainable: bool

    @property
    def is_lookup(self) -> bool:
        """Whether it is applied where data come in; programs read what it made of them."""

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the layer's forward ops and return its output."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of one sample of the output."""

    def parts(self) -> tuple[LowerableLayer, ...]:
        """Return the layer and the layers inside it."""

    def rate_factor(self, parameter: str) -> float:
        """Return the factor on the learning rate of a parameter; 0 if it is frozen."""

    def regularizer(self, parameter: str) -> Penalty | None:
        """Return the penalty that is added to the loss for a parameter."""


L = TypeVar("L", bound=LowerableLayer)


class Step(NamedTuple, Generic[L]):
    """One use of a layer.

    Attributes
    ----------
    layer : Layer
    inputs : tuple of int
        Positions of its inputs. Positions count the network's inputs first, then the steps.
    name : str
        The layer's name in this network; it has another one in a network that shares the layer
        but has a layer of the same name already: "encoder/dense", "dense_1".
    """

    layer: L
    inputs: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Graph(Generic[L]):
    """What lowering needs to know about a network.

    Attributes
    ----------
    inputs : list of (name, shape)
    steps : list of Step
        In topological order.
    outputs : tuple of int
        Positions of the network's outputs.
    parameters : dict of str to Value
        Values in the parameter arena, by name ("dense/kernel").
    owners : dict of str to (layer, name)
        For each parameter, the layer that owns it and its name there.
    frozen : set of layers
        Those that this network does not train, whatever their `trainable`.
    ends : tuple of str
        Names of the layers or networks that the outputs come from, which need not be distinct.
    """

    inputs: list[tuple[str, Shape]]
    steps: list[Step[L]]
    outputs: tuple[int, ...]
    parameters: dict[str, Value]
    owners: dict[str, tuple[L, str]]
    frozen: Set[Any] = field(default_factory=frozenset)
    ends: tuple[str, ...] = ()

    @cached_property
    def has_lookups(self) -> bool:
        """Whether a layer is applied where data come in, so that programs do not read them."""
        return any(step.layer.is_lookup for step in self.steps)

    @cached_property
    def output_names(self) -> list[str]:
        """The name of each output: that of its end, numbered where an end has several."""
        names: list[str] = []
        for base in self.ends:
            name, number = base, 0
            while name in names:
                number += 1
                name = f"{base}_{number}"
            names.append(name)
        return names

    @cached_property
    def output_shapes(self) -> list[Shape]:
        """Shape of one sample of each output."""
        shapes = [shape for _, shape in self.inputs]
        for layer, positions, _ in self.steps:
            shapes.append(layer.output_shape(*(shapes[position] for position in positions)))
        return [shapes[position] for position in self.outputs]

    def rate_factors(self) -> dict[str, float]:
        """Return the factor on each parameter's learning rate; 0 where the parameter is frozen."""
        return {
            name: 0.0 if layer in self.frozen else layer.rate_factor(own)
            for name, (layer, own) in self.owners.items()
        }

    def learning_state(self) -> tuple[object, ...]:
        """Return what programs that train depend on besides the graph; it may change at any time.

        These are the factors of `rate_factors`, and which layers are trainable: one without
        parameters that learn may act differently, too.
        """
        layers = dict.fromkeys(step.layer for step in self.steps)
        flags = (part.trainable for layer in layers for part in layer.parts())
        return *self.rate_factors().values(), *flags

    def freezing(self, layers: Set[Any]) -> Graph[L]:
        """Return the same graph, in which exactly the given layers are frozen."""
        return self if layers == self.frozen else replace(self, frozen=frozenset(layers))
