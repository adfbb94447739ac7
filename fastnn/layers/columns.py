"""Layers that treat each column of a sample by itself."""

from __future__ import annotations

from typing import Any

from fastnn import activations, initializers, regularizers
from fastnn.core.declare import instance_of, integer
from fastnn.initializers import Initializer
from fastnn.layers.base import Layer, Shape, only, registry, view_of
from fastnn.program.builder import Builder
from fastnn.program.ops import Value


def flat(layer: Layer, shapes: tuple[Shape, ...]) -> int:
    """Return the number of columns of a layer's only input.

    Raises
    ------
    ValueError
        Its samples have another number of dimensions than one.
    """
    cls = type(layer).__name__
    shape = only(cls, shapes)
    if len(shape) != 1:
        raise ValueError(f"{cls} takes samples of shape (columns,), got {shape}; add Flatten()")
    return shape[0]


@registry.add
class Scale(Layer):
    """Multiplies each column by a factor that is learned: y = x * scale.

    In front of a network, it lets training choose which columns matter, more so with a
    `learning_rate_factor` above 1, as in RealMLP (Holzmüller et al. 2024).

    Parameters
    ----------
    scale_initializer : str or Initializer, default "ones"
    scale_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    scale : ndarray, of the input's shape
        A view into the model's parameters, once the model is built.

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.Scale(fnn.initializers.Constant(2.0))
    >>> fnn.Sequential([layer], input_shape=(2,)).predict([[1.0, 3.0]])
    array([[2., 6.]], dtype=float32)
    """

    kind = "scale"

    scale_initializer: Any = instance_of(initializers.get, default="ones")
    scale_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)

    scale = view_of("scale")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        return only("Scale", inputs)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shape and initializer of the factors."""
        return {"scale": (inputs[0], self.scale_initializer)}

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        operands = inputs[0], builder.parameter("scale")
        return builder.emit("scale_columns", operands, inputs[0].shape)


@registry.add
class ParametricActivation(Layer):
    """An activation that each column mixes with its input: y = x + alpha * (f(x) - x).

    Alpha is learned; at 1 the layer is the activation, at 0 it is linear, as in RealMLP
    (Holzmüller et al. 2024).

    Parameters
    ----------
    activation : str or ActivationFunction
        f; one that acts on single numbers, not softmax, nor a function of your own.
    alpha_initializer : str or Initializer, default "ones"
    alpha_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    alpha : ndarray, of the input's shape
        A view into the model's parameters, once the model is built.

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.ParametricActivation("relu", fnn.initializers.Constant(0.75))
    >>> fnn.Sequential([layer], input_shape=(2,)).predict([[-4.0, 4.0]])
    array([[-1.,  4.]], dtype=float32)
    """

    kind = "parametric_activation"

    activation: Any = instance_of(activations.get)
    alpha_initializer: Any = instance_of(initializers.get, default="ones")
    alpha_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)

    alpha = view_of("alpha")

    def check_together(self) -> None:
        """Raise ValueError for an activation that has no row of its own in the kernels."""
        if isinstance(self.activation, activations.Custom) or self.activation.name in (
            activations.OF_ROWS
        ):
            raise ValueError(
                "activation must be a built-in one that acts on single numbers, got "
                f"{self.activation.name!r}"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        return only("ParametricActivation", inputs)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shape and initializer of alpha."""
        return {"alpha": (inputs[0], self.alpha_initializer)}

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        operands = inputs[0], builder.parameter("alpha")
        f = self.activation
        return builder.emit(
            self.kind, operands, inputs[0].shape, activation=f.name, parameter=f.parameter
        )


@registry.add
class Columns(Layer):
    """Takes the columns [start, stop) of each sample: y = x[:, start:stop].

    Parameters
    ----------
    start, stop : int
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Sequential([fnn.Columns(1, 3)], input_shape=(4,)).predict([[5.0, 6.0, 7.0, 8.0]])
    array([[6., 7.]], dtype=float32)
    """

    kind = "columns"

    start: int = integer(least=0)
    stop: int = integer()

    def check_together(self) -> None:
        """Raise ValueError if there are no columns between start and stop."""
        if self.start >= self.stop:
            raise ValueError(f"start must be below stop, got {self.start} and {self.stop}")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (stop - start,)."""
        columns = flat(self, inputs)
        if self.stop > columns:
            raise ValueError(
                f"stop must be at most the {columns} columns there are, got {self.stop}"
            )
        return (self.stop - self.start,)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        shape = self.output_shape(inputs[0].shape)
        return builder.emit("slice_columns", inputs, shape, first=self.start)
