/* random.c: dropout from a counter-based generator.
 *
 * Philox4x32-10 (Salmon et al. 2011): a block of four 32-bit numbers is a function of a
 * 128-bit counter and a 64-bit key. The counter holds (block, stream, step), the key the
 * model's seed, so any worker computes any element's number without generating the others,
 * and backward recomputes forward's mask without having stored it.
 */
#include "fastnn.h"
#include "simd.h"

/* One 32-bit number in the lower half of each 64-bit lane. The upper half is irrelevant
 * until the end: the multiplication reads the lower halves alone. */
#if LANES > 1
typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef uint64_t words;
#endif
/* PAIRS vectors of blocks at once: a round waits for its products, and another vector fills the gap. */
enum { LANE_BLOCKS = sizeof(words) / 8, PAIRS = 2, BLOCKS = PAIRS * LANE_BLOCKS, NUMBERS = 4 * BLOCKS };

ALWAYS_INLINE words multiply_low(words a, words b)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return (words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif LANES > 1 && VECTOR_BYTES == 32
    return (words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif LANES > 1 && defined(__x86_64__)
    return (words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

/* The 64-bit halves of each block side by side: of the first half of the blocks, or of the second. */
#if LANES > 1 && VECTOR_BYTES == 64
#define BLOCKS_OF(a, b, half) ((half) ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15) \
                                      : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11))
#elif LANES > 1 && VECTOR_BYTES == 32
#define BLOCKS_OF(a, b, half) ((half) ? __builtin_shufflevector(a, b, 2, 6, 3, 7) \
                                      : __builtin_shufflevector(a, b, 0, 4, 1, 5))
#elif LANES > 1
#define BLOCKS_OF(a, b, half) ((half) ? __builtin_shufflevector(a, b, 1, 3) \
                                      : __builtin_shufflevector(a, b, 0, 2))
#else
#define BLOCKS_OF(a, b, half) ((half) ? (b) : (a))
#endif

/* The 4 * BLOCKS numbers of the blocks from `first_block` on. */
ALWAYS_INLINE void philox(uint64_t first_block, uint64_t stream, uint64_t step, uint64_t key,
                          uint32_t out[NUMBERS])
{
    words none = {0}, c0[PAIRS], c1[PAIRS], c2[PAIRS], c3[PAIRS];
    words left_factor = none + 0xD2511F53u, right_factor = none + 0xCD9E8D57u;
    uint64_t k0 = key & 0xFFFFFFFFu, k1 = key >> 32, first[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) first[i] = first_block + (uint64_t)i;
    memcpy(c0, first, sizeof c0); /* up to 2^34 elements per batch */
    UNROLL for (int p = 0; p < PAIRS; p++) {
        c1[p] = none + stream;
        c2[p] = none + (step & 0xFFFFFFFFu);
        c3[p] = none + (step >> 32);
    }
    UNROLL for (int round = 0; round < 10; round++) {
        words left_key = none + k0, right_key = none + k1;
        UNROLL for (int p = 0; p < PAIRS; p++) {
            words left = multiply_low(left_factor, c0[p]), right = multiply_low(right_factor, c2[p]);
            c0[p] = (right >> 32) ^ c1[p] ^ left_key;
            c1[p] = right;
            c2[p] = (left >> 32) ^ c3[p] ^ right_key;
            c3[p] = left;
        }
        k0 = (k0 + 0x9E3779B9u) & 0xFFFFFFFFu; /* Weyl sequence of the key schedule */
        k1 = (k1 + 0xBB67AE85u) & 0xFFFFFFFFu;
    }
    words halves[2 * PAIRS];
    UNROLL for (int p = 0; p < PAIRS; p++) {
        c0[p] = (c0[p] & 0xFFFFFFFFu) | (c1[p] << 32);
        c2[p] = (c2[p] & 0xFFFFFFFFu) | (c3[p] << 32);
        halves[2 * p] = BLOCKS_OF(c0[p], c2[p], 0), halves[2 * p + 1] = BLOCKS_OF(c0[p], c2[p], 1);
    }
    memcpy(out, halves, sizeof halves);
}

/* operand: 0 x (rows, width), 1 y (rows, width); size: 0 width, 1 stream (one per dropout
 * op of a program); scalar: 0 rate in [0, 1). y = x * mask / (1 - rate), mask 1 where the number
 * of the element is at least rate * 2^32, else 0. It is its own gradient. */
static int kernel_dropout(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    real *y = call->operand[1];
    uint32_t numbers[NUMBERS];
    uint32_t threshold = (uint32_t)(call->scalar[0] * 4294967296.0);
    real scale = (real)(1.0 / (1.0 - call->scalar[0]));
    ptrdiff_t begin, end;
    share(call->rows * call->size[0], GRAIN, worker, workers, &begin, &end);
    for (; begin < end; begin += NUMBERS) {
        philox((uint64_t)begin / 4, (uint64_t)call->size[1], call->step, call->key, numbers);
        if (begin + NUMBERS <= end) {
            for (int i = 0; i < NUMBERS; i++)
                y[begin + i] = x[begin + i] * (numbers[i] >= threshold ? scale : 0);
        } else {
            for (ptrdiff_t i = 0; begin + i < end; i++)
                y[begin + i] = x[begin + i] * (numbers[i] >= threshold ? scale : 0);
        }
    }
    return FASTNN_OK;
}
