/* parametric.c: elementwise layers with a parameter for each column. */
#include "activations.h"
#include "fastnn.h"

/* out[i] = value[i] where x[i] > 0, otherwise slope * value[i]; one slope for all, or one each. */
static void prelu_span(const real *x, const real *value, const real *slope, real *out, ptrdiff_t n,
                       int is_shared)
{
    if (n == 0) return;
    vec zero = vbroadcast(0), all = vbroadcast(slope[0]);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec v = vload(value + i), s = is_shared ? all : vload(slope + i);
        vstore(out + i, vselect(vless(zero, vload(x + i)), v, s * v));
    }
    if (i < n) {
        vec v = vload_first(value + i, n - i), s = is_shared ? all : vload_first(slope + i, n - i);
        vstore_first(out + i, vselect(vless(zero, vload_first(x + i, n - i)), v, s * v), n - i);
    }
}

/* operand: 0 x (rows, width), 1 slope (slopes), 2 value (rows, width), 3 out (rows, width);
 * size: 0 width, 1 slopes: 1 for all columns, or as many.
 * out = value where x > 0, otherwise slope * value: forward if value is x, the gradient with
 * respect to x if value is the gradient with respect to the output. */
static int kernel_prelu(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *slope = call->operand[1], *value = call->operand[2];
    real *out = call->operand[3];
    ptrdiff_t width = call->size[0], begin, end;
    if (call->size[1] == 1) {
        share(call->rows * width, GRAIN, worker, workers, &begin, &end);
        prelu_span(x + begin, value + begin, slope, out + begin, end - begin, 1);
        return FASTNN_OK;
    }
    share(call->rows, 1 + GRAIN / (width + 1), worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row++)
        prelu_span(x + row * width, value + row * width, slope, out + row * width, width, 0);
    return FASTNN_OK;
}

/* sums = (min(x, 0) * grad).sum(axis=0) over VECTORS vectors of columns, the last one of `last`. */
ALWAYS_INLINE void prelu_slopes(const int VECTORS, const real *x, const real *grad, ptrdiff_t rows,
                                ptrdiff_t width, ptrdiff_t last, real *sums)
{
    vec zero = vbroadcast(0), sum[4];
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = zero;
    for (ptrdiff_t row = 0; row < rows; row++, x += width, grad += width)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            ptrdiff_t count = v < VECTORS - 1 ? LANES : last;
            vec value = vload_part(x + v * LANES, count);
            sum[v] = vfma(vselect(vless(zero, value), zero, value),
                          vload_part(grad + v * LANES, count), sum[v]);
        }
    UNROLL for (int v = 0; v < VECTORS; v++)
        vstore_part(sums + v * LANES, sum[v], v < VECTORS - 1 ? LANES : last);
}

/* operand: 0 x (rows, width), 1 grad_y (rows, width), 2 gradient with respect to the slopes
 * (slopes); size: 0 width, 1 slopes: 1 for all columns, or width. One worker sums a single one. */
static int kernel_prelu_slope_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *grad = call->operand[1];
    real *out = call->operand[2];
    ptrdiff_t width = call->size[0], begin, end;
    if (call->size[1] == 1) {
        ptrdiff_t count = call->rows * width, strips = count / (4 * LANES);
        ptrdiff_t i = strips * 4 * LANES;
        real lanes[4 * LANES], part[LANES];
        if (worker != 0) return FASTNN_OK;
        prelu_slopes(4, x, grad, strips, 4 * LANES, LANES, lanes);
        vec total = vload(lanes) + vload(lanes + LANES)
                  + (vload(lanes + 2 * LANES) + vload(lanes + 3 * LANES));
        for (; i < count; i += LANES) {
            for (int lane = 0; lane < LANES; lane++) part[lane] = 0;
            prelu_slopes(1, x + i, grad + i, 1, 0, count - i < LANES ? count - i : LANES, part);
            total = total + vload(part);
        }
        out[0] = vsum(total);
        return FASTNN_OK;
    }
    share(width, 4 * LANES, worker, workers, &begin, &end);
    for (; begin + 4 * LANES <= end; begin += 4 * LANES)
        prelu_slopes(4, x + begin, grad + begin, call->rows, width, LANES, out + begin);
    for (; begin + LANES <= end; begin += LANES)
        prelu_slopes(1, x + begin, grad + begin, call->rows, width, LANES, out + begin);
    if (begin < end)
        prelu_slopes(1, x + begin, grad + begin, call->rows, width, end - begin, out + begin);
    return FASTNN_OK;
}

/* Columns that are worked on at once, so that what lies between two passes stays in the first cache. */
enum { COLUMNS_AT_ONCE = 256 };

/* operand: 0 x (rows, width), 1 alpha (width), 2 y (rows, width); size: width; scalar: 0 parameter
 * of the activation; variant: row of activations.h. y = x + alpha (f(x) - x), in two passes: a
 * function for each activation that does both would be a seventh of all code. */
static int kernel_parametric_activation(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    const real *alpha = call->operand[1];
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, 1 + GRAIN / (width + 1), worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        real *y = (real *)call->operand[2] + row * width;
        activation_table[call->variant].forward(x, y, width, (real)call->scalar[0]);
        ptrdiff_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            vec from = vload(x + i);
            vstore(y + i, vfma(vload(alpha + i), vload(y + i) - from, from));
        }
        if (i < width) {
            vec from = vload_first(x + i, width - i), to = vload_first(y + i, width - i);
            vstore_first(y + i, vfma(vload_first(alpha + i, width - i), to - from, from), width - i);
        }
    }
    return FASTNN_OK;
}

/* operand: 0 x (rows, width), 1 alpha (width), 2 grad_y (rows, width), 3 grad_x (rows, width),
 * 4 grad_alpha (width); size, scalar and variant as above. Workers share the columns, so that one
 * of them makes the sum over the rows. An activation that keeps its output gets it computed again. */
static int kernel_parametric_activation_gradient(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    const real *alpha = call->operand[1];
    real f[COLUMNS_AT_ONCE], slope[COLUMNS_AT_ONCE], ones[COLUMNS_AT_ONCE];
    real parameter = (real)call->scalar[0];
    vec one = vbroadcast(1);
    ptrdiff_t width = call->size[0], first, end;
    int keeps_output = activation_table[call->variant].keeps_output;
    for (int i = 0; i < COLUMNS_AT_ONCE; i++) ones[i] = 1;
    share(width, 2 * LANES, worker, workers, &first, &end);
    for (; first < end; first += COLUMNS_AT_ONCE) {
        ptrdiff_t count = end - first < COLUMNS_AT_ONCE ? end - first : COLUMNS_AT_ONCE;
        real *sums = (real *)call->operand[4] + first;
        memset(sums, 0, (size_t)count * sizeof(real));
        for (ptrdiff_t row = 0; row < call->rows; row++) {
            const real *x = (const real *)call->operand[0] + row * width + first;
            const real *grad = (const real *)call->operand[2] + row * width + first;
            real *out = (real *)call->operand[3] + row * width + first;
            activation_table[call->variant].forward(x, f, count, parameter);
            activation_table[call->variant].gradient(keeps_output ? f : x, ones, slope, count,
                                                     parameter);
            for (ptrdiff_t i = 0; i < count; i += LANES) {
                ptrdiff_t part = count - i < LANES ? count - i : LANES;
                vec g = vload_part(grad + i, part), a = vload_part(alpha + first + i, part);
                vec change = vload_part(f + i, part) - vload_part(x + i, part);
                vstore_part(sums + i, vfma(g, change, vload_part(sums + i, part)), part);
                vstore_part(out + i, g * vfma(a, vload_part(slope + i, part) - one, one), part);
            }
        }
    }
    return FASTNN_OK;
}

/* sums = (x * grad).sum(axis=0) over VECTORS vectors of columns, the last one of `last`. */
ALWAYS_INLINE void column_products(const int VECTORS, const real *x, const real *grad,
                                   ptrdiff_t rows, ptrdiff_t width, ptrdiff_t last, real *sums)
{
    vec sum[4];
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = vbroadcast(0);
    for (ptrdiff_t row = 0; row < rows; row++, x += width, grad += width)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            ptrdiff_t count = v < VECTORS - 1 ? LANES : last;
            sum[v] = vfma(vload_part(x + v * LANES, count), vload_part(grad + v * LANES, count),
                          sum[v]);
        }
    UNROLL for (int v = 0; v < VECTORS; v++)
        vstore_part(sums + v * LANES, sum[v], v < VECTORS - 1 ? LANES : last);
}

/* operand: 0 x (rows, width), 1 grad_y (rows, width), 2 gradient with respect to the scale (width);
 * size: width. The gradient of y = x * scale, by columns. */
static int kernel_scale_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *grad = call->operand[1];
    real *out = call->operand[2];
    ptrdiff_t width = call->size[0], i, end;
    share(width, 4 * LANES, worker, workers, &i, &end);
    for (; i + 4 * LANES <= end; i += 4 * LANES)
        column_products(4, x + i, grad + i, call->rows, width, LANES, out + i);
    for (; i + LANES <= end; i += LANES)
        column_products(1, x + i, grad + i, call->rows, width, LANES, out + i);
    if (i < end) column_products(1, x + i, grad + i, call->rows, width, end - i, out + i);
    return FASTNN_OK;
}
