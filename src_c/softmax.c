/* softmax.c: kernels that process a whole row at once. */
#include "fastnn.h"
#include "simd.h"
#include "vmath.h"

#include <math.h>

/* Minimum number of rows for a worker. */
enum { ROWS_GRAIN = 4 };

/* The first `count` lanes; the others are -inf, which never is the maximum and whose exponential
 * is 0. */
ALWAYS_INLINE vec vload_or_least(const real *p, ptrdiff_t count)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return (vec)V512(mask_loadu)(vbroadcast(-INFINITY), (vmask)((1u << count) - 1), p);
#else
    real lanes[LANES];
    for (ptrdiff_t i = 0; i < LANES; i++) lanes[i] = i < count ? p[i] : -(real)INFINITY;
    return vload(lanes);
#endif
}

/* The largest of x[0:n]; NaN if there is one. n >= 1. */
static real row_largest(const real *x, ptrdiff_t n)
{
    /* Two chains; NaN, which fails every comparison, is detected separately. The last vector may
     * overlap the one before it. */
    vec a = n >= LANES ? vload(x) : vload_or_least(x, n), b = n >= LANES ? vload(x + n - LANES) : a;
    vmask nan = vmask_or(vis_nan(a), vis_nan(b));
    for (ptrdiff_t i = LANES; i + LANES < n; i += 2 * LANES) {
        vec c = vload(x + i), d = vload(x + (i + 2 * LANES < n ? i + LANES : n - LANES));
        nan = vmask_or(nan, vmask_or(vis_nan(c), vis_nan(d)));
        a = vselect(vless(a, c), c, a);
        b = vselect(vless(b, d), d, b);
    }
    return vany(nan) ? (real)NAN : vlargest(vselect(vless(a, b), b, a));
}

/* out[j] = exp(x[j] - largest); returns their sum. */
static real row_exponentials(const real *x, ptrdiff_t n, real largest, real *out)
{
    vec shift = vbroadcast(largest), sum = vbroadcast(0);
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec e = vexp(vload(x + j) - shift);
        vstore(out + j, e);
        sum = sum + e;
    }
    if (j < n) {
        vec e = vexp(vload_or_least(x + j, n - j) - shift);
        vstore_first(out + j, e, n - j);
        sum = sum + e;
    }
    return vsum(sum);
}

/* operand: 0 x (rows, width), 1 y (rows, width); size: width.
 * y = exp(x - max) / sum(exp(x - max)), row by row. */
static int kernel_softmax(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        real *y = (real *)call->operand[1] + row * width;
        real sum = row_exponentials(x, width, row_largest(x, width), y);
        vec scale = vbroadcast(1 / sum);
        ptrdiff_t j = 0;
        for (; j + LANES <= width; j += LANES) vstore(y + j, vload(y + j) * scale);
        if (j < width) vstore_first(y + j, vload_first(y + j, width - j) * scale, width - j);
    }
    return FASTNN_OK;
}

/* operand: 0 y (rows, width), 1 grad_y, 2 grad_x; size: width.
 * grad_x = y * (grad_y - sum(grad_y * y)), row by row. */
static int kernel_softmax_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *y = (const real *)call->operand[0] + row * width;
        const real *grad = (const real *)call->operand[1] + row * width;
        real *out = (real *)call->operand[2] + row * width;
        vec sum = vbroadcast(0);
        ptrdiff_t j = 0;
        for (; j + LANES <= width; j += LANES) sum = vfma(vload(grad + j), vload(y + j), sum);
        if (j < width)
            sum = vfma(vload_first(grad + j, width - j), vload_first(y + j, width - j), sum);
        vec dot = vbroadcast(vsum(sum));
        for (j = 0; j + LANES <= width; j += LANES)
            vstore(out + j, vload(y + j) * (vload(grad + j) - dot));
        if (j < width)
            vstore_first(out + j, vload_first(y + j, width - j)
                                      * (vload_first(grad + j, width - j) - dot), width - j);
    }
    return FASTNN_OK;
}

/* operand: 0 x (rows, width), 1 y (rows, width); size: width.
 * y = x - max - log(sum(exp(x - max))), row by row. */
static int kernel_log_softmax(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        real *y = (real *)call->operand[1] + row * width;
        vec shift = vbroadcast(row_largest(x, width)), sum = vbroadcast(0);
        ptrdiff_t j = 0;
        for (; j + LANES <= width; j += LANES) sum = sum + vexp(vload(x + j) - shift);
        if (j < width) sum = sum + vexp(vload_or_least(x + j, width - j) - shift);
        vec log_sum = vlog(vbroadcast(vsum(sum)));
        for (j = 0; j + LANES <= width; j += LANES) vstore(y + j, vload(x + j) - shift - log_sum);
        if (j < width)
            vstore_first(y + j, vload_first(x + j, width - j) - shift - log_sum, width - j);
    }
    return FASTNN_OK;
}

/* operand: 0 y (rows, width), 1 grad_y, 2 grad_x; size: width.
 * grad_x = grad_y - exp(y) * sum(grad_y), row by row. */
static int kernel_log_softmax_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *y = (const real *)call->operand[0] + row * width;
        const real *grad = (const real *)call->operand[1] + row * width;
        real *out = (real *)call->operand[2] + row * width;
        vec sum = vbroadcast(0);
        ptrdiff_t j = 0;
        for (; j + LANES <= width; j += LANES) sum = sum + vload(grad + j);
        if (j < width) sum = sum + vload_first(grad + j, width - j);
        vec total = vbroadcast(-vsum(sum));
        for (j = 0; j + LANES <= width; j += LANES)
            vstore(out + j, vfma(vexp(vload(y + j)), total, vload(grad + j)));
        if (j < width)
            vstore_first(out + j, vfma(vexp(vload_first(y + j, width - j)), total,
                                       vload_first(grad + j, width - j)), width - j);
    }
    return FASTNN_OK;
}
