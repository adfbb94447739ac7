"""The purposes that a program can have, and what it differentiates with respect to."""

from __future__ import annotations

from enum import IntFlag, StrEnum, auto
from functools import cached_property

from fastnn.core import hints


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
    ACCUMULATE
        As TRAIN, but without the optimizer: several of its steps share one update.
    LOSS_GRADIENTS
        Forward as in PREDICT, loss, backward; the gradients are results.
    TRAINING_LOSS_GRADIENTS
        The same, forward as in TRAIN.
    VJP
        Forward as in PREDICT, then backward from a gradient that the user supplies (a
        vector-Jacobian product); the gradients are results.
    TRAINING_VJP
        The same, forward as in TRAIN.

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
    ACCUMULATE = "accumulate"
    LOSS_GRADIENTS = "loss_gradients"
    TRAINING_LOSS_GRADIENTS = "training_loss_gradients"
    VJP = "vjp"
    TRAINING_VJP = "training_vjp"

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
        return self in (
            Purpose.TRAIN,
            Purpose.GRADIENTS,
            Purpose.ACCUMULATE,
            Purpose.TRAINING_LOSS_GRADIENTS,
            Purpose.TRAINING_VJP,
            Purpose.MANUAL,
        )

    @cached_property
    def differentiates(self) -> bool:
        """Whether it computes gradients, for which forward must keep what backward needs."""
        return self.is_training or self in (Purpose.LOSS_GRADIENTS, Purpose.VJP)

    @cached_property
    def returns_gradients(self) -> bool:
        """Whether gradients are its results, which leave the network's own gradients as they are.

        Those with respect to parameters then have an arena of their own.
        """
        return self in (
            Purpose.LOSS_GRADIENTS,
            Purpose.TRAINING_LOSS_GRADIENTS,
            Purpose.VJP,
            Purpose.TRAINING_VJP,
        )

    @cached_property
    def has_targets(self) -> bool:
        """Whether it has targets, and therefore losses and metrics."""
        return self in (
            Purpose.TRAIN,
            Purpose.GRADIENTS,
            Purpose.ACCUMULATE,
            Purpose.LOSS_GRADIENTS,
            Purpose.TRAINING_LOSS_GRADIENTS,
            Purpose.EVALUATE,
        )

    @cached_property
    def moves_statistics(self) -> bool:
        """Whether a step whose loss is finite moves the moving statistics of layers."""
        return self in (Purpose.TRAIN, Purpose.ACCUMULATE)

    @cached_property
    def updates(self) -> bool:
        """Whether a step changes the parameters and counts as an update of the optimizer."""
        return self in (Purpose.TRAIN, Purpose.UPDATE)

    @cached_property
    def checks_loss(self) -> bool:
        """Whether a run stops at a loss that is not finite, before the update of that step."""
        return self in (Purpose.TRAIN, Purpose.ACCUMULATE)

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


class Wrt(IntFlag):  # not Flag, whose hash is computed in Python
    """What a program differentiates with respect to.

    Attributes
    ----------
    PARAMETERS, INPUTS
        The parameters that learn; the network's inputs.
    BOTH
        Both of them.

    Examples
    --------
    >>> from fastnn.program.purpose import Wrt
    >>> Wrt.INPUTS in Wrt.BOTH, Wrt.INPUTS.section
    (True, 'backward to inputs')
    """

    PARAMETERS = auto()
    INPUTS = auto()
    BOTH = PARAMETERS | INPUTS

    @classmethod
    def asked_for(cls, wrt: object) -> Wrt:
        """Return what an argument asks for.

        Parameters
        ----------
        wrt : {"inputs", "parameters"} or sequence of them

        Raises
        ------
        ValueError, TypeError
            It is something else.
        """
        names = [wrt] if isinstance(wrt, str) else wrt
        expected = "wrt must be 'inputs', 'parameters' or both, ('inputs', 'parameters')"
        if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) for one in names):
            raise TypeError(f"{expected}, got {wrt!r}")
        found = cls(0)
        for name in names:
            if name not in WRT:
                raise ValueError(f"{expected}, got {name!r}{hints.did_you_mean(name, WRT)}")
            found |= WRT[name]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{expected}, got {wrt!r}")
        return found

    @property
    def section(self) -> str:
        """The section of the program MANUAL that computes these gradients."""
        return f"backward to {(self.name or '').lower()}"

    @property
    def parts(self) -> tuple[Wrt, ...]:
        """What the sections of the program MANUAL compute, once so much has been asked for."""
        return (self,) if self is Wrt.PARAMETERS else (Wrt.PARAMETERS, Wrt.INPUTS, Wrt.BOTH)


WRT = {"inputs": Wrt.INPUTS, "parameters": Wrt.PARAMETERS}  # as users write them
