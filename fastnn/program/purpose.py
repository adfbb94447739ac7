"""What a program is for: the one list of them, and what distinguishes them."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property


class Purpose(StrEnum):
    """What a program of a network is for.

    Attributes
    ----------
    TRAIN
        One step: forward, loss, metrics, backward, update.
    GRADIENTS
        The same without the update.
    EVALUATE
        Forward as in PREDICT, loss and metrics.
    PREDICT
        Forward, dropout left out.
    MANUAL
        Forward in training, then backward from a gradient that the user gives.
    UPDATE
        The optimizer alone.
    ACTIVATIONS
        Forward as in PREDICT; what every layer outputs is kept.

    Examples
    --------
    >>> from fastnn.program.purpose import Purpose
    >>> Purpose("train").updates, Purpose.GRADIENTS.updates
    (True, False)
    """

    TRAIN = "train"
    GRADIENTS = "gradients"
    EVALUATE = "evaluate"
    PREDICT = "predict"
    MANUAL = "manual"
    UPDATE = "update"
    ACTIVATIONS = "activations"

    @classmethod
    def named(cls, program: object) -> Purpose:
        """Return the purpose of a name that a user gives.

        Raises
        ------
        ValueError
            There is no such program.
        """
        if isinstance(program, str) and program in list(cls):
            return cls(program)
        raise ValueError(f"program must be one of {', '.join(cls)}, got {program!r}")

    @cached_property
    def is_training(self) -> bool:
        """Whether layers behave as in training: dropout drops, statistics are the batch's."""
        return self in (Purpose.TRAIN, Purpose.GRADIENTS, Purpose.MANUAL)

    @cached_property
    def has_targets(self) -> bool:
        """Whether targets, and so losses and metrics, belong to it."""
        return self in (Purpose.TRAIN, Purpose.GRADIENTS, Purpose.EVALUATE)

    @cached_property
    def updates(self) -> bool:
        """Whether a step changes the parameters, and counts as an update of the optimizer."""
        return self in (Purpose.TRAIN, Purpose.UPDATE)

    @cached_property
    def checks_loss(self) -> bool:
        """Whether a run ends at a loss that is not finite, before the update of that step."""
        return self is Purpose.TRAIN

    @cached_property
    def depends_on_optimizer(self) -> bool:
        """Whether the optimizer's settings are built into it."""
        return self.updates

    @cached_property
    def needs_objective(self) -> bool:
        """Whether it is made from what `compile` was told, and another call makes another one."""
        return self.has_targets or self.updates

    @cached_property
    def depends_on_trainable(self) -> bool:
        """Whether it is made from which parameters learn, or how fast: penalties are of those."""
        return self not in (Purpose.PREDICT, Purpose.ACTIVATIONS)
