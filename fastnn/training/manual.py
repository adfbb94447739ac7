"""`forward`, `backward` and `apply_gradients`, for training loops written by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.data import AnySource, Samples, Source, Sparse, Steps
from fastnn.network import Network
from fastnn.runtime import Bound, Purpose, Wrt
from fastnn.runtime.gradients import Found, in_order_of, one_or_list
from fastnn.training import gradient_accumulation
from fastnn.training.gradients_of import output_gradients
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
        self._added_at = -1  # the version of the parameters that the gradients belong to
        self._wrt = Wrt.PARAMETERS  # all that `backward` has been asked for

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
        wrt = Wrt.PARAMETERS if steps.sparse else self._wrt
        bound = runtime.bound(Purpose.MANUAL, rows, sparse=steps.sparse, wrt=wrt)
        # The optimizer makes no update, but the updates of moving statistics also need a rate.
        if rows == 1:
            warn_of_single_row(bound.plan.program, "the batch has")
        run = bound.prepare(steps, learning_rates=np.zeros(1))
        self._kept = None  # what the last one has kept is overwritten, also if this one fails
        run.section("forward", number)
        first, end = bound.plan.program.sections["statistics"]
        if end > first:
            run.section("statistics", number)
        kept = Samples(sources, samples.target_types)
        self._kept = _Kept(bound, kept, number, runtime.parameter_version)
        return bound.kept(steps)

    def backward(self, grad_output: object, wrt: Any, accumulate: object) -> Any:
        """Compute gradients from that of the output; see `Model.backward`."""
        network, kept = self._network, self._kept
        wanted = Wrt.asked_for(wrt)
        is_added = checks.boolean("accumulate", accumulate)
        if is_added and Wrt.PARAMETERS not in wanted:
            raise ValueError(
                "accumulate adds up the gradients of parameters, which wrt='inputs' leaves as they "
                "are"
            )
        if kept is None or kept.version != network.runtime.parameter_version:
            raise RuntimeError(
                "call forward(x, training=True) first; what it keeps lasts until the parameters "
                "are changed"
            )
        seed = output_gradients(network, grad_output, kept.samples.rows, "grad_output")
        if wanted.section not in kept.bound.plan.program.sections:
            self._run_forward_of(Wrt.BOTH, kept)
        self._wrt = Wrt.BOTH if Wrt.INPUTS in wanted else self._wrt
        found, inputs = Found(), []
        if Wrt.INPUTS in wanted:
            rows, dtype = kept.samples.rows, network.dtype
            inputs = [np.zeros((rows, *shape), dtype) for _, shape in network.input_shapes]
            found[Wrt.INPUTS] = one_or_list(inputs)
        self._run_backward(wanted, kept, seed, inputs, is_added=is_added)
        if Wrt.PARAMETERS in wanted:
            found[Wrt.PARAMETERS] = dict(network.runtime.gradients)
        return in_order_of(wrt, found)

    def _run_forward_of(self, wrt: Wrt, kept: _Kept) -> None:
        """Run forward of a program that can differentiate with respect to more, on the same rows.

        Moving statistics have moved already.
        """
        runtime, rows = self._network.runtime, kept.samples.rows
        old, program = kept.bound, kept.bound.plan.program
        sources: list[AnySource] = []
        for value, source in zip(program.inputs, kept.samples.sources, strict=False):
            if value in old.plan.places:  # the source may have changed since
                source = Source(old.memory(value, rows).reshape(rows, -1))
            sources.append(source)
        steps = Steps(sources, rows, rows, in_place=False)
        bound = runtime.bound(Purpose.MANUAL, rows, sparse=steps.sparse, wrt=wrt)
        bound.prepare(steps).section("forward", kept.number)
        kept.bound = bound

    def _run_backward(
        self,
        wanted: Wrt,
        kept: _Kept,
        seed: Sequence[AnySource],
        inputs: Sequence[np.ndarray],
        *,
        is_added: bool,
    ) -> None:
        """Run a section of backward; gradients by inputs are written to the given arrays."""
        network, rows = self._network, kept.samples.rows
        program = kept.bound.plan.program
        own = kept.samples.sources
        sections = (len(program.inputs) - len(own)) // len(seed)  # each reads it by itself
        steps = Steps([*own, *list(seed) * sections], rows, rows, in_place=False)
        names = {value.name for value in program.outputs if value.storage == "output"}
        outputs = {
            name: array
            for (given, _), array in zip(network.input_shapes, inputs, strict=False)
            if (name := f"gradient of {given}") in names
        }
        gradients = network.runtime.gradients
        # What was computed with other parameters, or was applied, is not added to.
        is_added = is_added and self._added_at == network.runtime.parameter_version
        before = [view.copy() for view in gradients.values()] if is_added else []
        run = kept.bound.prepare(steps, outputs=outputs)
        try:
            run.section(wanted.section, kept.number)
        except BaseException:  # of a layer of the user's, or Ctrl-C
            for view, earlier in zip(gradients.values(), before, strict=False):
                view[...] = earlier
            raise
        if Wrt.PARAMETERS not in wanted:
            return
        for view, earlier in zip(gradients.values(), before, strict=False):
            view += earlier
        network.runtime.clear_frozen_gradients()  # of layers frozen since `forward`
        self._has_gradients, self._added_at = True, network.runtime.parameter_version

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
        self._has_gradients = True  # from now on, also if the user writes zeros
        self._added_at = -1
        if optimizer.accumulates:
            gradient_accumulation.add_gradients(network, rate)
            return
        network.runtime.parameters_change()
        bound.prepare(Steps([], 1, 1), learning_rates=rate).make()
