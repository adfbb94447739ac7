"""`predict_one` and `learn_one`: one sample at a time, in a few microseconds.

A sample runs through a program prepared for one row (`fastnn.runtime.fast_path`), which declines
anything unusual. Declined samples, and the first one, take the general path as a batch of one.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn import data
from fastnn.data.adapter import adapter_of
from fastnn.data.base import Given
from fastnn.layers import Shape
from fastnn.network import Network
from fastnn.program.objective import Objective
from fastnn.program.purpose import Purpose
from fastnn.runtime import nonfinite
from fastnn.training.evaluation import predict
from fastnn.training.steps import train_on_samples


def predict_one(network: Network, x: object) -> list[np.ndarray]:
    """Return the outputs for one sample; see `Model.predict_one`."""
    output = network.runtime.fast_path.try_predict_one(x)
    if output is not None:
        return [output]
    with network.built_on_trial():
        batch = _inputs(network, x)
        adapter = adapter_of(Given(network.specify, batch, has_targets=False))
        outputs, _ = predict(network, adapter)
    if network.runtime.fast_path.predictor is None:
        network.runtime.prepare_one_row(Purpose.PREDICT)
    return [array[0] for array in outputs]


def learn_one(network: Network, x: object, y: object) -> float:
    """Take one step on one sample and return its loss; see `Model.learn_one`."""
    objective = network.require_objective()
    loss = network.runtime.fast_path.try_learn(x, y, objective)
    if loss is not None:  # the step was tried
        network.runtime.parameters_change()
        return loss if loss == loss else _checked_loss(network, x, y)
    with network.built_on_trial():
        batch = _inputs(network, x)
        samples = network.checked_samples(batch, _target(network, objective, y))
    loss = train_on_samples(network, samples)
    is_prepared = network.runtime.fast_path.can_learn(objective)
    if not (is_prepared or objective.optimizer.accumulates):
        network.runtime.prepare_one_row(Purpose.TRAIN)
    return loss


def _checked_loss(network: Network, x: object, y: object) -> float:
    """Return the loss of a suspicious step if it is valid, or restore the network and raise."""
    runtime = network.runtime
    is_done, loss = runtime.fast_path.last_step
    if is_done and not nonfinite.not_finite(runtime):
        return loss  # the parameters are large: only the sum of their squares was not finite
    target = _target(network, network.require_objective(), y)
    samples = network.checked_samples(_inputs(network, x), target)
    raise nonfinite.refused_step(runtime, samples.sources, is_done, loss, runtime.last_snapshot())


# --- as a batch of one ------------------------------------------------------------------------


def _inputs(network: Network, x: object) -> object:
    """Return a batch of one sample for the methods that take batches."""
    shapes = [shape for _, shape in network.input_shapes] if network.built else [None]
    if network.built and network.graph.has_lookups:
        return _with_lookups(network, x)
    if len(shapes) == 1:
        return _batch("x", x, shapes[0], network.dtype)
    if not isinstance(x, (list, tuple)) or len(x) != len(shapes):
        return x  # those methods reject it
    return [
        _batch(f"x[{i}]", part, shape, network.dtype)
        for i, (part, shape) in enumerate(zip(x, shapes, strict=True))
    ]


def _with_lookups(network: Network, x: object) -> object:
    """Return the batch of one sample for a network some of whose inputs are looked up."""
    inputs = network.specification.inputs
    parts = [x] if len(inputs) == 1 else x
    if not isinstance(parts, (list, tuple)) or len(parts) != len(inputs):
        return x  # the methods that take batches reject it
    batch: list[np.ndarray] = []
    for position, (part, one) in enumerate(zip(parts, inputs, strict=True)):
        label = network.specification.label(position)
        if one.lookup is None:
            batch.append(_batch(label, part, one.shape, network.dtype))
            continue
        sample = data.read(label, part, one.lookup, None)
        if sample.size != math.prod(one.shape):
            raise ValueError(f"{label} must have shape {one.shape}, got {np.shape(part)}")
        batch.append(sample.reshape(1, *one.shape))
    return batch[0] if len(inputs) == 1 else batch


def _batch(name: str, value: object, shape: Shape | None, dtype: str) -> np.ndarray:
    array = data.checked_array(name, value)
    if array.shape != shape and (shape is not None or array.ndim == 0):
        expected = "(inputs,)" if shape is None else f"{shape}"
        hint = "; it is one sample, without an axis of rows" if array.shape[1:] == shape else ""
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}{hint}")
    data.check_finite(name, array, dtype)
    return array[np.newaxis]


def _target(network: Network, objective: Objective, y: object) -> object:
    if network.built and len(network.runtime.output_shapes) > 1:
        names = network.runtime.graph.output_names
        parts = data.by_name("y", y, names)
        return [
            data.checked_array(f"y[{name!r}]", part)[np.newaxis] for name, part in parts.items()
        ]
    array = data.checked_array("y", y)
    if network.built:
        (shape,), takes_labels = network.runtime.output_shapes, objective.loss.takes_labels
        is_number = array.shape in ((), (1,)) and (takes_labels or math.prod(shape) == 1)
        if array.shape != shape and not is_number:
            label = " or be a class label" if takes_labels else ""
            raise ValueError(f"y must have shape {shape}{label}, got {array.shape}")
    data.check_finite("y", array, network.dtype)
    return array[np.newaxis]
