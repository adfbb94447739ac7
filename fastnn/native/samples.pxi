# What comes as samples, checked and found a place. Part of engine.pyx, which includes it.
#
# What is unusual (another dtype, gaps, NaN) is declined, and goes the plain way, which does it or
# says what is wrong.

ctypedef fused source_type:
    float
    double

ctypedef fused target_type:
    float
    double

cdef tuple EVERYTHING = (-INFINITY, INFINITY)
cdef object float32_scalar = np.float32
cdef object timedelta_scalar = np.timedelta64  # which NumPy counts among the integers

# From so many numbers on those of the program's dtype are read where they are; to copy fewer takes
# less than to look at them with the kernel.
cdef Py_ssize_t IN_PLACE_FROM = 64


cdef bint copy_numbers(const source_type *x, target_type *row, Py_ssize_t count, double least,
                       double most) noexcept:
    """Convert numbers; whether all of them lie in [least, most], which NaN does not."""
    cdef bint is_inside = True
    cdef Py_ssize_t i
    for i in range(count):
        is_inside &= (<double>x[i] >= least) & (<double>x[i] <= most)
        row[i] = <target_type>x[i]
    return is_inside


cdef class _SumOfSquares:
    """Adds up squares, up to `most` of them: the sum is finite only if every number is."""
    cdef cnp.ndarray chunks
    cdef fastnn_call call
    cdef fastnn_kernel kernel

    def __cinit__(self, Py_ssize_t most, bint is_double):
        self.chunks = np.zeros(most // FASTNN_NORM_CHUNK + 1)
        self.kernel = kernel_named(b"squared_norm", is_double)
        memset(&self.call, 0, sizeof(self.call))
        self.call.operand[1] = cnp.PyArray_DATA(self.chunks)

    cdef double of(self, cnp.ndarray array) noexcept:
        """The sum over an array without gaps, of the kernel's dtype."""
        cdef Py_ssize_t i, count = cnp.PyArray_SIZE(array)
        cdef double sum = 0
        self.call.operand[0], self.call.size[0] = cnp.PyArray_DATA(array), count
        self.kernel(&self.call, 0, 1)
        for i in range((count + FASTNN_NORM_CHUNK - 1) // FASTNN_NORM_CHUNK):
            sum += (<double *>cnp.PyArray_DATA(self.chunks))[i]
        return sum


cdef class _Samples:
    """What one input, or the target, of a program may be, and where the last one taken lies."""
    cdef Py_ssize_t place
    cdef cnp.ndarray like       # of `most` rows; it has only type and shape
    cdef cnp.ndarray converted  # where numbers are converted to; made when it is first needed
    cdef _SumOfSquares squares
    cdef bint is_double
    cdef Py_ssize_t classes     # of a label; 0 for real numbers
    cdef double least, most, largest
    cdef void *data

    def __cinit__(self, Py_ssize_t place, Py_ssize_t rows, tuple shape, str dtype,
                  Py_ssize_t classes=0, tuple limits=EVERYTHING):
        self.place = place
        kind = "int32" if classes else dtype
        self.like = np.broadcast_to(np.zeros((), kind), (rows, *shape))
        self.classes, self.is_double = classes, dtype == "float64"
        largest = DBL_MAX if self.is_double else FLT_MAX
        self.least, self.most = max(limits[0], -largest), min(limits[1], largest)
        # As in `data.memmap.is_surely_finite`: the sum is finite only if every number is.
        self.largest = DBL_MAX if self.is_double else <double>FLT_MAX * FLT_MAX
        if limits is EVERYTHING and not classes:
            self.squares = _SumOfSquares(self.like.size, self.is_double)

    cdef Py_ssize_t take(self, x, bint has_rows) except -1:
        """Find out where rows lie, or one sample without an axis of rows; 0 declines."""
        cdef Py_ssize_t rows = 1
        cdef int i, number, dimensions = cnp.PyArray_NDIM(self.like)
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x)
                and cnp.PyArray_NDIM(x) == dimensions - 1 + has_rows):
            return 0
        for i in range(1, dimensions):
            if cnp.PyArray_DIM(x, i - 1 + has_rows) != cnp.PyArray_DIM(self.like, i):
                return 0
        if has_rows:
            rows = cnp.PyArray_DIM(x, 0)
            if not 0 < rows <= cnp.PyArray_DIM(self.like, 0):
                return 0
        number = cnp.PyArray_TYPE(x)
        if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE:
            return 0
        if (self.squares is None or number != cnp.PyArray_TYPE(self.like)
                or cnp.PyArray_SIZE(x) < IN_PLACE_FROM):
            return rows if self._convert(cnp.PyArray_DATA(x), number, cnp.PyArray_SIZE(x)) else 0
        if not self.squares.of(x) <= self.largest:  # which NaN is not
            return 0
        self.data = cnp.PyArray_DATA(x)
        return rows

    cdef bint take_target(self, x) except -1:
        """Take a label, the one number that a target is, or an array of its shape."""
        cdef long long whole
        cdef int overflow = 0
        cdef double value
        if PyArray_IsIntegerScalar(x) and type(x) is not timedelta_scalar:
            whole = PyLong_AsLongLongAndOverflow(x, &overflow)
            if self.classes:
                if overflow or not 0 <= whole < self.classes:
                    return False
                (<int32_t *>self._room())[0] = <int32_t>whole
                return True
            if overflow or not -2**53 <= whole <= 2**53:  # where it is rounded more than once
                return False
            value = <double>whole
        elif isinstance(x, float) or type(x) is float32_scalar:
            value = x
        else:
            return False if self.classes else self.take(x, False) > 0
        if self.classes or cnp.PyArray_SIZE(self.like) != 1:
            return False
        return self._convert(&value, cnp.NPY_DOUBLE, 1)

    cdef void *_room(self) except NULL:
        if self.converted is None:
            self.converted = np.empty_like(self.like, order="C", subok=False)
        self.data = cnp.PyArray_DATA(self.converted)
        return self.data

    cdef bint _convert(self, void *x, int number, Py_ssize_t count) except -1:
        """Convert numbers to the program's dtype; whether they are what they may be."""
        cdef void *room = self._room()
        if number == cnp.NPY_FLOAT and self.is_double:
            return copy_numbers(<float *>x, <double *>room, count, self.least, self.most)
        if number == cnp.NPY_FLOAT:
            return copy_numbers(<float *>x, <float *>room, count, self.least, self.most)
        if self.is_double:
            return copy_numbers(<double *>x, <double *>room, count, self.least, self.most)
        return copy_numbers(<double *>x, <float *>room, count, self.least, self.most)
