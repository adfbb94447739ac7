"""A bar that shows how far the members of an ensemble are, and how long they will take."""

from __future__ import annotations

import sys
import threading
from typing import Any

from fastnn.core.checks import counted
from fastnn.tabular.plan import Plan, Progress

_SHAPE = "{percentage:3.0f}%|{bar:24}| {elapsed} done, {remaining} left{postfix}"
_SECONDS_BETWEEN_LINES = 10  # where the bar is not on a screen but in a file


class Bar(Progress):
    """Shows one bar over the steps of all members, behind a line that says what is planned."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._lock = threading.Lock()

    def begin(self, steps: int, seconds: float, plan: Plan) -> None:
        """Say what is planned, and show the bar."""
        from tqdm.auto import tqdm

        if sys.stderr is None:
            return
        stream = _Steady(sys.stderr)
        stream.write(
            f"training {counted(plan.members, 'network')} for {counted(plan.epochs, 'epoch')} of "
            f"{plan.rows:,} rows: about {duration(seconds)}\n"
        )
        stream.flush()
        is_screen = bool(getattr(sys.stderr, "isatty", lambda: False)())
        self._bar = tqdm(
            total=steps,
            file=stream,
            leave=False,
            bar_format=_SHAPE,
            mininterval=0.1 if is_screen else _SECONDS_BETWEEN_LINES,
        )

    def advance(self, steps: int, score: float) -> None:
        """Advance the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.set_postfix_str(f"score {score:.4g}", refresh=False)
                self._bar.update(steps)

    def end(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None


class _Steady:
    """A stream whose reader may leave: a training does not end with it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> None:
        """Write, or do nothing if nobody reads any more."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._stream = None

    def flush(self) -> None:
        """Flush, or do nothing."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def isatty(self) -> bool:
        """Whether it is a screen."""
        return self._stream is not None and bool(self._stream.isatty())

    def fileno(self) -> int:
        """Return the descriptor, by which the width of a screen is found."""
        return int(self._stream.fileno())


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(0.4), duration(75), duration(5000)
    ('1 s', '1 min 15 s', '1 h 23 min')
    """
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
