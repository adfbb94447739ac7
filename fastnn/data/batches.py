"""Iterables of batches, read a few ahead by a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from fastnn.data import sparse
from fastnn.data.frames import is_frame

T = TypeVar("T")
AHEAD = 8  # batches
ATTRIBUTES_OF_ARRAYS = ("__array__", "__array_interface__", "__array_struct__", "__buffer__")
GOODBYE_SECONDS = 1.0


class Ahead(Generic[T]):
    """An iterator that runs in a thread, at most `depth` items ahead of who takes them.

    The thread ends with the items, or soon after `close`: with the item that it is waiting for.
    What the items raise is raised where the next one is asked for, with its own traceback.

    Parameters
    ----------
    items : iterable
    depth : int, default 8
    """

    def __init__(self, items: Iterable[T], depth: int = AHEAD) -> None:
        self._ready: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._is_closed = self._is_done = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._fill, args=(items,), name="fastnn reads ahead", daemon=True
        )
        self._thread.start()

    def _fill(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                with self._changed:
                    self._ready.append(item)
                    self._changed.notify_all()
                    self._changed.wait_for(
                        lambda: self._is_closed or len(self._ready) < self._depth
                    )
                    if self._is_closed:
                        break
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_done)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def peek(self) -> T | None:
        """Return the next item, which stays, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_done)
            if self._ready:
                return self._ready[0]
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Let the thread end. It may outlive this by the item it waits for, if that takes long."""
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(GOODBYE_SECONDS)


def is_batches(x: object, *, takes_lists: bool) -> bool:
    """Whether x is to be iterated over for batches, and is not an array itself.

    Parameters
    ----------
    x : object
    takes_lists : bool
        Whether a list or tuple holds batches; else it is an array, or one for each input.
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
    """Return x, y and the weights of the samples, or None, of a batch for training.

    Raises
    ------
    TypeError
        It is neither (x, y) nor (x, y, sample_weight).
    """
    if not isinstance(batch, (tuple, list)):
        raise TypeError(f"must be a tuple (x, y), got {type(batch).__name__}")
    if len(batch) not in (2, 3):
        raise TypeError(f"must be (x, y) or (x, y, sample_weight), got {len(batch)} entries")
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None
