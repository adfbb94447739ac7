"""A block of layers with a skip connection around it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import checked
from fastnn.initializers import Initializer
from fastnn.layers.base import Kinds, Layer, LayerUser, Shape, make, name_layers, only, registry
from fastnn.program.builder import Builder
from fastnn.program.ops import Value
from fastnn.regularizers import Regularizer


def _layers(name: str, value: object) -> tuple[Layer, ...]:
    given = [value] if isinstance(value, Layer) else checks.items(name, value, Layer)
    if not given:
        raise ValueError(f"{name} must hold at least one layer, got none")
    name_layers(list(dict.fromkeys(given)))
    return tuple(given)


@registry.add
class Residual(Layer):
    """The input plus the output of a block of layers for it (He et al. 2016).

    Parameters
    ----------
    block : Layer or list of Layer
        Applied one after the other; their output must have the input's shape.
    name : str, optional
    trainable : bool, default True
        Setting it also sets that of the block's layers.

    Attributes
    ----------
    block : tuple of Layer
        The layers' parameters are parameters of this layer: "residual/dense/kernel".

    Examples
    --------
    >>> import fastnn as fnn
    >>> block = [fnn.LayerNormalization(), fnn.Dense(64, activation="relu"), fnn.Dense(8)]
    >>> model = fnn.Sequential([fnn.Residual(block)], input_shape=(8,), seed=0)
    >>> list(model.parameters)[2:4]
    ['residual/dense/kernel', 'residual/dense/bias']
    """

    kind = "residual"

    block: Any = checked(_layers)  # a tuple of layers

    def check_together(self) -> None:
        """Freeze the block's layers with this one."""
        if not self.trainable:
            for layer in self.block:
                layer.trainable = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "trainable":
            for layer in self.block:
                layer.trainable = value

    def __copy__(self) -> Layer:
        """Return a copy with a block of its own."""
        return copy.deepcopy(self)

    def take(self, arena: object, parameters: Mapping[str, np.ndarray]) -> None:
        """Attach this layer, and those layers of the block that are not built, to an arena."""
        super().take(arena, parameters)
        for layer in dict.fromkeys(self.block):
            if not layer.is_built:
                prefix = layer.name + "/"
                views = {
                    name.removeprefix(prefix): view
                    for name, view in parameters.items()
                    if name.startswith(prefix)
                }
                layer.take(arena, views)

    def used_by(self, user: LayerUser) -> None:
        """Take note of a network that this layer, and so the block's layers, are part of."""
        super().used_by(user)
        for layer in self.block:
            layer.used_by(user)

    def parts(self) -> tuple[Layer, ...]:
        """Return the layer and the layers inside it."""
        return (self, *(part for layer in self.block for part in layer.parts()))

    def rate_factor(self, parameter: str) -> float:
        """Return this layer's factor times that of the layer that the parameter belongs to."""
        layer, own = self._part_of(parameter)
        return super().rate_factor(parameter) * layer.rate_factor(own)

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return the regularizer that the layer of the parameter has for it."""
        layer, own = self._part_of(parameter)
        return layer.regularizer(own)

    def left_by(self, user: LayerUser) -> None:
        """Take note of a network that this layer, and so the block, is not part of any longer."""
        super().left_by(user)
        for layer in self.block:
            layer.left_by(user)

    def owner_of(self, parameter: str) -> tuple[Layer, str]:
        """Return the layer that has a parameter, and its name there."""
        layer, own = self._part_of(parameter)
        return layer.owner_of(own)

    def _part_of(self, parameter: str) -> tuple[Layer, str]:
        name, own = parameter.split("/", 1)
        return next(layer for layer in self.block if layer.name == name), own

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        shape = only("Residual", inputs)
        end = self._shapes(shape)[-1]
        if end != shape:
            raise ValueError(
                f"the block of a Residual must keep the shape, so that both can be added: it makes "
                f"{end} of {shape}"
            )
        return shape

    def _shapes(self, shape: Shape) -> list[Shape]:
        """Return the shapes of the block's input and of the output of each of its layers."""
        shapes = [shape]
        for layer in self.block:
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as error:
                raise ValueError(f"{layer.name!r} in its block: {error}") from None
        return shapes

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return shapes and initializers of the block's parameters, keyed by "layer/parameter"."""
        wanted: dict[str, tuple[Shape, Initializer]] = {}
        for layer, shape in zip(self.block, self._shapes(inputs[0]), strict=False):
            for name, (size, initializer) in layer.parameter_shapes(shape).items():
                full = f"{layer.name}/{name}"
                if wanted.setdefault(full, (size, initializer))[0] != size:
                    raise ValueError(
                        f"layer {layer.name!r} is used for inputs of different sizes in the block "
                        f"of {self.name!r}: {name} would be {wanted[full][0]} and {size}"
                    )
        return wanted

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the ops of the block's layers and the sum."""
        y = inputs[0]
        for layer in self.block:
            with builder.inside(layer.name):
                y = layer.emit(builder, y)
        return builder.emit("add", (inputs[0], y), y.shape)

    def config(self) -> dict[str, Any]:
        """Return what the block's layers can be rebuilt from, in a form that JSON can hold."""
        return {
            "block": [layer.describe() for layer in dict.fromkeys(self.block)],
            "order": [layer.name for layer in self.block],
        }

    @classmethod
    def from_config(cls, name: str, config: dict[str, Any], kinds: Kinds) -> Layer:
        """Build a layer from what `config` returned."""
        made = {described["name"]: make(described, kinds) for described in config["block"]}
        return cls([made[name] for name in config["order"]], name=name)
