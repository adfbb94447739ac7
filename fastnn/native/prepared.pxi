# Programs prepared to run one step at a time, without arguments to check. Part of engine.pyx,
# which includes it.
#
# A step of a small network on one row takes less than a microsecond, one on 64 rows twenty, and a
# run as above with the checks of its data about eighty: so its arguments are prepared once; a call
# checks what came, runs, and returns one array, or the loss.
# What is declined (see samples.pxi; also a program that another thread is running, and a step so
# long that it must notice Ctrl-C) takes the general path, before anything has changed.

# Above this many multiply-adds the GIL is released for other threads: releasing and reacquiring
# it costs a tenth of a microsecond, and among busy threads five milliseconds.
cdef double LONG_WORK = 100_000

cdef Py_ssize_t RATES = 256  # of a schedule, requested at once


cdef class Prepared:
    """A program prepared for one row at a time, for batches, or for single updates.

    Parameters
    ----------
    executor : Executor
        Its program, workspace and lock are shared.
    dtype : {"float32", "float64"}
    rows : int, default 1
        Largest number of rows in a call.
    workers : int, default 1
        Size of the largest team.
    key : int, default 0
        Seed of dropout.
    work : float, default 0
        Multiply-adds per row.
    inputs : sequence of (int, tuple of int)
        For each input of the model, the number of its place and the shape of a sample.
    output : (int, tuple of int), optional
        The same for the prediction.
    results : sequence of int
        The numbers of the places of the program's results.
    target : (int, tuple of int, int, tuple of float), optional
        The number of its place, the shape of a sample, the number of classes if it is a label,
        otherwise 0, and its least and greatest permitted values; for a program that trains.
    weights : int, optional
        The number of the place of the samples' weights, if they have some.
    counter : ndarray of int64, shape (1,), optional
        Counts the updates.
    stretches : sequence of (ndarray, ndarray)
        The parameters, as 1-d arrays, and for each an array that it is copied to before each step.
    objective : object, optional
        Lets the caller check that the program was made for its current objective.
    settings : dict, optional
        The optimizer's settings when the program was made.
    turns : fastnn.runtime.turns.Turns, optional
        Who else uses the network: if another thread is in the way, the general path waits for it.

    Attributes
    ----------
    what : str
    thread : int
    is_active : bool
    writes : str
        As of a `Use`: what other threads see while the program runs.
    workers : int
    objective : object
    """
    cdef Executor executor
    cdef Addresses addresses
    cdef Slot *slots
    cdef Run *run               # apart, because it has the alignment of its barrier
    cdef double rate, work
    cdef readonly int workers
    cdef list inputs            # _Samples, one for each input
    cdef _Samples only          # the single element of `inputs`, if there is one
    cdef tuple parts            # the arrays of several inputs, during a call
    cdef cnp.npy_intp output_shape[64]
    cdef int output_type, output_dimensions
    cdef Py_ssize_t output_place
    cdef _Samples target, weights
    cdef cnp.ndarray results, counter
    cdef list stretches         # of (parameters, snapshot)
    cdef _SumOfSquares squares
    cdef object schedule
    cdef const double[::1] rates
    cdef int64_t first_rate
    cdef double loss            # of the last step
    cdef bint is_done
    cdef readonly object objective
    cdef dict settings
    cdef object turns
    cdef list changes, looks, waiting, relatives  # of the turns
    cdef readonly unsigned long thread
    cdef readonly str what, writes
    cdef readonly bint is_active

    def __cinit__(self, Executor executor not None, str dtype not None, *, Py_ssize_t rows=1,
                  int workers=1, uint64_t key=0, double work=0, inputs=(), output=None,
                  results=(), target=None, weights=None, cnp.ndarray counter=None, stretches=(),
                  objective=None, dict settings=None, turns=None):
        cdef Py_ssize_t i, count = executor.count
        cdef External *places
        for i in range(count):
            if executor.slots[i].scheduled >= 0:
                raise ValueError("executor: a program that follows schedules cannot be prepared")
        self.executor, self.addresses = executor, Addresses(executor)
        self.workers, self.work = workers, work
        self.slots = <Slot *>fastnn_allocate(max(workers * count, 1) * sizeof(Slot))
        self.run = <Run *>fastnn_allocate(sizeof(Run))
        if self.slots == NULL or self.run == NULL:
            raise MemoryError("cannot allocate the program")
        for i in range(workers):
            memcpy(self.slots + i * count, executor.slots, count * sizeof(Slot))
        memset(self.run, 0, sizeof(Run))
        places = self.addresses.places
        self.run.slots, self.run.count, self.run.externals = self.slots, count, places
        self.run.end, self.run.steps, self.run.batch, self.run.total_rows = count, 1, 1, 1
        self.run.learning_rates, self.run.inputs = &self.rate, self.addresses.inputs
        self.run.key = key
        fastnn_barrier_init(&self.run.barrier)
        self.inputs = [_Samples(place, rows, shape, dtype) for place, shape in inputs]
        self.only = self.inputs[0] if len(self.inputs) == 1 else None
        self.results = np.zeros(max(len(results), 1))
        for i, place in enumerate(results):
            self.addresses.put(place, self.results[i:])
        self.output_place = -1
        if output is not None:
            self.output_place, shape = output
            self.output_type = np.dtype(dtype).num
            self.output_dimensions = 1 + len(shape)
            for i, size in enumerate(shape):
                self.output_shape[1 + i] = size
        self.objective, self.settings, self.turns = objective, settings, turns
        self.what, self.writes, self.is_active = "a step", "learned", True
        if turns is not None:
            self.changes, self.looks, self.waiting = turns.changes, turns.looks, turns.waiting
            self.relatives = turns.relatives
        self.counter, self.stretches = counter, list(stretches)
        if target is not None:
            place, shape, classes, limits = target
            self.target = _Samples(place, rows, shape, dtype, classes, limits)
            most = max(len(parameters) for parameters, _ in self.stretches)
            self.squares = _SumOfSquares(most, dtype == "float64")
        if weights is not None:
            self.weights = _Samples(weights, rows, (), dtype)

    def __dealloc__(self):
        free(self.slots)
        free(self.run)

    cdef bint _enter(self, list uses) except -1:
        """Announce a use of the network; return False if another thread is in the way."""
        if uses is None:
            return True
        self.thread = PyThread_get_thread_ident()
        uses.append(self)
        if uses is self.looks:
            return (number_on(self.changes) == 0 and not self.relatives
                    or self.turns.is_alone_to_look(self))
        return (number_on(self.changes) == 1 and number_on(self.looks) == 0 and not self.relatives
                or self.turns.is_alone_to_change(self))

    cdef int _leave(self, list uses) except -1:
        if uses is None:
            return 0
        take_off(uses, self)
        if self.waiting or self.relatives:
            self.turns.wake()
        return 0

    def predict_one(self, x):
        """Return the output for one sample, or None where the general path must be taken."""
        return self._predict(x, False, 1)

    def predict_few(self, x, int workers=1):
        """Return the outputs for some rows, run by a team, or None for the general path."""
        return self._predict(x, True, workers) if 0 < workers <= self.workers else None

    cdef object _predict(self, x, bint has_rows, int workers):
        cdef Py_ssize_t rows
        cdef bint is_noted = False
        cdef _Scratch scratch
        lock = self.executor.own_lock()
        if not lock.acquire(False):
            return None
        try:
            rows = self._take(x, has_rows)
            if rows == 0 or self.work * rows > LONG_STEP:
                return None
            self.output_shape[0] = self.run.batch = self.run.total_rows = rows
            result = cnp.PyArray_EMPTY(self.output_dimensions - (not has_rows),
                                       self.output_shape + (not has_rows), self.output_type, 0)
            self.addresses.places[self.output_place].base = <char *>cnp.PyArray_DATA(result)
            workers = team_of(workers)
            scratch = take_scratch(workers)
            # A short run keeps the GIL: it is over before another thread could change anything.
            if not (FASTNN_HAS_GIL and self._is_short(workers) and self.changes is not None
                    and not self.changes and not self.relatives):
                is_noted = True
                if not self._enter(self.looks):
                    return None
            self._run_with(scratch, workers)
            return result
        finally:
            self.parts = None
            lock.release()
            if is_noted:
                self._leave(self.looks)  # last, because it may raise

    cpdef bint has_settings(self, dict settings) except -1:
        """Whether these are the settings that the program was made with.

        The learning rate may differ: it is passed to each step.
        """
        self.settings["learning_rate"] = settings["learning_rate"]
        return self.settings == settings

    def learn(self, x, y, dict settings not None, judge not None, owner):
        """Make one step on one sample.

        Parameters
        ----------
        x, y : object
        settings : dict
            The optimizer's current settings.
        judge : callable
            Called with `owner`, x, whether the step was made (it is not if the loss is not finite),
            and the loss, if the loss or the sum of the squares of the parameters is not finite,
            while no other thread may change the network; the parameters before the step are in
            the snapshots. It returns the loss, or raises.
        owner : object

        Returns
        -------
        float or None
            The loss; None where the general path must be taken.
        """
        return self._try(x, y, None, settings, 1, judge, owner, False)

    def learn_batch(self, x, y, weights, dict settings not None, judge not None, owner,
                    int workers=1):
        """Make one step on a batch; the parameters and the result are as for `learn`.

        `weights` are those of the samples, None for a program without.
        """
        return self._try(x, y, weights, settings, workers, judge, owner, True)

    cdef object _try(self, x, y, weights, dict settings, int workers, judge, owner,
                     bint has_rows):
        cdef Py_ssize_t rows
        cdef double loss
        cdef bint is_done
        cdef Turn turn = None
        lock = self.executor.own_lock()
        if not lock.acquire(False):
            return None
        try:
            try:
                if not (self._enter(self.changes) and self.has_settings(settings)):
                    return None
                rows = self._take_all(x, y, weights, has_rows)
                if rows == 0:
                    return None
                if self._learn(settings, rows, workers):
                    return self.loss
                loss, is_done = self.loss, self.is_done
                if self.turns is not None:  # another turn, since the lock may be wanted meanwhile
                    turn = self.turns.change(self.what)
                    turn.follow()
            finally:
                self.parts = None
                lock.release()
                self._leave(self.changes)
            return judge(owner, x, is_done, loss)
        finally:
            if turn is not None:
                turn.__exit__()

    cdef Py_ssize_t _take_all(self, x, y, weights, bint has_rows) except -1:
        """Find the rows of inputs, target and weights; 0 declines."""
        cdef Py_ssize_t rows
        if (weights is None) != (self.weights is None):
            return 0
        rows = self._take(x, has_rows)
        if rows == 0 or self.work * rows > LONG_STEP:
            return 0
        if not (self.target.take_rows(y, rows) if has_rows else self.target.take_target(y)):
            return 0
        if weights is not None:
            if not self.weights.take_rows(weights, rows):
                return 0
            self._put(self.weights)
        return rows

    cdef bint _learn(self, dict settings, Py_ssize_t rows, int workers) except -1:
        """Make a step on what was taken; return whether all is finite."""
        cdef cnp.ndarray parameters, snapshot
        self._put(self.target)
        for parameters, snapshot in self.stretches:
            memcpy(cnp.PyArray_DATA(snapshot), cnp.PyArray_DATA(parameters),
                   cnp.PyArray_NBYTES(parameters))
        self.run.batch = self.run.total_rows = rows
        rate = settings["learning_rate"]
        self._step(self._scheduled(rate) if callable(rate) else rate, workers)
        self.loss = (<double *>cnp.PyArray_DATA(self.results))[0]
        self.is_done = self.run.stopped_at < 0
        if not self.is_done:
            return False
        for parameters, _ in self.stretches:
            if not isfinite(self.squares.of(parameters)):
                return False
        return True

    def update(self, double learning_rate):
        """Update the parameters with the current gradients; not thread-safe."""
        self._step(learning_rate, 1)

    cdef int _step(self, double learning_rate, int workers) except -1:
        """Make one step, which is counted if its loss is finite."""
        cdef int64_t *counter = <int64_t *>cnp.PyArray_DATA(self.counter)
        self.rate = learning_rate
        self.run.first_number = <uint64_t>(counter[0] + 1)
        self._run(workers)
        counter[0] += self.run.stopped_at < 0
        return 0

    cdef double _scheduled(self, schedule) except? -1:
        """Return the rate of a step; a call takes some 20 us, so a block of rates is requested."""
        cdef int64_t step = (<int64_t *>cnp.PyArray_DATA(self.counter))[0]
        if not type(schedule).__module__.startswith("fastnn."):
            # What a user has written may depend on anything, and know nothing of later steps.
            return schedule.rates_from(step, 1)[0]
        if (schedule is not self.schedule or step < self.first_rate
                or step >= self.first_rate + self.rates.shape[0]):
            self.schedule, self.rates = None, schedule.rates_from(step, RATES)
            self.schedule, self.first_rate = schedule, step
        return self.rates[step - self.first_rate]

    cdef Py_ssize_t _take(self, x, bint has_rows) except -1:
        """Find the rows of each input; 0 declines."""
        cdef Py_ssize_t i, found, rows = 0
        cdef _Samples samples
        if self.only is not None:
            rows = self.only.take(x, has_rows)
            self._put(self.only)
            return rows
        if (type(x) is not list and type(x) is not tuple) or len(x) != len(self.inputs):
            return 0
        self.parts = tuple(x)  # alive until the run ends, whatever becomes of the list
        for i in range(len(self.inputs)):
            samples = self.inputs[i]
            found = samples.take(self.parts[i], has_rows)
            if found == 0 or i and found != rows:
                return 0
            rows = found
            self._put(samples)
        return rows

    cdef void _put(self, _Samples samples) noexcept:
        self.addresses.places[samples.place].base = <char *>samples.data

    cdef bint _is_short(self, int workers) noexcept:
        """Whether the run that has been prepared keeps the GIL."""
        return workers == 1 and self.work * self.run.batch <= LONG_WORK

    cdef int _run(self, int workers) except -1:
        workers = team_of(workers)
        return self._run_with(take_scratch(workers), workers)

    cdef int _run_with(self, _Scratch scratch, int workers) except -1:
        self.executor.uses += 1
        self.run.scratch, self.run.stopped_at = <char *>scratch.blocks, -1
        fastnn_refusal_set(&self.run.refusal, FASTNN_OK)
        if self._is_short(workers):
            run_team_member(self.run, 0, 1)
        else:
            self.executor._run_team(self.run, workers)
        _idle.append(scratch)
        return raise_status(fastnn_refusal_get(&self.run.refusal))
