# Layers that prepare data: standardized columns, categories as zeros and ones.
# Part of kernels.pyx, which includes it.

def standardize(x, mean=None, scale=None, *, invert=False, out=None, workers=None):
    """(x - mean) / scale, or, inverted, x * scale + mean, column by column.

    Parameters
    ----------
    x : ndarray, shape (rows, width)
    mean : ndarray, shape (features,), optional
        A number of columns that divides the width; they are repeated along each row. None: 0.
    scale : ndarray, shape (features,)
    invert : bool, default False
    out : ndarray, shape (rows, width), optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, width)
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    require("scale", scale, number, ANY, VECTOR)
    cdef Py_ssize_t features = cnp.PyArray_DIM(scale, 0)
    if width and (features == 0 or width % features):
        raise ValueError(f"scale must have a length that divides {width}, got {features}")
    cdef fastnn_call call = new_call(rows, width, features, 0, bool(invert))
    call.operand[1] = vector_or_null("mean", mean, number, features)
    out = output("out", out, number, rows, width)
    for name, array in (("x", x), ("mean", mean), ("scale", scale)):
        if array is not None:
            apart("out", out, name, array)
    call.operand[0], call.operand[2] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(scale)
    call.operand[3] = cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_standardize, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


def rescale(x, *, factor=1.0, offset=0.0, out=None, workers=None):
    """x * factor + offset; x of shape (rows, width)."""
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), width = cnp.PyArray_DIM(x, 1)
    out = output("out", out, number, rows, width)
    apart("out", out, "x", x)
    cdef fastnn_call call = new_call(rows, width, 1, 0, 2, factor)
    call.scalar[1] = offset
    call.operand[0], call.operand[3] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_standardize, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * width))
    return out


_ENCODINGS = ("one_hot", "multi_hot", "count")


def encode_categories(x, Py_ssize_t tokens, *, categories=None, mode="multi_hot", out=None,
                      workers=None):
    """Categories as zeros and ones, or as counts.

    Parameters
    ----------
    x : ndarray, shape (rows, columns)
        Integers in [0, categories), stored as real numbers.
    tokens : int
        How many of the categories, the first ones, have a place in the result.
    categories : int, optional
        Default: `tokens`.
    mode : {"one_hot", "multi_hot", "count"}, default "multi_hot"
        A one for each column, or for each category of a row, or how often a row has it.
    out : ndarray, optional
    workers : int, optional

    Returns
    -------
    ndarray, shape (rows, tokens), or (rows, columns * tokens) for "one_hot"

    Raises
    ------
    ValueError
        x holds a number that is not a category; `out` is NaN there.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    if mode not in _ENCODINGS:
        raise ValueError(f"mode must be one of {', '.join(_ENCODINGS)}, got {mode!r}")
    cdef int variant = _ENCODINGS.index(mode)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t every = tokens if categories is None else categories
    if tokens < 0 or every < tokens:
        raise ValueError(f"categories must be at least tokens, {tokens}, and that at least 0, "
                         f"got {every}")
    cdef Py_ssize_t width = tokens * (columns if variant == 0 else 1)
    out = output("out", out, number, rows, width)
    apart("out", out, "x", x)
    cdef fastnn_call call = new_call(rows, columns, tokens, every, variant)
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    launch(FASTNN_KERNEL_encode_categories, &call, number == cnp.NPY_DOUBLE,
           team(workers, ELEMENT_WORK * rows * (width + columns)))
    return out
