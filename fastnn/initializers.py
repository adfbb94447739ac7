"""How parameters start: Glorot, He, LeCun, zeros, constant, normal, uniform.

With n the number of inputs of a kernel and m that of its outputs (fan-in and fan-out).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastnn import checks
from fastnn.registry import Declaration, Registry


class Initializer(Declaration):
    """Fills a new parameter.

    Attributes
    ----------
    name : str
        What `Dense(kernel_initializer=name)` is told.
    """

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return float64 values for a parameter of `shape`.

        Parameters
        ----------
        shape : tuple of int
            A kernel's is (inputs, units).
        generator : numpy.random.Generator

        Returns
        -------
        ndarray of float64
        """
        raise NotImplementedError


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], shape[-1]) if shape else (1, 1)


class Zeros(Initializer):
    """All zeros.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.initializers.get("zeros").sample((2,), None)
    array([0., 0.])
    """

    name: ClassVar[str] = "zeros"

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return zeros."""
        return np.zeros(shape)


class Constant(Initializer):
    """All the same.

    Parameters
    ----------
    value : float, default 0.0

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.initializers.Constant(0.5).sample((2,), None)
    array([0.5, 0.5])
    """

    name: ClassVar[str] = "constant"

    def __init__(self, value: float = 0.0) -> None:
        self.value = checks.number("value", value)

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return an array of the value."""
        return np.full(shape, float(self.value))


class Normal(Initializer):
    """Normally distributed.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> fnn.initializers.Normal().sample((3, 4), np.random.default_rng(0)).shape
    (3, 4)
    """

    name: ClassVar[str] = "normal"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean = checks.number("mean", mean)
        self.stddev = checks.number("stddev", stddev, least=0)

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return normal numbers."""
        return generator.normal(self.mean, self.stddev, shape)


class Uniform(Initializer):
    """Uniformly distributed in [minimum, maximum).

    Parameters
    ----------
    minimum, maximum : float, default -0.05 and 0.05

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> bool(abs(fnn.initializers.Uniform().sample((9,), np.random.default_rng(0))).max() < 0.05)
    True
    """

    name: ClassVar[str] = "uniform"

    def __init__(self, minimum: float = -0.05, maximum: float = 0.05) -> None:
        self.minimum = checks.number("minimum", minimum)
        self.maximum = checks.number("maximum", maximum)
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must be at most maximum, got {minimum!r} > {maximum!r}")

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return uniform numbers."""
        return generator.uniform(self.minimum, self.maximum, shape)


class _Scaled(Initializer):
    """Zero mean, variance `scale` / fan; a normal or a uniform distribution."""

    scale: ClassVar[float] = 1.0
    averages_fans: ClassVar[bool] = False
    is_uniform: ClassVar[bool] = True

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return numbers of that variance."""
        inputs, outputs = _fans(shape)
        fan = (inputs + outputs) / 2 if self.averages_fans else inputs
        deviation = np.sqrt(self.scale / max(fan, 1))
        if self.is_uniform:
            limit = np.sqrt(3) * deviation
            return generator.uniform(-limit, limit, shape)
        return generator.normal(0, deviation, shape)


class GlorotUniform(_Scaled):
    """Uniform with variance 2 / (n + m) (Glorot & Bengio 2010); for linear, sigmoid, tanh.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> w = fnn.initializers.get("glorot_uniform").sample((50, 50), np.random.default_rng(0))
    >>> bool(abs(w.var() - 2 / 100) < 0.002)
    True
    """

    averages_fans: ClassVar[bool] = True
    name: ClassVar[str] = "glorot_uniform"


class GlorotNormal(_Scaled):
    """Normal with variance 2 / (n + m) (Glorot & Bengio 2010)."""

    averages_fans: ClassVar[bool] = True
    is_uniform: ClassVar[bool] = False
    name: ClassVar[str] = "glorot_normal"


class HeUniform(_Scaled):
    """Uniform with variance 2 / n (He et al. 2015); for relu and its relatives."""

    scale: ClassVar[float] = 2.0
    name: ClassVar[str] = "he_uniform"


class HeNormal(_Scaled):
    """Normal with variance 2 / n (He et al. 2015)."""

    scale: ClassVar[float] = 2.0
    is_uniform: ClassVar[bool] = False
    name: ClassVar[str] = "he_normal"


class LecunUniform(_Scaled):
    """Uniform with variance 1 / n (LeCun et al. 1998)."""

    name: ClassVar[str] = "lecun_uniform"


class LecunNormal(_Scaled):
    """Normal with variance 1 / n (LeCun et al. 1998)."""

    is_uniform: ClassVar[bool] = False
    name: ClassVar[str] = "lecun_normal"


registry = Registry("initializer", Initializer)
for _initializer in (
    Zeros,
    Constant,
    Normal,
    Uniform,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
):
    registry.add(_initializer)
get = registry.get

# What a kernel starts from where the user says nothing; other activations take Glorot's.
_FOLLOWS_ACTIVATION = dict.fromkeys(
    ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus"), "he_uniform"
)


def default_for(activation: str) -> Initializer:
    """Return the initializer that suits an activation: He for the relu family, else Glorot.

    Parameters
    ----------
    activation : str

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.initializers.default_for("relu")
    HeUniform()
    """
    return get(_FOLLOWS_ACTIVATION.get(activation, "glorot_uniform"))
