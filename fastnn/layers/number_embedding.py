"""Embeddings of numbers: each column as several, by functions that the column learns."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn.core.declare import integer, number, state
from fastnn.initializers import Given, Initializer, Normal, Uniform
from fastnn.layers.base import Layer, Shape, registry, view_of
from fastnn.layers.columns import flat
from fastnn.layers.preprocessing.base import Measuring, Parts
from fastnn.native import engine
from fastnn.program.builder import Builder
from fastnn.program.ops import Value

# Where bins end that a column has too few different numbers for: nothing passes any share of them.
FAR = float(np.finfo(np.float32).max) / 2


@registry.add
class PeriodicEmbedding(Layer):
    r"""Cosines of each number, and a linear layer of the column's own behind them.

    .. math:: y_{c,u} = \sum_w \cos(2 \pi (f_{c,w} x_c + p_{c,w})) \, k_{c,w,u} + b_{c,u}

    The embedding of RealMLP (PBLD, Holzmüller et al. 2024), after Gorishniy et al. 2022. To keep
    the number itself beside it, use `Concatenate`, as below.

    Parameters
    ----------
    units : int, default 3
        Numbers for each column.
    waves : int, default 16
    frequency_scale : float, default 0.1
        Standard deviation of the initial frequencies, in turns for each unit of the input.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    frequency, phase : ndarray, shape (columns, waves)
        In turns; views into the model's parameters, once the model is built.
    kernel : ndarray, shape (columns, waves, units)
    bias : ndarray, shape (columns, units)

    Notes
    -----
    The output has shape (columns * units,). Frequencies begin normally distributed, phases
    uniformly in [-pi, pi), as in the source, kernel and bias uniformly in +-1 / sqrt(waves).

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((5,))
    >>> fnn.Concatenate()([x, fnn.PeriodicEmbedding()(x)]).shape
    (20,)
    """

    kind = "periodic_embedding"

    units: int = integer(default=3)
    waves: int = integer(default=16)
    frequency_scale: float = number(default=0.1, least=0, kw_only=True)

    frequency = view_of("frequency")
    phase = view_of("phase")
    kernel = view_of("kernel")
    bias = view_of("bias")

    def check_together(self) -> None:
        """Raise ValueError if waves and units are more than a worker has room for."""
        if self.waves * (self.units + 2) + self.units > engine.SCRATCH_VECTORS:
            raise ValueError(
                f"waves * (units + 2) must be at most {engine.SCRATCH_VECTORS:,}, got {self.waves} "
                f"waves and {self.units} units"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (columns * units,)."""
        return (flat(self, inputs) * self.units,)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of frequencies, phases, kernel and bias."""
        columns = flat(self, inputs)
        near = Uniform(-(self.waves**-0.5), self.waves**-0.5)
        return {
            "frequency": ((columns, self.waves), Normal(stddev=self.frequency_scale)),
            "phase": ((columns, self.waves), Uniform(-np.pi, np.pi)),
            "kernel": ((columns, self.waves, self.units), near),
            "bias": ((columns, self.units), near),
        }

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        names = "frequency", "phase", "kernel", "bias"
        operands = inputs[0], *map(builder.parameter, names)
        return builder.emit(self.kind, operands, self.output_shape(inputs[0].shape))


@registry.add
class PiecewiseLinearEmbedding(Measuring):
    r"""A function of each number that is linear between the edges of bins.

    .. math:: y_{c,u} = \sum_b e_{c,b}(x_c) \, k_{c,b,u} + b_{c,u}

    where :math:`e_{c,b}` is the share of bin b of column c that the number has passed, between 0
    and 1; the first bin goes on below its edge, and the last one above (Gorishniy et al. 2022).

    The edges are quantiles of the data given to `adapt`, or, if it has not been called when `fit`
    begins, of the rows to train on. They are saved and set like all parameters, but no training
    changes them.

    Parameters
    ----------
    units : int, default 16
        Numbers for each column.
    bins : int, default 48
        At most; a column of few different numbers has fewer.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    edges : ndarray, shape (columns, bins + 1)
        Views into the model's parameters, once the model is built.
    kernel : ndarray, shape (columns, bins, units)
    bias : ndarray, shape (columns, units)

    Notes
    -----
    The output has shape (columns * units,). Kernel and bias begin uniformly distributed in +-1 /
    sqrt(bins).

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.PiecewiseLinearEmbedding(units=4, bins=2)
    >>> layer.adapt([[1.0], [2.0], [7.0]])
    >>> layer.edges
    array([[1., 2., 7.]])
    >>> layer(fnn.Input((1,))).shape
    (4,)
    """

    kind = "piecewise_linear_embedding"
    takes_any_scale: ClassVar[bool] = True

    units: int = integer(default=16)
    bins: int = integer(default=48)
    measured: Any = state()  # the edges, or None

    kernel = view_of("kernel")
    bias = view_of("bias")

    @property
    def edges(self) -> np.ndarray | None:
        """The edges of each column's bins; None until they are known."""
        if self.parameters:
            return self._parameter("edges") if self.is_adapted else None
        found: np.ndarray | None = self.measured
        return found

    @property
    def is_adapted(self) -> bool:
        """Whether the edges are known."""
        if self.parameters:
            return bool(self.parameters["edges"].any())
        return self.measured is not None

    def check_sample(self, shape: Shape) -> None:
        """Raise ValueError if samples are not columns, or not as many as those before."""
        flat(self, (shape,))
        wanted = len(self.parameters["edges"]) if self.parameters else 0
        if wanted and shape != (wanted,):
            raise ValueError(
                f"layer {self.name!r} was built for {wanted} columns, got samples of shape {shape}"
            )

    def measure(self, parts: Parts) -> None:
        """Measure the edges: the quantiles of each column, each once."""
        rows = [np.asarray(part, np.float64) for part in parts]
        data = np.concatenate(rows) if rows else np.zeros((0, 0))
        if not data.size:
            raise ValueError(f"layer {self.name!r} needs at least one row to measure, got none")
        quantiles = np.quantile(data, np.linspace(0, 1, self.bins + 1), axis=0).T
        edges = np.empty_like(quantiles)
        for row, found in zip(edges, quantiles, strict=True):
            distinct = np.unique(found)
            if len(distinct) == 1:  # a constant column; its bin has a width, so that it is finite
                distinct = np.array([distinct[0], distinct[0] + 1])
            row[: len(distinct)], row[len(distinct) :] = distinct, FAR
        self.measured = edges
        if self.parameters:
            with self._set_by("adapt"):
                self.parameters["edges"][...] = edges

    def forget(self) -> None:
        """Forget the edges."""
        self.measured = None
        if self.parameters:
            self.parameters["edges"][...] = 0

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (columns * units,)."""
        columns = flat(self, inputs)
        if self.measured is not None and len(self.measured) != columns:
            raise ValueError(
                f"{len(self.measured)} columns were measured, but samples have shape ({columns},)"
            )
        return (columns * self.units,)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of edges, kernel and bias."""
        columns = flat(self, inputs)
        near = Uniform(-(self.bins**-0.5), self.bins**-0.5)
        edges = np.zeros(()) if self.measured is None else self.measured
        return {
            "edges": ((columns, self.bins + 1), Given(edges)),
            "kernel": ((columns, self.bins, self.units), near),
            "bias": ((columns, self.units), near),
        }

    def rate_factor(self, parameter: str) -> float:
        """Return 0 for the edges, which no gradient changes."""
        return 0.0 if parameter == "edges" else super().rate_factor(parameter)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        operands = inputs[0], *map(builder.parameter, ("edges", "kernel", "bias"))
        shape = self.output_shape(inputs[0].shape)
        return builder.emit("piecewise_embedding", operands, shape)
