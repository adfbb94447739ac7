"""`forward`, `backward` and `apply_gradients`, for training loops written by the user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn import data
from fastnn.data import Samples, Sparse, Steps
from fastnn.network import Network
from fastnn.runtime import Bound, Purpose
from fastnn.training.single_rows import warn_of_single_row


@dataclass
class _Kept:
    """What `forward` keeps for `backward`.

    Attributes
    ----------
    bound : Bound
        The program, whose workspace holds the activations.
    samples : Samples
    number : int
        Number of the step, for dropout.
    version : int
        Version of the parameters that the activations were computed with.
    """

    bound: Bound
    samples: Samples
    number: int
    version: int


class ManualSteps:
    """The steps of a training loop written by the user.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: _Kept | None = None
        self._forwards = (-1, 0)  # the update before the last forward, and forwards since then
        self._has_gradients = False  # not read off the arrays: zeros can be gradients

    def forward(self, samples: Samples) -> list[np.ndarray]:
        """Return the outputs in training, and keep what `backward` needs."""
        data.not_empty(samples.rows)
        runtime, rows = self._network.runtime, samples.rows
        # The rows are copied, because the caller may reuse x before backward. Dropout gets the
        # number of the next update, or, if that has been used, a number far from all others.
        step, count = self._forwards
        count = count + 1 if step == runtime.step else 0
        self._forwards = runtime.step, count
        number = runtime.step + 1 + (count << 40)
        sources = [s.copy() if isinstance(s, Sparse) else s for s in samples.sources]
        steps = Steps(sources, rows, rows, in_place=False)
        # The optimizer makes no update, but the updates of moving statistics also need a rate.
        rate = np.zeros(1)
        bound = runtime.bound(Purpose.MANUAL, rows, sparse=steps.sparse)
        if rows == 1:
            warn_of_single_row(bound.plan.program, "the batch has")
        bound.prepare(steps, learning_rates=rate).section("forward", number)
        kept = Samples(sources, samples.target_types)
        self._kept = _Kept(bound, kept, number, self._network.parameter_version)
        return bound.kept(steps)

    def backward(self, grad_output: object) -> None:
        """Compute the gradients of all parameters from that of the output.

        Raises
        ------
        RuntimeError
            `forward` has not been called since the parameters were last changed.
        TypeError, ValueError
            `grad_output` does not fit.
        """
        network, kept = self._network, self._kept
        if kept is None or kept.version != network.parameter_version:
            raise RuntimeError(
                "call forward(x, training=True) first; what it keeps lasts until the parameters "
                "are changed"
            )
        rows = kept.samples.rows
        shapes = list(zip(network.output_names, network.output_shapes, strict=True))
        seed = data.inputs(grad_output, shapes, network.dtype, "grad_output")
        if seed[0].rows != rows:
            raise ValueError(f"grad_output must have {rows} rows, got {seed[0].rows}")
        steps = Steps([*kept.samples.sources, *seed], rows, rows, in_place=False)
        kept.bound.prepare(steps).section("backward", kept.number)
        network.runtime.clear_frozen_gradients()  # of layers frozen since `forward`
        self._has_gradients = True

    def apply_gradients(self) -> None:
        """Take one optimizer step with the current gradients.

        Raises
        ------
        RuntimeError
            There are no gradients yet.
        """
        network = self._network
        optimizer, runtime = network.optimizer, network.runtime
        if not self._has_gradients and not runtime.arenas["gradients"].any():
            raise RuntimeError("there are no gradients yet: call backward(grad_output) first")
        bound = runtime.bound(Purpose.UPDATE, 1)
        rate = optimizer.rates(runtime.step)
        network.parameter_version += 1
        self._has_gradients = True  # from now on, also if the user writes zeros
        bound.prepare(Steps([], 1, 1), learning_rates=rate).make()
