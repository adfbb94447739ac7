"""What can be drawn asks for its picture here, so that nothing depends on the drawing."""

from __future__ import annotations

import importlib
from typing import Any


def draw(picture: str, *arguments: Any, **options: Any) -> Any:
    """Return what a function of `fastnn.plots` returns; matplotlib is imported by then.

    Parameters
    ----------
    picture : str
        Name of the function.
    *arguments, **options
        For it.

    Raises
    ------
    ImportError
        matplotlib, an extra, is missing.
    """
    return getattr(importlib.import_module("fastnn.plots"), picture)(*arguments, **options)
