"""Finds out whether the learning rate is too high or too low by training and comparing copies.

Losses are measured relative to that of predicting a constant: near the end of a good training, no
rate improves the loss much on that scale, so nothing is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fastnn.analysis.diagnosis.finding import Finding
from fastnn.analysis.diagnosis.patient import Patient
from fastnn.network import Network
from fastnn.runtime import Purpose, Steps

STEPS = 100  # per trial
FACTORS = (1e-4, 1e-3, 0.01, 0.1, 10.0, 100.0, 1e3, 1e4)
# A trial that ends with less than this fraction of its initial loss is learning. Above the loss of
# a constant, where most of any decrease is just forgetting the initial weights, it takes more.
LEARNING = 0.97
FORGETTING = 0.9
MORE = 0.25  # improvement required of another rate, relative to the loss of a constant
EPOCHS = 5  # of the history; on a plateau the loss falls by a fraction below FLAT within them
FLAT = 0.002
FAR = 0.3  # a plateau below this fraction of a constant's loss means that training has converged


def findings(patient: Patient, before: Sequence[Finding]) -> Iterator[Finding]:
    """Train copies at the model's rate, and at others if the loss does not fall."""
    runtime = patient.network.runtime
    optimizer = patient.network.optimizer
    rate = optimizer.rate_of(runtime.step)
    if rate is None:
        return
    start = _loss(patient, patient.network)
    unit = constant_loss(patient)
    if unit is None:
        unit = start
    if not 0 < unit < math.inf:
        return  # constant targets
    end = _trial(patient, rate)
    found = None
    is_learning = end < LEARNING * min(start, unit) or end < FORGETTING * start
    if not is_learning:
        found = _better_rate(patient, rate, start, end, unit)
    if found is not None:
        yield found
    history = patient.network.history
    losses = [] if history is None else history.history.get("loss", [])
    is_flat = len(losses) > EPOCHS and losses[-1] > (1 - FLAT) * losses[-1 - EPOCHS]
    # A plateau is not a fault if there is nothing to learn, so another finding is required.
    if is_flat and losses[-1] > FAR * unit and (found or before):
        yield Finding(
            "plateau",
            "",
            losses[-1],
            f"the loss is {losses[-1]:.3g} after {len(losses)} epochs, {losses[-1 - EPOCHS]:.3g} "
            f"{EPOCHS} epochs before, and {unit:.3g} for predicting a constant",
            "what helps against the other findings",
        )


def _better_rate(
    patient: Patient, rate: float, start: float, end: float, unit: float
) -> Finding | None:
    """Find a rate at which the loss falls."""
    others = [factor * rate for factor in FACTORS] if rate else [1e-3, 1e-2, 0.1, 1.0]
    reached = {other: _trial(patient, other) for other in others}
    best = min(others, key=lambda other: reached[other])
    if not reached[best] < min(start, end) - MORE * unit:
        return None
    shown = (
        f"{STEPS} steps at {rate:.2g} take the loss from {start:.3g} to {end:.3g}, at {best:.2g} "
        f"to {reached[best]:.3g}"
    )
    advice = f"a rate like {best:.2g}; model.find_learning_rate(x, y) draws the losses"
    if not rate:
        advice += "; has a schedule come to its end?"
    fault = "low" if best > rate else "high"
    return Finding(f"learning rate too {fault}", "", rate, shown, advice)


def _trial(patient: Patient, rate: float) -> float:
    """Train a copy and return its loss on the sample; infinite if it diverges."""
    clone = patient.network.clone(keeps_optimizer_state=True)
    runtime = clone.runtime
    rows = patient.sources[0].rows
    batch = min(patient.batch_size, rows)
    generator = np.random.default_rng(0)
    epochs = -(-STEPS * batch // rows)
    order = np.concatenate([generator.permutation(rows) for _ in range(epochs)])
    steps = Steps(patient.sources, STEPS * batch, batch, order[: STEPS * batch])
    bound = runtime.bound(Purpose.TRAIN, batch, patient.target_types, steps.sparse)
    results = np.empty((STEPS, len(bound.plan.program.results)))
    run = bound.prepare(steps, results=results, learning_rates=np.full(STEPS, rate))
    done = 0
    while done < STEPS:
        asked, ran, _ = run.slice(done)
        done += ran
        if ran < asked:
            return math.inf
    loss = _loss(patient, clone)
    return loss if math.isfinite(loss) else math.inf


def _loss(patient: Patient, network: Network) -> float:
    """Return the loss on the sample."""
    runtime = network.runtime
    rows = patient.sample[0].rows
    bound = runtime.bound(Purpose.EVALUATE, rows, patient.target_types)
    results = np.full((1, len(bound.plan.program.results)), np.nan)
    bound.prepare(Steps(patient.sample, rows, rows), results=results).make()
    return float(results[0, 0])


def constant_loss(patient: Patient) -> float | None:
    """Return the smallest loss that predicting a constant can reach; None if it is not known."""
    first = len(patient.inputs) + 1
    if any((weights.take() != 1).any() for weights in patient.sources[first:]):
        return None
    target = patient.target
    best = patient.loss.best_constant(
        target.reshape(-1) if patient.target_type == "label" else target
    )
    return None if best is None else best.loss
