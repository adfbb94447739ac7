"""Losses and metrics behind the forward ops: what is trained for, and what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastnn.program.ops import Op, Value

if TYPE_CHECKING:
    from fastnn.losses import Loss
    from fastnn.metrics import Metric
    from fastnn.optimizers import Optimizer
    from fastnn.program.lower import Graph


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
        Whether the output is what softmax or sigmoid of the loss is applied to, or a number whose
        sign is the decision.
    """

    name: str
    metric: Metric | None = None
    output: int = 0
    collected: str = ""
    is_binary: bool = False
    is_logit: bool = False


@dataclass(frozen=True)
class OutputObjective:
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


@dataclass
class Objective:
    """What `compile` was told: how a network is trained, and what is reported.

    Attributes
    ----------
    optimizer : Optimizer
    outputs : tuple of OutputObjective
        One for each output of the network.
    """

    optimizer: Optimizer
    outputs: tuple[OutputObjective, ...]

    @property
    def loss(self) -> Loss:
        """The loss of the first output, mostly the only one."""
        return self.outputs[0].loss

    @cached_property
    def needs_all(self) -> bool:
        """Whether a metric is computed of all predictions at once."""
        return any(metric.needs_all for objective in self.outputs for metric in objective.metrics)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the first output, mostly the only one."""
        return self.outputs[0].metrics


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


@dataclass
class Measured:
    """What `measure` has made.

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


def measure(
    graph: Graph,
    forward: list[Op],
    outputs: Sequence[Value],
    objectives: Sequence[OutputObjective],
    given: Given,
    *,
    training: bool,
    collects: bool,
) -> Measured:
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
    found = Measured(ops, total)
    parts: list[Value] = []
    metrics: list[Measure] = []
    for number, (name, output, objective, target) in enumerate(
        zip(graph.output_names, outputs, objectives, given.targets, strict=True)
    ):
        scores = _before_link(forward, output, objective.loss.link)
        rows = objective.loss.emit(emit, scores, target, gradient=training)
        if training:
            add_seed(ops, found.seeds, scores, weighted(rows.writes()[1], objective.weight))
        if is_several:
            parts.append(_mean(ops, weighted(rows.output, 1.0), f"{name}_loss"))
        else:
            inputs = (weighted(rows.output, objective.weight),)
            ops.append(Op("mean", inputs, (total,), {"checked": training}, "loss"))
        threshold = objective.loss.threshold(output, target)
        collected = Value(f"predictions of {name}", output.shape, kind="output")
        for metric in objective.metrics:
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
                is_binary = threshold is not None
                has_logits = threshold == 0 if is_binary else objective.loss.is_distribution
                is_logit = scores is output and has_logits
                measure = Measure(label, metric, number, collected.name, is_binary, is_logit)
                metrics.append(measure)
    for i, (part, objective) in enumerate(zip(parts, objectives, strict=bool(parts))):
        attributes = {"weight": objective.weight, "checked": training and i == len(parts) - 1}
        ops.append(Op("accumulate", (part, total) if i else (part,), (total,), attributes, "loss"))
    found.measures = [Measure("loss"), *(Measure(part.name) for part in parts), *metrics]
    found.results = [measure.name for measure in found.measures if not measure.collected]
    return found


def add_seed(ops: list[Op], seeds: dict[Value, Value], output: Value, gradient: Value) -> None:
    """Take in the gradient by an output; two of one tensor add up."""
    if output in seeds:
        total = Value(f"sum for {output.name}", output.shape)
        ops.append(Op("add", (seeds[output], gradient), (total,)))
        gradient = total
    seeds[output] = gradient


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
