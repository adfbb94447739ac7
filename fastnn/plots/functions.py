"""Activations: the functions and their derivatives, each on axes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.activations import ActivationFunction, Custom
from fastnn.activations import get as activation_of
from fastnn.core import checks
from fastnn.native import kernels
from fastnn.plots import style
from fastnn.program.ops import ACTIVATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def activations(
    functions: Sequence[object] | None = None, *, limit: float = 5.0, ax: Any = None
) -> list[Axes]:
    """Draw activation functions and their derivatives, computed by the kernels.

    Parameters
    ----------
    functions : sequence of str, dict or ActivationFunction, optional
        Default: all that are computed element by element, in the order of their registry.
    limit : float, default 5.0
        The functions are drawn from -limit to limit.
    ax : sequence of matplotlib Axes, optional
        One for each function; default: a grid on a new figure.

    Returns
    -------
    list of matplotlib Axes
        One for each function.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        A name is unknown, or that of a function of whole rows (softmax); or the number of axes
        is not that of the functions.

    Examples
    --------
    >>> from fastnn import plots
    >>> [ax.get_title() for ax in plots.activations(["relu", "gelu"])]  # doctest: +SKIP
    ['relu', 'gelu']
    """
    limit = checks.number("limit", limit, is_positive=True)
    if isinstance(functions, str):
        functions = [functions]
    chosen = [activation_of(what) for what in (ACTIVATIONS if functions is None else functions)]
    if not chosen:
        raise ValueError("functions must name at least one activation, got none")
    for function in chosen:
        if function.name not in ACTIVATIONS and not isinstance(function, Custom):
            raise ValueError(
                f"{function.name} looks at whole rows of numbers and has no curve; there are "
                f"{', '.join(ACTIVATIONS)}"
            )
    panels = style.panels(
        ax, len(chosen), (2.2, 2.0), 4, "functions", sharex=ax is None, sharey=ax is None
    )
    x = np.linspace(-limit, limit, 401)
    for panel, function in zip(panels, chosen, strict=True):
        y, slope = _curves(function, x)
        panel.plot(x, y, label="function", linewidth=1.8, **style.TRAINING)
        panel.plot(x, slope, label="derivative", linewidth=1.5, **style.VALIDATION)
        parameter = f" ({function.parameter:g})" if function.parameter else ""
        style.finish(panel, title=function.name + parameter)
        panel.set_ylim(-2.0, 3.0)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.axvline(0, color="0.6", linewidth=0.8)
    style.legend_above(panels)
    if ax is None:
        panels[0].figure.supxlabel("x", fontsize="medium")
        panels[0].figure.supylabel("f(x), f'(x)", fontsize="medium")
    return panels


def _curves(function: ActivationFunction, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the function and its derivative at each x."""
    if isinstance(function, Custom):
        return function.function(x), function.derivative(x)
    row, parameter = x[np.newaxis], function.parameter
    y = kernels.activation(row, function.name, parameter=parameter)
    saved = y if ACTIVATIONS[function.name][0] == "output" else row
    ones = np.ones_like(row)
    slope = kernels.activation_gradient(saved, ones, function.name, parameter=parameter)
    return y[0], slope[0]
