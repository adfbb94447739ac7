"""Activations by name. The functions and their derivatives are rows of `src_c/activations.h`.

This table is read from the compiled kernels, so a row added there is known here. `softmax` and
`log_softmax` look at a whole row of numbers and are ops of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastnn.core import checks
from fastnn.core.registry import unknown_name
from fastnn.program.builder import Builder
from fastnn.program.ops import ACTIVATIONS, Value
from fastnn.program.python_ops import FunctionCode

OF_ROWS = ("softmax", "log_softmax")
NAMES: tuple[str, ...] = (*ACTIVATIONS, *OF_ROWS)


@dataclass(frozen=True)
class ActivationFunction:
    """An activation with its parameter.

    Attributes
    ----------
    name : str
        One of `NAMES`.
    parameter : float
        leaky_relu's negative_slope, elu's alpha; 0 for those without one.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.activations.get("leaky_relu")
    ActivationFunction(name='leaky_relu', parameter=0.2)
    """

    name: str
    parameter: float = 0.0

    def emit(self, builder: Builder, x: Value) -> Value:
        """Append the op; linear appends none."""
        if self.name == "linear":
            return x
        if self.name in OF_ROWS:
            return builder.emit(self.name, (x,), x.shape)
        return builder.emit(
            "activation", (x,), x.shape, activation=self.name, parameter=self.parameter
        )

    def config(self) -> dict[str, object]:
        """Return what makes an equal activation again."""
        parameter = ACTIVATIONS[self.name][1] if self.name in ACTIVATIONS else ""
        return {"name": self.name, **({parameter: self.parameter} if parameter else {})}


@dataclass(frozen=True)
class Custom(ActivationFunction):
    """An activation function of your own, with its derivative; both run in Python.

    Parameters
    ----------
    function : callable
        Of an array of shape (rows, ...), to one of that shape.
    derivative : callable
        The derivative at each element, likewise.

    Notes
    -----
    Functions cannot be saved: for a model that is, write a layer (see `fastnn.Layer`).

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> square = fnn.activations.Custom(np.square, lambda x: 2 * x)
    >>> model = fnn.Sequential([fnn.Activation(square)], input_shape=(2,))
    >>> model.predict([[2.0, -3.0]])
    array([[4., 9.]], dtype=float32)
    """

    name: str = field(default="custom", init=False)
    parameter: float = field(default=0.0, init=False)
    function: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("function", "derivative"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable, got {getattr(self, name)!r}")

    def emit(self, builder: Builder, x: Value) -> Value:
        """Append the op."""
        code = FunctionCode(self.function, self.derivative, builder.layer)
        return builder.emit("python", (x,), x.shape, code=code, training=builder.training)

    def config(self) -> dict[str, object]:
        """Return what it is made of; no file can hold that."""
        return {"name": self.name, "function": self.function, "derivative": self.derivative}


def get(what: object, **parameters: float) -> ActivationFunction:
    """Return the activation that `what` stands for.

    Parameters
    ----------
    what : str, dict, ActivationFunction or None
        A name, what ``config()`` returned, or an instance; None is linear.
    **parameters
        The row's parameter by its name.

    Returns
    -------
    ActivationFunction

    Raises
    ------
    ValueError
        The name is unknown (the nearest one is suggested), or the parameter is out of range.
    TypeError
        `what` is something else, or the activation has no such parameter.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.activations.get("leaky_relu", negative_slope=0.1).parameter
    0.1
    """
    if isinstance(what, ActivationFunction):
        return what
    if what is None:
        what = "linear"
    if isinstance(what, dict) and "name" in what:
        parameters = {key: value for key, value in what.items() if key != "name"} | parameters
        what = what["name"]
    if not isinstance(what, str):
        raise TypeError(f"activation must be a name, got {what!r} ({type(what).__name__})")
    if what not in NAMES:
        raise unknown_name("activation", what, NAMES)
    _, name, number = ACTIVATIONS.get(what, ("", "", 0.0))
    for given, value in parameters.items():
        if given != name:
            takes = f"takes {name!r}" if name else "takes no parameter"
            raise TypeError(f"activation {what!r} {takes}, got {given!r}")
        # The derivative of leaky_relu is told from its output, which needs a slope >= 0.
        number = checks.number(name, value, least=0)
    return ActivationFunction(what, number)
