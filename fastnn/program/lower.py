"""From layers, loss, metrics and optimizer to a `Program`: the list of ops of one purpose.

A model has six programs, made when first needed:

    predict    forward, dropout left out
    evaluate   forward as in predict, loss and metrics
    train      forward, loss, metrics, backward, update: one step
    gradients  the same without the update
    manual     forward in training, then backward from a gradient that the user gives
    update     the optimizer alone
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastnn.program.autodiff import differentiate
from fastnn.program.fuse import fuse
from fastnn.program.ops import NORM_CHUNK, Op, Value

if TYPE_CHECKING:
    from fastnn.layers import Layer
    from fastnn.losses import Loss
    from fastnn.metrics import Metric
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
        Batches of the user's data, in the order: inputs, then the target or the gradient.
    outputs : list of Value
        Written to arrays that a run is given.
    results : list of str
        One double a step: "loss", then the metrics.
    sections : dict of str to tuple of int
        Half-open ranges of ops that can be run by themselves.
    merges : list of str
        What was fused.
    """

    name: str
    ops: list[Op]
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    merges: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Graph:
    """What lowering needs to know of a model.

    Attributes
    ----------
    inputs : list of (name, shape)
    steps : list of (layer, positions of its inputs)
        In topological order. Positions count the inputs first, then the steps.
    output : int
        Position of the model's output.
    parameters : dict of str to Value
        Values in the parameter arena, by name ("dense/kernel").
    owners : dict of str to (layer, name)
        Of each parameter: whose it is, and what that calls it.
    """

    inputs: list[tuple[str, tuple[int, ...]]]
    steps: list[tuple[Layer, tuple[int, ...]]]
    output: int
    parameters: dict[str, Value]
    owners: dict[str, tuple[Layer, str]]

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

    def new_stream(self) -> int:
        """Return the number of a random stream that no other op of the program has."""
        self._streams += 1
        return self._streams - 1

    def lower(self, graph: Graph, inputs: list[Value]) -> Value:
        """Append the forward ops of all layers; return the model's output."""
        values = list(inputs)
        for layer, positions in graph.steps:
            self._layer = layer.name
            values.append(layer.emit(self, *(values[position] for position in positions)))
        self._layer = ""
        return values[graph.output]


def _input_values(graph: Graph) -> list[Value]:
    return [Value(name, shape, kind="input") for name, shape in graph.inputs]


def _gathers(inputs: list[Value]) -> list[Op]:
    return [Op("gather", (), (value,)) for value in inputs]


def _parameter_gradients(graph: Graph) -> dict[Value, Value]:
    factors = graph.rate_factors()
    return {
        parameter: replace(parameter, kind="gradient")
        for name, parameter in graph.parameters.items()
        if factors[name]
    }


def predict_program(graph: Graph) -> Program:
    """Forward, without dropout."""
    inputs = _input_values(graph)
    builder = Builder(graph.parameters, training=False)
    output = builder.lower(graph, inputs)
    ops, merges = fuse(_gathers(inputs) + builder.ops, {output})
    target = Value("prediction", output.shape, kind="output")
    ops, is_written = _write_to(ops, output, target)
    if not is_written:  # the output is an input, or another name of one
        ops.append(Op("activation", (output,), (target,), {"activation": "linear"}))
    return Program("predict", ops, inputs, [target], merges=merges)


def _write_to(ops: list[Op], value: Value, target: Value) -> tuple[list[Op], bool]:
    """Let the op that computes `value` write `target` instead."""
    is_read = any(value in op.reads() for op in ops)
    writer = next((op for op in ops if value in op.writes()), None)
    if writer is None or is_read or writer.kind in ("reshape", "gather"):
        return ops, False
    outputs = tuple(target if out is value else out for out in writer.outputs)
    return [replace(op, outputs=outputs) if op is writer else op for op in ops], True


def evaluate_program(graph: Graph, loss: Loss, metrics: Sequence[Metric], target: Value) -> Program:
    """Forward as in predict, loss and metrics."""
    inputs = _input_values(graph)
    builder = Builder(graph.parameters, training=False)
    output = builder.lower(graph, inputs)
    results, ops, _ = _measure(builder.ops, output, target, loss, metrics, training=False)
    ops, merges = fuse(_gathers([*inputs, target]) + ops, set())
    return Program("evaluate", ops, [*inputs, target], results=results, merges=merges)


def train_program(
    graph: Graph,
    loss: Loss,
    metrics: Sequence[Metric],
    target: Value,
    optimizer: Optimizer | None,
    count: int,
) -> Program:
    """One step: forward, loss, metrics, backward, update of an arena of `count` elements.

    Without an optimizer the gradients are left as they are.
    """
    inputs = _input_values(graph)
    builder = Builder(graph.parameters, training=True)
    output = builder.lower(graph, inputs)
    results, forward, seeds = _measure(builder.ops, output, target, loss, metrics, training=True)
    backward = differentiate(forward, seeds, _parameter_gradients(graph))
    update = [] if optimizer is None else builder.updates + _update_ops(graph, optimizer, count)
    ops, merges = fuse(_gathers([*inputs, target]) + forward + backward + update, set())
    name = "gradients" if optimizer is None else "train"
    return Program(name, ops, [*inputs, target], results=results, merges=merges)


def manual_program(graph: Graph) -> Program:
    """Forward in training; then backward from the gradient by the output."""
    inputs = _input_values(graph)
    builder = Builder(graph.parameters, training=True)
    output = builder.lower(graph, inputs)
    seed = Value("grad_output", output.shape, kind="input")
    backward = differentiate(builder.ops, {output: seed}, _parameter_gradients(graph))
    forward = _gathers(inputs) + builder.ops + builder.updates
    ops, merges = fuse(forward + _gathers([seed]) + backward, {output, seed})
    split = next(i for i, op in enumerate(ops) if seed in op.writes())
    return Program(
        "manual",
        ops,
        [*inputs, seed],
        [output],
        merges=merges,
        sections={"forward": (0, split), "backward": (split, len(ops))},
    )


def update_program(graph: Graph, optimizer: Optimizer, count: int) -> Program:
    """The optimizer alone, over an arena of `count` elements."""
    return Program("update", _update_ops(graph, optimizer, count), [])


def _update_ops(graph: Graph, optimizer: Optimizer, count: int) -> list[Op]:
    """One update of the whole arena, or, where parameters are not treated alike, one for each."""
    parameters = Value("parameters", (count,), batched=False, kind="parameter")
    gradients = Value("gradients", (count,), batched=False, kind="gradient")
    attributes = {
        "optimizer": optimizer.kernel,
        "hyper_parameters": optimizer.kernel_parameters(),
        "clipvalue": optimizer.clipvalue,
        "clipnorm": optimizer.global_clipnorm,
        "weight_decay": optimizer.coupled_weight_decay,
        "count": count,
    }
    ops: list[Op] = []

    def norm_of(value: Value) -> Value:
        chunks = -(-value.width // NORM_CHUNK)
        partial = Value(f"squares of {value.name}", (chunks,), batched=False, dtype="double")
        ops.append(Op("squared_norm", (value,), (partial,)))
        return partial

    partial = None if optimizer.global_clipnorm is None else norm_of(gradients)
    factors = graph.rate_factors()
    if optimizer.clipnorm is None and all(factor == 1 for factor in factors.values()):
        slots = len(optimizer.kernel_slots)
        state = Value("state", (slots, count), batched=False, kind="state") if slots else None
        inputs = (parameters, gradients, state, partial)
        ops.append(Op("update", inputs, (parameters,), attributes))
    else:
        for name, value in graph.parameters.items():
            if not factors[name]:
                continue
            gradient = replace(value, kind="gradient")
            state = replace(value, kind="state") if optimizer.kernel_slots else None
            own = {"rate_factor": factors[name], "normed": count}
            norm = partial
            if optimizer.clipnorm is not None:
                norm = norm_of(gradient)
                own |= {"clipnorm": optimizer.clipnorm, "normed": value.width}
            inputs = (value, gradient, state, norm)
            ops.append(
                Op("update", inputs, (value,), {**attributes, **own}, name.rsplit("/", 1)[0])
            )
    if optimizer.use_ema:
        average = Value("average", (count,), batched=False, kind="state")
        settings = {"momentum": optimizer.ema_momentum, "copies_first": True}
        ops.append(Op("moving_average", (average, parameters), (average,), settings))
    return ops


def _measure(
    forward: list[Op],
    output: Value,
    target: Value,
    loss: Loss,
    metrics: Sequence[Metric],
    *,
    training: bool,
) -> tuple[list[str], list[Op], dict[Value, Value]]:
    """Append loss and metrics; return their names, all ops, and the gradient by the scores.

    A loss that is defined on logits looks at the model's end: where that is its own link
    (softmax, sigmoid), it takes the link's input, which is the stable form; the link is then
    dropped unless a metric reads it.
    """
    ops = list(forward)
    scores = _before_link(forward, output, loss.link)

    def emit(kind: str, inputs: tuple, shapes: tuple, **attributes: object) -> Op:
        names = (kind, f"{kind} gradient", f"{kind} exponentials")
        outputs = tuple(
            None if shape is None else Value(name, shape)
            for name, shape in zip(names, shapes, strict=False)
        )
        ops.append(Op(kind, inputs, outputs, attributes, "loss"))
        return ops[-1]

    rows = loss.emit(emit, scores, target, gradient=training)
    results = ["loss"]
    _mean(ops, rows.output, "loss")
    for metric in metrics:
        results.append(metric.name)
        value = scores if metric.takes_scores else output
        hits = metric.emit(emit, value, target, _threshold(loss, output, target))
        _mean(ops, hits.output, metric.name)
    seeds = {scores: rows.writes()[1]} if training else {}
    return results, ops, seeds


def _threshold(loss: Loss, output: Value, target: Value) -> float | None:
    """Return where a yes begins if each output counts by itself, None for classes."""
    if loss.link == "sigmoid":
        return 0.0  # of a logit
    return 0.5 if output.width == 1 and target.dtype != "label" else None


def _before_link(ops: list[Op], output: Value, link: str | None) -> Value:
    """Return the logits behind the model's output, or the output itself."""
    value, is_dropped = output, False
    while link is not None:
        writer = next((op for op in ops if value in op.writes()), None)
        if writer is None:
            break
        if link in (writer.kind, writer.attributes.get("activation")):
            if is_dropped:
                raise ValueError(
                    f"the model ends with Dropout behind {link}, which no loss can undo; "
                    "put the Dropout before it"
                )
            return writer.input(0)
        if writer.kind not in ("reshape", "dropout"):
            break
        is_dropped |= writer.kind == "dropout"
        value = writer.input(0)
    return output


def _mean(ops: list[Op], rows: Value, name: str) -> None:
    result = Value(name, (), batched=False, kind="result", dtype="double")
    ops.append(Op("mean", (rows,), (result,), layer="loss"))
