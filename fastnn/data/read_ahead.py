"""An iterator that a thread runs a few items ahead of its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 8  # items
GOODBYE_SECONDS = 1.0


class ReadAhead(Generic[T]):
    """An iterator that runs in a thread, at most `depth` items ahead of its consumer.

    The thread ends with the items, or soon after `close`: once the item it is waiting for arrives.
    An exception of the items is raised where the next item is requested, with its own traceback.

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
        """Return the next item without consuming it, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_done)
            if self._ready:
                return self._ready[0]
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """End the thread. If the item it is waiting for takes long, it may outlive this call."""
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(GOODBYE_SECONDS)
