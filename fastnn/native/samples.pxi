# Samples that a caller passes: checked, and located. Part of engine.pyx, which includes it.
#
# What is unusual (another dtype, gaps, NaN) is declined and takes the general path, which handles
# it or reports what is wrong.

ctypedef fused source_type:
    float
    double
    int64_t
    int32_t
    uint8_t

ctypedef fused target_type:
    float
    double
    int32_t

# Up to it all whole numbers are exact in double precision.
cdef double EXACT = 2.0**53 - 1

cdef tuple EVERYTHING = (-INFINITY, INFINITY)
cdef object float32_scalar = np.float32
cdef object timedelta_scalar = np.timedelta64  # NumPy counts it among the integers

# From this many numbers on, those of the program's dtype are read in place; copying fewer is
# faster than checking them with the kernel.
cdef Py_ssize_t IN_PLACE_FROM = 64


cdef bint copy_numbers(const source_type *x, target_type *row, Py_ssize_t count, double least,
                       double most) noexcept:
    """Convert numbers; return whether all of them lie in [least, most], which a NaN does not."""
    cdef bint is_inside = True
    cdef Py_ssize_t i
    for i in range(count):
        is_inside &= (<double>x[i] >= least) & (<double>x[i] <= most)
        row[i] = <target_type>x[i]
    return is_inside


cdef bint copy_array(void *x, int number, target_type *row, Py_ssize_t count, double least,
                     double most) noexcept:
    """Convert an array of this NumPy type, which must be one of `source_type`, likewise."""
    if number == cnp.NPY_FLOAT:
        return copy_numbers(<const float *>x, row, count, least, most)
    if number == cnp.NPY_DOUBLE:
        return copy_numbers(<const double *>x, row, count, least, most)
    if number == cnp.NPY_INT64:
        return copy_numbers(<const int64_t *>x, row, count, least, most)
    if number == cnp.NPY_INT32:
        return copy_numbers(<const int32_t *>x, row, count, least, most)
    return copy_numbers(<const uint8_t *>x, row, count, least, most)


cdef class _SumOfSquares:
    """Sums the squares of up to `most` numbers: the sum is finite only if every number is."""
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
    """The permitted type and shape of an input, the target or weights, and the last value."""
    cdef Py_ssize_t place, rows
    cdef cnp.ndarray like       # has `most` rows, and only a type and a shape
    cdef cnp.ndarray converted  # receives converted numbers; made when first needed
    cdef _SumOfSquares squares
    cdef bint is_double
    cdef Py_ssize_t classes     # number of classes of a label; 0 for real numbers
    cdef double least, most, largest
    cdef void *data

    def __cinit__(self, Py_ssize_t place, Py_ssize_t rows, tuple shape, str dtype,
                  Py_ssize_t classes=0, tuple limits=EVERYTHING):
        self.place, self.rows = place, rows
        kind = "int32" if classes else dtype
        self.like = np.broadcast_to(np.zeros((), kind), (rows, *shape))
        self.classes, self.is_double = classes, dtype == "float64"
        if classes:
            limits = (0, classes - 1)
        largest = DBL_MAX if self.is_double else FLT_MAX
        self.least, self.most = max(limits[0], -largest), min(limits[1], largest)
        # As in `data.memmap.is_surely_finite`: the sum is finite only if every number is.
        self.largest = DBL_MAX if self.is_double else <double>FLT_MAX * FLT_MAX
        if limits == EVERYTHING:
            self.squares = _SumOfSquares(self.like.size, self.is_double)

    cdef Py_ssize_t take(self, x, bint has_rows) except -1:
        """Find the address of some rows, or of one sample without an axis of rows; 0 declines."""
        cdef Py_ssize_t rows = 1
        cdef int number
        if not (self._is_plain(x) and self._has_shape(x, has_rows)):
            return 0
        if has_rows:
            rows = cnp.PyArray_DIM(x, 0)
            if not 0 < rows <= cnp.PyArray_DIM(self.like, 0):
                return 0
        number = cnp.PyArray_TYPE(x)
        if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE:
            return 0
        return rows if self._locate(x) else 0

    cdef bint take_rows(self, x, Py_ssize_t rows) except -1:
        """Accept a target, or a weight, for each of some rows, which may also be a column."""
        cdef int number, dimensions
        if not self._is_plain(x):
            return False
        dimensions = cnp.PyArray_NDIM(x)
        if not (self._has_shape(x, True) or cnp.PyArray_SIZE(self.like) == self.rows
                and (dimensions == 1 or dimensions == 2 and cnp.PyArray_DIM(x, 1) == 1)):
            return False
        if cnp.PyArray_DIM(x, 0) != rows or rows > self.rows:
            return False
        number = cnp.PyArray_TYPE(x)
        if number == cnp.NPY_FLOAT or number == cnp.NPY_DOUBLE:
            return False if self.classes else self._locate(x)
        if number not in (cnp.NPY_INT64, cnp.NPY_INT32, cnp.NPY_UINT8, cnp.NPY_BOOL):
            return False
        return self._convert(cnp.PyArray_DATA(x), number, cnp.PyArray_SIZE(x))

    cdef bint _is_plain(self, x) noexcept:
        return cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x)

    cdef bint _has_shape(self, x, bint has_rows) noexcept:
        cdef int i, dimensions = cnp.PyArray_NDIM(self.like)
        if cnp.PyArray_NDIM(x) != dimensions - 1 + has_rows:
            return False
        for i in range(1, dimensions):
            if cnp.PyArray_DIM(x, i - 1 + has_rows) != cnp.PyArray_DIM(self.like, i):
                return False
        return True

    cdef bint _locate(self, x) except -1:
        """Read real numbers in place, or convert them; return whether they are permitted."""
        cdef int number = cnp.PyArray_TYPE(x)
        if (self.squares is None or number != cnp.PyArray_TYPE(self.like)
                or cnp.PyArray_SIZE(x) < IN_PLACE_FROM):
            return self._convert(cnp.PyArray_DATA(x), number, cnp.PyArray_SIZE(x))
        if not self.squares.of(x) <= self.largest:  # NaN is not
            return False
        self.data = cnp.PyArray_DATA(x)
        return True

    cdef bint take_target(self, x) except -1:
        """Accept a label, a number for a target that is one number, or an array of its shape."""
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
            if overflow or not -2**53 <= whole <= 2**53:  # beyond that it would be rounded twice
                return False
            value = <double>whole
        elif isinstance(x, float) or type(x) is float32_scalar:
            value = x
        else:
            return False if self.classes else self.take(x, False) > 0
        if self.classes or cnp.PyArray_SIZE(self.like) != self.rows:
            return False
        return self._convert(&value, cnp.NPY_DOUBLE, 1)

    cdef void *_room(self) except NULL:
        if self.converted is None:
            self.converted = np.empty_like(self.like, order="C", subok=False)
        self.data = cnp.PyArray_DATA(self.converted)
        return self.data

    cdef bint _convert(self, void *x, int number, Py_ssize_t count) except -1:
        """Convert numbers to the program's dtype; return whether they are within the limits."""
        cdef void *room = self._room()
        cdef double least = self.least, most = self.most
        if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE:
            least, most = max(least, -EXACT), min(most, EXACT)
        if self.classes:
            return copy_array(x, number, <int32_t *>room, count, least, most)
        if self.is_double:
            return copy_array(x, number, <double *>room, count, least, most)
        return copy_array(x, number, <float *>room, count, least, most)
