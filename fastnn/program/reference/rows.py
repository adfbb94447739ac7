"""Every row of `src_c/activations.h`, `losses.h` and `optimizers.h` as a NumPy formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastnn.program.ops import OPTIMIZERS

Array = np.ndarray


def _map(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """Apply a function of one number to every element."""
    return lambda x: np.array([function(float(v)) for v in x.ravel()], x.dtype).reshape(x.shape)


erf = _map(math.erf)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)) + 0 * np.where(np.isnan(x), x, 0)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu(x: Array) -> Array:
    """Return x times the normal distribution function at x; 0 at minus infinity."""
    return 0.5 * np.maximum(x, -40) * (1 + erf(x / math.sqrt(2)))


def gelu_derivative(x: Array) -> Array:
    """Return the normal distribution function at x, plus x times its density."""
    x = np.clip(x, -40, 40)  # beyond that, the result is 0 or 1 in any dtype
    return 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # scale, alpha


def gelu_argument(x: Array) -> Array:
    """The argument of tanh in the approximate gelu."""
    x = np.clip(x, -40, 40)
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def gelu_tanh_derivative(x: Array) -> Array:
    """The derivative of x sigmoid(2 u(x))."""
    s, x = sigmoid(2 * gelu_argument(x)), np.clip(x, -40, 40)
    return s + x * s * (1 - s) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


def mish_derivative(x: Array) -> Array:
    """The derivative of x tanh(softplus(x))."""
    t = np.tanh(softplus(x))
    return t + np.minimum(x, 40) * (1 - t * t) * sigmoid(x)


def log_softmax(x: Array) -> Array:
    """Return x - max - log(sum(exp(x - max))) for each row."""
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(x: Array) -> Array:
    """exp(x - max) divided by its sum, for each row."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# name: (f(x, parameter), f'(saved, parameter)); saved is x or f(x), as activations.h says.
# A NaN in `saved` lets the gradient pass, as !(x <= 0) does.
ACTIVATION_FORMULAS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "linear": (lambda x, a: x, lambda y, a: np.ones_like(y)),
    "relu": (lambda x, a: np.maximum(x, 0), lambda y, a: np.where(y <= 0, 0, 1)),
    "leaky_relu": (
        lambda x, a: np.where(x <= 0, a * x, x),
        lambda y, a: np.where(y <= 0, a, 1),
    ),
    "elu": (
        lambda x, a: np.where(x <= 0, a * np.expm1(x), x),
        lambda x, a: np.where(x <= 0, a * np.exp(x), 1),
    ),
    "sigmoid": (lambda x, a: sigmoid(x), lambda y, a: y * (1 - y)),
    "tanh": (lambda x, a: np.tanh(x), lambda y, a: 1 - y * y),
    "gelu": (lambda x, a: gelu(x), lambda x, a: gelu_derivative(x)),
    "silu": (
        lambda x, a: x * sigmoid(x),
        lambda x, a: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    ),
    "softplus": (lambda x, a: softplus(x), lambda x, a: sigmoid(x)),
    "selu": (
        lambda x, a: SELU[0] * np.where(x <= 0, SELU[1] * np.expm1(x), x),
        lambda x, a: SELU[0] * np.where(x <= 0, SELU[1] * np.exp(x), 1),
    ),
    "gelu_tanh": (
        lambda x, a: np.maximum(x, -40) * sigmoid(2 * gelu_argument(x)),
        lambda x, a: gelu_tanh_derivative(x),
    ),
    "mish": (lambda x, a: x * np.tanh(softplus(x)), lambda x, a: mish_derivative(x)),
    "hard_sigmoid": (
        lambda x, a: np.clip(x / 6 + 0.5, 0, 1),
        lambda x, a: np.where(np.abs(x) >= 3, 0, 1 / 6),
    ),
    "softsign": (
        lambda x, a: np.clip(x, -1e30, 1e30) / (1 + np.abs(np.clip(x, -1e30, 1e30))),
        lambda x, a: (1 / (1 + np.abs(x))) ** 2,
    ),
    "exponential": (lambda x, a: np.exp(x), lambda y, a: y),
}

# name: (value(p, t, parameter), derivative with respect to p)
LOSS_FORMULAS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "mse": (lambda p, t, a: (p - t) ** 2, lambda p, t, a: 2 * (p - t)),
    "mae": (lambda p, t, a: np.abs(p - t), lambda p, t, a: np.sign(p - t)),
    "huber": (
        lambda p, t, a: np.where(
            np.abs(p - t) <= a, 0.5 * (p - t) ** 2, a * (np.abs(p - t) - 0.5 * a)
        ),
        lambda p, t, a: np.clip(p - t, -a, a),
    ),
    "binary_crossentropy": (
        lambda z, t, a: np.maximum(z, 0) - z * smoothed(t, a, 2) + np.log1p(np.exp(-np.abs(z))),
        lambda z, t, a: sigmoid(z) - smoothed(t, a, 2),
    ),
    "log_cosh": (lambda p, t, a: log_cosh(p - t), lambda p, t, a: np.tanh(p - t)),
    "quantile": (
        lambda p, t, a: np.where(t <= p, (a - 1) * (t - p), a * (t - p)),
        lambda p, t, a: nan_of(t - p, np.where(t < p, 1 - a, np.where(t == p, 0, -a))),
    ),
    "poisson": (lambda z, t, a: np.exp(z) - t * z, lambda z, t, a: np.exp(z) - t),
    "hinge": (
        lambda p, t, a: np.maximum(1 - t * p, 0),
        lambda p, t, a: nan_of(t * p, np.where(1 - t * p <= 0, 0, -t)),
    ),
}


def nan_of(x: Array, y: Array) -> Array:
    """Return y, but NaN where x is NaN."""
    return np.where(np.isnan(x), np.nan, y)


def smoothed(t: Array, share: float, classes: int) -> Array:
    """Move probabilities by `share` toward a uniform distribution (Szegedy et al. 2016)."""
    return t + share * (1 / classes - t)


def log_cosh(d: Array) -> Array:
    """log(cosh(d)) = log(1 + 2 sinh(d / 2)^2), without overflow."""
    d = np.abs(d)
    near = np.log1p(2 * np.sinh(np.minimum(d, 1) / 2) ** 2)
    return np.where(d <= 1, near, d + np.log1p(np.exp(-2 * d)) - math.log(2))


def _momentum(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    state[0] = h["momentum"] * state[0] + g
    return p - rate * (g + h["momentum"] * state[0] if h["nesterov"] else state[0])


def _adagrad(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    state[0] += g * g
    return p - rate * g / (np.sqrt(state[0]) + h["epsilon"])


def _rmsprop(centered: bool, with_momentum: bool) -> Callable[..., Array]:
    def update(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
        state[0] = h["rho"] * state[0] + (1 - h["rho"]) * g * g
        square = state[0]
        if centered:
            state[1] = h["rho"] * state[1] + (1 - h["rho"]) * g
            square = np.maximum(square - state[1] ** 2, 0)
        direction = g / (np.sqrt(square) + h["epsilon"])
        if with_momentum:
            direction = state[-1] = h["momentum"] * state[-1] + direction
        return p - rate * direction

    return update


def _adam(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    state[0] = h["beta_1"] * state[0] + (1 - h["beta_1"]) * g
    state[1] = h["beta_2"] * state[1] + (1 - h["beta_2"]) * g * g
    mean = state[0] / (1 - h["beta_1"] ** t)
    variance = state[1] / (1 - h["beta_2"] ** t)
    return p - rate * mean / (np.sqrt(variance) + h["epsilon"])


def _adamw(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    return _adam(p - rate * h["decoupled_weight_decay"] * p, g, state, rate, t, h)


def _amsgrad(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    state[0] = h["beta_1"] * state[0] + (1 - h["beta_1"]) * g
    state[1] = h["beta_2"] * state[1] + (1 - h["beta_2"]) * g * g
    state[2] = np.maximum(state[2], state[1])
    mean = state[0] / (1 - h["beta_1"] ** t)
    return p - rate * mean / (np.sqrt(state[2] / (1 - h["beta_2"] ** t)) + h["epsilon"])


def _amsgradw(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    return _amsgrad(p - rate * h["decoupled_weight_decay"] * p, g, state, rate, t, h)


def _nadam(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    def momentum(step: int) -> float:
        return float(h["beta_1"] * (1 - 0.5 * 0.96 ** (step * h["momentum_decay"])))

    state[0] = h["beta_1"] * state[0] + (1 - h["beta_1"]) * g
    state[1] = h["beta_2"] * state[1] + (1 - h["beta_2"]) * g * g
    state[2] = state[2] * momentum(t)
    now = (1 - momentum(t)) / (1 - state[2]) * g
    following = momentum(t + 1) / (1 - state[2] * momentum(t + 1)) * state[0]
    root = np.sqrt(state[1] / (1 - h["beta_2"] ** t)) + h["epsilon"]
    return p - rate * (now + following) / root


def _lion(p: Array, g: Array, state: Array, rate: float, t: int, h: dict) -> Array:
    direction = np.sign(h["beta_1"] * state[0] + (1 - h["beta_1"]) * g)
    state[0] = h["beta_2"] * state[0] + (1 - h["beta_2"]) * g
    return (1 - rate * h["decoupled_weight_decay"]) * p - rate * direction


# name: update(p, g, state, rate, t, hyper-parameters by name), which returns the new p and
# changes the state, shape (slots, count), in place
OPTIMIZER_FORMULAS: dict[str, Callable[..., Array]] = {
    "sgd": lambda p, g, state, rate, t, h: p - rate * g,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop(False, False),
    "rmsprop_momentum": _rmsprop(False, True),
    "rmsprop_centered": _rmsprop(True, False),
    "rmsprop_centered_momentum": _rmsprop(True, True),
    "adam": _adam,
    "adamw": _adamw,
    "adam_amsgrad": _amsgrad,
    "adamw_amsgrad": _amsgradw,
    "nadam": _nadam,
    "lion": _lion,
}


def update(
    name: str,
    p: Array,
    g: Array,
    state: Array,
    *,
    rate: float,
    step: int,
    hyper_parameters: Sequence[float],
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    norm: float | None = None,
    weight_decay: float = 0.0,
) -> Array:
    """Return the new parameters of one optimizer step; the state changes in place.

    Parameters
    ----------
    name : str
        A row of `src_c/optimizers.h`.
    p, g : ndarray, shape (count,)
    state : ndarray, shape (slots, count)
    rate : float
    step : int
        Counted from 1.
    hyper_parameters : sequence of float
        In the row's order.
    clipvalue, global_clipnorm : float, optional
    norm : float, optional
        The norm that is limited to global_clipnorm; default: the norm of g.
    weight_decay : float, default 0
    """
    if global_clipnorm is not None:
        if norm is None:
            norm = math.sqrt(float((g.astype(np.float64) ** 2).sum()))
        g = g * np.minimum(1.0, global_clipnorm / (norm + 1e-6))  # NaN stays NaN
    if clipvalue is not None:
        g = np.clip(g, -clipvalue, clipvalue)
    g = g + weight_decay * p
    names = [name for name in OPTIMIZERS[name][1].split(",") if name]
    hyper = dict(zip(names, hyper_parameters, strict=True))
    return OPTIMIZER_FORMULAS[name](p, g, state, rate, step, hyper).astype(p.dtype)
