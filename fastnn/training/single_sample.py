"""`predict_one` and `learn_one`: one sample at a time, in a few microseconds.

A sample goes through a program prepared for one row (`fastnn.runtime.fast_path`), which declines
whatever is unusual. That, and the first sample, goes the plain way, as a batch of one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn import data
from fastnn.layers import Shape
from fastnn.program.purpose import Purpose
from fastnn.runtime import Objective
from fastnn.training import nonfinite

if TYPE_CHECKING:
    from fastnn.model import Model


def predict(model: Model, x: object) -> np.ndarray | list[np.ndarray]:
    """Return the output for one sample; see `Model.predict_one`."""
    runtime = model._runtime  # the property would take a tenth of the time
    output = None if runtime is None else runtime.fast_path.try_predict_one(x)
    if output is not None:
        return output
    outputs = model.predict(_inputs(model, x))
    if model.runtime.fast_path.predictor is None:
        model.runtime.prepare_one_row(Purpose.PREDICT)
    return [array[0] for array in outputs] if isinstance(outputs, list) else outputs[0]


def learn(model: Model, x: object, y: object) -> float:
    """Make one step on one sample and return its loss; see `Model.learn_one`."""
    runtime, chosen = model._runtime, model._compiled()
    loss = None if runtime is None else runtime.fast_path.try_learn(x, y, chosen)
    if loss is not None:
        return loss if loss == loss else _checked_loss(model, x, y)
    loss = model.train_on_batch(_inputs(model, x), _target(model, chosen, y))
    if not model.runtime.fast_path.can_learn(chosen):
        model.runtime.prepare_one_row(Purpose.TRAIN)
    return loss


def _checked_loss(model: Model, x: object, y: object) -> float:
    """Return the loss of a step after all, or put the model back and raise."""
    runtime, chosen = model.runtime, model._compiled()
    is_done, loss = runtime.fast_path.last_step
    if is_done and not nonfinite.not_finite(runtime):
        return loss  # large parameters: the sum of their squares was not finite
    sources, _ = model.training_data(_inputs(model, x), _target(model, chosen, y))
    raise nonfinite.refused_step(model, sources, is_done, loss, runtime.last_snapshot())


# --- as a batch of one ------------------------------------------------------------------------


def _inputs(model: Model, x: object) -> object:
    """Return a batch of one sample, for the methods that take batches."""
    shapes = [shape for _, shape in model.input_shapes] if model.built else [None]
    if len(shapes) == 1:
        return _batch("x", x, shapes[0], model.dtype)
    if not isinstance(x, (list, tuple)) or len(x) != len(shapes):
        return x  # which those methods refuse
    return [
        _batch(f"x[{i}]", part, shape, model.dtype)
        for i, (part, shape) in enumerate(zip(x, shapes, strict=True))
    ]


def _batch(name: str, value: object, shape: Shape | None, dtype: str) -> np.ndarray:
    array = data.checked_array(name, value)
    if array.shape != shape and (shape is not None or array.ndim == 0):
        expected = "(inputs,)" if shape is None else f"{shape}"
        hint = "; it is one sample, without an axis of rows" if array.shape[1:] == shape else ""
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}{hint}")
    data.check_finite(name, array, dtype)
    return array[np.newaxis]


def _target(model: Model, chosen: Objective, y: object) -> object:
    if model.built and len(model.runtime.output_shapes) > 1:
        names = model.runtime.graph.output_names
        parts = data.by_name("y", y, names)
        return [
            data.checked_array(f"y[{name!r}]", part)[np.newaxis] for name, part in parts.items()
        ]
    array = data.checked_array("y", y)
    if model.built:
        (shape,), takes_labels = model.runtime.output_shapes, chosen.loss.takes_labels
        is_number = array.shape in ((), (1,)) and (takes_labels or math.prod(shape) == 1)
        if array.shape != shape and not is_number:
            label = " or be a class label" if takes_labels else ""
            raise ValueError(f"y must have shape {shape}{label}, got {array.shape}")
    data.check_finite("y", array, model.dtype)
    return array[np.newaxis]
