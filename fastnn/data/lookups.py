"""Inputs that a lookup reads: text, or whole numbers of any size, turned into numbers of tokens.

This happens once a call, where data come in; programs read the numbers. It is also here that
layers which measure data are given them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from fastnn.data import frames
from fastnn.data.arrays import check_finite, checked_array, checked_rows
from fastnn.data.batches_of import batches_of, is_batches
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
    """Return text as an array of objects, in which missing cells are None, NaN or pandas.NA.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        Of NumPy's text dtypes, bytes (UTF-8) or objects; may be a frame, a series, a column of
        Arrow.

    Raises
    ------
    TypeError
        It holds numbers.
    ValueError
        It is ragged, or bytes are not UTF-8.
    """
    if value is None:
        raise TypeError(f"{name} must be an array of text, got None")
    if frames.is_frame(value):
        array = frames.as_objects(value)
    else:
        try:
            array = np.asarray(value, None if _is_array(value) else object)
        except ValueError:
            raise ValueError(f"{name} must be an array, got rows of different lengths") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked elements; use {name}.filled(...)")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind not in "OUT":
        raise TypeError(
            f"{name} must hold text, got dtype {array.dtype}: whole numbers are looked up by "
            "IntegerLookup"
        )
    return array.astype(object, copy=False)


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
    ndarray of objects or numbers, shape (rows, *shape)

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
    for first, part in _parts(rows):
        if part.dtype.kind == "f":
            check_finite(label, part, "float64")
        made[first : first + len(part)] = lookup.indices(label, part, first)
    return made


def _parts(rows: Any) -> Iterator[tuple[int, Any]]:
    """Yield ranges of rows with the number of their first."""
    width = int(np.prod(rows.shape[1:]))
    step = max(1, READ_AT_ONCE // max(1, width))
    for first in range(0, rows.shape[0], step):
        yield first, rows[first : first + step]


def parts_to_measure(layer: Measuring, data: object) -> Iterator[Any]:
    """Yield the rows of what `adapt` was given; see `fastnn.layers.preprocessing.base.Reader`."""
    if not is_batches(data, takes_lists=False):
        yield from measured_parts("data", data, layer)
        return
    for number, batch in enumerate(batches_of(data)):
        x = batch[0] if isinstance(batch, tuple) and batch else batch
        yield from measured_parts(f"batch {number + 1} of data", x, layer)


def measured_parts(
    label: str, data: object, layer: Measuring, shape: Shape | None = None
) -> Iterator[Any]:
    """Yield rows for a layer to measure, checked, in parts.

    Parameters
    ----------
    label : str
        Name of the data in messages.
    data : array_like or sparse matrix
    layer : Measuring
    shape : tuple of int, optional
        Shape of a sample where the layer reads it; default: as it comes.
    """
    rows: Any
    if layer.is_lookup:
        rows = read(label, data, layer, shape)
    else:
        rows = checked_rows(label, data) if layer.takes_sparse else checked_array(label, data)
    if rows.ndim < 2:
        raise ValueError(f"{label} must have shape (rows, columns), got {rows.shape}")
    own = tuple(rows.shape[1:]) if shape is None else shape
    if 0 in rows.shape:
        raise ValueError(f"{label} must have rows and columns, got shape {rows.shape}")
    if np.prod(own) != np.prod(rows.shape[1:]):
        raise ValueError(f"{label} must have samples of shape {own}, got {rows.shape[1:]}")
    layer.check_sample(own)
    for _, part in _parts(rows):
        if isinstance(part, np.ndarray):
            if part.dtype.kind == "f":
                check_finite(label, part, "float64")
            yield part.reshape(len(part), *own)
        else:
            check_finite(label, part.data, "float64")
            yield part


Measuring.reader = staticmethod(parts_to_measure)
