"""Frames and series of pandas and Polars, recognised by their methods; neither is imported."""

from __future__ import annotations


def is_frame(value: object) -> bool:
    """Whether this is a frame or series of pandas or Polars."""
    modules = {kind.__module__.split(".")[0] for kind in type(value).__mro__}
    return bool(modules & {"pandas", "polars"}) and hasattr(value, "to_numpy")
