"""How the layers and networks that a network consists of are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fastnn.layers.base import Composite, Layer
from fastnn.program.graph import Graph


class Call(NamedTuple):
    """A use of a layer or of a whole network, before networks are replaced by their layers.

    Attributes
    ----------
    item : Layer or Composite
    inputs : tuple of int
        Positions of its inputs: the network's inputs first, then the outputs of each call.
    name : str
    inner : Inner or None
        Of a network, as it was when it was called.
    """

    item: Layer | Composite
    inputs: tuple[int, ...]
    name: str
    inner: Inner | None = None


class Inner(NamedTuple):
    """What a network consisted of when it was called.

    Attributes
    ----------
    kind : {"Sequential", "Model"}
    composition : Composition
    graph : Graph
    """

    kind: str
    composition: Composition
    graph: Graph


@dataclass(frozen=True)
class Composition:
    """How the layers and networks that a network consists of are put together.

    Attributes
    ----------
    calls : list of Call
    outputs : tuple of int
        Positions of the network's outputs, counted as in `Call`.
    """

    calls: list[Call]
    outputs: tuple[int, ...]

    @property
    def items(self) -> dict[Layer | Composite, str]:
        """The layers and networks, each once, with their names."""
        return {call.item: call.name for call in self.calls}

    def named(self) -> dict[str, Layer | Composite]:
        """Return the layers and networks by name, those within networks as "network/name"."""
        found: dict[str, Layer | Composite] = {}
        for call in self.calls:
            found[call.name] = call.item
            if call.inner is not None:
                inside = call.inner.composition.named()
                found |= {f"{call.name}/{name}": one for name, one in inside.items()}
        return found
