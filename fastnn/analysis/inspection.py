"""The outputs of a network's layers for some rows, and the gradient of the loss of many.

These functions serve callbacks and diagnosis: they change nothing in the network, not even its
gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn.data import AnySource, Source
from fastnn.runtime import ROWS, Purpose, Runtime, Steps
from fastnn.runtime.gradients import sum_gradients


def sample(sources: Sequence[AnySource], rows: int) -> list[Source]:
    """Return some evenly spaced rows, or all if there are fewer; sparse rows are made dense."""
    count = sources[0].rows
    chosen = np.linspace(0, count - 1, min(rows, count)).astype(np.int64)
    return [Source(np.ascontiguousarray(source.take(chosen))) for source in sources]


def layer_names(runtime: Runtime) -> list[str]:
    """Return the layers in the order of computation; "name:2" stands for a second use."""
    names: list[str] = []
    for step in runtime.graph.steps:
        uses = sum(name.split(":")[0] == step.name for name in names)
        names.append(f"{step.name}:{uses + 1}" if uses else step.name)
    return names


def activations(runtime: Runtime, sources: Sequence[Source]) -> dict[str, np.ndarray]:
    """Return the outputs of each layer for some rows, without dropout.

    Parameters
    ----------
    runtime : Runtime
    sources : sequence of Source
        The inputs; a target after them is ignored.

    Returns
    -------
    dict of str to ndarray, shape (rows, *shape)
        Keyed by the names of `layer_names`.
    """
    rows = sources[0].rows
    bound = runtime.bound(Purpose.ACTIVATIONS, rows)
    steps = Steps(sources[: len(runtime.graph.inputs)], rows, rows, in_place=False)
    bound.prepare(steps).make()
    return dict(zip(layer_names(runtime), bound.kept(steps), strict=True))


def gradients(
    runtime: Runtime,
    sources: Sequence[AnySource],
    target: tuple[str, ...],
    *,
    batch_size: int = ROWS,
) -> dict[str, np.ndarray]:
    """Return the gradient of the mean loss of all rows with respect to each parameter.

    Parameters
    ----------
    runtime : Runtime
        The runtime of a compiled network.
    sources : sequence of Source
        Inputs, targets, and sample weights, if any.
    target : tuple of {"real", "label", "weight"}
        Types of the sources after the inputs; see `Runtime.bound`.
    batch_size : int, default 512
        Rows computed at a time.

    Returns
    -------
    dict of str to ndarray of float64
        Keyed by "layer/parameter"; NaN if the loss of any row is not finite.
    """
    rows = sources[0].rows
    steps = Steps(sources, rows, min(batch_size, rows))
    bound = runtime.bound(Purpose.GRADIENTS, steps.batch, target, steps.sparse)
    arena = runtime.arenas["gradients"]
    kept, total = arena.copy(), np.empty(arena.shape)
    try:
        sum_gradients(bound, steps, total)
    finally:
        arena[...] = kept
    return runtime.views_of(total)
