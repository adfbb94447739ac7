"""Programs prepared for one row at a time, and for batches: a few microseconds per call.

Arguments go through a program prepared for them (`Prepared` in `native/prepared.pxi`), which
declines whatever is unusual; the caller then takes the general path, as for a batch.

One worker runs a program of one row, however wide the network: a row is finished before a team
has met often, and on a busy machine waiting for the others costs more than they contribute.
Predictions for few rows, and steps on batches, are run by a team if measurements have shown that it
pays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core import threads
from fastnn.native.engine import Prepared
from fastnn.program.graph import Graph
from fastnn.program.objective import Objective
from fastnn.program.purpose import Purpose
from fastnn.runtime.bound import Bound
from fastnn.runtime.turns import Turns

# Judges a step after which something may not be finite: takes the network, x, whether the step was
# made, and its loss, and returns the loss or raises. No other thread changes the network meanwhile.
Judge = Callable[[Any, Any, bool, float], float]

LEARNS, PREDICTS = PREPARED = Purpose.TRAIN, Purpose.PREDICT  # what can be prepared


@dataclass
class PreparedRows:
    """A program that takes one or more rows.

    Attributes
    ----------
    prepared : Prepared
    bound : Bound
    alone : int
        Largest number of rows for which one worker is enough.
    """

    prepared: Prepared
    bound: Bound
    alone: int

    @property
    def most(self) -> int:
        """Largest number of rows that it takes."""
        return self.bound.plan.capacity


class FastPath:
    """The programs of a network that are prepared for one row and for batches.

    Parameters
    ----------
    turns : Turns
        Where a thread has to wait for others, it takes the general path.

    Attributes
    ----------
    predictor : Prepared or None
        Predicts for one row.
    learner : PreparedRows or None
        Makes a step on one sample, or on a batch.
    weighted : PreparedRows or None
        Makes a step on a batch of samples that have weights.
    few_rows : PreparedRows or None
    few_rows_are_plain : bool
        Whether `prepare_few_rows` has found that batches of this network take the general path.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.predictor: Prepared | None = None
        self.learner: PreparedRows | None = None
        self.weighted: PreparedRows | None = None
        self.few_rows: PreparedRows | None = None
        self.few_rows_are_plain = False

    def forget(self, purpose: Purpose) -> None:
        """Drop the programs that were prepared for a purpose."""
        if purpose is LEARNS:
            self.learner = self.weighted = None
        elif purpose is PREDICTS:
            self.predictor = self.few_rows = None
            self.few_rows_are_plain = False

    # --- one row ------------------------------------------------------------------------------

    def try_predict_one(self, x: object) -> np.ndarray | None:
        """Return the output for one sample, or None where the general path must be taken."""
        predictor = self.predictor
        try:
            return None if predictor is None else predictor.predict_one(x)
        except ValueError:  # not a category of an Embedding; the general path says which
            return None

    def try_learn(
        self, x: object, y: object, objective: Objective, judge: Judge, network: object
    ) -> float | None:
        """Make one step on one sample and return its loss.

        Parameters
        ----------
        x, y : object
        objective : Objective
            The current training objective of the network.
        judge : callable
            See `Judge`.
        network : object
            What it is given.

        Returns
        -------
        float or None
            None where the general path must be taken.
        """
        learner = self.learner
        if learner is None or learner.prepared.objective is not objective:
            return None
        try:
            return learner.prepared.learn(x, y, objective.optimizer.__dict__, judge, network)
        except ValueError:  # as above; the step was not made
            return None

    # --- steps on batches ---------------------------------------------------------------------

    def try_learn_batch(
        self,
        x: object,
        y: object,
        weights: object,
        objective: Objective,
        judge: Judge,
        network: object,
    ) -> float | None:
        """Make one step on a batch and return its loss; see `try_learn`.

        Parameters
        ----------
        x, y : object
        weights : object
            Those of the samples, or None.
        objective : Objective
        judge, network
        """
        learner = self.learner if weights is None else self.weighted
        if learner is None or learner.prepared.objective is not objective:
            return None
        if type(y) is not np.ndarray or not y.ndim or len(y) == 1:  # one row may need a warning
            return None
        workers, is_recorded, prepared = 1, False, learner.prepared
        team = learner.bound.team(len(y)) if len(y) > learner.alone else None
        if team is not None:
            workers, is_recorded = team.next_call()
            if workers > prepared.workers:  # the number of threads allowed has grown
                self.forget(LEARNS)
                return None
        began = time.perf_counter()
        try:
            loss = prepared.learn_batch(
                x, y, weights, objective.optimizer.__dict__, judge, network, workers
            )
        except ValueError:  # as above
            return None
        if team is not None and loss is not None:
            seconds = time.perf_counter() - began
            learner.bound.record_call(team, workers, seconds, is_recorded)
        return loss

    def can_learn(self, objective: Objective, *, has_weights: bool = False) -> bool:
        """Whether steps are prepared for an objective, with its optimizer's settings."""
        learner = self.weighted if has_weights else self.learner
        return (
            learner is not None
            and learner.prepared.objective is objective
            and learner.prepared.has_settings(vars(objective.optimizer))
        )

    def prepare_predict_one(self, bound: Bound, graph: Graph) -> None:
        """Prepare a prediction of one row, unless the network needs the general path."""
        self.predictor = _prepared(bound, graph, turns=self._turns)

    def prepare_learn(
        self,
        bound: Bound,
        graph: Graph,
        objective: Objective,
        stretches: Sequence[tuple[np.ndarray, np.ndarray]],
        *,
        has_weights: bool = False,
    ) -> None:
        """Prepare steps on one sample and on batches, unless the network needs the general path.

        Parameters
        ----------
        bound : Bound
            The program TRAIN.
        graph : Graph
        objective : Objective
        stretches : sequence of (ndarray, ndarray)
            The parameters, and for each array one that it is copied to before each step.
        has_weights : bool, default False
            Whether the samples have weights.
        """
        loss, plan = objective.loss, bound.plan
        shape = graph.output_shapes[0]
        place, *of_weights = plan.externals.batches[len(graph.inputs) :]
        own, classes = ((), math.prod(shape)) if loss.takes_labels else (shape, 0)
        prepared = _prepared(
            bound,
            graph,
            rows=plan.capacity,
            workers=threads.get_num_threads(),
            target=(place, own, classes, loss.target_range),
            weights=of_weights[0] if has_weights else None,
            counter=bound.counter,
            stretches=stretches,
            objective=objective,
            settings=dict(vars(objective.optimizer)),
            turns=self._turns,
        )
        learner = None
        if prepared is not None:
            learner = PreparedRows(prepared, bound, _alone(plan.capacity, plan.work))
        if has_weights:
            self.weighted = learner
        else:
            self.learner = learner

    # --- few rows -----------------------------------------------------------------------------

    def try_predict_few(self, x: object) -> np.ndarray | None:
        """Return the outputs for few rows, or None where the general path must be taken."""
        few = self.few_rows
        if few is None or type(x) is not np.ndarray or x.ndim == 0:
            return None
        rows = len(x)
        try:
            if rows <= few.alone:
                return few.prepared.predict_few(x)
            return self._predict_by_a_team(few, x, rows) if rows <= few.most else None
        except ValueError:  # as above
            return None

    def _predict_by_a_team(self, few: PreparedRows, x: np.ndarray, rows: int) -> np.ndarray | None:
        """Return the outputs for few rows that may be worth more than one worker, or None."""
        team = few.bound.team(rows)
        workers, is_recorded = team.next_call()
        if workers > few.prepared.workers:  # the number of threads allowed has grown
            self.forget_few_rows()
            return None
        began = time.perf_counter()
        outputs = few.prepared.predict_few(x, workers)
        if outputs is not None:
            seconds = time.perf_counter() - began
            few.bound.record_call(team, workers, seconds, is_recorded)
        return outputs

    def forget_few_rows(self) -> None:
        """Drop the program for few rows, so that it is prepared anew."""
        self.few_rows = None

    @property
    def wants_few_rows(self) -> bool:
        """Whether to call `prepare_few_rows`: it has not been tried yet."""
        return self.few_rows is None and not self.few_rows_are_plain

    def prepare_few_rows(self, bound: Bound, graph: Graph) -> None:
        """Prepare the program that predicts up to the number of rows that it is planned for.

        Parameters
        ----------
        bound : Bound
            The program PREDICT.
        graph : Graph
        """
        plan = bound.plan
        output = _output_place(bound, graph)
        is_plain = plan.has_python or len(graph.inputs) > 1 or len(graph.outputs) > 1
        is_plain = is_plain or graph.has_lookups
        self.few_rows_are_plain = is_plain or output is None
        if self.few_rows_are_plain:
            return
        prepared = Prepared(
            bound.executor,
            plan.dtype,
            rows=plan.capacity,
            workers=threads.get_num_threads(),
            key=bound.key,
            work=plan.work(1),
            inputs=_input_places(bound, graph),
            output=output,
            turns=self._turns,
        )
        self.few_rows = PreparedRows(prepared, bound, _alone(plan.capacity, plan.effort))


def _alone(rows: int, work: Callable[[int], float]) -> int:
    """Return the largest of `rows`, its half, and so on, whose work is not worth a team."""
    while rows and threads.is_worth_a_team(work(rows)):
        rows //= 2
    return rows


def _prepared(bound: Bound, graph: Graph, **options: Any) -> Prepared | None:
    """Return a program prepared for one row or more; None where the general path must be taken."""
    plan = bound.plan
    if plan.has_python or plan.schedules or len(graph.outputs) > 1 or graph.has_lookups:
        return None  # Python runs in between or before, or a sample has several arrays
    return Prepared(
        bound.executor,
        plan.dtype,
        key=bound.key,
        work=plan.work(1),
        inputs=_input_places(bound, graph),
        output=_output_place(bound, graph),
        results=list(plan.externals.results.values()),
        **options,
    )


def _input_places(bound: Bound, graph: Graph) -> list[tuple[int, tuple[int, ...]]]:
    """Return the number of each input's place, and the shape of a sample."""
    places = bound.plan.externals.batches
    return [(place, shape) for place, (_, shape) in zip(places, graph.inputs, strict=False)]


def _output_place(bound: Bound, graph: Graph) -> tuple[int, tuple[int, ...]] | None:
    """Return the same for the prediction, if the program writes one."""
    place = bound.plan.externals.outputs.get("prediction")
    return None if place is None else (place, graph.output_shapes[0])
