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
enum { BLOCKS = sizeof(words) / 8, NUMBERS = 4 * BLOCKS };

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

/* The 4 * BLOCKS numbers of the blocks from `first_block` on. */
ALWAYS_INLINE void philox(uint64_t first_block, uint64_t stream, uint64_t step, uint64_t key,
                          uint32_t out[NUMBERS])
{
    words none = {0}, c0, c1, c2, c3;
    words left_factor = none + 0xD2511F53u, right_factor = none + 0xCD9E8D57u;
    uint64_t k0 = key & 0xFFFFFFFFu, k1 = key >> 32, first[BLOCKS], pairs[2][BLOCKS];
    for (int i = 0; i < BLOCKS; i++) first[i] = first_block + (uint64_t)i;
    memcpy(&c0, first, sizeof c0); /* up to 2^34 elements per batch */
    c1 = none + stream;
    c2 = none + (step & 0xFFFFFFFFu);
    c3 = none + (step >> 32);
    UNROLL for (int round = 0; round < 10; round++) {
        words left = multiply_low(left_factor, c0), right = multiply_low(right_factor, c2);
        c0 = (right >> 32) ^ c1 ^ k0;
        c1 = right;
        c2 = (left >> 32) ^ c3 ^ k1;
        c3 = left;
        k0 = (k0 + 0x9E3779B9u) & 0xFFFFFFFFu; /* Weyl sequence of the key schedule */
        k1 = (k1 + 0xBB67AE85u) & 0xFFFFFFFFu;
    }
    c0 = (c0 & 0xFFFFFFFFu) | (c1 << 32);
    c2 = (c2 & 0xFFFFFFFFu) | (c3 << 32);
    memcpy(pairs[0], &c0, sizeof c0);
    memcpy(pairs[1], &c2, sizeof c2);
    for (int i = 0; i < BLOCKS; i++) {
        out[4 * i] = (uint32_t)pairs[0][i];
        out[4 * i + 1] = (uint32_t)(pairs[0][i] >> 32);
        out[4 * i + 2] = (uint32_t)pairs[1][i];
        out[4 * i + 3] = (uint32_t)(pairs[1][i] >> 32);
    }
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
