"""`fit`: epochs, validation, stop reasons; and what happens when a loss is not finite.

The engine runs a slice of steps at a time, at most about 50 ms long, so that Python can look for
Ctrl-C between them: the model is then whole, at the end of a step.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.callbacks import Callback, EarlyStopping, TerminateOnNaN
from fastnn.callbacks.base import asks_for_batches, results_behind
from fastnn.core import checks
from fastnn.data import adapter
from fastnn.metrics import scalars
from fastnn.runtime import ROWS, Bound, Purpose, Run, Steps
from fastnn.training.accumulator import Accumulator
from fastnn.training.nonfinite import NonFiniteLossError, not_finite, refusal
from fastnn.training.time_budget import TimeBudget
from fastnn.training.validation import split

if TYPE_CHECKING:
    from fastnn.model import Model
    from fastnn.training import lbfgs


@dataclass(repr=False)
class History:
    """What `fit` returns.

    Attributes
    ----------
    history : dict of str to list of float
        For each result, one number an epoch: "loss", the metrics, and both of the validation
        data with "val_" in front; and what callbacks add.
    epoch : list of int
        Numbers of the epochs, from 0.
    stop_reason : str
        Why `fit` ended.
    samples_per_second : float
        Training samples a second, validation left out.
    learning_rates : list of float
        Of the last step of each epoch; empty for an optimizer that has none.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> model.fit(x, y, epochs=2, verbose=0).stop_reason
    'completed 2 epochs'
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: list[int] = field(default_factory=list)
    stop_reason: str = ""
    samples_per_second: float = 0.0
    learning_rates: list[float] = field(default_factory=list)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw loss, metrics and learning rate over the epochs; needs ``fastnn[plot]``.

        See `fastnn.plots.history`.
        """
        from fastnn import plots

        return plots.history(self, ax=ax)

    def __repr__(self) -> str:
        ends = scalars({name: values[-1] for name, values in self.history.items()})
        last = ", ".join(f"{name} {value:.4g}" for name, value in ends.items())
        return f"<History of {len(self.epoch)} epochs: {last}; {self.stop_reason}>"

    def add(self, epoch: int, logs: dict[str, float]) -> None:
        """Append the results of an epoch, or those that callbacks have added or changed."""
        if self.epoch[-1:] != [epoch]:
            self.epoch.append(epoch)
        place = len(self.epoch) - 1
        for name, value in logs.items():
            values = self.history.setdefault(name, [])
            values += [math.nan] * (place - len(values))  # some epochs may lack a result
            values[place:] = [value]


@dataclass
class _Epochs:
    """What does not change from one epoch to the next."""

    model: Model
    bound: Bound
    steps: Steps
    feed: adapter.Feed
    callbacks: Sequence[Callback]
    snapshot: np.ndarray
    by_batch: bool
    budget: TimeBudget
    before: int = 0  # steps of the epoch in the parts before this one
    seconds: float = 0.0
    rows_done: int = 0
    last_rate: float = math.nan
    tally: Accumulator = field(init=False)

    def train(self, epoch: int, progress: _Progress) -> dict[str, float]:
        """Train one epoch, part by part, and return its results: means over its samples.

        Empty if there was no step because there were no more data.
        """
        runtime = self.model.runtime
        np.copyto(self.snapshot, runtime.arenas["parameters"])
        self.tally = Accumulator(self.bound.plan.program, runtime.dtype)
        made, self.before = 0, 0
        began = time.perf_counter()
        parts = self.feed.epoch(epoch)
        try:
            for self.steps in parts:
                self.seconds += time.perf_counter() - began
                self._bind()
                made = self.run(epoch, progress)
                self.before += made
                if self.model.stop_training:
                    break
                began = time.perf_counter()
        finally:
            parts.close()
        self.budget.epoch_end()
        if self.before and not_finite(runtime):
            self.before -= made
            self._refuse(epoch, self.steps.count, np.nan, self.snapshot)
        return self.tally.logs()

    def run_epochs(
        self,
        epochs: int,
        progress: _Progress,
        begin: Callable[[int], bool],
        end: Callable[[int, dict[str, float]], bool],
    ) -> None:
        """Train for some epochs, each of which begins and ends with a call that may end it all."""
        for epoch in range(epochs):
            if not begin(epoch):
                break
            made = self.train(epoch, progress)
            if self.feed.ended:
                self.model.stop_training, self.model.stop_reason = True, self.feed.ended
            if not (made and end(epoch, made)):
                break

    def _bind(self) -> None:
        """Take the program that fits the data and the optimizer as they are now."""
        steps = self.steps
        self.bound = self.model.runtime.bound(
            Purpose.TRAIN, steps.batch, steps.target_types, steps.sparse, collects=True
        )

    def run(self, epoch: int, progress: _Progress) -> int:
        """Train one part of an epoch and return the number of its steps."""
        runtime, count = self.model.runtime, self.steps.count
        assert runtime.objective is not None
        snapshot = self.snapshot
        results = np.empty((count, len(self.bound.plan.program.results)))
        room = self.tally.room(self.steps)
        rates, chosen = np.empty(count), None
        prepared: Run | None = None
        done = 0
        while done < count and not self.model.stop_training:
            if self.by_batch:
                for callback in self.callbacks:
                    callback.on_train_batch_begin(self.before + done)
                if self.model.stop_training:
                    break
                self._bind()
            optimizer = runtime.objective.optimizer
            if optimizer.learning_rate is not chosen:  # set by a callback, or at the start
                chosen = optimizer.learning_rate
                rates[done:] = optimizer.rates(runtime.step, count - done)
            first = done * self.steps.batch
            self.model.forget_forward()
            if prepared is None or prepared.bound is not self.bound:
                prepared = self.bound.prepare(
                    self.steps, results=results, outputs=room, learning_rates=rates
                )
            if self.by_batch:
                began = time.perf_counter()
                ran = prepared.make(done)
                asked, elapsed = 1, time.perf_counter() - began
            else:
                asked, ran, elapsed = prepared.slice(done, most=self.budget.steps())
            self.budget.record(ran, elapsed)
            self.seconds += elapsed
            done += ran
            self.last_rate = float(rates[done - 1]) if ran else self.last_rate
            self.rows_done += min(done * self.steps.batch, self.steps.rows) - first
            if ran < asked:
                self._refuse(epoch, done, results[done, 0], snapshot)
            for callback in self.callbacks if self.by_batch else ():
                logs = self.tally.logs_of_step(results[done - 1 : done])
                callback.on_train_batch_end(self.before + done - 1, logs)
            progress.advance(ran)
            if self.budget.is_over and not self.model.stop_training:
                self.model.stop_training = True
                number = self.before + done
                self.model.stop_reason = f"{self.budget} in epoch {epoch + 1}, step {number}"
        self.tally.add(self.steps, results[:done], room)
        return done

    def _refuse(self, epoch: int, step: int, loss: float, snapshot: np.ndarray) -> None:
        """Put the model back to finite parameters and say what went wrong, and where."""
        steps = self.steps
        step = min(step, steps.count - 1)  # the last one's update may be what went wrong
        first = step * steps.batch
        rows = np.arange(first, min(first + steps.batch, steps.rows))
        rows = rows if steps.order is None else steps.order[rows]
        # The last that gives weights back, at on_train_end, has the last word.
        last = next(
            (
                c
                for c in reversed(self.callbacks)
                if isinstance(c, EarlyStopping) and c.is_going_back
            ),
            None,
        )
        total = "" if self.feed.count is None else f" of {self.feed.count}"
        raise refusal(
            self.model,
            [source.take(rows) for source in steps.sources],
            f"epoch {epoch + 1}, step {self.before + step + 1}{total}",
            loss,
            snapshot,
            best_epoch=None if last is None else last.best_epoch,
        )


class _Progress:
    """One bar over all epochs, or one line an epoch, or silence."""

    def __init__(self, verbose: int, epochs: int, steps: int | None) -> None:
        self._epochs = epochs
        self._bar: Any = None
        self._lines = verbose == 2 or (verbose == 1 and not sys.stderr.isatty())
        if verbose == 1 and not self._lines:
            from tqdm import tqdm

            shape = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
            if steps is None:
                shape = "{desc} {n_fmt} steps {elapsed}{postfix}"
            total = None if steps is None else epochs * steps
            self._bar = tqdm(total=total, bar_format=shape, dynamic_ncols=True)

    def advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self._bar is None and not self._lines:
            return
        text = "  ".join(f"{name} {value:.4f}" for name, value in scalars(logs).items())
        number = f"epoch {epoch + 1:{len(str(self._epochs))}}/{self._epochs}"
        if self._bar is not None:
            self._bar.set_description_str(number, refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
        elif self._lines:
            print(f"{number}  {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def fit(
    model: Model,
    x: object,
    y: object,
    *,
    batch_size: int | None,
    epochs: int,
    verbose: int,
    callbacks: Iterable[Callback] | None,
    validation_split: float,
    validation_data: tuple[object, ...] | None,
    shuffle: bool,
    sample_weight: object = None,
    class_weight: dict[int, float] | None = None,
    time_budget: float | None = None,
    steps_per_epoch: int | None = None,
) -> History:
    """Train; see `Model.fit`."""
    budget = TimeBudget(time_budget)
    if batch_size is not None:
        batch_size = checks.integer("batch_size", batch_size)
    epochs = checks.integer("epochs", epochs)
    shuffle = checks.boolean("shuffle", shuffle)
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    followers = checks.items("callbacks", callbacks, Callback)
    if steps_per_epoch is not None:
        steps_per_epoch = checks.integer("steps_per_epoch", steps_per_epoch)
    x, y, sample_weight, validation_data = split(
        model, x, y, sample_weight, validation_split, validation_data
    )
    was_built, last = model.built, model.history
    try:
        makes_steps = bool(model._compiled().optimizer.kernel)
        if not makes_steps:
            from fastnn.training import lbfgs

            lbfgs.minimizer()  # is there SciPy?
        feed = adapter.feed_of(
            model,
            x,
            y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            batch=batch_size,
            shuffle=shuffle,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
        )
        try:
            if validation_data is not None:
                model.check_validation(validation_data)
            metrics = None if makes_steps else partial(_metrics_of, model, x, y, sample_weight)
            return _fit(model, feed, epochs, verbose, followers, validation_data, budget, metrics)
        finally:
            feed.close()
    except Exception:
        if model.built and not was_built and model.history is last:  # it has not begun
            model._unbuild()
        raise


def _metrics_of(model: Model, x: object, y: object, sample_weight: object) -> dict[str, float]:
    """Evaluate all rows and return the metrics, without the losses."""
    if not any(aim.metrics for aim in model._compiled().outputs):
        return {}
    losses = {"loss", *(f"{name}_loss" for name in model.output_names)}
    results = model.evaluate(x, y, sample_weight)
    return {name: value for name, value in results.items() if name not in losses}


def _fit(
    model: Model,
    feed: adapter.Feed,
    epochs: int,
    verbose: int,
    followers: list[Callback],
    validation_data: tuple[object, ...] | None,
    budget: TimeBudget,
    metrics: Callable[[], dict[str, float]] | None,
) -> History:
    """Train on data and arguments that have been checked.

    `metrics`, of the training data, are for an optimizer that makes no steps of its own.
    """
    runtime = model.runtime
    assert runtime.objective is not None
    steps = feed.first
    run: _Epochs | lbfgs.Minimization
    program = Purpose.TRAIN if metrics is None else Purpose.GRADIENTS
    rows = steps.batch if metrics is None else min(ROWS, steps.batch)
    bound = runtime.bound(program, rows, steps.target_types, steps.sparse, collects=True)
    by_batch = any(asks_for_batches(callback) for callback in followers)
    names = [one.name for one in bound.plan.program.reported]
    if metrics is None:
        snapshot = np.empty_like(runtime.arenas["parameters"])
        run = _Epochs(model, bound, steps, feed, followers, snapshot, by_batch, budget)
    else:
        from fastnn.training import lbfgs

        lbfgs.check(runtime, bound.plan.program)
        run = lbfgs.Minimization(model, steps, budget, metrics)
    expected = names + [f"val_{name}" for name in names if validation_data is not None]
    model.stop_training, model.stop_reason = False, ""
    for callback in followers:
        callback.model, callback.results = model, tuple(expected)
        callback.training_data = steps.sources, steps.target_types
        callback.check()
        expected = list(results_behind(callback, expected))
    for callback in followers:
        callback.on_train_begin()
    history = model.history = History()
    progress = _Progress(verbose, epochs, feed.count)
    logs: dict[str, float] = {}

    def begin(epoch: int) -> bool:
        """Begin an epoch; return False if training has ended."""
        budget.epoch_begin()
        if epoch and budget.is_over:
            model.stop_training, model.stop_reason = True, f"{budget} after epoch {epoch}"
            return False
        for callback in followers:
            callback.on_epoch_begin(epoch)
        return not model.stop_training

    def end(epoch: int, made: dict[str, float]) -> bool:
        """Take the results of an epoch and validate; return whether training goes on."""
        nonlocal logs
        logs = made
        if validation_data is not None:
            results = model.evaluate(*validation_data)
            logs |= {f"val_{name}": value for name, value in results.items()}
        history.add(epoch, logs)
        if isinstance(run, _Epochs):
            history.learning_rates.append(run.last_rate)
        progress.epoch_end(epoch, logs)
        for callback in followers:
            callback.on_epoch_end(epoch, logs)
            history.add(epoch, logs)  # with what it has added
        return not model.stop_training

    was_fitting, model.is_fitting = model.is_fitting, True  # a callback may call fit
    try:
        run.run_epochs(epochs, progress, begin, end)
        runtime.take_average()
        if model.stop_training:
            history.stop_reason = model.stop_reason or "a callback set stop_training"
        else:
            history.stop_reason = f"completed {epochs} epoch{'s' * (epochs != 1)}"
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
        raise
    except NonFiniteLossError as error:
        history.stop_reason = str(error)
        if not any(isinstance(callback, TerminateOnNaN) for callback in followers):
            raise
        history.stop_reason = f"TerminateOnNaN: {error}"
    except Exception as error:
        history.stop_reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        model.is_fitting = was_fitting
        progress.close()
        if run.seconds:
            history.samples_per_second = run.rows_done / run.seconds
        with contextlib.ExitStack() as ends:  # each gets its turn, even if one raises
            for callback in reversed(followers):
                ends.callback(callback.on_train_end, logs)
    return history
