"""Losses: what `compile(loss=...)` takes. Declarations only; the arithmetic is in `src_c`."""

from __future__ import annotations

from typing import ClassVar

from fastnn import checks
from fastnn.program.ops import LOSSES, EmitOp, Op, Value
from fastnn.registry import Declaration, Registry


class Loss(Declaration):
    """A loss of the predictions of a batch: the mean over its samples.

    Attributes
    ----------
    name : str
        What `compile(loss=name)` is told.
    takes_labels : bool
        Whether y may hold class labels, besides an array of the prediction's shape.
    link : str or None
        The activation whose input (logits) it is defined on. Where a model ends with it the
        two are fused; where it does not, its output is taken as logits.
    """

    link: ClassVar[str | None] = None
    takes_labels: ClassVar[bool] = False

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

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("binary_crossentropy").link
    'sigmoid'
    """

    name: ClassVar[str] = "binary_crossentropy"
    link: ClassVar[str | None] = "sigmoid"


class Crossentropy(Loss):
    r"""Mean over samples of the cross-entropy of softmax; name ``"crossentropy"``.

    On logits z: :math:`\log \sum_j e^{z_j} - z_t` for an integer label t, or
    :math:`-\sum_j t_j \log \mathrm{softmax}(z)_j` for probabilities; which of the two is told
    by dtype and shape of y. A model that ends with ``softmax`` is trained on what goes into it;
    otherwise its output is taken as logits.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.losses.get("crossentropy").link
    'softmax'
    """

    name: ClassVar[str] = "crossentropy"
    link: ClassVar[str | None] = "softmax"
    takes_labels: ClassVar[bool] = True

    def emit(self, emit: EmitOp, scores: Value, target: Value, *, gradient: bool) -> Op:
        """Append the op: outputs are the loss of each row, then the gradient if asked for."""
        shapes = ((), scores.shape, None) if gradient else ((), None, scores.shape)
        return emit("softmax_crossentropy", (scores, target), shapes)


registry = Registry("loss", Loss)
for _loss in (MeanSquaredError, MeanAbsoluteError, Huber, BinaryCrossentropy, Crossentropy):
    registry.add(_loss)
get = registry.get
