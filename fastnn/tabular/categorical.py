"""Columns of categories and booleans: one-hot, one flag for two values, or a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn.tabular import scaling
from fastnn.tabular.cells import Cells, WrongCell, as_key, each, number_as_text, of_codes
from fastnn.tabular.columns import Column, Put, common, listed, shown
from fastnn.tabular.texts import is_missing_word, number_in

ONE_HOT_UP_TO = 9
MOST_CATEGORIES = 10_000
PAIR, ONE_HOT, CODES = "two values", "one-hot", "codes"
_OTHER, _MISSING, _FIRST = 0, 1, 2  # codes: unknown and rare ones, missing ones, then the known


_MANY = 20  # rows
_NOT_BOOLEAN = "is neither true nor false; it held booleans in training"
_NOT_WORDS = "holds {cell}, not a text; it held text in training"


def _is_number(text: str) -> bool:
    try:
        number = number_in(text)
    except ValueError:
        return False
    return number == number


class Category(Column):
    """Texts of which each stands for something of its own.

    Two values are one flag, one of them low and the other high. Up to `one_hot_up_to` have a flag
    each. More become a code: 0 for what is unknown or rare, 1 for missing, from 2 on the
    categories. Missing is a value like any other. What was not there in training is 0 in all
    one-hot columns, in the middle of two values, and code 0.

    Parameters
    ----------
    name, reason, missing
        See `Column`.
    layout : {"two values", "one-hot", "codes"}
    known : list of str
        The categories, in the order of their inputs.
    has_missing : bool
        Missing is a value.
    is_numeric : bool
        The categories are numbers, so that "1.0" and "01" are "1".
    is_of_words : bool
        No category is like a number, so a column of numbers cannot be meant.
    levels : ndarray of float64, shape (3, flags)
        What a flag is, scaled, for no, for neither, and for yes.
    rare : int
        How many categories were taken together as other.
    """

    kind: ClassVar[str] = "category"

    def __init__(
        self,
        name: str,
        reason: str,
        missing: int,
        *,
        layout: str,
        known: Sequence[str],
        has_missing: bool,
        is_numeric: bool,
        is_of_words: bool,
        levels: np.ndarray,
        rare: int,
    ) -> None:
        super().__init__(name, reason, missing)
        self.layout = layout
        self.known = list(known)
        self.has_missing = has_missing
        self.is_numeric = is_numeric
        self.levels = levels
        self.rare = rare
        self.is_of_words = is_of_words
        self._places = {text: i for i, text in enumerate(self.known)}
        if layout == CODES:
            self._none, self._unknown = _MISSING, _OTHER
            self._places = {text: i + _FIRST for text, i in self._places.items()}
        else:
            self._unknown = len(self.known) + has_missing
            self._none = len(self.known) if has_missing else self._unknown

    @classmethod
    def fit(
        cls,
        name: str,
        reason: str,
        cells: Cells,
        *,
        one_hot_up_to: int = ONE_HOT_UP_TO,
        most: int = MOST_CATEGORIES,
    ) -> Category:
        """Find the categories of cells.

        Parameters
        ----------
        name, reason : str
        cells : Cells
        one_hot_up_to : int, default 9
            How many values, missing counted, may have a flag each.
        most : int, default 10,000
            How many categories may have a code each; the rest of them is "other".
        """
        is_numeric = cells.kind == "number" and cls is Category
        cells = cls._as_keys(cells, is_numeric)
        cls._check_names(cells)
        missing = int(cells.missing.sum())
        found = list(zip(cells.texts, cells.counts().tolist(), strict=True))
        is_of_words = cls is Category and not any(map(_is_number, cells.texts))
        values = len(found) + (missing > 0)
        rare = 0
        layout = PAIR if values <= 2 else ONE_HOT if values <= one_hot_up_to else CODES
        if layout == CODES:
            # Those seen once are too few to learn from, and teach what an unknown one means.
            often = [one for one in found if one[1] > 1] or found
            often = sorted(often, key=lambda one: -one[1])[:most]
            rare = len(found) - len(often)
            found = often
        found.sort(key=lambda one: cls._order(one[0], is_numeric))
        counts = [count for _, count in found] + ([missing] if missing else [])
        if rare:
            reason += f"; {rare:,} of them rare, taken together as other"
        return cls(
            name,
            reason,
            missing,
            layout=layout,
            known=[text for text, _ in found],
            has_missing=missing > 0,
            is_numeric=is_numeric,
            is_of_words=is_of_words,
            levels=cls._measured(layout, counts, len(cells)),
            rare=rare,
        )

    @classmethod
    def _as_keys(cls, cells: Cells, is_numeric: bool) -> Cells:
        return cells.as_text()

    @classmethod
    def _check_names(cls, cells: Cells) -> None:
        """Raise WrongCell for a text that cannot be one of the categories."""

    @staticmethod
    def _order(text: str, is_numeric: bool) -> tuple[float, str]:
        return (float(text), text) if is_numeric else (0.0, text)

    @staticmethod
    def _measured(layout: str, counts: list[int], rows: int) -> np.ndarray:
        if layout == CODES:
            return np.zeros((3, 0))
        ones = np.array(counts[1:2] if layout == PAIR else counts, np.int64)
        return np.stack(scaling.of_bits(rows - ones, ones))

    @property
    def flag_names(self) -> list[str]:
        """Names of its flags."""
        names = [f"{self.name}={text}" for text in self.known]
        if self.has_missing:
            names.append(f"{self.name} is missing")
        return {PAIR: names[1:2], ONE_HOT: names, CODES: []}[self.layout]

    @property
    def cardinality(self) -> int:
        """How many codes it has."""
        return _FIRST + len(self.known) if self.layout == CODES else 0

    @property
    def values(self) -> str:
        """The categories."""
        return f"{len(self.known) + self.rare:,}: {listed(self.known, 4)}"

    @property
    def label(self) -> str:
        """What it is, and how it is encoded."""
        return f"{self.kind}, {self.layout}"

    def _flags(self) -> np.ndarray:
        """Return the flags for each place, the last two for missing (if not known) and unknown."""
        off, half, on = self.levels
        if self.layout == PAIR:
            return np.stack([off, on, half])[[0, 1, 2] if self._unknown == 2 else [0, 2]]
        table = np.tile(off, (self._unknown + 1, 1))
        table[np.arange(self._unknown), np.arange(self._unknown)] = on
        return table

    def _place(self, text: str) -> int:
        """Return the place of a text that is not called exactly as in training."""
        if self.is_numeric:
            try:
                return self._places.get(number_as_text(float(text)), self._unknown)
            except ValueError:
                pass
        return self._unknown

    def encode(
        self, cells: Cells, numbers: np.ndarray, flags: np.ndarray, code: np.ndarray | None
    ) -> None:
        """Write the inputs for some cells."""
        found = self._found(cells)
        if code is not None:
            code[:] = found
        else:
            flags[:] = self._flags()[found]

    def unknown(self, cells: Cells) -> np.ndarray:
        """Return whether each cell is none of the categories that have a place."""
        return (self._found(cells) == self._unknown) & ~cells.missing

    def _found(self, cells: Cells) -> np.ndarray:
        """Return the places of cells."""
        if cells.objects is not None:
            return np.array(each(cells.objects, self._place_of_cell), np.int64)
        self._check(cells)
        cells = self._as_keys(cells, self.is_numeric)
        places = [self._places.get(text, -1) for text in cells.texts]
        return np.array(
            [
                self._place(text) if place < 0 else place
                for text, place in zip(cells.texts, places, strict=True)
            ]
            + [self._none],
            np.int64,
        )[cells.values]

    def _check(self, cells: Cells) -> None:
        """Raise WrongCell where numbers stand in a column of words."""
        if not self.is_of_words or cells.missing.all() or cells.kind == "boolean":
            return
        if cells.kind == "text":  # in a text file, one number may be a word that is unknown
            is_wrong = len(cells) >= _MANY and all(map(_is_number, cells.texts))
        else:
            is_wrong = True
        if is_wrong:
            row = int((~cells.missing).argmax())
            text = cells.take(np.array([row])).as_text().texts[0]
            raise WrongCell(row, _NOT_WORDS.format(cell=shown(text)))

    def one(self, number: int, flag: int, code: int) -> Put:
        """Return the function that writes the inputs for one cell."""
        known, slow = self._places, self._place_of_cell
        if self.layout == CODES:

            def put_code(out: Any, cell: Any) -> None:
                place = known.get(cell) if type(cell) is str else None
                out[code] = slow(cell) if place is None else place

            return put_code
        if self.layout == PAIR:
            rows = [row[0] for row in self._flags().tolist()]

            def put_pair(out: Any, cell: Any) -> None:
                place = known.get(cell) if type(cell) is str else None
                out[flag] = rows[slow(cell) if place is None else place]

            return put_pair
        on, unknown = self.levels[2].tolist(), self._unknown

        def put(out: Any, cell: Any) -> None:
            place = known.get(cell) if type(cell) is str else None
            if place is None:
                place = slow(cell)
            if place != unknown:  # the row begins with none of them on
                out[flag + place] = on[place]

        return put

    def template(self) -> list[float]:
        """Return what its flags are if none is on."""
        return self.levels[0].tolist() if self.layout == ONE_HOT else [0.0] * len(self.flag_names)

    def _place_of_cell(self, cell: Any) -> int:
        key = self._key(cell)
        if key is None:
            return self._none
        if self.is_of_words and not isinstance(cell, (str, bool, np.bool_)):
            raise WrongCell(-1, _NOT_WORDS.format(cell=shown(key)))
        place = self._places.get(key)
        return self._place(key) if place is None else place

    def _key(self, cell: Any) -> str | None:
        return as_key(cell)

    def to_file(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Return what it holds."""
        entry = self._entry(
            layout=self.layout,
            known=self.known,
            has_missing=self.has_missing,
            is_numeric=self.is_numeric,
            is_of_words=self.is_of_words,
            rare=self.rare,
        )
        return entry, [self.levels.reshape(-1)]

    @classmethod
    def from_file(cls, entry: dict[str, Any], arrays: Sequence[np.ndarray]) -> Category:
        """Return what `to_file` described."""
        (levels,) = arrays
        known, layout, rare = entry["known"], entry["layout"], entry["rare"]
        made = cls(
            *common(entry),
            layout=layout,
            known=known,
            has_missing=bool(entry["has_missing"]),
            is_numeric=bool(entry["is_numeric"]),
            is_of_words=bool(entry["is_of_words"]),
            levels=levels.reshape(3, -1),
            rare=rare,
        )
        values = len(made.known) + made.has_missing
        is_sound = (
            layout in (PAIR, ONE_HOT, CODES)
            and isinstance(known, list)
            and all(isinstance(text, str) for text in known)
            and len(set(known)) == len(known)
            and isinstance(rare, int)
            and np.isfinite(levels).all()
            and made.levels.shape[1] == len(made.flag_names)
            and (layout != PAIR or values <= 2)
        )
        if not is_sound:
            raise ValueError(f"column {entry['name']!r} is damaged")
        return made


class Boolean(Category):
    """True and False, also as text in any capitals, and as 1 and 0."""

    kind: ClassVar[str] = "boolean"
    _NAMES: ClassVar[dict[str, str]] = {"true": "True", "false": "False", "1": "True", "0": "False"}

    @classmethod
    def _as_keys(cls, cells: Cells, is_numeric: bool) -> Cells:
        cells = cells.as_text()
        return of_codes(cells.values, [cls._name(text) for text in cells.texts])

    @classmethod
    def _name(cls, text: str) -> str | None:
        name = text.lower()
        return None if is_missing_word(name) else cls._NAMES.get(name.removesuffix(".0"), text)

    @classmethod
    def _check_names(cls, cells: Cells) -> None:
        is_wrong = np.array([text not in ("True", "False") for text in cells.texts], bool)
        if is_wrong.any():
            row = cells.first(is_wrong)
            text = shown(cells.texts[cells.values[row]])
            raise WrongCell(row, f"holds {text}; expected true and false, as told")

    def _check(self, cells: Cells) -> None:
        """Raise WrongCell where neither true and false nor 1 and 0 stand."""
        if cells.kind in ("boolean", "text"):
            return
        is_wrong = ~cells.missing
        if cells.kind == "number":
            is_wrong &= (cells.values != 0) & (cells.values != 1)
        if is_wrong.any():
            raise WrongCell(int(is_wrong.argmax()), _NOT_BOOLEAN)

    def _key(self, cell: Any) -> str | None:
        key = as_key(cell)
        if key is None:
            return None
        name = self._name(key)
        if name not in ("True", "False") and not isinstance(cell, str):
            raise WrongCell(-1, _NOT_BOOLEAN)
        return name
