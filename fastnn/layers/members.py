"""Layers of ensembles that share their weights: what is a member's own.

Each row of a batch belongs to a member, whose number comes as one more input; so the layers in
between are shared without knowing of it, and one product serves all members (TabM, Gorishniy et
al. 2025).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnn import initializers
from fastnn.core.declare import boolean, instance_of, integer
from fastnn.initializers import Initializer
from fastnn.layers.base import Layer, Shape, registry, view_of
from fastnn.layers.embedding import MOST_CATEGORIES, check_categories
from fastnn.program.builder import Builder
from fastnn.program.ops import Value


def _two(layer: Layer, shapes: tuple[Shape, ...]) -> int:
    """Return the number of columns of the first input; the second is the number of the member."""
    cls = type(layer).__name__
    if len(shapes) != 2 or len(shapes[0]) != 1 or shapes[1] != (1,):
        raise ValueError(
            f"{cls} takes two inputs, of shapes (columns,) and (1,): the number of the member; "
            f"got {', '.join(map(str, shapes))}"
        )
    return shapes[0][0]


class _OfMembers(Layer):
    """A layer whose second input is the number of the row's member."""

    checked_input: ClassVar[int | None] = 1

    members: int

    def check_together(self) -> None:
        """Raise ValueError if there are too many members."""
        if self.members > MOST_CATEGORIES:
            raise ValueError(
                f"members must be at most {MOST_CATEGORIES:,}, the whole numbers that float32 "
                f"holds, got {self.members:,}"
            )

    def categories(self, shape: Shape) -> np.ndarray:
        """Return the number of members."""
        return np.array([self.members])

    def check_input(self, label: str, rows: np.ndarray, first_row: int | None = None) -> None:
        """Raise ValueError if the rows hold anything but numbers of members."""
        check_categories(self, label, rows, first_row)


@registry.add
class MemberScale(_OfMembers):
    """Multiplies each column by a factor of the row's member: y = x * scale[member].

    Parameters
    ----------
    members : int
    scale_initializer : str or Initializer, default "random_sign"
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    scale : ndarray, shape (members, columns)
        A view into the model's parameters, once the model is built.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, member = fnn.Input((3,)), fnn.Input((1,))
    >>> fnn.MemberScale(8)([x, member]).shape
    (3,)
    """

    kind = "member_scale"

    members: int = integer()
    scale_initializer: Any = instance_of(initializers.get, default="random_sign")

    scale = view_of("scale")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the first input."""
        return (_two(self, inputs),)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shape and initializer of the factors."""
        return {"scale": ((self.members, _two(self, inputs)), self.scale_initializer)}

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a look-up of the member's factors, and the product."""
        x, member = inputs
        operands = member, builder.parameter("scale")
        factors = builder.emit("embedding", operands, x.shape, first=0, columns=1)
        return builder.emit("multiply", (x, factors), x.shape)


@registry.add
class MemberDense(_OfMembers):
    """A dense layer of each member's own: y = x @ kernel[member] + bias[member].

    It computes the outputs of all members and takes the member's own, which serves layers with few
    outputs, such as the last one.

    Parameters
    ----------
    units : int
        Outputs of a member.
    members : int
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "lecun_uniform"
    bias_initializer : str or Initializer, default "zeros"
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    kernel : ndarray, shape (columns, members * units)
        Views into the model's parameters, once the model is built; those of member m are the
        columns [m * units, (m + 1) * units).
    bias : ndarray, shape (members * units,)

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, member = fnn.Input((3,)), fnn.Input((1,))
    >>> fnn.MemberDense(2, members=8)([x, member]).shape
    (2,)
    """

    kind = "member_dense"

    units: int = integer()
    members: int = integer()
    use_bias: bool = boolean(default=True, kw_only=True)
    kernel_initializer: Any = instance_of(initializers.get, default="lecun_uniform", kw_only=True)
    bias_initializer: Any = instance_of(initializers.get, default="zeros", kw_only=True)

    kernel = view_of("kernel")
    bias = view_of("bias")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (units,)."""
        _two(self, inputs)
        return (self.units,)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of kernel and bias."""
        width = self.members * self.units
        shapes: dict[str, tuple[Shape, Initializer]] = {
            "kernel": ((_two(self, inputs), width), self.kernel_initializer)
        }
        if self.use_bias:
            shapes["bias"] = (width,), self.bias_initializer
        return shapes

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the product for all members, and the choice of one."""
        x, member = inputs
        bias = builder.parameter("bias") if self.use_bias else None
        operands = x, builder.parameter("kernel"), bias
        width = self.members * self.units
        every = builder.emit("affine", operands, (width,), activation="linear")
        return builder.emit("select_member", (every, member), (self.units,), members=self.members)
