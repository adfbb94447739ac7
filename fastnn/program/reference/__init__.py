"""Programs in plain NumPy: the oracle of the tests, and the formula of each op.

executor.py  runs a program op by op, and holds the formulas of most ops
rows.py      the formulas of activations, losses and optimizers
layers.py    the formulas of whole layers
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
    to_bfloat16,
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
    "to_bfloat16",
    "update",
]
