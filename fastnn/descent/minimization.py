"""`minimize`: a walk down a function, step by step, with all that was seen on the way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data, optimizers
from fastnn.core import checks
from fastnn.layers import Layer
from fastnn.native.engine import Prepared
from fastnn.optimizers import LBFGS, Optimizer
from fastnn.program.graph import Graph
from fastnn.program.ops import Value
from fastnn.runtime import Bound, Objective, Purpose, Runtime
from fastnn.training import lbfgs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d.axes3d import Axes3D

Iterate = tuple[np.ndarray, float, np.ndarray]  # a point, with the value and gradient there
Point = Any  # a float where x0 is a number, else an array


@dataclass(repr=False, eq=False)
class Descent:
    """A walk down a function: what `minimize` returns.

    Attributes
    ----------
    function : callable
    optimizer : Optimizer
        As it was set at the start.
    path : ndarray of float64, shape (points,), or (points, variables) where x0 is an array
        The points, the start first.
    values : ndarray of float64, shape (points,)
        Of the function there.
    gradient_norms : ndarray of float64, shape (points,)
        Euclidean norms of the gradient there.
    learning_rates : ndarray of float64, shape (points - 1,)
        Of each step; NaN for `LBFGS`, which has none.
    stop_reason : str
    x : float or ndarray
        The last point; with an optimizer that keeps a moving average, that average, unless the
        walk has ended because something was not finite.

    Examples
    --------
    >>> import fastnn as fnn
    >>> descent = fnn.descent.minimize(fnn.descent.functions.square, 3.0, steps=2,
    ...                                optimizer=fnn.SGD(0.1))
    >>> descent.path
    array([3.  , 2.4 , 1.92])
    >>> descent.stop_reason
    'completed 2 steps'
    """

    function: Callable[[Point], float]
    optimizer: Optimizer | LBFGS
    path: np.ndarray
    values: np.ndarray
    gradient_norms: np.ndarray
    learning_rates: np.ndarray
    stop_reason: str
    x: Point

    def __repr__(self) -> str:
        shown = np.array2string(np.asarray(self.x), precision=6, threshold=6)
        return (
            f"<Descent of {self.steps} steps with {self.optimizer!r} to {shown}, "
            f"where it is {self.values[-1]:.6g}; {self.stop_reason}>"
        )

    @property
    def steps(self) -> int:
        """Number of steps made."""
        return len(self.values) - 1

    @property
    def variables(self) -> int:
        """Number of variables."""
        return 1 if self.path.ndim == 1 else self.path.shape[1]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the walk: on the curve of one variable, on the contours of two.

        With more variables, value and gradient norm over the steps. See `fastnn.plots.descent`,
        which draws several walks on one picture.
        """
        from fastnn import plots

        return plots.descent(self, ax=ax)

    def plot_surface(self, *, ax: Axes3D | None = None) -> Axes3D:
        """Draw the walk on the surface of a function of two variables, in three dimensions."""
        from fastnn import plots

        return plots.surface(self, ax=ax)

    def plot_convergence(self, *, ax: Any = None) -> Any:
        """Draw value and gradient norm over the steps, one axes for each."""
        from fastnn import plots

        return plots.convergence(self, ax=ax)

    def animate(self, file: str | Path, *, fps: float = 10, frames: int = 100) -> Path:
        """Save the walk as a moving picture; see `fastnn.plots.animate_descent`.

        Parameters
        ----------
        file : str or Path
            ``walk.gif``, or ``walk.mp4`` where ffmpeg is installed.
        fps : float, default 10
            Frames a second; of a gif at most 50.
        frames : int, default 100
            At most so many; steps are left out, evenly.
        """
        from fastnn import plots

        return plots.animate_descent(self, file, fps=fps, frames=frames)


def minimize(
    f: Callable[[Point], float],
    x0: object,
    *,
    grad: Callable[[Point], Any] | None = None,
    optimizer: object = "gradient_descent",
    steps: int = 100,
    tol_gradient: float | None = None,
    tol_improvement: float | None = None,
    callback: Callable[[int, Point, float], object] | None = None,
) -> Descent:
    r"""Walk down a function with any of the optimizers, and keep the way.

    Everything is computed in float64 by the program that updates a network's parameters. Gradient
    descent, the default, does :math:`x_{k+1} = x_k - \eta \nabla f(x_k)`.

    Parameters
    ----------
    f : callable
        From a point to a number: a float where x0 is one, else an array of x0's shape, which
        must not be changed. One of `fastnn.descent.functions` brings its gradient.
    x0 : float or array_like, shape (variables,)
        Where to start.
    grad : callable, optional
        From a point to the derivative, a number, or the gradient, of x0's shape. Default: that
        of `f`, if it has one; else differences, :math:`(f(x + h) - f(x - h)) / 2h` for each
        variable, with ``scipy.optimize.approx_fprime`` (``pip install 'fastnn[scipy]'``). They are
        good to some ten digits, and call f 2n + 2 times for n variables.
    optimizer : str, dict or Optimizer, default "gradient_descent"
        Any of `fastnn.optimizers`, with its schedule. It is not changed.
    steps : int, default 100
        At most so many.
    tol_gradient : float, optional
        Stop where the Euclidean norm of the gradient is no larger.
    tol_improvement : float, optional
        Stop when a step has changed the value by less.
    callback : callable, optional
        Called with (steps made, point, value) after each step; ends the walk by returning True.
        It may set hyper-parameters of `optimizer`, which then count from the next step.

    Returns
    -------
    Descent

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be, or f or grad give something else at x0.
    ImportError
        SciPy is needed and not there.

    Notes
    -----
    A walk whose value or gradient is not finite any more (f may raise an ArithmeticError, too) ends
    at the last point where they were, and ``stop_reason`` says so. Other errors of f are raised: a
    function that is not defined everywhere returns NaN there.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from math import exp
    >>> descent = fnn.descent.minimize(lambda x: x * x + exp(-x), 3.0,
    ...                                grad=lambda x: 2 * x - exp(-x), steps=1000,
    ...                                optimizer=fnn.SGD(0.1), tol_gradient=1e-9)
    >>> round(descent.x, 6), descent.stop_reason
    (0.351734, 'the norm of the gradient is 7.52e-10 after 74 steps, tol_gradient 1e-09')
    >>> ravine = fnn.descent.functions.ravine
    >>> fnn.descent.minimize(ravine, [-7, 2], optimizer=fnn.Adam(0.3), steps=50).path.shape
    (51, 2)
    """
    start = _checked_start(x0)
    chosen = optimizers.get(optimizer)
    as_it_was = copy.copy(chosen)  # a callback, or the next walk, may set it otherwise
    steps = checks.integer("steps", steps)
    limits = [
        None if value is None else checks.number(name, value, least=0)
        for name, value in (("tol_gradient", tol_gradient), ("tol_improvement", tol_improvement))
    ]
    for name, value in (("f", f), ("grad", grad), ("callback", callback)):
        if not callable(value) and (name == "f" or value is not None):
            raise TypeError(f"{name} must be callable, got {value!r}")
    if grad is None:
        grad = getattr(f, "gradient", None) or _differences(f, start)
    walk = _Walk(f, grad, start, chosen, limits[0], limits[1], callback)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        walk.begin()
        go = walk.to_minimum if isinstance(chosen, LBFGS) else walk.step_by_step
        reason = go(steps)
    return Descent(
        f,
        as_it_was,
        np.array(walk.points),
        np.array(walk.values),
        np.array(walk.norms),
        np.array(walk.rates, np.float64),
        reason,
        walk.end(),
    )


def _checked_start(x0: object) -> np.ndarray:
    array = data.checked_array("x0", x0)
    if array.ndim > 1 or array.size == 0:
        raise ValueError(f"x0 must be a number or have shape (variables,), got shape {array.shape}")
    data.check_finite("x0", array.reshape(-1), "float64")
    return array.astype(np.float64)


def _differences(f: Callable[[Point], float], start: np.ndarray) -> Callable[[Point], Any]:
    """Return the derivative by central differences."""
    try:
        from scipy.optimize import approx_fprime
    except ImportError:
        raise ImportError(
            "without grad the derivative is taken by SciPy: pip install 'fastnn[scipy]', or give "
            "grad"
        ) from None
    width = float(np.cbrt(np.finfo(np.float64).eps))  # balances truncation and rounding

    def at(point: np.ndarray) -> float:
        x = point if start.ndim else float(point[0])
        return _number("f", f(x), x)

    def gradient(x: Point) -> Any:
        size = width * np.maximum(1.0, np.abs(np.atleast_1d(x)))
        point = np.atleast_1d(x)
        both = approx_fprime(point, at, size) + approx_fprime(point, at, -size)
        return both / 2 if start.ndim else float(both[0]) / 2

    return gradient


def _number(name: str, value: Any, x: Point) -> float:
    """Return the number that f or grad has given at x."""
    if isinstance(value, (float, int)):
        return float(value)
    try:
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biufO" and not isinstance(array.item(), str):
            return float(array.item())
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} must return a number, got {value!r} at {x!r}")


def _is_true(found: object) -> bool:
    """Whether a callback has returned True, and not just something."""
    return isinstance(found, (bool, np.bool_)) and bool(found)


_LOST = (math.nan, math.nan)
_RATES_AT_ONCE = 256


class _Walk:
    """The points so far, and the optimizer's program with the arenas it works on."""

    def __init__(
        self,
        f: Callable[[Point], float],
        grad: Callable[[Point], Any],
        start: np.ndarray,
        optimizer: Optimizer | LBFGS,
        tol_gradient: float | None,
        tol_improvement: float | None,
        callback: Callable[[int, Point, float], object] | None,
    ) -> None:
        self._f, self._grad, self._optimizer, self._callback = f, grad, optimizer, callback
        self._tolerances = tol_gradient, tol_improvement
        self._start = start
        self._is_number = start.ndim == 0
        self._found_at = self._number_at if self._is_number else self._array_at
        self._has_lost = False
        self.points: list[Point] = []
        self.values: list[float] = []
        self.norms: list[float] = []
        self.rates: list[float] = []
        value = Value("x/x", (start.size,), batched=False, storage="parameter")
        graph = Graph([], [], (), {value.name: value}, {value.name: (Layer(), "x")})
        self._runtime = Runtime(graph, "float64", {value.name: value.shape}, 0)
        self._runtime.configure(Objective(optimizer, ()))
        self._x = self._runtime.parameters[value.name]
        self._gradient = self._runtime.gradients[value.name]
        self._x[...] = start
        self._point: Callable[[], Point] = self._x.item if self._is_number else self._copy

    def begin(self) -> None:
        """Look at the start, where everything must be finite."""
        x = self._point()
        try:
            value, norm = self._found_at(x)
        except ArithmeticError as error:
            raise ValueError(f"f and grad must be finite at x0 = {x!r}: {error}") from error
        for name, found, shown in (("f", value, value), ("grad", norm, self._gradient)):
            if not math.isfinite(found):
                raise ValueError(f"{name} must be finite at x0 = {x!r}, got {shown!r}")
        self._keep(x, value, norm)

    def end(self) -> Point:
        """Return the last point; the moving average, if one is kept."""
        self._x[...] = self.points[-1]
        if not self._has_lost:  # then the average holds what was not finite
            self._runtime.take_average()
        return self._x.item() if self._is_number else self._x.copy()

    def _copy(self) -> np.ndarray:
        point = self._x.copy()
        point.flags.writeable = False  # it is in the path
        return point

    def _keep(self, x: Point, value: float, norm: float) -> None:
        self.points.append(x)
        self.values.append(value)
        self.norms.append(norm)

    def _look(self, x: Point) -> tuple[float, float]:
        """Return value and norm, both NaN if not finite; the gradient is then in its place."""
        try:
            value, norm = self._found_at(x)
        except ArithmeticError:
            return _LOST
        return (value, norm) if math.isfinite(value) and math.isfinite(norm) else _LOST

    def _number_at(self, x: float) -> tuple[float, float]:
        """Return value and norm of the gradient, which is then in its place."""
        value, slope = self._f(x), self._grad(x)
        if type(value) is not float:
            value = _number("f", value, x)
        if type(slope) is not float:
            slope = _number("grad", slope, x)
        self._gradient[0] = slope
        return value, abs(slope)

    def _array_at(self, x: np.ndarray) -> tuple[float, float]:
        """Return value and norm of the gradient, which is then in its place."""
        value = _number("f", self._f(x), x)
        found = self._grad(x)
        try:
            gradient = np.asarray(found)
            if gradient.dtype.kind == "O":
                gradient = gradient.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"grad must return real numbers, got {found!r} at {x!r}") from None
        if gradient.dtype.kind not in "biuf":
            raise TypeError(f"grad must return real numbers, got {found!r} at {x!r}")
        if gradient.shape != x.shape:
            raise ValueError(
                f"grad must return shape {x.shape}, as x0 has, got {gradient.shape} at {x!r}"
            )
        self._gradient[...] = gradient
        norm = math.sqrt(self._gradient @ self._gradient)
        return value, norm if norm < math.inf else math.hypot(*self._gradient)

    # --- an update at a time --------------------------------------------------------------------

    def step_by_step(self, steps: int) -> str:
        """Make steps until it is time to stop, and return why."""
        optimizer = self._optimizer
        assert isinstance(optimizer, Optimizer)
        bound, update = self._prepared(None, None)
        has_tolerance = self._tolerances != (None, None)
        chosen: object = None
        first, rates = 0, [0.0]
        # Names and no calls of our own in the loop: it is most of a walk down a quick function.
        point, found_at, is_finite, callback = (
            self._point, self._found_at, math.isfinite, self._callback,
        )  # fmt: skip
        points, values, norms = self.points.append, self.values.append, self.norms.append
        make, made = update.update, self.rates.append
        for done in range(steps):
            if has_tolerance and (reason := self._is_there(done)):
                return reason
            if optimizer.learning_rate is not chosen or done - first == len(rates):
                chosen, first = optimizer.learning_rate, done
                rates = optimizer.rates(done, min(steps - done, _RATES_AT_ONCE)).tolist()
            rate = rates[done - first]
            make(rate)
            x = point()
            try:
                value, norm = found_at(x)
            except ArithmeticError:
                return self._is_lost(done + 1)
            if not (is_finite(value) and is_finite(norm)):
                return self._is_lost(done + 1)
            made(rate)
            points(x)
            values(value)
            norms(norm)
            if callback is not None:
                if _is_true(callback(done + 1, x, value)):
                    return f"the callback ended it after {_steps(done + 1)}"
                bound, update = self._prepared(bound, update)
                make = update.update
        return self._is_there(steps) or f"completed {_steps(steps)}"

    def _prepared(self, bound: Bound | None, update: Prepared | None) -> tuple[Bound, Prepared]:
        """Return the program of the optimizer as it is set now, prepared."""
        runtime = self._runtime
        if self._optimizer.slots != runtime.slots:
            self._change_slots()
        found = runtime.bound(Purpose.UPDATE, 1)
        if update is None or found is not bound:
            update = Prepared(
                found.executor, runtime.dtype, counter=runtime.counter, work=found.plan.work(1)
            )
        return found, update

    def _change_slots(self) -> None:
        """Give the optimizer the state that it keeps as it is set now, and what it knew of it."""
        runtime = self._runtime
        step = runtime.step
        known = dict(zip(runtime.slots, runtime.arenas["state"], strict=True))
        runtime.configure(Objective(self._optimizer, ()))
        runtime.step = step
        if "average" not in known:
            runtime.forget_average()
        for slot, state in zip(runtime.slots, runtime.arenas["state"], strict=True):
            if slot in known:
                state[...] = known[slot]

    def _is_there(self, done: int) -> str:
        """Return why to stop here, or nothing."""
        of_gradient, of_improvement = self._tolerances
        norm = self.norms[-1]
        if of_gradient is not None and norm <= of_gradient:
            return (
                f"the norm of the gradient is {norm:.3g} after {_steps(done)}, "
                f"tol_gradient {of_gradient:g}"
            )
        if of_improvement is not None and done:
            change = abs(self.values[-2] - self.values[-1])
            if change < of_improvement:
                return (
                    f"step {done} changed the value by {change:.3g}, "
                    f"tol_improvement {of_improvement:g}"
                )
        return ""

    def _is_lost(self, step: int) -> str:
        self._has_lost = True
        advice = "" if isinstance(self._optimizer, LBFGS) else ": try a smaller learning_rate"
        return f"value or gradient were not finite after step {step}{advice}"

    # --- with SciPy -----------------------------------------------------------------------------

    def to_minimum(self, steps: int) -> str:
        """Let SciPy's L-BFGS make its iterations, and return why it has stopped."""
        optimizer = self._optimizer
        assert isinstance(optimizer, LBFGS)
        minimizer, decay = lbfgs.minimizer(), optimizer.weight_decay

        def penalized(value: float, point: np.ndarray) -> Iterate:
            return point.copy(), value + decay / 2 * point @ point, self._gradient + decay * point

        iterate = penalized(self.values[0], self._x)

        def look(point: np.ndarray) -> tuple[float, np.ndarray]:
            self._x[...] = point
            value, _ = self._look(self._point())
            if value != value:
                return lbfgs.turned_back(*iterate, point)
            return penalized(value, point)[1:]

        def accept(intermediate_result: Any) -> None:
            nonlocal iterate
            self._x[...] = intermediate_result.x
            x = self._point()
            value, norm = self._look(x)
            if value != value:  # a line search that has turned back ends where it is finite
                raise _Ended(self._is_lost(len(self.values)))
            iterate = penalized(value, intermediate_result.x)
            self.rates.append(math.nan)
            self._keep(x, value, norm)
            done = len(self.rates)
            if self._callback is not None and _is_true(self._callback(done, x, self.values[-1])):
                raise _Ended(f"the callback ended it after {_steps(done)}")
            reason = self._is_there(done)
            if reason:
                raise _Ended(reason)

        try:
            reason = self._is_there(0)
            if reason:
                return reason
            found = minimizer(
                look, self._x.copy(), jac=True, method="L-BFGS-B", callback=accept,
                options=lbfgs.options(optimizer, steps),
            )  # fmt: skip
        except _Ended as end:
            return str(end)
        done = len(self.rates)
        return f"completed {_steps(done)}" if found.status == 1 else found.message.strip(" :")


class _Ended(Exception):
    """SciPy is to stop; the message says why."""


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
