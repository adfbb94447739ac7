"""A typed-memoryview entry for every kernel, for tests, benchmarks and eager use.

Each `def` validates and allocates; below it there are typed memoryviews, or, where the kernel is
one pass that NumPy does in half a microsecond, the addresses that have just been checked (a
memoryview costs a quarter of a microsecond to take). Arrays are C-contiguous, float32 or float64,
all of one call the same. `out` may be given to write into; results are returned. Its memory must
be its own, except where each element is read before it is written (activations and their
gradients, sums, softmax, dropout, `math`): there it may be an input itself. `workers` is the
size of the team (default: as many as the work is worth, `fastnn.get_num_threads()` at most); the
bits of a result do not depend on it.
"""
import numpy as np

cimport numpy as cnp
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from fastnn.native.engine cimport fastnn_call, fastnn_entries, launch

from fastnn import config
from fastnn.native import engine
from fastnn.registry import unknown_name

cnp.import_array()


cdef extern from "fastnn.h":
    enum:
        FASTNN_KERNEL_affine
        FASTNN_KERNEL_affine_halves
        FASTNN_KERNEL_add_halves
        FASTNN_KERNEL_input_gradient
        FASTNN_KERNEL_kernel_gradient
        FASTNN_KERNEL_kernel_gradient_halves
        FASTNN_KERNEL_add_gradient_half
        FASTNN_KERNEL_bias_gradient
        FASTNN_KERNEL_kernel_gradient_update
        FASTNN_KERNEL_sparse_affine
        FASTNN_KERNEL_sparse_kernel_gradient
        FASTNN_KERNEL_sparse_kernel_gradient_update
        FASTNN_KERNEL_csr_gather
        FASTNN_KERNEL_activation
        FASTNN_KERNEL_activation_gradient
        FASTNN_KERNEL_add
        FASTNN_KERNEL_multiply
        FASTNN_KERNEL_prelu
        FASTNN_KERNEL_prelu_slope_gradient
        FASTNN_KERNEL_scale_rows
        FASTNN_KERNEL_concatenate
        FASTNN_KERNEL_slice_columns
        FASTNN_KERNEL_math
        FASTNN_KERNEL_softmax
        FASTNN_KERNEL_softmax_gradient
        FASTNN_KERNEL_layer_normalization
        FASTNN_KERNEL_layer_normalization_gradient
        FASTNN_KERNEL_layer_normalization_scale_gradient
        FASTNN_KERNEL_batch_normalization
        FASTNN_KERNEL_batch_normalization_gradient
        FASTNN_KERNEL_embedding
        FASTNN_KERNEL_embedding_gradient
        FASTNN_KERNEL_log_softmax
        FASTNN_KERNEL_log_softmax_gradient
        FASTNN_KERNEL_elementwise_loss
        FASTNN_KERNEL_softmax_crossentropy
        FASTNN_KERNEL_categorical_accuracy
        FASTNN_KERNEL_binary_accuracy
        FASTNN_KERNEL_mean
        FASTNN_KERNEL_accumulate
        FASTNN_KERNEL_squared_norm
        FASTNN_KERNEL_update
        FASTNN_KERNEL_penalty
        FASTNN_KERNEL_moving_average
        FASTNN_KERNEL_gather
        FASTNN_KERNEL_dropout
        FASTNN_KERNEL_multiply_add
        FASTNN_KERNEL_stream

ctypedef fused real:
    float
    double

ACTIVATIONS = engine.variants("activations")
LOSSES = engine.variants("losses")
OPTIMIZERS = engine.variants("optimizers")
MATH = engine.variants("math")
NORM_CHUNK = engine.NORM_CHUNK
cdef Py_ssize_t CHUNK = NORM_CHUNK


# --- checks -----------------------------------------------------------------------------------
#
# At the sizes of a small layer NumPy's whole call takes under a microsecond, so what is right
# is told by a few C comparisons; only what is wrong pays for finding out why.

cdef enum:
    ANY = -1
    VECTOR = -2      # in place of `columns`: the array has one dimension

_TYPES = {np.dtype(name).num: np.dtype(name) for name in ("float32", "float64", "int32", "int64")}


cdef int type_of(str name, array) except -1:
    """Type number of a float32 or float64 array."""
    if cnp.PyArray_Check(array):
        number = cnp.PyArray_TYPE(array)
        if number == cnp.NPY_FLOAT or number == cnp.NPY_DOUBLE:
            return number
        raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
    raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")


cdef int require(str name, array, int number, Py_ssize_t rows, Py_ssize_t columns) except -1:
    """Raise unless `array` is C-contiguous, aligned, and of this type and shape."""
    cdef int dimensions = 1 if columns == VECTOR else 2
    if (cnp.PyArray_Check(array) and cnp.PyArray_TYPE(array) == number
            and cnp.PyArray_NDIM(array) == dimensions and cnp.PyArray_ISCARRAY_RO(array)
            and (rows == ANY or cnp.PyArray_DIM(array, 0) == rows)
            and (dimensions == 1 or columns == ANY or cnp.PyArray_DIM(array, 1) == columns)):
        return 0
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != _TYPES[number]:
        raise TypeError(f"{name} must be {_TYPES[number]}, got {array.dtype}")
    wanted = [rows, columns][:dimensions]
    if array.ndim != dimensions or any(
            want != ANY and have != want for have, want in zip(array.shape, wanted, strict=True)):
        shown = ", ".join("any" if size == ANY else str(size) for size in wanted)
        raise ValueError(f"{name} must have shape ({shown}), got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")
    raise ValueError(f"{name} must be aligned and in native byte order")


cdef int writeable(str name, array) except -1:
    """Raise if the array may not be written."""
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} must be writeable, got a read-only array")
    return 0


cdef object output(str name, out, int number, Py_ssize_t rows, Py_ssize_t columns):
    """`out` checked, or a new array."""
    if out is None:
        return np.empty([rows, columns][:1 + (columns != VECTOR)], _TYPES[number])
    require(name, out, number, rows, columns)
    writeable(name, out)
    return out


cdef inline bint bounds(cnp.ndarray array, char **first, char **end) noexcept:
    """Set the first byte and the end of what an array spans; false if it has no element."""
    cdef Py_ssize_t step
    cdef int i
    first[0] = cnp.PyArray_BYTES(array)
    end[0] = first[0] + cnp.PyArray_ITEMSIZE(array)
    for i in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, i) == 0:
            return False
        step = (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
        if step < 0:
            first[0] += step
        else:
            end[0] += step
    return True


cdef int apart(str name, cnp.ndarray written, str other, cnp.ndarray array) except -1:
    """Raise if what is written shares memory with another operand; None shares none."""
    cdef char *first
    cdef char *end
    cdef char *other_first
    cdef char *other_end
    if (written is None or array is None or not bounds(written, &first, &end)
            or not bounds(array, &other_first, &other_end)
            or end <= other_first or other_end <= first):
        return 0
    if np.shares_memory(written, array):  # not so where it lies in the gaps of strided rows
        raise ValueError(f"{name} must not share memory with {other}")
    return 0


cdef int apart_or_same(str name, cnp.ndarray written, str other, cnp.ndarray array) except -1:
    """Raise if they share memory, unless they are the same element for element."""
    if cnp.PyArray_DATA(written) == cnp.PyArray_DATA(array):
        return 0
    return apart(name, written, other, array)


cdef int team(workers, double work) except -1:
    """Size of the team: what was asked for, or what `work` multiply-adds are worth."""
    if workers is None:
        return 1 if work < 2 * <double>config.WORK_PER_WORKER else config.workers_for(work)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return config.limited(workers)


_NUMBERS = {kind: {name: (number, row[2]) for number, (name, row) in enumerate(table.items())}
            for kind, table in (("activation", ACTIVATIONS), ("loss", LOSSES),
                                ("optimizer", OPTIMIZERS), ("function", MATH))}


_NUMBERS["optimizer"] = {name: (number, int(slots))
                         for name, (number, slots) in _NUMBERS["optimizer"].items()}
_HYPER_PARAMETERS = {name: [part for part in row[1].split(",") if part]
                     for name, row in OPTIMIZERS.items()}

# Multiply-adds that an element is worth when a team is chosen: about half a nanosecond of them,
# which is what moving it through the caches takes, or a function of it.
cdef double ELEMENT_WORK = 32


cdef tuple _row(str kind, name):
    """Number of a row and its default parameter."""
    try:
        return (<dict>_NUMBERS[kind])[name]
    except (KeyError, TypeError):
        raise unknown_name(kind, name, _NUMBERS[kind]) from None


# --- calls ------------------------------------------------------------------------------------

cdef inline void *vector(const real[::1] array) noexcept:
    return <void *>&array[0] if array is not None and array.shape[0] else NULL


cdef inline void *matrix(const real[:, ::1] array) noexcept:
    return (<void *>&array[0, 0]
            if array is not None and array.shape[0] and array.shape[1] else NULL)


cdef inline fastnn_call new_call(Py_ssize_t rows, Py_ssize_t size0=0, Py_ssize_t size1=0,
                                 Py_ssize_t size2=0, int variant=0, double scalar=0) noexcept:
    cdef fastnn_call call
    memset(&call, 0, sizeof(call))
    call.rows, call.variant = rows, variant
    call.size[0], call.size[1], call.size[2] = size0, size1, size2
    call.scalar[0] = scalar
    return call


cdef int second_output(str name, array, int number, Py_ssize_t rows, Py_ssize_t columns,
                       tuple others) except -1:
    """Check an output that is given beside `out`, and that it lies apart from the others."""
    output(name, array, number, rows, columns)
    for label, other in others:
        apart(name, array, label, other)
    return 0


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
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("kernel", kernel, number, x.shape[1], ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), units = cnp.PyArray_DIM(kernel, 1)
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
    out = output("out", out, number, rows, units)
    apart("out", out, "x", x)
    apart("out", out, "kernel", kernel)
    apart("out", out, "bias", bias)
    if preactivation is not None:
        second_output("preactivation", preactivation, number, rows, units,
                      (("x", x), ("kernel", kernel), ("bias", bias), ("out", out)))
    row, default = _row("activation", activation)
    default = default if parameter is None else parameter
    cdef int members = team(workers, rows * <double>kernel.size)
    if number == cnp.NPY_FLOAT:
        _affine[float](x, kernel, bias, out, preactivation, row, default, members)
    else:
        _affine[double](x, kernel, bias, out, preactivation, row, default, members)
    return out


cdef int _affine(const real[:, ::1] x, const real[:, ::1] kernel, const real[::1] bias,
                 real[:, ::1] out, real[:, ::1] preactivation, int row, double parameter,
                 int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], kernel.shape[1], 0, row, parameter)
    call.operand[0], call.operand[1], call.operand[2] = matrix(x), matrix(kernel), vector(bias)
    call.operand[3] = matrix[real](out)
    call.operand[4] = matrix[real](preactivation)
    return launch(FASTNN_KERNEL_affine, &call, real is double, workers)


def affine_halves(x, kernel, *, out=None, workers=None):
    """x @ kernel as two sums, over the first and over the second half of the inputs.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    kernel : ndarray, shape (inputs, units)
    out : ndarray, shape (rows, 2 * units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, 2 * units)
        The sums over x[:, :middle] beside those over x[:, middle:], where middle is half of the
        inputs, rounded up to a multiple of 16.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("kernel", kernel, number, x.shape[1], ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), inputs = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t units = cnp.PyArray_DIM(kernel, 1)
    out = output("out", out, number, rows, 2 * units)
    apart("out", out, "x", x)
    apart("out", out, "kernel", kernel)
    cdef fastnn_call call = new_call(rows, inputs, units)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(kernel)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_affine_halves, &call, number == cnp.NPY_DOUBLE,
           team(workers, rows * <double>cnp.PyArray_SIZE(kernel)))
    return out


def add_halves(halves, bias=None, *, activation="linear", parameter=None, out=None,
               preactivation=None, workers=None):
    """f(halves[:, :units] + halves[:, units:] + bias), which completes `affine_halves`.

    Parameters
    ----------
    halves : ndarray, shape (rows, 2 * units)
    bias : ndarray, shape (units,), optional
    activation : str, default "linear"
        A row of `ACTIVATIONS`.
    parameter : float, optional
        Of the activation; default as in its row.
    out, preactivation : ndarray, shape (rows, units), optional
        Where the result and what f is applied to go.
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, units)
    """
    cdef int number = type_of("halves", halves)
    require("halves", halves, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(halves, 0), units = cnp.PyArray_DIM(halves, 1) // 2
    require("halves", halves, number, rows, 2 * units)
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
    out = output("out", out, number, rows, units)
    apart("out", out, "halves", halves)
    apart("out", out, "bias", bias)
    if preactivation is not None:
        second_output("preactivation", preactivation, number, rows, units,
                      (("halves", halves), ("bias", bias), ("out", out)))
    row, default = _row("activation", activation)
    cdef fastnn_call call = new_call(rows, units, 0, 0, row,
                                     default if parameter is None else parameter)
    call.operand[0], call.operand[2] = cnp.PyArray_DATA(halves), cnp.PyArray_DATA(out)
    call.operand[1] = NULL if bias is None else cnp.PyArray_DATA(bias)
    call.operand[3] = NULL if preactivation is None else cnp.PyArray_DATA(preactivation)
    launch(FASTNN_KERNEL_add_halves, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * units))
    return out


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
    cdef int number = type_of("grad_output", grad_output)
    require("grad_output", grad_output, number, ANY, ANY)
    require("kernel", kernel, number, ANY, grad_output.shape[1])
    cdef Py_ssize_t rows = cnp.PyArray_DIM(grad_output, 0), inputs = cnp.PyArray_DIM(kernel, 0)
    if saved is not None:
        require("saved", saved, number, rows, inputs)
    out = output("out", out, number, rows, inputs)
    apart("out", out, "grad_output", grad_output)
    apart("out", out, "kernel", kernel)
    apart("out", out, "saved", saved)
    row, default = _row("activation", activation)
    default = default if parameter is None else parameter
    cdef int members = team(workers, rows * <double>kernel.size)
    if number == cnp.NPY_FLOAT:
        _input_gradient[float](grad_output, kernel, saved, out, row, default, members)
    else:
        _input_gradient[double](grad_output, kernel, saved, out, row, default, members)
    return out


cdef int _input_gradient(const real[:, ::1] grad, const real[:, ::1] kernel,
                         const real[:, ::1] saved, real[:, ::1] out, int row, double parameter,
                         int workers) except -1:
    cdef fastnn_call call = new_call(grad.shape[0], kernel.shape[0], kernel.shape[1], 0, row,
                                     parameter)
    call.operand[0], call.operand[1], call.operand[2] = matrix(grad), matrix(kernel), matrix(saved)
    call.operand[3] = matrix[real](out)
    return launch(FASTNN_KERNEL_input_gradient, &call, real is double, workers)


def kernel_gradient(x, grad_output, *, out=None, bias_out=None, workers=None):
    """x.T @ grad_output, the gradient by the kernel of a dense layer.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    out : ndarray, shape (inputs, units), optional
    bias_out : ndarray, shape (units,), optional
        Where grad_output.sum(axis=0) goes.
    workers : int, optional

    Returns
    -------
    ndarray, shape (inputs, units)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("grad_output", grad_output, number, x.shape[0], ANY)
    cdef Py_ssize_t inputs = cnp.PyArray_DIM(x, 1), units = cnp.PyArray_DIM(grad_output, 1)
    out = output("out", out, number, inputs, units)
    apart("out", out, "x", x)
    apart("out", out, "grad_output", grad_output)
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), inputs, units)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2] = cnp.PyArray_DATA(out)
    if bias_out is not None:
        second_output("bias_out", bias_out, number, units, VECTOR,
                      (("x", x), ("grad_output", grad_output), ("out", out)))
        call.operand[3] = cnp.PyArray_DATA(bias_out)
    launch(FASTNN_KERNEL_kernel_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))
    return out


def kernel_gradient_halves(x, grad_output, *, workers=None):
    """x.T @ grad_output and grad_output.sum(axis=0) over two halves of a large batch.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    workers : int, optional

    Returns
    -------
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,)
        Over the first half of the rows, rounded up to a multiple of 16; over all below 128 rows.
    second : ndarray, shape (inputs * units + units,)
        Both over the second half, or zeros.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("grad_output", grad_output, number, x.shape[0], ANY)
    cdef Py_ssize_t inputs = cnp.PyArray_DIM(x, 1), units = cnp.PyArray_DIM(grad_output, 1)
    by_kernel = np.empty((inputs, units), x.dtype)
    by_bias = np.empty(units, x.dtype)
    second = np.zeros(inputs * units + units, x.dtype)
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), inputs, units)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2], call.operand[3] = cnp.PyArray_DATA(by_kernel), cnp.PyArray_DATA(by_bias)
    call.operand[4] = cnp.PyArray_DATA(second)
    launch(FASTNN_KERNEL_kernel_gradient_halves, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))
    return by_kernel, by_bias, second


def add_gradient_half(kernel, bias, second, Py_ssize_t rows, *, workers=None):
    """Add what `kernel_gradient_halves` has left of `rows` rows, in place.

    Parameters
    ----------
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), or None
    second : ndarray, shape (inputs * units + units,)
    rows : int
        Nothing is added below 128.
    workers : int, optional
    """
    cdef int number = type_of("kernel", kernel)
    require("kernel", kernel, number, ANY, ANY)
    cdef Py_ssize_t inputs = cnp.PyArray_DIM(kernel, 0), units = cnp.PyArray_DIM(kernel, 1)
    require("second", second, number, inputs * units + units, VECTOR)
    writeable("kernel", kernel)
    apart("kernel", kernel, "second", second)
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
        writeable("bias", bias)
        apart("bias", bias, "second", second)
        apart("bias", bias, "kernel", kernel)
    cdef fastnn_call call = new_call(rows, inputs, units)
    call.operand[0], call.operand[2] = cnp.PyArray_DATA(kernel), cnp.PyArray_DATA(second)
    call.operand[1] = NULL if bias is None else cnp.PyArray_DATA(bias)
    launch(FASTNN_KERNEL_add_gradient_half, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * inputs * units))


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
    cdef int number = type_of("grad_output", grad_output)
    require("grad_output", grad_output, number, ANY, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(grad_output, 1)
    out = output("out", out, number, units, VECTOR)
    apart("out", out, "grad_output", grad_output)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(grad_output, 0)
    cdef bint is_double = number == cnp.NPY_DOUBLE
    partial = grad_output
    # Of the sizes alone, so that the bits do not depend on the number of workers.
    if rows > SUM_CHUNK and cnp.PyArray_NBYTES(grad_output) >= CHUNKED_SUM_BYTES:
        partial = np.empty(((rows + SUM_CHUNK - 1) // SUM_CHUNK, units), grad_output.dtype)
        sum_rows(grad_output, partial, SUM_CHUNK, is_double, workers)
    sum_rows(partial, out, 0, is_double, workers)
    return out


# Rows of a chunk that is summed by one worker, in arrays that exceed its cache.
cdef enum:
    SUM_CHUNK = 64
    CHUNKED_SUM_BYTES = 1 << 20


cdef int sum_rows(cnp.ndarray x, cnp.ndarray sums, Py_ssize_t chunk, bint is_double,
                  workers) except -1:
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1), chunk)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(sums)
    return launch(FASTNN_KERNEL_bias_gradient, &call, is_double,
                  team(workers, ELEMENT_WORK * cnp.PyArray_SIZE(x)))


# --- one output per element -------------------------------------------------------------------

cdef object map_one(int kernel, x, out, int row, double parameter, workers):
    """Kernels that read one array and write another of its shape."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    out = output("out", out, number, rows, columns)
    apart_or_same("out", out, "x", x)
    cdef fastnn_call call = new_call(rows, columns, 0, 0, row, parameter)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    launch(kernel, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * columns))
    return out


cdef object map_two(int kernel, str name_a, str name_b, a, b, out, int row, double parameter,
                    workers):
    """Kernels that read two arrays and write a third, all of one shape."""
    cdef int number = type_of(name_a, a)
    require(name_a, a, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(a, 0), columns = cnp.PyArray_DIM(a, 1)
    require(name_b, b, number, rows, columns)
    out = output("out", out, number, rows, columns)
    apart_or_same("out", out, name_a, a)
    apart_or_same("out", out, name_b, b)
    cdef fastnn_call call = new_call(rows, columns, 0, 0, row, parameter)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(a), cnp.PyArray_DATA(b)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(kernel, &call, number == cnp.NPY_DOUBLE, team(workers, ELEMENT_WORK * rows * columns))
    return out


def activation(x, name, *, parameter=None, out=None, workers=None):
    """f(x) for the activation `name`, a row of `ACTIVATIONS`; x of shape (rows, width)."""
    row, default = _row("activation", name)
    default = default if parameter is None else parameter
    return map_one(FASTNN_KERNEL_activation, x, out, row, default, workers)


def activation_gradient(saved, grad_output, name, *, parameter=None, out=None, workers=None):
    """grad_output * f'(x), with `saved` x or f(x) as `ACTIVATIONS[name][0]` says."""
    row, default = _row("activation", name)
    default = default if parameter is None else parameter
    return map_two(FASTNN_KERNEL_activation_gradient, "saved", "grad_output", saved, grad_output,
                   out, row, default, workers)


def add(a, b, *, out=None, workers=None):
    """a + b, both of shape (rows, width)."""
    return map_two(FASTNN_KERNEL_add, "a", "b", a, b, out, 0, 0, workers)


def multiply(a, b, *, out=None, workers=None):
    """a * b, both of shape (rows, width)."""
    return map_two(FASTNN_KERNEL_multiply, "a", "b", a, b, out, 0, 0, workers)


def math(x, name, *, out=None, workers=None):
    """The function `name` of `src_c/vmath.h`, a row of `MATH`; x of shape (rows, width)."""
    return map_one(FASTNN_KERNEL_math, x, out, _row("function", name)[0], 0, workers)


def softmax(x, *, out=None, workers=None):
    """exp(x - max) / sum of it, for each row of x of shape (rows, width >= 1)."""
    if type_of("x", x) and x.ndim == 2 and x.shape[1] == 0:
        raise ValueError(f"x must have at least one column, got shape {x.shape}")
    return map_one(FASTNN_KERNEL_softmax, x, out, 0, 0, workers)


def softmax_gradient(y, grad_output, *, out=None, workers=None):
    """y * (grad_output - sum(grad_output * y)), for each row; y is the softmax."""
    return map_two(FASTNN_KERNEL_softmax_gradient, "y", "grad_output", y, grad_output, out, 0, 0,
                   workers)


def log_softmax(x, *, out=None, workers=None):
    """x - max - log(sum(exp(x - max))), for each row of x of shape (rows, width >= 1)."""
    if type_of("x", x) and x.ndim == 2 and x.shape[1] == 0:
        raise ValueError(f"x must have at least one column, got shape {x.shape}")
    return map_one(FASTNN_KERNEL_log_softmax, x, out, 0, 0, workers)


def log_softmax_gradient(y, grad_output, *, out=None, workers=None):
    """grad_output - exp(y) * sum(grad_output), for each row; y is the log_softmax."""
    return map_two(FASTNN_KERNEL_log_softmax_gradient, "y", "grad_output", y, grad_output, out, 0,
                   0, workers)


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
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    out = output("out", out, number, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
    apart_or_same("out", out, "x", x)
    cdef int members = team(workers, ELEMENT_WORK * cnp.PyArray_SIZE(x))
    if number == cnp.NPY_FLOAT:
        _dropout[float](x, out, rate, seed, step, stream, members)
    else:
        _dropout[double](x, out, rate, seed, step, stream, members)
    return out


cdef int _dropout(const real[:, ::1] x, real[:, ::1] out, double rate, uint64_t seed,
                  uint64_t step, Py_ssize_t stream, int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], stream, 0, 0, rate)
    call.key, call.step = seed, step
    call.operand[0], call.operand[1] = matrix(x), matrix[real](out)
    return launch(FASTNN_KERNEL_dropout, &call, real is double, workers)


# --- layers with parameters of their own ------------------------------------------------------

cdef int slopes_of(slope, int number, Py_ssize_t width) except -1:
    """Check slopes: one, or as many as there are columns."""
    require("slope", slope, number, ANY, VECTOR)
    cdef Py_ssize_t slopes = cnp.PyArray_DIM(slope, 0)
    if slopes != 1 and slopes != width:
        raise ValueError(f"slope must have shape (1,) or ({width},), got ({slopes},)")
    return 0


def prelu(x, slope, grad_output=None, *, out=None, workers=None):
    """x where it is above 0, else slope * x; or the gradient by x.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    slope : ndarray, shape (width,) or (1,)
    grad_output : ndarray, shape (rows, width), optional
        Then the result is grad_output where x is above 0, else slope * grad_output.
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    slopes_of(slope, number, width)
    value = x
    if grad_output is not None:
        require("grad_output", grad_output, number, rows, width)
        value = grad_output
    out = output("out", out, number, rows, width)
    for name, array in (("x", x), ("grad_output", value), ("slope", slope)):
        apart("out", out, name, array)
    cdef fastnn_call call = new_call(rows, width, cnp.PyArray_DIM(slope, 0))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(slope)
    call.operand[2], call.operand[3] = cnp.PyArray_DATA(value), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_prelu, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


def prelu_slope_gradient(x, grad_output, *, shared=False, out=None, workers=None):
    """(min(x, 0) * grad_output).sum(axis=0), the gradient by the slopes of `prelu`.

    Parameters
    ----------
    x, grad_output : ndarray, shape (rows, width)
    shared : bool, default False
        Whether all columns have one slope: then all of it is summed.
    out : ndarray, shape (width,) or (1,), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (width,) or (1,)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, width)
    cdef Py_ssize_t slopes = 1 if shared else width
    out = output("out", out, number, slopes, VECTOR)
    apart("out", out, "x", x)
    apart("out", out, "grad_output", grad_output)
    cdef fastnn_call call = new_call(rows, width, slopes)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_prelu_slope_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


cdef void *vector_or_null(str name, array, int number, Py_ssize_t width) except? NULL:
    """Address of an optional vector."""
    if array is None:
        return NULL
    require(name, array, number, width, VECTOR)
    return cnp.PyArray_DATA(array)


def layer_normalization(x, gamma=None, beta=None, *, epsilon=1e-3, statistics=None, out=None,
                        workers=None):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance of each row.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    gamma, beta : ndarray, shape (width,), optional
    epsilon : float, default 1e-3
    statistics : ndarray, shape (rows, 2), optional
        Where the mean and 1 / sqrt(variance + epsilon) of each row go.
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    cdef fastnn_call call = new_call(rows, width, 0, 0, 0, epsilon)
    call.operand[0] = cnp.PyArray_DATA(x)
    call.operand[1] = vector_or_null("gamma", gamma, number, width)
    call.operand[2] = vector_or_null("beta", beta, number, width)
    out = output("out", out, number, rows, width)
    for name, array in (("x", x), ("gamma", gamma), ("beta", beta)):
        apart("out", out, name, array)
    call.operand[3] = cnp.PyArray_DATA(out)
    if statistics is not None:
        second_output("statistics", statistics, number, rows, 2,
                      (("x", x), ("gamma", gamma), ("beta", beta), ("out", out)))
        call.operand[4] = cnp.PyArray_DATA(statistics)
    launch(FASTNN_KERNEL_layer_normalization, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK * rows * width))
    return out


def layer_normalization_gradient(x, statistics, grad_output, gamma=None, *, out=None,
                                 workers=None):
    """The gradient by x of `layer_normalization`, which has left the statistics.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    statistics : ndarray, shape (rows, 2)
    grad_output : ndarray, shape (rows, width)
    gamma : ndarray, shape (width,), optional
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("statistics", statistics, number, rows, 2)
    require("grad_output", grad_output, number, rows, width)
    cdef fastnn_call call = new_call(rows, width)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(statistics)
    call.operand[2] = vector_or_null("gamma", gamma, number, width)
    call.operand[3] = cnp.PyArray_DATA(grad_output)
    out = output("out", out, number, rows, width)
    for name, array in (("x", x), ("statistics", statistics), ("grad_output", grad_output),
                        ("gamma", gamma)):
        apart("out", out, name, array)
    call.operand[4] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_layer_normalization_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK * rows * width))
    return out


def layer_normalization_scale_gradient(x, statistics, grad_output, *, out=None, workers=None):
    """The gradient by gamma of `layer_normalization`: grad_output * normalized x, over the rows.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    statistics : ndarray, shape (rows, 2)
    grad_output : ndarray, shape (rows, width)
    out : ndarray, shape (width,), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (width,)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("statistics", statistics, number, rows, 2)
    require("grad_output", grad_output, number, rows, width)
    out = output("out", out, number, width, VECTOR)
    for name, array in (("x", x), ("statistics", statistics), ("grad_output", grad_output)):
        apart("out", out, name, array)
    cdef fastnn_call call = new_call(rows, width)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(statistics)
    call.operand[2], call.operand[3] = cnp.PyArray_DATA(grad_output), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_layer_normalization_scale_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


def batch_normalization(x, gamma=None, beta=None, mean=None, variance=None, *, epsilon=1e-3,
                        out=None, workers=None):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with one mean for each column.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    gamma, beta : ndarray, shape (width,), optional
    mean, variance : ndarray, shape (width,), optional
        Both or neither; default: of the rows of x, the variance biased.
    epsilon : float, default 1e-3
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
        With `mean` and `variance` behind it, in a tuple, if they were not given.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    cdef bint is_of_batch = mean is None and variance is None
    cdef fastnn_call call = new_call(rows, width, 0, 0, is_of_batch, epsilon)
    if is_of_batch:
        mean, variance = np.empty(width, x.dtype), np.empty(width, x.dtype)
    require("mean", mean, number, width, VECTOR)
    require("variance", variance, number, width, VECTOR)
    call.operand[0] = cnp.PyArray_DATA(x)
    call.operand[1] = vector_or_null("gamma", gamma, number, width)
    call.operand[2] = vector_or_null("beta", beta, number, width)
    call.operand[3], call.operand[4] = cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance)
    out = output("out", out, number, rows, width)
    for name, array in (("x", x), ("gamma", gamma), ("beta", beta), ("mean", mean),
                        ("variance", variance)):
        apart("out", out, name, array)
    call.operand[5] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_batch_normalization, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK * rows * width))
    return (out, mean, variance) if is_of_batch else out


def batch_normalization_gradient(x, mean, variance, grad_output, gamma=None, *, of_batch=True,
                                 epsilon=1e-3, workers=None):
    """The gradients of `batch_normalization`.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    mean, variance : ndarray, shape (width,)
    grad_output : ndarray, shape (rows, width)
    gamma : ndarray, shape (width,), optional
    of_batch : bool, default True
        Whether mean and variance were those of x, and so depend on it.
    epsilon : float, default 1e-3
    workers : int, optional

    Returns
    -------
    by_x : ndarray, shape (rows, width)
    by_gamma, by_beta : ndarray, shape (width,)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("mean", mean, number, width, VECTOR)
    require("variance", variance, number, width, VECTOR)
    require("grad_output", grad_output, number, rows, width)
    by_x, by_gamma, by_beta = (np.empty(shape, x.dtype) for shape in ((rows, width), width, width))
    cdef fastnn_call call = new_call(rows, width, 0, 0, bool(of_batch), epsilon)
    call.operand[0], call.operand[4] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[1] = vector_or_null("gamma", gamma, number, width)
    call.operand[2], call.operand[3] = cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance)
    call.operand[5], call.operand[6] = cnp.PyArray_DATA(by_x), cnp.PyArray_DATA(by_gamma)
    call.operand[7] = cnp.PyArray_DATA(by_beta)
    launch(FASTNN_KERNEL_batch_normalization_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK * rows * width))
    return by_x, by_gamma, by_beta


def embedding(x, table, *, out=None, workers=None):
    """table[x]: for each category of x its row of the table, side by side.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
        Whole numbers from 0 on, below `categories`; of the table's dtype.
    table : ndarray, shape (categories, depth)
    out : ndarray, shape (rows, columns * depth), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns * depth)

    Raises
    ------
    ValueError
        x holds something that is no category; `out` is NaN there.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("table", table, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t depth = cnp.PyArray_DIM(table, 1)
    out = output("out", out, number, rows, columns * depth)
    apart("out", out, "x", x)
    apart("out", out, "table", table)
    cdef fastnn_call call = new_call(rows, columns, 0, columns)
    call.size[3], call.size[4] = cnp.PyArray_DIM(table, 0), depth
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(table)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_embedding, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * columns * depth))
    return out


def embedding_gradient(x, grad_output, Py_ssize_t categories, *, out=None, workers=None):
    """The gradient by the table of `embedding`: for each category the sum of its gradients.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
        What is no category is left out.
    grad_output : ndarray, shape (rows, columns * depth)
    categories : int
    out : ndarray, shape (categories, depth), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (categories, depth)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, ANY)
    cdef Py_ssize_t width = cnp.PyArray_DIM(grad_output, 1)
    if width % max(columns, 1) or (columns == 0 and width):
        raise ValueError(f"grad_output must have a multiple of {columns} columns, as many as x, "
                         f"got {width}")
    if categories < 0:
        raise ValueError(f"categories must be at least 0, got {categories}")
    cdef Py_ssize_t depth = width // max(columns, 1)
    out = output("out", out, number, categories, depth)
    apart("out", out, "x", x)
    apart("out", out, "grad_output", grad_output)
    cdef fastnn_call call = new_call(rows, columns, 0, columns)
    call.size[3], call.size[4] = categories, depth
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_embedding_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * (rows * width + categories * depth)))
    return out


def scale_rows(x, weights=None, *, factor=1.0, out=None, workers=None):
    """factor * weights[:, None] * x; x of shape (rows, width), weights of shape (rows,) or None."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    cdef fastnn_call call = new_call(rows, columns, 0, 0, 0, factor)
    out = output("out", out, number, rows, columns)
    apart("out", out, "x", x)
    if weights is not None:
        require("weights", weights, number, rows, VECTOR)
        apart("out", out, "weights", weights)
        call.operand[1] = cnp.PyArray_DATA(weights)
    call.operand[0], call.operand[2] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_scale_rows, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * columns))
    return out


# --- columns and rows -------------------------------------------------------------------------

_PARTS = ["arrays[" + str(i) + "]" for i in range(engine.MAX_INPUTS_OF_CONCATENATE)]


def concatenate(arrays, *, out=None, workers=None):
    """Up to six arrays of shape (rows, any) side by side."""
    cdef int most = engine.MAX_INPUTS_OF_CONCATENATE
    if not 1 <= len(arrays) <= most:
        raise ValueError(f"arrays must be 1 to {most} arrays, got {len(arrays)}")
    cdef int number = type_of("arrays[0]", arrays[0])
    cdef Py_ssize_t columns = 0, rows = ANY
    for i, array in enumerate(arrays):
        require(_PARTS[i], array, number, rows, ANY)
        rows = cnp.PyArray_DIM(array, 0)
        columns += cnp.PyArray_DIM(array, 1)
    out = output("out", out, number, rows, columns)
    for i, array in enumerate(arrays):
        apart("out", out, _PARTS[i], array)
    cdef fastnn_call call = new_call(rows)
    cdef int part
    for part in range(len(arrays)):
        call.size[part] = cnp.PyArray_DIM(arrays[part], 1)
        call.operand[part] = cnp.PyArray_DATA(arrays[part])
    call.operand[most] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_concatenate, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * columns))
    return out


def slice_columns(x, Py_ssize_t first, Py_ssize_t columns, *, out=None, workers=None):
    """x[:, first:first + columns] as a new array."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    if first < 0 or columns < 0 or first > width or columns > width - first:
        raise ValueError(f"{columns} columns from {first} on lie outside x with {width}")
    out = output("out", out, number, rows, columns)
    apart("out", out, "x", x)
    cdef fastnn_call call = new_call(rows, width, first, columns)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    # A copy is as long as its bytes; strided ones come at half the speed of whole arrays.
    launch(FASTNN_KERNEL_slice_columns, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK / sizeof(float) * cnp.PyArray_NBYTES(out)))
    return out


_SOURCES = {np.dtype(name): number for number, name in enumerate(
    ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
     "int64"))}


_SOURCE_TYPES = {dtype.num: number for dtype, number in _SOURCES.items()}
# long and long long are two types of one size
_SOURCE_TYPES |= {np.dtype(name).num: _SOURCES[np.dtype(name)]
                  for name in ("longlong", "ulonglong", "long", "ulong", "intc", "uintc")
                  if np.dtype(name) in _SOURCES}
_TARGETS = {key: np.dtype(name).num for name in ("float32", "float64", "int32")
            for key in (name, np.dtype(name), np.dtype(name).type)}


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
    cdef int kind = _SOURCE_TYPES.get(cnp.PyArray_TYPE(source), -1) if (
        cnp.PyArray_Check(source) and cnp.PyArray_ISNOTSWAPPED(source)) else -1
    if kind < 0:
        raise TypeError(f"source must be a float or integer array, got "
                        f"{getattr(source, 'dtype', type(source).__name__)}")
    if (cnp.PyArray_NDIM(source) != 2 or not cnp.PyArray_ISALIGNED(source)
            or (cnp.PyArray_DIM(source, 1) > 1
                and cnp.PyArray_STRIDE(source, 1) != cnp.PyArray_ITEMSIZE(source))):
        raise ValueError(f"source must have shape (any, width) with contiguous, aligned rows, "
                         f"got shape {source.shape} and strides {source.strides}")
    cdef int number = _TARGETS.get(dtype, -1)
    if number < 0:
        raise ValueError(f"dtype must be 'float32', 'float64' or 'int32', got {dtype!r}")
    cdef Py_ssize_t available = cnp.PyArray_DIM(source, 0), width = cnp.PyArray_DIM(source, 1)
    cdef Py_ssize_t rows = available, i
    cdef const int64_t *numbers = NULL
    if order is not None:
        require("order", order, cnp.NPY_INT64, ANY, VECTOR)
        rows = cnp.PyArray_DIM(order, 0)
        numbers = <const int64_t *>cnp.PyArray_DATA(order)
        for i in range(rows):
            if not 0 <= numbers[i] < available:
                raise ValueError(f"order must lie in [0, {available}), got {numbers[i]} at {i}")
    out = output("out", out, number, rows, width)
    apart("out", out, "source", source)
    apart("out", out, "order", order)
    cdef fastnn_call call = new_call(rows, width, cnp.PyArray_STRIDE(source, 0),
                                     number == cnp.NPY_INT32, kind)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(source), <void *>numbers
    call.operand[2] = cnp.PyArray_DATA(out)
    if rows:
        launch(FASTNN_KERNEL_gather, &call, number == cnp.NPY_DOUBLE,
               team(workers, ELEMENT_WORK * rows * width))
    return out


# --- losses and metrics -----------------------------------------------------------------------

cdef int _loss(int kernel, const real[:, ::1] prediction, const real[:, ::1] target,
               real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials, int row,
               double parameter, int workers) except -1:
    """Kernels that write a number for each row, from a target of the prediction's shape."""
    cdef fastnn_call call = new_call(prediction.shape[0], prediction.shape[1], 0, 0, row,
                                     parameter)
    call.operand[0], call.operand[1] = matrix(prediction), matrix(target)
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, &call, real is double, workers)


cdef int _label_loss(int kernel, const real[:, ::1] scores, const int32_t[::1] labels,
                     real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials,
                     double parameter, int workers) except -1:
    """The same, from class labels."""
    cdef fastnn_call call = new_call(scores.shape[0], scores.shape[1], 0, 0, 0, parameter)
    call.operand[0] = matrix(scores)
    call.operand[1] = <void *>&labels[0] if labels.shape[0] else NULL
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, &call, real is double, workers)


cdef int from_rows(int kernel, scores, target, losses, grad, exponentials, int row,
                   double parameter, workers) except -1:
    """Check and run one of those two; int32 targets are class labels."""
    cdef int number = cnp.PyArray_TYPE(scores)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(scores, 0), columns = cnp.PyArray_DIM(scores, 1)
    cdef int members = team(workers, ELEMENT_WORK * cnp.PyArray_SIZE(scores))
    cdef const int32_t *labels
    cdef Py_ssize_t i
    apart("out", losses, "scores", scores)
    if cnp.PyArray_Check(target) and cnp.PyArray_TYPE(target) == cnp.NPY_INT32:
        require("target", target, cnp.NPY_INT32, rows, VECTOR)
        apart("out", losses, "target", target)
        labels = <const int32_t *>cnp.PyArray_DATA(target)
        for i in range(rows):
            if not 0 <= labels[i] < columns:
                raise ValueError(f"target must lie in [0, {columns}), got {labels[i]} at {i}")
        if number == cnp.NPY_FLOAT:
            return _label_loss[float](kernel, scores, target, losses, grad, exponentials,
                                      parameter, members)
        return _label_loss[double](kernel, scores, target, losses, grad, exponentials, parameter,
                                   members)
    require("target", target, number, rows, columns)
    apart("out", losses, "target", target)
    if number == cnp.NPY_FLOAT:
        return _loss[float](kernel, scores, target, losses, grad, exponentials, row, parameter,
                            members)
    return _loss[double](kernel, scores, target, losses, grad, exponentials, row, parameter,
                         members)


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
    row, default = _row("loss", name)
    cdef int number = type_of("prediction", prediction)
    require("prediction", prediction, number, ANY, ANY)
    require("target", target, number, prediction.shape[0], prediction.shape[1])
    losses = np.empty(prediction.shape[0], prediction.dtype)
    grad = np.empty_like(prediction) if gradient else None
    from_rows(FASTNN_KERNEL_elementwise_loss, prediction, target, losses, grad, None, row,
              default if parameter is None else parameter, workers)
    return losses, grad


def softmax_crossentropy(logits, target, *, label_smoothing=0.0, is_divergence=False,
                         gradient=True, workers=None):
    """Cross-entropy of softmax(logits) for each row, and its gradient by the logits.

    Parameters
    ----------
    logits : ndarray, shape (rows, classes >= 1)
    target : ndarray of int32, shape (rows,), or of probabilities, shape (rows, classes)
    label_smoothing : float, default 0
        How far the target is taken towards all classes being alike.
    is_divergence : bool, default False
        Take the entropy of the probabilities away, which leaves Kullback and Leibler's.
    gradient : bool, default True

    Returns
    -------
    losses : ndarray, shape (rows,)
    gradient : ndarray, shape (rows, classes), or None
        Of the mean over all rows.
    """
    cdef int number = type_of("logits", logits)
    require("logits", logits, number, ANY, ANY)
    if logits.shape[1] == 0:
        raise ValueError(f"logits must have at least one column, got shape {logits.shape}")
    losses = np.empty(logits.shape[0], logits.dtype)
    grad = np.empty_like(logits) if gradient else None
    exponentials = None if gradient else np.empty_like(logits)
    from_rows(FASTNN_KERNEL_softmax_crossentropy, logits, target, losses, grad,
              exponentials, 2 if is_divergence else 1, label_smoothing, workers)
    return losses, grad


def categorical_accuracy(scores, target, *, k=1, out=None, workers=None):
    """1 where the score of a row's label is among its `k` largest, else 0; shape (rows,).

    `target` is int32 labels of shape (rows,) or probabilities of shape (rows, classes).
    """
    cdef int number = type_of("scores", scores)
    require("scores", scores, number, ANY, ANY)
    if cnp.PyArray_DIM(scores, 1) == 0:
        raise ValueError(f"scores must have at least one column, got shape {scores.shape}")
    hits = output("out", out, number, cnp.PyArray_DIM(scores, 0), VECTOR)
    from_rows(FASTNN_KERNEL_categorical_accuracy, scores, target, hits, None, None, 1,
              k, workers)
    return hits


def binary_accuracy(scores, target, *, threshold=0.5, out=None, workers=None):
    """Share of outputs of a row on the right side of the threshold; shape (rows,)."""
    cdef int number = type_of("scores", scores)
    require("scores", scores, number, ANY, ANY)
    require("target", target, number, scores.shape[0], scores.shape[1])
    hits = output("out", out, number, cnp.PyArray_DIM(scores, 0), VECTOR)
    from_rows(FASTNN_KERNEL_binary_accuracy, scores, target, hits, None, None, 0,
              threshold, workers)
    return hits


def mean(x, *, workers=None):
    """Mean of x of shape (rows,), summed in double from the first to the last."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, VECTOR)
    cdef double result = 0
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), &result
    launch(FASTNN_KERNEL_mean, &call, number == cnp.NPY_DOUBLE, team(workers, 0))
    return result


def accumulate(values, *, weight=1.0, total=None, workers=None):
    """total + weight * sum(values), of float64 values of shape (count,); total 0 if None."""
    require("values", values, cnp.NPY_DOUBLE, ANY, VECTOR)
    cdef double result = 0 if total is None else total
    cdef fastnn_call call = new_call(0, cnp.PyArray_DIM(values, 0), 0, 0, total is not None, weight)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(values), &result
    launch(FASTNN_KERNEL_accumulate, &call, True, team(workers, 0))
    return result


# --- updates ----------------------------------------------------------------------------------

def squared_norm(gradients, *, out=None, workers=None):
    """Sums of squares of chunks of `NORM_CHUNK` elements, as float64."""
    cdef int number = type_of("gradients", gradients)
    require("gradients", gradients, number, ANY, VECTOR)
    cdef Py_ssize_t count = cnp.PyArray_DIM(gradients, 0)
    partial = output("out", out, cnp.NPY_DOUBLE, (count + CHUNK - 1) // CHUNK, VECTOR)
    apart("out", partial, "gradients", gradients)
    cdef fastnn_call call = new_call(0, count)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(gradients), cnp.PyArray_DATA(partial)
    launch(FASTNN_KERNEL_squared_norm, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * count))
    return partial


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
    row, slots = _row("optimizer", name)
    cdef int number = type_of("parameters", parameters)
    require("parameters", parameters, number, ANY, VECTOR)
    cdef Py_ssize_t count = cnp.PyArray_DIM(parameters, 0)
    require("gradients", gradients, number, count, VECTOR)
    require("state", state, number, slots, count)
    for label, array in (("parameters", parameters), ("state", state)):
        writeable(label, array)
    apart("parameters", parameters, "gradients", gradients)
    apart("state", state, "parameters", parameters)
    apart("state", state, "gradients", gradients)
    cdef fastnn_call call = new_call(0, count, count, count)
    set_optimizer(&call, row, name, learning_rate, step, hyper_parameters, clipvalue,
                  global_clipnorm, weight_decay)
    partial = None if global_clipnorm is None else squared_norm(gradients, workers=workers)
    cdef int members = team(workers, ELEMENT_WORK * count)
    if number == cnp.NPY_FLOAT:
        _update[float](&call, parameters, gradients, state, partial, members)
    else:
        _update[double](&call, parameters, gradients, state, partial, members)


cdef int set_optimizer(fastnn_call *call, int row, name, double learning_rate, double step,
                       hyper_parameters, clipvalue, global_clipnorm,
                       double weight_decay) except -1:
    """Fill in what an update takes besides its arrays."""
    cdef int i
    names = _HYPER_PARAMETERS[name]
    if len(hyper_parameters) != len(names):
        raise ValueError(f"hyper_parameters must be ({', '.join(names)}), "
                         f"got {len(hyper_parameters)} numbers")
    call.variant = row
    call.scalar[0], call.scalar[1] = learning_rate, step
    call.scalar[2] = INFINITY if clipvalue is None else clipvalue
    call.scalar[3] = INFINITY if global_clipnorm is None else global_clipnorm
    call.scalar[4] = weight_decay
    call.scalar[5] = 1
    for i in range(len(hyper_parameters)):
        call.scalar[6 + i] = hyper_parameters[i]
    return 0


cdef int _update(fastnn_call *call, real[::1] parameters, const real[::1] gradients,
                 real[:, ::1] state, const double[::1] partial, int workers) except -1:
    call.operand[0], call.operand[1] = vector[real](parameters), vector(gradients)
    call.operand[2] = matrix[real](state)
    call.operand[3] = vector(partial)
    return launch(FASTNN_KERNEL_update, call, real is double, workers)


def penalty(parameter, gradient=None, *, l1=0.0, l2=0.0, workers=None):
    """l1 |p| + l2 p^2 in sums of `NORM_CHUNK` elements; their derivative is added to `gradient`.

    Parameters
    ----------
    parameter : ndarray, shape (count,)
    gradient : ndarray, shape (count,), optional
        Changed in place.
    l1, l2 : float, default 0
    workers : int, optional

    Returns
    -------
    ndarray of float64
    """
    cdef int number = type_of("parameter", parameter)
    require("parameter", parameter, number, ANY, VECTOR)
    cdef Py_ssize_t count = cnp.PyArray_DIM(parameter, 0)
    cdef fastnn_call call = new_call(0, count, 0, 0, 0, l1)
    call.scalar[1] = l2
    if gradient is not None:
        require("gradient", gradient, number, count, VECTOR)
        writeable("gradient", gradient)
        apart("gradient", gradient, "parameter", parameter)
        call.operand[1] = cnp.PyArray_DATA(gradient)
    partial = np.empty((count + CHUNK - 1) // CHUNK)
    call.operand[0], call.operand[2] = cnp.PyArray_DATA(parameter), cnp.PyArray_DATA(partial)
    launch(FASTNN_KERNEL_penalty, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * count))
    return partial


def moving_average(average, value, *, momentum, workers=None):
    """average = momentum * average + (1 - momentum) * value, in place; both of shape (count,)."""
    cdef int number = type_of("average", average)
    require("average", average, number, ANY, VECTOR)
    cdef Py_ssize_t count = cnp.PyArray_DIM(average, 0)
    require("value", value, number, count, VECTOR)
    writeable("average", average)
    apart("average", average, "value", value)
    cdef fastnn_call call = new_call(0, count)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(average), cnp.PyArray_DATA(value)
    call.scalar[2] = momentum
    launch(FASTNN_KERNEL_moving_average, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * count))


def kernel_gradient_update(name, x, grad_output, kernel, bias, state, *, learning_rate, step,
                           hyper_parameters=(), clipvalue=None, weight_decay=0.0, workers=None):
    """Update a dense layer's kernel and bias in place, by gradients that are not kept.

    Parameters
    ----------
    name : str
        A row of `OPTIMIZERS`.
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), or None
    state : ndarray, shape (slots, inputs * units + units)
        Of the kernel, then of the bias; without a bias it ends with the kernel's.
    learning_rate, step, hyper_parameters, clipvalue, weight_decay
        As in `update`.
    workers : int, optional

    """
    row, slots = _row("optimizer", name)
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("grad_output", grad_output, number, x.shape[0], ANY)
    cdef Py_ssize_t inputs = cnp.PyArray_DIM(x, 1), units = cnp.PyArray_DIM(grad_output, 1)
    cdef Py_ssize_t count = inputs * units + (0 if bias is None else units)
    require("kernel", kernel, number, inputs, units)
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
    require("state", state, number, slots, count)
    operands = {"x": x, "grad_output": grad_output}
    for label, array in (("kernel", kernel), ("bias", bias), ("state", state)):
        if array is None:
            continue
        writeable(label, array)
        for other in operands:
            apart(label, array, other, operands[other])
        operands[label] = array
    by_kernel = output("out", None, number, inputs, units)
    by_bias = None if bias is None else output("out", None, number, units, VECTOR)
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), inputs, units, count)
    set_optimizer(&call, row, name, learning_rate, step, hyper_parameters, clipvalue, None,
                  weight_decay)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2], call.operand[4] = cnp.PyArray_DATA(by_kernel), cnp.PyArray_DATA(kernel)
    if slots:
        call.operand[5] = cnp.PyArray_DATA(state)
    if bias is not None:
        call.operand[3], call.operand[6] = cnp.PyArray_DATA(by_bias), cnp.PyArray_DATA(bias)
    if bias is not None and slots:
        call.operand[7] = cnp.PyArray_BYTES(state) + inputs * units * cnp.PyArray_ITEMSIZE(state)
    launch(FASTNN_KERNEL_kernel_gradient_update, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))


# --- products of sparse rows ------------------------------------------------------------------

cdef int require_csr(fastnn_call *call, fastnn_entries *entries, values, columns, indptr, order,
                     int number, Py_ssize_t inputs) except -1:
    """Check a CSR matrix of so many columns; fill in its operands and the number of rows."""
    cdef const int32_t *column
    cdef const int64_t *first
    cdef const int64_t *numbers
    cdef Py_ssize_t i, e, available, count
    require("values", values, number, ANY, VECTOR)
    count = cnp.PyArray_DIM(values, 0)
    require("columns", columns, cnp.NPY_INT32, count, VECTOR)
    require("indptr", indptr, cnp.NPY_INT64, ANY, VECTOR)
    available = call.rows = cnp.PyArray_DIM(indptr, 0) - 1
    if available < 0:
        raise ValueError("indptr must have one entry more than there are rows, got none")
    first, column = <const int64_t *>cnp.PyArray_DATA(indptr), <const int32_t *>cnp.PyArray_DATA(
        columns)
    if first[0] != 0 or first[available] > count:
        raise ValueError(f"indptr must run from 0 to at most {count}, got {first[0]} to "
                         f"{first[available]}")
    for i in range(available):
        if first[i + 1] < first[i] or first[i + 1] > count:
            raise ValueError(f"indptr must ascend, got {first[i]}, {first[i + 1]} at {i}")
        for e in range(first[i], first[i + 1]):
            if not 0 <= column[e] < inputs:
                raise ValueError(f"columns must lie in [0, {inputs}), got {column[e]} at {e}")
            if e > first[i] and column[e] <= column[e - 1]:
                raise ValueError(f"columns must ascend in each row, got {column[e - 1]}, "
                                 f"{column[e]} in row {i}")
    if order is not None:
        require("order", order, cnp.NPY_INT64, ANY, VECTOR)
        call.rows = cnp.PyArray_DIM(order, 0)
        numbers = <const int64_t *>cnp.PyArray_DATA(order)
        for i in range(call.rows):
            if not 0 <= numbers[i] < available:
                raise ValueError(f"order must lie in [0, {available}), got {numbers[i]} at {i}")
        call.operand[2] = cnp.PyArray_DATA(order)
    entries.values, entries.columns = cnp.PyArray_DATA(values), column
    call.operand[0], call.operand[1] = entries, <void *>first
    call.size[0] = inputs
    return 0


cdef int apart_from_csr(str name, array, values, columns, indptr, order) except -1:
    apart(name, array, "values", values)
    apart(name, array, "columns", columns)
    apart(name, array, "indptr", indptr)
    return apart(name, array, "order", order)


cdef double sparse_work(values, Py_ssize_t units) except -1:
    return <double>units * cnp.PyArray_SIZE(values)


def sparse_affine(values, columns, indptr, order, kernel, bias=None, *, activation="linear",
                  parameter=None, out=None, preactivation=None, workers=None):
    """f(x @ kernel + bias), x a sparse matrix in compressed rows (CSR).

    Parameters
    ----------
    values : ndarray, shape (entries,)
    columns : ndarray of int32, shape (entries,)
        Ascending in each row.
    indptr : ndarray of int64, shape (rows of the matrix + 1,)
        Where the entries of each row begin.
    order : ndarray of int64, shape (rows,), or None
        Which rows to take; None takes all as they come.
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), optional
    activation, parameter, preactivation
        As in `affine`.
    out : ndarray, shape (rows, units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, units)
    """
    cdef int number = type_of("values", values)
    cdef fastnn_entries entries
    cdef fastnn_call call = new_call(0)
    require("kernel", kernel, number, ANY, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(kernel, 1)
    require_csr(&call, &entries, values, columns, indptr, order, number, kernel.shape[0])
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
        call.operand[4] = cnp.PyArray_DATA(bias)
    out = output("out", out, number, call.rows, units)
    apart_from_csr("out", out, values, columns, indptr, order)
    apart("out", out, "kernel", kernel)
    apart("out", out, "bias", bias)
    if preactivation is not None:
        second_output("preactivation", preactivation, number, call.rows, units,
                      (("kernel", kernel), ("bias", bias), ("values", values), ("out", out)))
        call.operand[6] = cnp.PyArray_DATA(preactivation)
    call.variant, default = _row("activation", activation)
    call.scalar[0] = default if parameter is None else parameter
    call.size[1] = units
    call.operand[3], call.operand[5] = cnp.PyArray_DATA(kernel), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_sparse_affine, &call, number == cnp.NPY_DOUBLE,
           team(workers, sparse_work(values, units)))
    return out


def sparse_kernel_gradient(values, columns, indptr, order, grad_output, Py_ssize_t inputs, *,
                           out=None, bias_out=None, workers=None):
    """x.T @ grad_output, x a sparse matrix in compressed rows (CSR).

    Parameters
    ----------
    values, columns, indptr, order
        As in `sparse_affine`.
    grad_output : ndarray, shape (rows, units)
    inputs : int
        Columns of x.
    out : ndarray, shape (inputs, units), optional
    bias_out : ndarray, shape (units,), optional
        Where the sum of grad_output over its rows goes.
    workers : int, optional

    Returns
    -------
    ndarray, shape (inputs, units)
    """
    cdef int number = type_of("values", values)
    cdef fastnn_entries entries
    cdef fastnn_call call = new_call(0)
    require_csr(&call, &entries, values, columns, indptr, order, number, inputs)
    require("grad_output", grad_output, number, call.rows, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(grad_output, 1)
    out = output("out", out, number, inputs, units)
    apart_from_csr("out", out, values, columns, indptr, order)
    apart("out", out, "grad_output", grad_output)
    if bias_out is not None:
        second_output("bias_out", bias_out, number, units, VECTOR,
                      (("values", values), ("grad_output", grad_output), ("out", out)))
        call.operand[5] = cnp.PyArray_DATA(bias_out)
    call.size[1] = units
    call.operand[3], call.operand[4] = cnp.PyArray_DATA(grad_output), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_sparse_kernel_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, sparse_work(values, units)))
    return out


def sparse_kernel_gradient_update(name, values, columns, indptr, order, grad_output, kernel, bias,
                                  state, *, learning_rate, step, hyper_parameters=(),
                                  clipvalue=None, weight_decay=0.0, workers=None):
    """Update a dense layer's kernel and bias in place, x a sparse matrix (CSR).

    Parameters
    ----------
    values, columns, indptr, order
        As in `sparse_affine`.
    name, grad_output, kernel, bias, state
        As in `kernel_gradient_update`.
    learning_rate, step, hyper_parameters, clipvalue, weight_decay
        As in `update`.
    workers : int, optional
    """
    row, slots = _row("optimizer", name)
    cdef int number = type_of("values", values)
    cdef fastnn_entries entries
    cdef fastnn_call call = new_call(0)
    require("kernel", kernel, number, ANY, ANY)
    cdef Py_ssize_t inputs = cnp.PyArray_DIM(kernel, 0), units = cnp.PyArray_DIM(kernel, 1)
    cdef Py_ssize_t count = inputs * units + (0 if bias is None else units)
    require_csr(&call, &entries, values, columns, indptr, order, number, inputs)
    require("grad_output", grad_output, number, call.rows, units)
    if bias is not None:
        require("bias", bias, number, units, VECTOR)
    require("state", state, number, slots, count)
    operands = {"grad_output": grad_output}
    for label, array in (("kernel", kernel), ("bias", bias), ("state", state)):
        if array is None:
            continue
        writeable(label, array)
        apart_from_csr(label, array, values, columns, indptr, order)
        for other in operands:
            apart(label, array, other, operands[other])
        operands[label] = array
    set_optimizer(&call, row, name, learning_rate, step, hyper_parameters, clipvalue, None,
                  weight_decay)
    call.size[1], call.size[2] = units, count
    call.operand[3], call.operand[4] = cnp.PyArray_DATA(grad_output), cnp.PyArray_DATA(kernel)
    if slots:
        call.operand[5] = cnp.PyArray_DATA(state)
    if bias is not None:
        call.operand[6] = cnp.PyArray_DATA(bias)
    if bias is not None and slots:
        call.operand[7] = cnp.PyArray_BYTES(state) + inputs * units * cnp.PyArray_ITEMSIZE(state)
    launch(FASTNN_KERNEL_sparse_kernel_gradient_update, &call, number == cnp.NPY_DOUBLE,
           team(workers, sparse_work(values, units) + ELEMENT_WORK * count))


def csr_gather(values, columns, indptr, order, Py_ssize_t inputs, *, out=None, workers=None):
    """Rows of a sparse matrix in compressed rows (CSR), with their zeros.

    Parameters
    ----------
    values, columns, indptr, order
        As in `sparse_affine`.
    inputs : int
        Columns of the matrix.
    out : ndarray, shape (rows, inputs), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, inputs)
    """
    cdef int number = type_of("values", values)
    cdef fastnn_entries entries
    cdef fastnn_call call = new_call(0)
    require_csr(&call, &entries, values, columns, indptr, order, number, inputs)
    out = output("out", out, number, call.rows, inputs)
    apart_from_csr("out", out, values, columns, indptr, order)
    call.operand[3] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_csr_gather, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * call.rows * inputs))
    return out


# --- limits -----------------------------------------------------------------------------------

cdef int repeat(int kernel, x, y, Py_ssize_t times, double factor, double addend,
                workers) except -1:
    """Run one of the two on arrays that have been checked."""
    if times < 0:
        raise ValueError(f"times must be at least 0, got {times}")
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1), times, 0, 0,
                                     factor)
    call.scalar[1] = addend
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    return launch(kernel, &call, cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE,
                  team(workers, <double>times * cnp.PyArray_SIZE(x)))


def multiply_add(x, *, times=1, factor=1.0, addend=0.0, out=None, workers=None):
    """x * factor + addend, and that again, `times` times; x of shape (rows, width).

    It works in registers, and finds how many multiply-adds the machine can do.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    out = output("out", out, number, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
    apart("out", out, "x", x)
    repeat(FASTNN_KERNEL_multiply_add, x, out, times, factor, addend, workers)
    return out


def stream(x, y, *, times=1, factor=1.0, workers=None):
    """y = y * factor + x in place, `times` passes; both of shape (rows, width).

    Each pass reads two arrays and writes one, and finds how fast the machine can do that.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    if y is None:
        raise TypeError("y must be a NumPy array, got NoneType")
    output("y", y, number, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
    apart("y", y, "x", x)
    repeat(FASTNN_KERNEL_stream, x, y, times, factor, 0, workers)
