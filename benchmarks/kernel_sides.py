"""Shared parts of the sides of `test_kernels.py`: sizes, arrays, the table of cases, comparison.

The sizes are those that users encounter: one sample, a batch of a small network, a batch of a
wide one, and arrays larger than the L2 cache (1024 x 1024 float32: 4 MB each).
"""

import numpy as np

from fastnn.native import kernels

RATE = 1e-3
STEP = 10
DROPOUT = 0.25
HYPER_PARAMETERS = {
    "beta_1": 0.9,
    "beta_2": 0.999,
    "decoupled_weight_decay": 0.004,
    "epsilon": 1e-7,
    "momentum": 0.9,
    "nesterov": 0.0,
    "rho": 0.9,
}
ANOTHER_HYPER_PARAMETER = 0.5

ELEMENTWISE = [(1, 16), (32, 64), (256, 512), (1024, 1024)]  # rows, width
OUTPUTS = [(1, 1), (32, 2), (256, 16), (1024, 1000)]
CLASSES = [(1, 10), (64, 10), (256, 100), (256, 1000)]
PRODUCTS = [  # rows, inputs, units
    (1, 64, 128),
    (32, 4, 64),
    (32, 64, 64),
    (64, 128, 10),
    (32, 784, 128),
    (128, 512, 512),
    (256, 1024, 2048),
]
COUNTS = [(16,), (4_610,), (101_770,), (1_000_000,)]  # parameters; two networks have these counts
SAMPLES = [(1,), (32,), (256,), (4096,)]

CASES = {}  # name of a kernel: (case, sizes, names of its rows)


def entries():
    """Return the names of the public functions of `kernels.pyx`, each of which must have a case."""
    return {
        name
        for name, value in vars(kernels).items()
        if callable(value)
        and getattr(value, "__module__", None) == kernels.__name__
        and not name.startswith("_")
        and name != "source_number"  # returns the number of a dtype, and computes nothing
    }


class Arrays:
    """Creates the arrays of a cell."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self.rng = np.random.default_rng(0)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def empty(self, *shape):
        return np.empty(shape, self.dtype)

    def labels(self, rows, classes):
        return self.rng.integers(0, classes, rows)

    def probabilities(self, rows, classes):
        p = self.rng.random((rows, classes)) ** 4
        return (p / p.sum(axis=1, keepdims=True)).astype(self.dtype)


def case(sizes, rows=("",)):
    """Register the case of the kernel that the function is named after.

    The function takes arrays: Arrays, the name of the row, and the sizes; it returns fastnn's
    side, NumPy's side, and, unless equality is required, a function that compares their
    results.
    """

    def register(function):
        CASES[function.__name__] = (function, sizes, tuple(rows))
        return function

    return register


def returning(value, form, *args):
    """NumPy's side: a function that writes into its arguments, and the values to compare."""

    def side():
        form(*args)
        return value

    return side


def hyper_parameters(name):
    """Return the value of each hyper-parameter of an optimizer, by name."""
    names = kernels.OPTIMIZERS[name][1].split(",")
    return {n: HYPER_PARAMETERS.get(n, ANOTHER_HYPER_PARAMETER) for n in names if n}


def equal(ours, theirs):
    """Assert that both sides computed the same values, up to the rounding of long sums."""
    ours, theirs = (side if isinstance(side, tuple) else (side,) for side in (ours, theirs))
    for mine, yours in zip(ours, theirs, strict=True):
        yours = np.asarray(yours)
        dtype = yours.dtype if yours.dtype.kind == "f" else np.dtype(np.float32)
        tolerance = 256 * np.finfo(dtype).eps
        largest = np.abs(yours).max(initial=0)
        np.testing.assert_allclose(mine, yours, rtol=tolerance, atol=tolerance * largest)
