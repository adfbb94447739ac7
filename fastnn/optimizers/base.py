"""What an optimizer is: hyper-parameters that may be set at any time, and state slots."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from fastnn import schedules
from fastnn.core import checks
from fastnn.core.registry import Declaration
from fastnn.program.ops import OPTIMIZERS
from fastnn.schedules import Schedule

BATCH_SIZE = 32  # where neither the user nor the optimizer says


class Trainers(Protocol):
    """The ways to train that `fit` offers an optimizer; see `fastnn.training.trainers`."""

    def steps(self) -> Any:
        """Return a trainer that makes single steps, each with an update of the optimizer."""

    def iterations(self) -> Any:
        """Return a trainer whose iterations look at all rows several times."""


def _names(optimizer: Optimizer) -> tuple[str, ...]:
    return tuple(optimizer.__dataclass_fields__)


@dataclass(eq=False, repr=False, match_args=False)
class Optimizer(Declaration):
    r"""What an update needs to know.

    Parameters
    ----------
    learning_rate : float or Schedule
        Positive, or 0 to stand still; or one of `fastnn.schedules`, or its ``config()``. May be
        set at any time; it counts from the next step.
    weight_decay : float, default 0.0
        Coupled L2: weight_decay * parameter is added to the gradient.
    clipvalue : float, optional
        Each gradient is clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients together are scaled so that their norm is at most this. Comes before
        clipvalue, and both before weight decay.
    clipnorm : float, optional
        The gradient of each parameter (a kernel, a bias) is scaled so that its norm is at most
        this. Not together with global_clipnorm.
    use_ema : bool, default False
        Keep an exponential moving average of the parameters, which take its values when `fit`
        ends: :math:`a \leftarrow m a + (1 - m) p` after each step; the first copies.
    ema_momentum : float, default 0.99
        m, in [0, 1).

    Attributes
    ----------
    full_batch : bool
        Whether each step takes all rows.
    """

    full_batch: ClassVar[bool] = False

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    weight_decay: float = 0.0
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99

    def __setattr__(self, name: str, value: object) -> None:
        """Check a hyper-parameter whenever it is set, before anything is done with it."""
        if name == "learning_rate" and isinstance(value, (Schedule, dict, type)):
            value = schedules.get(value)
        elif name in ("nesterov", "centered", "use_ema", "amsgrad"):
            value = checks.boolean(name, value)
        elif name in ("clipvalue", "global_clipnorm", "clipnorm"):
            value = None if value is None else checks.number(name, value, is_positive=True)
            other = {"clipnorm": "global_clipnorm", "global_clipnorm": "clipnorm"}.get(name, "")
            if value is not None and getattr(self, other or name, None) is not None and other:
                raise ValueError(f"give {name} or {other}, not both")
        elif name in ("beta_1", "beta_2", "rho", "momentum", "ema_momentum"):
            value = checks.number(name, value, least=0, below=1)
        elif name in _names(self):
            value = checks.number(name, value, least=0)
        else:
            raise AttributeError(f"{type(self).__name__} has no hyper-parameter {name!r}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show the learning rate, and what else is not its default."""
        fields = self.__dataclass_fields__.values()
        shown = {field.name: getattr(self, field.name) for field in fields}
        changed = {field.name for field in fields if shown[field.name] != field.default} | {
            "learning_rate"
        }
        inside = ", ".join(f"{name}={v!r}" for name, v in shown.items() if name in changed)
        return f"{type(self).__name__}({inside})"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`; "" where another program makes the steps."""
        return self.name

    @property
    def kernel_slots(self) -> list[str]:
        """Names of the state that the row keeps for each parameter."""
        return [slot for slot in OPTIMIZERS[self.kernel][0].split(",") if slot]

    @property
    def slots(self) -> list[str]:
        """Names of all state kept for each parameter."""
        return self.kernel_slots + ["average"] * self.use_ema

    @property
    def coupled_weight_decay(self) -> float:
        """What is added to the gradient, times the parameter."""
        return self.weight_decay

    @property
    def initial_states(self) -> list[float]:
        """What each of the slots starts from."""
        return [0.0] * len(self.slots)

    def rates(self, first: int, count: int = 1) -> np.ndarray:
        """Return the learning rates of `count` steps, the first of which has number `first`.

        Parameters
        ----------
        first : int
            Counted from 0: the updates made before it.
        count : int, default 1

        Returns
        -------
        ndarray of float64, shape (count,)
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.rates_from(first, count)
        rates = np.empty(count)
        rates.fill(self.learning_rate)
        return rates

    def trainer(self, trainers: Trainers) -> Any:
        """Return the trainer of `fit`: one of those that it is offered."""
        return trainers.steps()

    def rows_of_a_step(self, batch_size: int | None, rows: int) -> int:
        """Return how many of `rows` rows a step takes; of None, as many as suit the optimizer.

        Raises
        ------
        ValueError
            It takes all rows, and batch_size is less.
        """
        if not self.full_batch:
            return min(BATCH_SIZE if batch_size is None else batch_size, rows)
        if batch_size is not None and batch_size < rows:
            raise ValueError(
                f"batch_size must be left out, or be all {rows} rows, for {type(self).__name__}, "
                f"each step of which takes all rows; got {batch_size}"
            )
        return rows

    def kernel_parameters(self) -> tuple[float, ...]:
        """Return the row's hyper-parameters in the row's order."""
        names = [name for name in OPTIMIZERS[self.kernel][1].split(",") if name]
        return tuple(float(getattr(self, name)) for name in names)
