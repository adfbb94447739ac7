"""Programs in plain NumPy: the oracle of the tests, and what each op computes in formulas.

executor.py  runs a program op by op, and the formulas of ops
rows.py      the formulas of activations, losses and optimizers
layers.py    those of whole layers
"""

from fastnn.program.reference.executor import (
    FORMULAS,
    Context,
    affine_halves,
    dropout,
    kernel_gradient_halves,
    middle,
    one_hot,
    philox,
    run,
)
from fastnn.program.reference.rows import (
    ACTIVATION_FORMULAS,
    LOSS_FORMULAS,
    OPTIMIZER_FORMULAS,
    log_softmax,
    softmax,
    update,
)

__all__ = [
    "ACTIVATION_FORMULAS",
    "FORMULAS",
    "LOSS_FORMULAS",
    "OPTIMIZER_FORMULAS",
    "Context",
    "affine_halves",
    "dropout",
    "kernel_gradient_halves",
    "log_softmax",
    "middle",
    "one_hot",
    "philox",
    "run",
    "softmax",
    "update",
]
