"""`Sequential`: layers one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from fastnn import checks, data, graph
from fastnn.layers import Layer, Shape, Tensor
from fastnn.model import Model


class Sequential(Model):
    """A network of layers, one after the other.

    Parameters
    ----------
    layers : iterable of Layer
        An `Input` may come first, instead of `input_shape`.
    input_shape : tuple of int, optional
        Of one sample; None: taken from the first data seen.
    dtype : {"float32", "float64"}, default "float32"
    seed : int, optional
        As in `Model`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Dense(128, activation="relu"), fnn.Dense(10)],
    ...                        input_shape=(64,), dtype="float32", seed=0)
    >>> model.count_parameters()
    9610
    """

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        input_shape: Shape | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        self._start(dtype, seed)
        if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
            raise TypeError(
                f"layers must be a list of Layer instances, got {checks.shown(layers, Layer)}"
            )
        given: list[Any] = list(layers)
        if given and isinstance(given[0], Tensor):
            if input_shape is not None:
                raise ValueError("give input_shape or an Input first, not both")
            input_shape = given.pop(0).shape
        self._layers = checks.items("layers", given, Layer)
        if not self._layers:
            raise ValueError("layers must hold at least one layer, got none")
        if input_shape is not None:
            self._chain(checks.shape("input_shape", input_shape))

    def _chain(self, shape: Shape) -> None:
        first = tensor = Tensor(shape, name="input")
        graph.name_layers(list(dict.fromkeys(self.layers)))
        for layer in self.layers:
            tensor = layer(tensor)
        self._build([first], [tensor])

    @contextlib.contextmanager
    def _built_for(self, x: object) -> Iterator[None]:
        """Build a model that was waiting for the shape of x; undone if x then does not fit."""
        shape = data.checked_rows("x", x).shape
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"x must have shape (rows, inputs), got {shape}")
        self._chain(shape[1:])
        try:
            yield
        except Exception:
            self._unbuild()
            raise

    def _unbuild(self) -> None:
        """Undo what `_built_for` did."""
        self._runtime = None
        for layer in self.layers:
            layer.take(None, {})
