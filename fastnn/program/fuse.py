"""Patterns of ops that one kernel does in one pass: a short, visible table.

A pattern takes the list of ops and returns it with some of them merged, and one line for each
merge, which `explain()` prints. (Softmax with cross-entropy, and a loss with its gradient, are
one op from the start: `lower.py` emits them so.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastnn.program.ops import Op, Value

Pattern = Callable[[list[Op], set[Value]], tuple[list[Op], list[str]]]


def fuse(ops: Sequence[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Apply every pattern of `PATTERNS`.

    Parameters
    ----------
    ops : sequence of Op
    roots : set of Value
        What the program must still compute.

    Returns
    -------
    ops : list of Op
    merges : list of str
    """
    fused, merges = list(ops), []
    for pattern in PATTERNS:
        fused, lines = pattern(fused, roots)
        merges += lines
    return fused, merges


def _readers(ops: Sequence[Op]) -> dict[Value, list[Op]]:
    readers: dict[Value, list[Op]] = {}
    for op in ops:
        for value in op.reads():
            readers.setdefault(value, []).append(op)
    return readers


def drop_unused(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Leave out ops whose outputs nobody reads."""
    wanted = set(roots)
    kept = []
    for op in reversed(ops):
        if any(value in wanted or value.kind not in ("work", "input") for value in op.writes()):
            kept.append(op)
            wanted.update(op.reads())
    return kept[::-1], []


def affine_with_activation(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Fuse affine and activation into affine[activation], in the product's epilogue.

    The pre-activation is still written where backward reads it.
    """
    readers = _readers(ops)
    fused: list[Op] = []
    merged: dict[Op, Op] = {}
    lines = []
    for op in ops:
        if op in merged:
            continue
        following = readers.get(op.output, []) if op.kind == "affine" else []
        activation = next((reader for reader in following if reader.kind == "activation"), None)
        if activation is not None and op.attributes["activation"] == "linear":
            is_kept = len(following) > 1 or op.output in roots
            fused.append(
                replace(
                    op,
                    outputs=(activation.output, op.output if is_kept else None),
                    attributes={**op.attributes, **activation.attributes},
                )
            )
            merged[activation] = op
            name = activation.attributes["activation"]
            lines.append(f"{op.layer}: affine + {name}" + (", keeps its input" * is_kept))
        else:
            fused.append(op)
    return fused, lines


def gradient_through_activation(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Fuse input_gradient and the activation_gradient that follows, in the epilogue."""
    readers = _readers(ops)
    fused: list[Op] = []
    merged: dict[Op, Op] = {}
    lines = []
    for op in ops:
        if op in merged:
            continue
        following = readers.get(op.output, []) if op.kind == "input_gradient" else []
        if len(following) == 1 and following[0].kind == "activation_gradient":
            gate = following[0]
            if gate.input(1) is op.output and op.output not in roots:
                fused.append(
                    replace(
                        op,
                        inputs=(*op.inputs[:2], gate.input(0)),
                        outputs=gate.outputs,
                        attributes={**op.attributes, **gate.attributes},
                    )
                )
                merged[gate] = op
                name = gate.attributes["activation"]
                lines.append(f"{op.layer}: input gradient + derivative of {name}")
                continue
        fused.append(op)
    return fused, lines


PATTERNS: list[Pattern] = [drop_unused, affine_with_activation, gradient_through_activation]
