"""The base class of schedules, the constant one, the registry, and shared formulas."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastnn.core.declare import Declaration, integer, number
from fastnn.core.registry import Registry


class Schedule(Declaration):
    """Base class of all schedules: a learning rate for each step.

    For a schedule of your own, declare its arguments as fields with defaults and override `rates`.
    A model that uses it can be saved and loaded if the class has a ``name`` and was added to
    ``fastnn.schedules.registry``.

    Parameters
    ----------
    initial_step : int, default 0
        The step that the schedule takes as its first; earlier ones get the rate of the first. All
        schedules have this argument, by keyword.

    Notes
    -----
    Steps are counted from `Model.compile` on, over all calls of `fit`, `train_on_batch` and
    `learn_one`, and on from there in a model that was saved and loaded. A new schedule for a second
    phase of training therefore begins with ``initial_step=model.iterations``. To compile again
    resets both the count and the optimizer's state.

    Examples
    --------
    >>> import fastnn as fnn
    >>> schedule = fnn.schedules.CosineDecay(0.1, decay_steps=100)
    >>> schedule(50)
    0.05
    >>> schedule([0, 100, 200])
    array([0.1, 0. , 0. ])
    >>> fnn.schedules.CosineDecay(0.1, decay_steps=100, initial_step=500)([500, 550, 600])
    array([0.1 , 0.05, 0.  ])
    >>> class Sawtooth(fnn.schedules.Schedule):
    ...     height: float = 0.1
    ...     period: int = 4
    ...
    ...     def rates(self, steps):
    ...         return self.height * (1 - steps % self.period / self.period)
    >>> Sawtooth(0.2)([0, 1, 4])
    array([0.2 , 0.15, 0.2 ])
    """

    initial_step: int = integer(default=0, least=0, kw_only=True)

    def arguments(self) -> dict[str, Any]:
        """Return the values of the fields, keyed by name; `initial_step` only where it is set."""
        made = super().arguments()
        if not self.initial_step:
            made.pop("initial_step", None)
        return made

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rates of the given steps.

        Parameters
        ----------
        steps : ndarray of float64, shape (count,)
            Numbers of the steps, counted from `initial_step`.

        Returns
        -------
        ndarray of float64, shape (count,)
        """
        raise NotImplementedError(f"{type(self).__name__} must define rates(self, steps)")

    def __call__(self, step: object) -> float | np.ndarray:
        """Return the learning rate of a step, or of each step in an array.

        Parameters
        ----------
        step : array_like of int
            Counted from 0.

        Returns
        -------
        float, or ndarray of float64 of the shape of `step`
        """
        steps = np.asarray(step, np.float64)
        rates = self._checked_rates(steps.reshape(-1))
        return float(rates[0]) if steps.ndim == 0 else rates.reshape(steps.shape)

    def rates_from(self, first: int, count: int) -> np.ndarray:
        """Return the learning rates of `count` steps, the first of which has number `first`."""
        return self._checked_rates(np.arange(first, first + count, dtype=np.float64))

    def _checked_rates(self, steps: np.ndarray) -> np.ndarray:
        if self.initial_step:
            steps = np.maximum(steps - self.initial_step, 0)
        with np.errstate(over="ignore"):  # an infinite rate is detected by its effect
            rates = np.ascontiguousarray(self.rates(steps), np.float64)
        if rates.shape != steps.shape:  # only possible in a user's schedule
            raise ValueError(
                f"{type(self).__name__}.rates must return an array of shape {steps.shape}, "
                f"got {rates.shape}"
            )
        return rates


class Constant(Schedule):
    """The same rate at all steps, for `WarmUp` and for code that needs a schedule.

    Parameters
    ----------
    learning_rate : float

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.Constant(0.1)(7)
    0.1
    """

    name: ClassVar[str] = "constant"

    learning_rate: float = number(least=0)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate for each step."""
        return np.full(len(steps), self.learning_rate)


registry = Registry("learning_rate schedule", Schedule)
registry.add(Constant)
get = registry.get


def half_cosine(part: np.ndarray) -> np.ndarray:
    """Return 0.5 + cos(pi * part) / 2, which falls from 1 at 0 to 0 at 1."""
    return (1 + np.cos(math.pi * part)) / 2


def after_line(
    steps: np.ndarray, first: float, goal: float, count: int, then: np.ndarray
) -> np.ndarray:
    """Return a line from `first` at step 0 to `goal` at `count`, followed by `then`."""
    return np.where(steps < count, first + (goal - first) * steps / max(count, 1), then)
