"""Training by steps of an optimizer, many of which run natively in one call."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.data.base import DataAdapter
from fastnn.data.steps import Steps
from fastnn.network import Network
from fastnn.runtime import Bound, Purpose, Run
from fastnn.runtime.nonfinite import not_finite, refusal
from fastnn.training.accumulator import Accumulator
from fastnn.training.history import History
from fastnn.training.single_rows import ragged, warn_of_single_row
from fastnn.training.trainers import Loop, Trainer

Results = dict[str, Any]


@dataclass(slots=True)
class _Part:
    """The part of an epoch that is being trained on.

    Attributes
    ----------
    steps : Steps
    results : ndarray, shape (count, results)
    rates : ndarray, shape (count,)
    rate : float, Schedule or None
        What all of `rates` are, if they are those of the next epoch, too.
    room : dict of str to ndarray
        Receives the outputs that metrics need.
    added : int
        How many steps the accumulator has.
    noted : tuple (done, made)
        How many steps are done, and the number of steps that the network had made then.
    is_busy : bool
        Whether an interrupt would leave something half done.
    """

    steps: Steps
    results: np.ndarray
    rates: np.ndarray
    room: dict[str, np.ndarray]
    rate: Any = None
    added: int = 0
    noted: tuple[int, int] = (0, 0)
    is_busy: bool = False


class StepTrainer(Trainer):
    """Runs steps of an optimizer, many of them natively in one call."""

    _adapter: DataAdapter
    _bound: Bound
    _snapshot: np.ndarray | None = None
    # The last run, with the order of its rows, and its part, which has its arrays: a short epoch is
    # mostly preparation.
    _run: Run | None = None
    _run_order: np.ndarray | None = None
    _run_part: _Part | None = None
    _part: _Part | None = None

    def begin(self, network: Network) -> None:
        """Be as new, except for what has been prepared for the data."""
        super().begin(network)
        self._has_warned = False  # of batches of one row
        # The state of the generator when the epoch began, if somebody may want to save the
        # training.
        self._order: Any = None
        self._resumed: dict[str, Any] | None = None  # the place in the epoch to continue from
        self._placed: int | None = None  # the epoch that what `get_state` tells belongs to

    def prepare(self, adapter: DataAdapter) -> list[str]:
        """Take the data and return the names of the results of an epoch."""
        self._adapter, self._steps = adapter, adapter.first()
        self._turn = self.network.turns.change("fit")  # kept: a slice may take microseconds
        self._before = 0  # steps of the epoch in earlier parts
        self._bind()
        self._warn_of_single_rows()
        runtime = self.network.runtime
        if self._snapshot is None or len(self._snapshot) != runtime.count:
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

    def can_run_quietly(self) -> bool:
        """Whether the last run fits the network as it is, and its results are sums over steps."""
        self._bind()
        if (
            self._kept_run() is None
            or self._bound.plan.program.outputs
            or "average" in self.network.runtime.slots
        ):
            return False
        self._warn_of_single_rows()  # last, because the caller does so otherwise
        return True

    def run_quietly(self, epochs: int, history: History) -> None:
        """Run epochs as `run` does, with nobody to tell of them.

        For many short trainings on the data of the one before: `run` asks so much between two
        steps that it takes longer than the steps of a small network.
        """
        network, adapter = self.network, self._adapter
        runtime, optimizer, steps = network.runtime, network.optimizer, self._steps
        run, part, snapshot = self._run, self._run_part, self._snapshot
        assert run is not None
        assert part is not None
        assert snapshot is not None
        self._before, rates, results, count = 0, part.rates, part.results, steps.count
        for epoch in range(epochs):
            if epoch:
                self._bind()
            if run.bound is not self._bound:  # code of the user's, or another thread, set something
                run = self._bound.prepare(steps, results=results, learning_rates=rates)
                self._run = run
            runtime.copy_parameters(snapshot)
            accumulator = Accumulator(self._bound.plan.program, network.dtype)
            adapter.next_order()
            done, chosen = 0, part.rate
            while done < count and not network.stop_training:
                if optimizer.learning_rate is not chosen:
                    chosen = optimizer.learning_rate
                    rates[done:] = self._rates(count - done)
                    part.rate = chosen if optimizer.has_constant_rate and not done else None
                runtime.parameters_change()
                with self._turn:
                    asked, ran, seconds = run.slice(done)
                done += ran
                self.seconds += seconds
                if ran < asked:
                    self._refuse(epoch, done, results[done, 0])
            if not_finite(runtime, self._workers()):
                self._refuse(epoch, count, np.nan)
            if done:
                accumulator.add(steps, results[:done], {})
                history.add(epoch, accumulator.logs())
                history.learning_rates.append(float(rates[done - 1]))
                self.rows_done += min(done * steps.batch, steps.rows)
            if network.stop_training:
                break

    def data(self) -> dict[str, Any]:
        """Return the numbers of rows and batches, and how the rows are ordered."""
        steps = self._adapter.first()
        return {
            "rows": steps.rows,
            "batch_size": steps.batch,
            "steps_per_epoch": self._adapter.steps_per_epoch,
            "types of targets": steps.target_types,
        }

    def get_state(self, *, is_amid: bool) -> dict[str, Any]:
        """Return the counts and, within an epoch, the place in it."""
        state = super().get_state(is_amid=is_amid)
        if not is_amid:
            return state
        done = self._before + (0 if self._part is None else self._part.noted[0])
        place = {"done": done, "order": self._order, "results": self._accumulator.get_state()}
        return {**state, "place": place}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        super().set_state(state)
        place = state.get("place")
        if place is None:
            return
        if not isinstance(place["done"], int) or place["done"] < 0:
            raise TypeError(f"done is {place['done']!r}")
        Accumulator(self._bound.plan.program, self.network.dtype).set_state(place["results"])
        trial = copy.deepcopy(self.network.generator.bit_generator)
        trial.state = place["order"]  # raises if it is none of a generator
        self._resumed = place

    def pass_over(self, epochs: range) -> None:
        """Read the batches of the epochs that are completed."""
        self._adapter.pass_over(epochs)
        if self._adapter.ended:
            raise ValueError(f"resume_from: {self._adapter.ended}")

    def settle(self, epoch: int) -> bool:
        """Take note of steps that were made natively when Python was interrupted."""
        part = self._part
        if self._placed != epoch or self._order is None:
            return False
        if part is None:
            return True
        if part.is_busy:
            return False
        done, made = part.noted
        self._note(part, done + self._made() - made)
        self._add(part)
        return True

    def _made(self) -> int:
        """Return the number of steps that the network has made."""
        return self.network.runtime.step

    def _note(self, part: _Part, done: int) -> None:
        """Take note that the steps of a part up to this one are done."""
        before, made = part.noted
        part.noted = done, made + done - before
        if done > before:
            steps = part.steps
            self.learning_rate = float(part.rates[done - 1])
            self.batches += done - before
            self.rows_done += min(done * steps.batch, steps.rows) - before * steps.batch

    def _add(self, part: _Part) -> None:
        """Add the results of the steps that are done to those of the epoch."""
        part.is_busy = True
        done, _ = part.noted
        self._accumulator.add(part.steps, part.results[part.added : done], part.room, part.added)
        part.added = done
        part.is_busy = False

    def _take_up(self, place: dict[str, Any]) -> int:
        """Take up an epoch within which the training was saved; return the steps done."""
        self._accumulator.set_state(place["results"])
        self._order = self.network.generator.bit_generator.state = place["order"]
        return place["done"]

    def _train(self, epoch: int, loop: Loop) -> Results:
        """Train one epoch part by part and return its results, which are means over its samples.

        They are empty if no step was taken because the data had run out.
        """
        runtime, generator = self.network.runtime, self.network.generator
        runtime.copy_parameters(self._snapshot)
        now: Any = generator.bit_generator.state if self._resumed else None
        self._accumulator = Accumulator(self._bound.plan.program, self.network.dtype)
        self._before = passed = 0
        if self._resumed is not None:
            passed = self._take_up(self._resumed)
        elif loop.callbacks.asks_to_rest:
            self._order = generator.bit_generator.state
        made = 0
        began = time.perf_counter()
        parts = self._adapter.epoch(epoch)
        try:
            for steps in parts:
                is_new, self._steps = steps is not self._steps, steps
                self.seconds += time.perf_counter() - began
                if self._resumed:  # the order of its rows has been drawn
                    self._resumed, generator.bit_generator.state = None, now
                if passed and passed >= steps.count:
                    passed -= steps.count
                    self._before += steps.count
                    continue
                self._bind()
                if is_new:
                    self._warn_of_single_rows()
                made = self._train_part(epoch, loop, passed)
                passed = 0
                if self.network.stop_training:
                    break
                began = time.perf_counter()
        finally:
            parts.close()
        self._placed = epoch  # also if there was nothing left of it
        loop.budget.epoch_end()
        if self._before and not_finite(runtime, self._workers()):
            self._before -= made
            restored = loop.callbacks.restores_epoch
            self._refuse(epoch, self._steps.count, np.nan, restored)
        return self._accumulator.logs()

    def _workers(self) -> int:
        """Return how many workers have turned out to be the fastest for the steps."""
        steps = self._steps
        return self._bound.team(min(steps.batch, steps.rows)).workers

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

    def _train_part(self, epoch: int, loop: Loop, first: int) -> int:
        """Train on one part of an epoch, from step `first` on; return which step is the next."""
        network, steps = self.network, self._steps
        count = steps.count
        room = self._accumulator.room(steps)
        run = None if room else self._kept_run()
        part = None if run is None else self._run_part
        if part is None:
            width = len(self._bound.plan.program.results)
            part = _Part(steps, np.empty((count, width)), np.empty(count), room)
        results, rates = part.results, part.rates
        made = 0 if self._order is None else self._made()  # nobody will save the training
        part.added, part.noted, part.is_busy = first, (first, made), False
        self._part, self._placed = part, epoch
        chosen = part.rate
        done = first
        while done < count and not network.stop_training:
            if loop.callbacks.asks_for_batches:
                part.is_busy = True  # until the callbacks have heard of its end
                loop.callbacks.batch_begin(self._before + done)
                part.noted = done, self._made()  # a callback may have trained
                if network.stop_training:
                    part.is_busy = False
                    break
                self._bind()
            optimizer = network.optimizer
            if optimizer.learning_rate is not chosen:  # set by a callback, or at the start
                chosen = optimizer.learning_rate
                rates[done:] = self._rates(count - done)
                part.rate = chosen if optimizer.has_constant_rate and not done else None
            if run is None or run.bound is not self._bound:
                run = self._bound.prepare(
                    steps, results=results, outputs=room, learning_rates=rates
                )
                self._run, self._run_order, self._run_part = run, steps.order, part
            ran, asked = self._make(run, done, loop)
            done += ran
            self._note(part, done)
            if ran < asked:
                restored = loop.callbacks.restores_epoch
                self._refuse(epoch, done, results[done, 0], restored)
            if loop.callbacks.asks_for_batches:
                logs = self._accumulator.logs_of_step(results[done - 1 : done])
                loop.callbacks.batch_end(self._before + done - 1, logs)
                part.noted = done, self._made()
                part.is_busy = False
            loop.progress.advance(ran)
            if loop.budget.is_over:
                loop.out_of_time(f"in epoch {epoch + 1}, step {self._before + done}")
            elif loop.callbacks.rests_within and loop.callbacks.steps_to_rest(self.batches) <= 0:
                self.settle(epoch)
                loop.rest()
        self._add(part)
        part.is_busy = True
        self._before, self._part = self._before + done, None
        return done

    def _kept_run(self) -> Run | None:
        """Return the run of the epoch before, if it has the same rows and program."""
        run, steps = self._run, self._steps
        is_same = run is not None and run.bound is self._bound and run.steps is steps
        return run if is_same and self._run_order is steps.order else None

    def _make(self, run: Run, first: int, loop: Loop) -> tuple[int, int]:
        """Run one step or a slice of steps; return how many were completed and requested."""
        self.network.runtime.parameters_change()
        with self._turn:
            if loop.callbacks.asks_for_batches:
                began = time.perf_counter()
                ran, asked = run.make(first), 1
                elapsed = time.perf_counter() - began
            else:
                most = loop.budget.steps()
                if loop.callbacks.rests_within:
                    rest = loop.callbacks.steps_to_rest(self.batches)
                    most = rest if most is None else min(rest, most)
                asked, ran, elapsed = run.slice(first, most=most)
        loop.budget.record(ran, elapsed)
        self.seconds += elapsed
        return ran, asked

    def _refuse(
        self, epoch: int, step: int, loss: float, restored: tuple[int, str] | None = None
    ) -> None:
        """Restore finite parameters and raise an error that says what went wrong, and where."""
        steps, snapshot = self._steps, self._snapshot
        assert snapshot is not None
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
                snapshot,
                restored=restored,
            )
