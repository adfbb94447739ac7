"""What a column of a table is: the kinds of columns, and what each of them must be able to do.

A kind is fitted to cells and then turns cells into inputs, for arrays (`encode`) and for the cell
of a single row (`one`), with the same bits. Its inputs come in three groups, each in a block of
its own in the encoded table:

    numbers    scaled; embeddings of numbers are for these
    flags      one-hot columns, booleans, "is missing"; already scaled, and nothing more to do
    codes      whole numbers that name a row of an embedding
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn.core.formats import whole_number
from fastnn.tabular.cells import Cells, WrongCell

LONGEST_NAME = 10_000  # letters; it stands in messages and in model files

# Writes the inputs of a cell in a row, an array of float32.
Put = Callable[[Any, Any], None]


class Column:
    """A column that was fitted; the base of the kinds.

    Attributes
    ----------
    kind : str
        Its name, class attribute.
    name : str
        Name of the column.
    reason : str
        Why it is taken for that.
    missing : int
        How many cells were missing in training.
    """

    kind: ClassVar[str] = ""

    def __init__(self, name: str, reason: str, missing: int) -> None:
        self.name = name
        self.reason = reason
        self.missing = missing

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.values}>"

    # --- what it gives ---

    @property
    def number_names(self) -> list[str]:
        """Names of its inputs that are numbers."""
        return []

    @property
    def flag_names(self) -> list[str]:
        """Names of its inputs that are flags."""
        return []

    @property
    def cardinality(self) -> int:
        """How many codes it has: one input, or none for 0."""
        return 0

    @property
    def inputs(self) -> int:
        """How many inputs it gives."""
        return len(self.number_names) + len(self.flag_names) + (self.cardinality > 0)

    @property
    def values(self) -> str:
        """Its range or categories, for a table that people read."""
        return ""

    @property
    def label(self) -> str:
        """What it is, for a table that people read."""
        return self.kind

    # --- what it does ---

    def encode(
        self, cells: Cells, numbers: np.ndarray, flags: np.ndarray, code: np.ndarray | None
    ) -> None:
        """Write the inputs for some cells.

        Parameters
        ----------
        cells : Cells
        numbers, flags : ndarray of float32, shape (rows, own numbers), (rows, own flags)
        code : ndarray of float32, shape (rows,), or None

        Raises
        ------
        WrongCell
            A cell is not of this kind.
        """
        raise NotImplementedError

    def one(self, number: int, flag: int, code: int) -> Put:
        """Return the function that writes the inputs for the cell of one row.

        Parameters
        ----------
        number, flag, code : int
            Where its numbers and flags begin in the row, and where its code is.
        """
        raise NotImplementedError

    # --- in a file ---

    def to_file(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Return what it holds, as JSON and as float64 arrays."""
        raise NotImplementedError

    @classmethod
    def from_file(cls, entry: dict[str, Any], arrays: Sequence[np.ndarray]) -> Column:
        """Return what `to_file` described; ValueError, TypeError or KeyError if it is damaged."""
        raise NotImplementedError

    def _entry(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "reason": self.reason,
            "missing": self.missing,
        } | more


class LeftOut(Column):
    """A column that gives no inputs."""

    kind = "left out"

    def encode(
        self, cells: Cells, numbers: np.ndarray, flags: np.ndarray, code: np.ndarray | None
    ) -> None:
        """Write nothing."""

    def one(self, number: int, flag: int, code: int) -> Put:
        """Return a function that writes nothing."""
        return lambda out, cell: None

    def to_file(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Return what it holds."""
        return self._entry(), []

    @classmethod
    def from_file(cls, entry: dict[str, Any], arrays: Sequence[np.ndarray]) -> LeftOut:
        """Return what `to_file` described."""
        return cls(*common(entry))


def common(entry: dict[str, Any]) -> tuple[str, str, int]:
    """Return what every kind keeps; ValueError if it is damaged."""
    name, reason, missing = entry["name"], entry["reason"], entry["missing"]
    is_named = isinstance(name, str) and len(name) <= LONGEST_NAME
    if not (is_named and isinstance(reason, str)):
        raise ValueError("a column is damaged")
    return name, reason, whole_number("missing", missing)


def shown(cell: object, limit: int = 40) -> str:
    """Return a cell for a message."""
    text = repr(cell)
    return text if len(text) <= limit else text[: limit - 4] + "..." + text[-1]


def listed(names: Sequence[object] | Any, limit: int = 8) -> str:
    """Return names for a message: the first few, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(shown(name, 100) for name in names[:limit]) + more


def short(value: float) -> str:
    """Return a number with the digits that a person reads."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{value:,.0f}" if value == math.floor(value) else f"{value:,.4g}"
    return f"{value:.4g}"


def check_finite(values: np.ndarray, cells: Cells) -> None:
    """Raise WrongCell at the first infinite number."""
    if np.isinf(values).any():
        raise WrongCell(cells.first(np.isinf(values)), "is infinite; expected finite numbers")


def row_number(place: int, numbers: np.ndarray | None) -> int:
    """Return the number of a row as messages name it, from 1.

    Parameters
    ----------
    place : int
        Among the rows at hand.
    numbers : ndarray of int, shape (rows,), or None
        Their numbers in the source, if some were left out.

    Examples
    --------
    >>> row_number(2, None)
    3
    """
    return place + 1 if numbers is None else int(numbers[place])
