/* dense.c: the products of a dense layer, forward and backward.
 *
 *   affine           y       = f(x @ kernel + bias)            (rows, units)
 *   affine_halves, add_halves: the same in two passes, for wide layers in training
 *   input_gradient   dx      = (dy @ kernel.T) * f'(saved)     (rows, inputs)
 *   kernel_gradient  dkernel = x.T @ dy, together with dbias   (inputs, units)
 *   kernel_gradient_halves, add_gradient_half: the same in two passes, for large batches
 *   kernel_gradient_update: the same, applied at once to the parameters
 *   bias_gradient    dbias   = dy.sum(axis=0)                  (units)
 */
#include "fastnn.h"

/* What the operands of a product are rounded to; float64 stays as it is. */
static int precision_of(ptrdiff_t given)
{
    return REAL_BITS == 32 ? (int)given : FASTNN_AS_GIVEN;
}

/* The same for a gradient, which stays as it is if it has few rows. */
static int precision_of_gradients(const fastnn_call *call, ptrdiff_t given)
{
    return call->rows <= FASTNN_GRADIENT_ROWS_AS_GIVEN ? FASTNN_AS_GIVEN : precision_of(given);
}

/* operand: 0 x (rows, inputs), 1 kernel (inputs, units), 2 bias (units) or NULL,
 * 3 y (rows, units), 4 pre-activation (rows, units) or NULL; size: 0 inputs, 1 units,
 * 2 precision; scalar: 0 parameter; variant: row of activations.h. */
static int kernel_affine(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    real *y = call->operand[3], *preactivation = call->operand[4];
    product p = {
        .m = call->rows, .n = units, .k = inputs,
        .a = call->operand[0], .a_row = inputs, .a_column = 1,
        .b = call->operand[1], .b_row = units, .b_column = 1,
        .c = preactivation ? preactivation : y, .c_row = units, .bias = call->operand[2],
        .activation = call->variant,
        .y = call->variant == ACTIVATION_linear && !preactivation ? NULL : y,
        .parameter = (real)call->scalar[0], .precision = precision_of(call->size[2]),
    };
    product_of(&p, call->scratch, worker, workers);
    return FASTNN_OK;
}

/* Whether a worker takes a half; sets its place among those that do. Every other worker works on
 * the same half, or every worker on both if their number is odd. */
static int takes_half(int half, int worker, int workers, int *place, int *places)
{
    int is_even = workers % 2 == 0;
    *place = is_even ? worker / 2 : worker, *places = is_even ? workers / 2 : workers;
    return !is_even || worker % 2 == half;
}

/* Sums over two halves of the inputs, next to each other: a worker then reads only the half of
 * the kernel that it updated in the previous step (kernel_gradient, update), and no cache line from
 * another core. The halves are the same for any number of workers, and so are the bits.
 * operand: 0 x (rows, inputs), 1 kernel (inputs, units), 2 halves (rows, 2 * units); size: 0 inputs,
 * 1 units, 2 precision. */
static int kernel_affine_halves(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t inputs = call->size[0], units = call->size[1], begin, end;
    for (int half = 0, place, places; half < 2; half++) {
        if (!takes_half(half, worker, workers, &place, &places)) continue;
        share(inputs, ROW_GRAIN, half, 2, &begin, &end);
        product p = {
            .m = call->rows, .n = units, .k = end - begin,
            .a = (const real *)call->operand[0] + begin, .a_row = inputs, .a_column = 1,
            .b = (const real *)call->operand[1] + begin * units, .b_row = units, .b_column = 1,
            .c = (real *)call->operand[2] + half * units, .c_row = 2 * units,
            .precision = precision_of(call->size[2]),
        };
        product_of(&p, call->scratch, place, places);
    }
    return FASTNN_OK;
}

/* y = f(halves[:, :units] + halves[:, units:] + bias).
 * operand: 0 halves (rows, 2 * units), 1 bias (units) or NULL, 2 y (rows, units), 3 pre-activation
 * (rows, units) or NULL; size: 0 units; scalar: 0 parameter; variant: row of activations.h. */
static int kernel_add_halves(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    const real *halves = call->operand[0], *bias = call->operand[1];
    real *y = call->operand[2], *preactivation = call->operand[3];
    ptrdiff_t units = call->size[0], begin, end;
    share(units, 4 * LANES, worker, workers, &begin, &end);
    for (ptrdiff_t row = 0; row < call->rows; row++) {
        const real *first = halves + 2 * row * units, *second = first + units;
        real *sum = (preactivation ? preactivation : y) + row * units;
        ptrdiff_t j = begin;
        for (; j + LANES <= end; j += LANES) {
            vec both = vload(first + j) + vload(second + j);
            vstore(sum + j, bias ? both + vload(bias + j) : both);
        }
        for (; j < end; j++) sum[j] = bias ? first[j] + second[j] + bias[j] : first[j] + second[j];
        if (call->variant != ACTIVATION_linear || preactivation)
            activation_table[call->variant].forward(sum + begin, y + row * units + begin, end - begin,
                                                    (real)call->scalar[0]);
    }
    return FASTNN_OK;
}

/* operand: 0 dy (rows, units), 1 kernel (inputs, units), 2 saved (rows, inputs) or NULL,
 * 3 dx (rows, inputs); size: 0 inputs, 1 units, 2 precision; scalar: 0 parameter; variant: row of
 * activations.h whose derivative at `saved` multiplies the product. */
static int kernel_input_gradient(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    product p = {
        .m = call->rows, .n = inputs, .k = units,
        .a = call->operand[0], .a_row = units, .a_column = 1,
        .b = call->operand[1], .b_row = 1, .b_column = units,
        .c = call->operand[3], .c_row = inputs,
        .activation = call->variant,
        .saved = call->variant == ACTIVATION_linear ? NULL : call->operand[2],
        .parameter = (real)call->scalar[0],
        .precision = precision_of_gradients(call, call->size[2]),
    };
    product_of(&p, call->scratch, worker, workers);
    return FASTNN_OK;
}

static product kernel_gradient_product(const fastnn_call *call, ptrdiff_t precision)
{
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    return (product){
        .m = inputs, .n = units, .k = call->rows,
        .a = call->operand[0], .a_row = 1, .a_column = inputs,
        .b = call->operand[1], .b_row = units, .b_column = 1,
        .c = call->operand[2], .c_row = units, .given_up = call->given_up,
        .precision = precision_of_gradients(call, precision),
    };
}

/* sums[0:columns] += x[0:rows, 0:columns].sum(axis=0), columns at most VECTORS * LANES. */
ALWAYS_INLINE void sum_strip(const int VECTORS, const real *x, ptrdiff_t rows, ptrdiff_t width,
                             ptrdiff_t columns, real *sums)
{
    vec sum[8];
    ptrdiff_t last = columns - (VECTORS - 1) * LANES;
    UNROLL for (int v = 0; v < VECTORS; v++)
        sum[v] = v < VECTORS - 1 ? vload(sums + v * LANES) : vload_first(sums + v * LANES, last);
    for (ptrdiff_t row = 0; row < rows; row++, x += width)
        UNROLL for (int v = 0; v < VECTORS; v++)
            sum[v] = sum[v]
                + (v < VECTORS - 1 ? vload(x + v * LANES) : vload_first(x + v * LANES, last));
    UNROLL for (int v = 0; v < VECTORS - 1; v++) vstore(sums + v * LANES, sum[v]);
    vstore_first(sums + (VECTORS - 1) * LANES, sum[VECTORS - 1], last);
}

/* sums[begin:end] = x[0:rows, begin:end].sum(axis=0). Each column is one chain of additions over
 * the rows. It takes some rows at a time, so that their pages stay in the TLB. */
static void sum_columns(const real *x, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t begin,
                        ptrdiff_t end, real *sums)
{
    enum { ROWS_AT_ONCE = 64 };
    for (ptrdiff_t j = begin; j < end; j++) sums[j] = 0;
    for (ptrdiff_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        ptrdiff_t depth = rows - row < ROWS_AT_ONCE ? rows - row : ROWS_AT_ONCE, j = begin;
        const real *first = x + row * width;
        for (; j + 8 * LANES <= end; j += 8 * LANES)
            sum_strip(8, first + j, depth, width, 8 * LANES, sums + j);
        for (; j + 4 * LANES <= end; j += 4 * LANES)
            sum_strip(4, first + j, depth, width, 4 * LANES, sums + j);
        for (; j < end; j += LANES)
            sum_strip(1, first + j, depth, width, end - j < LANES ? end - j : LANES, sums + j);
    }
}

/* operand: 0 x (rows, inputs), 1 dy (rows, units), 2 dkernel (inputs, units), 3 dbias (units) or
 * NULL; size: 0 inputs, 1 units, 2 precision. */
static int kernel_kernel_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t units = call->size[1], begin, end;
    product p = kernel_gradient_product(call, call->size[2]);
    product_of(&p, call->scratch, worker, workers);
    if (call->operand[3]) {
        share(units, 4 * LANES, worker, workers, &begin, &end);
        sum_columns(call->operand[1], call->rows, units, begin, end, call->operand[3]);
    }
    return FASTNN_OK;
}

/* Sums over two halves of a large batch, the first written to the gradients, the second apart:
 * each of two workers then reads rows of x and dy that it has itself just written (affine,
 * input_gradient), and only the smaller gradients travel. A small batch is not split.
 * operand: 0 x (rows, inputs), 1 dy (rows, units), 2 dkernel (inputs, units), 3 dbias (units) or
 * NULL, 4 the second half's, dkernel before dbias; size: 0 inputs, 1 units, 2 precision. */
static int kernel_kernel_gradient_halves(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t inputs = call->size[0], units = call->size[1], begin, end;
    if (call->rows < FASTNN_HALVES_FROM_ROWS) return kernel_kernel_gradient(call, worker, workers);
    for (int half = 0, place, places; half < 2; half++) {
        if (!takes_half(half, worker, workers, &place, &places)) continue;
        share(call->rows, ROW_GRAIN, half, 2, &begin, &end);
        fastnn_call part = *call;
        part.rows = end - begin;
        part.operand[0] = (real *)call->operand[0] + begin * inputs;
        part.operand[1] = (real *)call->operand[1] + begin * units;
        if (half == 1) {
            real *apart = call->operand[4];
            part.operand[2] = apart, part.operand[3] = call->operand[3] ? apart + inputs * units : NULL;
        }
        kernel_kernel_gradient(&part, place, places);
    }
    return FASTNN_OK;
}

/* Adds the second half's gradients, if kernel_gradient_halves has written any.
 * operand: 0 dkernel (inputs, units), 1 dbias (units) or NULL, 2 the second half's, as there;
 * size: 0 inputs, 1 units. */
static int kernel_add_gradient_half(const fastnn_call *call, int worker, int workers)
{
    if (call->rows < FASTNN_HALVES_FROM_ROWS) return FASTNN_OK;
    ptrdiff_t units = call->size[1], count = call->size[0] * units;
    real *dkernel = call->operand[0], *dbias = call->operand[1], *apart = call->operand[2];
    add_share(dkernel, apart, dkernel, count, worker, workers);
    if (dbias) add_share(dbias, apart + count, dbias, units, worker, workers);
    return FASTNN_OK;
}

/* operand: 0 dy (rows, units), 1 dbias (units); size: 0 units, 1 rows per chunk, or 0.
 * With chunks, operand 1 is (chunks, units), one sum for each chunk of rows: workers then read
 * whole pages in sequence, which from memory is up to twice as fast as reading columns. */
static int kernel_bias_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t units = call->size[0], depth = call->size[1], begin, end;
    const real *dy = call->operand[0];
    real *sums = call->operand[1];
    if (depth == 0) {
        share(units, 4 * LANES, worker, workers, &begin, &end);
        sum_columns(dy, call->rows, units, begin, end, sums);
        return FASTNN_OK;
    }
    share(call->rows, depth, worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row += depth)
        sum_columns(dy + row * units, end - row < depth ? end - row : depth, units, 0, units,
                    sums + row / depth * units);
    return FASTNN_OK;
}

/* The gradients of a layer's kernel and bias, each applied at once to its parameters; the
 * gradients themselves are not kept.
 * operand: 0 x (rows, inputs), 1 dy (rows, units), 2 scratch for dkernel (inputs, units), 3 for
 * dbias (units) or NULL, 4 kernel and 5 the first slot of its state or NULL, 6 bias and 7 the first
 * slot of its state; size: 0 inputs, 1 units, 2 distance between slots, 3 precision; scalar and
 * variant: as in update. */
static int kernel_kernel_gradient_update(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t units = call->size[1], begin, end;
    updater u;
    int status = make_updater(call, call->size[2], &u);
    if (status != FASTNN_OK) return status;
    product p = kernel_gradient_product(call, call->size[3]);
    p.updater = &u, p.parameters = call->operand[4], p.state = call->operand[5];
    product_of(&p, call->scratch, worker, workers);
    real *dbias = call->operand[3], *state = call->operand[7];
    if (dbias) {
        /* As for the kernel: its page of the arena is then not touched. */
        if (units * (ptrdiff_t)sizeof(real) <= FASTNN_SCRATCH_BYTES) dbias = call->scratch;
        share(units, 4 * LANES, worker, workers, &begin, &end);
        sum_columns(call->operand[1], call->rows, units, begin, end, dbias);
        u.run(&u, (real *)call->operand[6] + begin, dbias + begin, state ? state + begin : NULL, 1,
              end - begin, 0, 0);
    }
    return FASTNN_OK;
}
