# One row at a time. Part of engine.pyx, which includes it.
#
# A step of a small network on one row takes less than a microsecond, and a run as above some
# fifteen: so its arguments are prepared once, and a call checks one row, runs, and hands out one
# array. What is unusual (another dtype, gaps, NaN, somebody else running this program) is
# declined, before anything has changed, and goes the plain way, which does it or says what is
# wrong.

ctypedef fused source_type:
    float
    double

ctypedef fused target_type:
    float
    double

cdef tuple EVERYTHING = (-INFINITY, INFINITY)
cdef object float32_scalar = np.float32
cdef object timedelta_scalar = np.timedelta64  # which NumPy counts among the integers

cdef Py_ssize_t RATES = 256  # of a schedule, asked for at once


cdef bint copy_row(const source_type *x, target_type *row, Py_ssize_t count, double least,
                   double most) noexcept:
    """Convert one row; whether all of it lies in [least, most], which NaN does not."""
    cdef bint is_inside = True
    cdef Py_ssize_t i
    for i in range(count):
        is_inside &= (<double>x[i] >= least) & (<double>x[i] <= most)
        row[i] = <target_type>x[i]
    return is_inside


cdef class _Row:
    """Where one sample lies for the program to read, and what it may be."""
    cdef cnp.ndarray row
    cdef bint is_double
    cdef Py_ssize_t classes     # of a label; 0 for real numbers
    cdef double least, most

    def __cinit__(self, cnp.ndarray row, Py_ssize_t classes, tuple limits):
        self.row, self.classes = row, classes
        self.is_double = cnp.PyArray_TYPE(row) == cnp.NPY_DOUBLE
        largest = DBL_MAX if self.is_double else FLT_MAX
        self.least, self.most = max(limits[0], -largest), min(limits[1], largest)

    cdef bint take(self, x) except -1:
        """Copy an array of the sample's shape; False declines."""
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_SAMESHAPE(x, self.row)
                and cnp.PyArray_ISCARRAY_RO(x)):
            return False
        cdef int number = cnp.PyArray_TYPE(x)
        cdef void *source = cnp.PyArray_DATA(x)
        cdef void *target = cnp.PyArray_DATA(self.row)
        cdef Py_ssize_t count = cnp.PyArray_SIZE(self.row)
        if number == cnp.NPY_FLOAT and self.is_double:
            return copy_row(<float *>source, <double *>target, count, self.least, self.most)
        if number == cnp.NPY_FLOAT:
            return copy_row(<float *>source, <float *>target, count, self.least, self.most)
        if number == cnp.NPY_DOUBLE and self.is_double:
            return copy_row(<double *>source, <double *>target, count, self.least, self.most)
        if number == cnp.NPY_DOUBLE:
            return copy_row(<double *>source, <float *>target, count, self.least, self.most)
        return False

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
                (<int32_t *>cnp.PyArray_DATA(self.row))[0] = <int32_t>whole
                return True
            if overflow or not -2**53 <= whole <= 2**53:  # where it is rounded more than once
                return False
            value = <double>whole
        elif isinstance(x, float) or type(x) is float32_scalar:
            value = x
        else:
            return False if self.classes else self.take(x)
        if self.classes or cnp.PyArray_SIZE(self.row) != 1:
            return False
        if self.is_double:
            return copy_row(&value, <double *>cnp.PyArray_DATA(self.row), 1, self.least, self.most)
        return copy_row(&value, <float *>cnp.PyArray_DATA(self.row), 1, self.least, self.most)


cdef class OneRow(_Prepared):
    """A program prepared to run on one row at a time, by one worker.

    Parameters
    ----------
    executor : Executor
        Whose program, workspace and lock it shares.
    inputs : list of ndarray
        For each input of the model the place of one sample, of the sample's shape and the
        model's dtype.
    output_shape : tuple of int
        Of one sample.
    results : sequence of str
        Names of the program's results.
    key : int
        Seed of dropout.
    work : float
        Multiply-adds of a step.
    target : ndarray, optional
        The place of one sample's target, for a program that trains: of the output's shape, or an
        int32 of no dimension for a label.
    classes : int, default 0
        Number of labels, if the target is one.
    target_range : tuple of float, optional
        Least and most of what the target may be.
    counter : ndarray of int64, shape (1,), optional
        Counts the updates.
    parameters, snapshot : ndarray, shape (count,), optional
        The arena, and where it is copied to before each step.
    objective : object, optional
        For the caller to tell whether it is still what the program was made for.
    settings : dict, optional
        Of the optimizer, when the program was made.

    Attributes
    ----------
    loss : float
        Of the last step of `learn`.
    is_done : bool
        Whether the last step of `learn` was made; not if its loss was not finite.
    objective : object
    """
    cdef list rows
    cdef _Row target
    cdef cnp.ndarray results, counter, parameters, snapshot, output
    cdef _SumOfSquares squares
    cdef Py_ssize_t output_place
    cdef object schedule
    cdef const double[::1] rates
    cdef int64_t first_rate
    cdef readonly double loss
    cdef readonly bint is_done
    cdef readonly object objective
    cdef dict settings

    def __cinit__(self, Executor executor, list inputs, tuple output_shape, results, *,
                  uint64_t key, double work, cnp.ndarray target=None, Py_ssize_t classes=0,
                  tuple target_range=EVERYTHING, cnp.ndarray counter=None,
                  cnp.ndarray parameters=None, cnp.ndarray snapshot=None, objective=None,
                  dict settings=None):
        cdef Py_ssize_t i
        self.run.key = key
        self.objective, self.settings = objective, settings
        self.rows = [_Row(row, 0, EVERYTHING) for row in inputs]
        for i, row in enumerate(inputs if target is None else [*inputs, target]):
            self._place(f"input {i}", row)
        self.results = np.zeros(max(len(results), 1))
        for i, name in enumerate(results):
            self._place(f"result {name}", self.results[i:])
        dtype = inputs[0].dtype
        self.output = np.empty(output_shape, dtype)
        self.output_place = -1
        if "output prediction" in executor.externals:
            self.output_place = executor.externals.index("output prediction")
        if target is None:
            return
        self.target = _Row(target, classes, target_range)
        self.counter, self.parameters, self.snapshot = counter, parameters, snapshot
        self.squares = _SumOfSquares(parameters.size, dtype == np.float64)

    cdef int _place(self, str name, cnp.ndarray array) except -1:
        self.places[<Py_ssize_t>self.executor.externals.index(name)].base = (
            <char *>cnp.PyArray_DATA(array))
        return 0

    def predict(self, x):
        """Return the output for one sample, or None where the plain way must do it."""
        lock = self.executor.own_lock()
        if not lock.acquire(False):
            return None
        try:
            if not self._take(x):
                return None
            result = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(self.output),
                                       cnp.PyArray_DIMS(self.output),
                                       cnp.PyArray_TYPE(self.output), 0)
            self.places[self.output_place].base = <char *>cnp.PyArray_DATA(result)
            self._run()
            return result
        finally:
            lock.release()

    cpdef bint has_settings(self, dict settings) except -1:
        """Whether these are the settings that the program was made with.

        The learning rate may be another one: it is given to each step.
        """
        self.settings["learning_rate"] = settings["learning_rate"]
        return self.settings == settings

    def learn(self, x, y, dict settings not None):
        """Make one step on one sample.

        Parameters
        ----------
        x, y : object
        settings : dict
            Of the optimizer now.

        Returns
        -------
        float or None
            The loss; None where the plain way must do it; NaN where something is not finite: see
            `is_done`, `loss`, and, if it is done, the parameters, which the snapshot holds as
            they were before.
        """
        cdef int64_t *counter
        lock = self.executor.own_lock()
        if not lock.acquire(False):
            return None
        try:
            if not (self.has_settings(settings) and self._take(x) and self.target.take_target(y)):
                return None
            counter = <int64_t *>cnp.PyArray_DATA(self.counter)
            rate = settings["learning_rate"]
            self.rate = self._scheduled(rate, counter[0]) if callable(rate) else rate
            self.run.first_number = <uint64_t>(counter[0] + 1)
            memcpy(cnp.PyArray_DATA(self.snapshot), cnp.PyArray_DATA(self.parameters),
                   cnp.PyArray_NBYTES(self.parameters))
            self._run()
            self.loss = (<double *>cnp.PyArray_DATA(self.results))[0]
            self.is_done = self.run.stopped_at < 0
            if not self.is_done:
                return NAN
            counter[0] += 1
            return self.loss if isfinite(self.squares.of(self.parameters)) else NAN
        finally:
            lock.release()

    cdef double _scheduled(self, schedule, int64_t step) except? -1:
        """The rate of a step; a block of them is asked for at once, a call takes some 20 us."""
        if (schedule is not self.schedule or step < self.first_rate
                or step >= self.first_rate + self.rates.shape[0]):
            self.schedule, self.rates = None, schedule.rates_from(step, RATES)
            self.schedule, self.first_rate = schedule, step
        return self.rates[step - self.first_rate]

    cdef bint _take(self, x) except -1:
        cdef Py_ssize_t i
        if len(self.rows) == 1:
            return (<_Row>self.rows[0]).take(x)
        if not isinstance(x, (list, tuple)) or len(x) != len(self.rows):
            return False
        for i in range(len(self.rows)):
            if not (<_Row>self.rows[i]).take(x[i]):
                return False
        return True
