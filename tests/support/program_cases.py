"""Random models, and a program for each row of the op table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn.program import reference
from fastnn.program.lower import Program
from fastnn.program.ops import ACTIVATIONS, ENCODINGS, LOSSES, OPTIMIZERS, Op, Value
from fastnn.program.purpose import Purpose
from fastnn.runtime import Steps

ROWS = 13
CATEGORIES = 3
ROWS_OF = {"kernel_gradient_halves": 131, "add_gradient_half": 131}  # otherwise ROWS


# --- one op at a time -------------------------------------------------------------------------


@dataclass
class OpCase:
    """A program with one op under test, its batch and its arenas."""

    program: Program
    batch: list[np.ndarray]
    arenas: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    offsets: dict[str, int]


def _data(rng: np.random.Generator, value: Value, rows: int) -> np.ndarray:
    if value.dtype == "label" or value.name == "categories":
        return rng.integers(0, CATEGORIES, (rows, value.width))
    numbers = rng.standard_normal((rows, value.width))
    return numbers * (rng.random(numbers.shape) < 0.3) if value.storage == "sparse" else numbers


def _input(name: str, *shape: int, dtype: str = "real") -> Value:
    return Value(name, shape, storage="input", dtype=dtype)


def _parameter(name: str, *shape: int) -> Value:
    return Value(name, shape, batched=False, storage="parameter")


def op_case(rng: np.random.Generator, op: Op) -> OpCase:
    """The program that gathers an op's inputs, runs it and keeps its outputs."""
    inputs = [v for v in dict.fromkeys(op.reads()) if v.storage in ("input", "sparse")]
    inputs = inputs or [_input("unread", 1)]
    ops = [Op("gather", (), (value,)) for value in inputs if value.storage == "input"]
    ops = [] if op.name == "gather" else ops
    results = [value.name for value in op.writes() if value.storage == "result"]
    outputs = [value for value in op.writes() if value.storage in ("work", "input")]
    if op.name == "gather":
        inputs = [op.output]
    program = Program(Purpose.PREDICT, [*ops, op], inputs, outputs, results)
    count, offsets, parameters = 0, {}, {}
    for value in op.reads() + op.writes():
        if value.storage in ("parameter", "gradient") and value.name not in offsets:
            offsets[value.name] = count
            parameters[value.name] = rng.standard_normal(value.shape)
            if value.name == "square":
                parameters[value.name] **= 2
            if value.name == "edges":  # ascending; one bin has no width
                parameters[value.name] = edges = np.sort(parameters[value.name])
                edges[:, 1] = edges[:, 2]
            count += -(-value.width // 8) * 8
    slots = next((value.shape[0] for value in op.reads() if value.storage == "state"), 0)
    if op.name in ("update", "squared_norm"):
        offsets, count = {}, op.input(0).width
    if op.name.endswith("gradient_update"):
        slots, count = int(OPTIMIZERS[op.attributes["optimizer"]][2]), op.attributes["count"]
    if op.name == "moving_average":
        slots, count = 1, op.output.width
    arenas = {
        "parameters": rng.standard_normal(count),
        "gradients": rng.standard_normal(count),
        "state": rng.uniform(0.3, 0.4, (slots, count)),
    }
    for name, first in offsets.items():
        for arena in ("parameters", "gradients"):
            arenas[arena][first : first + parameters[name].size] = parameters[name].ravel()
    if op.name in ("update", "squared_norm"):
        parameters = {name: arenas[name].copy() for name in ("parameters", "gradients")}
    batch = [_data(rng, value, ROWS_OF.get(op.name, ROWS)) for value in inputs]
    return OpCase(program, batch, arenas, parameters, offsets)


def _affine(activation: str, bias: bool = True, kept: bool = False) -> Op:
    z = Value("z", (7,)) if kept else None
    return Op(
        "affine",
        (_input("x", 5), _parameter("kernel", 5, 7), _parameter("bias", 7) if bias else None),
        (Value("y", (7,)), z),
        {"activation": activation, "parameter": ACTIVATIONS[activation][2]},
    )


def _add_halves(activation: str, bias: bool = True) -> Op:
    return Op(
        "add_halves",
        (_input("halves", 14), _parameter("bias", 7) if bias else None),
        (Value("y", (7,)), Value("z", (7,)) if bias else None),
        {"activation": activation, "parameter": ACTIVATIONS[activation][2]},
    )


def _input_gradient(activation: str) -> Op:
    inputs = (_input("grad", 7), _parameter("kernel", 5, 7), _input("saved", 5))
    attributes = {"activation": activation, "parameter": ACTIVATIONS[activation][2]}
    return Op("input_gradient", inputs, (Value("y", (5,)),), attributes)


def _gradient(name: str, *shape: int) -> Value:
    return Value(name, shape, batched=False, storage="gradient")


def _kernel_gradient_halves(bias: bool) -> Op:
    second = Value("second", (5 * 7 + 7 * bias,), batched=False)
    outputs = _gradient("dk", 5, 7), _gradient("db", 7) if bias else None, second
    return Op("kernel_gradient_halves", (_input("x", 5), _input("grad", 7)), outputs)


def _add_gradient_half(bias: bool) -> Op:
    sums = _gradient("dk", 5, 7), _gradient("db", 7) if bias else None
    inputs = (*sums, _parameter("second", 5 * 7 + 7 * bias), _input("grad", 7))
    return Op("add_gradient_half", inputs, sums)


def _activations(kind: str, *names: str) -> list[Op]:
    return [
        Op(kind, tuple(_input(name, 6) for name in names), (Value("y", (6,)),),
           {"activation": activation, "parameter": ACTIVATIONS[activation][2]})
        for activation in ACTIVATIONS
    ]  # fmt: skip


def _simple(kind: str, *widths: int, out: int = 6, **attributes: Any) -> Op:
    inputs = tuple(_input(f"x{i}", width) for i, width in enumerate(widths))
    return Op(kind, inputs, (Value("y", (out,)),), attributes)


def _loss(name: str, shape: tuple[int, ...], gradient: bool) -> Op:
    outputs = (Value("losses", ()), Value("grad", shape) if gradient else None)
    attributes = {"loss": name, "parameter": LOSSES[name][2]}
    return Op("elementwise_loss", (_input("p", *shape), _input("t", *shape)), outputs, attributes)


def _crossentropy(dtype: str, gradient: bool, **attributes: Any) -> Op:
    target = _input("t", dtype="label") if dtype == "label" else _input("t", 3)
    outputs = (
        Value("losses", ()),
        Value("grad", (3,)) if gradient else None,
        None if gradient else Value("room", (3,)),
    )
    return Op("softmax_crossentropy", (_input("z", 3), target), outputs, attributes)


def _update(name: str, **settings: Any) -> Op:
    count, slots = 1057, int(OPTIMIZERS[name][2])
    numbers = [0.5] * len([part for part in OPTIMIZERS[name][1].split(",") if part])
    state = Value("state", (slots, count), batched=False, storage="state") if slots else None
    parameters = Value("parameters", (count,), batched=False, storage="parameter")
    gradients = Value("gradients", (count,), batched=False, storage="gradient")
    attributes = {"optimizer": name, "hyper_parameters": numbers, "clipvalue": None,
                  "clipnorm": None, "weight_decay": 0.0, "count": count, **settings}  # fmt: skip
    return Op("update", (parameters, gradients, state, None), (parameters,), attributes)


def _decoupled(name: str) -> list[Op]:
    """The update with a decoupled weight decay that follows a schedule, if it has one."""
    parts = [part for part in OPTIMIZERS[name][1].split(",") if part]
    numbers = tuple(FALLS if part == "decoupled_weight_decay" else 0.5 for part in parts)
    return [_update(name, hyper_parameters=numbers)] if FALLS in numbers else []


def _kernel_gradient_update(name: str, has_bias: bool = True) -> Op:
    kernel = _parameter("kernel", 5, 7)
    bias = _parameter("bias", 7) if has_bias else None
    has_state = OPTIMIZERS[name][2] > 0

    def other(value: Value | None, storage: str) -> Value | None:
        return None if value is None else replace(value, storage=storage)

    states = [other(value, "state") if has_state else None for value in (kernel, bias)]
    inputs = (_input("x", 5), _input("grad", 7), kernel, states[0], bias, states[1])
    outputs = (other(kernel, "gradient"), other(bias, "gradient"), kernel, bias)
    attributes = {**_update(name, clipvalue=0.1, weight_decay=0.5).attributes, "count": 48}
    return Op("kernel_gradient_update", inputs, outputs, attributes)


def _of_rows(kind: str, *names: str, **attributes: Any) -> Op:
    """An op of layer normalization, from values by name."""
    known = {
        "x": _input("x", 6), "grad": _input("grad", 6), "statistics": _input("statistics", 2),
        "gamma": _parameter("gamma", 6), "beta": _parameter("beta", 6), "": None,
    }  # fmt: skip
    outputs: tuple[Value | None, ...] = (Value("y", (6,)),)
    if kind == "layer_normalization":
        outputs = (*outputs, Value("statistics", (2,)) if "gamma" in names else None)
    if kind.endswith("scale_gradient"):
        outputs = (Value("dgamma", (6,), batched=False),)
    return Op(kind, tuple(known[name] for name in names), outputs, attributes)


def _batch_normalization(*names: str) -> Op:
    vectors = [_parameter(name, 6) if name else None for name in names]
    batch = [Value(name, (6,), batched=False) for name in ("mean", "variance")]
    attributes = {"epsilon": 0.1}
    if len(names) == 2:
        outputs = (Value("y", (6,)), *batch)
        return Op("batch_normalization", (_input("x", 6), *vectors), outputs, attributes)
    inputs = (_input("x", 6), *vectors)
    return Op("fixed_normalization", inputs, (Value("y", (6,)),), attributes)


def _batch_normalization_gradient(of_batch: bool, gamma: str, by_gamma: bool) -> Op:
    vectors = [_parameter(name, 6) if name else None for name in (gamma, "mean", "square")]
    vector = Value("dgamma", (6,), batched=False) if by_gamma else None
    outputs = (Value("dx", (6,)), vector, Value("dbeta", (6,), batched=False))
    attributes = {"of_batch": of_batch, "epsilon": 0.1}
    inputs = (_input("x", 6), *vectors, _input("grad", 6))
    return Op("batch_normalization_gradient", inputs, outputs, attributes)


def _embeddings(first: int, columns: int, *, gradient: bool) -> Op:
    attributes = {"first": first, "columns": columns}
    x = _input("categories", 4)
    if gradient:
        table = Value("dtable", (3, 5), batched=False)
        return Op("embedding_gradient", (x, _input("grad", columns * 5)), (table,), attributes)
    y = Value("y", (columns, 5))
    return Op("embedding", (x, _parameter("table", 3, 5)), (y,), attributes)


def _of_members(kind: str, members: int, columns: int) -> Op:
    width = members * columns
    before, behind = (columns, width) if kind.endswith("gradient") else (width, columns)
    x, member = _input("x", before), _input("categories", 1)
    return Op(kind, (x, member), (Value("y", (behind,)),), {"members": members})


def _blends(kind: str, *shape: int) -> list[Op]:
    x, alpha, grad = _input("x", *shape), _parameter("alpha", *shape), _input("grad", *shape)
    outputs: tuple[Value, ...] = (Value("y", shape),)
    inputs = (x, alpha, grad) if kind.endswith("gradient") else (x, alpha)
    if kind.endswith("gradient"):
        outputs = (Value("dx", shape), Value("dalpha", shape, batched=False))
    return [
        Op(kind, inputs, outputs, {"activation": name, "parameter": ACTIVATIONS[name][2]})
        for name in ACTIVATIONS
    ]


def _number_embedding(kind: str, columns: int, waves: int, units: int) -> Op:
    """An op of embeddings of numbers; the bins are as many as the waves."""
    x, grad = _input("x", columns), _input("grad", columns * units)
    kernel, bias = _parameter("kernel", columns, waves, units), _parameter("bias", columns, units)
    of_waves = _parameter("frequency", columns, waves), _parameter("phase", columns, waves)
    edges = _parameter("edges", columns, waves + 1)
    own = (*of_waves, kernel) if kind.startswith("periodic") else (edges, kernel)
    if kind in ("periodic_embedding", "piecewise_embedding"):
        return Op(kind, (x, *own, bias), (Value("y", (columns * units,)),))
    if kind.endswith("input_gradient"):
        return Op(kind, (x, *own, grad), (Value("dx", (columns,)),))
    learned = (*of_waves, kernel) if kind.startswith("periodic") else (kernel,)
    outputs = tuple(Value(f"d{one.name}", one.shape, batched=False) for one in learned)
    read = own if kind.startswith("periodic") else (edges,)
    return Op(kind, (x, *read, grad), outputs)


def _number_embeddings(kind: str) -> list[Op]:
    return [_number_embedding(kind, *sizes) for sizes in ((3, 4, 2), (1, 2, 5), (4, 3, 1))]


def _of_sparse_rows(op: Op) -> Op:
    """The same op with a sparse x."""
    x = replace(op.input(0), storage="sparse")
    return replace(op, name=f"sparse_{op.name}", inputs=(x, *op.inputs[1:]))


# kind: makers of ops, so that every row of the op table runs in each of its layouts
OP_CASES: dict[str, Callable[[], list[Op]]] = {
    "gather": lambda: [
        Op("gather", (), (_input("x", 4, 2),)),
        Op("gather", (), (_input("t", dtype="label"),)),
    ],
    "affine": lambda: [
        *(_affine(name) for name in ACTIVATIONS),
        *(_affine(name, bias=False, kept=True) for name in ACTIVATIONS),
    ],
    "affine_halves": lambda: [
        Op("affine_halves", (_input("x", inputs), _parameter("kernel", inputs, 7)),
           (Value("halves", (14,)),))
        for inputs in (5, 40)
    ],
    "add_halves": lambda: [*map(_add_halves, ACTIVATIONS), _add_halves("relu", bias=False)],
    "input_gradient": lambda: [
        *map(_input_gradient, ACTIVATIONS),
        Op("input_gradient", (_input("grad", 7), _parameter("kernel", 5, 7), None),
           (Value("y", (5,)),), {"activation": "linear"}),
    ],
    "kernel_gradient": lambda: [
        Op("kernel_gradient", (_input("x", 5), _input("grad", 7)),
           (Value("dk", (5, 7), batched=False), Value("db", (7,), batched=False))),
        Op("kernel_gradient", (_input("x", 5), _input("grad", 7)),
           (Value("dk", (5, 7), batched=False),)),
    ],
    "kernel_gradient_halves": lambda: [_kernel_gradient_halves(bias) for bias in (True, False)],
    "add_gradient_half": lambda: [_add_gradient_half(bias) for bias in (True, False)],
    "sparse_affine": lambda: [*map(_of_sparse_rows, OP_CASES["affine"]())],
    "sparse_kernel_gradient": lambda: [*map(_of_sparse_rows, OP_CASES["kernel_gradient"]())],
    "sparse_kernel_gradient_update": lambda: [
        *map(_of_sparse_rows, OP_CASES["kernel_gradient_update"]())
    ],
    "csr_gather": lambda: [
        Op("csr_gather", (replace(_input("x", 5), storage="sparse"),), (Value("dense", (5,)),))
    ],
    "bias_gradient": lambda: [
        Op("bias_gradient", (_input("grad", 7),), (Value("db", (7,), batched=False),)),
    ],
    "activation": lambda: _activations("activation", "x"),
    "activation_gradient": lambda: _activations("activation_gradient", "saved", "grad"),
    "add": lambda: [_simple("add", 6, 6)],
    "multiply": lambda: [_simple("multiply", 6, 6)],
    "prelu": lambda: [
        Op("prelu", (_input("x", 2, 3), _parameter("slope", *shape)), (Value("y", (2, 3)),))
        for shape in ((2, 3), (1,))
    ],
    "prelu_gradient": lambda: [
        Op("prelu_gradient", (_input("x", 2, 3), _parameter("slope", *shape), _input("g", 2, 3)),
           (Value("y", (2, 3)),))
        for shape in ((2, 3), (1,))
    ],
    "prelu_slope_gradient": lambda: [
        Op("prelu_slope_gradient", (_input("x", 2, 3), _input("g", 2, 3)),
           (Value("dslope", shape, batched=False),))
        for shape in ((2, 3), (1,))
    ],
    "parametric_activation": lambda: [
        op for shape in ((6,), (2, 3)) for op in _blends("parametric_activation", *shape)
    ],
    "parametric_activation_gradient": lambda: [
        op for shape in ((6,), (2, 3)) for op in _blends("parametric_activation_gradient", *shape)
    ],
    "scale_columns": lambda: [
        Op("scale_columns", (_input("x", *shape), _parameter("scale", *shape)),
           (Value("y", shape),))
        for shape in ((6,), (2, 3))
    ],
    "scale_gradient": lambda: [
        Op("scale_gradient", (_input("x", *shape), _input("grad", *shape)),
           (Value("dscale", shape, batched=False),))
        for shape in ((6,), (2, 3))
    ],
    **{
        kind: partial(_number_embeddings, kind)
        for family in ("periodic_embedding", "piecewise_embedding")
        for kind in (family, f"{family}_gradient", f"{family}_input_gradient")
    },
    "layer_normalization": lambda: [
        _of_rows("layer_normalization", "x", gamma, beta, epsilon=0.1)
        for gamma in ("gamma", "") for beta in ("beta", "")
    ],
    "layer_normalization_gradient": lambda: [
        _of_rows("layer_normalization_gradient", "x", "statistics", gamma, "grad")
        for gamma in ("gamma", "")
    ],
    "layer_normalization_scale_gradient": lambda: [
        _of_rows("layer_normalization_scale_gradient", "x", "statistics", "grad")
    ],
    "batch_normalization": lambda: [
        _batch_normalization(gamma, beta) for gamma in ("gamma", "") for beta in ("beta", "")
    ],
    "fixed_normalization": lambda: [
        _batch_normalization(gamma, "beta", "mean", "square") for gamma in ("gamma", "")
    ],
    "batch_normalization_gradient": lambda: [
        _batch_normalization_gradient(of_batch, gamma, by_gamma)
        for of_batch in (True, False) for gamma in ("gamma", "") for by_gamma in (True, False)
    ],
    "embedding": lambda: [_embeddings(*part, gradient=False) for part in ((0, 4), (1, 2), (3, 1))],
    "embedding_gradient": lambda: [
        _embeddings(*part, gradient=True) for part in ((0, 4), (1, 2), (3, 1))
    ],
    **{
        kind: lambda kind=kind: [
            _of_members(kind, *sizes) for sizes in ((CATEGORIES, 4), (CATEGORIES + 2, 1))
        ]
        for kind in ("select_member", "select_member_gradient")
    },
    "encode_categories": lambda: [
        Op("encode_categories", (_input("categories", 4),),
           (Value("y", (4, tokens) if mode == "one_hot" else (tokens,)),),
           {"tokens": tokens, "categories": CATEGORIES, "mode": mode})
        for mode in ENCODINGS for tokens in (CATEGORIES, 2)
    ],
    "standardize": lambda: [
        Op("standardize",
           (_input("x", 2, 3), mean and _parameter(mean, *shape), _parameter("square", *shape)),
           (Value("y", (2, 3)),), {"invert": invert})
        for shape in ((3,), (1,)) for mean in ("mean", None) for invert in (False, True)
    ],
    "rescale": lambda: [
        Op("rescale", (_input("x", 2, 3),), (Value("y", (2, 3)),), {"factor": -0.5, "offset": 2.0})
    ],
    "scale_rows": lambda: [
        Op("scale_rows", (_input("x", 2, 3), weights), (Value("y", (2, 3)),), {"factor": 0.5})
        for weights in (_input("w"), None)
    ],
    "accumulate": lambda: [
        Op("accumulate", (_parameter("value", 4),),
           (Value("loss", (), batched=False, storage="result", dtype="double"),), {"weight": 0.5}),
    ],
    "penalty": lambda: [
        Op("penalty", (_parameter("value", 4500), gradient),
           (Value("sums", (2,), batched=False, dtype="double"), gradient), {"l1": 0.1, "l2": 0.2})
        for gradient in (_gradient("other", 4500), None)
    ],
    "concatenate": lambda: [
        _simple("concatenate", *range(1, n + 1), out=n * (n + 1) // 2) for n in range(1, 7)
    ],
    "slice_columns": lambda: [
        _simple("slice_columns", 9, out=4, first=first) for first in (0, 3, 5)
    ],
    "pad_columns": lambda: [
        _simple("pad_columns", 4, out=9, first=first) for first in (0, 3, 5)
    ],
    "python": list,  # nor do these; see test_custom_layers.py
    "python_gradient": list,
    "python_loss": list,  # see test_custom_losses.py
    "reshape": list,  # runs no kernel; see the random models
    "dropout": lambda: [
        _simple("dropout", 6, rate=rate, stream=stream)
        for rate in (0.4, FALLS) for stream in (0, 5)
    ],
    "softmax": lambda: [_simple("softmax", 6)],
    "log_softmax": lambda: [_simple("log_softmax", 6)],
    "log_softmax_gradient": lambda: [_simple("log_softmax_gradient", 6, 6)],
    "softmax_gradient": lambda: [_simple("softmax_gradient", 6, 6)],
    "elementwise_loss": lambda: [
        _loss(name, shape, gradient)
        for name in LOSSES for shape in [(6,), (2, 3), ()] for gradient in (True, False)
    ],
    "softmax_crossentropy": lambda: [
        _crossentropy(dtype, gradient, label_smoothing=smoothing)
        for dtype in ("label", "real") for gradient in (True, False) for smoothing in (0.0, 0.1)
    ] + [_crossentropy("real", True, is_divergence=True)],
    "categorical_accuracy": lambda: [
        Op("categorical_accuracy", (_input("z", 3), target), (Value("hits", ()),), {"k": k})
        for target in (_input("t", dtype="label"), _input("t", 3)) for k in (1, 2)
    ],
    "binary_accuracy": lambda: [
        Op("binary_accuracy", (_input("z", 6), _input("t", 6)), (Value("hits", ()),),
           {"threshold": threshold})
        for threshold in (0.0, 0.5)
    ],
    "mean": lambda: [
        Op("mean", (_input("x"),),
           (Value("loss", (), batched=False, storage="result", dtype="double"),)),
    ],
    "squared_norm": lambda: [
        Op("squared_norm", (Value("gradients", (9001,), batched=False, storage="gradient"),),
           (Value("norms", (3,), batched=False, dtype="double"),)),
    ],
    "update": lambda: [
        op
        for name in OPTIMIZERS
        for op in (
            _update(name), _update(name, clipvalue=0.1, weight_decay=0.5),
            _update(name, weight_decay=FALLS), *_decoupled(name),
        )
    ],
    "moving_average": lambda: [
        Op("moving_average", (average, _parameter("value", 1057)), (average,),
           {"momentum": 0.9, "copies_first": copies})
        for copies in (False, True)
        for average in (Value("average", (1057,), batched=False, storage="state"),)
    ],
    "kernel_gradient_update": lambda: [
        op
        for name in OPTIMIZERS
        for op in (_kernel_gradient_update(name), _kernel_gradient_update(name, has_bias=False))
    ],
}  # fmt: skip


# --- random models ----------------------------------------------------------------------------

PROBLEMS = {
    "crossentropy": ["softmax", None],
    "binary_crossentropy": ["sigmoid", None],
    "mse": [None, "tanh"],
    "mae": [None],
    "huber": [fnn.activations.get("leaky_relu", negative_slope=0.1)],
    "log_cosh": ["softsign"],
    "quantile": [None],
    "poisson": ["exponential", None],
    "hinge": [None],
    "kl_divergence": ["softmax", "log_softmax"],
}
OPTIMIZER_CHOICES = [
    lambda: fnn.SGD(0.1),
    lambda: fnn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda: fnn.Adagrad(0.1),
    lambda: fnn.RMSprop(0.01, centered=True, momentum=0.5, clipvalue=0.1),
    lambda: fnn.Adam(0.01, global_clipnorm=0.5),
    lambda: fnn.Adam(0.01, clipnorm=0.05, use_ema=True, ema_momentum=0.7),
    lambda: fnn.AdamW(0.01, amsgrad=True),
    lambda: fnn.NAdam(0.01),
    lambda: fnn.Lion(0.001, weight_decay=0.1),
]
FALLS = fnn.schedules.StepDecay(0.5, 1, 0.5)  # a half in the first step, a quarter in the second


def _of_columns(rng: np.random.Generator, pool: list[Any]) -> list[Any]:
    """A chain of layers that treat columns by themselves, which begins in one of the pool."""
    anything = fnn.initializers.Normal(1.0, 0.3)
    names = [name for name in fnn.activations.NAMES if name not in fnn.activations.OF_ROWS]

    def columns(x: Any) -> Any:
        start = int(rng.integers(x.shape[0]))
        return fnn.Columns(start, int(rng.integers(start + 1, x.shape[0] + 1)))(x)

    def piecewise(x: Any) -> Any:
        layer = fnn.PiecewiseLinearEmbedding(int(rng.integers(1, 4)), int(rng.integers(1, 6)))
        layer.adapt(rng.standard_normal((40, *x.shape)).round(1))
        return layer(x)

    def periodic(x: Any) -> Any:
        units, waves = (int(n) for n in rng.integers(1, 5, 2))
        return fnn.PeriodicEmbedding(units, waves, frequency_scale=0.3)(x)

    makers = [
        columns, piecewise, periodic, lambda x: fnn.Scale(anything)(x),
        lambda x: fnn.ParametricActivation(str(rng.choice(names)), anything)(x),
    ]  # fmt: skip
    chain = [pool[int(rng.integers(len(pool)))]]
    for number in rng.integers(0, len(makers), rng.integers(1, 4)):
        chain.append(makers[int(number)](chain[-1]))
    return chain[1:]


def _with_members(rng: np.random.Generator, pool: list[Any], member: Any) -> list[Any]:
    """Layers of an ensemble that read some of the pool, and the means of their outputs."""
    scaled = fnn.MemberScale(CATEGORIES, fnn.initializers.Normal(1.0, 0.3))
    last = fnn.MemberDense(int(rng.integers(1, 4)), CATEGORIES, use_bias=bool(rng.integers(2)))
    x = pool[int(rng.integers(len(pool)))]
    both = [last([h, member]) for h in (scaled([x, member]), fnn.Activation("tanh")(x))]
    return [fnn.Average()([both[int(i)] for i in rng.integers(0, 2, rng.integers(2, 5))])]


def random_model(seed: int, dtype: str = "float64") -> tuple[fnn.Model, Any, np.ndarray]:
    """Return a compiled functional model of random layers, with a batch for it."""
    rng = np.random.default_rng(seed)
    names = [*fnn.activations.NAMES]

    def activation() -> str:
        return str(rng.choice(names))

    def pick() -> Any:
        return pool[int(rng.integers(len(pool)))]

    shapes = [(int(rng.integers(1, 20)),), (int(rng.integers(1, 5)), int(rng.integers(1, 6)))]
    inputs = [fnn.Input(shapes[int(i)]) for i in rng.integers(0, 2, rng.integers(1, 4))]
    pool = [x if len(x.shape) == 1 else fnn.Flatten()(x) for x in inputs]
    width = int(rng.integers(1, 24))
    shared = fnn.Dense(width, activation=activation(), use_bias=bool(rng.integers(2)))
    pool += [fnn.Dense(width, activation=activation())(x) for x in pool]
    prepared: list[Any] = []  # what reads the inputs besides the layers in the pool
    if rng.integers(2):
        inputs.append(fnn.Input((2,), name="categories"))
        table = fnn.Embedding(CATEGORIES, int(rng.integers(1, 5)))
        tables = fnn.Embedding([CATEGORIES, CATEGORIES + 1], [3, 1])
        pool += [fnn.Flatten()(table(inputs[-1])), tables(inputs[-1])]
        prepared.append(fnn.CategoryEncoding(CATEGORIES, "count")(inputs[-1]))
        words = fnn.StringLookup(vocabulary=["b", "c"], mask_token="a", output_mode="multi_hot")
        codes = fnn.IntegerLookup(vocabulary=[1, 2])
        inputs += [fnn.Input((2,), name="words", dtype="string"), fnn.Input((2,), name="codes")]
        prepared += [words(inputs[-2]), codes(inputs[-1])]
    anything = fnn.initializers.Normal(1.0, 0.3)

    def residual() -> Any:
        x = pick()
        inner = [
            fnn.BatchNormalization(0.6, 0.1), fnn.Dense(7, activation()), fnn.Dropout(0.2),
            fnn.Dense(x.shape[0]),
        ]  # fmt: skip
        return fnn.Residual(inner[int(rng.integers(3)) :])(x)

    more = [
        lambda: fnn.Reshape((-1,))(fnn.Reshape((1, -1, 1))(pick())),
        lambda: fnn.Multiply()([wide[int(i)] for i in rng.integers(0, len(wide), 2)]),
        lambda: fnn.PReLU(anything, shared=bool(rng.integers(2)))(pick()),
        lambda: fnn.LayerNormalization(
            0.1, center=bool(rng.integers(2)), scale=bool(rng.integers(2)),
            gamma_initializer=anything,
        )(pick()),
        lambda: fnn.BatchNormalization(
            0.8, 0.1, center=bool(rng.integers(2)), scale=bool(rng.integers(2)),
            gamma_initializer=anything, moving_mean_initializer="normal",
            moving_variance_initializer=anything,
        )(pick()),
        residual,
    ]  # fmt: skip
    for _ in range(int(rng.integers(2, 11))):
        wide = [x for x in pool if x.shape == (width,)]
        kind = int(rng.integers(-1, 8 + len(more)))
        if kind >= 8:
            pool.append(more[kind - 8]())
        elif kind == 0:
            penalty = rng.choice([None, "l1", "l2", "l1_l2"])
            layer = fnn.Dense(
                int(rng.integers(1, 40)),
                activation=activation(),
                kernel_regularizer=penalty,
                bias_regularizer=penalty,
            )
            pool.append(layer(pick()))
        elif kind in (-1, 1):
            pool.append(shared(wide[int(rng.integers(len(wide)))]))
        elif kind == 2:
            pool.append(fnn.Activation(activation())(pick()))
        elif kind == 3:
            rate = float(rng.uniform(0.1, 0.7))
            pool.append(fnn.Dropout(FALLS if seed % 2 else rate)(pick()))
        elif kind in (4, 5):
            pool.append(fnn.Add()([wide[int(i)] for i in rng.integers(0, len(wide), 3)]))
        elif kind == 6:
            pool.append(fnn.Concatenate()([pick() for _ in range(int(rng.integers(2, 9)))]))
        else:
            pool.append(fnn.Flatten()(pick()))
    prepared += _of_columns(np.random.default_rng([seed, 1]), pool)
    if seed % 2 == 0:
        inputs.append(fnn.Input((1,), name="member"))
        prepared += _with_members(np.random.default_rng([seed, 2]), pool, inputs[-1])
    loss = str(rng.choice(list(PROBLEMS)))
    last = PROBLEMS[loss][int(rng.integers(len(PROBLEMS[loss])))]
    units = int(rng.integers(2, 6))
    centered = fnn.Normalization(mean=0.5, variance=3.0, invert=seed % 2 == 0)
    prepared += [centered(pool[0]), fnn.Rescaling(-0.5, 0.25)(pool[-1])]
    end = fnn.Dense(units)(fnn.Concatenate()([*pool[-3:], *pool[: len(inputs)], *prepared]))
    model = fnn.Model(inputs, fnn.Activation(last)(end) if last else end, dtype=dtype, seed=seed)
    metrics = ["accuracy"] if "crossentropy" in loss or loss == "kl_divergence" else ["mse"]
    optimizer = OPTIMIZER_CHOICES[int(rng.integers(len(OPTIMIZER_CHOICES)))]()
    if seed % 4 == 1:
        optimizer.weight_decay = FALLS
    model.compile(optimizer, loss, metrics)
    if seed % 3 == 0:  # parameters with different settings
        for layer in model.layers:
            layer.learning_rate_factor = float(rng.choice([0.5, 1.0, 1.0]))
            layer.trainable = bool(rng.random() < 0.8)
            if "bias" in layer.parameters and layer.trainable:
                layer.learning_rate_factor = {"bias": 0.25}
    rows = int(rng.choice([1, 2, 7, 16, 33]))
    x = [
        rng.choice(list("abcd"), (rows, 2)) if tensor.name == "words"
        else rng.integers(0, CATEGORIES, (rows, *tensor.shape))
        if tensor.name in ("categories", "codes", "member")
        else rng.standard_normal((rows, *tensor.shape))
        for tensor in inputs
    ]  # fmt: skip
    if loss == "crossentropy":
        y: np.ndarray = rng.integers(0, units, rows)
    elif loss == "binary_crossentropy":
        y = rng.integers(0, 2, (rows, units)).astype(np.float64)
    elif loss == "poisson":
        y = rng.integers(0, 4, (rows, units)).astype(np.float64)
    elif loss == "hinge":
        y = 2.0 * rng.integers(0, 2, (rows, units)) - 1
    elif loss == "kl_divergence":
        y = rng.dirichlet(np.ones(units), rows)
    else:
        y = rng.standard_normal((rows, units))
    return model, x if len(x) > 1 else x[0], y


def train_natively(model: fnn.Model, x: Any, y: np.ndarray) -> dict[str, np.ndarray]:
    """One step of a model's train program; results, gradients, new parameters and state."""
    samples = model.network.checked_samples(x, y)
    sources, kind = samples.sources, samples.target_types
    rows, runtime = len(y), model.network.runtime
    bound = runtime.bound(Purpose.TRAIN, rows, kind)
    results = np.empty((1, len(bound.plan.program.results)))
    rates = np.array([model.optimizer.learning_rate])
    run = bound.prepare(Steps(sources, rows, rows), results=results, learning_rates=rates)
    assert run.make() == 1
    return {
        "results": results[0],
        **{f"gradient of {name}": view.copy() for name, view in model.gradients.items()},
        "parameters": runtime.arenas["parameters"].copy(),
        "state": runtime.arenas["state"].copy(),
    }


def train_by_reference(model: fnn.Model, x: Any, y: np.ndarray) -> dict[str, np.ndarray]:
    """The same step by the plain executor; the model is not changed."""
    samples = model.network.checked_samples(x, y)
    sources, kind = samples.sources, samples.target_types
    runtime = model.network.runtime
    program = runtime.bound(Purpose.GRADIENTS, len(y), kind).plan.program
    parameters = {name: view.copy() for name, view in model.parameters.items()}
    arenas = {name: array.copy() for name, array in runtime.arenas.items()}
    context = reference.Context(
        model.dtype, runtime.key, runtime.step + 1, model.optimizer.learning_rate, len(y),
        arenas["state"], runtime.offsets,
    )  # fmt: skip
    made = reference.run(program, [s.array for s in sources], parameters, context)
    gradients = {v.name: array for v, array in made.items() if v.storage == "gradient"}
    flat = np.zeros(runtime.count, model.dtype)
    for name, gradient in gradients.items():
        flat[runtime.offsets[name] :][: gradient.size] = gradient.ravel()
    new = arenas["parameters"]
    values = {**runtime.views_of(new), "parameters": new}
    made_names = {value.name: array for value, array in made.items()}
    for op in runtime.bound(Purpose.TRAIN, len(y), kind).plan.program.ops:
        if op.name == "moving_average" and op.output.storage == "parameter":
            moving, momentum = values[op.output.name], op.attributes["momentum"]
            moving[...] = momentum * moving + (1 - momentum) * made_names[op.input(1).name]
    update = runtime.bound(Purpose.UPDATE, 1).plan.program
    reference.run(update, [], values, context, gradients={**gradients, "gradients": flat})
    named = {v.name: array for v, array in made.items() if v.storage == "result"}
    return {
        "results": np.array([named[name] for name in program.results], np.float64),
        **{
            f"gradient of {name}": gradients.get(name, np.zeros_like(view))
            for name, view in model.gradients.items()
        },
        "parameters": new,
        "state": context.state,
    }
