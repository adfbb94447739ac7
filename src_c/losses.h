/* losses.h: every elementwise loss, one row each.
 *
 *   NAME_value(prediction, target, parameter)      loss of one output
 *   NAME_gradient(prediction, target, parameter)   its derivative with respect to the prediction
 *
 * The loss of a sample is the mean over its outputs, that of a batch the mean over its
 * samples (loss.c). To add one: write the two functions, add a line here, and add its formula to
 * fastnn/program/reference/rows.py.
 */
#ifndef FASTNN_LOSSES_H
#define FASTNN_LOSSES_H

#include "simd.h"
#include "vmath.h"

/* X(name, name of its parameter, default) */
#define FASTNN_LOSSES(X)              \
    X(mse, "", 0)                     \
    X(mae, "", 0)                     \
    X(huber, "delta", 1.0)            \
    X(binary_crossentropy, "label_smoothing", 0) \
    X(log_cosh, "", 0)                \
    X(quantile, "quantile", 0.5)      \
    X(poisson, "", 0)                 \
    X(hinge, "", 0)

/* (p - t)^2 */
ALWAYS_INLINE vec mse_value(vec p, vec t, vec parameter) { (void)parameter; return (p - t) * (p - t); }
ALWAYS_INLINE vec mse_gradient(vec p, vec t, vec parameter)
{
    (void)parameter;
    return vbroadcast(2) * (p - t);
}

/* |p - t|; the derivative at 0 is 0 */
ALWAYS_INLINE vec mae_value(vec p, vec t, vec parameter) { (void)parameter; return vabs(p - t); }
ALWAYS_INLINE vec mae_gradient(vec p, vec t, vec parameter)
{
    vec d = p - t, zero = vbroadcast(0);
    (void)parameter;
    return vselect(vequal(d, d), vselect(vequal(d, zero), zero, vcopysign(vbroadcast(1), d)), d);
}

/* d^2 / 2 where |d| <= delta, else delta * (|d| - delta / 2)  (Huber 1964) */
ALWAYS_INLINE vec huber_value(vec p, vec t, vec delta)
{
    vec d = vabs(p - t), half = vbroadcast((real)0.5);
    return vselect(vless_equal(d, delta), half * d * d, delta * (d - half * delta));
}
ALWAYS_INLINE vec huber_gradient(vec p, vec t, vec delta)
{
    return vclamp(p - t, delta);
}

/* On logits z, labels t in [0, 1]: max(z, 0) - z t + log(1 + exp(-|z|)), which does not
 * overflow; the derivative is sigmoid(z) - t. Smoothing moves t toward 1/2. */
ALWAYS_INLINE vec smoothed(vec t, vec smoothing)
{
    return vfma(smoothing, vbroadcast((real)0.5) - t, t);
}
ALWAYS_INLINE vec binary_crossentropy_value(vec z, vec t, vec smoothing)
{
    vec zero = vbroadcast(0);
    t = smoothed(t, smoothing);
    return vselect(vless_equal(z, zero), zero, z) - z * t + vsoftplus(-vabs(z));
}
ALWAYS_INLINE vec binary_crossentropy_gradient(vec z, vec t, vec smoothing)
{
    return vsigmoid(z) - smoothed(t, smoothing);
}

/* log(cosh(d)) = |d| + log(1 + exp(-2 |d|)) - log(2); near 0, where that cancels, with
 * e = exp(|d|) - 1, log(1 + e^2 / (2 (e + 1))). The derivative is tanh(d). */
ALWAYS_INLINE vec log_cosh_value(vec p, vec t, vec parameter)
{
    vec d = vabs(p - t), one = vbroadcast(1), e = vexpm1(vat_most(d, 1));
    vec near = vlog1p(e * e / (vbroadcast(2) * (e + one)));
    vec far = d + vsoftplus(vbroadcast(-2) * d) - vbroadcast((real)0.69314718055994530942);
    (void)parameter;
    return vselect(vless_equal(d, one), near, far);
}
ALWAYS_INLINE vec log_cosh_gradient(vec p, vec t, vec parameter)
{
    (void)parameter;
    return vtanh(p - t);
}

/* q (t - p) where t > p, (1 - q) (p - t) where t < p (Koenker & Bassett 1978); the
 * derivative at 0 is 0 */
ALWAYS_INLINE vec quantile_value(vec p, vec t, vec q)
{
    vec d = t - p;
    return vselect(vless_equal(d, vbroadcast(0)), (q - vbroadcast(1)) * d, q * d);
}
ALWAYS_INLINE vec quantile_gradient(vec p, vec t, vec q)
{
    vec d = t - p, zero = vbroadcast(0);
    vec slope = vselect(vless(d, zero), vbroadcast(1) - q, -q);
    return vselect(vequal(d, d), vselect(vequal(d, zero), zero, slope), d);
}

/* On the logarithm z of the rate: exp(z) - t z, without the term that depends on t alone */
ALWAYS_INLINE vec poisson_value(vec z, vec t, vec parameter)
{
    (void)parameter;
    return vexp(z) - t * z;
}
ALWAYS_INLINE vec poisson_gradient(vec z, vec t, vec parameter)
{
    (void)parameter;
    return vexp(z) - t;
}

/* max(1 - t p, 0) with t either -1 or 1 */
ALWAYS_INLINE vec hinge_value(vec p, vec t, vec parameter)
{
    (void)parameter;
    return vmax_of_zero(vbroadcast(1) - t * p);
}
ALWAYS_INLINE vec hinge_gradient(vec p, vec t, vec parameter)
{
    vec margin = vbroadcast(1) - t * p;
    (void)parameter;
    vec slope = vselect(vless_equal(margin, vbroadcast(0)), vbroadcast(0), -t);
    return vselect(vequal(margin, margin), slope, margin);
}

#endif
