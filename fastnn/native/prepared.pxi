# Programs prepared to run a step at a time, without arguments to check. Part of engine.pyx, which
# includes it.

# Above this many multiply-adds other threads get the GIL: giving it away and taking it back costs
# a tenth of a microsecond, and among busy threads five milliseconds.
cdef double LONG_WORK = 100_000


cdef class _Prepared:
    """A program with a copy of its slots for each worker, and places of its own."""
    cdef Executor executor
    cdef Slot *slots
    cdef External *places
    cdef Py_ssize_t *skipped
    cdef Run run
    cdef double rate
    cdef bint is_long
    cdef readonly int workers   # of the largest team

    def __cinit__(self, Executor executor, *others, double work=0, int workers=1, **settings):
        cdef Py_ssize_t i, count = executor.count, externals = len(executor.externals)
        self.executor, self.is_long, self.workers = executor, work > LONG_WORK, workers
        self.slots = <Slot *>fastnn_allocate(max(workers * count, 1) * sizeof(Slot))
        self.places = <External *>fastnn_allocate(max(externals, 1) * sizeof(External))
        self.skipped = <Py_ssize_t *>fastnn_allocate(max(externals, 1) * sizeof(Py_ssize_t))
        if self.slots == NULL or self.places == NULL or self.skipped == NULL:
            raise MemoryError("cannot allocate the program")
        for i in range(workers):
            memcpy(self.slots + i * count, executor.slots, count * sizeof(Slot))
        memset(self.places, 0, externals * sizeof(External))
        for i in range(externals):
            self.skipped[i] = 1
        memset(&self.run, 0, sizeof(self.run))
        self.run.slots, self.run.count, self.run.externals = self.slots, count, self.places
        self.run.end, self.run.steps, self.run.batch, self.run.total_rows = count, 1, 1, 1
        self.run.learning_rates, self.run.skipped_inputs = &self.rate, self.skipped
        fastnn_barrier_init(&self.run.barrier)

    def __dealloc__(self):
        free(self.slots)
        free(self.places)
        free(self.skipped)

    cdef int _run(self, int workers=1) except -1:
        cdef _Scratch scratch = take_scratch(workers)
        self.run.scratch, self.run.stopped_at = <char *>scratch.blocks, -1
        self.run.status = FASTNN_OK
        if self.is_long or workers > 1:
            self.executor._run_team(&self.run, workers)
        else:
            run_team_member(&self.run, 0, 1)
        _idle.append(scratch)
        return raise_status(self.run.status)


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


cdef class Update(_Prepared):
    """The optimizer's program, prepared to make one update at a time, in one thread alone.

    Parameters
    ----------
    executor : Executor
        Of the program "update".
    counter : ndarray of int64, shape (1,)
        Counts the updates.
    work : float
        Multiply-adds of an update.
    """
    cdef int64_t[::1] counter

    def __cinit__(self, Executor executor, counter, *, double work):
        self.counter = counter

    def step(self, double learning_rate):
        """Update the parameters by what is in the gradients now."""
        self.rate = learning_rate
        self.run.first_number = <uint64_t>(self.counter[0] + 1)
        self._run()
        self.counter[0] += 1
