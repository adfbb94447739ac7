"""Optimizers: names, hyper-parameters and state slots. The arithmetic is in `src_c/optimizers.h`.

Names and defaults are Keras', formulas PyTorch's: epsilon stands outside the square root, the
first step needs no special case, and `weight_decay` is coupled (L2: it is added to the
gradient) everywhere but in `AdamW`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import numpy as np

from fastnn import checks, schedules
from fastnn.program.ops import OPTIMIZERS
from fastnn.registry import Declaration, Registry
from fastnn.schedules import Schedule


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
    """

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
        """The row of `src_c/optimizers.h`."""
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
        return np.full(count, self.learning_rate)

    def kernel_parameters(self) -> tuple[float, ...]:
        """Return the row's hyper-parameters in the row's order."""
        names = [name for name in OPTIMIZERS[self.kernel][1].split(",") if name]
        return tuple(float(getattr(self, name)) for name in names)


@dataclass(eq=False, repr=False, match_args=False)
class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum if wanted.

    :math:`v \leftarrow \mu v + g`, :math:`p \leftarrow p - \eta v`; with Nesterov
    :math:`p \leftarrow p - \eta (g + \mu v)` (Sutskever et al. 2013, PyTorch's form: the
    learning rate multiplies the velocity when it is applied, not when it is gathered).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    momentum : float, default 0.0
        In [0, 1).
    nesterov : bool, default False
    weight_decay, clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.SGD(0.1, momentum=0.9).slots
    ['velocity']
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "sgd"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "momentum" if self.momentum else "sgd"

    def __post_init__(self) -> None:
        """Refuse Nesterov without momentum, which would be plain SGD."""
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum above 0")


@dataclass(eq=False, repr=False, match_args=False)
class Adagrad(Optimizer):
    r"""Adagrad (Duchi et al. 2011).

    :math:`s \leftarrow s + g^2`, :math:`p \leftarrow p - \eta g / (\sqrt s + \epsilon)`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    initial_accumulator_value : float, default 0.1
        What s starts from.
    epsilon : float, default 1e-7
    weight_decay, clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Adagrad().slots
    ['accumulator']
    """

    learning_rate: float | Schedule = 0.001
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    name: ClassVar[str] = "adagrad"

    @property
    def initial_states(self) -> list[float]:
        """What each of the slots starts from."""
        return [self.initial_accumulator_value] + [0.0] * self.use_ema


@dataclass(eq=False, repr=False, match_args=False)
class RMSprop(Optimizer):
    r"""RMSprop (Tieleman & Hinton 2012), with momentum and centering (Graves 2013) if wanted.

    :math:`s \leftarrow \rho s + (1 - \rho) g^2`, :math:`d = g / (\sqrt s + \epsilon)`,
    :math:`p \leftarrow p - \eta d`. Centered, :math:`s - m^2` takes the place of s under the
    root, with m the running mean of g. With momentum :math:`v \leftarrow \mu v + d` takes the
    place of d. (Keras puts epsilon inside the root; this is PyTorch's form.)

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    rho : float, default 0.9
        In [0, 1).
    momentum : float, default 0.0
        In [0, 1).
    epsilon : float, default 1e-7
    centered : bool, default False
    weight_decay, clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.RMSprop(centered=True).slots
    ['mean_square', 'mean']
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    name: ClassVar[str] = "rmsprop"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "rmsprop" + "_centered" * self.centered + "_momentum" * bool(self.momentum)


@dataclass(eq=False, repr=False, match_args=False)
class Adam(Optimizer):
    r"""Adam (Kingma & Ba 2015).

    :math:`m \leftarrow \beta_1 m + (1 - \beta_1) g`,
    :math:`v \leftarrow \beta_2 v + (1 - \beta_2) g^2`,
    :math:`p \leftarrow p - \frac{\eta}{1 - \beta_1^t} \cdot
    \frac{m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    amsgrad : bool, default False
        Let the largest v so far stand in place of v (Reddi et al. 2018).
    weight_decay, clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Adam(1e-3).slots
    ['mean', 'variance']
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    name: ClassVar[str] = "adam"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return self.name + "_amsgrad" * self.amsgrad


@dataclass(eq=False, repr=False, match_args=False)
class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    :math:`p \leftarrow p - \eta \lambda p` before Adam's step; the decay is not in the gradient.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    amsgrad : bool, default False
        As in `Adam`.
    weight_decay : float, default 0.004
        Lambda; decoupled.
    clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.AdamW().weight_decay
    0.004
    """

    weight_decay: float = field(default=0.004, kw_only=True)
    name: ClassVar[str] = "adamw"

    @property
    def coupled_weight_decay(self) -> float:
        """What is added to the gradient, times the parameter."""
        return 0.0

    @property
    def decoupled_weight_decay(self) -> float:
        """What the parameter loses, times the learning rate."""
        return self.weight_decay


@dataclass(eq=False, repr=False, match_args=False)
class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form.

    With :math:`\mu_t = \beta_1 (1 - 0.96^{t \psi} / 2)` and :math:`P_t` the product of all
    :math:`\mu` up to t, m and v as in `Adam`:
    :math:`p \leftarrow p - \eta \left(\frac{1 - \mu_t}{1 - P_t} g +
    \frac{\mu_{t+1}}{1 - P_{t+1}} m\right) / (\sqrt{v / (1 - \beta_2^t)} + \epsilon)`.

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    momentum_decay : float, default 0.004
        Psi, PyTorch's default. (Keras has no such argument; its number is 1.)
    weight_decay, clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.NAdam().slots
    ['mean', 'variance', 'momentum_product']
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    momentum_decay: float = 0.004
    name: ClassVar[str] = "nadam"

    @property
    def initial_states(self) -> list[float]:
        """What each of the slots starts from."""
        return [0.0, 0.0, 1.0] + [0.0] * self.use_ema


@dataclass(eq=False, repr=False, match_args=False)
class Lion(Optimizer):
    r"""Lion: steps of one size, in the direction of a sign (Chen et al. 2023).

    :math:`p \leftarrow p - \eta (\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda p)`, then
    :math:`m \leftarrow \beta_2 m + (1 - \beta_2) g`. It wants a learning rate 3 to 10 times
    smaller than Adam's, and a weight decay as much larger.

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay : float, default 0.0
        Lambda; decoupled.
    clipvalue, global_clipnorm
        As in `Optimizer`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Lion(1e-4).slots
    ['mean']
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.99
    name: ClassVar[str] = "lion"

    @property
    def coupled_weight_decay(self) -> float:
        """What is added to the gradient, times the parameter."""
        return 0.0

    @property
    def decoupled_weight_decay(self) -> float:
        """What the parameter loses, times the learning rate."""
        return self.weight_decay


registry = Registry("optimizer", Optimizer)
for _optimizer in (SGD, Adagrad, RMSprop, Adam, AdamW, NAdam, Lion):
    registry.add(_optimizer)
get = registry.get
