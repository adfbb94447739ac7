# Predictions of a few rows. Part of engine.pyx, which includes it.
#
# Checking a batch, finding its program and naming its places takes some 50 us, a small network on
# 32 rows five. As with one row, what is unusual is declined and goes the plain way.

cdef class FewRows(_Prepared):
    """The program that predicts, prepared for batches of few rows.

    Those of the model's dtype are read where they are, those of the other one are converted.

    Parameters
    ----------
    executor : Executor
        Whose program, workspace and lock it shares.
    most : int
        Rows that it takes.
    alone : int
        Rows up to which one worker is enough.
    input_shape, output_shape : tuple of int
        Of one sample.
    dtype : {"float32", "float64"}
    key : int
        Seed of dropout.
    work : float
        Multiply-adds of a row.
    workers : int
        Size of the largest team.

    Attributes
    ----------
    most, alone, workers : int
    """
    cdef readonly Py_ssize_t most, alone
    cdef cnp.ndarray like, converted  # the first has only type and shape
    cdef list output_shape
    cdef double work, largest
    cdef Py_ssize_t input_place, output_place
    cdef _SumOfSquares squares

    def __cinit__(self, Executor executor, Py_ssize_t most, Py_ssize_t alone, tuple input_shape,
                  tuple output_shape, str dtype, *, uint64_t key, double work, int workers):
        cdef bint is_double = dtype == "float64"
        self.most, self.alone = most, alone
        self.like = np.broadcast_to(np.zeros((), dtype), (most, *input_shape))
        self.output_shape, self.work = [0, *output_shape], work
        # As in `data.blocks.is_surely_finite`: the sum is finite only if every number is.
        self.largest = DBL_MAX if is_double else <double>FLT_MAX * FLT_MAX
        self.run.key = key
        self.input_place = executor.externals.index("input 0")
        self.output_place = executor.externals.index("output prediction")
        self.squares = _SumOfSquares(self.like.size, is_double)

    def predict(self, x, int workers=1):
        """Return the outputs for some rows, by a team, or None where the plain way must do it."""
        cdef int i, number
        cdef void *rows
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x)
                and cnp.PyArray_NDIM(x) == cnp.PyArray_NDIM(self.like)
                and 0 < cnp.PyArray_DIM(x, 0) <= cnp.PyArray_DIM(self.like, 0)):
            return None
        for i in range(1, cnp.PyArray_NDIM(x)):
            if cnp.PyArray_DIM(x, i) != cnp.PyArray_DIM(self.like, i):
                return None
        number = cnp.PyArray_TYPE(x)
        if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE or not 0 < workers <= self.workers:
            return None
        lock = self.executor.own_lock()
        if not lock.acquire(False):
            return None
        try:
            if number == cnp.PyArray_TYPE(self.like):
                rows = cnp.PyArray_DATA(x)
                if not self.squares.of(x) <= self.largest:  # which NaN is not
                    return None
            else:
                if self.converted is None:
                    self.converted = np.empty_like(self.like, order="C", subok=False)
                rows = cnp.PyArray_DATA(self.converted)
                if not self._convert(x):
                    return None
            self.run.batch = self.run.total_rows = cnp.PyArray_DIM(x, 0)
            self.is_long = self.work * self.run.batch > LONG_WORK
            self.output_shape[0] = self.run.batch
            result = np.empty(self.output_shape, self.like.dtype)
            self.places[self.input_place].base = <char *>rows
            self.places[self.output_place].base = <char *>cnp.PyArray_DATA(result)
            self._run(workers)
            return result
        finally:
            lock.release()

    cdef bint _convert(self, x):
        cdef Py_ssize_t count = cnp.PyArray_SIZE(x)
        if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
            return copy_row(<float *>cnp.PyArray_DATA(x),
                            <double *>cnp.PyArray_DATA(self.converted), count, -DBL_MAX, DBL_MAX)
        return copy_row(<double *>cnp.PyArray_DATA(x),
                        <float *>cnp.PyArray_DATA(self.converted), count, -FLT_MAX, FLT_MAX)
