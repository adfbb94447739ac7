/* fastnn.h: the interface between the engine (Cython) and the kernels (C).
 *
 * One calling convention for every kernel:
 *
 *     int kernel(const fastnn_call *call, int worker, int workers)
 *
 * A kernel does the share of one `worker` out of `workers`; the engine calls it
 * on every member of its team and puts a barrier after it. Because all kernels have
 * the same signature, the engine runs a program without knowing any of them, and an op
 * is added without changing the engine. The meaning of the operands is documented once,
 * at the head of each kernel.
 *
 * Contract, for every kernel:
 *   - no allocation, no threads, no I/O, no global state;
 *   - the bits of the result do not depend on `workers`: shares are cut at places
 *     that depend only on the sizes, and every sum runs in an order fixed by the sizes;
 *   - any size may be zero or ragged (but a row of softmax or argmax has at least one
 *     column); pointers need the alignment of their element, except
 *     the source of gather;
 *   - NaN propagates from every position;
 *   - once `given_up` is raised, a kernel may return with its outputs unfinished;
 *   - returns FASTNN_OK, or a status that says what was refused.
 *
 * Considered and rejected: one C prototype per kernel. It names the operands in the
 * signature, but then the engine needs a switch with one hand-written case per op,
 * which is a second list of the ops.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { FASTNN_MAX_OPERANDS = 8, FASTNN_MAX_SIZES = 6, FASTNN_MAX_SCALARS = 12 };

enum fastnn_status {
    FASTNN_OK = 0,
    FASTNN_BAD_VARIANT = 1, /* `variant` is not a row of the kernel's table */
    FASTNN_BAD_LABEL = 2,   /* a class label or category outside [0, their number) */
    FASTNN_BAD_COLUMN = 3,  /* a column of a sparse matrix outside its width */
};

/* What an op of the program passes to its kernel. */
typedef struct fastnn_call {
    void *operand[FASTNN_MAX_OPERANDS];  /* data; NULL where an operand is optional */
    ptrdiff_t rows;                      /* BATCH: samples in this step */
    ptrdiff_t size[FASTNN_MAX_SIZES];    /* fixed sizes, in elements */
    double scalar[FASTNN_MAX_SCALARS];   /* hyper-parameters; those of the step come first */
    uint64_t key;                        /* random kernels: seed of the model */
    uint64_t step;                       /* random kernels: number of the optimizer step */
    int variant;                         /* row of an activation, loss or dtype table */
    void *scratch;                       /* FASTNN_SCRATCH_BYTES of this worker alone */
    const atomic_int *given_up;          /* not 0: nobody wants the result; or NULL */
} fastnn_call;

typedef int (*fastnn_kernel)(const fastnn_call *call, int worker, int workers);

/* The list of all kernels. Names are looked up as strings when a program is bound. */
#define FASTNN_KERNELS(X)                                                           \
    X(affine)            /* dense.c: y = f(x @ kernel + bias) */                    \
    X(affine_halves)     /* dense.c: x @ kernel as sums over two halves of k */     \
    X(add_halves)        /* dense.c: y = f(sum of both + bias) */                   \
    X(input_gradient)    /* dense.c: dx = (dy @ kernel.T) * f'(saved) */            \
    X(kernel_gradient)   /* dense.c: dkernel = x.T @ dy, dbias = dy.sum(axis=0) */  \
    X(kernel_gradient_halves) /* dense.c: over two halves of a large batch */       \
    X(add_gradient_half) /* dense.c: adds the second to the first */                \
    X(bias_gradient)     /* dense.c: dbias alone */                                 \
    X(kernel_gradient_update) /* dense.c: both, and their update */                 \
    X(sparse_affine)     /* sparse.c: the same three for a sparse x */              \
    X(sparse_kernel_gradient)                                                       \
    X(sparse_kernel_gradient_update)                                                \
    X(csr_gather)        /* sparse.c: its rows in dense form */                     \
    X(activation)        /* elementwise.c */                                        \
    X(activation_gradient)                                                          \
    X(add)                                                                          \
    X(multiply)                                                                     \
    X(prelu)             /* parametric.c: forward, and the input's gradient */      \
    X(prelu_slope_gradient)                                                         \
    X(parametric_activation) /* x + alpha (f(x) - x) */                             \
    X(parametric_activation_gradient)                                               \
    X(scale_gradient)    /* (x * grad).sum(axis=0) */                               \
    X(scale_rows)                                                                   \
    X(standardize)       /* (x - mean) / scale, by columns, and its inverse */      \
    X(concatenate)                                                                  \
    X(slice_columns)                                                                \
    X(math)              /* one function of vmath.h, for tests and benchmarks */    \
    X(softmax)           /* softmax.c */                                            \
    X(softmax_gradient)                                                             \
    X(layer_normalization) /* normalization.c */                                    \
    X(layer_normalization_gradient)                                                 \
    X(layer_normalization_scale_gradient)                                           \
    X(batch_normalization)                                                          \
    X(batch_normalization_gradient)                                                 \
    X(embedding)         /* embedding.c */                                          \
    X(embedding_gradient)                                                           \
    X(encode_categories) /* zeros and ones, or counts */                            \
    X(select_member)     /* the columns of a row's own member of an ensemble */     \
    X(periodic_embedding) /* number_embedding.c: numbers as cosines ... */          \
    X(periodic_embedding_gradient)                                                  \
    X(periodic_embedding_input_gradient)                                            \
    X(piecewise_embedding) /* ... and as piecewise linear functions */              \
    X(piecewise_embedding_gradient)                                                 \
    X(piecewise_embedding_input_gradient)                                           \
    X(log_softmax)                                                                  \
    X(log_softmax_gradient)                                                         \
    X(elementwise_loss)  /* loss.c */                                               \
    X(softmax_crossentropy)                                                         \
    X(categorical_accuracy)                                                         \
    X(binary_accuracy)                                                              \
    X(mean)                                                                         \
    X(accumulate)                                                                   \
    X(squared_norm)      /* update.c: what global clipping needs first */           \
    X(update)                                                                       \
    X(penalty)           /* L1, L2, and their gradient */                           \
    X(moving_average)    /* average = momentum average + (1 - momentum) value */    \
    X(gather)            /* gather.c */                                             \
    X(dropout)           /* random.c */                                             \
    X(multiply_add)      /* limits.c: upper limits of the machine */                \
    X(stream)

enum fastnn_kernel_index {
#define X(name) FASTNN_KERNEL_##name,
    FASTNN_KERNELS(X)
#undef X
    FASTNN_KERNEL_COUNT
};

/* One row of a variant table, as passed to Python. The rows are in activations.h,
 * losses.h, optimizers.h and vmath.h. */
typedef struct fastnn_variant {
    const char *name;
    const char *keeps;       /* activations: "input" or "output", what backward reads;
                                optimizers: names of the state slots */
    const char *parameters;  /* names of the hyper-parameters */
    double number;           /* the parameter's default; optimizers: number of slots */
} fastnn_variant;

enum fastnn_variant_table {
    FASTNN_ACTIVATION_ROWS, FASTNN_LOSS_ROWS, FASTNN_OPTIMIZER_ROWS, FASTNN_MATH_ROWS,
    FASTNN_VARIANT_TABLES
};

/* A sparse matrix in compressed rows (CSR) is three operands: the entries, values of the kernel's
 * dtype with the column of each; then indptr: row i has the entries indptr[i] to indptr[i + 1],
 * int64; then the order of the rows, int64, or NULL. The columns of a row ascend. */
typedef struct fastnn_entries {
    const void *values;
    const int32_t *columns;
} fastnn_entries;

/* All kernels of one ISA and one dtype. */
typedef struct fastnn_table {
    fastnn_kernel kernel[FASTNN_KERNEL_COUNT];
    const fastnn_variant *variants[FASTNN_VARIANT_TABLES]; /* each ends with name NULL */
    int lanes;                                             /* elements of one vector */
} fastnn_table;

/* Source dtypes of `gather`. */
enum fastnn_source {
    FASTNN_FLOAT32, FASTNN_FLOAT64, FASTNN_UINT8, FASTNN_INT8, FASTNN_UINT16, FASTNN_INT16,
    FASTNN_UINT32, FASTNN_INT32, FASTNN_UINT64, FASTNN_INT64
};

/* What a product rounds its operands to; the last size of the kernels that are products. The engine
 * chooses between the two forms of bfloat16 (bfloat16.h), which give the same bits. */
enum fastnn_precision { FASTNN_AS_GIVEN, FASTNN_BFLOAT16_EMULATED, FASTNN_BFLOAT16_NATIVE };

/* Scratch of one worker: packed panels of both operands of a product (gemm.c). */
enum { FASTNN_SCRATCH_BYTES = 1 << 20 };

/* Smallest number of rows for which kernel_gradient_halves splits a batch. */
enum { FASTNN_HALVES_FROM_ROWS = 128 };

/* Gradients of at most so many rows are not rounded to bfloat16: they take as long as reading or
 * writing the kernel takes, which rounding does not shorten. */
enum { FASTNN_GRADIENT_ROWS_AS_GIVEN = 8 };

/* Elements of the gradient arena per partial sum of squared_norm. It is fixed, so that the norm
 * does not depend on the number of workers. */
enum { FASTNN_NORM_CHUNK = 4096 };

/* dispatch.c: the ISAs compiled in, best first, ending with NULL; whether this
 * machine supports one; its table for "float32" (0) or "float64" (1). */
const char *const *fastnn_isa_names(void);
int fastnn_isa_supported(const char *isa);
int fastnn_isa_has_bfloat16(const char *isa); /* whether the processor has the instructions, too */
const fastnn_table *fastnn_isa_table(const char *isa, int is_double);
int fastnn_kernel_find(const char *name); /* -1 when there is none */
const char *fastnn_kernel_name(int index);

#endif
