"""Class labels that are not numbers (text, categories), and the numbers that stand for them.

A network computes with the numbers 0, 1, ...; which label each stands for is found when it is
first trained, and remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.data import frames

Label = str | int | bool
Classes = tuple[Label, ...]

SHOWN = 5  # how many labels a message lists


def are_labels(value: object) -> bool:
    """Whether this holds text or categories rather than numbers."""
    if type(value) is np.ndarray:
        return value.dtype.kind in "UST" or (value.dtype.kind == "O" and _has_text(value))
    if frames.is_frame(value):
        return frames.has_labels(value)
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, (list, tuple, np.ndarray)):
        try:
            array = np.asarray(value)
        except ValueError:
            return False  # ragged, which is reported elsewhere
        return are_labels(array) if type(array) is np.ndarray else False
    return False


def _has_text(array: np.ndarray) -> bool:
    return any(isinstance(one, (str, bytes)) for one in array.flat)


def as_objects(name: str, value: object) -> tuple[np.ndarray, Classes | None]:
    """Return labels as an array of Python objects, and the categories if they have such.

    Missing labels are None.
    """
    if frames.is_frame(value):
        array, categories = frames.labels_of(name, value)
    else:
        array, categories = np.asarray(value), None
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        array = array.astype(object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 1:
        raise ValueError(f"{name} must hold labels of shape (rows,), got {array.shape}")
    flat = array.reshape(-1)
    plain = np.empty(len(flat), object)
    for i, one in enumerate(flat):
        plain[i] = None if one is None or one != one else _plain(one)
    return plain.reshape(array.shape), categories


def _plain(label: Any) -> Any:
    """Return a label as an object of Python's own."""
    if isinstance(label, bytes):
        return label.decode()
    if isinstance(label, str):
        return str(label)
    return label.item() if isinstance(label, np.generic) else label


def found_in(name: str, value: object, outputs: int) -> Classes:
    """Return the classes of labels, in order: that of categories, or sorted.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        For which `are_labels` is true.
    outputs : int
        How many classes the model tells apart.

    Raises
    ------
    ValueError
        There are more or fewer.
    """
    array, categories = as_objects(name, value)
    used = set(array.reshape(-1)) - {None}
    if categories is not None:
        kept = tuple(one for one in categories if one in used)
        classes = kept if len(categories) != outputs else categories
    else:
        try:
            classes = tuple(sorted(used))
        except TypeError:
            classes = tuple(sorted(used, key=lambda one: (type(one).__name__, str(one))))
    if len(classes) != outputs:
        raise ValueError(
            f"{name} holds {len(classes)} different labels ({shown(classes)}), but the model tells "
            f"{outputs} classes apart; give it another number of units, or, where not all classes "
            "occur in these rows, set model.classes to the list of them first"
        )
    return checked(name, classes, outputs)


def checked(name: str, value: Any, outputs: int) -> Classes:
    """Return the classes that a user gives, checked.

    Raises
    ------
    TypeError, ValueError
        They are not strings or integers, not distinct, or not as many as the model tells apart.
    """
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of labels, got {value!r}")
    classes = tuple(_plain(one) for one in value)
    for one in classes:
        if not isinstance(one, (str, int)):
            raise TypeError(f"{name} must be strings or integers, got {one!r}")
    if len(set(classes)) != len(classes):
        raise ValueError(f"{name} must be distinct, got {shown(classes)}")
    if len(classes) != outputs:
        raise ValueError(
            f"{name} must be {outputs} labels, which the model tells apart, got {len(classes)}"
        )
    return classes


def coded(
    name: str, value: object, classes: Classes, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Return the numbers of labels.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like, shape (rows,) or (rows, 1), or a single label
    classes : tuple
        The label that each number stands for.
    ignored : ndarray of bool, shape (rows,), optional
        Rows whose label may be anything; their number is 0.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    ValueError
        A label is missing or unknown.
    """
    array, _ = as_objects(name, value)
    numbers = {label: number for number, label in enumerate(classes)}
    flat = array.reshape(-1)
    codes = np.array([numbers.get(one, -1) for one in flat], np.int64)
    bad = codes < 0
    if ignored is not None and len(ignored) == len(bad):
        bad &= ~ignored
        codes[ignored & (codes < 0)] = 0
    if bad.any():
        where = int(np.argmax(bad))
        unknown = list(dict.fromkeys(flat[bad]))
        what = "a missing label" if unknown == [None] else f"the label {unknown[0]!r}"
        if len(unknown) > 1:
            what = f"the labels {shown([one for one in unknown if one is not None])}"
        at = f" (first at [{where}])" if array.ndim else ""
        raise ValueError(
            f"{name} holds {what}{at}, but the model knows the classes {shown(classes)}"
        )
    return codes.reshape(array.shape)


def decoded(codes: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the labels that numbers stand for."""
    return np.array(classes)[codes] if _are_alike(classes) else _objects(classes)[codes]


def _are_alike(classes: Classes) -> bool:
    return len({type(one) for one in classes}) == 1


def _objects(classes: Classes) -> np.ndarray:
    array = np.empty(len(classes), object)
    array[:] = classes
    return array


def shown(labels: Sequence[object]) -> str:
    """Return the first few labels for a message."""
    listed = ", ".join(map(repr, labels[:SHOWN]))
    return f"{listed}, ..." if len(labels) > SHOWN else listed
