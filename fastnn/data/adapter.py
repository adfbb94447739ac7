"""The one place that decides what `fit`, `evaluate` and `predict` were given.

`adapter_of` looks at it once and returns a `DataAdapter`, of which there is a class for each kind
of source. What trains and what predicts knows adapters only. To add a source, write a class
beside the others and put it into `ADAPTERS`, ahead of those that would take the same data.
"""

from __future__ import annotations

from fastnn.data.base import Batching, DataAdapter, Given
from fastnn.data.batches import BatchesAdapter
from fastnn.data.in_memory import ArrayAdapter
from fastnn.data.memmap import MemmapAdapter

# The first that accepts what was given takes it.
ADAPTERS: tuple[type[DataAdapter], ...] = (BatchesAdapter, MemmapAdapter, ArrayAdapter)


def adapter_of(given: Given, batching: Batching | None = None) -> DataAdapter:
    """Return the adapter for what `fit`, `evaluate` or `predict` was given.

    Parameters
    ----------
    given : Given
    batching : Batching, optional
        How epochs take the data, for training; None: they are read once, in their order.

    Returns
    -------
    DataAdapter
        To be closed when it is no longer needed.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected. Arrays have been checked when this
        returns, batches and large memory maps are checked as they are read.
    """
    chosen = next(adapter for adapter in ADAPTERS if adapter.accepts(given))
    return chosen(given, Batching() if batching is None else batching)
