/* activations.h: every elementwise activation, one row each.
 *
 * A row consists of a line of FASTNN_ACTIVATIONS and two functions next to each other:
 *
 *   NAME_forward(x, parameter)             f(x)
 *   NAME_gradient(saved, grad, parameter)  grad * f'(x), where `saved` is what the
 *                                          row keeps for backward: its "input" x
 *                                          or its "output" f(x)
 *
 * To add one: write the two functions, add the line, add its formula to
 * fastnn/program/reference/rows.py, and describe it in FACTS
 * (fastnn/activations.py). Everything else enumerates the table.
 *
 * Saving the output lets the product overwrite its pre-activation; the input is kept
 * where computing the derivative from the output would lose digits.
 * Comparisons are written so that NaN passes: !(x <= 0), not x > 0.
 */
#ifndef FASTNN_ACTIVATIONS_H
#define FASTNN_ACTIVATIONS_H

#include "simd.h"
#include "vmath.h"

/* X(name, what backward keeps, name of its parameter, default) */
#define FASTNN_ACTIVATIONS(X)                          \
    X(linear, "output", "", 0)                         \
    X(relu, "output", "", 0)                           \
    X(leaky_relu, "output", "negative_slope", 0.2)     \
    X(elu, "input", "alpha", 1.0)                      \
    X(sigmoid, "output", "", 0)                        \
    X(tanh, "output", "", 0)                           \
    X(gelu, "input", "", 0)                            \
    X(silu, "input", "", 0)                            \
    X(softplus, "input", "", 0)                        \
    X(selu, "input", "", 0)                            \
    X(gelu_tanh, "input", "", 0)                       \
    X(mish, "input", "", 0)                            \
    X(hard_sigmoid, "input", "", 0)                    \
    X(softsign, "input", "", 0)                        \
    X(exponential, "output", "", 0)

/* x */
ALWAYS_INLINE vec linear_forward(vec x, vec parameter) { (void)parameter; return x; }
ALWAYS_INLINE vec linear_gradient(vec y, vec grad, vec parameter)
{
    (void)y, (void)parameter;
    return grad;
}

/* max(x, 0) */
ALWAYS_INLINE vec relu_forward(vec x, vec parameter)
{
    (void)parameter;
    return vmax_of_zero(x);
}
ALWAYS_INLINE vec relu_gradient(vec y, vec grad, vec parameter)
{
    vec zero = vbroadcast(0);
    (void)parameter;
    return vselect(vless_equal(y, zero), zero * grad, grad); /* not zero: NaN stays NaN */
}

/* negative_slope * x where x < 0, otherwise x; the slope is >= 0, so y keeps the sign of x */
ALWAYS_INLINE vec leaky_relu_forward(vec x, vec slope)
{
    return vselect(vless_equal(x, vbroadcast(0)), x * slope, x);
}
ALWAYS_INLINE vec leaky_relu_gradient(vec y, vec grad, vec slope)
{
    return vselect(vless_equal(y, vbroadcast(0)), grad * slope, grad);
}

/* alpha * (exp(x) - 1) where x < 0, otherwise x. From the output, alpha * exp(x) would be
 * y + alpha, which cancels. */
ALWAYS_INLINE vec elu_forward(vec x, vec alpha)
{
    return vselect(vless_equal(x, vbroadcast(0)), alpha * vexpm1(x), x);
}
ALWAYS_INLINE vec elu_gradient(vec x, vec grad, vec alpha)
{
    return vselect(vless_equal(x, vbroadcast(0)), grad * alpha * vexp(x), grad);
}

/* 1 / (1 + exp(-x)) */
ALWAYS_INLINE vec sigmoid_forward(vec x, vec parameter) { (void)parameter; return vsigmoid(x); }
ALWAYS_INLINE vec sigmoid_gradient(vec y, vec grad, vec parameter)
{
    (void)parameter;
    return grad * (y * (vbroadcast(1) - y));
}

ALWAYS_INLINE vec tanh_forward(vec x, vec parameter) { (void)parameter; return vtanh(x); }
ALWAYS_INLINE vec tanh_gradient(vec y, vec grad, vec parameter)
{
    (void)parameter;
    return grad * (vbroadcast(1) - y * y);
}

/* x * Phi(x) with the normal distribution function Phi (Hendrycks & Gimpel 2016, exact form). With
 * t = |x| and Mills' ratio M, Phi(-t) = phi(t) M(t), so nothing cancels on either side. */
ALWAYS_INLINE vec gelu_forward(vec x, vec parameter)
{
    vec t = vat_most(vabs(x), MILLS_LAST);
    normal_parts normal = vnormal(t);
    (void)parameter;
    return vat_least(x, 0) - t * normal.density * normal.ratio;
}
/* Phi(x) + x phi(x) */
ALWAYS_INLINE vec gelu_gradient(vec x, vec grad, vec parameter)
{
    vec t = vat_most(vabs(x), MILLS_LAST);
    normal_parts normal = vnormal(t);
    vec below = normal.density * (normal.ratio - t);
    (void)parameter;
    return grad * vselect(vless(x, vbroadcast(0)), below, vbroadcast(1) - below);
}

/* x * sigmoid(x) */
ALWAYS_INLINE vec silu_forward(vec x, vec parameter) { (void)parameter; return x * vsigmoid(x); }
ALWAYS_INLINE vec silu_gradient(vec x, vec grad, vec parameter)
{
    vec s = vsigmoid(x);
    (void)parameter;
    return grad * (s * (vbroadcast(1) + x * (vbroadcast(1) - s)));
}

/* log(1 + exp(x)). Computed from the output, the derivative would be 1 - exp(-y), which cancels. */
ALWAYS_INLINE vec softplus_forward(vec x, vec parameter) { (void)parameter; return vsoftplus(x); }
ALWAYS_INLINE vec softplus_gradient(vec x, vec grad, vec parameter)
{
    (void)parameter;
    return grad * vsigmoid(x);
}

/* scale times elu with this alpha, which preserves mean 0 and variance 1 (Klambauer et al. 2017) */
#define SELU_SCALE vbroadcast((real)1.0507009873554804934193349852946)
#define SELU_ALPHA vbroadcast((real)1.6732632423543772848170429916717)
ALWAYS_INLINE vec selu_forward(vec x, vec parameter)
{
    (void)parameter;
    return SELU_SCALE * elu_forward(x, SELU_ALPHA);
}
ALWAYS_INLINE vec selu_gradient(vec x, vec grad, vec parameter)
{
    (void)parameter;
    return SELU_SCALE * elu_gradient(x, grad, SELU_ALPHA);
}

/* x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks & Gimpel
 * 2016, approximate form). For |x| > 40 it is x or 0, and the powers of x must not overflow. */
#define GELU_TANH_OF(x, power) \
    (vbroadcast((real)(2 * 0.79788456080286535587989)) * vfma(vbroadcast((real)power), (x) * (x), vbroadcast(1)))
ALWAYS_INLINE vec gelu_tanh_forward(vec x, vec parameter)
{
    vec t = vclamp(x, vbroadcast(40));
    (void)parameter;
    return vat_least(x, -40) * vsigmoid(t * GELU_TANH_OF(t, 0.044715));
}
ALWAYS_INLINE vec gelu_tanh_gradient(vec x, vec grad, vec parameter)
{
    vec t = vclamp(x, vbroadcast(40)), s = vsigmoid(t * GELU_TANH_OF(t, 0.044715));
    (void)parameter;
    return grad * (s * vfma(t * (vbroadcast(1) - s), GELU_TANH_OF(t, (3 * 0.044715)), vbroadcast(1)));
}

/* x tanh(softplus(x)) (Misra 2019). With e = exp(x), tanh(log(1 + e)) = n / (n + 2), n = e (e + 2);
 * for x >= 20 that is 1. */
ALWAYS_INLINE vec mish_forward(vec x, vec parameter)
{
    vec e = vexp(vat_most(x, 20)), n = e * (e + vbroadcast(2));
    (void)parameter;
    return x * (n / (n + vbroadcast(2)));
}
/* n / (n + 2) + x 4 e (1 + e) / (n + 2)^2 */
ALWAYS_INLINE vec mish_gradient(vec x, vec grad, vec parameter)
{
    vec t = vat_most(x, 20), e = vexp(t), n = e * (e + vbroadcast(2));
    vec over = vbroadcast(1) / (n + vbroadcast(2));
    vec slope = vbroadcast(4) * e * (e + vbroadcast(1)) * over;
    (void)parameter;
    return grad * (vfma(t, slope, n) * over);
}

/* x / 6 + 1/2 in [0, 1], as in Keras and PyTorch. The result is clamped, not x: 1/6 is rounded, and
 * three times it can be more than 1/2. */
ALWAYS_INLINE vec hard_sigmoid_forward(vec x, vec parameter)
{
    vec line = vfma(x, vbroadcast((real)(1.0 / 6)), vbroadcast((real)0.5));
    (void)parameter;
    return vat_most(vat_least(line, 0), 1);
}
ALWAYS_INLINE vec hard_sigmoid_gradient(vec x, vec grad, vec parameter)
{
    vec zero = vbroadcast(0);
    (void)parameter;
    return vselect(vless_equal(vbroadcast(3), vabs(x)), zero * grad, grad * vbroadcast((real)(1.0 / 6)));
}

/* x / (1 + |x|); an infinity, which would produce NaN, is replaced by a large number */
ALWAYS_INLINE vec softsign_forward(vec x, vec parameter)
{
    vec t = vclamp(x, vbroadcast((real)1e30));
    (void)parameter;
    return t / (vbroadcast(1) + vabs(t));
}
ALWAYS_INLINE vec softsign_gradient(vec x, vec grad, vec parameter)
{
    vec below = vbroadcast(1) / (vbroadcast(1) + vabs(x));
    (void)parameter;
    return grad * (below * below);
}

/* exp(x) */
ALWAYS_INLINE vec exponential_forward(vec x, vec parameter) { (void)parameter; return vexp(x); }
ALWAYS_INLINE vec exponential_gradient(vec y, vec grad, vec parameter)
{
    (void)parameter;
    return grad * y;
}

#endif
