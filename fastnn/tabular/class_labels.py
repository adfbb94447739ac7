"""Classes of a target: which there are, what they are called in a file, and which a cell means."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from fastnn.tabular.cells import Cells, as_key
from fastnn.tabular.sources import cells_of, values_of

_PLAIN = (str, bool, int, float, np.str_, np.bool_, np.integer, np.floating)


def shown_classes(classes: np.ndarray) -> list[Any]:
    """Return classes as objects to be written: nanoseconds would be whole numbers.

    Parameters
    ----------
    classes : ndarray, shape (classes,) or (rows,)

    Examples
    --------
    >>> shown_classes(np.array(["2020-01-05"], "datetime64[D]")), shown_classes(np.array([3]))
    (['2020-01-05'], [3])
    """
    return (classes.astype(str) if classes.dtype.kind in "Mm" else classes).tolist()


def keys_of(classes: np.ndarray) -> list[str]:
    """Return what the classes are called as text, in a file."""
    if classes.dtype.kind in "Mm":
        cells = cells_of(classes).as_text()
        return [cells.texts[i] for i in cells.values]
    if classes.dtype.kind in "iu":  # exactly: cells are floats
        return list(map(str, classes.tolist()))
    return [as_key(one) or "" for one in classes.tolist()]


def places_of(classes: np.ndarray) -> dict[str, int]:
    """Return the class of each text that means one of them only.

    Of "no" and "no ", which a file cannot tell apart, it is the one without spaces.
    """
    keys = keys_of(classes)
    seen = Counter(keys)
    made = {key: i for i, key in enumerate(keys) if seen[key] == 1}
    texts_of = classes.tolist() if classes.dtype.kind in "UTO" else []
    return made | {one: i for i, one in enumerate(texts_of) if one == keys[i]}


def distinct_of(values: Any, present: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the different values of some rows as NumPy orders them, and which each row holds.

    None for what has no order or no place in a file, such as a mix of text and numbers.
    """
    array = values_of(values, np.flatnonzero(present))
    if array.dtype.kind == "O":
        cells = array.tolist()
        if not all(issubclass(one, _PLAIN) for one in set(map(type, cells))):
            return None
        seen = dict.fromkeys(cells)  # faster than to sort all of them
        different = np.empty(len(seen), object)
        different[:] = list(seen)
        try:
            different.sort()
        except TypeError:
            return None
        place = {one: i for i, one in enumerate(different.tolist())}
        return different, np.fromiter(map(place.__getitem__, cells), np.int64, len(cells))
    different, codes = np.unique(array, return_inverse=True)
    return different, codes.reshape(-1)


def equal(classes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the number of the class that each value is equal to, -1 for none."""
    times = {one.dtype.kind for one in (classes, values)} & {"M", "m"}
    if times:
        if classes.dtype.kind != values.dtype.kind:
            return np.full(len(values), -1)
        places = np.searchsorted(classes, values).clip(max=len(classes) - 1)
        return np.where(classes[places] == values, places, -1)  # whatever the units
    place = {one: i for i, one in enumerate(classes.tolist())}
    return np.array([place.get(one, -1) for one in values.tolist()], np.int64)


def of_dtype(classes: np.ndarray, dtype: str) -> np.ndarray:
    """Return objects from a file in the dtype that the classes had."""
    if dtype == "O":
        return classes
    wanted = np.dtype(dtype)
    if wanted.kind in "Mm":
        return classes.astype(np.int64).view(wanted)
    if wanted.kind not in "biufUT":
        raise ValueError("dtype")
    return classes.astype(wanted)


def are_different(classes: np.ndarray) -> bool:
    """Return whether classes read from a file are two or more, and can be told apart."""
    return len(set(classes.tolist())) == len(classes) > 1 and all(keys_of(classes))


def classes_of_cells(cells: Cells, found: list[str]) -> np.ndarray:
    """Return the classes of cells in order: integers where all are whole numbers."""
    if cells.kind == "number":
        numbers = np.sort(np.array([float(text) for text in found]))
        return numbers.astype(np.int64) if cells.is_whole else numbers
    if cells.kind == "boolean":
        return np.array(sorted(text == "True" for text in found))
    whole = [text for text in found if text.lstrip("-").isdecimal() and str(int(text)) == text]
    if len(whole) == len(found):
        if not cells.is_category:  # a text file: 1 is a number there
            return np.array(sorted(map(int, found)), np.int64)
        found = sorted(found, key=int)
    else:
        found = sorted(found)
    made = np.empty(len(found), object)
    made[:] = found
    return made
