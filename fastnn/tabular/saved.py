"""A model file's description of a table, which is checked before the model is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastnn.core import checks, files
from fastnn.core.formats import FormatError, brief
from fastnn.model import Model
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.intervals import Intervals
from fastnn.tabular.tabular_model import ENTRY, TabularModel
from fastnn.tabular.target import Target


def restored(
    model: Callable[[], Model],
    attachments: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    path: files.Target,
) -> TabularModel:
    """Return a model with the encoding that its file describes; `fastnn.load` calls it.

    Parameters
    ----------
    model : callable
        Returns the model; called once the description of the table has been checked.
    attachments, tensors : dict
        What the file holds.
    path : path-like or binary file object
        For messages.

    Raises
    ------
    FormatError
        The description is damaged, or is that of another network.
    """
    described = attachments[ENTRY]
    own = {
        name.removeprefix("preprocessing/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("preprocessing/")
    }
    try:
        if not isinstance(described, Mapping):
            raise ValueError("the description of the columns is damaged")
        if "encoding" not in described:
            raise ValueError("an older fastnn described its columns otherwise; train it again")
        encoding = Encoding.from_file(described["encoding"], own)
        target = Target.from_file(described.get("target"))
        threshold = checks.number("threshold", described.get("threshold", 0.5))
        rest = {name: one for name, one in attachments.items() if name != ENTRY}
        wanted = _checked_attachments(rest, target)
    except Exception as error:  # a damaged description can raise anything
        raise _unsound(path, error) from None
    whole = model()
    try:
        made = TabularModel(whole, encoding, target, rest)
        if whole.output_shape != (wanted,):
            raise ValueError(
                f"target and network do not fit each other: {wanted} outputs, and a network with "
                f"{whole.output_shape}"
            )
    except Exception as error:
        raise _unsound(path, error) from None
    made.threshold = threshold
    return made


def _checked_attachments(attachments: Mapping[str, Any], target: Target) -> int:
    """Return how many outputs answers are made of; ValueError for what is damaged."""
    quantiles, intervals = attachments.get("quantiles"), attachments.get("intervals")
    if quantiles is not None:
        if not isinstance(quantiles, list):
            raise ValueError("the description of the quantiles is damaged")
        for one in quantiles:
            checks.number("quantiles", one, is_positive=True, below=1)
    wanted = max(1, len(quantiles or ())) if target.classes is None else len(target.classes)
    if intervals is not None:
        found = Intervals.from_file(intervals)
        if max(found.low, found.high) >= wanted:
            raise ValueError("the description of the intervals is damaged")
    return wanted


def _unsound(path: files.Target, error: Exception) -> FormatError:
    what = brief(error) or type(error).__name__
    return FormatError(f"path: {brief(files.described(path), 300)}: {what}")


__all__ = ["restored"]
