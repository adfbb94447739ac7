# Layers with parameters of their own: slopes, normalization, tables.
# Part of kernels.pyx, which includes it.

cdef int slopes_of(slope, int number, Py_ssize_t width) except -1:
    """Check slopes: either one, or one per column."""
    require("slope", slope, number, ANY, VECTOR)
    cdef Py_ssize_t slopes = cnp.PyArray_DIM(slope, 0)
    if slopes != 1 and slopes != width:
        raise ValueError(f"slope must have shape (1,) or ({width},), got ({slopes},)")
    return 0


def prelu(x, slope, grad_output=None, *, out=None, workers=None):
    """x where x > 0, otherwise slope * x; or the gradient with respect to x.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    slope : ndarray, shape (width,) or (1,)
    grad_output : ndarray, shape (rows, width), optional
        If given, the result is grad_output where x > 0, otherwise slope * grad_output.
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
    """(min(x, 0) * grad_output).sum(axis=0), the gradient with respect to the slopes of `prelu`.

    Parameters
    ----------
    x, grad_output : ndarray, shape (rows, width)
    shared : bool, default False
        Whether all columns share one slope, so that the sum runs over all elements.
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
        Receives the mean and 1 / sqrt(variance + epsilon) of each row.
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
    """The gradient of `layer_normalization` with respect to x, from the statistics that it wrote.

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
    """The gradient of `layer_normalization` with respect to gamma, summed over the rows.

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
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with statistics for each column.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    gamma, beta : ndarray, shape (width,), optional
    mean, variance : ndarray, shape (width,), optional
        Both or neither; default: computed from the rows of x, the variance biased.
    epsilon : float, default 1e-3
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
        Or, if `mean` and `variance` were not given, a tuple of it and both of them.
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
        Whether mean and variance were computed from x, and so depend on it.
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
    """table[x]: the rows of the table for the categories of each row of x, concatenated.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
        Integers in [0, categories), stored in the table's dtype.
    table : ndarray, shape (categories, depth)
    out : ndarray, shape (rows, columns * depth), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns * depth)

    Raises
    ------
    ValueError
        x holds a number that is not a category; `out` is NaN there.
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


def select_member(x, member, Py_ssize_t members, *, is_gradient=False, out=None, workers=None):
    """The columns of the member of an ensemble that each row belongs to, or the gradient by x.

    Parameters
    ----------
    x : ndarray, shape (rows, members * columns); of the gradient, (rows, columns)
    member : ndarray, shape (rows, 1)
        Integers in [0, members), stored in the dtype of x.
    members : int
    is_gradient : bool, default False
    out : ndarray, optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns); of the gradient, (rows, members * columns)

    Raises
    ------
    ValueError
        There is no such member; `out` is NaN there.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("member", member, number, rows, 1)
    if members < 1 or (width % members and not is_gradient):
        raise ValueError(f"members must be a positive number that divides {width}, got {members}")
    cdef Py_ssize_t columns = width if is_gradient else width // members
    out = output("out", out, number, rows, columns * members if is_gradient else columns)
    apart("out", out, "x", x)
    apart("out", out, "member", member)
    cdef fastnn_call call = new_call(rows, members, columns, 0, bool(is_gradient))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(member)
    call.operand[2] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_select_member, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


def embedding_gradient(x, grad_output, Py_ssize_t categories, *, out=None, workers=None):
    """The gradient of `embedding` with respect to the table: the sum over each category.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
        Numbers that are not categories are ignored.
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
