/* loss.c: losses, each with its gradient in the same pass, and metrics computed per sample.
 *
 * A loss writes one number per sample; `mean` reduces them to the batch's, in double
 * and in the order of the samples. A gradient is divided by the number of samples, as
 * the mean is.
 */
#include "fastnn.h"
#include "losses.h"
#include "simd.h"
#include "transpose.h"

/* values[i] and, if requested, grad[i] for n outputs. */
#define X(name, parameter_name, default_value)                                           \
    static void name##_outputs(const real *p, const real *t, real *values, real *grad,   \
                               ptrdiff_t n, real parameter, real scale)                  \
    {                                                                                    \
        vec q = vbroadcast(parameter), s = vbroadcast(scale);                            \
        ptrdiff_t j = 0;                                                                 \
        for (; j + LANES <= n; j += LANES) {                                             \
            vstore(values + j, name##_value(vload(p + j), vload(t + j), q));             \
            if (grad) vstore(grad + j, name##_gradient(vload(p + j), vload(t + j), q) * s); \
        }                                                                                \
        if (j < n) {                                                                     \
            vec last_p = vload_first(p + j, n - j), last_t = vload_first(t + j, n - j);  \
            vstore_first(values + j, name##_value(last_p, last_t, q), n - j);            \
            if (grad) vstore_first(grad + j, name##_gradient(last_p, last_t, q) * s, n - j); \
        }                                                                                \
    }
FASTNN_LOSSES(X)
#undef X

/* The sum of x[0:n]: vectors are combined in a tree, then the rest is added in order. */
static real span_sum(const real *x, ptrdiff_t n)
{
    vec lanes = vbroadcast(0);
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) lanes = lanes + vload(x + j);
    real sum = j ? vsum(lanes) : 0;
    for (; j < n; j++) sum += x[j];
    return sum;
}

/* operand: 0 prediction (rows, width), 1 target (rows, width), 2 loss (rows),
 * 3 gradient (rows, width) or NULL; size: width; scalar: 0 parameter; variant: row of
 * losses.h. Outputs are processed in pieces that may span rows, so that narrow rows fill the
 * vectors too; a sample's loss is the sum of the contributions of its pieces. */
static int kernel_elementwise_loss(const fastnn_call *call, int worker, int workers)
{
    enum { PIECE_OUTPUTS = 1024 };
    static void (*const outputs_of[])(const real *, const real *, real *, real *, ptrdiff_t, real,
                                      real) = {
#define X(name, parameter, default_value) name##_outputs,
        FASTNN_LOSSES(X)
#undef X
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof outputs_of / sizeof outputs_of[0]))
        return FASTNN_BAD_VARIANT;
    const real *p = call->operand[0], *t = call->operand[1];
    real *losses = call->operand[2], *grad = call->operand[3], values[PIECE_OUTPUTS];
    ptrdiff_t width = call->size[0], row, end;
    real scale = (real)(1.0 / ((double)call->rows * (double)width));
    ptrdiff_t rows_at_once = width >= PIECE_OUTPUTS ? 1 : width ? PIECE_OUTPUTS / width : call->rows;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row += rows_at_once) {
        ptrdiff_t rows = end - row < rows_at_once ? end - row : rows_at_once;
        if (width == 1) { /* the loss of an output is that of its sample */
            outputs_of[call->variant](p + row, t + row, losses + row, grad ? grad + row : NULL, rows,
                                      (real)call->scalar[0], scale);
            continue;
        }
        for (ptrdiff_t i = 0; i < rows; i++) losses[row + i] = 0;
        for (ptrdiff_t j = 0; j < width; j += PIECE_OUTPUTS) {
            ptrdiff_t first = row * width + j, left = width - j;
            ptrdiff_t each = left < PIECE_OUTPUTS ? left : PIECE_OUTPUTS;
            outputs_of[call->variant](p + first, t + first, values, grad ? grad + first : NULL,
                                      rows * each, (real)call->scalar[0], scale);
            for (ptrdiff_t i = 0; i < rows; i++)
                losses[row + i] += span_sum(values + i * each, each);
        }
        for (ptrdiff_t i = 0; i < rows; i++) losses[row + i] /= (real)width;
    }
    return FASTNN_OK;
}

/* Number of rows whose logarithms are taken together. */
enum { LOG_ROWS = 16 };

/* The sum of t log(t), where 0 log(0) is 0: the difference between cross-entropy and divergence. */
static real row_entropy(const real *t, ptrdiff_t n)
{
    vec sum = vbroadcast(0), zero = vbroadcast(0);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        vec p = n - j < LANES ? vload_first(t + j, n - j) : vload(t + j);
        sum = sum + vselect(vequal(p, zero), zero, p * vlog(p));
    }
    return vsum(sum);
}

/* The sum of x[0:n] - shift. */
static real row_sum_from(const real *x, ptrdiff_t n, real shift)
{
    vec sum = vbroadcast(0), s = vbroadcast(shift);
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) sum = sum + (vload(x + j) - s);
    real total = vsum(sum);
    for (; j < n; j++) total += x[j] - shift;
    return total;
}

enum crossentropy_variant { FROM_LABELS, FROM_PROBABILITIES, DIVERGENCE, CROSSENTROPY_VARIANTS };

/* One row of softmax cross-entropy: writes the exponentials of z - max(z) to `out`, then the
 * gradient if requested. The loss is composed of `sum` and `rest`: log(sum) * weight - rest. */
ALWAYS_INLINE int crossentropy_row(const fastnn_call *call, ptrdiff_t row, real *out, real scale,
                                   real kept, real spread, real *sum, real *weight, real *rest)
{
    ptrdiff_t width = call->size[0], j = 0;
    const real *z = (const real *)call->operand[0] + row * width;
    int has_gradient = call->operand[3] != NULL;
    real largest = row_largest(z, width);
    *sum = row_exponentials(z, width, largest, out);
    if (call->variant == FROM_LABELS) {
        int32_t label = ((const int32_t *)call->operand[1])[row];
        if (label < 0 || label >= width) return FASTNN_BAD_LABEL;
        *weight = 1, *rest = z[label] - largest;
        if (spread != 0) *rest = kept * *rest + spread * row_sum_from(z, width, largest);
        if (!has_gradient) return FASTNN_OK;
        real each = scale / *sum, at_label = out[label] * each - scale * (kept + spread);
        vec factor = vbroadcast(each), less = vbroadcast(-scale * spread);
        for (; j + LANES <= width; j += LANES) vstore(out + j, vfma(vload(out + j), factor, less));
        if (j < width)
            vstore_first(out + j, vfma(vload_first(out + j, width - j), factor, less), width - j);
        out[label] = at_label;
    } else {
        const real *t = (const real *)call->operand[1] + row * width;
        vec total = vbroadcast(0), dot = vbroadcast(0), shift = vbroadcast(largest);
        vec share_kept = vbroadcast(kept), even = vbroadcast(spread);
        for (; j + LANES <= width; j += LANES) {
            vec p = vfma(vload(t + j), share_kept, even);
            total = total + p;
            dot = vfma(p, vload(z + j) - shift, dot);
        }
        *weight = vsum(total), *rest = vsum(dot);
        for (; j < width; j++) {
            real p = t[j] * kept + spread;
            *weight += p, *rest += p * (z[j] - largest);
        }
        if (call->variant == DIVERGENCE) *rest -= row_entropy(t, width);
        if (!has_gradient) return FASTNN_OK;
        vec each = vbroadcast(*weight / *sum), s = vbroadcast(scale);
        for (j = 0; j + LANES <= width; j += LANES)
            vstore(out + j, (vload(out + j) * each - vfma(vload(t + j), share_kept, even)) * s);
        if (j < width)
            vstore_first(out + j, (vload_first(out + j, width - j) * each
                                   - vfma(vload_first(t + j, width - j), share_kept, even)) * s,
                         width - j);
    }
    return FASTNN_OK;
}

/* Widest rows that are processed with one row per lane, so that a row's maximum and sum need no
 * reduction within a vector. */
enum { NARROW_WIDTH = 2 * LANES };

/* The same for up to LANES narrow rows, from labels. A row's bits do not depend on its lane. */
static int crossentropy_narrow_rows(const fastnn_call *call, ptrdiff_t row, ptrdiff_t count, real scale,
                                    real kept, real spread)
{
    ptrdiff_t width = call->size[0];
    const int32_t *labels = (const int32_t *)call->operand[1] + row;
    real *losses = (real *)call->operand[2] + row, *gradient = call->operand[3];
    real columns[NARROW_WIDTH * LANES], numbers[LANES] = {0};
    int is_bad = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        is_bad |= labels[i] < 0 || labels[i] >= width;
        numbers[i] = (real)labels[i];
    }
    if (is_bad) return FASTNN_BAD_LABEL;
    if (count < LANES) memset(columns, 0, (size_t)width * LANES * sizeof(real));
    transpose((const real *)call->operand[0] + row * width, width, width, count, columns, LANES);
    vec label = vload(numbers), largest = vload(columns);
    for (ptrdiff_t j = 1; j < width; j++) { /* NaN fails this comparison, but reaches exp */
        vec z = vload(columns + j * LANES);
        largest = vselect(vless(largest, z), z, largest);
    }
    vec sum = vbroadcast(0), rest = sum, total = sum;
    for (ptrdiff_t j = 0; j < width; j++) {
        vec z = vload(columns + j * LANES) - largest, e = vexp(z);
        rest = vselect(vequal(label, vbroadcast((real)j)), z, rest);
        total = total + z;
        sum = sum + e;
        vstore(columns + j * LANES, e);
    }
    if (spread != 0) rest = vbroadcast(kept) * rest + vbroadcast(spread) * total;
    vstore_part(losses, vlog(sum) - rest, count);
    if (!gradient) return FASTNN_OK;
    vec each = vbroadcast(scale) / sum;
    vec at_label = vbroadcast(-scale * (kept + spread)), elsewhere = vbroadcast(-scale * spread);
    for (ptrdiff_t j = 0; j < width; j++) {
        vec less = vselect(vequal(label, vbroadcast((real)j)), at_label, elsewhere);
        vstore(columns + j * LANES, vfma(vload(columns + j * LANES), each, less));
    }
    transpose(columns, LANES, count, width, gradient + row * width, width);
    return FASTNN_OK;
}

/* operand: 0 logits (rows, width), 1 labels: int32 (rows) if variant is FROM_LABELS, else
 * probabilities (rows, width), 2 loss (rows), 3 gradient (rows, width), 4 exponentials
 * (rows, width), scratch used if 3 is NULL and rows are not narrow; size: width; scalar: 0 label
 * smoothing s, which makes (1 - s) t + s / width of the target t.
 * loss = log(sum(exp(z))) * sum(t) - sum(t z), plus sum(t log(t)) for DIVERGENCE;
 * gradient = softmax(z) * sum(t) - t. */
static int kernel_softmax_crossentropy(const fastnn_call *call, int worker, int workers)
{
    real *losses = call->operand[2];
    real *out = call->operand[3] ? call->operand[3] : call->operand[4];
    ptrdiff_t width = call->size[0], row, end;
    real scale = (real)(1.0 / (double)call->rows), kept = (real)(1 - call->scalar[0]);
    real spread = width ? (real)(call->scalar[0] / (double)width) : 0;
    if (call->variant < 0 || call->variant >= CROSSENTROPY_VARIANTS) return FASTNN_BAD_VARIANT;
    share(call->rows, LOG_ROWS, worker, workers, &row, &end);
    if (LANES > 1 && call->variant == FROM_LABELS && width > 0 && width <= NARROW_WIDTH) {
        for (; row < end; row += LANES) {
            ptrdiff_t count = end - row < LANES ? end - row : LANES;
            int status = crossentropy_narrow_rows(call, row, count, scale, kept, spread);
            if (status != FASTNN_OK) return status;
        }
        return FASTNN_OK;
    }
    for (; row < end; row += LOG_ROWS) {
        real sums[LOG_ROWS], weights[LOG_ROWS], rests[LOG_ROWS];
        ptrdiff_t count = end - row < LOG_ROWS ? end - row : LOG_ROWS;
        for (ptrdiff_t i = 0; i < LOG_ROWS; i++) sums[i] = 1;
        for (ptrdiff_t i = 0; i < count; i++) {
            int status = crossentropy_row(call, row + i, out + (row + i) * width, scale, kept, spread,
                                          sums + i, weights + i, rests + i);
            if (status != FASTNN_OK) return status;
        }
        for (ptrdiff_t i = 0; i < LOG_ROWS; i += LANES) vstore(sums + i, vlog(vload(sums + i)));
        for (ptrdiff_t i = 0; i < count; i++) losses[row + i] = sums[i] * weights[i] - rests[i];
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

/* Whether all of x[0:n] are below `limit`, or equal to it if `allowed`; false for a NaN. */
ALWAYS_INLINE int row_is_below(const int allowed, const real *x, ptrdiff_t n, real limit)
{
    enum { VECTORS = 4 }; /* compared together: a wrong label is usually found in the first */
    vec most = vbroadcast(limit);
    ptrdiff_t j = 0;
#define BELOW(at) (allowed ? vless_equal(vload(x + (at)), most) : vless(vload(x + (at)), most))
    for (; j + VECTORS * LANES <= n; j += VECTORS * LANES) {
        vmask below = BELOW(j);
        UNROLL for (int v = 1; v < VECTORS; v++) below = vmask_and(below, BELOW(j + v * LANES));
        if (!vall(below)) return 0;
    }
    if (n >= LANES) { /* the last vector may overlap the one before it */
        vmask below = BELOW(n - LANES);
        for (; j + LANES < n; j += LANES) below = vmask_and(below, BELOW(j));
        return vall(below);
    }
#undef BELOW
    int below = 1;
    for (; j < n; j++) below &= allowed ? x[j] <= limit : x[j] < limit;
    return below;
}

/* Whether `index` is what row_argmax would return: none exceeds x[index], and none before it equals
 * it. This takes one comparison per vector, whereas a row's maximum takes a chain of selections. */
static int row_is_argmax(const real *x, ptrdiff_t n, ptrdiff_t index)
{
    real own = x[index];
    if (own != own) return row_argmax(x, n) == index;
    return row_is_below(1, x, n, own) && row_is_below(0, x, index, own);
}

/* Whether fewer than `k` of x[0:n] precede x[index]: larger ones, NaN, and equal ones before it. */
static int row_is_among_largest(const real *x, ptrdiff_t n, ptrdiff_t index, ptrdiff_t k)
{
    real own = x[index];
    ptrdiff_t before = 0;
    for (ptrdiff_t j = 0; j < n; j++) before += !(x[j] <= own) || (x[j] == own && j < index);
    return before < k;
}

/* operand: 0 scores (rows, width), 1 labels: int32 (rows) if variant is 0, probabilities
 * (rows, width) if 1, 2 hits (rows); size: width; scalar: 0 how many of the largest scores count. */
static int kernel_categorical_accuracy(const fastnn_call *call, int worker, int workers)
{
    real *hits = call->operand[2];
    ptrdiff_t width = call->size[0], k = (ptrdiff_t)call->scalar[0], row, end;
    share(call->rows, ROWS_GRAIN, worker, workers, &row, &end);
    for (; row < end; row++) {
        ptrdiff_t label = call->variant == 0
            ? (ptrdiff_t)((const int32_t *)call->operand[1])[row]
            : row_argmax((const real *)call->operand[1] + row * width, width);
        if (label < 0 || label >= width) return FASTNN_BAD_LABEL;
        const real *scores = (const real *)call->operand[0] + row * width;
        hits[row] = k > 1 ? row_is_among_largest(scores, width, label, k)
                          : row_is_argmax(scores, width, label);
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
    double sums[16] = {0}, sum = 0; /* independent chains, combined in order */
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

/* operand: 0 values, doubles (count), 1 total, a double; size: count; scalar: 0 weight; variant:
 * 1 if the total is added to, 0 if it starts here. total = total + weight * sum(values). */
static int kernel_accumulate(const fastnn_call *call, int worker, int workers)
{
    const double *values = call->operand[0];
    double *total = call->operand[1], sums[16] = {0}, sum = 0; /* chains as in kernel_mean */
    ptrdiff_t i = 0;
    (void)workers;
    if (worker != 0) return FASTNN_OK;
    for (; i + 16 <= call->size[0]; i += 16)
        for (int lane = 0; lane < 16; lane++) sums[lane] += values[i + lane];
    for (int lane = 0; lane < 16; lane++) sum += sums[lane];
    for (; i < call->size[0]; i++) sum += values[i];
    *total = (call->variant ? *total : 0) + call->scalar[0] * sum;
    return FASTNN_OK;
}
