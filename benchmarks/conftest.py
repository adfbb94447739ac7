"""Benchmarks of fastnn against well-written NumPy, with pytest-benchmark.

Every cell is two tests, one for each side, in one group per row (a histogram draws 50 boxes at
most). The fastnn side also records the ratio, measured as described in `timing.py`, in its
extra_info, which `report.py` reads.
FASTNN_BENCH_QUICK=1 selects the smallest sizes and few pairs.
"""

import sys
from pathlib import Path

# The modules next to this file import each other; the root stays off the path, where the
# uncompiled ./fastnn would shadow the installed one.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
import timing

import fastnn


@pytest.fixture
def timed(benchmark):
    """Compare one side of a cell, then time it."""

    def run(side, fastnn_side, numpy_side, same, *, group, cell, rounds=10, pairs=timing.PAIRS):
        same(fastnn_side(), numpy_side())
        benchmark.group = group
        benchmark.extra_info.update(cell, side=side)
        if benchmark.disabled:
            return
        if side == "fastnn":
            benchmark.extra_info.update(timing.paired(fastnn_side, numpy_side, pairs))
        function = fastnn_side if side == "fastnn" else numpy_side
        timing.wait_until_quiet()
        calls, _ = timing.calls_of(function)
        benchmark.pedantic(function, rounds=rounds, iterations=calls, warmup_rounds=1)

    return run


def _blas():
    """Return the library that NumPy multiplies with, and its number of threads."""
    build = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = {"name": build["name"], "version": build["version"], "threads": None, "isa": None}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return facts
    np.ones((2, 2)) @ np.ones((2, 2))
    for pool in threadpool_info():
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]:
            facts["threads"], facts["isa"] = pool["num_threads"], pool.get("architecture")
    return facts


def pytest_benchmark_update_machine_info(config, machine_info):
    """Record what ran, for the report to print."""
    machine_info["fastnn"] = fastnn.show_config("dict")
    machine_info["numpy"] = {"version": np.__version__, "blas": _blas()}
