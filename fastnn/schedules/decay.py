"""Schedules in which the rate only falls, except in a warm-up or a cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import boolean, checked, integer, number
from fastnn.schedules.base import Schedule, after_line, half_cosine, registry


class StepDecay(Schedule):
    r""":math:`\eta_0 \gamma^{\lfloor t / T \rfloor}`: PyTorch's StepLR.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Steps from one decay to the next.
    decay_rate : float, default 0.1
        Gamma.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.StepDecay(0.5, decay_steps=10, decay_rate=0.5)([0, 9, 10])
    array([0.5 , 0.5 , 0.25])
    """

    name: ClassVar[str] = "step_decay"

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    decay_rate: float = number(default=0.1, least=0)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        return self.initial_learning_rate * self.decay_rate ** (steps // self.decay_steps)


class _Decay(Schedule):
    """Base class of `ExponentialDecay` and `InverseTimeDecay`."""

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    decay_rate: float = number(least=0)
    staircase: bool = boolean(default=False)

    def _decays(self, steps: np.ndarray) -> np.ndarray:
        return steps // self.decay_steps if self.staircase else steps / self.decay_steps


class ExponentialDecay(_Decay):
    r""":math:`\eta_0 \gamma^{t / T}`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
        Gamma.
    staircase : bool, default False
        Whether t / T is rounded down.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)([0, 5, 10])
    array([0.5  , 0.25 , 0.125])
    """

    name: ClassVar[str] = "exponential_decay"

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        return self.initial_learning_rate * self.decay_rate ** self._decays(steps)


class InverseTimeDecay(_Decay):
    r""":math:`\eta_0 / (1 + \gamma t / T)`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
        Gamma.
    staircase : bool, default False
        Whether t / T is rounded down.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)([0, 10, 30])
    array([0.5  , 0.25 , 0.125])
    """

    name: ClassVar[str] = "inverse_time_decay"

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        return self.initial_learning_rate / (1 + self.decay_rate * self._decays(steps))


class PolynomialDecay(Schedule):
    r""":math:`(\eta_0 - \eta_1) (1 - t / T)^p + \eta_1`, and :math:`\eta_1` from T on.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float, default 0.0001
        :math:`\eta_1`.
    power : float, default 1.0
        p.
    cycle : bool, default False
        Whether to continue beyond T, with T replaced by its smallest multiple that is at least t.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.PolynomialDecay(0.5, decay_steps=10, end_learning_rate=0.1)([0, 5, 20])
    array([0.5, 0.3, 0.1])
    """

    name: ClassVar[str] = "polynomial_decay"

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    end_learning_rate: float = number(default=0.0001, least=0)
    power: float = number(default=1.0, is_positive=True)
    cycle: bool = boolean(default=False)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        end: float | np.ndarray = float(self.decay_steps)
        if self.cycle:
            end = end * np.maximum(np.ceil(steps / end), 1)
        else:
            steps = np.minimum(steps, end)
        height = self.initial_learning_rate - self.end_learning_rate
        return height * (1 - steps / end) ** self.power + self.end_learning_rate


class CosineDecay(Schedule):
    r"""Half a cosine, from the initial rate to `alpha` times it (Loshchilov & Hutter 2017).

    :math:`\eta_0 ((1 - \alpha) (1 + \cos(\pi t / T)) / 2 + \alpha)`, and
    :math:`\alpha \eta_0` from T on.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Steps of the decay, excluding those of the warm-up.
    alpha : float, default 0.0
    warmup_target : float, optional
        If given, the rate rises linearly from `initial_learning_rate` to `warmup_target` in
        `warmup_steps`, and decays from there.
    warmup_steps : int, default 0

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.CosineDecay(0.4, decay_steps=10, alpha=0.5)([0, 5, 10, 20])
    array([0.4, 0.3, 0.2, 0.2])
    """

    name: ClassVar[str] = "cosine_decay"

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    alpha: float = number(default=0.0, least=0)
    warmup_target: float | None = number(default=None, least=0, is_optional=True)
    warmup_steps: int = integer(default=0, least=0)

    def check_together(self) -> None:
        """Raise ValueError for a warm-up without a target."""
        if self.warmup_steps and self.warmup_target is None:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} needs a warmup_target, the rate to rise to"
            )

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        peak, first = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            peak, first = self.warmup_target, self.warmup_steps
        part = np.clip((steps - first) / self.decay_steps, 0, 1)
        decayed = peak * ((1 - self.alpha) * half_cosine(part) + self.alpha)
        return after_line(steps, self.initial_learning_rate, peak, first, decayed)


class FlatCosineDecay(Schedule):
    r"""The initial rate for a share of the steps, then half a cosine to 0.

    :math:`\eta_0` up to the share s of T steps, then
    :math:`\eta_0 (1 + \cos(\pi (t / T - s) / (1 - s))) / 2`, and 0 from T on.

    Parameters
    ----------
    initial_learning_rate : float
        Or what else it is a schedule of: a weight decay, the rate of `Dropout`.
    decay_steps : int
    flat : float, default 0.5
        s, in [0, 1).

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.FlatCosineDecay(0.4, decay_steps=8)([0, 4, 6, 8])
    array([0.4, 0.4, 0.2, 0. ])
    """

    name: ClassVar[str] = "flat_cosine_decay"

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    flat: float = number(default=0.5, least=0, below=1)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        part = np.clip((steps / self.decay_steps - self.flat) / (1 - self.flat), 0, 1)
        return self.initial_learning_rate * half_cosine(part)


def _numbers(name: str, values: object, check: Callable[[object], float]) -> tuple:
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be a list of numbers, got {values!r}")
    return tuple(map(check, values))


def _steps(name: str, value: object) -> tuple[int, ...]:
    return _numbers(name, value, lambda each: checks.integer(name, each, least=0))


def _rates(name: str, value: object) -> tuple[float, ...]:
    return _numbers(name, value, lambda each: checks.number(name, each, least=0))


class PiecewiseConstantDecay(Schedule):
    """One rate up to and including a boundary, and another from the next step on.

    Parameters
    ----------
    boundaries : sequence of int
        Step numbers in ascending order.
    values : sequence of float
        The rates; one more than there are boundaries.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.PiecewiseConstantDecay([10, 20], [0.4, 0.2, 0.1])([0, 10, 11, 20, 21])
    array([0.4, 0.4, 0.2, 0.2, 0.1])
    """

    name: ClassVar[str] = "piecewise_constant_decay"

    boundaries: Any = checked(_steps)
    values: Any = checked(_rates)

    def check_together(self) -> None:
        """Raise ValueError if the boundaries do not rise or the number of values is wrong."""
        if sorted(set(self.boundaries)) != list(self.boundaries):
            raise ValueError(f"boundaries must rise, got {list(self.boundaries)}")
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values must be one more than boundaries, {len(self.boundaries) + 1}, "
                f"got {len(self.values)}"
            )

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        return np.array(self.values)[np.searchsorted(self.boundaries, steps)]


for _schedule in (
    *(StepDecay, ExponentialDecay, InverseTimeDecay, PolynomialDecay, CosineDecay),
    FlatCosineDecay,
    PiecewiseConstantDecay,
):
    registry.add(_schedule)
