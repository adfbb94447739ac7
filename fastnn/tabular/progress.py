"""A bar that shows how far the members of an ensemble are, and how long they will take."""

from __future__ import annotations

import sys
import threading

from fastnn.core.checks import counted
from fastnn.tabular.learning import Plan, Progress


class Bar(Progress):
    """Shows one bar over the steps of all members, behind a line that says what is planned."""

    def __init__(self) -> None:
        self._bar: object = None
        self._lock = threading.Lock()

    def begin(self, steps: int, seconds: float, plan: Plan) -> None:
        """Say what is planned, and show the bar."""
        from tqdm.auto import tqdm

        if sys.stderr is None:
            return
        print(
            f"training {counted(plan.members, 'network')} for {counted(plan.epochs, 'epoch')} of "
            f"{plan.rows:,} rows: about {duration(seconds)}",
            file=sys.stderr,
            flush=True,
        )
        self._bar = tqdm(total=steps, unit="step", unit_scale=True, file=sys.stderr, leave=False)

    def advance(self, steps: int, score: float) -> None:
        """Advance the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.set_postfix_str(f"score {score:.4g}", refresh=False)  # type: ignore[attr-defined]
                self._bar.update(steps)  # type: ignore[attr-defined]

    def end(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()  # type: ignore[attr-defined]
                self._bar = None


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
