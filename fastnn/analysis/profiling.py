"""The time of each op of a step, and how close each op comes to the machine's limits.

The engine reads the clock after each op of worker 0; the rest is computed from the plan.

To find out which cache level an operand comes from: between two accesses to the same memory, the
ops in between move a number of bytes through the caches, and the first level that can hold those
still holds the operand. So a kernel that is read once per step comes from a distant level if the
whole step is large, and the output of the previous op from a near one. Considered and rejected: the
level that can hold the op's own operands. For a wide network with a small batch it would place the
parameters in a near level, and report half of memory's bandwidth as a fifth of L2's.

Bytes that several of the ops in between access count once, because a cache holds them once; and of
a table of which an op reads a few rows (an embedding, a kernel under sparse inputs), those rows
count. Both matter: a bound that is too high makes an op reach more than all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn import data
from fastnn.analysis import machine_limits
from fastnn.analysis.machine_limits import Limits
from fastnn.core import checks, threads
from fastnn.core.drawing import draw
from fastnn.data import AnySource, Source
from fastnn.data.sparse import Sparse
from fastnn.network import Network
from fastnn.program.ops import HALVES_FROM_ROWS, Op, Value
from fastnn.program.plan import Interval, Plan, intersect
from fastnn.program.precision import rounds
from fastnn.runtime import ROWS, Bound, Purpose, Runtime, Steps, team
from fastnn.runtime.nonfinite import NonFiniteLossError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLICES = 20  # the median is taken over this many means, if there are enough steps
# From here on a share of a limit is not explained by noise, and the table says what it means.
_ABOVE = 1.05
_HINT = (
    "above 100%: what does not fit L2 may come from a cache that processors share, which is faster "
    "than memory;\notherwise other programs ran while the limits were measured: "
    "fastnn bench --limits measures them again"
)


@dataclass(frozen=True)
class OpProfile:
    """The time and throughput of one op in a step.

    Attributes
    ----------
    layer : str
        The layer that it came from; "" for an op that does not belong to a layer.
    op : str
        A row of `fastnn.program.ops.OPS`.
    what : str
        The op, with what was fused into it.
    microseconds : float
        Time in a step, including the barrier; the median over the steps.
    share : float
        Its fraction of the step's time.
    gflops : float
        GFLOP/s; a multiply-add counts as two.
    gigabytes : float
        GB/s at which its operands are read and written.
    limit : str
        What bounds it on this machine: "arithmetic", or the memory level ("L1", "L2", "memory")
        that accounts for most of its minimum time.
    of_limit : float
        The fraction of that limit that it reaches: its least possible time, by the work that it
        does and the bytes that it must move, over the time that it takes. It exceeds 1 where
        operands come from a cache that processors share, which is faster than the "memory" that
        they are compared with, or where the limits were measured on a busy machine.
    """

    layer: str
    op: str
    what: str
    microseconds: float
    share: float
    gflops: float
    gigabytes: float
    limit: str
    of_limit: float


@dataclass(repr=False)
class Profile:
    """The time of a step, op by op; what `Model.profile` returns.

    Attributes
    ----------
    rows : list of OpProfile
        The ops in the order in which they run.
    program : {"train", "predict"}
    dtype : {"float32", "float64", "mixed_bfloat16"}
        The model's precision.
    batch_size, workers, steps : int
        How the program was run.
    limits : Limits
        The limits that the ops are compared with.

    Examples
    --------
    >>> import contextlib, io
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> with contextlib.redirect_stdout(io.StringIO()):
    ...     profile = model.profile(x)
    >>> [row.op for row in profile.rows]
    ['gather', 'affine']
    """

    rows: list[OpProfile]
    program: str
    dtype: str
    batch_size: int
    workers: int
    steps: int
    limits: Limits

    @property
    def microseconds(self) -> float:
        """The time of a step: the sum over its ops."""
        return sum(row.microseconds for row in self.rows)

    def __repr__(self) -> str:
        slowest = max(self.rows, key=lambda row: row.microseconds)
        return (
            f"<Profile of {self.program}: {self.microseconds:.4g} µs a step of "
            f"{self.batch_size} rows; most in {slowest.what}, {slowest.share:.0%}>"
        )

    def __str__(self) -> str:
        team = f"{self.workers} worker" + "s" * (self.workers > 1)
        whole = self.microseconds
        wide = max(len(row.layer) for row in self.rows)
        long = max(len(row.what) for row in self.rows)
        wide, long = max(wide, len("layer")), max(long, len("op"))
        lines = [
            f"{self.program}, {self.dtype}, {self.batch_size} rows a step, {team}, ISA "
            f"{self.limits.isa}: median of {self.steps} steps",
            f"{'layer':{wide}}  {'op':{long}}  {'µs':>9} {'share':>6} {'GFLOP/s':>9} {'GB/s':>8}"
            "  limit",
        ]
        for row in self.rows:
            lines.append(
                f"{row.layer:{wide}}  {row.what:{long}}  {row.microseconds:9.2f} {row.share:6.1%} "
                f"{row.gflops:9.2f} {row.gigabytes:8.2f}  {row.of_limit:4.0%} of {row.limit}"
            )
        gflops = sum(row.gflops * row.microseconds for row in self.rows) / whole
        gigabytes = sum(row.gigabytes * row.microseconds for row in self.rows) / whole
        reached = sum(row.of_limit * row.microseconds for row in self.rows) / whole
        lines.append(
            f"{'':{wide}}  {'step':{long}}  {whole:9.2f} {1:6.1%} {gflops:9.2f} {gigabytes:8.2f}"
            f"  {reached:4.0%} of its ops' limits"
        )
        if any(row.of_limit > _ABOVE for row in self.rows):
            lines.append(_HINT)
        return "\n".join(lines)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Plot the time of each op and its limit; needs the extra ``plot``.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; default: a new figure.

        Returns
        -------
        matplotlib Axes
            Save it with ``ax.figure.savefig("profile.png")``.

        Raises
        ------
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> model.profile(x, y).plot()  # doctest: +SKIP
        """
        return draw("profile", self, ax=ax)


def profile(
    network: Network, x: object, y: object, *, steps: object, batch_size: object
) -> Profile:
    """Time the ops of a network's program; see `Model.profile`.

    Parameters
    ----------
    network : Network
    x, y : object
        As in `Model.fit`; without y, predictions are timed.
    steps : int
        How many to run.
    batch_size : int or None
        Rows of a step; None: 32, or 512 for predictions.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit, or an op of the program runs in Python.
    NonFiniteLossError
        The loss is not finite.
    """
    count = checks.integer("steps", steps)
    if batch_size is None:
        batch_size = ROWS if y is None else 32
    batch = checks.integer("batch_size", batch_size)
    samples = network.checked_inputs(x) if y is None else network.checked_samples(x, y)
    # Training is timed in a copy, so that nothing has to be put back, which Ctrl-C might prevent.
    timed = network if y is None else network.clone(keeps_optimizer_state=True)
    runtime, rows = timed.runtime, samples.rows
    data.not_empty(rows)
    batch = min(batch, rows)
    limits = machine_limits.current()
    if y is None:
        purpose = Purpose.PREDICT
        todo = Steps(samples.sources, rows // batch * batch, batch)
    else:
        purpose = _training_program(runtime)
        order = np.random.default_rng(0).permutation(rows)  # scattered rows, as in fit
        todo = Steps(samples.sources, count * batch, batch, np.resize(order, count * batch))
    bound = runtime.bound(purpose, batch, samples.target_types, todo.sparse)
    if bound.plan.has_python:
        raise ValueError(
            "profile times native ops, and a layer, activation or loss of this model runs in Python"
        )
    workers = threads.workers_for(bound.plan.work(batch))
    seconds = _seconds(runtime, bound, todo, count, workers)
    rows_of_table = _rows(bound.plan, todo, seconds, limits, workers)
    precision = runtime.precision or runtime.dtype
    return Profile(rows_of_table, purpose.value, precision, batch, workers, count, limits)


def _training_program(runtime: Runtime) -> Purpose:
    """Return the purpose of the program that training runs with this optimizer."""
    assert runtime.objective is not None
    return runtime.objective.optimizer.program


# --- time -------------------------------------------------------------------------------------


def _seconds(runtime: Runtime, bound: Bound, todo: Steps, steps: int, workers: int) -> np.ndarray:
    """Run steps and return the median time of each call.

    The learning rate is 0, so that steps do not depend on earlier ones.
    """
    made = bound.plan
    longest = bound.team(todo.batch).steps_in(team.SLICE_SECONDS)
    count = min(max(1, steps // SLICES), longest, todo.count)
    slices = -(-steps // count)
    seconds = np.zeros((slices, len(made.calls())))
    rates = np.zeros(todo.count)
    results = np.empty((todo.count, len(made.program.results)))
    outputs = {
        value.name: np.empty((todo.rows, *value.shape), made.dtype)
        for value in made.program.outputs
    }
    run = bound.prepare(todo, results=results, outputs=outputs, learning_rates=rates)
    for number in range(-1, slices):  # the first is a warm-up
        first = max(number, 0) * count % (todo.count - count + 1)
        timed = seconds[number] if number >= 0 else None
        done = run.make(first, count, workers=workers, seconds=timed)
        if done < count:
            raise NonFiniteLossError(
                f"the loss is {results[first + done, 0]:g}, and such a step cannot be timed; "
                "the model is unchanged"
            )
    return np.median(seconds / count, axis=0)


# --- limits -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Access:
    """An operand of an op: its location, and how many of its bytes a step reads or writes."""

    interval: Interval
    nbytes: float
    data_bytes: float = 0.0  # bytes of all rows, if it is the user's data


def _rows(
    made: Plan, todo: Steps, seconds: np.ndarray, limits: Limits, workers: int
) -> list[OpProfile]:
    """Combine time, work, bytes and limits of each op."""
    in_place = _read_in_place(made, todo)
    ops = [op for op in made.program.ops if op.row.kernel]
    running = [
        (op, float(time))
        for op, time in zip(ops, seconds, strict=True)
        if not (op.name == "gather" and op.output in in_place)
    ]
    accesses = [_accesses(made, op, todo, in_place) for op, _ in running]
    whole = sum(time for _, time in running)
    rows = []
    for position, (op, time) in enumerate(running):
        time = max(time, 1e-9)  # the clock's resolution
        flops = 2 * _multiply_adds(op) * (todo.batch if op.batched else 1)
        dtype = "bfloat16" if rounds(op, todo.batch) else made.dtype
        arithmetic = flops / limits.arithmetic_of(dtype, workers) / 1e9
        levels = _seconds_by_level(accesses, position, limits, workers)
        memory = sum(levels.values())
        fused = op.attributes.get("activation", "linear")
        rows.append(
            OpProfile(
                layer=op.layer,
                op=op.name,
                what=op.name if fused == "linear" else f"{op.name}[{fused}]",
                microseconds=1e6 * time,
                share=time / whole,
                gflops=flops / time / 1e9,
                gigabytes=sum(access.nbytes for access in accesses[position]) / time / 1e9,
                limit="arithmetic" if arithmetic >= memory else max(levels, key=levels.__getitem__),
                of_limit=max(arithmetic, memory) / time,
            )
        )
    return rows


def _multiply_adds(op: Op) -> float:
    """Return the multiply-adds of an op, for a row if it is batched.

    What an update is expected to cost, when threads are chosen, is that of Adam for every
    optimizer; plain SGD takes one for each parameter, momentum two.
    """
    work = op.row.work(op)
    if op.name != "update":
        return work
    state = sum(value.width for value in op.reads() if value.storage == "state")
    return work if state > op.output.width else float(op.output.width + state)


def _read_in_place(made: Plan, todo: Steps) -> set[Value]:
    """Return the inputs that ops read directly from the user's arrays, without a gather."""
    return {
        value
        for source, value in zip(todo.sources, made.program.inputs, strict=True)
        if todo.order is None
        and isinstance(source, Source)
        and source.is_native(made.dtype, value.dtype)
    }


def _seconds_by_level(
    accesses: Sequence[Sequence[_Access]], position: int, limits: Limits, workers: int
) -> dict[str, float]:
    """Return the minimum time of an op's operands, keyed by the memory level they come from."""
    least: dict[str, float] = {}
    for access in accesses[position]:
        distance = _distance(accesses, position, access)
        level, rate = limits.bandwidth_of(distance, workers)
        least[level] = least.get(level, 0.0) + access.nbytes / rate / 1e9
    return least


def _accesses(made: Plan, op: Op, todo: Steps, in_place: set[Value]) -> list[_Access]:
    """Return the operands that an op reads and writes in a step."""
    most = _bytes_of_parameters(made, op, todo)

    def access(value: Value) -> _Access:
        value = made.roots.get(value, value)
        if value in in_place or value.storage == "sparse":
            return of_data(todo.sources[made.program.inputs.index(value)])
        nbytes = made.bytes_of(value, todo.batch)
        return _Access(made.interval(value), min(nbytes, most) if is_kept(value) else nbytes)

    def is_kept(value: Value) -> bool:
        return value.storage == "parameter"

    def of_data(source: AnySource) -> _Access:
        share = min(1.0, todo.batch / source.rows)
        return _Access((f"data {id(source)}", 0, 1), share * source.nbytes, source.nbytes)

    if op.name == "add_gradient_half":
        if todo.batch < HALVES_FROM_ROWS:  # the batch was not split
            return []
        return [access(value) for value in (*op.reads()[:-1], *op.writes())]  # the last: its rows
    # A gradient that is applied immediately stays in the worker's scratch memory.
    applied = [v for v in op.writes() if op.row.updates and v.storage == "gradient"]
    found = [access(value) for value in op.reads() + op.writes() if value not in applied]
    if op.name == "gather":
        found.append(of_data(todo.sources[made.program.inputs.index(op.output)]))
    if op.row.updates:  # it also writes the state
        found += [access(value) for value in op.reads() if value.storage == "state"]
    return found


def _bytes_of_parameters(made: Plan, op: Op, todo: Steps) -> float:
    """Return how many bytes of each parameter an op reads at most: all, or rows that it picks."""
    if op.name == "embedding":
        return made.bytes_of(op.output, todo.batch)
    if op.name == "sparse_affine":
        kernel = made.roots.get(op.input(1), op.input(1))
        source = todo.sources[made.program.inputs.index(made.roots.get(op.input(0), op.input(0)))]
        assert isinstance(source, Sparse)
        entries = len(source.values) * todo.batch / source.rows
        return entries * made.bytes_of(kernel) / kernel.shape[0]
    return math.inf


def _distance(accesses: Sequence[Sequence[_Access]], position: int, access: _Access) -> float:
    """Return the bytes moved since an operand was last accessed, in this or the previous step."""
    passed: dict[Interval, float] = {}  # an interval is in a cache once
    for back in range(len(accesses)):
        for other in accesses[position - back]:
            passed[other.interval] = max(other.nbytes, passed.get(other.interval, 0.0))
        before = accesses[position - back - 1]
        if any(intersect(access.interval, other.interval) for other in before):
            break
    return access.data_bytes + sum(passed.values())


__all__ = ["OpProfile", "Profile", "profile"]
