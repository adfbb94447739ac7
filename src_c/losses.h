/* losses.h: every elementwise loss, one row each.
 *
 *   NAME_value(prediction, target, parameter)      loss of one output
 *   NAME_gradient(prediction, target, parameter)   its derivative by the prediction
 *
 * The loss of a sample is the mean over its outputs, that of a batch the mean over its
 * samples (loss.c). To add one: the two functions, a line here, a formula in
 * fastnn/program/reference.py.
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
    X(binary_crossentropy, "", 0)

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
 * overflow; the derivative is sigmoid(z) - t. */
ALWAYS_INLINE vec binary_crossentropy_value(vec z, vec t, vec parameter)
{
    vec zero = vbroadcast(0);
    (void)parameter;
    return vselect(vless_equal(z, zero), zero, z) - z * t + vsoftplus(-vabs(z));
}
ALWAYS_INLINE vec binary_crossentropy_gradient(vec z, vec t, vec parameter)
{
    (void)parameter;
    return vsigmoid(z) - t;
}

#endif
