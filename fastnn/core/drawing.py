"""What can be drawn asks for its picture here, so that nothing depends on the drawing."""

from __future__ import annotations

import sys
from typing import Any


def draw(picture: str, *arguments: Any, **options: Any) -> Any:
    """Return what a function of `fastnn.plots` returns.

    The package itself, which imports `fastnn.plots` when that is first asked for, is asked for the
    function by name.

    Parameters
    ----------
    picture : str
        Name of the function.
    *arguments, **options
        Passed to it.

    Raises
    ------
    ImportError
        matplotlib, an extra, is missing.
    """
    return getattr(sys.modules["fastnn"].plots, picture)(*arguments, **options)
