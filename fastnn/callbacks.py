"""Callbacks: what `fit` tells as it goes, with Keras' names and hooks.

One that asks for batches (overrides a batch hook) makes `fit` come back to Python after every
batch; one that asks for epochs costs nothing inside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fastnn import checks
from fastnn.registry import did_you_mean

if TYPE_CHECKING:
    from fastnn.model import Model

Logs = dict[str, float]


class Callback:
    """Base of all callbacks; override what is needed.

    Attributes
    ----------
    model : Model
        Set before `on_train_begin`. ``model.stop_training = True`` ends `fit` after the epoch
        (after the batch, from a batch hook).
    results : tuple of str
        Names of the results of an epoch, set with `model`; empty where they are not known,
        because a callback before this one may add some.
    """

    model: Model
    results: tuple[str, ...] = ()

    def on_train_begin(self) -> None:
        """Run before the first epoch; an error here stops `fit` before anything has changed."""

    def on_train_end(self, logs: Logs) -> None:
        """Run after the last epoch, also when `fit` is interrupted."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after an epoch and its validation, with their results."""

    def on_train_batch_begin(self, batch: int) -> None:
        """Run before a batch, counted from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Run after a batch, with its results."""


def asks_for_batches(callback: Callback) -> bool:
    """Whether a callback overrides a batch hook."""
    kind = type(callback)
    return (
        kind.on_train_batch_begin is not Callback.on_train_batch_begin
        or kind.on_train_batch_end is not Callback.on_train_batch_end
    )


class EarlyStopping(Callback):
    """Stop when a result no longer improves, and go back to the best weights.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A key of the history.
    min_delta : float, default 0.0
        What counts as an improvement, at least.
    patience : int, default 0
        Epochs without one after which it stops.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: more for accuracies, else less.
    restore_best_weights : bool, default True
        Whether the model gets the weights of its best epoch back, at the last epoch too.
        (Keras' default is False.)

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.EarlyStopping(patience=5).monitor
    'val_loss'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a result, got {monitor!r}")
        self.monitor = monitor
        self.min_delta = checks.number("min_delta", min_delta, least=0)
        self.patience = checks.integer("patience", patience, least=0)
        self.restore_best_weights = checks.boolean("restore_best_weights", restore_best_weights)
        self._sign = -1.0 if mode == "max" or (mode == "auto" and "acc" in monitor) else 1.0
        self._forget()

    def _forget(self) -> None:
        self.best_epoch = -1
        self._best = math.inf
        self._waited = 0
        self._weights: list[np.ndarray] | None = None

    def on_train_begin(self) -> None:
        """Forget earlier trainings."""
        if self.results:
            self._check_monitor(self.results)
        self._forget()

    def _check_monitor(self, results: Iterable[str]) -> None:
        if self.monitor in results:
            return
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in results):
            hint = "; give fit validation_data"
        else:
            hint = did_you_mean(self.monitor, results)
        raise ValueError(
            f"monitor {self.monitor!r} is not among the results {', '.join(results)}{hint}"
        )

    @property
    def is_going_back(self) -> bool:
        """Whether the model will get the weights of the best epoch back."""
        return self._weights is not None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare with the best epoch so far."""
        self._check_monitor(logs)
        value = self._sign * logs[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best_weights:
                self._weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited >= max(self.patience, 1):
            self.model.stop_training = True
            self.model.stop_reason = (
                f"EarlyStopping: {self.monitor} has not improved for {self._waited} epochs, "
                f"best in epoch {self.best_epoch + 1}"
            )

    def on_train_end(self, logs: Logs) -> None:
        """Give the best weights back."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
            self._weights = None


__all__ = ["Callback", "EarlyStopping"]
