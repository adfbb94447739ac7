"""A typed-memoryview entry for every kernel, for tests, benchmarks and eager use.

Each `def` validates and allocates; the `cdef` beside it knows only typed memoryviews and fills
the kernel's call. Arrays are C-contiguous, float32 or float64, all of one call the same. `out`
may be given to write into; results are returned. `workers` is the size of the team
(default: `fastnn.get_num_threads()`); the bits of a result do not depend on it.
"""
import numpy as np

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native.engine cimport fastnn_call, kernel_named, run_kernel

from fastnn import config
from fastnn.native import engine

ctypedef fused real:
    float
    double

_REALS = (np.dtype(np.float32), np.dtype(np.float64))
ACTIVATIONS = engine.variants("activations")
LOSSES = engine.variants("losses")
OPTIMIZERS = engine.variants("optimizers")
MATH = engine.variants("math")
NORM_CHUNK = 4096


# --- checks -----------------------------------------------------------------------------------

def _array(name, array, dtype, shape):
    """`array` if it is what the kernel reads; shape entries of None match any size."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if dtype is None:
        if array.dtype not in _REALS:
            raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
    elif array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
    if array.ndim != len(shape) or any(
            want is not None and have != want
            for have, want in zip(array.shape, shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned to its dtype")
    return array


def _output(name, out, dtype, shape):
    """`out` checked, or a new array."""
    if out is None:
        return np.empty(shape, dtype)
    _array(name, out, dtype, shape)
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    return out


def _workers(workers):
    if workers is None:
        return config.get_num_threads()
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return workers if engine.HAS_OPENMP else 1


def _row(kind, table, name):
    """Number of a row, with its default parameter."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(table)}")
    return list(table).index(name), table[name][2]


# --- calls ------------------------------------------------------------------------------------

cdef inline void *vector(const real[::1] array) noexcept:
    return <void *>&array[0] if array is not None and array.shape[0] else NULL


cdef inline void *matrix(const real[:, ::1] array) noexcept:
    return (<void *>&array[0, 0]
            if array is not None and array.shape[0] and array.shape[1] else NULL)


cdef fastnn_call new_call(Py_ssize_t rows, Py_ssize_t size0=0, Py_ssize_t size1=0,
                          Py_ssize_t size2=0, int variant=0, double scalar=0) noexcept:
    cdef fastnn_call call
    memset(&call, 0, sizeof(call))
    call.rows, call.variant = rows, variant
    call.size[0], call.size[1], call.size[2] = size0, size1, size2
    call.scalar[0] = scalar
    return call


cdef int launch(const char *kernel, fastnn_call call, bint is_double, int workers) except -1:
    return run_kernel(kernel_named(kernel, is_double), call, workers)


# --- products ---------------------------------------------------------------------------------

def affine(x, kernel, bias=None, *, activation="linear", parameter=None, out=None,
           preactivation=None, workers=None):
    """f(x @ kernel + bias).

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), optional
    activation : str, default "linear"
        A row of `ACTIVATIONS`.
    parameter : float, optional
        Of the activation; default as in its row.
    out, preactivation : ndarray, shape (rows, units), optional
        Where the result and x @ kernel + bias go.
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, units)
    """
    _array("x", x, None, (None, None))
    _array("kernel", kernel, x.dtype, (x.shape[1], None))
    if bias is not None:
        _array("bias", bias, x.dtype, (kernel.shape[1],))
    shape = (x.shape[0], kernel.shape[1])
    out = _output("out", out, x.dtype, shape)
    if preactivation is not None:
        _output("preactivation", preactivation, x.dtype, shape)
    row, default = _row("activation", ACTIVATIONS, activation)
    number = default if parameter is None else parameter
    workers = _workers(workers)
    if x.dtype == np.float32:
        _affine[float](x, kernel, bias, out, preactivation, row, number, workers)
    else:
        _affine[double](x, kernel, bias, out, preactivation, row, number, workers)
    return out


cdef int _affine(const real[:, ::1] x, const real[:, ::1] kernel, const real[::1] bias,
                 real[:, ::1] out, real[:, ::1] preactivation, int row, double number,
                 int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], kernel.shape[1], 0, row, number)
    call.operand[0], call.operand[1], call.operand[2] = matrix(x), matrix(kernel), vector(bias)
    call.operand[3] = matrix[real](out)
    call.operand[4] = matrix[real](preactivation)
    return launch("affine", call, real is double, workers)


def input_gradient(grad_output, kernel, saved=None, *, activation="linear", parameter=None,
                   out=None, workers=None):
    """(grad_output @ kernel.T) * f'(saved), the gradient by the input of a dense layer.

    Parameters
    ----------
    grad_output : ndarray, shape (rows, units)
    kernel : ndarray, shape (inputs, units)
    saved : ndarray, shape (rows, inputs), optional
        What the previous layer's activation keeps; None leaves the product alone.
    activation : str, default "linear"
    parameter : float, optional
    out : ndarray, shape (rows, inputs), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, inputs)
    """
    _array("grad_output", grad_output, None, (None, None))
    _array("kernel", kernel, grad_output.dtype, (None, grad_output.shape[1]))
    shape = (grad_output.shape[0], kernel.shape[0])
    if saved is not None:
        _array("saved", saved, grad_output.dtype, shape)
    out = _output("out", out, grad_output.dtype, shape)
    row, default = _row("activation", ACTIVATIONS, activation)
    number = default if parameter is None else parameter
    workers = _workers(workers)
    if grad_output.dtype == np.float32:
        _input_gradient[float](grad_output, kernel, saved, out, row, number, workers)
    else:
        _input_gradient[double](grad_output, kernel, saved, out, row, number, workers)
    return out


cdef int _input_gradient(const real[:, ::1] grad, const real[:, ::1] kernel,
                         const real[:, ::1] saved, real[:, ::1] out, int row, double number,
                         int workers) except -1:
    cdef fastnn_call call = new_call(grad.shape[0], kernel.shape[0], kernel.shape[1], 0, row,
                                     number)
    call.operand[0], call.operand[1], call.operand[2] = matrix(grad), matrix(kernel), matrix(saved)
    call.operand[3] = matrix[real](out)
    return launch("input_gradient", call, real is double, workers)


def kernel_gradient(x, grad_output, *, out=None, workers=None):
    """x.T @ grad_output, the gradient by the kernel of a dense layer.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    out : ndarray, shape (inputs, units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (inputs, units)
    """
    _array("x", x, None, (None, None))
    _array("grad_output", grad_output, x.dtype, (x.shape[0], None))
    out = _output("out", out, x.dtype, (x.shape[1], grad_output.shape[1]))
    workers = _workers(workers)
    if x.dtype == np.float32:
        _kernel_gradient[float](x, grad_output, out, workers)
    else:
        _kernel_gradient[double](x, grad_output, out, workers)
    return out


cdef int _kernel_gradient(const real[:, ::1] x, const real[:, ::1] grad, real[:, ::1] out,
                          int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], grad.shape[1])
    call.operand[0], call.operand[1] = matrix(x), matrix(grad)
    call.operand[2] = matrix[real](out)
    return launch("kernel_gradient", call, real is double, workers)


def bias_gradient(grad_output, *, out=None, workers=None):
    """grad_output.sum(axis=0), the gradient by the bias of a dense layer.

    Parameters
    ----------
    grad_output : ndarray, shape (rows, units)
    out : ndarray, shape (units,), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (units,)
    """
    _array("grad_output", grad_output, None, (None, None))
    out = _output("out", out, grad_output.dtype, (grad_output.shape[1],))
    workers = _workers(workers)
    if grad_output.dtype == np.float32:
        _bias_gradient[float](grad_output, out, workers)
    else:
        _bias_gradient[double](grad_output, out, workers)
    return out


cdef int _bias_gradient(const real[:, ::1] grad, real[::1] out, int workers) except -1:
    cdef fastnn_call call = new_call(grad.shape[0], grad.shape[1])
    call.operand[0], call.operand[1] = matrix(grad), vector[real](out)
    return launch("bias_gradient", call, real is double, workers)


# --- one output per element -------------------------------------------------------------------

cdef int _two(const char *kernel, const real[:, ::1] x, real[:, ::1] out, int row, double number,
              int workers) except -1:
    """Kernels that read one array and write another of its shape."""
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], 0, 0, row, number)
    call.operand[0], call.operand[1] = matrix(x), matrix[real](out)
    return launch(kernel, call, real is double, workers)


cdef int _three(const char *kernel, const real[:, ::1] a, const real[:, ::1] b, real[:, ::1] out,
                int row, double number, int workers) except -1:
    """Kernels that read two arrays and write a third, all of one shape."""
    cdef fastnn_call call = new_call(a.shape[0], a.shape[1], 0, 0, row, number)
    call.operand[0], call.operand[1], call.operand[2] = matrix(a), matrix(b), matrix[real](out)
    return launch(kernel, call, real is double, workers)


def _map(kernel, x, out, row, number, workers):
    _array("x", x, None, (None, None))
    out = _output("out", out, x.dtype, x.shape)
    workers = _workers(workers)
    name = kernel.encode()
    if x.dtype == np.float32:
        _two[float](name, x, out, row, number, workers)
    else:
        _two[double](name, x, out, row, number, workers)
    return out


def _map_two(kernel, names, a, b, out, row, number, workers):
    _array(names[0], a, None, (None, None))
    _array(names[1], b, a.dtype, a.shape)
    out = _output("out", out, a.dtype, a.shape)
    workers = _workers(workers)
    name = kernel.encode()
    if a.dtype == np.float32:
        _three[float](name, a, b, out, row, number, workers)
    else:
        _three[double](name, a, b, out, row, number, workers)
    return out


def activation(x, name, *, parameter=None, out=None, workers=None):
    """f(x) for the activation `name`, a row of `ACTIVATIONS`; x of shape (rows, width)."""
    row, default = _row("activation", ACTIVATIONS, name)
    return _map("activation", x, out, row, default if parameter is None else parameter, workers)


def activation_gradient(saved, grad_output, name, *, parameter=None, out=None, workers=None):
    """grad_output * f'(x), with `saved` x or f(x) as `ACTIVATIONS[name][0]` says."""
    row, default = _row("activation", ACTIVATIONS, name)
    return _map_two("activation_gradient", ("saved", "grad_output"), saved, grad_output, out, row,
                    default if parameter is None else parameter, workers)


def add(a, b, *, out=None, workers=None):
    """a + b, both of shape (rows, width)."""
    return _map_two("add", ("a", "b"), a, b, out, 0, 0, workers)


def math(x, name, *, out=None, workers=None):
    """The function `name` of `src_c/vmath.h`, a row of `MATH`; x of shape (rows, width)."""
    return _map("math", x, out, _row("function", MATH, name)[0], 0, workers)


def softmax(x, *, out=None, workers=None):
    """exp(x - max) / sum of it, for each row of x of shape (rows, width >= 1)."""
    _array("x", x, None, (None, None))
    if x.shape[1] == 0:
        raise ValueError("x must have at least one column, got shape " + str(x.shape))
    return _map("softmax", x, out, 0, 0, workers)


def softmax_gradient(y, grad_output, *, out=None, workers=None):
    """y * (grad_output - sum(grad_output * y)), for each row; y is the softmax."""
    return _map_two("softmax_gradient", ("y", "grad_output"), y, grad_output, out, 0, 0, workers)


def dropout(x, rate, *, seed=0, step=1, stream=0, out=None, workers=None):
    """x * mask / (1 - rate), the mask from Philox keyed by seed, step, stream and element.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    rate : float
        Share of elements dropped, in [0, 1).
    seed, step, stream : int
        Key and counter.
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), got {rate}")
    _array("x", x, None, (None, None))
    out = _output("out", out, x.dtype, x.shape)
    workers = _workers(workers)
    if x.dtype == np.float32:
        _dropout[float](x, out, rate, seed, step, stream, workers)
    else:
        _dropout[double](x, out, rate, seed, step, stream, workers)
    return out


cdef int _dropout(const real[:, ::1] x, real[:, ::1] out, double rate, unsigned long long seed,
                  unsigned long long step, Py_ssize_t stream, int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], stream, 0, 0, rate)
    call.key, call.step = seed, step
    call.operand[0], call.operand[1] = matrix(x), matrix[real](out)
    return launch("dropout", call, real is double, workers)


# --- columns and rows -------------------------------------------------------------------------

def concatenate(arrays, *, out=None, workers=None):
    """Up to six arrays of shape (rows, any) side by side."""
    if not 1 <= len(arrays) <= engine.MAX_INPUTS_OF_CONCATENATE:
        raise ValueError(f"arrays must be 1 to {engine.MAX_INPUTS_OF_CONCATENATE} arrays, "
                         f"got {len(arrays)}")
    first = _array("arrays[0]", arrays[0], None, (None, None))
    for i, array in enumerate(arrays):
        _array(f"arrays[{i}]", array, first.dtype, (first.shape[0], None))
    shape = (first.shape[0], sum(array.shape[1] for array in arrays))
    out = _output("out", out, first.dtype, shape)
    workers = _workers(workers)
    if first.dtype == np.float32:
        _concatenate[float](arrays, out, workers)
    else:
        _concatenate[double](arrays, out, workers)
    return out


cdef int _concatenate(arrays, real[:, ::1] out, int workers) except -1:
    cdef fastnn_call call = new_call(out.shape[0])
    cdef const real[:, ::1] array
    cdef int i
    for i in range(len(arrays)):
        array = arrays[i]
        call.size[i] = array.shape[1]
        call.operand[i] = matrix(array)
    call.operand[6] = matrix[real](out)
    return launch("concatenate", call, real is double, workers)


def slice_columns(x, first, columns, *, out=None, workers=None):
    """x[:, first:first + columns] as a new array."""
    _array("x", x, None, (None, None))
    if first < 0 or columns < 0 or first + columns > x.shape[1]:
        raise ValueError(f"columns {first} to {first + columns} lie outside x with {x.shape[1]}")
    out = _output("out", out, x.dtype, (x.shape[0], columns))
    workers = _workers(workers)
    if x.dtype == np.float32:
        _slice_columns[float](x, out, first, workers)
    else:
        _slice_columns[double](x, out, first, workers)
    return out


cdef int _slice_columns(const real[:, ::1] x, real[:, ::1] out, Py_ssize_t first,
                        int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], first, out.shape[1])
    call.operand[0], call.operand[1] = matrix(x), matrix[real](out)
    return launch("slice_columns", call, real is double, workers)


_SOURCES = {np.dtype(name): number for number, name in enumerate(
    ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
     "int64"))}


def source_number(dtype):
    """Number of a source dtype of `gather` (enum fastnn_source), or None."""
    return _SOURCES.get(np.dtype(dtype))


def gather(source, order, *, dtype, out=None, workers=None):
    """source[order] converted to `dtype`.

    Parameters
    ----------
    source : ndarray, shape (any, width)
        float32, float64 or an integer type; rows may be strided.
    order : ndarray of int64, shape (rows,), optional
        Row numbers; None takes all rows as they come.
    dtype : {"float32", "float64", "int32"}
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    if not isinstance(source, np.ndarray) or source.dtype not in _SOURCES:
        raise TypeError(f"source must be a float or integer array, got "
                        f"{getattr(source, 'dtype', type(source).__name__)}")
    if source.ndim != 2 or (source.shape[1] > 1 and source.strides[1] != source.itemsize):
        raise ValueError(f"source must have shape (any, width) with contiguous rows, got shape "
                         f"{source.shape} and strides {source.strides}")
    if order is not None:
        _array("order", order, np.int64, (None,))
        if order.size and not 0 <= order.min() <= order.max() < source.shape[0]:
            raise ValueError(f"order must lie in [0, {source.shape[0]}), got "
                             f"{order.min()} to {order.max()}")
    rows = source.shape[0] if order is None else order.shape[0]
    out = _output("out", out, dtype, (rows, source.shape[1]))
    cdef fastnn_call call = new_call(rows, source.shape[1], source.strides[0],
                                     out.dtype == np.int32, _SOURCES[source.dtype])
    cdef const int64_t[::1] numbers = order
    call.operand[0] = <void *><size_t>source.ctypes.data
    call.operand[1] = <void *>&numbers[0] if order is not None and order.size else NULL
    call.operand[2] = <void *><size_t>out.ctypes.data
    if rows:
        launch("gather", call, out.dtype == np.float64, _workers(workers))
    return out


# --- losses and metrics -----------------------------------------------------------------------

def elementwise_loss(prediction, target, name, *, parameter=None, gradient=True, workers=None):
    """A loss of `LOSSES` for each row, and its gradient.

    Parameters
    ----------
    prediction, target : ndarray, shape (rows, width)
    name : str
    parameter : float, optional
        Such as Huber's delta.
    gradient : bool, default True

    Returns
    -------
    losses : ndarray, shape (rows,)
        Mean over the outputs of a row.
    gradient : ndarray, shape (rows, width), or None
        Of the mean over all rows.
    """
    row, default = _row("loss", LOSSES, name)
    _array("prediction", prediction, None, (None, None))
    _array("target", target, prediction.dtype, prediction.shape)
    losses = np.empty(prediction.shape[0], prediction.dtype)
    grad = np.empty_like(prediction) if gradient else None
    number = default if parameter is None else parameter
    workers = _workers(workers)
    if prediction.dtype == np.float32:
        _loss[float]("elementwise_loss", prediction, target, losses, grad, None, row, number,
                     workers)
    else:
        _loss[double]("elementwise_loss", prediction, target, losses, grad, None, row, number,
                      workers)
    return losses, grad


cdef int _loss(const char *kernel, const real[:, ::1] prediction, const real[:, ::1] target,
               real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials, int row,
               double number, int workers) except -1:
    cdef fastnn_call call = new_call(prediction.shape[0], prediction.shape[1], 0, 0, row, number)
    call.operand[0], call.operand[1] = matrix(prediction), matrix(target)
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, call, real is double, workers)


cdef int _label_loss(const char *kernel, const real[:, ::1] scores, const int32_t[::1] labels,
                     real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials,
                     int workers) except -1:
    cdef fastnn_call call = new_call(scores.shape[0], scores.shape[1])
    call.operand[0] = matrix(scores)
    call.operand[1] = <void *>&labels[0] if labels.shape[0] else NULL
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, call, real is double, workers)


def _rows_of_classes(kernel, scores, target, losses, grad, exponentials, workers):
    """Kernels that take int32 labels or probabilities as target."""
    name = kernel.encode()
    workers = _workers(workers)
    if target.dtype == np.int32:
        _array("target", target, np.int32, (scores.shape[0],))
        if target.size and not 0 <= target.min() <= target.max() < scores.shape[1]:
            raise ValueError(f"target must lie in [0, {scores.shape[1]}), got "
                             f"{target.min()} to {target.max()}")
        if scores.dtype == np.float32:
            _label_loss[float](name, scores, target, losses, grad, exponentials, workers)
        else:
            _label_loss[double](name, scores, target, losses, grad, exponentials, workers)
        return
    _array("target", target, scores.dtype, scores.shape)
    if scores.dtype == np.float32:
        _loss[float](name, scores, target, losses, grad, exponentials, 1, 0, workers)
    else:
        _loss[double](name, scores, target, losses, grad, exponentials, 1, 0, workers)


def softmax_crossentropy(logits, target, *, gradient=True, workers=None):
    """Cross-entropy of softmax(logits) for each row, and its gradient by the logits.

    Parameters
    ----------
    logits : ndarray, shape (rows, classes >= 1)
    target : ndarray of int32, shape (rows,), or of probabilities, shape (rows, classes)
    gradient : bool, default True

    Returns
    -------
    losses : ndarray, shape (rows,)
    gradient : ndarray, shape (rows, classes), or None
        Of the mean over all rows.
    """
    _array("logits", logits, None, (None, None))
    if logits.shape[1] == 0:
        raise ValueError(f"logits must have at least one column, got shape {logits.shape}")
    losses = np.empty(logits.shape[0], logits.dtype)
    grad = np.empty_like(logits) if gradient else None
    exponentials = None if gradient else np.empty_like(logits)
    _rows_of_classes("softmax_crossentropy", logits, target, losses, grad, exponentials, workers)
    return losses, grad


def categorical_accuracy(scores, target, *, workers=None):
    """1 where the largest score of a row is that of its label, else 0; shape (rows,).

    `target` is int32 labels of shape (rows,) or probabilities of shape (rows, classes).
    """
    _array("scores", scores, None, (None, None))
    hits = np.empty(scores.shape[0], scores.dtype)
    _rows_of_classes("categorical_accuracy", scores, target, hits, None, None, workers)
    return hits


def binary_accuracy(scores, target, *, threshold=0.5, workers=None):
    """Share of outputs of a row on the right side of the threshold; shape (rows,)."""
    _array("scores", scores, None, (None, None))
    _array("target", target, scores.dtype, scores.shape)
    hits = np.empty(scores.shape[0], scores.dtype)
    workers = _workers(workers)
    if scores.dtype == np.float32:
        _loss[float]("binary_accuracy", scores, target, hits, None, None, 0, threshold, workers)
    else:
        _loss[double]("binary_accuracy", scores, target, hits, None, None, 0, threshold, workers)
    return hits


def mean(x, *, workers=None):
    """Mean of x of shape (rows,), summed in double from the first to the last."""
    _array("x", x, None, (None,))
    if x.dtype == np.float32:
        return _mean[float](x, _workers(workers))
    return _mean[double](x, _workers(workers))


cdef double _mean(const real[::1] x, int workers) except? -1:
    cdef double result = 0
    cdef fastnn_call call = new_call(x.shape[0])
    call.operand[0], call.operand[1] = vector(x), &result
    launch("mean", call, real is double, workers)
    return result


# --- updates ----------------------------------------------------------------------------------

def squared_norm(gradients, *, workers=None):
    """Sums of squares of chunks of `NORM_CHUNK` elements, as float64."""
    _array("gradients", gradients, None, (None,))
    partial = np.empty(-(-gradients.shape[0] // NORM_CHUNK), np.float64)
    if gradients.dtype == np.float32:
        _squared_norm[float](gradients, partial, _workers(workers))
    else:
        _squared_norm[double](gradients, partial, _workers(workers))
    return partial


cdef int _squared_norm(const real[::1] gradients, double[::1] partial, int workers) except -1:
    cdef fastnn_call call = new_call(0, gradients.shape[0])
    call.operand[0], call.operand[1] = vector(gradients), vector[double](partial)
    return launch("squared_norm", call, real is double, workers)


def update(name, parameters, gradients, state, *, learning_rate, step, hyper_parameters=(),
           clipvalue=None, global_clipnorm=None, weight_decay=0.0, workers=None):
    """One optimizer step over a flat arena, in place.

    Parameters
    ----------
    name : str
        A row of `OPTIMIZERS`.
    parameters, gradients : ndarray, shape (count,)
    state : ndarray, shape (slots, count)
    learning_rate : float
    step : int
        Counted from 1.
    hyper_parameters : sequence of float
        In the order of `OPTIMIZERS[name][1]`.
    clipvalue, global_clipnorm : float, optional
    weight_decay : float, default 0
        Coupled: weight_decay * parameters is added to the clipped gradients.
    workers : int, optional
    """
    row, slots = _row("optimizer", OPTIMIZERS, name)
    names = [part for part in OPTIMIZERS[name][1].split(",") if part]
    if len(hyper_parameters) != len(names):
        raise ValueError(f"hyper_parameters must be ({', '.join(names)}), "
                         f"got {len(hyper_parameters)} numbers")
    _output("parameters", parameters, parameters.dtype, (None,))
    _array("parameters", parameters, None, (None,))
    _array("gradients", gradients, parameters.dtype, parameters.shape)
    _output("state", state, parameters.dtype, (int(slots), parameters.shape[0]))
    infinity = float("inf")
    scalars = np.array([
        learning_rate, step, infinity if clipvalue is None else clipvalue,
        infinity if global_clipnorm is None else global_clipnorm, weight_decay,
        *hyper_parameters], np.float64)
    partial = None if global_clipnorm is None else squared_norm(gradients, workers=workers)
    if parameters.dtype == np.float32:
        _update[float](parameters, gradients, state, partial, scalars, row, _workers(workers))
    else:
        _update[double](parameters, gradients, state, partial, scalars, row, _workers(workers))


cdef int _update(real[::1] parameters, const real[::1] gradients, real[:, ::1] state,
                 const double[::1] partial, const double[::1] scalars, int row,
                 int workers) except -1:
    cdef fastnn_call call = new_call(0, parameters.shape[0], 0, 0, row)
    cdef Py_ssize_t i
    for i in range(scalars.shape[0]):
        call.scalar[i] = scalars[i]
    call.operand[0], call.operand[1] = vector[real](parameters), vector(gradients)
    call.operand[2] = matrix[real](state)
    call.operand[3] = vector(partial)
    return launch("update", call, real is double, workers)
