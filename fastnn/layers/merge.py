"""Layers that merge several inputs into one output."""

from __future__ import annotations

from fastnn.layers.base import Layer, Shape, registry
from fastnn.native.engine import MAX_INPUTS_OF_CONCATENATE
from fastnn.program.builder import Builder
from fastnn.program.ops import Value


def _chain(builder: Builder, op: str, values: tuple[Value, ...]) -> Value:
    result = values[0]
    for value in values[1:]:
        result = builder.emit(op, (result, value), result.shape)
    return result


class _OfOneShape(Layer):
    """Base class of layers that merge inputs of one shape, which is also that of the output."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the inputs' shape."""
        cls = type(self).__name__
        if len(inputs) < 2:
            raise ValueError(f"{cls} takes two or more inputs, got {len(inputs)}")
        if len(set(inputs)) > 1:
            shown = ", ".join(map(str, inputs))
            raise ValueError(f"{cls} takes inputs of one shape, got {shown}")
        return inputs[0]


@registry.add
class Add(_OfOneShape):
    """The sum of two or more inputs of the same shape.

    Parameters
    ----------
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((4,))
    >>> fnn.Add()([x, x]).shape
    (4,)
    """

    kind = "add"

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a chain of sums."""
        return _chain(builder, "add", inputs)


@registry.add
class Average(_OfOneShape):
    """The mean of two or more inputs of the same shape.

    Parameters
    ----------
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((4,))
    >>> fnn.Average()([x, x]).shape
    (4,)
    """

    kind = "average"

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a chain of sums, and their division."""
        total = _chain(builder, "add", inputs)
        return builder.emit("rescale", (total,), total.shape, factor=1 / len(inputs), offset=0.0)


@registry.add
class Multiply(_OfOneShape):
    """The elementwise product of two or more inputs of the same shape.

    Parameters
    ----------
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((4,))
    >>> fnn.Multiply()([x, fnn.Dense(4, activation="sigmoid")(x)]).shape
    (4,)
    """

    kind = "multiply"

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a chain of products."""
        return _chain(builder, "multiply", inputs)


@registry.add
class Concatenate(Layer):
    """Concatenates two or more inputs of shape (any,).

    Parameters
    ----------
    name : str, optional
    trainable : bool, default True

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
        """Append as many concatenations as the kernel's limit on operands requires."""
        parts = list(inputs)
        while len(parts) > 1:
            most = MAX_INPUTS_OF_CONCATENATE
            first, parts = parts[:most], parts[most:]
            width = sum(value.width for value in first)
            parts.insert(0, builder.emit("concatenate", first, (width,)))
        return parts[0]
