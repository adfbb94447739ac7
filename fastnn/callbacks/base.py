"""What a callback is, what `fit` asks of it, and what those that watch a result share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from fastnn.core.registry import did_you_mean
from fastnn.metrics import is_number, more_is_better

if TYPE_CHECKING:
    from fastnn.data import AnySource
    from fastnn.model import Model

Logs = dict[str, float]


class Callback:
    """Base of all callbacks; override what is needed.

    Attributes
    ----------
    model : Model
        Set before `on_train_begin`. ``model.stop_training = True`` ends `fit` after the epoch
        (after the batch, from a batch hook); ``model.stop_reason`` may say why.
    results : tuple of str
        Names of the results of an epoch, set with `model`; empty where they are not known,
        because a callback before this one may add some.
    training_data : tuple (sources, target_types)
        The training data as the programs take them, and what follows the inputs among them (see
        `Runtime.bound`); of an iterable of batches, the first. Set with `model`.
    added_results : tuple of str or None
        What `on_epoch_end` of the same class adds to the results; None: not known.
    """

    model: Model
    results: tuple[str, ...] = ()
    training_data: tuple[Sequence[AnySource], tuple[str, ...]] = ((), ("real",))
    added_results: ClassVar[tuple[str, ...] | None] = None

    def check(self) -> None:
        """Raise if there is something wrong with this training.

        `fit` asks all callbacks before it tells any of them that it begins; `model`, `results` and
        `training_data` are set.
        """

    def on_train_begin(self) -> None:
        """Run before the first epoch; an error here stops `fit` before the model has changed."""

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


def _has(callback: Callback, hook: str) -> bool:
    """Whether a callback has a hook of its own, of its class or of itself alone."""
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)


def asks_for_batches(callback: Callback) -> bool:
    """Whether a callback has a batch hook."""
    return _has(callback, "on_train_batch_begin") or _has(callback, "on_train_batch_end")


def results_behind(callback: Callback, results: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the results that callbacks behind this one see; () if not known."""
    if not results or not _has(callback, "on_epoch_end"):
        return tuple(results)
    owner: object = callback
    if "on_epoch_end" not in vars(callback):
        owner = next(kind for kind in type(callback).__mro__ if "on_epoch_end" in vars(kind))
    added = vars(owner).get("added_results")
    return () if added is None else tuple(dict.fromkeys([*results, *added]))


def end_training(callback: Callback, reason: str) -> None:
    """Let `fit` end after this epoch; the first to ask for it is the one who says why."""
    if not callback.model.stop_training:
        callback.model.stop_reason = f"{type(callback).__name__}: {reason}"
    callback.model.stop_training = True


class Monitored(Callback):
    """A callback that watches one result.

    Parameters
    ----------
    monitor : str
        A key of the history.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: more for accuracies, "f1", "precision", "recall",
        "roc_auc" and "r2", else less.
    """

    def __init__(self, monitor: str, mode: str = "auto") -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a result, got {monitor!r}")
        self.monitor = monitor
        self.mode = mode
        if mode == "auto":
            self.mode = "max" if more_is_better(monitor) else "min"
        self._sign = -1.0 if self.mode == "max" else 1.0

    def check(self) -> None:
        """Check that there is such a result."""
        if self.results:
            self._check_monitor(self.results)

    def on_train_begin(self) -> None:
        """Forget earlier trainings."""
        self._forget()

    def _forget(self) -> None:
        """Start afresh."""

    def _height(self, logs: Logs) -> float:
        """Return the result so that less is better."""
        self._check_monitor(logs)
        if not is_number(logs[self.monitor]):
            raise ValueError(
                f"monitor must be a result that is one number, but {self.monitor!r} gave a "
                f"{type(logs[self.monitor]).__name__}"
            )
        return self._sign * logs[self.monitor]

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


class BestSoFar:
    """Tells improvements of a height (less is better) by at least `min_delta`."""

    def __init__(self, min_delta: float = 0.0, best: float = math.inf) -> None:
        self.min_delta, self.best = min_delta, best

    def improves(self, height: float) -> bool:
        """Whether this is the best so far; it is then the one to beat."""
        if not height < self.best - self.min_delta:
            return False
        self.best = height
        return True
