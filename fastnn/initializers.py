"""Initial values of parameters: Glorot, He, LeCun, orthogonal, constant, normal, uniform.

Below, n is the number of inputs of a kernel and m that of its outputs (fan-in and fan-out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fastnn.core import hints
from fastnn.core.declare import Declaration, number
from fastnn.core.registry import Registry


class Initializer(Declaration):
    """Fills a new parameter.

    Attributes
    ----------
    name : str
        The name that `Dense(kernel_initializer=name)` takes.
    """

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return float64 values for a parameter of `shape`.

        Parameters
        ----------
        shape : tuple of int
            (inputs, units) for a kernel.
        generator : numpy.random.Generator

        Returns
        -------
        ndarray of float64
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define sample(self, shape, generator)"
        )


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


class Ones(Initializer):
    """All ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.initializers.get("ones").sample((2,), None)
    array([1., 1.])
    """

    name: ClassVar[str] = "ones"

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return ones."""
        return np.ones(shape)


class Constant(Initializer):
    """All elements have the same value.

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

    value: float = number(default=0.0)

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return an array of the value."""
        return np.full(shape, float(self.value))


class Given(Initializer):
    """Given numbers, for parameters that were measured; it has no name, and is in no file."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return the numbers."""
        return np.broadcast_to(self._values, shape)


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

    mean: float = number(default=0.0)
    stddev: float = number(default=0.05, least=0)

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return normal numbers."""
        return generator.normal(self.mean, self.stddev, shape)


class TruncatedNormal(Normal):
    """Normally distributed, but never more than two `stddev` away from the mean, as in Keras.

    Numbers beyond that are drawn again.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05
        Of the normal distribution before truncation; that of the result is 0.88 times this.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> w = fnn.initializers.get("truncated_normal").sample((50, 50), np.random.default_rng(0))
    >>> bool(abs(w).max() <= 0.1)
    True
    """

    name: ClassVar[str] = "truncated_normal"

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return normal numbers within two standard deviations."""
        numbers = generator.standard_normal(shape)
        flat = numbers.reshape(-1)
        while len(outside := np.flatnonzero(np.abs(flat) > 2)):
            flat[outside] = generator.standard_normal(len(outside))
        return self.mean + self.stddev * numbers


class Orthogonal(Initializer):
    """Orthogonal columns, or rows if they are fewer, of length `gain` (Saxe et al. 2014).

    Parameters
    ----------
    gain : float, default 1.0

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> w = fnn.initializers.get("orthogonal").sample((5, 3), np.random.default_rng(0))
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """

    name: ClassVar[str] = "orthogonal"

    gain: float = number(default=1.0)

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return an orthogonal matrix, computed by QR decomposition of a normal one."""
        if len(shape) != 2:
            raise ValueError(f"orthogonal is for kernels of shape (inputs, units), got {shape}")
        size = max(shape), min(shape)
        q, r = np.linalg.qr(generator.standard_normal(size))
        q = q * np.where(np.diag(r) < 0, -1, 1)  # otherwise QR's signs would not be random
        return self.gain * (q if shape == size else q.T)


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

    minimum: float = number(default=-0.05)
    maximum: float = number(default=0.05)

    def check_together(self) -> None:
        """Raise ValueError if `minimum` exceeds `maximum`."""
        if self.minimum > self.maximum:
            raise ValueError(
                f"minimum must be at most maximum, got {self.minimum:g} > {self.maximum:g}"
            )

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return uniform numbers."""
        return generator.uniform(self.minimum, self.maximum, shape)


class RandomSign(Initializer):
    """-1 or 1, each with probability 1/2.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> fnn.initializers.RandomSign().sample((4,), np.random.default_rng(0))
    array([ 1.,  1.,  1., -1.])
    """

    name: ClassVar[str] = "random_sign"

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return signs."""
        return generator.integers(0, 2, shape) * 2.0 - 1.0


class _Scaled(Initializer):
    """A normal or uniform distribution of mean 0 and variance `scale` / fan."""

    scale: ClassVar[float] = 1.0
    averages_fans: ClassVar[bool] = False
    is_uniform: ClassVar[bool] = True

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return numbers with that variance."""
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
    Ones,
    Constant,
    Normal,
    TruncatedNormal,
    Orthogonal,
    Uniform,
    RandomSign,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
):
    registry.add(_initializer)
get = registry.get

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, [registry[name].__name__ for name in registry])
