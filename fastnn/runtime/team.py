"""How many workers run a program, and how many steps they make before Python looks again.

Whether a second worker is worth its barriers depends on the machine, on its load, and on the
slice, so it is measured: teams of different sizes run the first slices of a program, and the
fastest size is kept as long as it stays fast. The results have the same bits for any team.

A worker whose processor is taken by another program holds up the whole team at every barrier, for
milliseconds. Its own clock tells: it had less processor time than time has passed. As soon as that
happens, the team is put to the test against as many workers as had a processor to themselves.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from fastnn.core import threads

# How long the engine runs before Python may check for Ctrl-C, in seconds; and the multiply-adds
# per second of a slow machine.
SLICE_SECONDS = 0.04
TEAM_SLICE_SECONDS = 0.02  # of more than one worker, so that a busy neighbor is noticed soon
WORK_PER_SECOND = 5e9
STEP_SECONDS = 2e-6  # of the smallest network

# Slices of each size when sizes are tried, in sequence; the first, with cold caches, is left out.
# Single calls take microseconds: there are as many of them as take TRIAL_SECONDS.
TRIALS = 4
TRIAL_SECONDS = 0.002
# Workers that have been idle sleep, and to wake them may take longer than a call. Calls that follow
# one another keep them awake, so a team is tried once they are, unless they never are.
RUDE_AWAKENINGS = 8
# A team that has been idle may begin with two workers on one processor (especially in a virtual
# machine): until the system has separated them, each barrier takes milliseconds. A trial that is
# this much slower than one worker is repeated, for a limited time.
UNSETTLED = 3.0
SETTLING_SECONDS = 0.02
ADVANTAGE = 0.95  # a larger team must take at most this fraction of a smaller one's time
# Sizes are tried again after a while, since the load of the machine may change: soon at first,
# because a measurement made while others start or compile says little about later; then ever later.
TRY_AGAIN_SECONDS = 0.2
TRY_AGAIN_AT_MOST_SECONDS = 5.0
# One worker would have been faster for so long, without interruption: sizes are tried again.
DISAPPOINTED_SECONDS = 0.03
# A worker had no processor for this share of the time, and so many seconds in all: the smaller team
# that had one throughout runs for TEST_SECONDS, in slices of SHORT_SECONDS.
ABSENT_SHARE = 0.1
ABSENT_SECONDS = 0.001
TEST_SECONDS = 0.01
SHORT_SECONDS = 0.005
# Calls of a settled team that are made like the one before: the system is not asked for processors,
# and the time of the next call stands for theirs.
CALLS_ALIKE = 3
MEMORY_SECONDS = 0.05  # how far back the time of the team and its absences are remembered


@dataclass
class Pace:
    """How long some steps took, and how long a worker was absent meanwhile.

    Attributes
    ----------
    steps : float
    seconds : float
    watched, absence : float
        Seconds in which the workers were watched, and for how many of them one had no processor.
    """

    steps: float = 0.0
    seconds: float = 0.0
    watched: float = 0.0
    absence: float = 0.0

    @property
    def each(self) -> float:
        """Seconds of a step."""
        return self.seconds / max(self.steps, 1.0)

    @property
    def is_disturbed(self) -> bool:
        """Whether a worker lacked a processor for too long."""
        return self.absence > max(ABSENT_SECONDS, ABSENT_SHARE * self.watched)

    def add(self, steps: int, seconds: float, watched: float = 0.0, absence: float = 0.0) -> None:
        """Take note of a slice."""
        self.steps += steps
        self.seconds += seconds
        self.watched += watched
        self.absence += absence

    def fade(self) -> None:
        """Give what was noted half of its weight."""
        self.steps, self.seconds = self.steps / 2, self.seconds / 2
        self.watched, self.absence = self.watched / 2, self.absence / 2

    def steps_in(self, seconds: float) -> int:
        """Return how many steps are made in the given time, at least 1."""
        return max(1, int(seconds / max(self.each, 1e-9)))


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
    rival : int
        Size of the team that is being tested against the usual one; otherwise 0.
    """

    work: float
    workers: int = 1
    limit: int = 0
    rival: int = 0
    _steps: int = 1
    _trials: list[int] = field(default_factory=list)
    _seconds: dict[int, list[float]] = field(default_factory=dict)
    _since_trials: float = 0.0
    _patience: float = TRY_AGAIN_SECONDS
    _paces: dict[int, Pace] = field(default_factory=dict)  # of the sizes that are being tried
    _settling: float = 0.0
    _asleep: int = 0  # trials whose workers had to be woken
    _alone: float = 0.0
    _disappointed: float = 0.0  # for so many seconds
    _recent: Pace = field(default_factory=lambda: Pace())  # of the usual team
    _tested: Pace = field(default_factory=lambda: Pace())  # of its rival
    _is_alarmed: bool = False  # a worker was absent: `_recent` has what has been seen since
    _immune_for: float = 0.0  # seconds for which absences do not lead to another test
    _has_neighbor: bool = False  # a worker had no processor, and no large team has won since
    _alike: int = 0  # calls that may yet be made like the one before ...
    _settings: tuple[object, ...] = ()  # ... if these are still the settings
    _unrecorded: int = 0  # calls made since the last one that was recorded

    def __post_init__(self) -> None:
        """Find out whether a step is worth more than one worker, however many there may be."""
        self._may_be_shared = threads.team_sizes(self.work, 2) != [1]

    @property
    def is_unsure(self) -> bool:
        """Whether it matters now if a worker had no processor, however short the run."""
        return bool(self._trials or self.rival or self._has_neighbor)

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
            self._has_neighbor = self._has_neighbor and self.workers < limit
            self._begin(limit)
        trials = self._trials  # other threads may run the same program and replace it
        if trials:
            return min(self.steps_in(TRIAL_SECONDS), left), trials[0]
        if self.rival:
            return min(self._recent.steps_in(SHORT_SECONDS), left), self.rival
        if self._has_neighbor and self.workers > 1 and self._recent.seconds < TEST_SECONDS:
            return min(self._steps, self.steps_in(SHORT_SECONDS), left), self.workers
        return min(self._steps, left), self.workers

    def next_call(self) -> tuple[int, bool]:
        """Return with how many workers to make a single call, and whether its time is recorded."""
        if self._alike and threads.settings() == self._settings:
            self._alike -= 1
            self._unrecorded += 1
            return self.workers, False
        if self._alike:  # what was not recorded was made with other settings
            self._alike = self._unrecorded = 0
        return self.next(1)[1], True

    def record_call(self, workers: int, seconds: float, *seen: Any) -> None:
        """Record the time of a call that `next_call` asked for; see `record`."""
        calls, self._unrecorded = 1 + self._unrecorded, 0
        if seen and seen[0] >= 0:  # it was watched, as others were not
            calls = 1
        self.record(calls, workers, calls * seconds, *seen)
        is_settled = not (self.is_unsure or self._is_alarmed or math.isinf(self._since_trials))
        self._alike, self._settings = (CALLS_ALIKE, threads.settings()) if is_settled else (0, ())

    def record(
        self,
        steps: int,
        workers: int,
        seconds: float,
        absence: float = -1.0,
        present: int = 0,
        was_idle: bool = False,
    ) -> None:
        """Record the time of a slice that `next` asked for.

        Parameters
        ----------
        steps, workers : int
        seconds : float
        absence : float, default -1.0
            For how many of them a worker had no processor; negative: unknown.
        present : int, default 0
            How many workers had one nearly all the time.
        was_idle : bool, default False
            Whether they may have had to be woken.
        """
        each = max(seconds, 1e-9) / steps
        trials = self._trials
        if self.rival and not trials:
            self._test(steps, workers, seconds)
        elif trials:
            is_still_absent = absence > max(ABSENT_SECONDS, ABSENT_SHARE * seconds)
            if not self._has_neighbor:
                if self._is_unsettled(workers, each):
                    self._settling += seconds
                    self._has_neighbor = is_still_absent and self._settling >= SETTLING_SECONDS
                    return
                if was_idle and self._asleep < RUDE_AWAKENINGS:
                    self._asleep += 1
                    return
            times = self._seconds.setdefault(workers, [])
            times.append(each)
            pace = self._paces.setdefault(workers, Pace())
            pace.add(steps, seconds, seconds, max(absence, 0.0))
            enough = TEST_SECONDS if self._has_neighbor and workers > 1 else TRIAL_SECONDS
            if self._has_neighbor and is_still_absent:
                self._trials = []
            elif len(times) >= TRIALS and pace.seconds >= enough and workers == trials[0]:
                self._trials = trials[1:]
            if not self._trials:
                self._choose()
        else:
            self._since_trials += seconds
            is_slow = workers > 1 and each > self._alone > 0
            self._disappointed = self._disappointed + seconds if is_slow else 0.0
            if self._disappointed > DISAPPOINTED_SECONDS:
                self._since_trials = math.inf
            if workers > 1:
                self._immune_for -= seconds
                if absence < 0 and not self._is_alarmed:  # as usual, and a call takes microseconds
                    self._recent.steps += steps
                    self._recent.seconds += seconds
                else:
                    self._watch(steps, seconds, absence, present)
            if steps >= self._steps:
                self._steps = max(1, min(4 * self._steps, int(_slice_of(workers) / each)))

    def _begin(self, limit: int) -> None:
        sizes = threads.team_sizes(self.work, limit)
        self.limit, self._since_trials, self._seconds = limit, 0.0, {}
        self.workers, self._alone, self._disappointed = sizes[0], 0.0, 0.0
        self._trials = sizes if len(sizes) > 1 else []
        self._settling = self._immune_for = 0.0
        self._paces, self._asleep = {}, 0
        self.rival, self._recent, self._is_alarmed = 0, Pace(), False

    def _watch(self, steps: int, seconds: float, absence: float, present: int) -> None:
        """Take note of a slice of the usual team; begin a test if a worker had no processor."""
        seen = (steps, seconds, seconds if absence >= 0 else 0.0, max(absence, 0.0))
        self._recent.add(*seen)
        if self._recent.seconds > MEMORY_SECONDS and not self._is_alarmed:
            self._recent.fade()
        is_absent = self._recent.absence > ABSENT_SHARE * self._recent.watched
        if not self._is_alarmed:
            if self._immune_for > 0 or not is_absent or self._recent.absence < ABSENT_SECONDS:
                return
            if not self._has_neighbor:  # it may soon go away
                self._patience, self._since_trials = TRY_AGAIN_SECONDS, 0.0
            self._is_alarmed = self._has_neighbor = True
            self._recent = Pace()  # what came before was another situation
            self._recent.add(*seen)
        if self._recent.seconds >= TEST_SECONDS:
            self._is_alarmed = False
            if is_absent:
                self._tested, self.rival = Pace(), max(1, min(present, self.workers - 1))

    def _test(self, steps: int, workers: int, seconds: float) -> None:
        """Take note of a slice of the rival; decide when it has had its time."""
        if workers != self.rival:  # another thread's, asked for before
            return
        tested = self._tested
        tested.add(steps, seconds)
        if tested.seconds < TEST_SECONDS:
            return
        if tested.each < self._recent.each:
            self.workers, self._alone = self.rival, tested.each if self.rival == 1 else 0.0
            self._steps = max(1, int(_slice_of(self.rival) / tested.each))
            self._since_trials = 0.0  # the sizes are tried again later
        else:
            self._immune_for = self._patience
            self._patience = min(2 * self._patience, TRY_AGAIN_AT_MOST_SECONDS)
        self.rival, self._recent = 0, Pace()

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
        usual, paces = {}, self._paces
        for size, times in self._seconds.copy().items():
            pace = paces.get(size, Pace())
            self._has_neighbor = self._has_neighbor or pace.is_disturbed
            usual[size] = statistics.median(times[1:] or times)
            if size > 1 and self._has_neighbor:  # a slice in ten may take nearly all of the time
                usual[size] = pace.each
        if not usual:  # another thread has begun to try sizes again
            return
        chosen = min(usual)
        for size in sorted(usual):
            if usual[size] < ADVANTAGE * usual[chosen]:
                chosen = size
        self.workers, self._alone = chosen, usual[min(usual)]
        self._has_neighbor = self._has_neighbor and chosen < self.limit
        self._steps = max(1, int(_slice_of(chosen) / usual[chosen]))


def _slice_of(workers: int) -> float:
    """Return how long a slice is to take, in seconds."""
    return SLICE_SECONDS if workers == 1 else TEAM_SLICE_SECONDS
