# Layers with functions that each column learns: parametric activations, scales, numbers as several.
# Part of kernels.pyx, which includes it.

cdef object run_columns(int kernel, list inputs, list outputs, sizes, int variant, double scalar,
                        double work, workers):
    """Run a kernel on arrays that have been checked; `inputs` and `outputs` are (name, array)."""
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(inputs[0][1], 0), 0, 0, 0, variant, scalar)
    cdef int place
    for place, size in enumerate(sizes):
        call.size[place] = size
    for i, (written, out) in enumerate(outputs):
        for name, array in inputs + outputs[:i]:
            apart(written, out, name, array)
    for place, (_, array) in enumerate(inputs + outputs):
        call.operand[place] = cnp.PyArray_DATA(array)
    launch(kernel, &call, cnp.PyArray_TYPE(inputs[0][1]) == cnp.NPY_DOUBLE, team(workers, work))
    made = tuple(out for _, out in outputs)
    return made[0] if len(made) == 1 else made


def parametric_activation(x, alpha, name, *, parameter=None, out=None, workers=None):
    """x + alpha * (f(x) - x), with an alpha for each column.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    alpha : ndarray, shape (width,)
    name : str
        f, a row of `ACTIVATIONS`.
    parameter : float, optional
        The parameter of f; default: that of its row.
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    row, default = _row("activation", name)
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("alpha", alpha, number, width, VECTOR)
    out = output("out", out, number, rows, width)
    return run_columns(FASTNN_KERNEL_parametric_activation, [("x", x), ("alpha", alpha)],
                       [("out", out)], [width], row, default if parameter is None else parameter,
                       ELEMENT_WORK * rows * width, workers)


def parametric_activation_gradient(x, alpha, grad_output, name, *, parameter=None, out=None,
                                   grad_alpha=None, workers=None):
    """The gradients of `parametric_activation` with respect to x and alpha.

    Parameters
    ----------
    x, grad_output : ndarray, shape (rows, width)
    alpha : ndarray, shape (width,)
    name : str
    parameter : float, optional
    out : ndarray, shape (rows, width), optional
    grad_alpha : ndarray, shape (width,), optional
    workers : int, optional

    Returns
    -------
    tuple of ndarray
        The gradients with respect to x, shape (rows, width), and to alpha, shape (width,).
    """
    row, default = _row("activation", name)
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("alpha", alpha, number, width, VECTOR)
    require("grad_output", grad_output, number, rows, width)
    out = output("out", out, number, rows, width)
    grad_alpha = output("grad_alpha", grad_alpha, number, width, VECTOR)
    return run_columns(FASTNN_KERNEL_parametric_activation_gradient,
                       [("x", x), ("alpha", alpha), ("grad_output", grad_output)],
                       [("out", out), ("grad_alpha", grad_alpha)], [width], row,
                       default if parameter is None else parameter, ELEMENT_WORK * rows * width,
                       workers)


def scale_gradient(x, grad_output, *, out=None, workers=None):
    """(x * grad_output).sum(axis=0), the gradient of x * scale with respect to the scale.

    Parameters
    ----------
    x, grad_output : ndarray, shape (rows, width)
    out : ndarray, shape (width,), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (width,)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, width)
    out = output("out", out, number, width, VECTOR)
    return run_columns(FASTNN_KERNEL_scale_gradient, [("x", x), ("grad_output", grad_output)],
                       [("out", out)], [width], 0, 0, ELEMENT_WORK * rows * width, workers)


cdef int waves_of(x, frequency, phase, kernel, int number, Py_ssize_t *waves,
                  Py_ssize_t *units) except -1:
    """Check the parameters of periodic embeddings and count waves and units."""
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t columns = cnp.PyArray_DIM(x, 1)
    require("frequency", frequency, number, columns, ANY)
    waves[0] = cnp.PyArray_DIM(frequency, 1)
    require("phase", phase, number, columns, waves[0])
    require("kernel", kernel, number, columns * waves[0], ANY)
    units[0] = cnp.PyArray_DIM(kernel, 1)
    if waves[0] * (units[0] + 2) + units[0] > engine.SCRATCH_VECTORS:
        raise ValueError(f"kernel must have at most {engine.SCRATCH_VECTORS} numbers for a "
                         f"column, counting two for each wave, got {waves[0]} waves of {units[0]} "
                         "units")
    return 0


def periodic_embedding(x, frequency, phase, kernel, bias, *, out=None, workers=None):
    """The cosines of each number, times a kernel of its column: numbers as several numbers.

    out[:, c, u] = sum over w of cos(2 pi (frequency[c, w] x[:, c] + phase[c, w])) kernel[c, w, u]
    + bias[c, u].

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
    frequency, phase : ndarray, shape (columns, waves)
    kernel : ndarray, shape (columns * waves, units)
    bias : ndarray, shape (columns, units)
    out : ndarray, shape (rows, columns * units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns * units)
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t waves, units
    waves_of(x, frequency, phase, kernel, number, &waves, &units)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("bias", bias, number, columns, units)
    out = output("out", out, number, rows, columns * units)
    return run_columns(FASTNN_KERNEL_periodic_embedding,
                       [("x", x), ("frequency", frequency), ("phase", phase), ("kernel", kernel),
                        ("bias", bias)], [("out", out)], [columns, waves, units], 0, 0,
                       ELEMENT_WORK * rows * columns * waves, workers)


def periodic_embedding_gradient(x, frequency, phase, kernel, grad_output, *, out=None,
                                grad_phase=None, grad_kernel=None, workers=None):
    """The gradients of `periodic_embedding` with respect to its parameters, except the bias.

    Parameters
    ----------
    x, frequency, phase, kernel
        As for `periodic_embedding`.
    grad_output : ndarray, shape (rows, columns * units)
    out, grad_phase, grad_kernel : ndarray, optional
        With the shapes of frequency, phase and kernel.
    workers : int, optional

    Returns
    -------
    tuple of ndarray
        The gradients with respect to frequency, phase and kernel.
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t waves, units
    waves_of(x, frequency, phase, kernel, number, &waves, &units)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, columns * units)
    out = output("out", out, number, columns, waves)
    grad_phase = output("grad_phase", grad_phase, number, columns, waves)
    grad_kernel = output("grad_kernel", grad_kernel, number, columns * waves, units)
    return run_columns(FASTNN_KERNEL_periodic_embedding_gradient,
                       [("x", x), ("frequency", frequency), ("phase", phase), ("kernel", kernel),
                        ("grad_output", grad_output)],
                       [("out", out), ("grad_phase", grad_phase), ("grad_kernel", grad_kernel)],
                       [columns, waves, units], 0, 0, 2 * ELEMENT_WORK * rows * columns * waves,
                       workers)


def periodic_embedding_input_gradient(x, frequency, phase, kernel, grad_output, *, out=None,
                                      workers=None):
    """The gradient of `periodic_embedding` with respect to x.

    Parameters
    ----------
    x, frequency, phase, kernel, grad_output
        As for `periodic_embedding_gradient`.
    out : ndarray, shape (rows, columns), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns)
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t waves, units
    waves_of(x, frequency, phase, kernel, number, &waves, &units)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, columns * units)
    out = output("out", out, number, rows, columns)
    return run_columns(FASTNN_KERNEL_periodic_embedding_input_gradient,
                       [("x", x), ("frequency", frequency), ("phase", phase), ("kernel", kernel),
                        ("grad_output", grad_output)],
                       [("out", out)], [columns, waves, units], 0, 0,
                       ELEMENT_WORK * rows * columns * waves, workers)


cdef Py_ssize_t bins_of(x, edges, int number) except -1:
    """Check numbers and the edges of their bins; return how many bins there are."""
    require("x", x, number, ANY, ANY)
    require("edges", edges, number, cnp.PyArray_DIM(x, 1), ANY)
    if cnp.PyArray_DIM(edges, 1) < 2:
        raise ValueError(f"edges must have at least two columns, got shape {edges.shape}")
    return cnp.PyArray_DIM(edges, 1) - 1


def piecewise_embedding(x, edges, kernel, bias, *, out=None, workers=None):
    """Each number as several, by functions that are linear between the edges of bins.

    out[:, c, u] = sum over b of part[:, c, b] kernel[c, b, u] + bias[c, u], where part is the share
    of bin b that x[:, c] has passed, between 0 and 1; the first bin goes on below, the last above.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
    edges : ndarray, shape (columns, bins + 1)
        Ascending in each row; a bin without width is passed at once.
    kernel : ndarray, shape (columns * bins, units)
    bias : ndarray, shape (columns, units)
    out : ndarray, shape (rows, columns * units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns * units)
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t bins = bins_of(x, edges, number)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("kernel", kernel, number, columns * bins, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(kernel, 1)
    require("bias", bias, number, columns, units)
    out = output("out", out, number, rows, columns * units)
    return run_columns(FASTNN_KERNEL_piecewise_embedding,
                       [("x", x), ("edges", edges), ("kernel", kernel), ("bias", bias)],
                       [("out", out)], [columns, bins, units], 0, 0,
                       <double>rows * columns * bins * units, workers)


def piecewise_embedding_gradient(x, edges, grad_output, *, out=None, workers=None):
    """The gradient of `piecewise_embedding` with respect to its kernel.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
    edges : ndarray, shape (columns, bins + 1)
    grad_output : ndarray, shape (rows, columns * units)
    out : ndarray, shape (columns * bins, units), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (columns * bins, units)
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t bins = bins_of(x, edges, number)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("grad_output", grad_output, number, rows, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(grad_output, 1) // max(columns, 1)
    require("grad_output", grad_output, number, rows, columns * units)
    out = output("out", out, number, columns * bins, units)
    return run_columns(FASTNN_KERNEL_piecewise_embedding_gradient,
                       [("x", x), ("edges", edges), ("grad_output", grad_output)], [("out", out)],
                       [columns, bins, units], 0, 0, <double>rows * columns * bins * units, workers)


def piecewise_embedding_input_gradient(x, edges, kernel, grad_output, *, out=None, workers=None):
    """The gradient of `piecewise_embedding` with respect to x; at an edge, that of the bin above.

    Parameters
    ----------
    x, edges, kernel
        As for `piecewise_embedding`.
    grad_output : ndarray, shape (rows, columns * units)
    out : ndarray, shape (rows, columns), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, columns)
    """
    cdef int number = type_of("x", x)
    cdef Py_ssize_t bins = bins_of(x, edges, number)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    require("kernel", kernel, number, columns * bins, ANY)
    cdef Py_ssize_t units = cnp.PyArray_DIM(kernel, 1)
    require("grad_output", grad_output, number, rows, columns * units)
    out = output("out", out, number, rows, columns)
    return run_columns(FASTNN_KERNEL_piecewise_embedding_input_gradient,
                       [("x", x), ("edges", edges), ("kernel", kernel),
                        ("grad_output", grad_output)], [("out", out)], [columns, bins, units], 0, 0,
                       <double>rows * columns * (bins + units), workers)
