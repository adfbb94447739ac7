"""Callbacks that end `fit`."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from fastnn.analysis import inspection
from fastnn.callbacks.base import Callback, Logs, end_training
from fastnn.callbacks.monitored import BestSoFar, Monitored, a_mode, a_result
from fastnn.core import checks
from fastnn.core.declare import boolean, checked, integer, number, state
from fastnn.network import network_of


class EarlyStopping(Monitored, Callback):
    """Stop when a result no longer improves, and restore the best weights.

    As in Keras, each `fit` begins anew: best results of earlier ones are forgotten. An epoch whose
    result is NaN or missing, of which a warning tells, is one without an improvement; one that was
    not due for validation (`validation_freq`) does not count.

    With an optimizer that keeps a moving average of the parameters (``use_ema=True``), the average
    is what validation sees and what is restored; see `SwapEMAWeights`.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A key of the history.
    min_delta : float, default 0.0
        The smallest change that counts as an improvement.
    patience : int, default 0
        Epochs without an improvement after which training stops.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: as the loss or metric says.
    baseline : float, optional
        Only results better than this reset the count of epochs, so that training ends after
        `patience` epochs if none has been reached by then.
    restore_best_weights : bool, default True
        Whether the weights of the best epoch are restored, even if training runs to the last
        epoch. (Keras' default is False.)
    start_from_epoch : int, default 0
        Epochs before this one, counted from 0, are ignored.

    Attributes
    ----------
    best_epoch : int
        Counted from 0; -1 before the first.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.EarlyStopping(patience=5).monitor
    'val_loss'
    """

    _is_open = False
    added_results = ()

    monitor: str = checked(a_result, default="val_loss")
    min_delta: float = number(default=0.0, least=0, kw_only=True)
    patience: int = integer(default=0, least=0, kw_only=True)
    mode: str = checked(a_mode, default="auto", kw_only=True)
    baseline: float | None = number(default=None, is_optional=True, kw_only=True)
    restore_best_weights: bool = boolean(default=True, kw_only=True)
    start_from_epoch: int = integer(default=0, least=0, kw_only=True)
    best_epoch: int = state(default=-1)

    def _forget(self) -> None:
        self.best_epoch = -1
        self._best = BestSoFar(self.min_delta)
        self._waited = self._unusable_epochs = 0
        self._weights: list[np.ndarray] | None = None

    @property
    def restores_epoch(self) -> int | None:
        """The best epoch if its weights will be restored, else None."""
        return None if self._weights is None else self.best_epoch

    @property
    def average_seen_by(self) -> tuple[str, ...]:
        """All, if weights are restored: the best are those that the validation has seen."""
        return ("validation", "callbacks") if self.restore_best_weights else ()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare with the best epoch so far."""
        height = self._height(epoch, logs)
        if epoch < self.start_from_epoch or (height is None and not self._unusable):
            return
        self._waited += 1
        self._unusable_epochs += height is None
        if height is not None and self._best.improves(height):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._weights = self.model.get_weights()
            if self.baseline is None or height < self._sign * self.baseline - self.min_delta:
                self._waited = self._unusable_epochs = 0
        if self._waited >= max(self.patience, 1):
            end_training(self, self._reason())

    def _reason(self) -> str:
        """Return why training ends."""
        waited = checks.counted(self._waited, "epoch")
        best = f", best in epoch {self.best_epoch + 1}" if self.best_epoch >= 0 else ""
        if self._unusable_epochs == self._waited:
            return f"{self.monitor} has been {self._unusable} for {waited}{best}"
        beyond = "" if self.baseline is None else f" beyond its baseline {self.baseline:g}"
        also = ""
        if self._unusable_epochs:
            also = f" ({self._unusable_epochs} of them NaN or missing)"
        return f"{self.monitor} has not improved{beyond} for {waited}{also}{best}"

    def on_train_end(self, logs: Logs) -> None:
        """Restore the best weights."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
            self._weights = None


class TerminateOnNaN(Callback):
    """End training without an exception when the loss is NaN or infinite.

    Without it, `fit` raises `NonFiniteLossError`. ``history.stop_reason`` holds the message of that
    error, which names the step and the layer. The unfinished epoch is not in the history. Unlike
    in Keras, the model is left with finite parameters, as after the error.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile(fnn.SGD(1e37), "mse")
    >>> history = model.fit(x, x[:, :10], verbose=0, callbacks=[fnn.TerminateOnNaN()])
    >>> history.stop_reason.split(":")[0]
    'TerminateOnNaN'
    """

    _is_open = False
    added_results = ()

    def on_nonfinite_loss(self, error: FloatingPointError) -> bool:
        """Return True: `fit` returns instead of raising the error."""
        return True


class TerminateOnValue(Monitored, Callback):
    """Stop when a result reaches a value.

    Parameters
    ----------
    monitor : str
        A key of the history.
    value : float
    mode : {"auto", "min", "max"}, default "auto"
        Whether the value is reached from above ("min") or from below ("max"); auto: from below
        if more is better according to the metric.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy", ["accuracy"])
    >>> stop = fnn.TerminateOnValue("accuracy", 0.5)
    >>> model.fit(x / 16, y, epochs=100, verbose=0, callbacks=[stop]).stop_reason.split(":")[0]
    'TerminateOnValue'
    >>> stop.direction
    'max'
    """

    _is_open = False
    added_results = ()

    monitor: str = checked(a_result)
    value: float = number()
    mode: str = checked(a_mode, default="auto", kw_only=True)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare with the value."""
        height = self._height(epoch, logs)
        if height is not None and height <= self._sign * self.value:
            end_training(self, f"{self.monitor} has reached {self.value:g}: {logs[self.monitor]:g}")


class TerminateOnSmallImprovement(Monitored, Callback):
    r"""Stop when a result has improved by less than a threshold over the last epochs.

    Let :math:`b_{now}` and :math:`b_{then}` be the best result up to now and up to n epochs ago.
    Training stops when :math:`b_{now} > b_{then} - \delta`, or with `relative` when
    :math:`b_{now} > b_{then} - \delta |b_{then}|` (for a result of which less is better).
    The best results are compared, not the last ones, so that noise from epoch to epoch is not
    mistaken for progress.

    Parameters
    ----------
    monitor : str, default "loss"
        A key of the history.
    min_delta : float, default 1e-4
        :math:`\delta`; positive.
    relative : bool, default True
        Whether `min_delta` is a fraction of the result; otherwise it is in the result's unit.
    epochs : int, default 5
        The number n of epochs over which the improvement is measured.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: as the loss or metric says.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> stop = fnn.TerminateOnSmallImprovement(min_delta=0.5, epochs=1)
    >>> len(model.fit(x, y, epochs=100, verbose=0, callbacks=[stop]).epoch) < 100
    True
    """

    _is_open = False
    added_results = ()

    monitor: str = checked(a_result, default="loss")
    min_delta: float = number(default=1e-4, is_positive=True, kw_only=True)
    relative: bool = boolean(default=True, kw_only=True)
    epochs: int = integer(default=5, kw_only=True)
    mode: str = checked(a_mode, default="auto", kw_only=True)

    def _forget(self) -> None:
        self._best: deque[float] = deque([math.inf], maxlen=self.epochs + 1)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare with the best result of n epochs ago."""
        height = self._height(epoch, logs)
        if height is None:
            if not self._unusable:
                return
            height = math.inf  # a NaN is no improvement
        before, now = self._best[0], min(self._best[-1], height)
        is_full = len(self._best) == self._best.maxlen and math.isfinite(before)
        self._best.append(now)
        if not is_full:
            return
        before = self._best[0]
        unit = abs(before) if self.relative else 1.0
        if now > before - self.min_delta * unit:
            part = " of itself" if self.relative else ""
            end_training(
                self,
                f"{self.monitor} has improved by {before - now:.3g} in {self.epochs} epochs, "
                f"less than {self.min_delta:g}{part}",
            )


class TerminateOnSmallGradient(Callback):
    """Stop when the norm of the gradient of the whole training loss falls below a tolerance.

    The gradient of the mean over all training rows is computed at the end of an epoch, 512 rows
    at a time, and costs about as much as an epoch of large batches; within epochs it costs
    nothing. Dropout is active, as in training, so that the norm of a model with dropout does not
    come near 0.

    Parameters
    ----------
    tolerance : float, default 1e-3
        Threshold for the Euclidean norm over all parameters; positive.
    every : int, default 1
        Epochs from one computation to the next.

    Attributes
    ----------
    norm : float
        The norm that was computed last; NaN before the first.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    >>> model.compile(fnn.SGD(0.1), "mse")
    >>> stop = fnn.TerminateOnSmallGradient(1e-3)
    >>> history = model.fit(x, x @ [1, 2, 3], epochs=1000, verbose=0, callbacks=[stop])
    >>> len(history.epoch) < 1000
    True
    """

    _is_open = False
    added_results = ()

    tolerance: float = number(default=1e-3, is_positive=True)
    every: int = integer(default=1, kw_only=True)
    norm: float = state(default=math.nan)

    def on_train_begin(self) -> None:
        """Discard the state of earlier runs."""
        self.norm = math.nan

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compute the norm and compare it with the tolerance."""
        if (epoch + 1) % self.every:
            return
        gradients = inspection.gradients(network_of(self.model).runtime, *self.training_data)
        self.norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        if self.norm < self.tolerance:
            end_training(
                self, f"the norm of the gradient is {self.norm:.3g}, below {self.tolerance:g}"
            )
