"""Turns layers called on each other into a `Graph` (order, names, parameters) and describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np

from fastnn.core import checks
from fastnn.initializers import Initializer
from fastnn.layers import Layer, Shape, Tensor
from fastnn.layers.base import Composite, name_layers
from fastnn.program.graph import Graph, Step
from fastnn.program.ops import Value

# check(label, rows, first_row): see `fastnn.data.specification`.
RowCheck = Callable[[str, np.ndarray, int | None], None]


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


@dataclass(frozen=True)
class Built:
    """A network's graph and what its parameters start from.

    Attributes
    ----------
    composition : Composition
    graph : Graph
    initializers : dict of str to Initializer
        Keyed by the parameters' names.
    first_outputs : dict of Layer to Tensor
        What the layers that are parts returned when they were first called.
    """

    composition: Composition
    graph: Graph
    initializers: dict[str, Initializer]
    first_outputs: dict[Layer, Tensor]

    @property
    def layers(self) -> list[Layer]:
        """Each layer once, in the order of computation."""
        return list(dict.fromkeys(step.layer for step in self.graph.steps))


def build(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    names: Mapping[Layer | Composite, str] | None = None,
) -> Built:
    """Sort the layers between inputs and outputs and collect their parameters.

    Parameters
    ----------
    inputs : sequence of Tensor
    outputs : sequence of Tensor
    names : dict of Layer or Composite to str, optional
        What the layers and networks are called in this one; default: see `name_layers`.

    Returns
    -------
    Built

    Raises
    ------
    ValueError
        A layer is used for inputs of different sizes, or an output depends on an input that is
        not given.
    """
    order = _topological(inputs, outputs)
    items = list(dict.fromkeys(tensor.layer for tensor in order if tensor.layer is not None))
    names = name_layers(items) if names is None else names
    composition = _composition(inputs, outputs, order, names)
    graph, initializers = _graph(inputs, composition)
    built = list(dict.fromkeys(step.layer for step in graph.steps))
    check_lookups(inputs, built, graph)
    firsts = {one.layer: one for one in reversed(order) if isinstance(one.layer, Layer)}
    return Built(composition, graph, initializers, firsts)


def _composition(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    order: Sequence[Tensor],
    names: Mapping[Layer | Composite, str],
) -> Composition:
    """Number the calls that have made the tensors; a call is told by its tuple of inputs."""
    position = {id(tensor): i for i, tensor in enumerate(inputs)}
    first_outputs: dict[tuple[int, int], int] = {}
    calls: list[Call] = []
    count = len(inputs)
    for tensor in order:
        item = tensor.layer
        if item is None:
            continue
        key = id(item), id(tensor.inputs)
        if key not in first_outputs:
            sources = tuple(position[id(source)] for source in tensor.inputs)
            inner = item.inner if isinstance(item, Composite) else None
            if inner is not None and inner.graph.output_shapes[tensor.index] != tensor.shape:
                raise ValueError(
                    f"model {item.name!r} has changed since it was called on a tensor: call it "
                    "again"
                )
            calls.append(Call(item, sources, names[item], inner))
            first_outputs[key] = count
            count += 1 if inner is None else len(inner.graph.outputs)
        position[id(tensor)] = first_outputs[key] + tensor.index
    return Composition(calls, tuple(position[id(output)] for output in outputs))


def _graph(
    inputs: Sequence[Tensor], composition: Composition
) -> tuple[Graph, dict[str, Initializer]]:
    """Replace the networks of a composition by their layers."""
    names = _unique([tensor.name for tensor in inputs])
    graph: Graph = Graph(
        [(name, tensor.shape) for name, tensor in zip(names, inputs, strict=True)], [], (), {}, {}
    )
    collected = _Collected(graph, [tensor.shape for tensor in inputs], {})
    positions = list(range(len(inputs)))  # in the graph, of what calls have as inputs
    for call in composition.calls:
        sources = [positions[i] for i in call.inputs]
        if isinstance(call.item, Layer):
            positions.append(collected.add_layer(call.item, sources, call.name))
            names.append(graph.steps[-1].name)
        elif call.inner is not None:
            inner = call.inner.graph
            positions += collected.add_network(inner, sources, call.name)
            own = [f"{call.name}/{name}" for name in inner.output_names]
            names += [call.name] if len(own) == 1 else own
    graph = replace(
        graph,
        outputs=tuple(positions[i] for i in composition.outputs),
        ends=tuple(names[i] for i in composition.outputs),
    )
    return graph, collected.initializers


@dataclass
class _Collected:
    """The steps and parameters of a graph that is being built."""

    graph: Graph
    shapes: list[Shape]
    initializers: dict[str, Initializer]
    _names: dict[Layer, str] = field(default_factory=dict)
    _users: dict[tuple[Layer, str], str] = field(default_factory=dict)  # of each parameter

    def add_network(self, inner: Graph, sources: list[int], name: str) -> list[int]:
        """Add the steps of another graph; return the positions of its outputs."""
        positions = list(sources)
        for layer, own, step_name in inner.steps:
            inputs = [positions[i] for i in own]
            positions.append(self.add_layer(layer, inputs, f"{name}/{step_name}"))
        return [positions[i] for i in inner.outputs]

    def add_layer(self, layer: Layer, sources: list[int], name: str) -> int:
        """Add a use of a layer; return the position of its output."""
        name = self._names.setdefault(layer, name)  # it may be part of a network and of this one
        shapes = [self.shapes[i] for i in sources]
        values = self.graph.parameters
        for own, (shape, initializer) in layer.parameter_shapes(*shapes).items():
            full = f"{name}/{own}"
            new = Value(full, shape, batched=False, storage="parameter")
            known = values.setdefault(full, new).shape
            _, part_own = part = layer.owner_of(own)
            if self._users.setdefault(part, full) != full:
                users = " and ".join(one.rsplit("/", 1)[0] for one in (self._users[part], full))
                raise ValueError(
                    f"layer {part[0].name!r} is in the block of a Residual and is used elsewhere "
                    f"in this model, too ({users}): call the block's layers one after the other, "
                    "and add its input with Add"
                )
            view = part[0].parameters.get(part_own)
            if view is not None and view.shape != shape:
                known = view.shape
            if known != shape:
                raise ValueError(
                    f"layer {layer.name!r} is used for inputs of different sizes: "
                    f"{own} would be {known} and {shape}"
                )
            self.initializers[full] = initializer
            self.graph.owners[full] = layer, own
        self.graph.steps.append(Step(layer, tuple(sources), name))
        self.shapes.append(layer.output_shape(*shapes))
        return len(self.shapes) - 1


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
            raise _not_looked_up(first.name)
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


def summary(graph: Graph, dtype: str) -> str:
    """Return the layers as a table, with output shapes and numbers of parameters."""
    shapes = [shape for _, shape in graph.inputs]
    rows = [
        (name, "Input (text)" if lookup and lookup.takes_text else "Input", shape, "")
        for (name, shape), lookup in zip(graph.inputs, input_lookups(graph), strict=True)
    ]
    counted: set[Layer] = set()
    for layer, positions, name in graph.steps:
        shapes.append(layer.output_shape(*(shapes[i] for i in positions)))
        count = 0 if layer in counted else sum(view.size for view in layer.parameters.values())
        counted.add(layer)
        marks = ["Python"] * any(part.runs_in_python for part in layer.parts())
        marks += ["frozen"] * (layer in graph.frozen or not layer.trainable)
        kind = type(layer).__name__ + (f" ({', '.join(marks)})" if marks else "")
        rows.append((name, kind, shapes[-1], f"{count:,}"))
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
    end = f"{total:,} parameters, {dtype}, {size:,} bytes"
    fixed = sum(
        graph.parameters[name].width for name, factor in graph.rate_factors().items() if not factor
    )
    if fixed:
        end += f"; {fixed:,} of them are not trained"
    return "\n".join([*lines, end])


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
            raise _not_looked_up(name)


def _not_looked_up(name: str) -> ValueError:
    return ValueError(
        f"input {name!r} holds text, dtype='string', which only a StringLookup can read"
    )


def input_readers(graph: Graph) -> list[list[Layer]]:
    """Return, for each input, the layers that read it directly or reshaped."""
    found: list[list[Layer]] = [[] for _ in graph.inputs]
    origin = {i: i for i in range(len(graph.inputs))}  # of values that are still plain inputs
    for position, (layer, inputs, _) in enumerate(graph.steps, start=len(graph.inputs)):
        read = [origin[source] for source in inputs if source in origin]
        if layer.is_reshape and read:
            origin[position] = read[0]
            continue
        for number in read:
            found[number].append(layer)
    return found


def input_checks(graph: Graph) -> list[list[RowCheck]]:
    """Return, for each input, the checks of the layers that read it directly or reshaped."""
    return [
        [layer.check_input for layer in readers if layer.checks_input]
        for readers in input_readers(graph)
    ]
