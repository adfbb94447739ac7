"""The op table: one row for each op.

A program is a list of `Op` records over `Value` records. A row of `OPS` says which C kernel
runs the op, how its operands, sizes and numbers are laid out for that kernel (the C side of the
same contract stands at the head of each kernel in `src_c`), how it is differentiated, and
roughly how much arithmetic it does. The formulas are in `reference/`.

Everything is immutable in the sense of single assignment: an op reads values and writes new
ones. `plan.py` alone decides whether two values share memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastnn.native import engine

ACTIVATIONS = engine.variants("activations")
LOSSES = engine.variants("losses")
OPTIMIZERS = engine.variants("optimizers")
ACTIVATION_NUMBER = {name: number for number, name in enumerate(ACTIVATIONS)}
LOSS_NUMBER = {name: number for number, name in enumerate(LOSSES)}
OPTIMIZER_NUMBER = {name: number for number, name in enumerate(OPTIMIZERS)}
NORM_CHUNK = engine.NORM_CHUNK
HALVES_FROM_ROWS = engine.HALVES_FROM_ROWS


@dataclass(frozen=True, eq=False)
class Value:
    """Something an op reads or writes.

    Attributes
    ----------
    name : str
        For display; "layer/what".
    shape : tuple of int
        Shape of one sample if `batched`, otherwise of the whole value.
    batched : bool
        Whether there is one such entry for each row of the batch.
    storage : str
        Where it lives: "input" (the user's data), "sparse" (the user's data in compressed rows),
        "parameter", "gradient", "state" (arenas), "work" (planned workspace), "output" and
        "result" (arrays supplied to a run).
    dtype : {"real", "label", "double"}
        The model's dtype, int32 class labels, or float64.
    """

    name: str
    shape: tuple[int, ...]
    batched: bool = True
    storage: str = "work"
    dtype: str = "real"

    @property
    def width(self) -> int:
        """Number of elements of one sample, or of the whole value."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        sizes = (["batch"] if self.batched else []) + [str(size) for size in self.shape]
        return f"{self.name} ({', '.join(sizes)})"


@dataclass(frozen=True, eq=False)
class Op:
    """One step of a program: a row of `OPS` applied to values.

    Optional inputs and outputs are None. `layer` names the layer that emitted it.
    """

    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    layer: str = ""

    @property
    def row(self) -> OpRow:
        """The row of the op table."""
        return OPS[self.name]

    @property
    def output(self) -> Value:
        """The first output."""
        value = self.outputs[0]
        assert value is not None
        return value

    def input(self, position: int) -> Value:
        """Return an input that must be present."""
        value = self.inputs[position]
        assert value is not None
        return value

    def reads(self) -> list[Value]:
        """Return the inputs that are present."""
        return [value for value in self.inputs if value is not None]

    def writes(self) -> list[Value]:
        """Return the outputs that are present."""
        return [value for value in self.outputs if value is not None]

    @property
    def batched(self) -> bool:
        """Whether any of its values has one entry for each row of the batch."""
        return any(value.batched for value in self.reads() + self.writes())


# emit(name, inputs, outputs, **attributes) appends an op and returns its first output; an
# output given as a shape becomes a new batched value, one given as a Value is used as it is.
Emit = Callable[..., Value]
# The same, but returns the op: for losses and metrics, some of whose outputs may be absent.
EmitOp = Callable[..., "Op"]
Gradient = Callable[[Op, Value, Emit], Sequence[Value | None]]


@dataclass(frozen=True)
class OpRow:
    """What a program needs to know about all ops of one name.

    Attributes
    ----------
    kernel : str
        Name of the C kernel; "" for an op that only changes the shape of a value.
    gradient : callable, optional
        (op, gradient of its first output, emit) to one gradient, or None, for each input.
    sizes, scalars, variant : callable
        Functions of an op, which return the numbers passed to its kernel. One of the scalars may
        be a schedule: the engine then passes its value in each step.
    scheduled_below : float
        What the values of such a schedule must stay below.
    work : callable
        Multiply-adds for each row of the batch, or in total for an op that is not batched.
    operands : callable
        The op's values in the kernel's order; by default inputs, then outputs.
    categories : tuple of int
        Positions of the inputs that it takes as categories, by which there is no gradient.
    updates : bool
        Whether it takes the learning rate and the number of the step, and changes parameters or
        the optimizer's state; it also writes the state that it reads.
    is_python : bool
        Whether it has no kernel and runs between two native ranges.
    in_parts : bool
        Whether an op that lasts long is done in parts, between which the engine looks whether the
        step has been given up; otherwise its kernel looks itself.
    """

    kernel: str
    gradient: Gradient | None = None
    sizes: Callable[[Op], tuple[int, ...]] = lambda op: (op.output.width,)
    scalars: Callable[[Op], tuple[Any, ...]] = lambda op: (op.attributes.get("parameter", 0.0),)
    scheduled_below: float = math.inf
    variant: Callable[[Op], int] = lambda op: 0
    work: Callable[[Op], float] = lambda op: 2.0 * op.output.width
    operands: Callable[[Op], tuple[Value | None, ...]] = lambda op: op.inputs + op.outputs
    categories: tuple[int, ...] = ()
    updates: bool = False
    is_python: bool = False
    in_parts: bool = True


# --- gradients --------------------------------------------------------------------------------


def _affine_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, kernel, bias = op.input(0), op.input(1), op.inputs[2]
    return [
        emit("input_gradient", (grad, kernel, None), (x.shape,), activation="linear"),
        emit("kernel_gradient", (x, grad), (gradient_of(kernel),)),
        emit("bias_gradient", (grad,), (gradient_of(bias),)) if bias is not None else None,
    ]


def _activation_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    saved = saved_of(op)
    return [emit("activation_gradient", (saved, grad), (grad.shape,), **op.attributes)]


def saved_of(op: Op) -> Value:
    """Return the value that an activation keeps for backward: its input or its output."""
    return op.input(0) if ACTIVATIONS[op.attributes["activation"]][0] == "input" else op.output


def gradient_of(parameter: Value) -> Value:
    """Return a new value for a contribution to the gradient of a parameter."""
    return Value(f"{parameter.name} gradient", parameter.shape, batched=parameter.batched)


def _concatenate_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    gradients: list[Value | None] = []
    first = 0
    for value in op.reads():
        gradients.append(emit("slice_columns", (grad,), (value.shape,), first=first))
        first += value.width
    return gradients


def _reshape_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("reshape", (grad,), (op.input(0).shape,))]


def _dropout_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("dropout", (grad,), (grad.shape,), **op.attributes)]


def _softmax_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("softmax_gradient", (op.output, grad), (grad.shape,))]


def _multiply_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    a, b = op.input(0), op.input(1)
    return [emit("multiply", (grad, b), (grad.shape,)), emit("multiply", (grad, a), (grad.shape,))]


def _prelu_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, slope = op.input(0), op.input(1)
    return [
        emit("prelu_gradient", (x, slope, grad), (grad.shape,)),
        emit("prelu_slope_gradient", (x, grad), (gradient_of(slope),)),
    ]


def _layer_normalization_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    (x, gamma, beta), statistics = op.inputs, op.outputs[1]
    return [
        emit("layer_normalization_gradient", (x, statistics, gamma, grad), (grad.shape,)),
        gamma and emit("layer_normalization_scale_gradient", (x, statistics, grad),
                       (gradient_of(gamma),)),
        beta and emit("bias_gradient", (grad,), (gradient_of(beta),)),
    ]  # fmt: skip


def _batch_normalization_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    of_batch = op.name == "batch_normalization"
    x, gamma, beta = op.inputs[:3]
    mean, variance = op.outputs[1:] if of_batch else op.inputs[3:]
    by_gamma = None if gamma is None else gradient_of(gamma)
    by_beta = None if beta is None else gradient_of(beta)
    by_x = emit(
        "batch_normalization_gradient", (x, gamma, mean, variance, grad),
        (grad.shape, by_gamma, by_beta), of_batch=of_batch, epsilon=op.attributes["epsilon"],
    )  # fmt: skip
    return [by_x, by_gamma, by_beta, *(None for _ in op.inputs[3:])]


def _parametric_activation_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, alpha = op.input(0), op.input(1)
    by_alpha = gradient_of(alpha)
    by_x = emit("parametric_activation_gradient", (x, alpha, grad), (grad.shape, by_alpha),
                **op.attributes)  # fmt: skip
    return [by_x, by_alpha]


def _scale_columns_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, scale = op.input(0), op.input(1)
    return [
        emit("scale_columns", (grad, scale), (grad.shape,)),
        emit("scale_gradient", (x, grad), (gradient_of(scale),)),
    ]


def _slice_columns_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("pad_columns", (grad,), (op.input(0).shape,), **op.attributes)]


def _periodic_embedding_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, *parameters, bias = op.reads()
    by_parameters = [gradient_of(parameter) for parameter in parameters]
    operands = (x, *parameters, grad)
    emit("periodic_embedding_gradient", operands, tuple(by_parameters))
    return [
        emit("periodic_embedding_input_gradient", operands, (x.shape,)),
        *by_parameters,
        emit("bias_gradient", (grad,), (gradient_of(bias),)),
    ]


def _piecewise_embedding_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, edges, kernel, bias = op.reads()
    return [
        emit("piecewise_embedding_input_gradient", (x, edges, kernel, grad), (x.shape,)),
        None,  # edges are measured, not learned
        emit("piecewise_embedding_gradient", (x, edges, grad), (gradient_of(kernel),)),
        emit("bias_gradient", (grad,), (gradient_of(bias),)),
    ]


def _embedding_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, table = op.input(0), op.input(1)
    return [None, emit("embedding_gradient", (x, grad), (gradient_of(table),), **op.attributes)]


def _standardize_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    scaled = emit("standardize", (grad, None, op.inputs[2]), (grad.shape,), **op.attributes)
    return [scaled, None, None]  # mean and scale are measured, not learned


def _rescale_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("scale_rows", (grad, None), (grad.shape,), factor=op.attributes["factor"])]


def _select_member_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    x, member = op.input(0), op.input(1)
    return [emit("select_member_gradient", (grad, member), (x.shape,), **op.attributes), None]


def _encode_categories_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [None]


def _log_softmax_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    return [emit("log_softmax_gradient", (op.output, grad), (grad.shape,))]


def _python_gradient(op: Op, grad: Value, emit: Emit) -> list[Value | None]:
    gradients = tuple(gradient_of(value) for value in op.reads())
    emit("python_gradient", (grad, *op.inputs), gradients, code=op.attributes["code"])
    return list(gradients)


# --- layouts of calls -------------------------------------------------------------------------


def _precision(op: Op) -> int:
    """Return the number by which a product rounds its operands; `precision.py` says which do."""
    return engine.PRECISIONS[op.attributes.get("precision", "as given")]


def _sparse_sizes(op: Op) -> tuple[int, ...]:
    return op.input(1).shape


def _dense_sizes(op: Op) -> tuple[int, ...]:
    return *op.input(1).shape, _precision(op)


def _gradient_sizes(op: Op) -> tuple[int, ...]:
    return *op.output.shape, _precision(op)


def _dense_work(op: Op) -> float:
    return float(op.input(1).width)


def _activation_number(op: Op) -> int:
    return ACTIVATION_NUMBER[op.attributes["activation"]]


def _concatenate_operands(op: Op) -> tuple[Value | None, ...]:
    absent = (None,) * (engine.MAX_INPUTS_OF_CONCATENATE - len(op.inputs))
    return (*op.inputs, *absent, *op.outputs)


def _concatenate_sizes(op: Op) -> tuple[int, ...]:
    return tuple(value.width for value in op.reads())


def _epsilon(op: Op) -> tuple[float, ...]:
    return (op.attributes["epsilon"],)


def _periodic_sizes(op: Op) -> tuple[int, ...]:
    return op.input(0).width, *op.input(3).shape[1:]


def _periodic_work(op: Op) -> float:
    return 16.0 * op.input(0).width * op.input(1).shape[1]


def _piecewise_sizes(op: Op) -> tuple[int, ...]:
    kernel = op.output if op.name == "piecewise_embedding_gradient" else op.input(2)
    return op.input(0).width, *kernel.shape[1:]


def _piecewise_work(op: Op) -> float:
    columns, bins, units = _piecewise_sizes(op)
    return columns * bins * units / 2


def _embedding_sizes(op: Op) -> tuple[int, ...]:
    table = op.input(1) if op.name == "embedding" else op.output
    return (op.input(0).width, op.attributes["first"], op.attributes["columns"], *table.shape)


# The variants of encode_categories.
ENCODINGS = ("one_hot", "multi_hot", "count")


def _encode_sizes(op: Op) -> tuple[int, ...]:
    return op.input(0).width, op.attributes["tokens"], op.attributes["categories"]


def _takes_labels(op: Op) -> int:
    """Variant 0 of a kernel takes labels, variant 1 takes probabilities."""
    return 0 if op.input(1).dtype == "label" else 1


def _crossentropy_variant(op: Op) -> int:
    return 2 if op.attributes.get("is_divergence") else _takes_labels(op)


def is_schedule(number: Any) -> bool:
    """Return whether a scalar of an op is a `fastnn.schedules.Schedule`, with a value per step."""
    return hasattr(number, "rates_from")


def _update_scalars(op: Op) -> tuple[Any, ...]:
    a = op.attributes
    infinity = math.inf
    return (
        0.0,  # learning rate and number of the step: the engine fills them in
        0.0,
        infinity if a["clipvalue"] is None else a["clipvalue"],
        infinity if a["clipnorm"] is None else a["clipnorm"],
        a["weight_decay"],
        a.get("rate_factor", 1.0),
        *a["hyper_parameters"],
    )


def _update_sizes(op: Op) -> tuple[int, ...]:
    partial = op.inputs[3]
    normed = 0 if partial is None else op.attributes.get("normed", op.output.width)
    return op.output.width, op.attributes["count"], normed


def _kernel_gradient_update_operands(op: Op) -> tuple[Value | None, ...]:
    x, grad, kernel, kernel_state, bias, bias_state = op.inputs
    return x, grad, *op.outputs[:2], kernel, kernel_state, bias, bias_state


# --- the table --------------------------------------------------------------------------------

OPS: dict[str, OpRow] = {
    # Copies rows of the user's data to a batch and converts them. The source and the order are
    # externals of the run; plan.py adds them in front.
    "gather": OpRow(
        "gather",
        sizes=lambda op: (op.output.width, 0, int(op.output.dtype == "label")),
        operands=lambda op: op.outputs,
    ),
    "affine": OpRow(
        "affine",
        _affine_gradient,
        sizes=_dense_sizes,
        variant=_activation_number,
        work=_dense_work,
    ),
    # affine in two passes; fuse.py inserts them after differentiation.
    "affine_halves": OpRow("affine_halves", sizes=_dense_sizes, work=_dense_work),
    "add_halves": OpRow(
        "add_halves",
        variant=_activation_number,
        work=lambda op: 4.0 * op.output.width,
    ),
    "input_gradient": OpRow(
        "input_gradient", sizes=_dense_sizes, variant=_activation_number, work=_dense_work
    ),
    "kernel_gradient": OpRow(
        "kernel_gradient",
        sizes=_gradient_sizes,
        work=lambda op: float(op.output.width),
        in_parts=False,
    ),
    # kernel_gradient in two passes; fuse.py inserts them.
    "kernel_gradient_halves": OpRow(
        "kernel_gradient_halves",
        sizes=_gradient_sizes,
        work=lambda op: float(op.output.width),
        in_parts=False,
    ),
    "add_gradient_half": OpRow(
        "add_gradient_half",
        sizes=lambda op: op.output.shape,
        work=lambda op: 0.0,  # does not grow with the rows
        operands=lambda op: op.inputs[:3],
    ),
    # The same for a sparse x; fuse.py inserts them. The number of entries in a row is not known
    # here; one in a hundred is assumed.
    "sparse_affine": OpRow(
        "sparse_affine",
        sizes=_sparse_sizes,
        variant=_activation_number,
        work=lambda op: _dense_work(op) / 100,
    ),
    "sparse_kernel_gradient": OpRow(
        "sparse_kernel_gradient",
        sizes=lambda op: op.output.shape,
        work=lambda op: op.output.width / 100,
    ),
    "csr_gather": OpRow("csr_gather"),
    "bias_gradient": OpRow("bias_gradient"),
    "activation": OpRow(
        "activation",
        _activation_gradient,
        variant=_activation_number,
        work=lambda op: 16.0 * op.output.width,
    ),
    "activation_gradient": OpRow(
        "activation_gradient",
        variant=_activation_number,
        work=lambda op: 16.0 * op.output.width,
    ),
    "add": OpRow("add", lambda op, grad, emit: [grad, grad]),
    "multiply": OpRow("multiply", _multiply_gradient),
    "prelu": OpRow(
        "prelu",
        _prelu_gradient,
        sizes=lambda op: (op.output.width, op.input(1).width),
        operands=lambda op: (*op.inputs, op.inputs[0], *op.outputs),
    ),
    "prelu_gradient": OpRow("prelu", sizes=lambda op: (op.output.width, op.input(1).width)),
    "prelu_slope_gradient": OpRow(
        "prelu_slope_gradient",
        sizes=lambda op: (op.input(0).width, op.output.width),
        work=lambda op: 2.0 * op.input(0).width,
    ),
    # x + alpha (f(x) - x), with an alpha for each column.
    "parametric_activation": OpRow(
        "parametric_activation",
        _parametric_activation_gradient,
        variant=_activation_number,
        work=lambda op: 16.0 * op.output.width,
    ),
    "parametric_activation_gradient": OpRow(
        "parametric_activation_gradient",
        variant=_activation_number,
        work=lambda op: 32.0 * op.output.width,
    ),
    # A factor for each column.
    "scale_columns": OpRow(
        "standardize",
        _scale_columns_gradient,
        sizes=lambda op: (op.output.width, op.input(1).width),
        variant=lambda op: 1,
        operands=lambda op: (op.inputs[0], None, op.inputs[1], op.outputs[0]),
    ),
    "scale_gradient": OpRow(
        "scale_gradient",
        sizes=lambda op: (op.input(0).width,),
        work=lambda op: 2.0 * op.input(0).width,
    ),
    "scale_rows": OpRow(
        "scale_rows",
        scalars=lambda op: (op.attributes["factor"],),
        operands=lambda op: (*op.inputs, op.outputs[0]),
    ),
    "concatenate": OpRow(
        "concatenate",
        _concatenate_gradient,
        sizes=_concatenate_sizes,
        operands=_concatenate_operands,
    ),
    "slice_columns": OpRow(
        "slice_columns",
        _slice_columns_gradient,
        sizes=lambda op: (op.input(0).width, op.attributes["first"], op.output.width),
    ),
    "pad_columns": OpRow(
        "slice_columns",
        sizes=lambda op: (op.output.width, op.attributes["first"], op.input(0).width),
        variant=lambda op: 1,
    ),
    "reshape": OpRow("", _reshape_gradient, work=lambda op: 0.0),
    "dropout": OpRow(
        "dropout",
        _dropout_gradient,
        sizes=lambda op: (op.output.width, op.attributes["stream"]),
        scalars=lambda op: (op.attributes["rate"],),
        scheduled_below=1.0,
        work=lambda op: 16.0 * op.output.width,
    ),
    "softmax": OpRow("softmax", _softmax_gradient, work=lambda op: 20.0 * op.output.width),
    "softmax_gradient": OpRow("softmax_gradient", work=lambda op: 4.0 * op.output.width),
    # Its second output holds the mean and the scale of each row, for backward.
    "layer_normalization": OpRow(
        "layer_normalization",
        _layer_normalization_gradient,
        scalars=_epsilon,
        work=lambda op: 8.0 * op.output.width,
    ),
    "layer_normalization_gradient": OpRow(
        "layer_normalization_gradient", work=lambda op: 8.0 * op.output.width
    ),
    "layer_normalization_scale_gradient": OpRow(
        "layer_normalization_scale_gradient", work=lambda op: 4.0 * op.output.width
    ),
    # It also writes the mean and the variance of the batch.
    "batch_normalization": OpRow(
        "batch_normalization",
        _batch_normalization_gradient,
        scalars=_epsilon,
        variant=lambda op: 1,
        work=lambda op: 8.0 * op.output.width,
        operands=lambda op: (*op.inputs, *op.outputs[1:], op.output),
    ),
    # It takes a given mean and variance.
    "fixed_normalization": OpRow(
        "batch_normalization",
        _batch_normalization_gradient,
        scalars=_epsilon,
        work=lambda op: 4.0 * op.output.width,
    ),
    "batch_normalization_gradient": OpRow(
        "batch_normalization_gradient",
        scalars=_epsilon,
        variant=lambda op: int(op.attributes["of_batch"]),
        work=lambda op: 8.0 * op.output.width,
    ),
    # Maps the categories in columns [first, first + columns) to rows of a table.
    "embedding": OpRow("embedding", _embedding_gradient, sizes=_embedding_sizes, categories=(0,)),
    "embedding_gradient": OpRow(
        "embedding_gradient", sizes=_embedding_sizes, work=lambda op: 4.0 * op.input(1).width
    ),
    # The columns of the member of an ensemble that a row belongs to.
    "select_member": OpRow(
        "select_member",
        _select_member_gradient,
        sizes=lambda op: (op.attributes["members"], op.output.width),
        categories=(1,),
    ),
    "select_member_gradient": OpRow(
        "select_member",
        sizes=lambda op: (op.attributes["members"], op.input(0).width),
        variant=lambda op: 1,
    ),
    # Zeros and ones for the categories in x, or counts of them; no gradient flows back to x.
    "encode_categories": OpRow(
        "encode_categories",
        _encode_categories_gradient,
        sizes=_encode_sizes,
        variant=lambda op: ENCODINGS.index(op.attributes["mode"]),
        categories=(0,),
    ),
    # Numbers as several numbers, by functions that each column learns.
    "periodic_embedding": OpRow(
        "periodic_embedding",
        _periodic_embedding_gradient,
        sizes=_periodic_sizes,
        work=_periodic_work,
    ),
    "periodic_embedding_gradient": OpRow(
        "periodic_embedding_gradient",
        sizes=_periodic_sizes,
        work=lambda op: 2 * _periodic_work(op),
    ),
    "periodic_embedding_input_gradient": OpRow(
        "periodic_embedding_input_gradient", sizes=_periodic_sizes, work=_periodic_work
    ),
    "piecewise_embedding": OpRow(
        "piecewise_embedding",
        _piecewise_embedding_gradient,
        sizes=_piecewise_sizes,
        work=_piecewise_work,
    ),
    "piecewise_embedding_gradient": OpRow(
        "piecewise_embedding_gradient", sizes=_piecewise_sizes, work=_piecewise_work
    ),
    "piecewise_embedding_input_gradient": OpRow(
        "piecewise_embedding_input_gradient", sizes=_piecewise_sizes, work=_piecewise_work
    ),
    # (x - mean) / scale, or x * scale + mean, by columns; the gradient leaves out the mean.
    "standardize": OpRow(
        "standardize",
        _standardize_gradient,
        sizes=lambda op: (op.output.width, op.input(2).width),
        variant=lambda op: int(op.attributes["invert"]),
    ),
    "rescale": OpRow(
        "standardize",
        _rescale_gradient,
        sizes=lambda op: (op.output.width, 1),
        scalars=lambda op: (op.attributes["factor"], op.attributes["offset"]),
        variant=lambda op: 2,
        operands=lambda op: (op.inputs[0], None, None, op.outputs[0]),
    ),
    "log_softmax": OpRow(
        "log_softmax", _log_softmax_gradient, work=lambda op: 20.0 * op.output.width
    ),
    "log_softmax_gradient": OpRow("log_softmax_gradient", work=lambda op: 16.0 * op.output.width),
    # A loss writes the loss of each row and, if requested, the gradient of their mean.
    "elementwise_loss": OpRow(
        "elementwise_loss",
        sizes=lambda op: (op.input(0).width,),
        variant=lambda op: LOSS_NUMBER[op.attributes["loss"]],
        work=lambda op: 16.0 * op.input(0).width,
    ),
    # Its third output is scratch space for the exponentials, used where no gradient is requested.
    "softmax_crossentropy": OpRow(
        "softmax_crossentropy",
        sizes=lambda op: (op.input(0).width,),
        scalars=lambda op: (op.attributes.get("label_smoothing", 0.0),),
        variant=_crossentropy_variant,
        work=lambda op: 20.0 * op.input(0).width,
    ),
    "categorical_accuracy": OpRow(
        "categorical_accuracy",
        sizes=lambda op: (op.input(0).width,),
        scalars=lambda op: (op.attributes["k"],),
        variant=_takes_labels,
    ),
    "binary_accuracy": OpRow(
        "binary_accuracy",
        sizes=lambda op: (op.input(0).width,),
        scalars=lambda op: (op.attributes["threshold"],),
    ),
    # The mean over the rows of a batch, one float64 for each step.
    "mean": OpRow("mean"),
    # Adds float64 numbers to a result: the means of several losses, penalties.
    "accumulate": OpRow(
        "accumulate",
        sizes=lambda op: (op.input(0).width,),
        scalars=lambda op: (op.attributes["weight"],),
        variant=lambda op: int(len(op.inputs) > 1),
        work=lambda op: 1.0 * op.input(0).width,
        operands=lambda op: (op.inputs[0], op.outputs[0]),
    ),
    # The penalty of a regularizer; the gradient is changed in place.
    "penalty": OpRow(
        "penalty",
        sizes=lambda op: (op.input(0).width,),
        scalars=lambda op: (op.attributes["l1"], op.attributes["l2"]),
        work=lambda op: 4.0 * op.input(0).width,
        operands=lambda op: (*op.inputs, op.outputs[0]),
    ),
    # Code that the user has written; see python_ops.py.
    "python": OpRow("", _python_gradient, is_python=True),
    "python_gradient": OpRow("", is_python=True),
    "python_loss": OpRow("", is_python=True),
    # Ops over whole arenas.
    "squared_norm": OpRow(
        "squared_norm",
        sizes=lambda op: (op.input(0).width,),
        work=lambda op: 2.0 * op.input(0).width,
    ),
    "update": OpRow(
        "update",
        sizes=_update_sizes,
        scalars=_update_scalars,
        variant=lambda op: OPTIMIZER_NUMBER[op.attributes["optimizer"]],
        work=lambda op: 16.0 * op.output.width,
        operands=lambda op: op.inputs,  # parameters and state are updated in place
        updates=True,
    ),
    "moving_average": OpRow(
        "moving_average",
        sizes=lambda op: (op.output.width,),
        # As for an update, the engine fills in the first two.
        scalars=lambda op: (0.0, 0.0, op.attributes["momentum"], op.attributes["copies_first"]),
        operands=lambda op: op.inputs,  # the average is updated in place
        updates=True,
    ),
    # Computes the gradients of a layer's kernel and bias and applies them at once.
    "kernel_gradient_update": OpRow(
        "kernel_gradient_update",
        sizes=lambda op: (*op.input(2).shape, op.attributes["count"], _precision(op)),
        scalars=_update_scalars,
        variant=lambda op: OPTIMIZER_NUMBER[op.attributes["optimizer"]],
        work=lambda op: float(op.output.width),
        operands=_kernel_gradient_update_operands,
        updates=True,
    ),
    "sparse_kernel_gradient_update": OpRow(
        "sparse_kernel_gradient_update",
        sizes=lambda op: (*op.input(2).shape, op.attributes["count"]),
        scalars=_update_scalars,
        variant=lambda op: OPTIMIZER_NUMBER[op.attributes["optimizer"]],
        work=lambda op: op.output.width / 100,
        operands=lambda op: op.inputs,
        updates=True,
    ),
}
