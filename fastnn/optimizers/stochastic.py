"""Optimizers that take a step with each batch. The arithmetic is in `src_c/optimizers.h`."""

from __future__ import annotations

from typing import ClassVar

from fastnn.core.declare import boolean, checked, number
from fastnn.optimizers.base import Optimizer, decay
from fastnn.schedules import Schedule


class SGD(Optimizer):
    r"""Stochastic gradient descent, optionally with momentum.

    :math:`v \leftarrow \mu v + g`, :math:`p \leftarrow p - \eta v`; with Nesterov
    :math:`p \leftarrow p - \eta (g + \mu v)` (Sutskever et al. 2013, PyTorch's form: the
    learning rate multiplies the velocity when it is applied, not when it accumulates).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    momentum : float, default 0.0
        In [0, 1).
    nesterov : bool, default False
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.SGD(0.1, momentum=0.9).slots
    ['velocity']
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = number(default=0.0, least=0, below=1)
    nesterov: bool = boolean(default=False)
    name: ClassVar[str] = "sgd"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "momentum" if self.momentum else "sgd"

    def check_together(self) -> None:
        """Raise ValueError for Nesterov without momentum, which would be plain SGD."""
        super().check_together()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum above 0")


class Adagrad(Optimizer):
    r"""Adagrad (Duchi et al. 2011).

    :math:`s \leftarrow s + g^2`, :math:`p \leftarrow p - \eta g / (\sqrt s + \epsilon)`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    initial_accumulator_value : float, default 0.1
        Initial value of s.
    epsilon : float, default 1e-7
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Adagrad().slots
    ['accumulator']
    """

    learning_rate: float | Schedule = 0.001
    initial_accumulator_value: float = number(default=0.1, least=0)
    epsilon: float = number(default=1e-7, least=0)
    name: ClassVar[str] = "adagrad"

    @property
    def kernel_states(self) -> list[float]:
        """The initial value of each slot of the kernel."""
        return [self.initial_accumulator_value]


class RMSprop(Optimizer):
    r"""RMSprop (Tieleman & Hinton 2012), optionally with momentum and centering (Graves 2013).

    :math:`s \leftarrow \rho s + (1 - \rho) g^2`, :math:`d = g / (\sqrt s + \epsilon)`,
    :math:`p \leftarrow p - \eta d`. If centered, :math:`s - m^2` replaces s under the root, with m
    the running mean of g. With momentum, :math:`v \leftarrow \mu v + d` replaces d. (Keras puts
    epsilon inside the root; this is PyTorch's form.)

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    rho : float, default 0.9
        In [0, 1).
    momentum : float, default 0.0
        In [0, 1).
    epsilon : float, default 1e-7
    centered : bool, default False
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.RMSprop(centered=True).slots
    ['mean_square', 'mean']
    """

    learning_rate: float | Schedule = 0.001
    rho: float = number(default=0.9, least=0, below=1)
    momentum: float = number(default=0.0, least=0, below=1)
    epsilon: float = number(default=1e-7, least=0)
    centered: bool = boolean(default=False)
    name: ClassVar[str] = "rmsprop"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return "rmsprop" + "_centered" * self.centered + "_momentum" * bool(self.momentum)


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
        Whether to use the largest v so far in place of v (Reddi et al. 2018).
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Adam(1e-3).slots
    ['mean', 'variance']
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = number(default=0.9, least=0, below=1)
    beta_2: float = number(default=0.999, least=0, below=1)
    epsilon: float = number(default=1e-7, least=0)
    amsgrad: bool = boolean(default=False)
    name: ClassVar[str] = "adam"

    @property
    def kernel(self) -> str:
        """The row of `src_c/optimizers.h`."""
        return self.name + "_amsgrad" * self.amsgrad


class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    :math:`p \leftarrow p - \eta \lambda p` before Adam's step; the decay does not enter the
    gradient.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    amsgrad : bool, default False
        As in `Adam`.
    weight_decay : float or Schedule, default 0.004
        Lambda; decoupled.
    clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.AdamW().weight_decay
    0.004
    """

    weight_decay: float | Schedule = checked(decay, default=0.004, kw_only=True)
    name: ClassVar[str] = "adamw"

    @property
    def coupled_weight_decay(self) -> float:
        """The factor with which the parameter is added to the gradient."""
        return 0.0

    @property
    def decoupled_weight_decay(self) -> float | Schedule:
        """The fraction of the parameter that is subtracted, times the learning rate."""
        return self.weight_decay


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form.

    With :math:`\mu_t = \beta_1 (1 - 0.96^{t \psi} / 2)` and :math:`P_t` the product of all
    :math:`\mu` up to t, m and v as in `Adam`:
    :math:`p \leftarrow p - \eta \left(\frac{1 - \mu_t}{1 - P_t} g +
    \frac{\mu_{t+1}}{1 - P_{t+1}} m\right) / (\sqrt{v / (1 - \beta_2^t)} + \epsilon)`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    momentum_decay : float, default 0.004
        Psi, with PyTorch's default. (Keras has no such argument; it uses 1.)
    weight_decay, clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.NAdam().slots
    ['mean', 'variance', 'momentum_product']
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = number(default=0.9, least=0, below=1)
    beta_2: float = number(default=0.999, least=0, below=1)
    epsilon: float = number(default=1e-7, least=0)
    momentum_decay: float = number(default=0.004, least=0)
    name: ClassVar[str] = "nadam"

    @property
    def kernel_states(self) -> list[float]:
        """The initial value of each slot of the kernel."""
        return [0.0, 0.0, 1.0]


class Lion(Optimizer):
    r"""Lion: steps of equal size in the direction of a sign (Chen et al. 2023).

    :math:`p \leftarrow p - \eta (\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda p)`, then
    :math:`m \leftarrow \beta_2 m + (1 - \beta_2) g`. It needs a learning rate 3 to 10 times
    smaller than Adam's, and a weight decay larger by the same factor.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay : float or Schedule, default 0.0
        Lambda; decoupled.
    clipvalue, global_clipnorm, clipnorm, use_ema, ema_momentum
        As in `fastnn.optimizers.Optimizer`, which has further ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Lion(1e-4).slots
    ['mean']
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = number(default=0.9, least=0, below=1)
    beta_2: float = number(default=0.99, least=0, below=1)
    name: ClassVar[str] = "lion"

    @property
    def coupled_weight_decay(self) -> float:
        """The factor with which the parameter is added to the gradient."""
        return 0.0

    @property
    def decoupled_weight_decay(self) -> float | Schedule:
        """The fraction of the parameter that is subtracted, times the learning rate."""
        return self.weight_decay
