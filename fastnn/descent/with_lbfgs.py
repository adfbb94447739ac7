"""A walk whose steps are iterations of SciPy's L-BFGS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.descent.walk import Walk, is_true
from fastnn.optimizers import LBFGS
from fastnn.training import lbfgs

Iterate = tuple[np.ndarray, float, np.ndarray]  # a point, with the value and gradient there


class LBFGSWalk(Walk):
    """A walk whose steps SciPy makes; what it minimizes includes the optimizer's weight decay."""

    _iterate: Iterate  # where the line search began

    def run(self, steps: int) -> str:
        """Let SciPy make its iterations, and return why it has stopped."""
        optimizer = self._optimizer
        assert isinstance(optimizer, LBFGS)
        minimizer = lbfgs.minimizer()
        self._iterate = self._penalized(self.values[0], self._x)
        if reason := self._is_there(0):
            return reason
        try:
            found = minimizer(
                self._value_and_gradient, self._x.copy(), jac=True, method="L-BFGS-B",
                callback=self._accept, options=lbfgs.options(optimizer, steps),
            )  # fmt: skip
        except _Ended as end:
            return str(end)
        done = len(self.rates)
        is_limit = found.status == 1 and done == steps  # and not that of evaluations
        return (
            f"completed {checks.counted(done, 'step')}" if is_limit else found.message.strip(" :")
        )

    def _penalized(self, value: float, point: np.ndarray) -> Iterate:
        """Return a point with value and gradient, weight decay included."""
        decay: Any = self._optimizer.weight_decay  # a number: its class takes no schedule
        return point.copy(), value + decay / 2 * point @ point, self._gradient + decay * point

    def _value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient at a point of a line search, or what leads it back."""
        self._x[...] = point
        value, _ = self._look(self._point())
        if math.isnan(value):
            return lbfgs.turned_back(*self._iterate, point)
        return self._penalized(value, point)[1:]

    def _accept(self, intermediate_result: Any) -> None:
        """Take a point that SciPy has reached; the name of the argument is SciPy's."""
        self._x[...] = intermediate_result.x
        x = self._point()
        value, norm = self._look(x)
        if math.isnan(value):  # a line search that was led back ends where the value is finite
            raise _Ended(self._is_lost(len(self.values)))
        self._iterate = self._penalized(value, intermediate_result.x)
        self.rates.append(math.nan)
        self._keep(x, value, norm)
        done = len(self.rates)
        if self._callback is not None and is_true(self._callback(done, x, value)):
            raise _Ended(f"the callback ended it after {checks.counted(done, 'step')}")
        if reason := self._is_there(done):
            raise _Ended(reason)


class _Ended(Exception):
    """Raised to stop SciPy; the message is the reason."""
