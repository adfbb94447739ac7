"""One step on one batch."""

from __future__ import annotations

import numpy as np

from fastnn.data import Samples
from fastnn.network import Network
from fastnn.program.purpose import Purpose
from fastnn.runtime import nonfinite


def train_on_samples(network: Network, samples: Samples) -> float:
    """Take one step and return its loss before the step.

    Raises
    ------
    NonFiniteLossError
        The loss is not finite; the step is not taken.
    """
    runtime, steps = network.runtime, samples.steps()
    bound = runtime.bound(Purpose.TRAIN, steps.batch, steps.target_types, steps.sparse)
    results = np.empty((1, len(bound.plan.program.results)))
    before = runtime.snapshot()
    rate = network.optimizer.rates(runtime.step)
    runtime.parameters_change()
    done = bound.prepare(steps, results=results, learning_rates=rate).make()
    loss = float(results[0, 0])
    if not done or nonfinite.not_finite(runtime):
        raise nonfinite.refused_step(runtime, samples.sources, bool(done), loss, before)
    return loss
