"""From the columns of a table to the inputs of a network."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.core.hints import did_you_mean, nearest
from fastnn.tabular import recognition
from fastnn.tabular.categorical import ONE_HOT_UP_TO, Category
from fastnn.tabular.cells import WrongCell, unmasked
from fastnn.tabular.columns import Column, LeftOut, Put, listed
from fastnn.tabular.recognition import KINDS, Options
from fastnn.tabular.table import Table, of


@dataclass(frozen=True)
class ColumnDecision:
    """What was decided for a column, for a report.

    Attributes
    ----------
    column : str
    kind : str
        What it is, a key of `kinds`.
    label : str
        What it is and how it is encoded.
    reason : str
        Why.
    values : str
        Its range or categories.
    missing : int
        Cells that were missing in training.
    inputs : list of str
        Names of the inputs that it gives; [] for a column that is left out.
    """

    column: str
    kind: str
    label: str
    reason: str
    values: str
    missing: int
    inputs: list[str]


class Encoding:
    """How columns become inputs; made by `fit`.

    The inputs lie in three blocks, [numbers | flags | codes]: scaled numbers; flags (one-hot
    columns, booleans, "is missing"), already scaled; and codes, which are whole numbers and name
    a row of an embedding.

    Attributes
    ----------
    columns : dict of str to Column
        All columns of the table that it was fitted to, in order, those left out too.
    numbers, flags : int
        How many inputs are numbers, and flags.
    cardinalities : list of int
        For each input that is a code, how many codes there are: 0 stands for what is unknown or
        rare, 1 for missing.
    inputs : int
    input_names : list of str
        Such as "age", "color=red" and "age is missing".
    groups : dict of str to list of int
        The inputs that come from each column.

    Examples
    --------
    >>> from fastnn.tabular import Encoding, of
    >>> table = of({"age": [31, 45, None, 28], "color": ["red", "blue", "red", "green"]})
    >>> encoding = Encoding.fit(table)
    >>> encoding.input_names
    ['age', 'age is missing', 'color=blue', 'color=green', 'color=red']
    >>> encoding.encode(table).shape
    (4, 5)
    >>> encoding.encode_one({"color": "green", "age": 31}).argmax()
    np.int64(3)
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        self.columns = {column.name: column for column in columns}
        used = [column for column in self.columns.values() if column.inputs]
        self._used = used
        numbers = [(c.name, name) for c in used for name in c.number_names]
        flags = [(c.name, name) for c in used for name in c.flag_names]
        codes = [(c.name, c.name) for c in used if c.cardinality]
        self.numbers = len(numbers)
        self.flags = len(flags)
        self.cardinalities = [column.cardinality for column in used if column.cardinality]
        named = [*numbers, *flags, *codes]
        self.inputs = len(named)
        self.input_names = [name for _, name in named]
        self.groups: dict[str, list[int]] = {column.name: [] for column in used}
        for i, (column, _) in enumerate(named):
            self.groups[column].append(i)
        self._template = array("f", bytes(4 * self.inputs))
        self._puts: list[tuple[str, Put]] = []
        places = {name: i for i, name in enumerate(self.columns)}
        self._positions = [places[column.name] for column in used]
        for one, number, flag, code in self._placed():
            self._puts.append((one.name, one.one(number, flag, code)))
            if isinstance(one, Category):
                for i, off in enumerate(one.template()):
                    self._template[flag + i] = off

    def _placed(self) -> Iterator[tuple[Column, int, int, int]]:
        """Yield each column that gives inputs, and where its numbers, flags and code begin."""
        number, flag, code = 0, self.numbers, self.numbers + self.flags
        for column in self._used:
            yield column, number, flag, code
            number += len(column.number_names)
            flag += len(column.flag_names)
            code += column.cardinality > 0

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        drop: Iterable[str] = (),
        kinds: Mapping[str, Any] | None = None,
        numbers: str = "robust",
        one_hot_up_to: int = ONE_HOT_UP_TO,
    ) -> Encoding:
        """Decide what each column is, and measure it.

        Parameters
        ----------
        table : Table, frame, array, dict of columns, or list of dicts
            The rows to train on, without the target.
        drop : iterable of str, optional
            Columns that are not inputs.
        kinds : dict, optional
            What columns are, by name: "number", "category", "boolean", "date", "duration" or
            "left out"; or a dict of options for that column: "kind", "numbers", "one_hot_up_to",
            "order" of dates ("dmy", "mdy", "ymd"), and "decimal" ("." or ",").
        numbers : {"robust", "quantile", "standard"}, default "robust"
            How numbers are scaled.
        one_hot_up_to : int, default 9
            Columns of that many categories, missing counted, get an input for each; those of more
            get a code for an embedding.

        Returns
        -------
        Encoding

        Raises
        ------
        TypeError
            `table` or `kinds` is something else.
        ValueError
            A cell is infinite or of no kind that is known, no column is left, or a name or an
            option is not known. The message names file, column and row.
        """
        table = table if isinstance(table, Table) else of(table)
        default = Options(numbers=numbers, one_hot_up_to=one_hot_up_to)
        recognition.check_options(default)
        if not isinstance(kinds, (Mapping, type(None))):
            raise TypeError(f"kinds must be a dict of columns and kinds, got {kinds!r}")
        told = {
            name: recognition.options_of(name, given, default)
            for name, given in (kinds or {}).items()
        }
        if not isinstance(drop, Iterable):
            raise TypeError(f"drop must be names of columns, got {drop!r}")
        drop = [drop] if isinstance(drop, str) else list(drop)
        for name in drop:
            if not isinstance(name, str):
                raise TypeError(f"drop must be names of columns, got {name!r} among them")
        for what, names in (("drop", drop), ("kinds", told)):
            for name in names:
                if name not in table.columns:
                    hint = did_you_mean(name, map(str, table.columns))
                    raise ValueError(
                        f"{table.where}{what}: {name!r} is not a column{hint} "
                        f"(there is {listed(table.columns)})"
                    )
        if not table.rows:
            raise ValueError(f"{table.where}no rows to fit the encoding to")
        made: list[Column] = []
        for i, name in enumerate(table.columns):
            if name in drop:
                made.append(LeftOut(name, "as told", 0))
                continue
            cells = table.cells(name)
            try:
                made.append(
                    recognition.fitted(
                        name,
                        cells,
                        told.get(name, default),
                        is_named=table.has_names,
                        is_first=i == 0,
                    )
                )
            except WrongCell as error:
                raise table.wrong(name, error) from None
        made = _with_an_input(table, made, told, default, drop)
        return cls(made)

    def __getstate__(self) -> dict[str, Any]:
        """Return the columns, which all else is made from."""
        return {"columns": list(self.columns.values())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Encoding.__init__(self, state["columns"])

    def __repr__(self) -> str:
        columns = f"{len(self._used)} of {len(self.columns)} columns"
        return f"<Encoding of {columns}: {self.inputs} inputs>"

    # --- tables ---

    def encode(self, table: Any) -> np.ndarray:
        """Return the inputs of the network.

        Parameters
        ----------
        table : Table, frame, array, dict of columns, or list of dicts
            Columns are found by name, in any order; others than those of the training are
            ignored. Arrays, which have no names, have all columns of the training in their order.

        Returns
        -------
        ndarray of float32, shape (rows, inputs)
            C order.

        Raises
        ------
        ValueError
            A column is missing, or holds what does not fit; the message names it, the row and
            the cell.
        """
        table = table if isinstance(table, Table) else of(table)
        sources = self._sources(table)
        out = np.empty((table.rows, self.inputs), np.float32)
        for source, (column, number, flag, code) in zip(sources, self._placed(), strict=True):
            cells = table.cells(source)
            numbers = out[:, number : number + len(column.number_names)]
            flags = out[:, flag : flag + len(column.flag_names)]
            try:
                column.encode(cells, numbers, flags, out[:, code] if column.cardinality else None)
            except WrongCell as error:
                raise table.wrong(source, error) from None
        return out

    def _sources(self, table: Table) -> list[str]:
        """Return the names of the used columns in this table."""
        if not table.has_names:
            names = list(table.columns)
            if len(names) != len(self.columns):
                raise ValueError(
                    f"{table.where}{len(names)} columns without names; the model takes "
                    f"{len(self.columns)}: {listed(self.columns)}"
                )
            return [names[i] for i in self._positions]
        lacking = [column.name for column in self._used if column.name not in table.columns]
        if lacking:
            raise ValueError(
                f"{table.where}the model needs column {listed(lacking)}"
                f"{did_you_mean(lacking[0], map(str, table.columns))}; "
                f"there is {listed(table.columns)}"
            )
        return [column.name for column in self._used]

    # --- single rows ---

    def encode_one(self, row: Any) -> np.ndarray:
        """Return the inputs for one row: the same bits as `encode`, in microseconds.

        Parameters
        ----------
        row : dict, sequence, or row of a pandas frame
            Cells by name, or all of them in the order of `columns`.

        Returns
        -------
        ndarray of float32, shape (inputs,)

        Raises
        ------
        TypeError
            `row` is something else.
        ValueError
            A column is missing, or a cell does not fit.
        """
        out = self._template[:]
        name = ""
        try:
            if type(row) is dict or hasattr(row, "keys"):
                for name, put in self._puts:
                    put(out, row[name])
            else:
                if isinstance(row, np.ma.MaskedArray):
                    row = unmasked(row)
                if isinstance(row, (str, bytes)) or not hasattr(row, "__getitem__"):
                    raise TypeError(
                        "a row is a dict of cells by name or a sequence of cells, got "
                        f"{type(row).__name__}"
                    )
                if len(row) != len(self.columns):
                    raise ValueError(
                        f"a row of {len(row)} cells; expected {len(self.columns)}: "
                        f"{listed(self.columns)}"
                    )
                for at, (name, put) in zip(self._positions, self._puts, strict=True):  # noqa: B007
                    put(out, row[at])
        except WrongCell as error:
            raise ValueError(f"column {name!r}: {error.what}") from None
        except KeyError:
            close = nearest(name, map(str, row.keys()))
            raise ValueError(
                f"the row has no {name!r}{f', but {close!r}' if close else ''}; None stands for a "
                f"missing cell; the model needs {listed(self.groups)}"
            ) from None
        return np.frombuffer(out, np.float32)

    # --- what was decided ---

    @property
    def decisions(self) -> list[ColumnDecision]:
        """What was decided for each column, in order."""
        made = []
        for column in self.columns.values():
            names = [*column.number_names, *column.flag_names]
            names += [column.name] * (column.cardinality > 0)
            made.append(
                ColumnDecision(
                    column.name,
                    column.kind,
                    column.label,
                    column.reason,
                    column.values,
                    column.missing,
                    names,
                )
            )
        return made

    def unknown_categories(self, table: Any) -> dict[str, tuple[int, str]]:
        """Return the columns with cells that are none of the categories known from the training.

        Such cells are values like others; many of them may be those of a wrong file.

        Parameters
        ----------
        table : Table, frame, array, dict of columns, or list of dicts

        Returns
        -------
        dict of str to (int, str)
            For each of those columns, how many cells there are, and the first of them.

        Examples
        --------
        >>> encoding = Encoding.fit({"town": ["Ulm", "Bonn", "Ulm", "Bonn"]})
        >>> encoding.unknown_categories({"town": ["Ulm", "Paris", None, "Rome"]})
        {'town': (2, 'Paris')}
        """
        table = table if isinstance(table, Table) else of(table)
        made = {}
        for source, (column, *_) in zip(self._sources(table), self._placed(), strict=True):
            if isinstance(column, Category):
                cells = table.cells(source)
                rows = np.flatnonzero(column.unknown(cells))
                if len(rows):
                    made[column.name] = len(rows), cells.take(rows[:1]).as_text().texts[0]
        return made

    def describe(self) -> str:
        """Return what was decided for each column, as a table of text.

        Examples
        --------
        >>> from fastnn.tabular import Encoding, of
        >>> print(Encoding.fit(of({"age": [31, 45, None], "one": [1, 1, 1]})).describe())
        column  taken as  values    missing  inputs  why
        age     number    31 to 45        1       2  whole numbers
        one     left out                  0       0  constant: 1 in every row
        """
        rows = [("column", "taken as", "values", "missing", "inputs", "why")]
        for one in self.decisions:
            inputs = str(len(one.inputs))
            if self.columns[one.column].cardinality:
                inputs = f"1 of {self.columns[one.column].cardinality:,}"
            name = one.column if len(one.column) <= 32 else one.column[:29] + "..."
            rows.append((name, one.label, one.values, f"{one.missing:,}", inputs, one.reason))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for row in rows:
            cells = [
                cell.rjust(width) if i in (3, 4) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=False))
            ]
            lines.append("  ".join([*cells, row[5]]).rstrip())
        return "\n".join(lines)

    # --- in a file ---

    def to_file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return it as JSON and tensors, for `from_file`."""
        entries, arrays, sizes = [], [], []
        for column in self.columns.values():
            entry, own = column.to_file()
            entries.append(entry | {"arrays": [len(one) for one in own]})
            arrays += own
            sizes += [len(one) for one in own]
        joined = np.concatenate(arrays) if arrays else np.zeros(0)
        return {"columns": entries}, {"encoding": joined.astype(np.float64)}

    @classmethod
    def from_file(cls, entries: Any, tensors: Mapping[str, np.ndarray]) -> Encoding:
        """Return the encoding that `to_file` described.

        Raises
        ------
        ValueError
            The description is damaged.
        """
        try:
            joined, at, columns = tensors["encoding"], 0, []
            for entry in entries["columns"]:
                arrays = []
                for size in entry["arrays"]:
                    if not (isinstance(size, int) and 0 <= size <= len(joined) - at):
                        raise ValueError("sizes do not fit")
                    arrays.append(np.asarray(joined[at : at + size], np.float64))
                    at += size
                columns.append(KINDS[entry["kind"]].from_file(entry, arrays))
            made = cls(columns)
            if at != len(joined) or len(made.columns) != len(columns) or not made.inputs:
                raise ValueError("sizes do not fit")
        except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
            what = str(error) or type(error).__name__
            raise ValueError(f"the description of the columns is damaged ({what})") from None
        return made


def _with_an_input(
    table: Table,
    made: list[Column],
    told: Mapping[str, Options],
    default: Options,
    drop: Sequence[str],
) -> list[Column]:
    """Return the columns, with ids among them taken as inputs if there is no other.

    A table of x and y where x counts the rows is a curve.
    """
    if any(column.inputs for column in made):
        return made
    again = []
    for column in made:
        if column.name in drop or column.name in told or not column.reason.startswith("counts"):
            again.append(column)
        else:
            cells = table.cells(column.name)
            again.append(recognition.fitted(column.name, cells, default, is_named=False))
    if not any(column.inputs for column in again):
        reasons = [f"{column.name!r} ({column.reason})" for column in made[:4]]
        more = f" and {len(made) - 4:,} more" if len(made) > 4 else ""
        raise ValueError(
            f"{table.where}no column is left as input: {', '.join(reasons) or 'there is none'}"
            f"{more}"
        )
    return again
