"""Frames and series of pandas, Polars and Arrow, recognized by their methods; none is imported.

Columns may mix numeric dtypes, including bool, and nullable ones if no value is missing. They are
taken by name where a network remembers the names of the columns that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from fastnn.data import objects

ColumnNames = tuple[str, ...]


def is_frame(value: object) -> bool:
    """Whether this is a frame or series of pandas or Polars, or a table or array of Arrow."""
    is_like = hasattr(value, "to_numpy") or hasattr(value, "column_names")
    return is_like and _library(value) != ""


def _library(value: object) -> str:
    modules = {one.__module__.split(".")[0] for one in type(value).__mro__}
    return next(iter(modules & {"pandas", "polars", "pyarrow"}), "")


def column_names(value: object) -> ColumnNames | None:
    """Return the names of a frame's columns if each is text and occurs once, else None."""
    if not is_frame(value) or not hasattr(value, "columns"):
        return None
    names = tuple(label for label, _ in _columns(value))
    is_named = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return tuple(map(str, names)) if is_named and names else None


def check_names(what: str, got: Sequence[object], expected: ColumnNames) -> None:
    """Raise ValueError unless these are the expected names, each once, in whatever order."""
    missing = [name for name in expected if name not in got]
    unknown = [name for name in dict.fromkeys(got) if name not in expected]
    repeated = [name for name in expected if list(got).count(name) > 1]
    faults = [
        f"{verb} {', '.join(map(repr, names))}"
        for verb, names in (("lacks", missing), ("also has", unknown), ("repeats", repeated))
        if names
    ]
    if faults:
        raise ValueError(
            f"{what} must have the columns that the model was trained on "
            f"({', '.join(map(repr, expected))}), but it {' and '.join(faults)}"
        )


def as_array(name: str, value: Any, names: ColumnNames | None = None) -> np.ndarray:
    """Return a frame as an array of shape (rows, columns), or a series as one of shape (rows,).

    Its dtype is the narrowest that NumPy can use for all columns.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : frame or series
    names : tuple of str, optional
        Names of the columns, in the order in which they are to be taken. A frame whose columns
        have numbers as names is taken by position.

    Raises
    ------
    TypeError
        A column does not hold numbers; the message names it.
    ValueError
        A column has missing values, or the names are others; the message names them.
    """
    convert = _CONVERT[_library(value)]
    if not hasattr(value, "columns"):
        return convert(name, value)
    parts = list(_columns(value))
    if names is not None and any(isinstance(label, str) for label, _ in parts):
        check_names(name, [label for label, _ in parts], names)
        named = dict(parts)
        parts = [(label, named[label]) for label in names]
    columns = [convert(f"column {label!r} of {name}", part) for label, part in parts]
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
        return np.array(_listed(value), object)
    cells = np.empty((len(value), len(value.columns)), object)
    for i, (_, column) in enumerate(_columns(value)):
        cells[:, i] = _listed(column)
    return cells


def _listed(column: Any) -> list:
    """Return a column of Polars or Arrow as a list."""
    return column.to_pylist() if _library(column) == "pyarrow" else column.to_list()


def _columns(frame: Any) -> Iterator[tuple[object, Any]]:
    if _library(frame) == "polars":
        yield from zip(frame.columns, frame.get_columns(), strict=True)
    elif _library(frame) == "pyarrow":
        yield from zip(frame.column_names, frame.columns, strict=True)
    else:  # by position, because names may occur twice
        for i, label in enumerate(frame.columns):
            yield label, frame.iloc[:, i]


def names_in_row(value: object) -> ColumnNames | None:
    """Return the names in a sample that is a dict of numbers or a row of a pandas frame."""
    if isinstance(value, Mapping):
        names = tuple(value)
    elif is_frame(value) and hasattr(value, "index") and not hasattr(value, "columns"):
        names = tuple(cast(Any, value).index)
    else:
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def row_of(name: str, value: object, names: ColumnNames | None) -> object:
    """Return the numbers of one sample that is given by names, in the order of the columns.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        See `names_in_row`; anything else is returned as it is.
    names : tuple of str, optional
        Names of the columns; without them, the order is that of `value`.

    Raises
    ------
    TypeError
        An entry is text or missing; the message names it.
    ValueError
        The names are others.
    """
    own = names_in_row(value)
    if own is None:
        return value
    if names is not None:
        check_names(name, own, names)
    row = cast(Any, value)
    cells = [(one, row[one]) for one in (own if names is None else names)]
    for one, cell in cells:
        if cell is None or isinstance(cell, (str, bytes)):
            raise TypeError(f"column {one!r} of {name} must hold numbers, got {cell!r}")
    return [cell for _, cell in cells]


def has_labels(value: Any) -> bool:
    """Whether a series, or a frame of one column, holds text or categories."""
    column = _only_column(value)
    if column is None:
        return False
    if _library(value) == "polars":
        return str(column.dtype).split("(")[0] in ("String", "Categorical", "Enum", "Utf8")
    if _library(value) == "pyarrow":
        return str(column.type).startswith(("string", "large_string", "dictionary"))
    if getattr(column.dtype, "kind", "O") in "biuf":
        return False
    if hasattr(column, "cat") or hasattr(column, "categories"):
        return True
    return any(isinstance(one, str) for one in column)


def labels_of(name: str, value: Any) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    """Return the labels of a series, or of a frame of one column, and its categories if any."""
    column = _only_column(value)
    if column is None:
        raise ValueError(f"{name} must hold labels in one column, got shape {value.shape}")
    if _library(value) == "polars":
        kind = str(column.dtype).split("(")[0]
        categories = tuple(column.dtype.categories) if kind == "Enum" else None
        listed = column.to_list()
    elif _library(value) == "pyarrow":
        categories, listed = None, column.to_pylist()
    else:
        is_missing = column.isna()
        listed = [None if gap else one for one, gap in zip(column, is_missing, strict=True)]
        held = getattr(column, "cat", column)  # a series, or a Categorical by itself
        categories = tuple(held.categories) if hasattr(held, "categories") else None
    array = np.empty(len(listed), object)
    array[:] = listed
    if categories is not None:
        categories = tuple(one.item() if isinstance(one, np.generic) else one for one in categories)
    return array, categories


def _only_column(value: Any) -> Any:
    """Return a series, or the only column of a frame; None where there are several."""
    if not hasattr(value, "columns"):
        return value
    columns = [part for _, part in _columns(value)]
    return columns[0] if len(columns) == 1 else None


class Rows:
    """The rows of a frame or series, to be sliced as those of an array.

    Parameters
    ----------
    frame : frame or series
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.shape: tuple[int, ...] = tuple(getattr(frame, "shape", (len(frame),)))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, rows: slice) -> Any:
        """Return a slice of the rows, as a frame or series."""
        if hasattr(self._frame, "iloc"):
            return self._frame.iloc[rows]
        if _library(self._frame) == "pyarrow":
            first, last, _ = rows.indices(len(self._frame))
            return self._frame.slice(first, max(0, last - first))
        return self._frame[rows]


def rows_of(frame: Any, rows: Any) -> Any:
    """Return rows of a frame or series, by their numbers or a slice."""
    if isinstance(rows, slice):
        return Rows(frame)[rows]
    if _library(frame) == "pyarrow":
        return frame.take(rows)
    return frame.iloc[rows] if hasattr(frame, "iloc") else frame[rows]


def _pandas_column(what: str, column: Any) -> np.ndarray:
    dtype = column.dtype
    is_of_objects = dtype == np.dtype(object) and not any(isinstance(one, str) for one in column)
    if getattr(dtype, "kind", "O") not in "biuf" and not is_of_objects:
        raise _not_numeric(what, dtype, "its category codes, pandas.get_dummies")
    missing = int(column.isna().sum())
    if missing:
        raise _missing(what, missing, "fillna(...) or dropna()")
    if is_of_objects:
        return objects.numbers_of(what, column.to_numpy())
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


def _arrow_column(what: str, column: Any) -> np.ndarray:
    kind = str(column.type)
    if not kind.startswith(("int", "uint", "halffloat", "float", "double", "bool", "decimal")):
        raise _not_numeric(what, kind, "column.dictionary_encode().indices")
    if column.null_count:
        raise _missing(what, column.null_count, "fill_null(...) or drop_null()")
    array = np.asarray(column)
    return objects.numbers_of(what, array) if array.dtype.kind == "O" else array


_CONVERT = {"pandas": _pandas_column, "polars": _polars_column, "pyarrow": _arrow_column}


def _not_numeric(what: str, dtype: object, ways: str) -> TypeError:
    return TypeError(
        f"{what} must hold numbers, got dtype {dtype}; turn it into numbers ({ways}), or leave it "
        "out"
    )


def _missing(what: str, count: int, ways: str) -> ValueError:
    return ValueError(f"{what} has {count} missing value{'s' * (count > 1)}; use {ways} first")
