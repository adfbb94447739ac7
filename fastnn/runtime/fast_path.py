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

import numpy as np

from fastnn.core import threads
from fastnn.native.engine import FewRows, OneRow
from fastnn.runtime import Bound, Runtime, aligned


def prediction_of_one(runtime: Runtime, x: object) -> np.ndarray | None:
    """Return the output for one sample, or None where the plain way must be taken."""
    prepared = runtime.one_row.get("predict")
    try:
        return None if prepared is None else prepared.predict(x)
    except ValueError:  # no category of an Embedding; the plain way says which
        return None


def prediction_of_few(runtime: Runtime, x: object) -> np.ndarray | None:
    """Return the outputs for few rows, or None where the plain way must be taken."""
    prepared = runtime.few_rows
    if not isinstance(prepared, FewRows) or type(x) is not np.ndarray or x.ndim == 0:
        return None
    rows = len(x)
    try:
        if rows <= prepared.alone:
            return prepared.predict(x)
        return _prediction_by_a_team(runtime, prepared, x, rows)
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


def step_on_one(runtime: Runtime, x: object, y: object) -> tuple[float, OneRow] | None:
    """Make a step on one sample; return its loss, NaN where a closer look is needed, or None.

    None says that nothing has changed and the plain way must be taken.
    """
    prepared, objective = runtime.one_row.get("train"), runtime.objective
    if prepared is None or objective is None or prepared.objective is not objective:
        return None
    try:
        loss = prepared.learn(x, y, objective.optimizer.__dict__)
    except ValueError:  # as above; the step was not made
        return None
    return None if loss is None else (loss, prepared)


def is_prepared_to_step(runtime: Runtime) -> bool:
    """Whether the next step on one sample can be quick."""
    prepared, objective = runtime.one_row.get("train"), runtime.objective
    return (
        prepared is not None
        and objective is not None
        and prepared.objective is objective
        and prepared.has_settings(vars(objective.optimizer))
    )


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
