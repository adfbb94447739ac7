"""`predict_one` and `learn_one`: one sample at a time, in a few microseconds; and few at a time.

A sample goes through a program prepared for one row (`OneRow` in `native/one_row.pxi`), which
declines whatever is unusual. That, and the first sample, goes the plain way, as a batch of one.

One worker runs it, however wide the network: a row is over before a team has met often, and on a
busy machine waiting for the others costs more than they bring. `predict` takes batches of few rows
the same way (`FewRows` in `native/few_rows.pxi`), by a team where that has been measured to pay.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from fastnn import data
from fastnn.core import threads
from fastnn.layers import Shape
from fastnn.native.engine import FewRows, OneRow
from fastnn.runtime import Bound, Objective, Runtime, aligned
from fastnn.training import nonfinite

if TYPE_CHECKING:
    from fastnn.model import Model


def predict(model: Model, x: object) -> np.ndarray | list[np.ndarray]:
    """Return the output for one sample; see `Model.predict_one`."""
    output = quick_prediction(model, x)
    if output is not None:
        return output
    outputs = model.predict(_inputs(model, x))
    if "predict" not in model.runtime.one_row:
        prepare(model.runtime, "predict")
    return [array[0] for array in outputs] if isinstance(outputs, list) else outputs[0]


def quick_prediction(model: Model, x: object) -> np.ndarray | None:
    """Return the output for one sample, or None where the plain way must be taken."""
    runtime = model._runtime  # the property would take a tenth of the time
    prepared = None if runtime is None else runtime.one_row.get("predict")
    try:
        return None if prepared is None else prepared.predict(x)
    except ValueError:  # no category of an Embedding; the plain way says which
        return None


def prediction_of_few(model: Model, x: object) -> np.ndarray | None:
    """Return the outputs for few rows, or None where the plain way must be taken."""
    runtime = model._runtime
    prepared = None if runtime is None else runtime.few_rows
    if not isinstance(prepared, FewRows) or type(x) is not np.ndarray or x.ndim == 0:
        return None
    rows = len(x)
    try:
        if rows <= prepared.alone:
            return prepared.predict(x)
        return _prediction_by_a_team(model.runtime, prepared, x, rows)
    except ValueError:  # as above
        return None


def _prediction_by_a_team(
    runtime: Runtime, prepared: FewRows, x: np.ndarray, rows: int
) -> np.ndarray | None:
    """Return the outputs for few rows that more than one worker may be worth, or None."""
    if rows > prepared.most:
        return None
    pace = runtime.bound("predict", prepared.most).pace(rows)
    _, workers = pace.next(1)
    if workers > prepared.workers:  # more threads are allowed since
        runtime.few_rows = None
        return None
    began = time.perf_counter()
    outputs = prepared.predict(x, workers)
    if outputs is not None:
        pace.record(1, workers, time.perf_counter() - began)
    return outputs


def prepare_for_few(runtime: Runtime, bound: Bound) -> None:
    """Prepare the program that predicts for as many rows as it is planned for."""
    plan, inputs = bound.plan, runtime.graph.inputs
    has_places = {"input 0", "output prediction"} <= set(plan.externals())
    runtime.few_rows = False
    if plan.has_python or len(inputs) > 1 or len(runtime.output_shapes) > 1 or not has_places:
        return  # the plain way
    alone = plan.capacity
    while alone and threads.is_worth_a_team(plan.effort(alone)):
        alone //= 2
    runtime.few_rows = FewRows(
        bound.executor,
        plan.capacity,
        alone,
        inputs[0][1],
        runtime.output_shapes[0],
        runtime.dtype,
        key=runtime.key,
        work=plan.work(1),
        workers=threads.get_num_threads(),
    )


def learn(model: Model, x: object, y: object) -> float:
    """Make one step on one sample and return its loss; see `Model.learn_one`."""
    runtime, chosen = model._runtime, model._compiled()
    prepared = None if runtime is None else runtime.one_row.get("train")
    if prepared is not None and prepared.objective is chosen:
        try:
            loss = prepared.learn(x, y, chosen.optimizer.__dict__)
        except ValueError:  # as above; the step was not made
            loss = None
        if loss is not None:
            return loss if loss == loss else _checked_loss(model, prepared, x, y)
    batch = _inputs(model, x)
    loss = model.train_on_batch(batch, _target(model, chosen, y))
    prepared = model.runtime.one_row.get("train")
    if prepared is None or not (
        prepared.objective is chosen and prepared.has_settings(vars(chosen.optimizer))
    ):
        prepare(model.runtime, "train")
    return loss


def prepare(runtime: Runtime, name: str) -> None:
    """Prepare a program for one row."""
    chosen = runtime.objective
    if len(runtime.output_shapes) > 1:
        return  # several arrays a sample: the plain way
    takes_labels = chosen is not None and chosen.loss.takes_labels
    bound = runtime.bound(name, 1, "label" if name == "train" and takes_labels else "real")
    if bound.plan.has_python:
        return  # Python runs in between: the plain way
    dtype, (shape,) = runtime.dtype, runtime.output_shapes
    training_only: dict = {}
    if name == "train":
        assert chosen is not None
        training_only = {
            "target": aligned((), "int32") if takes_labels else aligned(shape, dtype),
            "classes": math.prod(shape) if takes_labels else 0,
            "target_range": chosen.loss.target_range,
            "counter": runtime.counter,
            "parameters": runtime.arenas["parameters"],
            "snapshot": runtime.snapshot(),
            "objective": chosen,
            "settings": dict(vars(chosen.optimizer)),
        }
    runtime.one_row[name] = OneRow(
        bound.executor,
        [aligned(shape, dtype) for _, shape in runtime.graph.inputs],
        shape,
        bound.plan.program.results,
        key=runtime.key,
        work=bound.plan.work(1),
        **training_only,
    )


def _checked_loss(model: Model, prepared: OneRow, x: object, y: object) -> float:
    """Return the loss of a step after all, or put the model back and raise."""
    runtime, chosen = model.runtime, model._compiled()
    if prepared.is_done and not nonfinite.not_finite(runtime):
        return prepared.loss  # large parameters: the sum of their squares was not finite
    sources, target_types = model.training_data(_inputs(model, x), _target(model, chosen, y))
    bound = runtime.bound("train", 1, target_types)
    raise nonfinite.refused_step(
        model, bound, sources, prepared.is_done, prepared.loss, runtime.last_snapshot()
    )


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
