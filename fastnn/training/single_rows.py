"""Warns where a batch of one row meets a layer that normalizes over the batch."""

from __future__ import annotations

from fastnn.core import notices
from fastnn.program.lower import Program


def warn_of_single_row(program: Program, batches: str) -> bool:
    """Warn if a layer of a training program normalizes over the batch; return whether it does.

    Parameters
    ----------
    program : Program
    batches : str
        Which batches have one row, for the message.
    """
    names = [repr(op.layer) for op in program.ops if op.name == "batch_normalization"]
    if names:
        layers = f"layer{'s' * (len(names) > 1)} {', '.join(names)}"
        notices.warn(
            f"{batches} one row, of which BatchNormalization ({layers}) makes a constant, whatever "
            "the row holds, and moving statistics without variance: give a larger batch_size, or "
            "one that leaves no single row, or use LayerNormalization"
        )
    return bool(names)


def ragged(rows: int, batch: int) -> str:
    """Return which batches have one row, for the message; "" if none has."""
    if batch == 1 or rows == 1:
        return "each batch has"
    return f"the last batch of {rows} rows has" if rows % batch == 1 else ""
