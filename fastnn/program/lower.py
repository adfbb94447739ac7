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
from fastnn.program.optimizer_ops import LowerableOptimizer, penalties, update_ops
from fastnn.program.purpose import Purpose


@dataclass
class Program:
    """A list of ops, with its inputs and outputs.

    Attributes
    ----------
    purpose : Purpose
    ops : list of Op
    inputs : list of Value
        Batches of the user's data, in this order: inputs, then targets and sample weights, or the
        output gradients.
    outputs : list of Value
        Values kept in the workspace until the end of a run, or written to arrays supplied to it.
    results : list of str
        Names of the numbers reported in each step, one float64 each: "loss", then the metrics.
    sections : dict of str to tuple of int
        Half-open ranges of ops that can be run on their own.
    merges : list of str
        What was fused.
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
    count: int = 0,
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
    count : int, optional
        Number of elements in the parameter arena, needed if the purpose updates parameters.

    Returns
    -------
    Program
    """
    if purpose is Purpose.UPDATE:
        assert optimizer is not None
        return Program(purpose, update_ops(graph, optimizer, count), [])
    forward = _Forward(graph, sparse, is_training=purpose.is_training)
    if purpose is Purpose.PREDICT:
        return _predict(forward)
    if purpose is Purpose.ACTIVATIONS:
        return Program(purpose, forward.ops, forward.inputs, forward.of_layers)
    if purpose is Purpose.MANUAL:
        return _manual(forward)
    targets = Targets.of(graph, target_types)
    lowered = add_objective(
        forward.builder.ops,
        forward.outputs,
        graph.output_names,
        objectives,
        targets,
        training=purpose.is_training,
        collects=collects,
    )
    is_training = purpose.is_training
    backward = _backward(graph, lowered) if is_training else penalties(graph, {}, lowered.loss)
    update: list[Op] = []
    if purpose.updates:
        assert optimizer is not None
        update = forward.builder.updates + update_ops(graph, optimizer, count)
    return Program(
        purpose,
        [*forward.gathers, *_gathers(targets.values), *lowered.ops, *backward, *update],
        [*forward.inputs, *targets.values],
        outputs=lowered.collected,
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
    forward = _Forward(graph, (), is_training=False)
    targets = Targets.of(graph, target_types)
    return decision_thresholds(forward.builder.ops, forward.outputs, objectives, targets)


def watched(graph: Graph) -> Program:
    """Return the unfused forward ops in training mode, all of whose outputs are kept.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Program
        Its purpose is ACTIVATIONS.
    """
    forward = _Forward(graph, (), is_training=True)
    kept = [value for op in forward.builder.ops for value in op.writes()]
    return Program(Purpose.ACTIVATIONS, forward.ops, forward.inputs, kept)


class _Forward:
    """The forward ops of all layers, and the ops before them."""

    def __init__(self, graph: Graph, sparse: Sequence[int], *, is_training: bool) -> None:
        self.graph = graph
        self.inputs = [
            Value(name, shape, storage="sparse" if i in sparse else "input")
            for i, (name, shape) in enumerate(graph.inputs)
        ]
        self.gathers = _gathers(self.inputs)
        self.builder = Builder(graph.parameters, is_training)
        values = [op.output for op in self.gathers]
        for layer, positions in graph.steps:
            with self.builder.inside(layer):
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


def _parameter_gradients(graph: Graph) -> dict[Value, Value]:
    factors = graph.rate_factors()
    return {
        parameter: replace(parameter, storage="gradient")
        for name, parameter in graph.parameters.items()
        if factors[name]
    }


def _backward(graph: Graph, lowered: LoweredObjective) -> list[Op]:
    gradients = _parameter_gradients(graph)
    backward = differentiate(lowered.ops, lowered.seeds, gradients)
    return backward + penalties(graph, gradients, lowered.loss)


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


def _manual(forward: _Forward) -> Program:
    """Append forward in training, then backward from the gradients with respect to the outputs."""
    graph, outputs = forward.graph, forward.outputs
    names = _numbered("grad_output", len(outputs))
    seeds = [
        Value(name, output.shape, storage="input")
        for name, output in zip(names, outputs, strict=True)
    ]
    backward = _gathers(seeds)
    sums: dict[Value, Value] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        add_seed(backward, sums, output, seed)
    gradients = _parameter_gradients(graph)
    backward += differentiate(forward.builder.ops, sums, gradients)
    backward += penalties(graph, gradients, None)
    ops = forward.ops + forward.builder.updates
    split, end = len(ops), len(ops) + len(backward)
    return Program(
        Purpose.MANUAL,
        ops + backward,
        [*forward.inputs, *seeds],
        outputs,
        sections={"forward": (0, split), "backward": (split, end)},
    )
