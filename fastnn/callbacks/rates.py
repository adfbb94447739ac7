"""Callbacks that set the learning rate once per epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from fastnn.callbacks.base import Callback, Logs
from fastnn.callbacks.monitored import BestSoFar, Monitored, a_mode, a_result
from fastnn.core import checks
from fastnn.core.declare import checked, integer, number
from fastnn.network import network_of
from fastnn.schedules import Schedule


def _rate(callback: Callback) -> float:
    """Return the learning rate, which must be a number: a schedule is not overridden."""
    optimizer = network_of(callback.model).optimizer
    assert optimizer is not None  # fit has ensured this
    if isinstance(optimizer.learning_rate, Schedule):
        raise ValueError(
            f"{type(callback).__name__} sets the learning rate, but the optimizer has a schedule, "
            f"{optimizer.learning_rate!r}: give it a number, or leave the callback out"
        )
    return optimizer.learning_rate


class ReduceLROnPlateau(Monitored, Callback):
    """Reduce the learning rate when a result no longer improves.

    As in Keras, each `fit` begins anew: best results of earlier ones are forgotten, while the rate
    stays as it is. An epoch whose result is NaN or missing, of which a warning tells, is one
    without an improvement; one that was not due for validation does not count.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A key of the history.
    factor : float, default 0.1
        The factor by which the rate is multiplied; below 1.
    patience : int, default 10
        Epochs without an improvement after which the rate is reduced.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: as the loss or metric says.
    min_delta : float, default 1e-4
        The smallest change that counts as an improvement.
    cooldown : int, default 0
        Epochs after a reduction in which a lack of improvement is not counted.
    min_lr : float, default 0.0
        The rate is not reduced below this.

    Notes
    -----
    Adds "learning_rate" to the results of an epoch: the rate that the epoch was trained with.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.ReduceLROnPlateau("loss", factor=0.5, patience=3).factor
    0.5
    """

    _is_open = False
    added_results = ("learning_rate",)

    monitor: str = checked(a_result, default="val_loss")
    factor: float = number(default=0.1, least=0, below=1)
    patience: int = integer(default=10, least=0)
    mode: str = checked(a_mode, default="auto")
    min_delta: float = number(default=1e-4, least=0)
    cooldown: int = integer(default=0, least=0)
    min_lr: float = number(default=0.0, least=0)

    def check(self) -> None:
        """Check that the result exists, and that the learning rate may be set."""
        super().check()
        _rate(self)

    def _forget(self) -> None:
        self._best = BestSoFar(self.min_delta)
        self._waited = self._cooling = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare with the best epoch so far; reduce the rate after enough worse ones."""
        rate = logs["learning_rate"] = _rate(self)
        height = self._height(epoch, logs)
        if height is None and not self._unusable:
            return
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        if height is not None and self._best.improves(height):
            self._waited = 0
        elif not self._cooling:
            self._waited += 1
            if self._waited >= self.patience:
                if rate > self.min_lr:
                    self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self._cooling, self._waited = self.cooldown, 0


def _function(name: str, value: object) -> Callable[..., float]:
    if not callable(value):
        raise TypeError(f"{name} must be a function (epoch, learning_rate), got {value!r}")
    return value


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch to the return value of a function.

    To set a rate for each step, give the optimizer one of `fastnn.schedules` instead.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` or ``schedule(epoch)``, with the epoch counted from 0 and
        the current rate; returns the rate of the epoch.

    Notes
    -----
    Adds "learning_rate" to the results of an epoch.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile(fnn.Adam(0.01), "crossentropy")
    >>> halve = fnn.LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> model.fit(x, y, epochs=2, verbose=0, callbacks=[halve]).history["learning_rate"]
    [0.005, 0.0025]
    """

    _is_open = False
    added_results = ("learning_rate",)

    schedule: Callable[..., float] = checked(_function)

    def check(self) -> None:
        """Check that the learning rate may be set."""
        _rate(self)

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the learning rate."""
        rate = _rate(self)
        wanted = self.schedule(epoch, rate) if _takes_two(self.schedule) else self.schedule(epoch)
        checks.number("what schedule returns", wanted, least=0)
        self.model.optimizer.learning_rate = wanted

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Add the learning rate to the results."""
        logs["learning_rate"] = _rate(self)


def _takes_two(function: Callable) -> bool:
    try:
        inspect.signature(function).bind(0, 0.1)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        pass
    return True
