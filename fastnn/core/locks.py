"""Locks that a forked child finds released, whoever has made the fork."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fastnn.native import engine


class Lock:
    """A lock, or condition, that each process has of its own.

    Another thread may have held it at a fork, and has remained in the parent. Hooks of Python
    (`os.register_at_fork`) would not do: a fork made in C runs none of them.

    Parameters
    ----------
    make : callable, default threading.Lock
        Makes the lock of a process.

    Examples
    --------
    >>> lock = Lock()
    >>> with lock.own():
    ...     pass
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._locks = {engine.forks(): make()}

    def own(self) -> Any:
        """Return the lock of this process; hold it in a `with` statement."""
        forks = engine.forks()
        found = self._locks.get(forks)
        # Of two threads that come at once, both get the one that was put there first.
        return self._locks.setdefault(forks, self._make()) if found is None else found
