"""Ctrl-C and SIGTERM: a command ends with a line that is true, and with their exit status.

A training ends after its epoch, and what it has reached is saved.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

from fastnn.cli.arguments import INTERRUPTED, TERMINATED
from fastnn.cli.output import complain

_STATUS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class Terminated(KeyboardInterrupt):
    """SIGTERM where there is nothing to save."""


class _Handlers:
    """A context with handlers of its own for both signals.

    Attributes
    ----------
    status : int
        Exit status that the last signal calls for; 0 if there was none.
    """

    def __init__(self) -> None:
        self.status = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _STATUS:
                if self._replaces(number, signal.getsignal(number)):
                    self._former[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _replaces(self, number: int, handler: object) -> bool:
        """Whether the handler that is there gives way."""
        raise NotImplementedError

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.status = _STATUS[signal.Signals(number)]
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


class Noted(_Handlers):
    """A context in which both signals raise KeyboardInterrupt, and it is noted that they came.

    What a library makes of a KeyboardInterrupt may be another error.
    """

    def _replaces(self, number: int, handler: object) -> bool:
        # A handler of somebody else's stays, and so does what a shell ignores.
        usual = signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
        return handler is usual

    def answered(self) -> None:
        """From now on a signal changes nothing: the command is ending."""
        for number in self._former:
            signal.signal(number, signal.SIG_IGN)


def status_of(error: BaseException) -> int:
    """Return the exit status for a KeyboardInterrupt."""
    return TERMINATED if isinstance(error, Terminated) else INTERRUPTED


class Interrupts(_Handlers):
    """A context in which a signal sets an event instead of ending the process.

    Attributes
    ----------
    stop : threading.Event
        Set by the first signal once `begin` has been called; before, and at the second signal,
        KeyboardInterrupt is raised.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._args = args
        self._phase = "preparing"
        self._is_told = False

    def _replaces(self, number: int, handler: object) -> bool:
        return handler is not signal.SIG_IGN  # which a shell gives jobs in the background

    def begin(self) -> None:
        """From now on there is something to save."""
        self._phase = "training"

    def save(self) -> None:
        """From now on signals wait until the model is saved."""
        self._phase = "saving"
        if self.stop.is_set():
            self._tell()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._phase == "preparing" or (self._phase == "training" and self.stop.is_set()):
            super()._received(number, frame)
        self.status = _STATUS[signal.Signals(number)]
        if self._phase == "saving":
            return
        self.stop.set()
        self._tell()

    def _tell(self) -> None:
        """Say that the training ends; later, if the signal came while something was printed."""
        if self._is_told:
            return
        with contextlib.suppress(RuntimeError, OSError):
            if not self._args.quiet and sys.stderr is not None:
                sys.stderr.write("\n")  # behind the bar
            complain(
                self._args, "interrupted; saving what was reached after this epoch", self.status
            )
            self._is_told = True
