"""Tables: named columns, from frames, arrays, dicts, or a file (see `reading`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core.hints import did_you_mean
from fastnn.tabular.cells import Cells, WrongCell
from fastnn.tabular.columns import LONGEST_NAME, listed, row_number, shown
from fastnn.tabular.sources import cells_of, columns_of, library_of


@dataclass(frozen=True)
class _Part:
    """Some rows of a column that is no cells yet: nobody may ask for it, and it may hold none."""

    table: Table
    name: str
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def cells(self) -> Cells:
        return self.table.cells(self.name).take(self.rows)


class Table:
    """Named columns of the same length.

    Parameters
    ----------
    columns : dict of str to column
        Columns as they came; each is turned into cells when it is first asked for.
    rows : int
    source : str, default ""
        Where they come from, for messages.
    has_names : bool, default True
        False for arrays: their columns are numbered, and taken by position.
    left_out : sequence of str, optional
        What of the source is no column, such as columns without a name.
    notes : sequence of str, optional
        What a person should know about how the source was read.
    numbers : ndarray of int, optional
        The numbers of the rows in the source, from 1, for messages; default: in order.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        rows: int,
        source: str = "",
        *,
        has_names: bool = True,
        left_out: Sequence[str] = (),
        notes: Sequence[str] = (),
        numbers: np.ndarray | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.rows = rows
        self.source = source
        self.has_names = has_names
        self.left_out = tuple(left_out)
        self.notes = tuple(notes)
        self.numbers = numbers

    def __repr__(self) -> str:
        source = f" {self.source!r}" if self.source else ""
        return f"<Table{source}: {self.rows:,} rows of {listed(self.columns, 4)}>"

    def __len__(self) -> int:
        return self.rows

    @property
    def where(self) -> str:
        """The source, as the beginning of a message."""
        return f"{self.source}: " if self.source else ""

    def cells(self, name: str) -> Cells:
        """Return the cells of a column.

        Raises
        ------
        ValueError
            There is no such column, or it holds what a table cannot hold.
        """
        if name not in self.columns:
            hint = did_you_mean(name, map(str, self.columns))
            raise ValueError(
                f"{self.where}there is no column {name!r}{hint} (there is {listed(self.columns)})"
            )
        column = self.columns[name]
        try:
            made = (
                column.cells()
                if isinstance(column, _Part)
                else cells_of(column, of_several_kinds=True)
            )
        except WrongCell as error:
            raise self.wrong(name, error) from None
        if len(made) != self.rows:
            raise ValueError(
                f"{self.where}column {name!r} has {len(made):,} rows, expected {self.rows:,}"
            )
        self.columns[name] = made
        return made

    def wrong(self, name: str, error: WrongCell) -> ValueError:
        """Return the error that names source, column and row of a cell."""
        row = row_number(error.row, self.numbers)
        return ValueError(f"{self.where}column {name!r}, row {row:,}: {error.what}")

    def take(self, rows: np.ndarray) -> Table:
        """Return some rows; columns are turned into cells when they are first asked for.

        Parameters
        ----------
        rows : ndarray of int, or of bool
        """
        rows = np.asarray(rows)
        if rows.dtype.kind == "b":
            rows = np.flatnonzero(rows)
        columns = {
            name: one.take(rows) if isinstance(one, Cells) else _Part(self, name, rows)
            for name, one in self.columns.items()
        }
        numbers = rows + 1 if self.numbers is None else self.numbers[rows]
        return self._with(columns, len(rows), numbers)

    def without(self, *names: str) -> Table:
        """Return the other columns; names that are not there are ignored."""
        columns = {name: one for name, one in self.columns.items() if name not in names}
        return self._with(columns, self.rows, self.numbers)

    def _with(self, columns: Mapping[str, Any], rows: int, numbers: np.ndarray | None) -> Table:
        return Table(
            columns,
            rows,
            self.source,
            has_names=self.has_names,
            left_out=self.left_out,
            notes=self.notes,
            numbers=numbers,
        )


def check_unique(names: Sequence[object], where: str = "") -> None:
    """Raise ValueError if two columns are called the same, or one is called by a whole text."""
    first: dict[object, int] = {}
    for i, name in enumerate(names, 1):
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise ValueError(
                f"{where}the name of column {i} has {len(name):,} letters, at most "
                f"{LONGEST_NAME:,} are possible: {shown(name)}"
            )
        if name in first:
            raise ValueError(
                f"{where}columns {first[name]} and {i} are both called {shown(str(name), 200)}; "
                "each column needs a name of its own"
            )
        first[name] = i


def of(data: Any, *, source: str = "") -> Table:
    """Return data as a table.

    Parameters
    ----------
    data : frame, array, dict or list
        A frame of pandas, Polars or Arrow; an array of shape (rows, columns), of numbers or of
        objects, whose columns are called x0, x1, and so on; a dict of columns; or a list of dicts.
    source : str, default ""
        What it is called in messages.

    Raises
    ------
    TypeError
        It is something else.
    ValueError
        Columns have the same name, or different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> of(np.ones((2, 3)))
    <Table: 2 rows of 'x0', 'x1', 'x2'>
    >>> of([{"a": 1, "b": "x"}, {"a": 2}])
    <Table: 2 rows of 'a', 'b'>
    """
    where = f"{source}: " if source else ""
    if isinstance(data, Table):
        return data
    if library_of(data):
        return _of_frame(data, source, where)
    if isinstance(data, Mapping):
        names = list(data)
        columns = {str(name): _column(data[name], name, where) for name in names}
        check_unique(list(map(str, names)), where)
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            (one, size), *rest = sizes.items()
            other, differs = next((n, s) for n, s in rest if s != size)
            raise ValueError(
                f"{where}column {other!r} has {differs:,} rows, column {one!r} has {size:,}"
            )
        return Table(columns, next(iter(sizes.values()), 0), source)
    if isinstance(data, (list, tuple)) and data and all(isinstance(r, Mapping) for r in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        check_unique(list(map(str, names)), where)
        return Table(
            {str(name): [row.get(name) for row in data] for name in names}, len(data), source
        )
    return _of_array(data, source, where)


def _column(column: Any, name: object, where: str) -> Any:
    about = f"{where}column {name!r} must be a list or array of cells, got {type(column).__name__}"
    shape = getattr(column, "shape", None)
    if isinstance(column, np.ndarray) and column.ndim == 2 and column.shape[1] == 1:
        return (column if isinstance(column, np.ma.MaskedArray) else np.asarray(column))[:, 0]
    if shape is not None and len(shape) != 1:
        raise TypeError(f"{about} of shape {tuple(shape)}")
    if isinstance(column, (Mapping, set, frozenset)):
        raise TypeError(f"{about}, which says nothing of the order of rows")
    is_scalar = isinstance(column, (str, bytes, bytearray, Table))
    if is_scalar or not (hasattr(column, "__len__") and hasattr(column, "__iter__")):
        raise TypeError(f"{about}; a single row is a list of one dict")
    return column


def _of_frame(data: Any, source: str, where: str) -> Table:
    if type(data).__name__ == "LazyFrame":
        data = data.collect()
    if not hasattr(data, "columns"):
        raise TypeError(
            f"{where}expected a table, got one column ({type(data).__name__}); "
            "give a frame, for example with to_frame()"
        )
    pairs = list(columns_of(data))
    rows = len(data)
    labels = [label for label, _ in pairs]
    if pairs and not any(isinstance(label, str) for label in labels):
        return Table(
            {f"x{i}": column for i, (_, column) in enumerate(pairs)}, rows, source, has_names=False
        )
    check_unique(list(map(str, labels)), where)
    return Table({str(label): column for label, column in pairs}, rows, source)


def _of_array(data: Any, source: str, where: str) -> Table:
    if isinstance(data, (str, bytes)) or (
        not isinstance(data, (list, tuple)) and not hasattr(data, "__array__")
    ):
        raise TypeError(
            f"{where}expected a frame, an array of shape (rows, columns), a dict of columns, or a "
            f"list of dicts, got {type(data).__name__}"
        )
    if isinstance(data, (list, tuple)):
        width = {len(row) if hasattr(row, "__len__") else -1 for row in data}
        if len(width) != 1 or width == {-1}:
            raise ValueError(f"{where}expected rows of the same number of cells")
        array = np.empty((len(data), width.pop()), object)
        for i, row in enumerate(data):
            array[i] = [*row]
        return _of_array(array, source, where)
    array = data if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
    if array.ndim != 2:
        raise ValueError(f"{where}expected an array of shape (rows, columns), got {array.shape}")
    columns: Iterable[tuple[str, Any]] = ((f"x{i}", array[:, i]) for i in range(array.shape[1]))
    return Table(dict(columns), len(array), source, has_names=False)
