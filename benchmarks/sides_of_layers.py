"""Both sides of the kernels of layers."""

import numpy as np
import numpy_kernels
from kernel_sides import (
    DROPOUT,
    ELEMENTWISE,
    PRODUCTS,
    case,
    returning,
)

from fastnn.native import kernels

# --- products ---------------------------------------------------------------------------------


@case(PRODUCTS)
def affine(arrays, name, rows, inputs, units):
    x, kernel, bias = (
        arrays.normal(rows, inputs),
        arrays.normal(inputs, units),
        arrays.normal(units),
    )
    out, y = arrays.empty(rows, units), arrays.empty(rows, units)

    def numpy():
        np.matmul(x, kernel, out=y)
        np.add(y, bias, out=y)
        return np.maximum(y, 0, out=y)

    return lambda: kernels.affine(x, kernel, bias, activation="relu", out=out), numpy


@case(PRODUCTS)
def affine_halves(arrays, name, rows, inputs, units):
    x, kernel = arrays.normal(rows, inputs), arrays.normal(inputs, units)
    out, y = arrays.empty(rows, 2 * units), arrays.empty(rows, 2 * units)
    middle = -(-inputs // 32) * 16

    def numpy():
        np.matmul(x[:, :middle], kernel[:middle], out=y[:, :units])
        np.matmul(x[:, middle:], kernel[middle:], out=y[:, units:])
        return y

    return lambda: kernels.affine_halves(x, kernel, out=out), numpy


@case(ELEMENTWISE)
def add_halves(arrays, name, rows, width):
    halves, bias = arrays.normal(rows, 2 * width), arrays.normal(width)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.add(halves[:, :width], halves[:, width:], out=y)
        np.add(y, bias, out=y)
        return np.maximum(y, 0, out=y)

    return lambda: kernels.add_halves(halves, bias, activation="relu", out=out), numpy


@case(PRODUCTS)
def input_gradient(arrays, name, rows, inputs, units):
    g, kernel = arrays.normal(rows, units), arrays.normal(inputs, units)
    saved = np.maximum(arrays.normal(rows, inputs), 0)
    out, y, gate = (arrays.empty(rows, inputs) for _ in range(3))

    def numpy():
        np.matmul(g, kernel.T, out=y)
        numpy_kernels.relu_gradient(saved, y, y, gate, 0)
        return y

    return lambda: kernels.input_gradient(g, kernel, saved, activation="relu", out=out), numpy


@case(PRODUCTS)
def kernel_gradient(arrays, name, rows, inputs, units):
    x, g = arrays.normal(rows, inputs), arrays.normal(rows, units)
    out, y = arrays.empty(inputs, units), arrays.empty(inputs, units)
    return lambda: kernels.kernel_gradient(x, g, out=out), lambda: np.matmul(x.T, g, out=y)


@case(PRODUCTS)
def kernel_gradient_halves(arrays, name, rows, inputs, units):
    x, g = arrays.normal(rows, inputs), arrays.normal(rows, units)
    ones, middle = np.ones(rows, arrays.dtype), -(-rows // 32) * 16 if rows >= 128 else rows

    def numpy():
        second = arrays.empty(inputs * units + units)
        last = second[: inputs * units].reshape(inputs, units)
        np.matmul(x[middle:].T, g[middle:], out=last)
        np.matmul(ones[middle:], g[middle:], out=second[inputs * units :])
        return x[:middle].T @ g[:middle], ones[:middle] @ g[:middle], second

    return lambda: kernels.kernel_gradient_halves(x, g), numpy


@case(ELEMENTWISE)
def add_gradient_half(arrays, name, rows, width):
    kernel, bias = arrays.normal(rows, width), arrays.normal(width)
    second = 1e-3 * arrays.normal(rows * width + width)
    k, b = kernel.copy(), bias.copy()

    def fastnn():
        kernels.add_gradient_half(kernel, bias, second, 128)
        return kernel

    def numpy():
        np.add(k, second[: k.size].reshape(k.shape), out=k)
        np.add(b, second[k.size :], out=b)
        return k

    return fastnn, numpy


@case(ELEMENTWISE)
def bias_gradient(arrays, name, rows, width):
    g, ones = arrays.normal(rows, width), np.ones(rows, arrays.dtype)
    out, y = arrays.empty(width), arrays.empty(width)
    return lambda: kernels.bias_gradient(g, out=out), lambda: np.matmul(ones, g, out=y)


# --- one output per element -------------------------------------------------------------------


@case(ELEMENTWISE, kernels.ACTIVATIONS)
def activation(arrays, name, rows, width):
    x = arrays.normal(rows, width)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    form, parameter = numpy_kernels.activation(name), kernels.ACTIVATIONS[name][2]
    return (
        lambda: kernels.activation(x, name, out=out),
        returning(y, form, x, y, u, parameter),
    )


@case(ELEMENTWISE, kernels.ACTIVATIONS)
def activation_gradient(arrays, name, rows, width):
    keeps, _, parameter = kernels.ACTIVATIONS[name]
    saved, g = arrays.normal(rows, width), arrays.normal(rows, width)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    if keeps == "output":
        numpy_kernels.activation(name)(saved.copy(), saved, u, parameter)
    return (
        lambda: kernels.activation_gradient(saved, g, name, out=out),
        returning(y, numpy_kernels.activation_gradient(name), saved, g, y, u, parameter),
    )


@case(ELEMENTWISE)
def add(arrays, name, rows, width):
    a, b, out, y = (
        arrays.normal(rows, width),
        arrays.normal(rows, width),
        *(arrays.empty(rows, width) for _ in range(2)),
    )
    return lambda: kernels.add(a, b, out=out), lambda: np.add(a, b, out=y)


@case(ELEMENTWISE)
def multiply(arrays, name, rows, width):
    a, b, out, y = (
        arrays.normal(rows, width),
        arrays.normal(rows, width),
        *(arrays.empty(rows, width) for _ in range(2)),
    )
    return lambda: kernels.multiply(a, b, out=out), lambda: np.multiply(a, b, out=y)


@case(ELEMENTWISE)
def prelu(arrays, name, rows, width):
    x, slope = arrays.normal(rows, width), arrays.normal(width)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.multiply(x, slope, out=y)
        np.copyto(y, x, where=x > 0)
        return y

    return lambda: kernels.prelu(x, slope, out=out), numpy


@case(ELEMENTWISE)
def prelu_slope_gradient(arrays, name, rows, width):
    x, g = arrays.normal(rows, width), arrays.normal(rows, width)
    out, y, u = arrays.empty(width), arrays.empty(width), arrays.empty(rows, width)

    def numpy():
        np.minimum(x, 0, out=u)
        return np.einsum("ij,ij->j", u, g, out=y)

    return lambda: kernels.prelu_slope_gradient(x, g, out=out), numpy


# --- normalization and tables -----------------------------------------------------------------


def statistics_of(x):
    return np.stack([x.mean(axis=1), 1 / np.sqrt(x.var(axis=1) + 1e-3)], axis=1)


@case(ELEMENTWISE)
def layer_normalization(arrays, name, rows, width):
    x, gamma, beta = arrays.normal(rows, width), arrays.normal(width), arrays.normal(width)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.subtract(x, x.mean(axis=1, keepdims=True), out=y)
        scale = np.einsum("ij,ij->i", y, y)[:, None] / width
        np.divide(y, np.sqrt(scale + 1e-3), out=y)
        np.multiply(y, gamma, out=y)
        return np.add(y, beta, out=y)

    return lambda: kernels.layer_normalization(x, gamma, beta, out=out), numpy


@case(ELEMENTWISE)
def layer_normalization_gradient(arrays, name, rows, width):
    x, g, gamma = arrays.normal(rows, width), arrays.normal(rows, width), arrays.normal(width)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    statistics = statistics_of(x)
    mean, scale = statistics[:, :1].copy(), statistics[:, 1:].copy()

    def numpy():
        np.subtract(x, mean, out=u)
        np.multiply(u, scale, out=u)
        np.multiply(g, gamma, out=y)
        product = np.einsum("ij,ij->i", y, u)[:, None] / width
        np.subtract(y, y.mean(axis=1, keepdims=True), out=y)
        np.multiply(u, product, out=u)
        np.subtract(y, u, out=y)
        return np.multiply(y, scale, out=y)

    return lambda: kernels.layer_normalization_gradient(x, statistics, g, gamma, out=out), numpy


@case(ELEMENTWISE)
def layer_normalization_scale_gradient(arrays, name, rows, width):
    x, g, u = arrays.normal(rows, width), arrays.normal(rows, width), arrays.empty(rows, width)
    out, y, statistics = arrays.empty(width), arrays.empty(width), statistics_of(x)
    mean, scale = statistics[:, :1].copy(), statistics[:, 1:].copy()

    def numpy():
        np.subtract(x, mean, out=u)
        np.multiply(u, scale, out=u)
        return np.einsum("ij,ij->j", u, g, out=y)

    return lambda: kernels.layer_normalization_scale_gradient(x, statistics, g, out=out), numpy


@case(ELEMENTWISE)
def batch_normalization(arrays, name, rows, width):
    x, gamma, beta = arrays.normal(rows, width), arrays.normal(width), arrays.normal(width)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        mean = x.mean(axis=0)
        np.subtract(x, mean, out=y)
        variance = np.einsum("ij,ij->j", y, y) / rows
        np.multiply(y, gamma / np.sqrt(variance + 1e-3), out=y)
        np.add(y, beta, out=y)
        return y, mean, variance

    return lambda: kernels.batch_normalization(x, gamma, beta, out=out), numpy


@case(ELEMENTWISE)
def batch_normalization_gradient(arrays, name, rows, width):
    x, g, gamma = arrays.normal(rows, width), arrays.normal(rows, width), arrays.normal(width)
    y, u = arrays.empty(rows, width), arrays.empty(rows, width)
    mean, variance = x.mean(axis=0), x.var(axis=0)

    def numpy():
        scale = 1 / np.sqrt(variance + 1e-3)
        np.subtract(x, mean, out=u)
        np.multiply(u, scale, out=u)
        by_gamma, by_beta = np.einsum("ij,ij->j", u, g), g.sum(axis=0)
        np.multiply(u, by_gamma / rows, out=u)
        np.subtract(g, by_beta / rows, out=y)
        np.subtract(y, u, out=y)
        np.multiply(y, scale * gamma, out=y)
        return y, by_gamma, by_beta

    return lambda: kernels.batch_normalization_gradient(x, mean, variance, g, gamma), numpy


CATEGORIES, COLUMNS = 100, 8


def categories(arrays, rows):
    whole = arrays.rng.integers(0, CATEGORIES, (rows, COLUMNS))
    return whole, whole.astype(arrays.dtype)


@case(ELEMENTWISE)
def embedding(arrays, name, rows, width):
    depth = width // COLUMNS
    table, (whole, x) = arrays.normal(CATEGORIES, depth), categories(arrays, rows)
    out, y = arrays.empty(rows, COLUMNS * depth), arrays.empty(rows, COLUMNS, depth)

    def numpy():
        return np.take(table, whole, axis=0, out=y, mode="clip").reshape(rows, -1)

    return lambda: kernels.embedding(x, table, out=out), numpy


@case(ELEMENTWISE)
def embedding_gradient(arrays, name, rows, width):
    depth = width // COLUMNS
    g, (whole, x) = arrays.normal(rows, COLUMNS * depth), categories(arrays, rows)
    out, y = arrays.empty(CATEGORIES, depth), arrays.empty(CATEGORIES, depth)
    flat, parts = whole.ravel(), g.reshape(-1, depth)

    def numpy():
        y.fill(0)
        np.add.at(y, flat, parts)
        return y

    return lambda: kernels.embedding_gradient(x, g, CATEGORIES, out=out), numpy


@case(ELEMENTWISE)
def encode_categories(arrays, name, rows, width):
    tokens = max(1, width // COLUMNS)
    whole = arrays.rng.integers(0, tokens, (rows, COLUMNS))
    x, out, y = whole.astype(arrays.dtype), arrays.empty(rows, tokens), arrays.empty(rows, tokens)
    numbers = np.arange(rows)[:, np.newaxis]

    def numpy():
        y.fill(0)
        y[numbers, whole] = 1
        return y

    return lambda: kernels.encode_categories(x, tokens, out=out), numpy


MEMBERS = 32


@case(ELEMENTWISE)
def select_member(arrays, name, rows, width):
    columns = max(1, width // MEMBERS)
    x, whole = arrays.normal(rows, MEMBERS * columns), arrays.rng.integers(0, MEMBERS, (rows, 1))
    member, out = whole.astype(arrays.dtype), arrays.empty(rows, columns)
    parts, where = x.reshape(rows, MEMBERS, columns), whole[:, :, np.newaxis]

    def numpy():
        return np.take_along_axis(parts, where, axis=1).reshape(rows, columns)

    return lambda: kernels.select_member(x, member, MEMBERS, out=out), numpy


@case(ELEMENTWISE)
def standardize(arrays, name, rows, width):
    x, mean = arrays.normal(rows, width), arrays.normal(width)
    scale = np.abs(arrays.normal(width)) + 1
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.subtract(x, mean, out=y)
        return np.divide(y, scale, out=y)

    return lambda: kernels.standardize(x, mean, scale, out=out), numpy


@case(ELEMENTWISE)
def rescale(arrays, name, rows, width):
    x, out, y = arrays.normal(rows, width), arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.multiply(x, 0.5, out=y)
        return np.add(y, 0.25, out=y)

    return lambda: kernels.rescale(x, factor=0.5, offset=0.25, out=out), numpy


# --- functions --------------------------------------------------------------------------------


@case(ELEMENTWISE, kernels.MATH)
def math(arrays, name, rows, width):
    x = arrays.normal(rows, width)
    if name.startswith("log"):
        x = np.abs(x)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    return (
        lambda: kernels.math(x, name, out=out),
        returning(y, numpy_kernels.math_function(name), x, y, u),
    )


@case(ELEMENTWISE)
def dropout(arrays, name, rows, width):
    """NumPy draws with SFC64, its fastest: the masks differ, so each is checked on its own."""
    x = arrays.normal(rows, width)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    generator = np.random.Generator(np.random.SFC64(0))

    def numpy():
        generator.random(out=u, dtype=arrays.dtype)
        np.greater_equal(u, DROPOUT, out=u, casting="unsafe")
        np.multiply(u, 1 / (1 - DROPOUT), out=u)
        return np.multiply(x, u, out=y)

    def same(ours, theirs):
        for result in (ours, theirs):
            kept = result != 0
            np.testing.assert_allclose(result[kept], x[kept] / (1 - DROPOUT), rtol=1e-6)
            deviation = np.sqrt(DROPOUT * (1 - DROPOUT) / x.size)
            assert abs(kept.mean() - (1 - DROPOUT)) < 5 * deviation

    return lambda: kernels.dropout(x, DROPOUT, out=out), numpy, same
