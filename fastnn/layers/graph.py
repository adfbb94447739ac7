"""Turns layers and networks called on each other into a `Graph`: order, names, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fastnn.initializers import Initializer
from fastnn.layers.base import Composite, Layer, Shape, Tensor, name_layers
from fastnn.layers.composition import Call, Composition
from fastnn.layers.inputs import check_lookups
from fastnn.program.graph import Graph, Step
from fastnn.program.ops import Value


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
