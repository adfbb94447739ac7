/* gather.c: the rows of a shuffled batch, converted to the model's dtype on the way. */
#include "fastnn.h"
#include "simd.h"

typedef struct gather_rows {
    const char *source;
    ptrdiff_t stride;                      /* bytes from one row to the next */
    const int64_t *order;                  /* or NULL */
    ptrdiff_t begin, end, width;
} gather_rows;

/* Rows may be anywhere, also at odd addresses, as in a map of a file with a header of odd length.
 * While one is copied, the start of the next is prefetched. */
#define CONVERT(from, to)                                                                 \
    static void from##_to_##to(const gather_rows *g, void *out)                           \
    {                                                                                     \
        typedef from element __attribute__((aligned(1), may_alias));                      \
        to *y = (to *)out + g->begin * g->width;                                          \
        if (!g->order && g->stride == g->width * (ptrdiff_t)sizeof(from)) {               \
            const element *x = (const element *)g->source + g->begin * g->width;          \
            for (ptrdiff_t j = 0; j < (g->end - g->begin) * g->width; j++) y[j] = (to)x[j]; \
            return;                                                                       \
        }                                                                                 \
        if (g->width == 1 && g->order) { /* labels */                                     \
            for (ptrdiff_t row = g->begin; row < g->end; row++)                           \
                *y++ = (to)*(const element *)(g->source + g->order[row] * g->stride);     \
            return;                                                                       \
        }                                                                                 \
        for (ptrdiff_t row = g->begin; row < g->end; row++, y += g->width) {              \
            const element *x =                                                            \
                (const element *)(g->source + (g->order ? g->order[row] : row) * g->stride); \
            if (g->order && row + 1 < g->end)                                             \
                for (ptrdiff_t byte = 0; byte < 512 && byte < g->stride; byte += 64)      \
                    __builtin_prefetch(g->source + g->order[row + 1] * g->stride + byte); \
            for (ptrdiff_t j = 0; j < g->width; j++) y[j] = (to)x[j];                     \
        }                                                                                 \
    }
typedef int32_t label;
#define FROM(source) CONVERT(source, real) CONVERT(source, label)
FROM(float) FROM(double) FROM(uint8_t) FROM(int8_t) FROM(uint16_t) FROM(int16_t)
FROM(uint32_t) FROM(int32_t) FROM(uint64_t) FROM(int64_t)

/* operand: 0 source, at any address, rows `stride` bytes apart, 1 order: int64 row numbers (rows), or NULL
 * for the rows as they come, 2 destination (rows, width): real, or int32 labels;
 * size: 0 width, 1 stride in bytes, 2 nonzero for labels; variant: enum fastnn_source. */
static int kernel_gather(const fastnn_call *call, int worker, int workers)
{
    static void (*const convert[][2])(const gather_rows *, void *) = {
#define PAIR(source) {source##_to_real, source##_to_label}
        [FASTNN_FLOAT32] = PAIR(float), [FASTNN_FLOAT64] = PAIR(double),
        [FASTNN_UINT8] = PAIR(uint8_t), [FASTNN_INT8] = PAIR(int8_t),
        [FASTNN_UINT16] = PAIR(uint16_t), [FASTNN_INT16] = PAIR(int16_t),
        [FASTNN_UINT32] = PAIR(uint32_t), [FASTNN_INT32] = PAIR(int32_t),
        [FASTNN_UINT64] = PAIR(uint64_t), [FASTNN_INT64] = PAIR(int64_t),
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof convert / sizeof convert[0]))
        return FASTNN_BAD_VARIANT;
    gather_rows g = {
        .source = call->operand[0], .stride = call->size[1], .order = call->operand[1],
        .width = call->size[0],
    };
    share(call->rows, 4, worker, workers, &g.begin, &g.end);
    convert[call->variant][call->size[2] != 0](&g, call->operand[2]);
    return FASTNN_OK;
}
