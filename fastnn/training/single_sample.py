"""`predict_one` and `learn_one`: one sample at a time, in a few microseconds.

A sample runs through a program prepared for one row (`fastnn.runtime.fast_path`), which declines
anything unusual. Declined samples, and the first one, take the general path as a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.data import frames
from fastnn.data.adapter import adapter_of
from fastnn.data.base import Given
from fastnn.data.labels import are_labels
from fastnn.data.names import at
from fastnn.layers import Shape
from fastnn.network import Network
from fastnn.program.objective import Objective
from fastnn.training import steps
from fastnn.training.evaluation import predict


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
        network.runtime.prepare_predict_one()
    return [array[0] for array in outputs]


def learn_one(network: Network, x: object, y: object, sample_weight: object = None) -> float:
    """Take one step on one sample and return its loss; see `Model.learn_one`."""
    objective = network.require_objective()
    if sample_weight is None:
        loss = network.runtime.fast_path.try_learn(x, y, objective, _checked_loss, network)
        if loss is not None:
            network.runtime.parameters_change()
            return loss
    with network.turns.change("learn_one"):
        with network.built_on_trial():
            _learn_names(network, x)
            batch = _inputs(network, x)
            target = _target(network, objective, y)
            weight = None if sample_weight is None else _weight(network, sample_weight)
            samples = network.checked_samples(batch, target, weight)
        loss = steps.train_on_samples(network, samples)
        steps.prepare(network, objective, samples)
    return loss


def _checked_loss(network: Network, x: object, is_done: bool, loss: float) -> float:
    return steps.checked_loss(network, lambda: _inputs(network, x), is_done, loss)


# --- as a batch of one ------------------------------------------------------------------------


def _learn_names(network: Network, x: object) -> None:
    """Remember the names of a sample that is given by them, if the network has one input."""
    names = frames.names_in_row(x)
    if names is None or network.names.inputs:
        return
    ends = [name for name, _ in network.input_shapes] if network.built else ["input"]
    if len(ends) == 1 and list(names) != ends:
        network.names = replace(network.names, inputs=(names,))


def _inputs(network: Network, x: object) -> object:
    """Return a batch of one sample for the methods that take batches."""
    ends = network.input_shapes if network.built else [("input", None)]
    columns = [at(network.names.inputs, i) for i in range(len(ends))]
    names = [name for name, _ in ends]
    has_lookups = network.built and network.graph.has_lookups
    if len(ends) == 1 and not has_lookups:
        (name, shape), (own,) = ends[0], columns
        if isinstance(x, Mapping) and list(x) == names and own != (name,):
            return {name: _batch(f"x[{name!r}]", x[name], shape, network.dtype, own)}
        return _batch("x", x, shape, network.dtype, own)
    if isinstance(x, Mapping):
        parts = list(data.by_name("x", dict(x), names, "input").values())
        labels = [f"x[{name!r}]" for name in names]
    elif len(ends) == 1:
        parts, labels = [x], ["x"]
    elif isinstance(x, (list, tuple)) and len(x) == len(ends):
        parts, labels = list(x), [f"x[{i}]" for i in range(len(ends))]
    else:
        return x  # those methods reject it
    readers = network.specification.inputs if has_lookups else [None] * len(ends)
    batch = [
        _looked_up(label, part, one)
        if one is not None and one.lookup is not None
        else _batch(label, part, shape, network.dtype, own)
        for label, part, (_, shape), own, one in zip(
            labels, parts, ends, columns, readers, strict=True
        )
    ]
    return batch[0] if len(batch) == 1 else batch


def _looked_up(label: str, part: Any, one: data.InputSpecification) -> np.ndarray:
    """Return the batch of one sample for an input that is looked up."""
    assert one.lookup is not None
    sample: np.ndarray = data.read(label, part, one.lookup, None)
    if sample.size != math.prod(one.shape):
        raise ValueError(f"{label} must have shape {one.shape}, got {np.shape(part)}")
    return sample.reshape(1, *one.shape)


def _batch(
    name: str,
    value: object,
    shape: Shape | None,
    dtype: str,
    columns: frames.ColumnNames | None = None,
) -> np.ndarray:
    array = data.checked_array(name, frames.row_of(name, value, columns))
    if array.shape != shape and (shape is not None or array.ndim == 0):
        expected = "(inputs,)" if shape is None else f"{shape}"
        hint = "; it is one sample, without an axis of rows" if array.shape[1:] == shape else ""
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}{hint}")
    data.check_finite(name, array, dtype)
    return array[np.newaxis]


def _weight(network: Network, sample_weight: object) -> object:
    """Return the weight of the sample as weights of a batch of one."""
    names = network.output_names if network.built else ["output"]
    if isinstance(sample_weight, Mapping):
        given = dict(sample_weight)
    elif len(names) > 1 and isinstance(sample_weight, (list, tuple)):
        given = data.by_name("sample_weight", sample_weight, names)
    else:
        return [checks.number("sample_weight", sample_weight)]
    return {
        name: None if part is None else [checks.number(f"sample_weight[{name!r}]", part)]
        for name, part in given.items()
    }


def _target(network: Network, objective: Objective, y: object) -> object:
    if network.built and len(network.runtime.output_shapes) > 1:
        names = network.runtime.graph.output_names
        parts = data.by_name("y", y, names)
        return [_target_row(f"y[{name!r}]", part) for name, part in parts.items()]
    if isinstance(y, Mapping):
        names = network.output_names if network.built else ["output"]
        y = data.by_name("y", dict(y), names)[names[0]]
    row = _target_row("y", y)
    if row.dtype.kind == "O":
        return row
    array = row[0, ...]  # not a scalar
    if network.built:
        (shape,), takes_labels = network.runtime.output_shapes, objective.loss.takes_labels
        is_number = array.shape in ((), (1,)) and (takes_labels or math.prod(shape) == 1)
        if array.shape != shape and not is_number:
            label = " or be a class label" if takes_labels else ""
            raise ValueError(f"y must have shape {shape}{label}, got {array.shape}")
    data.check_finite("y", array, network.dtype)
    return row


def _target_row(name: str, y: object) -> np.ndarray:
    """Return a target as a batch of one; labels are left as they are."""
    if are_labels(y):
        row = np.empty(1, object)
        row[0] = np.asarray(y).reshape(-1)[0]
        return row
    return data.checked_array(name, y)[np.newaxis]
