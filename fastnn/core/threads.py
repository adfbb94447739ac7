"""The number of threads, and the configuration that this build runs with."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from fastnn.core import notices, processors
from fastnn.core.interruption import Result, with_value
from fastnn.native import engine

# A team is certainly worth its barriers if each worker has this much arithmetic in a step, about
# 25 microseconds. From a quarter of that on, it may be, if steps follow one another.
WORK_PER_WORKER = 1_500_000  # multiply-adds
MAYBE = 0.25
SURELY = 16.0

MOST_THREADS = max(256, os.cpu_count() or 1)

_threads: int | None = None
_most: ContextVar[int] = ContextVar("the most workers in this context", default=MOST_THREADS)
_busy: dict[object, int] = {}  # one for each training, with its thread


@functools.cache
def _from_environment() -> int | None:
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            if text.isdecimal() and int(text) > 0:
                return min(int(text), MOST_THREADS)
            warnings.warn(f"{name}={text!r} is ignored: expected a positive integer")
    return None


def _default_threads() -> int:
    return _from_environment() or min(processors.available(), MOST_THREADS)


def set_num_threads(threads: int | None) -> None:
    """Set the maximum number of workers that a step may use.

    A network whose step is too small to be shared uses fewer, and trainings in several threads
    share the number among them. Results do not depend on it.

    Parameters
    ----------
    threads : int or None
        At least 1. None restores the default: ``FASTNN_NUM_THREADS``, else ``OMP_NUM_THREADS``,
        else the number of processors that this process may use (affinity and container quota).

    Raises
    ------
    TypeError, ValueError
        `threads` is not a positive integer.

    Warns
    -----
    RuntimeWarning
        `threads` is more than 1 in a forked child, where it has no effect: one worker does
        everything there, because OpenMP's threads have remained in the parent. A process that is
        started anew ("spawn" and "forkserver" of `multiprocessing`) has all of them.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.set_num_threads(1)
    >>> fnn.get_num_threads()
    1
    >>> fnn.set_num_threads(None)
    """
    global _threads
    if threads is not None:
        if isinstance(threads, bool) or not hasattr(threads, "__index__"):
            raise TypeError(f"threads must be an integer or None, got {threads!r}")
        threads = threads.__index__()
        if not 1 <= threads <= MOST_THREADS:
            raise ValueError(f"threads must lie in [1, {MOST_THREADS}], got {threads}")
        if threads > 1 and engine.forks():
            notices.warn(
                f"set_num_threads({threads}) has no effect in a forked child, where one worker "
                "does everything: OpenMP's threads have remained in the parent. Start the process "
                'anew instead (the methods "spawn" and "forkserver" of multiprocessing)',
                RuntimeWarning,
            )
    _threads = threads
    engine.try_threads_again()


def get_num_threads() -> int:
    """Return the maximum number of workers that a step of this thread may use.

    Returns
    -------
    int
        The number of `set_num_threads`, or the default, whose affinity is read each time. Less
        where OpenMP was told so for this thread (``omp_set_num_threads``, or the package
        threadpoolctl). 1 in a build without OpenMP, in a forked child, and after a thread could
        not be started.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.get_num_threads() >= 1
    True
    """
    if not engine.can_open_a_team():
        return 1
    return min(_allowed(), _most.get())


def _allowed() -> int:
    chosen = _threads if _threads is not None else _default_threads()
    told = engine.openmp_threads()
    return chosen if told is None else min(chosen, told or MOST_THREADS)


def busy(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function and count this thread among those that train: they share the processors.

    No context manager, and nothing in Python before the use is taken off: Ctrl-C could come in
    between, and others would have less than their share for good.
    """
    use = object()
    try:
        _busy[use] = threading.get_ident()
        return function(*arguments)
    finally:
        _busy.pop(use, None)


def settings() -> tuple[object, ...]:
    """Return what `share` depends on, except the processors that the system allows.

    To ask the system takes a microsecond: where calls are as short as that, it is asked again only
    if one of these has changed, or after a few calls.
    """
    told = engine.openmp_threads()
    return _threads, _most.get(), told, engine.can_open_a_team(), len(_busy)


def share() -> int:
    """Return the maximum number of workers for a step of this thread, beside those that train.

    Returns
    -------
    int
        `get_num_threads` where no other thread trains, otherwise an equal part of it, at least 1.
    """
    if not _busy:  # as usual for a prediction, which may take microseconds
        return get_num_threads()
    me, training = threading.get_ident(), tuple(_busy.values())
    others = {thread for thread in training if thread != me} if training else None
    if not others:
        return get_num_threads()
    return max(1, min(get_num_threads(), _allowed() // (1 + len(others))))


def at_most(workers: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function whose teams are limited, while other threads keep theirs.

    Parameters
    ----------
    workers : int
        A larger number than that of an outer limit leaves it as it is.
    function : callable
    *arguments
        Passed to it.

    Examples
    --------
    >>> at_most(1, get_num_threads)
    1
    """
    return with_value(_most, min(workers, _most.get()), function, *arguments)


def is_worth_a_team(work: float) -> bool:
    """Whether more than one worker pays off for a single step of `work` multiply-adds."""
    return work >= 2 * WORK_PER_WORKER


def workers_for(work: float) -> int:
    """Return the team size for a single step of `work` multiply-adds."""
    if not is_worth_a_team(work):
        return 1
    return min(share(), int(work // WORK_PER_WORKER))


def team_sizes(work: float, limit: int) -> list[int]:
    """Return the team sizes to try for many steps of `work` multiply-adds, smallest first."""
    if work >= SURELY * limit * WORK_PER_WORKER:
        return [limit]
    sizes = {min(2**power, limit) for power in range(limit.bit_length() + 1)}
    return sorted(size for size in sizes if size == 1 or work >= MAYBE * size * WORK_PER_WORKER)


def processor_name() -> str:
    """Return the processor's name as reported by the system."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform  # here, because `import fastnn` should be quick

    return platform.processor() or platform.machine()


def show_config(mode: str = "stdout") -> dict[str, object] | None:
    """Show version, processor, ISA, threads and compiler of this build.

    Parameters
    ----------
    mode : {"stdout", "dict"}, default "stdout"
        Print, or return the same as a dict.

    Returns
    -------
    dict or None

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.show_config()  # doctest: +ELLIPSIS
    fastnn     ...
    >>> fnn.show_config("dict")["threads"] >= 1
    True
    """
    if mode not in ("stdout", "dict"):
        raise ValueError(f"mode must be 'stdout' or 'dict', got {mode!r}")
    facts: dict[str, object] = {
        "version": engine.VERSION,
        "processor": processor_name(),
        "isa": engine.ISA,
        "isas": engine.supported_isas(),
        "lanes": dict(engine.LANES),
        "bfloat16": engine.HAS_BFLOAT16,
        "openmp": engine.HAS_OPENMP,
        "threads": get_num_threads(),
        "compiler": engine.COMPILER,
    }
    if mode == "dict":
        return facts
    openmp = "yes" if engine.HAS_OPENMP else "no: everything works on one worker"
    lanes = ", ".join(f"{count} {dtype}" for dtype, count in engine.LANES.items())
    print(f"fastnn     {engine.VERSION}")
    print(f"processor  {facts['processor']}")
    print(f"ISA        {engine.ISA} (of {', '.join(engine.supported_isas())}; FASTNN_ISA selects)")
    print(f"vector     {lanes}")
    print(f"bfloat16   {'yes' if engine.HAS_BFLOAT16 else 'emulated'}")
    print(f"OpenMP     {openmp}")
    print(f"threads    {facts['threads']}")
    print(f"compiler   {engine.COMPILER}")
    return None
