"""Formulas of the layers that normalize, look up rows of a table, or have slopes.

The conventions are those of `executor.py`: plain NumPy, one formula for each op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.program.ops import Op

Array = np.ndarray


def prelu(x: Array, slope: Array, value: Array) -> Array:
    """`value` where x is above 0, else slope times it; value is x, or the gradient."""
    return np.where(x > 0, value, slope * value)


def prelu_slope_gradient(x: Array, grad_output: Array, shared: bool) -> Array:
    """Return min(x, 0) times the gradient, summed over the rows, or over everything."""
    product = np.where(x > 0, 0, x) * grad_output
    return product.sum().reshape(1) if shared else product.sum(axis=0)


def periodic_embedding(
    x: Array, frequency: Array, phase: Array, kernel: Array, bias: Array
) -> Array:
    """Return the cosines of waves times each column's kernel, shape (rows, columns * units)."""
    waves = np.cos(turns(x, frequency, phase))
    return (np.einsum("rcw,cwu->rcu", waves, kernel) + bias).reshape(len(x), bias.size)


def turns(x: Array, frequency: Array, phase: Array) -> Array:
    """Return the angle of each wave at each number, shape (rows, columns, waves)."""
    return 2 * np.pi * (frequency * x[:, :, np.newaxis] + phase)


def periodic_embedding_gradient(
    x: Array, frequency: Array, phase: Array, kernel: Array, grad: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients with respect to frequency, phase, kernel, and x."""
    angle, by_unit = turns(x, frequency, phase), grad.reshape(*x.shape, kernel.shape[-1])
    by_turns = -2 * np.pi * np.sin(angle) * np.einsum("rcu,cwu->rcw", by_unit, kernel)
    return (
        np.einsum("rcw,rc->cw", by_turns, x),
        by_turns.sum(axis=0),
        np.einsum("rcw,rcu->cwu", np.cos(angle), by_unit),
        np.einsum("rcw,cw->rc", by_turns, frequency),
    )


def bin_shares(x: Array, edges: Array) -> Array:
    """Return the share of each bin that each number has passed, shape (rows, columns, bins).

    It lies between 0 and 1; but the first bin goes on below, and the last one above. A bin without
    width is passed at its edge.
    """
    low, width, number = edges[:, :-1], np.diff(edges), x[:, :, np.newaxis]
    passed = np.where(np.isnan(number), number, number >= low)
    share = np.where(width > 0, (number - low) / np.where(width > 0, width, 1), passed)
    share[:, :, 1:] = np.maximum(share[:, :, 1:], 0)
    share[:, :, :-1] = np.minimum(share[:, :, :-1], 1)
    return share


def bin_slopes(x: Array, edges: Array) -> Array:
    """Return the derivative of `bin_shares`; at an edge, that of the bin above."""
    width, number = np.diff(edges), x[:, :, np.newaxis]
    above, below = number >= edges[:, :-1], number < edges[:, 1:]
    above[:, :, 0], below[:, :, -1] = True, True
    slopes = np.where(above & below & (width > 0), 1 / np.where(width > 0, width, 1), 0)
    return np.where(np.isnan(number), number, slopes)


def of_bins(parts: Array, others: Array) -> Array:
    """Return parts[..., bin] * others[..., bin, unit]: 0, not NaN, where there is no part."""
    each = parts[..., np.newaxis]
    return np.where(each == 0, 0, each * others)


def piecewise_embedding(x: Array, edges: Array, kernel: Array, bias: Array) -> Array:
    """Return the shares of bins times each column's kernel, shape (rows, columns * units)."""
    return (of_bins(bin_shares(x, edges), kernel).sum(axis=2) + bias).reshape(len(x), bias.size)


def piecewise_embedding_gradient(x: Array, edges: Array, grad: Array) -> Array:
    """Return the gradient with respect to the kernel, shape (columns, bins, units)."""
    units = grad.shape[1] // max(x.shape[1], 1)
    return of_bins(bin_shares(x, edges), grad.reshape(*x.shape, 1, units)).sum(axis=0)


def piecewise_embedding_input_gradient(x: Array, edges: Array, kernel: Array, grad: Array) -> Array:
    """Return the gradient with respect to x."""
    by_unit = grad.reshape(*x.shape, 1, kernel.shape[-1])
    return of_bins(bin_slopes(x, edges), kernel * by_unit).sum(axis=(2, 3))


def row_statistics(x: Array, epsilon: float) -> Array:
    """Return the mean and 1 / sqrt(variance + epsilon) of each row, shape (rows, 2)."""
    return np.stack([x.mean(axis=1), 1 / np.sqrt(x.var(axis=1) + epsilon)], axis=1)


def _normal(x: Array, statistics: Array) -> Array:
    return (x - statistics[:, :1]) * statistics[:, 1:]


def layer_normalization(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> tuple[Array, Array]:
    """Normalize rows to mean 0 and variance 1, scale and shift (Ba et al. 2016)."""
    statistics = row_statistics(x, epsilon)
    normal = _normal(x, statistics)
    return normal * (1 if gamma is None else gamma) + (0 if beta is None else beta), statistics


def layer_normalization_gradient(
    x: Array, statistics: Array, grad_output: Array, gamma: Array | None
) -> Array:
    """Return the gradient with respect to x."""
    g, normal = grad_output * (1 if gamma is None else gamma), _normal(x, statistics)
    by_mean = g.mean(axis=1, keepdims=True)
    by_scale = (g * normal).mean(axis=1, keepdims=True)
    return (g - by_mean - normal * by_scale) * statistics[:, 1:]


def layer_normalization_scale_gradient(x: Array, statistics: Array, grad_output: Array) -> Array:
    """Return the gradient with respect to gamma."""
    return (grad_output * _normal(x, statistics)).sum(axis=0)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the biased variance of each column."""
    rows = max(len(x), 1)
    mean = x.sum(axis=0) / rows
    return mean, ((x - mean) ** 2).sum(axis=0) / rows


def batch_normalization(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
) -> Array:
    """Normalize columns to mean 0 and variance 1, scale and shift (Ioffe & Szegedy 2015)."""
    scale = (1 if gamma is None else gamma) / np.sqrt(variance + epsilon)
    return (x - mean) * scale + (0 if beta is None else beta)


def batch_normalization_gradient(
    x: Array,
    gamma: Array | None,
    mean: Array,
    variance: Array,
    grad: Array,
    *,
    of_batch: bool,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """Return the gradients with respect to x, gamma and beta."""
    scale = 1 / np.sqrt(variance + epsilon)
    normal = (x - mean) * scale
    by_gamma, by_beta = (grad * normal).sum(axis=0), grad.sum(axis=0)
    g = grad
    if of_batch:
        rows = max(len(x), 1)
        g = g - by_beta / rows - normal * (by_gamma / rows)
    return g * (scale * (1 if gamma is None else gamma)), by_gamma, by_beta


def embedding(x: Array, table: Array) -> Array:
    """Return the table's rows for the categories x, shape (rows, columns, depth)."""
    return table[x.astype(np.int64)]


def embedding_gradient(x: Array, grad: Array, categories: int) -> Array:
    """Return, for each category, the sum of its gradients; grad (rows, columns * depth)."""
    flat = x.astype(np.int64).ravel()
    total = np.zeros((categories, grad.size // max(flat.size, 1)), grad.dtype)
    np.add.at(total, flat, grad.reshape(flat.size, total.shape[1]))
    return total


def encode_categories(x: Array, tokens: int, categories: int, mode: str) -> Array:
    """Return ones at the categories of each row, or counts; those from `tokens` on are left out.

    The shape is (rows, tokens), or (rows, columns * tokens) for "one_hot".
    """
    one_hot = (x[:, :, np.newaxis] == np.arange(tokens)).astype(x.dtype)
    if mode == "one_hot":
        return one_hot.reshape(len(x), x.shape[1] * tokens)
    return one_hot.sum(axis=1) if mode == "count" else one_hot.any(axis=1).astype(x.dtype)


def standardize(x: Array, mean: Array | None, scale: Array, invert: bool) -> Array:
    """Return (x - mean) / scale, or x * scale + mean; both are repeated along each row."""
    parts = x.reshape(-1, scale.size)
    shift = 0 if mean is None else mean
    made = parts * scale + shift if invert else (parts - shift) / scale
    return made.reshape(x.shape)


def _columns(op: Op, x: Array) -> Array:
    first = op.attributes["first"]
    return x.reshape(len(x), -1)[:, first : first + op.attributes["columns"]]


def _layer_normalization(op: Op, context: Any, x: Array, gamma: Any, beta: Any) -> tuple:
    return layer_normalization(x, gamma, beta, op.attributes["epsilon"])


def _batch_normalization(op: Op, context: Any, x: Array, gamma: Any, beta: Any) -> tuple:
    mean, variance = batch_statistics(x)
    y = batch_normalization(x, gamma, beta, mean, variance, op.attributes["epsilon"])
    return y, mean, variance


# name: as in reference.FORMULAS
LAYER_FORMULAS: dict[str, Callable[..., Any]] = {
    "prelu": lambda op, c, x, slope: prelu(x, slope, x),
    "prelu_gradient": lambda op, c, x, slope, grad: prelu(x, slope, grad),
    "prelu_slope_gradient": lambda op, c, x, grad: prelu_slope_gradient(
        x, grad, op.output.width == 1
    ).reshape(op.output.shape),
    "layer_normalization": _layer_normalization,
    "layer_normalization_gradient": lambda op, c, x, statistics, gamma, grad: (
        layer_normalization_gradient(x, statistics, grad, gamma)
    ),
    "layer_normalization_scale_gradient": lambda op, c, x, statistics, grad: (
        layer_normalization_scale_gradient(x, statistics, grad)
    ),
    "batch_normalization": _batch_normalization,
    "fixed_normalization": lambda op, c, x, gamma, beta, mean, variance: batch_normalization(
        x, gamma, beta, mean, variance, op.attributes["epsilon"]
    ),
    "batch_normalization_gradient": lambda op, c, *values: batch_normalization_gradient(
        *values, of_batch=op.attributes["of_batch"], epsilon=op.attributes["epsilon"]
    ),
    "periodic_embedding": lambda op, c, x, *parameters: periodic_embedding(x, *parameters),
    "periodic_embedding_gradient": lambda op, c, *values: periodic_embedding_gradient(*values)[:3],
    "periodic_embedding_input_gradient": lambda op, c, *values: periodic_embedding_gradient(
        *values
    )[3],
    "piecewise_embedding": lambda op, c, *values: piecewise_embedding(*values),
    "piecewise_embedding_gradient": lambda op, c, *values: piecewise_embedding_gradient(*values),
    "piecewise_embedding_input_gradient": lambda op, c, *values: piecewise_embedding_input_gradient(
        *values
    ),
    "embedding": lambda op, c, x, table: embedding(_columns(op, x), table).reshape(
        -1, *op.output.shape
    ),
    "embedding_gradient": lambda op, c, x, grad: embedding_gradient(
        _columns(op, x), grad, op.output.shape[0]
    ),
    "encode_categories": lambda op, c, x: encode_categories(
        x.reshape(len(x), -1), **op.attributes
    ).reshape(-1, *op.output.shape),
    "standardize": lambda op, c, x, mean, scale: standardize(
        x, mean, scale, op.attributes["invert"]
    ),
    "rescale": lambda op, c, x: x * op.attributes["factor"] + op.attributes["offset"],
}
