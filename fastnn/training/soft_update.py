"""`soft_update`: a target network follows the network that is trained."""

from __future__ import annotations

import numpy as np

from fastnn.core import checks
from fastnn.native import kernels
from fastnn.network import Network, network_of
from fastnn.runtime.nonfinite import not_finite
from fastnn.runtime.turns import ALL


def soft_update(target: object, source: object, tau: float) -> None:
    r"""Move the parameters of a model towards those of another model of the same architecture.

    :math:`p_{target} \leftarrow (1 - \tau) p_{target} + \tau p_{source}` for all parameters, the
    moving statistics of `BatchNormalization` included: the target network of deep Q-learning and
    of actor-critic methods (Lillicrap et al. 2015). It is one pass over the parameters. A
    `Normalization` of the target that has not measured any data takes the source's as it is.

    Parameters
    ----------
    target : Model
        It is changed. If it was compiled with an optimizer that keeps a moving average, this
        starts again from the new parameters, as after `Model.set_weights`.
    source : Model
        Another model, with the same names, shapes and dtype of its parameters.
    tau : float
        In [0, 1]; 1 copies the parameters.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit, or a parameter of `source` is not finite; nothing has changed.
    RuntimeError
        One of the models has no parameters yet, or another thread trains the target.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model, target = (fnn.Sequential([fnn.Dense(1, use_bias=False)], input_shape=(1,))
    ...                  for _ in range(2))
    >>> model.set_weights([[[2.0]]])
    >>> target.set_weights([[[1.0]]])
    >>> fnn.soft_update(target, model, 0.25)
    >>> target.get_weights()[0]
    array([[1.25]], dtype=float32)
    """
    own, other = network_of(target, "target"), network_of(source, "source")
    tau = checks.number("tau", tau)
    if not 0 <= tau <= 1:
        raise ValueError(f"tau must be a number in [0, 1], got {tau!r}")
    _check_alike(own, other)
    uses = own.turns.change("soft_update", ALL), other.turns.look()
    first, second = uses if own.turns.number < other.turns.number else uses[::-1]
    with first, second:
        _move(own, other, tau)


def _move(own: Network, other: Network, tau: float) -> None:
    """Move the parameters of a network towards those of another one."""
    bad = not_finite(other.runtime)
    if bad:
        raise ValueError(f"source must hold finite numbers, {bad[0]!r} does not")
    to, by = own.runtime, other.runtime
    waiting, missing = _not_measured(own), _not_measured(other)
    if missing - waiting:
        raise ValueError(f"source must have measured data, {min(missing - waiting)!r} has not")
    to.parameters_change()
    for name in waiting - missing if tau else ():
        to.parameters[name][...] = by.parameters[name]
    if tau == 1:  # not by arithmetic, so that a target that is not finite is replaced, too
        for name, view in to.parameters.items():
            view[...] = by.parameters[name]
    elif to.offsets == by.offsets and not (to.is_shared or by.is_shared):
        kernels.moving_average(to.arenas["parameters"], by.arenas["parameters"], momentum=1 - tau)
    else:
        for name, view in to.parameters.items():
            value = by.parameters[name]
            if not np.may_share_memory(view, value):  # of a layer that both have
                kernels.moving_average(view.reshape(-1), value.reshape(-1), momentum=1 - tau)
    own.weights_set()


def _not_measured(network: Network) -> set[str]:
    """Return the parameters of layers that have yet to measure data."""
    waiting = network.layers_to_adapt()
    if not waiting:
        return set()
    owners = network.graph.owners.items()
    return {name for name, (layer, own) in owners if layer.owner_of(own)[0] in waiting}


def _check_alike(own: Network, other: Network) -> None:
    """Raise ValueError unless two networks have the same parameters."""
    to, by = own.runtime, other.runtime
    to_shapes, by_shapes = to.shapes, by.shapes  # raises where there are none
    if to is by:
        raise ValueError("target and source must be two models, got the same twice")
    if own.dtype != other.dtype:
        raise ValueError(
            f"target and source must have one dtype, got {own.dtype} and {other.dtype}"
        )
    if to_shapes == by_shapes:
        return
    for name in [*to_shapes, *by_shapes]:
        if name not in to_shapes or name not in by_shapes:
            where = "source" if name not in by_shapes else "target"
            raise ValueError(
                f"target and source must have the same parameters, {name!r} is missing in the "
                f"{where}: make both in the same way, with the same names of layers"
            )
        if to_shapes[name] != by_shapes[name]:
            raise ValueError(
                f"{name!r} must have one shape, got {to_shapes[name]} in the target and "
                f"{by_shapes[name]} in the source"
            )
