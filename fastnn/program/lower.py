"""From layers, loss, metrics and optimizer to a `Program`: the list of ops of one purpose.

A model has seven programs, made when first needed:

    predict    forward, dropout left out
    evaluate   forward as in predict, loss and metrics
    train      forward, loss, metrics, backward, update: one step
    gradients  the same without the update
    manual     forward in training, then backward from a gradient that the user gives
    update     the optimizer alone
    activations  forward as in predict; what every layer gives is kept
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from fastnn.program.autodiff import differentiate
from fastnn.program.fuse import fuse
from fastnn.program.objective import Given, Measure, OutputObjective, add_seed, measure
from fastnn.program.ops import Op, Value
from fastnn.program.optimizer_ops import penalties, update_ops

if TYPE_CHECKING:
    from fastnn.layers import Layer
    from fastnn.optimizers import Optimizer


@dataclass
class Program:
    """A list of ops and what goes in and comes out.

    Attributes
    ----------
    name : str
        Its purpose.
    ops : list of Op
    inputs : list of Value
        Batches of the user's data, in the order: inputs, then targets and weights of the samples,
        or the gradients.
    outputs : list of Value
        Written to arrays that a run is given.
    results : list of str
        One double a step: "loss", then the metrics.
    sections : dict of str to tuple of int
        Half-open ranges of ops that can be run by themselves.
    merges : list of str
        What was fused.
    given : list of Value
        Of the inputs, those behind the model's own: targets, and weights of the samples.
    measures : list of Measure
        What is reported, in this order.
    """

    name: str
    ops: list[Op]
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    merges: list[str] = field(default_factory=list)
    given: list[Value] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)


@dataclass(frozen=True)
class Graph:
    """What lowering needs to know of a model.

    Attributes
    ----------
    inputs : list of (name, shape)
    steps : list of (layer, positions of its inputs)
        In topological order. Positions count the inputs first, then the steps.
    outputs : tuple of int
        Positions of the model's outputs.
    parameters : dict of str to Value
        Values in the parameter arena, by name ("dense/kernel").
    owners : dict of str to (layer, name)
        Of each parameter: whose it is, and what that calls it.
    """

    inputs: list[tuple[str, tuple[int, ...]]]
    steps: list[tuple[Layer, tuple[int, ...]]]
    outputs: tuple[int, ...]
    parameters: dict[str, Value]
    owners: dict[str, tuple[Layer, str]]

    @cached_property
    def output_names(self) -> list[str]:
        """The layer that each output comes from, numbered where it gives several."""
        names: list[str] = []
        for position in self.outputs:
            first = position - len(self.inputs)
            name = base = self.inputs[position][0] if first < 0 else self.steps[first][0].name
            number = 0
            while name in names:
                number += 1
                name = f"{base}_{number}"
            names.append(name)
        return names

    def rate_factors(self) -> dict[str, float]:
        """Return what each parameter's learning rate is multiplied with; 0 where it is frozen."""
        return {name: layer.rate_factor(own) for name, (layer, own) in self.owners.items()}


class Builder:
    """Collects the ops that layers emit.

    Attributes
    ----------
    training : bool
        Whether dropout drops.
    updates : list of Op
        What changes parameters beside the optimizer: only in a step whose loss is finite.
    """

    def __init__(self, parameters: dict[str, Value], training: bool) -> None:
        self.ops: list[Op] = []
        self.training = training
        self._parameters = parameters
        self.updates: list[Op] = []
        self._layer = ""
        self._streams = 0

    def emit(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        shape: tuple[int, ...],
        also: Sequence[Value | None] = (),
        **attributes: object,
    ) -> Value:
        """Append an op and return its new output.

        Parameters
        ----------
        kind : str
            A row of `fastnn.program.ops.OPS`.
        inputs : sequence of Value or None
        shape : tuple of int
            Of one sample of the output.
        also : sequence of Value or None, optional
            More outputs.
        **attributes
            Numbers and names of the op.

        Returns
        -------
        Value
        """
        value = Value(f"{self._layer}/{kind}", shape)
        self.ops.append(Op(kind, tuple(inputs), (value, *also), attributes, self._layer))
        return value

    def value(self, name: str, shape: tuple[int, ...], *, batched: bool = True) -> Value:
        """Return a new value of the current layer, to be an op's output."""
        return Value(f"{self._layer}/{name}", shape, batched)

    def update(self, parameter: Value, value: Value, momentum: float) -> None:
        """Let training move a parameter's values toward `value`, as a moving average."""
        settings = {"momentum": momentum, "copies_first": False}
        inputs = (parameter, value)
        self.updates.append(Op("moving_average", inputs, (parameter,), settings, self._layer))

    @contextlib.contextmanager
    def inside(self, layer: Layer) -> Iterator[None]:
        """Let what is emitted belong to a layer of the current one."""
        outer = self._layer
        self._layer = f"{outer}/{layer.name}"
        yield
        self._layer = outer

    def parameter(self, name: str) -> Value:
        """Return the current layer's parameter `name`."""
        return self._parameters[f"{self._layer}/{name}"]

    @property
    def layer(self) -> str:
        """Name of the current layer."""
        return self._layer

    def new_stream(self) -> int:
        """Return the number of a random stream that no other op of the program has."""
        self._streams += 1
        return self._streams - 1

    def lower(self, graph: Graph, inputs: list[Value]) -> list[Value]:
        """Append the forward ops of all layers; return the model's outputs."""
        values = self.lower_all(graph, inputs)
        return [values[position] for position in graph.outputs]

    def lower_all(self, graph: Graph, inputs: list[Value]) -> list[Value]:
        """Append the forward ops of all layers; return the inputs and what each layer gives."""
        values = list(inputs)
        for layer, positions in graph.steps:
            self._layer = layer.name
            values.append(layer.emit(self, *(values[position] for position in positions)))
        self._layer = ""
        return values


def _input_values(graph: Graph, sparse: Sequence[int]) -> list[Value]:
    return [
        Value(name, shape, kind="sparse" if i in sparse else "input")
        for i, (name, shape) in enumerate(graph.inputs)
    ]


def _gathers(inputs: Sequence[Value]) -> list[Op]:
    """Return the ops that make a batch of each input: first outputs what layers read."""
    return [
        Op("csr_gather", (value,), (replace(value, kind="work"),))
        if value.kind == "sparse"
        else Op("gather", (), (value,))
        for value in inputs
    ]


def _numbered(name: str, count: int) -> list[str]:
    """Return `name`, or, of several, names with numbers."""
    return [name] if count == 1 else [f"{name} {i}" for i in range(count)]


def _parameter_gradients(graph: Graph) -> dict[Value, Value]:
    factors = graph.rate_factors()
    return {
        parameter: replace(parameter, kind="gradient")
        for name, parameter in graph.parameters.items()
        if factors[name]
    }


def predict_program(graph: Graph, sparse: Sequence[int] = ()) -> Program:
    """Forward, without dropout; of the inputs, some may be sparse."""
    inputs = _input_values(graph, sparse)
    gathers = _gathers(inputs)
    builder = Builder(graph.parameters, training=False)
    outputs = builder.lower(graph, [op.output for op in gathers])
    ops, merges = fuse(gathers + builder.ops, set(outputs))
    targets: list[Value] = []
    written: dict[Value, Value] = {}  # one tensor may be several outputs
    for name, output in zip(_numbered("prediction", len(outputs)), outputs, strict=True):
        target = Value(name, output.shape, kind="output")
        ops, is_written = _write_to(ops, output, target)
        if not is_written:  # something else reads it, or it is an input or another name of one
            source = written.get(output, output)
            ops.append(Op("activation", (source,), (target,), {"activation": "linear"}))
        targets.append(target)
        written.setdefault(output, target)
    return Program("predict", ops, inputs, targets, merges=merges)


def activations_program(graph: Graph, sparse: Sequence[int] = ()) -> Program:
    """Forward, without dropout; its outputs are what the layers give, in the graph's order."""
    inputs = _input_values(graph, sparse)
    gathers = _gathers(inputs)
    builder = Builder(graph.parameters, training=False)
    outputs = builder.lower_all(graph, [op.output for op in gathers])[len(inputs) :]
    ops, merges = fuse(gathers + builder.ops, set(outputs))
    return Program("activations", ops, inputs, outputs, merges=merges)


def _write_to(ops: list[Op], value: Value, target: Value) -> tuple[list[Op], bool]:
    """Let the op that computes `value` write `target` instead."""
    is_read = any(value in op.reads() for op in ops)
    writer = next((op for op in ops if value in op.writes()), None)
    if writer is None or is_read or writer.kind in ("reshape", "gather", "python"):
        return ops, False
    outputs = tuple(target if out is value else out for out in writer.outputs)
    return [replace(op, outputs=outputs) if op is writer else op for op in ops], True


def evaluate_program(
    graph: Graph,
    objectives: Sequence[OutputObjective],
    given: Given,
    sparse: Sequence[int] = (),
    *,
    collects: bool = False,
) -> Program:
    """Forward as in predict, loss and metrics."""
    inputs = _input_values(graph, sparse)
    data = [*inputs, *given.values]
    gathers = _gathers(data)
    builder = Builder(graph.parameters, training=False)
    outputs = builder.lower(graph, [op.output for op in gathers[: len(inputs)]])
    found = measure(
        graph, builder.ops, outputs, objectives, given, training=False, collects=collects
    )
    ops = found.ops + penalties(graph, {}, found.loss)
    ops, merges = fuse(gathers + ops, set())
    return Program("evaluate", ops, data, merges=merges, given=given.values, **found.reported)


def train_program(
    graph: Graph,
    objectives: Sequence[OutputObjective],
    given: Given,
    optimizer: Optimizer | None,
    count: int,
    sparse: Sequence[int] = (),
    *,
    collects: bool = False,
) -> Program:
    """One step: forward, loss, metrics, backward, update of an arena of `count` elements.

    Without an optimizer the gradients are left as they are. With `collects` the predictions are
    kept for the metrics that need all of them; else those metrics are left out.
    """
    inputs = _input_values(graph, sparse)
    data = [*inputs, *given.values]
    gathers = _gathers(data)
    builder = Builder(graph.parameters, training=True)
    outputs = builder.lower(graph, [op.output for op in gathers[: len(inputs)]])
    found = measure(
        graph, builder.ops, outputs, objectives, given, training=True, collects=collects
    )
    forward = found.ops
    gradients = _parameter_gradients(graph)
    backward = differentiate(forward, found.seeds, gradients)
    backward += penalties(graph, gradients, found.loss)
    update = [] if optimizer is None else builder.updates + update_ops(graph, optimizer, count)
    ops, merges = fuse(gathers + forward + backward + update, set())
    name = "gradients" if optimizer is None else "train"
    return Program(name, ops, data, merges=merges, given=given.values, **found.reported)


def manual_program(graph: Graph, sparse: Sequence[int] = ()) -> Program:
    """Forward in training; then backward from the gradients by the outputs."""
    inputs = _input_values(graph, sparse)
    gathers = _gathers(inputs)
    builder = Builder(graph.parameters, training=True)
    outputs = builder.lower(graph, [op.output for op in gathers])
    names = _numbered("grad_output", len(outputs))
    seeds = [
        Value(name, output.shape, kind="input") for name, output in zip(names, outputs, strict=True)
    ]
    backward: list[Op] = []
    sums: dict[Value, Value] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        add_seed(backward, sums, output, seed)
    gradients = _parameter_gradients(graph)
    backward += differentiate(builder.ops, sums, gradients)
    backward += penalties(graph, gradients, None)
    forward = gathers + builder.ops + builder.updates
    ops, merges = fuse(forward + _gathers(seeds) + backward, {*outputs, *seeds})
    split = next(i for i, op in enumerate(ops) if seeds[0] in op.writes())
    return Program(
        "manual",
        ops,
        [*inputs, *seeds],
        outputs,
        merges=merges,
        sections={"forward": (0, split), "backward": (split, len(ops))},
    )


def update_program(graph: Graph, optimizer: Optimizer, count: int) -> Program:
    """The optimizer alone, over an arena of `count` elements."""
    return Program("update", update_ops(graph, optimizer, count), [])
