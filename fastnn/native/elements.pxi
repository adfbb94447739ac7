# Kernels with one output per element, and kernels that move rows and columns.
# Part of kernels.pyx, which includes it.

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
    """Kernels that read two arrays and write a third, all of the same shape."""
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
    """grad_output * f'(x), where `saved` is x or f(x) as `ACTIVATIONS[name][0]` says."""
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
    """exp(x - max) divided by its sum, for each row of x of shape (rows, width >= 1)."""
    if type_of("x", x) and x.ndim == 2 and x.shape[1] == 0:
        raise ValueError(f"x must have at least one column, got shape {x.shape}")
    return map_one(FASTNN_KERNEL_softmax, x, out, 0, 0, workers)


def softmax_gradient(y, grad_output, *, out=None, workers=None):
    """y * (grad_output - sum(grad_output * y)), for each row; y is the softmax's output."""
    return map_two(FASTNN_KERNEL_softmax_gradient, "y", "grad_output", y, grad_output, out, 0, 0,
                   workers)


def log_softmax(x, *, out=None, workers=None):
    """x - max - log(sum(exp(x - max))), for each row of x of shape (rows, width >= 1)."""
    if type_of("x", x) and x.ndim == 2 and x.shape[1] == 0:
        raise ValueError(f"x must have at least one column, got shape {x.shape}")
    return map_one(FASTNN_KERNEL_log_softmax, x, out, 0, 0, workers)


def log_softmax_gradient(y, grad_output, *, out=None, workers=None):
    """grad_output - exp(y) * sum(grad_output), for each row; y is the output of log_softmax."""
    return map_two(FASTNN_KERNEL_log_softmax_gradient, "y", "grad_output", y, grad_output, out, 0,
                   0, workers)


def dropout(x, rate, *, seed=0, step=1, stream=0, out=None, workers=None):
    """x * mask / (1 - rate), with a Philox mask keyed by seed, step, stream and element.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    rate : float
        Fraction of elements dropped, in [0, 1).
    seed, step, stream : int
        Key and counter of the generator.
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


# --- columns and rows -------------------------------------------------------------------------

_PARTS = ["arrays[" + str(i) + "]" for i in range(engine.MAX_INPUTS_OF_CONCATENATE)]


def concatenate(arrays, *, out=None, workers=None):
    """Concatenate up to six arrays of shape (rows, any) along the columns."""
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
    """Return x[:, first:first + columns] as a new array."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    if first < 0 or columns < 0 or first > width or columns > width - first:
        raise ValueError(f"{columns} columns from {first} on lie outside x with {width}")
    out = output("out", out, number, rows, columns)
    apart("out", out, "x", x)
    cdef fastnn_call call = new_call(rows, width, first, columns)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    # The time of a copy is proportional to its bytes; strided copies run at half the speed.
    launch(FASTNN_KERNEL_slice_columns, &call, number == cnp.NPY_DOUBLE,
           team(workers, 2 * ELEMENT_WORK / sizeof(float) * cnp.PyArray_NBYTES(out)))
    return out


_SOURCES = {np.dtype(name): number for number, name in enumerate(
    ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
     "int64"))}


_SOURCE_TYPES = {dtype.num: number for dtype, number in _SOURCES.items()}
# long and long long are two types of the same size
_SOURCE_TYPES |= {np.dtype(name).num: _SOURCES[np.dtype(name)]
                  for name in ("longlong", "ulonglong", "long", "ulong", "intc", "uintc")
                  if np.dtype(name) in _SOURCES}
_TARGETS = {key: np.dtype(name).num for name in ("float32", "float64", "int32")
            for key in (name, np.dtype(name), np.dtype(name).type)}


def source_number(dtype):
    """Number of a source dtype of `gather` (enum fastnn_source), or None."""
    return _SOURCES.get(np.dtype(dtype))


def gather(source, order, *, dtype, out=None, workers=None):
    """source[order], converted to `dtype`.

    Parameters
    ----------
    source : ndarray, shape (any, width)
        float32, float64 or an integer type; rows may be strided.
    order : ndarray of int64, shape (rows,), optional
        Row numbers; None takes all rows in order.
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
