"""Ctrl-C at every place where Python may notice it.

The handler of a signal runs where a function begins and where a call of C has returned. There a
profile function raises KeyboardInterrupt instead, at the n-th of these places in the modules of
interest; and, for a user who presses Ctrl-C twice, a trace function does so where the m-th function
after that begins. (It is not noticed at the end of a `with` block, before a lock is released, so
that raising at every line would find what does not happen.)
"""

from __future__ import annotations

import os
import sys
import threading

import fastnn

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

    Attributes
    ----------
    places : int
        How many places have been passed.
    where : str
        Where it was raised.
    """

    def __init__(self, at: int | None = None, second: int | None = None) -> None:
        self._at, self._second, self.places, self.where = at, second, 0, ""

    def __enter__(self) -> Interruption:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)

    def _profile(self, frame, event, _):
        name = frame.f_code.co_filename
        if event not in ("call", "c_return") or not any(part in name for part in WATCHED):
            return
        self.places += 1
        if self.places == self._at:
            self._note(frame)
            if self._second is not None:
                sys.settrace(self._trace)
            raise KeyboardInterrupt

    def _trace(self, frame, event, _):
        if _reports(frame):
            return
        self._second -= 1
        if self._second == 0:
            self._note(frame)
            sys.settrace(None)
            raise KeyboardInterrupt

    def _note(self, frame):
        self.where += f" {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def readers() -> list[threading.Thread]:
    """Return the threads of fastnn that live.

    One that was never started, because KeyboardInterrupt came within `Thread.start`, is not alive.
    """
    every = threading.enumerate()
    return [one for one in every if one.name.startswith("fastnn") and one.is_alive()]
