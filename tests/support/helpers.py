"""Checkers that the tests share; test_helpers.py gives each of them a wrong answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from fastnn.data import Source
from fastnn.data.sparse import made_native
from fastnn.native.engine import Addresses, Executor
from fastnn.program.lower import Program
from fastnn.program.plan import Plan, check, plan
from fastnn.runtime import aligned

DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def assert_close(got: Any, want: Any, tolerance: float, where: object = "") -> None:
    """Fail unless shapes are equal and |got - want| <= tolerance * (1 + |want|) everywhere.

    NaN and infinities must be at the same positions.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{where}: shape {got.shape}, expected {want.shape}"
    np.testing.assert_allclose(
        got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance,
        err_msg=str(where),
    )  # fmt: skip


def assert_same_bits(got: Any, want: Any, where: object = "") -> None:
    """Fail unless dtype, shape and every bit are the same."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape), f"{where}: {got.dtype}{got.shape}"
    differ = got.tobytes() != want.tobytes()
    assert not differ, f"{where}: bits differ\n{got}\n{want}"


def as_tuple(results: Any) -> tuple:
    """Return the outputs of a kernel, without those that were not requested."""
    results = results if isinstance(results, tuple) else (results,)
    return tuple(result for result in results if result is not None)


def ulp_error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the distance of `got` from `exact`, of a wider dtype, in `got`'s units in last place.

    An infinity counts as the next number after the largest; a NaN that is not expected, or is
    missing, counts as an infinite error.
    """
    kind, limits = exact.dtype.type, np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        beyond = kind(2) ** limits.maxexp
        wide = np.clip(got.astype(kind), -beyond, beyond)
        near = np.clip(exact, -beyond, beyond)
        size = np.clip(np.abs(exact), kind(limits.smallest_normal), beyond / 2)
        unit = np.spacing(size.astype(got.dtype)).astype(kind)
        error = np.abs(wide - near) / unit
    both = np.isnan(got) & np.isnan(exact)
    return np.where(both, 0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)


def assert_ulp(x: np.ndarray, got: np.ndarray, exact: np.ndarray, limit: float) -> None:
    """Fail unless every error is at most `limit` units in the last place."""
    error = ulp_error(got, exact)
    worst = np.argmax(error)
    assert error[worst] <= limit, (
        f"f({x[worst]!r}) = {got[worst]!r}, exactly {exact[worst]!r}: {error[worst]:.3g} ULP"
    )


def numeric_gradient(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Return central differences of f at x, which is changed in place and restored."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        step = 1e-5 * max(1.0, abs(kept))
        x[i] = kept + step
        above = f(x)
        x[i] = kept - step
        below = f(x)
        x[i] = kept
        gradient[i] = (above - below) / (2 * step)
    return gradient


def run_native(
    program: Program,
    batch: Sequence[np.ndarray],
    arenas: dict[str, np.ndarray],
    offsets: dict[str, int],
    *,
    dtype: str = "float64",
    workers: int = 1,
    learning_rate: float = 0.0,
    step: int = 1,
    key: int = 0,
) -> list[np.ndarray]:
    """Plan, check and run a program of one batch; return its outputs, then its results.

    The arenas are changed in place.
    """
    rows = len(batch[0]) if batch else 1
    made = plan(program, dtype, rows, offsets)
    check(made)
    check_barriers(made)
    workspace = aligned(made.workspace_bytes, "uint8")
    workspace[:] = 0xFF  # NaN, so that reading before writing is noticed
    numbers, count = made.externals, len(program.inputs)
    executor = Executor(
        made.calls(), dtype, {**arenas, "workspace": workspace}, numbers.total, count
    )
    addresses = Addresses(executor)
    results = np.full(max(len(program.results), 1), np.nan)
    arrays = [np.ascontiguousarray(array).reshape(rows, -1) for array in batch]
    for i, (array, value) in enumerate(zip(arrays, program.inputs, strict=True)):
        if value.storage == "sparse":
            matrix = made_native(csr_array(array), dtype)
            addresses.put(numbers.sources[i], matrix.indptr, 8)
            addresses.put(numbers.entries[i], matrix.entries)
            continue
        source = Source(array)
        addresses.gather(i, source.number, source.stride)
        addresses.put(numbers.sources[i], array, source.stride)
        if value in made.places:
            addresses.put(numbers.batches[i], workspace, 0, 0, made.places[value][0])
    arrays_of = {
        value: np.full((rows, *value.shape), np.nan, dtype)
        for value in program.outputs if value.storage == "output"
    }  # fmt: skip
    for value, array in arrays_of.items():
        addresses.put(numbers.outputs[value.name], array, array[0].nbytes)
    for i, place in enumerate(numbers.results.values()):
        addresses.put(place, results[i:])
    executor.run(
        addresses, batch=rows, total_rows=rows, learning_rates=np.array([learning_rate]),
        first_number=step, key=key, workers=workers,
        scheduled=made.scheduled(step, 1) if made.schedules else None,
    )  # fmt: skip
    outputs = [
        arrays_of[value] if value in arrays_of else _view(made, workspace, value).copy()
        for value in program.outputs
    ]
    return [*outputs, *results[: len(program.results)]]


def _view(made: Plan, workspace: np.ndarray, value: Any) -> np.ndarray:
    offset, size = made.places[value]
    dtype = {"real": made.dtype, "label": "int32", "double": "float64"}[value.dtype]
    lead = (-1,) if value.batched else ()
    return workspace[offset : offset + size].view(dtype).reshape(*lead, *value.shape)


def accesses(made: Plan, op: Any) -> tuple[list, list]:
    """The memory that an op reads and writes, as (space, first byte, end)."""
    reads = [made.interval(value) for value in op.reads()]
    writes = [made.interval(value) for value in op.writes()]
    if op.row.updates:
        writes += [made.interval(value) for value in op.reads() if value.storage == "state"]
    return reads, writes


def check_barriers(made: Plan) -> None:
    """Fail unless the team meets between any two ops that conflict; it examines all pairs."""

    def meet(one: list, other: list) -> bool:
        return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in one for b in other)

    running = [(i, op, *accesses(made, op)) for i, op in enumerate(made.program.ops)
               if op.row.kernel]  # fmt: skip
    kept = {i for i, op, _, _ in running if made.barriers[i]}
    for n, (i, op, reads, writes) in enumerate(running):
        for j, later, later_reads, later_writes in running[n + 1 :]:
            conflict = meet(writes, later_reads + later_writes) or meet(reads, later_writes)
            assert not conflict or any(k in kept for k in range(i, j)), (
                f"no barrier between op {i} ({op.name}) and op {j} ({later.name})"
            )
        if made.program.purpose.checks_loss and op.attributes.get("checked"):
            assert i in kept, "no barrier after the loss, which every worker reads"
    assert not running or running[-1][0] in kept, "no barrier after the last op"
