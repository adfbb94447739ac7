"""Pandas and Polars frames and series, recognised by their methods; neither library is imported.

Columns may mix numeric dtypes, including bool, and nullable ones if no value is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def is_frame(value: object) -> bool:
    """Whether this is a pandas or Polars frame or series."""
    return hasattr(value, "to_numpy") and _library(value) != ""


def _library(value: object) -> str:
    modules = {one.__module__.split(".")[0] for one in type(value).__mro__}
    return next(iter(modules & {"pandas", "polars"}), "")


def as_array(name: str, value: Any) -> np.ndarray:
    """Return a frame as an array of shape (rows, columns), or a series as one of shape (rows,).

    Its dtype is the narrowest that NumPy can use for all columns.

    Raises
    ------
    TypeError
        A column does not hold numbers; the message names it.
    ValueError
        A column has missing values; the message names it.
    """
    convert = _pandas_column if _library(value) == "pandas" else _polars_column
    if not hasattr(value, "columns"):
        return convert(name, value)
    columns = [convert(f"column {label!r} of {name}", part) for label, part in _columns(value)]
    dtype = np.result_type(*columns) if columns else np.dtype("float64")
    array = np.empty((len(value), len(columns)), dtype)
    for i, column in enumerate(columns):
        array[:, i] = column
    return array


def as_objects(value: Any) -> np.ndarray:
    """Return the cells of a frame, shape (rows, columns), or of a series, as Python objects."""
    if _library(value) == "pandas":
        return np.asarray(value.to_numpy(dtype=object))
    if not hasattr(value, "columns"):
        return np.array(value.to_list(), object)
    cells = np.empty((len(value), len(value.columns)), object)
    for i, column in enumerate(value.get_columns()):
        cells[:, i] = column.to_list()
    return cells


def _columns(frame: Any) -> Iterator[tuple[object, Any]]:
    if _library(frame) == "polars":
        yield from zip(frame.columns, frame.get_columns(), strict=True)
    else:  # by position, because names may occur twice
        for i, label in enumerate(frame.columns):
            yield label, frame.iloc[:, i]


def _pandas_column(what: str, column: Any) -> np.ndarray:
    dtype = column.dtype
    if getattr(dtype, "kind", "O") not in "biuf":
        raise _not_numeric(what, dtype, "its category codes, pandas.get_dummies")
    missing = int(column.isna().sum())
    if missing:
        raise _missing(what, missing, "fillna(...) or dropna()")
    plain = getattr(dtype, "numpy_dtype", None) or getattr(dtype, "subtype", None) or dtype
    return column.to_numpy(dtype=plain)


def _polars_column(what: str, column: Any) -> np.ndarray:
    dtype = column.dtype
    if not (dtype.is_integer() or dtype.is_float() or str(dtype) == "Boolean"):
        raise _not_numeric(what, dtype, "to_physical() of a category, to_dummies()")
    array = column.to_numpy() if column.null_count() == 0 else None
    missing = column.null_count() if array is None else 0
    if array is not None and array.dtype.kind == "f":
        missing = int(np.isnan(array).sum())
    if array is None or missing:
        raise _missing(what, missing, "fill_null(...), fill_nan(...) or drop_nulls()")
    return array


def _not_numeric(what: str, dtype: object, ways: str) -> TypeError:
    return TypeError(
        f"{what} must hold numbers, got dtype {dtype}; turn it into numbers ({ways}), or leave it "
        "out"
    )


def _missing(what: str, count: int, ways: str) -> ValueError:
    return ValueError(f"{what} has {count} missing value{'s' * (count > 1)}; use {ways} first")
