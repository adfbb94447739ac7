"""Handles a loss or parameter that is not finite: restores the network and explains the error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastnn.data import AnySource
from fastnn.native import kernels
from fastnn.runtime.runtime import Runtime


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the message names step and layer."""


def refusal(
    runtime: Runtime,
    batch: list[np.ndarray],
    where: str,
    loss: float,
    snapshot: np.ndarray,
    since: str = "the epoch",
    restored: tuple[int, str] | None = None,
    advice: str = "a smaller learning_rate, global_clipnorm=1.0, or scaled inputs",
) -> NonFiniteLossError:
    """Restore finite parameters and return the error to raise.

    Parameters
    ----------
    runtime : Runtime
        The runtime of the network.
    batch : list of ndarray
        The rows of the network's inputs in the step that failed.
    where : str
        Names the step.
    loss : float
    snapshot : ndarray
        Parameters known to be finite.
    since : str, default "the epoch"
        When they were copied.
    restored : tuple (int, str), optional
        The epoch whose parameters a callback is about to restore, and the callback's name.
    advice : str, optional
        The remedies to suggest.
    """
    layer = runtime.first_non_finite(batch)
    bad = not_finite(runtime)
    kept, afresh = "before this step", ""
    if bad:
        layer = bad[0].rsplit("/", 1)[0]
        runtime.put_learned(snapshot)
        runtime.reset_optimizer()
        kept, afresh = f"from the start of {since}", ", the optimizer starts afresh"
    if restored is not None:
        epoch, who = restored
        kept = f"of epoch {epoch + 1}, the best, which {who} gives back"
    found = (
        "every layer is finite, the loss is not"
        if layer == "loss"
        else f"layer {layer!r} is the first with a number that is not finite"
    )
    shown = "nan" if np.isnan(loss) else f"{loss:g}"
    return NonFiniteLossError(
        f"the loss is {shown} in {where}: {found}; the parameters are those {kept}{afresh}. "
        f"Try {advice}"
    )


def refused_step(
    runtime: Runtime,
    sources: Sequence[AnySource],
    is_done: bool,
    loss: float,
    snapshot: np.ndarray,
) -> NonFiniteLossError:
    """Restore the network after a single step that failed, and return the error to raise.

    Parameters
    ----------
    runtime : Runtime
        The runtime of the network.
    sources : sequence of Source or Sparse
        The network's inputs.
    is_done : bool
        Whether the update was made; the parameters are then lost.
    loss : float
    snapshot : ndarray
        The parameters before the step.
    """
    where = f"step {runtime.step + (not is_done)}"
    batch = [source.take() for source in sources]
    loss = np.nan if is_done else loss
    return refusal(runtime, batch, where, loss, snapshot, "this step")


def not_finite(runtime: Runtime, workers: int = 1) -> list[str]:
    """Return the names of the parameters that hold a NaN or an infinity.

    `workers` is the size of the team that looks at them.
    """
    # If every parameter is finite, so is the sum of squares: one pass, usually sufficient.
    for _, array in runtime.stretches:
        if not math.isfinite(kernels.sum_of_squares(array, workers=workers)):
            break
    else:
        return []
    with np.errstate(all="ignore"):
        return [
            name
            for name, view in runtime.parameters.items()
            if not (np.isfinite(view.min()) and np.isfinite(view.max()))
        ]
