"""What the constructors of models are given, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from fastnn.core import checks
from fastnn.layers.base import Composite, Layer, Shape, Tensor
from fastnn.layers.inputs import not_looked_up


def _by_own_names(inputs: dict) -> list[object]:
    """Return the inputs of a dict by their names; raise ValueError if they have others."""
    for key, tensor in inputs.items():
        if isinstance(tensor, Tensor) and tensor.name != key:
            raise ValueError(
                f"inputs: the key {key!r} must be the name of its input, {tensor.name!r}: "
                f"Input(..., name={key!r})"
            )
    return list(inputs.values())


def checked_ends(inputs: object, outputs: object) -> tuple[list[Tensor], list[Tensor]]:
    """Return the ends of a functional model as lists.

    Raises
    ------
    TypeError
        Inputs or outputs are not tensors, or what layers returned does not suffice as inputs.
    ValueError
        An input is there twice.
    """
    if isinstance(inputs, dict):
        inputs = _by_own_names(inputs)
    tensors = [inputs] if isinstance(inputs, Tensor) else list(cast(Iterable, inputs))
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"inputs must come from Input(...), or be what a layer returned, got {tensor!r}"
            )
    if len(set(map(id, tensors))) < len(tensors):
        raise ValueError(f"inputs must be distinct, got {tensors!r}")
    if isinstance(outputs, dict):
        raise TypeError(
            "outputs must be a list, got a dict: the name of an output is that of its layer, "
            "Dense(..., name=...)"
        )
    ends = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(ends, (list, tuple)) or not ends:
        raise TypeError(f"outputs must be what a layer returned, or a list, got {outputs!r}")
    for tensor in ends:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"outputs must be what a layer returned, got {tensor!r}")
    if all(tensor.layer is None for tensor in tensors):
        return tensors, list(ends)
    return _begun_at(tensors, list(ends))


def _begun_at(
    tensors: Sequence[Tensor], ends: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the ends of a model that begins with what layers returned: inputs take their place."""
    begins = [
        tensor if tensor.layer is None else Tensor(tensor.shape, name="input") for tensor in tensors
    ]
    made = {id(old): new for old, new in zip(tensors, begins, strict=True)}
    called: dict[tuple, list[Tensor]] = {}

    def remade(end: Tensor) -> Tensor:
        waiting = [end]
        while waiting:
            tensor = waiting[-1]
            left = [one for one in tensor.inputs if id(one) not in made]
            if id(tensor) in made or (tensor.layer is not None and not left):
                waiting.pop()
                if id(tensor) not in made:
                    made[id(tensor)] = _called_again(tensor, made, called)
            elif tensor.layer is None:
                raise TypeError(
                    f"inputs must come from Input(...), got {tensors!r}: outputs depend on Input "
                    f"{tensor.name!r}, which is not in inputs"
                )
            else:
                waiting += left
        return made[id(end)]

    return begins, [remade(end) for end in ends]


def _called_again(
    tensor: Tensor, made: dict[int, Tensor], called: dict[tuple, list[Tensor]]
) -> Tensor:
    """Return what the layer or network of a tensor makes of others; each call is made once."""
    part, given = tensor.layer, [made[id(one)] for one in tensor.inputs]
    key = (id(part), *map(id, given))
    if key not in called:
        if isinstance(part, Layer):
            called[key] = [Tensor(tensor.shape, part, tuple(given))]
        else:
            called[key] = cast(Composite, part).called_on(given)
    return called[key][tensor.index]


def checked_chain(
    layers: object, input_shape: object
) -> tuple[list[Layer | Composite], Shape | None]:
    """Return the parts of a sequential model, and the shape of its input if it is known.

    Parameters
    ----------
    layers : iterable of Layer or Model
        The network of a model takes its place.
    input_shape : tuple of int or None

    Raises
    ------
    TypeError, ValueError
        They are not layers or models.
    """
    if layers is None:  # they are added later
        return [], None if input_shape is None else checks.shape("input_shape", input_shape)
    if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
        raise TypeError(
            f"layers must be a list of Layer instances, got {checks.shown(layers, Layer)}"
        )
    given: list[Any] = list(cast(Iterable, layers))
    first: Tensor | None = None
    if given and isinstance(given[0], Tensor):
        if input_shape is not None:
            raise ValueError("give input_shape or an Input first, not both")
        first = given.pop(0)
        input_shape = first.shape
    given = [getattr(one, "network", one) for one in given]
    for one in given:
        if not isinstance(one, Composite):
            checks.items("layers", [one], Layer)
    if first is not None and first.dtype:
        layers_of = ([one] if isinstance(one, Layer) else one.layers for one in given)
        flat = (layer for inside in layers_of for layer in inside)
        reading = next((layer for layer in flat if not layer.is_reshape), None)
        if given and (reading is None or not reading.takes_text):
            raise not_looked_up(first.name)
    if not given and input_shape is None:
        raise ValueError("layers must hold at least one layer, got none")
    chain: list[Layer | Composite] = given
    return chain, None if input_shape is None else checks.shape("input_shape", input_shape)


def layers_within(name: str, given: object, layers: Sequence[Layer]) -> frozenset[Layer]:
    """Return the layers that an argument names: layers, and those of models.

    Parameters
    ----------
    name : str
        Of the argument.
    given : Layer or Model, or an iterable of them
    layers : sequence of Layer
        Those that may be named.

    Raises
    ------
    TypeError, ValueError
        Something else is given, or a layer that is not among those.
    """
    listed = list(given) if isinstance(given, Iterable) else [given]
    found: set[Layer] = set()
    for one in listed:
        network = getattr(one, "network", None)
        if not isinstance(one, Layer) and not isinstance(network, Composite):
            raise TypeError(f"{name} must be layers or models, got {one!r}")
        inside = [one] if isinstance(one, Layer) else network.layers  # type: ignore[union-attr]
        for layer in inside:
            if layer not in layers:
                raise ValueError(f"{name}: layer {layer.name!r} is not part of this model")
            found.add(layer)
    return frozenset(found)
