"""Warnings that point to the user's line, however deep in the package they arise."""

from __future__ import annotations

import functools
import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).resolve().parents[1])
# Its `cached_property` stands between two functions of the package.
_OURS = (PACKAGE, functools.__file__)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, with the first line outside the package as the place.

    Parameters
    ----------
    message : str
    category : type, default UserWarning
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
