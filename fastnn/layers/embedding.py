"""Embeddings of categories, and the check that the inputs are categories."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

from fastnn import initializers, regularizers
from fastnn.core import checks
from fastnn.core.declare import checked, instance_of
from fastnn.initializers import Initializer
from fastnn.layers.base import Layer, Shape, only, registry
from fastnn.layers.merge import Concatenate
from fastnn.program.builder import Builder
from fastnn.program.ops import Value
from fastnn.regularizers import Regularizer

# Categories are passed in the model's dtype; float32 holds every whole number up to this one.
MOST_CATEGORIES = 2**24


def _sizes(name: str, value: object) -> int | list[int]:
    if isinstance(value, (list, tuple, np.ndarray)):
        if len(value) == 0:
            raise ValueError(f"{name} must hold a number for each column, got none")
        return [checks.integer(f"{name}[{i}]", size) for i, size in enumerate(value)]
    return checks.integer(name, value)


class OfCategories(Protocol):
    """A layer that reads categories."""

    name: str

    def categories(self, shape: Shape) -> np.ndarray:
        """Return the number of categories of each element of a flattened sample."""


def check_categories(
    layer: OfCategories, label: str, rows: np.ndarray, first_row: int | None
) -> None:
    """Raise ValueError if rows hold anything but categories; see `Layer.check_input`."""
    counts = layer.categories(rows.shape[1:])
    flat = rows.reshape(len(rows), counts.size)
    bad = (flat < 0) | (flat >= counts)
    if rows.dtype.kind == "f":
        bad |= flat != np.floor(flat)
    if bad.any():
        row, column = map(int, np.unravel_index(int(np.argmax(bad)), bad.shape))
        where = "" if first_row is None else f" in row {first_row + row}"
        raise ValueError(
            f"{label} must hold whole numbers from 0 to {counts[column] - 1} in column "
            f"{column}, the categories of layer {layer.name!r}, "
            f"got {flat[row, column].item()!r}{where}"
        )


def check_vocabulary(
    layer: OfCategories, argument: str, lookup: str, tokens: int, shape: Shape
) -> None:
    """Raise ValueError if a lookup makes more categories than a layer takes.

    Parameters
    ----------
    layer : layer
    argument : str
        The layer's argument that says how many it takes.
    lookup : str
        Name of the lookup.
    tokens : int
        How many categories it makes.
    shape : tuple of int
        Of a sample.
    """
    least = int(layer.categories(shape).min())
    if tokens > least:
        raise ValueError(
            f"layer {layer.name!r} takes {least} categories, but {lookup!r}, which it reads, makes "
            f"{tokens}: {argument} must be at least that, its vocabulary_size()"
        )


@registry.add
class Embedding(Layer):
    """Replaces the number of each category by a learned vector.

    All columns of the input share one table, as in Keras; with a list for `input_dim`, each
    column has its own table, and the vectors of the columns are concatenated.

    Parameters
    ----------
    input_dim : int or list of int
        Number of categories, which are numbered from 0; a list has one entry per column. At most
        2**24.
    output_dim : int or list of int
        Length of a vector; if both are lists, one entry per column.
    embeddings_initializer : str or Initializer, default "uniform"
        In [-0.05, 0.05), as in Keras; PyTorch uses a standard normal distribution.
    embeddings_regularizer : str or Regularizer, optional
        A penalty that is added to the loss, for all tables.
    name : str, optional
    trainable : bool, default True

    Attributes
    ----------
    tables : list of ndarray, shape (input_dim, output_dim)
        Views into the model's parameters ("embeddings", or "embeddings_0" and so on), once the
        model is built.

    Notes
    -----
    The input holds whole numbers of any dtype, with shape (columns,) per sample; the output has
    shape (columns, output_dim), or, with lists, (sum of output_dim,). If the input is one of the
    model's, directly or through Reshape or Flatten, `fit` and the other methods check it first.
    Otherwise a number that is not a category raises an error while they run, and no step is taken
    with it.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> model = fnn.Sequential([fnn.Embedding([7, 12], [2, 3])], input_shape=(2,))
    >>> model.predict(np.array([[6, 0], [1, 11]])).shape
    (2, 5)
    """

    kind = "embedding"
    takes_any_scale: ClassVar[bool] = True

    input_dim: int | list[int] = checked(_sizes)
    output_dim: int | list[int] = checked(_sizes)
    embeddings_initializer: Any = instance_of(initializers.get, default="uniform", kw_only=True)
    embeddings_regularizer: Any = instance_of(regularizers.get, default=None, kw_only=True)

    def check_together(self) -> None:
        """Raise ValueError if there are too many categories or the two lists differ in length."""
        most = max(self.input_dim) if isinstance(self.input_dim, list) else self.input_dim
        if most > MOST_CATEGORIES:
            raise ValueError(
                f"input_dim must be at most {MOST_CATEGORIES:,}, the whole numbers that float32 "
                f"holds, got {most:,}"
            )
        if isinstance(self.output_dim, list):
            wanted = len(self.input_dim) if isinstance(self.input_dim, list) else 0
            if len(self.output_dim) != wanted:
                raise ValueError(
                    "output_dim must be an integer, or as many as input_dim has, "
                    f"got {self.output_dim!r} for input_dim={self.input_dim!r}"
                )

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return the regularizer of a table."""
        return self.embeddings_regularizer

    @property
    def tables(self) -> list[np.ndarray]:
        """Views of the tables."""
        return [self._parameter(name) for name in self._tables()]

    def _tables(self) -> dict[str, tuple[int, int]]:
        """Return the shapes of the tables, keyed by the names of their parameters."""
        if not isinstance(self.input_dim, list):
            assert not isinstance(self.output_dim, list)
            return {"embeddings": (self.input_dim, self.output_dim)}
        depths = self.output_dim
        if not isinstance(depths, list):
            depths = [depths] * len(self.input_dim)
        pairs = zip(self.input_dim, depths, strict=True)
        return {f"embeddings_{i}": pair for i, pair in enumerate(pairs)}

    def categories(self, shape: Shape) -> np.ndarray:
        """Return the number of categories of each element of a flattened sample."""
        counts = np.empty(int(np.prod(shape)), np.int64)
        counts[...] = self.input_dim
        return counts

    def check_input(self, label: str, rows: np.ndarray, first_row: int | None = None) -> None:
        """Raise ValueError if the rows hold anything but categories.

        Parameters
        ----------
        label : str
            Name of the data in the message.
        rows : ndarray, shape (rows, columns)
        first_row : int, optional
            Number of the first of these rows in the data; None: rows are not named.
        """
        check_categories(self, label, rows, first_row)

    def check_vocabulary(self, lookup: str, tokens: int, shape: Shape) -> None:
        """Raise ValueError if a lookup makes categories for which there are no vectors."""
        check_vocabulary(self, "input_dim", lookup, tokens, shape)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (columns, output_dim), or the sum of the output_dim of all columns."""
        shape = only("Embedding", inputs)
        if not isinstance(self.input_dim, list):
            assert not isinstance(self.output_dim, list)
            return (*shape, self.output_dim)
        if shape != (len(self.input_dim),):
            raise ValueError(
                f"Embedding with {len(self.input_dim)} tables takes samples of shape "
                f"({len(self.input_dim)},), got {shape}"
            )
        return (sum(depth for _, depth in self._tables().values()),)

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return the shapes and initializers of the tables."""
        return {
            name: (shape, self.embeddings_initializer) for name, shape in self._tables().items()
        }

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append a look-up in each table, and the concatenation of the results."""
        x = inputs[0]
        if not isinstance(self.input_dim, list):
            operands = x, builder.parameter("embeddings")
            shape = self.output_shape(x.shape)
            return builder.emit("embedding", operands, shape, first=0, columns=x.width)
        parts = []
        for column, (name, (_, depth)) in enumerate(self._tables().items()):
            operands = x, builder.parameter(name)
            parts.append(builder.emit("embedding", operands, (depth,), first=column, columns=1))
        return Concatenate().emit(builder, *parts)
