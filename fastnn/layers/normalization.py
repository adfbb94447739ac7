"""Layers that normalize to mean 0 and variance 1."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import initializers, regularizers
from fastnn.core.declare import boolean, instance_of, number
from fastnn.initializers import Initializer
from fastnn.layers.base import Layer, Shape, only, registry, view_of
from fastnn.program.builder import Builder
from fastnn.program.ops import Value


class _Normalization(Layer):
    """Base class of both layers, with gamma and beta."""

    takes_any_scale: ClassVar[bool] = True
    _without_effect: ClassVar[dict[str, tuple[object, ...]]] = {"axis": (-1,)}

    center: bool = boolean(default=True, kw_only=True)
    scale: bool = boolean(default=True, kw_only=True)
    beta_initializer: Any = instance_of(initializers.get, default="zeros", kw_only=True)
    gamma_initializer: Any = instance_of(initializers.get, default="ones", kw_only=True)
    beta_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)
    gamma_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)

    gamma = view_of("gamma")
    beta = view_of("beta")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape."""
        cls = type(self).__name__
        shape = only(cls, inputs)
        if len(shape) != 1:
            raise ValueError(f"{cls} takes samples of shape (inputs,), got {shape}; add Flatten()")
        return shape

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of gamma and beta."""
        shapes = {}
        if self.scale:
            shapes["gamma"] = inputs[0], self.gamma_initializer
        if self.center:
            shapes["beta"] = inputs[0], self.beta_initializer
        return shapes

    def _operands(self, builder: Builder, x: Value) -> tuple[Value | None, ...]:
        gamma = builder.parameter("gamma") if self.scale else None
        beta = builder.parameter("beta") if self.center else None
        return x, gamma, beta


@registry.add
class LayerNormalization(_Normalization):
    """Normalizes each sample to mean 0 and variance 1, scales and shifts it (Ba et al. 2016).

    y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and biased variance over
    the sample's elements. The layer does the same in training and outside.

    Parameters
    ----------
    epsilon : float, default 1e-3
        As in Keras; PyTorch uses 1e-5.
    center, scale : bool, default True
        Whether there is a beta, and a gamma.
    beta_initializer : str or Initializer, default "zeros"
    gamma_initializer : str or Initializer, default "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    gamma, beta : ndarray, shape (inputs,)
        Views into the model's parameters, once the model is built.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.LayerNormalization()], input_shape=(2,))
    >>> model.predict([[-3.0, 5.0]]).round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    kind = "layer_normalization"

    epsilon: float = number(default=1e-3, is_positive=True)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op, which keeps what a backward pass needs, if there is one."""
        operands = self._operands(builder, inputs[0])
        statistics = builder.value("statistics", (2,)) if builder.differentiates else None
        return builder.emit(
            self.kind, operands, inputs[0].shape, (statistics,), epsilon=self.epsilon
        )


@registry.add
class BatchNormalization(_Normalization):
    """Normalizes each input to mean 0 and variance 1 over the batch, then scales and shifts it.

    y = (x - mean) / sqrt(variance + epsilon) * gamma + beta (Ioffe & Szegedy 2015). In training,
    mean and biased variance are those of the batch, and each step updates the moving statistics:
    moving = momentum * moving + (1 - momentum) * batch. Outside training, and in a layer that is
    frozen (``trainable = False``), the moving statistics are used, as in Keras. A step whose loss
    is not finite leaves them unchanged. A training step on one row, whose output would be beta
    whatever the row holds, issues a warning; so does a last batch of one row.

    Parameters
    ----------
    momentum : float, default 0.99
        In [0, 1). As in Keras; PyTorch's momentum is 1 minus this, and it keeps the unbiased
        variance.
    epsilon : float, default 1e-3
    center, scale : bool, default True
        Whether there is a beta, and a gamma.
    beta_initializer : str or Initializer, default "zeros"
    gamma_initializer : str or Initializer, default "ones"
    moving_mean_initializer : str or Initializer, default "zeros"
    moving_variance_initializer : str or Initializer, default "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
        A penalty that is added to the loss.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    gamma, beta, moving_mean, moving_variance : ndarray, shape (inputs,)
        Views into the model's parameters, once the model is built. The moving statistics are saved
        and set like all parameters, but never updated by the optimizer.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> model = fnn.Sequential([fnn.BatchNormalization(0.5)], input_shape=(1,))
    >>> model.forward(np.array([[2.0], [6.0]]), training=True).round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> model.layers[0].moving_mean
    array([2.], dtype=float32)
    """

    kind = "batch_normalization"

    momentum: float = number(default=0.99, least=0, below=1)
    epsilon: float = number(default=1e-3, is_positive=True)
    moving_mean_initializer: Any = instance_of(initializers.get, default="zeros", kw_only=True)
    moving_variance_initializer: Any = instance_of(initializers.get, default="ones", kw_only=True)

    moving_mean = view_of("moving_mean")
    moving_variance = view_of("moving_variance")

    @property
    def acts_otherwise_in_training(self) -> bool:
        """Whether it uses the statistics of the batch in training."""
        return self.trainable

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of gamma, beta and the moving statistics."""
        return {
            **super().parameter_shapes(*inputs),
            "moving_mean": (inputs[0], self.moving_mean_initializer),
            "moving_variance": (inputs[0], self.moving_variance_initializer),
        }

    def rate_factor(self, parameter: str) -> float:
        """Return the factor of a parameter's learning rate: 0 for the moving statistics."""
        return 0.0 if parameter.startswith("moving_") else super().rate_factor(parameter)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op, and in training the updates of the moving statistics."""
        x, operands = inputs[0], self._operands(builder, inputs[0])
        moving = builder.parameter("moving_mean"), builder.parameter("moving_variance")
        if not (builder.training and self.trainable) or builder.is_frozen:
            return builder.emit(
                "fixed_normalization", (*operands, *moving), x.shape, epsilon=self.epsilon
            )
        batch = [builder.value(what, x.shape, batched=False) for what in ("mean", "variance")]
        y = builder.emit(self.kind, operands, x.shape, batch, epsilon=self.epsilon)
        for parameter, value in zip(moving, batch, strict=True):
            builder.update(parameter, value, self.momentum)
        return y
