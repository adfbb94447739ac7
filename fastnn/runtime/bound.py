"""A planned program bound to its memory, and a run of it on some rows.

A run is prepared once, which determines where its arrays are, and then makes steps: all of
them, a slice, a single one, or one section of one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fastnn.core import threads
from fastnn.core.locks import Lock
from fastnn.data.arrays import AnySource
from fastnn.data.sparse import Sparse
from fastnn.data.steps import Steps
from fastnn.native.engine import MOST_WORK_UNWATCHED, Addresses, Executor
from fastnn.program import python_ops
from fastnn.program.ops import Op, Value
from fastnn.program.plan import Plan
from fastnn.runtime.team import TeamSize


@dataclass
class Bound:
    """A planned program with its executor and its memory.

    Attributes
    ----------
    plan : Plan
    executor : Executor
    arenas : dict of str to ndarray
        The runtime's arenas, and "workspace".
    counter : ndarray of int64, shape (1,)
        Number of updates made so far.
    key : int
        Seed of dropout.
    """

    plan: Plan
    executor: Executor
    arenas: dict[str, np.ndarray]
    counter: np.ndarray
    key: int
    # Held while Python runs between native ranges, which share one workspace.
    lock: Lock = field(default_factory=lambda: Lock(threading.RLock))
    _teams: dict[int, TeamSize] = field(default_factory=dict)

    def team(self, batch: int) -> TeamSize:
        """Return the team size for many steps of `batch` rows, as it has been measured."""
        if batch not in self._teams:
            self._teams[batch] = TeamSize(self.plan.effort(batch))
        return self._teams[batch]

    def record(self, team: TeamSize, steps: int, workers: int, seconds: float) -> None:
        """Record the time of the last run, which `team` has asked for."""
        team.record(steps, workers, seconds, *self._seen(workers))
        self.executor.is_watched = team.is_unsure

    def record_call(self, team: TeamSize, workers: int, seconds: float, is_recorded: bool) -> None:
        """Record the time of the last call, unless it was like others and nothing was seen."""
        if is_recorded or (workers > 1 and self.executor.absence >= 0):
            team.record_call(workers, seconds, *self._seen(workers))
            self.executor.is_watched = team.is_unsure

    def _seen(self, workers: int) -> tuple[Any, ...]:
        """Return what the last run has noticed of its workers; nothing if there was only one."""
        executor = self.executor
        return () if workers == 1 else (executor.absence, executor.present, executor.was_idle)

    def prepare(
        self,
        steps: Steps,
        *,
        results: np.ndarray | None = None,
        outputs: dict[str, np.ndarray] | None = None,
        learning_rates: np.ndarray | None = None,
    ) -> Run:
        """Prepare a run on some rows.

        Parameters
        ----------
        steps : Steps
        results : ndarray of float64, shape (steps, results), optional
            Receives the results of each step.
        outputs : dict of str to ndarray, optional
            Arrays of all rows that receive the program's outputs.
        learning_rates : ndarray of float64, shape (steps,), optional
            One for each step; needed by a program that updates.

        Returns
        -------
        Run
        """
        return Run(self, steps, self._addresses(steps, results, outputs), learning_rates)

    def _addresses(
        self,
        steps: Steps,
        results: np.ndarray | None,
        outputs: dict[str, np.ndarray] | None,
    ) -> Addresses:
        """Set the addresses of a run's arrays."""
        addresses, numbers = Addresses(self.executor), self.plan.externals
        if steps.order is not None:
            addresses.put(numbers.order, steps.order, steps.order.itemsize)
        for i, source in enumerate(steps.sources[: len(numbers.sources)]):
            self._put_source(addresses, i, source, steps)
        for name, array in (outputs or {}).items():
            width = array[:1].nbytes if len(array) else self.plan.itemsize
            addresses.put(numbers.outputs[name], array, width)
        if results is not None:
            assert results.shape[1] == len(numbers.results)
            row = results.strides[0]
            for k, place in enumerate(numbers.results.values()):
                addresses.put(place, results, 0, row, 8 * k)
        return addresses

    def _put_source(self, addresses: Addresses, i: int, source: AnySource, steps: Steps) -> None:
        """Set the address of the data of input i, and whether its batches are read in place."""
        made, numbers = self.plan, self.plan.externals
        is_ordered = steps.order is not None
        if isinstance(source, Sparse):
            row = 0 if is_ordered else source.indptr.itemsize
            addresses.put(numbers.sources[i], source.indptr, row)
            addresses.put(numbers.entries[i], source.entries)
            return
        addresses.put(numbers.sources[i], source.array, 0 if is_ordered else source.stride)
        value = made.program.inputs[i]
        is_native = source.is_native(made.dtype, value.dtype)
        if steps.in_place and not is_ordered and is_native and not made.has_python:
            addresses.put(numbers.batches[i], source.array, source.stride)
            return
        addresses.gather(i, source.number, source.stride)
        if value in made.places:
            first, _ = made.places[value]
            addresses.put(numbers.batches[i], self.arenas["workspace"], 0, 0, first)

    def memory(self, value: Value, rows: int) -> np.ndarray:
        """Return the memory of a value in a run of `rows` rows, shape (rows, *shape)."""
        space, first, end = self.plan.interval(value)
        arena = self.arenas[space].reshape(-1)
        dtype = {"real": self.plan.dtype, "label": "int32", "double": "float64"}[value.dtype]
        flat = arena.view("uint8")[first:end].view(dtype)
        if not value.batched:
            return flat.reshape(value.shape)
        return flat[: rows * value.width].reshape(rows, *value.shape)

    def kept(self, steps: Steps) -> list[np.ndarray]:
        """Return copies of the program's outputs that remain in the workspace after a run.

        Parameters
        ----------
        steps : Steps
            The run, which had a single step.

        Returns
        -------
        list of ndarray, each shape (rows, *shape)
        """
        program, rows = self.plan.program, steps.rows
        found = []
        for value in program.outputs:
            if value.storage == "output":
                continue
            root = self.plan.roots.get(value, value)
            if root.storage == "input":  # no op computed it
                source = steps.sources[program.inputs.index(root)]
                array = source.take().astype(self.plan.dtype)
            else:
                array = self.memory(root, rows).copy()
            shape = (rows, *value.shape) if value.batched else value.shape
            found.append(array.reshape(shape))
        return found


class Run:
    """A program prepared to run on some rows; `Bound.prepare` makes one.

    Attributes
    ----------
    bound : Bound
    steps : Steps
    learning_rates : ndarray of float64 or None
        One for each step.
    """

    def __init__(
        self,
        bound: Bound,
        steps: Steps,
        addresses: Addresses,
        learning_rates: np.ndarray | None,
    ) -> None:
        self.bound, self.steps, self.learning_rates = bound, steps, learning_rates
        rows = min(steps.batch, steps.rows)
        self._rows, self._own_workers = rows, threads.workers_for(bound.plan.work(rows))
        self._native = partial(
            bound.executor.run,
            addresses,
            batch=steps.batch,
            total_rows=steps.rows,
            learning_rates=learning_rates,
            key=bound.key,
        )

    @property
    def is_long(self) -> bool:
        """Whether a step may take so long that the engine watches for Ctrl-C within it."""
        return self.bound.plan.work(self._rows) > MOST_WORK_UNWATCHED

    def all(self) -> None:
        """Make all steps, a slice at a time, so that Python can handle Ctrl-C between them."""
        first = 0
        while first < self.steps.count:
            first += self.slice(first)[0]

    def slice(self, first: int, *, most: int | None = None) -> tuple[int, int, float]:
        """Make some steps from `first` on, as many as one slice holds, with the best team.

        Parameters
        ----------
        first : int
        most : int, optional
            Upper limit on the number of steps.

        Returns
        -------
        asked, done : int
            `done` is smaller if a loss was not finite.
        seconds : float
        """
        team = self.bound.team(self._rows)
        asked, workers = team.next(self.steps.count - first)
        is_cut = most is not None and most < asked
        asked = asked if most is None else min(asked, most)
        began = time.perf_counter()
        done = self.make(first, asked, workers=workers)
        seconds = time.perf_counter() - began
        if done == asked and not is_cut:  # a slice cut short does not tell a step's time
            self.bound.record(team, asked, workers, seconds)
        return asked, done, seconds

    def make(
        self,
        first: int = 0,
        count: int = 1,
        *,
        workers: int | None = None,
        seconds: np.ndarray | None = None,
        number: int | None = None,
    ) -> int:
        """Make steps [first, first + count) and return how many were made.

        Parameters
        ----------
        first : int, default 0
        count : int, default 1
        workers : int, optional
            Size of the team; default: the size that pays for the work of a step.
        seconds : ndarray of float64, shape (ops,), optional
            The time spent in each op is added to it.
        number : int, optional
            Number of the first of them, for dropout; default: that of the next update.

        Returns
        -------
        int
            Fewer than `count` if a loss was not finite.
        """
        bound = self.bound
        workers = self._own_workers if workers is None else workers
        number = int(bound.counter[0]) + 1 if number is None else number
        counter = bound.counter if bound.plan.program.purpose.updates else None
        settings = {"workers": workers, "seconds": seconds, "counter": counter}
        return self._make(bound.plan.parts(), first, count, number, settings)

    def section(self, name: str, number: int) -> None:
        """Run one section of the only step.

        Parameters
        ----------
        name : str
        number : int
            Number of the step, for dropout.
        """
        settings = {"workers": self._own_workers, "counter": None}
        self._make(self.bound.plan.parts(name), 0, 1, number, settings)

    def _make(
        self,
        parts: list[tuple[int, int] | Op],
        first: int,
        count: int,
        number: int,
        settings: dict[str, Any],
    ) -> int:
        """Make steps of some parts of the program; `number` is the first step's, for dropout."""
        if len(parts) == 1 and isinstance(parts[0], tuple):
            begin, end = parts[0]
            return self._native(
                first_step=first, steps=count, first_number=number, begin=begin, end=end,
                scheduled=self._scheduled(count), **settings,
            )  # fmt: skip
        counter = settings.pop("counter")
        with self.bound.lock.own():
            for step in range(first, first + count):
                rows = min(self.steps.batch, self.steps.rows - step * self.steps.batch)
                for part in parts:
                    if isinstance(part, Op):
                        python_ops.run(part, partial(self.bound.memory, rows=rows))
                    elif not self._native(
                        first_step=step, first_number=number + step - first, begin=part[0],
                        end=part[1], counter=counter if part is parts[-1] else None,
                        scheduled=self._scheduled(1), **settings,
                    ):  # fmt: skip
                        return step - first
        return count

    def _scheduled(self, count: int) -> np.ndarray | None:
        """Return the values of the plan's schedules in the next steps; see `Plan.scheduled`.

        Schedules count updates: steps that make none belong to the next one.
        """
        plan = self.bound.plan
        if not plan.schedules:
            return None
        update = int(self.bound.counter[0]) + 1
        if plan.program.purpose.updates:
            return plan.scheduled(update, count)
        return np.repeat(plan.scheduled(update, 1), count, axis=1)
