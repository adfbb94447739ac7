"""What `fit` and `evaluate` have prepared, for the next call with the same arrays.

Where short trainings of a small network follow one another (in reinforcement learning, say), checks
and preparations take longer than the steps. What can be recognized as the same is not done again:
the arrays by their addresses, shapes and types, what the network takes by the identity of its
specification, which `compile` and whatever else changes it replaces. The numbers may have changed,
and are looked at each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.data.base import DataAdapter
from fastnn.data.samples import Look, still_fits
from fastnn.data.specification import DataSpecification
from fastnn.native import engine
from fastnn.network import Network
from fastnn.runtime import Purpose, Run
from fastnn.training.accumulator import Accumulator
from fastnn.training.ends import ended, ended_by, new_history
from fastnn.training.history import History
from fastnn.training.trainers import Trainer

Given = tuple[Any, ...]  # what tells arrays and arguments apart from others
MOST_BYTES = 4 << 20  # larger arrays take long to train on, and are not kept alive


@dataclass(frozen=True)
class KeptData:
    """Arrays that a call has checked, and how to see that they still fit.

    Attributes
    ----------
    given : tuple
        The arrays and arguments; see `told_apart`.
    specification : DataSpecification
        What the network took.
    looks : list of Look
    """

    given: Given
    specification: DataSpecification
    looks: list[Look]

    def suit(self, network: Network) -> bool:
        """Whether the numbers, which may have changed, fit what the network takes by now."""
        return network.specification is self.specification and all(map(still_fits, self.looks))


@dataclass(frozen=True)
class KeptTraining:
    """A trainer that has ended a training.

    Attributes
    ----------
    data : KeptData
    trainer : Trainer
        It knows the adapter.
    """

    data: KeptData
    trainer: Trainer

    def run(self, network: Network, epochs: int) -> History | None:
        """Train the network on the arrays; return None if that cannot be done in this way."""
        trainer, history = self.trainer, new_history(network)
        trainer.begin(network)
        if not trainer.can_run_quietly():
            return None
        network.stop_training, network.stop_reason = False, ""
        network.history = history
        was_fitting, network.is_fitting = network.is_fitting, True
        try:
            trainer.run_quietly(epochs, history)
            history.stop_reason = ended(network, range(epochs))
        except (KeyboardInterrupt, Exception) as error:
            history.stop_reason = ended_by(error)
            raise
        finally:
            network.is_fitting = was_fitting
            if trainer.seconds:
                history.samples_per_second = trainer.rows_done / trainer.seconds
        return history


@dataclass(frozen=True)
class KeptEvaluation:
    """A run that has evaluated the network.

    Attributes
    ----------
    data : KeptData
    run : Run
    results : ndarray of float64, shape (steps, results)
        Receives the results of each step.
    """

    data: KeptData
    run: Run
    results: np.ndarray

    def suits(self, network: Network) -> bool:
        """Whether this network can be evaluated with it."""
        return self.data.suit(network) and self.run.bound is network.runtime.bound(
            Purpose.EVALUATE, self.run.steps.batch, self.run.steps.target_types, collects=True
        )

    def logs(self, network: Network) -> dict[str, Any]:
        """Evaluate the network on the arrays."""
        with network.turns.look():
            self.run.all()
        accumulator = Accumulator(self.run.bound.plan.program, network.dtype)
        accumulator.add(self.run.steps, self.results, {})
        return accumulator.logs()


def taken(network: Network, call: str, given: Given | None) -> tuple[Any, bool]:
    """Take what the last call of this name has kept, if it was given the same arrays; say whether.

    Only what comes twice is worth keeping: other arrays are not kept alive.
    """
    last = network.kept.pop(call, None)
    if last is None or given is None:
        return None, False
    if isinstance(last, tuple):
        return None, last == given
    is_same = last.data.given == given
    return (last if is_same else None), is_same


def told_apart(x: object, y: object, *arguments: object) -> Given | None:
    """Return what tells arrays and arguments apart from others; None if nothing does."""
    if not (type(x) is type(y) is np.ndarray):
        return None
    return _place(x), _place(y), *arguments


def _place(array: np.ndarray) -> tuple[Any, ...]:
    return engine.address_of(array), array.shape, array.strides, array.dtype


def _owned(array: np.ndarray) -> int:
    """Return the bytes of the memory that an array keeps alive."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.nbytes if array.base is None else MOST_BYTES + 1  # another object's, of any size


def kept_data(network: Network, adapter: DataAdapter, given: Given | None) -> KeptData | None:
    """Return arrays that may be used again; None if they cannot, or would take much memory.

    Parameters
    ----------
    network : Network
    adapter : DataAdapter
        Made from the arrays.
    given : tuple, optional
        From `told_apart`.
    """
    samples = adapter.samples
    if given is None or samples is None:
        return None
    if sum(_owned(source.take()) for source in samples.sources) > MOST_BYTES:
        return None
    looks = samples.looks(network.specification)
    if looks is None:
        return None
    if [engine.address_of(source.take()) for source in samples.sources] != [
        place[0] for place in given[:2]
    ]:
        return None  # what the adapter reads is a copy
    return KeptData(given, network.specification, looks)
