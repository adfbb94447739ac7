"""The gradient of the mean loss of many rows, a part of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastnn.data import Steps
from fastnn.runtime.bound import Bound
from fastnn.runtime.runtime import Runtime


def sum_gradients(
    runtime: Runtime,
    bound: Bound,
    steps: Steps,
    total: np.ndarray,
    after: Callable[[float], None] = lambda seconds: None,
) -> np.ndarray:
    """Compute the gradient of the mean loss of all rows; the gradient arena is used for that.

    Parameters
    ----------
    runtime : Runtime
    bound : Bound
        The program "gradients".
    steps : Steps
    total : ndarray of float64
        Where the gradient goes, laid out as the arena.
    after : callable, optional
        Called after each step with the seconds that it took.

    Returns
    -------
    ndarray of float64, shape (steps, results)
        Of each step.
    """
    arena = runtime.arenas["gradients"]
    results = np.empty((steps.count, len(bound.plan.program.results)))
    total[...] = 0
    team, run = bound.team(steps.batch), bound.prepare(steps, results=results)
    for step, rows in enumerate(steps.rows_of(steps.count)):
        began = time.perf_counter()
        _, workers = team.next(1)
        run.make(step, workers=workers)
        if rows == steps.batch:
            team.record(1, workers, time.perf_counter() - began)
        total += np.multiply(arena, rows / steps.rows, dtype=np.float64)
        after(time.perf_counter() - began)
    return results
