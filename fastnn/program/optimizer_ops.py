"""Ops that change the parameters: those of the optimizer and those of regularizers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass
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
    def coupled_weight_decay(self) -> Any:
        """The factor by which a parameter is multiplied before it is added to its gradient."""

    def kernel_parameters(self) -> tuple[Any, ...]:
        """Return the row's hyper-parameters in the row's order; one may be a schedule."""

    def without_weight_decay(self) -> LowerableOptimizer:
        """Return an optimizer that differs only in its weight decay, which is 0."""

    def decayed(self, parameters: Collection[str]) -> dict[str, bool]:
        """Return whether weight decay acts on each of the parameters."""


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a network lie.

    Attributes
    ----------
    offsets : dict of str to int
        Offset of each parameter in the arenas of gradients and state, in elements, ascending.
    count : int
        Number of elements in these arenas.
    breaks : set of str
        Parameters that do not lie behind the one before them, because they belong to another
        network that shares them.
    """

    offsets: dict[str, int]
    count: int
    breaks: Set[str] = frozenset()


@dataclass(frozen=True)
class Stretch:
    """Neighboring parameters that one op can pass over.

    Attributes
    ----------
    names : tuple of str
    width : int
        Number of elements, including what is left free between parameters.
    is_whole : bool
        Whether it is the whole arena.
    """

    names: tuple[str, ...]
    width: int
    is_whole: bool

    @property
    def name(self) -> str:
        """What `explain` calls it, unless it is the whole arena."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} to {self.names[-1]}"

    @property
    def parameters(self) -> Value:
        """The parameters."""
        return self._value("parameters", "parameter")

    @property
    def gradients(self) -> Value:
        """Their gradients."""
        return self._value("gradients", "gradient")

    @property
    def average(self) -> Value:
        """Their moving average."""
        return self._value("average", "state", "average of ")

    def state(self, slots: int) -> Value | None:
        """Their state in the optimizer's kernel, if there is any."""
        if not slots:
            return None
        if self.is_whole:
            return Value("state", (slots, self.width), batched=False, storage="state")
        return self._value("state", "state")

    def _value(self, of_all: str, storage: str, prefix: str = "") -> Value:
        name = of_all if self.is_whole else prefix + self.name
        return Value(name, (self.width,), batched=False, storage=storage)


def stretches(graph: Graph, layout: Layout, settings: dict[str, Any]) -> Iterator[Stretch]:
    """Yield the longest stretches of neighboring parameters that have equal settings.

    Parameters
    ----------
    graph : Graph
    layout : Layout
    settings : dict of str to object
        By name of a parameter; those with settings None belong to no stretch.
    """
    runs: list[list[str]] = []
    before: object = None
    for name in graph.parameters:
        if settings[name] is not None:
            if settings[name] != before or name in layout.breaks:
                runs.append([])
            runs[-1].append(name)
        before = settings[name]
    for names in runs:
        first, last = names[0], names[-1]
        end = layout.offsets[last] + graph.parameters[last].width
        is_whole = len(names) == len(graph.parameters)
        width = layout.count if is_whole else end - layout.offsets[first]
        yield Stretch(tuple(names), width, is_whole)


def update_ops(graph: Graph, optimizer: LowerableOptimizer, layout: Layout) -> list[Op]:
    """Return an update of each stretch of parameters: usually one, of the whole arena.

    Where parameters differ in their settings, or gradients are clipped by their own norms, each has
    an update of its own, so that `fuse.update_in_gradient` can merge some of them.
    """
    count = layout.count
    decaying = _attributes(optimizer, count)
    settings = {
        name: decaying if is_decayed else _attributes(optimizer.without_weight_decay(), count)
        for name, is_decayed in optimizer.decayed(graph.parameters).items()
    }
    has_one_decay = all(own == decaying for own in settings.values())
    ops: list[Op] = []

    def norm_of(value: Value) -> Value:
        chunks = -(-value.width // NORM_CHUNK)
        partial = Value(f"squares of {value.name}", (chunks,), batched=False, dtype="double")
        ops.append(Op("squared_norm", (value,), (partial,)))
        return partial

    partial = None
    if optimizer.global_clipnorm is not None:
        partial = norm_of(Value("gradients", (count,), batched=False, storage="gradient"))
    factors = graph.rate_factors()
    has_own_norms = optimizer.clipnorm is not None
    is_uniform = has_one_decay and not has_own_norms and set(factors.values()) == {1.0}
    kept_apart = {
        name: (factor, "" if is_uniform else name) if factor else None
        for name, factor in factors.items()
    }
    for one in stretches(graph, layout, kept_apart):
        parameters, gradients = one.parameters, one.gradients
        own: dict[str, Any] = {"covers": one.names}
        if not (one.is_whole and factors[one.names[0]] == 1):
            own |= {"rate_factor": factors[one.names[0]], "normed": count}
        norm = partial
        if has_own_norms:
            norm = norm_of(gradients)
            own |= {"clipnorm": optimizer.clipnorm, "normed": one.width}
        has_one_layer = len(one.names) == 1 and not one.is_whole
        layer = one.name.rsplit("/", 1)[0] if has_one_layer else ""
        inputs = (parameters, gradients, one.state(len(optimizer.kernel_slots)), norm)
        ops.append(Op("update", inputs, (parameters,), {**settings[one.names[0]], **own}, layer))
    if optimizer.use_ema:
        for one in stretches(graph, layout, dict.fromkeys(graph.parameters, "averaged")):
            about = {"momentum": optimizer.ema_momentum, "copies_first": True, "covers": one.names}
            average = one.average
            ops.append(Op("moving_average", (average, one.parameters), (average,), about))
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
        user = name[: -len(own) - 1]  # the layer's name in this network
        regularizer = layer.regularizer(own)
        if regularizer is None or not factor:
            continue
        parameter = graph.parameters[name]
        gradient = gradients.get(parameter)
        chunks = -(-parameter.width // NORM_CHUNK)
        sums = Value(f"penalty of {name}", (chunks,), batched=False, dtype="double")
        l1, l2 = regularizer.weights
        attributes = {"l1": l1, "l2": l2}
        ops.append(Op("penalty", (parameter, gradient), (sums, gradient), attributes, user))
        if loss is not None:
            ops.append(Op("accumulate", (sums, loss), (loss,), {"weight": 1.0}, user))
    return ops
