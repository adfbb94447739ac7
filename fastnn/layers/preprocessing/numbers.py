"""Layers that shift and scale numbers: by measured means and deviations, or by given factors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import boolean, checked, number, state
from fastnn.initializers import Given, Initializer
from fastnn.layers.base import Layer, Shape, only, registry
from fastnn.layers.preprocessing.base import Measuring, Parts
from fastnn.layers.preprocessing.moments import Moments
from fastnn.program.builder import Builder
from fastnn.program.ops import Value


def _numbers(name: str, value: Any) -> float | list[float]:
    """Return a finite number, or a list of them."""
    if np.ndim(value) == 0:
        return checks.number(name, value.item() if isinstance(value, np.generic) else value)
    if np.ndim(value) != 1 or len(value) == 0:
        raise ValueError(
            f"{name} must be a number, or one for each column, got shape {np.shape(value)}"
        )
    return [checks.number(f"{name}[{i}]", one) for i, one in enumerate(np.asarray(value).tolist())]


def _variances(name: str, value: Any) -> float | list[float]:
    found = _numbers(name, value)
    for one in found if isinstance(found, list) else [found]:
        checks.number(name, one, least=0)
    return found


def _axis(name: str, value: object) -> int | None:
    if value is None:
        return None
    if value == -1:
        return -1
    raise ValueError(
        f"{name} must be -1, a mean for each entry of the last axis, or None, one for all, "
        f"got {value!r}"
    )


@registry.add
class Normalization(Measuring):
    """Shifts and scales each column to mean 0 and variance 1: y = (x - mean) / sqrt(variance).

    Mean and biased variance are those of the data given to `adapt`; or, if it has not been
    called when `fit` begins, of the rows to train on; or the arguments. They are saved and set
    like all parameters ("mean", and "scale", the square root of the variance), but no training
    changes them. A column that is constant in the data has scale 1, as in scikit-learn's
    StandardScaler, so that it becomes 0; in Keras, later values of such a column are divided by
    1e-7.

    Parameters
    ----------
    axis : {-1, None}, default -1
        -1: a mean for each entry of the last axis of a sample; None: one for all numbers.
    mean, variance : float or sequence of float, optional
        Give both, or neither.
    invert : bool, default False
        Whether to undo a normalization: y = x * sqrt(variance) + mean.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    mean, scale : ndarray, shape (columns,) or (1,)
        Views into the model's parameters, once the model is built; None until they are known.
    variance : ndarray of float64, of the same shape
        The square of the scale.

    Notes
    -----
    Sums are computed in float64. A float32 model gets its numbers as float32, so that a column
    whose mean is 10**n times its spread keeps 7 - n digits of the spread; float64 keeps 16 - n.
    `fit` measures what reaches the layer if that is an input of the model, directly or through
    Reshape or Flatten; behind other layers, call `adapt`. Sparse inputs are measured as they are,
    zeros included, but become dense a batch at a time.

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.Normalization()
    >>> layer.adapt([[1.0, 10.0], [3.0, 30.0]])
    >>> layer.mean, layer.variance
    (array([ 2., 20.]), array([  1., 100.]))
    >>> model = fnn.Sequential([layer], input_shape=(2,))
    >>> model.predict([[3.0, 0.0]])
    array([[ 1., -2.]], dtype=float32)
    """

    kind = "normalization"
    takes_any_scale: ClassVar[bool] = True
    takes_sparse: ClassVar[bool] = True

    axis: int | None = checked(_axis, default=-1)
    mean: Any = checked(_numbers, default=None, is_optional=True, kw_only=True)
    variance: Any = checked(_variances, default=None, is_optional=True, kw_only=True)
    invert: bool = boolean(default=False, kw_only=True)
    measured: Any = state()  # mean and scale, or None

    def check_together(self) -> None:
        """Raise ValueError if only one of mean and variance was given, or their lengths differ."""
        given = self._arguments_given()
        if sum(one is not None for one in given) == 1:
            raise ValueError("give mean and variance, or neither")
        lengths = {len(one) for one in given if isinstance(one, list)}
        if len(lengths) == 2:
            raise ValueError(
                f"mean and variance must have one number for each column, got {len(given[0])} "
                f"and {len(given[1])}"
            )

    def _arguments_given(self) -> tuple[Any, Any]:
        values = vars(self)  # not the properties, which are what the layer computes with
        return values["mean"], values["variance"]

    def _statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and scale, given or measured, before the model is built."""
        mean, variance = self._arguments_given()
        if mean is None:
            found: tuple[np.ndarray, np.ndarray] | None = self.measured
            return found
        deviations = np.sqrt(np.atleast_1d(np.float64(variance)))
        both = np.atleast_1d(np.float64(mean)), np.where(deviations == 0, 1.0, deviations)
        left, right = np.broadcast_arrays(*both)
        return left, right

    @property
    def scale(self) -> np.ndarray | None:
        """The square root of the variance; 1 for a constant column. None if it is not known."""
        return self._statistic("scale")

    def _statistic(self, name: str) -> np.ndarray | None:
        if self.parameters:
            return self._parameter(name) if self.is_adapted else None
        known = self._statistics()
        return None if known is None else known[name == "scale"]

    # --- measuring ----------------------------------------------------------------------------

    @property
    def is_adapted(self) -> bool:
        """Whether mean and variance are known; a built layer that waits for them has scale 0."""
        if self.parameters:
            return bool(self.parameters["scale"].any())
        return self._statistics() is not None

    def check_adaptable(self) -> None:
        """Raise ValueError if mean and variance were given."""
        if self._arguments_given()[0] is not None:
            raise ValueError(
                f"layer {self.name!r} was given its mean and variance, so that it has nothing to "
                "measure"
            )

    def check_sample(self, shape: Shape) -> None:
        """Raise ValueError if the samples have another number of columns than those before."""
        wanted = self.parameters["mean"].size if self.parameters else 0
        if wanted and self._features(shape) != wanted:
            raise ValueError(
                f"layer {self.name!r} was built for {wanted} columns, got samples of shape {shape}"
            )

    def measure(self, parts: Parts) -> None:
        """Measure mean and variance."""
        total: Moments | None = None
        for part in parts:
            features = self._features(tuple(part.shape[1:]))
            if hasattr(part, "indptr"):
                found = Moments.of_sparse(part, features)
            else:
                shift = None if total is None else total.shift
                found = Moments.of(part.reshape(-1, features), shift)
            total = found if total is None else total.joined(found)
        if total is None or total.count == 0:
            raise ValueError(f"layer {self.name!r} needs at least one row to measure, got none")
        self._set(total.means, total.scales)

    def _set(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.measured = mean, scale
        if self.parameters:
            with self._set_by("adapt"):
                self.parameters["mean"][...] = mean
                self.parameters["scale"][...] = _representable(scale)

    def forget(self) -> None:
        """Forget mean and variance."""
        self.measured = None
        for view in self.parameters.values():
            view[...] = 0

    # --- building -----------------------------------------------------------------------------

    def _features(self, shape: Shape) -> int:
        return 1 if self.axis is None else shape[-1]

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        shape = only("Normalization", inputs)
        known, features = self._statistics(), self._features(shape)
        if known is not None and len(known[0]) not in (1, features):
            what = "measured" if self.measured is not None else "given mean and variance"
            raise ValueError(f"{len(known[0])} columns were {what}, but samples have shape {shape}")
        return shape

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes of mean and scale, and what they begin with."""
        mean, scale = self._statistics() or (np.zeros(1), np.zeros(1))
        features = (self._features(inputs[0]),)
        return {
            "mean": (features, Given(mean)),
            "scale": (features, Given(_representable(scale))),
        }

    def rate_factor(self, parameter: str) -> float:
        """Return 0: no gradient changes mean and variance."""
        return 0.0

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        operands = inputs[0], builder.parameter("mean"), builder.parameter("scale")
        return builder.emit("standardize", operands, inputs[0].shape, invert=self.invert)


# The names of the two arguments are also those of what the layer computes with.
Normalization.mean = property(lambda self: self._statistic("mean"), doc="The mean of each column.")
Normalization.variance = property(
    lambda self: None if self.scale is None else np.square(self.scale, dtype=np.float64),
    doc="The square of the scale.",
)


def _representable(scale: np.ndarray) -> np.ndarray:
    """Return the scales, with 1 for those that would count as 0 while a float32 program runs."""
    return np.where((scale != 0) & (scale < np.finfo(np.float32).tiny), 1.0, scale)


@registry.add
class Rescaling(Layer):
    """Multiplies and shifts all numbers: y = x * scale + offset.

    Parameters
    ----------
    scale : float
    offset : float, default 0.0
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Rescaling(1 / 255)], input_shape=(2,))
    >>> model.predict([[0, 255]])
    array([[0., 1.]], dtype=float32)
    """

    kind = "rescaling"
    takes_any_scale: ClassVar[bool] = True

    scale: float = number()
    offset: float = number(default=0.0)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        return only("Rescaling", inputs)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        return builder.emit(
            "rescale", inputs, inputs[0].shape, factor=self.scale, offset=self.offset
        )
