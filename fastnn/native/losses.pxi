# Losses and metrics.
# Part of kernels.pyx, which includes it.

cdef int _loss(int kernel, const real[:, ::1] prediction, const real[:, ::1] target,
               real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials, int row,
               double parameter, int workers) except -1:
    """Kernels that write one number per row, from a target of the prediction's shape."""
    cdef fastnn_call call = new_call(prediction.shape[0], prediction.shape[1], 0, 0, row,
                                     parameter)
    call.operand[0], call.operand[1] = matrix(prediction), matrix(target)
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, &call, real is double, workers)


cdef int _label_loss(int kernel, const real[:, ::1] scores, const int32_t[::1] labels,
                     real[::1] losses, real[:, ::1] grad, real[:, ::1] exponentials,
                     double parameter, int workers) except -1:
    """As above, from class labels."""
    cdef fastnn_call call = new_call(scores.shape[0], scores.shape[1], 0, 0, 0, parameter)
    call.operand[0] = matrix(scores)
    call.operand[1] = <void *>&labels[0] if labels.shape[0] else NULL
    call.operand[2], call.operand[3] = vector[real](losses), matrix[real](grad)
    call.operand[4] = matrix[real](exponentials)
    return launch(kernel, &call, real is double, workers)


cdef int from_rows(int kernel, scores, target, losses, grad, exponentials, int row,
                   double parameter, workers) except -1:
    """Check the arguments and run one of those two; int32 targets are class labels."""
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
    """Loss `name` of `LOSSES` for each row, and its gradient.

    Parameters
    ----------
    prediction, target : ndarray, shape (rows, width)
    name : str
    parameter : float, optional
        The parameter of the loss, such as Huber's delta.
    gradient : bool, default True

    Returns
    -------
    losses : ndarray, shape (rows,)
        Mean over the outputs of each row.
    gradient : ndarray, shape (rows, width), or None
        Gradient of the mean over all rows.
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
    """Cross-entropy of softmax(logits) for each row, and its gradient with respect to the logits.

    Parameters
    ----------
    logits : ndarray, shape (rows, classes >= 1)
    target : ndarray of int32, shape (rows,), or of probabilities, shape (rows, classes)
    label_smoothing : float, default 0
        How far the target is moved toward the uniform distribution.
    is_divergence : bool, default False
        Subtract the entropy of the probabilities, which gives the Kullback-Leibler divergence.
    gradient : bool, default True

    Returns
    -------
    losses : ndarray, shape (rows,)
    gradient : ndarray, shape (rows, classes), or None
        Gradient of the mean over all rows.
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
    """1 where the score of a row's label is among the `k` largest, otherwise 0; shape (rows,).

    `target` holds int32 labels of shape (rows,) or probabilities of shape (rows, classes).
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
    """Fraction of a row's outputs on the right side of the threshold; shape (rows,)."""
    cdef int number = type_of("scores", scores)
    require("scores", scores, number, ANY, ANY)
    require("target", target, number, scores.shape[0], scores.shape[1])
    hits = output("out", out, number, cnp.PyArray_DIM(scores, 0), VECTOR)
    from_rows(FASTNN_KERNEL_binary_accuracy, scores, target, hits, None, None, 0,
              threshold, workers)
    return hits


def mean(x, *, workers=None):
    """Mean of x of shape (rows,), summed in float64 from first to last."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, VECTOR)
    cdef double result = 0
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0))
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), &result
    launch(FASTNN_KERNEL_mean, &call, number == cnp.NPY_DOUBLE, team(workers, 0))
    return result


def accumulate(values, *, weight=1.0, total=None, workers=None):
    """total + weight * sum(values), for float64 values of shape (count,); None is a total of 0."""
    require("values", values, cnp.NPY_DOUBLE, ANY, VECTOR)
    cdef double result = 0 if total is None else total
    cdef fastnn_call call = new_call(0, cnp.PyArray_DIM(values, 0), 0, 0, total is not None, weight)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(values), &result
    launch(FASTNN_KERNEL_accumulate, &call, True, team(workers, 0))
    return result
