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
        self._lock, self._forks = make(), engine.forks()

    def own(self) -> Any:
        """Return the lock of this process; hold it in a `with` statement."""
        if self._forks != engine.forks():
            self._lock, self._forks = self._make(), engine.forks()
        return self._lock
