"""Where every value of a program lives, and which barriers its ops need.

Values whose storage is "work" or "input" share one workspace: two whose lifetimes do not
overlap may occupy the same place. The plan is made for a number of rows, the capacity; a smaller
batch uses the same places. `check` verifies a plan independently of how it was made.

Considered and rejected: writing an op's output over an input whose lifetime ends there. It
saves one buffer in a small network and makes the check more complicated.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.native.engine import MOST_WORK_UNWATCHED
from fastnn.program.externals import Externals
from fastnn.program.lower import Program
from fastnn.program.ops import Op, Value, is_schedule

ALIGNMENT = 64  # bytes; a cache line
ARENAS = {"parameter": "parameters", "gradient": "gradients", "state": "state"}
# Parameters of more bytes come from beyond a core's own cache, where reading a byte takes as
# long as this many multiply-adds; in a team each core holds a part of them.
CACHE_BYTES = 2 << 20
WORK_OF_BYTE = 3.75
# Writing a byte may take as long as this many where the system has yet to provide its page.
WORK_OF_NEW_BYTE = 128.0
Interval = tuple[str, int, int]  # space, first byte, end
# Arena, first byte, bytes; or the number of an external, whose address each run supplies.
Operand = tuple[str | int, int, int]


@dataclass(frozen=True)
class Call:
    """One op in the form that the engine takes."""

    kernel: str
    operands: tuple[Operand | None, ...]
    sizes: tuple[int, ...]
    scalars: tuple[float, ...]
    variant: int
    batched: bool
    barrier: bool
    rows: int = 1
    updates: bool = False
    checked: bool = False
    gathers: int = -1
    scheduled: tuple[int, int] | None = None  # number of a schedule, position of the scalar
    repeats: bool = False  # see `Plan.repeats`
    work: float = 0.0  # how long it may take, in multiply-adds, of each row if batched
    in_parts: bool = True  # see `OpRow`


@dataclass
class Plan:
    """A program whose values have been assigned places.

    Attributes
    ----------
    program : Program
    dtype : {"float32", "float64"}
    capacity : int
        Number of rows that the workspace is planned for.
    places : dict of Value to tuple
        (offset, bytes) in the workspace.
    parameters : dict of str to int
        Offset of each parameter in the arenas of gradients and state, in elements.
    homes : dict of str to (str, int)
        The arena of each parameter that lies elsewhere than at its offset in "parameters", and
        its offset there.
    workspace_bytes : int
    barriers : list of bool
        For each op, whether the team must meet at a barrier after it.
    roots : dict of Value to Value
        For each output of a reshape, the value whose memory it shares.
    """

    program: Program
    dtype: str
    capacity: int
    parameters: dict[str, int]
    homes: dict[str, tuple[str, int]] = field(default_factory=dict)
    places: dict[Value, tuple[int, int]] = field(default_factory=dict)
    workspace_bytes: int = 0
    barriers: list[bool] = field(default_factory=list)
    roots: dict[Value, Value] = field(default_factory=dict)
    _parts: dict[str | None, list[tuple[int, int] | Op]] = field(default_factory=dict)

    @cached_property
    def itemsize(self) -> int:
        """Size of one element of the model's dtype, in bytes."""
        return np.dtype(self.dtype).itemsize

    def bytes_of(self, value: Value, rows: int | None = None) -> int:
        """Return the bytes that a value occupies with so many rows, by default at full capacity."""
        size = {"real": self.itemsize, "label": 4, "double": 8}[value.dtype]
        batch = self.capacity if rows is None else rows
        return size * value.width * (batch if value.batched else 1)

    def interval(self, value: Value) -> Interval:
        """Return the memory that a value occupies, for comparison with that of others."""
        if value.storage in ARENAS:
            space, offset = ARENAS[value.storage], self.parameters.get(value.name, 0)
            if value.storage == "parameter":
                space, offset = self.homes.get(value.name, (space, offset))
            first = offset * self.itemsize
            return space, first, first + self.bytes_of(value)
        if value.storage in ("work", "input"):
            offset, size = self.places[value]
            return "workspace", offset, offset + size
        return f"{value.storage} {value.name}", 0, self.bytes_of(value)

    @cached_property
    def externals(self) -> Externals:
        """The numbers of the arrays that each run supplies."""
        return Externals(self.program)

    def calls(self) -> list[Call]:
        """Return the ops in the form that the engine takes."""
        return [
            self._call(op, barrier, repeats)
            for op, barrier, repeats in zip(
                self.program.ops, self.barriers, self.repeats, strict=True
            )
            if op.row.kernel
        ]

    @cached_property
    def repeats(self) -> list[bool]:
        """For each op, whether it and the others between the same barriers may be run again.

        A long step that Ctrl-C interrupts is left between barriers: what was computed since the
        last one is computed again if the step goes on. So none of these ops changes what it reads,
        and no op before has changed what outlives the step, which would then be half a step.
        """
        ops, found = self.program.ops, [True] * len(self.program.ops)
        for first, end in self.sections:
            group, has_changed = first, False
            for position in range(first, end):
                has_changed |= self.outlives(ops[position])
                if has_changed or self.is_in_place(ops[position]):
                    found[group : position + 1] = [False] * (position + 1 - group)
                elif position > group and not found[group]:
                    found[position] = False
                if self.barriers[position]:
                    group = position + 1
        return found

    @property
    def sections(self) -> list[tuple[int, int]]:
        """The range of ops of each section, or that of all ops."""
        return list(self.program.sections.values()) or [(0, len(self.program.ops))]

    def outlives(self, op: Op) -> bool:
        """Whether an op changes what outlives the step."""
        kept = ("parameter", "state")
        return op.row.updates or any(value.storage in kept for value in op.writes())

    def is_in_place(self, op: Op) -> bool:
        """Whether an op changes what it reads."""
        read = [self.interval(value) for value in op.reads()]
        written = [self.interval(value) for value in op.writes()]
        return bool(op.row.kernel) and any(intersect(a, b) for a in written for b in read)

    def _call(self, op: Op, barrier: bool, repeats: bool) -> Call:
        operands = tuple(
            operand for value in op.row.operands(op) for operand in self._operands(value)
        )
        scalars = op.row.scalars(op)
        gathers = -1
        if op.name == "gather":
            gathers = self.program.inputs.index(op.output)
            space, first, end = self.interval(op.output)
            numbers = self.externals
            batch = space, first, end - first
            operands = (numbers.sources[gathers], 0, 0), (numbers.order, 0, 0), batch
        return Call(
            op.row.kernel,
            operands,
            op.row.sizes(op),
            tuple(0.0 if is_schedule(scalar) else scalar for scalar in scalars),
            op.row.variant(op),
            batched=op.batched,
            barrier=barrier,
            updates=op.row.updates,
            checked=self.is_checked(op),
            gathers=gathers,
            scheduled=self._scheduled(scalars),
            repeats=repeats,
            work=max(op.row.work(op), self._touching(op)),
            in_parts=op.row.in_parts,
        )

    def _touching(self, op: Op) -> float:
        """The time in which an op writes its outputs, of each row if it is batched, at worst."""
        written = [value for value in op.writes() if value.batched == op.batched]
        return WORK_OF_NEW_BYTE * sum(self.bytes_of(value, 1) for value in written)

    def _scheduled(self, scalars: tuple[Any, ...]) -> tuple[int, int] | None:
        """Return the number of the schedule that a scalar follows, and that scalar's position."""
        for position, scalar in enumerate(scalars):
            if is_schedule(scalar):
                return self.schedules.index(scalar), position
        return None

    @cached_property
    def schedules(self) -> list[Any]:
        """The schedules that scalars of ops follow, each once."""
        found: list[Any] = []
        for op in self.program.ops:
            found += [one for one in op.row.scalars(op) if is_schedule(one) and one not in found]
        return found

    @cached_property
    def _scheduled_below(self) -> np.ndarray:
        """What the values of each schedule must stay below, shape (schedules, 1)."""
        rows = [(op.row.scheduled_below, op.row.scalars(op)) for op in self.program.ops]
        return np.array(
            [[min(below for below, scalars in rows if one in scalars)] for one in self.schedules]
        )

    def scheduled(self, number: int, count: int) -> np.ndarray:
        """Return the values of the schedules in some steps.

        Parameters
        ----------
        number : int
            Number of the first step, counted from 1.
        count : int

        Returns
        -------
        ndarray of float64, shape (schedules, count)

        Raises
        ------
        ValueError
            A value is negative, not finite, or not a rate of dropout though one follows it.
        """
        values = np.array([one.rates_from(number - 1, count) for one in self.schedules])
        is_right = (values >= 0) & (values < self._scheduled_below)
        if not is_right.all():
            row, step = np.argwhere(~is_right)[0]
            below = self._scheduled_below[row, 0]
            wanted = (
                "finite number of at least 0" if np.isinf(below) else f"number in [0, {below:g})"
            )
            raise ValueError(
                f"{self.schedules[row]!r} gives {values[row, step]} in step {number + step:,}; "
                f"expected a {wanted}"
            )
        return values

    def _operands(self, value: Value | None) -> tuple[Operand | None, ...]:
        if value is None:
            return (None,)
        if value.storage == "sparse":  # as described in fastnn.h
            i, numbers = self.program.inputs.index(value), self.externals
            return tuple((n, 0, 0) for n in (numbers.entries[i], numbers.sources[i], numbers.order))
        return (self._operand(value),)

    def _operand(self, value: Value) -> Operand:
        root = self.roots.get(value, value)
        if root.storage == "input":
            return self.externals.batches[self.program.inputs.index(root)], 0, 0
        if root.storage == "output":
            return self.externals.outputs[root.name], 0, 0
        if root.storage == "result":
            return self.externals.results[root.name], 0, 0
        space, first, end = self.interval(value)
        return space, first, end - first

    def is_checked(self, op: Op) -> bool:
        """Whether a run must end if this op's result is not finite."""
        return self.program.purpose.checks_loss and bool(op.attributes.get("checked"))

    def parts(self, name: str | None = None) -> list[tuple[int, int] | Op]:
        """Return the parts to run in turn: ranges of `calls()`, and the Python ops between them.

        Parameters
        ----------
        name : str, optional
            Restrict the parts to that section.
        """
        if name not in self._parts:  # cached, because every run asks for them
            self._parts[name] = self._made_parts(name)
        return self._parts[name]

    def _made_parts(self, name: str | None) -> list[tuple[int, int] | Op]:
        first, end = (0, len(self.program.ops)) if name is None else self.program.sections[name]
        parts: list[tuple[int, int] | Op] = []
        begin = call = sum(bool(op.row.kernel) for op in self.program.ops[:first])
        for op in self.program.ops[first:end]:
            call += bool(op.row.kernel)
            if op.row.is_python:
                parts += [(begin, call)] if call > begin else []
                parts.append(op)
                begin = call
        return [*parts, (begin, call)] if call > begin or not parts else parts

    @cached_property
    def has_python(self) -> bool:
        """Whether an op of the program runs in Python."""
        return any(op.row.is_python for op in self.program.ops)

    def work(self, rows: int) -> float:
        """Return the approximate number of multiply-adds in a step of `rows` rows."""
        each, fixed = self._works
        return each * rows + fixed

    def effort(self, rows: int) -> float:
        """Return how long a step of `rows` rows takes one worker, in units of multiply-adds.

        This is its work, or the time in which its parameters are read, if that is longer.
        """
        return max(self.work(rows), self._reading)

    @cached_property
    def _reading(self) -> float:
        """The time in which all parameters are read, if they do not fit a core's cache."""
        read = {
            value
            for op in self.program.ops
            for value in op.reads()
            # An op with less work reads only a few rows of it.
            if value.storage == "parameter" and op.row.work(op) >= value.width
        }
        size = sum(self.bytes_of(value) for value in read)
        return WORK_OF_BYTE * size if size > CACHE_BYTES else 0.0

    @cached_property
    def _works(self) -> tuple[float, float]:
        """Multiply-adds for each row, and those that do not depend on the number of rows."""
        works = [(op.row.work(op), op.batched) for op in self.program.ops]
        return (
            sum(work for work, is_batched in works if is_batched),
            sum(work for work, is_batched in works if not is_batched),
        )


def plan(
    program: Program,
    dtype: str,
    capacity: int,
    parameters: dict[str, int],
    homes: dict[str, tuple[str, int]] | None = None,
) -> Plan:
    """Assign a place to every value of a program.

    Parameters
    ----------
    program : Program
    dtype : {"float32", "float64"}
    capacity : int
        Number of rows in the largest batch.
    parameters : dict of str to int
        Offset of each parameter in the arenas, in elements.
    homes : dict of str to (str, int), optional
        See `Plan`; default: every parameter lies in "parameters".

    Returns
    -------
    Plan

    Raises
    ------
    MemoryError
        The workspace would not fit in the address space.
    """
    made = Plan(
        program,
        dtype,
        capacity,
        {**parameters, **_offsets_of_stretches(program.ops, parameters)},
        dict(homes or {}),
        roots=_roots(program.ops),
    )
    for op in program.ops:
        covered = op.attributes.get("covers", ())
        if covered and covered[0] in made.homes:
            made.homes[op.input(0 if op.name == "update" else 1).name] = made.homes[covered[0]]
    lives = _lives(program, made.roots)
    sizes = {value: -(-made.bytes_of(value) // ALIGNMENT) * ALIGNMENT for value in lives}
    placed: list[Value] = []
    for value in sorted(lives, key=lambda value: -sizes[value]):
        offset = 0
        rivals = [other for other in placed if _overlap(lives[value], lives[other])]
        for other in sorted(rivals, key=lambda other: made.places[other][0]):
            if offset + sizes[value] <= made.places[other][0]:
                break
            offset = max(offset, made.places[other][0] + sizes[other])
        made.places[value] = offset, made.bytes_of(value)
        made.workspace_bytes = max(made.workspace_bytes, offset + sizes[value])
        placed.append(value)
    if made.workspace_bytes > sys.maxsize // 4:
        raise MemoryError(f"a batch of {capacity} rows needs {made.workspace_bytes} bytes")
    for value, root in made.roots.items():
        if root in made.places:
            made.places[value] = made.places[root]
    made.barriers = _barriers(made)
    if made.work(capacity) > MOST_WORK_UNWATCHED:  # the engine looks for Ctrl-C within such a step
        _set_apart(made)
    return made


def _offsets_of_stretches(ops: list[Op], parameters: dict[str, int]) -> dict[str, int]:
    """Return the offsets of values that are several parameters: updates, and their averages."""
    found: dict[str, int] = {}
    for op in ops:
        if "covers" in op.attributes:
            first = parameters.get(op.attributes["covers"][0], 0)
            for value in op.reads():
                found[value.name] = first
            if op.name == "moving_average":
                found[op.output.name] = first + parameters.get("average", 0)
    return found


def _roots(ops: list[Op]) -> dict[Value, Value]:
    """For each output of a reshape, the value whose memory it shares."""
    roots: dict[Value, Value] = {}
    for op in ops:
        if op.name == "reshape":
            roots[op.output] = roots.get(op.input(0), op.input(0))
    return roots


def _lives(program: Program, roots: dict[Value, Value]) -> dict[Value, tuple[int, int]]:
    """First and last op of each value that needs workspace; a reshaped one counts for its root."""
    lives: dict[Value, tuple[int, int]] = {}
    for position, op in enumerate(program.ops):
        for value in op.reads() + op.writes():
            root = roots.get(value, value)
            if root.storage in ("work", "input"):
                lives[root] = lives.get(root, (position, position))[0], position
    # What forward leaves for backward is kept: backward may run again. So are the inputs, from
    # which another program may run forward.
    kept = program.sections.get("forward", (0, 0))[1]
    for value, (first, last) in lives.items():
        if first < kept and (kept <= last or value.storage == "input"):
            lives[value] = first, len(program.ops)
    for value in program.outputs:  # read after the run
        root = roots.get(value, value)
        if root in lives:
            lives[root] = lives[root][0], len(program.ops)
    return lives


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def intersect(a: Interval, b: Interval) -> bool:
    """Return whether two pieces of memory overlap in at least one byte."""
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _barriers(made: Plan) -> list[bool]:
    """Return, for each op, whether a barrier follows it.

    A barrier is needed before an op that reads or writes what an op since the last barrier
    wrote, or writes what one of them read; and at the end of each section.
    """
    barriers = [False] * len(made.program.ops)
    read: list[Interval] = []
    written: list[Interval] = []
    previous = -1  # the last op that runs; reshapes do not run
    for position, op in enumerate(made.program.ops):
        if op.row.is_python:  # the team has ended before it
            if previous >= 0:
                barriers[previous] = True
            read, written = [], []
        if not op.row.kernel:
            continue
        reads = [made.interval(value) for value in op.reads()]
        writes = [made.interval(value) for value in op.writes()]
        if op.row.updates:
            reads += writes
            writes += [made.interval(value) for value in op.reads() if value.storage == "state"]
        if any(intersect(a, b) for a in reads + writes for b in written) or any(
            intersect(a, b) for a in writes for b in read
        ):
            barriers[previous] = True
            read, written = [], []
        # The engine checks the loss after this op, so all workers must have arrived.
        if made.is_checked(op):
            barriers[position] = True
            read, written = [], []
        else:
            read += reads
            written += writes
        previous = position
    ends = {end - 1 for _, end in made.program.sections.values()} | {len(barriers) - 1}
    for end in ends:
        while end >= 0 and not made.program.ops[end].row.kernel:
            end -= 1
        if end >= 0:
            barriers[end] = True
    return barriers


def _set_apart(made: Plan) -> None:
    """Put barriers around the ops that may not be run again, so that long ones beside them may.

    See `Plan.repeats`. A barrier is nothing in a step that lasts so long.
    """
    for first, end in made.sections:
        before = -1  # the last op that runs
        for position in range(first, end):
            op = made.program.ops[position]
            if not op.row.kernel:
                continue
            has_changed = made.outlives(op)
            if before >= 0 and (has_changed or made.is_in_place(op)):
                made.barriers[before] = True
            if has_changed:
                break  # from here on, the step is completed
            made.barriers[position] |= made.is_in_place(op)
            before = position


def check(made: Plan) -> None:
    """Verify that a plan is sound, by executing it with the owner of each byte instead of numbers.

    Raises
    ------
    AssertionError
        A value is read before it was written or after another value took its place, or an op
        overwrites a value that it reads.
    """
    owners: dict[Value, Interval] = {}
    roots = made.roots
    for position, op in enumerate(made.program.ops):
        where = f"op {position} ({op.name})"
        if op.name == "reshape":
            continue
        for value in (roots.get(value, value) for value in op.reads()):
            if value.storage in ("work", "input"):
                assert value in owners, f"{where} reads {value} before it is there"
        for written in op.writes():
            if written.storage not in ("work", "input"):
                continue
            interval = made.interval(written)
            assert interval[2] <= made.workspace_bytes, f"{written} lies outside the workspace"
            for value in (roots.get(value, value) for value in op.reads()):
                if value.storage in ("work", "input"):
                    assert not intersect(interval, made.interval(value)), (
                        f"{where} writes {written} over {value}, which it reads"
                    )
            for other in [o for o in owners if intersect(interval, owners[o])]:
                del owners[other]
            owners[written] = interval
        for written in op.writes():
            if written.storage in ("work", "input"):
                assert written in owners, f"two outputs of {where} share memory"
    for value in (roots.get(value, value) for value in made.program.outputs):
        if value.storage in ("work", "input"):
            assert value in owners, f"the output {value} does not last to the end"


def describe(made: Plan) -> str:
    """Return the program as a table: ops, values with shapes and places, and what was fused."""
    is_mixed = any("precision" in op.attributes for op in made.program.ops)
    dtype = f"{made.dtype} and bfloat16" if is_mixed else made.dtype
    lines = [
        f"{made.program.name}: {len(made.program.ops)} ops, {dtype}, up to "
        f"{made.capacity} rows, workspace {made.workspace_bytes:,} bytes"
    ]
    for position, op in enumerate(made.program.ops):
        shown = {
            key: v
            for key, v in op.attributes.items()
            if v not in (None, "linear", (), 0.0) and key != "covers"  # the name says it
        }
        if op.row.is_python:
            shown["runs"] = "in Python"
        attributes = ", ".join(
            f"{key}={v:g}" if isinstance(v, float) else f"{key}={v}" for key, v in shown.items()
        )
        outputs = ", ".join(_placed(made, value) for value in op.writes())
        inputs = ", ".join(value.name for value in op.reads())
        mark = "|" if made.barriers[position] else " "
        lines.append(
            f"{position:3d} {mark} {op.name}({inputs})"
            + (f" [{attributes}]" if attributes else "")
            + f"\n        -> {outputs}"
        )
    lines += [f"fused  {merge}" for merge in made.program.merges]
    lines.append("| marks a barrier; @ is the offset in the workspace, in bytes")
    return "\n".join(lines)


def _placed(made: Plan, value: Value) -> str:
    return f"{value} @{made.places[value][0]}" if value in made.places else f"{value}"
