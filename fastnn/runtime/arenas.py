"""Memory of a built network: aligned arrays, and the error raised if there is too little memory."""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastnn.program.graph import Graph
from fastnn.program.plan import ALIGNMENT

# NumPy asks Linux for huge pages from 4 MB on, and reuses memory that was freed before; a step
# of 784-512-512-10, whose arenas are smaller, takes 3 % less time in huge pages.
HUGE_PAGE = 2 << 20
NUMPY_FROM = 4 << 20


def aligned(shape: int | tuple[int, ...], dtype: str) -> np.ndarray:
    """Return zeros aligned to 64 bytes, and to a huge page if the array is large."""
    shape = (shape,) if isinstance(shape, int) else shape
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = _zeros_in_huge_pages(size) if HUGE_PAGE <= size < NUMPY_FROM else None
    if raw is None:
        raw = np.zeros(size + ALIGNMENT, np.uint8)
        raw = raw[-raw.ctypes.data % ALIGNMENT :][:size]
    return raw.view(dtype).reshape(shape)


def _zeros_in_huge_pages(size: int) -> np.ndarray | None:
    """Return zeros, in huge pages as far as the size fills them; None where there are none."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:  # pages that are never touched use no memory
        pages = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        raw = np.frombuffer(pages, np.uint8)
        first = -raw.ctypes.data % HUGE_PAGE
        pages.madvise(mmap.MADV_HUGEPAGE, first, size // HUGE_PAGE * HUGE_PAGE)
    except (OSError, OverflowError):  # no huge pages, or too little memory, which np.zeros reports
        return None
    return raw[first : first + size]


@dataclass(eq=False)
class ParameterArena:
    """The parameters of the layers that one network has created; other networks may share them.

    Attributes
    ----------
    array : ndarray, shape (count,)
    version : int
        Incremented before the parameters change, which makes earlier results stale.
    """

    array: np.ndarray
    version: int = 0

    def offset_of(self, view: np.ndarray) -> int:
        """Return the offset of a parameter in the arena, in elements."""
        return (view.ctypes.data - self.array.ctypes.data) // self.array.itemsize


def offsets_of(shapes: dict[str, tuple[int, ...]], dtype: str) -> tuple[dict[str, int], int]:
    """Return where each parameter begins in an arena, aligned to a cache line, and the total size.

    Parameters
    ----------
    shapes : dict of str to tuple of int
    dtype : {"float32", "float64"}

    Returns
    -------
    offsets : dict of str to int
        Offset of each parameter, in elements.
    count : int
        Number of elements in the arena.
    """
    per_line = ALIGNMENT // np.dtype(dtype).itemsize
    offsets: dict[str, int] = {}
    count = 0
    for name, shape in shapes.items():
        offsets[name] = count
        count += -(-math.prod(shape) // per_line) * per_line
    return offsets, count


@contextlib.contextmanager
def memory_for_parameters(graph: Graph, dtype: str) -> Iterator[None]:
    """Name the largest layer if the block runs out of memory."""
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
