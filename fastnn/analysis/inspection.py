"""What the layers of a model give for some rows, and the gradient of the loss of many.

For callbacks and diagnosis: nothing of the model is changed, `Model.gradients` included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.data import AnySource, Source
from fastnn.runtime import ROWS, Bound, Purpose, Runtime, Steps

if TYPE_CHECKING:
    from fastnn.model import Model


def sample(sources: Sequence[AnySource], rows: int) -> list[Source]:
    """Return some rows, evenly spread, or all if there are fewer; sparse ones with their zeros."""
    count = sources[0].rows
    chosen = np.linspace(0, count - 1, min(rows, count)).astype(np.int64)
    return [Source(np.ascontiguousarray(source.take(chosen))) for source in sources]


def layer_names(model: Model) -> list[str]:
    """Return the layers in the order in which they are computed; "name:2" for a second use."""
    names: list[str] = []
    for layer, _ in model.runtime.graph.steps:
        uses = sum(name.split(":")[0] == layer.name for name in names)
        names.append(f"{layer.name}:{uses + 1}" if uses else layer.name)
    return names


def activations(model: Model, sources: Sequence[Source]) -> dict[str, np.ndarray]:
    """Return what each layer gives for some rows, dropout left out.

    Parameters
    ----------
    model : Model
    sources : sequence of Source
        The inputs; a target behind them is not read.

    Returns
    -------
    dict of str to ndarray, shape (rows, *shape)
        By the names of `layer_names`.
    """
    runtime = model.runtime
    rows = sources[0].rows
    bound = runtime.bound(Purpose.ACTIVATIONS, rows)
    steps = Steps(sources[: len(runtime.graph.inputs)], rows, rows, in_place=False)
    bound.prepare(steps).make()
    return dict(zip(layer_names(model), bound.kept(steps), strict=True))


def gradients(
    model: Model,
    sources: Sequence[AnySource],
    target: tuple[str, ...],
    *,
    batch_size: int = ROWS,
) -> dict[str, np.ndarray]:
    """Return the gradient of the mean loss of all rows by each parameter.

    Parameters
    ----------
    model : Model
        Compiled.
    sources : sequence of Source
        Inputs, targets, and weights of the samples if any.
    target : tuple of {"real", "label", "weight"}
        What follows the inputs; see `Runtime.bound`.
    batch_size : int, default 512
        Rows computed at a time.

    Returns
    -------
    dict of str to ndarray of float64
        By "layer/parameter"; NaN where the loss of some rows is not finite.
    """
    runtime = model.runtime
    rows = sources[0].rows
    steps = Steps(sources, rows, min(batch_size, rows))
    bound = runtime.bound(Purpose.GRADIENTS, steps.batch, target, steps.sparse)
    arena = runtime.arenas["gradients"]
    kept, total = arena.copy(), np.empty(arena.shape)
    try:
        sum_gradients(runtime, bound, steps, total)
    finally:
        arena[...] = kept
    return runtime.views_of(total)


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
