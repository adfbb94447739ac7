"""Inputs that a lookup reads: text, or whole numbers of any size, turned into numbers of tokens.

This happens once a call, where data come in; programs read the numbers. It is also here that
layers which measure data are given them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from fastnn.data import frames, sparse
from fastnn.data.arrays import check_finite, checked_array, checked_rows
from fastnn.data.batches_of import batches_of, is_batches
from fastnn.layers import Layer
from fastnn.layers.preprocessing import Measuring

# The count of cells that are read at once, which keeps temporary arrays small.
READ_AT_ONCE = 1 << 20
Shape = tuple[int, ...]


class Lookup(Protocol):
    """A layer that turns the data of an input into numbers of tokens."""

    @property
    def takes_text(self) -> bool:
        """Whether it looks up text instead of whole numbers."""

    def indices(self, label: str, rows: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the numbers of the tokens in rows of data, int32 and of the same shape."""


class ReadsRows(Protocol):
    """What decides how data are read: a lookup, or another layer that measures data."""

    @property
    def takes_text(self) -> bool:
        """Whether it takes text instead of numbers."""


def checked_text(name: str, value: object) -> np.ndarray:
    """Return text as an array of NumPy's text dtypes, of bytes or of objects.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        May also be a frame, a series, a column of Arrow.

    Raises
    ------
    TypeError
        It holds numbers.
    ValueError
        It is ragged.
    """
    if value is None or sparse.is_sparse(value):
        what = "None" if value is None else "a sparse matrix"
        raise TypeError(f"{name} must be an array of text, got {what}")
    if frames.is_frame(value):
        array = frames.as_objects(value)
    else:
        try:
            array = np.asarray(value, None if _is_array(value) else object)
        except ValueError:
            raise ValueError(f"{name} must be an array, got rows of different lengths") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked elements; use {name}.filled(...)")
    if array.dtype.kind not in "OUTS":
        raise TypeError(
            f"{name} must hold text, got dtype {array.dtype}: whole numbers are looked up by "
            "IntegerLookup"
        )
    return array


def _is_array(value: object) -> bool:
    """Whether NumPy knows the dtype of a value, so that text and numbers need not be guessed."""
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def read(name: str, value: object, reader: ReadsRows, shape: Shape | None) -> Any:
    """Return rows for a lookup, unconverted.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
    reader : Lookup or Measuring
        Decides whether text or numbers are expected.
    shape : tuple of int, optional
        Shape of one sample. Rows of shape (rows,) are taken for (1,).

    Returns
    -------
    ndarray of text, objects or numbers, shape (rows, *shape)

    Raises
    ------
    TypeError, ValueError
        Text where numbers are expected, or the reverse.
    """
    array = checked_text(name, value) if reader.takes_text else checked_array(name, value)
    if array.ndim == 1 and shape in (None, (1,)):
        array = array[:, np.newaxis]
    return array


def converted(label: str, rows: np.ndarray, lookup: Lookup) -> np.ndarray:
    """Return the numbers of the tokens in rows that `read` returned."""
    made = np.empty(rows.shape, np.int32)
    for first, part in _parts(label, rows):
        made[first : first + len(part)] = lookup.indices(label, part, first)
    return made


def _parts(label: str, rows: Any) -> Iterator[tuple[int, Any]]:
    """Yield ranges of rows, checked, with the number of their first; bytes are decoded."""
    width = int(np.prod(rows.shape[1:]))
    step = max(1, READ_AT_ONCE // max(1, width))
    for first in range(0, rows.shape[0], step):
        part = rows[first : first + step]
        if part.dtype.kind == "S":
            part = np.char.decode(part, "utf-8")
        elif part.dtype.kind == "f":
            _check_finite(label, part, first)
        yield first, part


def _check_finite(label: str, part: Any, first: int) -> None:
    """Raise ValueError if a range of rows holds NaN or infinities."""
    if isinstance(part, np.ndarray):
        check_finite(label, part, "float64", lambda where: (first + where[0], *where[1:]))
    elif not np.isfinite(part.data).all():
        entry = int(np.argmin(np.isfinite(part.data)))
        row, column = sparse.position(part, entry)
        raise ValueError(
            f"{label} must hold finite numbers, got {part.data[entry].item()!r} at "
            f"[{first + row}, {column}]"
        )


def parts_to_measure(layer: Measuring, data: object) -> Iterator[Any]:
    """Yield the rows of what `adapt` was given; see `fastnn.layers.preprocessing.base.Reader`."""
    if not is_batches(data, takes_lists=False):
        yield from measured_parts("data", data, layer)
        return
    for number, batch in enumerate(batches_of(data)):
        x = batch[0] if isinstance(batch, tuple) and batch else batch
        yield from measured_parts(f"batch {number + 1} of data", x, layer)


def measured_parts(
    label: str,
    data: object,
    layer: Measuring,
    shape: Shape | None = None,
    between: Sequence[Layer] = (),
) -> Iterator[Any]:
    """Yield rows for a layer to measure, checked, in parts.

    Parameters
    ----------
    label : str
        Name of the data in messages.
    data : array_like or sparse matrix
    layer : Measuring
    shape : tuple of int, optional
        Shape that a sample must have.
    between : sequence of Layer, optional
        Layers that change the shape of a sample before it reaches the layer.
    """
    rows: Any
    if layer.is_lookup:
        rows = read(label, data, layer, shape)
    else:
        rows = checked_rows(label, data) if layer.takes_sparse else checked_array(label, data)
    if rows.ndim == 1 and shape is None:
        rows = rows[:, np.newaxis]
    if rows.ndim < 2 or (shape is not None and tuple(rows.shape[1:]) != shape):
        sizes = "columns" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"{label} must have shape (rows, {sizes}), got {rows.shape}")
    if 0 in rows.shape:
        raise ValueError(f"{label} must have rows and columns, got shape {rows.shape}")
    own = tuple(rows.shape[1:])
    for one in between:
        own = one.output_shape(own)
    layer.check_sample(own)
    for _, part in _parts(label, rows):
        yield part.reshape(len(part), *own) if isinstance(part, np.ndarray) else part


Measuring.reader = staticmethod(parts_to_measure)
