"""A typed-memoryview entry point for every kernel, for tests, benchmarks and eager use.

Each `def` validates and allocates; below it there are typed memoryviews, or, where the kernel is
one pass that NumPy does in half a microsecond, the addresses that have just been checked (taking a
memoryview costs a quarter of a microsecond). Arrays are C-contiguous, float32 or float64, and of
the same dtype within a call. `out` may be passed to receive the result, which is returned. Its
memory must be its own, except where each element is read before it is written (activations and
their gradients, sums, softmax, dropout, `math`): there it may be an input itself. `workers` is the
size of the team (default: as many as the work pays for, `fastnn.get_num_threads()` at most); the
bits of a result do not depend on it.
"""
import numpy as np

cimport numpy as cnp
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from fastnn.native.engine cimport FASTNN_AS_GIVEN, fastnn_call, fastnn_entries, launch

from fastnn.core import threads
from fastnn.native import engine
from fastnn.core.registry import unknown_name

cnp.import_array()


include "kernel_numbers.pxi"  # FASTNN_KERNEL_<name>, generated from src_c/fastnn.h by the build

ctypedef fused real:
    float
    double

ACTIVATIONS = engine.variants("activations")
LOSSES = engine.variants("losses")
OPTIMIZERS = engine.variants("optimizers")
MATH = engine.variants("math")
NORM_CHUNK = engine.NORM_CHUNK
cdef Py_ssize_t CHUNK = NORM_CHUNK


# --- checks -----------------------------------------------------------------------------------
#
# For the sizes of a small layer, NumPy's whole call takes under a microsecond, so a few C
# comparisons recognize valid arguments; only invalid ones pay for finding out why.

cdef enum:
    ANY = -1
    VECTOR = -2      # used instead of `columns`: the array has one dimension

_TYPES = {np.dtype(name).num: np.dtype(name) for name in ("float32", "float64", "int32", "int64")}


cdef int type_of(str name, array) except -1:
    """Type number of a float32 or float64 array."""
    if cnp.PyArray_Check(array):
        number = cnp.PyArray_TYPE(array)
        if number == cnp.NPY_FLOAT or number == cnp.NPY_DOUBLE:
            return number
        raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
    raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")


cdef int require(str name, array, int number, Py_ssize_t rows, Py_ssize_t columns) except -1:
    """Raise unless `array` is C-contiguous, aligned, and of this type and shape."""
    cdef int dimensions = 1 if columns == VECTOR else 2
    if (cnp.PyArray_Check(array) and cnp.PyArray_TYPE(array) == number
            and cnp.PyArray_NDIM(array) == dimensions and cnp.PyArray_ISCARRAY_RO(array)
            and (rows == ANY or cnp.PyArray_DIM(array, 0) == rows)
            and (dimensions == 1 or columns == ANY or cnp.PyArray_DIM(array, 1) == columns)):
        return 0
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != _TYPES[number]:
        raise TypeError(f"{name} must be {_TYPES[number]}, got {array.dtype}")
    wanted = [rows, columns][:dimensions]
    if array.ndim != dimensions or any(
            want != ANY and have != want for have, want in zip(array.shape, wanted, strict=True)):
        shown = ", ".join("any" if size == ANY else str(size) for size in wanted)
        raise ValueError(f"{name} must have shape ({shown}), got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")
    raise ValueError(f"{name} must be aligned and in native byte order")


cdef int writeable(str name, array) except -1:
    """Raise if the array is read-only."""
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} must be writeable, got a read-only array")
    return 0


cdef object output(str name, out, int number, Py_ssize_t rows, Py_ssize_t columns):
    """Return `out` after checking it, or a new array."""
    if out is None:
        return np.empty([rows, columns][:1 + (columns != VECTOR)], _TYPES[number])
    require(name, out, number, rows, columns)
    writeable(name, out)
    return out


cdef inline bint bounds(cnp.ndarray array, char **first, char **end) noexcept:
    """Set the first byte and the end of an array's extent; false if the array is empty."""
    cdef Py_ssize_t step
    cdef int i
    first[0] = cnp.PyArray_BYTES(array)
    end[0] = first[0] + cnp.PyArray_ITEMSIZE(array)
    for i in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, i) == 0:
            return False
        step = (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
        if step < 0:
            first[0] += step
        else:
            end[0] += step
    return True


cdef int apart(str name, cnp.ndarray written, str other, cnp.ndarray array) except -1:
    """Raise if the written array shares memory with another operand; either may be None."""
    cdef char *first
    cdef char *end
    cdef char *other_first
    cdef char *other_end
    if (written is None or array is None or not bounds(written, &first, &end)
            or not bounds(array, &other_first, &other_end)
            or end <= other_first or other_end <= first):
        return 0
    if np.shares_memory(written, array):  # it does not if it lies in the gaps of strided rows
        raise ValueError(f"{name} must not share memory with {other}")
    return 0


cdef int apart_or_same(str name, cnp.ndarray written, str other, cnp.ndarray array) except -1:
    """Raise if the arrays share memory, unless they are the same element for element."""
    if cnp.PyArray_DATA(written) == cnp.PyArray_DATA(array):
        return 0
    return apart(name, written, other, array)


cdef int team(workers, double work) except -1:
    """Size of the team: the requested one, or what `work` multiply-adds pay for."""
    if workers is None:
        return 1 if work < 2 * <double>threads.WORK_PER_WORKER else threads.workers_for(work)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return workers


_NUMBERS = {kind: {name: (number, row[2]) for number, (name, row) in enumerate(table.items())}
            for kind, table in (("activation", ACTIVATIONS), ("loss", LOSSES),
                                ("optimizer", OPTIMIZERS), ("function", MATH))}


_NUMBERS["optimizer"] = {name: (number, int(slots))
                         for name, (number, slots) in _NUMBERS["optimizer"].items()}
_HYPER_PARAMETERS = {name: [part for part in row[1].split(",") if part]
                     for name, row in OPTIMIZERS.items()}

# Multiply-adds that count for one element when the team size is chosen: about half a nanosecond,
# which is the time to move it through the caches or to apply a function to it.
cdef double ELEMENT_WORK = 32


cdef tuple _row(str kind, name):
    """Number of a row and its default parameter."""
    try:
        return (<dict>_NUMBERS[kind])[name]
    except (KeyError, TypeError):
        raise unknown_name(kind, name, _NUMBERS[kind]) from None


# --- calls ------------------------------------------------------------------------------------

cdef inline void *vector(const real[::1] array) noexcept:
    return <void *>&array[0] if array is not None and array.shape[0] else NULL


cdef inline void *matrix(const real[:, ::1] array) noexcept:
    return (<void *>&array[0, 0]
            if array is not None and array.shape[0] and array.shape[1] else NULL)


cdef inline fastnn_call new_call(Py_ssize_t rows, Py_ssize_t size0=0, Py_ssize_t size1=0,
                                 Py_ssize_t size2=0, int variant=0, double scalar=0) noexcept:
    cdef fastnn_call call
    memset(&call, 0, sizeof(call))
    call.rows, call.variant = rows, variant
    call.size[0], call.size[1], call.size[2] = size0, size1, size2
    call.scalar[0] = scalar
    return call


cdef str _AS_GIVEN = "as given"


cdef Py_ssize_t precision_of(precision, int number) except -1:
    """The number of a row of `PRECISIONS`, by which a product rounds its operands."""
    if precision is _AS_GIVEN:  # by default, and a call takes microseconds
        return FASTNN_AS_GIVEN
    if precision not in engine.PRECISIONS:
        raise unknown_name("precision", precision, engine.PRECISIONS)
    cdef Py_ssize_t rounding = engine.PRECISIONS[precision]
    if number == cnp.NPY_DOUBLE and rounding:
        raise ValueError(f"precision={precision!r} needs arrays of float32, got float64")
    return rounding


cdef int second_output(str name, array, int number, Py_ssize_t rows, Py_ssize_t columns,
                       tuple others) except -1:
    """Check an output passed in addition to `out`, and that it does not overlap the others."""
    output(name, array, number, rows, columns)
    for label, other in others:
        apart(name, array, label, other)
    return 0


# --- kernels, by subject --------------------------------------------------------------------------

include "products.pxi"
include "elements.pxi"
include "layers.pxi"
include "columns.pxi"
include "preprocessing.pxi"
include "losses.pxi"
include "updates.pxi"
include "sparse.pxi"


# --- limits -----------------------------------------------------------------------------------

cdef int repeat(int kernel, x, y, Py_ssize_t times, double factor, double addend,
                Py_ssize_t rounding, workers) except -1:
    """Run one of the two kernels on arrays that have been checked."""
    if times < 0:
        raise ValueError(f"times must be at least 0, got {times}")
    cdef fastnn_call call = new_call(cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1), times, rounding,
                                     0, factor)
    call.scalar[1] = addend
    call.operand[0], call.operand[1] = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    return launch(kernel, &call, cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE,
                  team(workers, <double>times * cnp.PyArray_SIZE(x)))


def multiply_add(x, *, times=1, factor=1.0, addend=0.0, out=None, precision="as given",
                 workers=None):
    """Compute x * factor + addend, `times` times in succession; x of shape (rows, width).

    It works in registers, and measures how many multiply-adds the machine can do. With the
    precision "bfloat16" it adds factor * addend, both rounded, twice each time.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    out = output("out", out, number, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
    apart("out", out, "x", x)
    repeat(FASTNN_KERNEL_multiply_add, x, out, times, factor, addend,
           precision_of(precision, number), workers)
    return out


def stream(x, y, *, times=1, factor=1.0, workers=None):
    """Compute y = y * factor + x in place, `times` times; both of shape (rows, width).

    Each pass reads two arrays and writes one, and measures how fast the machine can do that.
    """
    cdef int number = type_of("x", x)
    require("x", x, number, ANY, ANY)
    if y is None:
        raise TypeError("y must be a NumPy array, got NoneType")
    output("y", y, number, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
    apart("y", y, "x", x)
    repeat(FASTNN_KERNEL_stream, x, y, times, factor, 0, FASTNN_AS_GIVEN, workers)
