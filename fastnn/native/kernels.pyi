from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

Table = dict[str, tuple[str, str, float]]
Array = np.ndarray

ACTIVATIONS: Table
LOSSES: Table
OPTIMIZERS: Table
MATH: Table
NORM_CHUNK: int

def affine(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    activation: str = "linear",
    parameter: float | None = None,
    out: Array | None = None,
    preactivation: Array | None = None,
    precision: str = "as given",
    workers: int | None = None,
) -> Array: ...
def affine_halves(
    x: Array, kernel: Array, *, out: Array | None = None, precision: str = "as given",
    workers: int | None = None
) -> Array: ...
def add_halves(
    halves: Array,
    bias: Array | None = None,
    *,
    activation: str = "linear",
    parameter: float | None = None,
    out: Array | None = None,
    preactivation: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def input_gradient(
    grad_output: Array,
    kernel: Array,
    saved: Array | None = None,
    *,
    activation: str = "linear",
    parameter: float | None = None,
    out: Array | None = None,
    precision: str = "as given",
    workers: int | None = None,
) -> Array: ...
def kernel_gradient(
    x: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    bias_out: Array | None = None,
    precision: str = "as given",
    workers: int | None = None,
) -> Array: ...
def kernel_gradient_halves(
    x: Array, grad_output: Array, *, precision: str = "as given",
    workers: int | None = None
) -> tuple[Array, Array, Array]: ...
def add_gradient_half(
    kernel: Array, bias: Array | None, second: Array, rows: int, *, workers: int | None = None
) -> None: ...
def bias_gradient(
    grad_output: Array, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def activation(
    x: Array,
    name: str,
    *,
    parameter: float | None = None,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def activation_gradient(
    saved: Array,
    grad_output: Array,
    name: str,
    *,
    parameter: float | None = None,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def add(a: Array, b: Array, *, out: Array | None = None, workers: int | None = None) -> Array: ...
def math(
    x: Array, name: str, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def softmax(x: Array, *, out: Array | None = None, workers: int | None = None) -> Array: ...
def log_softmax(x: Array, *, out: Array | None = None, workers: int | None = None) -> Array: ...
def softmax_gradient(
    y: Array, grad_output: Array, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def log_softmax_gradient(
    y: Array, grad_output: Array, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def dropout(
    x: Array,
    rate: float,
    *,
    seed: int = 0,
    step: int = 1,
    stream: int = 0,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def multiply(
    a: Array,
    b: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def prelu(
    x: Array,
    slope: Array,
    grad_output: Array | None = None,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def prelu_slope_gradient(
    x: Array,
    grad_output: Array,
    *,
    shared: bool = False,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def parametric_activation(
    x: Array,
    alpha: Array,
    name: str,
    *,
    parameter: float | None = None,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def parametric_activation_gradient(
    x: Array,
    alpha: Array,
    grad_output: Array,
    name: str,
    *,
    parameter: float | None = None,
    out: Array | None = None,
    grad_alpha: Array | None = None,
    workers: int | None = None,
) -> tuple[Array, Array]: ...
def scale_gradient(
    x: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def periodic_embedding(
    x: Array,
    frequency: Array,
    phase: Array,
    kernel: Array,
    bias: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def periodic_embedding_gradient(
    x: Array,
    frequency: Array,
    phase: Array,
    kernel: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    grad_phase: Array | None = None,
    grad_kernel: Array | None = None,
    workers: int | None = None,
) -> tuple[Array, Array, Array]: ...
def periodic_embedding_input_gradient(
    x: Array,
    frequency: Array,
    phase: Array,
    kernel: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def piecewise_embedding(
    x: Array,
    edges: Array,
    kernel: Array,
    bias: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def piecewise_embedding_gradient(
    x: Array,
    edges: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def piecewise_embedding_input_gradient(
    x: Array,
    edges: Array,
    kernel: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def layer_normalization(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    epsilon: float = 1e-3,
    statistics: Array | None = None,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def layer_normalization_gradient(
    x: Array,
    statistics: Array,
    grad_output: Array,
    gamma: Array | None = None,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def layer_normalization_scale_gradient(
    x: Array,
    statistics: Array,
    grad_output: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def batch_normalization(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    mean: Array | None = None,
    variance: Array | None = None,
    *,
    epsilon: float = 1e-3,
    out: Array | None = None,
    workers: int | None = None,
) -> Array | tuple[Array, Array, Array]: ...
def batch_normalization_gradient(
    x: Array,
    mean: Array,
    variance: Array,
    grad_output: Array,
    gamma: Array | None = None,
    *,
    of_batch: bool = True,
    epsilon: float = 1e-3,
    workers: int | None = None,
) -> tuple[Array, Array, Array]: ...
def embedding(
    x: Array,
    table: Array,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def select_member(
    x: Array,
    member: Array,
    members: int,
    *,
    is_gradient: bool = False,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def embedding_gradient(
    x: Array,
    grad_output: Array,
    categories: int,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def standardize(
    x: Array,
    mean: Array | None = None,
    scale: Array | None = None,
    *,
    invert: bool = False,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def rescale(
    x: Array,
    *,
    factor: float = 1.0,
    offset: float = 0.0,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def encode_categories(
    x: Array,
    tokens: int,
    *,
    categories: int | None = None,
    mode: str = "multi_hot",
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def concatenate(
    arrays: Sequence[Array], *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def slice_columns(
    x: Array, first: int, columns: int, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def source_number(dtype: DTypeLike) -> int | None: ...
def gather(
    source: Array,
    order: Array | None,
    *,
    dtype: DTypeLike,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def elementwise_loss(
    prediction: Array,
    target: Array,
    name: str,
    *,
    parameter: float | None = None,
    gradient: bool = True,
    workers: int | None = None,
) -> tuple[Array, Array | None]: ...
def softmax_crossentropy(
    logits: Array,
    target: Array,
    *,
    label_smoothing: float = 0.0,
    is_divergence: bool = False,
    gradient: bool = True,
    workers: int | None = None,
) -> tuple[Array, Array | None]: ...
def categorical_accuracy(
    scores: Array,
    target: Array,
    *,
    k: int = 1,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def binary_accuracy(
    scores: Array,
    target: Array,
    *,
    threshold: float = 0.5,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def mean(x: Array, *, workers: int | None = None) -> float: ...
def squared_norm(
    gradients: Array, *, out: Array | None = None, workers: int | None = None
) -> Array: ...
def sum_of_squares(array: Array, *, workers: int | None = None) -> float: ...
def update(
    name: str,
    parameters: Array,
    gradients: Array,
    state: Array,
    *,
    learning_rate: float,
    step: int,
    hyper_parameters: Sequence[float] = (),
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    weight_decay: float = 0.0,
    workers: int | None = None,
) -> None: ...
def penalty(
    parameter: Array,
    gradient: Array | None = None,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    workers: int | None = None,
) -> Array: ...
def accumulate(
    values: Array,
    *,
    weight: float = 1.0,
    total: float | None = None,
    workers: int | None = None,
) -> float: ...
def scale_rows(
    x: Array,
    weights: Array | None = None,
    *,
    factor: float = 1.0,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def moving_average(
    average: Array, value: Array, *, momentum: float, workers: int | None = None
) -> None: ...
def kernel_gradient_update(
    name: str,
    x: Array,
    grad_output: Array,
    kernel: Array,
    bias: Array | None,
    state: Array,
    *,
    learning_rate: float,
    step: int,
    hyper_parameters: Sequence[float] = (),
    clipvalue: float | None = None,
    weight_decay: float = 0.0,
    precision: str = "as given",
    workers: int | None = None,
) -> None: ...
def sparse_affine(
    values: Array,
    columns: Array,
    indptr: Array,
    order: Array | None,
    kernel: Array,
    bias: Array | None = None,
    *,
    activation: str = "linear",
    parameter: float | None = None,
    out: Array | None = None,
    preactivation: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def sparse_kernel_gradient(
    values: Array,
    columns: Array,
    indptr: Array,
    order: Array | None,
    grad_output: Array,
    inputs: int,
    *,
    out: Array | None = None,
    bias_out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def sparse_kernel_gradient_update(
    name: str,
    values: Array,
    columns: Array,
    indptr: Array,
    order: Array | None,
    grad_output: Array,
    kernel: Array,
    bias: Array | None,
    state: Array,
    *,
    learning_rate: float,
    step: int,
    hyper_parameters: Sequence[float] = (),
    clipvalue: float | None = None,
    weight_decay: float = 0.0,
    workers: int | None = None,
) -> None: ...
def csr_gather(
    values: Array,
    columns: Array,
    indptr: Array,
    order: Array | None,
    inputs: int,
    *,
    out: Array | None = None,
    workers: int | None = None,
) -> Array: ...
def multiply_add(
    x: Array,
    *,
    times: int = 1,
    factor: float = 1.0,
    addend: float = 0.0,
    out: Array | None = None,
    precision: str = "as given",
    workers: int | None = None,
) -> Array: ...
def stream(
    x: Array, y: Array, *, times: int = 1, factor: float = 1.0, workers: int | None = None
) -> None: ...
