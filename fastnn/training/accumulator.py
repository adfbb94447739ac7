"""Accumulates the results of an epoch or an evaluation part by part: loss and metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.metrics import Collected, EpochMetric
from fastnn.program.lower import Program
from fastnn.program.objective import Reported, weight_result
from fastnn.runtime import Steps

_STATE = ("_sums", "_count", "_targets", "_target_types", "_predictions")


class Accumulator:
    """Accumulates the results of the steps of several parts.

    Parameters
    ----------
    program : Program
        The program that computes the results; another with the same measures may continue.
    dtype : {"float32", "float64"}
    """

    def __init__(self, program: Program, dtype: str) -> None:
        self._program, self._dtype = program, dtype
        # The sum of each result over the samples. Numbers of Python, not an array: the epochs of a
        # small network often have one step, and take microseconds.
        self._sums = [0.0] * len(program.results)
        self._count = 0
        self._targets: list[list[np.ndarray]] = []
        self._target_types: list[tuple[str, ...]] = []
        self._predictions: list[dict[str, np.ndarray]] = []
        self._inputs = len(program.inputs) - len(program.targets)

    def room(self, steps: Steps) -> dict[str, np.ndarray]:
        """Return arrays for the outputs that the program collects from all rows of a part."""
        outputs = self._program.outputs
        if not outputs:  # as usual, and an epoch may take microseconds
            return {}
        return {value.name: np.empty((steps.rows, *value.shape), self._dtype) for value in outputs}

    def add(
        self, steps: Steps, results: np.ndarray, room: dict[str, np.ndarray], first: int = 0
    ) -> None:
        """Add steps that were run on a part, with one row of results for each.

        Parameters
        ----------
        steps : Steps
        results : ndarray, shape (count, results)
        room : dict of str to ndarray
            From the method of this name.
        first : int, default 0
            The first of the steps.
        """
        if not len(results):
            return
        begin = first * steps.batch
        end = min(begin + len(results) * steps.batch, steps.rows)
        # Summed step by step, so that the sums do not depend on how steps are divided into parts.
        if len(results) == 1:
            rows = end - begin
            self._sums = [
                rows * one + before
                for one, before in zip(results[0].tolist(), self._sums, strict=True)
            ]
        else:
            sums = results * float(steps.batch)
            last = end - begin - (len(results) - 1) * steps.batch
            if last < steps.batch:
                sums[-1] = results[-1] * last
            sums[0] += self._sums
            self._sums = np.add.accumulate(sums, out=sums)[-1].tolist()
        self._count += end - begin
        if room:
            order = np.arange(begin, end) if steps.order is None else steps.order[begin:end]
            self._predictions.append({name: array[begin:end] for name, array in room.items()})
            self._target_types.append(steps.target_types)
            self._targets.append([source.take(order) for source in steps.sources[self._inputs :]])

    def get_state(self) -> dict[str, Any]:
        """Return what has been added so far, as plain data."""
        return {name: value for name, value in vars(self).items() if name in _STATE}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned.

        Raises
        ------
        ValueError
            It has not returned this.
        """
        sums, count, targets, types, predictions = (state[name] for name in _STATE)
        names = {value.name for value in self._program.outputs}
        width = len(self._program.inputs) - self._inputs
        is_whole = (
            isinstance(sums, list)
            and len(sums) == len(self._program.results)
            and all(type(one) is float for one in sums)
            and type(count) is int
            and count >= 0
            and len(targets) == len(types) == len(predictions)
        )
        for part, kinds, made in zip(targets, types, predictions, strict=False):
            arrays = [*part, *made.values()]
            is_whole = (
                is_whole
                and len(part) == len(kinds) == width
                and set(made) == names
                and all(isinstance(kind, str) for kind in kinds)
                and all(isinstance(one, np.ndarray) and one.ndim for one in arrays)
                and len({len(one) for one in arrays}) == 1
            )
        if not is_whole:
            raise ValueError("the results of the epoch do not fit the model")
        vars(self).update(state)

    def logs(self) -> dict[str, Any]:
        """Return each result: a mean over the samples, or computed from all of them at once."""
        count = self._count
        return self._logs([one / count for one in self._sums]) if count else {}

    def logs_of_step(self, results: np.ndarray) -> dict[str, Any]:
        """Return the results of one step, except those that need all samples."""
        return {
            name: value
            for name, value in self._logs(results[0].tolist(), is_step=True).items()
            if value is not None
        }

    def _logs(self, means: list[float], *, is_step: bool = False) -> dict[str, Any]:
        columns = dict(zip(self._program.results, means, strict=True))
        logs: dict[str, Any] = {}
        for measure in self._program.reported:
            metric = measure.metric
            if metric is not None and isinstance(metric, EpochMetric):
                logs[measure.name] = None if is_step else metric.compute(self._collected(measure))
            else:
                mean = columns[measure.name]
                if measure.weight is not None:
                    whole = columns[weight_result(measure.weight)]
                    mean = mean / whole if whole else math.nan
                logs[measure.name] = mean if metric is None else metric.finish(mean)
        return logs

    def _collected(self, measure: Reported) -> Collected:
        value = next(v for v in self._program.outputs if v.name == measure.collected)
        predictions = np.concatenate([made[value.name] for made in self._predictions])
        target_types = [target_types[measure.output] for target_types in self._target_types]
        targets = [targets[measure.output] for targets in self._targets]
        shape = () if set(target_types) == {"label"} else value.shape
        if shape:  # some batches may have labels, others probabilities
            targets = [
                np.eye(shape[-1])[part[:, 0]] if target_type == "label" else part
                for part, target_type in zip(targets, target_types, strict=True)
            ]
        # As the program sees them, whatever dtype the data have.
        target = np.concatenate(targets).astype(self._dtype if shape else np.int64, copy=False)
        weight = None
        if measure.weight is not None:
            position = self._target_types[0].index("weight") + measure.weight
            parts = [targets[position][:, 0] for targets in self._targets]
            weight = np.concatenate(parts).astype(self._dtype, copy=False)
        return Collected(
            target.reshape(len(target), *shape),
            predictions,
            measure.is_binary,
            measure.is_logit,
            weight,
        )
