"""Both sides of the other kernels of a step: batches, outputs, losses, updates, limits."""

import numpy as np
import numpy_kernels
from kernel_sides import (
    CLASSES,
    COUNTS,
    ELEMENTWISE,
    OUTPUTS,
    PRODUCTS,
    RATE,
    SAMPLES,
    STEP,
    case,
    equal,
    hyper_parameters,
    returning,
)

from fastnn.native import kernels

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
    """Return a batch of `rows` out of four times as many rows."""
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


@case(CLASSES)
def log_softmax(arrays, name, rows, width):
    x, row = arrays.normal(rows, width), arrays.empty(rows, 1)
    out, y, u = (arrays.empty(rows, width) for _ in range(3))
    return (
        lambda: kernels.log_softmax(x, out=out),
        returning(y, numpy_kernels.log_softmax, x, y, u, row),
    )


@case(CLASSES)
def log_softmax_gradient(arrays, name, rows, width):
    y, g, row = arrays.empty(rows, width), arrays.normal(rows, width), arrays.empty(rows, 1)
    out, result = arrays.empty(rows, width), arrays.empty(rows, width)
    numpy_kernels.log_softmax(arrays.normal(rows, width), y, out, row)
    return (
        lambda: kernels.log_softmax_gradient(y, g, out=out),
        returning(result, numpy_kernels.log_softmax_gradient, y, g, result, row),
    )


@case(ELEMENTWISE)
def scale_rows(arrays, name, rows, width):
    x, weights = arrays.normal(rows, width), arrays.normal(rows)
    out, y, row = arrays.empty(rows, width), arrays.empty(rows, width), arrays.empty(rows, 1)

    def numpy():
        np.multiply(weights, 0.5, out=row[:, 0])
        return np.multiply(x, row, out=y)

    return lambda: kernels.scale_rows(x, weights, factor=0.5, out=out), numpy


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


@case(SAMPLES)
def accumulate(arrays, name, rows):
    """Sum the contribution of each row, or of each chunk of a penalty; always in float64."""
    values = np.abs(arrays.normal(rows)).astype(np.float64)
    return (
        lambda: kernels.accumulate(values, weight=0.5, total=2.0),
        lambda: 2.0 + 0.5 * np.add.reduce(values),
    )


# --- updates ----------------------------------------------------------------------------------


@case(COUNTS)
def squared_norm(arrays, name, count):
    """The norm that global clipping needs; NumPy's sum is one number, ours one per chunk."""
    g = arrays.normal(count)

    def same(ours, theirs):
        np.testing.assert_allclose(ours.sum(), theirs, rtol=1e-5)

    partial = np.empty(-(-count // kernels.NORM_CHUNK))
    return lambda: kernels.squared_norm(g, out=partial), lambda: np.dot(g, g), same


@case(COUNTS)
def sum_of_squares(arrays, name, count):
    """The check whether all parameters are finite; both sides return one number."""
    x = arrays.normal(count)

    def same(ours, theirs):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)

    return lambda: kernels.sum_of_squares(x), lambda: np.dot(x, x), same


@case(COUNTS)
def penalty(arrays, name, count):
    """l1 and l2 of a parameter, added to its gradient; NumPy's sum is one number."""
    p, g, (l1, l2) = arrays.normal(count), arrays.normal(count), (1e-3, 1e-2)
    g2, u = g.copy(), arrays.empty(count)

    def fastnn():
        return kernels.penalty(p, g, l1=l1, l2=l2), g

    def numpy():
        np.sign(p, out=u)
        np.multiply(u, l1, out=u)
        np.add(g2, u, out=g2)
        np.multiply(p, 2 * l2, out=u)
        np.add(g2, u, out=g2)
        np.abs(p, out=u)
        return l1 * np.add.reduce(u) + l2 * np.dot(p, p), g2

    def same(ours, theirs):
        np.testing.assert_allclose(ours[0].sum(), theirs[0], rtol=1e-5)
        equal(ours[1], theirs[1])

    return fastnn, numpy, same


@case(COUNTS)
def moving_average(arrays, name, count):
    average, value = arrays.normal(count), arrays.normal(count)
    average2, u = average.copy(), arrays.empty(count)

    def fastnn():
        kernels.moving_average(average, value, momentum=0.99)
        return average

    def numpy():
        np.multiply(average2, 0.99, out=average2)
        np.multiply(value, 1 - 0.99, out=u)
        return np.add(average2, u, out=average2)

    return fastnn, numpy


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


# --- the machine's limits ---------------------------------------------------------------------


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
