"""Ops that change the parameters: those of the optimizer and those of regularizers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol

from fastnn.program.graph import Graph
from fastnn.program.ops import NORM_CHUNK, Op, Value


class LowerableOptimizer(Protocol):
    """The part of an optimizer that lowering uses."""

    clipvalue: float | None
    clipnorm: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""

    @property
    def kernel_slots(self) -> list[str]:
        """Names of the state that this row keeps for each parameter."""

    @property
    def coupled_weight_decay(self) -> float:
        """The factor by which a parameter is multiplied before it is added to its gradient."""

    def kernel_parameters(self) -> tuple[float, ...]:
        """Return the row's hyper-parameters in the row's order."""

    def without_weight_decay(self) -> LowerableOptimizer:
        """Return an optimizer that differs only in its weight decay, which is 0."""

    def decayed(self, parameters: Collection[str]) -> dict[str, bool]:
        """Return whether weight decay acts on each of the parameters."""


def update_ops(graph: Graph, optimizer: LowerableOptimizer, count: int) -> list[Op]:
    """Return one update of the whole arena, or one per parameter where their settings differ."""
    parameters = Value("parameters", (count,), batched=False, storage="parameter")
    gradients = Value("gradients", (count,), batched=False, storage="gradient")
    decaying = _attributes(optimizer, count)
    settings = {
        name: decaying if is_decayed else _attributes(optimizer.without_weight_decay(), count)
        for name, is_decayed in optimizer.decayed(graph.parameters).items()
    }
    is_uniform = all(own == decaying for own in settings.values())
    ops: list[Op] = []

    def norm_of(value: Value) -> Value:
        chunks = -(-value.width // NORM_CHUNK)
        partial = Value(f"squares of {value.name}", (chunks,), batched=False, dtype="double")
        ops.append(Op("squared_norm", (value,), (partial,)))
        return partial

    partial = None if optimizer.global_clipnorm is None else norm_of(gradients)
    factors = graph.rate_factors()
    has_one_rate = all(factor == 1 for factor in factors.values())
    if optimizer.clipnorm is None and has_one_rate and is_uniform:
        slots = len(optimizer.kernel_slots)
        state = Value("state", (slots, count), batched=False, storage="state") if slots else None
        inputs = (parameters, gradients, state, partial)
        ops.append(Op("update", inputs, (parameters,), decaying))
    else:
        for name, value in graph.parameters.items():
            if not factors[name]:
                continue
            gradient = replace(value, storage="gradient")
            state = replace(value, storage="state") if optimizer.kernel_slots else None
            own = {"rate_factor": factors[name], "normed": count}
            norm = partial
            if optimizer.clipnorm is not None:
                norm = norm_of(gradient)
                own |= {"clipnorm": optimizer.clipnorm, "normed": value.width}
            inputs = (value, gradient, state, norm)
            ops.append(
                Op("update", inputs, (value,), {**settings[name], **own}, name.rsplit("/", 1)[0])
            )
    if optimizer.use_ema:
        average = Value("average", (count,), batched=False, storage="state")
        moving = {"momentum": optimizer.ema_momentum, "copies_first": True}
        ops.append(Op("moving_average", (average, parameters), (average,), moving))
    return ops


def _attributes(optimizer: LowerableOptimizer, count: int) -> dict[str, Any]:
    """Return the attributes of an update op."""
    return {
        "optimizer": optimizer.kernel,
        "hyper_parameters": optimizer.kernel_parameters(),
        "clipvalue": optimizer.clipvalue,
        "clipnorm": optimizer.global_clipnorm,
        "weight_decay": optimizer.coupled_weight_decay,
        "count": count,
    }


def penalties(graph: Graph, gradients: dict[Value, Value], loss: Value | None) -> list[Op]:
    """Return the ops that add the terms of regularizers to the gradients and to the loss."""
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
