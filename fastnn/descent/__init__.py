"""Gradient descent on the user's own functions, with the optimizers that train the networks."""

from fastnn.descent import functions
from fastnn.descent.minimization import minimize
from fastnn.descent.result import Descent

__all__ = ["Descent", "functions", "minimize"]


def __dir__() -> list[str]:
    return __all__
