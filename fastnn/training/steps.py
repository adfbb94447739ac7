"""One step on one batch."""

from __future__ import annotations

import numpy as np

from fastnn import data
from fastnn.data import Samples
from fastnn.data.samples import inputs_alone, with_targets
from fastnn.network import Network
from fastnn.training import nonfinite


def checked_inputs(network: Network, x: object) -> Samples:
    """Return x, checked; build a network that was waiting for its shape."""
    with network.built_on_trial():
        return inputs_alone(x, network.specify(x))


def checked_samples(
    network: Network,
    x: object,
    y: object,
    sample_weight: object = None,
    class_weight: object = None,
) -> Samples:
    """Return a batch, checked; build a network that was waiting for its shape."""
    network.compiled  # noqa: B018: raises where there is none
    with network.built_on_trial():
        samples = with_targets(x, y, sample_weight, class_weight, network.specify(x))
        data.not_empty(samples.rows)
        return samples


def train_on_samples(network: Network, samples: Samples) -> float:
    """Make one step and return its loss before the step.

    Raises
    ------
    NonFiniteLossError
        The loss is not finite; the step is not made.
    """
    runtime, steps = network.runtime, samples.steps()
    bound = runtime.bound("train", steps.batch, steps.target_types, steps.sparse)
    results = np.empty((1, len(bound.plan.program.results)))
    before = runtime.snapshot()
    rate = network.compiled.optimizer.rates(runtime.step)
    network.parameter_version += 1
    done = runtime.run(bound, steps, results=results, learning_rates=rate)
    loss = float(results[0, 0])
    if not done or nonfinite.not_finite(runtime):
        raise nonfinite.refused_step(runtime, bound, samples.sources, bool(done), loss, before)
    return loss
