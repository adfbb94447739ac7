"""One row for each entry of `fastnn.native.kernels` and each row of the C tables.

A case says how arguments of a size are made, how the kernel is called, and what is expected of
it, from the reference formulas in float64. The rows of activations, losses, optimizers and vmath
functions are enumerated: one that is added to C is covered at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from fastnn.native import kernels
from fastnn.program import reference
from fastnn.program.reference import layers

Arrays = dict[str, Any]

# (rows, width): none, one, primes, both sides of one vector and of four, several shares of a
# worker, also for narrow rows
SIZES = [
    (0, 3), (1, 1), (2, 3), (3, 7), (5, 15), (4, 16), (3, 17), (2, 31), (2, 63), (3, 64), (2, 65),
    (17, 5), (7, 257), (1, 1031), (131, 33), (37, 8), (35, 32),
]  # fmt: skip

# name: exact enough in float64 for a float32 result
MATH = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "erf": special.erf,
    "softplus": partial(np.logaddexp, 0),
}
HYPER_PARAMETERS = {
    "momentum": 0.9,
    "nesterov": 1.0,
    "rho": 0.9,
    "epsilon": 1e-7,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "decoupled_weight_decay": 0.01,
}


@dataclass(frozen=True)
class Case:
    """A kernel with one of its variants.

    `make(rng, dtype, rows, width)` returns its arrays by argument name,
    `call(**arrays, workers=...)` runs it, `expected(**arrays)` returns the expected result.
    """

    kernel: str
    make: Callable[..., Arrays]
    call: Callable[..., Any]
    expected: Callable[..., Any]
    has_out: bool = True
    optional: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()  # arguments that hold whole or ascending numbers, and no NaN
    least_width: int = 0


def hyper_parameters(name: str) -> list[float]:
    """Hyper-parameters for an optimizer's row, in the row's order."""
    return [
        HYPER_PARAMETERS.get(part, 0.1) for part in kernels.OPTIMIZERS[name][1].split(",") if part
    ]


def _normal(*shapes: tuple[str, Callable[[int, int], tuple[int, ...]]]) -> Callable[..., Arrays]:
    """Make arrays of these names and shapes; a kernel is as small as an initializer makes it."""

    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        scales = {"kernel": 1 / max(width, 1) ** 0.5, "x": 1.5, "saved": 1.5, "frequency": 0.1}
        return {
            name: (scales.get(name, 1) * rng.standard_normal(shape(rows, width))).astype(dtype)
            for name, shape in shapes
        }

    return make


def _whole(rows: int, width: int) -> tuple[int, int]:
    return rows, width


def _units(width: int) -> int:
    return max(1, 2 * width // 3)


def _probabilities(rng: np.random.Generator, dtype: str, shape: tuple[int, int]) -> np.ndarray:
    p = rng.random(shape)
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def _with_target(name: str, kind: str) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        scores = _normal((name, _whole))(rng, dtype, rows, width)
        if kind == "labels":
            return {**scores, "target": rng.integers(0, width, rows).astype(np.int32)}
        return {**scores, "target": _probabilities(rng, dtype, (rows, width))}

    return make


def _derivative(name: str, saved: np.ndarray, grad: np.ndarray) -> np.ndarray:
    return grad * reference.ACTIVATION_FORMULAS[name][1](saved, kernels.ACTIVATIONS[name][2])


def _activation(name: str, x: np.ndarray) -> np.ndarray:
    return reference.ACTIVATION_FORMULAS[name][0](x, kernels.ACTIVATIONS[name][2])


def _loss(name: str, prediction: np.ndarray, target: np.ndarray) -> tuple:
    value, gradient = reference.LOSS_FORMULAS[name]
    number = kernels.LOSSES[name][2]
    width = prediction.shape[1]
    losses = value(prediction, target, number).sum(axis=1) / width
    return losses, gradient(prediction, target, number) / max(prediction.size, 1)


def _crossentropy(logits: np.ndarray, target: np.ndarray, smoothing: float = 0.0) -> tuple:
    shifted = logits - logits.max(axis=1, keepdims=True)
    softmax = np.exp(shifted)
    log_sum = np.log(softmax.sum(axis=1))
    softmax /= softmax.sum(axis=1, keepdims=True)
    rows = np.arange(len(logits))
    if target.dtype == np.int32:
        target = np.eye(logits.shape[1])[target]
    if smoothing:
        target = (1 - smoothing) * target + smoothing / logits.shape[1]
    total = target.sum(axis=1)
    losses = log_sum * total - np.where(target == 0, 0, target * shifted).sum(axis=1)
    return losses, (softmax * total[:, None] - target) / max(len(rows), 1)


def _divergence(logits: np.ndarray, target: np.ndarray) -> tuple:
    losses, gradient = _crossentropy(logits, target)
    return losses + special.xlogy(target, target).sum(axis=1), gradient


def _categorical_accuracy(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    labels = target if target.dtype == np.int32 else target.argmax(axis=1)
    return scores.argmax(axis=1) == labels


def _top_three(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    labels = target if target.dtype == np.int32 else target.argmax(axis=1)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    hits = (ranked == labels[:, None]).any(axis=1)
    nan = np.isnan(scores)  # NaN comes first, in any position
    own = np.isnan(scores[np.arange(len(labels)), labels])
    before = (~(scores <= scores[np.arange(len(labels)), labels][:, None])).sum(axis=1)
    return np.where(nan.any(axis=1), np.where(own, scores.shape[1] < 3, before < 3), hits)


def _update_arrays(name: str) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        count, slots = rows * width, int(kernels.OPTIMIZERS[name][2])
        return {
            "parameters": rng.standard_normal(count).astype(dtype),
            "gradients": (0.3 * rng.standard_normal(count)).astype(dtype),
            "state": rng.uniform(0.3, 0.4, (slots, count)).astype(dtype),
        }

    return make


def _is_plain(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.flags.c_contiguous and array.flags.aligned


def _call_update(name: str, parameters: Any, gradients: Any, state: Any, **options: Any) -> tuple:
    """`update` on copies, except of the arrays that it must refuse anyway."""
    p, s = (array.copy() if _is_plain(array) else array for array in (parameters, state))
    kernels.update(
        name, p, gradients, s, learning_rate=0.1, step=3, weight_decay=0.02,
        hyper_parameters=hyper_parameters(name), **options,
    )  # fmt: skip
    return p, s


def _expected_update(name: str, parameters: np.ndarray, gradients: np.ndarray, state: Any) -> tuple:
    state = state.copy()
    p = reference.update(
        name, parameters, gradients, state, rate=0.1, step=3, weight_decay=0.02,
        hyper_parameters=hyper_parameters(name),
    )  # fmt: skip
    return p, state


def _kernel_gradient_update_arrays(name: str) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        units, slots = _units(width), int(kernels.OPTIMIZERS[name][2])
        return {
            "x": (0.3 * rng.standard_normal((rows, width))).astype(dtype),
            "grad_output": (0.3 * rng.standard_normal((rows, units))).astype(dtype),
            "kernel": rng.standard_normal((width, units)).astype(dtype),
            "bias": rng.standard_normal(units).astype(dtype),
            "state": rng.uniform(0.3, 0.4, (slots, width * units + units)).astype(dtype),
        }

    return make


def _call_kernel_gradient_with_bias(x: Any, grad_output: Any, **options: Any) -> tuple:
    width = grad_output.shape[-1] if isinstance(grad_output, np.ndarray) and grad_output.ndim else 0
    bias = np.empty(width, x.dtype if isinstance(x, np.ndarray) else "float64")
    return kernels.kernel_gradient(x, grad_output, bias_out=bias, **options), bias


def _call_add_gradient_half(kernel: Any, bias: Any, second: Any, **options: Any) -> tuple:
    k, b = (array.copy() if _is_plain(array) else array for array in (kernel, bias))
    kernels.add_gradient_half(k, b, second, 128, **options)
    return k, b


def _call_kernel_gradient_update(
    name: str, x: Any, grad_output: Any, kernel: Any, bias: Any, state: Any, **options: Any
) -> tuple:
    arrays = kernel, bias, state
    k, b, s = (array.copy() if _is_plain(array) else array for array in arrays)
    kernels.kernel_gradient_update(
        name, x, grad_output, k, b, s, learning_rate=0.1, step=3, weight_decay=0.02,
        hyper_parameters=hyper_parameters(name), **options,
    )  # fmt: skip
    return k, b, s


def _expected_kernel_gradient_update(
    name: str, x: Any, grad_output: Any, kernel: Any, bias: Any, state: Any
) -> tuple:
    by_kernel, by_bias = x.T @ grad_output, grad_output.sum(axis=0)
    parameters = np.concatenate([kernel.ravel(), bias])
    gradients = np.concatenate([by_kernel.ravel(), by_bias])
    new, state = _expected_update(name, parameters, gradients, state)
    return new[: kernel.size].reshape(kernel.shape), new[kernel.size :], state


def _sparse(with_what: Callable[..., Arrays]) -> Callable[..., Arrays]:
    """Make a sparse matrix (CSR) of `width` columns, an order of its rows, and other arrays."""

    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        width = min(width, 130)  # greater widths would only be slower
        is_there = rng.random((rows, width)) < 0.4
        if width:
            is_there[:, -1] = True  # so that the columns determine the width
        values = rng.standard_normal(int(is_there.sum())).astype(dtype)
        columns = np.nonzero(is_there)[1].astype(np.int32)
        indptr = np.concatenate([[0], is_there.sum(axis=1).cumsum()])
        order = rng.integers(0, max(rows, 1), rows)
        others = with_what(rng, dtype, rows, width)
        return {"values": values, "columns": columns, "indptr": indptr, "order": order, **others}

    return make


def _inputs(columns: Any) -> int:
    is_filled = isinstance(columns, np.ndarray) and columns.size > 0
    return int(np.real(columns).max()) + 1 if is_filled else 0


def _call_sparse(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that receives the number of columns."""
    return lambda columns, **rest: kernel(columns=columns, inputs=_inputs(columns), **rest)


def _entries(values: np.ndarray, columns: np.ndarray, indptr: np.ndarray, order: Any) -> tuple:
    """Row of the batch, column and value of each entry of a batch."""
    order = np.arange(len(indptr) - 1) if order is None else order
    taken = [np.arange(indptr[number], indptr[number + 1]) for number in order]
    e = np.concatenate([np.zeros(0, int), *taken])
    rows = np.repeat(np.arange(len(order)), [len(entries) for entries in taken])
    return rows, columns[e], values[e]


def _sparse_product(
    values: np.ndarray, columns: np.ndarray, indptr: np.ndarray, order: Any, kernel: np.ndarray
) -> np.ndarray:
    """x @ kernel; entries that are not stored are skipped, even where the kernel holds NaN."""
    row, column, value = _entries(values, columns, indptr, order)
    y = np.zeros((len(indptr) - 1 if order is None else len(order), kernel.shape[1]))
    np.add.at(y, row, value[:, None] * kernel[column])
    return y


def _sparse_gradient(
    values: np.ndarray, columns: np.ndarray, indptr: np.ndarray, order: Any, grad: np.ndarray,
    inputs: int,
) -> np.ndarray:  # fmt: skip
    row, column, value = _entries(values, columns, indptr, order)
    by_kernel = np.zeros((inputs, grad.shape[1]))
    np.add.at(by_kernel, column, value[:, None] * grad[row])
    return by_kernel


def _sparse_rows(
    values: np.ndarray, columns: np.ndarray, indptr: np.ndarray, order: Any
) -> np.ndarray:
    row, column, value = _entries(values, columns, indptr, order)
    y = np.zeros((len(indptr) - 1 if order is None else len(order), _inputs(columns)))
    y[row, column] = value
    return y


def _call_sparse_gradient_with_bias(columns: Any, grad_output: Any, **rest: Any) -> tuple:
    width = grad_output.shape[-1] if isinstance(grad_output, np.ndarray) and grad_output.ndim else 0
    values = rest["values"]
    bias = np.empty(width, values.dtype if isinstance(values, np.ndarray) else "float64")
    call = _call_sparse(kernels.sparse_kernel_gradient)
    return call(columns=columns, grad_output=grad_output, bias_out=bias, **rest), bias


def _call_sparse_update(
    name: str, kernel: Any, bias: Any, state: Any, **rest: Any
) -> tuple:  # fmt: skip
    k, b, s = (array.copy() if _is_plain(array) else array for array in (kernel, bias, state))
    kernels.sparse_kernel_gradient_update(
        name, kernel=k, bias=b, state=s, learning_rate=0.1, step=3, weight_decay=0.02,
        hyper_parameters=hyper_parameters(name), **rest,
    )  # fmt: skip
    return k, b, s


def _expected_sparse_update(
    name: str, values: Any, columns: Any, indptr: Any, order: Any, grad_output: Any, kernel: Any,
    bias: Any, state: Any,
) -> tuple:  # fmt: skip
    by_kernel = _sparse_gradient(values, columns, indptr, order, grad_output, len(kernel))
    gradients = np.concatenate([by_kernel.ravel(), grad_output.sum(axis=0)])
    parameters = np.concatenate([kernel.ravel(), bias])
    new, state = _expected_update(name, parameters, gradients, state)
    return new[: kernel.size].reshape(kernel.shape), new[kernel.size :], state


def _sparse_update_arrays(name: str) -> Callable[..., Arrays]:
    def others(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        made = _kernel_gradient_update_arrays(name)(rng, dtype, rows, width)
        del made["x"]
        return made

    return _sparse(others)


def _parts(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
    widths = {"a": width, "b": 1, "c": 2 * width + 1}
    return {name: rng.standard_normal((rows, w)).astype(dtype) for name, w in widths.items()}


def _call_slice(x: Any, **options: Any) -> np.ndarray:
    width = x.shape[-1] if isinstance(x, np.ndarray) and x.ndim else 0
    return kernels.slice_columns(x, width // 3, width // 2, **options)


def _gather_arrays(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
    source = (100 * rng.standard_normal((rows + 3, width))).astype(np.float64)
    return {"source": source, "order": rng.integers(0, rows + 3, rows)}


def _squared_norm(gradients: np.ndarray) -> np.ndarray:
    starts = range(0, len(gradients), kernels.NORM_CHUNK)
    return np.array([(gradients[i : i + kernels.NORM_CHUNK] ** 2).sum() for i in starts])


def _mean(x: np.ndarray) -> float:
    return x.sum() / np.float64(len(x))


def _call_moving_average(average: Any, value: Any, **options: Any) -> Any:
    average = average.copy() if _is_plain(average) else average
    kernels.moving_average(average, value, momentum=0.9, **options)
    return average


def _call_penalty(parameter: Any, gradient: Any, **options: Any) -> tuple:
    gradient = gradient.copy() if _is_plain(gradient) else gradient
    sums = kernels.penalty(parameter, gradient, l1=0.1, l2=0.2, **options)
    return sums if gradient is None else (sums, gradient)


def _expected_penalty(parameter: np.ndarray, gradient: np.ndarray | None) -> tuple:
    each = 0.1 * np.abs(parameter) + 0.2 * parameter**2
    starts = range(0, len(each), kernels.NORM_CHUNK)
    sums = np.array([each[i : i + kernels.NORM_CHUNK].sum() for i in starts])
    if gradient is None:
        return sums, None
    return sums, gradient + 0.1 * np.sign(parameter) + 0.4 * parameter


def _call_stream(x: Any, y: Any, **options: Any) -> Any:
    y = y.copy() if _is_plain(y) else y
    kernels.stream(x, y, times=3, factor=0.8, **options)
    return y


def _repeated(v: np.ndarray, factor: float, addend: Any) -> np.ndarray:
    for _ in range(3):
        v = v * factor + addend
    return v


def _column_vectors(*names: str) -> list[tuple[str, Callable[[int, int], tuple[int, ...]]]]:
    return [(name, lambda rows, width: (width,)) for name in names]


def _with_row_statistics(*names: str) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        vectors = _column_vectors(*(name for name in names if name == "gamma"))
        arrays = _normal(("x", _whole), ("grad_output", _whole), *vectors)(rng, dtype, rows, width)
        with np.errstate(invalid="ignore", divide="ignore"):
            statistics = np.stack(
                [arrays["x"].sum(axis=1) / max(width, 1), 1 + rng.random(rows)], axis=1
            )
        return {**arrays, "statistics": statistics.astype(dtype)}

    return make


def _with_column_statistics(*names: str, grad: bool = False) -> Callable[..., Arrays]:
    shapes = [("x", _whole), *([("grad_output", _whole)] * grad), *_column_vectors(*names)]

    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        arrays = _normal(*shapes)(rng, dtype, rows, width)
        mean, variance = rng.standard_normal(width), 0.2 + rng.random(width)
        return {**arrays, "mean": mean.astype(dtype), "variance": variance.astype(dtype)}

    return make


CATEGORIES, DEPTH = 7, 5


def _categories(other: str) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        shape = (CATEGORIES, width + 2) if other == "table" else (rows, DEPTH * width)
        return {
            "x": rng.integers(0, CATEGORIES, (rows, width)).astype(dtype),
            other: rng.standard_normal(shape).astype(dtype),
        }

    return make


def _embedding(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    return layers.embedding(x, table).reshape(len(x), x.shape[1] * table.shape[1])


def _embedding_gradient(x: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
    depth = grad_output.shape[1] // max(x.shape[1], 1)
    total = np.zeros((CATEGORIES, depth))
    for row, column in np.ndindex(x.shape):
        total[int(x[row, column])] += grad_output[row, column * depth :][:depth]
    return total


MEMBERS = 3


def _of_members(of_row: int) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        return {
            "x": rng.standard_normal((rows, of_row * width)).astype(dtype),
            "member": rng.integers(0, MEMBERS, (rows, 1)).astype(dtype),
        }

    return make


def _own_columns(x: np.ndarray, member: np.ndarray) -> np.ndarray:
    width = x.shape[1] // MEMBERS
    y = np.empty((len(x), width), x.dtype)
    for row, number in enumerate(member[:, 0].astype(int)):
        y[row] = x[row, number * width :][:width]
    return y


def _into_own_columns(x: np.ndarray, member: np.ndarray) -> np.ndarray:
    width = x.shape[1]
    y = np.zeros((len(x), MEMBERS * width), x.dtype)
    for row, number in enumerate(member[:, 0].astype(int)):
        y[row, number * width :][:width] = x[row]
    return y


def _columns(width: int) -> int:
    return width


def _one(width: int) -> int:
    return 1


def _part(width: int) -> int:
    """A proper divisor where there is one: columns that are repeated along a row."""
    return next((n for n in range(width // 2, 0, -1) if width % n == 0), width)


def _with_mean_and_scale(features: Callable[[int], int]) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        count = features(width)
        return {
            "x": rng.standard_normal((rows, width)).astype(dtype),
            "mean": rng.standard_normal(count).astype(dtype),
            "scale": (0.5 + rng.random(count)).astype(dtype),
        }

    return make


WAVES, UNITS, BINS = 3, 4, 5


def _of_columns(*names: str) -> Callable[..., Arrays]:
    """Arrays of the embeddings of numbers, by name."""
    return _normal(*((name, {
        "x": _whole,
        "frequency": lambda r, w: (w, WAVES),
        "phase": lambda r, w: (w, WAVES),
        "kernel": lambda r, w: (w * WAVES, UNITS),
        "bias": lambda r, w: (w, UNITS),
        "grad_output": lambda r, w: (r, w * UNITS),
    }[name]) for name in names))  # fmt: skip


def _periodic(frequency: np.ndarray, kernel: np.ndarray, **arrays: Any) -> Any:
    kernel = kernel.reshape(*frequency.shape, UNITS)
    return layers.periodic_embedding(frequency=frequency, kernel=kernel, **arrays)


def _periodic_gradient(
    x: Any, frequency: np.ndarray, phase: Any, kernel: np.ndarray, grad_output: Any
) -> tuple:
    parts = kernel.reshape(*frequency.shape, UNITS)
    by_frequency, by_phase, by_kernel, by_x = layers.periodic_embedding_gradient(
        x, frequency, phase, parts, grad_output
    )
    return by_frequency, by_phase, by_kernel.reshape(kernel.shape), by_x


def _with_edges(*names: str) -> Callable[..., Arrays]:
    """Numbers below, above, within and at the edges of bins, some of which have no width."""

    def make(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Arrays:
        edges = np.sort(rng.uniform(-2, 2, (width, BINS + 1))).astype(dtype)
        edges[1::3, 2] = edges[1::3, 3]
        edges[2::3, -3:] = edges[2::3, -3:-2]
        x = 2 * rng.standard_normal((rows, width)).astype(dtype)
        at_edge = rng.random(x.shape) < 0.2
        column, number = np.nonzero(at_edge)[1], rng.integers(0, BINS + 1, at_edge.sum())
        x[at_edge] = edges[column, number]
        shapes = {
            "kernel": (width * BINS, UNITS), "bias": (width, UNITS),
            "grad_output": (rows, width * UNITS),
        }  # fmt: skip
        others = {name: rng.standard_normal(shapes[name]).astype(dtype) for name in names}
        return {"x": x, "edges": edges, **others}

    return make


def _piecewise(x: np.ndarray, edges: Any, kernel: np.ndarray, bias: Any) -> Any:
    return layers.piecewise_embedding(x, edges, kernel.reshape(-1, BINS, UNITS), bias)


def _piecewise_gradient(x: np.ndarray, edges: Any, grad_output: Any) -> Any:
    return layers.piecewise_embedding_gradient(x, edges, grad_output).reshape(-1, UNITS)


def _piecewise_input_gradient(x: Any, edges: Any, kernel: np.ndarray, grad_output: Any) -> Any:
    parts = kernel.reshape(-1, BINS, UNITS)
    return layers.piecewise_embedding_input_gradient(x, edges, parts, grad_output)


def _blended(name: str, x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return x + alpha * (_activation(name, x) - x)


def _blended_gradient(name: str, x: np.ndarray, alpha: np.ndarray, grad_output: Any) -> tuple:
    f = _activation(name, x)
    saved = f if kernels.ACTIVATIONS[name][0] == "output" else x
    slope = _derivative(name, saved, np.ones_like(x))
    return grad_output * (1 + alpha * (slope - 1)), (grad_output * (f - x)).sum(axis=0)


def _standardized(x: np.ndarray, scale: np.ndarray, mean: Any = None, *, invert: bool) -> Any:
    return layers.standardize(x, mean, scale, invert)


def _columns_normalized(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> tuple:
    mean, variance = layers.batch_statistics(x)
    y = layers.batch_normalization(x, gamma, beta, mean, variance, 1e-3)
    return y, mean, variance


CASES: dict[str, Case] = {
    "kernel_gradient": Case(
        "kernel_gradient",
        _normal(("x", _whole), ("grad_output", lambda r, w: (r, _units(w)))),
        kernels.kernel_gradient,
        lambda x, grad_output: x.T @ grad_output,
    ),
    "kernel_gradient-bias": Case(
        "kernel_gradient",
        _normal(("x", _whole), ("grad_output", lambda r, w: (r, _units(w)))),
        _call_kernel_gradient_with_bias,
        lambda x, grad_output: (x.T @ grad_output, grad_output.sum(axis=0)), has_out=False,
    ),
    "affine_halves": Case(
        "affine_halves", _normal(("x", _whole), ("kernel", lambda r, w: (w, _units(w)))),
        kernels.affine_halves, reference.affine_halves,
    ),
    "kernel_gradient_halves": Case(
        "kernel_gradient_halves",
        _normal(("x", _whole), ("grad_output", lambda r, w: (r, _units(w)))),
        kernels.kernel_gradient_halves, reference.kernel_gradient_halves, has_out=False,
    ),
    "add_gradient_half": Case(
        "add_gradient_half",
        _normal(("kernel", _whole), ("bias", lambda r, w: (w,)),
                ("second", lambda r, w: (r * w + w,))),
        _call_add_gradient_half,
        lambda kernel, bias, second: (kernel + second[: kernel.size].reshape(kernel.shape),
                                      bias + second[kernel.size :]),
        has_out=False,
    ),
    "sparse_kernel_gradient": Case(
        "sparse_kernel_gradient",
        _sparse(_normal(("grad_output", lambda r, w: (r, _units(w))))),
        _call_sparse(kernels.sparse_kernel_gradient),
        lambda values, columns, indptr, order, grad_output: _sparse_gradient(
            values, columns, indptr, order, grad_output, _inputs(columns)),
        optional=("order",),
    ),
    "sparse_kernel_gradient-bias": Case(
        "sparse_kernel_gradient",
        _sparse(_normal(("grad_output", lambda r, w: (r, _units(w))))),
        _call_sparse_gradient_with_bias,
        lambda values, columns, indptr, order, grad_output: (
            _sparse_gradient(values, columns, indptr, order, grad_output, _inputs(columns)),
            grad_output.sum(axis=0)),
        has_out=False, optional=("order",),
    ),
    "csr_gather": Case(
        "csr_gather", _sparse(lambda *_: {}), _call_sparse(kernels.csr_gather),
        _sparse_rows,
        optional=("order",),
    ),
    "bias_gradient": Case(
        "bias_gradient", _normal(("grad_output", _whole)), kernels.bias_gradient,
        lambda grad_output: grad_output.sum(axis=0),
    ),
    "add": Case("add", _normal(("a", _whole), ("b", _whole)), kernels.add, lambda a, b: a + b),
    "multiply": Case(
        "multiply", _normal(("a", _whole), ("b", _whole)), kernels.multiply, lambda a, b: a * b,
    ),
    "prelu-gradient": Case(
        "prelu", _normal(("x", _whole), ("grad_output", _whole), *_column_vectors("slope")),
        kernels.prelu, lambda x, slope, grad_output: layers.prelu(x, slope, grad_output),
        optional=("grad_output",),
    ),
    "prelu-shared": Case(
        "prelu", _normal(("x", _whole), ("slope", lambda r, w: (1,))), kernels.prelu,
        lambda x, slope: layers.prelu(x, slope, x),
    ),
    "prelu": Case(
        "prelu", _normal(("x", _whole), *_column_vectors("slope")), kernels.prelu,
        lambda x, slope: layers.prelu(x, slope, x),
    ),
    "prelu_slope_gradient-shared": Case(
        "prelu_slope_gradient", _normal(("x", _whole), ("grad_output", _whole)),
        partial(kernels.prelu_slope_gradient, shared=True),
        partial(layers.prelu_slope_gradient, shared=True),
    ),
    "prelu_slope_gradient": Case(
        "prelu_slope_gradient", _normal(("x", _whole), ("grad_output", _whole)),
        kernels.prelu_slope_gradient,
        partial(layers.prelu_slope_gradient, shared=False),
    ),
    "scale_gradient": Case(
        "scale_gradient", _normal(("x", _whole), ("grad_output", _whole)), kernels.scale_gradient,
        lambda x, grad_output: (x * grad_output).sum(axis=0),
    ),
    "periodic_embedding": Case(
        "periodic_embedding", _of_columns("x", "frequency", "phase", "kernel", "bias"),
        kernels.periodic_embedding, _periodic,
    ),
    "periodic_embedding_gradient": Case(
        "periodic_embedding_gradient",
        _of_columns("x", "frequency", "phase", "kernel", "grad_output"),
        kernels.periodic_embedding_gradient,
        lambda **arrays: _periodic_gradient(**arrays)[:3], has_out=False,
    ),
    "periodic_embedding_input_gradient": Case(
        "periodic_embedding_input_gradient",
        _of_columns("x", "frequency", "phase", "kernel", "grad_output"),
        kernels.periodic_embedding_input_gradient,
        lambda **arrays: _periodic_gradient(**arrays)[3],
    ),
    "piecewise_embedding": Case(
        "piecewise_embedding", _with_edges("kernel", "bias"), kernels.piecewise_embedding,
        _piecewise, whole=("edges",),
    ),
    "piecewise_embedding_gradient": Case(
        "piecewise_embedding_gradient", _with_edges("grad_output"),
        kernels.piecewise_embedding_gradient, _piecewise_gradient, whole=("edges",),
        least_width=1,
    ),
    "piecewise_embedding_input_gradient": Case(
        "piecewise_embedding_input_gradient", _with_edges("kernel", "grad_output"),
        kernels.piecewise_embedding_input_gradient, _piecewise_input_gradient, whole=("edges",),
    ),
    "layer_normalization": Case(
        "layer_normalization", _normal(("x", _whole), *_column_vectors("gamma", "beta")),
        kernels.layer_normalization,
        lambda x, gamma, beta: layers.layer_normalization(x, gamma, beta, 1e-3)[0],
        optional=("gamma", "beta"), least_width=1,
    ),
    "layer_normalization_gradient": Case(
        "layer_normalization_gradient", _with_row_statistics("gamma"),
        kernels.layer_normalization_gradient, layers.layer_normalization_gradient,
        optional=("gamma",), least_width=1,
    ),
    "layer_normalization_scale_gradient": Case(
        "layer_normalization_scale_gradient", _with_row_statistics(),
        kernels.layer_normalization_scale_gradient,
        layers.layer_normalization_scale_gradient,
    ),
    "batch_normalization-batch": Case(
        "batch_normalization", _normal(("x", _whole), *_column_vectors("gamma", "beta")),
        kernels.batch_normalization, _columns_normalized, has_out=False,
    ),
    "batch_normalization": Case(
        "batch_normalization", _with_column_statistics("gamma", "beta"),
        kernels.batch_normalization,
        partial(layers.batch_normalization, epsilon=1e-3), optional=("gamma", "beta"),
    ),
    "batch_normalization_gradient-gamma": Case(
        "batch_normalization_gradient", _with_column_statistics("gamma", grad=True),
        kernels.batch_normalization_gradient,
        lambda grad_output, **arrays: layers.batch_normalization_gradient(
            grad=grad_output, **arrays, of_batch=True, epsilon=1e-3),
        has_out=False,
    ),
    "batch_normalization_gradient": Case(
        "batch_normalization_gradient", _with_column_statistics(grad=True),
        partial(kernels.batch_normalization_gradient, of_batch=False),
        lambda grad_output, **arrays: layers.batch_normalization_gradient(
            grad=grad_output, gamma=None, **arrays, of_batch=False, epsilon=1e-3),
        has_out=False,
    ),
    "embedding": Case(
        "embedding", _categories("table"), kernels.embedding, _embedding, whole=("x",),
    ),
    "embedding_gradient": Case(
        "embedding_gradient", _categories("grad_output"),
        partial(kernels.embedding_gradient, categories=CATEGORIES), _embedding_gradient,
        whole=("x",), least_width=1,
    ),
    "select_member": Case(
        "select_member", _of_members(MEMBERS), partial(kernels.select_member, members=MEMBERS),
        _own_columns, whole=("member",),
    ),
    "select_member-gradient": Case(
        "select_member", _of_members(1),
        partial(kernels.select_member, members=MEMBERS, is_gradient=True),
        _into_own_columns, whole=("member",),
    ),
    **{
        f"encode_categories-{mode}": Case(
            "encode_categories", lambda rng, dtype, rows, width: {
                "x": rng.integers(0, CATEGORIES, (rows, width)).astype(dtype)},
            partial(kernels.encode_categories, tokens=tokens, categories=CATEGORIES, mode=mode),
            partial(layers.encode_categories, tokens=tokens, categories=CATEGORIES, mode=mode),
            whole=("x",),
        )
        for mode, tokens in (("one_hot", 5), ("multi_hot", CATEGORIES), ("count", 6))
    },
    **{
        f"standardize-{name}": Case(
            "standardize", _with_mean_and_scale(features),
            partial(kernels.standardize, invert=invert),
            partial(_standardized, invert=invert), optional=("mean",), least_width=1,
        )
        for name, features, invert in (
            ("columns", _columns, False), ("invert", _columns, True),
            ("shared", _one, False), ("shared-invert", _one, True), ("repeated", _part, False),
        )
    },
    "rescale": Case(
        "standardize", _normal(("x", _whole)), partial(kernels.rescale, factor=-1.5, offset=0.3),
        lambda x: x * -1.5 + 0.3,
    ),
    "concatenate": Case(
        "concatenate", _parts,
        lambda a, b, c, **options: kernels.concatenate([a, b, c], **options),
        lambda a, b, c: np.concatenate([a, b, c], axis=1), least_width=1,
    ),
    "slice_columns": Case(
        "slice_columns", _normal(("x", lambda r, w: (r, 2 * w))),
        _call_slice,
        lambda x: x[:, x.shape[1] // 3 :][:, : x.shape[1] // 2],
    ),
    "softmax": Case(
        "softmax", _normal(("x", _whole)), kernels.softmax,
        lambda x: reference.softmax(x), least_width=1,
    ),
    "log_softmax": Case(
        "log_softmax", _normal(("x", _whole)), kernels.log_softmax, reference.log_softmax,
        least_width=1,
    ),
    "log_softmax_gradient": Case(
        "log_softmax_gradient", _normal(("y", _whole), ("grad_output", _whole)),
        kernels.log_softmax_gradient,
        lambda y, grad_output: grad_output - np.exp(y) * grad_output.sum(axis=1, keepdims=True),
    ),
    "softmax_gradient": Case(
        "softmax_gradient",
        lambda rng, dtype, r, w: {
            "y": _probabilities(rng, dtype, (r, w)),
            "grad_output": rng.standard_normal((r, w)).astype(dtype),
        },
        kernels.softmax_gradient,
        lambda y, grad_output: y * (grad_output - (grad_output * y).sum(axis=1, keepdims=True)),
    ),
    "dropout": Case(
        "dropout", _normal(("x", _whole)),
        partial(kernels.dropout, rate=0.3, seed=2**63 + 5, step=2**33 + 7, stream=3),
        lambda x: reference.dropout(x, 0.3, 3, 2**33 + 7, 2**63 + 5),
    ),
    "binary_accuracy": Case(
        "binary_accuracy", _normal(("scores", _whole), ("target", _whole)),
        kernels.binary_accuracy,
        lambda scores, target: ((scores > 0.5) == (target > 0.5)).sum(axis=1)
        / np.float64(scores.shape[1]) + 0 * np.where(np.isnan(scores), scores, 0).sum(axis=1),
        has_out=False,
    ),
    "mean": Case("mean", _normal(("x", lambda r, w: (r * w,))), kernels.mean, _mean, has_out=False),
    "squared_norm": Case(
        "squared_norm", _normal(("gradients", lambda r, w: (3 * r * w,))), kernels.squared_norm,
        _squared_norm, has_out=False,
    ),
    "scale_rows": Case(
        "scale_rows", _normal(("x", _whole), ("weights", lambda r, w: (r,))),
        partial(kernels.scale_rows, factor=0.7),
        lambda x, weights: 0.7 * weights[:, None] * x, optional=("weights",),
    ),
    "accumulate": Case(
        "accumulate",
        lambda rng, dtype, r, w: {"values": rng.standard_normal(r * w)},
        partial(kernels.accumulate, weight=0.5, total=2.0),
        lambda values: 2 + 0.5 * values.sum(), has_out=False,
    ),
    "penalty": Case(
        "penalty",
        _normal(("parameter", lambda r, w: (3 * r * w,)), ("gradient", lambda r, w: (3 * r * w,))),
        _call_penalty, _expected_penalty, has_out=False, optional=("gradient",),
    ),
    "moving_average": Case(
        "moving_average",
        _normal(("average", lambda r, w: (r * w,)), ("value", lambda r, w: (r * w,))),
        _call_moving_average,
        lambda average, value: 0.9 * average + (1 - 0.9) * value, has_out=False,
    ),
    "gather": Case(
        "gather", _gather_arrays,
        lambda source, order, dtype="float64", **options: kernels.gather(
            source, order, dtype=dtype, **options),
        lambda source, order: source[order], optional=("order",),
    ),
    "multiply_add": Case(
        "multiply_add", _normal(("x", _whole)),
        partial(kernels.multiply_add, times=3, factor=0.8, addend=0.3),
        lambda x: _repeated(x, 0.8, 0.3),
    ),
    "stream": Case(
        "stream", _normal(("x", _whole), ("y", _whole)), _call_stream,
        lambda x, y: _repeated(y, 0.8, x), has_out=False,
    ),
}  # fmt: skip

for _kind in ("labels", "probabilities"):
    CASES[f"softmax_crossentropy-{_kind}"] = Case(
        "softmax_crossentropy", _with_target("logits", _kind), kernels.softmax_crossentropy,
        _crossentropy, has_out=False, least_width=1,
    )  # fmt: skip
    CASES[f"softmax_crossentropy-{_kind}-value"] = Case(
        "softmax_crossentropy", _with_target("logits", _kind),
        partial(kernels.softmax_crossentropy, gradient=False),
        lambda logits, target: _crossentropy(logits, target)[0], has_out=False, least_width=1,
    )  # fmt: skip
    CASES[f"categorical_accuracy-{_kind}"] = Case(
        "categorical_accuracy", _with_target("scores", _kind), kernels.categorical_accuracy,
        _categorical_accuracy, has_out=False, least_width=1,
    )  # fmt: skip
    CASES[f"categorical_accuracy-{_kind}-three"] = Case(
        "categorical_accuracy", _with_target("scores", _kind),
        partial(kernels.categorical_accuracy, k=3), _top_three, has_out=False, least_width=1,
    )  # fmt: skip
    CASES[f"softmax_crossentropy-{_kind}-smoothed"] = Case(
        "softmax_crossentropy", _with_target("logits", _kind),
        partial(kernels.softmax_crossentropy, label_smoothing=0.2),
        partial(_crossentropy, smoothing=0.2), has_out=False, least_width=1,
    )  # fmt: skip
CASES["softmax_crossentropy-divergence"] = Case(
    "softmax_crossentropy", _with_target("logits", "probabilities"),
    partial(kernels.softmax_crossentropy, is_divergence=True), _divergence, has_out=False,
    least_width=1,
)  # fmt: skip

for _name in kernels.ACTIVATIONS:
    CASES[f"affine-{_name}"] = Case(
        "affine",
        _normal(("x", _whole), ("kernel", lambda r, w: (w, _units(w))),
                ("bias", lambda r, w: (_units(w),))),
        partial(kernels.affine, activation=_name),
        lambda x, kernel, bias, name=_name: _activation(name, x @ kernel + bias),
        optional=("bias",),
    )  # fmt: skip
    CASES[f"input_gradient-{_name}"] = Case(
        "input_gradient",
        _normal(("grad_output", lambda r, w: (r, _units(w))),
                ("kernel", lambda r, w: (w, _units(w))), ("saved", _whole)),
        partial(kernels.input_gradient, activation=_name),
        lambda grad_output, kernel, saved, name=_name: _derivative(
            name, saved, grad_output @ kernel.T),
        optional=("saved",),
    )  # fmt: skip
    CASES[f"activation-{_name}"] = Case(
        "activation", _normal(("x", _whole)), partial(kernels.activation, name=_name),
        partial(_activation, _name),
    )  # fmt: skip
    CASES[f"activation_gradient-{_name}"] = Case(
        "activation_gradient", _normal(("saved", _whole), ("grad_output", _whole)),
        partial(kernels.activation_gradient, name=_name),
        lambda saved, grad_output, name=_name: _derivative(name, saved, grad_output),
    )  # fmt: skip

    CASES[f"parametric_activation-{_name}"] = Case(
        "parametric_activation", _normal(("x", _whole), *_column_vectors("alpha")),
        partial(kernels.parametric_activation, name=_name), partial(_blended, _name),
    )  # fmt: skip
    CASES[f"parametric_activation_gradient-{_name}"] = Case(
        "parametric_activation_gradient",
        _normal(("x", _whole), *_column_vectors("alpha"), ("grad_output", _whole)),
        partial(kernels.parametric_activation_gradient, name=_name),
        partial(_blended_gradient, _name), has_out=False,
    )  # fmt: skip

# These call the row of activations.h by pointer, on numbers just stored: none, one, one with a
# parameter that keeps its input.
for _name in ("linear", "relu", "elu"):
    CASES[f"sparse_affine-{_name}"] = Case(
        "sparse_affine",
        _sparse(_normal(("kernel", lambda r, w: (w, _units(w))),
                        ("bias", lambda r, w: (_units(w),)))),
        partial(kernels.sparse_affine, activation=_name),
        lambda values, columns, indptr, order, kernel, bias, name=_name: _activation(
            name, _sparse_product(values, columns, indptr, order, kernel) + bias),
        optional=("bias", "order"),
    )  # fmt: skip
    CASES[f"add_halves-{_name}"] = Case(
        "add_halves",
        _normal(("halves", lambda r, w: (r, 2 * w)), ("bias", lambda r, w: (w,))),
        partial(kernels.add_halves, activation=_name),
        lambda halves, bias, name=_name: _activation(
            name, halves[:, : len(bias)] + halves[:, len(bias) :] + bias),
        optional=("bias",),
    )  # fmt: skip

for _name in kernels.MATH:
    CASES[f"math-{_name}"] = Case(
        "math", _normal(("x", _whole)), partial(kernels.math, name=_name),
        lambda x, name=_name: MATH[name](x),
    )  # fmt: skip

for _name in kernels.LOSSES:
    CASES[f"elementwise_loss-{_name}"] = Case(
        "elementwise_loss", _normal(("prediction", _whole), ("target", _whole)),
        partial(kernels.elementwise_loss, name=_name), partial(_loss, _name), has_out=False,
    )  # fmt: skip
    CASES[f"elementwise_loss-{_name}-value"] = Case(
        "elementwise_loss", _normal(("prediction", _whole), ("target", _whole)),
        partial(kernels.elementwise_loss, name=_name, gradient=False),
        lambda prediction, target, name=_name: _loss(name, prediction, target)[0], has_out=False,
    )  # fmt: skip

for _name in kernels.OPTIMIZERS:
    CASES[f"update-{_name}"] = Case(
        "update", _update_arrays(_name), partial(_call_update, _name),
        partial(_expected_update, _name), has_out=False,
    )  # fmt: skip
    CASES[f"kernel_gradient_update-{_name}"] = Case(
        "kernel_gradient_update", _kernel_gradient_update_arrays(_name),
        partial(_call_kernel_gradient_update, _name),
        partial(_expected_kernel_gradient_update, _name), has_out=False,
    )  # fmt: skip

# It calls the row as kernel_gradient_update does: with zero, two and three slots of state.
for _name in ("sgd", "adam", "adam_amsgrad"):
    CASES[f"sparse_kernel_gradient_update-{_name}"] = Case(
        "sparse_kernel_gradient_update", _sparse_update_arrays(_name),
        partial(_call_sparse_update, _name), partial(_expected_sparse_update, _name),
        has_out=False, optional=("order",),
    )  # fmt: skip


def expected(case: Case, arrays: Arrays) -> Any:
    """The expected result of a case for these arrays, computed in float64."""
    wide = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }
    with np.errstate(all="ignore"):
        return case.expected(**wide)
