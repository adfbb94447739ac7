"""Attributes of a user's model that are its layers, its parts, or models that share its layers.

A copy of the model has its own instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn.layers import Layer
from fastnn.network import Network


@dataclass(frozen=True)
class _Place:
    """Stands for a layer, by number, or for a part, by name, of the network that is copied."""

    place: int | str


@dataclass(frozen=True)
class _Sharing:
    """Stands for a model that is not a part, but has layers of the network that is copied.

    Attributes
    ----------
    arguments : tuple
        What its own copy is made of.
    layers : dict of str to int
        Numbers of the layers that are shared, by their names in that model.
    """

    arguments: tuple
    layers: dict[str, int]


def placed(value: Any, network: Network) -> Any:
    """Return an attribute in which what belongs to a built network is replaced by its place."""
    if isinstance(value, Layer):
        number = next((i for i, one in enumerate(network.layers) if one is value), None)
        return value if number is None else _Place(number)
    other = getattr(value, "network", None)
    if isinstance(other, Network):
        return _placed_model(value, other, network)
    if type(value) in (list, tuple):
        return type(value)(placed(one, network) for one in value)
    if type(value) is dict:
        return {key: placed(one, network) for key, one in value.items()}
    return value


def _placed_model(model: Any, other: Network, network: Network) -> Any:
    for name, part in network.named_parts().items():
        if part is other:
            return _Place(name)
    numbers = {layer: i for i, layer in enumerate(network.layers)}
    steps = other.graph.steps if other.built and other is not network else []
    shared = {one.name: numbers[one.layer] for one in steps if one.layer in numbers}
    return _Sharing(model.__reduce__()[1], shared) if shared else model


def taken(
    value: Any,
    network: Network,
    model_of: Callable[[Network], Any],
    made_of: Callable[..., Any],
) -> Any:
    """Return an attribute that `placed` returned, with layers and models of another network.

    Parameters
    ----------
    value : object
    network : Network
        The copy.
    model_of : callable
        Returns the model of a network.
    made_of : callable
        Returns a model that is made of the arguments of a `_Sharing`, and of layers by name.
    """

    def again(one: Any) -> Any:
        return taken(one, network, model_of, made_of)

    if isinstance(value, _Place):
        if isinstance(value.place, int):
            return network.layers[value.place]
        return model_of(network.named_parts()[value.place])  # type: ignore[arg-type]
    if isinstance(value, _Sharing):
        layers = network.layers
        given = {name: layers[number] for name, number in value.layers.items()}
        return made_of(*value.arguments, given)
    if type(value) in (list, tuple):
        return type(value)(map(again, value))
    if type(value) is dict:
        return {key: again(one) for key, one in value.items()}
    return value


__all__ = ["placed", "taken"]
