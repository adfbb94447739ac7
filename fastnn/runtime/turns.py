"""Which thread may change a network, and when others may look at it.

A network belongs to one thread while that trains it (`Turns.owned`): whatever would change it
from another thread is an error that names both. Short changes, such as a single step, wait for
each other (`Turns.change`). Who only looks, such as a prediction or a file that is saved, waits for
the end of the steps that are being made (`Turns.look`), and then the training waits for him. Any
number of threads look at the same time while nothing changes.

All of it is reentrant: a callback may predict, save, or make a step.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastnn.core import threads
from fastnn.core.locks import Lock
from fastnn.native import engine

# Seconds after which one who waits looks again: Ctrl-C may have come before he was told.
PATIENCE = 0.1


@dataclass(frozen=True, eq=False)
class _Use:
    """A use of the network that has begun.

    Each is noted and removed by a single call of a list's method, before which, at the end, nothing
    else is called: there Ctrl-C could come and leave it behind.
    """

    what: str
    thread: int
    name: str
    lasts: bool = False  # longer than others are expected to wait


class Turns:
    """The order in which threads change a network and look at it.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.owned("fit"), turns.change("fit"), turns.look():
    ...     pass
    """

    def __init__(self) -> None:
        # Read without the lock by fast paths: is anybody there at all?
        self.changes: list[_Use] = []
        self.looks: list[_Use] = []
        self._condition = Lock(threading.Condition)
        # Who is inside changes the network, or looks while another thread trains. Waiting happens
        # at the door, which one thread at a time holds, so that a training, which returns to it
        # at once, cannot pass others by.
        self._door, self._room = Lock(threading.RLock), Lock(threading.RLock)
        self._forks = engine.forks()

    @contextmanager
    def owned(self, what: str) -> Iterator[None]:
        """Let this thread alone change the network for longer, by several changes.

        Parameters
        ----------
        what : str
            The method that it calls, for messages.

        Raises
        ------
        RuntimeError
            Another thread owns the network.
        """
        with self._noted(_use(what, lasts=True)), threads.busy():
            yield

    @contextmanager
    def change(self, what: str) -> Iterator[None]:
        """Change the network while nobody else looks at it or changes it.

        Parameters
        ----------
        what : str
            The method that is called, for messages.

        Raises
        ------
        RuntimeError
            Another thread owns the network.
        """
        if self._is_owner():
            with self._inside():
                yield
        else:
            with self._noted(_use(what)), self._inside():
                yield

    @contextmanager
    def look(self) -> Iterator[None]:
        """Look at the network while nobody else changes it."""
        use = _use("look")
        try:
            if self._may_look_at_once(use):
                yield
            else:
                with self._door.own(), self._room.own():
                    yield
        finally:
            if use in self.looks:
                self.looks.remove(use)
            self._tell_others()

    @property
    def others_change(self) -> bool:
        """Whether another thread changes the network: a look must then wait for its turn."""
        return bool(self.changes) and bool(_others(self.changes))

    @property
    def others_are_there(self) -> bool:
        """Whether another thread changes the network or looks at it: a change must then wait."""
        return self.others_change or (bool(self.looks) and bool(_others(self.looks)))

    @contextmanager
    def _inside(self) -> Iterator[None]:
        if self._is_inside():
            yield
            return
        with self._door.own():
            pass
        with self._room.own():
            # Who comes now sees that there is a change, and waits at the door.
            while self.looks and _others(self.looks):
                condition = self._condition.own()
                with condition:
                    if _others(self.looks):
                        condition.wait(PATIENCE)
            yield

    def _is_inside(self) -> bool:
        return self._room.own()._is_owned()

    def _is_owner(self) -> bool:
        me = threading.get_ident()
        return any(use.lasts and use.thread == me for use in self.changes)

    def _may_look_at_once(self, use: _Use) -> bool:
        """Note a look, unless it has to wait for its turn."""
        with self._condition.own():
            self._leave_parent()
            is_nested = any(look.thread == use.thread for look in self.looks)
            if is_nested or self._is_inside() or not _others(self.changes):
                self.looks.append(use)
                return True
        return False

    @contextmanager
    def _noted(self, use: _Use) -> Iterator[None]:
        """Note a change while it lasts, once no other thread's stands in its way."""
        try:
            condition = self._condition.own()
            with condition:
                self._leave_parent()
                while others := _others(self.changes):
                    for other in others:
                        if other.lasts:
                            raise RuntimeError(
                                f"{use.what} cannot change this model while thread {other.name!r} "
                                f"is in {other.what}: wait for it, or take a copy "
                                "(fastnn.clone_model)"
                            )
                    if not use.lasts:
                        break  # it waits at the door
                    condition.wait(PATIENCE)
                self.changes.append(use)
            yield
        finally:
            if use in self.changes:
                self.changes.remove(use)
            self._tell_others()

    def _tell_others(self) -> None:
        condition = self._condition.own()
        with condition:
            condition.notify_all()

    def _leave_parent(self) -> None:
        """Forget, after a fork, what threads do that have remained in the parent."""
        if self._forks != engine.forks():
            self._forks, me = engine.forks(), threading.get_ident()
            for uses in (self.changes, self.looks):
                uses[:] = [use for use in uses if use.thread == me]


def _others(uses: list[_Use]) -> list[_Use]:
    me = threading.get_ident()
    return [use for use in tuple(uses) if use.thread != me]  # they come and go meanwhile


def _use(what: str, *, lasts: bool = False) -> _Use:
    return _Use(what, threading.get_ident(), threading.current_thread().name, lasts)
