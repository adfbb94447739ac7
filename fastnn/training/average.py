"""The moving average of the parameters in their place, while validation and callbacks look."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from fastnn.core.interruption import InterruptLater
from fastnn.network import Network
from fastnn.training.callback_list import CallbackList


class Average:
    """Puts the average that an optimizer keeps in the place of the parameters for a while.

    Parameters
    ----------
    network : Network
        Compiled and built.
    callbacks : CallbackList
        They say who is to see the average.
    """

    def __init__(self, network: Network, callbacks: CallbackList) -> None:
        self._network = network
        keeps_one = "average" in network.runtime.slots
        self._seen_by: Collection[str] = callbacks.average_seen_by if keeps_one else ()
        self._is_taken = False

    def seen(self, who: str) -> AbstractContextManager[None]:
        """Let `who` see the average, if it is to; afterwards the parameters are back."""
        if who not in self._seen_by or self._is_taken:
            return nullcontext()
        return self._taken()

    @contextmanager
    def _taken(self) -> Iterator[None]:
        network = self._network
        raw = average = network.get_weights()
        is_whole, self._is_taken = False, True
        try:
            network.runtime.parameters_change()
            with network.turns.change("fit"):
                network.runtime.take_average()
                average = network.get_weights()
            is_whole = True
            yield
        finally:
            with InterruptLater():
                self._is_taken = False
                network.runtime.parameters_change()
                # What a callback, or a model that shares parameters, has changed meanwhile stays.
                views = network.runtime.parameters.values()
                with network.turns.change("fit"):
                    for view, was, array in zip(views, average, raw, strict=True):
                        if not is_whole or np.array_equal(view, was):
                            view[...] = array
