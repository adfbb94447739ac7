"""What a network remembers of the data that it was trained on: names of columns, and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastnn.data import frames, labels
from fastnn.data.specification import DataSpecification, classes_told_apart


@dataclass(frozen=True)
class Names:
    """Names of columns, and classes; None where they are not known.

    Attributes
    ----------
    inputs : tuple
        For each input, the names of its columns in order.
    targets : tuple
        For each output with several columns, their names.
    classes : tuple
        For each output, the labels that its classes stand for.
    """

    inputs: tuple[frames.ColumnNames | None, ...] = ()
    targets: tuple[frames.ColumnNames | None, ...] = ()
    classes: tuple[labels.Classes | None, ...] = ()

    def described(self) -> dict[str, Any]:
        """Return it in a form that JSON can hold."""
        return {"inputs": self.inputs, "targets": self.targets, "classes": self.classes}

    @classmethod
    def of(cls, described: dict[str, Any]) -> Names:
        """Return what `described` has returned."""
        return cls(
            *(
                tuple(None if one is None else tuple(one) for one in described[what])
                for what in ("inputs", "targets", "classes")
            )
        )


def at(names: tuple, position: int) -> Any:
    """Return the names at a position, or None where nothing is remembered."""
    return names[position] if position < len(names) else None


def learnt(names: Names, x: object, y: object, specification: DataSpecification) -> Names:
    """Return the names with those added that x and y have, where none were known.

    Parameters
    ----------
    names : Names
    x, y : object
        The user's data, unchecked; what does not fit is left to the checks of the data.
    specification : DataSpecification

    Raises
    ------
    ValueError
        y holds labels of more or fewer classes than the model tells apart.
    """
    inputs = _added(names.inputs, _parts(x, [one.name for one in specification.inputs]))
    ends = [one.name for one in specification.targets]
    wanted = _parts(y, ends)
    targets = _added(names.targets, wanted)
    classes = [one.classes for one in specification.targets]
    for i, (part, one) in enumerate(zip(wanted, specification.targets, strict=False)):
        outputs = classes_told_apart(one.shape, one.loss)
        if classes[i] is None and outputs and labels.are_labels(part):
            name = "y" if len(ends) == 1 else f"y[{one.name!r}]"
            classes[i] = labels.found_in(name, part, outputs)
    return replace(names, inputs=inputs, targets=targets, classes=_or_none(classes))


def _added(known: tuple, parts: Sequence[object]) -> tuple:
    return _or_none(
        [
            frames.column_names(part) if at(known, i) is None else at(known, i)
            for i, part in enumerate(parts)
        ]
    )


def _or_none(found: Sequence[Any]) -> tuple:
    """Return what was found, or () if that is nothing."""
    return tuple(found) if any(one is not None for one in found) else ()


def _parts(value: object, names: Sequence[str]) -> list[object]:
    """Return the part for each name, or None where it cannot be told."""
    if isinstance(value, dict):
        return [value.get(name) for name in names]
    if len(names) == 1:
        return [value]
    if isinstance(value, (list, tuple)) and len(value) == len(names):
        return list(value)
    return [None] * len(names)
