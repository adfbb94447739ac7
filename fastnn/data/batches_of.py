"""What counts as an iterable of batches, and how one is read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from fastnn.data import sparse
from fastnn.data.frames import is_frame

ATTRIBUTES_OF_ARRAYS = ("__array__", "__array_interface__", "__array_struct__", "__buffer__")


def is_batches(x: object, *, takes_lists: bool) -> bool:
    """Whether x is an iterable of batches rather than an array.

    Parameters
    ----------
    x : object
    takes_lists : bool
        Whether a list or tuple holds batches; otherwise it is an array, or one array per input.
    """
    if isinstance(x, (list, tuple)):
        return takes_lists
    if isinstance(x, np.ndarray):
        return False
    if isinstance(x, (str, bytes, bytearray, memoryview, dict, set, frozenset)):
        return False
    if any(hasattr(x, name) for name in ATTRIBUTES_OF_ARRAYS):
        return False
    if sparse.is_sparse(x) or is_frame(x):
        return False
    return hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def is_iterator(x: object) -> bool:
    """Whether x can be iterated over only once."""
    return hasattr(x, "__next__")


def batches_of(x: Any, steps: int | None = None) -> Iterator[Any]:
    """Return an iterator over the first `steps` batches, by default all."""
    if hasattr(x, "__iter__"):
        return islice(x, steps)
    count = len(x) if steps is None else min(steps, len(x))
    return (x[i] for i in range(count))


def taken_apart(batch: Any) -> tuple[Any, Any, Any]:
    """Return x, y and the sample weights (or None) of a training batch.

    Raises
    ------
    TypeError
        The batch is neither (x, y) nor (x, y, sample_weight).
    """
    if not isinstance(batch, (tuple, list)):
        raise TypeError(f"must be a tuple (x, y), got {type(batch).__name__}")
    if len(batch) not in (2, 3):
        raise TypeError(f"must be (x, y) or (x, y, sample_weight), got {len(batch)} entries")
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None
