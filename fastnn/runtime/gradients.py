"""Gradients of a mean or sum over many rows, computed from a part of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastnn.data import Steps
from fastnn.program.purpose import WRT, Wrt
from fastnn.runtime.bound import Bound
from fastnn.runtime.runtime import Runtime

T = TypeVar("T")
Found = dict[Wrt, Any]


def computed(runtime: Runtime, bound: Bound, steps: Steps, wanted: Wrt, *, is_mean: bool) -> Found:
    """Return the gradients that a program computes for all rows.

    Parameters
    ----------
    runtime : Runtime
    bound : Bound
        A program that returns gradients, with respect to what is wanted.
    steps : Steps
    wanted : Wrt
    is_mean : bool
        Whether what is differentiated is a mean over the rows, otherwise a sum.

    Returns
    -------
    dict of Wrt to ndarray, list or dict
        As `Model.gradients_of` returns them.
    """
    found = Found()
    written = [value.name for value in bound.plan.program.outputs]
    arrays = {
        f"gradient of {name}": np.empty((steps.rows, *shape), runtime.dtype)
        for name, shape in runtime.graph.inputs
    }
    outputs = {name: arrays[name] for name in written}
    if Wrt.PARAMETERS in wanted:
        with bound.lock.own():  # threads share its arena
            total = np.empty(runtime.count)
            sum_gradients(bound, steps, total, outputs=outputs, is_mean=is_mean)
        found[Wrt.PARAMETERS] = runtime.views_of(total.astype(runtime.dtype))
    else:
        results = np.empty((steps.count, len(bound.plan.program.results)))
        bound.prepare(steps, results=results, outputs=outputs).all()
    if Wrt.INPUTS in wanted:
        for name, array in arrays.items():
            if name not in outputs:
                array[...] = 0  # no output depends on this input
            elif is_mean and steps.count > 1:  # each step has divided by its own rows
                parts = np.repeat(steps.rows_of(steps.count) / steps.rows, steps.batch)
                array *= parts[: steps.rows].reshape(-1, *(1,) * (array.ndim - 1))
        found[Wrt.INPUTS] = one_or_list(list(arrays.values()))
    return found


def one_or_list(values: list[T]) -> T | list[T]:
    """Return the value, or a list if there are several."""
    return values[0] if len(values) == 1 else values


def in_order_of(wrt: Any, found: Found) -> Any:
    """Return what was found as an argument asks for it: by itself, or a tuple in its order."""
    if isinstance(wrt, str):
        return found[WRT[wrt]]
    return tuple(found[WRT[name]] for name in wrt)


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
            seconds = time.perf_counter() - began
            bound.record(team, 1, workers, seconds)
        part = rows / steps.rows if is_mean else 1.0
        total += np.multiply(arena, part, dtype=np.float64)
        after(time.perf_counter() - began)
    return results
