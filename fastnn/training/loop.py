"""`fit`: epochs, validation, callbacks, and the reasons why training ends.

The engine runs a slice of steps at a time, at most about 50 ms long, so that Python can handle
Ctrl-C between slices, when the network is in a consistent state at the end of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks
from fastnn.data.adapter import adapter_of
from fastnn.data.base import Given
from fastnn.data.batches_of import is_batches
from fastnn.network import Network
from fastnn.runtime.nonfinite import NonFiniteLossError
from fastnn.training.adaptation import adapted_on_trial
from fastnn.training.average import Average
from fastnn.training.callback_list import CallbackList
from fastnn.training.choice import trainer_of
from fastnn.training.history import History
from fastnn.training.progress import Progress, verbosity
from fastnn.training.time_budget import TimeBudget
from fastnn.training.trainers import Trainer
from fastnn.training.validation import Held, Validation, ValidationSettings, split

Results = dict[str, Any]


@dataclass
class FitSettings:
    """The arguments of `Model.fit` that specify how to train, checked.

    Parameters
    ----------
    batch_size, epochs, initial_epoch, steps_per_epoch, verbose, callbacks, shuffle : object
        As in `Model.fit`.
    validation_steps, validation_batch_size, validation_freq, time_budget : object
        As in `Model.fit`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    batch_size: Any
    epochs: Any
    initial_epoch: Any
    steps_per_epoch: Any
    verbose: Any
    callbacks: Any
    shuffle: Any
    validation_steps: Any
    validation_batch_size: Any
    validation_freq: Any
    time_budget: Any

    def __post_init__(self) -> None:
        """Check all arguments before anything begins. The time budget starts here."""
        self.time_budget = TimeBudget(self.time_budget)
        if isinstance(self.batch_size, np.ndarray) and self.batch_size.ndim:
            raise ValueError(
                "batch_size must be a positive integer, got an array of shape "
                f"{self.batch_size.shape}; sample_weight and validation_data are given by name"
            )
        if self.batch_size is not None:
            self.batch_size = checks.integer("batch_size", self.batch_size)
        self.epochs = self._range()
        self.shuffle = checks.boolean("shuffle", self.shuffle)
        self.verbose = verbosity(self.verbose, auto=1)
        self.callbacks = CallbackList(self.callbacks)
        if self.steps_per_epoch is not None:
            self.steps_per_epoch = checks.integer("steps_per_epoch", self.steps_per_epoch)
        self.validation = ValidationSettings(
            self.validation_steps, self.validation_batch_size, self.validation_freq
        )

    def _range(self) -> range:
        """Return the numbers of the epochs."""
        epochs = checks.integer("epochs", self.epochs)
        first = checks.integer("initial_epoch", self.initial_epoch, least=0)
        if first >= epochs:
            raise ValueError(
                f"initial_epoch={first} leaves nothing of {checks.counted(epochs, 'epoch')}: "
                "epochs says where training ends, as in Keras, not how many more there are "
                f"(epochs={first + epochs} for {epochs} more)"
            )
        return range(first, epochs)


def fit(
    network: Network,
    model: object,
    x: object,
    y: object,
    sample_weight: object,
    class_weight: object,
    settings: FitSettings,
    *,
    validation_split: object = 0.0,
    validation_data: object = None,
) -> History:
    """Train a network; see `Model.fit`.

    Parameters
    ----------
    network : Network
    model : object
        The user's model, for the callbacks; it may be the network itself.
    x, y, sample_weight, class_weight : object
    settings : FitSettings
    validation_split, validation_data : object
    """
    network.require_objective()
    with network.turns.owned("fit"), network.built_on_trial():
        in_batches = is_batches(x, takes_lists=y is None)
        if not in_batches:
            network.learn_names(x, y)
        x, y, sample_weight, held = split(
            network, x, y, sample_weight, validation_split, validation_data
        )
        settings.validation.check_use(held, settings.epochs)
        specify = network.specify_for_training if in_batches else network.specify
        with adapted_on_trial(network, x, y):
            data = Given(specify, x, y, sample_weight, class_weight)
            return _fit_on(network, model, data, held, settings)


def _fit_on(
    network: Network, model: object, data: Given, held: Held | None, settings: FitSettings
) -> History:
    """Train a network on data from which those of the validation have been split off."""
    trainer = trainer_of(network)
    batching = trainer.batching(
        settings.batch_size, settings.shuffle, settings.steps_per_epoch, settings.epochs
    )
    adapter = adapter_of(data, batching)
    try:
        adapter.first()
        validation = None if held is None else Validation(network, held, settings.validation)
        names = trainer.prepare(adapter)
        loop = TrainingLoop(network, trainer, settings, validation, adapter.steps_per_epoch)
        held_out = [f"val_{name}" for name in names if validation is not None]
        loop.callbacks.prepare(model, names, held_out, adapter.first())
        return loop.run()
    finally:
        adapter.close()


class TrainingLoop:
    """The loop that a trainer reports its epochs to, and that may end them.

    Parameters
    ----------
    network : Network
    trainer : Trainer
        A trainer that has been given its data.
    settings : FitSettings
    validation : Validation or None
    steps_per_epoch : int or None
        If known.

    Attributes
    ----------
    callbacks : CallbackList
    budget : TimeBudget
    progress : Progress
    """

    def __init__(
        self,
        network: Network,
        trainer: Trainer,
        settings: FitSettings,
        validation: Validation | None,
        steps_per_epoch: int | None,
    ) -> None:
        self._network, self._trainer, self._validation = network, trainer, validation
        self.callbacks: CallbackList = settings.callbacks
        self.budget: TimeBudget = settings.time_budget
        self._epochs: range = settings.epochs
        self._is_validated = settings.validation.is_due
        self._verbose, self._steps_per_epoch = settings.verbose, steps_per_epoch
        self._results: Results = {}
        names = network.output_names
        self._history = History(
            loss_names=["loss", *(f"{name}_loss" for name in names if len(names) > 1)]
        )
        network.stop_training, network.stop_reason = False, ""

    def run(self) -> History:
        """Train, and return the history."""
        network, history = self._network, self._history
        self.callbacks.train_begin()
        network.history = history
        self._average = Average(network, self.callbacks)
        self.progress = Progress(self._verbose, self._epochs, self._steps_per_epoch)
        was_fitting, network.is_fitting = network.is_fitting, True  # a callback may call fit
        try:
            self._trainer.run(self._epochs, self)
            with network.turns.change("fit"):
                network.runtime.take_average()
            history.stop_reason = self._reason()
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
            raise
        except NonFiniteLossError as error:
            history.stop_reason = str(error)
            who = self.callbacks.ends_quietly(error)
            if not who:
                raise
            history.stop_reason = f"{who}: {error}"
        except Exception as error:
            history.stop_reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            network.is_fitting = was_fitting
            self.progress.close()
            if self._trainer.seconds:
                history.samples_per_second = self._trainer.rows_done / self._trainer.seconds
            self.callbacks.train_end(self._results)
        return history

    def _reason(self) -> str:
        """Return why training has ended if nothing interrupted it."""
        if self._network.stop_training:
            return self._network.stop_reason or "a callback set stop_training"
        epochs = self._epochs
        which = f" ({epochs.start + 1} to {epochs.stop})" if epochs.start else ""
        return f"completed {checks.counted(len(epochs), 'epoch')}{which}"

    def epoch_begin(self, epoch: int) -> bool:
        """Begin an epoch; return False if training has ended."""
        self.budget.epoch_begin()
        if epoch != self._epochs.start and self.budget.is_over:
            self._network.stop(f"{self.budget} after epoch {epoch}", overrides=True)
            return False
        self.callbacks.epoch_begin(epoch)
        return not self._network.stop_training

    def epoch_end(self, epoch: int, results: Results) -> bool:
        """Take the results of an epoch and validate; return whether training continues."""
        self._results = results
        history = self._history
        with self._average.seen("callbacks"):
            if self._validation is not None and self._is_validated(epoch):
                with self._average.seen("validation"):
                    found = self._validation.results()
                results |= {f"val_{name}": value for name, value in found.items()}
            history.add(epoch, results)
            if self._trainer.learning_rate is not None:
                history.learning_rates.append(self._trainer.learning_rate)
            self.progress.epoch_end(epoch, results)
            recorded = dict(results)
            for _ in self.callbacks.epoch_end(epoch, results):
                if any(
                    recorded.get(name, recorded) is not value for name, value in results.items()
                ):
                    recorded = dict(results)  # with what the callback has added
                    history.add(epoch, recorded)
        return not self._network.stop_training
