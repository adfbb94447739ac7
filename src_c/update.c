/* update.c: the optimizer's step, one fused pass over the flat arena: clip by value or by
 * global norm, add the L2 term, update. Reads and writes each stream once.
 */
#include "fastnn.h"
#include "optimizers.h"

/* The sum of squares of x[0:n], side by side in four vectors that are put together in order. */
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
 * up); size: count. In float the square of a gradient that badly needs clipping may overflow;
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

/* What comes before the row's own hyper-parameters in call->scalar. */
enum update_scalar {
    LEARNING_RATE, STEP, CLIP_VALUE, CLIP_NORM, WEIGHT_DECAY, FIRST_HYPER_PARAMETER
};

typedef struct update_streams {
    real *p;
    const real *g;
    real *state;
    ptrdiff_t count;                       /* length of the arena: distance between slots */
    real clip, scale, decay;
} update_streams;

/* One vector: what differs between rows is `update` and the slots. */
#define UPDATE_AT(name, SLOTS, load, store)                                               \
    do {                                                                                  \
        vec state[MAX_SLOTS], p = load(parameters + i), g = load(gradients + i);          \
        if (!is_plain) g = vfma(decay, p, vclamp(g * scale, clip));                       \
        UNROLL for (int slot = 0; slot < SLOTS; slot++)                                   \
            state[slot] = load(slots[slot] + i);                                          \
        p = name##_update(p, g, state, h);                                                \
        UNROLL for (int slot = 0; slot < SLOTS; slot++)                                   \
            store(slots[slot] + i, state[slot]);                                          \
        store(parameters + i, p);                                                         \
    } while (0)
#define LOAD_LAST(p) vload_first(p, end - i)
#define STORE_LAST(p, v) vstore_first(p, v, end - i)

/* `is_plain`, a constant at every call: nothing is clipped, and there is no L2 term. */
#define X(name, SLOTS, slot_names, hyper_parameters)                                      \
    ALWAYS_INLINE void name##_span(const int is_plain, const update_streams *s,           \
                                   const double *scalars, ptrdiff_t i, ptrdiff_t end)     \
    {                                                                                     \
        double values[2 + FASTNN_MAX_SCALARS], prepared[MAX_PREPARED] = {0};              \
        vec h[MAX_PREPARED], scale = vbroadcast(s->scale), clip = vbroadcast(s->clip),    \
                             decay = vbroadcast(s->decay);                                \
        values[0] = scalars[LEARNING_RATE], values[1] = scalars[STEP];                    \
        for (int k = FIRST_HYPER_PARAMETER; k < FASTNN_MAX_SCALARS; k++)                  \
            values[2 + k - FIRST_HYPER_PARAMETER] = scalars[k];                           \
        name##_prepare(values, prepared);                                                 \
        for (int k = 0; k < MAX_PREPARED; k++) h[k] = vbroadcast((real)prepared[k]);      \
        real *parameters = s->p, *slots[MAX_SLOTS];                                       \
        const real *gradients = s->g;                                                     \
        for (int slot = 0; slot < SLOTS; slot++) slots[slot] = s->state + slot * s->count; \
        for (; i + LANES <= end; i += LANES) UPDATE_AT(name, SLOTS, vload, vstore);       \
        if (i < end) UPDATE_AT(name, SLOTS, LOAD_LAST, STORE_LAST);                       \
    }                                                                                     \
    static void name##_run(const update_streams *s, const double *scalars, ptrdiff_t i,   \
                           ptrdiff_t end)                                                 \
    {                                                                                     \
        if (s->scale == 1 && s->clip == (real)INFINITY && s->decay == 0)                  \
            name##_span(1, s, scalars, i, end);                                           \
        else                                                                              \
            name##_span(0, s, scalars, i, end);                                           \
    }
FASTNN_OPTIMIZERS(X)
#undef X

/* operand: 0 parameters (count), 1 gradients (count), 2 state (slots, count), 3 partial
 * sums of squared_norm, or NULL when there is no global clipping; size: count; scalar: as
 * in enum update_scalar, then the row's; variant: row of optimizers.h. Clipping that is
 * off is infinity. */
static int kernel_update(const fastnn_call *call, int worker, int workers)
{
    static void (*const runs[])(const update_streams *, const double *, ptrdiff_t, ptrdiff_t) = {
#define X(name, SLOTS, slot_names, hyper_parameters) name##_run,
        FASTNN_OPTIMIZERS(X)
#undef X
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof runs / sizeof runs[0]))
        return FASTNN_BAD_VARIANT;
    ptrdiff_t count = call->size[0], begin, end;
    double scale = 1;
    const double *partial = call->operand[3];
    if (partial) {
        double norm = 0;
        for (ptrdiff_t chunk = 0; chunk * FASTNN_NORM_CHUNK < count; chunk++) norm += partial[chunk];
        /* torch.nn.utils.clip_grad_norm_; written so that a NaN norm gives NaN */
        scale = call->scalar[CLIP_NORM] / (sqrt(norm) + 1e-6);
        if (scale > 1) scale = 1;
    }
    update_streams streams = {
        .p = call->operand[0], .g = call->operand[1], .state = call->operand[2], .count = count,
        .clip = (real)call->scalar[CLIP_VALUE], .scale = (real)scale,
        .decay = (real)call->scalar[WEIGHT_DECAY],
    };
    share(count, 1024, worker, workers, &begin, &end);
    runs[call->variant](&streams, call->scalar, begin, end);
    return FASTNN_OK;
}
