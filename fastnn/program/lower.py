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
from typing import TYPE_CHECKING, Any

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
class Measure:
    """A loss or a metric of a program.

    Attributes
    ----------
    name : str
        Its key; that of a result, unless the predictions are collected for it.
    metric : Metric or None
        None for a loss.
    output : int
        Which output of the model it looks at.
    collected : str
        Name of the program's output that holds the predictions, or "".
    is_binary : bool
        Whether each number of a prediction counts by itself.
    is_logit : bool
        Whether the output is what softmax or sigmoid of the loss is applied to.
    """

    name: str
    metric: Metric | None = None
    output: int = 0
    collected: str = ""
    is_binary: bool = False
    is_logit: bool = False


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


@dataclass(frozen=True)
class Aim:
    """What one output of a model is trained for.

    Attributes
    ----------
    loss : Loss
    metrics : tuple of Metric
    weight : float
        Of this loss among those of all outputs.
    """

    loss: Loss
    metrics: tuple[Metric, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Given:
    """What a program is given besides the model's inputs.

    Attributes
    ----------
    targets : tuple of Value
        One for each output.
    weight : Value or None
        Of each sample.
    """

    targets: tuple[Value, ...]
    weight: Value | None = None

    @property
    def values(self) -> list[Value]:
        """All of it, in the order in which the data are given."""
        return [*self.targets, *([] if self.weight is None else [self.weight])]


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
    aims: Sequence[Aim],
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
    found = _measure(graph, builder.ops, outputs, aims, given, training=False, collects=collects)
    ops = found.ops + _penalties(graph, {}, found.loss)
    ops, merges = fuse(gathers + ops, set())
    return Program("evaluate", ops, data, merges=merges, given=given.values, **found.reported)


def train_program(
    graph: Graph,
    aims: Sequence[Aim],
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
    found = _measure(graph, builder.ops, outputs, aims, given, training=True, collects=collects)
    forward = found.ops
    gradients = _parameter_gradients(graph)
    backward = differentiate(forward, found.seeds, gradients)
    backward += _penalties(graph, gradients, found.loss)
    update = [] if optimizer is None else builder.updates + _update_ops(graph, optimizer, count)
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
        _add_seed(backward, sums, output, seed)
    gradients = _parameter_gradients(graph)
    backward += differentiate(builder.ops, sums, gradients)
    backward += _penalties(graph, gradients, None)
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


def _add_seed(ops: list[Op], seeds: dict[Value, Value], output: Value, gradient: Value) -> None:
    """Take in the gradient by an output; two of one tensor add up."""
    if output in seeds:
        total = Value(f"sum for {output.name}", output.shape)
        ops.append(Op("add", (seeds[output], gradient), (total,)))
        gradient = total
    seeds[output] = gradient


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


@dataclass
class _Measured:
    """What `_measure` has made.

    Attributes
    ----------
    ops : list of Op
        Forward, losses and metrics.
    loss : Value
        The result that training looks at.
    seeds : dict of Value to Value
        Scores to the gradient by them.
    results : list of str
    measures : list of Measure
    collected : list of Value
    """

    ops: list[Op]
    loss: Value
    seeds: dict[Value, Value] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    collected: list[Value] = field(default_factory=list)

    @property
    def reported(self) -> dict[str, Any]:
        """What a program says of it."""
        return {"results": self.results, "measures": self.measures, "outputs": self.collected}


def _measure(
    graph: Graph,
    forward: list[Op],
    outputs: Sequence[Value],
    aims: Sequence[Aim],
    given: Given,
    *,
    training: bool,
    collects: bool,
) -> _Measured:
    """Append losses and metrics.

    A loss that is defined on logits looks at the model's end: where that is its own link
    (softmax, sigmoid), it takes the link's input, which is the stable form; the link is then
    dropped unless a metric reads it. Results are the loss, of several outputs those of each
    too, then the metrics.
    """
    ops = list(forward)

    def emit(kind: str, inputs: tuple, shapes: tuple, **attributes: object) -> Op:
        names = (kind, f"{kind} gradient", f"{kind} exponentials")
        values = tuple(
            None if shape is None else Value(name, shape)
            for name, shape in zip(names, shapes, strict=False)
        )
        ops.append(Op(kind, inputs, values, attributes, "loss"))
        return ops[-1]

    def weighted(value: Value, factor: float) -> Value:
        if given.weight is None and factor == 1:
            return value
        inputs = (value, given.weight)
        return emit("scale_rows", inputs, (value.shape,), factor=factor).output

    is_several = len(outputs) > 1
    total = Value("loss", (), batched=False, kind="result", dtype="double")
    found = _Measured(ops, total)
    parts: list[Value] = []
    metrics: list[Measure] = []
    for number, (name, output, aim, target) in enumerate(
        zip(graph.output_names, outputs, aims, given.targets, strict=True)
    ):
        scores = _before_link(forward, output, aim.loss.link)
        rows = aim.loss.emit(emit, scores, target, gradient=training)
        if training:
            _add_seed(ops, found.seeds, scores, weighted(rows.writes()[1], aim.weight))
        if is_several:
            parts.append(_mean(ops, weighted(rows.output, 1.0), f"{name}_loss"))
        else:
            inputs = (weighted(rows.output, aim.weight),)
            ops.append(Op("mean", inputs, (total,), {"checked": training}, "loss"))
        threshold = _threshold(aim.loss, output, target)
        collected = Value(f"predictions of {name}", output.shape, kind="output")
        for metric in aim.metrics:
            label = f"{name}_{metric.label}" if is_several else metric.label
            if not metric.needs_all:
                value = scores if metric.takes_scores else output
                hits = metric.emit(emit, value, target, threshold)
                _mean(ops, hits.output, label)
                metrics.append(Measure(label, metric, number))
            elif collects:
                metric.check(output, target, threshold is not None)
                if collected not in found.collected:
                    found.collected.append(collected)
                    copied = {"activation": "linear", "parameter": 0.0}
                    ops.append(Op("activation", (output,), (collected,), copied, "loss"))
                is_binary, is_logit = threshold is not None, scores is output
                is_logit &= aim.loss.link in ("softmax", "sigmoid")
                measure = Measure(label, metric, number, collected.name, is_binary, is_logit)
                metrics.append(measure)
    for i, (part, aim) in enumerate(zip(parts, aims, strict=bool(parts))):
        attributes = {"weight": aim.weight, "checked": training and i == len(parts) - 1}
        ops.append(Op("accumulate", (part, total) if i else (part,), (total,), attributes, "loss"))
    found.measures = [Measure("loss"), *(Measure(part.name) for part in parts), *metrics]
    found.results = [measure.name for measure in found.measures if not measure.collected]
    return found


def _penalties(graph: Graph, gradients: dict[Value, Value], loss: Value | None) -> list[Op]:
    """Return the ops that add what regularizers ask for: to the gradients, and to the loss."""
    ops = []
    for name, factor in graph.rate_factors().items():
        layer, own = graph.owners[name]
        regularizer = layer.regularizer(own)
        if regularizer is None or not factor:
            continue
        parameter = graph.parameters[name]
        gradient = gradients.get(parameter)
        chunks = -(-parameter.width // NORM_CHUNK)
        sums = Value(f"penalty of {name}", (chunks,), batched=False, dtype="double")
        l1, l2 = regularizer.weights
        attributes = {"l1": l1, "l2": l2}
        ops.append(Op("penalty", (parameter, gradient), (sums, gradient), attributes, layer.name))
        if loss is not None:
            ops.append(Op("accumulate", (sums, loss), (loss,), {"weight": 1.0}, layer.name))
    return ops


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


def _mean(ops: list[Op], rows: Value, name: str) -> Value:
    result = Value(name, (), batched=False, kind="result", dtype="double")
    ops.append(Op("mean", (rows,), (result,), layer="loss"))
    return result
