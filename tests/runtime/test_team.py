"""How the size of the team is chosen."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise

import numpy as np
import pytest
from another_python import python

import fastnn as fnn
from fastnn.core import threads as thread_limits
from fastnn.native import engine
from fastnn.program.purpose import Purpose
from fastnn.runtime.team import (
    ABSENT_SHARE,
    ADVANTAGE,
    CALLS_ALIKE,
    DISAPPOINTED_SECONDS,
    RUDE_AWAKENINGS,
    SETTLING_SECONDS,
    SLICE_SECONDS,
    TEST_SECONDS,
    TRIAL_SECONDS,
    TRIALS,
    TRY_AGAIN_AT_MOST_SECONDS,
    TRY_AGAIN_SECONDS,
    TeamSize,
)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.setattr(thread_limits, "WORK_PER_WORKER", 1_500_000)
    monkeypatch.setattr(thread_limits, "get_num_threads", lambda: 4)


def tried(pace, seconds_of, left=10**9):
    """Run slices until all sizes have been tried; return those that were asked for.

    `seconds_of(workers, number)` is the time of a step in the slice of this number.
    """
    asked = []
    while pace._trials or not asked:
        steps, workers = pace.next(left)
        pace.record(steps, workers, steps * seconds_of(workers, len(asked)))
        asked.append(workers)
    return asked


def paced(seconds, work=5e6, slices=3):
    """A TeamSize after trials and some slices, where a step takes seconds[workers]."""
    pace = TeamSize(work)
    asked = tried(pace, lambda workers, number: seconds[workers])
    for _ in range(slices):
        steps, workers = pace.next(10**9)
        asked.append(workers)
        pace.record(steps, workers, steps * seconds[workers])
    return pace, asked


def test_each_size_is_tried_in_turn_and_the_fastest_stays():
    pace, asked = paced({1: 3e-4, 2: 1e-4, 4: 2e-4})
    assert [size for size, _ in groupby(asked)] == [1, 2, 4, 2]
    assert min(map(asked.count, (1, 2, 4))) >= TRIALS
    assert pace.workers == 2


def test_single_calls_are_tried_for_some_time():
    """A few calls of microseconds tell nothing."""
    each = {1: 3e-5, 2: 2e-5, 4: 1e-5}
    asked = tried(TeamSize(5e6), lambda workers, number: each[workers], left=1)
    for workers, seconds in each.items():
        assert asked.count(workers) == pytest.approx(TRIAL_SECONDS / seconds, abs=1)


@pytest.mark.parametrize("naps", [3, 1000])
def test_workers_that_sleep_are_not_tried_unless_they_always_do(naps):
    pace, asked = TeamSize(5e6), []
    while pace._trials or not asked:
        _, workers = pace.next(1)
        was_idle = workers == 4 and asked.count(4) < naps
        asked.append(workers)
        pace.record(1, workers, 3e-4 if was_idle else 2e-4 / workers, was_idle=was_idle)
    assert pace.workers == (4 if naps < RUDE_AWAKENINGS else 2)


def test_a_team_that_is_hardly_faster_does_not_stay():
    just = 1e-4 * (ADVANTAGE + 0.01)
    assert paced({1: 1e-4, 2: just, 4: just})[0].workers == 1


def test_the_first_trial_of_a_size_does_not_count():
    pace = TeamSize(5e6)
    tried(pace, lambda workers, number: 1e-9 if number == 0 else 1e-4 / workers)
    assert pace.workers == 4


def test_one_quick_trial_does_not_make_a_team_the_fastest():
    pace, seconds = TeamSize(5e6), []

    def seconds_of(workers, number):
        seconds.append(workers)
        return 1e-5 if seconds.count(4) == 2 and workers == 4 else 1e-4 * workers**0.5

    tried(pace, seconds_of)
    assert pace.workers == 1


def test_a_team_that_one_worker_would_beat_is_put_to_the_test_again():
    pace, _ = paced({1: 3e-4, 2: 1e-4, 4: 2e-4})
    slow = 10 * [True]
    for slowly in (*slow[1:], False, *slow):
        assert pace.next(10**9)[1] == 2
        pace.record(10, 2, 10 * (3.1e-4 if slowly else 1e-4))
    assert 10 * len(slow) * 3.1e-4 > DISAPPOINTED_SECONDS > 10 * 9 * 3.1e-4
    asked = tried(pace, lambda workers, number: 3e-4 * workers**0.5)
    assert [size for size, _ in groupby(asked)] == [1, 2, 4]
    assert pace.workers == 1


def test_a_team_that_begins_on_one_processor_is_given_time():
    """Each barrier takes milliseconds until the system has separated the workers."""
    pace, asked = TeamSize(5e6), []
    stuck = 2
    while pace._trials or not asked:
        _, workers = pace.next(1)
        asked.append(workers)
        is_stuck = workers == 2 and asked.count(2) <= stuck
        pace.record(1, workers, 8e-3 if is_stuck else 1e-3 / workers)
    assert asked.count(1) == TRIALS
    assert asked.count(2) == TRIALS + stuck
    assert pace.workers == 4


def test_a_team_that_stays_slow_is_given_up():
    pace = TeamSize(5e6)
    asked = tried(pace, lambda workers, number: 1e-3 if workers == 1 else 8e-3, left=1)
    assert pace.workers == 1
    assert len(asked) <= 3 * TRIALS + SETTLING_SECONDS / 8e-3 + 1


@pytest.mark.parametrize(
    ("work", "sizes"), [(1e5, [1]), (1e6, [1, 2]), (2e6, [1, 2, 4]), (1e9, [4])]
)
def test_small_steps_try_no_team_and_large_ones_nothing_else(work, sizes):
    assert thread_limits.team_sizes(work, 4) == sizes
    _, asked = paced(dict.fromkeys(sizes, 1e-4), work)
    assert sorted(set(asked)) == sizes


def test_slices_grow_to_their_time_and_not_beyond():
    pace, _ = paced({1: 1e-6}, work=10, slices=1)
    for _ in range(10):
        steps, workers = pace.next(10**9)
        pace.record(steps, workers, steps * 1e-6)
    assert steps == pytest.approx(SLICE_SECONDS / 1e-6, rel=1e-3)
    assert pace.next(7) == (7, 1)


def test_sizes_are_tried_again_after_a_while_and_for_another_number_of_threads(monkeypatch):
    pace, _ = paced({1: 1e-4, 2: 2e-4, 4: 3e-4})
    pace.record(1, 1, TRY_AGAIN_SECONDS + 1)
    assert [pace.next(10**9)[1] for _ in range(2)] == [1, 1]  # the first of the trials
    assert pace._trials
    pace, _ = paced({1: 1e-4, 2: 2e-4, 4: 3e-4})
    monkeypatch.setattr(thread_limits, "get_num_threads", lambda: 1)
    assert pace.next(10**9)[1] == 1
    assert not pace._trials


def test_sizes_are_tried_again_soon_and_then_ever_later():
    """A choice made while the machine was busy does not last."""
    pace, waited = TeamSize(5e6), []
    for _ in range(8):
        tried(pace, lambda workers, number: 1e-4)
        waited.append(0.0)
        while not pace._trials:
            pace.record(100, pace.workers, 0.01)
            waited[-1] += 0.01
            pace.next(10**9)
    expected = [min(TRY_AGAIN_SECONDS * 2**i, TRY_AGAIN_AT_MOST_SECONDS) for i in range(8)]
    assert waited == pytest.approx(expected, abs=0.02)


# --- workers that lose their processor -----------------------------------------------------------


def disturbed(pace, each, seconds, share=0.5, present=1):
    """Run slices in which a worker of a team is absent; return their sizes and seconds.

    Parameters
    ----------
    pace : TeamSize
    each : dict of int to float
        Seconds of a step, by the size of the team.
    seconds : float
        For how long.
    share : float
        Of the time that the worker is absent.
    present : int
        How many workers of a team are not.
    """
    asked = []
    while sum(time for _, time in asked) < seconds:
        steps, workers = pace.next(10**9)
        time = steps * each[workers]
        absence = -1.0 if workers == 1 else share * time if workers > present else 0.0
        pace.record(steps, workers, time, absence, present)
        asked.append((workers, time))
    return asked


def settled(work=1e9):
    """A TeamSize for which four workers have long been the fastest."""
    pace, _ = paced({1: 4e-4, 2: 2e-4, 4: 1e-4}, work, slices=200)
    assert pace.workers == 4
    return pace


@pytest.mark.parametrize("work", [5e6, 1e9], ids=["tried", "surely a team"])
def test_a_team_gives_way_soon_when_a_worker_loses_its_processor(work):
    asked = disturbed(settled(work), {1: 2.4e-4, 2: 3e-4, 4: 2.5e-4}, 0.2, present=0)
    sizes = [workers for workers, _ in asked]
    before = [seconds for workers, seconds in asked[: sizes.index(1)] if workers == 4]
    assert sum(before) < 0.055
    alone = sum(seconds for workers, seconds in asked if workers == 1)
    assert alone > 0.6 * sum(seconds for _, seconds in asked)


def test_as_many_workers_are_tested_as_have_a_processor():
    pace = settled()
    disturbed(pace, {3: 2e-4, 4: 4e-4}, 0.2, present=3)
    assert pace.workers == 3


def test_a_team_that_is_still_faster_stays_and_is_not_tested_again_at_once():
    pace = settled()
    asked = disturbed(pace, {1: 4e-4, 4: 2e-4}, TRY_AGAIN_SECONDS, present=0)
    alone = sum(seconds for workers, seconds in asked if workers == 1)
    assert TEST_SECONDS <= alone < 2 * TEST_SECONDS
    assert pace.workers == 4


@pytest.mark.parametrize(("share", "steps"), [(ABSENT_SHARE / 2, 100), (0.9, 4)])
def test_absences_that_are_short_or_rare_do_not_disturb(share, steps):
    pace = settled()
    for _ in range(100 if share < 0.5 else 1):
        pace.record(steps, 4, steps * 1e-4, share * steps * 1e-4, 3)
    assert pace.next(10**9)[1] == 4


def calls(pace, number, each, absence=-1.0):
    """Make single calls; return how many workers each had, and which of them were recorded."""
    asked, recorded = [], []
    for _ in range(number):
        workers, is_recorded = pace.next_call()
        asked.append(workers)
        recorded.append(is_recorded)
        if is_recorded or absence >= 0:
            pace.record_call(workers, each, absence, 1, False)
    return asked, recorded


def test_most_calls_of_a_settled_team_are_made_like_the_one_before():
    pace = settled()
    workers = pace.workers
    asked, recorded = calls(pace, 3 * (1 + CALLS_ALIKE), 1e-3)
    assert asked == [workers] * len(asked)
    assert recorded == ([True] + [False] * CALLS_ALIKE) * 3


def test_the_time_of_one_call_stands_for_those_that_were_not_recorded():
    pace, before = settled(), TRY_AGAIN_SECONDS
    each = before / 100
    calls(pace, 60, each)
    assert not pace._trials
    calls(pace, 60, each)
    assert pace._trials or pace._patience > before  # as late as if each had been recorded


def test_calls_notice_at_once_that_another_number_of_threads_is_allowed(monkeypatch):
    pace = settled()
    calls(pace, 2, 1e-3)
    monkeypatch.setattr(thread_limits, "get_num_threads", lambda: 1)
    fnn.set_num_threads(1)
    try:
        assert pace.next_call() == (1, True)
    finally:
        fnn.set_num_threads(None)


def test_calls_made_with_other_settings_do_not_count_for_the_new_ones(monkeypatch):
    pace, taken = settled(), []
    calls(pace, 3, 1e-3)  # two of them are not recorded
    monkeypatch.setattr(thread_limits, "settings", lambda: ("others",))
    monkeypatch.setattr(pace, "record", lambda steps, *rest: taken.append((steps, rest[1])))
    workers, is_recorded = pace.next_call()
    pace.record_call(workers, 5e-3)
    assert is_recorded
    assert taken == [(1, 5e-3)]


def test_calls_in_which_a_worker_had_no_processor_are_recorded_and_watched():
    pace = settled()
    calls(pace, 2, 1e-3)
    made = 0
    while not pace.rival and made < 40:  # within 50 milliseconds
        calls(pace, 1, 1e-3, absence=5e-4)
        made += 1
    assert pace.rival == 1
    assert pace.next_call() == (1, True)  # no call is like the one before while sizes are compared


def test_trying_again_beside_a_busy_neighbor_takes_one_slice():
    pace, asked, passed = settled(5e6), [], 0.0
    while passed < 5.0:
        steps, workers = pace.next(10**9)
        seconds = steps * {1: 2.4e-4, 2: 2e-4, 4: 1.5e-4}[workers]
        lost = max(0.003, seconds) if workers > 1 else 0.0  # the neighbor's time slices
        seconds += lost
        pace.record(steps, workers, seconds, lost or -1.0, 0)
        asked.append(workers)
        passed += seconds
    assert asked.count(1) > 0.8 * len(asked)
    again = [b for a, b in pairwise(asked) if a == 1 and b > 1]
    assert len(again) >= 2
    assert sum(workers > 1 for workers in asked) < 4 * len(again)


def test_a_team_comes_back_when_it_has_the_processors_again():
    pace = settled()
    disturbed(pace, {1: 4e-4, 4: 1e-3}, 0.3, present=0)
    assert pace.workers == 1
    asked = disturbed(pace, {1: 4e-4, 4: 1e-4}, 2 * TRY_AGAIN_SECONDS + 0.1, share=0.0)
    assert asked[-1][0] == pace.workers == 4


TWO_WORKERS_ON_ONE_PROCESSOR = """
import os
import numpy as np, fastnn as fnn
from fastnn.core import threads
from fastnn.runtime.team import TeamSize

threads.get_num_threads = lambda: 2
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
told, record = [], TeamSize.record
TeamSize.record = lambda *arguments: told.append(arguments[2:]) or record(*arguments)
rng = np.random.default_rng(0)
model = fnn.Sequential([fnn.Dense(256, "relu"), fnn.Dense(8)], input_shape=(256,), seed=0)
model.compile("sgd", "mse")
x, y = rng.normal(size=(512, 256)), rng.normal(size=(512, 8))
model.fit(x, y, batch_size=512, epochs=100, verbose=0)
watched = [one for one in told if one[0] == 2 and one[2] >= 0]  # sizes, seconds, absences
seconds, absences = (sum(one[i] for one in watched) for i in (1, 2))
print(absences > 0.1 * seconds, 1 in [one[0] for one in told])
"""


@pytest.mark.alone
@pytest.mark.skipif(
    not engine.HAS_OPENMP or not hasattr(os, "sched_setaffinity"), reason="no team, or no affinity"
)
def test_the_engine_tells_that_two_workers_had_one_processor(tmp_path):
    done = python(TWO_WORKERS_ON_ONE_PROCESSOR, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True True\n"


def test_fit_learns_its_pace_and_keeps_it(rng, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(thread_limits, "WORK_PER_WORKER", 100_000)
    fnn.set_num_threads(2)
    model = fnn.Sequential([fnn.Dense(64), fnn.Dense(1)], input_shape=(8,), seed=0)
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((2000, 8)), rng.standard_normal((2000, 1))
    pace = model.network.runtime.bound(Purpose.TRAIN, 100, "real").team(100)
    for _ in range(500):  # on a busy machine the team needs time
        model.fit(x, y, batch_size=100, verbose=0)
        if not pace._trials:
            break
    fnn.set_num_threads(None)
    assert pace.limit == 2
    assert sorted(pace._seconds) == [1, 2]
    assert all(len(times) >= TRIALS for times in pace._seconds.values())
    assert np.isfinite(model.evaluate(x, y)["loss"])


def test_trainings_at_the_same_time_share_the_threads(monkeypatch):
    """Each gets an equal part, in its own thread; an inner training is no other one."""
    monkeypatch.setattr(thread_limits, "_allowed", lambda: 9)
    monkeypatch.setattr(thread_limits, "get_num_threads", lambda: min(9, thread_limits._most.get()))

    def share_of_another():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(thread_limits.share).result()

    def busy_share(others):
        def shares():
            everybody.wait(20)
            share = thread_limits.share()
            limited = thread_limits.at_most(2, thread_limits.share)
            everybody.wait(20)
            return share, limited

        return thread_limits.busy(thread_limits.busy, shares)

    assert (thread_limits.share(), share_of_another()) == (9, 9)
    assert thread_limits.busy(lambda: (thread_limits.share(), share_of_another())) == (9, 4)
    for trainings, share in [(2, 4), (3, 3), (4, 2), (9, 1), (12, 1)]:
        everybody = threading.Barrier(trainings)
        with ThreadPoolExecutor(trainings) as pool:
            found = list(pool.map(busy_share, range(trainings)))
        assert found == [(share, min(share, 2))] * trainings
    assert (thread_limits.share(), share_of_another()) == (9, 9)


def test_a_training_beside_another_one_gets_its_share(monkeypatch):
    """And all threads again afterwards."""
    monkeypatch.setattr(thread_limits, "_allowed", lambda: 4)
    monkeypatch.setattr(thread_limits, "WORK_PER_WORKER", 1)
    pace = TeamSize(5e6)
    limits = []
    with ThreadPoolExecutor(1) as pool:
        for is_shared in (False, True, False):

            def next_of_another():
                return pool.submit(pace.next, 10**9).result()

            found = thread_limits.busy(next_of_another) if is_shared else next_of_another()
            steps, workers = found
            pace.record(steps, workers, 1e-4)
            limits.append(pace.limit)
    assert limits == [4, 2, 4]


def test_sizes_that_another_thread_tries_anew_meanwhile():
    """It has dropped the times of which this one was to choose."""

    class Dropped(dict):
        def setdefault(self, *arguments):
            pace._seconds = {}
            return super().setdefault(*arguments)

    pace = TeamSize(5e6)
    while pace._trials != [4] or len(pace._seconds.get(4, [])) < TRIALS - 1:
        steps, workers = pace.next(10**9)
        pace.record(steps, workers, steps * 1e-3)
    pace._seconds = Dropped(pace._seconds)
    steps, workers = pace.next(10**9)
    pace.record(steps, workers, steps * 1e-4)
    assert pace.next(10**9)[1] in (1, 2, 4)
