"""Which thread may change a network, and when others may look at it.

A network belongs to one thread while that trains it (`Turns.owned`): whatever would change it
from another thread is an error that names both. Short changes, such as a single step, wait for
each other (`Turns.change`). A look, such as a prediction or a save, waits for the end of the steps
that are being made (`Turns.look`), and the training then waits for it. Any number of threads look
at the same time while nothing changes.

All of it is reentrant: a callback may predict, save, or make a step.

A step of a small network takes microseconds, so no lock is held while no other thread is in the
way: a use first puts itself on a list and only then reads the lists. Of two uses that begin at the
same time, at least one sees the other; a use that sees another one in its way takes itself off the
list and waits in a queue, so that a training, which asks again at once, cannot overtake those that
wait. The programs of the fast path (`prepared.pxi`) do the same.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from fastnn.native import engine

# Seconds after which a waiting use reads the lists again: Ctrl-C may have kept another thread from
# waking it.
PATIENCE = 0.1


class Use(Protocol):
    """A use of the network that has begun.

    Attributes
    ----------
    what : str
        The method that was called, for messages.
    thread : int
    bell : SimpleQueue or None
        Wakes a use that waits. Its methods are compiled, so Ctrl-C cannot interrupt them halfway;
        a condition could be left with its lock held.
    is_active : bool
        Whether the network is being changed, or looked at, at this moment.
    """

    what: str
    thread: int
    bell: SimpleQueue[None] | None
    is_active: bool


class Turns:
    """The order in which threads change a network and look at it.

    Attributes
    ----------
    changes, looks, waiting : list of Use
        Who is there, and who waits. The lists stay the same objects.
    forks : int
        Number of the process that they are of; a child calls `leave_parent`.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.owned("fit"), turns.change("fit"), turns.look():
    ...     pass
    """

    def __init__(self) -> None:
        self.changes: list[Use] = []
        self.looks: list[Use] = []
        self.waiting: list[Use] = []
        self.forks = engine.forks()

    def owned(self, what: str) -> engine.Turn:
        """Return a context in which this thread alone changes the network, by several changes.

        Parameters
        ----------
        what : str
            The method that is called, for messages.

        Raises
        ------
        RuntimeError
            When it is entered: another thread owns the network.
        """
        return engine.Turn(self, self.changes, self._is_free_to_own, what, False)

    def change(self, what: str) -> engine.Turn:
        """Return a context that changes the network while nobody else looks at it or changes it.

        Parameters
        ----------
        what : str
            The method that is called, for messages.

        Raises
        ------
        RuntimeError
            When it is entered: another thread owns the network.
        """
        return engine.Turn(self, self.changes, self._is_free_to_change, what)

    def look(self) -> engine.Turn:
        """Return a context that looks at the network while nobody else changes it."""
        return engine.Turn(self, self.looks, self._is_free_to_look, "look")

    @property
    def others_change(self) -> bool:
        """Whether another thread changes the network, or owns it: a look must wait for its turn."""
        return bool(self.changes) and bool(_others(self.changes, threading.get_ident()))

    @property
    def others_are_there(self) -> bool:
        """Whether another thread changes the network or looks at it: a change must then wait."""
        return self.others_change or bool(_others(self.looks, threading.get_ident()))

    def is_inside(self, thread: int) -> bool:
        """Whether a thread changes the network or looks at it, so that it must not wait."""
        return any(use.thread == thread and use.is_active for use in (*self.changes, *self.looks))

    def wait(self, use: Use, uses: list[Use], is_free: Callable[[Use], bool]) -> None:
        """Wait until a use may begin, and note it; whoever calls takes it off the queue."""
        use.bell = SimpleQueue()
        self.wake()  # whoever saw this use before it stepped back
        self.waiting.append(use)
        while True:
            if self.waiting[0] is use or self.is_inside(use.thread):
                uses.append(use)
                if is_free(use):
                    return
                uses.remove(use)
            with contextlib.suppress(Empty):
                use.bell.get(timeout=PATIENCE)

    def wake(self) -> None:
        """Let those who wait look again."""
        for use in tuple(self.waiting):
            if use.bell is not None:
                use.bell.put(None)

    def leave_parent(self) -> None:
        """Forget, after a fork, what threads do that have remained in the parent."""
        me, self.forks = threading.get_ident(), engine.forks()
        for uses in (self.changes, self.looks, self.waiting):
            uses[:] = [use for use in uses if use.thread == me]

    def _is_free_to_change(self, change: Use) -> bool:
        others = _others(self.changes, change.thread)
        if not self._is_owner(change.thread):
            for other in others:
                self._check_owner(change, other)
        return not (any(other.is_active for other in others) or _others(self.looks, change.thread))

    def _is_free_to_own(self, ownership: Use) -> bool:
        changes = tuple(self.changes)
        # Those behind it on the list see it, and step back: of two that begin at once, where there
        # is no GIL, one stays.
        others = _others(changes[: changes.index(ownership)], ownership.thread)
        for other in others:
            self._check_owner(ownership, other)
        return not others

    def _is_free_to_look(self, look: Use) -> bool:
        return not self.changes or not any(
            other.is_active for other in _others(self.changes, look.thread)
        )

    def _is_owner(self, thread: int) -> bool:
        """Whether a thread trains the network; who is noted beside it will be told so."""
        return any(use.thread == thread and not use.is_active for use in tuple(self.changes))

    @staticmethod
    def _check_owner(use: Use, other: Use) -> None:
        if not other.is_active:  # between the steps of a training
            raise RuntimeError(
                f"{use.what} cannot change this model while thread {_name_of(other.thread)!r} "
                f"is in {other.what}: wait for it, or take a copy (fastnn.clone_model)"
            )


def _others(uses: Sequence[Use], thread: int) -> list[Use]:
    """Return the uses of other threads; the list may change meanwhile."""
    return [use for use in tuple(uses) if use.thread != thread]


def _name_of(thread: int) -> Any:
    found = (one.name for one in threading.enumerate() if one.ident == thread)
    return next(found, thread)
