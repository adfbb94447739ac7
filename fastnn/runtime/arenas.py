"""The flat arrays that parameters, gradients and the optimizer's state lie in."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import numpy as np

from fastnn.program.lower import Graph


@contextlib.contextmanager
def memory_for_parameters(graph: Graph, dtype: str) -> Iterator[None]:
    """Name the largest layer where the memory does not suffice for what is made inside."""
    sizes: dict[str, int] = {}
    for name, value in graph.parameters.items():
        layer = name.split("/")[0]
        sizes[layer] = sizes.get(layer, 0) + value.width * np.dtype(dtype).itemsize
    largest = max(sizes, key=lambda layer: sizes[layer], default="")
    try:
        if sum(sizes.values()) > sys.maxsize // 4:  # sizes in 64 bits would wrap around
            raise MemoryError
        yield
    except MemoryError:
        raise MemoryError(
            f"layer {largest!r} takes {sizes.get(largest, 0):,} bytes for its parameters, and as "
            "many for their gradients"
        ) from None
