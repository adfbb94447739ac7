"""The limits of this machine that profiles are compared with: multiply-adds, bytes, barriers.

They are measured once, natively, in less than a second, and stored in a file in the user's cache
folder. If that file cannot be written, they are measured again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.core import files, threads
from fastnn.native import engine, kernels
from fastnn.runtime import aligned

# What arithmetic is measured in, with the dtype and precision of the arrays.
ARITHMETIC = {
    "float32": ("float32", "as given"),
    "float64": ("float64", "as given"),
    "bfloat16": ("float32", "bfloat16"),
}
MEASURING_SECONDS = 0.4  # per team; one that was idle takes about 0.1 s to spread over the cores
BURST_SECONDS = 0.005  # of samples of one kind
# Elements per worker: a multiple of CHAINS vectors (src_c/limits.c) on every ISA, because any
# remaining elements are processed one at a time.
WHOLE_CHAINS = 960
SAMPLE_WORK = 1e7  # multiply-adds of a sample in registers: about 0.1 ms
SAMPLE_BYTES = 16e6  # minimum number of bytes of one worker's arrays that a sample processes
MEMORY_BYTES = 32 << 20  # size of one worker's arrays that does not fit in any of its caches
# The cache levels of a worker if the system does not report them.
DEFAULT_LEVELS = {"L1": 32 << 10, "L2": 1 << 20}


@dataclass(frozen=True, repr=False)
class Limits:
    """The peak performance of a machine, on one worker and on all.

    Attributes
    ----------
    processor, isa, version : str
        Processor and ISA of the machine, and version of fastnn.
    threads : int
        Number of all workers.
    arithmetic : dict of str to tuple of float
        For each dtype, and for "bfloat16" whose products are summed in float32, GFLOP/s on one
        worker and on all; a multiply-add counts as two.
    levels : dict of str to int
        Size in bytes of each cache level that a worker has to itself, nearest first.
    bandwidth : dict of str to tuple of float
        For each level, and for the "memory" beyond them, GB/s read and written, on one worker and
        on all.
    barrier : float
        Seconds that a barrier of all workers takes.

    Examples
    --------
    >>> limits = Limits("a processor", "v3", "0.1.0", 2, {"float32": (100.0, 180.0)},
    ...                 {"L1": 32768}, {"L1": (200.0, 400.0), "memory": (20.0, 30.0)}, 2e-7)
    >>> limits.arithmetic_of("float32", workers=2)
    180.0
    >>> limits.bandwidth_of(100_000, workers=1)
    ('memory', 20.0)
    """

    processor: str
    isa: str
    version: str
    threads: int
    arithmetic: dict[str, tuple[float, float]]
    levels: dict[str, int]
    bandwidth: dict[str, tuple[float, float]]
    barrier: float

    def arithmetic_of(self, dtype: str, workers: int) -> float:
        """Return the GFLOP/s of a team."""
        return _of_team(*self.arithmetic[dtype], workers)

    def bandwidth_of(self, nbytes: float, workers: int) -> tuple[str, float]:
        """Return the level that holds `nbytes`, shared by a team, and its GB/s."""
        fitting = (name for name, size in self.levels.items() if nbytes / workers <= size)
        level = next(fitting, "memory")
        return level, _of_team(*self.bandwidth[level], workers)

    def __repr__(self) -> str:
        team = f"{self.threads} worker" + "s" * (self.threads > 1)
        rates = ", ".join(
            f"{dtype} {every:.1f} GFLOP/s" for dtype, (_, every) in self.arithmetic.items()
        )
        return f"<Limits of {self.processor}, ISA {self.isa}, {team}: {rates}>"

    def __str__(self) -> str:
        teams = ["1 worker"] + [f"{self.threads} workers"] * (self.threads > 1)
        lines = [
            f"processor  {self.processor}",
            f"fastnn     {self.version}, ISA {self.isa}",
            "",
            f"{'':22}" + "".join(f"{team:>12}" for team in teams),
        ]

        def add(what: str, numbers: tuple[float, float], unit: str) -> None:
            shown = "".join(f"{number:12.1f}" for number in numbers[: len(teams)])
            lines.append(f"{what:22}{shown}  {unit}")

        for dtype, rates in self.arithmetic.items():
            add(f"{dtype} multiply-adds", rates, "GFLOP/s")
        for level, rates in self.bandwidth.items():
            size = f", {self.levels[level] >> 10} KiB" if level in self.levels else ""
            add(level + size, rates, "GB/s")
        add("barrier", (0.0, 1e9 * self.barrier), "ns")
        return "\n".join(lines)


def _of_team(one: float, every: float, workers: int) -> float:
    return min(one * workers, max(one, every))


# --- measuring --------------------------------------------------------------------------------


def measure() -> Limits:
    """Measure the limits of this machine, in less than a second.

    Returns
    -------
    Limits

    Notes
    -----
    Each number is the best of many short samples, taken in turn, because other programs may use
    the machine, too. Arithmetic is measured with chains of multiply-adds in registers; bandwidth
    with ``y = y * factor + x`` over arrays that together fill half of a level, counted as three
    streams of bytes.

    Examples
    --------
    >>> from fastnn.analysis import machine_limits
    >>> machine_limits.measure().arithmetic["float32"][0] > 0.1
    True
    """
    all_threads, levels = threads.get_num_threads(), _levels()
    sizes = {name: size // 2 for name, size in levels.items()}
    sizes["memory"] = max([MEMORY_BYTES, *(4 * size for size in levels.values())])
    rates, barriers = {}, {}
    for workers in sorted({1, all_threads}):
        rates[workers], barriers[workers] = _measure_team(workers, sizes)

    def of_teams(name: str) -> tuple[float, float]:
        return rates[1][name], rates[all_threads][name]

    return Limits(
        **_machine(),
        arithmetic={name: of_teams(name) for name in ARITHMETIC},
        levels=levels,
        bandwidth={level: of_teams(level) for level in sizes},
        barrier=barriers[all_threads],
    )


def _measure_team(workers: int, sizes: dict[str, int]) -> tuple[dict[str, float], float]:
    """Return GFLOP/s per dtype and GB/s per level of a team, and the seconds of its barrier."""
    samples = {name: _arithmetic_sample(name, workers) for name in ARITHMETIC}
    samples |= {level: _bandwidth_sample(size, workers) for level, size in sizes.items()}
    least = dict.fromkeys(samples, math.inf)
    barrier = math.inf
    end = time.perf_counter() + MEASURING_SECONDS
    while time.perf_counter() < end:
        for name, (_, run) in samples.items():
            least[name] = min(least[name], _least_seconds(run))
        barrier = min(barrier, *(engine.barrier_seconds(workers, 100) for _ in range(9)))
    return {name: amount / least[name] / 1e9 for name, (amount, _) in samples.items()}, barrier


def _least_seconds(run: Callable[[], object]) -> float:
    """Return the shortest time of a sample within one burst."""
    least, now = math.inf, time.perf_counter()
    end = now + BURST_SECONDS
    while now < end:
        began = now
        run()
        now = time.perf_counter()
        least = min(least, now - began)
    return least


def _arithmetic_sample(name: str, workers: int) -> tuple[float, Callable[[], object]]:
    """Return the operations of a sample, and the sample."""
    dtype, precision = ARITHMETIC[name]
    x = aligned((1, WHOLE_CHAINS * workers), dtype)
    times = int(SAMPLE_WORK / (x.size / workers))
    # The numbers stay about 1, because denormals and infinities may take longer.
    x[...] = 1
    run = functools.partial(
        kernels.multiply_add,
        x,
        times=times,
        factor=0.5,
        addend=0.5,
        out=np.empty_like(x),
        precision=precision,
        workers=workers,
    )
    each = 4.0 if precision == "bfloat16" else 2.0  # a pair of multiply-adds
    return each * x.size * times, run


def _bandwidth_sample(size: int, workers: int) -> tuple[float, Callable[[], object]]:
    """Return the bytes of a sample on arrays of `size` bytes per worker, and the sample."""
    x, y = (aligned((1, size * workers // 8), "float32") for _ in range(2))
    x[...], y[...] = 1, 2
    times = max(1, int(SAMPLE_BYTES / size))
    run = functools.partial(kernels.stream, x, y, times=times, factor=0.5, workers=workers)
    return 3.0 * x.nbytes * times, run


def _levels() -> dict[str, int]:
    """Return the sizes of a processor's caches that it does not share with another core."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            cache_type, level, size = (
                (folder / name).read_text().strip() for name in ("type", "level", "size")
            )
            if cache_type in ("Data", "Unified") and level in ("1", "2") and size.endswith("K"):
                found[f"L{level}"] = int(size[:-1]) << 10
        except (OSError, ValueError):
            continue
    return found if list(found) == list(DEFAULT_LEVELS) else dict(DEFAULT_LEVELS)


# --- storage ----------------------------------------------------------------------------------


def folder() -> Path:
    """Return the folder of limits: "fastnn" in ``XDG_CACHE_HOME``, else in ``~/.cache``.

    Raises
    ------
    OSError
        The user has no home directory.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = Path.home() / ".cache"
        except RuntimeError as error:
            raise FileNotFoundError(str(error)) from None
    return cache / "fastnn"


def path() -> Path:
    """Return the path of the file that limits are stored in."""
    return folder() / "limits.json"


def _machine() -> dict:
    """Return the facts that limits depend on."""
    return {
        "processor": threads.processor_name(),
        "isa": engine.ISA,
        "version": engine.VERSION,
        "threads": threads.get_num_threads(),
    }


def load() -> Limits | None:
    """Return the limits stored for this processor, ISA, version and number of threads, or None.

    Examples
    --------
    >>> from fastnn.analysis import machine_limits
    >>> kept = machine_limits.load()
    >>> kept is None or kept.threads >= 1
    True
    """
    try:
        kept: dict[str, Any] = {name: _tuples(v) for name, v in _kept()[_key()].items()}
        limits = Limits(**kept)
        rates = [*limits.arithmetic.values(), *limits.bandwidth.values()]
        is_whole = set(ARITHMETIC) <= set(limits.arithmetic)
        is_whole &= set(limits.bandwidth) == {*limits.levels, "memory"}
        is_whole &= all(one > 0 and every > 0 for one, every in rates)
        return limits if is_whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # missing, or written by something else


def _key() -> str:
    return " | ".join(f"{name} {value}" for name, value in _machine().items())


def _kept() -> dict:
    """Return the limits of all processors that are in the file."""
    found = json.loads(path().read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("not a file of limits")
    return found


def _tuples(value: object) -> object:
    """Convert the lists of a table back to tuples, because JSON has only lists."""
    if not isinstance(value, dict):
        return value
    return {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}


def save(limits: Limits) -> Path:
    """Store limits for `load`, together with those of other processors.

    Parameters
    ----------
    limits : Limits

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    try:
        kept = _kept()
    except (OSError, ValueError):
        kept = {}
    kept[_key()] = asdict(limits)
    folder().mkdir(parents=True, exist_ok=True)
    try:
        files.write_atomically(path(), (json.dumps(kept, indent=1) + "\n").encode())
    except ValueError as error:  # a folder of that name
        raise OSError(str(error)) from None
    return path()


def current() -> Limits:
    """Return the limits of this machine: stored ones, or measured now and stored if possible.

    Returns
    -------
    Limits

    Examples
    --------
    >>> from fastnn.analysis import machine_limits
    >>> sorted(machine_limits.current().bandwidth)
    ['L1', 'L2', 'memory']
    """
    found = load()
    if found is None:
        found = measure()
        with contextlib.suppress(OSError):  # measured again next time
            save(found)
    return found
