"""`fit(time_budget=...)`: how many steps to ask for so that training ends in time.

Slices of the engine take some 40 ms. Towards the end each is asked for half of what the time that
is left would allow, so that an error of the estimate shrinks with it: a dozen slices more, and at
most one step too many.
"""

from __future__ import annotations

import math
import time

from fastnn.core import checks


class TimeBudget:
    """A number of seconds from now on, or no limit.

    Parameters
    ----------
    seconds : float, optional
    """

    def __init__(self, seconds: object = None) -> None:
        self.seconds = (
            None if seconds is None else checks.number("time_budget", seconds, is_positive=True)
        )
        self._ends = math.inf if self.seconds is None else time.perf_counter() + self.seconds
        self._step = math.inf  # seconds, in the last slice
        self._between = 0.0  # seconds that validation and callbacks took after the last epoch
        self._since = math.inf

    def steps(self) -> int | None:
        """Return how many steps to run next, at most; None without a limit."""
        if self.seconds is None:
            return None
        return max(1, int(self._left() / (2 * self._step)))

    def record(self, steps: int, seconds: float) -> None:
        """Learn from a slice."""
        self._step = max(seconds, 1e-9) / max(steps, 1)

    def epoch_end(self) -> None:
        """Note that the steps of an epoch are made."""
        self._since = time.perf_counter()

    def epoch_begin(self) -> None:
        """Note that validation and callbacks have had their time."""
        if self._since < math.inf:
            self._between = time.perf_counter() - self._since

    def _left(self) -> float:
        return self._ends - self._between - time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether it is time for the last epoch's validation and callbacks, or later."""
        return self._left() <= 0

    def __str__(self) -> str:
        return f"the time_budget of {self.seconds:g} seconds is used up"
