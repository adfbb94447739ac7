"""Ops that the user has written in Python, which run between two native ranges of a program.

The attribute "code" of a "python", "python_gradient" or "python_loss" op holds the object that
does the work; there is no kernel. The engine stops before the op. `Runtime.run` then calls the
object with views of the op's inputs and copies what it returns to the places in the plan.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from fastnn.core.locks import Lock
from fastnn.program.ops import Op, Value

Array = np.ndarray

# `forward` keeps state on the layer, which all threads share: only one may run at a time.
_locks: weakref.WeakKeyDictionary[Any, Lock] = weakref.WeakKeyDictionary()


class Code(Protocol):
    """The interface of the code of a "python" op."""

    def forward(self, arrays: Sequence[Array], training: bool) -> object:
        """Return the output, given the op's inputs."""

    def backward(self, arrays: Sequence[Array], grad: Array) -> Sequence[object]:
        """Return a gradient for each of the op's inputs."""

    def where(self, method: str) -> str:
        """Return the name of the user's code for error messages."""


class LayerCode:
    """A layer's `forward` and `backward`.

    What `forward` sets on the layer is restored before `backward`, so that a model may use the
    layer twice, and predict in between or in another thread.
    """

    def __init__(self, layer: Any, inputs: int, weights: Sequence[str]) -> None:
        self._layer, self._inputs, self._weights = layer, inputs, tuple(weights)
        self._kept: dict[str, Any] = {}

    def __repr__(self) -> str:
        return repr(self._layer)

    def where(self, method: str) -> str:
        """Return the name of the method for error messages."""
        return f"layer {self._layer.name!r}: {method}"

    def forward(self, arrays: Sequence[Array], training: bool) -> object:
        """Call the layer's `forward`."""
        attributes = vars(self._layer)
        with self._entered(arrays):
            outer = attributes.get("_assigned")
            kept: dict[str, Any] = {}
            attributes["_assigned"] = kept
            try:
                result = self._layer.forward(self._given(arrays), training=training)
            finally:
                attributes["_assigned"] = outer
        self._kept = kept
        return result

    def backward(self, arrays: Sequence[Array], grad: Array) -> Sequence[object]:
        """Call the layer's `backward`."""
        layer, weights = self._layer, arrays[self._inputs :]
        with self._entered(arrays):
            vars(layer).update(self._kept)
            layer.gradients = {
                name: np.zeros(array.shape, array.dtype)
                for name, array in zip(self._weights, weights, strict=True)
            }
            result = layer.backward(grad)
            gradients = [layer.gradients.get(name) for name in self._weights]
        parts = [result] if self._inputs == 1 else result
        if not isinstance(parts, (list, tuple)) or len(parts) != self._inputs:
            raise TypeError(
                f"{self.where('backward')} must return a tuple of {self._inputs} arrays, one for "
                f"each input, got {type(result).__name__}"
            )
        return [*parts, *gradients]

    @contextmanager
    def _entered(self, arrays: Sequence[Array]) -> Iterator[None]:
        """Hold the layer exclusively, with its parameters set to those of this run."""
        attributes = vars(self._layer)
        with _locks.setdefault(self._layer, Lock(threading.RLock)).own():
            before = attributes["parameters"]
            attributes["parameters"] = dict(zip(self._weights, arrays[self._inputs :], strict=True))
            try:
                yield
            finally:
                attributes["parameters"] = before

    def _given(self, arrays: Sequence[Array]) -> Any:
        return arrays[0] if self._inputs == 1 else tuple(arrays[: self._inputs])


class FunctionCode:
    """An activation function and its derivative."""

    def __init__(
        self, function: Callable[[Array], Array], derivative: Callable[[Array], Array], layer: str
    ) -> None:
        self._function, self._derivative, self._layer = function, derivative, layer

    def __repr__(self) -> str:
        return getattr(self._function, "__name__", repr(self._function))

    def where(self, method: str) -> str:
        """Return the name of the function for error messages."""
        name = "function" if method == "forward" else "derivative"
        return f"layer {self._layer!r}: the {name} of its activation"

    def forward(self, arrays: Sequence[Array], training: bool) -> object:
        """Return the function's value at the input."""
        return self._function(arrays[0])

    def backward(self, arrays: Sequence[Array], grad: Array) -> Sequence[object]:
        """Return the gradient times the derivative at the input."""
        slope = checked(self._derivative(arrays[0]), grad, self.where("backward"))
        return [grad * slope]


class LossCode:
    """A loss function and its derivative."""

    def __init__(
        self,
        function: Callable[[Array, Array], object],
        derivative: Callable[[Array, Array], object],
        name: str,
    ) -> None:
        self._function, self._derivative, self._name = function, derivative, name

    def __repr__(self) -> str:
        return repr(self._name)

    def where(self, method: str) -> str:
        """Return the name of the function for error messages."""
        return f"loss {self._name!r}: its {'function' if method == 'forward' else 'derivative'}"

    def losses(self, arrays: Sequence[Array], is_training: bool) -> list[Array]:
        """Return the loss of each row and, in training, the gradient of their mean."""
        y_pred, y_true = arrays
        if y_true.dtype.kind == "i":  # labels, which lie in memory as int32
            y_true = y_true.astype(np.int64)
            y_true.flags.writeable = False
        rows = len(y_pred)
        where = self.where("forward")
        result = self._function(y_true, y_pred)
        try:
            is_of_rows = np.asarray(result).shape == (rows,)  # otherwise of each output
        except ValueError:  # `checked` reports what is wrong
            is_of_rows = False
        like = y_pred.reshape(rows, -1)[:, 0] if is_of_rows else y_pred
        try:
            values = checked(result, like, where)
        except ValueError as error:
            raise ValueError(
                f"{error}; or ({rows},), one loss for each row. The mean over them is taken here"
            ) from None
        made = [values.reshape(rows, -1).mean(axis=1, dtype=np.float64)]
        if is_training:
            slope = checked(self._derivative(y_true, y_pred), y_pred, self.where("backward"))
            made.append(slope / (rows if is_of_rows else y_pred.size))
        return made


def checked(result: object, like: Array, where: str) -> Array:
    """Return the result of the user's code as an array, which must have the shape of `like`.

    Raises
    ------
    TypeError, ValueError
        The message names the layer and the method.
    """
    if result is None:
        raise TypeError(f"{where} must return an array of shape {like.shape}, got None")
    try:
        array = np.asarray(result)
    except ValueError:
        raise ValueError(f"{where} must return an array, got rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where} must return real numbers, got dtype {array.dtype}")
    if array.shape != like.shape:
        raise ValueError(
            f"{where} must return an array of shape {like.shape}, got shape {array.shape}"
        )
    return array


def results(op: Op, arrays: Sequence[Array]) -> Sequence[object]:
    """Return what an op computes from its input arrays: one result for each of its outputs."""
    code: Any = op.attributes["code"]
    if op.name == "python_loss":
        return code.losses(arrays, len(op.writes()) > 1)
    if op.name == "python":
        return [code.forward(arrays, op.attributes["training"])]
    return code.backward(arrays[1:], arrays[0])


def run(op: Op, memory: Callable[[Value], Array]) -> None:
    """Run an op; `memory` returns the array of a value."""
    arrays = []
    for value in op.reads():
        array = memory(value)
        array.flags.writeable = False
        arrays.append(array)
    method = "backward" if op.name == "python_gradient" else "forward"
    code: Code | LossCode = op.attributes["code"]
    outs = [memory(value) for value in op.writes()]
    with np.errstate(all="ignore"):  # the engine reports a loss that is not finite
        made = results(op, arrays)
    for value, out, result in zip(op.writes(), outs, made, strict=True):
        where = code.where(method)
        if op.name == "python_gradient" and not value.batched:
            where += f": the gradient of {value.name.rsplit('/', 1)[-1].split(' ')[0]!r}"
        with np.errstate(over="ignore"):
            out[...] = checked(result, out, where)
