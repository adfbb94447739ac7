"""Both sides of the kernels of layers that treat each column by itself."""

import numpy as np
import numpy_kernels
from kernel_sides import ELEMENTWISE, case

from fastnn.native import kernels

COLUMNS = 8
WAVES, BINS = 16, 48  # what the layers have by default


def blend(name, arrays, x, alpha):
    """Return a function that writes f(x) - x and x + alpha * (f(x) - x), and the latter's array."""
    form, parameter = numpy_kernels.activation(name), kernels.ACTIVATIONS[name][2]
    f, y, u = (arrays.empty(*x.shape) for _ in range(3))

    def run():
        form(x, f, u, parameter)
        np.subtract(f, x, out=f)
        np.multiply(f, alpha, out=y)
        return np.add(y, x, out=y)

    return run, f


@case(ELEMENTWISE, kernels.ACTIVATIONS)
def parametric_activation(arrays, name, rows, width):
    x, alpha = arrays.normal(rows, width), arrays.normal(width)
    out, (numpy, _) = arrays.empty(rows, width), blend(name, arrays, x, alpha)
    return lambda: kernels.parametric_activation(x, alpha, name, out=out), numpy


@case(ELEMENTWISE, kernels.ACTIVATIONS)
def parametric_activation_gradient(arrays, name, rows, width):
    x, g, alpha = arrays.normal(rows, width), arrays.normal(rows, width), arrays.normal(width)
    out, by_alpha, d, u, y = (
        arrays.empty(rows, width), arrays.empty(width),
        *(arrays.empty(rows, width) for _ in range(3)),
    )  # fmt: skip
    keeps, _, parameter = kernels.ACTIVATIONS[name]
    derivative, ones = numpy_kernels.activation_gradient(name), np.ones((rows, width), arrays.dtype)
    run, difference = blend(name, arrays, x, alpha)

    def numpy():
        run()
        np.add(difference, x, out=y)
        derivative(y if keeps == "output" else x, ones, d, u, parameter)
        np.subtract(d, 1, out=d)
        np.multiply(d, alpha, out=d)
        np.add(d, 1, out=d)
        np.multiply(d, g, out=d)
        return d, np.einsum("ij,ij->j", g, difference)

    return (
        lambda: kernels.parametric_activation_gradient(
            x, alpha, g, name, out=out, grad_alpha=by_alpha
        ),
        numpy,
    )


@case(ELEMENTWISE)
def scale_gradient(arrays, name, rows, width):
    x, g = arrays.normal(rows, width), arrays.normal(rows, width)
    out, y = arrays.empty(width), arrays.empty(width)
    return lambda: kernels.scale_gradient(x, g, out=out), lambda: np.einsum("ij,ij->j", x, g, out=y)


# --- numbers as several numbers ---------------------------------------------------------------


def waves(arrays, rows, width):
    """Numbers, the parameters of periodic embeddings, and a gradient of their outputs."""
    units = max(1, width // (16 * COLUMNS))
    frequency = (0.1 * arrays.normal(COLUMNS, WAVES)).astype(arrays.dtype)
    return (
        arrays.normal(rows, COLUMNS),
        frequency,
        arrays.normal(COLUMNS, WAVES),
        arrays.normal(COLUMNS * WAVES, units),
        arrays.normal(COLUMNS, units),
        arrays.normal(rows, COLUMNS * units),
    )


def angles(x, frequency, phase):
    return 2 * np.pi * (x[:, :, np.newaxis] * frequency + phase)


def by_column(kernel):
    return kernel.reshape(COLUMNS, -1, kernel.shape[1])


def by_turns(x, frequency, phase, kernel, g):
    """The gradient with respect to the turns of each wave, shape (columns, rows, waves)."""
    parts = np.matmul(
        g.reshape(len(x), COLUMNS, -1).transpose(1, 0, 2), by_column(kernel).transpose(0, 2, 1)
    )
    return parts * (-2 * np.pi * np.sin(angles(x, frequency, phase)).transpose(1, 0, 2))


@case(ELEMENTWISE)
def periodic_embedding(arrays, name, rows, width):
    x, frequency, phase, kernel, bias, g = waves(arrays, rows, width)
    out = arrays.empty(*g.shape)

    def numpy():
        cosines = np.cos(angles(x, frequency, phase)).transpose(1, 0, 2)
        y = np.matmul(cosines, by_column(kernel)).transpose(1, 0, 2) + bias
        return y.reshape(rows, -1)

    return lambda: kernels.periodic_embedding(x, frequency, phase, kernel, bias, out=out), numpy


@case(ELEMENTWISE)
def periodic_embedding_gradient(arrays, name, rows, width):
    x, frequency, phase, kernel, _, g = waves(arrays, rows, width)

    def numpy():
        turns = by_turns(x, frequency, phase, kernel, g)
        cosines = np.cos(angles(x, frequency, phase)).transpose(1, 2, 0)
        by_kernel = np.matmul(cosines, g.reshape(rows, COLUMNS, -1).transpose(1, 0, 2))
        by_frequency = np.matmul(x.T[:, np.newaxis], turns)[:, 0]
        return by_frequency, turns.sum(axis=1), by_kernel.reshape(kernel.shape)

    return lambda: kernels.periodic_embedding_gradient(x, frequency, phase, kernel, g), numpy


@case(ELEMENTWISE)
def periodic_embedding_input_gradient(arrays, name, rows, width):
    x, frequency, phase, kernel, _, g = waves(arrays, rows, width)
    out = arrays.empty(rows, COLUMNS)

    def numpy():
        turns = by_turns(x, frequency, phase, kernel, g)
        return np.einsum("crw,cw->rc", turns, frequency)

    return (
        lambda: kernels.periodic_embedding_input_gradient(x, frequency, phase, kernel, g, out=out),
        numpy,
    )


def bins(arrays, rows, width):
    """Numbers, edges, the parameters of piecewise linear embeddings, a gradient of the outputs."""
    units = max(1, width // (16 * COLUMNS))
    return (
        arrays.normal(rows, COLUMNS),
        np.sort(arrays.normal(COLUMNS, BINS + 1), axis=1),
        arrays.normal(COLUMNS * BINS, units),
        arrays.normal(COLUMNS, units),
        arrays.normal(rows, COLUMNS * units),
    )


def shares(x, edges):
    """The share of each bin that a number has passed, shape (columns, rows, bins)."""
    part = (x.T[:, :, np.newaxis] - edges[:, np.newaxis, :-1]) / np.diff(edges)[:, np.newaxis]
    np.maximum(part[:, :, 1:], 0, out=part[:, :, 1:])
    np.minimum(part[:, :, :-1], 1, out=part[:, :, :-1])
    return part


@case(ELEMENTWISE)
def piecewise_embedding(arrays, name, rows, width):
    x, edges, kernel, bias, g = bins(arrays, rows, width)
    out = arrays.empty(*g.shape)

    def numpy():
        y = np.matmul(shares(x, edges), by_column(kernel)).transpose(1, 0, 2) + bias
        return y.reshape(rows, -1)

    return lambda: kernels.piecewise_embedding(x, edges, kernel, bias, out=out), numpy


@case(ELEMENTWISE)
def piecewise_embedding_gradient(arrays, name, rows, width):
    x, edges, kernel, _, g = bins(arrays, rows, width)
    out = arrays.empty(*kernel.shape)

    def numpy():
        by_column = g.reshape(rows, COLUMNS, -1).transpose(1, 0, 2)
        return np.matmul(shares(x, edges).transpose(0, 2, 1), by_column).reshape(kernel.shape)

    return lambda: kernels.piecewise_embedding_gradient(x, edges, g, out=out), numpy


@case(ELEMENTWISE)
def piecewise_embedding_input_gradient(arrays, name, rows, width):
    x, edges, kernel, _, g = bins(arrays, rows, width)
    out, columns = arrays.empty(rows, COLUMNS), np.arange(COLUMNS)
    inner = np.ascontiguousarray(edges[:, 1:-1])

    def numpy():
        slopes = by_column(kernel) / np.diff(edges)[:, :, np.newaxis]
        found = (x[:, :, np.newaxis] >= inner).sum(axis=2)
        return np.einsum("rcu,rcu->rc", slopes[columns, found], g.reshape(rows, COLUMNS, -1))

    return (
        lambda: kernels.piecewise_embedding_input_gradient(x, edges, kernel, g, out=out),
        numpy,
    )
