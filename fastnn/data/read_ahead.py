"""An iterator that a thread runs a few items ahead of its consumer.

The two meet in queues of C, of which each operation happens as a whole or not at all: Ctrl-C may
come anywhere in the consumer, also while it closes the iterator, and a lock that Python code takes
would then stay taken. The thread knows the queues, not the iterator, so that it ends as well if the
iterator is dropped without having been closed.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
AHEAD = 8  # items
GOODBYE_SECONDS = 1.0


class ReadAhead(Generic[T]):
    """An iterator that runs in a thread, at most `depth` items ahead of its consumer.

    The thread begins with the first request for an item, and ends with the items, or soon after
    `close`: once the item it is waiting for arrives. An exception of the items is raised where the
    next item is requested, with its own traceback.

    Parameters
    ----------
    items : iterable
    depth : int, default 8
    """

    _thread: threading.Thread | None = None

    def __init__(self, items: Iterable[T], depth: int = AHEAD) -> None:
        self._items: Iterable[T] | None = items
        self._ready: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        # The thread takes something out of it after each item: there is room for another one.
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(depth - 1):
            self._room.put(None)
        self._closed: list[None] = []  # not empty: the thread ends after its item
        self._peeked: deque[tuple[str, Any]] = deque()

    def _begin(self) -> None:
        self._thread = threading.Thread(
            target=_fill,
            args=(self._items, self._ready, self._room, self._closed),
            name="fastnn reads ahead",
            daemon=True,
        )
        self._items = None
        self._thread.start()

    def _look(self) -> tuple[str, Any]:
        """Return what comes next, without consuming it: an item, an error, or the end."""
        if not self._peeked:
            if self._thread is None:
                self._begin()
            self._peeked.append(self._ready.get())
        return self._peeked[0]

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        kind, value = self._look()
        if kind == "item":
            self._peeked.clear()
            self._room.put(None)
            return value
        if kind == "error":
            self._peeked[0] = "end", None
            raise value
        raise StopIteration

    def peek(self) -> T | None:
        """Return the next item without consuming it, or None at the end."""
        kind, value = self._look()
        if kind == "error":
            raise value
        return value

    def close(self) -> None:
        """End the thread. If the item it is waiting for takes long, it may outlive this call."""
        self._tell_thread()
        self._peeked.clear()
        self._peeked.append(("end", None))
        if self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # Ctrl-C came while it was started
                self._thread.join(GOODBYE_SECONDS)

    def _tell_thread(self) -> None:
        self._closed.append(None)
        self._room.put(None)

    def __del__(self) -> None:
        if self._thread is not None:
            self._tell_thread()


def _fill(
    items: Iterable[T],
    ready: SimpleQueue[tuple[str, Any]],
    room: SimpleQueue[None],
    closed: list[None],
) -> None:
    """Put all items into a queue, each after the first when there is room."""
    end: tuple[str, Any] = "end", None
    try:
        for item in items:
            ready.put(("item", item))
            room.get()
            if closed:
                break
    except BaseException as error:
        end = "error", error
    finally:
        ready.put(end)
