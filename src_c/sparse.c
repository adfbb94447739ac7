/* sparse.c: dense layers whose input is a sparse matrix in compressed rows (CSR).
 *
 *   sparse_affine           y       = f(x @ kernel + bias)            (rows, units)
 *   sparse_kernel_gradient  dkernel = x.T @ dy, together with dbias   (inputs, units)
 *   sparse_kernel_gradient_update: the same, applied at once to the parameters
 *   csr_gather              rows of x in dense form                (rows, inputs)
 *
 * The matrix is three operands, as described in fastnn.h: its entries, the start of each row, and
 * the order of the rows. The columns of a row ascend. What is not stored is skipped: a NaN
 * in a row of the kernel has an effect only where an entry selects that row.
 *
 * The index arrays may belong to the user, who may change them between two steps. A row with a
 * column outside the matrix becomes NaN, and the call is refused; gradients ignore such columns.
 *
 * Each element of a product is one chain of multiply-adds over its entries, in ascending order, for
 * any number of workers.
 */
#include "fastnn.h"

typedef struct csr_rows {
    const real *values;
    const int32_t *columns;
    const int64_t *indptr, *order;
} csr_rows;

static csr_rows csr_of(const fastnn_call *call)
{
    const fastnn_entries *entries = call->operand[0];
    return (csr_rows){entries->values, entries->columns, call->operand[1], call->operand[2]};
}

ALWAYS_INLINE void entries_of(const csr_rows *x, ptrdiff_t row, int64_t *begin, int64_t *end)
{
    int64_t number = x->order ? x->order[row] : row;
    *begin = x->indptr[number], *end = x->indptr[number + 1];
}

/* Whether all columns lie in [0, inputs). A negative one is large when read as unsigned. */
ALWAYS_INLINE int lie_inside(const int32_t *columns, int64_t count, ptrdiff_t inputs)
{
    uint32_t largest = 0;
    for (int64_t e = 0; e < count; e++)
        largest = (uint32_t)columns[e] > largest ? (uint32_t)columns[e] : largest;
    return count == 0 || (ptrdiff_t)largest < inputs;
}

/* y[0:columns] = values[0:count] @ kernel[those rows, 0:columns] + bias, where columns is
 * (VECTORS - 1) * LANES + last. Rows of the kernel are scattered, so they are prefetched. */
ALWAYS_INLINE void sparse_strip(const int VECTORS, const real *values, const int32_t *columns,
                                int64_t count, const real *kernel, ptrdiff_t units, ptrdiff_t last,
                                const real *bias, real *y)
{
    enum { AHEAD_ENTRIES = 8, LINE = 64 / sizeof(real) };
    vec sum[8];
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = vbroadcast(0);
    for (int64_t e = 0; e < count; e++) {
        const real *row = kernel + columns[e] * units;
        vec value = vbroadcast(values[e]);
        if (e + AHEAD_ENTRIES < count) {
            const real *next = kernel + columns[e + AHEAD_ENTRIES] * units;
            UNROLL for (int v = 0; v < VECTORS; v += LANES < LINE ? LINE / LANES : 1)
                __builtin_prefetch(next + v * LANES);
        }
        UNROLL for (int v = 0; v < VECTORS - 1; v++)
            sum[v] = vfma(value, vload(row + v * LANES), sum[v]);
        sum[VECTORS - 1] = vfma(value, last == LANES ? vload(row + (VECTORS - 1) * LANES)
                                                     : vload_first(row + (VECTORS - 1) * LANES, last),
                                sum[VECTORS - 1]);
    }
    if (bias) {
        UNROLL for (int v = 0; v < VECTORS - 1; v++) sum[v] = sum[v] + vload(bias + v * LANES);
        sum[VECTORS - 1] = sum[VECTORS - 1] + vload_first(bias + (VECTORS - 1) * LANES, last);
    }
    UNROLL for (int v = 0; v < VECTORS - 1; v++) vstore(y + v * LANES, sum[v]);
    vstore_first(y + (VECTORS - 1) * LANES, sum[VECTORS - 1], last);
}

/* operand: 0 to 2 x (rows, inputs), sparse, 3 kernel (inputs, units), 4 bias (units) or NULL,
 * 5 y (rows, units), 6 pre-activation (rows, units) or NULL; size: 0 inputs, 1 units;
 * scalar: 0 parameter; variant: row of activations.h. */
static int kernel_sparse_affine(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    csr_rows x = csr_of(call);
    ptrdiff_t units = call->size[1], row, last_row;
    int status = FASTNN_OK;
    const real *kernel = call->operand[3], *bias = call->operand[4];
    real *y = call->operand[5], *preactivation = call->operand[6];
    share(call->rows, 1, worker, workers, &row, &last_row);
    for (; row < last_row; row++) {
        real *sums = (preactivation ? preactivation : y) + row * units;
        int64_t begin, end;
        entries_of(&x, row, &begin, &end);
        const real *values = x.values + begin;
        const int32_t *columns = x.columns + begin;
        ptrdiff_t j = 0;
        if (!lie_inside(columns, end - begin, call->size[0])) {
            for (; j < units; j++) y[row * units + j] = sums[j] = (real)NAN;
            status = FASTNN_BAD_COLUMN;
            continue;
        }
#define STRIP(vectors, last) sparse_strip(vectors, values, columns, end - begin, kernel + j, units, last, \
                                          bias ? bias + j : NULL, sums + j)
        for (; j + 8 * LANES <= units; j += 8 * LANES) STRIP(8, LANES);
        for (; j + 4 * LANES <= units; j += 4 * LANES) STRIP(4, LANES);
        for (; j < units; j += LANES) STRIP(1, units - j < LANES ? units - j : LANES);
#undef STRIP
        if (call->variant != ACTIVATION_linear)
            activation_table[call->variant].forward(sums, y + row * units, units,
                                                    (real)call->scalar[0]);
        else if (preactivation && units)
            memcpy(y + row * units, sums, (size_t)units * sizeof(real));
    }
    return status;
}

/* The first of the entries [begin, end) whose column is at least `column`. */
ALWAYS_INLINE int64_t first_from(const int32_t *columns, int64_t begin, int64_t end, ptrdiff_t column)
{
    while (begin < end) {
        int64_t middle = begin + (end - begin) / 2;
        if (columns[middle] < column) begin = middle + 1;
        else end = middle;
    }
    return begin;
}

/* sums[0:count] += factor * x[0:count] */
ALWAYS_INLINE void add_multiple(real factor, const real *x, real *sums, ptrdiff_t count)
{
    vec f = vbroadcast(factor);
    ptrdiff_t j = 0;
    TWO_AT_A_TIME
    for (; j + LANES <= count; j += LANES) vstore(sums + j, vfma(f, vload(x + j), vload(sums + j)));
    if (j < count)
        vstore_first(sums + j, vfma(f, vload_first(x + j, count - j), vload_first(sums + j, count - j)),
                     count - j);
}

/* sums[0:depth, 0:width] = x[:, first : first + depth].T @ dy[:, 0:width]; row stride `apart`. */
static void gradient_block(const csr_rows *x, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t depth,
                           const real *dy, ptrdiff_t units, ptrdiff_t width, real *sums,
                           ptrdiff_t apart)
{
    for (ptrdiff_t row = 0; row < depth; row++)
        memset(sums + row * apart, 0, (size_t)width * sizeof(real));
    for (ptrdiff_t row = 0; row < rows; row++) {
        int64_t e, end;
        entries_of(x, row, &e, &end);
        e = first_from(x->columns, e, end, first);
        for (; e < end && (size_t)(x->columns[e] - first) < (size_t)depth; e++)
            add_multiple(x->values[e], dy + row * units, sums + (x->columns[e] - first) * apart, width);
    }
}

/* Blocks of the kernel's gradient, which stay in the cache while the whole batch is searched for
 * their columns. Blocks are dealt to workers in turn, because some columns have more entries than
 * others. With an updater, a block is kept in scratch and is applied at once to `kernel`. */
static void sparse_gradient(const fastnn_call *call, const real *dy, real *dkernel, const updater *u,
                            real *kernel, real *state, int worker, int workers)
{
    enum { BLOCK = FASTNN_SCRATCH_BYTES / 8 / sizeof(real), BLOCKS = 8 };
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    ptrdiff_t even = (inputs + BLOCKS * workers - 1) / (BLOCKS * workers);
    ptrdiff_t depth = units && BLOCK / units < even ? BLOCK / units : even;
    csr_rows x = csr_of(call);
    if (depth < 1) depth = 1;
    for (ptrdiff_t first = worker * depth; first < inputs; first += workers * depth) {
        ptrdiff_t count = inputs - first < depth ? inputs - first : depth;
        for (ptrdiff_t j = 0; j < units; j += BLOCK) { /* once, unless a row is too long */
            ptrdiff_t width = units - j < BLOCK ? units - j : BLOCK, at = first * units + j;
            if (!u) {
                gradient_block(&x, call->rows, first, count, dy + j, units, width, dkernel + at, units);
                continue;
            }
            real *sums = call->scratch;
            gradient_block(&x, call->rows, first, count, dy + j, units, width, sums, width);
            if (width == units)
                u->run(u, kernel + at, sums, state ? state + at : NULL, 1, count * width, 0, 0);
            else
                u->run(u, kernel + at, sums, state ? state + at : NULL, count, width, units, width);
        }
    }
}

/* operand: 0 to 2 x (rows, inputs), sparse, 3 dy (rows, units), 4 dkernel (inputs, units), 5 dbias
 * (units) or NULL; size: 0 inputs, 1 units. */
static int kernel_sparse_kernel_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t units = call->size[1], begin, end;
    sparse_gradient(call, call->operand[3], call->operand[4], NULL, NULL, NULL, worker, workers);
    if (call->operand[5]) {
        share(units, 4 * LANES, worker, workers, &begin, &end);
        sum_columns(call->operand[3], call->rows, units, begin, end, call->operand[5]);
    }
    return FASTNN_OK;
}

/* operand: 0 to 2 x (rows, inputs), sparse, 3 dy (rows, units), 4 kernel and 5 the first slot of its
 * state or NULL, 6 bias or NULL and 7 the first slot of its state; size: 0 inputs, 1 units,
 * 2 distance between slots; scalar and variant: as in update. */
static int kernel_sparse_kernel_gradient_update(const fastnn_call *call, int worker, int workers)
{
    enum { AT_ONCE = FASTNN_SCRATCH_BYTES / sizeof(real) };
    ptrdiff_t units = call->size[1], begin, end;
    real *bias = call->operand[6], *state = call->operand[7];
    updater u;
    int status = make_updater(call, call->size[2], &u);
    if (status != FASTNN_OK) return status;
    sparse_gradient(call, call->operand[3], NULL, &u, call->operand[4], call->operand[5], worker,
                    workers);
    share(bias ? units : 0, 4 * LANES, worker, workers, &begin, &end);
    for (; begin < end; begin += AT_ONCE) {
        ptrdiff_t count = end - begin < AT_ONCE ? end - begin : AT_ONCE;
        sum_columns((const real *)call->operand[3] + begin, call->rows, units, 0, count, call->scratch);
        u.run(&u, bias + begin, call->scratch, state ? state + begin : NULL, 1, count, 0, 0);
    }
    return FASTNN_OK;
}

/* operand: 0 to 2 x (rows, inputs), sparse, 3 y (rows, inputs); size: 0 inputs. */
static int kernel_csr_gather(const fastnn_call *call, int worker, int workers)
{
    csr_rows x = csr_of(call);
    ptrdiff_t inputs = call->size[0], row, last;
    int status = FASTNN_OK;
    share(call->rows, 1, worker, workers, &row, &last);
    for (; row < last; row++) {
        real *y = (real *)call->operand[3] + row * inputs;
        int64_t e, end;
        entries_of(&x, row, &e, &end);
        if (!lie_inside(x.columns + e, end - e, inputs)) {
            for (ptrdiff_t j = 0; j < inputs; j++) y[j] = (real)NAN;
            status = FASTNN_BAD_COLUMN;
            continue;
        }
        memset(y, 0, (size_t)inputs * sizeof(real));
        for (; e < end; e++) y[x.columns[e]] = x.values[e];
    }
    return status;
}
