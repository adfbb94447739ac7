"""The gradient of the mean loss over many rows, computed from a part of them at a time."""

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
    """Compute the gradient of the mean loss over all rows, using the gradient arena.

    Parameters
    ----------
    runtime : Runtime
    bound : Bound
        The program "gradients".
    steps : Steps
    total : ndarray of float64
        Receives the gradient, laid out like the arena.
    after : callable, optional
        Called after each step with its duration in seconds.

    Returns
    -------
    ndarray of float64, shape (steps, results)
        The results of each step.
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
