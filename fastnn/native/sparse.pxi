# Products of sparse rows.
# Part of kernels.pyx, which includes it.

cdef int require_csr(fastnn_call *call, fastnn_entries *entries, values, columns, indptr, order,
                     int number, Py_ssize_t inputs) except -1:
    """Check a CSR matrix of `inputs` columns; fill in its operands and the number of rows."""
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
    """f(x @ kernel + bias), where x is a sparse matrix in compressed rows (CSR).

    Parameters
    ----------
    values : ndarray, shape (entries,)
    columns : ndarray of int32, shape (entries,)
        Ascending within each row.
    indptr : ndarray of int64, shape (rows of the matrix + 1,)
        Position of the first entry of each row.
    order : ndarray of int64, shape (rows,), or None
        Rows to take; None takes all of them in order.
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
    """x.T @ grad_output, where x is a sparse matrix in compressed rows (CSR).

    Parameters
    ----------
    values, columns, indptr, order
        As in `sparse_affine`.
    grad_output : ndarray, shape (rows, units)
    inputs : int
        Number of columns of x.
    out : ndarray, shape (inputs, units), optional
    bias_out : ndarray, shape (units,), optional
        Receives the sum of grad_output over its rows.
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
    """Update a dense layer's kernel and bias in place, where x is a sparse matrix (CSR).

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
    """Return rows of a sparse matrix in compressed rows (CSR) in dense form.

    Parameters
    ----------
    values, columns, indptr, order
        As in `sparse_affine`.
    inputs : int
        Number of columns of the matrix.
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
