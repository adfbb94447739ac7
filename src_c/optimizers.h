/* optimizers.h: every optimizer, one row each.
 *
 * A row consists of a line of FASTNN_OPTIMIZERS and two functions:
 *
 *   NAME_prepare(h, out)          once per step: scalars that the update needs, in double
 *   NAME_update(p, g, state, h)   the new parameter; state[] is updated in place
 *
 * h[0] is the learning rate of the step, h[1] the number of the step, counted from 1;
 * the row's hyper-parameters follow in the order in which the line names them. g has
 * already been clipped and includes the L2 term.
 *
 * The formulas are PyTorch's; epsilon is added outside the square root.
 */
#ifndef FASTNN_OPTIMIZERS_H
#define FASTNN_OPTIMIZERS_H

#include "simd.h"

#include <math.h>

enum { MAX_SLOTS = 3, MAX_PREPARED = 9 };

/* X(name, number of state slots, their names, hyper-parameters) */
#define FASTNN_OPTIMIZERS(X)                                                              \
    X(sgd, 0, "", "")                                                                        \
    X(momentum, 1, "velocity", "momentum,nesterov")                                          \
    X(adagrad, 1, "accumulator", "epsilon")                                                  \
    X(rmsprop, 1, "mean_square", "rho,epsilon")                                              \
    X(rmsprop_momentum, 2, "mean_square,velocity", "rho,epsilon,momentum")                   \
    X(rmsprop_centered, 2, "mean_square,mean", "rho,epsilon")                                \
    X(rmsprop_centered_momentum, 3, "mean_square,mean,velocity", "rho,epsilon,momentum")     \
    X(adam, 2, "mean,variance", "beta_1,beta_2,epsilon")                                     \
    X(adamw, 2, "mean,variance", "beta_1,beta_2,epsilon,decoupled_weight_decay")             \
    X(adam_amsgrad, 3, "mean,variance,largest", "beta_1,beta_2,epsilon")                     \
    X(adamw_amsgrad, 3, "mean,variance,largest", "beta_1,beta_2,epsilon,decoupled_weight_decay") \
    X(nadam, 3, "mean,variance,momentum_product", "beta_1,beta_2,epsilon,momentum_decay")    \
    X(lion, 1, "mean", "beta_1,beta_2,decoupled_weight_decay")

/* p - rate g */
ALWAYS_INLINE void sgd_prepare(const double *h, double *out) { out[0] = h[0]; }
ALWAYS_INLINE vec sgd_update(vec p, vec g, vec *state, const vec *h)
{
    (void)state;
    return p - h[0] * g;
}

/* v = momentum v + g;  p - rate v, or with Nesterov p - rate (g + momentum v)
 * (Sutskever et al. 2013, in PyTorch's form) */
ALWAYS_INLINE void momentum_prepare(const double *h, double *out)
{
    out[0] = h[0], out[1] = h[2];
    out[2] = h[3] != 0 ? 1 : 0;         /* weight of g in the direction ... */
    out[3] = h[3] != 0 ? h[2] : 1;      /* ... and of the velocity */
}
ALWAYS_INLINE vec momentum_update(vec p, vec g, vec *state, const vec *h)
{
    state[0] = vfma(h[1], state[0], g);
    return p - h[0] * vfma(h[3], state[0], h[2] * g);
}

/* s = s + g^2;  p - rate g / (sqrt(s) + epsilon)  (Duchi et al. 2011) */
ALWAYS_INLINE void adagrad_prepare(const double *h, double *out) { out[0] = h[0], out[1] = h[2]; }
ALWAYS_INLINE vec adagrad_update(vec p, vec g, vec *state, const vec *h)
{
    state[0] = vfma(g, g, state[0]);
    return p - h[0] * g / (vroot(state[0]) + h[1]);
}

/* s = rho s + (1 - rho) g^2;  m = rho m + (1 - rho) g when centered;
 * v = momentum v + g / (sqrt(s - m^2) + epsilon);  p - rate v
 * (Tieleman & Hinton 2012; Graves 2013). Rounding may leave s - m^2 just below zero. */
ALWAYS_INLINE void rmsprop_prepare(const double *h, double *out)
{
    out[0] = h[0], out[1] = h[2], out[2] = 1 - h[2], out[3] = h[3];
}
ALWAYS_INLINE void rmsprop_momentum_prepare(const double *h, double *out)
{
    rmsprop_prepare(h, out);
    out[4] = h[4];
}
#define rmsprop_centered_prepare rmsprop_prepare
#define rmsprop_centered_momentum_prepare rmsprop_momentum_prepare

ALWAYS_INLINE vec rmsprop_step(const int centered, const int momentum, vec p, vec g, vec *state,
                               const vec *h)
{
    vec square = state[0] = vfma(h[1], state[0], h[2] * (g * g));
    if (centered) {
        state[1] = vfma(h[1], state[1], h[2] * g);
        square = vmax(square - state[1] * state[1], vbroadcast(0));
    }
    vec direction = g / (vroot(square) + h[3]);
    if (momentum) {
        vec *velocity = &state[1 + centered];
        direction = *velocity = vfma(h[4], *velocity, direction);
    }
    return p - h[0] * direction;
}
ALWAYS_INLINE vec rmsprop_update(vec p, vec g, vec *state, const vec *h)
{
    return rmsprop_step(0, 0, p, g, state, h);
}
ALWAYS_INLINE vec rmsprop_momentum_update(vec p, vec g, vec *state, const vec *h)
{
    return rmsprop_step(0, 1, p, g, state, h);
}
ALWAYS_INLINE vec rmsprop_centered_update(vec p, vec g, vec *state, const vec *h)
{
    return rmsprop_step(1, 0, p, g, state, h);
}
ALWAYS_INLINE vec rmsprop_centered_momentum_update(vec p, vec g, vec *state, const vec *h)
{
    return rmsprop_step(1, 1, p, g, state, h);
}

/* m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;
 * p - rate / (1 - beta_1^t) * m / (sqrt(v / (1 - beta_2^t)) + epsilon)
 * (Kingma & Ba 2015) */
ALWAYS_INLINE void adam_prepare(const double *h, double *out)
{
    out[0] = h[0] / (1 - pow(h[2], h[1]));
    out[1] = h[2], out[2] = 1 - h[2];
    out[3] = h[3], out[4] = 1 - h[3];
    out[5] = 1 / sqrt(1 - pow(h[3], h[1]));
    out[6] = h[4];
}
ALWAYS_INLINE vec adam_update(vec p, vec g, vec *state, const vec *h)
{
    state[0] = vfma(h[1], state[0], h[2] * g);
    state[1] = vfma(h[3], state[1], h[4] * (g * g));
    return p - h[0] * state[0] / vfma(vroot(state[1]), h[5], h[6]);
}

/* Adam, with decoupled weight decay: p - rate decay p first
 * (Loshchilov & Hutter 2019) */
ALWAYS_INLINE void adamw_prepare(const double *h, double *out)
{
    adam_prepare(h, out);
    out[7] = 1 - h[0] * h[5];
}
ALWAYS_INLINE vec adamw_update(vec p, vec g, vec *state, const vec *h)
{
    return adam_update(p * h[7], g, state, h);
}

/* Adam with the largest v so far in place of v (Reddi et al. 2018), v without the bias correction,
 * as in PyTorch */
#define adam_amsgrad_prepare adam_prepare
#define adamw_amsgrad_prepare adamw_prepare
ALWAYS_INLINE vec adam_amsgrad_update(vec p, vec g, vec *state, const vec *h)
{
    state[0] = vfma(h[1], state[0], h[2] * g);
    state[1] = vfma(h[3], state[1], h[4] * (g * g));
    state[2] = vmax(state[2], state[1]);
    return p - h[0] * state[0] / vfma(vroot(state[2]), h[5], h[6]);
}
ALWAYS_INLINE vec adamw_amsgrad_update(vec p, vec g, vec *state, const vec *h)
{
    return adam_amsgrad_update(p * h[7], g, state, h);
}

/* Adam with Nesterov momentum (Dozat 2016), in PyTorch's form: 
 * mu_t = beta_1 (1 - 0.96^(t psi) / 2), psi is momentum_decay, and P is the product of
 * all mu so far, kept in one more slot;
 * p - rate ((1 - mu_t) / (1 - P) g + mu_t+1 / (1 - P mu_t+1) m)
 *     / (sqrt(v / (1 - beta_2^t)) + epsilon) */
ALWAYS_INLINE void nadam_prepare(const double *h, double *out)
{
    out[0] = h[0];
    out[1] = h[2], out[2] = 1 - h[2];
    out[3] = h[3], out[4] = 1 - h[3];
    out[5] = 1 / sqrt(1 - pow(h[3], h[1]));
    out[6] = h[4];
    out[7] = h[2] * (1 - 0.5 * pow(0.96, h[1] * h[5]));
    out[8] = h[2] * (1 - 0.5 * pow(0.96, (h[1] + 1) * h[5]));
}
ALWAYS_INLINE vec nadam_update(vec p, vec g, vec *state, const vec *h)
{
    vec one = vbroadcast(1);
    state[0] = vfma(h[1], state[0], h[2] * g);
    state[1] = vfma(h[3], state[1], h[4] * (g * g));
    state[2] = state[2] * h[7];
    vec now = (one - h[7]) / (one - state[2]), next = h[8] / (one - state[2] * h[8]);
    return p - h[0] * vfma(now, g, next * state[0]) / vfma(vroot(state[1]), h[5], h[6]);
}

/* p - rate (sign(beta_1 m + (1 - beta_1) g) + decay p), then m = beta_2 m + (1 - beta_2) g
 * (Chen et al. 2023) */
ALWAYS_INLINE void lion_prepare(const double *h, double *out)
{
    out[0] = h[0];
    out[1] = h[2], out[2] = 1 - h[2];
    out[3] = h[3], out[4] = 1 - h[3];
    out[5] = 1 - h[0] * h[4];
}
ALWAYS_INLINE vec lion_update(vec p, vec g, vec *state, const vec *h)
{
    vec zero = vbroadcast(0), direction = vfma(h[1], state[0], h[2] * g);
    vec sign = vselect(vequal(direction, zero), zero, vcopysign(vbroadcast(1), direction));
    state[0] = vfma(h[3], state[0], h[4] * g);
    return p * h[5] - h[0] * vselect(vequal(direction, direction), sign, direction);
}

#endif
