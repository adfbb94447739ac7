"""The only place that decides what kind of source `fit`, `evaluate` and `predict` were given.

`adapter_of` inspects the source once and returns a `DataAdapter`; each kind of source has its own
class. Training and prediction know only adapters. To add a source, write another such class and
put it into `ADAPTERS`, ahead of those that would accept the same data.
"""

from __future__ import annotations

from fastnn.data.base import Batching, DataAdapter, Given
from fastnn.data.batches import BatchesAdapter
from fastnn.data.in_memory import ArrayAdapter
from fastnn.data.memmap import MemmapAdapter

# The first adapter that accepts the source is used.
ADAPTERS: tuple[type[DataAdapter], ...] = (BatchesAdapter, MemmapAdapter, ArrayAdapter)


def adapter_of(given: Given, batching: Batching | None = None) -> DataAdapter:
    """Return the adapter for what `fit`, `evaluate` or `predict` was given.

    Parameters
    ----------
    given : Given
    batching : Batching, optional
        How epochs take the data, for training; None: the data are read once, in order.

    Returns
    -------
    DataAdapter
        It must be closed when it is no longer needed.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected. Arrays have been checked
        when this returns; batches and large memory maps are checked as they are read.
    """
    chosen = next(adapter for adapter in ADAPTERS if adapter.accepts(given))
    return chosen(given, Batching() if batching is None else batching)
