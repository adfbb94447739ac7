"""Trainings that are interrupted and resumed: what is saved of one, and where it is read.

A training rests at the end of an epoch, after its callbacks, and, where a callback asks for it or
something interrupts it, between two batches. What `fit` knows then is plain data
(`TrainingLoop.state`): the place in the epoch, the generator that the order of the rows was drawn
from, sums of results so far, the history, what callbacks have noted. With the parameters, the
optimizer's state and the generator, which are the network's, it continues to the same bits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastnn.core.formats import FormatError, brief
from fastnn.network import Network

State = dict[str, Any]
HISTORY = ("history", "epoch", "learning_rates")  # what is saved of a `History`


class SavedNetwork(Protocol):
    """The network of a saved training."""

    def check(self, network: Network) -> None:
        """Raise ValueError if the network is another than that which was saved."""

    def restore(self, network: Network) -> None:
        """Set parameters, optimizer and generators to what was saved; `check` has passed."""


@dataclass(frozen=True)
class Checkpoint:
    """A training that was saved.

    Attributes
    ----------
    path : Path
    state : dict
        What `TrainingLoop.state` returned.
    network : SavedNetwork
    """

    path: Path
    state: State
    network: SavedNetwork

    def check_data(self, now: Mapping[str, Any]) -> None:
        """Raise ValueError if the training is to be continued on other data.

        Parameters
        ----------
        now : dict
            What `Trainer.data` returns.
        """
        for name, value in self.state["data"].items():
            if now.get(name) != value:
                raise ValueError(
                    f"resume_from: the training in {str(self.path)!r} had "
                    f"{brief(name, 30)} {brief(value, 60)}, now there is {now.get(name)}"
                )

    @contextlib.contextmanager
    def damage(self) -> Iterator[None]:
        """Return a context whose errors mean that the file is damaged."""
        try:
            yield
        except OSError:  # of another file
            raise
        except Exception as error:
            raise FormatError(
                f"resume_from: the training in {str(self.path)!r} is damaged "
                f"({type(error).__name__}: {brief(error)})"
            ) from error


class Store(Protocol):
    """Writes and reads trainings; `fastnn.exchange.training_file` is one."""

    def check(self, network: Network) -> None:
        """Raise ValueError if a training of the network could not be saved."""

    def save(self, network: Network, path: str | os.PathLike, state: Mapping[str, Any]) -> None:
        """Save a network and the state of its training."""

    def read(self, path: str | os.PathLike) -> Checkpoint:
        """Return a training that was saved."""
