"""The boundary of a step: where a thread may read what another one trains.

A step changes the parameters, the optimizer's state and their count one after the other, without
the GIL. Whoever copies them, for a file, waits until the steps that are being made are done, and
the next ones wait for the copy.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

# How long steps wait for those who wait for them. It matters only where both wait for each other:
# a layer in Python that makes steps within a step.
_PATIENCE = 0.2  # seconds


class StepBoundary:
    """Keeps steps and copies apart; a context in which one or more steps are made.

    Examples
    --------
    >>> boundary = StepBoundary()
    >>> with boundary:
    ...     pass  # make steps
    >>> with boundary.between_steps():
    ...     pass  # copy what they change
    """

    def __init__(self) -> None:
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._lock, self._turnstile = threading.RLock(), threading.Lock()
        self._waiting = 0

    def __enter__(self) -> None:
        # A lock alone would be taken by the next step before those who wait for it have awoken.
        if self._waiting and self._turnstile.acquire(timeout=_PATIENCE):
            self._turnstile.release()
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Return a context in which no step is made by another thread."""
        with self._turnstile:
            self._waiting += 1
            try:
                self._lock.acquire()
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()


class StepBoundaries:
    """Those of several arenas, always taken in the same order."""

    def __init__(self, boundaries: Sequence[StepBoundary]) -> None:
        self._boundaries = sorted(boundaries, key=id)

    def __enter__(self) -> None:
        for one in self._boundaries:
            one.__enter__()

    def __exit__(self, *raised: object) -> None:
        for one in reversed(self._boundaries):
            one.__exit__(*raised)

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Return a context in which no step is made by another thread."""
        with ExitStack() as stack:
            for one in self._boundaries:
                stack.enter_context(one.between_steps())
            yield


_all: weakref.WeakSet[StepBoundary] = weakref.WeakSet()


def _renew_all() -> None:
    for one in _all:
        one._renew()


os.register_at_fork(after_in_child=_renew_all)  # the child may lack the thread that makes steps

__all__ = ["StepBoundaries", "StepBoundary"]
