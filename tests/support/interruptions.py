"""Ctrl-C at every place where Python may notice it.

The handler of a signal runs where a function begins and where a call of C has returned. There a
profile function raises KeyboardInterrupt instead, or sends the signal itself, at the n-th of these
places in the modules of interest; and, for a user who presses Ctrl-C twice, a trace function does
so where the m-th function after that begins. (It is not noticed at the end of a `with` block,
before a lock is released, so that raising at every line would find what does not happen.)
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.core import declare, registry
from fastnn.core import threads as limits

# Where places count: fastnn itself, and what runs the members of an ensemble.
WATCHED = (os.path.dirname(fastnn.__file__), os.path.join("concurrent", ""))


def _reports(frame):
    """Whether an exception within a finalizer is being reported, which pytest does itself."""
    while frame is not None and frame.f_code.co_name != "unraisable_hook":
        frame = frame.f_back
    return frame is not None


class Interruption:
    """A context in which KeyboardInterrupt is raised at a place, and perhaps once more.

    Parameters
    ----------
    at : int or None
        At which place, counted from 1; None to count them all and raise nothing.
    second : int, optional
        At the beginning of which function after that.
    is_signal : bool, default False
        Whether SIGINT is sent instead, which a block of fastnn's may keep until it is whole.
    watched : tuple of str, optional
        Parts of the names of the files whose places count.

    Attributes
    ----------
    places : int
        How many places have been passed.
    where : str
        Where it was raised.
    """

    def __init__(
        self, at: int | None = None, second: int | None = None, *, is_signal: bool = False,
        watched: tuple[str, ...] = WATCHED,
    ) -> None:  # fmt: skip
        self._at, self._second, self.places, self.where = at, second, 0, ""
        self._is_signal, self._watched = is_signal, watched
        self._names: dict[str, bool] = {}

    def __enter__(self) -> Interruption:
        if self._is_signal:
            self._handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)
        if self._is_signal:
            left = signal.signal(signal.SIGINT, self._handler)
            assert left is signal.default_int_handler, f"{left}{self.where}"

    def _profile(self, frame, event, _):
        if event not in ("call", "c_return"):
            return
        name = frame.f_code.co_filename
        counts = self._names.get(name)
        if counts is None:
            counts = self._names[name] = any(part in name for part in self._watched)
        if not counts:
            return
        self.places += 1
        if self.places == self._at:
            self._note(frame)
            if self._second is not None:
                sys.settrace(self._trace)
            self._raise()

    def _trace(self, frame, event, _):
        if _reports(frame):
            return
        self._second -= 1
        if self._second == 0:
            self._note(frame)
            sys.settrace(None)
            self._raise()

    def _raise(self):
        if not self._is_signal:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    def _note(self, frame):
        self.where += f" {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def readers() -> list[threading.Thread]:
    """Return the threads of fastnn that live.

    One that was never started, because KeyboardInterrupt came within `Thread.start`, is not alive.
    """
    every = threading.enumerate()
    return [one for one in every if one.name.startswith("fastnn") and one.is_alive()]


# --- calls that are interrupted -------------------------------------------------------------------


@dataclass
class Interrupted:
    """A call that is interrupted at its places, and what must be true afterwards.

    Attributes
    ----------
    ready : callable
        Takes a folder; returns the objects of the call.
    call : callable
        Takes what `ready` returned, and the folder.
    check : callable
        Takes the same; raises AssertionError if the objects cannot be used.
    watched : tuple of str
        Files of which the places count, beside those of fastnn.
    least_ended : float
        In which share of them KeyboardInterrupt must leave the call: less than 1 where it catches
        it, as estimators do, or where Python ignores it, as in a generator that is closed.
    """

    ready: Callable[[Path], Any]
    call: Callable[[Any, Path], object]
    check: Callable[[Any, Path], object]
    watched: tuple[str, ...] = ()
    least_ended: float = 0.7

    def places(self, folder: Path) -> int:
        """Return how many places there are, once everything is imported."""
        self.call(self.ready(_new(folder)), _last(folder))
        objects = self.ready(_new(folder))
        with Interruption(is_signal=True, watched=(*WATCHED, *self.watched)) as counted:
            self.call(objects, _last(folder))
        return counted.places

    def interrupt(self, folder: Path, at: int, second: int | None = None) -> bool:
        """Interrupt the call at a place, check what is left; return whether that ended it."""
        objects, own = self.ready(_new(folder)), _last(folder)
        before = State.now()
        watched = (*WATCHED, *self.watched)
        interruption = Interruption(at, second, is_signal=True, watched=watched)
        raised = None
        try:
            with interruption:
                self.call(objects, own)
        except KeyboardInterrupt as error:
            raised = error  # kept, with all that its frames hold, as an interactive session does
        where = f"place {at}, {second}:{interruption.where}"
        found = State.settled(before)
        assert found == before, f"{where}: {found.differences(before)}"
        assert not list(own.rglob(".*")), where
        try:
            in_another_thread(lambda: self.check(objects, own))
        except Exception as error:
            raise AssertionError(where) from error
        return raised is not None


@dataclass
class State:
    """What of the process a call must leave as it was."""

    threads: list[str]
    handles: int
    handlers: tuple[Any, ...]
    filters: list[Any]
    limits: tuple[Any, ...]

    @classmethod
    def now(cls) -> State:
        """Return the state of this moment."""
        return cls(
            [one.name for one in threading.enumerate() if one.is_alive()],
            len(os.listdir("/proc/self/fd")),
            tuple(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))),
            list(warnings.filters),
            (
                limits.get_num_threads(), dict(limits._busy), declare._names_classes.get(),
                dict(registry._custom.get({})), os.getcwd(),
            ),
        )  # fmt: skip

    def differences(self, other: State) -> str:
        """Return what differs, as text."""
        mine, own = vars(self), vars(other)
        return "; ".join(f"{name} {mine[name]} was {own[name]}" for name in mine
                         if mine[name] != own[name])  # fmt: skip

    @classmethod
    def settled(cls, wanted: State) -> State:
        """Return the state as soon as it is the wanted one, or after some seconds."""
        limit = time.monotonic() + 10
        while (found := cls.now()) != wanted and time.monotonic() < limit:
            gc.collect()
            time.sleep(0.005)
        return found


def in_another_thread(function: Callable[[], object]) -> None:
    """Call a function in another thread, where a lock that is held would be noticed."""
    errors: list[BaseException] = []

    def run():
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "a lock is held"
    if errors:
        raise errors[0]


def check_places(call: Interrupted, folder: Path, count: int, second: int | None = None) -> None:
    """Interrupt a call at so many of its places, or at all if it has fewer.

    They lie at equal distances, the first and the last included.
    """
    every = call.places(folder)
    first = 1 + (second or 0)
    tried = sorted({int(at) for at in np.linspace(first, max(first, every - 1), count)})
    ended = sum(call.interrupt(folder, at, second) for at in tried)
    assert ended >= call.least_ended * (len(tried) - 1)  # one may come into a finalizer
    print(f"{len(tried)} of {every} places, {ended} ended the call")


_number = 0


def _new(folder: Path) -> Path:
    global _number
    _number += 1
    path = folder / str(_number)
    path.mkdir()
    return path


def _last(folder: Path) -> Path:
    return folder / str(_number)
