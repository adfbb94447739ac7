"""The layers that most networks are made of."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from fastnn import activations, initializers, regularizers, schedules
from fastnn.core import checks
from fastnn.core.declare import boolean, checked, instance_of, integer
from fastnn.initializers import Initializer
from fastnn.layers.base import Layer, Shape, only, registry, view_of
from fastnn.program.builder import Builder
from fastnn.program.ops import Value
from fastnn.schedules import Schedule


def initializer(name: str, value: object) -> Initializer:
    """Return what `initializers.get` makes of an argument."""
    return initializers.get(value)


@registry.add
class Dense(Layer):
    """Connects every input to every output: y = f(x @ kernel + bias).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or ActivationFunction, optional
        f; default linear.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, optional
        Default: depends on the activation: He uniform for the relu family, LeCun normal for selu,
        and Glorot uniform otherwise.
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    kernel : ndarray, shape (inputs, units)
        A view into the model's parameters, once the model is built.
    bias : ndarray, shape (units,)

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Dense(3, activation="relu")], input_shape=(4,))
    >>> model.layers[0].kernel.shape
    (4, 3)
    """

    kind = "dense"

    units: int = integer(any_size=True)  # too many for the memory are told of with their bytes
    activation: Any = instance_of(activations.get, default=None)
    use_bias: bool = boolean(default=True, kw_only=True)
    kernel_initializer: Any = checked(
        initializer, default_factory=lambda layer: layer.activation.initializer, kw_only=True
    )
    bias_initializer: Any = instance_of(initializers.get, default="zeros", kw_only=True)
    kernel_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)
    bias_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (units,)."""
        shape = only("Dense", inputs)
        if len(shape) != 1:
            raise ValueError(f"Dense takes samples of shape (inputs,), got {shape}; add Flatten()")
        return (self.units,)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of kernel and bias."""
        shapes: dict[str, tuple[Shape, Initializer]] = {
            "kernel": ((inputs[0][0], self.units), self.kernel_initializer)
        }
        if self.use_bias:
            shapes["bias"] = ((self.units,), self.bias_initializer)
        return shapes

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the affine op and the activation."""
        bias = builder.parameter("bias") if self.use_bias else None
        operands = (inputs[0], builder.parameter("kernel"), bias)
        y = builder.emit("affine", operands, (self.units,), activation="linear")
        return self.activation.emit(builder, y)

    @property
    def kernel(self) -> np.ndarray:
        """View of the kernel, shape (inputs, units)."""
        return self._parameter("kernel")

    @property
    def bias(self) -> np.ndarray:
        """View of the bias, shape (units,)."""
        return self._parameter("bias")

    @property
    def runs_in_python(self) -> bool:
        """Whether the activation is user-defined."""
        return isinstance(self.activation, activations.Custom)


@registry.add
class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or ActivationFunction
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Activation("relu")], input_shape=(3,))
    >>> model.predict([[-1.0, 0.0, 2.0]])
    array([[0., 0., 2.]], dtype=float32)
    """

    kind = "activation"

    activation: Any = instance_of(activations.get)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        shape = only("Activation", inputs)
        name = self.activation.name
        if name in activations.OF_ROWS and len(shape) != 1:
            raise ValueError(f"{name} takes samples of shape (classes,), got {shape}")
        return shape

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the activation."""
        return self.activation.emit(builder, inputs[0])

    @property
    def runs_in_python(self) -> bool:
        """Whether the activation is user-defined."""
        return isinstance(self.activation, activations.Custom)


def _dropout_rate(name: str, value: Any) -> float | Schedule:
    """Check a rate, or the schedule of one."""
    if isinstance(value, (Schedule, dict, type)):
        return schedules.get(value)
    return checks.number(name, value, least=0, below=1)


@registry.add
class Dropout(Layer):
    """In training, sets each input to 0 with probability `rate` and scales the others up.

    y = x * mask / (1 - rate), so that the mean stays the same (Srivastava et al. 2014). The
    mask comes from a counter-based generator keyed by the model's seed and the step; it is the
    same for any number of threads. Outside training the layer does nothing.

    Parameters
    ----------
    rate : float or Schedule
        In [0, 1); or one of `fastnn.schedules`, which gives the rate of each step.
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Dropout(0.1).rate
    0.1
    """

    kind = "dropout"
    is_identity: ClassVar[bool] = True

    rate: float | Schedule = checked(_dropout_rate)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        return only("Dropout", inputs)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append dropout, in training."""
        if not builder.training or self.rate == 0:
            return inputs[0]
        stream = builder.new_stream()
        return builder.emit("dropout", inputs, inputs[0].shape, rate=self.rate, stream=stream)


@registry.add
class Flatten(Layer):
    """Flattens each sample to one dimension, at no cost: nothing is copied.

    Parameters
    ----------
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Flatten()(fnn.Input((8, 8))).shape
    (64,)
    """

    kind = "flatten"
    is_reshape: ClassVar[bool] = True
    is_identity: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the product of the input's sizes."""
        return (math.prod(only("Flatten", inputs)),)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the reshape."""
        return builder.emit("reshape", inputs, (inputs[0].width,))


def _target_shape(name: str, value: Any) -> Shape:
    sizes: Any = (value,) if isinstance(value, Integral) else value
    try:
        known = checks.shape(name, [size for size in sizes if size != -1])
        is_right = len(sizes) - len(known) <= 1
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ValueError(
            f"{name} must be a tuple of positive integers, one of which may be -1, got {value!r}"
        )
    return tuple(int(size) for size in sizes)


@registry.add
class Reshape(Layer):
    """Changes the shape of each sample, at no cost.

    Parameters
    ----------
    target_shape : tuple of int
        Shape of one sample; one size may be -1 and is then computed from the others.
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Reshape((2, -1))(fnn.Input((6,))).shape
    (2, 3)
    """

    kind = "reshape"
    is_reshape: ClassVar[bool] = True
    is_identity: ClassVar[bool] = True

    target_shape: Shape = checked(_target_shape)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the target shape, with -1 replaced by its value."""
        shape = only("Reshape", inputs)
        width, known = math.prod(shape), math.prod(s for s in self.target_shape if s != -1)
        rest = width // known if -1 in self.target_shape else 1
        if rest * known != width:
            raise ValueError(
                f"Reshape cannot make {self.target_shape} of samples of shape {shape}, "
                f"which have {width} numbers"
            )
        return tuple(rest if size == -1 else size for size in self.target_shape)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the reshape."""
        return builder.emit("reshape", inputs, self.output_shape(inputs[0].shape))


@registry.add
class PReLU(Layer):
    """Returns x where it is positive, else alpha * x, with a learned alpha (He et al. 2015).

    Parameters
    ----------
    alpha_initializer : str or Initializer, default "zeros"
        As in Keras; PyTorch starts from 0.25.
    alpha_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    shared : bool, default False
        Whether all elements share one alpha (PyTorch's ``num_parameters=1``) instead of having
        one each (Keras).
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    alpha : ndarray, of the input's shape, or (1,)
        A view into the model's parameters, once the model is built.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.PReLU(fnn.initializers.Constant(0.25))], input_shape=(2,))
    >>> model.predict([[-4.0, 4.0]])
    array([[-1.,  4.]], dtype=float32)
    """

    kind = "prelu"

    alpha_initializer: Any = instance_of(initializers.get, default="zeros")
    alpha_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)
    shared: bool = boolean(default=False, kw_only=True)

    alpha = view_of("alpha")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        return only("PReLU", inputs)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shape and initializer of alpha."""
        return {"alpha": ((1,) if self.shared else inputs[0], self.alpha_initializer)}

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        return builder.emit("prelu", (inputs[0], builder.parameter("alpha")), inputs[0].shape)
