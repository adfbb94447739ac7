/* gather.c: the rows of a shuffled batch, converted to the model's dtype on the way. */
#include "fastnn.h"
#include "simd.h"

#define CONVERT(source, target)                                                           \
    static void source##_to_##target(const void *from, void *to, ptrdiff_t count)         \
    {                                                                                     \
        const source *x = from;                                                           \
        target *y = to;                                                                   \
        for (ptrdiff_t j = 0; j < count; j++) y[j] = (target)x[j];                        \
    }
typedef int32_t label;
#define FROM(source) CONVERT(source, real) CONVERT(source, label)
FROM(float) FROM(double) FROM(uint8_t) FROM(int8_t) FROM(uint16_t) FROM(int16_t)
FROM(uint32_t) FROM(int32_t) FROM(uint64_t) FROM(int64_t)

/* operand: 0 source, rows `stride` bytes apart, 1 order: int64 row numbers (rows), or NULL
 * for the rows as they come, 2 destination (rows, width): real, or int32 labels;
 * size: 0 width, 1 stride in bytes, 2 nonzero for labels; variant: enum fastnn_source. */
static int kernel_gather(const fastnn_call *call, int worker, int workers)
{
    static void (*const convert[][2])(const void *, void *, ptrdiff_t) = {
#define PAIR(source) {source##_to_real, source##_to_label}
        [FASTNN_FLOAT32] = PAIR(float), [FASTNN_FLOAT64] = PAIR(double),
        [FASTNN_UINT8] = PAIR(uint8_t), [FASTNN_INT8] = PAIR(int8_t),
        [FASTNN_UINT16] = PAIR(uint16_t), [FASTNN_INT16] = PAIR(int16_t),
        [FASTNN_UINT32] = PAIR(uint32_t), [FASTNN_INT32] = PAIR(int32_t),
        [FASTNN_UINT64] = PAIR(uint64_t), [FASTNN_INT64] = PAIR(int64_t),
    };
    if (call->variant < 0 || call->variant >= (int)(sizeof convert / sizeof convert[0]))
        return FASTNN_BAD_VARIANT;
    const char *source = call->operand[0];
    const int64_t *order = call->operand[1];
    char *out = call->operand[2];
    int labels = call->size[2] != 0;
    ptrdiff_t width = call->size[0], row, end;
    size_t bytes = (size_t)width * (labels ? sizeof(label) : sizeof(real));
    share(call->rows, 4, worker, workers, &row, &end);
    for (; row < end; row++)
        convert[call->variant][labels](source + (order ? order[row] : row) * call->size[1],
                                       out + (size_t)row * bytes, width);
    return FASTNN_OK;
}
