/* update.c: the optimizer's step, one fused pass over the flat arena: clip by value or by
 * global norm, add the L2 term, update. It reads and writes each stream once. If no norm is
 * needed first, dense.c applies it to a gradient just computed.
 */
#include "fastnn.h"
#include "optimizers.h"

/* The sum of squares of x[0:n], in four independent vectors that are combined in order. */
static double squares_in_vectors(const real *x, ptrdiff_t n)
{
    vec sums[4];
    real lanes[LANES];
    double sum = 0;
    ptrdiff_t i = 0;
    UNROLL for (int v = 0; v < 4; v++) sums[v] = vbroadcast(0);
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL for (int v = 0; v < 4; v++) {
            vec value = vload(x + i + v * LANES);
            sums[v] = vfma(value, value, sums[v]);
        }
    vstore(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (int lane = 0; lane < LANES; lane++) sum += (double)lanes[lane];
    for (; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* operand: 0 gradients (count), 1 partial sums, doubles (count / FASTNN_NORM_CHUNK, rounded
 * up); size: count. In float, the square of a gradient that badly needs clipping may overflow;
 * such a chunk is summed again in double. */
static int kernel_squared_norm(const fastnn_call *call, int worker, int workers)
{
    const real *g = call->operand[0];
    double *partial = call->operand[1];
    ptrdiff_t chunk, end;
    share(call->size[0], FASTNN_NORM_CHUNK, worker, workers, &chunk, &end);
    for (; chunk < end; chunk += FASTNN_NORM_CHUNK) {
        ptrdiff_t count = end - chunk < FASTNN_NORM_CHUNK ? end - chunk : FASTNN_NORM_CHUNK;
        double sum = squares_in_vectors(g + chunk, count);
        if (!isfinite(sum)) {
            sum = 0;
            for (ptrdiff_t i = 0; i < count; i++) sum += (double)g[chunk + i] * (double)g[chunk + i];
        }
        partial[chunk / FASTNN_NORM_CHUNK] = sum;
    }
    return FASTNN_OK;
}

/* The scalars that precede the row's own hyper-parameters in call->scalar. */
enum update_scalar {
    LEARNING_RATE, STEP, CLIP_VALUE, CLIP_NORM, WEIGHT_DECAY, RATE_FACTOR, FIRST_HYPER_PARAMETER
};

/* What an update needs besides its streams. Disabled clipping is represented by infinity. */
typedef struct updater {
    void (*run)(const struct updater *, real *p, const real *g, real *state, ptrdiff_t rows,
                ptrdiff_t columns, ptrdiff_t row, ptrdiff_t g_row);
    ptrdiff_t slot;                        /* distance between the slots of the state */
    real clip, scale, decay;
    double prepared[MAX_PREPARED];
} updater;

/* Updates one vector: only `update` and the slots differ between rows. */
#define UPDATE_AT(name, SLOTS, load, store)                                               \
    do {                                                                                  \
        vec state[MAX_SLOTS], p = load(parameters + i), g = load(gradients + i);          \
        if (!is_plain) g = vfma(decay, p, vclamp(g * scale, clip));                       \
        UNROLL for (int slot = 0; slot < SLOTS; slot++) state[slot] = load(slots[slot] + i); \
        p = name##_update(p, g, state, h);                                                \
        UNROLL for (int slot = 0; slot < SLOTS; slot++) store(slots[slot] + i, state[slot]); \
        store(parameters + i, p);                                                         \
    } while (0)
#define LOAD_LAST(p) vload_first(p, columns - i)
#define STORE_LAST(p, v) vstore_first(p, v, columns - i)

/* Prefetch distance in elements: the hardware prefetcher stops at the end of each page of each
 * stream. If rows are short, the next row is prefetched. */
enum { AHEAD = 2048 / (int)sizeof(real) };

/* Rows of `columns` elements, `row` apart in every stream but the gradients, `g_row` apart there.
 * `is_plain`, a constant at every call, means that there is no clipping and no L2 term. */
#define X(name, SLOTS, slot_names, hyper_parameters)                                      \
    ALWAYS_INLINE void name##_rows(const int is_plain, const updater *u, real *parameters, \
                                   const real *gradients, real *state, ptrdiff_t rows,    \
                                   ptrdiff_t columns, ptrdiff_t row, ptrdiff_t g_row)     \
    {                                                                                     \
        ptrdiff_t ahead = rows > 1 && columns <= AHEAD ? row : AHEAD;                     \
        vec h[MAX_PREPARED], scale = vbroadcast(u->scale), clip = vbroadcast(u->clip),    \
                             decay = vbroadcast(u->decay);                                \
        for (int k = 0; k < MAX_PREPARED; k++) h[k] = vbroadcast((real)u->prepared[k]);   \
        real *slots[MAX_SLOTS];                                                           \
        for (int slot = 0; slot < SLOTS; slot++) slots[slot] = state + slot * u->slot;    \
        for (; rows > 0; rows--) {                                                        \
            ptrdiff_t i = 0;                                                              \
            for (; i + LANES <= columns; i += LANES) {                                    \
                __builtin_prefetch(parameters + i + ahead, 1);                            \
                __builtin_prefetch(gradients + i + ahead, 0);                             \
                UNROLL for (int slot = 0; slot < SLOTS; slot++)                           \
                    __builtin_prefetch(slots[slot] + i + ahead, 1);                       \
                UPDATE_AT(name, SLOTS, vload, vstore);                                    \
            }                                                                             \
            if (i < columns) UPDATE_AT(name, SLOTS, LOAD_LAST, STORE_LAST);               \
            parameters += row, gradients += g_row;                                        \
            UNROLL for (int slot = 0; slot < SLOTS; slot++) slots[slot] += row;           \
        }                                                                                 \
    }                                                                                     \
    static void name##_run(const updater *u, real *p, const real *g, real *state,         \
                           ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t row, ptrdiff_t g_row) \
    {                                                                                     \
        if (u->scale == 1 && u->clip == (real)INFINITY && u->decay == 0)                  \
            name##_rows(1, u, p, g, state, rows, columns, row, g_row);                        \
        else                                                                              \
            name##_rows(0, u, p, g, state, rows, columns, row, g_row);                        \
    }
FASTNN_OPTIMIZERS(X)
#undef X

/* Fills in an updater from a call's variant and scalars, which are as in enum update_scalar,
 * then the row's; `slot` is the length of the arena. */
static int make_updater(const fastnn_call *call, ptrdiff_t slot, updater *made)
{
    static const struct {
        void (*run)(const updater *, real *, const real *, real *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                    ptrdiff_t);
        void (*prepare)(const double *, double *);
    } rows[] = {
#define X(name, SLOTS, slot_names, hyper_parameters) {name##_run, name##_prepare},
        FASTNN_OPTIMIZERS(X)
#undef X
    };
    double values[2 + FASTNN_MAX_SCALARS];
    if (call->variant < 0 || call->variant >= (int)(sizeof rows / sizeof rows[0]))
        return FASTNN_BAD_VARIANT;
    values[0] = call->scalar[LEARNING_RATE] * call->scalar[RATE_FACTOR];
    values[1] = call->scalar[STEP];
    for (int k = FIRST_HYPER_PARAMETER; k < FASTNN_MAX_SCALARS; k++)
        values[2 + k - FIRST_HYPER_PARAMETER] = call->scalar[k];
    memset(made->prepared, 0, sizeof made->prepared);
    rows[call->variant].prepare(values, made->prepared);
    made->run = rows[call->variant].run;
    made->slot = slot;
    made->clip = (real)call->scalar[CLIP_VALUE], made->decay = (real)call->scalar[WEIGHT_DECAY];
    made->scale = 1;
    return FASTNN_OK;
}

/* operand: 0 parameters (count), 1 gradients (count), 2 state: its first slot (count), the others
 * size[1] elements apart, 3 partial sums of squared_norm over size[2] elements, or NULL if no norm
 * is limited; size: 0 count, 1, 2; scalar: as in enum update_scalar, then the row's; variant: row
 * of optimizers.h. */
static int kernel_update(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t count = call->size[0], normed = call->size[2], begin, end;
    const double *partial = call->operand[3];
    real *state = call->operand[2];
    updater u;
    int status = make_updater(call, call->size[1], &u);
    if (status != FASTNN_OK) return status;
    if (partial) {
        double norm = 0;
        for (ptrdiff_t chunk = 0; chunk * FASTNN_NORM_CHUNK < normed; chunk++) norm += partial[chunk];
        /* as in torch.nn.utils.clip_grad_norm_; written so that a NaN norm yields NaN */
        double scale = call->scalar[CLIP_NORM] / (sqrt(norm) + 1e-6);
        u.scale = (real)(scale > 1 ? 1 : scale);
    }
    share(count, 1024, worker, workers, &begin, &end);
    u.run(&u, (real *)call->operand[0] + begin, (const real *)call->operand[1] + begin,
          state ? state + begin : NULL, 1, end - begin, 0, 0);
    return FASTNN_OK;
}

/* operand: 0 average (count), in place, 1 value (count); size: count; scalar: 1 number of the step,
 * 2 momentum, 3 nonzero if the first step copies.
 * average = momentum average + (1 - momentum) value. */
static int kernel_moving_average(const fastnn_call *call, int worker, int workers)
{
    int copies = call->scalar[3] != 0 && call->scalar[STEP] == 1;
    vec old = vbroadcast(copies ? 0 : (real)call->scalar[2]);
    vec new = vbroadcast(copies ? 1 : (real)(1 - call->scalar[2]));
    ptrdiff_t i, end;
    share(call->size[0], 1024, worker, workers, &i, &end);
    real *average = call->operand[0];
    const real *value = call->operand[1];
    for (; i + LANES <= end; i += LANES)
        vstore(average + i, vfma(old, vload(average + i), new * vload(value + i)));
    if (i < end)
        vstore_first(average + i, vfma(old, vload_first(average + i, end - i),
                                       new * vload_first(value + i, end - i)), end - i);
    return FASTNN_OK;
}

/* operand: 0 parameter p (count), 1 its gradient (count), in place, or NULL, 2 partial sums of the
 * penalty, doubles (count / FASTNN_NORM_CHUNK, rounded up); size: count; scalar: 0 l1, 1 l2.
 * penalty = l1 |p| + l2 p^2; gradient += l1 sign(p) + 2 l2 p, where the sign of 0 is 0. */
static int kernel_penalty(const fastnn_call *call, int worker, int workers)
{
    const real *p = call->operand[0];
    real *g = call->operand[1];
    double *partial = call->operand[2];
    vec l1 = vbroadcast((real)call->scalar[0]), l2 = vbroadcast((real)call->scalar[1]);
    vec zero = vbroadcast(0), slope = vbroadcast((real)(2 * call->scalar[1]));
    ptrdiff_t chunk, end;
    share(call->size[0], FASTNN_NORM_CHUNK, worker, workers, &chunk, &end);
    for (; chunk < end; chunk += FASTNN_NORM_CHUNK) {
        ptrdiff_t last = end - chunk < FASTNN_NORM_CHUNK ? end : chunk + FASTNN_NORM_CHUNK;
        vec sum = zero;
        for (ptrdiff_t i = chunk; i < last; i += LANES) {
            ptrdiff_t left = last - i;
            vec x = left < LANES ? vload_first(p + i, left) : vload(p + i);
            sum = sum + vfma(l2 * x, x, l1 * vabs(x));
            if (!g) continue;
            vec sign = vselect(vequal(x, zero), zero, vcopysign(l1, x));
            if (left < LANES)
                vstore_first(g + i, vfma(slope, x, vload_first(g + i, left) + sign), left);
            else
                vstore(g + i, vfma(slope, x, vload(g + i) + sign));
        }
        partial[chunk / FASTNN_NORM_CHUNK] = (double)vsum(sum);
    }
    return FASTNN_OK;
}
