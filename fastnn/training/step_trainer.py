"""Training by steps of an optimizer, many of which run natively in one call."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastnn.data.base import DataAdapter
from fastnn.runtime import Bound, Purpose, Run
from fastnn.runtime.nonfinite import not_finite, refusal
from fastnn.training.accumulator import Accumulator
from fastnn.training.single_rows import ragged, warn_of_single_row
from fastnn.training.trainers import Loop, Trainer

Results = dict[str, Any]


class StepTrainer(Trainer):
    """Runs steps of an optimizer, many of them natively in one call."""

    _adapter: DataAdapter
    _bound: Bound
    _snapshot: np.ndarray
    _has_warned = False  # of batches of one row
    # The last run, with the order of its rows and its arrays: a short epoch is mostly preparation.
    _run: Run | None = None
    _run_order: np.ndarray | None = None
    _results: np.ndarray
    _run_rates: np.ndarray

    def prepare(self, adapter: DataAdapter) -> list[str]:
        """Take the data and return the names of the results of an epoch."""
        self._adapter, self._steps = adapter, adapter.first()
        self._before = 0  # steps of the epoch in earlier parts
        self._bind()
        self._warn_of_single_rows()
        runtime = self.network.runtime
        self._snapshot = np.empty(runtime.count, runtime.dtype)
        return [one.name for one in self._bound.plan.program.reported]

    def run(self, epochs: range, loop: Loop) -> None:
        """Run the epochs, each in the parts in which the data come."""
        for epoch in epochs:
            if not loop.epoch_begin(epoch):
                break
            results = self._train(epoch, loop)
            if self._adapter.ended:
                self.network.stop(self._adapter.ended, overrides=True)
            if not (results and loop.epoch_end(epoch, results)):
                break

    def _train(self, epoch: int, loop: Loop) -> Results:
        """Train one epoch part by part and return its results, which are means over its samples.

        They are empty if no step was taken because the data had run out.
        """
        runtime = self.network.runtime
        runtime.copy_parameters(self._snapshot)
        self._accumulator = Accumulator(self._bound.plan.program, runtime.dtype)
        made, self._before = 0, 0
        began = time.perf_counter()
        parts = self._adapter.epoch(epoch)
        try:
            for steps in parts:
                is_new, self._steps = steps is not self._steps, steps
                self.seconds += time.perf_counter() - began
                self._bind()
                if is_new:
                    self._warn_of_single_rows()
                made = self._train_part(epoch, loop)
                self._before += made
                if self.network.stop_training:
                    break
                began = time.perf_counter()
        finally:
            parts.close()
        loop.budget.epoch_end()
        if self._before and not_finite(runtime):
            self._before -= made
            self._refuse(epoch, self._steps.count, np.nan, loop)
        return self._accumulator.logs()

    def _bind(self) -> None:
        """Get the program that fits the current data and optimizer."""
        steps = self._steps
        self._bound = self.network.runtime.bound(
            Purpose.TRAIN, steps.batch, steps.target_types, steps.sparse, collects=True
        )

    def _warn_of_single_rows(self) -> None:
        batches = "" if self._has_warned else ragged(self._steps.rows, self._steps.batch)
        if batches:
            self._has_warned = warn_of_single_row(self._bound.plan.program, batches)

    def _rates(self, count: int) -> np.ndarray:
        """Return the learning rates of the next steps."""
        return self.network.optimizer.rates(self.network.runtime.step, count)

    def _train_part(self, epoch: int, loop: Loop) -> int:
        """Train on one part of an epoch and return the number of steps taken."""
        network, steps = self.network, self._steps
        count = steps.count
        room = self._accumulator.room(steps)
        run = None if room else self._kept_run()
        if run is None:
            results = np.empty((count, len(self._bound.plan.program.results)))
            rates = np.empty(count)
        else:
            results, rates = self._results, self._run_rates
        chosen = None
        done = 0
        while done < count and not network.stop_training:
            if loop.callbacks.asks_for_batches:
                loop.callbacks.batch_begin(self._before + done)
                if network.stop_training:
                    break
                self._bind()
            optimizer = network.optimizer
            if optimizer.learning_rate is not chosen:  # set by a callback, or at the start
                chosen = optimizer.learning_rate
                rates[done:] = self._rates(count - done)
            if run is None or run.bound is not self._bound:
                run = self._bound.prepare(
                    steps, results=results, outputs=room, learning_rates=rates
                )
                self._run, self._run_order = run, steps.order
                self._results, self._run_rates = results, rates
            ran, asked = self._make(run, done, loop)
            self.rows_done += min((done + ran) * steps.batch, steps.rows) - done * steps.batch
            done += ran
            self.learning_rate = float(rates[done - 1]) if ran else self.learning_rate
            if ran < asked:
                self._refuse(epoch, done, results[done, 0], loop)
            if loop.callbacks.asks_for_batches:
                logs = self._accumulator.logs_of_step(results[done - 1 : done])
                loop.callbacks.batch_end(self._before + done - 1, logs)
            loop.progress.advance(ran)
            if loop.budget.is_over:
                network.stop(f"{loop.budget} in epoch {epoch + 1}, step {self._before + done}")
        self._accumulator.add(steps, results[:done], room)
        return done

    def _kept_run(self) -> Run | None:
        """Return the run of the epoch before, if it has the same rows and program."""
        run, steps = self._run, self._steps
        is_same = run is not None and run.bound is self._bound and run.steps is steps
        return run if is_same and self._run_order is steps.order else None

    def _make(self, run: Run, first: int, loop: Loop) -> tuple[int, int]:
        """Run one step or a slice of steps; return how many were completed and requested."""
        self.network.runtime.parameters_change()
        with self.network.turns.change("fit"):
            if loop.callbacks.asks_for_batches:
                began = time.perf_counter()
                ran, asked = run.make(first), 1
                elapsed = time.perf_counter() - began
            else:
                asked, ran, elapsed = run.slice(first, most=loop.budget.steps())
        loop.budget.record(ran, elapsed)
        self.seconds += elapsed
        return ran, asked

    def _refuse(self, epoch: int, step: int, loss: float, loop: Loop) -> None:
        """Restore finite parameters and raise an error that says what went wrong, and where."""
        steps = self._steps
        step = min(step, steps.count - 1)  # the update of the last step may be what went wrong
        first = step * steps.batch
        rows = np.arange(first, min(first + steps.batch, steps.rows))
        rows = rows if steps.order is None else steps.order[rows]
        count = self._adapter.steps_per_epoch
        total = "" if count is None else f" of {count}"
        with self.network.turns.change("fit"):
            raise refusal(
                self.network.runtime,
                [source.take(rows) for source in steps.sources],
                f"epoch {epoch + 1}, step {self._before + step + 1}{total}",
                loss,
                self._snapshot,
                restored=loop.callbacks.restores_epoch,
            )
