"""One step on one batch."""

from __future__ import annotations

import numpy as np

from fastnn.data import Samples
from fastnn.network import Network
from fastnn.program.purpose import Purpose
from fastnn.runtime import nonfinite
from fastnn.training import gradient_accumulation
from fastnn.training.single_rows import warn_of_single_row


def train_on_samples(network: Network, samples: Samples) -> float:
    """Take one step and return its loss before the step.

    An optimizer that accumulates gradients may wait for further steps with its update.

    Raises
    ------
    NonFiniteLossError
        The loss is not finite; the step is not taken.
    """
    runtime, steps = network.runtime, samples.steps()
    accumulates = network.optimizer.accumulates
    if accumulates:
        bound = gradient_accumulation.bound_for(network, steps)
    else:
        bound = runtime.bound(Purpose.TRAIN, steps.batch, steps.target_types, steps.sparse)
    if steps.rows == 1:
        warn_of_single_row(bound.plan.program, "the batch has")
    results = np.empty((1, len(bound.plan.program.results)))
    before = runtime.snapshot()
    rate = network.optimizer.rates(runtime.step)
    runtime.parameters_change()
    run = bound.prepare(steps, results=results, learning_rates=rate)
    done = gradient_accumulation.make_step(network, run) if accumulates else run.make()
    loss = float(results[0, 0])
    if not done or nonfinite.not_finite(runtime):
        raise nonfinite.refused_step(runtime, samples.sources, bool(done), loss, before)
    return loss
