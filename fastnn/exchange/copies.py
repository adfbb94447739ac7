"""Networks in a form that can be copied and pickled: a description, and the objects themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core.declare import Declared
from fastnn.core.registry import with_custom_objects
from fastnn.exchange import restoring
from fastnn.exchange.description import description, parts_of, views_of
from fastnn.layers import Layer
from fastnn.network import Network
from fastnn.runtime import Objective


@dataclass
class Copied:
    """A network in a form that can be copied and pickled, from which `from_copied` builds another.

    Attributes
    ----------
    about : dict
        The description, in Python's own types.
    tensors : dict of str to ndarray
    objective : Objective or None
        What `compile` was given.
    classes : dict of str to type
        Classes of the user's that the description names.
    own : list of dict
        For each layer, and each layer inside another, the attributes that the user has given it.
    history : object
        That of the last `fit`.
    """

    about: dict[str, Any]
    tensors: dict[str, np.ndarray]
    objective: Objective | None
    classes: dict[str, object]
    own: list[dict[str, Any]]
    history: Any


def copied(network: Network) -> Copied:
    """Return a network in a form that can be copied and pickled.

    Its optimizer and what else `compile` was given are not copied yet.
    """
    runtime = network.runtime
    if runtime.objective is not None:
        runtime.check_slots()
    parts = parts_of(network)
    classes: dict[str, object] = {part.kind: type(part) for part in parts}
    for part in parts:
        classes |= {cls.__name__: cls for cls in _own_classes(part)}
    with network.turns.look():
        about = description(network, {}) | {"compile": None}
        tensors = {name: view.copy() for name, view in views_of(runtime).items()}
    return Copied(
        about,
        tensors,
        runtime.objective,
        classes,
        [part.own_attributes() for part in parts],
        deepcopy(network.history),
    )


def _own_classes(declared: Declared) -> Iterator[type]:
    """Yield the classes of the declared objects within an object, at any depth."""
    for value in vars(declared).values():
        if isinstance(value, Declared):
            yield type(value)
            yield from _own_classes(value)


def from_copied(copy: Copied, shared: Mapping[str, Layer] | None = None) -> Network:
    """Return a network like that which `copied` was given.

    Parameters
    ----------
    copy : Copied
    shared : dict of str to Layer, optional
        Layers that exist already, by their names in the network, with the same parameters.
    """
    network = with_custom_objects(
        copy.classes, restoring.restored, copy.about, copy.classes, "a copy of a model", shared
    )
    if copy.objective is not None:
        step, waiting = network.runtime.step, network.runtime.accumulated
        network.configure(copy.objective, restoring.frozen_layers(network, copy.about))
        network.runtime.step, network.runtime.accumulated = step, waiting
    for name, view in views_of(network.runtime).items():
        view[...] = copy.tensors[name]
    kept = {part for layer in (shared or {}).values() for part in layer.parts()}
    for part, own in zip(parts_of(network), copy.own, strict=True):
        if part not in kept:
            vars(part).update(own)
    network.history = copy.history
    return network


__all__ = ["Copied", "copied", "from_copied"]
