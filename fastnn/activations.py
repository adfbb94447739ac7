"""Activations by name. The functions and their derivatives are rows of `src_c/activations.h`.

The names are read from the compiled kernels, so a row added there is known here. The properties of
each are in `FACTS`, and a test fails if a row has none. `softmax` and `log_softmax` need a whole
row of numbers and are separate ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple, NoReturn

import numpy as np

from fastnn import initializers
from fastnn.core import checks, declare, hints
from fastnn.core.declare import Declaration, number
from fastnn.core.registry import unknown_name
from fastnn.initializers import Initializer
from fastnn.program.builder import Builder
from fastnn.program.ops import ACTIVATIONS, Value
from fastnn.program.python_ops import FunctionCode

OF_ROWS = ("softmax", "log_softmax")
NAMES: tuple[str, ...] = (*ACTIVATIONS, *OF_ROWS)

Interval = tuple[float, float]


class Facts(NamedTuple):
    """The properties of an activation.

    Attributes
    ----------
    range : tuple of float, or callable
        The smallest closed interval that holds all outputs; or a function of the parameter that
        returns it.
    saturation : tuple of float, or None
        The limits that the outputs approach at both ends, where the derivative approaches 0; None
        if there are not two such limits.
    initializer : str
        The default initializer of the kernel in front of it: He's for the relu family, LeCun's
        for selu, whose outputs then have mean 0 and variance 1 (Klambauer et al. 2017), and
        Glorot's for all others.
    """

    range: Interval | Callable[[float], Interval] = (-math.inf, math.inf)
    saturation: Interval | None = None
    initializer: str = "glorot_uniform"


def _from_the_slope(negative_slope: float) -> Interval:
    return (-math.inf if negative_slope > 0 else 0.0), math.inf


def _from_alpha(alpha: float) -> Interval:
    return -alpha, math.inf


# The minima of gelu, silu, mish and gelu_tanh were found numerically and are rounded down.
FACTS: dict[str, Facts] = {
    "linear": Facts(),
    "relu": Facts((0.0, math.inf), initializer="he_uniform"),
    "leaky_relu": Facts(_from_the_slope, initializer="he_uniform"),
    "elu": Facts(_from_alpha, initializer="he_uniform"),
    "sigmoid": Facts((0.0, 1.0), (0.0, 1.0)),
    "tanh": Facts((-1.0, 1.0), (-1.0, 1.0)),
    "gelu": Facts((-0.169972, math.inf), initializer="he_uniform"),
    "silu": Facts((-0.278465, math.inf), initializer="he_uniform"),
    "softplus": Facts((0.0, math.inf), initializer="he_uniform"),
    "selu": Facts((-1.758100, math.inf), initializer="lecun_normal"),
    "gelu_tanh": Facts((-0.170041, math.inf), initializer="he_uniform"),
    "mish": Facts((-0.308844, math.inf), initializer="he_uniform"),
    "hard_sigmoid": Facts((0.0, 1.0), (0.0, 1.0)),
    "softsign": Facts((-1.0, 1.0), (-1.0, 1.0)),
    "exponential": Facts((0.0, math.inf)),
    "softmax": Facts((0.0, 1.0)),
    "log_softmax": Facts((-math.inf, 0.0)),
}


class ActivationFunction(Declaration):
    """An activation with its parameter.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    parameter : float, default 0.0
        leaky_relu's negative_slope, elu's alpha; 0 for activations without one.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.activations.get("leaky_relu")
    ActivationFunction('leaky_relu', parameter=0.2)
    >>> fnn.activations.get("tanh").range
    (-1.0, 1.0)
    """

    name: str = declare.checked(checks.text)  # type: ignore[misc]
    parameter: float = number(default=0.0)

    @property
    def range(self) -> Interval:
        """The smallest closed interval that holds all outputs."""
        known = self._facts.range
        return known(self.parameter) if callable(known) else known

    @property
    def saturation(self) -> Interval | None:
        """The limits of the outputs at both ends, where the derivative approaches 0, if any."""
        return self._facts.saturation

    @property
    def initializer(self) -> Initializer:
        """The default initializer of a kernel in front of it."""
        return initializers.get(self._facts.initializer)

    @property
    def _facts(self) -> Facts:
        return FACTS.get(self.name, Facts())

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
        """Return the name and parameter, from which `get` builds an equal activation."""
        parameter = ACTIVATIONS[self.name][1] if self.name in ACTIVATIONS else ""
        return {"name": self.name, **({parameter: self.parameter} if parameter else {})}

    def shown(self) -> str:
        """Return only the name if the parameter has its default."""
        is_usual = self.name in NAMES and self == get(self.name)
        return repr(self.name) if is_usual else repr(self)


class Custom(ActivationFunction):
    """An activation function of your own, with its derivative; both run in Python.

    Parameters
    ----------
    function : callable
        It takes an array of shape (rows, ...) and returns one of the same shape.
    derivative : callable
        It takes the same array and returns the derivative at each element.

    Notes
    -----
    Functions cannot be saved: for a model that will be saved, write a layer (see `fastnn.Layer`).

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> square = fnn.activations.Custom(np.square, lambda x: 2 * x)
    >>> model = fnn.Sequential([fnn.Activation(square)], input_shape=(2,))
    >>> model.predict([[2.0, -3.0]])
    array([[4., 9.]], dtype=float32)
    """

    name: ClassVar[str] = "custom"  # type: ignore[misc]
    parameter: ClassVar[float] = 0.0  # type: ignore[misc]
    function: Callable[[np.ndarray], np.ndarray] = declare.function()  # type: ignore[misc]
    derivative: Callable[[np.ndarray], np.ndarray] = declare.function()  # type: ignore[misc]

    def emit(self, builder: Builder, x: Value) -> Value:
        """Append the op."""
        code = FunctionCode(self.function, self.derivative, builder.layer)
        return builder.emit("python", (x,), x.shape, code=code, training=builder.training)

    def config(self) -> dict[str, object]:
        """Return the functions, which cannot be stored in a file."""
        return {"name": self.name, "function": self.function, "derivative": self.derivative}

    def shown(self) -> str:
        """Return the expression that constructs it."""
        return repr(self)


def get(what: object, **parameters: float) -> ActivationFunction:
    """Return the activation that `what` stands for.

    Parameters
    ----------
    what : str, dict, ActivationFunction or None
        A name, what ``config()`` returned, or an instance; None is linear.
    **parameters
        The activation's parameter, by name.

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
        # The derivative of leaky_relu is computed from its output, which needs a slope >= 0.
        number = checks.number(name, value, least=0)
    return ActivationFunction(what, number)


def __getattr__(name: str) -> NoReturn:
    if name in NAMES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}: activations are given by name, "
            f"Dense(..., activation={name!r}), and computed by Activation({name!r})"
        )
    raise hints.missing_name(__name__, name, NAMES)
