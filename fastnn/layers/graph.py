"""Turns layers called on each other into a `Graph` (order, names, parameters) and describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fastnn.core import checks
from fastnn.initializers import Initializer
from fastnn.layers import Layer, Shape, Tensor
from fastnn.layers.base import name_layers
from fastnn.program.graph import Graph
from fastnn.program.ops import Value

# check(label, rows, first_row): see `fastnn.data.specification`.
RowCheck = Callable[[str, np.ndarray, int | None], None]


def build(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[list[Layer], Graph, dict[str, Initializer]]:
    """Sort the layers between inputs and outputs and collect their parameters.

    Parameters
    ----------
    inputs : sequence of Tensor
    outputs : sequence of Tensor

    Returns
    -------
    layers : list of Layer
        Each layer once, with its name in this model.
    graph : Graph
    initializers : dict of str to Initializer
        Keyed by "layer/parameter".

    Raises
    ------
    ValueError
        A layer belongs to another model, is used for inputs of different sizes, or an output
        depends on an input that is not given.
    """
    order = _topological(inputs, outputs)
    layers = list(dict.fromkeys(tensor.layer for tensor in order if tensor.layer is not None))
    name_layers(layers)
    values: dict[str, Value] = {}
    initializers: dict[str, Initializer] = {}
    owners: dict[str, tuple[Layer, str]] = {}
    position = {id(tensor): i for i, tensor in enumerate(inputs)}
    steps: list[tuple[Layer, tuple[int, ...]]] = []
    for tensor in order:
        if tensor.layer is None:
            continue
        layer = tensor.layer
        wanted = layer.parameter_shapes(*(source.shape for source in tensor.inputs))
        for name, (shape, initializer) in wanted.items():
            full = f"{layer.name}/{name}"
            new = Value(full, shape, batched=False, storage="parameter")
            if values.setdefault(full, new).shape != shape:
                raise ValueError(
                    f"layer {layer.name!r} is used for inputs of different sizes: "
                    f"{name} would be {values[full].shape} and {shape}"
                )
            initializers[full] = initializer
            owners[full] = layer, name
        steps.append((layer, tuple(position[id(source)] for source in tensor.inputs)))
        position[id(tensor)] = len(inputs) + len(steps) - 1
    names = _unique([tensor.name for tensor in inputs])
    shapes = [(name, tensor.shape) for name, tensor in zip(names, inputs, strict=True)]
    ends = tuple(position[id(output)] for output in outputs)
    graph = Graph(shapes, steps, ends, values, owners)
    check_lookups(inputs, layers, graph)
    return layers, graph, initializers


def checked_ends(inputs: object, outputs: object) -> tuple[list[Tensor], list[Tensor]]:
    """Return the ends of a functional model as lists.

    Raises
    ------
    TypeError
        Inputs do not come from `Input`, or outputs are not what a layer returned.
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(cast(Iterable, inputs))
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.layer is not None:
            raise TypeError(f"inputs must come from Input(...), got {tensor!r}")
    ends = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(ends, (list, tuple)) or not ends:
        raise TypeError(f"outputs must be what a layer returned, or a list, got {outputs!r}")
    for tensor in ends:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"outputs must be what a layer returned, got {tensor!r}")
    return tensors, list(ends)


def checked_chain(layers: object, input_shape: object) -> tuple[list[Layer], Shape | None]:
    """Return the layers of a sequential model, and the shape of its input if it is known.

    Raises
    ------
    TypeError, ValueError
        They are not layers, or there are none.
    """
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
    chain = checks.items("layers", given, Layer)
    if first is not None and first.dtype:
        reading = next((layer for layer in chain if not layer.is_reshape), None)
        if reading is None or not reading.takes_text:
            raise _not_looked_up(first.name)
    if not chain:
        raise ValueError("layers must hold at least one layer, got none")
    return chain, None if input_shape is None else checks.shape("input_shape", input_shape)


def _topological(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors from inputs to outputs, each after those that it depends on."""
    order: dict[int, Tensor] = {id(tensor): tensor for tensor in inputs}
    stack = [(output, False) for output in reversed(outputs)]
    while stack:
        tensor, is_ready = stack.pop()
        if id(tensor) in order:
            continue
        if tensor.layer is None:
            raise ValueError(f"outputs depend on Input {tensor.name!r}, which is not in inputs")
        if is_ready:
            order[id(tensor)] = tensor
            continue
        stack.append((tensor, True))
        stack.extend((source, False) for source in reversed(tensor.inputs))
    return list(order.values())


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names made unique by numbers: input, input_1, input_2."""
    result: list[str] = []
    for name in names:
        number, candidate = 0, name
        while candidate in result:
            number += 1
            candidate = f"{name}_{number}"
        result.append(candidate)
    return result


def describe(graph: Graph, layers: Sequence[Layer]) -> dict[str, Any]:
    """Return a graph in a form that JSON can hold; `exchange.model_file` rebuilds it from that."""
    return {
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in graph.inputs],
        "layers": [layer.describe() for layer in layers],
        "steps": [
            {"layer": layer.name, "inputs": list(positions)} for layer, positions in graph.steps
        ],
        "outputs": list(graph.outputs),
    }


def summary(graph: Graph, dtype: str) -> str:
    """Return the layers as a table, with output shapes and numbers of parameters."""
    shapes = [shape for _, shape in graph.inputs]
    rows = [
        (name, "Input (text)" if lookup and lookup.takes_text else "Input", shape, "")
        for (name, shape), lookup in zip(graph.inputs, input_lookups(graph), strict=True)
    ]
    counted: set[Layer] = set()
    for layer, positions in graph.steps:
        shapes.append(layer.output_shape(*(shapes[i] for i in positions)))
        count = 0 if layer in counted else sum(view.size for view in layer.parameters.values())
        counted.add(layer)
        kind = type(layer).__name__ + " (Python)" * any(
            part.runs_in_python for part in layer.parts()
        )
        rows.append((layer.name, kind, shapes[-1], f"{count:,}"))
    table = [("layer", "kind", "output shape", "parameters")]
    for row in rows:
        sizes = "".join(f", {size}" for size in row[2])
        table.append((row[0], row[1], f"(batch{sizes})", row[3]))
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip()
        for a, b, c, d in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    total = sum(value.width for value in graph.parameters.values())
    size = total * np.dtype(dtype).itemsize
    return "\n".join([*lines, f"{total:,} parameters, {dtype}, {size:,} bytes"])


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
    for position, (layer, inputs) in enumerate(graph.steps, start=len(graph.inputs)):
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
            raise _not_looked_up(name)


def _not_looked_up(name: str) -> ValueError:
    return ValueError(
        f"input {name!r} holds text, dtype='string', which only a StringLookup can read"
    )


def input_checks(graph: Graph) -> list[list[RowCheck]]:
    """Return, for each input, the checks of the layers that read it directly or reshaped."""
    found: list[list[RowCheck]] = [[] for _ in graph.inputs]
    if not any(layer.checks_input for layer, _ in graph.steps):
        return found
    origin = {i: i for i in range(len(graph.inputs))}  # of values that are still plain inputs
    for position, (layer, inputs) in enumerate(graph.steps, start=len(graph.inputs)):
        read = [origin[source] for source in inputs if source in origin]
        if layer.is_reshape and read:
            origin[position] = read[0]
        if layer.checks_input:
            for number in read:
                found[number].append(layer.check_input)
    return found
