"""One step on one batch.

A batch of plain arrays goes through a program prepared for it (`fastnn.runtime.fast_path`), which
declines anything unusual. Declined batches, and the first one, take the general path.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.data import Samples
from fastnn.network import Network
from fastnn.program.objective import Objective
from fastnn.program.purpose import Purpose
from fastnn.runtime import nonfinite
from fastnn.training import gradient_accumulation
from fastnn.training.single_rows import warn_of_single_row


def train_on_batch(
    network: Network, x: object, y: object, sample_weight: object, class_weight: object
) -> float:
    """Take one step on one batch and return its loss; see `Model.train_on_batch`."""
    objective = network.require_objective()
    if class_weight is None:
        loss = network.runtime.fast_path.try_learn_batch(
            x, y, sample_weight, objective, _checked_loss, network
        )
        if loss is not None:
            network.runtime.parameters_change()
            return loss
    with network.turns.change("train_on_batch"):
        samples = network.checked_samples(x, y, sample_weight, class_weight, learns=True)
        loss = train_on_samples(network, samples)
        prepare(network, objective, samples)
    return loss


def _checked_loss(network: Network, x: object, is_done: bool, loss: float) -> float:
    return checked_loss(network, lambda: x, is_done, loss)


def prepare(network: Network, objective: Objective, samples: Samples) -> None:
    """Prepare steps like the one on these samples, if they are not prepared yet.

    Labels are turned into numbers, and names into an order, on the general path.
    """
    is_general = network.names.classes or objective.optimizer.accumulates
    runtime, has_weights = network.runtime, "weight" in samples.target_types
    if not (is_general or runtime.fast_path.can_learn(objective, has_weights=has_weights)):
        runtime.prepare_learn(samples.rows, samples.target_types)


def checked_loss(
    network: Network, inputs: Callable[[], object], is_done: bool, loss: float
) -> float:
    """Return the loss of a suspicious step if it is valid, or restore the network and raise.

    Parameters
    ----------
    network : Network
    inputs : callable
        Returns the batch.
    is_done : bool
        Whether the step was made.
    loss : float
    """
    runtime = network.runtime
    runtime.parameters_change()
    if is_done and not nonfinite.not_finite(runtime):
        return loss  # the parameters are large: only the sum of their squares was not finite
    sources = network.checked_inputs(inputs()).sources
    raise nonfinite.refused_step(runtime, sources, is_done, loss, runtime.last_snapshot())


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
