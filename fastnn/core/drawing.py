"""Plot methods call this module, so that nothing depends on the plotting package."""

from __future__ import annotations

import importlib
from typing import Any


def draw(picture: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of `fastnn.plots`, which imports matplotlib only now.

    Parameters
    ----------
    picture : str
        Name of the function.
    *arguments, **options
        Passed to the function.

    Raises
    ------
    ImportError
        matplotlib, which is an extra, is not installed.
    """
    return getattr(importlib.import_module("fastnn.plots"), picture)(*arguments, **options)
