"""`fit`: epochs, validation, callbacks, and the reasons why training ends.

The engine runs a slice of steps at a time, at most about 50 ms long, so that Python can handle
Ctrl-C between slices, when the network is in a consistent state at the end of a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import checks, threads
from fastnn.data.adapter import adapter_of
from fastnn.data.base import DataAdapter, Given
from fastnn.data.batches_of import is_batches
from fastnn.network import Network
from fastnn.runtime.nonfinite import NonFiniteLossError
from fastnn.training.adaptation import adapted_on_trial
from fastnn.training.average import Average
from fastnn.training.callback_list import CallbackList
from fastnn.training.checkpoint import HISTORY, Checkpoint, Store
from fastnn.training.choice import trainer_of
from fastnn.training.ends import ended, ended_by, new_history
from fastnn.training.history import History
from fastnn.training.kept import KeptTraining, kept_data, taken, told_apart
from fastnn.training.progress import Progress, verbosity
from fastnn.training.time_budget import TimeBudget
from fastnn.training.trainers import Trainer
from fastnn.training.validation import Held, Validation, ValidationSettings, split

Results = dict[str, Any]


@dataclass
class FitSettings:
    """The arguments of `Model.fit` that specify how to train, to be checked before it begins.

    Parameters
    ----------
    batch_size, epochs, initial_epoch, steps_per_epoch, verbose, callbacks, shuffle : object
        As in `Model.fit`.
    validation_steps, validation_batch_size, validation_freq, time_budget, resume_from : object
        As in `Model.fit`.
    store : callable
        Returns what saves and reads trainings.

    Attributes
    ----------
    checkpoint : Checkpoint or None
        The training to resume.
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
    resume_from: Any
    store: Callable[[], Store]

    @property
    def are_quiet(self) -> bool:
        """Whether they ask for epochs only, by numbers that need no check, and nobody is told."""
        return (
            self.callbacks is self.steps_per_epoch is self.time_budget is self.resume_from is None
            and self.validation_steps is self.validation_batch_size is None
            and type(self.verbose) is type(self.initial_epoch) is type(self.validation_freq) is int
            and self.verbose == self.initial_epoch == 0 < self.validation_freq == 1
            and type(self.epochs) is int
            and self.epochs > 0
            and (self.batch_size is None or type(self.batch_size) is int)
            and type(self.shuffle) is bool
        )

    def check(self) -> None:
        """Check all arguments before anything begins. The time budget starts here.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, what came and what was expected.
        """
        self.time_budget = TimeBudget(self.time_budget)
        if isinstance(self.batch_size, np.ndarray) and self.batch_size.ndim:
            raise ValueError(
                "batch_size must be a positive integer, got an array of shape "
                f"{self.batch_size.shape}; sample_weight and validation_data are given by name"
            )
        if self.batch_size is not None:
            self.batch_size = checks.integer("batch_size", self.batch_size)
        self.shuffle = checks.boolean("shuffle", self.shuffle)
        self.verbose = verbosity(self.verbose, auto=1)
        self.callbacks = CallbackList(self.callbacks)
        path = self.callbacks.resume_from
        if path is None and self.resume_from is not None:
            path = checks.file_path(self.resume_from, "resume_from")
        self.checkpoint: Checkpoint | None = None if path is None else self.store().read(path)
        self.epochs = self._range()
        if self.steps_per_epoch is not None:
            self.steps_per_epoch = checks.integer("steps_per_epoch", self.steps_per_epoch)
        self.validation = ValidationSettings(
            self.validation_steps, self.validation_batch_size, self.validation_freq
        )

    def _range(self) -> range:
        """Return the numbers of the epochs."""
        epochs = checks.integer("epochs", self.epochs)
        first = checks.integer("initial_epoch", self.initial_epoch, least=0)
        if self.checkpoint is not None:
            return self._resumed_range(self.checkpoint, first, epochs)
        if first >= epochs:
            raise ValueError(
                f"initial_epoch={first} leaves nothing of {checks.counted(epochs, 'epoch')}: "
                "epochs says where training ends, as in Keras, not how many more there are "
                f"(epochs={first + epochs} for {epochs} more)"
            )
        return range(first, epochs)

    @staticmethod
    def _resumed_range(checkpoint: Checkpoint, first: int, epochs: int) -> range:
        """Return the numbers of all epochs of a training that is resumed."""
        began, path = checkpoint.state["first_epoch"], str(checkpoint.path)
        if first not in (0, began):
            raise ValueError(
                f"initial_epoch={first}: the training in {path!r} began with epoch {began}; "
                "leave it out, the training knows where it stopped"
            )
        if checkpoint.state["epoch"] > epochs:
            raise ValueError(
                f"epochs={epochs}: the training in {path!r} has completed "
                f"{checks.counted(checkpoint.state['epoch'], 'epoch')}; epochs says where training "
                "ends, not how many more there are"
            )
        return range(began, epochs)


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
    given = None
    if (
        sample_weight is class_weight is validation_data is None
        and type(validation_split) is float
        and validation_split == 0.0
        and settings.are_quiet
    ):
        given = told_apart(x, y, settings.batch_size, settings.shuffle)
    with network.turns.owned("fit"):
        kept, is_repeated = taken(network, "fit", given)
        if kept is not None and kept.data.suit(network):
            history = threads.busy(kept.run, network, settings.epochs)
            if history is not None:
                network.kept["fit"] = kept
                kept.trainer.end()
                return history
        settings.check()
        return threads.busy(
            _fit, network, model, x, y, sample_weight, class_weight, settings, validation_split,
            validation_data, given, is_repeated,
        )  # fmt: skip


def _fit(
    network: Network,
    model: object,
    x: object,
    y: object,
    sample_weight: object,
    class_weight: object,
    settings: FitSettings,
    validation_split: object,
    validation_data: object,
    given: tuple[Any, ...] | None,
    is_repeated: bool,
) -> History:
    """Train a network that belongs to this thread.

    `given` tells the arrays apart from others, and `is_repeated` says whether the last call had
    the same.
    """
    with network.built_on_trial():
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
            trainer = trainer_of(network)
            batching = trainer.batching(
                settings.batch_size, settings.shuffle, settings.steps_per_epoch, settings.epochs
            )
            adapter = adapter_of(data, batching)
            history = _train(network, model, trainer, adapter, held, settings)
    if given is not None:
        network.kept["fit"] = given
    kept = kept_data(network, adapter, given) if is_repeated else None
    if kept is not None:
        network.kept["fit"] = KeptTraining(kept, trainer)
        trainer.end()
    return history


def _train(
    network: Network,
    model: object,
    trainer: Trainer,
    adapter: DataAdapter,
    held: Held | None,
    settings: FitSettings,
) -> History:
    """Train a network on data from which those of the validation have been split off."""
    try:
        adapter.first()
        validation = None if held is None else Validation(network, held, settings.validation)
        names = trainer.prepare(adapter)
        if settings.checkpoint is not None:
            settings.checkpoint.network.check(network)
            settings.checkpoint.check_data(trainer.data())
        loop = TrainingLoop(network, trainer, settings, validation, adapter.steps_per_epoch)
        held_out = [f"val_{name}" for name in names if validation is not None]
        loop.callbacks.prepare(loop, model, names, held_out, adapter.first())
        return loop.run()
    finally:
        settings.callbacks.release()
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
    batches, is_resumed, is_cut_short, is_complete
        What callbacks may ask of the training; see `fastnn.callbacks.base.Training`.
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
        self._store, self._checkpoint = settings.store, settings.checkpoint
        self.callbacks: CallbackList = settings.callbacks
        self.budget: TimeBudget = settings.time_budget
        self._epochs = self._left = settings.epochs
        self._epoch = self._epochs.start  # the one that is trained, or the next
        self._is_amid = False  # whether the epoch has begun, and its callbacks not heard of its end
        self._is_busy = True  # whether callbacks are hearing of a begin or an end
        self._skips_begin = False  # whether the callbacks have heard of its begin
        self._validations = 0
        self.is_cut_short = self.is_complete = self._is_resting = self._is_out_of_time = False
        self._is_validated = settings.validation.is_due
        self._verbose, self._steps_per_epoch = settings.verbose, steps_per_epoch
        self._results: Results = {}
        self._history = new_history(network)
        network.stop_training, network.stop_reason = False, ""

    def run(self) -> History:
        """Train, and return the history."""
        network, history = self._network, self._history
        self.callbacks.train_begin()
        if self._checkpoint is not None:
            try:
                self._resume(self._checkpoint)
            except BaseException:
                self.callbacks.train_end({})
                raise
        self.callbacks.count_from(self._trainer.batches)
        network.history = history
        self._average = Average(network, self.callbacks)
        self.progress = Progress(
            self._verbose, self._epochs, self._steps_per_epoch, self._trainer.batches
        )
        was_fitting, network.is_fitting = network.is_fitting, True  # a callback may call fit
        try:
            if not network.stop_training:
                self._trainer.run(self._left, self)
            with network.turns.change("fit"):
                network.runtime.take_average()
            history.stop_reason = ended(network, self._epochs)
            self.is_complete = not self.is_cut_short
        except KeyboardInterrupt as error:
            history.stop_reason = ended_by(error)
            self.is_cut_short = True
            self._rest_if_settled()
            raise
        except NonFiniteLossError as error:
            history.stop_reason = ended_by(error)
            who = self.callbacks.ends_quietly(error)
            if not who:
                raise
            history.stop_reason = f"{who}: {error}"
            self.is_complete = True
        except Exception as error:
            history.stop_reason = ended_by(error)
            raise
        finally:
            network.is_fitting = was_fitting
            self.progress.close()
            if self._trainer.seconds:
                history.samples_per_second = self._trainer.rows_done / self._trainer.seconds
            self.callbacks.train_end(self._results)
        return history

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Continue from where the training was saved."""
        state, network = checkpoint.state, self._network
        self._epoch = state["epoch"]
        self._left = range(self._epoch, self._epochs.stop)
        self._skips_begin = state["is_amid"]
        self._results = state["results"]
        vars(self._history).update(state["history"])
        network.stop_training, network.stop_reason = state["stop"]
        self._validations = state["validations"]
        with checkpoint.damage():
            self._trainer.set_state(state["trainer"])
        if self._validation is not None:
            self._validation.pass_over(self._validations)
        self._trainer.pass_over(range(self._epochs.start, self._epoch))
        with checkpoint.damage():
            self.callbacks.set_states(state["callbacks"])
        checkpoint.network.restore(network)  # last, because nothing can be refused here

    def state(self) -> Results:
        """Return what `fit` knows between two batches, as plain data.

        Raises
        ------
        RuntimeError
            The network is not being trained.
        """
        history = {name: value for name, value in vars(self._history).items() if name in HISTORY}
        stop = self._network.stop_training and not self._is_out_of_time
        return {
            "first_epoch": self._epochs.start,
            "epoch": self._epoch,
            "is_amid": self._is_amid,
            "results": self._results,
            "history": history,
            "stop": (stop, self._network.stop_reason if stop else ""),
            "validations": self._validations,
            "data": self._trainer.data(),
            "trainer": self._trainer.get_state(is_amid=self._is_amid),
            "callbacks": self.callbacks.get_states(),
        }

    @property
    def batches(self) -> int:
        """Number of batches trained on so far, those before an interruption included."""
        return self._trainer.batches

    @property
    def is_resumed(self) -> bool:
        """Whether the training continues one that was saved."""
        return self._checkpoint is not None

    def check_saving(self) -> None:
        """Raise ValueError if the training could not be saved."""
        self._store().check(self._network)

    def save(self, path: str | os.PathLike) -> None:
        """Save the training, from a callback's `on_rest`; see `fastnn.BackupAndRestore`."""
        if not self._is_resting:
            raise RuntimeError("a training can be saved in a callback's on_rest only")
        self._store().save(self._network, path, self.state())

    def rest(self) -> None:
        """Let callbacks save the training: everything is as it is between two batches."""
        self._is_resting = True
        try:
            self.callbacks.rest(self.batches)
        finally:
            self._is_resting = False

    def out_of_time(self, where: str) -> None:
        """End training, because the time budget is used up, and let it be saved."""
        if self._network.stop_training:  # by a callback, which is not to be asked again
            return
        self.is_cut_short = self._is_out_of_time = True
        self._network.stop(f"{self.budget} {where}")
        self._rest_if_settled()

    def _rest_if_settled(self) -> None:
        """Let callbacks save a training that ends unfinished, unless something is half done."""
        if not self._is_busy and (not self._is_amid or self._trainer.settle(self._epoch)):
            self.rest()

    def epoch_begin(self, epoch: int) -> bool:
        """Begin an epoch; return False if training has ended."""
        self.budget.epoch_begin()
        if epoch != self._left.start and self.budget.is_over:
            self.out_of_time(f"after epoch {epoch}")
            return False
        self._epoch, self._is_busy = epoch, True
        if not self._skips_begin:
            self.callbacks.epoch_begin(epoch)
        self._skips_begin, self._is_amid, self._is_busy = False, True, False
        return not self._network.stop_training

    def epoch_end(self, epoch: int, results: Results) -> bool:
        """Take the results of an epoch and validate; return whether training continues."""
        is_cut = self._network.stop_training
        history = self._history
        with self._average.seen("callbacks"):
            validation = self._validation
            is_validated = validation is not None and self._is_validated(epoch)
            if validation is not None and is_validated:
                with self._average.seen("validation"):
                    found = validation.results()
                results |= {f"val_{name}": value for name, value in found.items()}
            self._is_amid, self._is_busy, self._results = False, True, results
            self._validations += is_validated
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
        self._epoch, self._is_busy = epoch + 1, is_cut
        if self.callbacks.asks_to_rest and not is_cut:  # one cut short was saved as it was then
            self.rest()
        return not self._network.stop_training
