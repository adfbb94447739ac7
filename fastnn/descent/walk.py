"""A walk down a function: the points so far, and the arenas that the optimizer works on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.descent.result import Point
from fastnn.layers import Layer
from fastnn.optimizers import Optimizer
from fastnn.program.graph import Graph
from fastnn.program.ops import Value
from fastnn.runtime import Objective, Runtime

LOST = (math.nan, math.nan)  # value and norm where one of them is not finite


class Walk:
    """The points so far, and a runtime whose one parameter is the point.

    Its subclasses define what a step is.

    Parameters
    ----------
    f, grad : callable
        From a point to the value and to the gradient there.
    start : ndarray of float64, of shape () or (variables,)
    optimizer : Optimizer
    tol_gradient, tol_improvement : float or None
    callback : callable or None
        As in `minimize`.

    Attributes
    ----------
    points : list
        Floats if the start is a number, else arrays that cannot be written to.
    values, norms : list of float
        Values of the function, and norms of its gradient, at each point.
    rates : list of float
        The learning rate of each step.
    """

    advice = ""  # what to do when value or gradient are no longer finite

    def __init__(
        self,
        f: Callable[[Point], float],
        grad: Callable[[Point], Any],
        start: np.ndarray,
        optimizer: Optimizer,
        tol_gradient: float | None,
        tol_improvement: float | None,
        callback: Callable[[int, Point, float], object] | None,
    ) -> None:
        self._f, self._grad, self._optimizer, self._callback = f, grad, optimizer, callback
        self._tolerances = tol_gradient, tol_improvement
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
        """Compute value and gradient at the start.

        Raises
        ------
        ValueError
            One of them is not finite there.
        """
        x = self._point()
        try:
            value, norm = self._found_at(x)
        except ArithmeticError as error:
            raise ValueError(f"f and grad must be finite at x0 = {x!r}: {error}") from error
        for name, found, shown in (("f", value, value), ("grad", norm, self._gradient)):
            if not math.isfinite(found):
                raise ValueError(f"{name} must be finite at x0 = {x!r}, got {shown!r}")
        self._keep(x, value, norm)

    def run(self, steps: int) -> str:
        """Make at most `steps` steps, and return why the walk has ended."""
        raise NotImplementedError

    def end(self) -> Point:
        """Return the last point; the moving average, if one is kept."""
        self._x[...] = self.points[-1]
        if not self._has_lost:  # else the average holds what was not finite
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
        """Return value and norm as `_found_at`, but both NaN if one of them is not finite."""
        try:
            value, norm = self._found_at(x)
        except ArithmeticError:
            return LOST
        return (value, norm) if math.isfinite(value) and math.isfinite(norm) else LOST

    def _number_at(self, x: float) -> tuple[float, float]:
        """Return value and norm of the gradient, and write the gradient to its arena."""
        value, slope = self._f(x), self._grad(x)
        if type(value) is not float:
            value = as_number("f", value, x)
        if type(slope) is not float:
            slope = as_number("grad", slope, x)
        self._gradient[0] = slope
        return value, abs(slope)

    def _array_at(self, x: np.ndarray) -> tuple[float, float]:
        """Return value and norm of the gradient, and write the gradient to its arena."""
        value = as_number("f", self._f(x), x)
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

    def _is_there(self, done: int) -> str:
        """Return why to stop after `done` steps, or an empty string."""
        of_gradient, of_improvement = self._tolerances
        norm = self.norms[-1]
        if of_gradient is not None and norm <= of_gradient:
            return (
                f"the norm of the gradient is {norm:.3g} after {checks.counted(done, 'step')}, "
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
        return f"value or gradient were not finite after step {step}{self.advice}"


def as_number(name: str, value: Any, x: Point) -> float:
    """Return the number that f or grad has returned at x.

    Raises
    ------
    TypeError
        It is not a number.
    """
    if isinstance(value, (float, int)):
        return float(value)
    try:
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biufO" and not isinstance(array.item(), str):
            return float(array.item())
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} must return a number, got {value!r} at {x!r}")


def is_true(found: object) -> bool:
    """Return whether a callback has returned True itself, not merely something true."""
    return isinstance(found, (bool, np.bool_)) and bool(found)
