"""Every kernel of `kernels.pyx` over a range of sizes, against NumPy.

A case says what a kernel is called with and what NumPy does for the same numbers; it has the
kernel's name, and rows of a registry come from the registry. A kernel without a case fails
`test_every_kernel_has_a_case`; a new row of a registry is timed without a change here.

Sizes are those that users meet: one sample, a batch of a small network, a batch of a wide one,
and arrays beyond the L2 cache (1024 x 1024 float32: 4 MB each).
"""

import numpy as np
import numpy_kernels
import pytest
import timing

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
COUNTS = [(16,), (4_610,), (101_770,), (1_000_000,)]  # parameters; two of the networks' among them
SAMPLES = [(1,), (32,), (256,), (4096,)]

CASES = {}  # name of a kernel: (case, sizes, names of its rows)


class Arrays:
    """Makes the arrays of a cell."""

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
    side, NumPy's side, and, where equality is not what is asked for, a function that compares
    what they return.
    """

    def register(function):
        CASES[function.__name__] = (function, sizes, tuple(rows))
        return function

    return register


def returning(value, form, *args):
    """NumPy's side: a form that writes into its arguments, and what to compare."""

    def side():
        form(*args)
        return value

    return side


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
    """NumPy draws with SFC64, its fastest: the masks differ, so each is checked by itself."""
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


# --- columns and rows -------------------------------------------------------------------------


@case(ELEMENTWISE)
def concatenate(arrays, name, rows, width):
    parts = [arrays.normal(rows, width // 2) for _ in range(2)]
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)
    return (
        lambda: kernels.concatenate(parts, out=out),
        lambda: np.concatenate(parts, axis=1, out=y),
    )


@case(ELEMENTWISE)
def slice_columns(arrays, name, rows, width):
    x, first, columns = arrays.normal(rows, width), width // 4, width // 2
    out, y = arrays.empty(rows, columns), arrays.empty(rows, columns)
    return (
        lambda: kernels.slice_columns(x, first, columns, out=out),
        returning(y, lambda: np.copyto(y, x[:, first : first + columns])),
    )


@case(ELEMENTWISE, ("real", "uint8", "labels"))
def gather(arrays, name, rows, width):
    """A batch of `rows` out of four times as many."""
    order = arrays.rng.permutation(4 * rows)[:rows].astype(np.int64)
    if name == "labels":
        source, dtype = arrays.labels(4 * rows, width)[:, None], np.dtype(np.int32)
    elif name == "uint8":
        source, dtype = arrays.rng.integers(0, 256, (4 * rows, width), np.uint8), arrays.dtype
    else:
        source, dtype = arrays.normal(4 * rows, width), arrays.dtype
    out, y = (np.empty((rows, source.shape[1]), dtype) for _ in range(2))
    taken = y if source.dtype == dtype else np.empty(y.shape, source.dtype)

    def numpy():
        np.take(source, order, axis=0, out=taken, mode="clip")
        if taken is not y:
            np.copyto(y, taken, casting="unsafe")
        return y

    return lambda: kernels.gather(source, order, dtype=dtype, out=out), numpy


@case(CLASSES)
def softmax(arrays, name, rows, width):
    x, row = arrays.normal(rows, width), arrays.empty(rows, 1)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)
    return (
        lambda: kernels.softmax(x, out=out),
        returning(y, numpy_kernels.softmax, x, y, row),
    )


@case(CLASSES)
def softmax_gradient(arrays, name, rows, width):
    y, g, row = arrays.probabilities(rows, width), arrays.normal(rows, width), arrays.empty(rows, 1)
    out, result = arrays.empty(rows, width), arrays.empty(rows, width)
    return (
        lambda: kernels.softmax_gradient(y, g, out=out),
        returning(result, numpy_kernels.softmax_gradient, y, g, result, row),
    )


# --- losses and metrics -----------------------------------------------------------------------


@case(OUTPUTS, kernels.LOSSES)
def elementwise_loss(arrays, name, rows, width):
    p, t = arrays.normal(rows, width), arrays.probabilities(rows, width)
    losses, grad, u = arrays.empty(rows), arrays.empty(rows, width), arrays.empty(rows, width)
    parameter = kernels.LOSSES[name][2]
    return (
        lambda: kernels.elementwise_loss(p, t, name),
        returning((losses, grad), numpy_kernels.loss(name), p, t, losses, grad, u, parameter),
    )


@case(CLASSES, ("labels", "probabilities"))
def softmax_crossentropy(arrays, name, rows, width):
    z, losses, grad = arrays.normal(rows, width), arrays.empty(rows), arrays.empty(rows, width)
    row, total, numbers = arrays.empty(rows, 1), arrays.empty(rows, 1), np.arange(rows)
    if name == "labels":
        target = arrays.labels(rows, width)
        given, form, last = target.astype(np.int32), numpy_kernels.softmax_crossentropy, numbers
    else:
        given = target = arrays.probabilities(rows, width)
        form, last = numpy_kernels.softmax_crossentropy_probabilities, total
    return (
        lambda: kernels.softmax_crossentropy(z, given),
        returning((losses, grad), form, z, target, losses, grad, row, last),
    )


@case(CLASSES)
def categorical_accuracy(arrays, name, rows, width):
    scores, labels = arrays.normal(rows, width), arrays.labels(rows, width)
    given, best, hits = labels.astype(np.int32), np.empty(rows, np.intp), arrays.empty(rows)

    def numpy():
        scores.argmax(axis=1, out=best)
        return np.equal(best, labels, out=hits, casting="unsafe")

    ours = arrays.empty(rows)
    return lambda: kernels.categorical_accuracy(scores, given, out=ours), numpy


@case(OUTPUTS)
def binary_accuracy(arrays, name, rows, width):
    scores, target = arrays.probabilities(rows, width), arrays.probabilities(rows, width).round()
    a, b = np.empty((2, rows, width), bool)
    hits = arrays.empty(rows)

    def numpy():
        np.greater(scores, 0.5, out=a)
        np.greater(target, 0.5, out=b)
        np.equal(a, b, out=a)
        np.add.reduce(a, axis=1, dtype=arrays.dtype, out=hits)
        return np.multiply(hits, 1 / width, out=hits)

    ours = arrays.empty(rows)
    return lambda: kernels.binary_accuracy(scores, target, out=ours), numpy


@case(SAMPLES)
def mean(arrays, name, rows):
    x = np.abs(arrays.normal(rows))
    return lambda: kernels.mean(x), lambda: np.add.reduce(x) / len(x)


# --- updates ----------------------------------------------------------------------------------


@case(COUNTS)
def squared_norm(arrays, name, count):
    """What clipping by the global norm needs; NumPy's sum is one number, ours one a chunk."""
    g = arrays.normal(count)

    def same(ours, theirs):
        np.testing.assert_allclose(ours.sum(), theirs, rtol=1e-5)

    partial = np.empty(-(-count // kernels.NORM_CHUNK))
    return lambda: kernels.squared_norm(g, out=partial), lambda: np.dot(g, g), same


def hyper_parameters(name):
    """Each hyper-parameter of an optimizer by name."""
    names = kernels.OPTIMIZERS[name][1].split(",")
    return {n: HYPER_PARAMETERS.get(n, ANOTHER_HYPER_PARAMETER) for n in names if n}


@case(COUNTS, kernels.OPTIMIZERS)
def update(arrays, name, count):
    hyper, slots = hyper_parameters(name), int(kernels.OPTIMIZERS[name][2])
    p, g, state = arrays.normal(count), arrays.normal(count), np.zeros((slots, count), arrays.dtype)
    p2, state2 = p.copy(), state.copy()
    numpy_update = numpy_kernels.Update(name, p2, g, state2, hyper)

    def fastnn():
        kernels.update(
            name, p, g, state, learning_rate=RATE, step=STEP, hyper_parameters=tuple(hyper.values())
        )
        return p, state

    def numpy():
        numpy_update(RATE, STEP)
        return p2, state2

    return fastnn, numpy


@case(PRODUCTS, ["adam"])
def kernel_gradient_update(arrays, name, rows, inputs, units):
    hyper, slots = hyper_parameters(name), int(kernels.OPTIMIZERS[name][2])
    x, g, kernel = arrays.normal(rows, inputs), arrays.normal(rows, units), inputs * units
    p = arrays.normal(kernel + units)
    ours, state = p.copy(), np.zeros((slots, len(p)), arrays.dtype)
    weights, bias = ours[:kernel].reshape(inputs, units), ours[kernel:]
    state2, both, ones = state.copy(), np.empty_like(p), np.ones(rows, arrays.dtype)
    numpy_update = numpy_kernels.Update(name, p, both, state2, hyper)

    def fastnn():
        kernels.kernel_gradient_update(
            name, x, g, weights, bias, state, learning_rate=RATE, step=STEP,
            hyper_parameters=tuple(hyper.values()),
        )  # fmt: skip
        return ours, state

    def numpy():
        np.matmul(x.T, g, out=both[:kernel].reshape(inputs, units))
        np.matmul(ones, g, out=both[kernel:])
        numpy_update(RATE, STEP)
        return p, state2

    return fastnn, numpy


# --- what finds the machine's limits ----------------------------------------------------------


@case(ELEMENTWISE)
def multiply_add(arrays, name, rows, width):
    x = arrays.normal(rows, width)
    out, y = arrays.empty(rows, width), arrays.empty(rows, width)

    def numpy():
        np.multiply(x, 0.5, out=y)
        return np.add(y, 0.25, out=y)

    return lambda: kernels.multiply_add(x, factor=0.5, addend=0.25, out=out), numpy


@case(ELEMENTWISE)
def stream(arrays, name, rows, width):
    x = arrays.normal(rows, width)
    ours, theirs = arrays.empty(rows, width), arrays.empty(rows, width)
    ours[:] = theirs[:] = x

    def fastnn():
        kernels.stream(x, ours, factor=0.5)
        return ours

    def numpy():
        np.multiply(theirs, 0.5, out=theirs)
        return np.add(theirs, x, out=theirs)

    return fastnn, numpy


# --- tests ------------------------------------------------------------------------------------


def equal(ours, theirs):
    """Assert that both sides computed the same, up to the rounding of long sums."""
    ours, theirs = (side if isinstance(side, tuple) else (side,) for side in (ours, theirs))
    for mine, yours in zip(ours, theirs, strict=True):
        yours = np.asarray(yours)
        dtype = yours.dtype if yours.dtype.kind == "f" else np.dtype(np.float32)
        tolerance = 256 * np.finfo(dtype).eps
        largest = np.abs(yours).max(initial=0)
        np.testing.assert_allclose(mine, yours, rtol=tolerance, atol=tolerance * largest)


def cells():
    """(kernel, row, dtype, sizes) of every cell: float32 at all sizes, float64 at the third."""
    for kernel, (_, sizes, rows) in CASES.items():
        for row in rows:
            chosen = sizes[:2] if timing.QUICK else sizes
            yield from ((kernel, row, "float32", size) for size in chosen)
            if not timing.QUICK:
                yield kernel, row, "float64", sizes[-2]


def name_of(cell):
    kernel, row, dtype, size = cell
    return "-".join(filter(None, (kernel, row, dtype, "x".join(map(str, size)))))


def sides_of(cell):
    kernel, row, dtype, size = cell
    function, _, _ = CASES[kernel]
    fastnn, numpy, *same = function(Arrays(dtype), row, *size)
    return fastnn, numpy, same[0] if same else equal


def test_every_kernel_has_a_case():
    entries = {
        name
        for name, value in vars(kernels).items()
        if callable(value)
        and getattr(value, "__module__", None) == kernels.__name__
        and not name.startswith("_")
        and name != "source_number"
    }
    assert entries == set(CASES)


@pytest.mark.parametrize("kernel", CASES)
def test_the_comparison_can_fail(kernel):
    """One number wrong by a thousandth of the largest is seen."""
    _, sizes, rows = CASES[kernel]
    fastnn, numpy, same = sides_of((kernel, rows[0], "float32", sizes[1]))
    ours, theirs = fastnn(), numpy()
    same(ours, theirs)
    parts = [np.array(part) for part in (ours if isinstance(ours, tuple) else (ours,))]
    parts[0].flat[-1] += 1e-3 * max(np.abs(part).max(initial=0) for part in parts)
    with pytest.raises(AssertionError):
        same(tuple(parts) if isinstance(ours, tuple) else parts[0], theirs)


@pytest.mark.parametrize("side", ["fastnn", "numpy"])
@pytest.mark.parametrize("cell", list(cells()), ids=name_of)
def test_kernel(cell, side, timed):
    kernel, row, dtype, size = cell
    timed(
        side,
        *sides_of(cell),
        group="-".join(filter(None, (kernel, row))),
        cell={"kernel": kernel, "row": row, "dtype": dtype, "size": " x ".join(map(str, size))},
    )
