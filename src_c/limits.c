/* limits.c: upper limits of this machine, with which profiles are compared.
 *
 * Both kernels repeat one multiply-add per element, so that a measurement is long compared with
 * the cost of starting a kernel: the first keeps its vectors in registers and measures the limit
 * of arithmetic, the second goes through memory and measures the limit of the level that its
 * arrays fit. They return a result like any other kernel, and so have the same tests.
 */
#include "fastnn.h"
#include "simd.h"

/* Independent vectors: more than the latency of vfma times those issued per cycle (ten at
 * most today), and few enough to leave registers for factor and addend. */
#if LANES > 1 && (VECTOR_BYTES == 64 || defined(__aarch64__))
enum { CHAINS = 20 };
#else
enum { CHAINS = 12 };
#endif
#define UNROLL_CHAINS PRAGMA(GCC unroll 20)

/* One multiply-add of a vector: of elements, or of pairs of bfloat16 numbers. */
ALWAYS_INLINE vec multiply_add(const int PRECISION, vec v, vec factor, vec addend)
{
    if (PRECISION == FASTNN_BFLOAT16_NATIVE) VACCUMULATE_PAIRS(v, factor, addend);
    else if (PRECISION == FASTNN_BFLOAT16_EMULATED) v = vfma(factor, addend, vfma(factor, addend, v));
    else v = vfma(v, factor, addend);
    return v;
}

ALWAYS_INLINE void multiply_add_share(const int PRECISION, const real *x, real *y, ptrdiff_t i,
                                      ptrdiff_t end, ptrdiff_t times, vec factor, vec addend)
{
    for (; i + CHAINS * LANES <= end; i += CHAINS * LANES) {
        vec v[CHAINS];
        UNROLL_CHAINS for (int j = 0; j < CHAINS; j++) v[j] = vload(x + i + j * LANES);
        for (ptrdiff_t n = 0; n < times; n++)
            UNROLL_CHAINS for (int j = 0; j < CHAINS; j++)
                v[j] = multiply_add(PRECISION, v[j], factor, addend);
        UNROLL_CHAINS for (int j = 0; j < CHAINS; j++) vstore(y + i + j * LANES, v[j]);
    }
    for (; i < end; i += LANES) {
        ptrdiff_t count = end - i < LANES ? end - i : LANES;
        vec v = vload_first(x + i, count);
        for (ptrdiff_t n = 0; n < times; n++) v = multiply_add(PRECISION, v, factor, addend);
        vstore_first(y + i, v, count);
    }
}

/* y = f(f(...f(x))), f(v) = v * factor + addend, `times` times. In bfloat16 both are rounded, and f
 * takes a pair of them: f(v) = factor * addend + (factor * addend + v).
 * operand: 0 x (rows, width), 1 y (rows, width); size: 0 width, 1 times, 2 precision; scalar:
 * 0 factor, 1 addend. */
static int kernel_multiply_add(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    real *y = call->operand[1];
    vec factor = vbroadcast((real)call->scalar[0]), addend = vbroadcast((real)call->scalar[1]);
    ptrdiff_t times = call->size[1], i, end;
    share(call->rows * call->size[0], CHAINS * LANES, worker, workers, &i, &end);
#if REAL_BITS == 32
    if (call->size[2] != FASTNN_AS_GIVEN)
        factor = vround_bfloat16(factor), addend = vround_bfloat16(addend);
    if (call->size[2] == FASTNN_BFLOAT16_NATIVE) {
        factor = vpairs(factor, factor), addend = vpairs(addend, addend);
        multiply_add_share(FASTNN_BFLOAT16_NATIVE, x, y, i, end, times, factor, addend);
        return FASTNN_OK;
    }
    if (call->size[2] == FASTNN_BFLOAT16_EMULATED) {
        multiply_add_share(FASTNN_BFLOAT16_EMULATED, x, y, i, end, times, factor, addend);
        return FASTNN_OK;
    }
#endif
    multiply_add_share(FASTNN_AS_GIVEN, x, y, i, end, times, factor, addend);
    return FASTNN_OK;
}

/* y = y * factor + x, `times` passes: reads two arrays and writes one, as an update does.
 * operand: 0 x (rows, width), 1 y (rows, width); size: 0 width, 1 times; scalar: 0 factor. */
static int kernel_stream(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    real *y = call->operand[1];
    vec factor = vbroadcast((real)call->scalar[0]);
    ptrdiff_t begin, end;
    share(call->rows * call->size[0], 1024, worker, workers, &begin, &end);
    for (ptrdiff_t n = 0; n < call->size[1]; n++) {
        ptrdiff_t i = begin;
        PRAGMA(GCC unroll 4)
        for (; i + LANES <= end; i += LANES)
            vstore(y + i, vfma(vload(y + i), factor, vload(x + i)));
        if (i < end)
            vstore_first(y + i, vfma(vload_first(y + i, end - i), factor,
                                     vload_first(x + i, end - i)), end - i);
    }
    return FASTNN_OK;
}
