"""Which thread may change a network, and when others may look at it.

A network belongs to one thread while that trains it (`Turns.owned`): whatever would change it
from another thread is an error that names both. Short changes, such as a single step, wait for
each other (`Turns.change`). Who only looks, such as a prediction or a file that is saved, waits for
the end of the steps that are being made (`Turns.look`), and then the training waits for him. Any
number of threads look at the same time while nothing changes.

All of it is reentrant: a callback may predict, save, or make a step.

A step of a small network takes microseconds, so no lock is held while nobody is in the way: who
comes puts himself on a list, and looks at the lists only then. Of two who come at the same time, at
least one sees the other; whoever sees somebody steps back and waits in a queue, so that a training,
which returns at once, cannot pass others by. The programs of the fast path (`prepared.pxi`) do the
same.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fastnn.core import threads
from fastnn.native import engine

# Seconds after which one who waits looks again: one who goes because of Ctrl-C may tell nobody.
PATIENCE = 0.1


class Use(Protocol):
    """A use of the network that has begun.

    Attributes
    ----------
    what : str
        The method that was called, for messages.
    thread : int
    is_active : bool
        Whether the network is being changed, or looked at, at this moment.
    """

    what: str
    thread: int

    @property
    def is_active(self) -> bool: ...  # noqa: D102


class _Note:
    """What a change or a look of one thread leaves on the lists while it lasts.

    One whose turn is gone does not count: Ctrl-C may come before the first line of `__exit__`, but
    the turn goes with the frame that has entered it.
    """

    __slots__ = ("_turn", "thread", "what")

    def __init__(self, what: str, turn: _Turn) -> None:
        self.what, self.thread, self._turn = what, 0, weakref.ref(turn)

    @property
    def is_there(self) -> bool:
        """Whether the change, the look or the training has not ended."""
        return self._turn() is not None

    @property
    def is_active(self) -> bool:
        """Whether the network is being changed, or looked at, at this moment."""
        return self.is_there


class _OwnersNote(_Note):
    """That of a training: it changes the network again and again; in between others may look."""

    __slots__ = ()

    @property
    def is_active(self) -> bool:
        """False: each of its changes has a note of its own."""
        return False


class _Turn:
    """A change or a look: a context for one thread."""

    __slots__ = ("__weakref__", "_is_free", "_note", "_turns", "_uses")

    def __init__(
        self,
        turns: Turns,
        uses: list[Use],
        is_free: Callable[[Use], bool],
        what: str,
        note: type[_Note] = _Note,
    ) -> None:
        self._turns, self._uses, self._is_free = turns, uses, is_free
        self._note = note(what, self)

    def __enter__(self) -> None:
        turns, note = self._turns, self._note
        note.thread = threading.get_ident()
        try:
            turns.leave_parent()
            if not turns.waiting or turns.is_inside(note.thread):
                self._uses.append(note)
                if self._is_free(note):
                    return
                self._uses.remove(note)
            turns.wait(note, self._uses, self._is_free)
        except BaseException:  # an error, or Ctrl-C anywhere
            self.__exit__()
            raise

    def __exit__(self, *raised: object) -> None:
        self._turns.leave(self._note, self._uses)


class Turns:
    """The order in which threads change a network and look at it.

    Attributes
    ----------
    changes, looks, waiting : list of Use
        Who is there, and who waits. The lists stay the same objects.

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
        self._condition, self._forks = threading.Condition(), engine.forks()

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
        turn = _Turn(self, self.changes, self._is_free_to_own, what, _OwnersNote)
        with turn, threads.busy():
            yield

    def change(self, what: str) -> _Turn:
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
        return _Turn(self, self.changes, self._is_free_to_change, what)

    def look(self) -> _Turn:
        """Return a context that looks at the network while nobody else changes it."""
        return _Turn(self, self.looks, self._is_free_to_look, "look")

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
        """Wait until a use may begin, and put it on its list."""
        with self._condition:
            self.waiting.append(use)
            self._condition.notify_all()  # whoever saw this use before it stepped back
            try:
                while True:
                    if self.waiting[0] is use or self.is_inside(use.thread):
                        uses.append(use)
                        if is_free(use):
                            return
                        uses.remove(use)
                    self._condition.wait(PATIENCE)
            finally:
                self.waiting.remove(use)
                self._condition.notify_all()

    def leave(self, use: Use, uses: list[Use]) -> None:
        """Take a use off its list, and wake those who wait for it."""
        if use in uses:
            uses.remove(use)
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        with self._condition:
            self._condition.notify_all()

    def leave_parent(self) -> None:
        """Forget, after a fork, what threads do that have remained in the parent."""
        if self._forks != engine.forks():
            me = threading.get_ident()
            self._condition, self._forks = threading.Condition(), engine.forks()
            for uses in (self.changes, self.looks, self.waiting):
                uses[:] = [use for use in uses if use.thread == me]

    def _is_free_to_change(self, change: Use) -> bool:
        if len(self.changes) == 1 and not self.looks:
            return True
        others = _others(self.changes, change.thread)
        for other in others:
            self._check_owner(change, other)
        return not (any(other.is_active for other in others) or _others(self.looks, change.thread))

    def _is_free_to_own(self, ownership: Use) -> bool:
        others = _others(self.changes, ownership.thread)
        for other in others:
            self._check_owner(ownership, other)
        return not others

    def _is_free_to_look(self, look: Use) -> bool:
        return not self.changes or not any(
            other.is_active for other in _others(self.changes, look.thread)
        )

    @staticmethod
    def _check_owner(use: Use, other: Use) -> None:
        if isinstance(other, _OwnersNote):
            raise RuntimeError(
                f"{use.what} cannot change this model while thread {_name_of(other.thread)!r} "
                f"is in {other.what}: wait for it, or take a copy (fastnn.clone_model)"
            )


def _others(uses: list[Use], thread: int) -> list[Use]:
    """Return the uses of other threads; the list may change meanwhile."""
    return [use for use in tuple(uses) if use.thread != thread and _is_there(use)]


def _is_there(use: Use) -> bool:
    return not isinstance(use, _Note) or use.is_there


def _name_of(thread: int) -> Any:
    found = (one.name for one in threading.enumerate() if one.ident == thread)
    return next(found, thread)
