/* vmath.h: exp, log and their kin on one vector of `real`.
 *
 * Every function is branch-free: all lanes take all paths and vselect picks. There are
 * no tables and no calls. NaN gives NaN; infinities and signed zeros give what NumPy
 * gives; results become denormal and then zero as rounding demands. The error is below
 * 3 units in the last place of the result, denormal or not, in both dtypes and with or
 * without fused multiply-add. Floating-point exception flags mean nothing afterwards.
 *
 * The ideas are the classical ones:
 *   - x - n ln 2 in two steps, the first with so short a constant that its product is
 *     exact (Cody & Waite, Software Manual for the Elementary Functions, 1980);
 *   - log through s = f / (2 + f), and log1p with a correction for the bits that 1 + x
 *     loses (fdlibm, e_log.c and s_log1p.c);
 *   - erfc(x) = exp(Q(x)) away from 0 (compare Abramowitz & Stegun 7.1.26, which has
 *     only -x^2 in the exponent and the rest as a factor);
 *   - minimax polynomials, which tools/fit_vmath.py derives and prints.
 *
 * A result is composed as "large exact part + small part" wherever that can be had: the
 * rounding errors of a polynomial then count only as far as its term is small.
 *
 * Considered and dropped: tables (a gather costs more than the multiply-adds it saves);
 * tanh(x) = expm1(2x) / (expm1(2x) + 2) (one path for all x, but the errors of expm1, sum
 * and quotient add up); exp(-x^2) with x^2 split exactly for erf (erfc needs it, but
 * 1 - erfc(x) forgives an error of erfc where erfc is small); log1p inside softplus (its
 * reduction doubled the time, for an argument that never needs it).
 */
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H

#include "simd.h"

/* The dtype is chosen here; below, only vlog_sum asks for it again. */
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
/* ln 2 = HIGH + LOW. HIGH ends in enough zero bits that its product with any exponent
 * (8 and 11 bits) is exact. */
CONSTANT(LN2_HIGH, 0x1.62e4p-1f, 0x1.62e42fefa4p-1)
CONSTANT(LN2_LOW, 1.4286068e-6f, -1.7239444525614835e-13)
/* Adding it rounds a number to a whole one and leaves that, plus the exponent bias, in
 * the low bits of the sum, where a shift makes a power of two of it. */
CONSTANT(ROUND_TO_EXPONENT, 0x1.8p23f + 127, 0x1.8p52 + 1023)
/* Below LOW exp rounds to zero, above HIGH to infinity. */
CONSTANT(EXP_LOW, -104, -746)
CONSTANT(EXP_HIGH, 89, 710)
/* Below it, expm1 rounds to -1. */
CONSTANT(EXPM1_LOW, -20, -40)
/* The bits of sqrt(1/2), the lower end of a reduced logarithm's argument. */
static const usint ROOT_HALF_BITS = BY_DTYPE(0x3f3504f3, 0x3fe6a09e667f3bcd);
/* tanh leaves its polynomial at SPLIT, where the other form's quotient has fallen below
 * 1/2 and with it below the result's own rounding; it is 1 from ONE on. */
CONSTANT(TANH_SPLIT, 0.6f, 0.6)
CONSTANT(TANH_ONE, 10, 20)
/* The same for erf. */
CONSTANT(ERF_SPLIT, 1, 1)
CONSTANT(ERF_ONE, 4, 6)

/* Polynomials, lowest power first, as tools/fit_vmath.py prints them. */

/* (expm1(r) - r) / r^2 on |r| <= ln 2 / 2 */
COEFFICIENTS(expm1,
    (0.49999997f, 0.16666543f, 0.0416672f, 0.008366578f, 0.0013882465f),
    (0.5000000000000006, 0.16666666666666588, 0.04166666666657612, 0.008333333333389972,
     0.0013888888931791817, 0.00019841269718340988, 2.4801504982940065e-05,
     2.755740785697352e-06, 2.762615981680331e-07, 2.5053779186139434e-08))
/* float32: (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f between sqrt(1/2) and sqrt(2).
 * float64: R(z) / z of log(1 + f) = s * (2 + R(z)), s = f / (2 + f), z = s^2; as many
 * digits from a polynomial in f would take twenty terms, more than the division. */
COEFFICIENTS(log,
    (0.3333333f, -0.25000823f, 0.20001231f, -0.16623357f, 0.14201677f, -0.13160111f,
     0.12762056f, -0.07635226f),
    (0.6666666666666734, 0.39999999999414676, 0.2857142874239271, 0.22222198572435434,
     0.1818356437449732, 0.15314049093621698, 0.1479596634075718))
/* The same R(z) / z in both dtypes for 0 <= f <= 1 */
COEFFICIENTS(log1p_unit,
    (0.6666641f, 0.40021694f, 0.27999192f, 0.28024265f),
    (0.6666666666666631, 0.40000000000157276, 0.2857142854784893, 0.22222223970071572,
     0.1818174391233113, 0.15386560196910407, 0.13300969978649535, 0.12106114584704118,
     0.08339979430900463, 0.170187975200673))
/* (tanh(x) / x - 1) / x^2 in x^2, below TANH_SPLIT */
COEFFICIENTS(tanh,
    (-0.333333f, 0.13331924f, -0.053783827f, 0.020795966f, -0.005895153f),
    (-0.33333333333333126, 0.1333333333329966, -0.05396825394929554, 0.02186948800257335,
     -0.008863226777722593, 0.0035920373821632543, -0.0014552153799053606,
     0.0005871884641014465, -0.00023039692956200092, 7.931408068032713e-05,
     -1.717878471331269e-05))
/* erf(x) / x - 1 in x^2, below ERF_SPLIT */
COEFFICIENTS(erf_near,
    (0.12837917f, -0.37612626f, 0.112835854f, -0.026853813f, 0.0051883277f, -0.0008010195f,
     7.853864e-05f),
    (0.12837916709551256, -0.3761263890318352, 0.11283791670944186, -0.026866170643111694,
     0.005223977606119726, -0.0008548325929357142, 0.0001205529357784661,
     -1.4924712315855585e-05, 1.6447131702558508e-06, -1.6206314521637603e-07,
     1.3710982806443119e-08, -7.779471498323697e-10))
/* Q(t) = log(erfc(ERF_SPLIT + t)) up to ERF_ONE. Expanded about the near end, where Q is
 * smallest and counts most: the result sees the error of Q times erfc. */
COEFFICIENTS(erf_tail,
    (-1.8496056f, -2.6389668f, -0.8431176f, -0.041503455f, 0.009895382f, -0.0018293193f,
     0.00018636043f),
    (-1.8496055099332482, -2.638967514234791, -0.8431072563585389, -0.04156109804484163,
     0.010033825408496443, -0.0019779027925809697, 0.0002373234227143224,
     2.6275238517970706e-05, -2.7154015473640454e-05, 9.601979059586269e-06,
     -2.0531346083622193e-06, 1.3842366617613807e-07, 9.956348685183391e-08,
     -5.259444831263833e-08, 1.496852703727427e-08, -2.8465313514783034e-09,
     3.60635482973865e-10, -2.765272033178149e-11, 9.714968642346612e-13))

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
/* In Horner's rule each step waits for the one before, and a processor looks ahead over no
 * more than one or two vectors of such a chain. A long polynomial is therefore cut into odd
 * and even powers, two chains side by side; but the constant, whose rounding is the one
 * that is felt, still comes last and alone. */
ALWAYS_INLINE vec vpolynomial(vec x, const real *coefficients, int count)
{
    if (count < 6) return vhorner(x, coefficients, 0, count, 1);
    vec square = x * x, odd = vhorner(square, coefficients, 1, count, 2);
    vec even = vhorner(square, coefficients, 2, count, 2);
    return vfma(vfma(even, x, odd), x, vbroadcast(coefficients[0]));
}

/* Cut off below and above. NaN passes, because it is not less than anything. */
ALWAYS_INLINE vec vat_least(vec x, real low)
{
    return vselect(vless(x, vbroadcast(low)), vbroadcast(low), x);
}
ALWAYS_INLINE vec vat_most(vec x, real high)
{
    return vselect(vless(vbroadcast(high), x), vbroadcast(high), x);
}

/* exp(x) = 2^exponent * (1 + expm1), |expm1| < 0.42. `power` is 2^exponent as long as that
 * is a normal number. x must lie between EXP_LOW and EXP_HIGH or be NaN. */
typedef struct exp_parts {
    vec exponent, power, expm1;
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
        .power = vfrom_bits((ivec)((uvec)vbits(rounded) << MANTISSA_BITS)),
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
 * result. Half of it is computed, because 2^128 (2^1024) is no number. With n = 0 the
 * result is p itself, and halving p would cost a denormal its last bit. */
ALWAYS_INLINE vec vexpm1(vec x)
{
    exp_parts e = vexp_parts(vat_most(vat_least(x, EXPM1_LOW), EXP_HIGH));
    vec half_power = vfrom_bits((ivec)((uvec)vbits(e.power) - ((usint)1 << MANTISSA_BITS)));
    vec half = vfma(half_power, e.expm1, half_power - vbroadcast((real)0.5));
    vec result = vselect(vequal(e.exponent, vbroadcast(0)), e.expm1, half + half);
    return vcopysign(result, x); /* for -0, which r + r^2 q turns into +0 */
}

/* u = 2^exponent * (1 + f), 1 + f between sqrt(1/2) and sqrt(2), f exact. `twice_unscale`
 * is 2^(1 - exponent); without the 1 it would be no normal number for the largest u. u must
 * be positive, normal and finite, or the result has no meaning. */
typedef struct log_parts {
    vec exponent, twice_unscale, f;
} log_parts;
ALWAYS_INLINE log_parts vlog_parts(vec u)
{
    /* Integer arithmetic on the bits: after this shift of origin the exponent field steps
     * at sqrt(1/2) 2^n instead of 2^n. */
    const usint unit = (usint)1 << MANTISSA_BITS, one = EXPONENT_BIAS * unit;
    uvec bits = (uvec)vbits(u), moved = bits + (one - ROOT_HALF_BITS);
    uvec whole = (moved & -unit) - one; /* exponent * unit */
    /* A small integer k, put below the exponent of 2^MANTISSA_BITS, reads as that plus k. */
    const real base = BY_DTYPE(0x1p23f, 0x1p52);
    uvec biased = (moved >> MANTISSA_BITS) | (one + MANTISSA_BITS * unit);
    return (log_parts){
        .exponent = vfrom_bits((ivec)biased) - vbroadcast(base + EXPONENT_BIAS),
        .twice_unscale = vfrom_bits((ivec)((one + unit) - whole)),
        .f = vfrom_bits((ivec)(bits - whole)) - vbroadcast(1),
    };
}

/* exponent * ln 2 + log(1 + f) + rest. The sum goes from the smallest term to the
 * largest; f - f^2 / 2 keeps the exact f apart until the end. */
ALWAYS_INLINE vec vlog_sum(vec exponent, vec f, vec rest)
{
    vec half_square = vbroadcast((real)0.5) * f * f;
    rest = vfma(exponent, vbroadcast(LN2_LOW), rest);
#ifdef FASTNN_DOUBLE
    vec s = f / (vbroadcast(2) + f), z = s * s;
    vec tail = vfma(s, vfma(z, POLYNOMIAL(z, log), half_square), rest);
#else
    vec tail = vfma(f * f * f, POLYNOMIAL(f, log), rest);
#endif
    return vfma(exponent, vbroadcast(LN2_HIGH), f - (half_square - tail));
}

ALWAYS_INLINE vec vlog(vec x)
{
    const real infinity = (real)__builtin_inf();
    /* A denormal's exponent field does not tell its size: bring it into the range first. */
    vmask small = vless(x, vbroadcast(SMALLEST_NORMAL));
    vec zero = vbroadcast(0), up = vbroadcast(BY_DTYPE(0x1p23f, 0x1p52));
    log_parts p = vlog_parts(vselect(small, x * up, x));
    vec exponent = p.exponent - vselect(small, vbroadcast(MANTISSA_BITS), zero);
    vec result = vlog_sum(exponent, p.f, zero);
    vec nan = vbroadcast((real)__builtin_nan(""));
    vec below = vselect(vequal(x, zero), vbroadcast(-infinity), nan);
    result = vselect(vless(x, vbroadcast(infinity)), result, x); /* infinity and NaN */
    return vselect(vless_equal(x, zero), below, result);
}

/* u = 1 + x loses low bits of x; they are found again, all of them, as `lost`, for
 * log(u + lost) = log(u) + lost / u to first order. */
ALWAYS_INLINE vec vlog1p(vec x)
{
    const real infinity = (real)__builtin_inf();
    vec one = vbroadcast(1), half = vbroadcast((real)0.5), end = vbroadcast(-1);
    vec u = one + x;
    log_parts p = vlog_parts(u);
    vec twice_lost = (x - (u - one)) * p.twice_unscale;
    /* As much of `lost` as fits goes into f: all of it for x near 0, where f is x again,
     * whole. What remains is so little that three terms of 1 / (1 + f) suffice. */
    vec f = vfma(half, twice_lost, p.f);
    vec lost = vfma(half, twice_lost, p.f - f);
    vec result = vlog_sum(p.exponent, f, lost * (one - vfma(-f, f, f)));
    result = vcopysign(result, x); /* for -0 */
    vec nan = vbroadcast((real)__builtin_nan(""));
    vec below = vselect(vequal(x, end), vbroadcast(-infinity), nan);
    result = vselect(vless(x, vbroadcast(infinity)), result, x); /* infinity and NaN */
    return vselect(vless_equal(x, end), below, result);
}

/* Near 0 x + x^3 P(x^2), elsewhere 1 - 2 / (exp(2x) + 1): both are a base plus a quotient,
 * so one division serves. */
ALWAYS_INLINE vec vtanh(vec x)
{
    vec one = vbroadcast(1), a = vat_most(vabs(x), TANH_ONE), z = a * a;
    exp_parts e = vexp_parts(a + a);
    vec exp_plus_one = vfma(e.power, e.expm1, e.power) + one;
    vmask near = vless(a, vbroadcast(TANH_SPLIT));
    vec base = vselect(near, a, one);
    vec above = vselect(near, a * (z * POLYNOMIAL(z, tanh)), vbroadcast(-2));
    vec below = vselect(near, one, exp_plus_one);
    return vcopysign(base + above / below, x);
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
    vec far = one - vfma(e.power, e.expm1, e.power);
    vec near = vfma(a, POLYNOMIAL(z, erf_near), a);
    return vcopysign(vselect(vless(a, vbroadcast(ERF_SPLIT)), near, far), x);
}

/* max(x, 0) + log1p(e), e = exp(-|x|): both terms are positive, so nothing cancels. With
 * 0 <= e <= 1 the series in s = e / (2 + e) <= 1/3 needs no reduction, and 1 + e, which
 * would lose bits of e, is never formed. */
ALWAYS_INLINE vec vsoftplus(vec x)
{
    vec zero = vbroadcast(0), e = vexp_bounded(vcopysign(x, vbroadcast(-1)));
    vec s = e / (vbroadcast(2) + e), z = s * s, half_square = vbroadcast((real)0.5) * e * e;
    vec log1p_e = e - (half_square - s * vfma(z, POLYNOMIAL(z, log1p_unit), half_square));
    return vselect(vless(zero, x), x, zero) + log1p_e;
}

#undef CONSTANT
#undef UNPACKED
#undef COEFFICIENTS
#undef POLYNOMIAL

/* Every function, once: row `name` is v##name. */
#define FASTNN_MATH(X) X(exp) X(expm1) X(log) X(log1p) X(tanh) X(sigmoid) X(erf) X(softplus)

#endif
