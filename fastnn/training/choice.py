"""Which trainer a network is trained by: its optimizer chooses."""

from __future__ import annotations

from fastnn.network import Network
from fastnn.training.step_trainer import StepTrainer
from fastnn.training.trainers import Trainer


class Trainers:
    """The trainers that an optimizer may ask for.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def steps(self) -> Trainer:
        """Return the trainer of an optimizer that updates the parameters step by step."""
        return StepTrainer(self._network)

    def iterations(self) -> Trainer:
        """Return the trainer of an optimizer whose iterations SciPy makes.

        Raises
        ------
        ImportError
            SciPy is missing.
        """
        from fastnn.training.lbfgs import IterationTrainer  # which not every training needs

        return IterationTrainer(self._network)


def trainer_of(network: Network) -> Trainer:
    """Return the trainer that the optimizer of a compiled network chooses."""
    return network.optimizer.trainer(Trainers(network))
