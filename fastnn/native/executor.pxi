# Programs bound to their memory, and how a team runs them. Part of engine.pyx, which includes it.

cdef struct Slot:
    fastnn_kernel kernel
    fastnn_call call
    int external[8]      # number of the external that an operand comes from, or -1
    bint moves           # whether any operand is external
    bint batched         # rows is that of the step; otherwise as bound
    bint barrier         # a later op needs what this one writes, or overwrites what it reads
    bint updates         # takes the learning rate and the number of the step
    bint checked         # writes the loss: stop if it is not finite
    bint repeats         # it, and those up to the next barrier, may be run again: see plan.py
    double work          # in multiply-adds, of each row if batched
    bint in_parts        # whether a long op is done in parts, not watched by the kernel itself
    int gathers          # number of the input that it fills, or -1
    int scheduled        # number of the schedule of one of its scalars, or -1
    int scheduled_at     # which scalar that is


cdef struct External:
    char *base
    Py_ssize_t row_bytes     # the address advances by this much per row ...
    Py_ssize_t step_bytes    # ... and by this much per step


cdef struct Gathered:
    bint in_place            # read in place, so that its gather is skipped
    int source               # number of its source's dtype
    Py_ssize_t stride        # bytes from one row of the source to the next


cdef struct Run:
    Slot *slots              # (workers, count)
    Py_ssize_t count
    External *externals
    Py_ssize_t begin, end    # range of ops in the list
    Py_ssize_t first_step, steps, batch, total_rows, schedules
    const double *learning_rates
    const double *scheduled  # (schedules, steps)
    uint64_t first_number    # the number of the first step, counted from 1
    uint64_t key
    char *scratch
    const Gathered *inputs
    Py_ssize_t stopped_at    # step whose loss was not finite, or -1
    bint listens             # whether the workers look out for SIGINT and SIGTERM
    fastnn_leaving leaving
    Py_ssize_t left_step, left_op    # where they have left because of one; -1 if they have not
    Py_ssize_t from_step, from_op    # where they begin: the first step and op, or where they left
    fastnn_refusal refusal
    double *seconds          # (count) time spent in each op by worker 0, or NULL
    int thread[64]           # FASTNN_SPREAD_MOST: thread numbers of the workers
    double opened            # when the team was opened, if its workers are watched; otherwise 0
    double absent[64]        # for how many seconds each worker had no processor since then
    fastnn_barrier barrier


# Above this many multiply-adds a step may last too long for someone who has pressed Ctrl-C: a slow
# machine makes 5e9 of them in a second. A long op is done in parts of about so many per worker.
cdef double LONG_STEP = 1e9
cdef double PART_WORK = 2e9
cdef int MOST_PARTS = 256
# Signals whose handlers let the step go on may come faster than an op is done.
cdef int MOST_REPEATS = 3


# A team is watched if its run has this many multiply-adds, some milliseconds of one worker; of
# shorter runs, every eighth: reading the clocks of two workers takes a microsecond. Workers that
# had nothing to do for longer than AWAKE sleep, and are not absent while they wake up; some sleep
# after DOZING, see native/__init__.py.
cdef double WATCHED_WORK = 1e8
cdef int WATCHED_RUNS = 8
cdef double AWAKE = 0.005  # seconds
cdef double DOZING = 0.001
cdef double ABSENT_SHARE = 0.1  # of the time; a worker that was absent longer shares its processor


cdef int run_in_parts(const Slot *slot, int worker, int workers) noexcept nogil:
    """Run one worker's share of an op, unless the user wants it to end.

    The parts are the shares of a larger team: a kernel's bits do not depend on its size.
    """
    cdef double work = slot.work * (<double>slot.call.rows if slot.batched else 1.0)
    cdef int parts = 1, part, status = FASTNN_OK
    if slot.in_parts:
        parts += <int>min(work / (PART_WORK * workers), MOST_PARTS - 1.0)
    for part in range(parts):
        if fastnn_is_interrupted() or status != FASTNN_OK:
            return status
        status = slot.kernel(&slot.call, worker + part * workers, parts * workers)
    return status


cdef void run_team_member(Run *run, int worker, int workers) noexcept nogil:
    """Run one worker's share of a slice, treating denormals as zero."""
    cdef uint64_t mode = fastnn_float_mode()
    cdef double used = fastnn_processor_seconds() if run.opened > 0 else 0.0
    if 0 < worker < FASTNN_SPREAD_MOST:
        run.thread[worker] = fastnn_spread_thread()
    fastnn_set_float_mode(mode | FLUSH_DENORMALS)
    run_steps(run, worker, workers)
    fastnn_set_float_mode(mode)
    if run.opened > 0 and worker < FASTNN_SPREAD_MOST and used >= 0:
        used = fastnn_processor_seconds() - used
        run.absent[worker] = max(fastnn_seconds() - run.opened - used, 0.0)


cdef void run_steps(Run *run, int worker, int workers) noexcept nogil:
    """Run one worker through all steps of a slice."""
    cdef Slot *slots = run.slots + worker * run.count
    cdef Slot *slot
    cdef External *external
    cdef Py_ssize_t step, op, row, rows, place
    cdef Py_ssize_t first = run.from_op  # op of the step
    cdef Py_ssize_t group                # first op since the last barrier
    cdef int operand, status
    cdef double before = 0.0, now
    cdef bint is_timed = worker == 0 and run.seconds != NULL
    for op in range(run.begin, run.end):
        slots[op].call.scratch = run.scratch + worker * <Py_ssize_t>FASTNN_SCRATCH_BYTES
        slots[op].call.key = run.key
        if run.listens and slots[op].repeats:
            slots[op].call.given_up = fastnn_given_up()
    if is_timed:
        before = fastnn_seconds()
    for step in range(run.from_step, run.first_step + run.steps):
        group = first
        row = step * run.batch
        rows = run.batch if run.total_rows - row > run.batch else run.total_rows - row
        for op in range(first, run.end):
            slot = slots + op
            if slot.gathers < 0 or not run.inputs[slot.gathers].in_place:
                slot.call.step = run.first_number + <uint64_t>(step - run.first_step)
                if slot.batched:
                    slot.call.rows = rows
                if slot.updates:
                    slot.call.scalar[0] = run.learning_rates[step]
                    slot.call.scalar[1] = <double>slot.call.step
                if slot.scheduled >= 0:
                    slot.call.scalar[slot.scheduled_at] = run.scheduled[
                        slot.scheduled * run.steps + step - run.first_step]
                for operand in range(FASTNN_MAX_OPERANDS if slot.moves else 0):
                    if slot.external[operand] >= 0:
                        external = run.externals + slot.external[operand]
                        slot.call.operand[operand] = NULL if external.base == NULL else (
                            external.base + row * external.row_bytes
                            + step * external.step_bytes)
                if run.listens and slot.repeats:
                    status = run_in_parts(slot, worker, workers)
                else:
                    status = slot.kernel(&slot.call, worker, workers)
                if status != FASTNN_OK:
                    fastnn_refusal_set(&run.refusal, status)
            if slot.barrier:
                place = step * run.count + op + 1
                if run.listens and slot.repeats and fastnn_is_interrupted():
                    fastnn_leave_at(&run.leaving, place)
                fastnn_barrier_wait(&run.barrier, workers)
                if run.listens and fastnn_leaves_at(&run.leaving, place):
                    if worker == 0:
                        run.left_step, run.left_op = step, group
                    return
                group = op + 1
            if is_timed:
                now = fastnn_seconds()
                run.seconds[op] += now - before
                before = now
            if slot.checked and not isfinite((<double *>slot.call.operand[1])[0]):
                # Every worker reads the same number after the barrier, so all leave here. (A later
                # op may set a status; it is checked after the slice.)
                if worker == 0:
                    run.stopped_at = step
                return
        first = run.begin


cdef class Executor


cdef class Addresses:
    """The addresses of a run's arrays, by the numbers of `fastnn.program.externals`.

    Parameters
    ----------
    executor : Executor
        Executor of the program to run.
    """
    cdef External *places
    cdef Gathered *inputs
    cdef Py_ssize_t count, input_count
    cdef list kept  # the arrays, to keep them alive

    def __cinit__(self, Executor executor):
        cdef Py_ssize_t i
        self.count, self.input_count = executor.external_count, executor.input_count
        self.kept = []
        self.places = <External *>calloc(max(self.count, 1), sizeof(External))
        self.inputs = <Gathered *>calloc(max(self.input_count, 1), sizeof(Gathered))
        if self.places == NULL or self.inputs == NULL:
            raise MemoryError("cannot allocate the addresses of a run")
        for i in range(self.input_count):
            self.inputs[i].in_place = True

    def __dealloc__(self):
        free(self.places)
        free(self.inputs)

    def put(self, Py_ssize_t place, cnp.ndarray array not None, Py_ssize_t row_bytes=0,
            Py_ssize_t step_bytes=0, Py_ssize_t offset=0):
        """Set the address of an array, which is kept alive.

        Parameters
        ----------
        place : int
        array : ndarray
        row_bytes, step_bytes : int, default 0
            How far the address advances with each row of the data, and with each step.
        offset : int, default 0
            Offset from the first element, in bytes.
        """
        if not 0 <= place < self.count:
            raise ValueError(f"place must lie in [0, {self.count}), got {place}")
        self.places[place].base = cnp.PyArray_BYTES(array) + offset
        self.places[place].row_bytes, self.places[place].step_bytes = row_bytes, step_bytes
        self.kept.append(array)

    def gather(self, Py_ssize_t number, int source, Py_ssize_t stride):
        """Have an input gathered from rows of a dtype (`kernels.source_number`) and stride.

        Without this call an input is read in place.
        """
        if not 0 <= number < self.input_count:
            raise ValueError(f"number must lie in [0, {self.input_count}), got {number}")
        self.inputs[number].in_place = False
        self.inputs[number].source, self.inputs[number].stride = source, stride


cdef class Executor:
    """A planned program, bound to its arenas.

    Parameters
    ----------
    calls : sequence of fastnn.program.plan.Call
        The ops in the order in which they run.
    dtype : {"float32", "float64"}
    arenas : dict of str to ndarray
        The arrays that the names in the operands refer to. They are kept alive and must keep
        their addresses.
    externals : int
        How many addresses each run supplies; the operands refer to them by number.
    inputs : int
        Number of inputs of the program.

    Attributes
    ----------
    absence : float
        For how many seconds of its last run a worker of a team had no processor, at most; negative
        if the team was not watched.
    present : int
        How many of its workers had a processor nearly all the time.
    was_idle : bool
        Whether its last team may have had to be woken.
    is_watched : bool
        Whether each run of a team is watched, however short; may be set.

    Raises
    ------
    ValueError
        A kernel is unknown, or an operand lies outside its arena.
    """
    cdef Slot *slots
    cdef Py_ssize_t count, external_count, input_count
    cdef object arenas, lock
    cdef int64_t forks
    cdef uint64_t uses           # counts the runs, which share the workspace
    cdef double row_work, fixed_work
    cdef uint64_t teams          # counts the teams
    cdef double closed           # when the last team had ended
    cdef readonly double absence
    cdef readonly int present
    cdef readonly bint was_idle
    cdef public bint is_watched

    def __cinit__(self, calls, str dtype, dict arenas, Py_ssize_t externals, Py_ssize_t inputs):
        cdef Py_ssize_t position
        self.arenas, self.lock = dict(arenas), threading.Lock()
        self.external_count, self.input_count = externals, inputs
        self.forks = fastnn_forks
        self.count = len(calls)
        self.slots = <Slot *>fastnn_allocate(max(self.count, 1) * sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError("cannot allocate the program")
        memset(self.slots, 0, self.count * sizeof(Slot))
        for position, call in enumerate(calls):
            self._fill(self.slots + position, call, dtype == "float64")

    cdef int _fill(self, Slot *slot, call, bint is_double) except -1:
        cdef int i
        slot.kernel = kernel_named(call.kernel.encode(), is_double)
        slot.call.rows = call.rows
        slot.call.variant = call.variant
        slot.batched, slot.barrier = call.batched, call.barrier
        slot.updates, slot.checked, slot.gathers = call.updates, call.checked, call.gathers
        slot.repeats, slot.work, slot.in_parts = call.repeats, call.work, call.in_parts
        if slot.batched:
            self.row_work += slot.work
        else:
            self.fixed_work += slot.work
        for i, size in enumerate(call.sizes):
            slot.call.size[i] = size
        for i, scalar in enumerate(call.scalars):
            slot.call.scalar[i] = scalar
        slot.scheduled, slot.scheduled_at = call.scheduled or (-1, 0)
        for i in range(FASTNN_MAX_OPERANDS):
            slot.external[i] = -1
        for i, operand in enumerate(call.operands):
            if operand is None:
                continue
            space, offset, length = operand
            if isinstance(space, int):
                if not 0 <= space < self.external_count:
                    raise ValueError(f"operand {i} of {call.kernel} is external {space}, there "
                                     f"are {self.external_count}")
                slot.external[i], slot.moves = space, True
                continue
            arena = self.arenas[space]
            if offset < 0 or offset + length > arena.nbytes:
                raise ValueError(
                    f"operand {i} of {call.kernel} at {offset} to {offset + length} lies "
                    f"outside the {arena.nbytes} bytes of {space}")
            slot.call.operand[i] = <void *>(<uintptr_t>arena.ctypes.data + <uintptr_t>offset)
        return 0

    def __dealloc__(self):
        free(self.slots)

    def run(self, Addresses addresses not None, *, Py_ssize_t batch, Py_ssize_t total_rows,
            Py_ssize_t first_step=0, Py_ssize_t steps=1, const double[::1] learning_rates=None,
            const double[:, ::1] scheduled=None, int64_t[::1] counter=None,
            uint64_t first_number=1, uint64_t key=0,
            Py_ssize_t begin=0, Py_ssize_t end=-1, int workers=1, double[::1] seconds=None):
        """Run ops [begin, end) for `steps` steps of `batch` rows, without the GIL.

        Parameters
        ----------
        addresses : Addresses
            Addresses for this program; a place that was not set is NULL.
        batch, total_rows : int
            Rows of a step, and rows in total: step i takes rows i * batch to (i + 1) * batch, the
            last step takes the rest.
        first_step, steps : int
            The range of steps.
        learning_rates : ndarray of float64, shape (first_step + steps or more,), optional
            One per step; needed by a program that updates.
        scheduled : ndarray of float64, shape (schedules, steps), optional
            The values of the schedules that scalars of ops follow, one per step of this run.
        first_number : int, default 1
            Number of the first of these steps, counted from 1 (Adam's t, dropout's counter).
        counter : ndarray of int64, shape (1,), optional
            The number of steps run is added to it here, where Ctrl-C cannot intervene.
        key : int
            Seed of dropout.
        workers : int
            Size of the team.
        seconds : ndarray of float64, shape (ops,), optional
            The time that worker 0 spends in each op, including its barrier, is added to it here.

        Returns
        -------
        int
            Steps run: fewer than `steps` if a loss was not finite; that step is not counted.

        Raises
        ------
        KeyboardInterrupt or other
            What the handler of a signal raises that came while the main thread made a long step.
            The step is then not made, and `counter` counts those before it.
        """
        cdef Run run
        cdef Py_ssize_t done
        cdef uint64_t uses
        cdef bint is_long
        cdef int again = 0
        memset(&run, 0, sizeof(run))
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        if addresses.count != self.external_count or addresses.input_count != self.input_count:
            raise ValueError("addresses were made for another program")
        workers = team_of(workers)
        run.end = self.count if end < 0 else end
        run.begin, run.count, run.externals = begin, self.count, addresses.places
        run.first_step, run.steps, run.batch = first_step, steps, batch
        run.total_rows, run.first_number, run.key = total_rows, first_number, key
        run.inputs, run.stopped_at = addresses.inputs, -1
        run.from_step, run.from_op = first_step, begin
        is_long = (self.row_work * min(batch, total_rows) + self.fixed_work > LONG_STEP
                   and threading.current_thread() is threading.main_thread())
        run.listens = is_long
        if seconds is not None:
            if seconds.shape[0] != self.count:
                raise ValueError(f"seconds has {seconds.shape[0]} entries, the program "
                                 f"{self.count} ops")
            run.seconds = &seconds[0]
        if learning_rates is not None:
            if learning_rates.shape[0] < first_step + steps:
                raise ValueError(f"learning_rates has {learning_rates.shape[0]} entries, "
                                 f"expected at least {first_step + steps}")
            run.learning_rates = &learning_rates[0]
        if scheduled is not None and scheduled.shape[0]:
            if scheduled.shape[1] != steps:
                raise ValueError(f"scheduled has values for {scheduled.shape[1]} steps, expected "
                                 f"{steps}")
            run.scheduled = &scheduled[0, 0]
            run.schedules = scheduled.shape[0]
        try:
            while True:
                if run.listens:
                    fastnn_listen_begin()
                    PyErr_CheckSignals()  # one that came before has not raised the flag
                self._run_once(&run, workers)
                if run.left_step < 0:
                    break
                # Here the lock is free: a handler may use the model. If it runs this program,
                # what the step has computed is lost.
                again = again + 1 if run.from_op == run.left_op else 0
                run.listens = again < MOST_REPEATS
                run.from_step, run.from_op, uses = run.left_step, run.left_op, self.uses
                PyErr_CheckSignals()
                if self.uses != uses:
                    run.from_op = run.begin
                    if begin > 0 or run.end < self.count:  # what came before is lost as well
                        raise RuntimeError(
                            "the handler of a signal, or another thread, has used the model in the "
                            "middle of a long step that Python code is part of: the step was not "
                            "made")
        except BaseException:
            if counter is not None:
                counter[0] += run.from_step - first_step
            raise
        finally:
            if is_long:
                fastnn_listen_end()
        done = steps if run.stopped_at < 0 else run.stopped_at - first_step
        if counter is not None:
            counter[0] += done
        raise_status(fastnn_refusal_get(&run.refusal))
        return done

    cdef int _run_once(self, Run *run, int workers) except -1:
        """Run the steps that are left; `left_step` is -1 if the workers have not left again."""
        cdef Py_ssize_t i
        cdef _Scratch scratch
        run.left_step = -1
        fastnn_leave_at(&run.leaving, 0)
        with self.own_lock():
            self.uses += 1
            scratch = take_scratch(workers)
            run.scratch = <char *>scratch.blocks
            run.slots = <Slot *>fastnn_allocate(max(workers * self.count, 1) * sizeof(Slot))
            if run.slots == NULL:
                raise MemoryError("cannot allocate the team's copies of the program")
            try:
                for i in range(workers * self.count):
                    run.slots[i] = self.slots[i % self.count]
                self._set_sources(run, workers)
                fastnn_barrier_init(&run.barrier)
                self._run_team(run, workers)
            finally:
                free(run.slots)
                _idle.append(scratch)
        return 0

    cdef object own_lock(self):
        """Return this process's lock: another thread may have held the old one at a fork."""
        lock = threading.Lock() if self.forks != fastnn_forks else None
        with cython.critical_section(self):  # all threads of the child get the same one
            if self.forks != fastnn_forks:
                self.lock, self.forks = lock, fastnn_forks
            lock = self.lock
        return lock

    cdef int _set_sources(self, Run *run, int workers) except -1:
        cdef Py_ssize_t i
        cdef Slot *slot
        for i in range(workers * self.count):
            slot = run.slots + i
            if slot.gathers >= 0:
                slot.call.variant = run.inputs[slot.gathers].source
                slot.call.size[1] = run.inputs[slot.gathers].stride
            elif slot.updates and run.learning_rates == NULL and run.begin <= i < run.end:
                raise ValueError("learning_rates is needed by a program that updates")
            if slot.scheduled >= run.schedules:
                raise ValueError(f"scheduled lacks schedule {slot.scheduled} of the program")
        return 0

    cdef int _run_team(self, Run *run, int workers) except -1:
        if workers == 1:
            with nogil:
                run_team_member(run, 0, 1)
        else:
            with nogil:
                fastnn_spread_begin(workers)
                self._begin_watching(run)
                with parallel(num_threads=workers):
                    run_team_member(run, threadid(), fastnn_team_size())
                self._end_watching(run, workers)
                fastnn_spread_end(run.thread, workers)
        return 0

    cdef void _begin_watching(self, Run *run) noexcept nogil:
        """Have the workers of a team note for how long they had no processor, if it is watched."""
        cdef double rows = <double>min(run.batch, run.total_rows)
        cdef double work = (self.row_work * rows + self.fixed_work) * <double>run.steps
        self.teams += 1
        memset(run.absent, 0, sizeof(run.absent))
        run.opened = fastnn_seconds()
        self.was_idle = run.opened - self.closed > DOZING
        if not (work >= WATCHED_WORK or self.is_watched or self.teams % WATCHED_RUNS == 0):
            run.opened = 0.0
        elif run.opened - self.closed > AWAKE:
            run.opened = 0.0

    cdef void _end_watching(self, Run *run, int workers) noexcept nogil:
        """Note the longest absence, and how many workers had a processor of their own."""
        cdef double elapsed
        cdef int worker
        self.absence, self.present, self.closed = -1.0, workers, fastnn_seconds()
        if run.opened == 0.0:
            return
        elapsed = self.closed - run.opened
        for worker in range(min(workers, FASTNN_SPREAD_MOST)):
            self.absence = max(self.absence, run.absent[worker])
            self.present -= run.absent[worker] > ABSENT_SHARE * elapsed
        run.opened = 0.0
