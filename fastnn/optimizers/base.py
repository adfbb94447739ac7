"""The base class of optimizers: hyper-parameters that may be set at any time, and state slots."""

from __future__ import annotations

import copy
import re
import threading
import weakref
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from fastnn import schedules
from fastnn.core import checks
from fastnn.core.declare import Declaration, boolean, checked, integer, number
from fastnn.core.locks import Lock
from fastnn.program.ops import OPTIMIZERS
from fastnn.program.purpose import Purpose
from fastnn.schedules import Schedule

BATCH_SIZE = 32  # if neither the user nor the optimizer specifies one
GRADIENT_SUM = "gradient_sum"  # the slot that gradients of several batches are added up in

# Held while a copy is made and noted: threads may compile models with one optimizer.
_copies_lock = Lock(threading.RLock)


class Trainers(Protocol):
    """The trainers that `fit` offers an optimizer; see `fastnn.training.trainers`."""

    def steps(self) -> Any:
        """Return a trainer that takes single steps, each with an update by the optimizer."""

    def accumulated_steps(self) -> Any:
        """Return a trainer that makes one update with the gradients of several steps."""

    def iterations(self) -> Any:
        """Return a trainer whose iterations may evaluate all rows several times."""


def _rate(name: str, value: Any) -> float | Schedule:
    """Check a learning rate."""
    if isinstance(value, (Schedule, dict, type)):
        return schedules.get(value)
    return checks.number(name, value, least=0)


def decay(name: str, value: Any) -> float | Schedule:
    """Check a weight decay."""
    if isinstance(value, (Schedule, dict, type)):
        return schedules.get(value)
    return checks.number(name, value, least=0)


def _patterns(name: str, value: Any) -> tuple[str, ...]:
    """Check regular expressions; None stands for none."""
    listed = [] if value is None else value
    is_list = isinstance(listed, (list, tuple))
    if not is_list or not all(isinstance(pattern, str) for pattern in listed):
        raise TypeError(f"{name} must be a list of strings, got {value!r}")
    given = tuple(listed)
    for pattern in given:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{name} must hold parts of names or regular expressions, got {pattern!r}: {error}"
            ) from None
    return given


class Optimizer(Declaration):
    r"""Base class of optimizers: the hyper-parameters of an update.

    Parameters
    ----------
    learning_rate : float or Schedule
        Positive, or 0 to change nothing; or one of `fastnn.schedules`, or its ``config()``. Like
        all hyper-parameters, it may be set at any time and takes effect from the next step.
    weight_decay : float or Schedule, default 0.0
        Coupled L2: weight_decay * parameter is added to the gradient. A schedule gives it for each
        step.
    clipvalue : float, optional
        Each gradient is clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients together are scaled so that their norm is at most this. It is applied before
        clipvalue, and both before weight decay.
    clipnorm : float, optional
        The gradient of each parameter (a kernel, a bias) is scaled so that its norm is at most
        this. It cannot be combined with global_clipnorm.
    use_ema : bool, default False
        Whether to keep an exponential moving average of the parameters and set them to it when
        `fit` ends: :math:`a \leftarrow m a + (1 - m) p` after each step; the first step copies p.
        `SwapEMAWeights` lets validation and callbacks see it before.
    ema_momentum : float, default 0.99
        m, in [0, 1).
    gradient_accumulation_steps : int, optional
        At least 2: the parameters are updated once in so many batches, with the mean of the
        batches' gradients, as in Keras. Clipping and weight decay act on that mean, and schedules
        count updates. Gradients that remain at the end of an epoch, or of a training, are
        kept for the batches that follow.
    weight_decay_exclusions : sequence of str, optional
        Parameters without weight decay: those in whose names, such as "dense/bias", one of these
        strings or regular expressions is found; see `exclude_from_weight_decay`.

    Attributes
    ----------
    full_batch : bool
        Whether each step takes all rows.
    program : Purpose
        The program that `fit` runs natively.

    Notes
    -----
    `Model.compile` copies the optimizer, so that one object may be given to several models: what a
    callback sets in one (`model.optimizer.learning_rate`) does not reach the others. What is set on
    the object that was given is passed on to its copies.
    """

    __slots__ = ("_copies",)  # not in vars(), which say whether two optimizers are equal

    full_batch: ClassVar[bool] = False
    program: ClassVar[Purpose] = Purpose.TRAIN
    _is_fixed: ClassVar[bool] = False

    learning_rate: float | Schedule = checked(_rate, default=0.01)
    weight_decay: float | Schedule = checked(decay, default=0.0, kw_only=True)
    clipvalue: float | None = number(default=None, is_positive=True, is_optional=True, kw_only=True)
    global_clipnorm: float | None = number(
        default=None, is_positive=True, is_optional=True, kw_only=True
    )
    clipnorm: float | None = number(default=None, is_positive=True, is_optional=True, kw_only=True)
    use_ema: bool = boolean(default=False, kw_only=True)
    ema_momentum: float = number(default=0.99, least=0, below=1, kw_only=True)
    gradient_accumulation_steps: int | None = integer(
        default=None, least=2, is_optional=True, kw_only=True
    )
    weight_decay_exclusions: Sequence[str] = checked(_patterns, default=(), kw_only=True)

    _built_in: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Note which hyper-parameters a program is compiled with."""
        super().__init_subclass__(**options)
        cls._built_in = tuple(name for name in cls.fields() if name != "learning_rate")

    def copy(self) -> Optimizer:
        """Return an equal optimizer, which also takes what is set on this one from now on."""
        with _copies_lock.own():
            made = copy.copy(self)
            alive = [ref for ref in getattr(self, "_copies", ()) if ref() is not None]
            object.__setattr__(self, "_copies", [*alive, weakref.ref(made)])
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        with _copies_lock.own():  # a copy that was begun before is on the list then
            copies = getattr(self, "_copies", ())
        for ref in copies:
            made = ref()
            if made is not None:
                setattr(made, name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle takes over; copies are known to the original alone."""
        return dict(vars(self))

    def check_together(self) -> None:
        """Raise ValueError if hyper-parameters contradict each other."""
        values = vars(self)  # an optimizer may not have them
        if values.get("clipnorm") is not None and values.get("global_clipnorm") is not None:
            raise ValueError("give clipnorm or global_clipnorm, not both")

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return self.name

    @property
    def kernel_slots(self) -> list[str]:
        """Names of the state that this row keeps for each parameter."""
        if self.kernel not in OPTIMIZERS:
            raise TypeError(
                f"optimizer {type(self).__name__} has no formula: derive it from one that has"
            )
        return [slot for slot in OPTIMIZERS[self.kernel][0].split(",") if slot]

    @property
    def slots(self) -> list[str]:
        """Names of all state kept for each parameter."""
        return self.kernel_slots + [GRADIENT_SUM] * self.accumulates + ["average"] * self.use_ema

    @property
    def accumulates(self) -> bool:
        """Whether the gradients of several batches are collected for one update."""
        return vars(self).get("gradient_accumulation_steps") is not None  # some have no such field

    @property
    def coupled_weight_decay(self) -> float | Schedule:
        """The factor with which the parameter is added to the gradient."""
        return self.weight_decay

    @property
    def initial_states(self) -> list[float]:
        """The initial value of each slot."""
        own = self.kernel_states
        return own + [0.0] * (len(self.slots) - len(own))

    @property
    def kernel_states(self) -> list[float]:
        """The initial value of each slot of the kernel."""
        return [0.0] * len(self.kernel_slots)

    def rates(self, first: int, count: int = 1) -> np.ndarray:
        """Return the learning rates of `count` steps, the first of which has number `first`.

        Parameters
        ----------
        first : int
            The number of updates made before it.
        count : int, default 1

        Returns
        -------
        ndarray of float64, shape (count,)
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.rates_from(first, count)
        rates = np.empty(count)
        rates.fill(self.learning_rate)
        return rates

    @property
    def has_constant_rate(self) -> bool:
        """Whether the learning rate stays what it is until it is set."""
        return not isinstance(self.learning_rate, Schedule)

    def settings(self) -> tuple:
        """Return the values of the hyper-parameters that are built into a program."""
        return tuple(map(vars(self).get, self._built_in))

    def rate_of(self, step: int) -> float | None:
        """Return the learning rate of a step, counted from 0; None for an optimizer without one."""
        return float(self.rates(step)[0])

    def require_single_steps(self) -> None:
        """Raise RuntimeError for an optimizer that cannot take single steps."""

    def trainer(self, trainers: Trainers) -> Any:
        """Return the trainer that `fit` is to use, one of those offered."""
        return trainers.accumulated_steps() if self.accumulates else trainers.steps()

    def rows_of_a_step(self, batch_size: int | None, rows: int) -> int:
        """Return how many of `rows` rows a step takes; None means the optimizer's default.

        Raises
        ------
        ValueError
            The optimizer takes all rows, and batch_size is smaller.
        """
        if not self.full_batch:
            return min(BATCH_SIZE if batch_size is None else batch_size, rows)
        if batch_size is not None and batch_size < rows:
            raise ValueError(
                f"batch_size must be left out, or be all {rows} rows, for {type(self).__name__}, "
                f"each step of which takes all rows; got {batch_size}"
            )
        return rows

    def kernel_parameters(self) -> tuple[float | Schedule, ...]:
        """Return the row's hyper-parameters in the row's order; weight decay may be a schedule."""
        names = [name for name in OPTIMIZERS[self.kernel][1].split(",") if name]
        values = [getattr(self, name) for name in names]
        return tuple(one if isinstance(one, Schedule) else float(one) for one in values)

    def exclude_from_weight_decay(self, var_names: Sequence[str]) -> None:
        """Leave parameters out of weight decay, in addition to those that already are.

        Parameters
        ----------
        var_names : sequence of str
            As in Keras: a parameter is left out if one of these strings or regular expressions is
            found in its name ("dense/bias").

        Raises
        ------
        TypeError, ValueError
            They are something else. A training raises ValueError if no parameter has any of them
            in its name.

        Examples
        --------
        >>> import fastnn as fnn
        >>> optimizer = fnn.AdamW(1e-3, weight_decay=0.01)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        >>> optimizer.decays("dense/kernel"), optimizer.decays("dense/bias")
        (True, False)
        """
        added = _patterns("var_names", var_names)
        known = tuple(self.weight_decay_exclusions)
        self.weight_decay_exclusions = tuple(dict.fromkeys(known + added))

    def without_weight_decay(self) -> Self:
        """Return an optimizer that differs only in its weight decay, which is 0."""
        other = copy.copy(self)
        other.weight_decay = 0.0
        return other

    def decays(self, parameter: str) -> bool:
        """Return whether weight decay acts on the parameter of this name."""
        return not any(re.search(one, parameter) for one in self.weight_decay_exclusions)

    def decayed(self, parameters: Collection[str]) -> dict[str, bool]:
        """Return whether weight decay acts on each of the parameters.

        Raises
        ------
        ValueError
            There are exclusions, but none of the parameters is excluded.
        """
        found = {name: self.decays(name) for name in parameters}
        if self.weight_decay and self.weight_decay_exclusions and all(found.values()):
            names = ", ".join(parameters)
            raise ValueError(
                f"weight_decay_exclusions: no parameter has one of "
                f"{list(self.weight_decay_exclusions)} in its name (there are {names})"
            )
        return found
