"""The gradient of a mean or sum over many rows, computed from a part of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastnn.data import Steps
from fastnn.runtime.bound import Bound


def sum_gradients(
    bound: Bound,
    steps: Steps,
    total: np.ndarray,
    after: Callable[[float], None] = lambda seconds: None,
    *,
    outputs: dict[str, np.ndarray] | None = None,
    is_mean: bool = True,
) -> np.ndarray:
    """Compute the gradient of the mean loss over all rows, using the program's gradient arena.

    Parameters
    ----------
    bound : Bound
        A program that computes gradients, such as "gradients".
    steps : Steps
    total : ndarray of float64
        Receives the gradient, laid out like the arena.
    after : callable, optional
        Called after each step with its duration in seconds.
    outputs : dict of str to ndarray, optional
        Arrays of all rows that receive the program's outputs.
    is_mean : bool, default True
        Whether what is differentiated is a mean over the rows, otherwise a sum.

    Returns
    -------
    ndarray of float64, shape (steps, results)
        The results of each step.
    """
    arena = bound.arenas["gradients"]
    results = np.empty((steps.count, len(bound.plan.program.results)))
    total[...] = 0
    team = bound.team(steps.batch)
    run = bound.prepare(steps, results=results, outputs=outputs)
    for step, rows in enumerate(steps.rows_of(steps.count)):
        began = time.perf_counter()
        _, workers = team.next(1)
        run.make(step, workers=workers)
        if rows == steps.batch:
            team.record(1, workers, time.perf_counter() - began)
        part = rows / steps.rows if is_mean else 1.0
        total += np.multiply(arena, part, dtype=np.float64)
        after(time.perf_counter() - began)
    return results
