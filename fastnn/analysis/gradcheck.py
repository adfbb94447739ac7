"""`gradcheck`: a model's gradients compared with central differences."""

from __future__ import annotations

import numpy as np

from fastnn.core import checks
from fastnn.network import network_of
from fastnn.runtime import Purpose


class GradientError(AssertionError):
    """A gradient differs from the central difference of the loss."""


def gradcheck(
    model: object,
    x: object,
    y: object,
    *,
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
    epsilon : float, default 1e-6
        Positive.
    atol, rtol : float, default 1e-6 and 1e-4
    samples : int, default 1000
        Maximum number of elements to check in each parameter; if it has more, they are chosen
        evenly.
    raise_exception : bool, default True
        Whether to raise if a gradient is wrong, instead of returning False.

    Returns
    -------
    bool

    Raises
    ------
    GradientError
        A gradient is wrong; the message names the parameter, the element and both numbers.
    ValueError, TypeError
        An argument does not fit.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> model = fnn.Sequential([fnn.Dense(4, activation="tanh"), fnn.Dense(3)],
    ...                        input_shape=(5,), seed=0)
    >>> model.compile("sgd", "crossentropy")
    >>> fnn.gradcheck(model, np.random.default_rng(0).normal(size=(6, 5)), [0, 1, 2, 0, 1, 2])
    True
    """
    epsilon = checks.number("epsilon", epsilon, is_positive=True)
    atol = checks.number("atol", atol, least=0)
    rtol = checks.number("rtol", rtol, least=0)
    samples = checks.integer("samples", samples)
    raise_exception = checks.boolean("raise_exception", raise_exception)
    other = network_of(model).clone("float64")
    steps = other.checked_samples(x, y, sample_weight).steps()
    runtime = other.runtime
    bound = runtime.bound(Purpose.GRADIENTS, steps.batch, steps.target_types, steps.sparse)
    results = np.empty((1, len(bound.plan.program.results)))

    run = bound.prepare(steps, results=results)

    def loss() -> float:
        run.make()
        return float(results[0, 0])

    loss()
    computed = {name: view.copy() for name, view in runtime.gradients.items()}
    factors = runtime.graph.rate_factors()
    for name, view in runtime.parameters.items():
        if not factors[name]:  # frozen, or set by the layer itself: there is no gradient
            continue
        flat = view.reshape(-1)
        for i in np.unique(np.linspace(0, flat.size - 1, min(samples, flat.size)).astype(int)):
            kept = flat[i]
            flat[i] = kept + epsilon
            above = loss()
            flat[i] = kept - epsilon
            below = loss()
            flat[i] = kept
            difference = (above - below) / (2 * epsilon)
            gradient = float(computed[name].reshape(-1)[i])
            bound_of = atol + rtol * max(abs(gradient), abs(difference))
            if not abs(gradient - difference) <= bound_of:
                if not raise_exception:
                    return False
                index = tuple(map(int, np.unravel_index(i, view.shape)))
                raise GradientError(
                    f"gradient of {name!r} at {list(index)} is {gradient:.10g}, "
                    f"central difference {difference:.10g}"
                )
    return True
