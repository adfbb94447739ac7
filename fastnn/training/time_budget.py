"""`fit(time_budget=...)`: how many steps to request so that training ends in time.

Slices of the engine take about 40 ms. Towards the end, each slice gets half of the steps that the
remaining time would allow, so that the error of the estimate shrinks too: this costs a dozen more
slices, and at most one step too many.
"""

from __future__ import annotations

import math
import time

from fastnn.core import checks


class TimeBudget:
    """A time limit that starts now, or no limit.

    Parameters
    ----------
    seconds : float, optional
    """

    def __init__(self, seconds: object = None) -> None:
        self.seconds = (
            None if seconds is None else checks.number("time_budget", seconds, is_positive=True)
        )
        self._ends = math.inf if self.seconds is None else time.perf_counter() + self.seconds
        self._step = math.inf  # seconds per step in the last slice
        self._between = 0.0  # seconds that validation and callbacks took after the last epoch
        self._since = math.inf

    def steps(self) -> int | None:
        """Return the maximum number of steps to run next; None without a limit."""
        if self.seconds is None:
            return None
        return max(1, int(self._left() / (2 * self._step)))

    def record(self, steps: int, seconds: float) -> None:
        """Update the estimate with the time of a slice."""
        self._step = max(seconds, 1e-9) / max(steps, 1)

    def epoch_end(self) -> None:
        """Record that the steps of an epoch are completed."""
        self._since = time.perf_counter()

    def epoch_begin(self) -> None:
        """Record that validation and callbacks are completed."""
        if self._since < math.inf:
            self._between = time.perf_counter() - self._since

    def _left(self) -> float:
        return self._ends - self._between - time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether at most the time for the last validation and callbacks remains."""
        return self._left() <= 0

    def __str__(self) -> str:
        return f"the time_budget of {self.seconds:g} seconds is used up"
