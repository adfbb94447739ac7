"""Layers: their parameters, the shape of their output, and the forward ops they emit.

A layer knows no arithmetic and no backward: it emits rows of the op table, and the program is
differentiated as a whole. To add one made of existing ops, write a class as short as those
here and add it to `registry`.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnn import activations, checks, initializers, regularizers
from fastnn.initializers import Initializer
from fastnn.native.engine import MAX_INPUTS_OF_CONCATENATE
from fastnn.program.lower import Builder
from fastnn.program.ops import Value
from fastnn.registry import Registry, fixed
from fastnn.regularizers import Regularizer

if TYPE_CHECKING:
    from fastnn.runtime import Runtime

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A place in the graph of a functional `Model`: what a layer gives for symbolic inputs.

    Attributes
    ----------
    shape : tuple of int
        Of one sample.
    layer : Layer or None
        What computes it; None for an `Input`.
    inputs : tuple of Tensor
    name : str
        Of an input.
    """

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Tensor, ...] = ()
    name: str = ""

    def __repr__(self) -> str:
        return f"<Tensor {self.shape} of {self.name or self.layer!r}>"


def Input(shape: Shape, name: str = "input") -> Tensor:
    """Return an input of a functional model.

    Parameters
    ----------
    shape : tuple of int
        Of one sample, without the batch.
    name : str, default "input"

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Input((64,)).shape
    (64,)
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"name must be a non-empty string without '/', got {name!r}")
    return Tensor(checks.shape("shape", shape), name=name)


class Layer:
    """Base of all layers. What is in `config` is set once, by the constructor.

    Parameters
    ----------
    name : str, optional
        Unique in its model, without "/"; default: the class's, numbered.
    trainable : bool, default True
        Whether training changes its parameters.

    Attributes
    ----------
    trainable : bool
        May be set at any time: False freezes the layer.
    learning_rate_factor : float
        What the learning rate is multiplied with for its parameters; 1 at first, may be set at
        any time.
    """

    kind: ClassVar[str] = ""

    def __init__(self, name: str | None = None, trainable: bool = True) -> None:
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/', got {name!r}")
        self.given_name = name
        self.name = name or self.kind
        self.parameters: dict[str, np.ndarray] = {}
        self.owner: weakref.ref[Runtime] | None = None  # a layer belongs to one model
        self.trainable = trainable
        self.learning_rate_factor = 1.0

    def __setattr__(self, name: str, value: object) -> None:
        if name == "trainable":
            value = checks.boolean(name, value)
        elif name == "learning_rate_factor":
            value = checks.number(name, value, least=0)
        elif name in vars(self) and name in self.config():
            raise fixed(self, name, value)
        super().__setattr__(name, value)
        owner = vars(self).get("owner")
        runtime = None if owner is None else owner()
        if runtime is not None and name in ("trainable", "learning_rate_factor"):
            runtime.forget_training_programs()

    def rate_factor(self, parameter: str) -> float:
        """Return what the learning rate of a parameter is multiplied with; 0 if it is frozen."""
        return self.learning_rate_factor if self.trainable else 0.0

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return what is added to the loss for a parameter."""
        return None

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return shape and initializer of each parameter, for inputs of these shapes."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of one sample of the output; raise if the inputs do not fit."""
        raise NotImplementedError

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the layer's forward ops and return its output."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {}

    def __call__(self, *inputs: Any) -> Tensor:
        """Return the output of the layer for symbolic inputs.

        Parameters
        ----------
        *inputs : Tensor, or one list of them

        Returns
        -------
        Tensor
        """
        tensors: tuple[Any, ...] = inputs
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            tensors = tuple(inputs[0])
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"layer {self.name!r} must be called on Input(...) or the output of another "
                    f"layer, got {type(tensor).__name__}; to compute with arrays, call the model"
                )
        shape = self._checked_output_shape(*(tensor.shape for tensor in tensors))
        return Tensor(shape, self, tensors)

    def _checked_output_shape(self, *shapes: Shape) -> Shape:
        try:
            return self.output_shape(*shapes)
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _only(kind: str, shapes: tuple[Shape, ...]) -> Shape:
    if len(shapes) != 1:
        raise ValueError(f"{kind} takes one input, got {len(shapes)}")
    return shapes[0]


class Dense(Layer):
    """Every output from every input: y = f(x @ kernel + bias).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or ActivationFunction, optional
        f; default linear.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, optional
        Default: He uniform for the relu family, else Glorot uniform.
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

    def __init__(
        self,
        units: int,
        activation: object = None,
        *,
        use_bias: bool = True,
        kernel_initializer: object = None,
        bias_initializer: object = "zeros",
        kernel_regularizer: object = None,
        bias_regularizer: object = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name, trainable)
        self.units = checks.integer("units", units)
        self.activation = activations.get(activation)
        self.use_bias = checks.boolean("use_bias", use_bias)
        self.kernel_initializer = (
            initializers.default_for(self.activation.name)
            if kernel_initializer is None
            else initializers.get(kernel_initializer)
        )
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return what is added to the loss for the kernel or the bias."""
        return self.kernel_regularizer if parameter == "kernel" else self.bias_regularizer

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (units,)."""
        shape = _only("Dense", inputs)
        if len(shape) != 1:
            raise ValueError(f"Dense takes samples of shape (inputs,), got {shape}; add Flatten()")
        return (self.units,)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return those of kernel and bias."""
        shapes: dict[str, tuple[Shape, Initializer]] = {
            "kernel": ((inputs[0][0], self.units), self.kernel_initializer)
        }
        if self.use_bias:
            shapes["bias"] = ((self.units,), self.bias_initializer)
        return shapes

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append affine and activation."""
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

    def _parameter(self, name: str) -> np.ndarray:
        if name not in self.parameters:
            raise AttributeError(f"layer {self.name!r} has no {name} (yet): build the model first")
        return self.parameters[name]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {
            "units": self.units,
            "activation": self.activation.config(),
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer.config(),
            "bias_initializer": self.bias_initializer.config(),
            **{
                name: value.config()
                for name, value in (
                    ("kernel_regularizer", self.kernel_regularizer),
                    ("bias_regularizer", self.bias_regularizer),
                )
                if value is not None
            },
        }


class Activation(Layer):
    """An activation by itself.

    Parameters
    ----------
    activation : str or ActivationFunction
    name : str, optional

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Activation("relu")], input_shape=(3,))
    >>> model.predict([[-1.0, 0.0, 2.0]])
    array([[0., 0., 2.]], dtype=float32)
    """

    kind = "activation"

    def __init__(self, activation: object, *, name: str | None = None) -> None:
        super().__init__(name)
        self.activation = activations.get(activation)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return that of the input."""
        shape = _only("Activation", inputs)
        name = self.activation.name
        if name in activations.OF_ROWS and len(shape) != 1:
            raise ValueError(f"{name} takes samples of shape (classes,), got {shape}")
        return shape

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the activation."""
        return self.activation.emit(builder, inputs[0])

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {"activation": self.activation.config()}


class Dropout(Layer):
    """In training, sets each input to 0 with probability `rate` and scales the others up.

    y = x * mask / (1 - rate), so that the mean stays (Srivastava et al. 2014). The mask comes
    from a counter-based generator keyed by the model's seed and the step; it is the same for
    any number of threads. Outside training nothing happens.

    Parameters
    ----------
    rate : float
        In [0, 1).
    name : str, optional

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Dropout(0.1).rate
    0.1
    """

    kind = "dropout"

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name)
        self.rate = checks.number("rate", rate, least=0, below=1)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return that of the input."""
        return _only("Dropout", inputs)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append dropout, in training."""
        if not builder.training or self.rate == 0:
            return inputs[0]
        stream = builder.new_stream()
        return builder.emit("dropout", inputs, inputs[0].shape, rate=self.rate, stream=stream)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {"rate": self.rate}


class Flatten(Layer):
    """Gives each sample one dimension. Costs nothing: the numbers stay where they are.

    Parameters
    ----------
    name : str, optional

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Flatten()(fnn.Input((8, 8))).shape
    (64,)
    """

    kind = "flatten"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the product of the input's sizes."""
        return (math.prod(_only("Flatten", inputs)),)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the reshape."""
        return builder.emit("reshape", inputs, (inputs[0].width,))


class Add(Layer):
    """The sum of two or more inputs of one shape.

    Parameters
    ----------
    name : str, optional

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((4,))
    >>> fnn.Add()([x, x]).shape
    (4,)
    """

    kind = "add"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return that of the inputs."""
        if len(inputs) < 2:
            raise ValueError(f"Add takes two or more inputs, got {len(inputs)}")
        if len(set(inputs)) > 1:
            raise ValueError(f"Add takes inputs of one shape, got {', '.join(map(str, inputs))}")
        return inputs[0]

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a chain of sums."""
        total = inputs[0]
        for value in inputs[1:]:
            total = builder.emit("add", (total, value), total.shape)
        return total


class Concatenate(Layer):
    """Two or more inputs of shape (any,) side by side.

    Parameters
    ----------
    name : str, optional

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Concatenate()([fnn.Input((4,)), fnn.Input((3,))]).shape
    (7,)
    """

    kind = "concatenate"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the sum of the inputs' sizes."""
        if len(inputs) < 2:
            raise ValueError(f"Concatenate takes two or more inputs, got {len(inputs)}")
        if any(len(shape) != 1 for shape in inputs):
            shown = ", ".join(map(str, inputs))
            raise ValueError(f"Concatenate takes inputs of shape (any,), got {shown}")
        return (sum(shape[0] for shape in inputs),)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append as many concatenations as the kernel's number of operands asks for."""
        parts = list(inputs)
        while len(parts) > 1:
            most = MAX_INPUTS_OF_CONCATENATE
            first, parts = parts[:most], parts[most:]
            width = sum(value.width for value in first)
            parts.insert(0, builder.emit("concatenate", first, (width,)))
        return parts[0]


class _Kinds(Registry[Layer]):
    """Layers by kind, for loading a saved architecture."""

    def add(self, cls: type[Layer]) -> type[Layer]:
        self._classes[cls.kind] = cls
        return cls


registry = _Kinds("layer", Layer)
for _layer in (Dense, Activation, Dropout, Flatten, Add, Concatenate):
    registry.add(_layer)
