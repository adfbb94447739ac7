"""Optimizers: names, hyper-parameters and state slots. The arithmetic is in `src_c/optimizers.h`.

Names and defaults are Keras', formulas PyTorch's: epsilon is outside the square root, the first
step is not a special case, and `weight_decay` is coupled (L2: it is added to the gradient)
everywhere except in `AdamW` and `Lion`.
"""

from typing import TYPE_CHECKING

from fastnn.core import hints
from fastnn.core.registry import Registry
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.full_batch import LBFGS, GradientDescent
from fastnn.optimizers.stochastic import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

registry = Registry("optimizer", Optimizer)
for _optimizer in (
    SGD, Adagrad, RMSprop, Adam, AdamW, NAdam, Lion, GradientDescent, LBFGS,
):  # fmt: skip
    registry.add(_optimizer)
get = registry.get

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientDescent",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "get",
    "registry",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)
