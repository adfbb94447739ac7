"""`validation_split` and `validation_data` of `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from fastnn import data
from fastnn.core import checks
from fastnn.data.batches import is_batches, is_iterator

if TYPE_CHECKING:
    from fastnn.model import Model


def split(
    model: Model,
    x: object,
    y: object,
    sample_weight: object,
    share: float,
    validation_data: tuple[object, ...] | None,
) -> tuple[object, object, object, tuple[object, ...] | None]:
    """Take the last `share` of the rows for validation, as Keras does."""
    share = checks.number("validation_split", share, least=0, below=1)
    if share and is_batches(x, takes_lists=y is None):
        raise ValueError("validation_split needs arrays; give validation_data beside batches")
    if validation_data is not None and (
        is_batches(validation_data, takes_lists=False) or _lists_batches(model, validation_data)
    ):
        if is_iterator(validation_data):
            raise TypeError(
                "validation_data must be (x, y) or an iterable of batches that can be read once "
                f"an epoch, got an iterator ({type(validation_data).__name__})"
            )
        return x, y, sample_weight, (validation_data, None)
    if validation_data is not None:
        is_sequence = isinstance(validation_data, (tuple, list))
        if not is_sequence or len(validation_data) not in (2, 3):
            got = (
                f"{len(validation_data)} entries" if is_sequence else type(validation_data).__name__
            )
            raise TypeError(f"validation_data must be a tuple (x, y), got {got}")
        if share:
            raise ValueError("give validation_split or validation_data, not both")
        return x, y, sample_weight, tuple(validation_data)
    if not share:
        return x, y, sample_weight, None
    parts = _Parts("x", x, model.built and len(model.input_shapes) > 1)
    targets = _Parts("y", y, model.built and len(model.runtime.output_shapes) > 1)
    weights = [] if sample_weight is None else [_Parts("sample_weight", sample_weight, False)]
    total = parts.arrays[0].shape[0]
    for one in (parts, targets, *weights):
        for array in one.arrays:
            if array.shape[0] != total:
                raise ValueError(
                    f"{one.name} must have as many rows as x, {total}, got {array.shape[0]}"
                )
    cut = total - int(total * share)
    if not 0 < cut < total:
        raise ValueError(
            f"validation_split={share} leaves {cut} of {total} rows to train on and "
            f"{total - cut} to validate with; both must have at least one"
        )
    first, last = slice(None, cut), slice(cut, None)
    given = (parts, targets, *weights)
    before = [one.of(first) for one in given] + [None] * (not weights)
    return before[0], before[1], before[2], tuple(one.of(last) for one in given)


def _lists_batches(model: Model, given: object) -> bool:
    """Whether this is a list of (x, y), not [x, y] with several arrays in each."""
    is_plain = not model.built or len(model.input_shapes) == 1
    return (
        isinstance(given, list)
        and is_plain
        and all(
            isinstance(batch, tuple) and batch and hasattr(batch[0], "shape") for batch in given
        )
    )


class _Parts:
    """What was given for an argument as arrays: one, or one for each input or output."""

    def __init__(self, name: str, given: object, is_several: bool) -> None:
        self.name = name
        self._keys: list[str] | None = None
        if is_several and isinstance(given, dict):
            self._keys, given = list(given), list(given.values())
        self._is_several = is_several and isinstance(given, (list, tuple))
        listed: Sequence[object] = cast(Sequence[object], given) if self._is_several else [given]
        self.arrays = [data.checked_rows(name, part) for part in listed]
        if any(array.ndim == 0 for array in self.arrays):
            raise ValueError(f"{name} must have one entry for each row, got a single number")

    def of(self, rows: slice) -> object:
        """Return some of the rows, in the form in which all were given."""
        parts = [array[rows] for array in self.arrays]
        if self._keys is not None:
            return dict(zip(self._keys, parts, strict=True))
        return parts if self._is_several else parts[0]
