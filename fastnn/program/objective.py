"""Losses and metrics, which follow the forward ops: what is minimized, and what is reported.

The protocols say what losses, metrics and optimizers must provide; nothing is imported here from
the modules that declare those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, cast

from fastnn.program.graph import Graph
from fastnn.program.ops import EmitOp, Op, Value


class LowerableLoss(Protocol):
    """The part of a loss that lowering uses."""

    @property
    def link(self) -> str | None:
        """The activation that turns the loss's logits into the network's output."""

    @property
    def is_distribution(self) -> bool:
        """Whether a target row that is not a label must hold probabilities that sum to 1."""

    def threshold(self, output: Value, target: Value) -> float | None:
        """Return the decision threshold if outputs are independent, None for classes."""

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op that writes the loss of each row, and the gradient if requested."""


class LowerableMetric(Protocol):
    """The part of a metric that lowering uses."""

    @property
    def label(self) -> str:
        """The key in the history."""

    @property
    def takes_scores(self) -> bool:
        """Whether it can equally be computed from the logits."""

    @property
    def needs_all(self) -> bool:
        """Whether it is computed from all samples at once."""

    def emit(self, emit: EmitOp, prediction: Value, target: Value, threshold: float | None) -> Op:
        """Append the op whose first output is the metric's value for each row."""

    def check(self, output: Value, target: Value, is_binary: bool) -> None:
        """Raise if the metric does not fit an output and its target."""

    def finish(self, mean: float) -> float:
        """Return the metric, computed from the mean over all samples."""


LossT = TypeVar("LossT", bound=LowerableLoss)
MetricT = TypeVar("MetricT", bound=LowerableMetric)
OptimizerT = TypeVar("OptimizerT")


@dataclass(frozen=True)
class Reported:
    """A loss or a metric that a program reports.

    Attributes
    ----------
    name : str
        Its key; also the name of a result, unless the predictions are collected for it.
    metric : metric or None
        None stands for a loss.
    output : int
        Position of the network's output that it is computed from.
    collected : str
        Name of the program's output that holds the predictions, or "".
    is_binary : bool
        Whether the elements of a prediction are independent of each other.
    is_logit : bool
        Whether the loss's softmax or sigmoid has yet to be applied to the output.
    weight : int or None
        Position, among the weights of the program, of those that the metric counts the samples
        with; None: all count the same.
    """

    name: str
    metric: LowerableMetric | None = None
    output: int = 0
    collected: str = ""
    is_binary: bool = False
    is_logit: bool = False
    weight: int | None = None


@dataclass(frozen=True)
class OutputObjective(Generic[LossT, MetricT]):
    """The training objective of one output of a network.

    Attributes
    ----------
    loss : Loss
    metrics : tuple of Metric
    weight : float
        Weight of this loss in the sum over all outputs.
    weighted_metrics : tuple of Metric
        Metrics that count the samples with their weights.
    """

    loss: LossT
    metrics: tuple[MetricT, ...] = ()
    weight: float = 1.0
    weighted_metrics: tuple[MetricT, ...] = ()

    def labelled(self) -> list[tuple[str, MetricT, bool]]:
        """Return the label of each metric, the metric, and whether it is weighted.

        A weighted one is called "weighted_..." if there is one of its name without weights.
        """
        found = [(metric.label, metric, False) for metric in self.metrics]
        plain = [label for label, _, _ in found]
        for metric in self.weighted_metrics:
            label = f"weighted_{metric.label}" if metric.label in plain else metric.label
            found.append((label, metric, True))
        return found


@dataclass
class Objective(Generic[OptimizerT]):
    """The arguments of `compile`: how a network is trained, and what is reported.

    Attributes
    ----------
    optimizer : Optimizer
    outputs : tuple of OutputObjective
        One for each output of the network; none if `compile` was given no loss.
    """

    optimizer: OptimizerT
    outputs: tuple[OutputObjective[Any, Any], ...] = ()

    @property
    def has_loss(self) -> bool:
        """Whether `compile` was given a loss; without one, only the user's own loop trains."""
        return bool(self.outputs)

    @property
    def loss(self) -> Any:
        """The loss of the first output, which is usually the only one."""
        return self.outputs[0].loss

    @cached_property
    def needs_all(self) -> bool:
        """Whether any metric is computed from all predictions at once."""
        return any(
            metric.needs_all for objective in self.outputs for _, metric, _ in objective.labelled()
        )

    @property
    def metrics(self) -> tuple[Any, ...]:
        """The metrics of the first output, which is usually the only one."""
        return self.outputs[0].metrics


@dataclass(frozen=True)
class Targets:
    """The inputs of a program after the network's own.

    Attributes
    ----------
    of_outputs : tuple of Value
        The target of each output.
    sample_weights : tuple of Value
        The factor on the loss of each sample: none, one for all outputs, or one for each.
    """

    of_outputs: tuple[Value, ...] = ()
    sample_weights: tuple[Value, ...] = ()

    @property
    def values(self) -> list[Value]:
        """All of these values, in the order in which a run receives the data."""
        return [*self.of_outputs, *self.sample_weights]

    def weight_of(self, output: int) -> int | None:
        """Return the position of the weights of an output; None if it has none."""
        return min(output, len(self.sample_weights) - 1) if self.sample_weights else None

    @classmethod
    def of(cls, graph: Graph, types: Sequence[str]) -> Targets:
        """Return the targets of a network's outputs.

        Parameters
        ----------
        graph : Graph
        types : sequence of {"real", "label", "weight"}
            The dtype of the target of each output, followed by "weight" if samples have weights,
            once, or once for each output.
        """
        weights = list(types).count("weight")
        dtypes = types[: len(types) - weights]
        targets = tuple(
            Value(f"target of {output}", () if dtype == "label" else shape, True, "input", dtype)
            for output, dtype, shape in zip(
                graph.output_names, dtypes, graph.output_shapes, strict=True
            )
        )
        names = (
            ["sample weight"] if weights == 1 else [f"sample weight {i}" for i in range(weights)]
        )
        return cls(targets, tuple(Value(name, (), storage="input") for name in names))


def add_objective(
    forward: Sequence[Op],
    outputs: Sequence[Value],
    names: Sequence[str],
    objectives: Sequence[OutputObjective[Any, Any]],
    targets: Targets,
    *,
    training: bool,
    collects: bool,
) -> LoweredObjective:
    """Append losses and metrics to the forward ops.

    A loss that is defined on logits looks at the network's last op: if that is its own link
    (softmax, sigmoid), it takes the link's input, which is the stable form; the link is then
    dropped unless a metric reads it.

    Parameters
    ----------
    forward : sequence of Op
    outputs : sequence of Value
        The network's outputs.
    names : sequence of str
        Names of the outputs.
    objectives : sequence of OutputObjective
        One for each output.
    targets : Targets
    training : bool
        Whether gradients are needed.
    collects : bool
        Whether predictions are kept for the metrics that need all of them; otherwise those metrics
        are left out.

    Returns
    -------
    LoweredObjective
        Its results are the loss, then, if there are several outputs, the loss of each, then the
        metrics.
    """
    lowered = LoweredObjective(
        list(forward), targets, training, collects, is_several=len(outputs) > 1
    )
    for number, (name, output, objective, target) in enumerate(
        zip(names, outputs, objectives, targets.of_outputs, strict=True)
    ):
        scores = _before_link(forward, output, objective.loss.link)
        lowered.add_loss(number, name, objective, scores, target)
        threshold = objective.loss.threshold(output, target)
        is_distribution = objective.loss.is_distribution
        looked_at = _LookedAt(number, name, output, scores, target, threshold, is_distribution)
        for label, metric, is_weighted in objective.labelled():
            lowered.add_metric(label, metric, looked_at, is_weighted=is_weighted)
    lowered.add_weights()
    lowered.add_total([objective.weight for objective in objectives])
    return lowered


@dataclass(frozen=True)
class _LookedAt:
    """The values that the metrics of one output are computed from."""

    number: int
    name: str
    output: Value
    scores: Value
    target: Value
    threshold: float | None  # of a positive prediction if outputs are independent
    is_distribution: bool  # the target's rows, if they are not labels, hold probabilities

    @property
    def is_logit(self) -> bool:
        """Whether softmax or sigmoid has yet to be applied to the output, or its sign decides."""
        has_logits = self.is_distribution if self.threshold is None else self.threshold == 0
        return self.scores is self.output and has_logits


@dataclass
class LoweredObjective:
    """The ops of losses and metrics, appended to the forward ops.

    Attributes
    ----------
    ops : list of Op
        Forward, losses and metrics.
    targets : Targets
    training, collects, is_several : bool
        Whether gradients are needed; whether predictions are collected; whether there are several
        outputs.
    loss : Value
        The result that training minimizes.
    seeds : dict of Value to Value
        The gradient of the loss with respect to each output, or to the input of its link.
    collected : list of Value
        Outputs of the program that hold the predictions of all rows.
    """

    ops: list[Op]
    targets: Targets
    training: bool
    collects: bool
    is_several: bool
    loss: Value = field(default_factory=lambda: _result("loss"))
    seeds: dict[Value, Value] = field(default_factory=dict)
    collected: list[Value] = field(default_factory=list)
    _losses: list[Value] = field(default_factory=list)  # one for each output, if there are several
    _metrics: list[Reported] = field(default_factory=list)
    _weights: list[str] = field(default_factory=list)  # results: the mean weight of a step

    @property
    def reported(self) -> list[Reported]:
        """The losses and metrics, in the order in which they are reported."""
        losses = [Reported(self.loss.name), *(Reported(loss.name) for loss in self._losses)]
        return losses + self._metrics

    @property
    def results(self) -> list[str]:
        """Names of the results, which are one float64 in each step."""
        return [one.name for one in self.reported if not one.collected] + self._weights

    def add_loss(
        self,
        number: int,
        name: str,
        objective: OutputObjective[Any, Any],
        scores: Value,
        target: Value,
    ) -> None:
        """Append the loss of one output: its value for each row, its gradient, and its mean."""
        rows = objective.loss.emit(self._emit, scores, target, gradient=self.training)
        if self.training:
            gradient = self._weighted(number, rows.writes()[1], objective.weight)
            add_seed(self.ops, self.seeds, scores, gradient)
        if self.is_several:
            weighted = self._weighted(number, rows.output, 1.0)
            self._losses.append(self._mean(weighted, f"{name}_loss"))
        else:
            inputs = (self._weighted(number, rows.output, objective.weight),)
            self.ops.append(Op("mean", inputs, (self.loss,), {"checked": self.training}, "loss"))

    def add_metric(
        self, label: str, metric: Any, looked_at: _LookedAt, *, is_weighted: bool = False
    ) -> None:
        """Append a metric of one output: its mean, or a copy of the predictions."""
        label = f"{looked_at.name}_{label}" if self.is_several else label
        number = looked_at.number
        weight = self.targets.weight_of(number) if is_weighted else None
        if metric.needs_all:
            if self.collects:
                self._collect_for(metric, label, looked_at, weight)
            return
        value = looked_at.scores if metric.takes_scores else looked_at.output
        hits = metric.emit(self._emit, value, looked_at.target, looked_at.threshold).output
        self._mean(hits if weight is None else self._weighted(number, hits, 1.0), label)
        self._metrics.append(Reported(label, metric, number, weight=weight))

    def add_weights(self) -> None:
        """Append the mean of the weights that weighted means are divided by."""
        needed = {one.weight for one in self._metrics if not one.collected} - {None}
        for number in sorted(cast("set[int]", needed)):
            self._weights.append(weight_result(number))
            self._mean(self.targets.sample_weights[number], self._weights[-1])

    def add_total(self, weights: Sequence[float]) -> None:
        """Append the sum of the losses of several outputs."""
        for i, (part, weight) in enumerate(zip(self._losses, weights, strict=False)):
            is_last = i == len(self._losses) - 1
            attributes = {"weight": weight, "checked": self.training and is_last}
            inputs = (part, self.loss) if i else (part,)
            self.ops.append(Op("accumulate", inputs, (self.loss,), attributes, "loss"))

    def _collect_for(
        self, metric: Any, label: str, looked_at: _LookedAt, weight: int | None
    ) -> None:
        """Keep the predictions of all rows for a metric, once for all metrics of an output."""
        output, is_binary = looked_at.output, looked_at.threshold is not None
        metric.check(output, looked_at.target, is_binary)
        name = f"predictions of {looked_at.name}"
        if name not in [value.name for value in self.collected]:
            self.collected.append(Value(name, output.shape, storage="output"))
            copied = {"activation": "linear", "parameter": 0.0}
            self.ops.append(Op("activation", (output,), (self.collected[-1],), copied, "loss"))
        number, is_logit = looked_at.number, looked_at.is_logit
        self._metrics.append(Reported(label, metric, number, name, is_binary, is_logit, weight))

    def _emit(self, name: str, inputs: tuple, shapes: tuple, **attributes: object) -> Op:
        names = (name, f"{name} gradient", f"{name} exponentials")
        values = tuple(
            None if shape is None else Value(value_name, shape)
            for value_name, shape in zip(names, shapes, strict=False)
        )
        self.ops.append(Op(name, inputs, values, attributes, "loss"))
        return self.ops[-1]

    def _weighted(self, output: int, value: Value, factor: float) -> Value:
        """Multiply each row by the weight that its sample has for an output, and by a factor."""
        position = self.targets.weight_of(output)
        if position is None and factor == 1:
            return value
        weights = None if position is None else self.targets.sample_weights[position]
        inputs = (value, weights)
        return self._emit("scale_rows", inputs, (value.shape,), factor=factor).output

    def _mean(self, rows: Value, name: str) -> Value:
        result = _result(name)
        self.ops.append(Op("mean", (rows,), (result,), layer="loss"))
        return result


def weight_result(position: int) -> str:
    """Return the name of the result that holds the mean of some weights."""
    return f"weight {position}"


def decision_thresholds(
    forward: Sequence[Op],
    outputs: Sequence[Value],
    objectives: Sequence[OutputObjective[Any, Any]],
    targets: Targets,
) -> list[float | None]:
    """Return for each output the number above which it is positive; None for classes.

    Parameters
    ----------
    forward : sequence of Op
    outputs : sequence of Value
        The network's outputs.
    objectives : sequence of OutputObjective
        One for each output.
    targets : Targets
    """
    found: list[float | None] = []
    for output, objective, target in zip(outputs, objectives, targets.of_outputs, strict=True):
        threshold = objective.loss.threshold(output, target)
        is_link_applied = _before_link(forward, output, objective.loss.link) is not output
        found.append(0.5 if threshold is not None and is_link_applied else threshold)
    return found


def add_seed(ops: list[Op], seeds: dict[Value, Value], output: Value, gradient: Value) -> None:
    """Record the gradient with respect to an output; gradients of the same tensor are added."""
    if output in seeds:
        total = Value(f"sum for {output.name}", output.shape)
        ops.append(Op("add", (seeds[output], gradient), (total,)))
        gradient = total
    seeds[output] = gradient


def _before_link(ops: Sequence[Op], output: Value, link: str | None) -> Value:
    """Return the logits from which the output is computed, or the output itself."""
    value, is_dropped = output, False
    while link is not None:
        writer = next((op for op in ops if value in op.writes()), None)
        if writer is None:
            break
        if link in (writer.name, writer.attributes.get("activation")):
            if is_dropped:
                raise ValueError(
                    f"the model ends with Dropout after {link}, which no loss can undo; "
                    "put the Dropout before it"
                )
            return writer.input(0)
        if writer.name not in ("reshape", "dropout"):
            break
        is_dropped |= writer.name == "dropout"
        value = writer.input(0)
    return output


def _result(name: str) -> Value:
    return Value(name, (), batched=False, storage="result", dtype="double")
