"""Where the time of a step goes, op by op, and how near each op comes to what the machine can do.

The engine reads the clock behind each op of worker 0; the rest is arithmetic on the plan.

Where an operand comes from. Between two touches of the same memory the ops in between move so
many bytes through the caches; the first level that holds those still holds the operand. So a
kernel that is read once a step comes from far away where the whole step is large, and the output
of the op before from nearby. Considered and dropped: the level that holds the op's own operands.
It takes the parameters of a wide network at a small batch for near ones, and half of memory's
speed for a fifth of L2's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn import data
from fastnn.analysis import machine_limits
from fastnn.analysis.machine_limits import Limits
from fastnn.core import checks, threads
from fastnn.data import AnySource, Source
from fastnn.program.ops import Op, Value
from fastnn.program.plan import Interval, Plan, intersect
from fastnn.runtime import ROWS, Bound, Purpose, Runtime, Steps, team
from fastnn.training.nonfinite import NonFiniteLossError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Model

SLICES = 20  # a median of so many means, where there are steps enough


@dataclass(frozen=True)
class OpProfile:
    """What one op does in a step.

    Attributes
    ----------
    layer : str
        The layer that it came from; "" for an op of no layer.
    kind : str
        A row of `fastnn.program.ops.OPS`.
    what : str
        The same with what was fused into it.
    microseconds : float
        A step, barrier included; the median.
    share : float
        Of the step.
    gflops : float
        GFLOP/s; a multiply-add counts as two.
    gigabytes : float
        GB/s that its operands are read and written with.
    limit : str
        What binds it on this machine: "arithmetic", or the level of memory, "L1", "L2", "memory",
        that most of its time would go to.
    of_limit : float
        The share of that limit that it reaches.
    """

    layer: str
    kind: str
    what: str
    microseconds: float
    share: float
    gflops: float
    gigabytes: float
    limit: str
    of_limit: float


@dataclass(repr=False)
class Profile:
    """Where the time of a step goes; what `Model.profile` returns.

    Attributes
    ----------
    rows : list of OpProfile
        In the order in which they run.
    program : {"train", "predict"}
    dtype : {"float32", "float64"}
    batch_size, workers, steps : int
        What was run.
    limits : Limits
        What the ops are compared with.

    Examples
    --------
    >>> import contextlib, io
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> with contextlib.redirect_stdout(io.StringIO()):
    ...     profile = model.profile(x)
    >>> [row.kind for row in profile.rows]
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
        """Of a step."""
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
        return "\n".join(lines)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the time of each op and its limit; needs the extra ``fastnn[plot]``.

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
            matplotlib is missing.

        Examples
        --------
        >>> model.profile(x, y).plot()  # doctest: +SKIP
        """
        from fastnn import plots

        return plots.profile(self, ax=ax)


def profile(model: Model, x: object, y: object, *, steps: int, batch_size: int | None) -> Profile:
    """Time the ops of a model's program; see `Model.profile`."""
    steps = checks.integer("steps", steps)
    optimizer = model.optimizer
    makes_steps = optimizer is None or optimizer.kernel
    trained = Purpose.TRAIN if makes_steps else Purpose.GRADIENTS
    purpose = Purpose.PREDICT if y is None else trained
    if batch_size is None:
        batch_size = ROWS if y is None else 32
    batch_size = checks.integer("batch_size", batch_size)
    target_types: tuple[str, ...] = ("real",)
    if y is None:
        sources = model._checked_inputs(x)
    else:
        sources, target_types = model.training_data(x, y)
    rows = sources[0].rows
    data.not_empty(rows)
    batch = min(batch_size, rows)
    found = machine_limits.current()
    runtime = model.runtime
    bound = runtime.bound(purpose, batch, target_types, Steps(sources, rows, batch).sparse)
    if y is None:
        todo = Steps(sources, rows // batch * batch, batch)
    else:  # rows from all over, as fit takes them
        order = np.random.default_rng(0).permutation(rows)
        todo = Steps(sources, steps * batch, batch, np.resize(order, steps * batch))
    if bound.plan.has_python:
        raise ValueError(
            "profile times native ops, and a layer, activation or loss of this model runs in Python"
        )
    workers = threads.workers_for(bound.plan.work(batch))
    seconds = _seconds(runtime, bound, todo, steps, workers)
    return Profile(
        _rows(bound.plan, todo, seconds, found, workers),
        purpose.value,
        model.dtype,
        batch,
        workers,
        steps,
        found,
    )


# --- time -------------------------------------------------------------------------------------


def _seconds(runtime: Runtime, bound: Bound, todo: Steps, steps: int, workers: int) -> np.ndarray:
    """Run steps and return the median time of each call; the model is as before afterwards.

    The learning rate is 0, so that no step depends on how many there are.
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
    kept = {name: arena.copy() for name, arena in runtime.arenas.items()}
    updates = runtime.step
    run = bound.prepare(todo, results=results, outputs=outputs, learning_rates=rates)
    try:
        for number in range(-1, slices):  # one more, to warm up
            first = max(number, 0) * count % (todo.count - count + 1)
            timed = seconds[number] if number >= 0 else None
            done = run.make(first, count, workers=workers, seconds=timed)
            if done < count:
                raise NonFiniteLossError(
                    f"the loss is {results[first + done, 0]:g}, and nothing is known of the time "
                    "of such a step; the model is as it was"
                )
    finally:
        for name, arena in kept.items():
            runtime.arenas[name][...] = arena
        runtime.step = updates
    return np.median(seconds / count, axis=0)


# --- limits -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Access:
    """What an op reads or writes: where, and how many bytes of it in a step."""

    interval: Interval
    nbytes: float
    data_bytes: float = 0.0  # of all rows, if it is the user's data


def _rows(
    made: Plan, todo: Steps, seconds: np.ndarray, found: Limits, workers: int
) -> list[OpProfile]:
    """Put time, work, bytes and limits of each op together."""
    in_place = {
        value
        for source, value in zip(todo.sources, made.program.inputs, strict=True)
        if todo.order is None
        and isinstance(source, Source)
        and source.is_native(made.dtype, value.dtype)
    }
    running = [
        (op, time)
        for op, time in zip((op for op in made.program.ops if op.row.kernel), seconds, strict=True)
        if not (op.name == "gather" and op.output in in_place)
    ]
    accesses = [_accesses(made, op, todo, in_place) for op, _ in running]
    whole = float(sum(time for _, time in running))
    rows = []
    for position, (op, time) in enumerate(running):
        time = max(float(time), 1e-9)  # the clock's own step
        flops = 2 * op.row.work(op) * (todo.batch if op.batched else 1)
        nbytes = sum(access.nbytes for access in accesses[position])
        least = {"arithmetic": flops / found.arithmetic_of(made.dtype, workers) / 1e9}
        for access in accesses[position]:
            distance = _distance(accesses, position, access)
            level, rate = found.bandwidth_of(distance, workers)
            least[level] = least.get(level, 0.0) + access.nbytes / rate / 1e9
        arithmetic = least.pop("arithmetic")
        memory = sum(least.values())
        limit = "arithmetic" if arithmetic >= memory else max(least, key=least.__getitem__)
        fused = op.attributes.get("activation", "linear")
        rows.append(
            OpProfile(
                layer=op.layer,
                kind=op.name,
                what=op.name if fused == "linear" else f"{op.name}[{fused}]",
                microseconds=1e6 * time,
                share=time / whole,
                gflops=flops / time / 1e9,
                gigabytes=nbytes / time / 1e9,
                limit=limit,
                of_limit=max(arithmetic, memory) / time,
            )
        )
    return rows


def _accesses(made: Plan, op: Op, todo: Steps, in_place: set[Value]) -> list[_Access]:
    """Return what an op reads and writes in a step."""

    def access(value: Value) -> _Access:
        value = made.roots.get(value, value)
        if value in in_place or value.storage == "sparse":
            return of_data(todo.sources[made.program.inputs.index(value)])
        return _Access(made.interval(value), made.bytes_of(value, todo.batch))

    def of_data(source: AnySource) -> _Access:
        share = min(1.0, todo.batch / source.rows)
        return _Access((f"data {id(source)}", 0, 1), share * source.nbytes, source.nbytes)

    # A gradient that is applied at once stays in the worker's scratch.
    applied = [v for v in op.writes() if op.row.updates and v.storage == "gradient"]
    found = [access(value) for value in op.reads() + op.writes() if value not in applied]
    if op.name == "gather":
        found.append(of_data(todo.sources[made.program.inputs.index(op.output)]))
    if op.row.updates:  # it writes the state, too
        found += [access(value) for value in op.reads() if value.storage == "state"]
    return found


def _distance(accesses: Sequence[Sequence[_Access]], position: int, access: _Access) -> float:
    """Return the bytes that went by since an operand was touched, in this step or the last."""
    distance = access.data_bytes
    for back in range(len(accesses)):
        distance += sum(other.nbytes for other in accesses[position - back])
        before = accesses[position - back - 1]
        if any(intersect(access.interval, other.interval) for other in before):
            break
    return distance


__all__ = ["OpProfile", "Profile", "profile"]
