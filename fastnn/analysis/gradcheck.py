"""`gradcheck`: a model's gradients compared with central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from fastnn.core import checks
from fastnn.data import Samples, Source, Steps
from fastnn.network import Network, network_of
from fastnn.runtime import Purpose, Wrt
from fastnn.runtime.gradients import computed

# Name, array, and gradient; the array may be changed for a difference.
Checked = tuple[str, np.ndarray, np.ndarray]


class GradientError(AssertionError):
    """A gradient differs from the central difference of the loss."""


def gradcheck(
    model: object,
    x: object,
    y: object,
    *,
    wrt: Any = "parameters",
    sample_weight: object = None,
    epsilon: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
    samples: int = 1000,
    raise_exception: bool = True,
) -> bool:
    r"""Compare the gradients of a compiled model with central differences of its loss.

    The check runs in float64 on a copy of the model, with a fixed dropout mask, and requires
    :math:`|g - d| \le atol + rtol \max(|g|, |d|)` with
    :math:`d = (L(p + \epsilon) - L(p - \epsilon)) / 2 \epsilon`.

    Parameters
    ----------
    model : Model
        Compiled. It is not changed.
    x, y, sample_weight
        As in `Model.fit`. Keep away from kinks (relu's 0, huber's delta).
    wrt : {"parameters", "inputs"} or tuple of both, default "parameters"
        Which gradients are checked.
    epsilon : float, default 1e-6
        Positive.
    atol, rtol : float, default 1e-6 and 1e-4
    samples : int, default 1000
        Maximum number of elements to check in each parameter and input; if it has more, they are
        chosen evenly.
    raise_exception : bool, default True
        Whether to raise if a gradient is wrong, instead of returning False.

    Returns
    -------
    bool

    Raises
    ------
    GradientError
        A gradient is wrong; the message names the parameter or input, the element and both
        numbers.
    ValueError, TypeError
        An argument does not fit, or an input has no gradient.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> model = fnn.Sequential([fnn.Dense(4, activation="tanh"), fnn.Dense(3)],
    ...                        input_shape=(5,), seed=0)
    >>> model.compile("sgd", "crossentropy")
    >>> fnn.gradcheck(model, np.random.default_rng(0).normal(size=(6, 5)), [0, 1, 2, 0, 1, 2])
    True
    """
    wanted = Wrt.asked_for(wrt)
    epsilon = checks.number("epsilon", epsilon, is_positive=True)
    atol = checks.number("atol", atol, least=0)
    rtol = checks.number("rtol", rtol, least=0)
    samples = checks.integer("samples", samples)
    raise_exception = checks.boolean("raise_exception", raise_exception)
    other = network_of(model).clone("float64")
    checked = other.checked_samples(x, y, sample_weight)
    if Wrt.INPUTS in wanted:
        checked = _changeable(checked, len(other.input_shapes))
    steps = checked.steps()
    loss, by_parameters = _loss_and_gradients(other, steps)
    found = _inputs(other, steps) if Wrt.INPUTS in wanted else []
    if Wrt.PARAMETERS in wanted:
        found = [*_parameters(other, by_parameters), *found]
    for name, place, gradients in found:
        flat = place.reshape(-1)
        for i in np.unique(np.linspace(0, flat.size - 1, min(samples, flat.size)).astype(int)):
            kept = flat[i]
            flat[i] = kept + epsilon
            above = loss()
            flat[i] = kept - epsilon
            below = loss()
            flat[i] = kept
            difference = (above - below) / (2 * epsilon)
            gradient = float(gradients.reshape(-1)[i])
            bound_of = atol + rtol * max(abs(gradient), abs(difference))
            if not abs(gradient - difference) <= bound_of:
                if not raise_exception:
                    return False
                index = tuple(map(int, np.unravel_index(i, place.shape)))
                raise GradientError(
                    f"gradient of {name!r} at {list(index)} is {gradient:.10g}, "
                    f"central difference {difference:.10g}"
                )
    return True


def _changeable(samples: Samples, inputs: int) -> Samples:
    """Return the samples with inputs that are arrays of their own, of float64."""
    sources = [
        Source(source.array.astype(np.float64)) if isinstance(source, Source) else source
        for source in samples.sources[:inputs]
    ]
    return Samples([*sources, *samples.sources[inputs:]], samples.target_types)


def _loss_and_gradients(
    network: Network, steps: Steps
) -> tuple[Callable[[], float], dict[str, np.ndarray]]:
    """Return a function that computes the loss, and its gradients now, as training has them."""
    runtime = network.runtime
    bound = runtime.bound(Purpose.GRADIENTS, steps.batch, steps.target_types, steps.sparse)
    results = np.empty((1, len(bound.plan.program.results)))
    run = bound.prepare(steps, results=results)

    def loss() -> float:
        run.make()
        return float(results[0, 0])

    loss()
    return loss, {name: view.copy() for name, view in runtime.gradients.items()}


def _parameters(network: Network, gradients: dict[str, np.ndarray]) -> list[Checked]:
    """Return the parameters, except those that are frozen or set by a layer itself."""
    factors = network.graph.rate_factors()
    return [
        (name, view, gradients[name])
        for name, view in network.runtime.parameters.items()
        if factors[name]
    ]


def _inputs(network: Network, steps: Steps) -> list[Checked]:
    """Return the inputs, whose arrays may be changed."""
    purpose = Purpose.TRAINING_LOSS_GRADIENTS
    bound = network.runtime.bound(
        purpose, steps.batch, steps.target_types, steps.sparse, wrt=Wrt.INPUTS
    )
    found = computed(network.runtime, bound, steps, Wrt.INPUTS, is_mean=True)[Wrt.INPUTS]
    gradients = found if isinstance(found, list) else [found]
    return [
        (name, cast(Source, source).array.reshape(gradient.shape), gradient)
        for (name, _), source, gradient in zip(
            network.input_shapes, steps.sources, gradients, strict=False
        )
    ]
