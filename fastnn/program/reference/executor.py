"""Runs a program in plain NumPy: the oracle of the tests, and the documentation of every op.

Nothing here is fast or shared with the kernels. Every formula appears once, as in a textbook:
the rows of `src_c/activations.h`, `losses.h` and `optimizers.h` are in `rows.py`, under the same
names; layers with parameters of their own are in `layers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnn.program import python_ops
from fastnn.program.lower import Program
from fastnn.program.ops import (
    ACTIVATIONS,
    HALVES_FROM_ROWS,
    NORM_CHUNK,
    OPTIMIZERS,
    Op,
    Value,
    is_schedule,
)
from fastnn.program.precision import rounds
from fastnn.program.reference.layers import LAYER_FORMULAS
from fastnn.program.reference.rows import (
    ACTIVATION_FORMULAS,
    LOSS_FORMULAS,
    OPTIMIZER_FORMULAS,
    log_softmax,
    smoothed,
    softmax,
    update,
)

Array = np.ndarray


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
    """Return rows of probabilities for class labels."""
    return np.eye(classes, dtype=dtype)[labels]


@dataclass
class Context:
    """What a run needs besides its values."""

    dtype: str
    key: int = 0
    step: int = 1
    learning_rate: float = 0.0
    rows: int = 0
    state: Array = field(default_factory=lambda: np.zeros((0, 0)))
    offsets: dict[str, int] = field(default_factory=dict)

    def state_of(self, op: Op, value: Value) -> Array:
        """Return a view of the state of what an update covers.

        Its shape is (slots, width), or (width,) for a moving average.
        """
        if value.name == "state":
            return self.state
        first = self.first_of(op, value)
        state = self.state[:, first : first + value.width]
        return state[-1] if op.name == "moving_average" else state

    def first_of(self, op: Op, value: Value) -> int:
        """Return the offset in its arena of a value that an op reads."""
        name = op.attributes["covers"][0] if "covers" in op.attributes else value.name
        return self.offsets.get(name, 0)


def _activation(op: Op, context: Context, x: Array) -> Array:
    forward, _ = ACTIVATION_FORMULAS[op.attributes["activation"]]
    return forward(x, op.attributes.get("parameter", 0.0))


def _derivative(op: Op, saved: Array) -> Array:
    _, derivative = ACTIVATION_FORMULAS[op.attributes["activation"]]
    return derivative(saved, op.attributes.get("parameter", 0.0))


def to_bfloat16(x: Array) -> Array:
    """Return an array rounded to bfloat16, to nearest even; denormals become zero.

    Parameters
    ----------
    x : ndarray
        Of float32, or of float64 that holds float32 numbers.

    Returns
    -------
    ndarray
        Of the same shape and dtype.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) & 0xFFFF0000
    rounded = np.where(np.isnan(x), (bits | 0x400000) & 0xFFFF0000, rounded)
    rounded = np.where(np.abs(x) < np.finfo(np.float32).tiny, bits & 0x80000000, rounded)
    return rounded.astype(np.uint32).view(np.float32).astype(x.dtype)


def _operands(op: Op, *arrays: Array) -> tuple[Array, ...]:
    """Return the operands of a product, rounded if it rounds; the first has a row for each row."""
    return tuple(map(to_bfloat16, arrays)) if rounds(op, len(arrays[0])) else arrays


def _affine(op: Op, context: Context, x: Array, kernel: Array, bias: Array | None) -> tuple:
    x, kernel = _operands(op, x, kernel)
    z = x @ kernel + (0 if bias is None else bias)
    return _activation(op, context, z), z


def _kernel_gradient(op: Op, context: Context, x: Array, grad: Array) -> tuple:
    rounded_x, rounded_grad = _operands(op, x, grad)
    return rounded_x.T @ rounded_grad, grad.sum(axis=0)


def middle(count: int) -> int:
    """Return where affine_halves and kernel_gradient_halves split: half, up to a multiple of 16."""
    return -(-count // 32) * 16


def affine_halves(x: Array, kernel: Array) -> Array:
    """Return x @ kernel over the first half of the inputs, next to that over the second half.

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
    """Return the gradients with respect to kernel and bias, over each half of the rows.

    Parameters
    ----------
    x : ndarray, shape (rows, inputs)
    grad_output : ndarray, shape (rows, units)

    Returns
    -------
    kernel : ndarray, shape (inputs, units)
    bias : ndarray, shape (units,)
    second : ndarray, shape (inputs * units + units,)
        Both gradients over the second half; zeros if there are few rows.
    """
    rows = len(x)
    cut = rows if rows < HALVES_FROM_ROWS else middle(rows)
    second = (x[cut:].T @ grad_output[cut:]).ravel(), grad_output[cut:].sum(axis=0)
    first = x[:cut].T @ grad_output[:cut], grad_output[:cut].sum(axis=0)
    return *first, np.concatenate(second)


def _kernel_gradient_halves(op: Op, context: Context, x: Array, grad: Array) -> tuple:
    _, bias, second = kernel_gradient_halves(x, grad)
    kernel, _, rounded = kernel_gradient_halves(*_operands(op, x, grad))
    second[: kernel.size] = rounded[: kernel.size]  # the bias's gradient is no product
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
    grad, kernel = _operands(op, grad, kernel)
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
    terms = np.where(t == 0, 0, t * shifted)  # the logit of an impossible class may be -inf
    losses = log_sum * total[:, 0] - terms.sum(axis=1)
    if op.attributes.get("is_divergence"):
        losses = losses + entropy
    return losses, (softmax(z) * total - t) / max(len(z), 1), None


def _categorical_accuracy(op: Op, context: Context, scores: Array, target: Array) -> Array:
    labels = target if op.input(1).dtype == "label" else target.argmax(axis=1)
    if op.attributes["k"] == 1:
        return scores.argmax(axis=1) == labels
    own = scores[np.arange(len(labels)), labels][:, None]
    is_earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = ~(scores <= own) | ((scores == own) & is_earlier)
    return before.sum(axis=1) < op.attributes["k"]


def _binary_accuracy(op: Op, context: Context, scores: Array, target: Array) -> Array:
    hits = (scores > op.attributes["threshold"]) == (target > 0.5)
    hits = np.where(np.isnan(scores), np.nan, hits)
    return hits.reshape(len(scores), -1).mean(axis=1)


def _parametric_activation(op: Op, context: Context, x: Array, alpha: Array) -> Array:
    return x + alpha * (_activation(op, context, x) - x)


def _parametric_activation_gradient(
    op: Op, context: Context, x: Array, alpha: Array, grad: Array
) -> tuple:
    name, y = op.attributes["activation"], _activation(op, context, x)
    slope = _derivative(op, y if ACTIVATIONS[name][0] == "output" else x)
    return grad * (1 + alpha * (slope - 1)), (grad * (y - x)).sum(axis=0)


def _pad_columns(op: Op, context: Context, x: Array) -> Array:
    padded = np.zeros((len(x), op.output.width), x.dtype)
    padded[:, op.attributes["first"] : op.attributes["first"] + x.shape[1]] = x
    return padded


def at_step(op: Op, step: int) -> Op:
    """Return the op with the values that its schedules have in a step, counted from 1."""

    def value(number: Any) -> Any:
        if isinstance(number, tuple):
            return tuple(map(value, number))
        return number.rates_from(step - 1, 1)[0] if is_schedule(number) else number

    if not any(map(is_schedule, op.row.scalars(op))):
        return op
    return replace(op, attributes={name: value(one) for name, one in op.attributes.items()})


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
    flat = context.state if op.output.name == "parameters" else context.state_of(op, op.output)
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

    by_kernel, by_bias = _kernel_gradient(op, context, x, grad)
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


# name: formula(op, context, *inputs), which returns the output, or a tuple of outputs
FORMULAS: dict[str, Callable[..., Any]] = {
    "affine": _affine,
    "affine_halves": lambda op, c, *operands: affine_halves(*_operands(op, *operands)),
    "add_halves": _add_halves,
    "input_gradient": _input_gradient,
    "kernel_gradient": _kernel_gradient,
    "kernel_gradient_halves": _kernel_gradient_halves,
    "add_gradient_half": _add_gradient_half,
    "sparse_affine": _affine,
    "sparse_kernel_gradient": lambda op, c, x, grad: (x.T @ grad, grad.sum(axis=0)),
    "csr_gather": lambda op, c, x: x,
    "bias_gradient": lambda op, c, grad: grad.sum(axis=0).reshape(op.output.shape),
    "activation": _activation,
    "activation_gradient": lambda op, c, saved, grad: grad * _derivative(op, saved),
    "add": lambda op, c, a, b: a + b,
    "multiply": lambda op, c, a, b: a * b,
    "parametric_activation": _parametric_activation,
    "parametric_activation_gradient": _parametric_activation_gradient,
    "scale_columns": lambda op, c, x, scale: x * scale,
    "scale_gradient": lambda op, c, x, grad: (x * grad).sum(axis=0),
    "scale_rows": _scale_rows,
    "accumulate": _accumulate,
    "penalty": _penalty,
    "concatenate": lambda op, c, *parts: np.concatenate(parts, axis=1),
    "slice_columns": lambda op, c, x: x[
        :, op.attributes["first"] : op.attributes["first"] + op.output.width
    ],
    "pad_columns": _pad_columns,
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
        The program's inputs, in any dtype that the engine takes.
    values : dict of str to ndarray
        Parameters by name, and "parameters" as a flat array for an update of several of them;
        they are updated in place.
    context : Context
    watch : callable, optional
        Called with each op, value and number written.
    gradients : dict of str to ndarray, optional
        By name, and "gradients" as a flat array, for a program that applies gradients that it has
        not computed.

    Returns
    -------
    dict of Value to ndarray
    """
    made: dict[Value, Array] = {}
    given = dict(zip(program.inputs, batch, strict=False))

    def part(arena: Array, op: Op, value: Value) -> Array:
        first = context.first_of(op, value)
        return arena[first : first + value.width].reshape(value.shape)

    def parameter(op: Op, value: Value) -> Array:
        found = values.get(value.name)
        return part(values["parameters"], op, value) if found is None else found

    def read(op: Op, value: Value | None) -> Array | None:
        if value is None:
            return None
        if value in made:
            return made[value]
        if value.storage == "sparse":  # here a batch in dense form
            return given[value].astype(context.dtype).reshape(-1, *value.shape)
        if value.storage == "state":
            return context.state_of(op, value)
        if value.storage == "gradient" and gradients is not None:
            found = gradients.get(value.name)
            return part(gradients["gradients"], op, value) if found is None else found
        return parameter(op, value)

    with np.errstate(all="ignore"):
        for op in program.ops:
            op = at_step(op, context.step)
            if op.name == "gather":
                dtype = np.int32 if op.output.dtype == "label" else context.dtype
                results: Any = given[op.output].astype(dtype).reshape(-1, *op.output.shape)
            else:
                results = FORMULAS[op.name](op, context, *(read(op, value) for value in op.inputs))
            results = results if isinstance(results, tuple) else (results,)
            for value, result in zip(op.outputs, results, strict=False):
                if value is None or result is None:
                    continue
                if value.dtype == "real":
                    result = np.asarray(result).astype(context.dtype)
                made[value] = result
                if value.storage == "parameter":
                    parameter(op, value)[...] = result
                if watch is not None:
                    watch(op, value, result)
    return made


__all__ = [
    "ACTIVATION_FORMULAS",
    "FORMULAS",
    "LOSS_FORMULAS",
    "OPTIMIZER_FORMULAS",
    "Context",
    "dropout",
    "log_softmax",
    "philox",
    "run",
    "softmax",
    "update",
]
