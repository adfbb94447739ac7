"""The builder, into which layers emit their forward ops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from fastnn.program.ops import Op, Value


class Builder:
    """Collects the ops that layers emit.

    Parameters
    ----------
    parameters : dict of str to Value
        Parameters by "layer/parameter".
    training : bool
    differentiates : bool

    Attributes
    ----------
    ops : list of Op
    training : bool
        Whether dropout drops.
    is_frozen : bool
        Whether the network does not train the current layer, whatever its `trainable`.
    differentiates : bool
        Whether ops must keep what backward needs.
    updates : list of Op
        Ops that change parameters outside the optimizer; they run only in a step whose loss is
        finite.
    """

    def __init__(
        self, parameters: dict[str, Value], *, training: bool, differentiates: bool
    ) -> None:
        self.ops: list[Op] = []
        self.training, self.differentiates = training, differentiates
        self.is_frozen = False
        self._parameters = parameters
        self.updates: list[Op] = []
        self._layer = ""
        self._streams = 0

    def emit(
        self,
        name: str,
        inputs: Sequence[Value | None],
        shape: tuple[int, ...],
        also: Sequence[Value | None] = (),
        **attributes: object,
    ) -> Value:
        """Append an op and return its new output.

        Parameters
        ----------
        name : str
            A row of `fastnn.program.ops.OPS`.
        inputs : sequence of Value or None
        shape : tuple of int
            Shape of one sample of the output.
        also : sequence of Value or None, optional
            Further outputs.
        **attributes
            Attributes of the op.

        Returns
        -------
        Value
        """
        value = Value(f"{self._layer}/{name}", shape)
        self.ops.append(Op(name, tuple(inputs), (value, *also), attributes, self._layer))
        return value

    def value(self, name: str, shape: tuple[int, ...], *, batched: bool = True) -> Value:
        """Return a new value of the current layer, for use as an op's output."""
        return Value(f"{self._layer}/{name}", shape, batched)

    def update(self, parameter: Value, value: Value, momentum: float) -> None:
        """Make training move a parameter's values toward `value`, as a moving average."""
        settings = {"momentum": momentum, "copies_first": False}
        inputs = (parameter, value)
        self.updates.append(Op("moving_average", inputs, (parameter,), settings, self._layer))

    @contextlib.contextmanager
    def inside(self, layer: str) -> Iterator[None]:
        """Attribute what is emitted to a layer, nested in the current layer if there is one."""
        outer = self._layer
        self._layer = f"{outer}/{layer}" if outer else layer
        yield
        self._layer = outer

    def parameter(self, name: str) -> Value:
        """Return the current layer's parameter `name`."""
        return self._parameters[f"{self._layer}/{name}"]

    @property
    def layer(self) -> str:
        """Name of the current layer."""
        return self._layer

    def new_stream(self) -> int:
        """Return the number of a random stream that no other op of the program uses."""
        self._streams += 1
        return self._streams - 1
