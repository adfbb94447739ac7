"""Which thread may change a network, and when others may look at it.

A network belongs to one thread while that trains it (`Turns.owned`): whatever would change it
from another thread is an error that names both. Short changes, such as a single step, wait for
each other (`Turns.change`). A look, such as a prediction or a save, waits for the end of the steps
that are being made (`Turns.look`), and the training then waits for it. Any number of threads look
at the same time while nothing changes.

Networks that share layers are relatives: a use of one also reads the lists of those that it shares
parameters with. It waits where one of the two uses writes what the other one has, and it is an
error where both train the same parameter; what neither of them trains is in nobody's way.

All of it is reentrant: a callback may predict, save, or make a step, also with a relative.

A step of a small network takes microseconds, so no lock is held while no other thread is in the
way: a use first puts itself on a list of its network and only then reads the lists, those of the
relatives included. Of two uses that begin at the same time, at least one sees the other; a use that
sees another one in its way takes itself off the list and waits in a queue, so that a training,
which asks again at once, cannot overtake those that wait. Who waits has a number, in one order for
all networks, and holds nothing while it waits, so that relatives of relatives cannot wait in a
circle. The programs of the fast path (`prepared.pxi`) do the same.

Considered and rejected: one list for all networks that are connected. It would have to be exchanged
while threads are on it, when a network is built over two others, and heads on one frozen base could
not be trained at the same time.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from fastnn.native import engine

# Seconds after which a waiting use reads the lists again: Ctrl-C may have kept another thread from
# waking it.
PATIENCE = 0.1

# What a use writes of the parameters that networks share.
NOTHING, LEARNED, ALL = "nothing", "learned", "all"

_numbers = itertools.count(1)


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
    number : int
        Its place among all that wait, those of relatives included; 0 if it has not waited.
    is_active : bool
        Whether the network is being changed, or looked at, at this moment.
    writes : {"nothing", "learned", "all"}
        Which parameters it writes while it is on the list of changes.
    """

    what: str
    thread: int
    bell: SimpleQueue[None] | None
    number: int
    is_active: bool
    writes: str


class Turns:
    """The order in which threads change a network and look at it.

    Parameters
    ----------
    name : str, default "model"
        The network's, for messages.

    Attributes
    ----------
    changes, looks, waiting : list of Use
        Who is there, and who waits. The lists stay the same objects.
    relatives : list of weakref to Turns
        Those of the networks that share parameters with this one; it stays the same object.
    parameters, learned : mapping of int to str
        The names of all parameters and of those that a training may write, by their addresses;
        only kept up to date where there are relatives.
    number : int
        Whoever enters the turns of several networks one inside the other begins with the lowest.
    forks : int
        Number of the process that they are of; a child calls `leave_parent`.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.owned("fit"), turns.change("fit"), turns.look():
    ...     pass
    """

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self.changes: list[Use] = []
        self.looks: list[Use] = []
        self.waiting: list[Use] = []
        self.relatives: list[weakref.ref[Turns]] = []
        self.parameters: Mapping[int, str] = {}
        self.learned: Mapping[int, str] = {}
        self.number = next(_numbers)
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
            When it is entered: another thread owns the network, or a relative that trains the same
            parameters.
        """
        return engine.Turn(self, self.changes, self._is_free_to_own, what, False)

    def change(self, what: str, writes: str = LEARNED) -> engine.Turn:
        """Return a context that changes the network while nobody else looks at it or changes it.

        Parameters
        ----------
        what : str
            The method that is called, for messages.
        writes : {"nothing", "learned", "all"}, default "learned"
            Which parameters it writes: those that a training of this network writes, or all.

        Raises
        ------
        RuntimeError
            When it is entered: another thread owns the network, or a relative that trains what this
            writes.
        """
        return engine.Turn(self, self.changes, self._is_free_to_change, what, True, writes)

    def look(self) -> engine.Turn:
        """Return a context that looks at the network while nobody else changes it."""
        return engine.Turn(self, self.looks, self._is_free_to_look, "look", True, NOTHING)

    # --- networks that share parameters -------------------------------------------------------

    def relate(self, other: Turns) -> None:
        """Take note of a network that shares parameters with this one, for both.

        The `parameters` and `learned` of both must have been set.
        """
        for one, two in ((self, other), (other, self)):
            if all(found() is not two for found in tuple(one.relatives)):
                one.relatives.append(weakref.ref(two, one.relatives.remove))

    def leave_relatives(self) -> None:
        """Take note that the network shares nothing any longer."""
        for other in self._related():
            other.relatives[:] = [one for one in other.relatives if one() is not self]
        self.relatives.clear()

    def check_ownership(self) -> None:
        """Raise RuntimeError if a thread owns this network and another one a new relative."""
        for use in tuple(self.changes):
            if not use.is_active:
                self._check_owners(use, self._changes_beside(use, use.writes))

    # --- who is there -------------------------------------------------------------------------

    @property
    def others_change(self) -> bool:
        """Whether another thread changes the network itself, or owns it."""
        return bool(self.changes) and bool(_others(self.changes, threading.get_ident()))

    def is_alone_to_look(self, use: Use) -> bool:
        """Whether no other thread changes, or owns, what a look sees: it need not wait."""
        return not self._changes_beside(use, NOTHING)

    def is_alone_to_change(self, use: Use) -> bool:
        """Whether no other thread is there that a change must wait for, or an owner."""
        return not (self._changes_beside(use, use.writes) or self._looks_beside(use))

    def is_inside(self, thread: int) -> bool:
        """Whether a thread changes what is here or looks at it, so that it must not wait."""
        return any(
            use.thread == thread and use.is_active
            for turns in self._all()
            for use in (*turns.changes, *turns.looks)
        )

    def is_next(self, use: Use) -> bool:
        """Whether a use may try to begin: who waits for the same has come later."""
        if not self.waiting and not self.relatives:
            return True
        for turns in self._all():
            for other in tuple(turns.waiting):
                is_before = other is not use and not 0 < use.number < other.number
                is_in_way = turns is self or self._meet(use.writes, turns, other.writes)
                if is_before and is_in_way:
                    return self.is_inside(use.thread)
        return True

    def wait(self, use: Use, uses: list[Use], is_free: Callable[[Use], bool]) -> None:
        """Wait until a use may begin, and note it; whoever calls takes it off the queue."""
        use.bell, use.number = SimpleQueue(), next(_numbers)
        self.wake()  # whoever saw this use before it stepped back
        self.waiting.append(use)
        while True:
            if self.is_next(use):
                uses.append(use)
                if is_free(use):
                    return
                uses.remove(use)
            with contextlib.suppress(Empty):
                use.bell.get(timeout=PATIENCE)

    def wake(self) -> None:
        """Let those who wait look again."""
        for turns in self._all():
            for use in tuple(turns.waiting):
                if use.bell is not None:
                    use.bell.put(None)

    def leave_parent(self) -> None:
        """Forget, after a fork, what threads do that have remained in the parent."""
        me, self.forks = threading.get_ident(), engine.forks()
        for uses in (self.changes, self.looks, self.waiting):
            uses[:] = [use for use in uses if use.thread == me]

    def _related(self) -> list[Turns]:
        found = [turns for one in tuple(self.relatives) if (turns := one()) is not None]
        for turns in found:
            if turns.forks != engine.forks():
                turns.leave_parent()
        return found

    def _all(self) -> list[Turns]:
        return [self, *self._related()] if self.relatives else [self]

    def _written(self, writes: str) -> Mapping[int, str]:
        """Return the parameters that a use writes."""
        return {NOTHING: {}, LEARNED: self.learned, ALL: self.parameters}[writes]

    def _meet(self, writes: str, other: Turns, other_writes: str) -> bool:
        """Whether one of two uses, of this network and a relative, writes what the other has."""
        here, there = self._written(writes), other._written(other_writes)
        return not (
            here.keys().isdisjoint(other.parameters) and there.keys().isdisjoint(self.parameters)
        )

    def _changes_beside(self, use: Use, writes: str) -> list[tuple[Turns, Use]]:
        """Return the changes by other threads that a use meets."""
        found = [(self, other) for other in _others(self.changes, use.thread)]
        for turns in self._related() if self.relatives else ():
            for other in _others(turns.changes, use.thread):
                if self._meet(writes, turns, other.writes):
                    found.append((turns, other))
        return found

    def _looks_beside(self, change: Use) -> list[Use]:
        """Return the looks by other threads that a change meets."""
        found = _others(self.looks, change.thread)
        for turns in self._related() if self.relatives else ():
            looks = _others(turns.looks, change.thread)
            if looks and self._meet(change.writes, turns, NOTHING):
                found += looks
        return found

    # --- whether a use may begin --------------------------------------------------------------

    def _is_free_to_change(self, change: Use) -> bool:
        beside = self._changes_beside(change, change.writes)
        self._check_owners(change, beside)
        return not (any(other.is_active for _, other in beside) or self._looks_beside(change))

    def _is_free_to_own(self, ownership: Use) -> bool:
        changes = tuple(self.changes)
        # Those behind it on the list see it, and step back: of two that begin at once, where there
        # is no GIL, one stays.
        before = changes[: changes.index(ownership)]
        beside = [
            (turns, other)
            for turns, other in self._changes_beside(ownership, ownership.writes)
            if (other in before if turns is self else self._both_write(ownership, turns, other))
        ]
        self._check_owners(ownership, beside)
        return not beside

    def _is_free_to_look(self, look: Use) -> bool:
        return not any(other.is_active for _, other in self._changes_beside(look, NOTHING))

    def _check_owners(self, use: Use, beside: list[tuple[Turns, Use]]) -> None:
        """Raise RuntimeError if another thread owns, between two steps, what a use changes."""
        for turns, other in beside:
            if other.is_active or self._is_owned_by(use, turns, other):
                continue
            if turns is self:
                what, both = "this model", ""
            else:
                both = self._both_write(use, turns, other)
                if not both:
                    continue
                what = f"model {self.name!r}"
                both = f" of model {turns.name!r}, which shares {both!r}"
            raise RuntimeError(
                f"{use.what} cannot change {what} while thread {_name_of(other.thread)!r} "
                f"is in {other.what}{both}: wait for it, or take a copy (fastnn.clone_model)"
                + (", or freeze what is shared in one of the two" if both else "")
            )

    def _is_owned_by(self, use: Use, turns: Turns, other: Use) -> bool:
        """Whether the thread of a use owns what another one would; that one will be told so."""
        return any(
            own.thread == use.thread
            and own is not use
            and not own.is_active
            and (mine is turns or bool(mine._both_write(own, turns, other)))
            for mine in self._all()
            for own in tuple(mine.changes)
        )

    def _both_write(self, use: Use, turns: Turns, other: Use) -> str:
        """Return the name of a parameter that two changes write, of two networks; "" if none."""
        here, there = self._written(use.writes), turns._written(other.writes)
        return next((name for place, name in here.items() if place in there), "")


def _others(uses: Sequence[Use], thread: int) -> list[Use]:
    """Return the uses of other threads; the list may change meanwhile."""
    return [use for use in tuple(uses) if use.thread != thread]


def _name_of(thread: int) -> Any:
    found = (one.name for one in threading.enumerate() if one.ident == thread)
    return next(found, thread)
