/* loss.c: losses, each with its gradient in the same pass, and metrics of a sample.
 *
 * A loss writes one number per sample; `mean` makes the batch's out of them, in double
 * and in the order of the samples. A gradient is divided by the number of samples, as
 * the mean is.
 */
#include "fastnn.h"
#include "losses.h"
#include "simd.h"

#define X(name, parameter_name, default_value)                                           \
    static real name##_row(const real *p, const real *t, real *grad, ptrdiff_t n,        \
                           real parameter, real scale)                                   \
    {                                                                                    \
        vec q = vbroadcast(parameter), s = vbroadcast(scale), sum = vbroadcast(0);       \
        ptrdiff_t j = 0;                                                                 \
        for (; j + LANES <= n; j += LANES) {                                             \
            sum = sum + name##_value(vload(p + j), vload(t + j), q);                     \
            if (grad) vstore(grad + j, name##_gradient(vload(p + j), vload(t + j), q) * s); \
        }                                                                                \
        if (j < n) {                                                                     \
            vec last_p = vload_first(p + j, n - j), last_t = vload_first(t + j, n - j);  \
            real values[LANES];                                                          \
            vstore(values, name##_value(last_p, last_t, q));                             \
            sum = sum + vload_first(values, n - j);                                      \
            if (grad) vstore_first(grad + j, name##_gradient(last_p, last_t, q) * s, n - j); \
        }                                                                                \
        return vsum(sum);                                                                \
    }
FASTNN_LOSSES(X)
#undef X

/* operand: 0 prediction (rows, width), 1 target (rows, width), 2 loss (rows),
 * 3 gradient (rows, width) or NULL; size: width; scalar: 0 parameter; variant: row of
 * losses.h. */
static int kernel_elementwise_loss(const fastnn_call *call, int worker, int workers)
{
    static real (*const rows_of[])(const real *, const real *, real *, ptrdiff_t, real, real) = {
#define X(name, parameter, default_value) name##_row,
        FASTNN_LOSSES(X)
#undef X
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof rows_of / sizeof rows_of[0]))
        return FASTNN_BAD_VARIANT;
    const real *p = call->operand[0], *t = call->operand[1];
    real *losses = call->operand[2], *grad = call->operand[3];
    ptrdiff_t width = call->size[0], row, end;
    real scale = (real)(1.0 / ((double)call->rows * (double)width));
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++)
        losses[row] = rows_of[call->variant](p + row * width, t + row * width,
                                             grad ? grad + row * width : NULL, width,
                                             (real)call->scalar[0], scale) / (real)width;
    return FASTNN_OK;
}

/* operand: 0 logits (rows, width), 1 labels: int32 (rows) if variant is 0, probabilities
 * (rows, width) if 1, 2 loss (rows), 3 gradient (rows, width), 4 exponentials
 * (rows, width), used where 3 is NULL; size: width.
 * loss = log(sum(exp(z))) * sum(t) - sum(t z);  gradient = softmax(z) * sum(t) - t. */
static int kernel_softmax_crossentropy(const fastnn_call *call, int worker, int workers)
{
    const real *logits = call->operand[0];
    const int32_t *labels = call->operand[1];
    const real *targets = call->operand[1];
    real *losses = call->operand[2], *grads = call->operand[3];
    ptrdiff_t width = call->size[0], row, end;
    real scale = (real)(1.0 / (double)call->rows);
    if (call->variant < 0 || call->variant > 1) return FASTNN_BAD_VARIANT;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *z = logits + row * width;
        real *out = (grads ? grads : (real *)call->operand[4]) + row * width;
        real largest = row_largest(z, width);
        real sum = row_exponentials(z, width, largest, out);
        real log_sum;
        { vec s = vlog(vbroadcast(sum)); real lanes[LANES]; vstore(lanes, s); log_sum = lanes[0]; }
        if (call->variant == 0) {
            int32_t label = labels[row];
            if (label < 0 || label >= width) return FASTNN_BAD_LABEL;
            losses[row] = log_sum - (z[label] - largest);
            if (!grads) continue;
            real each = scale / sum;
            for (ptrdiff_t j = 0; j < width; j++) out[j] *= each;
            out[label] -= scale;
        } else {
            const real *t = targets + row * width;
            real total = 0, dot = 0;
            for (ptrdiff_t j = 0; j < width; j++) total += t[j], dot += t[j] * (z[j] - largest);
            losses[row] = log_sum * total - dot;
            if (!grads) continue;
            real each = total / sum;
            for (ptrdiff_t j = 0; j < width; j++) out[j] = (out[j] * each - t[j]) * scale;
        }
    }
    return FASTNN_OK;
}

/* The first index of the largest of x[0:n]; the first NaN counts as the largest, as in
 * NumPy. n >= 1. */
static ptrdiff_t row_argmax(const real *x, ptrdiff_t n)
{
    real largest = row_largest(x, n);
    vec wanted = vbroadcast(largest);
    ptrdiff_t j = 0;
    if (largest == largest)
        while (j + LANES <= n && !vany(vequal(vload(x + j), wanted))) j += LANES;
    while (x[j] != largest && x[j] == x[j]) j++;
    return j;
}

/* Whether `index` is what row_argmax would find; a wrong one is mostly told by its number. */
static int row_is_argmax(const real *x, ptrdiff_t n, ptrdiff_t index)
{
    real largest = row_largest(x, n);
    return largest == largest && x[index] != largest ? 0 : row_argmax(x, n) == index;
}

/* operand: 0 scores (rows, width), 1 labels: int32 (rows) if variant is 0, probabilities
 * (rows, width) if 1, 2 hits (rows); size: width. */
static int kernel_categorical_accuracy(const fastnn_call *call, int worker, int workers)
{
    real *hits = call->operand[2];
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        ptrdiff_t label = call->variant == 0
            ? (ptrdiff_t)((const int32_t *)call->operand[1])[row]
            : row_argmax((const real *)call->operand[1] + row * width, width);
        hits[row] = row_is_argmax((const real *)call->operand[0] + row * width, width, label);
    }
    return FASTNN_OK;
}

/* operand: 0 scores (rows, width), 1 targets (rows, width), 2 hits (rows); size: width;
 * scalar: 0 threshold of a score (that of a target is 1/2). */
static int kernel_binary_accuracy(const fastnn_call *call, int worker, int workers)
{
    real *hits = call->operand[2], threshold = (real)call->scalar[0];
    ptrdiff_t width = call->size[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        const real *p = (const real *)call->operand[0] + row * width;
        const real *t = (const real *)call->operand[1] + row * width;
        ptrdiff_t count = 0, nan = 0;
        for (ptrdiff_t j = 0; j < width; j++) {
            count += (p[j] > threshold) == (t[j] > (real)0.5);
            nan += p[j] != p[j];
        }
        hits[row] = nan ? (real)NAN : (real)count / (real)width;
    }
    return FASTNN_OK;
}

/* operand: 0 x (rows), 1 mean, a double; NaN for no rows, as in NumPy. */
static int kernel_mean(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    double sums[16] = {0}, sum = 0; /* side by side, put together in order */
    ptrdiff_t row = 0;
    (void)workers;
    if (worker != 0) return FASTNN_OK;
    for (; row + 16 <= call->rows; row += 16)
        for (int lane = 0; lane < 16; lane++) sums[lane] += (double)x[row + lane];
    for (int lane = 0; lane < 16; lane++) sum += sums[lane];
    for (; row < call->rows; row++) sum += (double)x[row];
    *(double *)call->operand[1] = sum / (double)call->rows;
    return FASTNN_OK;
}
