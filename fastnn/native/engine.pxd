# The C interface (src_c/fastnn.h, src_c/barrier.h) declared for Cython, and the parts of the
# engine that the typed entries in kernels.pyx use.
from libc.stdint cimport int32_t, uint64_t


cdef extern from "fastnn.h" nogil:
    enum:
        FASTNN_MAX_OPERANDS
        FASTNN_MAX_SIZES
        FASTNN_MAX_SCALARS
        FASTNN_NORM_CHUNK
        FASTNN_HALVES_FROM_ROWS
        FASTNN_GRADIENT_ROWS_AS_GIVEN
        FASTNN_SCRATCH_BYTES
        FASTNN_KERNEL_COUNT
        FASTNN_OK
        FASTNN_BAD_VARIANT
        FASTNN_BAD_COLUMN
        FASTNN_BAD_LABEL
        FASTNN_AS_GIVEN
        FASTNN_BFLOAT16_EMULATED
        FASTNN_BFLOAT16_NATIVE
        FASTNN_ACTIVATION_ROWS
        FASTNN_LOSS_ROWS
        FASTNN_OPTIMIZER_ROWS
        FASTNN_MATH_ROWS

    ctypedef struct fastnn_flag "atomic_int":
        pass

    ctypedef struct fastnn_call:
        void *operand[8]
        Py_ssize_t rows
        Py_ssize_t size[6]
        double scalar[12]
        uint64_t key
        uint64_t step
        int variant
        void *scratch
        const fastnn_flag *given_up

    ctypedef struct fastnn_entries:
        const void *values
        const int32_t *columns

    ctypedef int (*fastnn_kernel)(const fastnn_call *call, int worker, int workers) noexcept nogil

    ctypedef struct fastnn_variant:
        const char *name
        const char *keeps
        const char *parameters
        double number

    ctypedef struct fastnn_table:
        fastnn_kernel kernel[24]
        const fastnn_variant *variants[4]
        int lanes

    const char *const *fastnn_isa_names()
    int fastnn_isa_supported(const char *isa)
    int fastnn_isa_has_bfloat16(const char *isa)
    const fastnn_table *fastnn_isa_table(const char *isa, int is_double)
    int fastnn_kernel_find(const char *name)
    const char *fastnn_kernel_name(int index)


cdef int launch(int kernel, fastnn_call *call, bint is_double, int workers) except -1
