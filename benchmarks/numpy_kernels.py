"""The NumPy side of every kernel: the same arithmetic in well-written NumPy.

Every result and every temporary is preallocated and passed as ``out=``; sums of products are
computed by BLAS or ``vecdot``; a comparison is written directly to a float buffer, because
multiplying by a bool array converts it in pieces (2 times slower) and ``where=`` or ``copyto`` with
a random mask mispredicts every other branch (10 times slower). Each form was the fastest of those
tried at 256 x 512 elements. NumPy has no erf, so SciPy's is used.

A row without a form here is timed with its formula of `fastnn.program.reference`, which
allocates; write a form for it if the ratio looks too good.

In all of them, x, p, t, g and saved are read, out and losses are written, u and w are
temporaries of the shape of out, and a is the row's parameter.
"""

import math

import numpy as np
from scipy import special

from fastnn.program import reference

BLOCK = 65536  # of an update at a time: five such arrays stay in a 2 MB L2


def sigmoid(x, out):
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


def softplus(x, out, u):
    np.abs(x, out=u)
    np.negative(u, out=u)
    np.exp(u, out=u)
    np.log1p(u, out=u)
    np.maximum(x, 0, out=out)
    np.add(out, u, out=out)


def positive(x, out):
    """1 where x > 0, otherwise 0, as a float."""
    np.greater(x, 0, out=out, casting="unsafe")


def row_max(x, out):
    np.maximum.reduce(x, axis=1, keepdims=True, out=out)


def row_sum(x, out):
    np.add.reduce(x, axis=1, out=out)


# --- activations: f(x, out, u, a) and f(saved, g, out, u, a) -----------------------------------


def linear(x, out, u, a):
    np.copyto(out, x)


def relu(x, out, u, a):
    np.maximum(x, 0, out=out)


def leaky_relu(x, out, u, a):
    np.multiply(x, a, out=out)
    np.maximum(x, out, out=out)


def elu(x, out, u, a):
    np.minimum(x, 0, out=u)
    np.expm1(u, out=u)
    np.multiply(u, a, out=u)
    np.maximum(x, 0, out=out)
    np.add(out, u, out=out)


def gelu(x, out, u, a):
    np.multiply(x, math.sqrt(0.5), out=out)
    special.erf(out, out=out)
    np.add(out, 1, out=out)
    np.multiply(out, x, out=out)
    np.multiply(out, 0.5, out=out)


def silu(x, out, u, a):
    sigmoid(x, out)
    np.multiply(out, x, out=out)


def linear_gradient(saved, g, out, u, a):
    np.copyto(out, g)


def relu_gradient(saved, g, out, u, a):
    positive(saved, u)
    np.multiply(g, u, out=out)


def leaky_relu_gradient(saved, g, out, u, a):
    positive(saved, u)
    np.multiply(u, 1 - a, out=u)
    np.add(u, a, out=u)
    np.multiply(g, u, out=out)


def elu_gradient(saved, g, out, u, a):
    np.minimum(saved, 0, out=u)
    np.exp(u, out=u)
    if a != 1:
        np.multiply(u, a, out=u)
        positive(saved, out)
        np.multiply(out, 1 - a, out=out)
        np.add(u, out, out=u)
    np.multiply(g, u, out=out)


def sigmoid_gradient(saved, g, out, u, a):
    np.subtract(1, saved, out=u)
    np.multiply(u, saved, out=u)
    np.multiply(g, u, out=out)


def tanh_gradient(saved, g, out, u, a):
    np.multiply(saved, saved, out=u)
    np.subtract(1, u, out=u)
    np.multiply(g, u, out=out)


def gelu_gradient(saved, g, out, u, a):
    np.multiply(saved, math.sqrt(0.5), out=u)
    special.erf(u, out=u)
    np.add(u, 1, out=u)
    np.multiply(u, 0.5, out=u)
    np.multiply(saved, saved, out=out)
    np.multiply(out, -0.5, out=out)
    np.exp(out, out=out)
    np.multiply(out, 1 / math.sqrt(2 * math.pi), out=out)
    np.multiply(out, saved, out=out)
    np.add(out, u, out=out)
    np.multiply(out, g, out=out)


def silu_gradient(saved, g, out, u, a):
    sigmoid(saved, u)
    np.subtract(1, u, out=out)
    np.multiply(out, saved, out=out)
    np.add(out, 1, out=out)
    np.multiply(out, u, out=out)
    np.multiply(out, g, out=out)


def softplus_gradient(saved, g, out, u, a):
    sigmoid(saved, out)
    np.multiply(out, g, out=out)


_FORWARD = {
    "linear": linear,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "sigmoid": lambda x, out, u, a: sigmoid(x, out),
    "tanh": lambda x, out, u, a: np.tanh(x, out=out),
    "gelu": gelu,
    "silu": silu,
    "softplus": lambda x, out, u, a: softplus(x, out, u),
}
_GRADIENT = {
    "linear": linear_gradient,
    "relu": relu_gradient,
    "leaky_relu": leaky_relu_gradient,
    "elu": elu_gradient,
    "sigmoid": sigmoid_gradient,
    "tanh": tanh_gradient,
    "gelu": gelu_gradient,
    "silu": silu_gradient,
    "softplus": softplus_gradient,
}


def activation(name):
    """Return the form f(x, out, u, a) of an activation."""
    if name in _FORWARD:
        return _FORWARD[name]
    formula, _ = reference.ACTIVATION_FORMULAS[name]
    return lambda x, out, u, a: np.copyto(out, formula(x, a))


def activation_gradient(name):
    """Return the form f(saved, g, out, u, a) of an activation's gradient."""
    if name in _GRADIENT:
        return _GRADIENT[name]
    _, derivative = reference.ACTIVATION_FORMULAS[name]
    return lambda saved, g, out, u, a: np.multiply(g, derivative(saved, a), out=out)


def math_function(name):
    """Return the form f(x, out, u) of a function of `src_c/vmath.h`."""
    if name == "sigmoid":
        return lambda x, out, u: sigmoid(x, out)
    if name == "softplus":
        return softplus
    ufunc = getattr(np, name, None) or getattr(special, name)
    return lambda x, out, u: ufunc(x, out=out)


# --- rows -------------------------------------------------------------------------------------


def softmax(x, out, row):
    """`row` is a temporary of shape (rows, 1)."""
    row_max(x, row)
    np.subtract(x, row, out=out)
    np.exp(out, out=out)
    row_sum(out, row[:, 0])
    np.reciprocal(row, out=row)
    np.multiply(out, row, out=out)


def softmax_gradient(y, g, out, row):
    np.vecdot(g, y, out=row[:, 0])
    np.subtract(g, row, out=out)
    np.multiply(out, y, out=out)


def log_softmax(x, out, u, row):
    """`u` is a temporary of x's shape, `row` a temporary of shape (rows, 1)."""
    row_max(x, row)
    np.subtract(x, row, out=out)
    np.exp(out, out=u)
    row_sum(u, row[:, 0])
    np.log(row, out=row)
    np.subtract(out, row, out=out)


def log_softmax_gradient(y, g, out, row):
    row_sum(g, row[:, 0])
    np.exp(y, out=out)
    np.multiply(out, row, out=out)
    np.subtract(g, out, out=out)


def softmax_crossentropy(z, labels, losses, grad, row, numbers):
    """Labels are class numbers; `numbers` is arange(rows)."""
    row_max(z, row)
    np.subtract(z, row, out=grad)
    chosen = grad[numbers, labels]
    np.exp(grad, out=grad)
    row_sum(grad, losses)
    np.divide(1 / len(z), losses, out=row[:, 0])
    np.log(losses, out=losses)
    np.subtract(losses, chosen, out=losses)
    np.multiply(grad, row, out=grad)
    grad[numbers, labels] -= 1 / len(z)


def softmax_crossentropy_probabilities(z, t, losses, grad, row, total):
    """The targets are rows of probabilities; `total` has shape (rows, 1), like `row`."""
    row_max(z, row)
    np.subtract(z, row, out=grad)
    chosen = np.vecdot(t, grad)
    row_sum(t, total[:, 0])
    np.exp(grad, out=grad)
    row_sum(grad, losses)
    np.divide(total[:, 0], losses, out=row[:, 0])
    np.log(losses, out=losses)
    np.multiply(losses, total[:, 0], out=losses)
    np.subtract(losses, chosen, out=losses)
    np.multiply(grad, row, out=grad)
    np.subtract(grad, t, out=grad)
    np.multiply(grad, 1 / len(z), out=grad)


# --- losses: f(p, t, losses, grad, u, a) ------------------------------------------------------


def mse(p, t, losses, grad, u, a):
    np.subtract(p, t, out=grad)
    np.vecdot(grad, grad, out=losses)
    np.multiply(losses, 1 / p.shape[1], out=losses)
    np.multiply(grad, 2 / p.size, out=grad)


def mae(p, t, losses, grad, u, a):
    np.subtract(p, t, out=grad)
    np.abs(grad, out=u)
    row_sum(u, losses)
    np.multiply(losses, 1 / p.shape[1], out=losses)
    positive(grad, u)  # np.sign branches on every element: 10 times slower than these three
    np.less(grad, 0, out=grad, casting="unsafe")
    np.subtract(u, grad, out=grad)
    np.multiply(grad, 1 / p.size, out=grad)


def huber(p, t, losses, grad, u, a):
    """With the clipped difference c of d, the loss is c (d - c / 2) everywhere."""
    np.subtract(p, t, out=u)
    np.minimum(u, a, out=grad)
    np.maximum(grad, -a, out=grad)
    np.add(u, u, out=u)
    np.subtract(u, grad, out=u)
    np.vecdot(grad, u, out=losses)
    np.multiply(losses, 0.5 / p.shape[1], out=losses)
    np.multiply(grad, 1 / p.size, out=grad)


def binary_crossentropy(p, t, losses, grad, u, a):
    softplus(p, u, grad)
    row_sum(u, losses)
    np.subtract(losses, np.vecdot(p, t), out=losses)
    np.multiply(losses, 1 / p.shape[1], out=losses)
    sigmoid(p, grad)
    np.subtract(grad, t, out=grad)
    np.multiply(grad, 1 / p.size, out=grad)


_LOSSES = {"mse": mse, "mae": mae, "huber": huber, "binary_crossentropy": binary_crossentropy}


def loss(name):
    """Return the form f(p, t, losses, grad, u, a) of an elementwise loss."""
    if name in _LOSSES:
        return _LOSSES[name]
    value, derivative = reference.LOSS_FORMULAS[name]

    def form(p, t, losses, grad, u, a):
        np.mean(value(p, t, a), axis=1, out=losses)
        np.multiply(derivative(p, t, a), 1 / p.size, out=grad)

    return form


# --- updates: f(p, g, state, u, rate, step, h), on one block ----------------------------------


def sgd(p, g, state, u, rate, step, h):
    np.multiply(g, rate, out=u)
    np.subtract(p, u, out=p)


def momentum(p, g, state, u, rate, step, h):
    (velocity,) = state
    np.multiply(velocity, h["momentum"], out=velocity)
    np.add(velocity, g, out=velocity)
    direction = velocity
    if h["nesterov"]:
        np.multiply(velocity, h["momentum"], out=u)
        direction = np.add(u, g, out=u)
    np.multiply(direction, rate, out=u)
    np.subtract(p, u, out=p)


def adagrad(p, g, state, u, rate, step, h):
    (accumulator,) = state
    np.multiply(g, g, out=u)
    np.add(accumulator, u, out=accumulator)
    np.sqrt(accumulator, out=u)
    np.add(u, h["epsilon"], out=u)
    np.divide(g, u, out=u)
    np.multiply(u, rate, out=u)
    np.subtract(p, u, out=p)


def rmsprop(p, g, state, u, rate, step, h, centered=False):
    square, *rest = state
    rho = h["rho"]
    np.multiply(square, rho, out=square)
    np.multiply(g, 1 - rho, out=u)
    if centered:
        mean = rest.pop(0)
        np.multiply(mean, rho, out=mean)
        np.add(mean, u, out=mean)
    np.multiply(u, g, out=u)
    np.add(square, u, out=square)
    if centered:
        np.multiply(mean, mean, out=u)
        np.subtract(square, u, out=u)
        np.maximum(u, 0, out=u)
        np.sqrt(u, out=u)
    else:
        np.sqrt(square, out=u)
    np.add(u, h["epsilon"], out=u)
    np.divide(g, u, out=u)
    if rest:
        (velocity,) = rest
        np.multiply(velocity, h["momentum"], out=velocity)
        np.add(velocity, u, out=velocity)
        np.multiply(velocity, rate, out=u)
    else:
        np.multiply(u, rate, out=u)
    np.subtract(p, u, out=p)


def rmsprop_centered(p, g, state, u, rate, step, h):
    rmsprop(p, g, state, u, rate, step, h, centered=True)


def adam(p, g, state, u, rate, step, h):
    """With c = sqrt(1 - beta_2^t): m / (sqrt(v) / c + epsilon) = c m / (sqrt(v) + c epsilon)."""
    mean, variance = state
    beta_1, beta_2 = h["beta_1"], h["beta_2"]
    correction = math.sqrt(1 - beta_2**step)
    np.multiply(mean, beta_1, out=mean)
    np.multiply(g, 1 - beta_1, out=u)
    np.add(mean, u, out=mean)
    np.multiply(u, g, out=u)
    np.multiply(u, (1 - beta_2) / (1 - beta_1), out=u)
    np.multiply(variance, beta_2, out=variance)
    np.add(variance, u, out=variance)
    np.sqrt(variance, out=u)
    np.add(u, correction * h["epsilon"], out=u)
    np.divide(mean, u, out=u)
    np.multiply(u, rate * correction / (1 - beta_1**step), out=u)
    np.subtract(p, u, out=p)


def adamw(p, g, state, u, rate, step, h):
    np.multiply(p, 1 - rate * h["decoupled_weight_decay"], out=p)
    adam(p, g, state, u, rate, step, h)


_UPDATES = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "rmsprop_momentum": rmsprop,
    "rmsprop_centered": rmsprop_centered,
    "rmsprop_centered_momentum": rmsprop_centered,
    "adam": adam,
    "adamw": adamw,
}


class Update:
    """An optimizer over flat arrays, block by block, so that the temporary stays in the cache.

    Parameters
    ----------
    name : str
        A row of `src_c/optimizers.h`.
    p, g : ndarray, shape (count,)
        Parameters, changed in place, and gradients.
    state : ndarray, shape (slots, count)
    hyper_parameters : dict of str to float
    """

    def __init__(self, name, p, g, state, hyper_parameters):
        self.form = _UPDATES.get(name, self._from_formula(name))
        self.hyper_parameters = hyper_parameters
        u = np.empty(min(BLOCK, len(p)), p.dtype)
        self.blocks = [
            (p[i:end], g[i:end], state[:, i:end], u[: end - i])
            for i in range(0, len(p), BLOCK)
            for end in [min(i + BLOCK, len(p))]
        ]

    @staticmethod
    def _from_formula(name):
        formula = reference.OPTIMIZER_FORMULAS[name]
        return lambda p, g, state, u, rate, step, h: np.copyto(
            p, formula(p, g, state, rate, step, h)
        )

    def __call__(self, rate, step):
        for p, g, state, u in self.blocks:
            self.form(p, g, state, u, rate, step, self.hyper_parameters)
