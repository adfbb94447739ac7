"""Ensembles over folds: what is held out, which epoch is kept, and how a training ends."""

import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastnn.callbacks import Callback
from fastnn.tabular import learning, member, scores
from fastnn.tabular.ensemble import joined_model
from fastnn.tabular.learning import learn
from fastnn.tabular.plan import Progress, planned, within
from fastnn.tabular.recipes import RealMLP, Task

LIGHT = RealMLP(hidden=(12,), epochs=6)
TWO, THREE = Task(4, 0, [], classes=2), Task(4, 0, [], classes=3)
NUMBERS = Task(4, 0, [])


def data(task, rng, rows=160):
    x = rng.normal(size=(rows, task.inputs)).astype(np.float32)
    signal = x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.5 * rng.normal(size=rows)
    if task.classes:
        edges = np.quantile(signal, np.linspace(0, 1, task.classes + 1)[1:-1])
        return x, np.searchsorted(edges, signal)
    return x, ((signal - signal.mean()) / signal.std()).astype(np.float32)


@pytest.mark.parametrize("task", [TWO, THREE, NUMBERS, Task(4, 0, [], quantiles=(0.1, 0.5, 0.9))])
def test_each_row_is_predicted_once_by_a_member_that_has_not_seen_it(rng, task):
    x, y = data(task, rng)
    found = learn(x, y, task, recipe=LIGHT, members=5)
    held_out = np.concatenate([one.held_out for one in found.members])
    assert_array_equal(np.sort(held_out), np.arange(160))
    assert found.out_of_fold.shape == (160, task.outputs)
    assert np.isfinite(found.out_of_fold).all()
    assert found.stop_reason == "completed"
    one = found.members[2]
    own = one.predict(x[one.held_out], task)
    if task.classes:
        powers = own.astype(float) ** (1 / found.temperature)
        own = powers / powers.sum(axis=1, keepdims=True)
    assert_allclose(found.out_of_fold[one.held_out], own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("limit", "members", "expected"),
    [
        (1, 5, [1, 1, 1, 1, 1]),
        (2, 5, [1, 1, 1, 1, 2]),  # the last one has both to itself
        (2, 4, [1, 1, 1, 1]),
        (2, 1, [2]),
        (4, 5, [1, 1, 1, 1, 4]),
        (8, 5, [1, 1, 1, 1, 1]),
        (16, 5, [3, 3, 3, 3, 3]),
        (4, 6, [1, 1, 1, 1, 2, 2]),
    ],
)
def test_threads_of_members(monkeypatch, limit, members, expected):
    monkeypatch.setattr("fastnn.core.threads.get_num_threads", lambda: limit)
    plan = planned(LIGHT, NUMBERS, 1000, members)
    assert [plan.threads_of(one) for one in range(members)] == expected


def test_fewer_members_than_folds_leave_rows_without_a_prediction(rng):
    x, y = data(TWO, rng)
    found = learn(x, y, TWO, recipe=LIGHT, members=2)
    is_known = ~np.isnan(found.out_of_fold[:, 0])
    assert is_known.sum() == 64
    want = scores.get("accuracy", "classification")(y[is_known], found.out_of_fold[is_known])
    assert found.scores["accuracy"] == want


class Weights(Callback):
    """Keeps the weights of each epoch."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def on_epoch_end(self, epoch, logs):
        self.kept.append(self.model.get_weights())


@pytest.mark.parametrize(
    ("task", "metric"), [(TWO, "accuracy"), (TWO, "auto"), (NUMBERS, "mae"), (NUMBERS, "r2")]
)
def test_best_epoch_is_the_best_and_of_equals_the_last(rng, monkeypatch, task, metric):
    x, y = data(task, rng, 60)
    kept = []
    fit = member.Trainer._fit
    monkeypatch.setattr(
        member.Trainer, "_fit",
        lambda self, model, train, epochs, callbacks: fit(
            self, model, train, epochs, [*callbacks, Weights(kept)]
        ),
    )  # fmt: skip
    recipe = RealMLP(hidden=(12,), epochs=25)
    (one,) = learn(x, y, task, recipe=recipe, members=1, metric=metric).members
    curve = np.array(one.curve) * (1 if one.score.is_better_high else -1)
    assert len(curve) == len(one.losses) == len(kept) == 25
    assert one.best_epoch == np.flatnonzero(curve == curve.max())[-1]
    if metric == "accuracy":
        assert (curve == curve.max()).sum() > 1  # there are equals
    for array, want in zip(one.model.get_weights(), kept[one.best_epoch], strict=True):
        assert_array_equal(array, want)
    held = one.held_out
    found = one.predict(x[held], task)
    if not task.classes:
        found = found[:, 0]
    assert one.score(y[held], found) == pytest.approx(one.curve[one.best_epoch], rel=1e-6)


@pytest.mark.parametrize("task", [TWO, THREE, NUMBERS, Task(4, 0, [], quantiles=(0.2, 0.8))])
def test_joined_model_is_the_mean_of_the_members(rng, task):
    x, y = data(task, rng)
    found = learn(x, y, task, recipe=LIGHT, members=3)
    each = [one.recipe.answers(one.model, x).astype(float) for one in found.members]
    if task.classes:
        assert found.temperature != 1
        each = [one ** (1 / found.temperature) for one in each]
        each = [one / one.sum(axis=1, keepdims=True) for one in each]
    assert_allclose(found.model.predict(x), np.mean(each, axis=0), atol=2e-6)
    assert not np.allclose(found.model.predict(x), each[0], atol=1e-3)
    untempered = joined_model([one.model for one in found.members], RealMLP(), task, 1.0, 0)
    plain = np.mean([one.recipe.answers(one.model, x) for one in found.members], axis=0)
    assert_allclose(untempered.predict(x), plain, atol=1e-6)


@pytest.mark.parametrize("task", [TWO, NUMBERS])
def test_same_bits_for_any_number_of_threads(rng, threads, task):
    x, y = data(task, rng, 400)
    bits = set()
    for count in (1, 2, 3):
        threads(count)
        found = learn(x, y, task, recipe=RealMLP(hidden=(64, 64), epochs=3), members=3, seed=5)
        bits.add(found.model.predict(x).tobytes() + found.out_of_fold.tobytes())
    assert len(bits) == 1
    other = learn(x, y, task, recipe=RealMLP(hidden=(64, 64), epochs=3), members=3, seed=6)
    assert other.model.predict(x).tobytes() + other.out_of_fold.tobytes() not in bits


# --- scores -------------------------------------------------------------------------------------


def test_held_out_rows_of_one_class_are_judged_by_the_log_loss(rng):
    """The area under their curve is NaN in each epoch, and the first would be the best."""
    x, y = data(TWO, rng, 100)
    y[:20] = 1
    groups = np.where(np.arange(100) < 20, 0, np.arange(100) // 5)
    found = learn(x, y, TWO, recipe=LIGHT, groups=groups)
    by_name = {one.score.name: one for one in found.members}
    assert set(by_name) == {"roc_auc", "log_loss"}
    one = by_name["log_loss"]
    assert (y[one.held_out] == 1).all()
    assert one.best_epoch == int(np.argmin(one.curve))
    assert found.score.name == "roc_auc"


def test_equal_numbers_held_out_are_judged_by_rmse(rng):
    x, y = data(NUMBERS, rng, 100)
    y[:20] = 0.5
    groups = np.where(np.arange(100) < 20, 0, np.arange(100) // 5)
    found = learn(x, y, NUMBERS, recipe=LIGHT, groups=groups, metric="r2")
    assert {one.score.name for one in found.members} == {"r2", "rmse"}


def test_scores_are_in_the_unit_of_the_target(rng):
    x, y = data(NUMBERS, rng)
    found = learn(x, y, NUMBERS, recipe=LIGHT, scale=250.0)
    error = (found.out_of_fold[:, 0] - y) * 250.0
    assert found.scores["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert found.scores["r2"] == pytest.approx(1 - (error**2).mean() / (250 * y).var(), rel=1e-4)
    # A member's score is in the unit, too.
    assert 50 < min(found.members[0].curve) < 500


def test_threshold_belongs_to_the_scores_of_decisions(rng):
    x, y = data(TWO, rng, 300)
    y = np.where(rng.random(300) < 0.5, y, 0)  # one class in four
    found = learn(x, y, TWO, recipe=LIGHT, metric="f1")
    assert found.threshold != 0.5
    decided = found.out_of_fold[:, 1] >= found.threshold
    both = (decided & (y == 1)).sum()
    assert found.scores["f1"] == pytest.approx(2 * both / (decided.sum() + y.sum()))
    assert found.scores["accuracy"] == pytest.approx((decided == y).mean())
    assert learn(x, y, TWO, recipe=LIGHT, metric="log_loss").threshold == 0.5


def test_numbers_are_clipped_to_the_range_of_the_training(rng):
    x, y = data(NUMBERS, rng)
    found = learn(x, y, NUMBERS, recipe=LIGHT)
    for one in found.members:
        train = np.setdiff1d(np.arange(160), one.held_out)
        assert (one.low, one.high) == (y[train].min(), y[train].max())
        one.model.set_weights([array * 100 for array in one.model.get_weights()])
        wild = one.predict(x, NUMBERS)
        assert (wild.min(), wild.max()) == (one.low, one.high)
    assert found.out_of_fold.max() <= y.max()


def test_quantiles_are_in_order_and_have_a_score_of_their_own(rng):
    task = Task(4, 0, [], quantiles=(0.1, 0.5, 0.9))
    x, y = data(task, rng)
    found = learn(x, y, task, recipe=LIGHT)
    assert (np.diff(found.out_of_fold, axis=1) >= 0).all()
    assert list(found.scores) == ["pinball"]
    assert found.score.name == "pinball"
    assert found.scores["pinball"] == pytest.approx(
        scores.pinball(y, found.out_of_fold, task.quantiles)
    )
    with pytest.raises(ValueError, match="metric must be 'auto' or 'pinball' for quantiles"):
        learn(x, y, task, recipe=LIGHT, metric="mae")


# --- weights and groups -------------------------------------------------------------------------


def test_weights_count_in_training_and_in_the_choice_of_the_epoch(rng):
    x, y = data(TWO, rng, 200)
    flipped = np.concatenate([y[:100], 1 - y[100:]])
    weight = np.where(np.arange(200) < 100, 1.0, 1e-3).astype(np.float32)
    found = learn(x, flipped, TWO, recipe=LIGHT, weight=weight, metric="log_loss")
    right = (found.model.predict(x).argmax(axis=1) == y).mean()
    assert right > 0.75
    (one, *_) = found.members
    own, held = one.recipe.answers(one.model, x[one.held_out]), one.held_out
    chosen = scores.get("log_loss", "classification")(flipped[held], own, weight[held])
    assert chosen == pytest.approx(one.curve[one.best_epoch], rel=1e-5)


def test_a_fold_without_weight(rng):
    x, y = data(TWO, rng, 100)
    groups = np.arange(100) // 20
    weight = np.where(groups == 3, 0, 1).astype(np.float32)
    found = learn(x, y, TWO, recipe=LIGHT, weight=weight, groups=groups)
    assert np.isfinite(found.out_of_fold).all()


def test_groups_are_held_out_together(rng):
    x, y = data(NUMBERS, rng)
    groups = np.arange(160) % 11
    for one in learn(x, y, NUMBERS, recipe=LIGHT, groups=groups).members:
        assert not set(groups[one.held_out]) & set(np.delete(groups, one.held_out))


def test_schedule_ends_with_the_training_however_many_rows_a_member_has(rng, monkeypatch):
    x, y = data(NUMBERS, rng, 400)
    groups = np.where(np.arange(400) < 300, 0, np.arange(400) % 8 + 1)
    steps = []
    network = RealMLP.network

    def counted(self, task, **options):
        steps.append(options["steps"])
        return network(self, task, **options)

    monkeypatch.setattr(RealMLP, "network", counted)
    recipe = RealMLP(hidden=(8,), epochs=3, batch_size=50)
    found = learn(x, y, NUMBERS, recipe=recipe, groups=groups)
    trained = sorted(400 - len(one.held_out) for one in found.members)
    assert trained[0] == 100
    assert sorted(steps) == [3 * -(-rows // 50) for rows in trained]


# --- how it ends --------------------------------------------------------------------------------


class Slow(Callback):
    def on_train_batch_end(self, batch, logs):
        time.sleep(0.01)


@pytest.fixture
def slow(monkeypatch):
    """Each step takes 10 ms more."""
    fit = member.Trainer._fit
    monkeypatch.setattr(
        member.Trainer, "_fit",
        lambda self, model, train, epochs, callbacks: fit(
            self, model, train, epochs, [*callbacks, Slow()]
        ),
    )  # fmt: skip


@pytest.mark.alone
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("members", [1, 5])
def test_time_budget_is_kept(rng, slow, threads, count, members):
    threads(count)
    x, y = data(TWO, rng, 400)
    began = time.perf_counter()
    recipe = RealMLP(hidden=(8,), epochs=1000)
    found = learn(x, y, TWO, recipe=recipe, members=members, time_budget=2.0)
    taken = time.perf_counter() - began
    assert 1.2 < taken < 2.6
    assert found.seconds == pytest.approx(taken, abs=0.05)
    assert len(found.members) == members


@pytest.mark.alone
def test_time_budget_for_few_epochs_leaves_members_out(rng, slow, threads):
    threads(1)
    x, y = data(TWO, rng, 400)
    recipe = RealMLP(hidden=(8,), epochs=1000)
    found = learn(x, y, TWO, recipe=recipe, time_budget=0.7)
    assert len(found.members) < 5
    assert found.seconds < 1.2


def test_time_budget_that_is_long_enough_changes_nothing(rng):
    x, y = data(TWO, rng)
    plain = learn(x, y, TWO, recipe=LIGHT)
    timed = learn(x, y, TWO, recipe=LIGHT, time_budget=600)
    assert_array_equal(plain.out_of_fold, timed.out_of_fold)
    assert timed.stop_reason == "completed"


class Act(Progress):
    """Calls a function after some epochs of all members."""

    def __init__(self, epochs, act):
        self.left, self.act, self.lock, self.ended = epochs, act, threading.Lock(), 0

    def advance(self, steps, score):
        with self.lock:
            self.left -= 1
            is_now = self.left == 0
        if is_now:
            self.act()

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("count", [1, 2])
def test_stop_keeps_what_was_reached(rng, threads, count):
    threads(count)
    x, y = data(TWO, rng)
    stop = threading.Event()
    progress = Act(4, stop.set)
    recipe = RealMLP(hidden=(8,), epochs=50)
    found = learn(x, y, TWO, recipe=recipe, stop=stop, progress=progress)
    assert found.stop_reason == "interrupted"
    assert progress.ended == 1
    assert 1 <= len(found.members) <= count
    assert 4 <= sum(len(one.curve) for one in found.members) <= 6
    assert np.isfinite(found.model.predict(x)).all()
    assert np.isnan(found.out_of_fold).any()


def raised(error):
    raise error


def test_ctrl_c_in_a_single_worker_keeps_what_was_reached(rng, threads):
    threads(1)
    x, y = data(TWO, rng)
    recipe = RealMLP(hidden=(8,), epochs=10)
    progress = Act(4, lambda: raised(KeyboardInterrupt))
    found = learn(x, y, TWO, recipe=recipe, progress=progress)
    assert found.stop_reason == "interrupted"
    assert [len(one.curve) for one in found.members] == [4]
    progress = Act(24, lambda: raised(KeyboardInterrupt))
    found = learn(x, y, TWO, recipe=recipe, progress=progress)
    # A member that has just begun is not averaged with two that have ended.
    assert [len(one.curve) for one in found.members] == [10, 10]
    progress = Act(27, lambda: raised(KeyboardInterrupt))
    found = learn(x, y, TWO, recipe=recipe, progress=progress)
    assert [len(one.curve) for one in found.members] == [10, 10, 7]


def test_ctrl_c_while_members_train_at_the_same_time(rng, threads):
    threads(2)
    x, y = data(TWO, rng)
    recipe = RealMLP(hidden=(8,), epochs=3000)
    main = threading.main_thread().ident
    progress = Act(6, lambda: signal.pthread_kill(main, signal.SIGINT))
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # some runners ignore it
    began = time.perf_counter()
    try:
        found = learn(x, y, TWO, recipe=recipe, progress=progress)
    finally:
        signal.signal(signal.SIGINT, former)
    assert found.stop_reason == "interrupted"
    assert 1 <= len(found.members) <= 2
    assert time.perf_counter() - began < 10
    assert all(len(one.curve) < 3000 for one in found.members)


class Interrupted(list):
    """Records of epochs that Ctrl-C comes in between."""

    def __init__(self, at):
        self.at = at

    def append(self, value):
        if len(self) == self.at:
            self.at = None
            raise KeyboardInterrupt
        super().append(value)


@pytest.mark.parametrize("record", ["losses", "curve"])
@pytest.mark.parametrize("at", [0, 2])
def test_ctrl_c_between_the_records_of_an_epoch(rng, threads, monkeypatch, record, at):
    threads(1)
    x, y = data(TWO, rng)
    made = member.Trainer._made

    def interrupted(*args):
        one = made(*args)
        setattr(one, record, Interrupted(at))
        return one

    monkeypatch.setattr(member.Trainer, "_made", interrupted)
    recipe = RealMLP(hidden=(8,), epochs=10)
    if (record, at) == ("losses", 0):  # nothing is known of the only epoch
        with pytest.raises(KeyboardInterrupt):
            learn(x, y, TWO, recipe=recipe, members=2)
        return
    found = learn(x, y, TWO, recipe=recipe, members=2)
    (one,) = found.members
    assert found.stop_reason == "interrupted"
    assert len(one.losses) == len(one.curve) > one.best_epoch
    score = one.score(y[one.held_out], one.predict(x[one.held_out], TWO))
    assert one.curve[one.best_epoch] == pytest.approx(score)


@pytest.mark.parametrize("begun", [0, 1])
@pytest.mark.parametrize("when", ["before", "amid"])
def test_ctrl_c_while_members_are_submitted(rng, threads, monkeypatch, begun, when):
    """Amid a submission: its thread trains already, but `submit` has not returned."""
    threads(2)
    x, y = data(TWO, rng)
    submit, calls, has_learned = learning.ThreadPoolExecutor.submit, [], threading.Event()

    def interrupted(*args):
        calls.append(args)
        is_now = len(calls) > begun
        if is_now and when == "before":
            raise KeyboardInterrupt
        future = submit(*args)
        assert has_learned.wait(30)
        if is_now:
            raise KeyboardInterrupt
        return future

    monkeypatch.setattr(learning.ThreadPoolExecutor, "submit", interrupted)
    recipe = RealMLP(hidden=(8,), epochs=3000)
    if not begun and when == "before":
        with pytest.raises(KeyboardInterrupt):
            learn(x, y, TWO, recipe=recipe)
        return
    found = learn(x, y, TWO, recipe=recipe, progress=Act(6, has_learned.set))
    assert found.stop_reason == "interrupted"
    assert 1 <= len(found.members) <= begun + (when == "amid")
    assert all(len(one.curve) < 3000 for one in found.members)


def test_ctrl_c_amid_the_start_of_a_thread_waits_for_it(rng, threads, monkeypatch):
    """The pool has not noted the thread then, and does not join it."""
    threads(2)
    x, y = data(TWO, rng)
    start, has_learned = threading.Thread.start, threading.Event()

    def interrupted(thread):
        start(thread)
        assert has_learned.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    recipe = RealMLP(hidden=(8,), epochs=3000)
    found = learn(x, y, TWO, recipe=recipe, progress=Act(6, has_learned.set))
    assert found.stop_reason == "interrupted"
    (one,) = found.members
    assert 6 <= len(one.curve) < 3000


def test_ctrl_c_before_the_first_epoch_is_raised(rng, threads, monkeypatch):
    threads(1)
    x, y = data(TWO, rng)
    monkeypatch.setattr(RealMLP, "initialize", lambda *_: raised(KeyboardInterrupt))
    for members in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            learn(x, y, TWO, recipe=LIGHT, members=members)


@pytest.mark.parametrize("count", [1, 2])
def test_error_in_a_member_ends_the_others_and_is_raised(rng, threads, monkeypatch, count):
    threads(count)
    x, y = data(TWO, rng)
    epochs = []

    def loss_of(self, one):
        epochs.append(one)
        if len(epochs) == 7:
            raise ZeroDivisionError("seven")
        return float(len(epochs))

    monkeypatch.setattr(member.Trainer, "loss_of", loss_of)
    progress, stop = Act(-1, None), threading.Event()
    with pytest.raises(ZeroDivisionError, match="seven"):
        learn(
            x, y, TWO, recipe=RealMLP(hidden=(8,), epochs=2000), stop=stop,
            members=5, progress=progress,
        )  # fmt: skip
    assert len(epochs) < 1000
    assert progress.ended == 1
    assert not stop.is_set()


def test_patience_is_no_use_of_the_time_budget(rng, monkeypatch):
    x, y = data(TWO, rng)
    monkeypatch.setattr(RealMLP, "patience", 2)
    recipe = RealMLP(hidden=(12,), epochs=200)
    found = learn(x, y, TWO, recipe=recipe, members=2, time_budget=600)
    assert found.stop_reason == "completed"
    for one in found.members:
        assert one.stop_reason == member.WAITED
        assert len(one.curve) == one.best_epoch + 3 < 200


def test_progress_hears_of_the_plan_and_of_each_step(rng):
    x, y = data(TWO, rng)
    heard = []

    class Heard(Progress):
        def begin(self, steps, seconds, plan):
            heard.append(SimpleNamespace(steps=steps, seconds=seconds, plan=plan))

        def advance(self, steps, score):
            heard.append(steps)

    learn(x, y, TWO, recipe=LIGHT, members=2, progress=Heard())
    first, *rest = heard
    assert first.steps == sum(rest) == 2 * 6 * 2
    assert 0 < first.seconds < 60
    assert (first.plan.members, first.plan.epochs, first.plan.rows) == (2, 6, 128)


# --- plans and arguments ------------------------------------------------------------------------


def test_members_by_rows(threads):
    threads(2)
    for rows, members in ((10, 5), (100_000, 5), (100_001, 3), (300_001, 1)):
        assert planned(RealMLP(), NUMBERS, rows).members == members
    assert planned(RealMLP(), NUMBERS, 50, 20).folds == 20
    assert planned(RealMLP(), NUMBERS, 50, 1).folds == 5
    assert planned(RealMLP(), NUMBERS, 50, 1).workers == 1


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1.0, 10.0, 1e9])
def test_plan_within_a_time(threads, seconds):
    threads(2)
    plan = planned(RealMLP(epochs=100), NUMBERS, 1000)
    found = within(plan, 0.01, seconds)
    assert 1 <= found.epochs <= 100
    assert 1 <= found.members <= 5
    if seconds >= 1:
        assert found.rounds * found.steps * 0.01 <= seconds
    if seconds == 1e9:
        assert found == plan
    assert within(planned(RealMLP(epochs=2), NUMBERS, 1000), 0.01, 1.5).members == 5


@pytest.mark.parametrize(
    ("limit", "members"),
    [(1, [5, 4, 3, 2, 1]), (2, [5, 4, 2]), (4, [5, 4]), (8, [5])],
)
def test_a_plan_loses_whole_rounds(monkeypatch, limit, members):
    monkeypatch.setattr("fastnn.core.threads.get_num_threads", lambda: limit)
    plan = planned(RealMLP(epochs=100), NUMBERS, 1000)
    times = np.geomspace(1e-3, 1e3, 400)
    assert [*dict.fromkeys(within(plan, 0.01, one).members for one in times[::-1])] == members


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "auc"}, "metric 'auc'"),
        ({"metric": "rmse"}, "metric must be one of a classification"),
        ({"time_budget": 0}, "time_budget must be"),
        ({"time_budget": float("inf")}, "time_budget must be"),
        ({"members": 50}, "members: 50 networks.*at least 100 rows, got 60"),
    ],
)
def test_wrong_arguments(rng, options, message):
    x, y = data(TWO, rng, 60)
    with pytest.raises(ValueError, match=message):
        learn(x, y, TWO, recipe=LIGHT, **options)


def test_too_few_rows(rng):
    x, y = data(TWO, rng, 9)
    with pytest.raises(ValueError, match="at least 10 rows to learn from, got 9"):
        learn(x, y, TWO)


def test_default_recipe(monkeypatch, rng):
    monkeypatch.setattr(learning, "RealMLP", lambda: LIGHT)
    x, y = data(TWO, rng, 10)
    assert len(learn(x, y, TWO).members) == 5
