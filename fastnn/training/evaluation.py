"""`evaluate` and `predict`: one pass over all rows, with fixed parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.data import Steps
from fastnn.data.adapter import adapter_of
from fastnn.data.base import DataAdapter, Given
from fastnn.network import Network
from fastnn.runtime import ROWS, Bound, Purpose, Run
from fastnn.training.accumulator import Accumulator
from fastnn.training.kept import KeptEvaluation, kept_data, taken, told_apart
from fastnn.training.progress import PassProgress, verbosity


def predict_rows(
    network: Network, x: object, batch_size: int = ROWS, verbose: int = 0
) -> list[np.ndarray]:
    """Return the outputs for x; see `Model.predict`. Few rows prepare the fast path."""
    with network.built_on_trial():
        given = Given(network.specify, x, has_targets=False)
        adapter = adapter_of(given)
        if verbose:
            with _shown(verbose, "predict", given, adapter) as progress:
                outputs, bound = predict(network, adapter, batch_size, progress)
                progress.end({})
        else:
            outputs, bound = predict(network, adapter, batch_size)
    fast_path = network.runtime.fast_path
    if bound is not None and fast_path.wants_few_rows:
        fast_path.prepare_few_rows(bound, network.graph)
    return outputs


def evaluate_rows(
    network: Network,
    x: object,
    y: object,
    sample_weight: object,
    batch_size: object = ROWS,
    verbose: object = 0,
) -> dict[str, Any]:
    """Return loss and metrics for x and y; see `Model.evaluate`."""
    batch, shown = checked_options(batch_size, verbose)
    if isinstance(sample_weight, Number):
        raise TypeError(
            f"sample_weight must have shape (rows,), got {sample_weight!r}; batch_size is given by "
            "name"
        )
    network.require_objective()
    key = None if shown or sample_weight is not None else told_apart(x, y, batch)
    kept, is_repeated = taken(network, "evaluate", key)
    if kept is not None and kept.suits(network):
        logs = kept.logs(network)
        network.kept["evaluate"] = kept
        return logs
    with network.built_on_trial():
        given = Given(network.specify, x, y, sample_weight)
        adapter = adapter_of(given)
        if not shown:
            logs = evaluate(network, adapter, batch, key=key if is_repeated else None)
            if key is not None:
                network.kept.setdefault("evaluate", key)
            return logs
        with _shown(shown, "evaluate", given, adapter) as progress:
            results = evaluate(network, adapter, batch, progress)
            progress.end(results)
        return results


def checked_options(batch_size: object, verbose: object) -> tuple[int, int]:
    """Return how many rows to compute at a time, and what to show.

    Raises
    ------
    ValueError
        The message names the argument, what came and what was expected.
    """
    return checks.integer("batch_size", batch_size), verbosity(verbose, auto=0)


def evaluate(
    network: Network,
    adapter: DataAdapter,
    batch_size: int = ROWS,
    progress: PassProgress | None = None,
    key: tuple[Any, ...] | None = None,
) -> dict[str, Any]:
    """Return loss and metrics of all samples.

    Parameters
    ----------
    network : Network
        Compiled.
    adapter : DataAdapter
    batch_size : int, default 512
        Rows computed at a time.
    progress : PassProgress, optional
    key : tuple, optional
        What tells the arrays apart from others, if the next call may be given the same.

    Returns
    -------
    dict of str to float
        See `Model.evaluate`.
    """
    accumulator: Accumulator | None = None
    parts = adapter.once(batch_size)
    try:
        for steps in parts:
            data.not_empty(steps.rows)
            _set_batch(steps, batch_size)
            bound = network.runtime.bound(
                Purpose.EVALUATE, steps.batch, steps.target_types, steps.sparse, collects=True
            )
            accumulator = accumulator or Accumulator(bound.plan.program, network.dtype)
            results = np.empty((steps.count, len(bound.plan.program.results)))
            room = accumulator.room(steps)
            run = bound.prepare(steps, results=results, outputs=room)
            with network.turns.look():
                run.all() if progress is None else _show_all(run, progress)
            accumulator.add(steps, results, room)
            data_kept = None if room else kept_data(network, adapter, key)
            if data_kept is not None:
                network.kept["evaluate"] = KeptEvaluation(data_kept, run, results)
    finally:
        parts.close()
    if accumulator is None:
        raise ValueError("x must yield at least one batch, got none")
    return accumulator.logs()


def predict(
    network: Network,
    adapter: DataAdapter,
    batch_size: int = ROWS,
    progress: PassProgress | None = None,
) -> tuple[list[np.ndarray], Bound | None]:
    """Return the outputs for all rows.

    Parameters
    ----------
    network : Network
    adapter : DataAdapter
        Without targets.
    batch_size : int, default 512
        Rows computed at a time; does not change the result.
    progress : PassProgress, optional

    Returns
    -------
    outputs : list of ndarray, shape (rows, *output_shape)
    bound : Bound or None
        The program, if all rows were one array in memory that a fast path may take next time.
    """
    made: list[list[np.ndarray]] = []
    bound: Bound | None = None
    parts = adapter.once(batch_size)
    is_plain = False
    try:
        for steps in parts:
            outputs = [np.empty((steps.rows, *shape), network.dtype) for shape in
                       network.output_shapes]  # fmt: skip
            if steps.rows:
                _set_batch(steps, batch_size)
                bound = network.runtime.bound(Purpose.PREDICT, steps.batch, sparse=steps.sparse)
                names = [value.name for value in bound.plan.program.outputs]
                run = bound.prepare(steps, outputs=dict(zip(names, outputs, strict=True)))
                with network.turns.look():
                    run.all() if progress is None else _show_all(run, progress)
            is_plain = bool(steps.rows) and not steps.sparse
            made.append(outputs)
    finally:
        parts.close()
    if not made:
        raise ValueError("x must yield at least one batch, got none")
    joined = [
        arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        for arrays in zip(*made, strict=True)
    ]
    return joined, bound if len(made) == 1 and is_plain else None


def _set_batch(steps: Steps, batch_size: int) -> None:
    """Take `batch_size` rows at a time, but do not plan for more than the data may have."""
    steps.batch = min(batch_size, max(steps.rows, ROWS))


def _show_all(run: Run, progress: PassProgress) -> None:
    """Make all steps of a run, and show how far it is."""
    steps, first = run.steps, 0
    while first < steps.count:
        done = run.slice(first)[0]
        begin, first = first * steps.batch, first + done
        progress.advance(min(first * steps.batch, steps.rows) - begin)


@contextlib.contextmanager
def _shown(verbose: int, name: str, given: Given, adapter: DataAdapter) -> Iterator[PassProgress]:
    """Return the progress of a pass, which is closed at its end."""
    progress = PassProgress(verbose, name, None if given.is_batches else adapter.first().rows)
    try:
        yield progress
    finally:
        progress.close()
