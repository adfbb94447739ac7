"""Learning-rate schedules: their formulas, agreement with PyTorch, and every kind of training."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import never_judges, weights_as_bytes

import fastnn as fnn
from fastnn import schedules
from fastnn.schedules import (
    Constant,
    CosineDecay,
    CosineDecayRestarts,
    CosineLogCycles,
    ExponentialDecay,
    FlatCosineDecay,
    InverseTimeDecay,
    OneCycle,
    PiecewiseConstantDecay,
    PolynomialDecay,
    StepDecay,
    WarmUp,
)

STEPS = 120


def cosine(part):
    return (1 + math.cos(math.pi * part)) / 2


def warm_cosine(t):
    if t < 8:
        return 0.01 + (0.3 - 0.01) * t / 8
    return 0.3 * ((1 - 0.1) * cosine(min(t - 8, 50) / 50) + 0.1)


def restarts(t, length=7, t_mul=2.0, m_mul=0.5, alpha=0.1):
    """Goes from period to period, where the schedule solves for the period."""
    height = 1.0
    while t >= length:
        t, length, height = t - length, length * t_mul, height * m_mul
    return 0.2 * ((1 - alpha) * height * cosine(t / length) + alpha)


def piecewise(t):
    for boundary, value in ((10, 0.5), (50, 0.1)):
        if t <= boundary:
            return value
    return 0.02


def one_cycle(t, phases, way):
    """`phases`: (last step, rate there); the first entry is the rate before the first phase."""
    begin, source = phases[0]
    for end, goal in phases[1:]:
        if t <= end or end == phases[-1][0]:
            part = min((t - begin) / (end - begin), 1.0)
            return goal + (source - goal) * (cosine(part) if way == "cos" else 1 - part)
        begin, source = end, goal


def log_cycles(t, peak, steps, cycles):
    """Goes from cycle to cycle, each twice as long as the one before."""
    first = steps / (2**cycles - 1)
    for number in range(cycles):
        begin, end = first * (2**number - 1), first * (2 ** (number + 1) - 1)
        if t < end:  # the share of the cycle, as a logarithm
            part = math.log2((t - begin) / (end - begin) + 1)
            return peak * (1 - math.cos(2 * math.pi * part)) / 2
    return 0.0


def flat_cosine(t, rate, steps, flat):
    if t <= flat * steps:
        return rate
    return rate * cosine((t - flat * steps) / (steps - flat * steps)) if t < steps else 0.0


# schedule: the rate of step t, written for a single step
FORMULAS = {
    Constant(0.3): lambda t: 0.3,
    StepDecay(0.3, 25, 0.5): lambda t: 0.3 * 0.5 ** (t // 25),
    StepDecay(0.3, 40): lambda t: 0.3 * 0.1 ** (t // 40),
    ExponentialDecay(0.3, 25, 0.5): lambda t: 0.3 * 0.5 ** (t / 25),
    ExponentialDecay(0.3, 25, 0.5, staircase=True): lambda t: 0.3 * 0.5 ** (t // 25),
    InverseTimeDecay(0.3, 25, 0.5): lambda t: 0.3 / (1 + 0.5 * t / 25),
    InverseTimeDecay(0.3, 25, 0.5, True): lambda t: 0.3 / (1 + 0.5 * (t // 25)),
    PolynomialDecay(0.3, 50, 0.01, power=2): (
        lambda t: (0.3 - 0.01) * (1 - min(t, 50) / 50) ** 2 + 0.01
    ),
    PolynomialDecay(0.3, 50, cycle=True): (
        lambda t: (0.3 - 1e-4) * (1 - t / (50 * max(1, math.ceil(t / 50)))) + 1e-4
    ),
    CosineDecay(0.3, 50): lambda t: 0.3 * cosine(min(t, 50) / 50),
    CosineDecay(0.3, 50, 0.2): lambda t: 0.3 * (0.8 * cosine(min(t, 50) / 50) + 0.2),
    CosineDecay(0.01, 50, 0.1, warmup_target=0.3, warmup_steps=8): warm_cosine,
    CosineDecayRestarts(0.2, 7, m_mul=0.5, alpha=0.1): restarts,
    CosineDecayRestarts(0.2, 7, 1, 0.9): lambda t: restarts(t, 7, 1, 0.9, 0.0),
    CosineDecayRestarts(0.2, 10, 1.5): lambda t: restarts(t, 10, 1.5, 1.0, 0.0),
    CosineLogCycles(0.04, 100): lambda t: log_cycles(t, 0.04, 100, 4),
    CosineLogCycles(0.3, 70, cycles=1): lambda t: log_cycles(t, 0.3, 70, 1),
    FlatCosineDecay(0.15, 100): lambda t: flat_cosine(t, 0.15, 100, 0.5),
    FlatCosineDecay(0.02, 60, flat=0.0): lambda t: flat_cosine(t, 0.02, 60, 0.0),
    FlatCosineDecay(0.02, 60, 0.75): lambda t: flat_cosine(t, 0.02, 60, 0.75),
    PiecewiseConstantDecay([10, 50], [0.5, 0.1, 0.02]): piecewise,
    WarmUp(StepDecay(0.4, 20, 0.5), 10, 0.1): (
        lambda t: 0.1 + 0.3 * t / 10 if t < 10 else 0.4 * 0.5 ** ((t - 10) // 20)
    ),
    WarmUp(0.2, 10): lambda t: 0.2 * min(t, 10) / 10,
    OneCycle(0.5, 100): (
        lambda t: one_cycle(t, [(0, 0.02), (29, 0.5), (99, 0.02 / 1e4)], "cos")
    ),
    OneCycle(0.5, 100, 0.4, "linear", 10, 100): (
        lambda t: one_cycle(t, [(0, 0.05), (39, 0.5), (99, 0.0005)], "linear")
    ),
    OneCycle(0.5, 100, 0.25, three_phase=True): (
        lambda t: one_cycle(t, [(0, 0.02), (24, 0.5), (48, 0.02), (99, 0.02 / 1e4)], "cos")
    ),
}  # fmt: skip


def test_every_schedule_has_a_formula():
    assert {schedule.name for schedule in FORMULAS} == set(schedules.registry)
    public = {getattr(schedules, name) for name in schedules.__all__}
    assert {type(schedule) for schedule in FORMULAS} <= public


@pytest.mark.parametrize("schedule", FORMULAS, ids=repr)
def test_rates(schedule):
    steps = np.arange(STEPS)
    want = np.array([FORMULAS[schedule](t) for t in range(STEPS)])
    np.testing.assert_allclose(schedule(steps), want, rtol=1e-12, atol=1e-14)
    assert schedule(steps.reshape(4, -1)).shape == (4, STEPS // 4)
    assert [schedule(t) for t in range(STEPS)] == schedule(steps).tolist()
    assert type(schedule(3)) is float
    np.testing.assert_array_equal(schedule.rates_from(17, 5), schedule(steps[17:22]))


def test_a_wrong_rate_is_noticed():
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(CosineDecay(0.3, 50)(1), 0.3 * cosine(1 / 50) * (1 + 1e-11),
                                   rtol=1e-12, atol=1e-14)  # fmt: skip


def test_log_cycles_begin_and_end_at_zero():
    """Cycles of 2, 4, 8 and 16 steps; each peaks where the logarithm of its share is a half."""
    schedule = CosineLogCycles(0.4, 30)
    assert_close(schedule([0, 2, 6, 14, 30, 31]), np.zeros(6), 1e-15)
    middle = math.sqrt(2) - 1
    assert_close(schedule([b + n * middle for b, n in ((0, 2), (2, 4), (6, 8), (14, 16))]),
                 np.full(4, 0.4), 1e-12)  # fmt: skip


@pytest.mark.parametrize("t_mul", [1.25, 1.5, 2, 3, 7])
def test_a_period_begins_at_its_step(t_mul):
    """Steps at which the logarithm is rounded to the wrong side."""
    schedule, begin, length = CosineDecayRestarts(1.0, 10, t_mul), 0.0, 10.0
    for _ in range(12):
        assert schedule(begin) == pytest.approx(1, abs=1e-9)
        begin, length = begin + length, length * t_mul
        assert schedule(begin - 1e-6 * length) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("pct_start", [0.0, 0.01, 0.5, 1.0])
def test_one_cycle_with_phases_of_no_length(pct_start, three_phase):
    if pct_start > 0.5 and three_phase:
        return
    rates = OneCycle(0.5, 100, pct_start, three_phase=three_phase)(np.arange(130))
    assert np.isfinite(rates).all()
    assert rates.max() <= 0.5
    assert rates[-1] == pytest.approx(0.02 / 1e4)
    assert OneCycle(0.5, 1)(0) >= 0


# --- compared with PyTorch ------------------------------------------------------------------------

TORCH = {
    "StepLR": (StepDecay(0.3, 25, 0.5), {"step_size": 25, "gamma": 0.5}),
    "ExponentialLR": (ExponentialDecay(0.3, 1, 0.97), {"gamma": 0.97}),
    "PolynomialLR": (PolynomialDecay(0.3, 50, 0.0, 2.0), {"total_iters": 50, "power": 2.0}),
    "CosineAnnealingLR": (CosineDecay(0.3, STEPS, 0.1), {"T_max": STEPS, "eta_min": 0.03}),
    "CosineAnnealingWarmRestarts": (CosineDecayRestarts(0.3, 7, 2, 1.0, 0.1),
                                    {"T_0": 7, "T_mult": 2, "eta_min": 0.03}),
    # In Keras, a boundary is the last step of its rate; in PyTorch, the first of the next one.
    "MultiStepLR": (PiecewiseConstantDecay([9, 49], [0.3, 0.15, 0.075]),
                    {"milestones": [10, 50], "gamma": 0.5}),
    "LinearLR": (WarmUp(0.3, 40, 0.1), {"start_factor": 1 / 3, "total_iters": 40}),
    "ConstantLR": (Constant(0.3), {"factor": 1.0}),
    "OneCycleLR": (OneCycle(0.3, STEPS), {"max_lr": 0.3, "total_steps": STEPS}),
    "OneCycleLR linear": (OneCycle(0.3, STEPS, 0.2, "linear", 5, 50),
                          {"max_lr": 0.3, "total_steps": STEPS, "pct_start": 0.2,
                           "anneal_strategy": "linear", "div_factor": 5,
                           "final_div_factor": 50}),
    "OneCycleLR three": (OneCycle(0.3, STEPS, 0.35, three_phase=True),
                         {"max_lr": 0.3, "total_steps": STEPS, "pct_start": 0.35,
                          "three_phase": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_beside_pytorch(name):
    torch = pytest.importorskip("torch")
    schedule, options = TORCH[name]
    if name.startswith("OneCycleLR"):
        options = {**options, "cycle_momentum": False}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    other = getattr(torch.optim.lr_scheduler, name.split()[0])(optimizer, **options)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < STEPS:
            other.step()
    assert_close(schedule(np.arange(STEPS)), rates, 1e-12, name)


# --- as a learning rate ---------------------------------------------------------------------------

DECAY = CosineDecay(0.1, decay_steps=30, alpha=0.1)


def small(rate, optimizer=fnn.Adam):
    model = fnn.Sequential([fnn.Dense(5, "tanh"), fnn.Dense(2)], input_shape=(4,), seed=0)
    model.compile(optimizer(rate), "mse")
    return model


def data(rows=40):
    x = np.random.default_rng(1).normal(size=(rows, 4)).astype("f")
    return x, np.tanh(x[:, :2] * 2)


def by_fit(model, x, y):
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)


def by_batch(model, x, y):
    """Train with a hook after each batch."""
    hook = fnn.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[hook])


def by_train_on_batch(model, x, y):
    for first in [*range(0, 40, 8)] * 2:
        model.train_on_batch(x[first : first + 8], y[first : first + 8])


def by_learn_one(model, x, y):
    for row, target in zip(x[:20], y[:20], strict=True):
        model.learn_one(row, target)


def by_hand(model, x, y):
    for _ in range(10):
        output = model.forward(x, training=True)
        model.backward((output - y) * 2 / output.size)
        model.apply_gradients()


WAYS = {"fit": by_fit, "hooks": by_batch, "train_on_batch": by_train_on_batch,
        "learn_one": by_learn_one, "apply_gradients": by_hand}  # fmt: skip


def one_step_at_a_time(way, x, y):
    """The equivalent: a number, set before each step."""
    model = small(0.0)
    for t in range(20 if way == "learn_one" else 10):
        model.optimizer.learning_rate = DECAY(t)
        if way == "learn_one":
            model.train_on_batch(x[t : t + 1], y[t : t + 1])
        elif way == "apply_gradients":
            output = model.forward(x, training=True)
            model.backward((output - y) * 2 / output.size)
            model.apply_gradients()
        else:
            first = 8 * (t % 5)
            model.train_on_batch(x[first : first + 8], y[first : first + 8])
    return weights_as_bytes(model)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_train_takes_the_rate_of_the_step(way):
    x, y = data()
    model = small(DECAY)
    WAYS[way](model, x, y)
    assert weights_as_bytes(model) == one_step_at_a_time(way, x, y)
    wrong = small(0.1)
    WAYS[way](wrong, x, y)
    assert weights_as_bytes(wrong) != weights_as_bytes(model)


def test_the_quick_way_takes_a_schedule():
    model, (x, y) = small(DECAY), data()
    model.learn_one(x[0], y[0])
    prepared = model.network.runtime.fast_path.learner.prepared
    assert prepared.learn(x[1], y[1], vars(model.optimizer), never_judges, model) is not None
    assert model.network.runtime.step == 2


def test_the_quick_way_takes_the_rate_of_any_step():
    """It requests a block of rates at once."""
    model, twin, (x, y) = small(DECAY), small(0.0), data()
    steep = ExponentialDecay(0.1, 100, 0.1)
    for each in (model, twin):
        each.train_on_batch(x[:1], y[:1])
    twin.set_weights(model.get_weights())
    twin.network.runtime.arenas["state"][...] = model.network.runtime.arenas["state"]
    for step, schedule in [(1, DECAY), (3, steep), (4, DECAY), (255, steep), (600, steep),
                           (599, steep), (2, steep)]:  # fmt: skip
        model.optimizer.learning_rate = schedule
        model.network.runtime.step = twin.network.runtime.step = step
        for t in range(step, step + 4):
            twin.optimizer.learning_rate = schedule(t)
            assert model.learn_one(x[0], y[0]) == twin.train_on_batch(x[:1], y[:1])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_programs_stay_as_the_rate_changes():
    model, (x, y) = small(DECAY), data()
    by_fit(model, x, y)
    made = dict(model.network.runtime.programs)
    for rate in (0.1, CosineDecay(0.2, 10), 0.3, OneCycle(0.1, 100).config()):
        model.optimizer.learning_rate = rate
        by_fit(model, x, y)
    assert model.network.runtime.programs == made


def test_a_schedule_may_be_replaced_at_any_time():
    x, y = data()

    class Replace(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            if self.model.network.runtime.step == 4:
                self.model.optimizer.learning_rate = 0.02
            if self.model.network.runtime.step == 7:
                self.model.optimizer.learning_rate = DECAY

    model, twin = small(DECAY), small(0.0)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[Replace()])
    for t in range(10):
        twin.optimizer.learning_rate = 0.02 if 4 <= t < 7 else DECAY(t)
        first = 8 * (t % 5)
        twin.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


@pytest.mark.parametrize("schedule", FORMULAS, ids=repr)
def test_round_trips(schedule, tmp_path):
    assert schedules.get(schedule.config()) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert eval(repr(schedule), vars(schedules)) == schedule
    model = small(schedule)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    assert loaded.optimizer.learning_rate == schedule
    assert loaded.optimizer.config() == model.optimizer.config()


def test_a_restored_model_goes_on_where_it_was(tmp_path):
    x, y = data()
    model = small(DECAY)
    by_train_on_batch(model, x, y)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    for each in (model, loaded):
        by_train_on_batch(each, x, y)
    assert weights_as_bytes(loaded) == weights_as_bytes(model)
    assert loaded.network.runtime.step == 20


def test_one_of_your_own():
    class Sawtooth(fnn.schedules.Schedule):
        def rates(self, steps):
            return 0.01 * (1 + steps % 3)

    x, y = data()
    model, twin = small(Sawtooth()), small(0.0)
    by_train_on_batch(model, x, y)
    for t in range(10):
        twin.optimizer.learning_rate = 0.01 * (1 + t % 3)
        first = 8 * (t % 5)
        twin.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert weights_as_bytes(model) == weights_as_bytes(twin)

    class Single(fnn.schedules.Schedule):
        def rates(self, steps):
            return 0.1

    model = small(Single())
    before = weights_as_bytes(model)
    with pytest.raises(ValueError, match=r"Single.rates must return an array of"):
        model.fit(x, y, verbose=0)
    assert weights_as_bytes(model) == before


# --- errors ---------------------------------------------------------------------------------------

BAD = {
    "negative": (lambda: Constant(-1), "learning_rate must be a finite number of at least 0"),
    "steps": (lambda: CosineDecay(0.1, 0), "decay_steps must be a positive integer, got 0"),
    "float steps": (lambda: StepDecay(0.1, 2.5), "decay_steps must be a positive integer, got 2.5"),
    "initial": (lambda: StepDecay("a", 2), "initial_learning_rate must be a finite number"),
    "warm-up": (lambda: CosineDecay(0.1, 5, warmup_steps=3), "warmup_steps=3 needs a warmup_targ"),
    "t_mul": (lambda: CosineDecayRestarts(0.1, 5, 0.5), "t_mul must be a finite number of at le"),
    "order": (lambda: PiecewiseConstantDecay([5, 3], [1, 2, 3]), "boundaries must rise, got [5, 3"),
    "values": (lambda: PiecewiseConstantDecay([5], [1]), "values must be one more than boundaries"),
    "list": (lambda: PiecewiseConstantDecay(5, [1]), "boundaries must be a list of numbers, got 5"),
    "way": (lambda: OneCycle(0.1, 5, anneal_strategy="cosine"), "anneal_strategy must be 'cos' or"),
    "share": (lambda: OneCycle(0.1, 5, 1.5), "pct_start must be at most 1, got 1.5"),
    "cycles": (lambda: CosineLogCycles(0.1, 5, 0), "cycles must be a positive integer, got 0"),
    "flat": (lambda: FlatCosineDecay(0.1, 5, 1.0), "flat must be a number in [0, 1), got 1.0"),
    "three": (lambda: OneCycle(0.1, 5, 0.6, three_phase=True), "pct_start must be at most 0.5 wi"),
    "class": (
        lambda: fnn.Adam(CosineDecay),
        "learning_rate schedule must be a name or a Schedule, got the class CosineDecay; did you",
    ),
    "name": (
        lambda: fnn.Adam({"name": "cosine_decy"}),
        "unknown learning_rate schedule 'cosine_decy'; did you mean 'cosine_decay'?",
    ),
    "inner": (lambda: WarmUp("a", 3), "schedule must be a finite number of at least 0, got 'a'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, message = BAD[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_schedule_is_fixed():
    with pytest.raises(AttributeError, match=r"CosineDecay.alpha cannot be changed"):
        DECAY.alpha = 0.5


# --- where a schedule begins ----------------------------------------------------------------------


@pytest.mark.parametrize("schedule", FORMULAS, ids=repr)
def test_a_schedule_begins_at_its_initial_step(schedule, tmp_path):
    later = type(schedule)(**schedule.arguments(), initial_step=70)
    steps = np.arange(STEPS)
    assert (later(steps + 70) == schedule(steps)).all()
    assert (later(steps[:70]) == schedule(0)).all()
    assert (later.rates_from(75, 4) == schedule.rates_from(5, 4)).all()
    assert later != schedule
    assert "initial_step=70" in repr(later)
    assert eval(repr(later), vars(schedules)) == later
    assert schedules.get(later.config()) == pickle.loads(pickle.dumps(later)) == later
    model = small(later)
    model.save(tmp_path / "m.safetensors")
    assert fnn.load(tmp_path / "m.safetensors").optimizer.learning_rate == later


def test_a_schedule_within_a_warm_up_keeps_its_own_initial_step():
    inner = CosineDecay(0.4, 10, initial_step=5)
    assert_close(WarmUp(inner, 4)([4, 9, 14]), CosineDecay(0.4, 10)([0, 0, 5]), 1e-15)
    later = WarmUp(CosineDecay(0.4, 10), 4, initial_step=100)
    assert_close(later([100, 102, 104, 109]), [0.0, 0.2, 0.4, 0.2], 1e-15)


def test_a_second_phase_begins_at_the_first_rate_of_its_schedule():
    (x, y), model = data(), small(CosineDecay(0.01, 10))
    assert model.iterations == 0
    by_fit(model, x, y)
    assert model.iterations == model.network.runtime.step == 10
    model.optimizer.learning_rate = CosineDecay(0.01, 10)
    assert not model.optimizer.rates(model.iterations, 10).any()  # it has ended
    model.optimizer.learning_rate = CosineDecay(0.01, 10, initial_step=model.iterations)
    assert_close(
        model.optimizer.rates(model.iterations, 10), CosineDecay(0.01, 10)(np.arange(10)), 1e-15
    )
    before = weights_as_bytes(model)
    by_fit(model, x, y)
    assert weights_as_bytes(model) != before
    model.compile(fnn.SGD(CosineDecay(0.01, 10)), "mse")  # the count begins anew
    assert model.iterations == 0


def test_iterations_are_those_of_the_file_and_none_before_there_are_parameters(tmp_path):
    (x, y), model = data(), small(0.1)
    by_train_on_batch(model, x, y)
    model.save(tmp_path / "m.safetensors")
    assert fnn.load(tmp_path / "m.safetensors").iterations == model.iterations == 10
    assert fnn.Sequential([fnn.Dense(1)]).iterations == 0
    with pytest.raises(AttributeError, match=r"'iterations': read model\.iterations"):
        model.optimizer.iterations = 0


@pytest.mark.parametrize("step", [-1, 1.5, None, "0"])
def test_an_initial_step_that_does_not_fit_is_refused(step):
    with pytest.raises(ValueError, match="initial_step must be an integer of at least 0, got"):
        CosineDecay(0.1, 10, initial_step=step)
