"""Both sides of the kernels that read sparse rows: the other side is SciPy's, as NumPy has none."""

import numpy as np
import numpy_kernels
from kernel_sides import RATE, STEP, case, hyper_parameters
from scipy import sparse

from fastnn.native import kernels

SPARSE = [(1, 1_000, 64), (32, 1_000, 64), (256, 4_000, 128), (256, 20_000, 128)]
DENSITY = 0.01


class Rows:
    """A matrix with four times as many rows as are read, in the kernel's form and in SciPy's."""

    def __init__(self, arrays, rows, inputs):
        self.matrix = sparse.random_array(
            (4 * rows, inputs), density=DENSITY, rng=arrays.rng, dtype=arrays.dtype
        ).tocsr()
        self.matrix.sort_indices()
        self.order = arrays.rng.permutation(4 * rows)[:rows].astype(np.int64)
        self.arguments = (
            self.matrix.data,
            self.matrix.indices.astype(np.int32),
            self.matrix.indptr.astype(np.int64),
            self.order,
        )

    def read(self):
        return self.matrix[self.order]


@case(SPARSE)
def csr_gather(arrays, name, rows, inputs, units):
    x, out, y = Rows(arrays, rows, inputs), arrays.empty(rows, inputs), arrays.empty(rows, inputs)
    return (
        lambda: kernels.csr_gather(*x.arguments, inputs, out=out),
        lambda: x.read().toarray(out=y),
    )


@case(SPARSE)
def sparse_affine(arrays, name, rows, inputs, units):
    x, kernel, bias = Rows(arrays, rows, inputs), arrays.normal(inputs, units), arrays.normal(units)
    out = arrays.empty(rows, units)

    def scipy():
        y = x.read() @ kernel
        np.add(y, bias, out=y)
        return np.maximum(y, 0, out=y)

    return (
        lambda: kernels.sparse_affine(*x.arguments, kernel, bias, activation="relu", out=out),
        scipy,
    )


@case(SPARSE)
def sparse_kernel_gradient(arrays, name, rows, inputs, units):
    x, g, out = Rows(arrays, rows, inputs), arrays.normal(rows, units), arrays.empty(inputs, units)
    return (
        lambda: kernels.sparse_kernel_gradient(*x.arguments, g, inputs, out=out),
        lambda: x.read().T @ g,
    )


@case(SPARSE, ["adam"])
def sparse_kernel_gradient_update(arrays, name, rows, inputs, units):
    hyper, slots = hyper_parameters(name), int(kernels.OPTIMIZERS[name][2])
    x, g, kernel = Rows(arrays, rows, inputs), arrays.normal(rows, units), inputs * units
    p = arrays.normal(kernel + units)
    ours, state = p.copy(), np.zeros((slots, len(p)), arrays.dtype)
    weights, bias = ours[:kernel].reshape(inputs, units), ours[kernel:]
    state2, both, ones = state.copy(), np.empty_like(p), np.ones(rows, arrays.dtype)
    numpy_update = numpy_kernels.Update(name, p, both, state2, hyper)

    def fastnn():
        kernels.sparse_kernel_gradient_update(
            name, *x.arguments, g, weights, bias, state, learning_rate=RATE, step=STEP,
            hyper_parameters=tuple(hyper.values()),
        )  # fmt: skip
        return ours, state

    def scipy():
        both[:kernel].reshape(inputs, units)[...] = x.read().T @ g
        np.matmul(ones, g, out=both[kernel:])
        numpy_update(RATE, STEP)
        return p, state2

    return fastnn, scipy
