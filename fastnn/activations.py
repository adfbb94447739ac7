"""Activations by name. The functions and their derivatives are rows of `src_c/activations.h`.

This table is read from the compiled kernels, so a row added there is known here. `softmax` and
`log_softmax` look at a whole row of numbers and are ops of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastnn import checks
from fastnn.program.lower import Builder
from fastnn.program.ops import ACTIVATIONS, Value
from fastnn.registry import unknown_name

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
