"""The boundary of a step: where a thread may read what another one trains.

A step changes the parameters, the optimizer's state and their count one after the other, without
the GIL. Whoever copies them, for a file, waits until the steps that are being made are done, and
the next ones wait for the copy.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")
# How long steps wait for those who wait for them, so that these come first. The lock alone decides
# who may go on, so that it may be short.
_PATIENCE = 0.2  # seconds


class StepBoundary:
    """Keeps steps and copies apart.

    Examples
    --------
    >>> boundary = StepBoundary()
    >>> with boundary.step():
    ...     pass  # make steps
    >>> boundary.between_steps(lambda: "copy what they change")
    'copy what they change'
    """

    def __init__(self) -> None:
        self._merged: StepBoundary | None = None
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        # Ctrl-C cannot part the acquisition of this lock from the block that it is held in.
        self._lock = threading.RLock()
        self._nobody_waits = threading.Event()
        self._nobody_waits.set()

    def _root(self) -> StepBoundary:
        found = self
        while found._merged is not None:
            found = found._merged
        return found

    def merge(self, other: StepBoundary) -> None:
        """Become one with another boundary, because a network has parameters in both arenas."""
        one, other = self._root(), other._root()
        if one is not other:
            one._merged = other

    def step(self) -> AbstractContextManager[Any]:
        """Return a context in which one or more steps are made."""
        root = self if self._merged is None else self._root()
        waits = root._nobody_waits
        # A lock alone would be taken by the next step before those who wait for it have awoken.
        if not waits.is_set() and not waits.wait(_PATIENCE):
            waits.set()
        return root._lock

    def between_steps(self, take: Callable[[], T]) -> T:
        """Return what a function returns that is called while no other thread makes a step."""
        root = self._root()
        try:
            root._nobody_waits.clear()
            with root._lock:
                return take()
        finally:
            root._nobody_waits.set()


_all: weakref.WeakSet[StepBoundary] = weakref.WeakSet()


def _renew_all() -> None:
    for one in _all:
        one._renew()


os.register_at_fork(after_in_child=_renew_all)  # the child may lack the thread that makes steps

__all__ = ["StepBoundary"]
