"""The purposes that a program can have, and the properties that distinguish them."""

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
        As TRAIN, but without the update.
    EVALUATE
        Forward as in PREDICT, then loss and metrics.
    PREDICT
        Forward without dropout.
    MANUAL
        Forward in training, then backward from a gradient that the user supplies.
    UPDATE
        The optimizer alone.
    ACTIVATIONS
        Forward as in PREDICT; the output of every layer is kept.

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
        """Return the purpose that has the given name.

        Raises
        ------
        ValueError
            There is no purpose of that name.
        """
        if isinstance(program, str) and program in list(cls):
            return cls(program)
        raise ValueError(f"program must be one of {', '.join(cls)}, got {program!r}")

    @cached_property
    def is_training(self) -> bool:
        """Whether layers act as in training: with dropout, and with the statistics of the batch."""
        return self in (Purpose.TRAIN, Purpose.GRADIENTS, Purpose.MANUAL)

    @cached_property
    def has_targets(self) -> bool:
        """Whether it has targets, and therefore losses and metrics."""
        return self in (Purpose.TRAIN, Purpose.GRADIENTS, Purpose.EVALUATE)

    @cached_property
    def updates(self) -> bool:
        """Whether a step changes the parameters and counts as an update of the optimizer."""
        return self in (Purpose.TRAIN, Purpose.UPDATE)

    @cached_property
    def checks_loss(self) -> bool:
        """Whether a run stops at a loss that is not finite, before the update of that step."""
        return self is Purpose.TRAIN

    @cached_property
    def depends_on_optimizer(self) -> bool:
        """Whether the optimizer's settings are built into the program."""
        return self.updates

    @cached_property
    def needs_objective(self) -> bool:
        """Whether it depends on the arguments of `compile`, so that a new call replaces it."""
        return self.has_targets or self.updates

    @cached_property
    def depends_on_trainable(self) -> bool:
        """Whether it depends on which parameters learn, or how fast: only those have penalties."""
        return self not in (Purpose.PREDICT, Purpose.ACTIVATIONS)
