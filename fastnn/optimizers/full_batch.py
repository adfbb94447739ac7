"""Optimizers that use all rows in every step."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn.core.declare import absent, integer, number
from fastnn.optimizers.base import Optimizer, Trainers
from fastnn.program.purpose import Purpose
from fastnn.schedules import Schedule

_ALL_ROWS = "each step takes all rows at once"


class GradientDescent(Optimizer):
    r"""Gradient descent on all rows: one step per epoch, :math:`p \leftarrow p - \eta g`.

    It is the same as `SGD` without momentum and with all rows in a batch; `fit` accepts no other
    batch_size and does not shuffle. The layers' outputs for all rows are in memory at once.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    >>> model.compile(fnn.GradientDescent(0.1), "mse")
    >>> history = model.fit(x, x.sum(axis=1), epochs=50, verbose=0)
    >>> model.network.runtime.step  # not four an epoch
    50
    """

    learning_rate: float | Schedule = 0.01
    name: ClassVar[str] = "gradient_descent"
    full_batch: ClassVar[bool] = True
    gradient_accumulation_steps: Any = absent(_ALL_ROWS)

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "sgd"


_CLIPPED = "its line search needs the gradient as it is"
_AVERAGED = "its iterates need no average"


class LBFGS(Optimizer):
    r"""L-BFGS (Byrd, Lu, Nocedal & Zhu 1995): SciPy's quasi-Newton method.

    It is suited to small models on a few thousand rows, and to finding minima with many digits.
    Each epoch of `fit` is one iteration: a direction computed from the last gradients, and a line
    search along it, which evaluates loss and gradient of all rows at each point (usually one or
    two), 512 rows at a time. `fit` ends on convergence; ``stop_reason`` then holds SciPy's message.
    It needs SciPy, the extra ``scipy``.

    Parameters
    ----------
    memory : int, default 10
        Number of past steps from which the curvature is estimated; each stores two numbers per
        parameter.
    tolerance_gradient : float, default 1e-5
        It has converged when no element of the gradient is larger than this.
    tolerance_change : float, default 1e-9
        It has also converged when an iteration lowers the loss by no more than this times the
        larger of the loss's magnitude and 1.
    max_evaluations : int, optional
        It ends with the first iteration by which loss and gradient have been evaluated more often
        than this; None: there is no limit.
    weight_decay : float, default 0.0
        Coupled L2: adds the gradient of weight_decay / 2 times the sum of squares of all trained
        parameters. As with any optimizer, it is not part of the loss that is shown.

    Notes
    -----
    There is no learning rate, because the line search determines the step length, and the gradient
    cannot be clipped, because the line search needs it unchanged. A layer's learning_rate_factor
    only determines whether the layer is trained (not 0). The loss must be the same function at
    each evaluation, so `Dropout` and `BatchNormalization` (unless frozen) are refused. Hooks of
    callbacks are called for epochs, not for batches. In float32, losses are sums of numbers with
    seven digits, and the line search may end early with SciPy's "ABNORMAL"; float64 converges to a
    gradient of zero.

    The loss in the history is the one after the epoch's step, like that of validation data; with
    the other optimizers it is the mean over the epoch's steps.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), dtype="float64", seed=0)
    >>> model.compile(fnn.LBFGS(), "mse")
    >>> history = model.fit(x, x @ [1, 2, 3] + 4, epochs=100, verbose=0)
    >>> history.stop_reason.split(":")[0], len(history.epoch) < 20
    ('CONVERGENCE', True)
    >>> np.round(model.parameters["dense/kernel"][:, 0], 4)
    array([1., 2., 3.])
    """

    name: ClassVar[str] = "lbfgs"
    full_batch: ClassVar[bool] = True
    program: ClassVar[Purpose] = Purpose.GRADIENTS
    slots: ClassVar[list[str]] = []
    kernel_states: ClassVar[list[float]] = []

    weight_decay: float = number(default=0.0, least=0, kw_only=True)  # one for all iterations
    memory: int = integer(default=10)
    tolerance_gradient: float = number(default=1e-5, least=0)
    tolerance_change: float = number(default=1e-9, least=0)
    max_evaluations: int | None = integer(default=None, is_optional=True, kw_only=True)
    learning_rate: Any = absent("a line search finds the length of each step")
    clipvalue: Any = absent(_CLIPPED)
    global_clipnorm: Any = absent(_CLIPPED)
    clipnorm: Any = absent(_CLIPPED)
    use_ema: Any = absent(_AVERAGED)
    ema_momentum: Any = absent(_AVERAGED)
    gradient_accumulation_steps: Any = absent(_ALL_ROWS)

    def rate_of(self, step: int) -> None:
        """Return None, because a line search determines the length of each step."""

    def require_single_steps(self) -> None:
        """Raise RuntimeError, because SciPy runs the iterations."""
        raise RuntimeError(
            f"{type(self).__name__} makes no single steps, each of its iterations looks "
            "at all rows several times: use fit, or compile with another optimizer"
        )

    def trainer(self, trainers: Trainers) -> Any:
        """Return the trainer that `fit` is to use, in which SciPy runs the iterations."""
        return trainers.iterations()
