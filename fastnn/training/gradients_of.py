"""Gradients of the loss or of the outputs that change nothing: `Model.gradients_of`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.data import AnySource, Samples, Source
from fastnn.network import Network
from fastnn.runtime import ROWS, Purpose, Wrt
from fastnn.runtime.gradients import computed, in_order_of

# By whether there is a target, and whether layers act as in training.
_PURPOSES = {
    (True, False): Purpose.LOSS_GRADIENTS,
    (True, True): Purpose.TRAINING_LOSS_GRADIENTS,
    (False, False): Purpose.VJP,
    (False, True): Purpose.TRAINING_VJP,
}


def output_gradients(network: Network, value: object, rows: int, name: str) -> Sequence[AnySource]:
    """Check the gradient with respect to each output.

    Parameters
    ----------
    network : Network
    value : array_like, or a list or dict of them for several outputs
    rows : int
        Rows of the outputs.
    name : str
        Name of the argument.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    shapes = list(zip(network.output_names, network.output_shapes, strict=True))
    if isinstance(value, dict) and len(shapes) > 1:
        value = list(data.by_name(name, value, network.output_names).values())
    sources = data.inputs(value, shapes, network.dtype, name, ends="output")
    if sources[0].rows != rows:
        raise ValueError(f"{name} must have {rows} rows, got {sources[0].rows}")
    return sources


def gradients_of(
    network: Network,
    x: object,
    y: object,
    output_gradient: object,
    wrt: object,
    sample_weight: object,
    training: object,
) -> Any:
    """Return gradients for some rows; see `Model.gradients_of`."""
    wanted = Wrt.asked_for(wrt)
    in_training = checks.boolean("training", training)
    if y is not None and output_gradient is not None:
        raise ValueError(
            "give y, for the gradient of the loss, or output_gradient, got both: of your own loss, "
            "output_gradient is the derivative by the outputs"
        )
    if y is None and sample_weight is not None:
        raise ValueError("sample_weight weights the loss, which needs y")
    has_loss = y is not None
    if has_loss:
        samples = network.checked_samples(x, y, sample_weight)
    else:
        with network.built_on_trial():
            samples = network.checked_inputs(x)
            data.not_empty(samples.rows)
            samples = _with_seeds(network, samples, output_gradient)
    purpose = _PURPOSES[has_loss, in_training]
    # As in a step, the rows belong together in training: for statistics and for dropout.
    most = samples.rows if in_training else ROWS
    steps = samples.steps(min(most, samples.rows))
    bound = network.runtime.bound(purpose, most, steps.target_types, steps.sparse, wrt=wanted)
    with network.turns.look():
        found = computed(network.runtime, bound, steps, wanted, is_mean=has_loss)
    return in_order_of(wrt, found)


def _with_seeds(network: Network, samples: Samples, output_gradient: object) -> Samples:
    """Append the gradient with respect to each output; by default it is 1."""
    rows = samples.rows
    if output_gradient is not None:
        seeds = output_gradients(network, output_gradient, rows, "output_gradient")
    else:
        widths = [int(np.prod(shape)) for shape in network.output_shapes]
        ones = [np.ones((1, width), network.dtype) for width in widths]
        seeds = [Source(np.broadcast_to(one, (rows, one.size))) for one in ones]
    return Samples([*samples.sources, *seeds])
