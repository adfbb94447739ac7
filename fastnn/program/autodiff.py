"""Derives the backward ops from a list of forward ops by walking it in reverse (reverse mode).

Each op's row says how the gradient of its output becomes gradients of its inputs. The gradient
of a value that several ops read is the sum of their contributions. The gradient of a parameter is
written to the gradient arena, that of an input is copied to an array of the run; no layer writes
its own backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastnn.program.ops import Emit, Op, Value


def differentiate(
    ops: Sequence[Op],
    seeds: dict[Value, Value],
    parameter_gradients: Mapping[Value, Value],
    input_gradients: Mapping[Value, Value] | None = None,
) -> list[Op]:
    """Return the ops that compute the gradients of parameters and inputs.

    Parameters
    ----------
    ops : sequence of Op
        The forward ops, in order.
    seeds : dict of Value to Value
        Values whose gradient is already computed (by the loss, or supplied by the user).
    parameter_gradients : dict of Value to Value
        For each parameter, the value in the gradient arena that receives its gradient.
    input_gradients : dict of Value to Value, optional
        For each input, the output of the program that receives its gradient.

    Returns
    -------
    list of Op
        In the order in which they run. Gradients that lead to neither are left out, and so is the
        copy to an output that no gradient reaches.
    """
    input_gradients = input_gradients or {}
    needed = _computed_from(ops, {*parameter_gradients, *input_gradients})
    contributions: dict[Value, list[Value]] = {value: [grad] for value, grad in seeds.items()}
    backward: list[Op] = []
    layer = ""

    def emit(name: str, inputs: tuple, outputs: tuple, **attributes: object) -> Value:
        values = tuple(
            Value(f"{name} of {layer}", out) if isinstance(out, tuple) else out for out in outputs
        )
        backward.append(Op(name, inputs, values, attributes, layer))
        return backward[-1].output

    for op in reversed(ops):
        if op.outputs[0] not in contributions or op.row.gradient is None:
            continue
        layer = op.layer
        grad = _sum(contributions.pop(op.output), emit)
        before = len(backward)
        gradients = op.row.gradient(op, grad, emit)
        unwanted = set()
        for value, gradient in zip(op.inputs, gradients, strict=True):
            if value is None or gradient is None:
                continue
            if value in needed:
                contributions.setdefault(value, []).append(gradient)
            elif gradient is not grad:
                unwanted.add(gradient)
        backward[before:] = [op for op in backward[before:] if not unwanted.issuperset(op.writes())]

    for parameter, target in parameter_gradients.items():
        if parameter in contributions:
            _deliver(backward, contributions[parameter], target)
    for value, target in input_gradients.items():
        if value in contributions:
            total = _sum(contributions[value], emit)
            backward.append(Op("activation", (total,), (target,), {"activation": "linear"}))
    return backward


def _computed_from(ops: Sequence[Op], wanted: set[Value]) -> set[Value]:
    """Return the values whose gradient is needed: the wanted, and all that is computed from one."""
    needed = set(wanted)
    for op in ops:
        if any(value in needed for value in op.reads()):
            needed.update(op.writes())
    return needed


def _sum(values: list[Value], emit: Emit) -> Value:
    """Return the sum of several contributions."""
    total = values[0]
    for value in values[1:]:
        total = emit("add", (total, value), (total.shape,))
    return total


def _deliver(backward: list[Op], values: list[Value], target: Value) -> None:
    """Make the last op that computes a parameter's gradient write it into the arena."""
    total = values[0]
    for value in values[1:]:
        partial = Value(total.name, total.shape, batched=False)
        backward.append(Op("add", (total, value), (partial,)))
        total = partial
    for position, op in enumerate(backward):
        if total in op.outputs:
            outputs = tuple(target if value is total else value for value in op.outputs)
            backward[position] = replace(op, outputs=outputs)
