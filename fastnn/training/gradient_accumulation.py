"""One update with the mean of the gradients of several batches."""

from __future__ import annotations

import time
from contextlib import nullcontext

import numpy as np

from fastnn.core.interruption import InterruptLater
from fastnn.network import Network
from fastnn.optimizers.base import GRADIENT_SUM
from fastnn.runtime import Bound, Purpose, Run, Steps
from fastnn.training.step_trainer import StepTrainer
from fastnn.training.trainers import Loop


class AccumulatingTrainer(StepTrainer):
    """Runs steps one at a time, and updates the parameters once in several of them."""

    def can_run_quietly(self) -> bool:
        """Whether epochs can be run with nobody to tell: no, steps are made one at a time."""
        return False

    def _bind(self) -> None:
        """Get the program that fits the current data."""
        self._bound = bound_for(self.network, self._steps, collects=True)

    def _rates(self, count: int) -> np.ndarray:
        """Return the learning rate of the update to which each of the next steps contributes."""
        runtime, optimizer = self.network.runtime, self.network.optimizer
        updates = (runtime.accumulated + np.arange(count)) // _batches_of(self.network)
        return optimizer.rates(runtime.step, int(updates[-1]) + 1)[updates]

    def _made(self) -> int:
        """Return the number of batches whose gradients have been taken."""
        runtime = self.network.runtime
        return runtime.step * _batches_of(self.network) + runtime.accumulated

    def _make(self, run: Run, first: int, loop: Loop) -> tuple[int, int]:
        """Run one step; return how many were completed and requested."""
        part = self._part
        assert part is not None
        with self.network.turns.change("fit"):
            began = time.perf_counter()
            # A batch whose gradients are not added may have moved statistics.
            was_busy, part.is_busy = part.is_busy, True
            with nullcontext() if run.is_long else InterruptLater():
                ran = make_step(self.network, run, first)
                part.is_busy = was_busy
            elapsed = time.perf_counter() - began
        loop.budget.record(ran, elapsed)
        self.seconds += elapsed
        return ran, 1


def bound_for(network: Network, steps: Steps, *, collects: bool = False) -> Bound:
    """Return the program ACCUMULATE for some rows.

    Raises
    ------
    RuntimeError, ValueError
        The update that is due later would not be possible.
    """
    network.runtime.bound(Purpose.UPDATE, 1)
    return network.runtime.bound(
        Purpose.ACCUMULATE, steps.batch, steps.target_types, steps.sparse, collects=collects
    )


def make_step(network: Network, run: Run, first: int = 0) -> int:
    """Make one step of the program ACCUMULATE, and the update that may be due after it.

    Parameters
    ----------
    network : Network
    run : Run
        With learning rates.
    first : int, default 0
        The step to make.

    Returns
    -------
    int
        1, or 0 if the loss was not finite; its gradients are then not added.
    """
    runtime = network.runtime
    # Dropout is drawn anew in each batch, not only after an update.
    number = runtime.step * _batches_of(network) + runtime.accumulated + 1
    network.runtime.parameters_change()  # statistics move with each batch
    done = run.make(first, number=number)
    if done:
        assert run.learning_rates is not None
        add_gradients(network, run.learning_rates[first : first + 1])
    return done


def add_gradients(network: Network, rate: np.ndarray) -> None:
    """Add the network's gradients to those of earlier batches, and update if they are enough.

    Parameters
    ----------
    network : Network
        Its optimizer accumulates.
    rate : ndarray of float64, shape (1,)
        Learning rate of the update.
    """
    with InterruptLater():  # the sums, their count and the update belong together
        _add_gradients(network, rate)


def _add_gradients(network: Network, rate: np.ndarray) -> None:
    runtime = network.runtime
    sums, gradients = runtime.slot_views(GRADIENT_SUM), runtime.gradients
    for name, total in sums.items():
        total += gradients[name]
    runtime.accumulated += 1
    if runtime.accumulated < _batches_of(network):
        return
    for name, total in sums.items():
        np.divide(total, runtime.accumulated, out=gradients[name])
    runtime.clear_frozen_gradients()  # of layers frozen since the first of these batches
    network.runtime.parameters_change()
    runtime.bound(Purpose.UPDATE, 1).prepare(Steps([], 1, 1), learning_rates=rate).make()
    runtime.accumulated = 0
    for total in sums.values():
        total[...] = 0


def _batches_of(network: Network) -> int:
    """Return how many batches contribute to an update."""
    batches = network.optimizer.gradient_accumulation_steps
    assert batches is not None
    return batches
