"""The text that `Model.explain` prints."""

from __future__ import annotations

from fastnn.network import Network
from fastnn.program.plan import describe
from fastnn.program.purpose import Purpose


def explanation(network: Network, program: str | None, batch_size: int) -> str:
    """Return a program as text: its ops with shapes and memory locations, and what was fused.

    Parameters
    ----------
    network : Network
    program : str, optional
        Default: the program that `fit` runs if the network is compiled, else "predict".
    batch_size : int
        Rows to plan for.

    Raises
    ------
    ValueError
        There is no such program.
    """
    objective = network.objective
    if program is None:
        program = Purpose.PREDICT
        if objective is not None:
            program = objective.optimizer.program if objective.has_loss else Purpose.MANUAL
    purpose = Purpose.named(program)
    target_types: tuple[str, ...] = ("real",)
    if purpose.updates:
        network.optimizer.require_single_steps()
    if purpose.has_targets:
        losses = [one.loss for one in network.require_objective().outputs]
        target_types = tuple("label" if loss.takes_labels else "real" for loss in losses)
    bound = network.runtime.bound(purpose, batch_size, target_types)
    count, padded = network.count_parameters(), network.runtime.count
    hint = f", {padded:,} with padding: each array starts on a cache line of its own"
    return f"{count:,} parameters{hint if padded > count else ''}\n{describe(bound.plan)}"
