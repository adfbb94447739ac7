"""Tables: the columns of a file, with checks of their cells.

A `Table` is a file as it was read. An `Encoding` says which of its columns are inputs, how
they become numbers, and what the outputs mean; it is saved with the model, so that a model file
alone is enough to predict from another file.

Categories of text columns are taken from the whole file, means and scales from the training rows
only. An empty cell is an error, never filled in silently. Nothing in a file is evaluated.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.core import extras

SUFFIXES = (".csv", ".parquet", ".npz")
_EXPECTED = "expected a .csv, .parquet or .npz file"
_EMPTY = "empty, NA, null and nan count as empty; fill or remove such rows"


@dataclass(repr=False)
class Table:
    """The columns of a file.

    Attributes
    ----------
    source : str
        Where the columns come from, for messages.
    columns : dict of str to one-dimensional array or pandas Series
        As they were read; `values` checks them.
    rows : int
    has_names : bool
        False for arrays: their columns are numbered, and matched by position.
    left_out : tuple of str
        The rest of the file: columns without a name, arrays that are not inputs.
    """

    source: str
    columns: dict[str, Any]
    rows: int
    has_names: bool = True
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Table {self.source!r}: {self.rows:,} rows of {listed(self.columns, 4)}>"

    def values(self, name: str) -> np.ndarray:
        """Return a column without empty cells: bool, integers, floats, or str (dtype object).

        Parameters
        ----------
        name : str

        Raises
        ------
        ValueError
            There is no such column, a cell is empty or infinite, or it holds something else.
        """
        if name not in self.columns:
            raise ValueError(
                f"{self.source}: there is no column {name!r}, only {listed(self.columns)}"
            )
        column = self.columns[name]
        is_array = isinstance(column, np.ndarray)
        if not is_array:
            self._check(name, column.isna().to_numpy(bool), f"is empty ({_EMPTY})")
        array = column if is_array else _from_series(column)
        if array.dtype.kind == "U":
            return array.astype(object)
        if array.dtype.kind == "O":
            other = next((cell for cell in array if not isinstance(cell, str)), None)
            found = None if other is None else type(other).__name__
        else:
            found = None if array.dtype.kind in "biuf" else str(array.dtype)
        if found is not None:
            raise ValueError(
                f"{self.source}: column {name!r} holds {found}; expected numbers, booleans or "
                "text; convert it or leave it out"
            )
        if array.dtype.kind == "f":
            self._check(name, np.isnan(array), "is NaN")
            self._check(name, np.isinf(array), "is infinite; expected finite numbers")
        return array

    def _check(self, name: str, is_bad: np.ndarray, what: str) -> None:
        if is_bad.any():
            first, count = int(is_bad.argmax()) + 1, int(is_bad.sum())
            more = f" and {count - 1} more of {self.rows}" if count > 1 else ""
            raise ValueError(f"{self.source}: column {name!r} in row {first}{more} {what}")


def _from_series(series: Any) -> np.ndarray:
    """Return a pandas column without missing cells as an array of its plain dtype."""
    types = _pandas().api.types
    if isinstance(series.dtype, types.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if types.is_bool_dtype(series.dtype):
        return series.to_numpy(bool)
    if types.is_numeric_dtype(series.dtype):  # also the nullable dtypes of pandas and Arrow
        return series.to_numpy(getattr(series.dtype, "numpy_dtype", series.dtype))
    if types.is_string_dtype(series.dtype):
        return series.to_numpy(object)
    return series.to_numpy()


def listed(names: Iterable[object], limit: int = 8) -> str:
    """Return names for a message: the first few, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def digits() -> Table:
    """Return the embedded digits as a table; the target is called "digit"."""
    from fastnn import datasets

    x, y = datasets.load_digits()
    columns = {f"pixel_{i}": x[:, i] for i in range(x.shape[1])}
    return Table("digits", {**columns, "digit": y}, len(x), has_names=False)


def read(path: str | os.PathLike, target: str | None = None, text: Iterable[str] = ()) -> Table:
    """Read a table.

    Parameters
    ----------
    path : path-like
        ``.npz``, ``.csv`` (UTF-8, commas, names in the first line) or ``.parquet``.
    target : str, optional
        The array of a ``.npz`` that is not the inputs.
    text : iterable of str, optional
        Columns of a ``.csv`` to keep as text, whatever they look like.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it cannot be read as a table.
    ImportError
        pandas is missing; the message names the extra to install.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from fastnn.tabular import table
    >>> path = os.path.join(tempfile.mkdtemp(), "data.npz")
    >>> np.savez(path, x=np.zeros((5, 3)), y=np.arange(5))
    >>> list(table.read(path, target="y").columns)
    ['x[0]', 'x[1]', 'x[2]', 'y']
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path}: {what}; {_EXPECTED}")
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file {suffix!r}; {_EXPECTED}")
    if suffix == ".npz":
        return _read_npz(path, target)
    pandas = _pandas()
    frame = _read_csv(pandas, path, text) if suffix == ".csv" else _read_parquet(pandas, path)
    return _from_frame(path, frame)


def _from_frame(path: Path, frame: Any) -> Table:
    """Return the columns of a pandas frame that have a name."""
    names = [str(name) for name in frame.columns]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{path}: column names must be unique, repeated: {listed(repeated)}")
    columns = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    # A nameless column is usually the row numbers that `to_csv` adds: nothing to learn from.
    kept = {n: c for n, c in columns.items() if n and not re.fullmatch(r"Unnamed: \d+", n)}
    if len(frame) == 0:
        raise ValueError(f"{path}: has column names but no rows")
    return Table(str(path), kept, len(frame), left_out=tuple(columns.keys() - kept))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise extras.missing("reading .csv and .parquet needs pandas", "table") from None
    return pandas


def _read_csv(pandas: Any, path: Path, text: Iterable[str]) -> Any:
    import warnings

    errors = pandas.errors
    try:
        with warnings.catch_warnings():
            # index_col=False: else a row of one cell too many makes pandas shift all columns.
            warnings.simplefilter("error", errors.ParserWarning)
            frame = pandas.read_csv(
                path,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8",
                dtype=dict.fromkeys(text, "str"),
            )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is not UTF-8 text (byte 0x{error.object[error.start]:02x}); convert it, "
            "for example with: iconv -f latin1 -t utf-8"
        ) from None
    except errors.EmptyDataError:
        raise ValueError(f"{path}: is empty; expected column names in the first line") from None
    except errors.ParserWarning:
        raise ValueError(f"{path}: rows have more cells than there are column names") from None
    except errors.ParserError as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path}: is not a CSV table: {reason}") from None
    if len(frame.columns) == 1 and (found := re.search(r"[;\t|]", str(frame.columns[0]))):
        raise ValueError(f"{path}: columns seem to be separated by {found[0]!r}; expected ','")
    return frame


def _read_parquet(pandas: Any, path: Path) -> Any:
    try:
        return pandas.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise extras.missing("reading .parquet needs pyarrow", "table") from None
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: is not a Parquet table: {reason}") from None


def _read_npz(path: Path, target: str | None) -> Table:
    arrays = _arrays_in(path)
    name = _inputs_among(path, arrays, target)
    x = arrays[name]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: array {name!r} must hold numbers of shape (rows, columns), "
            f"got {x.dtype} of shape {x.shape}"
        )
    x = x.reshape(len(x), -1)
    columns = {f"{name}[{i}]": x[:, i] for i in range(x.shape[1])}
    if target is not None and target in arrays:
        y = arrays[target]
        if y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(f"{path}: array {target!r} must have shape ({len(x)},), got {y.shape}")
        columns[target] = y.reshape(-1)
    unused = tuple(array for array in arrays if array not in (name, target))
    return Table(str(path), columns, len(x), has_names=False, left_out=unused)


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file, by name."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: is not a .npz file; numpy.savez(path, x=..., y=...) writes one")
    try:
        # allow_pickle=False is the default, and explicit here: a file must not run anything.
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy passes on whatever its parsers raise for a damaged file
        reason = " ".join(str(error).split())
        if "allow_pickle" in reason:
            reason = "it holds Python objects; save arrays of numbers"
        raise ValueError(f"{path}: cannot be read: {reason}") from None
    # NumPy returns members that are not arrays as bytes; they are of no use here.
    return {name: part for name, part in members.items() if isinstance(part, np.ndarray)}


def _inputs_among(path: Path, arrays: dict[str, np.ndarray], target: str | None) -> str:
    """Return the name of the array that holds the inputs: "x", or the only one there is."""
    others = [name for name in arrays if name != target]
    if "x" not in others and len(others) != 1:
        raise ValueError(f"{path}: expected the inputs as array 'x', there is {listed(arrays)}")
    return "x" if "x" in others else others[0]
