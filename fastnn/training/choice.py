"""The choice of the trainer, which a network's optimizer makes."""

from __future__ import annotations

from fastnn.network import Network
from fastnn.training.gradient_accumulation import AccumulatingTrainer
from fastnn.training.step_trainer import StepTrainer
from fastnn.training.trainers import Trainer


class Trainers:
    """The trainers that an optimizer may choose from.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def steps(self) -> Trainer:
        """Return the trainer for an optimizer that updates the parameters step by step."""
        return StepTrainer(self._network)

    def accumulated_steps(self) -> Trainer:
        """Return the trainer for an optimizer that updates them once in several steps."""
        return AccumulatingTrainer(self._network)

    def iterations(self) -> Trainer:
        """Return the trainer for an optimizer whose iterations SciPy runs.

        Raises
        ------
        ImportError
            SciPy is not installed.
        """
        from fastnn.training.lbfgs import IterationTrainer  # only if it is needed

        return IterationTrainer(self._network)


def trainer_of(network: Network) -> Trainer:
    """Return the trainer that the optimizer of a compiled network chooses."""
    return network.optimizer.trainer(Trainers(network))
