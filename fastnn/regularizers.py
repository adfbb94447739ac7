"""Penalties on the size of parameters, added to the loss; computed in `src_c/update.c`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fastnn.core import hints
from fastnn.core.declare import Declaration, number
from fastnn.core.registry import Registry


class Regularizer(Declaration):
    """A penalty on a parameter p, added to the loss: the sum of l1 |p| + l2 p^2, as in Keras.

    Attributes
    ----------
    name : str
        The name that `Dense(kernel_regularizer=name)` takes.
    weights : tuple of float
        l1 and l2.
    """

    @property
    def weights(self) -> tuple[float, float]:
        """The weights of the sum of magnitudes and of the sum of squares."""
        return float(getattr(self, "l1", 0.0)), float(getattr(self, "l2", 0.0))


class L1(Regularizer):
    r"""Adds :math:`l_1 \sum |p|`, which drives parameters of little use to 0.

    The derivative at 0 is 0.

    Parameters
    ----------
    l1 : float, default 0.01

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.regularizers.get("l1")
    L1(l1=0.01)
    """

    name: ClassVar[str] = "l1"

    l1: float = number(default=0.01, least=0)


class L2(Regularizer):
    r"""Adds :math:`l_2 \sum p^2`, with the gradient of a coupled weight_decay of twice l2.

    Parameters
    ----------
    l2 : float, default 0.01

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Dense(3, kernel_regularizer=fnn.regularizers.L2(1e-4)).kernel_regularizer
    L2(l2=0.0001)
    """

    name: ClassVar[str] = "l2"

    l2: float = number(default=0.01, least=0)


class L1L2(Regularizer):
    r"""Adds both (the elastic net of Zou & Hastie 2005).

    Parameters
    ----------
    l1, l2 : float, default 0.0

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.regularizers.L1L2(l1=0.1, l2=0.01).weights
    (0.1, 0.01)
    """

    name: ClassVar[str] = "l1_l2"

    l1: float = number(default=0.0, least=0)
    l2: float = number(default=0.0, least=0)


registry = Registry("regularizer", Regularizer)
for _regularizer in (L1, L2, L1L2):
    registry.add(_regularizer)


def get(what: object) -> Regularizer | None:
    """Return the regularizer that `what` stands for; None for None.

    Parameters
    ----------
    what : str, dict, Regularizer or None

    Returns
    -------
    Regularizer or None

    Raises
    ------
    ValueError, TypeError
        A name is unknown, or `what` is something else.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.regularizers.get(None) is None
    True
    """
    return None if what is None else registry.get(what)


if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, [registry[name].__name__ for name in registry])
