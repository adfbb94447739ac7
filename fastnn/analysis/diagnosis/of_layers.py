"""Detects units that are dead, saturated or identical, and vanishing or exploding gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastnn.analysis.diagnosis.finding import Finding
from fastnn.analysis.diagnosis.patient import Patient, activation_of

DEAD = 0.5  # fraction of units that output 0 for all rows
SATURATED = 0.7  # fraction of activations, over units and rows
EDGE = 0.02  # distance from an asymptote that counts as saturated, as a fraction of the range
# Limits for the size of a gradient: relative to the largest of the model, and absolute.
VANISHED = 2e-3
EXPLODED = 100.0


def lost_weights(patient: Patient) -> Iterator[Finding]:
    """Detect parameters that are not finite, which make the other checks impossible."""
    for name, view in patient.network.runtime.parameters.items():
        lost = int(np.sum(~np.isfinite(view)))
        if lost:
            yield Finding(
                "lost weights",
                name.split("/")[0],
                float(lost),
                f"{lost} of {view.size} numbers of {name!r} are NaN or infinite",
                "new weights, or a saved model; then a smaller learning rate, or "
                "global_clipnorm=1.0",
            )


def findings(patient: Patient) -> Iterator[Finding]:
    """Examine the outputs of the layers and their gradients."""
    yield from _single_rows(patient)
    end = patient.end[0]
    for name, layer in patient.layers:
        array = patient.activations[name]
        activation = activation_of(layer)
        units = array.reshape(len(array), -1)
        if activation.name == "relu":
            dead = (units == 0).all(axis=0)
            if dead.mean() >= DEAD and len(units) > 1:
                yield Finding(
                    "dead units",
                    name,
                    float(dead.mean()),
                    f"{dead.sum()} of {len(dead)} relu units output 0 for all {len(units)} rows, "
                    "so they have no gradient",
                    "new weights (dead units do not recover), then a smaller learning rate, "
                    "'leaky_relu', or scaled inputs",
                )
        if activation.saturation is not None and name != end:
            low, high = activation.saturation
            part = (units - low) / (high - low)
            share = float(np.mean((part < EDGE) | (part > 1 - EDGE)))
            if share > SATURATED:
                yield Finding(
                    "saturated units",
                    name,
                    share,
                    f"{share:.0%} of the outputs of {activation.name} lie within {EDGE:.0%} of its "
                    "limits, where its slope is close to 0",
                    "scaled inputs, smaller initial weights ('glorot_uniform'), a smaller "
                    "learning rate, or 'relu'",
                )
    yield from _identical(patient)
    yield from _gradients(patient)


def _single_rows(patient: Patient) -> Iterator[Finding]:
    """Detect layers that normalize over batches of one row."""
    if min(patient.batch_size, patient.sources[0].rows) > 1:
        return
    for name, layer in patient.layers:
        found = [part for part in layer.parts() if part.kind == "batch_normalization"]
        if layer not in patient.network.frozen and any(part.trainable for part in found):
            yield Finding(
                "batches of one row",
                name,
                1.0,
                "the batch that it normalizes over has one row, so that its output is constant",
                "a larger batch_size, or LayerNormalization",
            )


def _kernels(patient: Patient) -> dict[str, tuple[str, np.ndarray]]:
    """Return layer and kernel, keyed by name, with layers in the order of computation."""
    runtime = patient.network.runtime
    found = {}
    for name, (_, own) in runtime.graph.owners.items():
        view = runtime.parameters[name]
        if view.ndim > 1:
            found[name] = name[: -len(own) - 1], view
    return found


def _identical(patient: Patient) -> Iterator[Finding]:
    end = patient.end[0].split(":")[0]
    for layer, kernel in _kernels(patient).values():
        columns = kernel.reshape(-1, kernel.shape[-1])
        if layer != end and columns.shape[1] > 1 and np.all(columns == columns[:, :1]):
            yield Finding(
                "identical units",
                layer,
                float(columns.shape[1]),
                f"all {columns.shape[1]} units have the same weights, and so the same gradients",
                "random initial weights: leave kernel_initializer out",
            )


def _gradients(patient: Patient) -> Iterator[Finding]:
    kernels = _kernels(patient)
    everything = {name: _size(gradient) for name, gradient in patient.gradients.items()}
    largest = max((size for size in everything.values() if np.isfinite(size)), default=0.0)
    learns = patient.network.graph.rate_factors()  # a frozen kernel has no gradient
    sizes = {name: everything[name] for name in kernels if learns[name]}
    # Below a kernel that is initialized to zeros there is no gradient until the first step.
    begins = any(not kernel.any() for _, kernel in kernels.values())
    worst = min(sizes, key=lambda name: sizes[name], default="")
    if worst and not begins and sizes[worst] < VANISHED * largest:
        yield Finding(
            "vanishing gradient",
            kernels[worst][0],
            sizes[worst],
            f"the gradient of its kernel is {sizes[worst]:.3g} in size (norm divided by the root "
            f"of the number of inputs), the largest of the model {largest:.3g}",
            "'relu' in place of sigmoid and tanh, fewer layers, skip connections (Add), or "
            "another kernel_initializer",
        )
    for name, size in sizes.items():
        if not size <= EXPLODED:
            yield Finding(
                "exploding gradient",
                kernels[name][0],
                size,
                f"the gradient of its kernel is {size:.3g} in size (norm divided by the root of "
                "the number of inputs)",
                "global_clipnorm=1.0, smaller initial weights ('he_uniform'), or scaled inputs "
                "and targets",
            )
            return  # only the first, because those of the other layers follow from it


def _size(gradient: np.ndarray) -> float:
    """Return the norm divided by the root of the number of inputs: the backpropagated size."""
    inputs = gradient.size / gradient.shape[-1] if gradient.ndim > 1 else 1
    return float(np.linalg.norm(gradient)) / inputs**0.5
