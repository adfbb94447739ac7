"""Losses: what `compile(loss=...)` takes. Declarations only; the arithmetic is in `src_c`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fastnn.core import checks, hints
from fastnn.core.declare import Declaration, number
from fastnn.core.registry import Registry
from fastnn.program.ops import LOSSES, EmitOp, Op, Value
from fastnn.program.python_ops import LossCode


class BestConstant(NamedTuple):
    """The constant prediction with the smallest loss.

    Attributes
    ----------
    prediction : ndarray, shape (outputs,)
        Outputs of the loss's link, if it has one: probabilities or rates, not logits.
    loss : float
    """

    prediction: np.ndarray
    loss: float


class Loss(Declaration):
    """The loss of a batch of predictions: the mean over its samples.

    Attributes
    ----------
    name : str
        The name that `compile(loss=name)` takes.
    takes_labels : bool
        Whether y may hold class labels as an alternative to an array of the prediction's shape.
    is_distribution : bool
        Whether a row of y that is not a label must hold probabilities that sum to 1.
    link : str or None
        The activation on whose input (the logits) the loss is defined. If a model ends with it,
        the two are fused; otherwise the model's output is taken as logits.
    target_range : tuple of float
        The smallest and the largest number that y may hold.
    neutral_target : float
        A number that y may hold, for rows of weight 0 whose own does not fit.
    """

    link: ClassVar[str | None] = None
    takes_labels: ClassVar[bool] = False
    is_distribution: ClassVar[bool] = False
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    neutral_target: ClassVar[float] = 0.0

    def are_targets(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each number whether y may hold it; NaN never."""
        least, most = self.target_range
        return (numbers >= least) & (numbers <= most)

    @property
    def is_checked_by_range(self) -> bool:
        """Whether y may hold every label, or every array of numbers in `target_range`."""
        kind = type(self)
        has_own = (kind.check_target, kind.are_targets) != (Loss.check_target, Loss.are_targets)
        return self.takes_labels or not (has_own or self.is_distribution)

    def check_target(self, name: str, target: np.ndarray) -> None:
        """Raise ValueError if a target is not in `target_range`; labels are not checked."""
        least, most = self.target_range
        if target.size == 0 or (least, most) == (-math.inf, math.inf):
            return
        low, high = target.min(), target.max()
        if low < least or high > most:
            allowed = (
                f"lie in [{least:g}, {most:g}]" if most < math.inf else f"be at least {least:g}"
            )
            raise ValueError(f"{name} must {allowed} for this loss, got {low} to {high}")

    def threshold(self, output: Value, target: Value) -> float | None:
        """Return the score above which an output is positive, if each is a decision of its own.

        Return None if the largest of the outputs is the class.
        """
        if self.link == "sigmoid":
            return 0.0  # for a logit
        return 0.5 if output.width == 1 and target.dtype != "label" else None

    def best_constant(self, targets: np.ndarray) -> BestConstant | None:
        """Return the constant prediction with the smallest loss, and that loss.

        Parameters
        ----------
        targets : ndarray, shape (rows, outputs), or (rows,) of class labels

        Returns
        -------
        BestConstant or None
            None if it is not known.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> fnn.losses.get("mse").best_constant(np.array([[1.0], [3.0]]))
        BestConstant(prediction=array([2.]), loss=1.0)
        """
        return None

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op, which outputs the loss of each row, then the gradient if requested."""
        if target.dtype == "label":
            raise ValueError(f"loss {self.name!r} compares numbers, but y holds class labels")
        if self.name not in LOSSES:
            raise TypeError(
                f"loss {type(self).__name__} has no formula: use losses.Custom(function, "
                "derivative), or derive it from a loss that has one"
            )
        parameter = LOSSES[self.name][1]
        number = float(getattr(self, parameter)) if parameter else 0.0
        return emit(
            "elementwise_loss",
            (scores, target),
            ((), scores.shape if gradient else None),
            loss=self.name,
            parameter=number,
        )


class MeanSquaredError(Loss):
    r"""Mean over samples and outputs of :math:`(p - t)^2`; name ``"mse"``.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("mse")
    MeanSquaredError()
    """

    name: ClassVar[str] = "mse"

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the mean of each output; its loss is the variance."""
        variances = np.var(targets, axis=0, dtype=np.float64)
        return BestConstant(targets.mean(axis=0, dtype=np.float64), float(variances.mean()))


class MeanAbsoluteError(Loss):
    r"""Mean over samples and outputs of :math:`|p - t|`; name ``"mae"``.

    The derivative at 0 is 0, as in PyTorch.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("mae")
    MeanAbsoluteError()
    """

    name: ClassVar[str] = "mae"

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the median of each output."""
        best = np.median(targets, axis=0)
        return BestConstant(best, float(np.abs(targets - best).mean(dtype=np.float64)))


class Huber(Loss):
    r"""Mean over samples and outputs of Huber's loss; name ``"huber"``.

    :math:`d^2 / 2` where :math:`|d| \le \delta`, else :math:`\delta (|d| - \delta / 2)`, with
    :math:`d = p - t` (Huber 1964).

    Parameters
    ----------
    delta : float, default 1.0
        The distance at which the loss changes from quadratic to linear; positive.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Huber(delta=0.5)
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"

    delta: float = number(default=1.0, is_positive=True)

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the constant for which the clipped distances of each output sum to 0."""
        best = _root(lambda p: np.clip(p - targets, -self.delta, self.delta).mean(axis=0), targets)
        size = np.abs(best - targets)
        line = self.delta * (size - self.delta / 2)
        return BestConstant(best, float(np.where(size <= self.delta, size**2 / 2, line).mean()))


class BinaryCrossentropy(Loss):
    r"""Mean over samples and outputs of the binary cross-entropy; name ``"binary_crossentropy"``.

    On logits z: :math:`\max(z, 0) - z t + \log(1 + e^{-|z|})`, with t in [0, 1]. A model that
    ends with ``sigmoid`` is trained on the sigmoid's input, which yields the same loss without
    overflow; otherwise the model's output is taken as logits.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        In [0, 1): t is moved towards 1/2 by this fraction, as in Keras.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("binary_crossentropy").link
    'sigmoid'
    """

    name: ClassVar[str] = "binary_crossentropy"
    link: ClassVar[str | None] = "sigmoid"
    target_range: ClassVar[tuple[float, float]] = (0, 1)

    label_smoothing: float = number(default=0.0, least=0, below=1)

    def best_constant(self, targets: np.ndarray) -> BestConstant | None:
        """Return the mean of each output, as a probability; None with label smoothing."""
        if self.label_smoothing:
            return None
        means = targets.mean(axis=0, dtype=np.float64)
        loss = np.mean([_entropy(np.array([mean, 1 - mean])) for mean in means])
        return BestConstant(means, float(loss))


class LogCosh(Loss):
    r"""Mean over samples and outputs of :math:`\log \cosh(p - t)`; name ``"log_cosh"``.

    It is smooth: like half the square for small errors, like the magnitude for large ones.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("log_cosh")
    LogCosh()
    """

    name: ClassVar[str] = "log_cosh"

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the constant for which the derivatives of each output sum to 0."""
        best = _root(lambda p: np.tanh(p - targets).mean(axis=0), targets)
        size = np.abs(best - targets)
        losses = size + np.log1p(np.exp(-2 * size)) - math.log(2)
        return BestConstant(best, float(losses.mean(dtype=np.float64)))


class Quantile(Loss):
    r"""Mean over samples and outputs of the pinball loss; name ``"quantile"``.

    :math:`\max(q (t - p), (q - 1) (t - p))`, which is minimal if a fraction q of the targets lies
    below the prediction (Koenker & Bassett 1978). With q = 1/2 it is half of ``"mae"``.

    Parameters
    ----------
    quantile : float, default 0.5
        q, in (0, 1).

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Quantile(0.9)
    Quantile(quantile=0.9)
    """

    name: ClassVar[str] = "quantile"

    quantile: float = number(default=0.5, is_positive=True, below=1)

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the quantile of each output."""
        best = np.quantile(targets, self.quantile, axis=0, method="inverted_cdf")
        error = targets - best
        losses = np.maximum(self.quantile * error, (self.quantile - 1) * error)
        return BestConstant(best, float(losses.mean(dtype=np.float64)))


class Poisson(Loss):
    r"""Mean over samples and outputs of Poisson's loss, for counts; name ``"poisson"``.

    On the logarithm z of the rate: :math:`e^z - t z` with t at least 0, which is the negative
    log-likelihood except for terms that depend only on t (PyTorch's form). A model that ends with
    ``exponential`` outputs the rate and is trained on the exponential's input; otherwise the
    model's output is taken as the logarithm of the rate.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("poisson").link
    'exponential'
    """

    name: ClassVar[str] = "poisson"
    link: ClassVar[str | None] = "exponential"
    target_range: ClassVar[tuple[float, float]] = (0, math.inf)

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the mean of each output, as a rate."""
        rates = targets.mean(axis=0, dtype=np.float64)
        logarithms = np.log(rates, where=rates > 0, out=np.zeros(rates.shape))
        return BestConstant(rates, float((rates - rates * logarithms).mean()))


class Hinge(Loss):
    r"""Mean over samples and outputs of :math:`\max(1 - t p, 0)`; name ``"hinge"``.

    For two classes, with t either -1 or 1. (Keras takes 0 as -1; here 0 is an error.)

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("hinge")
    Hinge()
    """

    name: ClassVar[str] = "hinge"
    target_range: ClassVar[tuple[float, float]] = (-1, 1)
    neutral_target: ClassVar[float] = 1.0

    def are_targets(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each number whether y may hold it: 0 is no class."""
        return super().are_targets(numbers) & (numbers != 0)

    def threshold(self, output: Value, target: Value) -> float | None:
        """Return 0 for one output, whose sign determines the class; None for several."""
        return 0.0 if output.width == 1 else None

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the more frequent of the two classes of each output."""
        shares = (targets > 0).mean(axis=0)
        best = np.where(shares >= 0.5, 1.0, -1.0)
        return BestConstant(best, float(2 * np.minimum(shares, 1 - shares).mean()))

    def check_target(self, name: str, target: np.ndarray) -> None:
        """Raise ValueError if a target is 0 or its magnitude exceeds 1."""
        super().check_target(name, target)
        if target.size and not target.all():
            raise ValueError(f"{name} must be -1 or 1 for this loss, got 0; use 2 * {name} - 1")


class Crossentropy(Loss):
    r"""Mean over samples of the cross-entropy of softmax; name ``"crossentropy"``.

    On logits z: :math:`\log \sum_j e^{z_j} - z_t` for an integer label t, or
    :math:`-\sum_j t_j \log \mathrm{softmax}(z)_j` for probabilities; the dtype and shape of y
    determine which of the two it holds. A model that ends with ``softmax`` is trained on the
    softmax's input; otherwise its output is taken as logits.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        In [0, 1): this fraction of each target is spread evenly over all classes (Szegedy et al.
        2016), as in Keras and PyTorch.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("crossentropy").link
    'softmax'
    """

    name: ClassVar[str] = "crossentropy"
    link: ClassVar[str | None] = "softmax"
    takes_labels: ClassVar[bool] = True
    is_distribution: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0, 1)

    label_smoothing: float = number(default=0.0, least=0, below=1)

    def best_constant(self, targets: np.ndarray) -> BestConstant | None:
        """Return the frequency of each class as a probability; None with label smoothing."""
        if self.label_smoothing:
            return None
        shares = _shares(targets)
        return BestConstant(shares, _entropy(shares))

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op, which outputs the loss of each row, then the gradient if requested."""
        return _on_logits(emit, scores, target, gradient, label_smoothing=self.label_smoothing)


class KLDivergence(Loss):
    r"""Mean over samples of the Kullback-Leibler divergence; name ``"kl_divergence"``.

    On logits z, with probabilities t: :math:`\sum_j t_j (\log t_j - \log \mathrm{softmax}(z)_j)`,
    the cross-entropy minus the entropy of t: 0 if the model outputs t itself. A model that ends
    with ``softmax`` is trained on the softmax's input; otherwise its output is taken as logits.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("kl_divergence").link
    'softmax'
    """

    name: ClassVar[str] = "kl_divergence"
    link: ClassVar[str | None] = "softmax"
    is_distribution: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0, 1)

    def best_constant(self, targets: np.ndarray) -> BestConstant:
        """Return the mean of each class's probability."""
        shares = _shares(targets)
        return BestConstant(shares, _entropy(shares) - _entropy(targets) / len(targets))

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op, which outputs the loss of each row, then the gradient if requested."""
        return _on_logits(emit, scores, target, gradient, is_divergence=True)


class Custom(Loss):
    r"""A loss of your own, with its derivative; both run in Python.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns the loss of each sample, shape (rows,), or of each
        output, the shape of y_pred; in the latter case the mean over the outputs is taken. Both
        arguments are arrays of the model's dtype and of the shape of its output, (rows, ...),
        that must not be changed; for one output unit both are (rows, 1). Do not take the mean over
        the rows.
    derivative : callable
        ``derivative(y_true, y_pred)`` returns the derivative of what `function` returns with
        respect to y_pred, in the shape of y_pred: of a sample's loss with respect to each of its
        outputs, or of each output's loss with respect to that output. The division by the number
        of terms of the mean is done here.
    name : str, optional
        Its name in messages and files; default: that of the function, or "custom" if it has
        none.
    takes_labels : bool, default False
        Whether y may hold class labels, as for ``"crossentropy"``: y_true then has dtype int64
        and shape (rows,).

    Raises
    ------
    TypeError
        The derivative is missing.

    Notes
    -----
    `fastnn.gradcheck` compares the derivative with differences of the function. The prediction is
    the output of the model's last layer; nothing is taken as logits. A file stores only the name:
    pass the loss to ``load(path, custom_objects={name: loss})``.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> def cubic(y_true, y_pred):
    ...     return np.abs(y_pred - y_true) ** 3
    >>> def slope(y_true, y_pred):
    ...     return 3 * (y_pred - y_true) * np.abs(y_pred - y_true)
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    >>> model.compile("adam", fnn.losses.Custom(cubic, slope))
    >>> fnn.gradcheck(model, x, x.sum(axis=1))
    True
    >>> round(model.evaluate(x, model.predict(x) + 2)["loss"], 3)
    8.0
    """

    name = "custom"

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray], object],
        derivative: Callable[[np.ndarray, np.ndarray], object] | None = None,
        name: str | None = None,
        *,
        takes_labels: bool = False,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        if derivative is None:
            raise TypeError(
                "derivative must be given: a function (y_true, y_pred) that returns the derivative "
                "of the loss with respect to y_pred, in its shape; fastnn.gradcheck(model, x, y) "
                "tells whether it is right"
            )
        if not callable(derivative):
            raise TypeError(f"derivative must be callable, got {derivative!r}")
        if name is None:
            name = getattr(function, "__name__", "custom")
            name = name if name.isidentifier() and name not in registry else "custom"
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be a non-empty string, got {name!r}")
        if name in registry:
            raise ValueError(f"name must not be that of another loss, got {name!r}")
        self.function, self.derivative = function, derivative
        takes_labels = checks.boolean("takes_labels", takes_labels)
        vars(self).update(name=name, takes_labels=takes_labels)  # class attributes elsewhere

    def config(self) -> dict[str, Any]:
        """Return the name; functions cannot be stored in a file."""
        return {"name": self.name}

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op, which outputs the loss of each row, then the gradient if requested."""
        code = LossCode(self.function, self.derivative, self.name)
        shapes = ((), scores.shape if gradient else None)
        return emit("python_loss", (scores, target), shapes, code=code)


def _shares(targets: np.ndarray) -> np.ndarray:
    """Return the frequency of each class among labels or rows of probabilities."""
    if targets.ndim == 1:
        return np.bincount(targets) / len(targets)
    return targets.mean(axis=0, dtype=np.float64)


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _root(rising: Callable[[np.ndarray], np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Return the root, for each output, of an increasing function of a constant, by bisection."""
    low, high = targets.min(axis=0).astype(np.float64), targets.max(axis=0).astype(np.float64)
    for _ in range(50):
        middle = (low + high) / 2
        is_above = rising(middle) > 0
        low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
    return (low + high) / 2


def _on_logits(
    emit: EmitOp, scores: Value, target: Value, gradient: bool, **attributes: object
) -> Op:
    shapes = ((), scores.shape, None) if gradient else ((), None, scores.shape)
    return emit("softmax_crossentropy", (scores, target), shapes, **attributes)


registry = Registry("loss", Loss)
for _loss in (
    MeanSquaredError,
    MeanAbsoluteError,
    Huber,
    LogCosh,
    Quantile,
    Poisson,
    Hinge,
    BinaryCrossentropy,
    Crossentropy,
    KLDivergence,
):
    registry.add(_loss)


def get(what: object) -> Loss:
    """Return the loss that `what` stands for; see `Registry.get`.

    Parameters
    ----------
    what : str, dict or Loss

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        The name is unknown; the nearest one is suggested.
    TypeError
        `what` is something else, such as a function.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("huber")
    Huber(delta=1.0)
    """
    if callable(what) and not isinstance(what, type):
        raise TypeError(
            f"loss must be a name or a Loss, got {what!r}: a function needs its derivative beside "
            "it, fastnn.losses.Custom(function, derivative)"
        )
    return registry.get(what)


if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, [registry[name].__name__ for name in registry])
