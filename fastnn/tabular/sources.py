"""Columns of pandas, Polars and Arrow as cells; the libraries are recognised, never imported.

Written without a library that speaks to all three: what differs between them here is how each
keeps categories, missing cells, decimals and zones of time, which such a library hands through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.tabular.cells import (
    Cells,
    WrongCell,
    is_missing,
    kind_of,
    microseconds,
    mixture,
    of_array,
    of_codes,
    of_masked,
    of_objects,
    of_texts,
)

LIBRARIES = ("pandas", "polars", "pyarrow")


def library_of(value: object) -> str:
    """Return "pandas", "polars" or "pyarrow" for what comes from there, else ""."""
    modules = {one.__module__.split(".")[0] for one in type(value).__mro__}
    return next((name for name in LIBRARIES if name in modules), "")


def columns_of(frame: Any) -> Iterator[tuple[object, Any]]:
    """Yield the labels and columns of a frame."""
    library = library_of(frame)
    if library == "polars":
        yield from zip(frame.columns, frame.get_columns(), strict=True)
    elif library == "pyarrow":
        yield from zip(frame.column_names, frame.columns, strict=True)
    else:  # by position, because names may occur twice
        for i, label in enumerate(frame.columns):
            yield label, frame.iloc[:, i]


def cells_of(column: Any, *, of_several_kinds: bool = False) -> Cells:
    """Return a column of a frame, an array or a list as cells.

    Parameters
    ----------
    column : Cells, series, array or list
    of_several_kinds : bool, default False
        Dates or durations may stand beside other cells.

    Raises
    ------
    WrongCell
        A cell is nothing that a table can hold.
    """
    made = column if isinstance(column, Cells) else _read(column)
    if made.objects is not None and not of_several_kinds:
        kinds = {kind_of(cell) for cell in made.objects if not is_missing(cell)}
        if len(kinds) > 1 and not kinds <= {"text", "number", "boolean"}:
            raise mixture(made.objects)
    return made


def _read(column: Any) -> Cells:
    if isinstance(column, np.ma.MaskedArray):
        return of_masked(column)
    if isinstance(column, np.ndarray):
        return of_array(column)
    library = library_of(column)
    if library == "pandas":
        return _pandas(column)
    if library == "polars":
        return _polars(column)
    if library == "pyarrow":
        return _arrow(column)
    return of_objects(list(column))


def values_of(column: Any, rows: np.ndarray) -> np.ndarray:
    """Return some rows of a column in the dtype that NumPy gives them: what they were given as.

    Parameters
    ----------
    column : column of a frame, array or list
    rows : ndarray of int
        Without missing cells, which would make floats of whole numbers.
    """
    library = library_of(column)
    if library == "pandas":
        kept = column.iloc[rows] if hasattr(column, "iloc") else column.take(rows)
        dtype = kept.dtype
        if getattr(dtype, "kind", "O") in "biuf" and hasattr(dtype, "numpy_dtype"):
            return np.asarray(kept.to_numpy(dtype=dtype.numpy_dtype))
        return np.asarray(kept)
    if library == "polars":
        return np.asarray(column.gather(rows).to_numpy())
    if library == "pyarrow":
        return np.asarray(column.take(rows))
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(column.data[rows])
    if isinstance(column, np.ndarray):
        return column[rows]
    cells = list(column)
    return np.array([cells[row] for row in rows.tolist()])


def _pandas(column: Any) -> Cells:
    dtype = column.dtype
    name = type(dtype).__name__
    if name == "CategoricalDtype":
        held = getattr(column, "cat", column)
        codes = np.asarray(held.codes, np.int64)
        categories = held.categories
        labels = cells_of(categories).as_text()
        texts = [None if i < 0 else labels.texts[i] for i in labels.values]
        return of_codes(codes, texts, is_category=True)
    if name == "SparseDtype":
        return of_array(np.asarray(column))
    if name == "PeriodDtype":
        return _pandas(column.dt.to_timestamp() if hasattr(column, "dt") else column.to_timestamp())
    if name == "ArrowDtype":
        import pyarrow

        return _arrow(pyarrow.array(column.array if hasattr(column, "array") else column))
    if name == "IntervalDtype":
        return of_texts(
            [None if gap else str(one) for one, gap in zip(column, column.isna(), strict=True)]
        )
    kind = getattr(dtype, "kind", "O")
    if kind == "M" and getattr(dtype, "tz", None) is not None:
        column = getattr(column, "dt", column).tz_localize(None)
    if kind in "Mm":
        return of_array(column.to_numpy())
    if kind in "biuf":
        if isinstance(dtype, np.dtype):
            return of_array(column.to_numpy())
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return Cells("boolean" if kind == "b" else "number", values, is_whole=kind in "iu")
    objects = column.to_numpy(dtype=object)
    if name == "StringDtype":
        return of_texts(
            [None if gap else one for one, gap in zip(objects, column.isna(), strict=True)]
        )
    return of_array(objects)


def _polars(column: Any) -> Cells:
    dtype = column.dtype
    kind = str(dtype).split("(")[0]
    if kind in ("String", "Utf8"):
        return of_texts(column.to_list())
    if kind in ("Categorical", "Enum"):
        cells = of_texts(column.to_list())
        return Cells("text", cells.values, cells.texts, is_category=True)
    if kind == "Boolean":
        return of_objects(column.to_list())
    if kind in ("Int128", "UInt128"):  # which NumPy has not
        return of_objects(column.to_list())
    if dtype.is_integer() or dtype.is_float():
        values = column.to_numpy().astype(np.float64)
        return Cells("number", values, is_whole=dtype.is_integer())
    if kind == "Datetime":
        if getattr(dtype, "time_zone", None):
            microseconds(column.to_numpy())  # Polars panics where the year is far away
            column = column.dt.replace_time_zone(None)
        return of_array(column.to_numpy())
    if kind in ("Date", "Duration"):
        return of_array(column.to_numpy())
    return of_objects(column.to_list())


def _arrow(column: Any) -> Cells:
    import pyarrow
    from pyarrow import compute, types

    kind = column.type
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pyarrow.ChunkedArray):
            column = pyarrow.concat_arrays(column.chunks or [pyarrow.array([], kind)])
    if types.is_dictionary(kind):
        labels = cells_of(column.dictionary).as_text()
        codes = _codes(column.indices)
        texts = [None if i < 0 else labels.texts[i] for i in labels.values]
        return of_codes(codes, texts, is_category=True)
    if types.is_string(kind) or types.is_large_string(kind) or _is_view(types, kind):
        if _is_view(types, kind):
            column = column.cast(pyarrow.large_string())
        coded = column.dictionary_encode()
        return of_codes(_codes(coded.indices), coded.dictionary.to_pylist())
    if types.is_boolean(kind):
        return Cells("boolean", _numbers(column.cast(pyarrow.int8())))
    if types.is_integer(kind) or types.is_floating(kind):
        return Cells("number", _numbers(column), is_whole=types.is_integer(kind))
    if types.is_decimal(kind):
        return Cells("number", _numbers(column.cast(pyarrow.float64())))
    if types.is_timestamp(kind):
        if kind.tz is not None:
            column = compute.local_timestamp(column)
        return of_array(column.to_numpy(zero_copy_only=False))
    if types.is_date(kind):
        return of_array(column.cast(pyarrow.timestamp("ms")).to_numpy(zero_copy_only=False))
    if types.is_duration(kind):
        return of_array(column.to_numpy(zero_copy_only=False))
    if types.is_null(kind):
        return of_texts([None] * len(column))
    if types.is_time(kind):
        return of_objects(column.to_pylist())
    raise WrongCell(0, f"holds {kind}; expected numbers, text, booleans, dates or durations")


def _is_view(types: Any, kind: Any) -> bool:
    return hasattr(types, "is_string_view") and bool(types.is_string_view(kind))


def _codes(indices: Any) -> np.ndarray:
    """Return the indices of a dictionary, -1 where missing."""
    return np.asarray(indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False))


def _numbers(column: Any) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.float64)
