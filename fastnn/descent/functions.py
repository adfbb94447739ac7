"""Test functions for optimizers, with gradients and minima: valleys, ravines, saddles, traps.

Each is called with a number, or an array of one axis (of shape (variables, ...) to compute many
points at once), and has a ``gradient`` that is called in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Function:
    """A function to be minimized, with its gradient, minima and limits.

    Attributes
    ----------
    name : str
    formula : str
        As mathtext, without dollars.
    variables : int
        1: it is called with a number; else with an array of shape (variables,). For a function of
        any number of variables: how many it is drawn with.
    takes_any : bool
        Whether it accepts any number of variables.
    value, slope : callable
        The function, and its gradient, of floats.
    minima : tuple of tuple of float
        Where it is least; empty if it is unbounded below.
    start : tuple of float
        Where a walk is worth watching from.
    limits : tuple of (float, float)
        The range to draw, for each variable.
    source : str
        Where it comes from.

    Examples
    --------
    >>> import fastnn as fnn
    >>> function = fnn.descent.functions.rosenbrock
    >>> function([1.0, 1.0]), function.gradient([0.0, 0.0])
    (0.0, array([-2.,  0.]))
    >>> function.minima
    ((1.0, 1.0),)
    """

    name: str
    formula: str
    variables: int
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    minima: tuple[tuple[float, ...], ...]
    start: tuple[float, ...]
    limits: tuple[tuple[float, float], ...]
    source: str = ""
    takes_any: bool = False

    def __call__(self, x: Any) -> Any:
        """Return the value at a point, or at each of an array of shape (variables, ...)."""
        found = self.value(self._real(x))
        return found if np.ndim(found) else float(found)

    def gradient(self, x: Any) -> Any:
        """Return the gradient at a point, or at each of an array of shape (variables, ...)."""
        found = self.slope(self._real(x))
        return found if np.ndim(found) else float(found)

    def _real(self, x: Any) -> Any:
        """Return x in floats, with an entry for each variable."""
        if isinstance(x, (float, int)) and self.variables == 1:
            return x
        point = np.asarray(x, np.float64)
        count = len(point) if point.ndim else 0
        if self.variables not in (1, count) and not (count and self.takes_any):
            raise ValueError(
                f"{self.name} takes {self.variables} variables, got shape {point.shape}"
            )
        return point if point.ndim else float(point)

    def __repr__(self) -> str:
        return f"<Function {self.name}: {self.formula}>"


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _rosenbrock(x: Sequence[Any]) -> Any:
    a, b = x
    return (1 - a) ** 2 + 100 * (b - a**2) ** 2


def _rosenbrock_gradient(x: Sequence[Any]) -> np.ndarray:
    a, b = x
    return np.array([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)])


_BEALE = (1.5, 2.25, 2.625)


def _beale(x: Sequence[Any]) -> Any:
    a, b = x
    return sum((c - a + a * b**power) ** 2 for power, c in enumerate(_BEALE, start=1))


def _beale_gradient(x: Sequence[Any]) -> np.ndarray:
    a, b = x
    by_a, by_b = 0.0, 0.0
    for power, c in enumerate(_BEALE, start=1):
        rest = 2 * (c - a + a * b**power)
        by_a = by_a + rest * (b**power - 1)
        by_b = by_b + rest * a * power * b ** (power - 1)
    return np.array([by_a, by_b])


def _himmelblau(x: Sequence[Any]) -> Any:
    a, b = x
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


def _himmelblau_gradient(x: Sequence[Any]) -> np.ndarray:
    a, b = x
    first, second = a**2 + b - 11, a + b**2 - 7
    return np.array([4 * a * first + 2 * second, 2 * first + 4 * b * second])


def _rastrigin(x: Any) -> Any:
    x = np.asarray(x)
    return 10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(axis=0)


def _rastrigin_gradient(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)


def _log_over_square_gradient(x: Any) -> Any:
    sigmoid, square = _sigmoid(x), x**2 + 1
    by_logarithm = sigmoid * (1 - sigmoid) / (1 + sigmoid)
    return (2 * x * np.log1p(sigmoid) / square - by_logarithm) / square


# Money spent on advertising, and the visitors who came.
ADVERTISING = (10.0, 2.0, 5.0, 10.0, 10.0, 5.0)
VISITORS = (12.0, 4.0, 8.0, 12.0, 11.0, 4.0)


def _advertising(a: Any) -> Any:
    pairs = zip(ADVERTISING, VISITORS, strict=True)
    return sum((y - a * x) ** 2 for x, y in pairs) / len(VISITORS)


def _advertising_gradient(a: Any) -> Any:
    pairs = zip(ADVERTISING, VISITORS, strict=True)
    return sum(-2 * x * y + 2 * a * x**2 for x, y in pairs) / len(VISITORS)


_BEST_SHARE = float(np.dot(ADVERTISING, VISITORS) / np.dot(ADVERTISING, ADVERTISING))
_DIP = float(2 * np.sqrt(2 * np.pi - np.arccos(-0.04)))  # cos(x^2 / 4) = -1/25, the first rise

table: dict[str, Function] = {
    function.name: function
    for function in (
        Function(
            "square", r"x^2", 1, lambda x: x**2, lambda x: 2 * x,
            ((0.0,),), (3.0,), ((-4.0, 4.0),),
        ),
        Function(
            "parabola", r"x^2 + 4x + 6", 1, lambda x: x**2 + 4 * x + 6, lambda x: 2 * x + 4,
            ((-2.0,),), (3.0,), ((-7.0, 4.0),),
        ),
        Function(
            "square_and_exponential", r"x^2 + e^{-x}", 1,
            lambda x: x**2 + np.exp(-x), lambda x: 2 * x - np.exp(-x),
            ((0.35173371124919584,),), (3.0,), ((-2.0, 3.5),),
            "Its minimum is W(1/2), Lambert's function.",
        ),
        Function(
            "log_over_square", r"-\log(1 / (1 + e^{-x}) + 1) / (x^2 + 1)", 1,
            lambda x: -np.log1p(_sigmoid(x)) / (x**2 + 1), _log_over_square_gradient,
            ((0.19000878372740138,),), (3.0,), ((-4.0, 4.0),),
        ),
        Function(
            "waves", r"x^2 / 10 + 10\,\sin(x^2 / 4)", 1,
            lambda x: x**2 / 10 + 10 * np.sin(x**2 / 4), lambda x: x / 5 + 5 * x * np.cos(x**2 / 4),
            ((-_DIP,), (_DIP,)), (8.0,), ((-9.0, 9.0),),
            "Local minima on both sides, each higher than the one before it.",
        ),
        Function(
            "double_well", r"x^4 / 4 - 2x^2 - x / 2", 1,
            lambda x: x**4 / 4 - 2 * x**2 - x / 2, lambda x: x**3 - 4 * x - 0.5,
            ((2.0597919701013203,),), (-2.8,), ((-3.2, 3.2),),
            "A W: who starts on the left ends in the shallow well.",
        ),
        Function(
            "advertising", r"\frac{1}{6} \sum (y_i - a x_i)^2", 1,
            _advertising, _advertising_gradient,
            ((_BEST_SHARE,),), (-4.0,), ((-5.0, 7.0),),
            "Mean squared error of visitors = a * advertising, over six shops.",
        ),
        Function(
            "bowl", r"x^2 + y^2", 2, lambda x: x[0] ** 2 + x[1] ** 2,
            lambda x: np.array([2 * x[0], 2 * x[1]]),
            ((0.0, 0.0),), (-8.0, 6.0), ((-10.0, 10.0), (-10.0, 10.0)),
        ),
        Function(
            "ravine", r"x^2 / 20 + y^2", 2, lambda x: x[0] ** 2 / 20 + x[1] ** 2,
            lambda x: np.array([x[0] / 10, 2 * x[1]]),
            ((0.0, 0.0),), (-7.0, 2.0), ((-8.0, 3.0), (-3.0, 3.0)),
            "Twenty times as steep across as along.",
        ),
        Function(
            "saddle", r"x^2 - y^2", 2, lambda x: x[0] ** 2 - x[1] ** 2,
            lambda x: np.array([2 * x[0], -2 * x[1]]),
            (), (-1.5, 0.01), ((-2.0, 2.0), (-2.0, 2.0)),
            "The gradient is 0 at (0, 0), from where y leads down.",
        ),
        Function(
            "rosenbrock", r"(1 - x)^2 + 100 (y - x^2)^2", 2, _rosenbrock, _rosenbrock_gradient,
            ((1.0, 1.0),), (-1.5, 2.0), ((-2.0, 2.0), (-1.0, 3.0)),
            "Rosenbrock (1960): a bent valley with a nearly flat floor.",
        ),
        Function(
            "beale", r"\sum_{k=1}^{3} (c_k - x + x y^k)^2, c = (1.5, 2.25, 2.625)", 2,
            _beale, _beale_gradient,
            ((3.0, 0.5),), (1.0, 1.5), ((-1.0, 4.5), (-1.5, 2.0)),
            "Beale (1958): flat around the minimum, steep at the corners.",
        ),
        Function(
            "himmelblau", r"(x^2 + y - 11)^2 + (x + y^2 - 7)^2", 2,
            _himmelblau, _himmelblau_gradient,
            (
                (3.0, 2.0),
                (-2.805118086952745, 3.131312518250573),
                (-3.779310253377747, -3.283185991286170),
                (3.584428340330492, -1.848126526964404),
            ),
            (0.0, -0.5), ((-5.0, 5.0), (-5.0, 5.0)),
            "Himmelblau (1972): four minima, all 0.",
        ),
        Function(
            "rastrigin", r"10n + \sum (x_i^2 - 10\,\cos 2 \pi x_i)", 2,
            _rastrigin, _rastrigin_gradient,
            ((0.0, 0.0),), (2.2, 1.7), ((-3.0, 3.0), (-3.0, 3.0)),
            "Rastrigin (1974): a minimum near each whole number; any number of variables.", True,
        ),
    )
}  # fmt: skip

square = table["square"]
parabola = table["parabola"]
square_and_exponential = table["square_and_exponential"]
log_over_square = table["log_over_square"]
waves = table["waves"]
double_well = table["double_well"]
advertising = table["advertising"]
bowl = table["bowl"]
ravine = table["ravine"]
saddle = table["saddle"]
rosenbrock = table["rosenbrock"]
beale = table["beale"]
himmelblau = table["himmelblau"]
rastrigin = table["rastrigin"]

__all__ = ["ADVERTISING", "VISITORS", "Function", "table", *table]


def __dir__() -> list[str]:
    return __all__
