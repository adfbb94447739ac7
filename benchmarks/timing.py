"""How two sides are timed against each other.

A cell's number is the median over pairs of (NumPy's time / fastnn's time): both sides of a pair
run within milliseconds of each other, so that a drift of the machine affects both, and pairs
alternate in order (AB BA AB ...), so that a steady drift cancels.

Two thread pools share the processors: OpenBLAS's workers keep spinning for about 100 ms after a
product, and libgomp's after a team, each on the processor that the other side's next team needs.
Alternating call by call would therefore measure the conflict of the pools, which does not occur in
real programs, and would penalize the side that uses more threads. Therefore:

- A side runs in a block of calls (about 2 ms, at least one call), never call by call.
- When the sides change, every other thread of the process must be asleep before the next block
  begins (`wait_until_quiet` reads their state from /proc; elsewhere it sleeps longer than either
  pool spins).
- A block begins with calls that are not timed: they wake the side's own pool and restore its
  caches and the processor's clock rate.

The processors of a virtual machine are shared: a pair during which the host took one away for a
while says nothing about either side, and it costs a team of two twice as much. Linux counts that
time (`stolen`), and such pairs are timed again, whichever side was faster.

Considered and rejected: OPENBLAS_THREAD_TIMEOUT and OMP_WAIT_POLICY=passive (there is no conflict,
but each side then pays for waking its workers, which its users do not); threads pinned to 1 (not
what either side's users run); one process per side (no pairs: the machine drifts by a factor of
1.5 within an hour).
"""

import itertools
import os
import statistics
import threading
import time
from pathlib import Path

QUICK = bool(os.environ.get("FASTNN_BENCH_QUICK"))
PAIRS = 5 if QUICK else 15
BLOCK_SECONDS = 0.0005 if QUICK else 0.002
LONG_SECONDS = 0.02
ATTEMPTS = 5  # at a pair of short blocks that the host disturbs
SPIN_SECONDS = 0.2  # longer than either pool spins, if there is no /proc to consult


def _is_running(thread):
    try:
        text = Path(f"/proc/self/task/{thread}/stat").read_text()
    except OSError:  # it has ended
        return False
    return text[text.rindex(")") + 2] == "R"


def wait_until_quiet(limit=1.0):
    """Wait until every other thread of this process sleeps.

    Parameters
    ----------
    limit : float
        Seconds to wait at most; on a busy machine a spinning thread may be kept waiting.
    """
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        time.sleep(SPIN_SECONDS)
        return
    own = str(threading.get_native_id())
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        if not any(_is_running(name) for name in os.listdir(tasks) if name != own):
            return
        time.sleep(0.001)


def stolen():
    """Return the time that the host has taken from this machine's processors so far, in ticks.

    The result is zero on systems that do not count it.
    """
    try:
        with open("/proc/stat") as lines:
            return int(lines.readline().split()[8])
    except (OSError, IndexError, ValueError):
        return 0


def undisturbed(measure, *arguments, attempts=ATTEMPTS):
    """Call `measure` until the host does not disturb it, at most `attempts` times.

    Returns
    -------
    result
        The result of the last call.
    repeats : int
        Number of calls that do not count.
    """
    repeats = 0
    while True:
        before = stolen()
        result = measure(*arguments)
        if stolen() == before or repeats == attempts - 1:
            return result, repeats
        repeats += 1


def seconds_a_call(function, calls, warm_up):
    """Return the seconds that a call takes, over a block of `calls` after `warm_up` calls."""
    for _ in itertools.repeat(None, warm_up):
        function()
    began = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        function()
    return (time.perf_counter() - began) / calls


def calls_of(function, block_seconds=BLOCK_SECONDS):
    """Return the calls of a block, and of the warm-up before it; a single long call needs none."""
    once = seconds_a_call(function, 1, 1)
    once = seconds_a_call(function, max(1, min(20, int(block_seconds / once))), 0)
    calls = max(1, int(block_seconds / once))
    return calls, 0 if once > LONG_SECONDS else 1 + calls // 4


def paired_ratios(ours, theirs):
    """Return median and quartiles of theirs / ours: "ratio", "ratio_q1", "ratio_q3"."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"ratio": median, "ratio_q1": first, "ratio_q3": third}


def paired(fastnn, numpy, pairs=PAIRS):
    """Time two functions against each other.

    Parameters
    ----------
    fastnn, numpy : callable
        Called without arguments.
    pairs : int

    Returns
    -------
    dict
        "ratio", "ratio_q1", "ratio_q3": NumPy's time over fastnn's, median and quartiles over
        the pairs; "fastnn_seconds", "numpy_seconds": medians; "pairs"; "repeats": the number of
        further pairs that were timed and do not count.
    """
    sides = (fastnn, numpy)
    calls = []
    for side in sides:
        wait_until_quiet()
        calls.append(calls_of(side))
    before = None

    def measure(order):
        nonlocal before
        times = [0.0, 0.0]
        for side in order:
            if side != before:
                wait_until_quiet()
            before = side
            times[side] = seconds_a_call(sides[side], *calls[side])
        return times

    measured, repeats = [], 0
    for pair in range(pairs):
        times, disturbed = undisturbed(measure, (0, 1) if pair % 2 == 0 else (1, 0))
        measured.append(times)
        repeats += disturbed
    seconds = tuple(zip(*measured, strict=True))
    return {
        **paired_ratios(*seconds),
        "fastnn_seconds": statistics.median(seconds[0]),
        "numpy_seconds": statistics.median(seconds[1]),
        "pairs": pairs,
        "repeats": repeats,
    }
