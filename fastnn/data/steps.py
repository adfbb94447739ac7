"""The steps of a program to run, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastnn.data.arrays import AnySource
from fastnn.data.sparse import Sparse


@dataclass
class Steps:
    """The steps to run, and their rows.

    Attributes
    ----------
    sources : list of Source or Sparse
        One for each input of the program.
    rows : int
        Total number of rows.
    batch : int
        Rows of a step.
    order : ndarray of int64, shape (rows,), optional
        The order in which rows are taken.
    in_place : bool
        Whether rows that need no conversion may be read in place.
    target_types : tuple of {"real", "label", "weight"}
        Types of the sources after the inputs; see `Runtime.bound`.
    sparse : tuple of int
        Positions of the sparse sources.
    """

    sources: Sequence[AnySource]
    rows: int
    batch: int
    order: np.ndarray | None = None
    in_place: bool = True
    target_types: tuple[str, ...] = ("real",)

    def __post_init__(self) -> None:
        """Find the sparse sources."""
        self.sparse = tuple(i for i, s in enumerate(self.sources) if isinstance(s, Sparse))

    def rows_of(self, count: int) -> np.ndarray:
        """Return the number of rows of each of the first `count` steps."""
        rows = np.full(count, float(self.batch))
        if count == self.count:
            rows[-1:] = self.rows - (count - 1) * self.batch
        return rows

    @property
    def count(self) -> int:
        """Number of steps that it takes to see every row."""
        return -(-self.rows // self.batch)
