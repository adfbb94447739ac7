r"""Learning-rate schedules: what `learning_rate` of an optimizer may be instead of a number.

A schedule is a pure function of the step number, counted from 0 over the life of the model's
optimizer (Keras' ``iterations``). It takes an array of step numbers, so that `fit` knows the rates
of many steps at once. Names, arguments and defaults are Keras' if Keras has an equivalent.
Below, t is the number of the step, :math:`\eta_0` the initial rate, T `decay_steps`.
"""

from typing import TYPE_CHECKING

from fastnn.core import hints
from fastnn.schedules.base import Constant, Schedule, get, registry
from fastnn.schedules.cycle import CosineDecayRestarts, CosineLogCycles, OneCycle, WarmUp
from fastnn.schedules.decay import (
    CosineDecay,
    ExponentialDecay,
    FlatCosineDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    StepDecay,
)

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineDecayRestarts",
    "CosineLogCycles",
    "ExponentialDecay",
    "FlatCosineDecay",
    "InverseTimeDecay",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "get",
    "registry",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)
