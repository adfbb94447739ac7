"""Learn a table: members of an ensemble, each on other folds, joined to one network.

The rows are split into folds. A member trains on all but one of them, and its best epoch is chosen
by the score on that one, so that together the members have predicted every row that they have not
seen. These out-of-fold predictions give scores, and calibrate the probabilities. The scores are a
little too good, because the same rows have chosen epochs, temperature and threshold: on 500 rows of
pure noise the area under the curve is 0.56 instead of 0.50. The members train at the same time, one
worker each, and end as one network whose output is their mean.

Considered and rejected: one network and one set of held-out rows. It is a fifth of the work, but
its error is 5 to 10 % larger on most tables, and its scores rest on a fifth of the rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np

from fastnn.core import checks, threads
from fastnn.model import Model
from fastnn.tabular import scores
from fastnn.tabular.calibration import best_temperature, best_threshold, decided, tempered
from fastnn.tabular.ensemble import joined_model, out_of_fold
from fastnn.tabular.folds import folds_of
from fastnn.tabular.member import LATE, STOPPED, Halt, Member, Trainer
from fastnn.tabular.plan import Progress, planned, within
from fastnn.tabular.recipes import RealMLP, Recipe, Task
from fastnn.tabular.scores import Score

FEWEST_OF_A_PART = 0.5  # share of its epochs that a member cut short has made to be kept


@dataclass
class Learned:
    """What was learned.

    Attributes
    ----------
    model : Model
        All members in one network: probabilities of shape (rows, classes), or standardised numbers
        of shape (rows, 1) or (rows, quantiles).
    members : list of Member
    score : Score
        By which best epochs were chosen.
    out_of_fold : ndarray of float32, shape (rows, outputs)
        Predictions of rows by members that have not seen them; NaN for rows of no member. Numbers
        lie in the range that the member trained on, as predictions lie in that of all rows.
    temperature : float
        By which logits were divided; 1 for numbers.
    threshold : float
        The probability from which the second of two classes is predicted: 0.5, or what a score of
        decisions likes best.
    scores : dict of str to float
        All scores of the task that are defined, on the out-of-fold predictions, in the target's
        unit. Every row counts the same, whatever its weight in the training.
    seconds : float
    stop_reason : str
        "completed", "interrupted", or that the time budget was used up.
    """

    model: Model
    members: list[Member]
    score: Score
    out_of_fold: np.ndarray
    temperature: float
    threshold: float
    scores: dict[str, float]
    seconds: float
    stop_reason: str


def learn(
    x: np.ndarray,
    y: np.ndarray,
    task: Task,
    *,
    recipe: Recipe | None = None,
    members: int | None = None,
    metric: str = "auto",
    weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    scale: float = 1.0,
    time_budget: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    began: float | None = None,
) -> Learned:
    """Train an ensemble.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, inputs)
        Encoded inputs.
    y : ndarray, shape (rows,)
        int64 numbers of classes, or float32 standardised numbers.
    task : Task
    recipe : Recipe, optional
        Default: `RealMLP()`.
    members : int, optional
        Default: 5 up to 100,000 rows, 3 up to 300,000, then 1.
    metric : str, default "auto"
        A score of `scores`, by which the best epoch is chosen; where the held-out rows do not
        define it (the area under the curve of rows of one class), it is log_loss, or rmse.
    weight : ndarray of float32, shape (rows,), optional
        Of each row, in training and in what is chosen by held-out rows: best epochs, temperature,
        threshold.
    groups : ndarray of int, shape (rows,), optional
        Rows of equal groups are held out together.
    scale : float, default 1.0
        The standard deviation that numbers were divided by, for scores in their unit.
    time_budget : float, optional
        Seconds that the training is to take; fewer epochs are made, and fewer members if need be.
    seed : int, default 0
    progress : Progress, optional
    stop : threading.Event, optional
        When it is set, members end after their epoch, and what they have reached is returned.
        Ctrl-C does the same in the main thread.
    began : float, optional
        When the time budget began, in `time.perf_counter`'s seconds; default: now.

    Returns
    -------
    Learned

    Raises
    ------
    ValueError
        There are too few rows, or the metric is one of another task.
    KeyboardInterrupt
        Before any member had an epoch.

    Notes
    -----
    Without a time budget, the result is the same to the last bit for any number of threads.

    Members that were cut short are averaged with the others only if they have made half of their
    epochs, or none of the others has ended: the first epochs of a schedule are far from the end.
    """
    began = time.perf_counter() if began is None else began
    score, fallback = chosen_scores(metric, task)
    if time_budget is not None:
        time_budget = checks.number("time_budget", time_budget, is_positive=True)
    recipe = RealMLP() if recipe is None else recipe
    is_told = progress is not None
    progress = Progress() if progress is None else progress
    halt = Halt(threading.Event() if stop is None else stop)
    generator = np.random.default_rng(seed)
    plan = planned(recipe, task, len(y), members)
    folds = folds_of(y if task.classes else None, plan.folds, len(y), generator, groups)
    seeds = generator.integers(0, 2**31, plan.members)
    trainer = Trainer(
        x, y, task, plan, score, fallback, weight, scale, progress, is_stopped=halt.is_set
    )
    if time_budget is not None or is_told:  # only they need to know the pace
        pace = trainer.pace(np.flatnonzero(folds != 0), int(seeds[0]), plan.threads_of(0))
        if time_budget is not None:
            trainer.deadline = began + time_budget
            plan = within(plan, pace, trainer.deadline - time.perf_counter())
            trainer.plan = plan
        progress.begin(plan.steps * plan.members, plan.rounds * plan.steps * pace, plan)
    has_one = threading.Event()

    def run(number: int) -> Member | None:
        if has_one.is_set() and (halt.is_set() or trainer.is_late):
            return None
        member = threads.at_most(
            plan.threads_of(number),
            trainer.member,
            np.flatnonzero(folds != number),
            np.flatnonzero(folds == number),
            int(seeds[number]),
        )
        _complete(member, trainer)
        has_one.set()
        return member

    try:
        made = _in_parallel(run, plan.members, plan.workers, halt)
    finally:
        progress.end()
    reason = "completed"
    reasons = {STOPPED if one is None and halt.is_set() else LATE if one is None
               else one.stop_reason for one in made}  # fmt: skip
    if STOPPED in reasons:
        reason = "interrupted"
    elif LATE in reasons:
        reason = f"the time budget of {time_budget:g} s was used up"
    found = _kept([one for one in made if one is not None])
    predicted = out_of_fold(found, x, task)
    known = np.flatnonzero(~np.isnan(predicted[:, 0]))
    truth, own = y[known], None if weight is None else weight[known]
    temperature, threshold = 1.0, 0.5
    if task.classes:
        if recipe.has_logits:
            temperature = best_temperature(predicted[known], truth, own)
            predicted[known] = tempered(predicted[known], temperature)
        if task.classes == 2 and score.of_decisions:
            threshold = best_threshold(predicted[known], truth, score, own)
    return Learned(
        joined_model([member.model for member in found], recipe, task, temperature, seed),
        found,
        score,
        predicted,
        temperature,
        threshold,
        _all_scores(truth, predicted[known], task, scale, threshold),
        time.perf_counter() - began,
        reason,
    )


def chosen_scores(metric: str, task: Task) -> tuple[Score, Score]:
    """Return the score that chooses best epochs, and the one for rows that do not define it.

    Parameters
    ----------
    metric : str
    task : Task

    Raises
    ------
    ValueError
        There is no such metric, or it is one of another task; quantiles have their own.
    """
    kind = scores.CLASSES if task.classes else scores.NUMBERS
    if task.quantiles:
        if metric not in ("auto", "pinball"):
            raise ValueError(
                f"metric must be 'auto' or 'pinball' for quantiles, which have a loss of their "
                f"own, got {metric!r}"
            )
        score = scores.of_quantiles(task.quantiles)
        return score, score
    return scores.get(metric, kind, task.classes), scores.fallback(kind)


def _complete(member: Member, trainer: Trainer) -> None:
    """Give a member whose last epoch Ctrl-C ended amid its records what they lack.

    Raises
    ------
    KeyboardInterrupt
        It was the first epoch, and its loss is lost.
    """
    if len(member.losses) <= member.best_epoch:
        if not member.losses:
            raise KeyboardInterrupt
        member.losses.append(member.losses[-1])
    if len(member.curve) <= member.best_epoch:
        loss = trainer.loss_of(member)  # its weights are those of the best epoch
        member.curve.append(-loss if member.score.is_better_high else loss)
    del member.losses[len(member.curve) :]


def _kept(made: list[Member]) -> list[Member]:
    """Return the members that are worth averaging."""
    if not any(member.has_ended for member in made):
        return made
    least = FEWEST_OF_A_PART
    return [one for one in made if one.has_ended or len(one.curve) >= least * one.epochs]


def _in_parallel(
    run: Callable[[int], Member | None], count: int, workers: int, halt: Halt
) -> list[Member | None]:
    """Return the members; Ctrl-C in this thread, or an error in a member, ends all of them."""
    if workers == 1:
        made: list[Member | None] = []
        for number in range(count):
            try:
                made.append(run(number))
            except KeyboardInterrupt:
                if not made:
                    raise
                halt.set()
                made.append(None)
            if made[-1] is not None and made[-1].stop_reason == STOPPED:
                halt.set()
        return made
    members: list[Future[Member | None]] = [Future() for _ in range(count)]

    def work(number: int) -> None:
        member = members[number]
        if not member.set_running_or_notify_cancel():
            return
        try:
            member.set_result(run(number))
        except BaseException as error:
            member.set_exception(error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for number in range(count):
                # Ctrl-C may come between the start of a thread and the return of `submit`; what has
                # begun is known by `members`, not by what `submit` returned.
                pool.submit(copy_context().run, work, number)
            wait(members, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            halt.set()
            if all([one.cancel() for one in members]):
                raise
        except BaseException:
            halt.set()
            raise
        begun = [one for one in members if not one.cancelled()]
        if any(one.done() and one.exception() is not None for one in begun):
            halt.set()
        if halt.is_set():
            begun = [one for one in members if not one.cancel()]
    wait(begun)  # a thread whose start Ctrl-C came into is unknown to the pool
    for one in begun:
        if (error := one.exception()) is not None:
            raise error
    return [one.result() if one in begun else None for one in members]


def _all_scores(
    truth: np.ndarray, predicted: np.ndarray, task: Task, scale: float, threshold: float
) -> dict[str, float]:
    """Return all scores of a task that are defined; of quantiles, their pinball loss."""
    if task.classes:
        decisions = predicted.argmax(axis=1)
        if task.classes == 2 and threshold != 0.5:
            decisions = decided(predicted, threshold).argmax(axis=1)
        return scores.defined(scores.CLASSES, truth, predicted, decisions)
    truth, predicted = truth.astype(np.float64) * scale, predicted.astype(np.float64) * scale
    if task.quantiles:
        score = scores.of_quantiles(task.quantiles)
        return {score.name: score(truth, predicted)}
    return scores.defined(scores.NUMBERS, truth, predicted[:, 0], predicted[:, 0])
