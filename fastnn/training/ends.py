"""How a history begins, and what it says of the end of its training."""

from __future__ import annotations

from fastnn.core import checks
from fastnn.network import Network
from fastnn.runtime.nonfinite import NonFiniteLossError
from fastnn.training.history import History


def new_history(network: Network) -> History:
    """Return the history of a training that begins."""
    names = network.output_names
    return History(loss_names=["loss", *(f"{name}_loss" for name in names if len(names) > 1)])


def ended(network: Network, epochs: range) -> str:
    """Return why a training has ended if nothing interrupted it."""
    if network.stop_training:
        return network.stop_reason or "a callback set stop_training"
    which = f" ({epochs.start + 1} to {epochs.stop})" if epochs.start else ""
    return f"completed {checks.counted(len(epochs), 'epoch')}{which}"


def ended_by(error: BaseException) -> str:
    """Return why a training has ended that something interrupted."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, NonFiniteLossError):
        return str(error)
    return f"{type(error).__name__}: {error}"
