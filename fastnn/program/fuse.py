"""A pass over a program that merges patterns of ops which one kernel can compute.

A pattern takes the list of ops and returns it with some of them merged, and one line for each
merge, which `explain()` prints. (Softmax with cross-entropy, and a loss with its gradient, are
one op from the start: `lower.py` emits them that way.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastnn.program.lower import Program
from fastnn.program.ops import Op, Value
from fastnn.program.precision import precision_of
from fastnn.program.purpose import Purpose

Pattern = Callable[[list[Op], set[Value]], tuple[list[Op], list[str]]]


def fuse(program: Program, rows: int = 1) -> Program:
    """Apply every pattern of `PATTERNS` to a program.

    Parameters
    ----------
    program : Program
        As `lower` returns it; it is not changed.
    rows : int, default 1
        Number of rows in the largest batch.

    Returns
    -------
    Program
        A program that computes the same; `merges` says what was fused.
    """
    if program.purpose is Purpose.UPDATE:  # there is nothing to merge, and a descent waits for it
        return program
    ops, merges = list(program.ops), list(program.merges)
    roots = {*program.outputs, *_read_by_sections(program)}
    work = sum(op.row.work(op) * (rows if op.batched else 1) for op in ops)
    for pattern in PATTERNS:
        if pattern is update_in_gradient and work > UPDATE_IN_GRADIENT_UP_TO_WORK:
            continue
        ops, lines = pattern(ops, roots)
        merges += lines
    return replace(program, ops=ops, merges=merges, sections=_sections(program, ops))


def _sections(program: Program, fused: list[Op]) -> dict[str, tuple[int, int]]:
    """Return the sections of a fused program: each later one begins with the same op as before."""
    firsts = {
        name: fused.index(program.ops[first]) if first else 0
        for name, (first, _) in program.sections.items()
    }
    ends = [*list(firsts.values())[1:], len(fused)]
    return {name: (first, end) for (name, first), end in zip(firsts.items(), ends, strict=False)}


def _read_by_sections(program: Program) -> list[Value]:
    """Return the inputs that a run of a later section supplies; they are always gathered."""
    later = [program.ops[first:end] for first, end in program.sections.values() if first]
    return [op.output for ops in later for op in ops if op.name == "gather"]


def _readers(ops: Sequence[Op]) -> dict[Value, list[Op]]:
    readers: dict[Value, list[Op]] = {}
    for op in ops:
        for value in op.reads():
            readers.setdefault(value, []).append(op)
    return readers


def drop_unused(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Remove ops whose outputs are never read."""
    wanted = set(roots)
    kept = []
    for op in reversed(ops):
        if any(value in wanted or value.storage not in ("work", "input") for value in op.writes()):
            kept.append(op)
            wanted.update(op.reads())
    return kept[::-1], []


def affine_with_activation(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Fuse affine and activation into affine[activation], applied in the product's epilogue.

    The pre-activation is still written if backward reads it.
    """
    readers = _readers(ops)
    fused: list[Op] = []
    merged: dict[Op, Op] = {}
    lines = []
    for op in ops:
        if op in merged:
            continue
        following = readers.get(op.output, []) if op.name == "affine" else []
        # An op without a layer copies an output: `outputs_where_they_are_wanted` handles that.
        activations = [one for one in following if one.name == "activation" and one.layer]
        activation = activations[0] if activations else None
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
    """Fuse input_gradient and the activation_gradient that follows it, in the epilogue."""
    readers = _readers(ops)
    fused: list[Op] = []
    merged: dict[Op, Op] = {}
    lines = []
    for op in ops:
        if op in merged:
            continue
        following = readers.get(op.output, []) if op.name == "input_gradient" else []
        if len(following) == 1 and following[0].name == "activation_gradient":
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


def gradients_of_layer(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Fuse bias_gradient into the kernel_gradient of the same layer, which has the same input."""
    alone: dict[tuple[Value, str], list[Op]] = {}  # several where layers are shared
    for op in ops:
        if op.name == "bias_gradient":
            alone.setdefault((op.input(0), op.layer), []).append(op)
    fused, merged, lines = [], set(), []
    for op in ops:
        partners = alone.get((op.input(1), op.layer)) if op.name == "kernel_gradient" else None
        if partners:
            merged.add(partners[0])
            fused.append(replace(op, outputs=(op.output, partners.pop(0).output)))
            lines.append(f"{op.layer}: gradients of kernel and bias")
        else:
            fused.append(op)
    return [op for op in fused if op not in merged], lines


# A smaller kernel reaches both cores' caches faster than its halves are added; half of a larger
# one does not stay in a core's cache from one step to the next anyway.
HALVES_FROM, HALVES_TO = 65_536, 1_048_576
HALVES_FROM_UNITS = 64


def affine_in_halves(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Split the affine op of a wide layer whose kernel changes into affine_halves and add_halves.

    Each of two workers then stays with the half of the kernel that it updates, and no part of
    it travels between their caches.
    """
    if not any(op.name.startswith("kernel_gradient") for op in ops):
        return ops, []
    split: list[Op] = []
    lines = []
    for op in ops:
        kernel = op.input(1) if op.name == "affine" else None
        is_wide = kernel is not None and kernel.shape[1] >= HALVES_FROM_UNITS
        if kernel is None or not is_wide or not HALVES_FROM <= kernel.width <= HALVES_TO:
            split.append(op)
            continue
        halves = Value(f"{op.layer}/halves", (2 * kernel.shape[1],))
        split.append(Op("affine_halves", op.inputs[:2], (halves,), precision_of(op), op.layer))
        rest = {key: value for key, value in op.attributes.items() if key != "precision"}
        split.append(Op("add_halves", (halves, op.inputs[2]), op.outputs, rest, op.layer))
        lines.append(f"{op.layer}: affine in two halves of its inputs")
    return split, lines


# Fewer elements are not worth an op; with more, the halves take longer to travel between two cores
# than a batch does.
GRADIENT_HALVES_FROM, GRADIENT_HALVES_TO = 2048, 16_384


def kernel_gradient_in_halves(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Split kernel_gradient of narrow layers into two halves of the batch, and add them.

    Each of two workers then stays with the rows that it computed in forward and backward. The
    kernels do not split a small batch.
    """
    split: list[Op] = []
    lines = []
    for op in ops:
        width = op.output.width if op.name == "kernel_gradient" else 0
        is_narrow = GRADIENT_HALVES_FROM <= width <= GRADIENT_HALVES_TO
        if not is_narrow or op.output.storage != "gradient":
            split.append(op)
            continue
        by_kernel, by_bias = (*op.outputs, None)[:2]
        size = width + (0 if by_bias is None else by_bias.width)
        second = Value(f"{op.layer}/second half", (size,), batched=False)
        outputs = (by_kernel, by_bias)
        split.append(
            Op("kernel_gradient_halves", op.inputs, (*outputs, second), precision_of(op), op.layer)
        )
        # The number of rows is that of the gradient with respect to the output.
        inputs = (*outputs, second, op.input(1))
        split.append(Op("add_gradient_half", inputs, outputs, {}, op.layer))
        lines.append(f"{op.layer}: gradients over two halves of a large batch")
    return split, lines


SPARSE = {"affine": "sparse_affine", "kernel_gradient": "sparse_kernel_gradient"}


def products_of_sparse_rows(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Make dense layers read the sparse matrix instead of a densified batch of it."""
    sparse = {op.output: op.input(0) for op in ops if op.name == "csr_gather"}
    made: list[Op] = []
    for op in ops:
        matrix = sparse.get(op.input(0)) if op.name in SPARSE else None
        if matrix is not None:
            op = replace(op, name=SPARSE[op.name], inputs=(matrix, *op.inputs[1:]))
        made.append(op)
    read = {value for op in made for value in op.reads()} | roots
    return [op for op in made if op.name != "csr_gather" or op.output in read], []


# Below this many parameters, a core's cache holds all streams of the update, and one long pass
# over the arena is 1 to 4 % faster than one pass per layer; above, the gradient would travel twice.
UPDATE_IN_GRADIENT_FROM = 262_144
# Above this many multiply-adds, a step may last a second. Once the first parameter has changed, it
# cannot be given up any more, so the updates then stay at its end; they are a small part of it.
UPDATE_IN_GRADIENT_UP_TO_WORK = 1e10
UPDATED = ("kernel_gradient", "sparse_kernel_gradient")


def update_in_gradient(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Fuse kernel_gradient and its part of the update.

    A worker then updates the parameters whose gradient it has just computed, while that is in
    its cache. This requires that no norm is needed first and that nothing else is added to the
    gradient. An update of several parameters is replaced only if all of it can be.
    """
    updates = _Updates.of(ops)
    if updates.count < UPDATE_IN_GRADIENT_FROM or any(op.row.is_python for op in ops):
        return ops, []  # an error in the user's code must leave the parameters unchanged
    merged = updates.merged(ops)
    applied = {update for found in merged.values() for update in found}
    fused, lines = [], []
    for op in ops:
        if op in merged:
            fused.append(_with_update(op, merged[op][0]))
            lines.append(f"{op.layer}: gradients + update")
        elif op not in applied:
            fused.append(op)
    return fused, lines


@dataclass
class _Updates:
    """The updates of a program, and the ops that compute the gradients which they apply."""

    by_name: dict[str, Op]  # the update that covers a parameter
    writers: dict[str, list[Op]] = field(default_factory=dict)

    @classmethod
    def of(cls, ops: Sequence[Op]) -> _Updates:
        updates = [op for op in ops if op.name == "update"]
        found = cls({name: op for op in updates for name in op.attributes["covers"]})
        for op in ops:
            for value in op.writes():
                if value.storage == "gradient":
                    found.writers.setdefault(value.name, []).append(op)
        return found

    @property
    def count(self) -> int:
        """Number of elements in the arena; 0 where nothing is updated."""
        return next((op.attributes["count"] for op in self.by_name.values()), 0)

    def merged(self, ops: Sequence[Op]) -> dict[Op, list[Op]]:
        """Return the ops that can apply the gradients they compute, with the updates they replace.

        An update is replaced if each gradient that it reads is computed by such an op, and an op
        applies its gradients only if all updates that read them are replaced.
        """
        found = {op: updates for op in ops if (updates := self._applied_by(op))}
        while True:
            replaced = {
                update
                for update in self.by_name.values()
                if all(op in found for op in self._writers_of(update))
            }
            fewer = {op: updates for op, updates in found.items() if replaced.issuperset(updates)}
            if len(fewer) == len(found):
                return found
            found = fewer

    def _writers_of(self, update: Op) -> list[Op]:
        return [op for name in update.attributes["covers"] for op in self.writers.get(name, ())]

    def _applied_by(self, op: Op) -> list[Op]:
        """Return the updates that apply an op's gradients; none if they cannot be merged."""
        if op.name not in UPDATED:
            return []
        gradients = [value for value in op.outputs[:2] if value is not None]
        found = [self.by_name[value.name] for value in gradients if value.name in self.by_name]
        if len(found) < len(gradients) or any(one.inputs[3] is not None for one in found):
            return []
        is_alone = all(len(self.writers.get(value.name, ())) == 1 for value in gradients)
        settings = [_settings_of(one) for one in found]
        return found if is_alone and settings == settings[:1] * len(found) else []


def _settings_of(update: Op) -> dict[str, Any]:
    """Return the settings that must be equal for two parameters that one op updates."""
    return {**update.attributes, "normed": 0, "covers": ()}


def _with_update(op: Op, update: Op) -> Op:
    """Return the op that computes gradients and applies them."""
    by_kernel, by_bias = (*op.outputs, None)[:2]
    has_state = update.inputs[2] is not None

    def parameter_and_state(gradient: Value | None) -> tuple[Value | None, Value | None]:
        if gradient is None:
            return None, None
        state = replace(gradient, storage="state") if has_state else None
        return replace(gradient, storage="parameter"), state

    kernel, bias = parameter_and_state(by_kernel), parameter_and_state(by_bias)
    inputs = (*op.inputs, *kernel, *bias)
    outputs = (by_kernel, by_bias, kernel[0], bias[0])
    attributes = {key: value for key, value in update.attributes.items() if key != "covers"}
    attributes |= precision_of(op)
    return Op(f"{op.name}_update", inputs, outputs, attributes, op.layer)


# The outputs of these ops are not computed by a kernel of their own, or not written natively.
KEPT_APART = ("reshape", "gather", "python", "python_gradient")


def outputs_where_they_are_wanted(ops: list[Op], roots: set[Value]) -> tuple[list[Op], list[str]]:
    """Make the op that computes an output write it to the run's array, which saves a copy."""
    copies = [op for op in ops if _copies_output(op)]
    others = [op for op in ops if not _copies_output(op)]
    made: dict[Op, Op | None] = {}  # what takes the place of an op
    written: dict[Value, Value] = {}  # one tensor may be several outputs
    for copy in copies:
        value, target = copy.input(0), copy.output
        is_read = value in written or any(value in op.reads() for op in others)
        writer = next((op for op in others if value in op.writes()), None)
        if writer is None or is_read or writer.name in KEPT_APART:
            made[copy] = replace(copy, inputs=(written.get(value, value),))
        else:
            now = made.get(writer) or writer  # it may have other outputs that are copied
            outputs = tuple(target if out is value else out for out in now.outputs)
            made[writer], made[copy] = replace(now, outputs=outputs), None
        written.setdefault(value, target)
    return [one for op in ops if (one := made.get(op, op)) is not None], []


def _copies_output(op: Op) -> bool:
    return op.name == "activation" and not op.layer and op.output.storage == "output"


PATTERNS: list[Pattern] = [
    drop_unused,
    affine_with_activation,
    gradient_through_activation,
    gradients_of_layer,
    products_of_sparse_rows,
    update_in_gradient,
    affine_in_halves,
    kernel_gradient_in_halves,
    outputs_where_they_are_wanted,
]
