"""Optimizers whose every step looks at all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from fastnn.core import checks
from fastnn.optimizers.base import Optimizer
from fastnn.schedules import Schedule


@dataclass(eq=False, repr=False, match_args=False)
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
    >>> model.runtime.step  # not four an epoch
    50
    """

    learning_rate: float | Schedule = 0.01
    name: ClassVar[str] = "gradient_descent"
    full_batch: ClassVar[bool] = True

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "sgd"


class LBFGS(Optimizer):
    r"""L-BFGS (Byrd, Lu, Nocedal & Zhu 1995): a quasi-Newton method, of SciPy's.

    For small models on data of some thousand rows, and where a minimum is wanted to many digits.
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
    There is no learning rate, and the gradient cannot be clipped: the line search needs both as
    they are. A layer's learning_rate_factor only says whether it is trained (not 0). The loss must
    be the same function at each look: `Dropout` and `BatchNormalization` (unless frozen) are
    refused. Callbacks get epochs, and no batches. In float32 losses are sums of numbers with
    seven digits, and the line search may end there with SciPy's "ABNORMAL"; float64 goes on to a
    gradient of zero.

    The loss in the history is the one behind the epoch's step, as of validation data; in other
    optimizers' it is the mean over the epoch's steps.

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
    kernel: ClassVar[str] = ""
    slots: ClassVar[list[str]] = []

    def __init__(
        self,
        memory: int = 10,
        tolerance_gradient: float = 1e-5,
        tolerance_change: float = 1e-9,
        *,
        weight_decay: float = 0.0,
        **others: Any,
    ) -> None:
        for name in others:
            raise self._lacks(name)
        self.memory = memory
        self.tolerance_gradient = tolerance_gradient
        self.tolerance_change = tolerance_change
        self.weight_decay = weight_decay

    def __repr__(self) -> str:
        """Show what is not its default."""
        usual = vars(type(self)())
        changed = [
            f"{name}={value!r}" for name, value in vars(self).items() if value != usual[name]
        ]
        return f"LBFGS({', '.join(changed)})"

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a hyper-parameter whenever it is set."""
        if name == "memory":
            value = checks.integer(name, value)
        elif name in ("tolerance_gradient", "tolerance_change", "weight_decay"):
            value = checks.number(name, value, least=0)
        else:
            raise self._lacks(name)
        object.__setattr__(self, name, value)

    @property
    def learning_rate(self) -> NoReturn:  # type: ignore[override]
        """There is none: an AttributeError."""
        raise self._lacks("learning_rate", AttributeError)

    @staticmethod
    def _lacks(name: str, kind: type[Exception] = ValueError) -> Exception:
        reason = "there is memory, tolerance_gradient, tolerance_change, weight_decay"
        if name == "learning_rate":
            reason = "a line search finds the length of each step"
        elif name in ("clipvalue", "clipnorm", "global_clipnorm"):
            reason = "its line search needs the gradient as it is"
        elif name in ("use_ema", "ema_momentum"):
            reason = "its iterates need no average"
        return kind(f"LBFGS has no {name}: {reason}")
