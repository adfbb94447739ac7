"""The base class of trainers, which run the epochs; each optimizer chooses its trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Protocol

from fastnn.data.base import Batching, DataAdapter
from fastnn.network import Network
from fastnn.optimizers import Optimizer
from fastnn.training.callback_list import CallbackList
from fastnn.training.history import History
from fastnn.training.progress import Progress
from fastnn.training.time_budget import TimeBudget

Results = dict[str, Any]
_COUNTED: dict[str, Any] = {
    "seconds": float, "rows_done": int, "learning_rate": (float, type(None)), "batches": int,
}  # fmt: skip


class Loop(Protocol):
    """The loop that a trainer reports each epoch to, and that may end training."""

    callbacks: CallbackList
    budget: TimeBudget
    progress: Progress

    def epoch_begin(self, epoch: int) -> bool:
        """Begin an epoch; return False if training has ended."""

    def epoch_end(self, epoch: int, results: Results) -> bool:
        """Take the results of an epoch; return whether training continues."""

    def rest(self) -> None:
        """Let the training be saved: everything is as it is between two batches."""

    def out_of_time(self, where: str) -> None:
        """End training, because the time budget is used up, and let it be saved."""


class Trainer(ABC):
    """Runs the epochs of a training.

    Parameters
    ----------
    network : Network
        Compiled, with the optimizer that has chosen this trainer.

    Attributes
    ----------
    seconds : float
        Time spent on the rows counted by `rows_done`.
    rows_done : int
    learning_rate : float or None
        Rate of the last step; None if there is none.
    batches : int
        Number of batches trained on; of iterations, if there are no batches.
    """

    def __init__(self, network: Network) -> None:
        self.begin(network)

    def begin(self, network: Network) -> None:
        """Be as new, except for what has been prepared for the data."""
        self.network = network
        self.optimizer: Optimizer = network.optimizer
        self.seconds = 0.0
        self.rows_done = 0
        self.learning_rate: float | None = None
        self.batches = 0

    def batching(
        self, batch_size: int | None, shuffle: bool, steps_per_epoch: int | None, epochs: range
    ) -> Batching:
        """Return how the epochs take the data; see `Model.fit`."""
        takes_all = self.optimizer.full_batch
        return Batching(
            rows_of_a_step=partial(self.optimizer.rows_of_a_step, batch_size),
            generator=self.network.generator if shuffle and not takes_all else None,
            steps_per_epoch=steps_per_epoch,
            epochs=len(epochs),
            initial_epoch=epochs.start,
            needs_all_rows=(
                f"{type(self.optimizer).__name__} needs all rows for each step" if takes_all else ""
            ),
        )

    def end(self) -> None:
        """Forget the network, which may keep the trainer until another training begins."""
        del self.network

    @abstractmethod
    def prepare(self, adapter: DataAdapter) -> list[str]:
        """Take the data and return the names of the results of an epoch.

        Raises
        ------
        TypeError, ValueError
            The network cannot be trained on the data.
        """

    @abstractmethod
    def data(self) -> dict[str, Any]:
        """Return what must be the same where the training is resumed: numbers of rows and so on."""

    def get_state(self, *, is_amid: bool) -> dict[str, Any]:
        """Return what the trainer knows, as plain data, between two batches.

        Parameters
        ----------
        is_amid : bool
            Whether it is within an epoch; otherwise between two.
        """
        return {name: getattr(self, name) for name in _COUNTED}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue a training from what `get_state` returned.

        Raises
        ------
        Exception
            It has not returned this.
        """
        for name, types in _COUNTED.items():
            if not isinstance(state[name], types):
                raise TypeError(f"{name} is {state[name]!r}")
            setattr(self, name, state[name])

    def pass_over(self, epochs: range) -> None:
        """Bring the data to where they are after the epochs that are completed."""
        return None

    def settle(self, epoch: int) -> bool:
        """Take note of what an interrupt has kept from being noted; return whether all is known.

        Parameters
        ----------
        epoch : int
            The one that the loop has begun, of which the trainer may not have heard.
        """
        return True

    def can_run_quietly(self) -> bool:
        """Whether epochs can be run on the data of the last training, with nobody to tell.

        Raises
        ------
        Exception
            What keeps the network from being trained at all.
        """
        return False

    def run_quietly(self, epochs: int, history: History) -> None:
        """Run so many epochs on the data of the last training; see `can_run_quietly`."""
        raise NotImplementedError(f"{type(self).__name__} tells of its epochs")

    @abstractmethod
    def run(self, epochs: range, loop: Loop) -> None:
        """Run the epochs of these numbers, reporting each to the loop, which may end training."""
