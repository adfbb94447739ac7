"""The callbacks of a training run, called together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastnn.callbacks.base import (
    Callback,
    Training,
    asks_for_batches,
    asks_to_rest,
    results_behind,
)
from fastnn.core import checks, notices
from fastnn.data import Steps

Results = dict[str, Any]


class CallbackList:
    """All callbacks that `fit` was given, in order.

    Parameters
    ----------
    callbacks : iterable of Callback or None

    Attributes
    ----------
    asks_for_batches : bool
        Whether any callback has a batch hook, in which case steps are run one at a time.
    asks_to_rest, rests_within : bool
        Whether any callback may save the training, and whether also within an epoch.
    """

    def __init__(self, callbacks: object) -> None:
        self._callbacks: list[Callback] = checks.items("callbacks", callbacks, Callback)
        self.asks_for_batches = any(map(asks_for_batches, self._callbacks))
        self.asks_to_rest = any(map(asks_to_rest, self._callbacks))
        self._rest_every = {
            i: every
            for i, callback in enumerate(self._callbacks)
            if (every := callback.rest_every) is not None
        }
        self.rests_within = bool(self._rest_every)
        self.count_from(0)

    def prepare(
        self,
        training: Training,
        model: object,
        results: Iterable[str],
        of_validation: Iterable[str],
        steps: Steps,
    ) -> None:
        """Tell all what is trained, on which data, with which results; let each check that it fits.

        Parameters
        ----------
        training : Training
        model : object
            The user's model.
        results, of_validation : iterable of str
            Names of the results of an epoch and of its validation.
        steps : Steps
            The training data; for batches, the first one.
        """
        validation = tuple(of_validation)
        expected = [*results, *validation]
        for callback in self._callbacks:
            callback.model, callback.training = model, training
            callback.results, callback.validation_results = tuple(expected), validation
            callback.training_data = steps.sources, steps.target_types
            callback.check()
            expected = list(results_behind(callback, expected))

    def train_begin(self) -> None:
        """Signal that training begins."""
        for callback in self._callbacks:
            callback.on_train_begin()

    def train_end(self, results: Results) -> None:
        """Signal that training has ended; all callbacks are called even if one raises."""
        if not self._callbacks:
            return
        with contextlib.ExitStack() as ends:
            for callback in reversed(self._callbacks):
                ends.callback(callback.on_train_end, results)

    def epoch_begin(self, epoch: int) -> None:
        """Signal that an epoch begins."""
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch)

    def epoch_end(self, epoch: int, results: Results) -> Iterable[Callback]:
        """Signal the end of an epoch; yield each callback after its hook, which may add results."""
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, results)
            yield callback

    def batch_begin(self, batch: int) -> None:
        """Signal that a batch begins."""
        for callback in self._callbacks:
            callback.on_train_batch_begin(batch)

    def batch_end(self, batch: int, results: Results) -> None:
        """Signal that a batch has ended; each callback gets a copy of the results."""
        for callback in self._callbacks:
            callback.on_train_batch_end(batch, dict(results))

    def release(self) -> None:
        """Let go of the training, which has the data; a callback may be copied afterwards."""
        for callback in self._callbacks:
            vars(callback).pop("training", None)

    def rest(self, batches: int) -> None:
        """Signal that the training, which has had so many batches, may be saved."""
        self._count_on(batches)
        for callback in self._callbacks:
            callback.on_rest()

    def count_from(self, batches: int) -> None:
        """Begin to count the batches until callbacks may save the training within an epoch."""
        self._rested = dict.fromkeys(self._rest_every, batches)

    def steps_to_rest(self, batches: int) -> int:
        """Return in how many steps a callback may save the training; at most 0: now."""
        every = self._rest_every
        return min(every[i] - (batches - self._rested[i]) for i in every)

    def _count_on(self, batches: int) -> None:
        for i, every in self._rest_every.items():
            if batches - self._rested[i] >= every:
                self._rested[i] = batches

    @property
    def resume_from(self) -> Path | None:
        """The training that a callback has saved, to be resumed; None: there is none."""
        found = (callback.resume_from for callback in self._callbacks)
        return next((path for path in found if path is not None), None)

    def get_states(self) -> list[dict[str, Any]]:
        """Return what the callbacks have noted, in their order."""
        return [
            {"class": type(callback).__name__, "state": callback.get_state()}
            for callback in self._callbacks
        ]

    def set_states(self, states: Iterable[dict[str, Any]]) -> None:
        """Give callbacks what those of the same classes had noted, in their order."""
        left = list(states)
        for callback in self._callbacks:
            name = type(callback).__name__
            own = next((one for one in left if one["class"] == name), None)
            if own is not None:
                left.remove(own)
                callback.set_state(own["state"])
        lost = [one["class"] for one in left if one["state"]]
        if lost:
            notices.warn(
                "the training was saved with callbacks that are not there now: " + ", ".join(lost)
            )

    @property
    def average_seen_by(self) -> set[str]:
        """Who is to see the moving average of the parameters: "validation" and "callbacks"."""
        return {who for callback in self._callbacks for who in callback.average_seen_by}

    @property
    def restores_epoch(self) -> tuple[int, str] | None:
        """The epoch whose weights are restored at the end, and by which callback, or None."""
        # Callbacks are called in order at the end, so the last of them wins.
        for callback in reversed(self._callbacks):
            if callback.restores_epoch is not None:
                return callback.restores_epoch, type(callback).__name__
        return None

    def ends_quietly(self, error: FloatingPointError) -> str:
        """Return the callback that ends training without an exception on a non-finite loss."""
        quiet = [c for c in self._callbacks if c.on_nonfinite_loss(error)]
        return type(quiet[0]).__name__ if quiet else ""
