/* simd.h: one vector of `real`, as wide as the ISA has registers.
 *
 * Kernel sources are compiled once per ISA and once per dtype. This header turns the
 * compiler's target and FASTNN_DOUBLE into a few types and helpers; it contains
 * no arithmetic beyond single instructions. Most of it uses GCC/Clang vector
 * extensions; intrinsics are used where those generate worse code (masks, partial loads)
 * or have no equivalent (fused multiply-add).
 *
 *   real    float or double           vec    LANES of them
 *   sint    the integer of its size   ivec   LANES of them
 *   usint   the same, unsigned        uvec   LANES of them, for shifts
 *   vmask   one truth value per lane
 *
 * With FASTNN_PLAIN a vector has one lane and every helper is scalar C.
 *
 * Compiled with -ffp-contract=off: vfma is the only fused operation, so that an
 * element's bits do not depend on which tile of a product it falls into.
 */
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef FASTNN_DOUBLE
typedef double real;
typedef int64_t sint;
typedef uint64_t usint;
#define REAL_BITS 64
#else
typedef float real;
typedef int32_t sint;
typedef uint32_t usint;
#define REAL_BITS 32
#endif

#define SIGN_BIT ((sint)((uint64_t)1 << (REAL_BITS - 1)))

#if defined(FASTNN_PLAIN)
#define VECTOR_BYTES (REAL_BITS / 8)
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES * 8 / REAL_BITS)

#if !defined(FASTNN_PLAIN) && (defined(__x86_64__) || defined(__i386__))
#include <immintrin.h>
#elif !defined(FASTNN_PLAIN) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#else
#define ALWAYS_INLINE static inline
#endif

#define PRAGMA(text) _Pragma(#text)
/* Unrolls a loop of constant length completely. Without it GCC keeps an array of
 * accumulators in memory, three times slower; a test omits it to see that this is noticed. */
#ifndef UNROLL
#define UNROLL PRAGMA(GCC unroll 16)
#endif

/* Hides from the compiler what it knows about this pointer or number, such as how to recompute it
 * from others. */
#if defined(__GNUC__)
#define FORGET(value) __asm__("" : "+r"(value))
#else
#define FORGET(value) (void)0
#endif

#if LANES == 1
typedef real vec;
typedef sint ivec;
typedef usint uvec;
typedef int vmask;
ALWAYS_INLINE vec vbroadcast(real value) { return value; }
ALWAYS_INLINE vmask vless(vec a, vec b) { return a < b; }
ALWAYS_INLINE vmask vless_equal(vec a, vec b) { return a <= b; }
ALWAYS_INLINE vmask vequal(vec a, vec b) { return a == b; }
ALWAYS_INLINE vmask vmask_or(vmask a, vmask b) { return a | b; }
ALWAYS_INLINE vmask vmask_and(vmask a, vmask b) { return a & b; }
ALWAYS_INLINE vec vselect(vmask mask, vec yes, vec no) { return mask ? yes : no; }
#else
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef sint ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef usint uvec __attribute__((vector_size(VECTOR_BYTES)));
ALWAYS_INLINE vec vbroadcast(real value) { return value - (vec){0}; }
#if VECTOR_BYTES == 64
#if REAL_BITS == 32
typedef __mmask16 vmask;
#define V512(operation) _mm512_##operation##_ps
#define COMPARE512 _mm512_cmp_ps_mask
#define FPCLASS512 _mm512_fpclass_ps_mask
#else
typedef __mmask8 vmask;
#define V512(operation) _mm512_##operation##_pd
#define COMPARE512 _mm512_cmp_pd_mask
#define FPCLASS512 _mm512_fpclass_pd_mask
#endif
ALWAYS_INLINE vmask vless(vec a, vec b) { return COMPARE512(a, b, _CMP_LT_OQ); }
ALWAYS_INLINE vmask vless_equal(vec a, vec b) { return COMPARE512(a, b, _CMP_LE_OQ); }
ALWAYS_INLINE vmask vequal(vec a, vec b) { return COMPARE512(a, b, _CMP_EQ_OQ); }
ALWAYS_INLINE vmask vmask_or(vmask a, vmask b) { return (vmask)(a | b); }
ALWAYS_INLINE vmask vmask_and(vmask a, vmask b) { return (vmask)(a & b); }
ALWAYS_INLINE vec vselect(vmask mask, vec yes, vec no) { return (vec)V512(mask_blend)(mask, no, yes); }
#else
typedef ivec vmask;
ALWAYS_INLINE vmask vless(vec a, vec b) { return (vmask)(a < b); }
ALWAYS_INLINE vmask vless_equal(vec a, vec b) { return (vmask)(a <= b); }
ALWAYS_INLINE vmask vequal(vec a, vec b) { return (vmask)(a == b); }
ALWAYS_INLINE vmask vmask_or(vmask a, vmask b) { return a | b; }
ALWAYS_INLINE vmask vmask_and(vmask a, vmask b) { return a & b; }
ALWAYS_INLINE vec vselect(vmask mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}
#endif
#endif

/* Reinterpret the bits of a vector. */
ALWAYS_INLINE ivec vbits(vec value) { ivec bits; memcpy(&bits, &value, sizeof bits); return bits; }
ALWAYS_INLINE vec vfrom_bits(ivec bits) { vec value; memcpy(&value, &bits, sizeof value); return value; }

ALWAYS_INLINE vec vload(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; }
ALWAYS_INLINE void vstore(real *p, vec v) { memcpy(p, &v, sizeof v); }

/* The first `count` lanes, 0 <= count <= LANES; the others are read as zero and not written. */
#if LANES > 1 && VECTOR_BYTES == 64
ALWAYS_INLINE vec vload_first(const real *p, ptrdiff_t count)
{
    return (vec)V512(maskz_loadu)((vmask)((1u << count) - 1), p);
}
ALWAYS_INLINE void vstore_first(real *p, vec v, ptrdiff_t count)
{
    V512(mask_storeu)(p, (vmask)((1u << count) - 1), v);
}
#elif LANES > 1 && VECTOR_BYTES == 32
/* Ones, then zeros: the mask of `count` lanes begins `count` elements before the zeros. */
static const sint first_lanes[2 * LANES] = {
    -1, -1, -1, -1,
#if LANES == 8
    -1, -1, -1, -1,
#endif
};
ALWAYS_INLINE __m256i vmask_first(ptrdiff_t count)
{
    return _mm256_loadu_si256((const __m256i *)(first_lanes + LANES - count));
}
#if REAL_BITS == 32
ALWAYS_INLINE vec vload_first(const real *p, ptrdiff_t count)
{
    return (vec)_mm256_maskload_ps(p, vmask_first(count));
}
ALWAYS_INLINE void vstore_first(real *p, vec v, ptrdiff_t count)
{
    _mm256_maskstore_ps(p, vmask_first(count), v);
}
#else
ALWAYS_INLINE vec vload_first(const real *p, ptrdiff_t count)
{
    return (vec)_mm256_maskload_pd(p, vmask_first(count));
}
ALWAYS_INLINE void vstore_first(real *p, vec v, ptrdiff_t count)
{
    _mm256_maskstore_pd(p, vmask_first(count), v);
}
#endif
#else
ALWAYS_INLINE vec vload_first(const real *p, ptrdiff_t count)
{
    real lanes[LANES] = {0};
    for (ptrdiff_t i = 0; i < count; i++) lanes[i] = p[i];
    return vload(lanes);
}
ALWAYS_INLINE void vstore_first(real *p, vec v, ptrdiff_t count)
{
    real lanes[LANES];
    vstore(lanes, v);
    for (ptrdiff_t i = 0; i < count; i++) p[i] = lanes[i];
}
#endif

/* The same for a `count` that is mostly LANES, and known to the compiler. */
ALWAYS_INLINE vec vload_part(const real *p, ptrdiff_t count)
{
    return count == LANES ? vload(p) : vload_first(p, count);
}
ALWAYS_INLINE void vstore_part(real *p, vec v, ptrdiff_t count)
{
    if (count == LANES) vstore(p, v);
    else vstore_first(p, v, count);
}

/* a * b + c, rounded once where the ISA can (v3, v4, NEON), twice elsewhere. */
ALWAYS_INLINE vec vfma(vec a, vec b, vec c)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return (vec)V512(fmadd)(a, b, c);
#elif LANES > 1 && defined(__FMA__) && REAL_BITS == 32
    return (vec)_mm256_fmadd_ps(a, b, c);
#elif LANES > 1 && defined(__FMA__)
    return (vec)_mm256_fmadd_pd(a, b, c);
#elif LANES > 1 && defined(__aarch64__) && REAL_BITS == 32
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif LANES > 1 && defined(__aarch64__)
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* sum = a * b + sum, with an instruction that adds to the sum's register. Left to choose, GCC uses
 * forms that overwrite a factor, and copies registers in the inner loop of a product. */
#if LANES > 1 && defined(__FMA__) && defined(__GNUC__) && REAL_BITS == 32
#define VACCUMULATE(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#elif LANES > 1 && defined(__FMA__) && defined(__GNUC__)
#define VACCUMULATE(sum, a, b) __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#else
#define VACCUMULATE(sum, a, b) ((sum) = vfma(a, b, sum))
#endif

/* Whether this build can compute in bfloat16, if the processor can. The instructions are written as
 * assembly, so that the ISAs stay what the compiler knows. */
#if LANES > 1 && VECTOR_BYTES == 64 && REAL_BITS == 32 && defined(__GNUC__)
#define NATIVE_BFLOAT16 1
/* sum = a0 * b0 + (a1 * b1 + sum) for the pair of bfloat16 numbers in each lane. */
#define VACCUMULATE_PAIRS(sum, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))

/* The first 16 numbers of both, rounded: those of `low` before those of `high`. */
ALWAYS_INLINE __m512i vround_both(vec low, vec high)
{
    __m512i rounded;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(rounded) : "v"(high), "v"(low));
    return rounded;
}

/* A pair for each lane. */
ALWAYS_INLINE vec vpairs(vec first, vec second)
{
    const __m512i alternating = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
        18, 2, 17, 1, 16, 0);
    return (vec)_mm512_permutexvar_epi16(alternating, vround_both(first, second));
}
#else
#define NATIVE_BFLOAT16 0
#define VACCUMULATE_PAIRS(sum, a, b) (void)(a), (void)(b)
ALWAYS_INLINE vec vpairs(vec first, vec second) { (void)second; return first; }
#endif

/* Keeps the vector in a register here; between two steps, GCC then does not change the register. */
#if LANES > 1 && defined(__FMA__) && defined(__GNUC__)
#define VSETTLE(value) __asm__("" : "+v"(value))
#else
#define VSETTLE(value) (void)0
#endif

/* a * 2^n for a whole number n in every lane, rounded once, also to denormals, zero and
 * infinity. Without the instruction it takes two factors, since 2^n alone leaves the
 * range before a * 2^n does; |n| may be up to twice the exponent bias, |a| about 1. */
ALWAYS_INLINE vec vldexp(vec a, vec n)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return (vec)V512(scalef)(a, n);
#else
    /* Adding this constant leaves a whole number, biased, in the low bits; the shift
     * turns it into an exponent and drops the rest. */
#if REAL_BITS == 32
    vec shift = vbroadcast(0x1.8p23f + 127);
    enum { MANTISSA = 23 };
#else
    vec shift = vbroadcast(0x1.8p52 + 1023);
    enum { MANTISSA = 52 };
#endif
    vec half = n * vbroadcast((real)0.5) + shift;
    vec rest = (n - (half - shift)) + shift;
    return a * vfrom_bits((ivec)((uvec)vbits(half) << MANTISSA))
             * vfrom_bits((ivec)((uvec)vbits(rest) << MANTISSA));
#endif
}

ALWAYS_INLINE vec vsqrt(vec a)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return (vec)V512(sqrt)(a);
#elif LANES > 1 && VECTOR_BYTES == 32 && REAL_BITS == 32
    return (vec)_mm256_sqrt_ps(a);
#elif LANES > 1 && VECTOR_BYTES == 32
    return (vec)_mm256_sqrt_pd(a);
#elif LANES > 1 && defined(__x86_64__) && REAL_BITS == 32
    return (vec)_mm_sqrt_ps(a);
#elif LANES > 1 && defined(__x86_64__)
    return (vec)_mm_sqrt_pd(a);
#elif LANES > 1 && defined(__aarch64__) && REAL_BITS == 32
    return (vec)vsqrtq_f32((float32x4_t)a);
#elif LANES > 1 && defined(__aarch64__)
    return (vec)vsqrtq_f64((float64x2_t)a);
#else
    real lanes[LANES];
    vstore(lanes, a);
    for (int i = 0; i < LANES; i++)
        lanes[i] = REAL_BITS == 32 ? (real)__builtin_sqrtf((float)lanes[i]) : (real)__builtin_sqrt((double)lanes[i]);
    return vload(lanes);
#endif
}

/* sqrt(a) for an update, a >= 0: within 1 ULP on AVX-512, where the square root instruction is
 * slower than division and would be the bottleneck; exact elsewhere. */
ALWAYS_INLINE vec vroot(vec a)
{
#if LANES > 1 && VECTOR_BYTES == 64
    /* Goldschmidt's iteration: root and half become sqrt(a) and 1 / (2 sqrt(a)). Each round
     * doubles the 14 bits of the estimate. */
    vec estimate = (vec)V512(rsqrt14)(a), half_one = vbroadcast((real)0.5);
    vec root = a * estimate, half = half_one * estimate;
    UNROLL for (int round = 0; round < REAL_BITS / 32; round++) {
        vec error = vfma(-root, half, half_one);
        root = vfma(root, error, root);
        half = vfma(half, error, half);
    }
    return (vec)V512(mask_mov)(root, FPCLASS512(a, 0x0E), a); /* zeros and infinity: unchanged */
#else
    return vsqrt(a);
#endif
}

ALWAYS_INLINE vec vabs(vec a)
{
    return vfrom_bits(vbits(a) & ~((ivec){0} | SIGN_BIT));
}
/* The magnitude of `a` with the sign bit of `sign`. */
ALWAYS_INLINE vec vcopysign(vec a, vec sign)
{
    ivec bit = (ivec){0} | SIGN_BIT;
    return vfrom_bits((vbits(a) & ~bit) | (vbits(sign) & bit));
}
/* `a` clamped to [-limit, limit]; NaN in `a` propagates. */
ALWAYS_INLINE vec vclamp(vec a, vec limit)
{
#if LANES > 1 && VECTOR_BYTES == 64 /* min and max return their second operand if one is NaN */
    return (vec)V512(max)(-limit, (vec)V512(min)(limit, a));
#else
    a = vselect(vless(limit, a), limit, a);
    return vselect(vless(a, -limit), -limit, a);
#endif
}
/* The larger; NaN in either propagates. */
ALWAYS_INLINE vec vmax(vec a, vec b)
{
    return vselect(vless_equal(a, b), b, vselect(vequal(b, b), a, b));
}

/* max(a, 0) in one instruction if the ISA has one; NaN propagates, and -0 may too. */
ALWAYS_INLINE vec vmax_of_zero(vec a)
{
#if LANES > 1 && VECTOR_BYTES == 64 /* returns the second operand if one is NaN */
    return (vec)V512(max)(vbroadcast(0), a);
#elif LANES > 1 && VECTOR_BYTES == 32 && REAL_BITS == 32
    return (vec)_mm256_max_ps(vbroadcast(0), a);
#elif LANES > 1 && VECTOR_BYTES == 32
    return (vec)_mm256_max_pd(vbroadcast(0), a);
#else
    /* Not less: a negative denormal, which the engine's mode takes for 0, must not pass. */
    return vselect(vless_equal(a, vbroadcast(0)), vbroadcast(0), a);
#endif
}

/* Whether any lane is true. */
ALWAYS_INLINE int vany(vmask mask)
{
#if LANES == 1 || VECTOR_BYTES == 64
    return mask != 0;
#elif VECTOR_BYTES == 32
    return _mm256_movemask_epi8((__m256i)mask) != 0;
#elif defined(__x86_64__)
    return _mm_movemask_epi8((__m128i)mask) != 0;
#elif defined(__aarch64__)
    return vmaxvq_u32((uint32x4_t)mask) != 0;
#else
    sint lanes[LANES], any = 0;
    memcpy(lanes, &mask, sizeof lanes);
    for (int i = 0; i < LANES; i++) any |= lanes[i];
    return any != 0;
#endif
}
/* Whether every lane is true. */
ALWAYS_INLINE int vall(vmask mask)
{
#if LANES == 1
    return mask != 0;
#else
    return !vany((vmask)~mask);
#endif
}
ALWAYS_INLINE vmask vis_nan(vec a)
{
#if LANES > 1 && VECTOR_BYTES == 64
    return COMPARE512(a, a, _CMP_UNORD_Q);
#else
    return (vmask)(LANES == 1 ? -(a != a) : (a != a));
#endif
}

/* The sum, and the largest if none is NaN, of all lanes. The halves of a vector are combined,
 * then the quarters, and so on: a fixed tree. */
#if LANES == 16
#define HALVES(V, OP) \
    V = OP(V, __builtin_shufflevector(V, V, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)); \
    V = OP(V, __builtin_shufflevector(V, V, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)); \
    V = OP(V, __builtin_shufflevector(V, V, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)); \
    V = OP(V, __builtin_shufflevector(V, V, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))
#elif LANES == 8
#define HALVES(V, OP) \
    V = OP(V, __builtin_shufflevector(V, V, 4, 5, 6, 7, 0, 1, 2, 3)); \
    V = OP(V, __builtin_shufflevector(V, V, 2, 3, 0, 1, 6, 7, 4, 5)); \
    V = OP(V, __builtin_shufflevector(V, V, 1, 0, 3, 2, 5, 4, 7, 6))
#elif LANES == 4
#define HALVES(V, OP) \
    V = OP(V, __builtin_shufflevector(V, V, 2, 3, 0, 1)); \
    V = OP(V, __builtin_shufflevector(V, V, 1, 0, 3, 2))
#elif LANES == 2
#define HALVES(V, OP) V = OP(V, __builtin_shufflevector(V, V, 1, 0))
#else
#define HALVES(V, OP) (void)0
#endif
#if LANES == 1
ALWAYS_INLINE real vfirst(vec a) { return a; }
#else
ALWAYS_INLINE real vfirst(vec a) { return a[0]; }
#endif
#define VECTOR_SUM(a, b) ((a) + (b))
#define VECTOR_LARGER(a, b) vselect(vless(a, b), b, a)
ALWAYS_INLINE real vsum(vec a) { HALVES(a, VECTOR_SUM); return vfirst(a); }
ALWAYS_INLINE real vlargest(vec a) { HALVES(a, VECTOR_LARGER); return vfirst(a); }

/* The half-open range [*begin, *end) of `count` items that `worker` takes, cut at
 * multiples of `grain`. */
ALWAYS_INLINE void share(ptrdiff_t count, ptrdiff_t grain, int worker, int workers,
                         ptrdiff_t *begin, ptrdiff_t *end)
{
    ptrdiff_t grains = count / grain + (count % grain != 0);
    ptrdiff_t each = grains / workers, extra = grains % workers;
    ptrdiff_t first = each * worker + (worker < extra ? worker : extra);
    ptrdiff_t last = first + each + (worker < extra);
    *begin = first * grain < count ? first * grain : count;
    *end = last * grain < count ? last * grain : count;
}

#endif
