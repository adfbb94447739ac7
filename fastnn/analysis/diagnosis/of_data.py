"""Detects unscaled inputs, and targets that the model's last activation cannot reach."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastnn.analysis.diagnosis.finding import Finding
from fastnn.analysis.diagnosis.patient import Patient
from fastnn.layers.inputs import takes_any_scale

LARGE = 30.0  # root mean square of a column; pixels up to 16 train well, up to 255 they do not
SMALL = 0.01
OUTSIDE = 0.1  # fraction of the targets


def findings(patient: Patient) -> Iterator[Finding]:
    """Examine inputs and targets."""
    yield from _inputs(patient)
    yield from _targets(patient)
    yield from _logits(patient)


def _inputs(patient: Patient) -> Iterator[Finding]:
    several = len(patient.inputs) > 1
    of_any_scale = takes_any_scale(patient.network.graph)
    for (name, array), is_any in zip(patient.inputs, of_any_scale, strict=True):
        if is_any:
            continue
        sizes = np.sqrt(np.mean(array.astype(np.float64) ** 2, axis=0))
        worst = int(sizes.argmax())
        size = float(sizes[worst])
        of = f" of {name!r}" if several else ""
        if size > LARGE or size < SMALL:
            extreme = "largest" if size > LARGE else "largest column is small"
            which = f"the {extreme} of {len(sizes)} columns{of}, column {worst}, is"
            if size < SMALL:
                which = f"the {extreme}{of}: column {worst} of {len(sizes)} is"
            yield Finding(
                "unscaled inputs",
                "",
                size,
                f"{which} {size:.3g} in size (root mean square)",
                "inputs of mean 0 and standard deviation 1: (x - x.mean(0)) / x.std(0), or a "
                "Normalization as the first layer",
            )


def _targets(patient: Patient) -> Iterator[Finding]:
    target, (layer, activation) = patient.target, patient.end
    if len(target) > 1 and np.all(target.min(axis=0) == target.max(axis=0)):
        found = ", ".join(f"{value:g}" for value in target[0, :3]) + ", ..." * (target.shape[1] > 3)
        yield Finding(
            "constant targets",
            "",
            float(target[0, 0]),
            f"y is {found} in all {len(target)} rows",
            "data with more than one class or value: were the rows sorted and then cut?",
        )
        return
    if patient.loss.link is not None:
        return  # `data.target` has checked the targets
    low, high = activation.range
    is_limited = math.isfinite(high - low)
    room = 0.1 * (high - low) if is_limited else 1e-3 * float(target.std())
    outside = float(np.mean((target < low - room) | (target > high + room)))
    if outside > OUTSIDE:
        yield Finding(
            "targets out of reach",
            layer,
            outside,
            f"{activation.name} outputs {_interval(low, high)}, but {outside:.0%} of y lie "
            f"outside, which goes from {target.min():.3g} to {target.max():.3g}",
            "a linear output layer (activation=None), or y scaled into that range",
        )
        return
    size = math.sqrt(float(np.mean(target.astype(np.float64) ** 2)))
    output = list(patient.activations.values())[-1] if patient.activations else target
    reached = math.sqrt(float(np.mean(output.astype(np.float64) ** 2)))
    if size > LARGE and not size < 10 * reached:
        yield Finding(
            "unscaled targets",
            "",
            size,
            f"y is {size:.3g} in size (root mean square), the model's output {reached:.3g}",
            "targets of mean 0 and standard deviation 1, and the inverse after predict",
        )


def _logits(patient: Patient) -> Iterator[Finding]:
    """Detect an activation between the logits and a loss that takes logits."""
    (layer, activation), link = patient.end, patient.loss.link
    low, high = activation.range
    if link is None or activation.name == link or math.isinf(low):
        return
    yield Finding(
        "squashed logits",
        layer,
        high,
        f"loss {patient.loss.name!r} takes outputs that do not come from {link} as logits, of any "
        f"size, but {activation.name} outputs {_interval(low, high)}",
        f"activation={link!r} or none there",
    )


def _interval(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"
