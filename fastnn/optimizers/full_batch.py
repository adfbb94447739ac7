"""Optimizers whose every step looks at all rows."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn.core.declare import absent, integer, number
from fastnn.optimizers.base import Optimizer, Trainers
from fastnn.program.purpose import Purpose
from fastnn.schedules import Schedule


class GradientDescent(Optimizer):
    r"""Gradient descent on all rows: one step an epoch, :math:`p \leftarrow p - \eta g`.

    The same as `SGD` without momentum and with all rows in a batch; `fit` takes no other
    batch_size, and no order of the rows. The layers' outputs for all rows are in memory at once.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `Optimizer`.

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

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "sgd"


_CLIPPED = "its line search needs the gradient as it is"
_AVERAGED = "its iterates need no average"


class LBFGS(Optimizer):
    r"""L-BFGS (Byrd, Lu, Nocedal & Zhu 1995): SciPy's quasi-Newton method.

    It suits small models on data of some thousand rows, and minima that are wanted to many digits.
    Each epoch of `fit` is one iteration: a direction from the last gradients, and a line search
    along it, each point of which takes loss and gradient of all rows (mostly one or two). Those
    are computed 512 rows at a time. `fit` ends when it has converged; ``stop_reason`` then holds
    SciPy's message. It needs SciPy, the extra ``scipy``.

    Parameters
    ----------
    memory : int, default 10
        How many of the last steps the curvature is estimated from; each keeps two numbers for
        each parameter.
    tolerance_gradient : float, default 1e-5
        It has converged when no element of the gradient is larger.
    tolerance_change : float, default 1e-9
        Or when an iteration lowers the loss by no more than this, times the larger of its
        magnitude and 1.
    weight_decay : float, default 0.0
        Coupled L2: adds the gradient of weight_decay / 2 times the sum of squares of all trained
        parameters. Like any optimizer's it is not in the loss that is shown.

    Notes
    -----
    There is no learning rate, and the gradient cannot be clipped: the line search determines the
    one and needs the other as it is. A layer's learning_rate_factor only says whether the layer is
    trained (not 0). The loss must be the same function at each evaluation, so `Dropout` and
    `BatchNormalization` (unless frozen) are refused. Callbacks are told of epochs, and not of
    batches. In float32, losses are sums of numbers with seven digits, and the line search may end
    there with SciPy's "ABNORMAL"; float64 goes on to a gradient of zero.

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

    memory: int = integer(default=10)
    tolerance_gradient: float = number(default=1e-5, least=0)
    tolerance_change: float = number(default=1e-9, least=0)
    learning_rate: Any = absent("a line search finds the length of each step")
    clipvalue: Any = absent(_CLIPPED)
    global_clipnorm: Any = absent(_CLIPPED)
    clipnorm: Any = absent(_CLIPPED)
    use_ema: Any = absent(_AVERAGED)
    ema_momentum: Any = absent(_AVERAGED)

    def rate_of(self, step: int) -> None:
        """Return None: a line search finds the length of each step."""

    def require_single_steps(self) -> None:
        """Raise RuntimeError: its iterations are SciPy's."""
        raise RuntimeError(
            f"{type(self).__name__} makes no single steps, each of its iterations looks "
            "at all rows several times: use fit, or compile with another optimizer"
        )

    def trainer(self, trainers: Trainers) -> Any:
        """Return the trainer of `fit`: SciPy makes the iterations."""
        return trainers.iterations()
