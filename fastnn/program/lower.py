"""Turns layers, loss, metrics and optimizer into a `Program`: the list of ops for one purpose.

The program that `lower` returns is unfused: it holds each op as a layer emitted it. `fuse.py`
makes the program that runs natively; `plan.py` and the reference accept either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastnn.program.autodiff import differentiate
from fastnn.program.builder import Builder
from fastnn.program.graph import Graph
from fastnn.program.objective import (
    LoweredObjective,
    OutputObjective,
    Reported,
    Targets,
    add_objective,
    add_seed,
    decision_thresholds,
)
from fastnn.program.ops import Op, Value
from fastnn.program.optimizer_ops import Layout, LowerableOptimizer, penalties, update_ops
from fastnn.program.precision import MIXED, in_bfloat16
from fastnn.program.purpose import Purpose, Wrt


@dataclass
class Program:
    """A list of ops, with its inputs and outputs.

    Attributes
    ----------
    purpose : Purpose
    ops : list of Op
    inputs : list of Value
        Batches of the user's data, in this order: inputs, then targets and sample weights, or the
        output gradients (of the program MANUAL, once for each of its sections that reads them).
    outputs : list of Value
        Values kept in the workspace until the end of a run, or written to arrays supplied to it.
    results : list of str
        Names of the numbers reported in each step, one float64 each: "loss", then the metrics.
    sections : dict of str to tuple of int
        Half-open ranges of ops that can be run on their own.
    merges : list of str
        What was fused, and whose products are rounded.
    targets : list of Value
        The inputs after the network's own: targets, and sample weights.
    reported : list of Reported
        Losses and metrics, in the order of reporting.
    """

    purpose: Purpose
    ops: list[Op]
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    merges: list[str] = field(default_factory=list)
    targets: list[Value] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the purpose, as `explain` prints it."""
        return self.purpose.value


def lower(
    purpose: Purpose,
    graph: Graph,
    *,
    sparse: Sequence[int] = (),
    objectives: Sequence[OutputObjective[Any, Any]] = (),
    target_types: Sequence[str] = (),
    collects: bool = False,
    optimizer: LowerableOptimizer | None = None,
    layout: Layout | None = None,
    wrt: Wrt = Wrt.PARAMETERS,
    precision: str = "",
) -> Program:
    """Return the unfused program for one purpose.

    Parameters
    ----------
    purpose : Purpose
    graph : Graph
    sparse : sequence of int, optional
        Positions of the inputs that are sparse.
    objectives : sequence of OutputObjective, optional
        One for each output, if the purpose has targets.
    target_types : sequence of {"real", "label", "weight"}, optional
        See `Targets.of`.
    collects : bool, default False
        Whether the predictions are kept for the metrics that need all of them; otherwise those
        metrics are left out.
    optimizer : Optimizer, optional
        Needed if the purpose updates parameters.
    layout : Layout, optional
        Where the parameters lie, needed if the purpose updates them.
    wrt : Wrt, default Wrt.PARAMETERS
        What is differentiated with respect to. Only the program MANUAL and those that return
        gradients take anything but parameters.
    precision : str, default ""
        "mixed_bfloat16" if large products round their operands to bfloat16.

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        A gradient with respect to an input was asked for that does not exist.
    """
    program = _lowered(
        purpose, graph, sparse, objectives, target_types, collects, optimizer, layout, wrt
    )
    return _in_precision(program, precision)


def _in_precision(program: Program, precision: str) -> Program:
    if precision != MIXED:
        return program
    ops = in_bfloat16(program.ops)
    layers = dict.fromkeys(op.layer for op in ops if "precision" in op.attributes)
    return replace(program, ops=ops, merges=[f"{layer}: products in bfloat16" for layer in layers])


def _lowered(
    purpose: Purpose,
    graph: Graph,
    sparse: Sequence[int],
    objectives: Sequence[OutputObjective[Any, Any]],
    target_types: Sequence[str],
    collects: bool,
    optimizer: LowerableOptimizer | None,
    layout: Layout | None,
    wrt: Wrt,
) -> Program:
    if purpose is Purpose.UPDATE:
        assert optimizer is not None
        assert layout is not None
        return Program(purpose, update_ops(graph, optimizer, layout), [])
    forward = _Forward(
        graph, sparse, is_training=purpose.is_training, differentiates=purpose.differentiates
    )
    if purpose is Purpose.PREDICT:
        return _predict(forward)
    if purpose is Purpose.ACTIVATIONS:
        return Program(purpose, forward.ops, forward.inputs, forward.of_layers)
    if purpose is Purpose.MANUAL:
        return _manual(forward, wrt)
    if not purpose.has_targets:
        return _product(purpose, forward, wrt)
    if purpose.returns_gradients:
        objectives = [replace(objective, metrics=()) for objective in objectives]
    targets = Targets.of(graph, target_types)
    lowered = add_objective(
        forward.builder.ops,
        forward.outputs,
        graph.output_names,
        objectives,
        targets,
        training=purpose.differentiates,
        collects=collects,
    )
    if purpose.differentiates:
        backward, gradients = _backward(forward, lowered, wrt)
    else:
        backward, gradients = penalties(graph, {}, lowered.loss), []
    update = forward.builder.updates if purpose.moves_statistics else []
    if purpose.updates:
        assert optimizer is not None
        assert layout is not None
        update = update + update_ops(graph, optimizer, layout)
    return Program(
        purpose,
        [*forward.gathers, *_gathers(targets.values), *lowered.ops, *backward, *update],
        [*forward.inputs, *targets.values],
        outputs=lowered.collected + gradients,
        results=lowered.results,
        targets=targets.values,
        reported=lowered.reported,
    )


def thresholds_of(
    graph: Graph, objectives: Sequence[OutputObjective[Any, Any]], target_types: Sequence[str]
) -> list[float | None]:
    """Return for each output the number above which it is positive.

    It is None if the largest of the outputs is the class. The parameters are as for `lower`.
    """
    forward = _Forward(graph, (), is_training=False, differentiates=False)
    targets = Targets.of(graph, target_types)
    return decision_thresholds(forward.builder.ops, forward.outputs, objectives, targets)


def watched(graph: Graph, precision: str = "") -> Program:
    """Return the unfused forward ops in training mode, all of whose outputs are kept.

    Parameters
    ----------
    graph : Graph
    precision : str, default ""
        As for `lower`.

    Returns
    -------
    Program
        Its purpose is ACTIVATIONS.
    """
    forward = _Forward(graph, (), is_training=True, differentiates=False)
    kept = [value for op in forward.builder.ops for value in op.writes()]
    program = Program(Purpose.ACTIVATIONS, forward.ops, forward.inputs, kept)
    return _in_precision(program, precision)


class _Forward:
    """The forward ops of all layers, and the ops before them."""

    def __init__(
        self, graph: Graph, sparse: Sequence[int], *, is_training: bool, differentiates: bool
    ) -> None:
        self.graph = graph
        self.inputs = [
            Value(name, shape, storage="sparse" if i in sparse else "input")
            for i, (name, shape) in enumerate(graph.inputs)
        ]
        self.gathers = _gathers(self.inputs)
        self.builder = Builder(
            graph.parameters, training=is_training, differentiates=differentiates
        )
        values = [op.output for op in self.gathers]
        for layer, positions, name in graph.steps:
            self.builder.is_frozen = layer in graph.frozen
            with self.builder.inside(name):
                inputs = (values[position] for position in positions)
                values.append(layer.emit(self.builder, *inputs))
        self.of_layers = values[len(self.inputs) :]
        self.outputs = [values[position] for position in graph.outputs]

    @property
    def ops(self) -> list[Op]:
        """The ops that make batches of the inputs, and the ops of the layers."""
        return self.gathers + self.builder.ops


def _gathers(inputs: Sequence[Value]) -> list[Op]:
    """Return the ops that make a batch of each input; their first outputs are what layers read."""
    return [
        Op("csr_gather", (value,), (replace(value, storage="work"),))
        if value.storage == "sparse"
        else Op("gather", (), (value,))
        for value in inputs
    ]


def _numbered(name: str, count: int) -> list[str]:
    """Return a list with `name`, or with numbered names if there are several."""
    return [name] if count == 1 else [f"{name} {i}" for i in range(count)]


def _parameter_gradients(graph: Graph, wrt: Wrt) -> dict[Value, Value]:
    """Return the values in the gradient arena that receive the gradients by the parameters."""
    if Wrt.PARAMETERS not in wrt:
        return {}
    factors = graph.rate_factors()
    return {
        parameter: replace(parameter, storage="gradient")
        for name, parameter in graph.parameters.items()
        if factors[name]
    }


def _input_gradients(forward: _Forward, wrt: Wrt) -> dict[Value, Value]:
    """Return the outputs of the program that receive the gradients by the inputs.

    Raises
    ------
    ValueError
        An input is sparse, or a layer takes it as categories.
    """
    if Wrt.INPUTS not in wrt:
        return {}
    for i, value in enumerate(forward.inputs):
        reason = _why_there_is_no_gradient(forward.builder.ops, value) or _looked_up(forward, i)
        if reason:
            raise ValueError(
                f"wrt: there is no gradient with respect to the input {value.name!r}, {reason}, "
                "or ask for wrt='parameters'"
            )
    return {
        value: replace(value, name=f"gradient of {value.name}", storage="output")
        for value in forward.inputs
    }


def _why_there_is_no_gradient(ops: Sequence[Op], value: Value) -> str:
    """Return why there is no gradient with respect to an input, and what to do, or ""."""
    if value.storage == "sparse":
        return "which is sparse: give .toarray() of it"
    reached = {value}
    for op in ops:
        if any(op.input(position) in reached for position in op.row.categories):
            return f"which layer {op.layer!r} takes as categories: take that of the layer's output"
        if not reached.isdisjoint(op.reads()):
            reached.update(op.writes())
    return ""


def _looked_up(forward: _Forward, number: int) -> str:
    """Return why there is no gradient with respect to an input that a lookup reads, or ""."""
    reached, graph = {number}, forward.graph
    for position, (layer, inputs, name) in enumerate(graph.steps, start=len(graph.inputs)):
        if reached.isdisjoint(inputs):
            continue
        if layer.is_lookup:
            return f"which layer {name!r} looks up: take that of a layer's output"
        reached.add(position)
    return ""


def _backward(
    forward: _Forward, lowered: LoweredObjective, wrt: Wrt
) -> tuple[list[Op], list[Value]]:
    """Return backward from the loss, and the outputs that receive gradients by the inputs."""
    graph, found = forward.graph, _input_gradients(forward, wrt)
    gradients = _parameter_gradients(graph, wrt)
    backward = differentiate(lowered.ops, lowered.seeds, gradients, found)
    if Wrt.PARAMETERS in wrt:
        backward += penalties(graph, gradients, lowered.loss)
    return backward, _reached(backward, found)


def _reached(ops: Sequence[Op], outputs: dict[Value, Value]) -> list[Value]:
    """Return those of the outputs to which something is written."""
    written = {value for op in ops for value in op.writes()}
    return [output for output in outputs.values() if output in written]


def _predict(forward: _Forward) -> Program:
    """Append forward, with copies of the outputs to the arrays that a run is given."""
    names = _numbered("prediction", len(forward.outputs))
    targets = [
        Value(name, output.shape, storage="output")
        for name, output in zip(names, forward.outputs, strict=True)
    ]
    copies = [
        Op("activation", (output,), (target,), {"activation": "linear"})
        for output, target in zip(forward.outputs, targets, strict=True)
    ]
    return Program(Purpose.PREDICT, forward.ops + copies, forward.inputs, targets)


def _from_outputs(forward: _Forward, wrt: Wrt) -> tuple[list[Value], list[Op], list[Value]]:
    """Return backward from the gradients with respect to the outputs.

    Returns
    -------
    seeds : list of Value
        The gradients with respect to the outputs, which are inputs of the program.
    ops : list of Op
    outputs : list of Value
        The outputs of the program that receive gradients with respect to the inputs.
    """
    names = _numbered("grad_output", len(forward.outputs))
    seeds = [
        Value(name, output.shape, storage="input")
        for name, output in zip(names, forward.outputs, strict=True)
    ]
    ops = _gathers(seeds)
    sums: dict[Value, Value] = {}
    for output, seed in zip(forward.outputs, seeds, strict=True):
        add_seed(ops, sums, output, seed)
    found = _input_gradients(forward, wrt)
    gradients = _parameter_gradients(forward.graph, wrt)
    ops += differentiate(forward.builder.ops, sums, gradients, found)
    return seeds, ops, _reached(ops, found)


def _product(purpose: Purpose, forward: _Forward, wrt: Wrt) -> Program:
    """Append backward from the gradients with respect to the outputs."""
    seeds, backward, gradients = _from_outputs(forward, wrt)
    return Program(purpose, forward.ops + backward, [*forward.inputs, *seeds], gradients)


def _manual(forward: _Forward, wrt: Wrt) -> Program:
    """Append forward in training, and sections for backward, of which a run takes one.

    Moving statistics have a section of their own, so that forward can be run again.
    """
    ops: list[Op] = []
    sections: dict[str, tuple[int, int]] = {}

    def add_section(name: str, added: list[Op]) -> None:
        sections[name] = len(ops), len(ops) + len(added)
        ops.extend(added)

    add_section("forward", forward.ops)
    add_section("statistics", forward.builder.updates)
    inputs = list(forward.inputs)
    outputs: dict[str, Value] = {}  # several sections write to one array
    for part in wrt.parts:
        seeds, backward, gradients = _from_outputs(forward, part)
        if Wrt.PARAMETERS in part:
            backward += penalties(forward.graph, _parameter_gradients(forward.graph, part), None)
        add_section(part.section, backward)
        inputs += seeds
        outputs |= {value.name: value for value in gradients}
    return Program(
        Purpose.MANUAL, ops, inputs, [*forward.outputs, *outputs.values()], sections=sections
    )
