"""Whether the learning rate is too high or too low: copies are trained and compared.

Losses are measured by what predicting a constant gives: near the end of a good training, where
no rate brings much, that is so much more than what is left that nothing is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.analysis import gradcheck
from fastnn.analysis.diagnosis.finding import Finding
from fastnn.analysis.diagnosis.patient import Patient
from fastnn.runtime import Purpose, Steps

if TYPE_CHECKING:
    from fastnn.model import Model

STEPS = 100  # of a trial
FACTORS = (1e-4, 1e-3, 0.01, 0.1, 10.0, 100.0, 1e3, 1e4)
# A trial that ends with less than this part of the loss before is learning; from above the loss of
# a constant, where most of any fall is forgetting the initial weights, it takes more.
LEARNING = 0.97
FORGETTING = 0.9
MORE = 0.25  # by the loss of a constant: what another rate must bring beyond the model's
EPOCHS = 5  # of the history, in which a plateau has fallen by less than FLAT of the loss
FLAT = 0.002
FAR = 0.3  # a plateau below this part of a constant's loss is where training has come to


def findings(patient: Patient, before: Sequence[Finding]) -> Iterator[Finding]:
    """Train copies at the model's rate, and at others if the loss does not fall."""
    runtime = patient.model.runtime
    assert runtime.objective is not None
    optimizer = runtime.objective.optimizer
    if not optimizer.kernel:
        return  # LBFGS has no rate
    rate = float(optimizer.rates(runtime.step)[0])
    start = _loss(patient, patient.model)
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
    history = patient.model.history
    losses = [] if history is None else history.history.get("loss", [])
    is_flat = len(losses) > EPOCHS and losses[-1] > (1 - FLAT) * losses[-1 - EPOCHS]
    # Standing still is no fault where there is nothing to learn: another one has to be there.
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
    """Look for a rate at which the loss falls."""
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
    kind = "low" if best > rate else "high"
    return Finding(f"learning rate too {kind}", "", rate, shown, advice)


def _trial(patient: Patient, rate: float) -> float:
    """Train a copy and return its loss of the sample; infinite where it diverges."""
    model = patient.model
    twin = gradcheck.twin(model, model.dtype)
    runtime = twin.runtime
    runtime.arenas["state"][...] = model.runtime.arenas["state"]
    runtime.step = model.runtime.step
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
    loss = _loss(patient, twin)
    return loss if math.isfinite(loss) else math.inf


def _loss(patient: Patient, model: Model) -> float:
    """Return the loss of the sample."""
    runtime = model.runtime
    rows = patient.sample[0].rows
    bound = runtime.bound(Purpose.EVALUATE, rows, patient.target_types)
    results = np.full((1, len(bound.plan.program.results)), np.nan)
    bound.prepare(Steps(patient.sample, rows, rows), results=results).make()
    return float(results[0, 0])


def constant_loss(patient: Patient) -> float | None:
    """Return the least loss that predicting a constant gives; None for a loss not known here."""
    target, name = patient.target, patient.loss.name
    if "weight" in patient.target_types or getattr(patient.loss, "label_smoothing", 0.0) > 0:
        return None
    if name == "crossentropy":
        if patient.kind == "label":
            shares = np.bincount(target.reshape(-1)) / len(target)
        else:
            shares = target.mean(axis=0, dtype=np.float64)
        return _entropy(shares)
    if name == "binary_crossentropy":
        means = target.mean(axis=0, dtype=np.float64)
        return float(np.mean([_entropy(np.array([mean, 1 - mean])) for mean in means]))
    distances = np.abs(target - np.median(target, axis=0)).astype(np.float64)
    if name == "mse":
        return float(np.mean(np.var(target, axis=0, dtype=np.float64)))
    if name == "mae":
        return float(distances.mean())
    if name == "huber":
        delta = patient.loss.delta  # type: ignore[attr-defined]
        inside = distances**2 / 2
        return float(np.where(distances <= delta, inside, delta * (distances - delta / 2)).mean())
    return None


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
