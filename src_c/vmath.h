/* vmath.h: exp, log and related functions on one vector of `real`.
 *
 * Every function is branch-free: all lanes compute all cases and vselect picks one. There are
 * no tables and no calls. NaN propagates; infinities and signed zeros produce the results
 * that NumPy returns; results become denormal and then zero as rounding requires. The error is
 * below 3 units in the last place of the result, denormal or not, in both dtypes and with or
 * without fused multiply-add. Floating-point exception flags are not meaningful afterwards.
 *
 * The methods are the classical ones:
 *   - x - n ln 2 in two steps, the first with so short a constant that its product is
 *     exact (Cody & Waite, Software Manual for the Elementary Functions, 1980);
 *   - log through f / (2 + f) where a polynomial in f would be long (fdlibm, e_log.c);
 *   - tanh(x) = expm1(2x) / (expm1(2x) + 2), one path for all x;
 *   - erfc(x) = exp(Q(x)) away from 0 (compare Abramowitz & Stegun 7.1.26, which has
 *     only -x^2 in the exponent and the rest as a factor);
 *   - minimax polynomials, which tools/fit_vmath.py derives and prints.
 *
 * A result is composed as "large exact part + small part" wherever possible: the
 * rounding errors of a polynomial then count only as far as its term is small.
 *
 * Considered and rejected: tables (a gather costs more than the multiply-adds it saves); a
 * polynomial for tanh near 0 (half a unit more accurate, half as slow again); a reciprocal
 * estimate and Newton steps for a / b (the divider works in parallel with the multiply-adds, which
 * are the bottleneck of these functions: up to a quarter slower on AVX-512); exp(-x^2) with x^2
 * split exactly for erf (erfc needs it, but 1 - erfc(x) tolerates an error of erfc where erfc is
 * small); log1p inside softplus (its reduction doubled the time, for an argument that never
 * needs it).
 */
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H

#include "simd.h"

/* The dtype is chosen here; below, only vlog_sum depends on it again. */
#ifdef FASTNN_DOUBLE
#define BY_DTYPE(float32, float64) float64
#else
#define BY_DTYPE(float32, float64) float32
#endif
#define CONSTANT(name, float32, float64) static const real name = BY_DTYPE(float32, float64);
#define UNPACKED(...) __VA_ARGS__
#define COEFFICIENTS(name, float32, float64) \
    static const real name##_coefficients[] = {BY_DTYPE(UNPACKED float32, UNPACKED float64)};

enum { MANTISSA_BITS = BY_DTYPE(23, 52), EXPONENT_BIAS = BY_DTYPE(127, 1023) };

CONSTANT(SMALLEST_NORMAL, 0x1p-126f, 0x1p-1022)
CONSTANT(LOG2_E, 0x1.715476p0f, 0x1.71547652b82fep0)
/* ln 2, and ln 2 = HIGH + LOW. HIGH ends in enough zero bits that its product with any
 * exponent (8 and 11 bits) is exact. */
CONSTANT(LN2, 0x1.62e43p-1f, 0x1.62e42fefa39efp-1)
CONSTANT(LN2_HIGH, 0x1.62e4p-1f, 0x1.62e42fefa4p-1)
CONSTANT(LN2_LOW, 1.4286068e-6f, -1.7239444525614835e-13)
/* Adding it rounds a number n to a whole one and leaves that, plus the exponent bias less 1,
 * in the low bits of the sum, where a shift turns it into 2^(n - 1). */
CONSTANT(ROUND_TO_EXPONENT, 0x1.8p23f + 126, 0x1.8p52 + 1022)
/* Below LOW exp rounds to zero, above HIGH to infinity. */
CONSTANT(EXP_LOW, -104, -746)
CONSTANT(EXP_HIGH, 89, 710)
/* Below this, expm1 rounds to -1. */
CONSTANT(EXPM1_LOW, -20, -40)
/* From here on tanh is 1. */
CONSTANT(TANH_ONE, 10, 20)
/* The polynomial of erf near 0 ends at SPLIT; erf is 1 from ONE on. */
CONSTANT(ERF_SPLIT, 1, 1)
CONSTANT(ERF_ONE, 4, 6)
/* The normal density at LAST rounds to 0. */
CONSTANT(MILLS_CENTER, 3, 5)
CONSTANT(MILLS_LAST, 14.4f, 38.6)

/* Polynomials, lowest power first, as tools/fit_vmath.py prints them. */

/* (expm1(r) - r) / r^2 on |r| <= ln 2 / 2 */
COEFFICIENTS(expm1,
    (0.49999997f, 0.16666543f, 0.0416672f, 0.008366578f, 0.0013882465f),
    (0.5000000000000006, 0.16666666666666588, 0.04166666666657612, 0.008333333333389972,
     0.0013888888931791817, 0.00019841269718340988, 2.4801504982940065e-05,
     2.755740785697352e-06, 2.762615981680331e-07, 2.5053779186139434e-08))
/* float32: (log(1 + f) - f) / f^2 for -1/4 <= f <= 1/2. float64: R(z) of log(1 + f) =
 * t + t z R(z), t = f / (1 + f / 2), z = t^2; a polynomial in f of the same accuracy would
 * take twenty terms, more than the division costs. */
COEFFICIENTS(log,
    (-0.5000006f, 0.3333355f, -0.2499344f, 0.19977084f, -0.16822845f, 0.14983886f,
     -0.120671205f, 0.054130033f),
    (0.08333333333334089, 0.012499999998800505, 0.002232142921509828, 0.00043402614253432566,
     8.880056760958804e-05, 1.8615948169782256e-05, 4.690009311360301e-06))
/* The same R(z) in both dtypes for 0 <= f <= 1 */
COEFFICIENTS(log1p_unit,
    (0.083333015f, 0.012506779f, 0.002187437f, 0.0005473489f),
    (0.08333333333333288, 0.012500000000049149, 0.0022321428553006978, 0.0004340278119154604,
     8.877804644692935e-05, 1.8782422115369145e-05, 4.059133904617181e-06,
     9.236232440722501e-07, 1.5907248365214908e-07, 8.115195045502165e-08))
/* (expm1(2r) / 2 - r) / r^2 on |r| <= ln 2 / 4: those of expm1, times powers of two */
COEFFICIENTS(tanh,
    (0.99999994f, 0.66666174f, 0.3333376f, 0.13386525f, 0.04442389f),
    (1.000000000000001, 0.6666666666666635, 0.33333333333260895, 0.13333333333423955,
     0.044444444581733814, 0.012698412619738232, 0.0031745926378163284,
     0.0007054696411385221, 0.00014144593826203295, 2.565506988660678e-05))
/* erf(x) / x - 1 in x^2, below ERF_SPLIT */
COEFFICIENTS(erf_near,
    (0.12837917f, -0.37612626f, 0.112835854f, -0.026853813f, 0.0051883277f, -0.0008010195f,
     7.853864e-05f),
    (0.12837916709551256, -0.3761263890318352, 0.11283791670944186, -0.026866170643111694,
     0.005223977606119726, -0.0008548325929357142, 0.0001205529357784661,
     -1.4924712315855585e-05, 1.6447131702558508e-06, -1.6206314521637603e-07,
     1.3710982806443119e-08, -7.779471498323697e-10))
/* Q(t) = log(erfc(ERF_SPLIT + t)) up to ERF_ONE. It is expanded about the near end, where |Q|
 * is smallest and matters most: the error of the result is the error of Q times erfc. */
COEFFICIENTS(erf_tail,
    (-1.8496056f, -2.6389668f, -0.8431176f, -0.041503455f, 0.009895382f, -0.0018293193f,
     0.00018636043f),
    (-1.8496055099332482, -2.638967514234791, -0.8431072563585389, -0.04156109804484163,
     0.010033825408496443, -0.0019779027925809697, 0.0002373234227143224,
     2.6275238517970706e-05, -2.7154015473640454e-05, 9.601979059586269e-06,
     -2.0531346083622193e-06, 1.3842366617613807e-07, 9.956348685183391e-08,
     -5.259444831263833e-08, 1.496852703727427e-08, -2.8465313514783034e-09,
     3.60635482973865e-10, -2.765272033178149e-11, 9.714968642346612e-13))

/* Mills' ratio of the normal distribution, (1 - Phi(t)) / phi(t), in
 * (t - MILLS_CENTER) / (t + MILLS_CENTER), from t = 0 to MILLS_LAST */
COEFFICIENTS(mills,
    (0.30459028f, -0.51737463f, 0.30887938f, -0.11583949f, 0.0153705655f, 0.007280306f,
     -0.0024649748f, -0.00085001695f, 0.0002885597f, 0.0001335097f),
    (0.19280810471531576, -0.3595947642342117, 0.2909413656762826, -0.2027458137120448,
     0.11995557912792776, -0.058689944981858914, 0.022538023649796148, -0.00596287852528133,
     0.0005503320866093195, 0.00033658213143925026, -0.00015146923680774897,
     2.409639537766474e-06, 1.6655094022061935e-05, -3.183613300779561e-06,
     -1.692172029364344e-06, 6.099875963647926e-07, 1.932825474458869e-07,
     -9.818636992095744e-08, -2.7564749271865956e-08, 1.4263742420750233e-08,
     4.5789055173940545e-09, -1.428398136422138e-09, -5.814697943897143e-10))

/* sin(2 pi t) / t in t^2 for |t| <= 1/4 */
COEFFICIENTS(sin_turns,
    (6.2831855f, -41.34168f, 81.602234f, -76.575f, 39.710922f),
    (6.283185307179586, -41.341702240399755, 81.60524927607341, -76.70585975279852,
     42.05869392378548, -15.09464162050285, 3.819927050130704, -0.7177235751169281,
     0.10085630545113869))

#define POLYNOMIAL(x, name)                                                           \
    vpolynomial(x, name##_coefficients, (int)(sizeof name##_coefficients / sizeof(real)))
ALWAYS_INLINE vec vhorner(vec x, const real *coefficients, int first, int count, int stride)
{
    int last = first + (count - 1 - first) / stride * stride;
    vec sum = vbroadcast(coefficients[last]);
    PRAGMA(GCC unroll 32)
    for (int i = last - stride; i >= first; i -= stride)
        sum = vfma(sum, x, vbroadcast(coefficients[i]));
    return sum;
}
/* In Horner's rule each step waits for the previous one, and a processor overlaps no
 * more than one or two vectors of such a chain. A long polynomial is therefore split into odd
 * and even powers, two independent chains; but the constant, whose rounding is the one
 * that matters, still comes last and alone. */
ALWAYS_INLINE vec vpolynomial(vec x, const real *coefficients, int count)
{
    if (count < 6) return vhorner(x, coefficients, 0, count, 1);
    vec square = x * x, odd = vhorner(square, coefficients, 1, count, 2);
    vec even = vhorner(square, coefficients, 2, count, 2);
    return vfma(vfma(even, x, odd), x, vbroadcast(coefficients[0]));
}

/* Clamp from below and from above. NaN passes, because it is not less than anything; the
 * minimum and maximum of x86 do the same if x is the second operand, in one instruction. */
#if LANES > 1 && VECTOR_BYTES == 64
#define X86(operation) V512(operation)
#elif LANES > 1 && VECTOR_BYTES == 32
#define X86(operation) BY_DTYPE(_mm256_##operation##_ps, _mm256_##operation##_pd)
#elif LANES > 1 && defined(__x86_64__)
#define X86(operation) BY_DTYPE(_mm_##operation##_ps, _mm_##operation##_pd)
#endif
ALWAYS_INLINE vec vat_least(vec x, real low)
{
#ifdef X86
    return (vec)X86(max)(vbroadcast(low), x);
#else
    return vselect(vless(x, vbroadcast(low)), vbroadcast(low), x);
#endif
}
ALWAYS_INLINE vec vat_most(vec x, real high)
{
#ifdef X86
    return (vec)X86(min)(vbroadcast(high), x);
#else
    return vselect(vless(vbroadcast(high), x), vbroadcast(high), x);
#endif
}
#undef X86

/* The magnitude of `a` with the sign of `x`, for an `a` that is not negative unless x is:
 * vcopysign without the step that clears a bit. */
ALWAYS_INLINE vec vwith_sign(vec a, vec x)
{
    return vfrom_bits(vbits(a) | (vbits(x) & ((ivec){0} | SIGN_BIT)));
}

/* exp(x) = 2^exponent * (1 + expm1), |expm1| < 0.42. `half_power` is 2^(exponent - 1), because
 * 2^exponent may not be representable; it is meaningless where it would be denormal. x must lie
 * between EXP_LOW and EXP_HIGH or be NaN. */
typedef struct exp_parts {
    vec exponent, half_power, expm1;
} exp_parts;
ALWAYS_INLINE exp_parts vexp_parts(vec x)
{
    vec rounder = vbroadcast(ROUND_TO_EXPONENT);
    vec rounded = vfma(x, vbroadcast(LOG2_E), rounder);
    vec exponent = rounded - rounder;
    /* The first step is exact, fused or not; the second rounds r once, which costs a
     * quarter of a unit of exp(x). */
    vec r = vfma(exponent, vbroadcast(-LN2_HIGH), x);
    r = vfma(exponent, vbroadcast(-LN2_LOW), r);
    return (exp_parts){
        .exponent = exponent,
        .half_power = vfrom_bits((ivec)((uvec)vbits(rounded) << MANTISSA_BITS)),
        .expm1 = vfma(r * r, POLYNOMIAL(r, expm1), r),
    };
}

/* exp(x) for x at most EXP_HIGH. */
ALWAYS_INLINE vec vexp_bounded(vec x)
{
    exp_parts e = vexp_parts(vat_least(x, EXP_LOW));
    return vldexp(vbroadcast(1) + e.expm1, e.exponent);
}

ALWAYS_INLINE vec vexp(vec x) { return vexp_bounded(vat_most(x, EXP_HIGH)); }

/* exp(x) - 1 = 2^n * p + (2^n - 1), where 2^n - 1 is exact or its rounding is that of the
 * result. Half of it is computed, because 2^128 (2^1024) is not representable. With n = 0 the
 * result is p itself, and halving p would cost a denormal its last bit. */
ALWAYS_INLINE vec vexpm1(vec x)
{
    exp_parts e = vexp_parts(vat_most(vat_least(x, EXPM1_LOW), EXP_HIGH));
    vec half = vfma(e.half_power, e.expm1, e.half_power - vbroadcast((real)0.5));
    vec result = vselect(vequal(e.exponent, vbroadcast(0)), e.expm1, half + half);
    return vwith_sign(result, x); /* for -0, which r + r^2 q turns into +0 */
}

/* u = 2^exponent * mantissa, 3/4 <= mantissa < 3/2. 0 and infinity have the exponents
 * -infinity and infinity and the mantissa 1, numbers below 0 and NaN the exponent NaN: the
 * term exponent * ln 2 then gives the logarithm the right value. u must not be -0;
 * `denormals` says whether it may be denormal. */
typedef struct log_parts {
    vec exponent, mantissa;
} log_parts;
ALWAYS_INLINE log_parts vlog_parts(vec u, int denormals)
{
#if LANES > 1 && VECTOR_BYTES == 64
    (void)denormals;
    vec mantissa = (vec)V512(getmant)(u, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    return (log_parts){(vec)V512(getexp)(u) - (vec)V512(getexp)(mantissa), mantissa};
#else
    const real infinity = (real)__builtin_inf(), base = BY_DTYPE(0x1p23f, 0x1p52);
    vec zero = vbroadcast(0), origin = vbroadcast(base + EXPONENT_BIAS), normal = u;
    if (denormals) { /* their exponent field does not reflect their size */
        vmask small = vless(u, vbroadcast(SMALLEST_NORMAL));
        normal = vselect(small, u * vbroadcast(base), u);
        origin = origin + vselect(small, vbroadcast(MANTISSA_BITS), zero);
    }
    /* Integer arithmetic on the bits: after this shift of origin the exponent field advances
     * at 3/4 2^n instead of 2^n. */
    const usint unit = (usint)1 << MANTISSA_BITS, one = EXPONENT_BIAS * unit;
    uvec bits = (uvec)vbits(normal), moved = bits + unit / 2;
    uvec mantissa = bits - ((moved & -unit) - one);
    /* A small integer k, placed below the exponent of 2^MANTISSA_BITS, reads as that plus k. */
    uvec biased = (moved >> MANTISSA_BITS) | (one + MANTISSA_BITS * unit);
    vec exponent = vfrom_bits((ivec)biased) - origin;
    exponent = vselect(vless(u, vbroadcast(infinity)), exponent, u); /* infinity and NaN */
    vec nan = vbroadcast((real)__builtin_nan(""));
    vec below = vselect(vequal(u, zero), vbroadcast(-infinity), nan);
    exponent = vselect(vless_equal(u, zero), below, exponent);
    return (log_parts){exponent, vfrom_bits((ivec)mantissa)};
#endif
}

/* exponent * ln 2 + log(1 + f). The first term is at least 1.7 times the second, or 0, so
 * one rounding of ln 2 suffices. */
ALWAYS_INLINE vec vlog_sum(vec exponent, vec f)
{
#ifdef FASTNN_DOUBLE
    vec t = f / vfma(vbroadcast((real)0.5), f, vbroadcast(1)), z = t * t;
    vec log1p_f = vfma(t * z, POLYNOMIAL(z, log), t);
#else
    vec log1p_f = vfma(f * f, POLYNOMIAL(f, log), f);
#endif
    return vfma(exponent, vbroadcast(LN2), log1p_f);
}

ALWAYS_INLINE vec vlog(vec x)
{
    log_parts p = vlog_parts(x + vbroadcast(0), 1); /* -0 becomes 0 */
    return vlog_sum(p.exponent, p.mantissa - vbroadcast(1));
}

/* u = 1 + x loses low bits of x. It is used for the exponent alone; f is computed from x:
 * 1 + f = 2^-exponent (1 + x), and 2^-exponent - 1 is exact unless x is so large
 * that it does not matter. */
ALWAYS_INLINE vec vlog1p(vec x)
{
    const real largest = BY_DTYPE(0x1.fffffep127f, 0x1.fffffffffffffp1023);
    const usint four = (usint)(EXPONENT_BIAS + 2) << MANTISSA_BITS;
    vec u = vbroadcast(1) + x;
    log_parts p = vlog_parts(u, 0);
    /* 2^(2 - exponent), since 2^-exponent would not be a normal number for the largest u. */
    vec scale = vfrom_bits((ivec)(four - (uvec)vbits(u) + (uvec)vbits(p.mantissa)));
    vec four_f = vfma(scale, vat_most(x, largest), scale - vbroadcast(4));
    vec result = vlog_sum(p.exponent, vbroadcast((real)0.25) * four_f);
    return vwith_sign(result, x); /* for -0 */
}

/* h / (h + 1), h = expm1(2|x|) / 2. Both sides of the reduction are halved, which saves
 * doubling x, and one rounding of ln 2 suffices, because tanh is nearly constant where its
 * multiple is large. */
ALWAYS_INLINE vec vtanh(vec x)
{
    vec a = vat_most(vabs(x), TANH_ONE), half = vbroadcast((real)0.5);
    vec rounder = vbroadcast(ROUND_TO_EXPONENT + 1); /* for 2^n instead of 2^(n - 1) */
    vec rounded = vfma(a, vbroadcast(2 * LOG2_E), rounder);
    vec r = vfma(rounded - rounder, vbroadcast(LN2 / -2), a);
    vec power = vfrom_bits((ivec)((uvec)vbits(rounded) << MANTISSA_BITS));
    vec half_expm1_r = vfma(r * r, POLYNOMIAL(r, tanh), r);
    vec h = vfma(power, half_expm1_r, vfma(power, half, -half));
    return vwith_sign(h / (h + vbroadcast(1)), x);
}

/* 1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, e = exp(-|x|) <= 1: nothing overflows
 * and nothing cancels, and e may be denormal. */
ALWAYS_INLINE vec vsigmoid(vec x)
{
    vec one = vbroadcast(1), e = vexp_bounded(vcopysign(x, vbroadcast(-1)));
    return vselect(vless(x, vbroadcast(0)), e, one) / (one + e);
}

/* Near 0 x + x P(x^2), elsewhere 1 - exp(Q(x)). An absolute error of Q is a relative error
 * of erfc, which is at most 0.16 there. */
ALWAYS_INLINE vec verf(vec x)
{
    vec one = vbroadcast(1), a = vat_most(vabs(x), ERF_ONE), z = a * a;
    exp_parts e = vexp_parts(POLYNOMIAL(a - vbroadcast(ERF_SPLIT), erf_tail));
    vec far = vfma(vbroadcast(-2), vfma(e.half_power, e.expm1, e.half_power), one);
    vec near = vfma(a, POLYNOMIAL(z, erf_near), a);
    return vwith_sign(vselect(vless(a, vbroadcast(ERF_SPLIT)), near, far), x);
}

/* The normal density at t, 0 <= t <= MILLS_LAST, and the factor by which it must be multiplied
 * to give the distribution function at -t: both from one exponential. */
typedef struct normal_parts {
    vec density, ratio;
} normal_parts;
ALWAYS_INLINE normal_parts vnormal(vec t)
{
    vec center = vbroadcast(MILLS_CENTER), s = (t - center) / (t + center);
    vec density = vbroadcast((real)0.39894228040143267794) * vexp_bounded(vbroadcast((real)-0.5) * t * t);
    return (normal_parts){density, POLYNOMIAL(s, mills)};
}

/* max(x, 0) + log1p(e), e = exp(-|x|): both terms are positive, so nothing cancels. With
 * 0 <= e <= 1 the series in t = e / (1 + e / 2) <= 2/3 needs no reduction, and 1 + e, which
 * would lose bits of e, is never formed. */
ALWAYS_INLINE vec vsoftplus(vec x)
{
    vec e = vexp_bounded(vcopysign(x, vbroadcast(-1)));
    vec t = e / vfma(vbroadcast((real)0.5), e, vbroadcast(1)), z = t * t;
    return vat_least(x, 0) + vfma(t * z, POLYNOMIAL(z, log1p_unit), t);
}

/* sin(2 pi x) and cos(2 pi x) by the same polynomial: x, less its nearest whole number, is reflected
 * about a quarter of a turn. From 2^23 (2^52) on, every number is whole. */
ALWAYS_INLINE vec vfraction_of_turn(vec x)
{
    vec whole_from = vbroadcast(BY_DTYPE(0x1p23f, 0x1p52)), rounding = vcopysign(whole_from, x);
    vec fraction = x - ((x + rounding) - rounding);
    return vselect(vless(vabs(x), whole_from), fraction, x - x);
}
ALWAYS_INLINE vec vsin_of_fraction(vec t) { return t * POLYNOMIAL(t * t, sin_turns); }
ALWAYS_INLINE vec vsin_turns(vec x)
{
    vec quarter = vbroadcast((real)0.25), r = vfraction_of_turn(x);
    vec reflected = quarter - vabs(quarter - vabs(r));
    return vsin_of_fraction(vcopysign(reflected, r));
}
ALWAYS_INLINE vec vcos_turns(vec x)
{
    return vsin_of_fraction(vbroadcast((real)0.25) - vabs(vfraction_of_turn(x)));
}

#undef CONSTANT
#undef UNPACKED
#undef COEFFICIENTS
#undef POLYNOMIAL

/* Every function, once: row `name` is v##name. */
#define FASTNN_MATH(X) X(exp) X(expm1) X(log) X(log1p) X(tanh) X(sigmoid) X(erf) X(softplus)

#endif
