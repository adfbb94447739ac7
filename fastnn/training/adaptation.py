"""Before a training: layers that have yet to measure data measure the rows to train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from fastnn import data
from fastnn.data.batches_of import batches_of, is_batches, is_iterator, taken_apart
from fastnn.layers import Layer
from fastnn.layers.preprocessing import Measuring
from fastnn.network import Network
from fastnn.program.graph import Step

# For a layer: the inputs that it reads, each with the layers in between, which only reshape.
Places = list[tuple[int, tuple[Layer, ...]]]


def adapted_on_trial(network: Network, x: object, y: object) -> AbstractContextManager[None]:
    """Let layers that wait for data measure x; undo it if the training does not begin.

    Parameters
    ----------
    network : Network
    x, y : object
        As in `Model.fit`, without the rows held out for validation.

    Raises
    ------
    TypeError, ValueError
        A layer cannot measure its data, or the data do not fit; no layer has changed.
    """
    waiting = network.layers_to_adapt()
    return _adapted(network, waiting, x, y) if waiting else nullcontext()


@contextmanager
def _adapted(
    network: Network, waiting: Sequence[Measuring], x: object, y: object
) -> Iterator[None]:
    """Let these layers measure x; undo it if the training does not begin."""
    last = network.history
    try:
        for layer in waiting:
            layer.measure(_parts(network, layer, _places(network, layer), x, y))
        yield
    except BaseException:
        if network.history is last:  # training has not begun
            for layer in waiting:
                layer.forget()
        raise


def _places(network: Network, layer: Measuring) -> Places:
    """Return where a layer reads the inputs of a network.

    Raises
    ------
    ValueError
        It reads something else.
    """
    if network.built:
        steps: list[Step[Any]] = network.graph.steps
        count = len(network.graph.inputs)
    else:  # a chain
        steps, count = [Step(one, (i,), one.name) for i, one in enumerate(network.layers)], 1
    places: dict[int, tuple[int, tuple[Layer, ...]]] = {i: (i, ()) for i in range(count)}
    found: Places = []
    for position, (one, read, _) in enumerate(steps, start=count):
        if one.is_reshape and read[0] in places:
            number, between = places[read[0]]
            places[position] = number, (*between, one)
        if one is layer:
            if read[0] not in places:
                break
            found.append(places[read[0]])
    else:
        if found:
            return list(dict.fromkeys(found))
    raise ValueError(
        f"layer {layer.name!r} ({type(layer).__name__}) has not measured any data, and what it "
        "reads is not an input of the model: call its adapt with what reaches it there"
    )


def _parts(network: Network, layer: Measuring, places: Places, x: Any, y: object) -> Iterator[Any]:
    """Yield the rows that reach a layer."""
    if not is_batches(x, takes_lists=y is None):
        yield from _of_arrays(network, layer, places, x, "")
        return
    if is_iterator(x):
        raise ValueError(
            f"layer {layer.name!r} ({type(layer).__name__}) has not measured any data, and x, an "
            f"iterator ({type(x).__name__}), can be read only once: call its adapt before fit"
        )
    for number, batch in enumerate(batches_of(x)):
        rows, _, _ = taken_apart(batch)
        yield from _of_arrays(network, layer, places, rows, f"batch {number + 1}: ")


def _of_arrays(
    network: Network, layer: Measuring, places: Places, x: Any, where: str
) -> Iterator[Any]:
    """Yield the rows that reach a layer, from one array for each input."""
    names = [name for name, _ in network.input_shapes] if network.built else ["x"]
    if isinstance(x, dict) and set(x) == set(names):
        x = [x[name] for name in names]
    elif len(names) == 1:
        x = [x]
    if not isinstance(x, (list, tuple)) or len(x) != len(names):
        raise ValueError(f"{where}x must be a list of {len(names)} arrays, one for each input")
    shapes = [shape for _, shape in network.input_shapes] if network.built else [None]
    for number, between in places:
        label = f"{where}x" if len(names) == 1 else f"{where}x[{number}]"
        yield from data.measured_parts(label, x[number], layer, shapes[number], between)
