"""Categories as zeros and ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastnn.core.declare import choice, integer
from fastnn.layers.base import Layer, Shape, only, registry
from fastnn.layers.embedding import MOST_CATEGORIES, check_categories, check_vocabulary
from fastnn.program.builder import Builder
from fastnn.program.ops import ENCODINGS, Value


def encoded_shape(cls_name: str, mode: str, shape: Shape, tokens: int) -> Shape:
    """Return the shape of the encoding of a sample of shape (columns,).

    Raises
    ------
    ValueError
        The sample has another number of dimensions.
    """
    if len(shape) != 1:
        raise ValueError(
            f"{cls_name} with output_mode={mode!r} takes samples of shape (columns,), got {shape}; "
            "add Flatten()"
        )
    return (shape[0], tokens) if mode == "one_hot" and shape[0] > 1 else (tokens,)


@registry.add
class CategoryEncoding(Layer):
    """Encodes whole numbers, the categories, as zeros and ones, as in Keras.

    Parameters
    ----------
    num_tokens : int
        Number of categories, which are numbered from 0. At most 2**24.
    output_mode : {"multi_hot", "one_hot", "count"}, default "multi_hot"
        "one_hot": of each column, an array that is 1 at its category; the output has shape
        (num_tokens,) for one column, else (columns, num_tokens). "multi_hot": one array for the
        whole sample, 1 at each category that it has. "count": how often it has each category.
    name : str, optional
    trainable : bool, default True

    Notes
    -----
    As with `Embedding`, numbers that are not categories are refused, and no gradient flows back.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.CategoryEncoding(4, "count")], input_shape=(3,))
    >>> model.predict([[0, 2, 2]])
    array([[1., 0., 2., 0.]], dtype=float32)
    """

    kind = "category_encoding"
    takes_any_scale: ClassVar[bool] = True

    num_tokens: int = integer()
    output_mode: str = choice(*ENCODINGS, default="multi_hot")

    def check_together(self) -> None:
        """Raise ValueError if there are too many categories."""
        if self.num_tokens > MOST_CATEGORIES:
            raise ValueError(
                f"num_tokens must be at most {MOST_CATEGORIES:,}, the whole numbers that float32 "
                f"holds, got {self.num_tokens:,}"
            )

    def categories(self, shape: Shape) -> np.ndarray:
        """Return the number of categories of each element of a flattened sample."""
        return np.full(int(np.prod(shape)), self.num_tokens)

    def check_input(self, label: str, rows: np.ndarray, first_row: int | None = None) -> None:
        """Raise ValueError if the rows hold anything but categories."""
        check_categories(self, label, rows, first_row)

    def check_vocabulary(self, lookup: str, tokens: int, shape: Shape) -> None:
        """Raise ValueError if a lookup makes categories that have no place in the output."""
        check_vocabulary(self, "num_tokens", lookup, tokens, shape)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return (num_tokens,), or (columns, num_tokens)."""
        shape = only("CategoryEncoding", inputs)
        return encoded_shape("CategoryEncoding", self.output_mode, shape, self.num_tokens)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the op."""
        return builder.emit(
            "encode_categories",
            inputs,
            self.output_shape(inputs[0].shape),
            tokens=self.num_tokens,
            categories=self.num_tokens,
            mode=self.output_mode,
        )
