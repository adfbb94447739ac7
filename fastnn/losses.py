"""Losses: what `compile(loss=...)` takes. Declarations only; the arithmetic is in `src_c`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.registry import Declaration, Registry
from fastnn.program.ops import LOSSES, EmitOp, Op, Value
from fastnn.program.python_ops import LossCode


class Loss(Declaration):
    """A loss of the predictions of a batch: the mean over its samples.

    Attributes
    ----------
    name : str
        What `compile(loss=name)` is told.
    takes_labels : bool
        Whether y may hold class labels, besides an array of the prediction's shape.
    is_distribution : bool
        Whether a row of y that holds no label must hold probabilities that sum to 1.
    link : str or None
        The activation whose input (logits) it is defined on. Where a model ends with it the
        two are fused; where it does not, its output is taken as logits.
    target_range : tuple of float
        What the numbers of y may be, least and most.
    """

    link: ClassVar[str | None] = None
    takes_labels: ClassVar[bool] = False
    is_distribution: ClassVar[bool] = False
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def check_target(self, name: str, target: np.ndarray) -> None:
        """Raise ValueError where a target is not in `target_range`; labels are not looked at."""
        least, most = self.target_range
        if target.size == 0 or (least, most) == (-math.inf, math.inf):
            return
        low, high = target.min(), target.max()
        if low < least or high > most:
            allowed = (
                f"lie in [{least:g}, {most:g}]" if most < math.inf else f"be at least {least:g}"
            )
            raise ValueError(f"{name} must {allowed} for this loss, got {low} to {high}")

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op: outputs are the loss of each row, then the gradient if asked for."""
        if target.dtype == "label":
            raise ValueError(f"loss {self.name!r} compares numbers, but y holds class labels")
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


class Huber(Loss):
    r"""Mean over samples and outputs of Huber's loss; name ``"huber"``.

    :math:`d^2 / 2` where :math:`|d| \le \delta`, else :math:`\delta (|d| - \delta / 2)`, with
    :math:`d = p - t` (Huber 1964).

    Parameters
    ----------
    delta : float, default 1.0
        Where it turns from a square into a line; positive.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Huber(delta=0.5)
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = checks.number("delta", delta, is_positive=True)


class BinaryCrossentropy(Loss):
    r"""Mean over samples and outputs of the binary cross-entropy; name ``"binary_crossentropy"``.

    On logits z: :math:`\max(z, 0) - z t + \log(1 + e^{-|z|})`, with t in [0, 1]. A model that
    ends with ``sigmoid`` is trained on what goes into it, which is the same number computed
    without overflow; otherwise the model's output is taken as logits.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        In [0, 1): t is taken so far towards 1/2, as in Keras.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("binary_crossentropy").link
    'sigmoid'
    """

    name: ClassVar[str] = "binary_crossentropy"
    link: ClassVar[str | None] = "sigmoid"
    target_range: ClassVar[tuple[float, float]] = (0, 1)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = checks.number("label_smoothing", label_smoothing, least=0, below=1)


class LogCosh(Loss):
    r"""Mean over samples and outputs of :math:`\log \cosh(p - t)`; name ``"log_cosh"``.

    Like half the square for small errors, like the magnitude for large ones, and smooth.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("log_cosh")
    LogCosh()
    """

    name: ClassVar[str] = "log_cosh"


class Quantile(Loss):
    r"""Mean over samples and outputs of the pinball loss; name ``"quantile"``.

    :math:`\max(q (t - p), (q - 1) (t - p))`, which is least where a share q of the targets lies
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

    def __init__(self, quantile: float = 0.5) -> None:
        self.quantile = checks.number("quantile", quantile, is_positive=True, below=1)


class Poisson(Loss):
    r"""Mean over samples and outputs of Poisson's loss, for counts; name ``"poisson"``.

    On the logarithm z of the rate: :math:`e^z - t z` with t at least 0, which is the negative
    logarithm of the likelihood but for what depends on t alone (PyTorch's form). A model that
    ends with ``exponential`` gives the rate and is trained on what goes into it; otherwise the
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


class Hinge(Loss):
    r"""Mean over samples and outputs of :math:`\max(1 - t p, 0)`; name ``"hinge"``.

    For two classes, with t either -1 or 1. (Keras takes 0 for -1; here that is an error.)

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("hinge")
    Hinge()
    """

    name: ClassVar[str] = "hinge"
    target_range: ClassVar[tuple[float, float]] = (-1, 1)

    def check_target(self, name: str, target: np.ndarray) -> None:
        """Raise ValueError where a target is 0 or beyond 1."""
        super().check_target(name, target)
        if target.size and not target.all():
            raise ValueError(f"{name} must be -1 or 1 for this loss, got 0; use 2 * {name} - 1")


class Crossentropy(Loss):
    r"""Mean over samples of the cross-entropy of softmax; name ``"crossentropy"``.

    On logits z: :math:`\log \sum_j e^{z_j} - z_t` for an integer label t, or
    :math:`-\sum_j t_j \log \mathrm{softmax}(z)_j` for probabilities; which of the two is told
    by dtype and shape of y. A model that ends with ``softmax`` is trained on what goes into it;
    otherwise its output is taken as logits.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        In [0, 1): that share of each target is spread evenly over all classes (Szegedy et al.
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

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = checks.number("label_smoothing", label_smoothing, least=0, below=1)

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op: outputs are the loss of each row, then the gradient if asked for."""
        return _on_logits(emit, scores, target, gradient, label_smoothing=self.label_smoothing)


class KLDivergence(Loss):
    r"""Mean over samples of Kullback and Leibler's divergence; name ``"kl_divergence"``.

    On logits z, with probabilities t: :math:`\sum_j t_j (\log t_j - \log \mathrm{softmax}(z)_j)`,
    the cross-entropy without the entropy of t: 0 where the model gives t itself. A model that
    ends with ``softmax`` is trained on what goes into it; otherwise its output is taken as
    logits.

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

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op: outputs are the loss of each row, then the gradient if asked for."""
        return _on_logits(emit, scores, target, gradient, is_divergence=True)


class Custom(Loss):
    r"""A loss of your own, with its derivative; both run in Python.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns the loss of each sample, shape (rows,), or of each
        output, the shape of y_pred, of which the mean over the outputs is taken. Both are arrays
        of the model's dtype and of the shape of its output, (rows, ...), that must not be
        changed; of one output both are (rows, 1). Do not take the mean over the rows.
    derivative : callable
        ``derivative(y_true, y_pred)`` returns the derivative of what `function` returns by
        y_pred, in the shape of y_pred: of a sample's loss by each of its outputs, or of each
        output's by that output. It is divided here by what the mean is taken over.
    name : str, optional
        What messages and files call it; default: that of the function, or "custom" if it has
        none.
    takes_labels : bool, default False
        Whether y may hold class labels, as for ``"crossentropy"``: y_true is then of int32, shape
        (rows,).

    Raises
    ------
    TypeError
        There is no derivative.

    Notes
    -----
    `fastnn.gradcheck` compares the derivative with differences of the function. The prediction is
    what the model's last layer gives; nothing is taken for logits. A file keeps the name alone:
    give ``load(path, custom_objects={name: loss})`` the loss.

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
                "of the loss by y_pred, in its shape; fastnn.gradcheck(model, x, y) tells whether "
                "it is right"
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
        vars(self).update(name=name, takes_labels=takes_labels)  # other losses' are their class's

    def config(self) -> dict[str, Any]:
        """Return its name; no file can hold functions."""
        return {"name": self.name}

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op: outputs are the loss of each row, then the gradient if asked for."""
        code = LossCode(self.function, self.derivative, self.name)
        shapes = ((), scores.shape if gradient else None)
        return emit("python_loss", (scores, target), shapes, code=code)


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
