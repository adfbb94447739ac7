"""The same program in plain NumPy: oracle of the tests, documentation of every op.

Nothing here is fast or shared with the kernels. Every formula stands once, as in a textbook; a
row of `src_c/activations.h`, `losses.h` or `optimizers.h` has its formula here under the same
name.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.program import python_ops
from fastnn.program.lower import Program
from fastnn.program.ops import HALVES_FROM_ROWS, NORM_CHUNK, OPTIMIZERS, Op, Value
from fastnn.program.reference_layers import LAYER_FORMULAS

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
    """The normal distribution at x, times x; 0 at minus infinity."""
    return 0.5 * np.maximum(x, -40) * (1 + erf(x / math.sqrt(2)))


def gelu_derivative(x: Array) -> Array:
    """The normal distribution at x, and x times its density."""
    x = np.clip(x, -40, 40)  # beyond, 0 or 1 in any dtype
    return 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # scale, alpha


def gelu_argument(x: Array) -> Array:
    """What the approximate gelu takes tanh of."""
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
    """X - max - log of the sum of exp(x - max), for each row."""
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(x: Array) -> Array:
    """exp(x - max) / sum of it, for each row."""
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
        lambda x, a: np.clip(x, -3, 3) / 6 + 0.5,
        lambda x, a: np.where(np.abs(x) >= 3, 0, 1 / 6),
    ),
    "softsign": (
        lambda x, a: np.clip(x, -1e30, 1e30) / (1 + np.abs(np.clip(x, -1e30, 1e30))),
        lambda x, a: (1 / (1 + np.abs(x))) ** 2,
    ),
    "exponential": (lambda x, a: np.exp(x), lambda y, a: y),
}

# name: (value(p, t, parameter), derivative by p)
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
    """y, but NaN where x is."""
    return np.where(np.isnan(x), np.nan, y)


def smoothed(t: Array, share: float, classes: int) -> Array:
    """Probabilities, `share` of the way to all classes being alike (Szegedy et al. 2016)."""
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
        What is to be at most global_clipnorm; default: the norm of g.
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


def philox(blocks: int, stream: int, step: int, key: int) -> Array:
    """Philox4x32-10 (Salmon et al. 2011): uint32 numbers of shape (4 * blocks,)."""
    mask = np.uint64(0xFFFFFFFF)
    counter = [
        np.arange(blocks, dtype=np.uint64) & mask,
        np.full(blocks, stream, np.uint64),
        np.full(blocks, step & 0xFFFFFFFF, np.uint64),
        np.full(blocks, step >> 32, np.uint64),
    ]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        left = counter[0] * np.uint64(0xD2511F53)
        right = counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (right >> np.uint64(32)) ^ counter[1] ^ np.uint64(k[0]),
            right & mask,
            (left >> np.uint64(32)) ^ counter[3] ^ np.uint64(k[1]),
            left & mask,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(counter, axis=1).ravel().astype(np.uint32)


def dropout(x: Array, rate: float, stream: int, step: int, key: int) -> Array:
    """Return x * mask / (1 - rate)."""
    numbers = philox(-(-x.size // 4), stream, step, key)[: x.size].reshape(x.shape)
    kept = numbers >= np.uint32(int(rate * 2**32))
    return x * np.where(kept, 1 / (1 - rate), 0).astype(x.dtype)


def one_hot(labels: Array, classes: int, dtype: Any) -> Array:
    """Rows of probabilities for class labels."""
    return np.eye(classes, dtype=dtype)[labels]


@dataclass
class Context:
    """What a run knows besides its values."""

    dtype: str
    key: int = 0
    step: int = 1
    learning_rate: float = 0.0
    rows: int = 0
    state: Array = field(default_factory=lambda: np.zeros((0, 0)))
    offsets: dict[str, int] = field(default_factory=dict)

    def state_of(self, value: Value) -> Array:
        """Return the state of one parameter, or of all, shape (slots, count); a view."""
        if value.name == "average":
            return self.state[-1]
        first = self.offsets.get(value.name)
        return self.state if first is None else self.state[:, first : first + value.width]


def _activation(op: Op, context: Context, x: Array) -> Array:
    forward, _ = ACTIVATION_FORMULAS[op.attributes["activation"]]
    return forward(x, op.attributes.get("parameter", 0.0))


def _derivative(op: Op, saved: Array) -> Array:
    _, derivative = ACTIVATION_FORMULAS[op.attributes["activation"]]
    return derivative(saved, op.attributes.get("parameter", 0.0))


def _affine(op: Op, context: Context, x: Array, kernel: Array, bias: Array | None) -> tuple:
    z = x @ kernel + (0 if bias is None else bias)
    return _activation(op, context, z), z


def middle(count: int) -> int:
    """Return where affine_halves and kernel_gradient_halves cut: half, up to a multiple of 16."""
    return -(-count // 32) * 16


def affine_halves(x: Array, kernel: Array) -> Array:
    """Return x @ kernel over the first half of the inputs, and beside it over the second.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    kernel : ndarray, shape (inputs, units)

    Returns
    -------
    ndarray, shape (rows, 2 * units)
    """
    cut = middle(x.shape[1])
    return np.concatenate([x[:, :cut] @ kernel[:cut], x[:, cut:] @ kernel[cut:]], axis=1)


def kernel_gradient_halves(x: Array, grad_output: Array) -> tuple[Array, Array, Array]:
    """Return the gradients by kernel and bias, over the first and the second half of the rows.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)

    Returns
    -------
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,)
    second : ndarray, shape (inputs * units + units,)
        Both over the second half; zeros if there are few rows.
    """
    rows = len(x)
    cut = rows if rows < HALVES_FROM_ROWS else middle(rows)
    second = (x[cut:].T @ grad_output[cut:]).ravel(), grad_output[cut:].sum(axis=0)
    first = x[:cut].T @ grad_output[:cut], grad_output[:cut].sum(axis=0)
    return *first, np.concatenate(second)


def _kernel_gradient_halves(op: Op, context: Context, x: Array, grad: Array) -> tuple:
    kernel, bias, second = kernel_gradient_halves(x, grad)
    assert op.outputs[2] is not None
    return kernel, bias, second[: op.outputs[2].width]


def _add_gradient_half(
    op: Op, context: Context, kernel: Array, bias: Array | None, second: Array, grad: Array
) -> tuple:
    total = kernel + second[: kernel.size].reshape(kernel.shape)
    return total, None if bias is None else bias + second[kernel.size :]


def _add_halves(op: Op, context: Context, halves: Array, bias: Array | None) -> tuple:
    z = halves.reshape(len(halves), 2, -1).sum(axis=1) + (0 if bias is None else bias)
    return _activation(op, context, z), z


def _input_gradient(
    op: Op, context: Context, grad: Array, kernel: Array, saved: Array | None
) -> Array:
    product = grad @ kernel.T
    return product if saved is None else product * _derivative(op, saved)


def _elementwise_loss(op: Op, context: Context, p: Array, t: Array) -> tuple:
    value, gradient = LOSS_FORMULAS[op.attributes["loss"]]
    parameter = op.attributes["parameter"]
    flat_p, flat_t = p.reshape(len(p), -1), t.reshape(len(p), -1)
    losses = value(flat_p, flat_t, parameter).mean(axis=1)
    return losses, gradient(flat_p, flat_t, parameter).reshape(p.shape) / max(p.size, 1)


def _softmax_crossentropy(op: Op, context: Context, z: Array, target: Array) -> tuple:
    shifted = z - z.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    t = one_hot(target, z.shape[1], z.dtype) if op.input(1).dtype == "label" else target
    entropy = np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t))).sum(axis=1)
    t = smoothed(t, op.attributes.get("label_smoothing", 0.0), z.shape[1])
    total = t.sum(axis=1, keepdims=True)
    terms = np.where(t == 0, 0, t * shifted)  # a class that cannot be may have a logit of -inf
    losses = log_sum * total[:, 0] - terms.sum(axis=1)
    if op.attributes.get("is_divergence"):
        losses = losses + entropy
    return losses, (softmax(z) * total - t) / max(len(z), 1), None


def _categorical_accuracy(op: Op, context: Context, scores: Array, target: Array) -> Array:
    labels = target if op.input(1).dtype == "label" else target.argmax(axis=1)
    return scores.argmax(axis=1) == labels


def _binary_accuracy(op: Op, context: Context, scores: Array, target: Array) -> Array:
    hits = (scores > op.attributes["threshold"]) == (target > 0.5)
    hits = np.where(np.isnan(scores), np.nan, hits)
    return hits.reshape(len(scores), -1).mean(axis=1)


def _scale_rows(op: Op, context: Context, x: Array, weights: Array | None) -> Array:
    each = 1.0 if weights is None else weights.reshape(-1, *[1] * (x.ndim - 1))
    return op.attributes["factor"] * each * x


def _accumulate(op: Op, context: Context, values: Array, total: Any = 0.0) -> Any:
    return total + op.attributes["weight"] * np.sum(values)


def _penalty(op: Op, context: Context, p: Array, gradient: Array | None) -> tuple:
    l1, l2 = op.attributes["l1"], op.attributes["l2"]
    each = (l1 * np.abs(p) + l2 * p * p).ravel().astype(np.float64)
    sums = np.array([each[i : i + NORM_CHUNK].sum() for i in range(0, p.size, NORM_CHUNK)])
    return sums, None if gradient is None else gradient + l1 * np.sign(p) + 2 * l2 * p


def _update(
    op: Op, context: Context, p: Array, g: Array, state: Array | None, partial: Array | None
) -> Array:
    flat = context.state if op.output.name == "parameters" else context.state_of(op.output)
    norm = None if partial is None else math.sqrt(float(partial.sum()))
    slots = flat[: int(OPTIMIZERS[op.attributes["optimizer"]][2])]
    return _updated(op, context, p.ravel(), g.ravel(), slots, norm).reshape(p.shape)


def _moving_average(op: Op, context: Context, average: Array, value: Array) -> Array:
    copies = op.attributes["copies_first"] and context.step == 1
    momentum = 0.0 if copies else op.attributes["momentum"]
    average[...] = momentum * average + (1 - momentum) * value
    return average


def _kernel_gradient_update(
    op: Op,
    context: Context,
    x: Array,
    grad: Array,
    kernel: Array,
    kernel_state: Array | None,
    bias: Array | None,
    bias_state: Array | None,
) -> tuple:
    def new(p: Array, g: Array, state: Array | None) -> Array:
        no_state = np.zeros((0, p.size), p.dtype)
        flat = p.ravel(), g.ravel(), no_state if state is None else state
        return _updated(op, context, *flat).reshape(p.shape)

    by_kernel, by_bias = x.T @ grad, grad.sum(axis=0)
    new_kernel = new(kernel, by_kernel, kernel_state)
    if bias is None:
        return by_kernel, None, new_kernel, None
    return by_kernel, by_bias, new_kernel, new(bias, by_bias, bias_state)


def _updated(
    op: Op, context: Context, p: Array, g: Array, state: Array, norm: float | None = None
) -> Array:
    a = op.attributes
    return update(
        a["optimizer"],
        p,
        g,
        state,
        rate=context.learning_rate * a.get("rate_factor", 1.0),
        step=context.step,
        hyper_parameters=a["hyper_parameters"],
        clipvalue=a["clipvalue"],
        global_clipnorm=a["clipnorm"],
        norm=norm,
        weight_decay=a["weight_decay"],
    )


# kind: formula(op, context, *inputs), which returns the output, or a tuple of outputs
FORMULAS: dict[str, Callable[..., Any]] = {
    "affine": _affine,
    "affine_halves": lambda op, c, x, kernel: affine_halves(x, kernel),
    "add_halves": _add_halves,
    "input_gradient": _input_gradient,
    "kernel_gradient": lambda op, c, x, grad: (x.T @ grad, grad.sum(axis=0)),
    "kernel_gradient_halves": _kernel_gradient_halves,
    "add_gradient_half": _add_gradient_half,
    "sparse_affine": _affine,
    "sparse_kernel_gradient": lambda op, c, x, grad: (x.T @ grad, grad.sum(axis=0)),
    "csr_gather": lambda op, c, x: x,
    "bias_gradient": lambda op, c, grad: grad.sum(axis=0),
    "activation": _activation,
    "activation_gradient": lambda op, c, saved, grad: grad * _derivative(op, saved),
    "add": lambda op, c, a, b: a + b,
    "multiply": lambda op, c, a, b: a * b,
    "scale_rows": _scale_rows,
    "accumulate": _accumulate,
    "penalty": _penalty,
    "concatenate": lambda op, c, *parts: np.concatenate(parts, axis=1),
    "slice_columns": lambda op, c, x: x[
        :, op.attributes["first"] : op.attributes["first"] + op.output.width
    ],
    "reshape": lambda op, c, x: x.reshape(-1, *op.output.shape),
    "dropout": lambda op, c, x: dropout(
        x, op.attributes["rate"], op.attributes["stream"], c.step, c.key
    ),
    "softmax": lambda op, c, x: softmax(x),
    "log_softmax": lambda op, c, x: log_softmax(x),
    "log_softmax_gradient": lambda op, c, y, grad: (
        grad - np.exp(y) * grad.sum(axis=1, keepdims=True)
    ),
    "softmax_gradient": lambda op, c, y, grad: y * (grad - (grad * y).sum(axis=1, keepdims=True)),
    "elementwise_loss": _elementwise_loss,
    "softmax_crossentropy": _softmax_crossentropy,
    "categorical_accuracy": _categorical_accuracy,
    "binary_accuracy": _binary_accuracy,
    "mean": lambda op, c, rows: rows.astype(np.float64).sum() / len(rows),
    "squared_norm": lambda op, c, g: np.array(
        [
            (g[i : i + NORM_CHUNK].astype(np.float64) ** 2).sum()
            for i in range(0, len(g), NORM_CHUNK)
        ]
    ),
    "update": _update,
    "moving_average": _moving_average,
    "kernel_gradient_update": _kernel_gradient_update,
    "python": lambda op, c, *arrays: tuple(python_ops.results(op, arrays)),
    "python_gradient": lambda op, c, *arrays: tuple(python_ops.results(op, arrays)),
    "python_loss": lambda op, c, *arrays: tuple(python_ops.results(op, arrays)),
    **LAYER_FORMULAS,
    "sparse_kernel_gradient_update": _kernel_gradient_update,
}


def run(
    program: Program,
    batch: Sequence[Array],
    values: dict[str, Array],
    context: Context,
    watch: Callable[[Op, Value, Array], None] | None = None,
    gradients: dict[str, Array] | None = None,
) -> dict[Value, Array]:
    """Run a program on one batch.

    Parameters
    ----------
    program : Program
    batch : sequence of ndarray, each shape (rows, width)
        For the program's inputs, in any dtype that the engine takes.
    values : dict of str to ndarray
        Parameters by name, and "parameters" as a flat array for an update of all; updated in
        place.
    context : Context
    watch : callable, optional
        Called with each op, value and number written.
    gradients : dict of str to ndarray, optional
        By the same names, for a program that applies what it has not computed.

    Returns
    -------
    dict of Value to ndarray
    """
    made: dict[Value, Array] = {}
    given = dict(zip(program.inputs, batch, strict=False))

    def read(value: Value | None) -> Array | None:
        if value is None:
            return None
        if value in made:
            return made[value]
        if value.kind == "sparse":  # here a batch of it, with its zeros
            return given[value].astype(context.dtype).reshape(-1, *value.shape)
        if value.kind == "state":
            return context.state_of(value)
        if value.kind == "gradient" and gradients is not None:
            return gradients[value.name]
        return values[value.name]

    with np.errstate(all="ignore"):
        for op in program.ops:
            if op.kind == "gather":
                dtype = np.int32 if op.output.dtype == "label" else context.dtype
                results: Any = given[op.output].astype(dtype).reshape(-1, *op.output.shape)
            else:
                results = FORMULAS[op.kind](op, context, *(read(value) for value in op.inputs))
            results = results if isinstance(results, tuple) else (results,)
            for value, result in zip(op.outputs, results, strict=False):
                if value is None or result is None:
                    continue
                if value.dtype == "real":
                    result = np.asarray(result).astype(context.dtype)
                made[value] = result
                if value.kind == "parameter":
                    values[value.name][...] = result
                if watch is not None:
                    watch(op, value, result)
    return made


class _Found(Exception):
    pass


def first_non_finite(
    program: Program,
    batch: Sequence[Array],
    parameters: dict[str, Array],
    dtype: str,
    key: int,
    step: int,
) -> str:
    """Return the name of the first layer with a number that is not finite; "loss" if none.

    Parameters
    ----------
    program : Program
        The training program; only its forward ops are run.
    batch : sequence of ndarray
    parameters : dict of str to ndarray
    dtype : {"float32", "float64"}
    key, step : int
        For dropout.

    Returns
    -------
    str
    """
    layer = "loss"

    def watch(op: Op, value: Value, result: Array) -> None:
        nonlocal layer
        if not np.isfinite(result).all():
            layer = op.layer or "loss"
            raise _Found
        if op.kind in ("mean", "accumulate"):
            raise _Found

    with contextlib.suppress(_Found):
        run(program, batch, parameters, Context(dtype, key, step), watch)
    return layer
