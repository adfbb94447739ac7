/* random.c: dropout from a counter-based generator.
 *
 * Philox4x32-10 (Salmon et al. 2011): a block of four 32-bit numbers is a function of a
 * 128-bit counter and a 64-bit key. The counter holds (block, stream, step), the key the
 * model's seed, so any worker finds any element's number without having drawn the others,
 * and backward finds forward's mask again without having stored it.
 */
#include "fastnn.h"
#include "simd.h"

/* Blocks computed side by side, so that the compiler fills its vectors. */
enum { BLOCKS = 16, NUMBERS = 4 * BLOCKS };

static void philox(uint64_t first_block, uint32_t stream, uint64_t step, uint64_t key,
                   uint32_t out[NUMBERS])
{
    uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int i = 0; i < BLOCKS; i++) {
        c0[i] = (uint32_t)(first_block + (uint64_t)i); /* up to 2^34 elements a batch */
        c1[i] = stream;
        c2[i] = (uint32_t)step;
        c3[i] = (uint32_t)(step >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            uint64_t left = (uint64_t)0xD2511F53u * c0[i], right = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(right >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)right;
            c2[i] = (uint32_t)(left >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)left;
        }
        k0 += 0x9E3779B9u; /* Weyl sequence of the key schedule */
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < BLOCKS; i++) {
        out[4 * i] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
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
    share(call->rows * call->size[0], NUMBERS, worker, workers, &begin, &end);
    for (; begin < end; begin += NUMBERS) {
        ptrdiff_t count = end - begin < NUMBERS ? end - begin : NUMBERS;
        philox((uint64_t)begin / 4, (uint32_t)call->size[1], call->step, call->key, numbers);
        for (ptrdiff_t i = 0; i < count; i++)
            y[begin + i] = x[begin + i] * (numbers[i] >= threshold ? scale : 0);
    }
    return FASTNN_OK;
}
