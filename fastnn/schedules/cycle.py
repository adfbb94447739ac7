"""Schedules in which the rate also rises."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import boolean, checked, choice, integer, number
from fastnn.schedules.base import Constant, Schedule, after_line, get, half_cosine, registry


class CosineDecayRestarts(Schedule):
    r"""`CosineDecay` that restarts at its end (Loshchilov & Hutter 2017, SGDR).

    Period i, from 0, is :math:`T_0 b^i` steps long and decays from :math:`\eta_0 m^i` to
    :math:`\alpha \eta_0`:
    :math:`\eta_0 ((1 - \alpha) m^i (1 + \cos(\pi u)) / 2 + \alpha)` with u the fraction of the
    period that has passed.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
        :math:`T_0`.
    t_mul : float, default 2.0
        b, at least 1.
    m_mul : float, default 1.0
        m.
    alpha : float, default 0.0

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.CosineDecayRestarts(0.4, first_decay_steps=10)([0, 5, 10, 20])
    array([0.4, 0.2, 0.4, 0.2])
    """

    name: ClassVar[str] = "cosine_decay_restarts"

    initial_learning_rate: float = number(least=0)
    first_decay_steps: int = integer()
    t_mul: float = number(default=2.0, least=1)
    m_mul: float = number(default=1.0, least=0)
    alpha: float = number(default=0.0, least=0)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        first = self.first_decay_steps
        if self.t_mul == 1:
            period = steps // first
            part = steps / first - period
        else:
            growth = self.t_mul - 1

            def start(period: np.ndarray) -> np.ndarray:
                return first * (self.t_mul**period - 1) / growth

            period = np.floor(np.log1p(steps / first * growth) / math.log(self.t_mul))
            period += start(period + 1) <= steps  # the logarithm may round to either side
            period -= start(period) > steps
            part = (steps - start(period)) / (first * self.t_mul**period)
        height = (1 - self.alpha) * self.m_mul**period * half_cosine(part)
        return self.initial_learning_rate * (height + self.alpha)


def _schedule(name: str, value: object) -> Schedule:
    if isinstance(value, (Schedule, dict, type)):
        return get(value)
    return Constant(checks.number(name, value, least=0))


class WarmUp(Schedule):
    r"""A linear rise to the first rate of another schedule, which then begins at its step 0.

    :math:`s + (\eta(0) - s) t / W` for t < W, then :math:`\eta(t - W)`.

    Parameters
    ----------
    schedule : Schedule, dict or float
        :math:`\eta`; a number is a `Constant`.
    steps : int
        W.
    start : float, default 0.0
        s, the rate of step 0.

    Examples
    --------
    >>> import fastnn as fnn
    >>> decay = fnn.schedules.StepDecay(0.4, decay_steps=10, decay_rate=0.5)
    >>> fnn.schedules.WarmUp(decay, steps=4)([0, 1, 4, 13, 14])
    array([0. , 0.1, 0.4, 0.4, 0.2])
    """

    name: ClassVar[str] = "warm_up"

    schedule: Schedule = checked(_schedule)
    steps: int = integer()
    start: float = number(default=0.0, least=0)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        then = np.asarray(self.schedule(np.maximum(steps - self.steps, 0)))
        peak = float(self.schedule(0))
        return after_line(steps, self.start, peak, self.steps, then)


class OneCycle(Schedule):
    r"""Rises to a large rate and falls to a tiny one (Smith & Topin 2018): PyTorch's OneCycleLR.

    With p for `pct_start` and N for `total_steps`, the rate has two phases: from
    `max_learning_rate` / `div_factor` to `max_learning_rate` at step pN - 1, and to the first rate
    / `final_div_factor` at step N - 1, where it stays. With three phases, it returns to the first
    rate at step 2pN - 2 in between.

    Parameters
    ----------
    max_learning_rate : float
    total_steps : int
        Steps of the whole training: epochs times steps per epoch.
    pct_start : float, default 0.3
        The fraction of the steps in which the rate rises; in [0, 1], with three phases at most 0.5.
    anneal_strategy : {"cos", "linear"}, default "cos"
        The transition from one rate to the next: half a cosine or a line.
    div_factor : float, default 25.0
    final_div_factor : float, default 1e4
    three_phase : bool, default False

    Notes
    -----
    PyTorch's schedule also cycles the momentum, from 0.85 to 0.95 by default; this one does not
    change it (``cycle_momentum=False``).

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.schedules.OneCycle(0.5, total_steps=101)([0, 29.3]).round(4)
    array([0.02, 0.5 ])
    """

    name: ClassVar[str] = "one_cycle"

    max_learning_rate: float = number(least=0)
    total_steps: int = integer()
    pct_start: float = number(default=0.3, least=0)
    anneal_strategy: str = choice("cos", "linear", default="cos")
    div_factor: float = number(default=25.0, is_positive=True)
    final_div_factor: float = number(default=1e4, is_positive=True)
    three_phase: bool = boolean(default=False)

    def check_together(self) -> None:
        """Raise ValueError if the rise takes too many of the steps."""
        most = 0.5 if self.three_phase else 1.0
        if self.pct_start > most:
            phases = " with three phases" if self.three_phase else ""
            raise ValueError(f"pct_start must be at most {most:g}{phases}, got {self.pct_start!r}")

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        most = self.max_learning_rate
        first = most / self.div_factor
        rise = self.pct_start * self.total_steps
        ends, goals = [rise - 1], [most]
        if self.three_phase:
            ends, goals = [*ends, 2 * rise - 2], [*goals, first]
        ends, goals = [*ends, self.total_steps - 1], [*goals, first / self.final_div_factor]
        phase = np.searchsorted(ends[:-1], steps)  # a phase includes its last step
        begin, end = np.array([0, *ends[:-1]])[phase], np.array(ends)[phase]
        source, goal = np.array([first, *goals[:-1]])[phase], np.array(goals)[phase]
        # A phase of length 0, for a fraction of 0 or 1, ends as soon as it begins.
        part = np.divide(steps - begin, end - begin, np.ones(len(steps)), where=end > begin)
        part = np.minimum(part, 1)
        if self.anneal_strategy == "linear":
            return source + (goal - source) * part
        return goal + (source - goal) * half_cosine(part)


def _cycles(name: str, value: object) -> int:
    found = checks.integer(name, value)
    if found > 1000:  # 2 to its power is to be finite
        raise ValueError(f"{name} must be an integer of at most 1,000, got {str(found)[:40]}")
    return found


class CosineLogCycles(Schedule):
    r"""Cosine waves from 0 that become longer and longer, and end at 0: RealMLP's coslog schedule.

    :math:`\eta_0 (1 - \cos(2 \pi \log_2(1 + (2^c - 1) t / T))) / 2` with c cycles, each twice
    as long as the one before, and 0 from T on (Holzmüller et al. 2024).

    Parameters
    ----------
    initial_learning_rate : float
        The rate at each peak.
    decay_steps : int
        Steps of the whole training: epochs times steps per epoch.
    cycles : int, default 4
        At most 1,000.

    Examples
    --------
    >>> import fastnn as fnn
    >>> schedule = fnn.schedules.CosineLogCycles(0.04, decay_steps=30, cycles=4)
    >>> schedule([0, 2, 6, 14, 30])  # the cycles are 2, 4, 8 and 16 steps long
    array([0., 0., 0., 0., 0.])
    >>> schedule([0.83, 3.66, 9.31, 20.63]).round(3)  # and peak where their logarithm is halved
    array([0.04, 0.04, 0.04, 0.04])
    """

    name: ClassVar[str] = "cosine_log_cycles"

    initial_learning_rate: float = number(least=0)
    decay_steps: int = integer()
    cycles: int = checked(_cycles, default=4)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rate of each step."""
        part = np.clip(steps / self.decay_steps, 0, 1)
        waves = np.log2(1 + (2.0**self.cycles - 1) * part)
        return self.initial_learning_rate * (1 - half_cosine(2 * waves))


for _each in (CosineDecayRestarts, CosineLogCycles, WarmUp, OneCycle):
    registry.add(_each)
