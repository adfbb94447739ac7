# Products: what a dense layer computes, forward and backward.
# Part of kernels.pyx, which includes it.

def affine(x, kernel, bias=None, *, activation="linear", parameter=None, out=None,
           preactivation=None, precision="as given", workers=None):
    """f(x @ kernel + bias).

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), optional
    activation : str, default "linear"
        A row of `ACTIVATIONS`.
    parameter : float, optional
        The activation's parameter; its row holds the default.
    out, preactivation : ndarray, shape (rows, units), optional
        Receive the result and x @ kernel + bias.
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds x and kernel to bfloat16.
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
    cdef Py_ssize_t rounding = precision_of(precision, number)
    if number == cnp.NPY_FLOAT:
        _affine[float](x, kernel, bias, out, preactivation, row, default, rounding, members)
    else:
        _affine[double](x, kernel, bias, out, preactivation, row, default, rounding, members)
    return out


cdef int _affine(const real[:, ::1] x, const real[:, ::1] kernel, const real[::1] bias,
                 real[:, ::1] out, real[:, ::1] preactivation, int row, double parameter,
                 Py_ssize_t rounding, int workers) except -1:
    cdef fastnn_call call = new_call(x.shape[0], x.shape[1], kernel.shape[1], rounding, row,
                                     parameter)
    call.operand[0], call.operand[1], call.operand[2] = matrix(x), matrix(kernel), vector(bias)
    call.operand[3] = matrix[real](out)
    call.operand[4] = matrix[real](preactivation)
    return launch(FASTNN_KERNEL_affine, &call, real is double, workers)


def affine_halves(x, kernel, *, out=None, precision="as given", workers=None):
    """x @ kernel as two sums, one over the first and one over the second half of the inputs.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    kernel : ndarray, shape (inputs, units)
    out : ndarray, shape (rows, 2 * units), optional
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds x and kernel to bfloat16.
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, 2 * units)
        The sums over x[:, :middle], followed by those over x[:, middle:], where middle is half of
        the inputs, rounded up to a multiple of 16.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    require("kernel", kernel, number, x.shape[1], ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), inputs = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t units = cnp.PyArray_DIM(kernel, 1)
    out = output("out", out, number, rows, 2 * units)
    apart("out", out, "x", x)
    apart("out", out, "kernel", kernel)
    cdef fastnn_call call = new_call(rows, inputs, units, precision_of(precision, number))
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
        The activation's parameter; its row holds the default.
    out, preactivation : ndarray, shape (rows, units), optional
        Receive the result and the input of f.
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
                   out=None, precision="as given", workers=None):
    """(grad_output @ kernel.T) * f'(saved), the gradient with respect to a dense layer's input.

    Parameters
    ----------
    grad_output : ndarray, shape (rows, units)
    kernel : ndarray, shape (inputs, units)
    saved : ndarray, shape (rows, inputs), optional
        What the previous layer's activation keeps; None returns the product unchanged.
    activation : str, default "linear"
    parameter : float, optional
    out : ndarray, shape (rows, inputs), optional
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds grad_output and kernel to bfloat16.
        The same holds for the other gradients, unless there are at most 8 rows.
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
    cdef Py_ssize_t rounding = precision_of(precision, number)
    if number == cnp.NPY_FLOAT:
        _input_gradient[float](grad_output, kernel, saved, out, row, default, rounding, members)
    else:
        _input_gradient[double](grad_output, kernel, saved, out, row, default, rounding, members)
    return out


cdef int _input_gradient(const real[:, ::1] grad, const real[:, ::1] kernel,
                         const real[:, ::1] saved, real[:, ::1] out, int row, double parameter,
                         Py_ssize_t rounding, int workers) except -1:
    cdef fastnn_call call = new_call(grad.shape[0], kernel.shape[0], kernel.shape[1], rounding, row,
                                     parameter)
    call.operand[0], call.operand[1], call.operand[2] = matrix(grad), matrix(kernel), matrix(saved)
    call.operand[3] = matrix[real](out)
    return launch(FASTNN_KERNEL_input_gradient, &call, real is double, workers)


def kernel_gradient(x, grad_output, *, out=None, bias_out=None, precision="as given",
                    workers=None):
    """x.T @ grad_output, the gradient with respect to the kernel of a dense layer.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    out : ndarray, shape (inputs, units), optional
    bias_out : ndarray, shape (units,), optional
        Receives grad_output.sum(axis=0).
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds x and grad_output to bfloat16.
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
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), inputs, units,
                                     precision_of(precision, number))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2] = cnp.PyArray_DATA(out)
    if bias_out is not None:
        second_output("bias_out", bias_out, number, units, VECTOR,
                      (("x", x), ("grad_output", grad_output), ("out", out)))
        call.operand[3] = cnp.PyArray_DATA(bias_out)
    launch(FASTNN_KERNEL_kernel_gradient, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))
    return out


def kernel_gradient_halves(x, grad_output, *, precision="as given", workers=None):
    """x.T @ grad_output and grad_output.sum(axis=0) over two halves of a large batch.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds x and grad_output to bfloat16.
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
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), inputs, units,
                                     precision_of(precision, number))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(grad_output)
    call.operand[2], call.operand[3] = cnp.PyArray_DATA(by_kernel), cnp.PyArray_DATA(by_bias)
    call.operand[4] = cnp.PyArray_DATA(second)
    launch(FASTNN_KERNEL_kernel_gradient_halves, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))
    return by_kernel, by_bias, second


def add_gradient_half(kernel, bias, second, Py_ssize_t rows, *, workers=None):
    """Add the second half's gradients that `kernel_gradient_halves` returned, in place.

    Parameters
    ----------
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), or None
    second : ndarray, shape (inputs * units + units,)
    rows : int
        Number of rows of the batch; nothing is added below 128.
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
    """grad_output.sum(axis=0), the gradient with respect to the bias of a dense layer.

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
    # The choice depends on the sizes alone, so that the bits do not depend on the workers.
    if rows > SUM_CHUNK and cnp.PyArray_NBYTES(grad_output) >= CHUNKED_SUM_BYTES:
        partial = np.empty(((rows + SUM_CHUNK - 1) // SUM_CHUNK, units), grad_output.dtype)
        sum_rows(grad_output, partial, SUM_CHUNK, is_double, workers)
    sum_rows(partial, out, 0, is_double, workers)
    return out


# Rows that one worker sums as a chunk, in arrays that exceed its cache.
cdef enum:
    SUM_CHUNK = 64
    CHUNKED_SUM_BYTES = 1 << 20


cdef int sum_rows(cnp.ndarray x, cnp.ndarray sums, Py_ssize_t chunk, bint is_double,
                  workers) except -1:
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1), chunk)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(sums)
    return launch(FASTNN_KERNEL_bias_gradient, &call, is_double,
                  team(workers, ELEMENT_WORK * cnp.PyArray_SIZE(x)))
