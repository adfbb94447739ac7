"""The pages of file-backed arrays (`np.memmap`), read one window at a time.

A window's pages are used in place and released afterwards, so that no more than two windows are in
memory: the one being trained on, and the next, which a thread reads and checks meanwhile. They are
not copied: at the speed of a small network, copying would take a third of a processor.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastnn.native import kernels

MAPPED_FROM = 256 << 20  # bytes; memmaps of at least this size are read in windows
WINDOW_BYTES = 64 << 20  # of all maps together
# Along with a page, Linux maps the cached pages around it: up to 2 MB of them in a large folio.
# Smaller blocks would keep many times their size in memory.
BLOCK_BYTES = 2 << 20  # of consecutive rows in the file, which stay together when shuffled
MARGIN_BYTES = 2 << 20  # released on both sides of a block

LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in ("float32", "float64")}
Ranges = list[tuple[int, int]]  # of rows


class Map:
    """The memory map that contains an array's rows.

    Parameters
    ----------
    array : ndarray, shape (rows, ...)
        A view of a `np.memmap`.
    """

    def __init__(self, array: np.ndarray, pages: Any) -> None:
        self._pages = pages
        self._first = array.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
        self._row = array.strides[0]
        self._rows = len(array)

    def _advise(self, advice: str, begin: int, end: int, margin: int = 0) -> None:
        if not hasattr(mmap, advice):
            return
        first = max(self._first + begin * self._row - margin, 0)
        first -= first % mmap.PAGESIZE
        last = min(self._first + end * self._row + margin, len(self._pages))
        self._pages.madvise(getattr(mmap, advice), first, last - first)

    def ask_for(self, begin: int, end: int) -> None:
        """Let the operating system read a range of rows ahead."""
        self._advise("MADV_WILLNEED", begin, end)

    def give_back(self, begin: int, end: int) -> None:
        """Release the pages of a range of rows; what was written to them stays in the file."""
        self._advise("MADV_DONTNEED", begin, end, MARGIN_BYTES)

    def give_all_back(self) -> None:
        """Release the pages of all rows."""
        self.give_back(0, self._rows)


def map_of(array: object) -> Map | None:
    """Return the map behind a large array, or None if the array is treated as memory.

    The latter includes maps opened with mode "c", whose changes are not in any file.
    """
    if not isinstance(array, np.ndarray) or array.nbytes < MAPPED_FROM or array.strides[0] <= 0:
        return None
    owner: Any = array
    while isinstance(owner, np.ndarray):
        pages = getattr(owner, "_mmap", None) if isinstance(owner, np.memmap) else None
        if pages is not None:
            return None if getattr(owner, "mode", "") == "c" else Map(array, pages)
        owner = owner.base
    return None


def is_surely_finite(array: np.ndarray, dtype: str) -> bool:
    """Whether one quick pass shows that the model's dtype can represent all numbers.

    False means that only a slower check can tell.
    """
    flags, dtype_of = array.flags, array.dtype
    if not (dtype_of.char in "fd" and dtype_of.isnative and flags.c_contiguous and flags.aligned):
        return False
    limit = LARGEST["float32"] ** 2 if dtype == "float32" else LARGEST["float64"]
    # One worker: a busy neighbor holds up a team for longer than this takes.
    return kernels.sum_of_squares(array, workers=1) <= limit  # False for NaN


def touch(array: np.ndarray) -> None:
    """Read a byte of each page, so that it is in memory."""
    if array.flags.c_contiguous:
        array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max(initial=0)


def windows(
    rows: int, row_bytes: int, batch: int, generator: np.random.Generator | None
) -> Iterator[tuple[Ranges, np.ndarray | None]]:
    """Yield the windows of an epoch: ranges of rows, and the order in which to take the rows.

    Each window except the last holds a whole number of batches.

    Parameters
    ----------
    rows : int
        Total number of rows.
    row_bytes : int
    batch : int
    generator : numpy.random.Generator, optional
        Shuffles the blocks, and the rows within a window; None: all rows in sequence, with None
        as the order.
    """
    size = max(1, WINDOW_BYTES // row_bytes // batch) * batch
    if generator is None:
        for begin in range(0, rows, size):
            yield [(begin, min(begin + size, rows))], None
        return
    block = max(1, BLOCK_BYTES // row_bytes)
    ranges: Ranges = []
    held = 0
    for number in generator.permutation(-(-rows // block)):
        begin, end = int(number) * block, min(int(number + 1) * block, rows)
        while begin < end:
            taken = min(end - begin, size - held)
            ranges.append((begin, begin + taken))
            begin, held = begin + taken, held + taken
            if held == size:
                yield ranges, _shuffled(ranges, generator)
                ranges, held = [], 0
    if ranges:
        yield ranges, _shuffled(ranges, generator)


def _shuffled(ranges: Ranges, generator: np.random.Generator) -> np.ndarray:
    rows = np.concatenate([np.arange(begin, end, dtype=np.int64) for begin, end in ranges])
    return generator.permutation(rows)


def check_rows(check: Callable[[int, int], object], begin: int, end: int) -> None:
    """Check a range of rows; any error raised is that of the first bad row, and names the row."""
    try:
        check(begin, end)
        return
    except (TypeError, ValueError):
        pass
    while end - begin > 1:
        middle = (begin + end) // 2
        try:
            check(begin, middle)
            begin = middle
        except (TypeError, ValueError):
            end = middle
    try:
        check(begin, end)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}, in row {begin}") from None
