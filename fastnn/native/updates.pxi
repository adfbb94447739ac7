# Optimizer updates of whole arenas, and penalties.
# Part of kernels.pyx, which includes it.

def squared_norm(gradients, *, out=None, workers=None):
    """Sums of squares over chunks of `NORM_CHUNK` elements, as float64."""
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


def sum_of_squares(array, *, workers=None):
    """Sum of the squares of all elements, a float: not finite if one of them is not."""
    cdef int number = type_of("array", array)
    if not cnp.PyArray_ISCARRAY_RO(array):
        raise ValueError("array must be C-contiguous and aligned, in native byte order")
    cdef Py_ssize_t i, count = cnp.PyArray_SIZE(array)
    cdef cnp.npy_intp chunks = (count + CHUNK - 1) // CHUNK
    partial = cnp.PyArray_EMPTY(1, &chunks, cnp.NPY_DOUBLE, 0)
    cdef double *sums = <double *>cnp.PyArray_DATA(partial)
    cdef double total = 0
    cdef fastnn_call call = new_call(0, count)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(array), sums
    launch(FASTNN_KERNEL_squared_norm, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * count))
    for i in range(chunks):
        total += sums[i]
    return total


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
    """Fill in the arguments of an update other than its arrays."""
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
    """l1 |p| + l2 p^2, summed over `NORM_CHUNK` elements; adds the derivative to `gradient`.

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
                           hyper_parameters=(), clipvalue=None, weight_decay=0.0,
                           precision="as given", workers=None):
    """Update a dense layer's kernel and bias in place, with gradients that are not kept.

    Parameters
    ----------
    name : str
        A row of `OPTIMIZERS`.
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,), or None
    state : ndarray, shape (slots, inputs * units + units)
        State of the kernel, then of the bias; without a bias it ends after the kernel's.
    learning_rate, step, hyper_parameters, clipvalue, weight_decay
        As in `update`.
    precision : str, default "as given"
        A row of `engine.PRECISIONS`: "bfloat16" rounds x and grad_output to bfloat16.
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
    cdef Py_ssize_t rounding = precision_of(precision, number)
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
    call.size[3] = rounding
    launch(FASTNN_KERNEL_kernel_gradient_update, &call, number == cnp.NPY_DOUBLE,
           team(workers, units * <double>cnp.PyArray_SIZE(x)))
