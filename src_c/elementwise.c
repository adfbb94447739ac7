/* elementwise.c: activations, sums, products, column copies, and the functions of vmath.h. */
#include "activations.h"
#include "fastnn.h"

/* Minimum number of elements for a worker: a share smaller than a few cache lines costs
 * more in false sharing than it saves. */
enum { GRAIN = 256 };

/* Two independent vectors in one pass: their chains of multiply-adds fill each other's gaps,
 * which saves up to a tenth of the time. */
#define TWO_AT_A_TIME PRAGMA(GCC unroll 2)

/* y[i] = f(x[i]) and grad_x[i] = gradient(saved[i], grad_y[i]) over n elements; the
 * product's epilogue calls them on a row of its tile, the kernels below on a share. */
typedef void (*forward_span)(const real *x, real *y, ptrdiff_t n, real parameter);
typedef void (*gradient_span)(const real *saved, const real *grad, real *out, ptrdiff_t n,
                              real parameter);

#define X(name, saves, parameter_name, default_value)                                 \
    static void name##_forward_span(const real *x, real *y, ptrdiff_t n, real parameter) \
    {                                                                                 \
        vec p = vbroadcast(parameter);                                                \
        ptrdiff_t i = 0;                                                              \
        TWO_AT_A_TIME                                                                 \
        for (; i + LANES <= n; i += LANES) vstore(y + i, name##_forward(vload(x + i), p)); \
        if (i < n) vstore_first(y + i, name##_forward(vload_first(x + i, n - i), p), n - i); \
    }                                                                                 \
    static void name##_gradient_span(const real *saved, const real *grad, real *out,  \
                                     ptrdiff_t n, real parameter)                     \
    {                                                                                 \
        vec p = vbroadcast(parameter);                                                \
        ptrdiff_t i = 0;                                                              \
        TWO_AT_A_TIME                                                                 \
        for (; i + LANES <= n; i += LANES)                                            \
            vstore(out + i, name##_gradient(vload(saved + i), vload(grad + i), p));   \
        if (i < n)                                                                    \
            vstore_first(out + i, name##_gradient(vload_first(saved + i, n - i),      \
                                                  vload_first(grad + i, n - i), p), n - i); \
    }
FASTNN_ACTIVATIONS(X)
#undef X

enum activation_index {
#define X(name, saves, parameter, default_value) ACTIVATION_##name,
    FASTNN_ACTIVATIONS(X)
#undef X
    ACTIVATION_COUNT
};
static const struct {
    forward_span forward;
    gradient_span gradient;
    int keeps_output; /* for backward, not the input */
} activation_table[] = {
#define X(name, saves, parameter, default_value) \
    {name##_forward_span, name##_gradient_span, sizeof(saves) == sizeof("output")},
    FASTNN_ACTIVATIONS(X)
#undef X
};

/* operand: 0 x (rows, width), 1 y (rows, width); size: width; scalar: 0 parameter;
 * variant: row of activations.h. */
static int kernel_activation(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t begin, end;
    share(call->rows * call->size[0], GRAIN, worker, workers, &begin, &end);
    const real *x = (const real *)call->operand[0] + begin;
    real *y = (real *)call->operand[1] + begin;
    if (call->variant == ACTIVATION_linear && end > begin)
        memcpy(y, x, (size_t)(end - begin) * sizeof(real));
    else
        activation_table[call->variant].forward(x, y, end - begin, (real)call->scalar[0]);
    return FASTNN_OK;
}

/* operand: 0 saved, 1 grad_y, 2 grad_x, all (rows, width); size: width;
 * scalar: 0 parameter; variant: row of activations.h. */
static int kernel_activation_gradient(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t begin, end;
    share(call->rows * call->size[0], GRAIN, worker, workers, &begin, &end);
    const real *grad = (const real *)call->operand[1] + begin;
    real *out = (real *)call->operand[2] + begin;
    if (call->variant == ACTIVATION_linear && end > begin)
        memcpy(out, grad, (size_t)(end - begin) * sizeof(real));
    else
        activation_table[call->variant].gradient((const real *)call->operand[0] + begin, grad,
                                                 out, end - begin, (real)call->scalar[0]);
    return FASTNN_OK;
}

/* out = a + b, a worker's share of `count` elements; out may be a or b. */
static void add_share(const real *a, const real *b, real *out, ptrdiff_t count, int worker,
                      int workers)
{
    ptrdiff_t i, end;
    share(count, GRAIN, worker, workers, &i, &end);
    for (; i + LANES <= end; i += LANES) vstore(out + i, vload(a + i) + vload(b + i));
    for (; i < end; i++) out[i] = a[i] + b[i];
}

/* operand: 0 a, 1 b, 2 a + b, all (rows, width); size: width. */
static int kernel_add(const fastnn_call *call, int worker, int workers)
{
    add_share(call->operand[0], call->operand[1], call->operand[2], call->rows * call->size[0], worker,
              workers);
    return FASTNN_OK;
}

/* operand: 0 a, 1 b, 2 a * b, all (rows, width); size: width. */
static int kernel_multiply(const fastnn_call *call, int worker, int workers)
{
    const real *a = call->operand[0], *b = call->operand[1];
    real *out = call->operand[2];
    ptrdiff_t i, end;
    share(call->rows * call->size[0], GRAIN, worker, workers, &i, &end);
    for (; i + LANES <= end; i += LANES) vstore(out + i, vload(a + i) * vload(b + i));
    for (; i < end; i++) out[i] = a[i] * b[i];
    return FASTNN_OK;
}

/* One vector of the three formulas of `standardize`. */
ALWAYS_INLINE vec standardized(const int VARIANT, vec x, vec mean, vec scale)
{
    return VARIANT == 0 ? (x - mean) / scale : vfma(x, scale, mean);
}

/* n elements in sequence; mean and scale are one number for all, or one for each. */
ALWAYS_INLINE void standardize_span(const int VARIANT, const int IS_SHARED, const real *x,
                                    const real *mean, const real *scale, real *y, ptrdiff_t n)
{
    if (n == 0) return;
    vec m = vbroadcast(mean ? mean[0] : 0), s = vbroadcast(scale[0]);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (!IS_SHARED) s = vload(scale + i);
        if (!IS_SHARED && mean) m = vload(mean + i);
        vstore(y + i, standardized(VARIANT, vload(x + i), m, s));
    }
    if (i < n) {
        if (!IS_SHARED) s = vload_first(scale + i, n - i);
        if (!IS_SHARED && mean) m = vload_first(mean + i, n - i);
        vstore_first(y + i, standardized(VARIANT, vload_first(x + i, n - i), m, s), n - i);
    }
}

/* operand: 0 x (rows, width), 1 mean (features) or NULL for 0, 2 scale (features) or NULL, 3 y
 * (rows, width); size: 0 width, 1 features, which divides the width: they are repeated along it;
 * scalar: where there is no scale, 0 factor, 1 offset.
 * variant 0: y = (x - mean) / scale; 1: y = x * scale + mean; 2: y = x * factor + offset. */
static int kernel_standardize(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *mean = call->operand[1], *scale = call->operand[2];
    real *y = call->operand[3];
    ptrdiff_t width = call->size[0], features = call->size[1], begin, end;
    real factor = (real)call->scalar[0], offset = (real)call->scalar[1];
    if (call->variant == 2) mean = &offset, scale = &factor, features = 1;
    if (width == 0) return FASTNN_OK;
    if (features == 1) {
        share(call->rows * width, GRAIN, worker, workers, &begin, &end);
        x += begin, y += begin;
        if (call->variant == 0) standardize_span(0, 1, x, mean, scale, y, end - begin);
        else standardize_span(1, 1, x, mean, scale, y, end - begin);
        return FASTNN_OK;
    }
    share(call->rows * (width / features), 1 + GRAIN / (features + 1), worker, workers, &begin, &end);
    for (ptrdiff_t part = begin; part < end; part++) {
        const real *from = x + part * features;
        real *to = y + part * features;
        if (call->variant == 0) standardize_span(0, 0, from, mean, scale, to, features);
        else standardize_span(1, 0, from, mean, scale, to, features);
    }
    return FASTNN_OK;
}

/* operand: 0 x (rows, width), 1 weights (rows) or NULL, 2 y (rows, width); size: width;
 * scalar: 0 factor. y = factor * weight of the row * x. */
static int kernel_scale_rows(const fastnn_call *call, int worker, int workers)
{
    const real *weights = call->operand[1];
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, width ? 1 + GRAIN / width : 1, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *x = (const real *)call->operand[0] + row * width;
        real *y = (real *)call->operand[2] + row * width;
        real factor = (real)call->scalar[0] * (weights ? weights[row] : 1);
        for (ptrdiff_t j = 0; j < width; j++) y[j] = factor * x[j];
    }
    return FASTNN_OK;
}

/* operand: 0 to 5 inputs (rows, size[i]), of size 0 where absent, 6 output (rows, sum of
 * sizes). */
static int kernel_concatenate(const fastnn_call *call, int worker, int workers)
{
    real *out = call->operand[FASTNN_MAX_SIZES];
    ptrdiff_t width = 0, begin, end;
    for (int i = 0; i < FASTNN_MAX_SIZES; i++) width += call->size[i];
    share(call->rows, 1, worker, workers, &begin, &end);
    out += begin * width;
    for (ptrdiff_t row = begin; row < end; row++)
        for (int i = 0; i < FASTNN_MAX_SIZES; i++) {
            ptrdiff_t columns = call->size[i];
            if (columns == 0) continue;
            const real *x = (const real *)call->operand[i] + row * columns;
            memcpy(out, x, (size_t)columns * sizeof(real));
            out += columns;
        }
    return FASTNN_OK;
}

/* size: 0 width, 1 first column, 2 columns.
 * variant 0: operand 0 x (rows, width), 1 y (rows, columns): y = x[:, first:first + columns];
 * variant 1: operand 0 x (rows, columns), 1 y (rows, width): its gradient, with zeros around x. */
static int kernel_slice_columns(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    real *y = call->operand[1];
    ptrdiff_t width = call->size[0], first = call->size[1], columns = call->size[2];
    ptrdiff_t begin, end;
    share(call->rows, 1, worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row++) {
        if (call->variant == 0) {
            memcpy(y + row * columns, x + row * width + first, (size_t)columns * sizeof(real));
            continue;
        }
        memset(y + row * width, 0, (size_t)width * sizeof(real));
        memcpy(y + row * width + first, x + row * columns, (size_t)columns * sizeof(real));
    }
    return FASTNN_OK;
}

#define X(name)                                                                       \
    static void name##_span(const real *x, real *y, ptrdiff_t n)                      \
    {                                                                                 \
        ptrdiff_t i = 0;                                                              \
        TWO_AT_A_TIME                                                                 \
        for (; i + LANES <= n; i += LANES) vstore(y + i, v##name(vload(x + i)));      \
        if (i < n) vstore_first(y + i, v##name(vload_first(x + i, n - i)), n - i);    \
    }
FASTNN_MATH(X)
#undef X

/* operand: 0 x (rows, width), 1 y (rows, width); size: width; variant: row of vmath.h. */
static int kernel_math(const fastnn_call *call, int worker, int workers)
{
    static void (*const spans[])(const real *, real *, ptrdiff_t) = {
#define X(name) name##_span,
        FASTNN_MATH(X)
#undef X
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof spans / sizeof spans[0]))
        return FASTNN_BAD_VARIANT;
    ptrdiff_t begin, end;
    share(call->rows * call->size[0], GRAIN, worker, workers, &begin, &end);
    spans[call->variant]((const real *)call->operand[0] + begin,
                         (real *)call->operand[1] + begin, end - begin);
    return FASTNN_OK;
}
