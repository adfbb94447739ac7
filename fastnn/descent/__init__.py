"""Gradient descent on functions of one's own, run by the optimizers that train the networks."""

from fastnn.descent import functions
from fastnn.descent.minimization import Descent, minimize

__all__ = ["Descent", "functions", "minimize"]
