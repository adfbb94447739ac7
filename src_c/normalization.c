/* normalization.c: mean 0 and variance 1, per row (layer) or per column of the batch.
 *
 * Variances are biased, and are summed from the differences from the mean: the numbers are still in
 * the cache, and the difference of two large sums would lose digits. A row, or a column, belongs to
 * one worker.
 */
#include "fastnn.h"
#include "simd.h"

#include <math.h>

/* --- rows ------------------------------------------------------------------------------------- */

/* The sum of (x - shift)^POWER over n elements, POWER 1 or 2; two chains fill each other's gaps. */
ALWAYS_INLINE real row_power_sum(const int POWER, const real *x, ptrdiff_t n, real shift)
{
    vec s = vbroadcast(shift), a = vbroadcast(0), b = a;
    ptrdiff_t j = 0;
    for (; j + 2 * LANES <= n; j += 2 * LANES) {
        vec c = vload(x + j) - s, d = vload(x + j + LANES) - s;
        a = POWER == 2 ? vfma(c, c, a) : a + c;
        b = POWER == 2 ? vfma(d, d, b) : b + d;
    }
    real shifts[LANES];
    vstore(shifts, s);
    for (; j < n; j += LANES) {
        ptrdiff_t count = n - j < LANES ? n - j : LANES;
        vec c = vload_part(x + j, count) - vload_part(shifts, count);
        a = POWER == 2 ? vfma(c, c, a) : a + c;
    }
    return vsum(a + b);
}

/* The first `count` lanes of p[j:], or of `otherwise` if p is NULL. */
ALWAYS_INLINE vec vload_or(const real *p, ptrdiff_t j, ptrdiff_t count, real otherwise)
{
    return p ? vload_part(p + j, count) : vbroadcast(otherwise);
}

/* Iterates over the vectors of a row of n elements, the last of them ragged: DO(j, count). */
#define EACH_VECTOR(n, DO)                                      \
    do {                                                        \
        ptrdiff_t j_ = 0;                                       \
        for (; j_ + LANES <= n; j_ += LANES) DO(j_, LANES);     \
        if (j_ < n) DO(j_, n - j_);                             \
    } while (0)

ALWAYS_INLINE void normalize_vector(const real *x, vec mean, vec scale, const real *gamma,
                                    const real *beta, real *y, ptrdiff_t j, ptrdiff_t count)
{
    vec normal = (vload_part(x + j, count) - mean) * scale;
    vstore_part(y + j, vfma(normal, vload_or(gamma, j, count, 1), vload_or(beta, j, count, 0)), count);
}

/* operand: 0 x (rows, width), 1 gamma (width) or NULL, 2 beta (width) or NULL, 3 y (rows, width),
 * 4 mean and 1 / sqrt(variance + epsilon) of each row (rows, 2) or NULL; size: width; scalar:
 * epsilon. y = (x - mean) / sqrt(variance + epsilon) * gamma + beta. */
static int kernel_layer_normalization(const fastnn_call *call, int worker, int workers)
{
    const real *gamma = call->operand[1], *beta = call->operand[2];
    real *statistics = call->operand[4];
    ptrdiff_t width = call->size[0], row, end;
    if (width == 0) return FASTNN_OK;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        real *y = (real *)call->operand[3] + row * width;
        real mean = row_power_sum(1, x, width, 0) / (real)width;
        real variance = row_power_sum(2, x, width, mean) / (real)width;
        real scale = 1 / vfirst(vsqrt(vbroadcast(variance + (real)call->scalar[0])));
        vec m = vbroadcast(mean), s = vbroadcast(scale);
#define DO(j, count) normalize_vector(x, m, s, gamma, beta, y, j, count)
        EACH_VECTOR(width, DO);
#undef DO
        if (statistics) statistics[2 * row] = mean, statistics[2 * row + 1] = scale;
    }
    return FASTNN_OK;
}

/* One vector of the gradient; the first pass of a row sums g and z, which are zero in the lanes
 * past the end. */
ALWAYS_INLINE void sum_gradient_vector(const real *x, vec mean, vec scale, const real *gamma,
                                       const real *grad, ptrdiff_t j, ptrdiff_t count, vec *sum,
                                       vec *product)
{
    vec g = vload_part(grad + j, count) * vload_or(gamma, j, count, 1);
    *sum = *sum + g;
    *product = vfma(g, (vload_part(x + j, count) - mean) * scale, *product);
}
ALWAYS_INLINE void gradient_vector(const real *x, vec mean, vec scale, const real *gamma,
                                   const real *grad, ptrdiff_t j, ptrdiff_t count, vec by_mean,
                                   vec by_scale, real *out)
{
    vec g = vload_part(grad + j, count) * vload_or(gamma, j, count, 1);
    vec normal = (vload_part(x + j, count) - mean) * scale;
    vstore_part(out + j, (g - by_mean - normal * by_scale) * scale, count);
}

/* operand: 0 x (rows, width), 1 statistics (rows, 2) as above, 2 gamma (width) or NULL,
 * 3 grad_y (rows, width), 4 grad_x (rows, width); size: width. With g = grad_y * gamma and z the
 * normalized x: grad_x = (g - mean(g) - z * mean(g * z)) / sqrt(variance + epsilon). */
static int kernel_layer_normalization_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *gamma = call->operand[2];
    ptrdiff_t width = call->size[0], row, end;
    if (width == 0) return FASTNN_OK;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        const real *statistics = (const real *)call->operand[1] + 2 * row;
        const real *grad = (const real *)call->operand[3] + row * width;
        real *out = (real *)call->operand[4] + row * width;
        vec m = vbroadcast(statistics[0]), s = vbroadcast(statistics[1]);
        vec sum = vbroadcast(0), product = sum;
#define DO(j, count) sum_gradient_vector(x, m, s, gamma, grad, j, count, &sum, &product)
        EACH_VECTOR(width, DO);
#undef DO
        vec by_mean = vbroadcast(vsum(sum) / (real)width);
        vec by_scale = vbroadcast(vsum(product) / (real)width);
#define DO(j, count) gradient_vector(x, m, s, gamma, grad, j, count, by_mean, by_scale, out)
        EACH_VECTOR(width, DO);
#undef DO
    }
    return FASTNN_OK;
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Vectors of columns processed at once: enough independent chains, and whole cache lines. */
enum { COLUMNS = 4 };

/* Iterates over columns [begin, end) in strips of COLUMNS vectors, then single ones, the last of
 * them ragged: DO(VECTORS, j, last), where `last` is the number of columns in the last vector. */
#define EACH_STRIP(begin, end, DO)                                                      \
    do {                                                                                \
        ptrdiff_t j_ = begin;                                                           \
        for (; j_ + COLUMNS * LANES <= end; j_ += COLUMNS * LANES) DO(COLUMNS, j_, LANES); \
        for (; j_ + LANES <= end; j_ += LANES) DO(1, j_, LANES);                        \
        if (j_ < end) DO(1, j_, end - j_);                                              \
    } while (0)
/* The number of columns in vector v of a strip. */
#define COUNT(v) (v < VECTORS - 1 ? LANES : last)

ALWAYS_INLINE void scale_gradient_strip(const int VECTORS, const fastnn_call *call, ptrdiff_t j,
                                        ptrdiff_t last)
{
    const real *x = (const real *)call->operand[0] + j, *statistics = call->operand[1];
    const real *grad = (const real *)call->operand[2] + j;
    real *out = (real *)call->operand[3] + j;
    ptrdiff_t width = call->size[0];
    vec sum[COLUMNS];
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = vbroadcast(0);
    for (ptrdiff_t row = 0; row < call->rows; row++, x += width, grad += width, statistics += 2) {
        vec m = vbroadcast(statistics[0]), s = vbroadcast(statistics[1]);
        UNROLL for (int v = 0; v < VECTORS; v++)
            sum[v] = vfma((vload_part(x + v * LANES, COUNT(v)) - m) * s,
                          vload_part(grad + v * LANES, COUNT(v)), sum[v]);
    }
    UNROLL for (int v = 0; v < VECTORS; v++) vstore_part(out + v * LANES, sum[v], COUNT(v));
}

/* operand: 0 x (rows, width), 1 statistics (rows, 2), 2 grad_y (rows, width), 3 gradient with
 * respect to gamma (width); size: width. Sums grad_y * normalized x over the rows. */
static int kernel_layer_normalization_scale_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t begin, end;
    share(call->size[0], COLUMNS * LANES, worker, workers, &begin, &end);
#define DO(VECTORS, j, last) scale_gradient_strip(VECTORS, call, j, last)
    EACH_STRIP(begin, end, DO);
#undef DO
    return FASTNN_OK;
}

ALWAYS_INLINE vec inverse_root(vec variance, const fastnn_call *call)
{
    return vbroadcast(1) / vsqrt(variance + vbroadcast((real)call->scalar[0]));
}

ALWAYS_INLINE void batch_normalization_strip(const int VECTORS, const fastnn_call *call, ptrdiff_t j,
                                             ptrdiff_t last)
{
    ptrdiff_t width = call->size[0], rows = call->rows;
    const real *x = (const real *)call->operand[0] + j, *first = x;
    const real *gamma = call->operand[1], *beta = call->operand[2];
    real *mean = (real *)call->operand[3] + j, *variance = (real *)call->operand[4] + j;
    real *y = (real *)call->operand[5] + j;
    vec count = vbroadcast((real)(rows ? rows : 1)), m[COLUMNS], s[COLUMNS];
    if (call->variant == 1) {
        UNROLL for (int v = 0; v < VECTORS; v++) m[v] = s[v] = vbroadcast(0);
        for (ptrdiff_t row = 0; row < rows; row++, x += width)
            UNROLL for (int v = 0; v < VECTORS; v++) m[v] = m[v] + vload_part(x + v * LANES, COUNT(v));
        UNROLL for (int v = 0; v < VECTORS; v++) m[v] = m[v] / count;
        x = first;
        for (ptrdiff_t row = 0; row < rows; row++, x += width)
            UNROLL for (int v = 0; v < VECTORS; v++) {
                vec d = vload_part(x + v * LANES, COUNT(v)) - m[v];
                s[v] = vfma(d, d, s[v]);
            }
        UNROLL for (int v = 0; v < VECTORS; v++) {
            s[v] = s[v] / count;
            vstore_part(mean + v * LANES, m[v], COUNT(v));
            vstore_part(variance + v * LANES, s[v], COUNT(v));
        }
    } else {
        UNROLL for (int v = 0; v < VECTORS; v++) {
            m[v] = vload_part(mean + v * LANES, COUNT(v));
            s[v] = vload_part(variance + v * LANES, COUNT(v));
        }
    }
    UNROLL for (int v = 0; v < VECTORS; v++) {
        s[v] = inverse_root(s[v], call) * vload_or(gamma, j + v * LANES, COUNT(v), 1);
    }
    vec b[COLUMNS];
    UNROLL for (int v = 0; v < VECTORS; v++) b[v] = vload_or(beta, j + v * LANES, COUNT(v), 0);
    x = first;
    for (ptrdiff_t row = 0; row < rows; row++, x += width, y += width)
        UNROLL for (int v = 0; v < VECTORS; v++)
            vstore_part(y + v * LANES, vfma(vload_part(x + v * LANES, COUNT(v)) - m[v], s[v], b[v]),
                         COUNT(v));
}

/* operand: 0 x (rows, width), 1 gamma (width) or NULL, 2 beta (width) or NULL, 3 mean (width),
 * 4 variance (width), 5 y (rows, width); size: width; scalar: epsilon; variant: 0 if mean and
 * variance are given, 1 if those of the batch are computed and written.
 * y = (x - mean) / sqrt(variance + epsilon) * gamma + beta. */
static int kernel_batch_normalization(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t begin, end;
    if (call->variant < 0 || call->variant > 1) return FASTNN_BAD_VARIANT;
    share(call->size[0], COLUMNS * LANES, worker, workers, &begin, &end);
#define DO(VECTORS, j, last) batch_normalization_strip(VECTORS, call, j, last)
    EACH_STRIP(begin, end, DO);
#undef DO
    return FASTNN_OK;
}

ALWAYS_INLINE void batch_gradient_strip(const int VECTORS, const fastnn_call *call, ptrdiff_t j,
                                        ptrdiff_t last)
{
    ptrdiff_t width = call->size[0], rows = call->rows;
    const real *x = (const real *)call->operand[0] + j, *first_x = x, *gamma = call->operand[1];
    const real *mean = (const real *)call->operand[2] + j;
    const real *variance = (const real *)call->operand[3] + j;
    const real *grad = (const real *)call->operand[4] + j, *first_grad = grad;
    real *out = (real *)call->operand[5] + j, *by_gamma = call->operand[6];
    real *by_beta = call->operand[7];
    vec m[COLUMNS], s[COLUMNS], sum[COLUMNS], product[COLUMNS];
    UNROLL for (int v = 0; v < VECTORS; v++) {
        m[v] = vload_part(mean + v * LANES, COUNT(v));
        s[v] = inverse_root(vload_part(variance + v * LANES, COUNT(v)), call);
        sum[v] = product[v] = vbroadcast(0);
    }
    for (ptrdiff_t row = 0; row < rows; row++, x += width, grad += width)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            vec g = vload_part(grad + v * LANES, COUNT(v));
            sum[v] = sum[v] + g;
            product[v] = vfma(g, (vload_part(x + v * LANES, COUNT(v)) - m[v]) * s[v], product[v]);
        }
    vec count = vbroadcast((real)(rows ? rows : 1));
    UNROLL for (int v = 0; v < VECTORS; v++) {
        if (by_gamma) vstore_part(by_gamma + j + v * LANES, product[v], COUNT(v));
        if (by_beta) vstore_part(by_beta + j + v * LANES, sum[v], COUNT(v));
        sum[v] = sum[v] / count, product[v] = product[v] / count;
    }
    vec scale[COLUMNS];
    UNROLL for (int v = 0; v < VECTORS; v++)
        scale[v] = s[v] * vload_or(gamma, j + v * LANES, COUNT(v), 1);
    x = first_x, grad = first_grad;
    for (ptrdiff_t row = 0; row < rows; row++, x += width, grad += width, out += width)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            vec normal = (vload_part(x + v * LANES, COUNT(v)) - m[v]) * s[v];
            vec g = vload_part(grad + v * LANES, COUNT(v));
            if (call->variant == 1) g = g - sum[v] - normal * product[v];
            vstore_part(out + v * LANES, g * scale[v], COUNT(v));
        }
}

/* operand: 0 x (rows, width), 1 gamma (width) or NULL, 2 mean (width), 3 variance (width),
 * 4 grad_y (rows, width), 5 grad_x (rows, width), 6 gradient with respect to gamma (width) or NULL,
 * 7 to beta (width) or NULL; size: width; scalar: epsilon; variant: as above. With normalized x z:
 *   grad_gamma = sum(grad_y * z), grad_beta = sum(grad_y)
 *   grad_x = (grad_y - mean(grad_y) - z * mean(grad_y * z)) * gamma / sqrt(variance + epsilon),
 * without the means if mean and variance were given. */
static int kernel_batch_normalization_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t begin, end;
    if (call->variant < 0 || call->variant > 1) return FASTNN_BAD_VARIANT;
    share(call->size[0], COLUMNS * LANES, worker, workers, &begin, &end);
#define DO(VECTORS, j, last) batch_gradient_strip(VECTORS, call, j, last)
    EACH_STRIP(begin, end, DO);
#undef DO
    return FASTNN_OK;
}
