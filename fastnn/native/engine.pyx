"""The engine: selects the kernels for this machine and runs a planned program with them.

The engine makes no decisions of its own. Python says which rows, which learning rates, how many
workers and how many steps; the engine walks the list of ops that many times without the GIL and
returns how many steps it completed. It knows no op by name: every kernel has the same signature
(`src_c/fastnn.h`), and an op consists of a kernel, the addresses of its operands, and its numbers.

One team runs a whole slice of steps. Its workers meet at a barrier after every op on whose
result a later op depends (`program/plan.py` says where). Each worker has its own copy of the list,
so that it can set what changes from step to step without synchronizing with the others.
"""
cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.pythread cimport PyThread_get_thread_ident
from cython.parallel cimport parallel, threadid
from libc.float cimport FLT_MAX, DBL_MAX
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os
import threading

import numpy as np

from fastnn.native.engine cimport (
    FASTNN_ACTIVATION_ROWS,
    FASTNN_AS_GIVEN,
    FASTNN_BAD_COLUMN,
    FASTNN_BAD_LABEL,
    FASTNN_BFLOAT16_EMULATED,
    FASTNN_BFLOAT16_NATIVE,
    FASTNN_GRADIENT_ROWS_AS_GIVEN,
    FASTNN_HALVES_FROM_ROWS,
    FASTNN_KERNEL_COUNT,
    FASTNN_LOSS_ROWS,
    FASTNN_MATH_ROWS,
    FASTNN_MAX_OPERANDS,
    FASTNN_MAX_SIZES,
    FASTNN_NORM_CHUNK,
    FASTNN_OK,
    FASTNN_OPTIMIZER_ROWS,
    FASTNN_SCRATCH_BYTES,
    fastnn_call,
    fastnn_flag,
    fastnn_isa_has_bfloat16,
    fastnn_isa_names,
    fastnn_isa_supported,
    fastnn_isa_table,
    fastnn_kernel,
    fastnn_kernel_find,
    fastnn_kernel_name,
    fastnn_table,
    fastnn_variant,
)

cnp.import_array()


cdef extern from "affinity.h" nogil:
    enum: FASTNN_SPREAD_MOST
    int fastnn_processors_allowed()
    void fastnn_spread_begin(int workers)
    int fastnn_spread_thread()
    void fastnn_spread_end(const int *thread, int workers)

cdef extern from "barrier.h" nogil:
    ctypedef struct fastnn_barrier:
        pass
    void fastnn_barrier_init(fastnn_barrier *barrier)
    void fastnn_barrier_wait(fastnn_barrier *barrier, int workers)


cdef extern from "interruption.h" nogil:
    ctypedef struct fastnn_leaving:
        pass
    void fastnn_leave_at(fastnn_leaving *leaving, Py_ssize_t place)
    bint fastnn_leaves_at(fastnn_leaving *leaving, Py_ssize_t place)
    void fastnn_listen_begin()
    void fastnn_listen_end()
    bint fastnn_is_interrupted()
    const fastnn_flag *fastnn_given_up()


cdef extern from "refusal.h" nogil:
    ctypedef struct fastnn_refusal:
        pass
    void fastnn_refusal_set(fastnn_refusal *refusal, int status)
    int fastnn_refusal_get(fastnn_refusal *refusal)


cdef extern from "denormals.h" nogil:
    const uint64_t FLUSH_DENORMALS
    uint64_t fastnn_float_mode()
    void fastnn_set_float_mode(uint64_t mode)


cdef extern from *:
    """
    #if defined(__clang__)
    #define FASTNN_COMPILER "Clang " __clang_version__
    #else
    #define FASTNN_COMPILER "GCC " __VERSION__
    #endif
    #if defined(Py_GIL_DISABLED)
    #define FASTNN_HAS_GIL 0
    #else
    #define FASTNN_HAS_GIL 1
    #endif
    #include <stdlib.h>
    #include <time.h>
    /* Counted from fastnn_start_clock, at import: as seconds since 1970, a double resolves
    * only 0.24 microseconds, which is more than an op of a small network takes. */
    static time_t fastnn_clock_start;
    static double fastnn_seconds(void)
    {
        struct timespec now;
        timespec_get(&now, TIME_UTC);
        return (double)(now.tv_sec - fastnn_clock_start) + 1e-9 * (double)now.tv_nsec;
    }
    static void fastnn_start_clock(void) { fastnn_clock_start = time(NULL); }
    /* The processor time of the calling thread; negative where it cannot be known. */
    static double fastnn_processor_seconds(void)
    {
    #if defined(CLOCK_THREAD_CPUTIME_ID)
        struct timespec used;
        if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used))
            return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
    #endif
        return -1.0;
    }
    /* `bytes` rounded up to whole cache lines and aligned to one; NULL if out of memory. */
    static void *fastnn_allocate(size_t bytes)
    {
        return aligned_alloc(64, (bytes + 63) / 64 * 64);
    }
    """
    const char *FASTNN_COMPILER
    const char *FASTNN_VERSION
    bint FASTNN_HAS_GIL
    void *fastnn_allocate(size_t size) nogil
    double fastnn_seconds() nogil
    double fastnn_processor_seconds() nogil
    void fastnn_start_clock()


cdef extern from "team.h" nogil:
    const int FASTNN_OPENMP
    int64_t fastnn_forks
    int fastnn_opened
    bint fastnn_threads_are_lacking
    int fastnn_known_default
    void fastnn_watch_forks()
    int fastnn_can_start(int count)
    int fastnn_team_size()
    int fastnn_openmp_threads()
    int fastnn_openmp_default()
    int fastnn_openmp_processors()
    bint fastnn_openmp_binds()


cdef extern from "numpy/arrayobject.h":
    bint PyArray_IsIntegerScalar(object)


fastnn_start_clock()
fastnn_watch_forks()
VERSION = FASTNN_VERSION.decode()
COMPILER = FASTNN_COMPILER.decode()
HAS_OPENMP = bool(FASTNN_OPENMP)

# --- whether there can be a team --------------------------------------------------------------


def forks():
    """How many forks led to this process since the import, those made in C included."""
    return fastnn_forks


def can_open_a_team():
    """Whether OpenMP may be asked for a team in this process.

    It would hang in a forked child. A process in which a thread could not be started is left
    alone until `try_threads_again`.
    """
    return FASTNN_OPENMP and not fastnn_forks and not fastnn_threads_are_lacking


def address_of(cnp.ndarray array not None):
    """The address of an array's first element, a number."""
    return <uintptr_t>cnp.PyArray_DATA(array)


def try_threads_again():
    """Try again to start threads, where that has failed before."""
    global fastnn_threads_are_lacking
    fastnn_threads_are_lacking = False


def openmp_threads():
    """The number of threads that OpenMP was told for teams of the calling thread.

    Returns
    -------
    int or None
        None where nobody has told it another number than its default.
    """
    global fastnn_known_default
    cdef int told = fastnn_openmp_threads()
    if fastnn_known_default == 0:
        fastnn_known_default = fastnn_openmp_default()
    return None if told == fastnn_known_default else told


def processors_allowed():
    """How many processors the calling thread may use; 0 if the system does not say so quickly."""
    return fastnn_processors_allowed()


def openmp_processors():
    """The number of processors that OpenMP distributes its threads to.

    Returns
    -------
    int or None
        None unless it binds them, after which a thread's affinity does not tell.
    """
    return fastnn_openmp_processors() if fastnn_openmp_binds() else None


cdef int team_of(int workers) except -1:
    """The size of the team to open for `workers`: 1 where there can be none."""
    global fastnn_threads_are_lacking, fastnn_opened
    if workers == 1 or not FASTNN_OPENMP or fastnn_forks or fastnn_threads_are_lacking:
        return 1
    if workers > fastnn_opened and not fastnn_can_start(workers - fastnn_opened):
        fastnn_threads_are_lacking = True
        from fastnn.core import notices
        notices.warn(
            f"a team of {workers} workers cannot be opened, because this process may not start "
            "more threads (see `ulimit -u`, `ulimit -v`, and the container's pids.max): one worker "
            "does everything until set_num_threads is called", RuntimeWarning)
        return 1
    fastnn_opened = workers  # OpenMP ends those that a smaller team does not need
    return workers


# --- which kernels ----------------------------------------------------------------------------

cdef const fastnn_table *float32_table = NULL
cdef const fastnn_table *float64_table = NULL


def compiled_isas():
    """Names of the ISAs compiled into this build, best first."""
    names = []
    cdef const char *const *name = fastnn_isa_names()
    cdef Py_ssize_t i = 0
    while name[i] != NULL:
        names.append(name[i].decode())
        i += 1
    return names


def supported_isas():
    """Names of the compiled ISAs that this machine supports, best first."""
    return [isa for isa in compiled_isas() if fastnn_isa_supported(isa.encode())]


def _choose_isa(wanted):
    """The ISA to use: `wanted` (the value of FASTNN_ISA) or the best one.

    Raises
    ------
    ImportError
        `wanted` is unknown to this build, or this machine does not support it.
    """
    supported = supported_isas()
    if not wanted:
        return supported[0]
    if wanted not in compiled_isas():
        raise ImportError(
            f"FASTNN_ISA={wanted!r} is unknown; this build has {', '.join(compiled_isas())}")
    if wanted not in supported:
        raise ImportError(
            f"FASTNN_ISA={wanted!r} is not supported by this machine; "
            f"it runs {', '.join(supported)}")
    return wanted


ISA = _choose_isa(os.environ.get("FASTNN_ISA", ""))
float32_table = fastnn_isa_table(ISA.encode(), 0)
float64_table = fastnn_isa_table(ISA.encode(), 1)
LANES = {"float32": float32_table.lanes, "float64": float64_table.lanes}
# Whether the processor has instructions for bfloat16, and this build uses them.
HAS_BFLOAT16 = bool(fastnn_isa_has_bfloat16(ISA.encode()))
# What products can round their operands to, and the number that their kernels take for it.
PRECISIONS = {
    "as given": FASTNN_AS_GIVEN,
    "bfloat16": FASTNN_BFLOAT16_NATIVE if HAS_BFLOAT16 else FASTNN_BFLOAT16_EMULATED,
    "emulated bfloat16": FASTNN_BFLOAT16_EMULATED,
}


cdef fastnn_kernel kernel_named(const char *name, bint is_double) except *:
    """The active ISA's kernel for one dtype."""
    cdef int index = fastnn_kernel_find(name)
    if index < 0:
        raise ValueError(f"there is no kernel {name.decode()!r}")
    return float64_table.kernel[index] if is_double else float32_table.kernel[index]


def variants(str table):
    """The rows of a variant table of `src_c`, in numerical order.

    Parameters
    ----------
    table : {"activations", "losses", "optimizers", "math"}

    Returns
    -------
    dict of str to tuple
        Name of the row to (keeps, parameter names, number); see `fastnn_variant`.
    """
    cdef int index = {"activations": FASTNN_ACTIVATION_ROWS, "losses": FASTNN_LOSS_ROWS,
                      "optimizers": FASTNN_OPTIMIZER_ROWS, "math": FASTNN_MATH_ROWS}[table]
    cdef const fastnn_variant *row = float32_table.variants[index]
    rows = {}
    while row.name != NULL:
        rows[row.name.decode()] = (row.keeps.decode(), row.parameters.decode(), row.number)
        row += 1
    return rows


# --- scratch ----------------------------------------------------------------------------------

cdef class _Scratch:
    """Scratch memory of a team: one block per worker, cut from a single allocation."""
    cdef void *blocks
    cdef int workers

    def __cinit__(self, int workers):
        self.workers = workers
        self.blocks = fastnn_allocate(<size_t>FASTNN_SCRATCH_BYTES * <size_t>workers)
        if self.blocks == NULL:
            raise MemoryError(f"cannot allocate scratch for {workers} workers")

    def __dealloc__(self):
        free(self.blocks)


# Scratch memory not in use. list.pop and list.append are atomic, also without a GIL, so threads
# that run kernels at the same time never share a block.
cdef list _idle = []


cdef _Scratch take_scratch(int workers):
    cdef _Scratch scratch
    try:
        scratch = _idle.pop()
    except IndexError:
        return _Scratch(workers)
    return scratch if scratch.workers >= workers else _Scratch(workers)


cdef int launch(int kernel, fastnn_call *call, bint is_double, int workers) except -1:
    """Run one kernel with a team of its own; `kernel` is an enum fastnn_kernel_index."""
    workers = team_of(workers)
    cdef const fastnn_table *table = float64_table if is_double else float32_table
    cdef _Scratch scratch = take_scratch(workers)
    cdef char *blocks = <char *>scratch.blocks
    cdef fastnn_refusal refusal
    cdef fastnn_refusal *result = &refusal
    cdef fastnn_barrier end
    cdef fastnn_barrier *meeting = &end
    fastnn_barrier_init(meeting)
    fastnn_refusal_set(result, FASTNN_OK)
    if workers == 1:
        with nogil:
            run_share(table.kernel[kernel], call, blocks, 0, 1, result, meeting)
    else:
        with nogil, parallel(num_threads=workers):
            run_share(table.kernel[kernel], call, blocks, threadid(), fastnn_team_size(), result,
                      meeting)
    _idle.append(scratch)
    return raise_status(fastnn_refusal_get(result))


cdef void run_share(fastnn_kernel kernel, const fastnn_call *shared, char *blocks, int worker,
                    int workers, fastnn_refusal *result, fastnn_barrier *meeting) noexcept nogil:
    cdef fastnn_call call = shared[0]
    cdef int status
    call.scratch = blocks + <Py_ssize_t>worker * <Py_ssize_t>FASTNN_SCRATCH_BYTES
    status = kernel(&call, worker, workers)
    if status != FASTNN_OK:
        fastnn_refusal_set(result, status)
    # The end of an OpenMP region spins for milliseconds, and on a busy machine keeps the worker
    # that it waits for off the processor. This barrier yields instead, so nobody waits there.
    fastnn_barrier_wait(meeting, workers)


cdef int raise_status(int status) except -1:
    if status == FASTNN_BAD_LABEL:
        raise ValueError("a class label lies outside [0, number of classes), or the input of an "
                         "Embedding is no category, or that of a CategoryEncoding, or the "
                         "number of a member is none of MemberScale or MemberDense")
    if status == FASTNN_BAD_COLUMN:
        raise ValueError("a sparse matrix has columns outside its shape: its index arrays have "
                         "been changed since they were checked")
    if status != FASTNN_OK:
        raise ValueError(f"a kernel refused its call (status {status})")
    return 0


# --- programs ---------------------------------------------------------------------------------

include "executor.pxi"
MOST_WORK_UNWATCHED = LONG_STEP
include "samples.pxi"
include "turns.pxi"
include "prepared.pxi"


# --- measurements and tables ------------------------------------------------------------------

def barrier_seconds(int workers, Py_ssize_t times):
    """The mean time that a team takes to meet at a barrier, over `times` barriers.

    Parameters
    ----------
    workers, times : int
        At least 1.

    Returns
    -------
    float
        Seconds.
    """
    cdef fastnn_barrier place
    cdef fastnn_barrier *meeting = &place
    cdef double seconds = 0
    cdef double *result = &seconds
    if workers < 1 or times < 1:
        raise ValueError(f"workers and times must be at least 1, got {workers} and {times}")
    fastnn_barrier_init(meeting)
    workers = team_of(workers)
    if workers == 1:
        meet(meeting, times, 0, 1, result)
    else:
        with nogil, parallel(num_threads=workers):
            meet(meeting, times, threadid(), fastnn_team_size(), result)
    return seconds


cdef void meet(fastnn_barrier *meeting, Py_ssize_t times, int worker, int workers,
               double *seconds) noexcept nogil:
    cdef double began
    cdef Py_ssize_t _time
    fastnn_barrier_wait(meeting, workers)  # all workers have arrived
    began = fastnn_seconds()
    for _time in range(times):
        fastnn_barrier_wait(meeting, workers)
    if worker == 0:
        seconds[0] = (fastnn_seconds() - began) / <double>times


def kernel_names():
    """Names of all kernels, in the order of the kernel table."""
    return [fastnn_kernel_name(i).decode() for i in range(FASTNN_KERNEL_COUNT)]


MAX_INPUTS_OF_CONCATENATE = FASTNN_MAX_SIZES
NORM_CHUNK = FASTNN_NORM_CHUNK
SCRATCH_VECTORS = FASTNN_SCRATCH_BYTES // 64  # of the widest ISA, in the scratch of one worker
HALVES_FROM_ROWS = FASTNN_HALVES_FROM_ROWS
GRADIENT_ROWS_AS_GIVEN = FASTNN_GRADIENT_ROWS_AS_GIVEN
