"""How many workers run a program, and how many steps they make before Python looks again.

Whether a second worker is worth its barriers depends on the machine, on its load, and on the
slice, so it is measured: teams of different sizes run the first slices of a program, and the
fastest size is kept as long as it stays fast. The results have the same bits for any team.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

from fastnn.core import threads

# How long the engine runs before Python may check for Ctrl-C, in seconds; how long while team
# sizes are being tried; and the multiply-adds per second of a slow machine.
SLICE_SECONDS = 0.04
TRIAL_SECONDS = 0.002
WORK_PER_SECOND = 5e9
STEP_SECONDS = 2e-6  # of the smallest network

TRIALS = 4  # of each size, in sequence; the first, with cold caches, does not count
# A team that has been idle may begin with two workers on one processor (especially in a virtual
# machine): until the system has separated them, each barrier takes milliseconds. A trial that is
# this much slower than one worker is repeated, for a limited time.
UNSETTLED = 3.0
SETTLING_SECONDS = 0.15
ADVANTAGE = 0.95  # a larger team must take at most this fraction of a smaller one's time
# Sizes are tried again after a while, since the load of the machine may change: soon at first,
# because a measurement made while others start or compile says little about later; then ever later.
TRY_AGAIN_SECONDS = 0.2
TRY_AGAIN_AT_MOST_SECONDS = 5.0
DISAPPOINTMENTS = (
    3  # slices in a row that one worker would have run faster; then sizes are tried again
)


@dataclass
class TeamSize:
    """How many workers run a program at one batch size, and how many steps they make per slice.

    Attributes
    ----------
    work : float
        Work of a step, in multiply-adds; see `Plan.effort`.
    workers : int
        Size of the team that was the fastest.
    limit : int
        Number of threads allowed when sizes were last tried.
    """

    work: float
    workers: int = 1
    limit: int = 0
    _steps: int = 1
    _trials: list[int] = field(default_factory=list)
    _seconds: dict[int, list[float]] = field(default_factory=dict)
    _since_trials: float = 0.0
    _patience: float = TRY_AGAIN_SECONDS
    _settling: float = 0.0
    _alone: float = 0.0
    _disappointments: int = 0

    def __post_init__(self) -> None:
        """Find out whether a step is worth more than one worker, however many there may be."""
        self._may_be_shared = threads.team_sizes(self.work, 2) != [1]

    def next(self, left: int) -> tuple[int, int]:
        """Return how many of the `left` steps to run next, and with how many workers."""
        if not self._may_be_shared and self.limit == 1:  # a short epoch takes microseconds
            return min(self._steps, left), 1
        limit = threads.share() if self._may_be_shared else 1
        if not self.limit:
            self._steps = self.steps_in(SLICE_SECONDS)
        if limit != self.limit:
            self._patience = TRY_AGAIN_SECONDS
            self._begin(limit)
        elif self._since_trials > self._patience:
            self._patience = min(2 * self._patience, TRY_AGAIN_AT_MOST_SECONDS)
            self._begin(limit)
        trials = self._trials  # other threads may run the same program and replace it
        if not trials:
            return min(self._steps, left), self.workers
        return min(self.steps_in(TRIAL_SECONDS), left), trials[0]

    def record(self, steps: int, workers: int, seconds: float) -> None:
        """Record the time of a slice that `next` asked for."""
        each = max(seconds, 1e-9) / steps
        trials = self._trials
        if trials:
            if self._is_unsettled(workers, each):
                self._settling += seconds
                return
            self._seconds.setdefault(workers, []).append(each)
            if workers == trials[0]:
                self._trials = trials[1:]
            if not self._trials:
                self._choose()
        else:
            self._since_trials += seconds
            is_slow = workers > 1 and each > self._alone > 0
            self._disappointments = self._disappointments + 1 if is_slow else 0
            if self._disappointments == DISAPPOINTMENTS:
                self._since_trials = math.inf
            if steps >= self._steps:
                self._steps = max(1, min(4 * self._steps, int(SLICE_SECONDS / each)))

    def _begin(self, limit: int) -> None:
        sizes = threads.team_sizes(self.work, limit)
        self.limit, self._since_trials, self._seconds = limit, 0.0, {}
        self.workers, self._alone, self._disappointments = sizes[0], 0.0, 0
        self._trials = sorted(sizes * TRIALS) if len(sizes) > 1 else []
        self._settling = 0.0

    def _is_unsettled(self, workers: int, each: float) -> bool:
        alone = self._seconds.get(1)
        return bool(
            alone
            and workers > 1
            and each > UNSETTLED * statistics.median(alone)
            and self._settling < SETTLING_SECONDS
        )

    def steps_in(self, seconds: float) -> int:
        """Return how many steps a slow machine makes in the given time, at least 1."""
        return max(1, int(seconds / max(self.work / WORK_PER_SECOND, STEP_SECONDS)))

    def _choose(self) -> None:
        # Not the minimum: a team suffers twice from whatever else the machine does.
        usual = {
            size: statistics.median(times[1:] or times)
            for size, times in self._seconds.copy().items()
        }
        if not usual:  # another thread has begun to try sizes again
            return
        chosen = min(usual)
        for size in sorted(usual):
            if usual[size] < ADVANTAGE * usual[chosen]:
                chosen = size
        self.workers, self._alone = chosen, usual[min(usual)]
        self._steps = max(1, int(SLICE_SECONDS / usual[chosen]))
