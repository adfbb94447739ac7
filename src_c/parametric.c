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

/* y = x + alpha (f(x) - x) on n elements in sequence, and, over VECTORS vectors of columns, the last
 * one of `last`: grad_x = grad (1 + alpha (f'(x) - 1)) and sums = (grad (f(x) - x)).sum(axis=0). */
typedef void (*blend_span)(const real *x, const real *alpha, real *y, ptrdiff_t n, real parameter);
typedef void (*blend_columns)(const real *x, const real *alpha, const real *grad, real *grad_x,
                              real *sums, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t last,
                              real parameter);

/* Rows of activations.h that keep their output get it computed again. */
#define KEEPS_OUTPUT(saves) ((saves)[0] == 'o')
#define BLENDED(name, x, alpha) vfma(alpha, name##_forward(x, p) - (x), x)
#define X(name, saves, parameter_name, default_value)                                     \
    static void name##_blend_span(const real *x, const real *alpha, real *y, ptrdiff_t n, \
                                  real parameter)                                         \
    {                                                                                     \
        vec p = vbroadcast(parameter);                                                    \
        ptrdiff_t i = 0;                                                                  \
        TWO_AT_A_TIME                                                                     \
        for (; i + LANES <= n; i += LANES) {                                              \
            vec value = vload(x + i);                                                     \
            vstore(y + i, BLENDED(name, value, vload(alpha + i)));                        \
        }                                                                                 \
        if (i < n) {                                                                      \
            vec value = vload_first(x + i, n - i);                                        \
            vstore_first(y + i, BLENDED(name, value, vload_first(alpha + i, n - i)), n - i); \
        }                                                                                 \
    }                                                                                     \
    ALWAYS_INLINE void name##_blend_strip(const int VECTORS, const real *x, const real *alpha, \
                                          const real *grad, real *grad_x, real *sums,     \
                                          ptrdiff_t rows, ptrdiff_t width, ptrdiff_t last, \
                                          real parameter)                                 \
    {                                                                                     \
        vec p = vbroadcast(parameter), one = vbroadcast(1), sum[2], slope[2];             \
        UNROLL for (int v = 0; v < VECTORS; v++) {                                        \
            sum[v] = vbroadcast(0);                                                       \
            slope[v] = vload_part(alpha + v * LANES, v < VECTORS - 1 ? LANES : last);     \
        }                                                                                 \
        for (ptrdiff_t row = 0; row < rows; row++) {                                      \
            UNROLL for (int v = 0; v < VECTORS; v++) {                                    \
                ptrdiff_t at = row * width + v * LANES, count = v < VECTORS - 1 ? LANES : last; \
                vec value = vload_part(x + at, count), g = vload_part(grad + at, count);  \
                vec f = name##_forward(value, p);                                         \
                vec d = name##_gradient(KEEPS_OUTPUT(saves) ? f : value, one, p);         \
                sum[v] = vfma(g, f - value, sum[v]);                                      \
                vstore_part(grad_x + at, g * vfma(slope[v], d - one, one), count);        \
            }                                                                             \
        }                                                                                 \
        UNROLL for (int v = 0; v < VECTORS; v++)                                          \
            vstore_part(sums + v * LANES, sum[v], v < VECTORS - 1 ? LANES : last);        \
    }                                                                                     \
    static void name##_blend_pair(const real *x, const real *alpha, const real *grad,     \
                                  real *grad_x, real *sums, ptrdiff_t rows, ptrdiff_t width, \
                                  ptrdiff_t last, real parameter)                         \
    {                                                                                     \
        name##_blend_strip(2, x, alpha, grad, grad_x, sums, rows, width, last, parameter); \
    }                                                                                     \
    static void name##_blend_single(const real *x, const real *alpha, const real *grad,   \
                                    real *grad_x, real *sums, ptrdiff_t rows, ptrdiff_t width, \
                                    ptrdiff_t last, real parameter)                       \
    {                                                                                     \
        name##_blend_strip(1, x, alpha, grad, grad_x, sums, rows, width, last, parameter); \
    }
FASTNN_ACTIVATIONS(X)
#undef X

static const struct {
    blend_span forward;
    blend_columns pair, single; /* of vectors of columns */
} blend_table[] = {
#define X(name, saves, parameter, default_value) \
    {name##_blend_span, name##_blend_pair, name##_blend_single},
    FASTNN_ACTIVATIONS(X)
#undef X
};

/* operand: 0 x (rows, width), 1 alpha (width), 2 y (rows, width); size: width; scalar: 0 parameter
 * of the activation; variant: row of activations.h. y = x + alpha (f(x) - x). */
static int kernel_parametric_activation(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, 1 + GRAIN / (width + 1), worker, workers, &row, &end);
    for (; row < end; row++)
        blend_table[call->variant].forward((const real *)call->operand[0] + row * width,
                                           call->operand[1], (real *)call->operand[2] + row * width,
                                           width, (real)call->scalar[0]);
    return FASTNN_OK;
}

/* operand: 0 x (rows, width), 1 alpha (width), 2 grad_y (rows, width), 3 grad_x (rows, width),
 * 4 grad_alpha (width); size, scalar and variant as above. One pass computes both gradients, so
 * workers share the columns. */
static int kernel_parametric_activation_gradient(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    const real *x = call->operand[0], *alpha = call->operand[1], *grad = call->operand[2];
    real *grad_x = call->operand[3], *sums = call->operand[4];
    ptrdiff_t width = call->size[0], i, end;
    share(width, 2 * LANES, worker, workers, &i, &end);
    while (i < end) {
        ptrdiff_t left = end - i, vectors = left > LANES ? 2 : 1;
        ptrdiff_t last = left >= vectors * LANES ? LANES : left - (vectors - 1) * LANES;
        blend_columns run = vectors == 2 ? blend_table[call->variant].pair
                                         : blend_table[call->variant].single;
        run(x + i, alpha + i, grad + i, grad_x + i, sums + i, call->rows, width, last,
            (real)call->scalar[0]);
        i += vectors * LANES;
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
