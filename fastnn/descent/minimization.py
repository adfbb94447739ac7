"""`minimize`: a walk down a function, step by step, with all that is measured on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import data, optimizers
from fastnn.core import checks, extras
from fastnn.descent.result import Descent, Point
from fastnn.descent.stepwise import StepwiseWalk
from fastnn.descent.walk import Walk, as_number
from fastnn.descent.with_lbfgs import LBFGSWalk


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
    r"""Minimize a function with any of the optimizers, and keep the path.

    Everything is computed in float64 by the program that updates a network's parameters. Gradient
    descent, the default, is :math:`x_{k+1} = x_k - \eta \nabla f(x_k)`.

    Parameters
    ----------
    f : callable
        Maps a point to a number. The point is a float where x0 is one, else an array of x0's
        shape, which must not be changed. Those of `fastnn.descent.functions` have a gradient.
    x0 : float or array_like, shape (variables,)
        Where to start.
    grad : callable, optional
        Maps a point to the derivative, a number, or to the gradient, of x0's shape. Default: the
        gradient of `f`, if it has one; else :math:`(f(x + h) - f(x - h)) / 2h` for each
        variable, with ``scipy.optimize.approx_fprime`` (``pip install 'fastnn-cpu[scipy]'``). They
        are accurate to about ten digits, and call f 2n + 2 times for n variables.
    optimizer : str, dict or Optimizer, default "gradient_descent"
        Any of `fastnn.optimizers`, with its schedule; it is not changed.
    steps : int, default 100
        The most steps to make.
    tol_gradient : float, optional
        Stop where the Euclidean norm of the gradient is at most this.
    tol_improvement : float, optional
        Stop when a step has changed the value by less than this.
    callback : callable, optional
        Called with (steps made, point, value) after each step; ends the walk by returning True.
        It may set hyper-parameters of `optimizer`, which take effect from the next step on.

    Returns
    -------
    Descent

    Raises
    ------
    TypeError, ValueError
        An argument does not fit, or f or grad do not return real, finite numbers at x0.
    ImportError
        SciPy is needed and is not installed.

    Notes
    -----
    A walk whose value or gradient is no longer finite (f may raise an ArithmeticError, too) ends at
    the last point where both were, and ``stop_reason`` says so. Other errors that f raises are
    passed on: a function that is not defined everywhere should return NaN there.

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
    walk: Walk = chosen.trainer(_Walks())(f, grad, start, chosen, limits[0], limits[1], callback)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        walk.begin()
        reason = walk.run(steps)
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


class _Walks:
    """The walks that an optimizer may choose from; see `Optimizer.trainer`."""

    def steps(self) -> type[Walk]:
        """Return the walk whose steps are updates of the optimizer."""
        return StepwiseWalk

    def accumulated_steps(self) -> type[Walk]:
        """Raise ValueError, because a function has no batches."""
        raise ValueError(
            "optimizer: gradient_accumulation_steps is for batches, and a function has none"
        )

    def iterations(self) -> type[Walk]:
        """Return the walk whose steps are SciPy's iterations."""
        return LBFGSWalk


def _checked_start(x0: object) -> np.ndarray:
    array = data.checked_array("x0", x0)
    if array.ndim > 1 or array.size == 0:
        raise ValueError(f"x0 must be a number or have shape (variables,), got shape {array.shape}")
    data.check_finite("x0", array.reshape(-1), "float64")
    return array.astype(np.float64)


def _differences(f: Callable[[Point], float], start: np.ndarray) -> Callable[[Point], Any]:
    """Return a function that computes the derivative by central differences."""
    try:
        from scipy.optimize import approx_fprime
    except ImportError:
        raise extras.missing(
            "without grad the derivative is taken by SciPy", "scipy", "give grad"
        ) from None
    width = float(np.cbrt(np.finfo(np.float64).eps))  # balances truncation and rounding

    def at(point: np.ndarray) -> float:
        x = point if start.ndim else float(point[0])
        return as_number("f", f(x), x)

    def gradient(x: Point) -> Any:
        size = width * np.maximum(1.0, np.abs(np.atleast_1d(x)))
        point = np.atleast_1d(x)
        both = approx_fprime(point, at, size) + approx_fprime(point, at, -size)
        return both / 2 if start.ndim else float(both[0]) / 2

    return gradient
