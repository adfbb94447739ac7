"""Descents on functions: textbook numbers, the networks' optimizers, stopping, and bad input."""

from __future__ import annotations

import copy
import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from math import exp

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optimizers
from fastnn.descent import functions, minimize

FUNCTIONS = list(functions.table.values())
STEPPED = [name for name in optimizers.registry if optimizers.get(name).rate_of(0) is not None]


def square(x):
    return x * x


def double(x):
    return 2 * x


# --- textbook numbers ---------------------------------------------------------------------------


def test_square_and_exponential():
    """Computed by hand as 3 - 0.0005 (6 - e^-3), and then for 10,000 more steps."""
    found = minimize(
        lambda x: x * x + exp(-x), 3.0, grad=lambda x: 2 * x - exp(-x),
        optimizer=fnn.SGD(0.0005), steps=10_001,
    )  # fmt: skip
    assert found.path[1] == pytest.approx(2.997024893534184, rel=1e-14)
    assert found.x == pytest.approx(0.3517383210080008, rel=1e-14)
    assert found.stop_reason == "completed 10001 steps"


def test_square():
    found = minimize(functions.square, 3.0, optimizer=fnn.SGD(0.1))
    assert found.x == pytest.approx(3 * 0.8**100, rel=1e-13)
    assert found.path[:4] == pytest.approx([3, 2.4, 1.92, 1.536], rel=1e-15)


def test_advertising():
    found = minimize(functions.advertising, -4.0, optimizer=fnn.SGD(0.001))
    assert found.x == pytest.approx(1.1807727108001826, rel=1e-14)


def test_advertising_is_a_network_of_one_weight():
    x, y = np.array(functions.ADVERTISING), np.array(functions.VISITORS)
    model = fnn.Sequential([fnn.Dense(1, use_bias=False)], input_shape=(1,), dtype="float64")
    model.compile(fnn.GradientDescent(0.001), "mse")
    model.parameters["dense/kernel"][...] = -4.0
    losses = model.fit(x[:, np.newaxis], y, epochs=100, verbose=0).history["loss"]
    found = minimize(functions.advertising, -4.0, optimizer=fnn.GradientDescent(0.001))
    assert found.x == pytest.approx(float(model.parameters["dense/kernel"][0, 0]), rel=1e-13)
    assert found.values[:-1] == pytest.approx(losses, rel=1e-12)


# --- the functions ------------------------------------------------------------------------------


def random_points(function, rng, count):
    """Points within the limits, of shape (count,) or (variables, count)."""
    low, high = np.array(function.limits).T[..., np.newaxis]
    points = low + (high - low) * rng.random((function.variables, count))
    return points[0] if function.variables == 1 else points


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_gradients_are_differences(function, rng):
    points, width = random_points(function, rng, 50), 1e-5
    got = function.gradient(points)
    assert np.shape(got) == points.shape
    rows = points.reshape(function.variables, -1)
    for row, slopes in enumerate(np.reshape(got, rows.shape)):
        moved = np.zeros_like(rows)
        moved[row] = width
        after, before = ((rows + sign * moved).reshape(points.shape) for sign in (1, -1))
        slope = (function(after) - function(before)) / (2 * width)
        assert slopes == pytest.approx(slope, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_many_points_are_computed_like_each(function, rng):
    points = random_points(function, rng, 7)
    values, gradients = function(points), function.gradient(points)
    assert np.shape(values) == (7,)
    for i in range(7):
        point = float(points[i]) if function.variables == 1 else points[:, i]
        assert function(point) == pytest.approx(values[i], rel=1e-13)
        assert function.gradient(point) == pytest.approx(gradients[..., i], rel=1e-13)
        if function.variables > 1:
            assert function(list(point)) == function(point)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_minima_are_minima(function, rng):
    assert function.minima or function.name == "saddle"
    everywhere = function(random_points(function, rng, 2000)).min()
    for minimum in function.minima:
        assert len(minimum) == function.variables
        at = np.array(minimum) if function.variables > 1 else minimum[0]
        least = function(at)
        assert np.abs(function.gradient(at)).max() < 1e-12
        assert everywhere >= least - 1e-9
        for _ in range(20):
            near = at + rng.uniform(-1e-3, 1e-3, np.shape(at))
            assert function(near) >= least - 1e-14 * (1 + abs(least))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_what_is_known_of_a_function(function):
    assert getattr(functions, function.name) is function
    assert functions.table[function.name] is function
    assert len(function.start) == len(function.limits) == function.variables
    for places in (function.start, *function.minima):
        assert all(low < x < high for x, (low, high) in zip(places, function.limits, strict=True))
    assert function.formula in repr(function)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_formulas_can_be_drawn(function):
    mathtext = pytest.importorskip("matplotlib.mathtext")
    assert "$" not in function.formula
    mathtext.MathTextParser("agg").parse(f"$f = {function.formula}$")


def test_rastrigin_takes_any_number_of_variables():
    assert functions.rastrigin(np.zeros(5)) == 0
    assert functions.rastrigin.gradient(np.zeros(5)) == pytest.approx(np.zeros(5))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_each_is_worth_a_walk(function):
    start = function.start[0] if function.variables == 1 else function.start
    found = minimize(function, start, optimizer=fnn.Adam(0.01), steps=50)
    assert found.values[-1] < found.values[0]
    assert found.function is function


# --- the networks' optimizers -------------------------------------------------------------------


def network_walk(optimizer, function, start, steps):
    """The path of a network's kernel whose gradient is that of the function; at the end, x."""
    model = fnn.Sequential(
        [fnn.Dense(len(start), use_bias=False)], input_shape=(1,), dtype="float64"
    )
    model.compile(optimizer, "mse")
    kernel = model.parameters["dense/kernel"]
    kernel[...] = start
    path = [kernel[0].copy()]
    for _ in range(steps):
        model.forward([[1.0]], training=True)
        model.backward([function.gradient(kernel[0])])
        model.apply_gradients()
        path.append(kernel[0].copy())
    model.network.runtime.take_average()
    return np.array(path), kernel[0].copy()


EXTRAS = {
    "as it is": {},
    "schedule": {"learning_rate": fnn.schedules.ExponentialDecay(0.05, 7, 0.5)},
    "weight_decay": {"weight_decay": 0.1},
    "clipvalue": {"clipvalue": 0.3},
    "clipnorm": {"clipnorm": 0.3},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "use_ema": {"use_ema": True, "ema_momentum": 0.8},
}


@pytest.mark.parametrize("extra", list(EXTRAS))
@pytest.mark.parametrize("name", STEPPED)
def test_each_optimizer_goes_as_it_goes_in_a_network(name, extra):
    settings = {"name": name, "learning_rate": 0.02, **EXTRAS[extra]}
    start = [0.7, 1.4]
    want, end = network_walk(optimizers.get(settings), functions.beale, start, 40)
    found = minimize(functions.beale, start, optimizer=settings, steps=40)
    assert found.path == pytest.approx(want, rel=1e-12, abs=1e-12)
    assert found.x == pytest.approx(end, rel=1e-12, abs=1e-12)
    if extra != "use_ema":
        assert (found.x == found.path[-1]).all()
    assert (found.learning_rates == optimizers.get(settings).rates(0, 40)).all()


@pytest.mark.parametrize("name", ["momentum", "nesterov", "centered", "amsgrad"])
def test_variants(name):
    optimizer = {
        "momentum": fnn.SGD(0.01, momentum=0.9),
        "nesterov": fnn.SGD(0.01, momentum=0.9, nesterov=True),
        "centered": fnn.RMSprop(0.01, centered=True, momentum=0.5),
        "amsgrad": fnn.AdamW(0.01, amsgrad=True),
    }[name]
    want, _ = network_walk(optimizer, functions.himmelblau, [0.0, -0.5], 60)
    found = minimize(functions.himmelblau, [0.0, -0.5], optimizer=optimizer, steps=60)
    assert found.path == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("name", list(optimizers.registry))
def test_the_optimizer_is_not_changed(name):
    optimizer = optimizers.get(name)
    before = copy.deepcopy(vars(optimizer))
    walks = [minimize(functions.bowl, [1.0, 2.0], optimizer=optimizer, steps=5) for _ in range(2)]
    assert vars(optimizer) == before
    assert (walks[0].path == walks[1].path).all(), "the second descent starts afresh"


def test_a_walk_keeps_how_its_optimizer_was_set():
    optimizer = fnn.SGD(0.1)
    walks = []
    for rate in (0.1, 0.2):
        optimizer.learning_rate = rate
        walks.append(minimize(functions.square, 3.0, optimizer=optimizer, steps=1))
    assert [walk.optimizer.learning_rate for walk in walks] == [0.1, 0.2]
    assert "learning_rate=0.1" in repr(walks[0])


# --- a walk -------------------------------------------------------------------------------------


def test_what_a_walk_holds():
    found = minimize(functions.ravine, [-7, 2], optimizer=fnn.SGD(0.1), steps=5)
    assert found.path.shape == (6, 2)
    assert found.path.dtype == found.values.dtype == found.gradient_norms.dtype == np.float64
    assert found.values == pytest.approx([functions.ravine(x) for x in found.path], rel=1e-15)
    norms = [np.linalg.norm(functions.ravine.gradient(x)) for x in found.path]
    assert found.gradient_norms == pytest.approx(norms, rel=1e-14)
    assert found.learning_rates.tolist() == [0.1] * 5
    assert (found.steps, found.variables) == (5, 2)
    assert found.x == pytest.approx(found.path[-1], rel=0)
    found.x[...] = 0  # the array belongs to the caller
    assert re.fullmatch(
        r"<Descent of 5 steps with SGD\(learning_rate=0.1\) to \[.*\], where it is .*; completed 5 "
        r"steps>", repr(minimize(functions.ravine, [-7, 2], optimizer=fnn.SGD(0.1), steps=5))
    )  # fmt: skip


@pytest.mark.parametrize("x0", [3, True, np.int64(3), np.float32(3), np.array(3.0), np.float16(3)])
def test_numbers_to_start_from(x0):
    found = minimize(square, x0, grad=double, optimizer=fnn.SGD(0.1), steps=2)
    assert type(found.x) is float
    assert found.path == pytest.approx(float(x0) * np.array([1, 0.8, 0.64]))


@pytest.mark.parametrize(
    "x0", [[3, 1], (3.0, 1.0), np.array([3, 1], np.float32), np.array([3, 9, 1, 9])[::2]]
)
def test_arrays_to_start_from(x0):
    kept = copy.deepcopy(x0)
    seen = []

    def f(x):
        seen.append((type(x), x.dtype, x.shape))
        return x @ x

    found = minimize(f, x0, grad=double, optimizer=fnn.SGD(0.1), steps=2)
    assert set(seen) == {(np.ndarray, np.dtype(np.float64), (2,))}
    assert found.path[1] == pytest.approx([2.4, 0.8])
    assert np.array_equal(x0, kept)


def test_an_array_of_one():
    found = minimize(lambda x: x @ x, [3.0], grad=double, optimizer=fnn.SGD(0.1), steps=2)
    assert found.path.shape == (3, 1)
    assert found.x == pytest.approx([1.92])
    assert found.variables == 1


def test_a_thousand_variables(rng):
    scale, start = np.linspace(1, 2, 1000), rng.normal(size=1000)
    found = minimize(
        lambda x: scale @ x**2, start, grad=lambda x: 2 * scale * x, optimizer="adam", steps=20
    )
    want, _ = network_walk(
        fnn.Adam(), functions.Function("", "", 1000, None, lambda x: 2 * scale * x, (), (), ()),
        start, 20,
    )  # fmt: skip
    assert found.path == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    "wrap", [np.float64, np.float32, lambda v: np.array([v]), lambda v: np.array(v, object)],
    ids=["float64", "float32", "array of one", "object"],
)  # fmt: skip
def test_what_counts_as_a_number(wrap):
    want = minimize(square, 3.0, grad=double, optimizer=fnn.SGD(0.5), steps=3)
    got = minimize(
        lambda x: wrap(x * x), 3.0, grad=lambda x: wrap(2 * x), optimizer=fnn.SGD(0.5), steps=3
    )
    assert (got.path == want.path).all()
    array = minimize(lambda x: wrap(x @ x), [3.0, 0.0], grad=double, steps=3)
    assert array.values[0] == 9.0


def test_functions_see_points_that_they_cannot_change():
    def f(x):
        x[0] = 5
        return 0.0

    with pytest.raises(ValueError, match="read-only"):
        minimize(f, [3.0, 1.0], grad=double)

    def gradient(x):
        x *= 2
        return x

    with pytest.raises(ValueError, match="read-only"):
        minimize(lambda x: x @ x, [3.0, 1.0], grad=gradient)


def test_a_gradient_kept_in_one_array():
    """As a user who saves memory would write it: each call fills the same array."""
    place = np.empty(2)

    def gradient(x):
        return np.multiply(2, x, out=place)

    got = minimize(lambda x: x @ x, [3.0, 1.0], grad=gradient, optimizer="adam", steps=9)
    want = minimize(lambda x: x @ x, [3.0, 1.0], grad=double, optimizer="adam", steps=9)
    assert (got.path == want.path).all()


def test_two_walks_in_two_threads_at_once():
    def walk(optimizer):
        return minimize(functions.rosenbrock, [-1.5, 2.0], optimizer=optimizer, steps=3000).path

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(walk, ["adam", "rmsprop"]))
    assert (together[0] == walk("adam")).all()
    assert (together[1] == walk("rmsprop")).all()


def test_a_walk_within_a_walk():
    """The function calls another descent."""

    def f(x):
        return x * x + minimize(functions.square, 1.0, steps=2).values[-1]

    inner = minimize(functions.square, 1.0, steps=2).values[-1]
    found = minimize(f, 3.0, grad=double, optimizer=fnn.SGD(0.1), steps=3)
    assert found.x == pytest.approx(3 * 0.8**3)
    assert found.values[-1] == pytest.approx(found.x**2 + inner)


# --- stopping -----------------------------------------------------------------------------------


def test_tol_gradient():
    found = minimize(functions.square, 3.0, optimizer=fnn.SGD(0.1), tol_gradient=1e-6, steps=10**9)
    assert found.gradient_norms[-1] <= 1e-6 < found.gradient_norms[-2]
    assert found.stop_reason.startswith("the norm of the gradient is")
    assert f"after {found.steps} steps, tol_gradient 1e-06" in found.stop_reason


def test_tol_gradient_at_the_start_and_after_the_last_step():
    assert minimize(functions.square, 0.0, tol_gradient=0.0).steps == 0
    exact = minimize(functions.square, 3.0, optimizer=fnn.SGD(0.5), tol_gradient=0.0, steps=1)
    assert exact.steps == 1
    assert "after 1 step, tol_gradient 0" in exact.stop_reason


def test_tol_improvement():
    found = minimize(functions.square, 3.0, optimizer=fnn.SGD(0.1), tol_improvement=1e-6)
    changes = np.abs(np.diff(found.values))
    assert changes[-1] < 1e-6 <= changes[-2]
    assert found.stop_reason.startswith(f"step {found.steps} changed the value by")


def test_a_callback_sees_each_step_and_ends_the_walk():
    seen = []

    def callback(step, x, value):
        seen.append((step, x, value))
        return step == 4

    found = minimize(functions.square, 3.0, optimizer=fnn.SGD(0.1), callback=callback)
    assert [step for step, _, _ in seen] == [1, 2, 3, 4]
    assert [x for _, x, _ in seen] == found.path[1:].tolist()
    assert [value for _, _, value in seen] == found.values[1:].tolist()
    assert found.stop_reason == "the callback ended it after 4 steps"


def test_a_callback_sets_learning_rate_and_momentum():
    """By hand: v = momentum v + g, x = x - rate v."""
    optimizer = fnn.SGD(0.1, momentum=0.5)

    def callback(step, x, value):
        if step == 2:
            optimizer.learning_rate, optimizer.momentum = 0.2, 0.25

    found = minimize(functions.square, 3.0, optimizer=optimizer, callback=callback, steps=4)
    x, velocity, path = 3.0, 0.0, [3.0]
    for rate, momentum in [(0.1, 0.5)] * 2 + [(0.2, 0.25)] * 2:
        velocity = momentum * velocity + 2 * x
        x -= rate * velocity
        path.append(x)
    assert found.path == pytest.approx(path, rel=1e-14)
    assert found.learning_rates.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert found.optimizer == fnn.SGD(0.1, momentum=0.5)
    assert optimizer == fnn.SGD(0.2, momentum=0.25)


def test_a_callback_sets_a_schedule():
    optimizer = fnn.SGD(0.1)

    def callback(step, x, value):
        if step == 2:
            optimizer.learning_rate = fnn.schedules.ExponentialDecay(1.0, 1, 0.5)

    found = minimize(functions.square, 3.0, optimizer=optimizer, callback=callback, steps=4)
    assert found.learning_rates == pytest.approx([0.1, 0.1, 0.25, 0.125])


def test_a_callback_turns_momentum_on():
    """State that the optimizer did not keep before starts from 0."""
    optimizer = fnn.SGD(0.1)

    def callback(step, x, value):
        optimizer.momentum = 0.5 if step == 2 else optimizer.momentum

    found = minimize(functions.square, 3.0, optimizer=optimizer, callback=callback, steps=5)
    x, velocity = 3 * 0.8**2, 0.0
    for _ in range(3):
        velocity = 0.5 * velocity + 2 * x
        x -= 0.1 * velocity
    assert found.x == pytest.approx(x, rel=1e-14)


def test_a_callback_turns_other_state_on_and_off():
    """Adam's mean and variance are kept when AMSGrad or an average is switched on."""
    plain = minimize(functions.bowl, [1.0, 2.0], optimizer=fnn.Adam(0.1), steps=6)
    optimizer = fnn.Adam(0.1)

    def callback(step, x, value):
        optimizer.use_ema = step in (2, 3)

    found = minimize(functions.bowl, [1.0, 2.0], optimizer=optimizer, callback=callback, steps=6)
    assert (found.path == plain.path).all()
    assert (found.x == found.path[-1]).all()

    def late(step, x, value):
        optimizer.use_ema = step >= 5

    optimizer.use_ema, optimizer.ema_momentum = False, 0.75
    found = minimize(functions.bowl, [1.0, 2.0], optimizer=optimizer, callback=late, steps=6)
    assert found.x == pytest.approx(0.75 * found.path[-2] + 0.25 * found.path[-1], rel=1e-14)


def test_divergence_ends_where_all_was_finite():
    found = minimize(functions.square, 3.0, optimizer=fnn.SGD(3.0), steps=10_000)
    assert np.isfinite(found.path).all()
    assert np.isfinite(found.values).all()
    assert found.x == found.path[-1]
    assert found.path[-1] == pytest.approx(3 * (-5.0) ** found.steps, rel=1e-10)
    assert found.stop_reason == (
        f"value or gradient were not finite after step {found.steps + 1}: try a smaller "
        "learning_rate"
    )


def test_divergence_leaves_an_average_aside():
    optimizer = fnn.SGD(1e200, use_ema=True)
    found = minimize(functions.bowl, [3.0, 1.0], optimizer=optimizer)
    assert (found.x == found.path[-1]).all()
    assert np.isfinite(found.x).all()


def test_python_functions_may_overflow():
    found = minimize(lambda x: exp(x * x), 1.0, grad=lambda x: 2 * x * exp(x * x),
                     optimizer=fnn.SGD(10.0))  # fmt: skip
    assert found.stop_reason.startswith("value or gradient were not finite after step")
    assert found.steps == 0
    assert found.path.tolist() == [1.0]
    assert found.learning_rates.shape == (0,)


@pytest.mark.parametrize("where", ["f", "grad"])
@pytest.mark.parametrize("what", [math.nan, math.inf])
def test_not_finite_on_the_way(where, what):
    def spoilt(function, name):
        return lambda x: what if name == where and x < 2 else function(x)

    found = minimize(spoilt(square, "f"), 3.0, grad=spoilt(double, "grad"), optimizer=fnn.SGD(0.1))
    assert found.path == pytest.approx([3, 2.4])
    assert "after step 2" in found.stop_reason


# --- L-BFGS and finite differences: SciPy -------------------------------------------------------


def test_lbfgs():
    pytest.importorskip("scipy")
    found = minimize(functions.rosenbrock, [-1.5, 2.0], optimizer="lbfgs", steps=200)
    assert found.x == pytest.approx([1, 1], abs=1e-4)
    assert np.isnan(found.learning_rates).all()
    assert len(found.learning_rates) == found.steps == len(found.path) - 1
    assert found.values == pytest.approx([functions.rosenbrock(x) for x in found.path])
    few = minimize(functions.rosenbrock, [-1.5, 2.0], optimizer="lbfgs", steps=3)
    assert few.stop_reason == "completed 3 steps"
    assert (few.path == found.path[:4]).all()


def test_lbfgs_ends():
    pytest.importorskip("scipy")
    there = minimize(functions.bowl, [0.0, 0.0], optimizer="lbfgs", tol_gradient=1e-3)
    assert there.steps == 0
    near = minimize(functions.rosenbrock, [-1.5, 2.0], optimizer="lbfgs", tol_gradient=0.1)
    assert near.gradient_norms[-1] <= 0.1
    assert "tol_gradient" in near.stop_reason
    seen = []
    ended = minimize(functions.rosenbrock, [-1.5, 2.0], optimizer="lbfgs",
                     callback=lambda k, x, v: seen.append(k) or k == 3)  # fmt: skip
    assert seen == [1, 2, 3]
    assert ended.stop_reason == "the callback ended it after 3 steps"
    lost = minimize(functions.saddle, [-1.5, 0.01], optimizer="lbfgs", steps=1000)
    assert lost.values[-1] < -1e300
    assert np.isfinite(lost.path).all()
    assert (lost.x == lost.path[-1]).all()


def test_lbfgs_with_weight_decay():
    """The minimum of (x - 1)^2 + decay / 2 x^2 is 2 / (2 + decay)."""
    pytest.importorskip("scipy")
    found = minimize(
        lambda x: (x - 1) ** 2, 3.0, grad=lambda x: 2 * (x - 1),
        optimizer=fnn.LBFGS(weight_decay=0.5),
    )  # fmt: skip
    assert found.x == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_differences_go_the_same_way(function):
    pytest.importorskip("scipy")
    start = function.start[0] if function.variables == 1 else function.start
    settings = {"optimizer": fnn.SGD(0.0005), "steps": 20}
    got = minimize(lambda x: function(x), start, **settings)
    want = minimize(function, start, **settings)
    assert got.path == pytest.approx(want.path, rel=1e-7, abs=1e-7)


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[scipy\].*grad"):
        minimize(square, 3.0)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[scipy\]"):
        minimize(functions.square, 3.0, optimizer="lbfgs")
    assert minimize(functions.square, 3.0).steps == 100
    assert minimize(square, 3.0, grad=double).steps == 100


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x0", "error", "message"),
    [
        ([], ValueError, r"shape \(0,\)"),
        (np.zeros((2, 2)), ValueError, r"number or have shape \(variables,\), got shape \(2, 2\)"),
        (math.nan, ValueError, "x0 must hold finite numbers, got nan"),
        ([1.0, math.inf], ValueError, r"got inf at \[1\]"),
        ("3", TypeError, "x0 must hold real numbers"),
        (["a", "b"], TypeError, "x0 must hold real numbers"),
        (None, TypeError, "x0 must be an array"),
        (1j, TypeError, "x0 must hold real numbers, got complex"),
        ([[1], [2, 3]], ValueError, "rows of different lengths"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), ValueError, "masked"),
    ],
)
def test_bad_starts(x0, error, message):
    with pytest.raises(error, match=message):
        minimize(square, x0, grad=double)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *[({"steps": s}, ValueError, "steps must be a positive integer")
          for s in (0, -1, 1.5, True, "3", None)],
        ({"optimizer": "adamm"}, ValueError, "did you mean 'adam'"),
        ({"optimizer": fnn.Adam}, TypeError, r"did you mean Adam\(\)"),
        ({"optimizer": None}, TypeError, "optimizer must be"),
        ({"tol_gradient": -1}, ValueError, "tol_gradient must be a finite number of at least 0"),
        ({"tol_improvement": math.nan}, ValueError, "tol_improvement must be"),
        ({"tol_gradient": "1e-6"}, ValueError, "tol_gradient must be"),
        ({"f": 3}, TypeError, "f must be callable"),
        ({"grad": np.ones(2)}, TypeError, "grad must be callable"),
        ({"callback": fnn.EarlyStopping}, TypeError, "callback|argument"),
        ({"callback": 3}, TypeError, "callback must be callable"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        minimize(**{"f": square, "x0": 3.0, "grad": double, **arguments})


def from_second_call(bad, good):
    """A function that fails at the second point only."""
    calls = []
    return lambda x: bad if calls.append(x) or len(calls) > 1 else good(x)


NO_NUMBERS = [None, "3", 1j, np.complex128(1), np.ones(2), np.ones((2, 2)), object(), [[1], [2, 3]]]


@pytest.mark.parametrize("bad", NO_NUMBERS, ids=lambda b: repr(b)[:20])
@pytest.mark.parametrize("is_late", [False, True], ids=["at the start", "later"])
def test_functions_that_give_no_number(bad, is_late):
    def f(good):
        return from_second_call(bad, good) if is_late else lambda x: bad

    with pytest.raises(TypeError, match="f must return a number"):
        minimize(f(square), 3.0, grad=double)
    with pytest.raises(TypeError, match="f must return a number"):
        minimize(f(lambda x: x @ x), [3.0, 1.0], grad=double)
    with pytest.raises(TypeError, match="grad must return a number"):
        minimize(square, 3.0, grad=f(double))


@pytest.mark.parametrize("is_late", [False, True], ids=["at the start", "later"])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (1.0, ValueError), (np.ones(1), ValueError), (np.ones(3), ValueError),
        (np.ones((2, 1)), ValueError), (np.ones((1, 2)), ValueError),
        (np.ones(2) + 1j, TypeError), (["a", "b"], TypeError), (None, ValueError),
    ],
    ids=lambda b: repr(b)[:20],
)  # fmt: skip
def test_gradients_of_other_shapes_and_types(bad, error, is_late):
    grad = from_second_call(bad, double) if is_late else lambda x: bad
    with pytest.raises(error, match="grad must"):
        minimize(lambda x: x @ x, [3.0, 1.0], grad=grad)


@pytest.mark.parametrize("what", [math.nan, math.inf, -math.inf])
def test_not_finite_at_the_start(what):
    with pytest.raises(ValueError, match=f"f must be finite at x0 = 3.0, got {what}"):
        minimize(lambda x: what, 3.0, grad=double)
    with pytest.raises(ValueError, match="grad must be finite at x0"):
        minimize(square, 3.0, grad=lambda x: what)
    with pytest.raises(ValueError, match="grad must be finite at x0"):
        minimize(lambda x: x @ x, [3.0, 1.0], grad=lambda x: np.array([1.0, what]))
    with pytest.raises(ValueError, match=r"must be finite at x0 = 1000\.0: math range error"):
        minimize(exp, 1000.0, grad=exp)


def test_errors_of_functions_pass():
    def angry(*_):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        minimize(angry, 3.0, grad=double)
    with pytest.raises(LookupError, match="mine"):
        minimize(square, 3.0, grad=angry)
    with pytest.raises(LookupError, match="mine"):
        minimize(square, 3.0, grad=double, callback=angry)
    for optimizer in ("sgd", "lbfgs"):
        with pytest.raises(LookupError, match="mine"):
            minimize(lambda x: x * x if x == 3 else angry(), 3.0, grad=double, optimizer=optimizer)
    with pytest.raises(ValueError, match=r"finite at x0 = .*division by zero"):
        minimize(lambda x: 1 / 0, 3.0, grad=double)


def test_warnings_are_as_they_were():
    before = np.geterr()
    minimize(functions.square, 3.0, optimizer=fnn.SGD(3.0), steps=1000)
    assert np.geterr() == before


def test_lbfgs_turns_back_from_where_there_is_no_value():
    found = minimize(
        lambda x: float(x[0] - np.log(x[0])), [50.0], grad=lambda x: 1 - 1 / x,
        optimizer=fnn.LBFGS(), steps=100,
    )  # fmt: skip
    assert found.x == pytest.approx([1.0], abs=1e-4)


def test_lbfgs_looks_once_at_each_point_that_scipy_asks_for():
    calls = []

    def f(x):
        calls.append(x)
        return functions.rosenbrock(x)

    found = minimize(f, [-1.5, 2.0], grad=functions.rosenbrock.gradient, optimizer="lbfgs")
    assert found.x == pytest.approx([1, 1], abs=1e-3)
    assert len(calls) < 3 * found.steps


def test_large_numbers_are_finite():
    found = minimize(
        lambda x: 1e300 * float(x[0]), [1.0], grad=lambda x: np.array([1e200]),
        optimizer=fnn.SGD(1e-202), steps=1,
    )  # fmt: skip
    assert found.gradient_norms == pytest.approx([1e200, 1e200])
    found = minimize(lambda x: 1.2e308, 1.0, grad=lambda x: 1e308, optimizer=fnn.SGD(0.0), steps=2)
    assert found.steps == 2


def test_division_by_zero_ends_a_walk():
    found = minimize(lambda x: 1 / x + x, 2.0, grad=lambda x: 1.0, optimizer=fnn.SGD(1.0), steps=5)
    assert (found.steps, found.x) == (1, 1.0)
    assert "not finite after step 2" in found.stop_reason


def test_functions_compute_in_floats():
    assert functions.rosenbrock(np.array([100_000, 1])) == pytest.approx(9.999800005e21, rel=1e-3)
    assert functions.square(np.int8(100)) == 10_000
    assert functions.bowl.gradient(np.array([100, 100], "i1")).tolist() == [200, 200]
    for function, x0 in (
        (functions.rosenbrock, [1.0, 2.0, 3.0]), (functions.rosenbrock, 1.0),
        (functions.bowl, [1.0]), (functions.bowl, [1.0, 2.0, 3.0]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="takes 2 variables"):
            minimize(function, x0)
    assert minimize(functions.rastrigin, [0.1, 0.2, 0.3], steps=2).variables == 3


def test_only_true_ends_a_walk():
    for found in ("no", np.array([1, 2]), 1, None):
        walk = minimize(functions.square, 3.0, steps=3, callback=lambda *seen, found=found: found)
        assert walk.steps == 3
    assert minimize(functions.square, 3.0, steps=3, callback=lambda *seen: np.True_).steps == 1


@pytest.mark.parametrize("gradient", [[[1], 2], np.array([1, "a"], object), ["a", "b"]])
def test_gradients_that_are_no_numbers(gradient):
    with pytest.raises(TypeError, match="grad must return"):
        minimize(lambda x: 1.0, [1.0, 2.0], grad=lambda x: gradient)


@pytest.mark.parametrize("optimizer", ["gradient_descent", "lbfgs"])
def test_a_function_that_overflows_is_lost_there(optimizer):
    """Python's own functions raise where NumPy's return infinity."""
    with np.errstate(over="ignore"):
        raised, infinite = (
            minimize(
                lambda x, exp=exp: exp(x * x) - 90_000.0 * x, 0.0,
                grad=lambda x, exp=exp: 2 * x * exp(x * x) - 90_000.0,
                optimizer=optimizer, steps=5,
            )
            for exp in (math.exp, np.exp)
        )  # fmt: skip
    assert raised.path.tobytes() == infinite.path.tobytes()
    assert raised.stop_reason == infinite.stop_reason
    assert math.isfinite(raised.x)
    if optimizer == "gradient_descent":
        assert "not finite" in raised.stop_reason
