"""How a table is learned: how many networks, for how many epochs, how many at the same time.

And what is told of it while it runs: `Progress`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastnn.core import threads
from fastnn.tabular.recipes import Recipe, Task

if TYPE_CHECKING:
    from fastnn.tabular.encoding import Encoding
    from fastnn.tabular.target import Target

FOLDS = 5  # at least
FEWEST_EPOCHS = 4  # that a time budget may leave
SHARE_OF_BUDGET = 0.9  # that is planned; the rest is for what was measured too short


@dataclass(frozen=True)
class Plan:
    """How a table is learned.

    Attributes
    ----------
    recipe : Recipe
    members, folds : int
    epochs, batch_size : int
        Of a member.
    rows : int
        Rows that a member trains on, if all folds are equal.
    workers : int
        How many members train at the same time.
    """

    recipe: Recipe
    members: int
    folds: int
    epochs: int
    batch_size: int
    rows: int
    workers: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of a member."""
        return self.steps_for(self.rows)

    @property
    def steps(self) -> int:
        """Steps of a member."""
        return self.epochs * self.steps_per_epoch

    @property
    def rounds(self) -> int:
        """How many members each worker trains, one after the other."""
        return -(-self.members // self.workers)

    def threads_of(self, member: int) -> int:
        """Return how many threads a member may use: those of the last round share all.

        Parameters
        ----------
        member : int
            Counted from 0.
        """
        last_round = self.members - (self.rounds - 1) * self.workers
        at_once = last_round if member >= self.members - last_round else self.workers
        return max(threads.get_num_threads() // at_once, 1)

    def steps_for(self, rows: int) -> int:
        """Return the steps of an epoch over so many rows."""
        return -(-rows // self.batch_size)


def planned(recipe: Recipe, task: Task, rows: int, members: int | None = None) -> Plan:
    """Return the plan for so many rows.

    Parameters
    ----------
    recipe : Recipe
    task : Task
    rows : int
    members : int, optional
        Default: 5 up to 100,000 rows, 3 up to 300,000, then 1.

    Raises
    ------
    ValueError
        There are too few rows.

    Examples
    --------
    >>> from fastnn.tabular.recipes import RealMLP, Task
    >>> plan = planned(RealMLP(), Task(3, 0, []), 1000)
    >>> plan.members, plan.rows, plan.batch_size, plan.steps_per_epoch
    (5, 800, 64, 13)
    """
    if rows < 2 * FOLDS:
        raise ValueError(f"there must be at least {2 * FOLDS} rows to learn from, got {rows}")
    if members is None:
        members = 5 if rows <= 100_000 else 3 if rows <= 300_000 else 1
    folds = max(members, FOLDS)
    if rows < 2 * folds:
        raise ValueError(
            f"members: {members} networks, each of which holds other rows out, need at least "
            f"{2 * folds} rows, got {rows}"
        )
    train = rows - rows // folds
    workers = min(threads.get_num_threads(), members)
    batch = recipe.rows_of_a_step(train)
    return Plan(recipe, members, folds, recipe.epochs_for(train, task), batch, train, workers)


def within(plan: Plan, pace: float, seconds: float) -> Plan:
    """Return a plan that fits a time: fewer epochs, and if they get too few, fewer members.

    Parameters
    ----------
    plan : Plan
    pace : float
        Seconds of a step.
    seconds : float

    Examples
    --------
    >>> from fastnn.tabular.recipes import RealMLP
    >>> plan = within(planned(RealMLP(epochs=100), Task(3, 0, []), 1000), 0.01, 5.0)
    >>> plan.epochs < 100
    True
    """
    left = max(SHARE_OF_BUDGET * seconds, 0.0)
    while True:
        most = left / (plan.rounds * plan.steps_per_epoch * pace)
        if most >= min(FEWEST_EPOCHS, plan.epochs) or plan.rounds == 1:
            return replace(plan, epochs=max(int(min(plan.epochs, most)), 1))
        # One round less: members of a round that is not full would save no time.
        plan = replace(plan, members=(plan.rounds - 1) * plan.workers)


class Progress:
    """What is told of a training; this one tells nothing.

    `encoded` gets what was decided for the columns and the target, `begin` the number of steps of
    all members and an estimate of the seconds, `advance` the steps made since, `end` nothing.
    Members call `advance` from their own threads, possibly at the same time.
    """

    def encoded(self, encoding: Encoding, target: Target) -> None:
        """Show what will be learned from what."""

    def begin(self, steps: int, seconds: float, plan: Plan) -> None:
        """Begin."""

    def advance(self, steps: int, score: float) -> None:
        """Go on; `score` is that of the member's last epoch."""

    def end(self) -> None:
        """End, also if the training failed."""
