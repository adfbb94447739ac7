"""What callbacks that write files share: what happens if the system refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fastnn.callbacks.base import Callback
from fastnn.core import notices
from fastnn.core.declare import choice


def a_folder(name: str, value: object) -> str:
    """Return the name of a folder, or raise."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise TypeError(f"{name} must be the name of a folder, got {value!r}")
    return str(os.fspath(value))


class Writing(Callback):
    """Base class of the callbacks that write files.

    Parameters
    ----------
    on_error : {"raise", "warn"}, default "raise"
        What a file that cannot be written does, on a full disk or in a folder that has vanished:
        it ends the training with the error, or is a warning, and the training goes on.
    """

    _is_open = False
    added_results = ()

    on_error: str = choice("raise", "warn", default="raise", kw_only=True)

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        """Return a context in which a file is written; errors name it."""
        try:
            yield
        except OSError as error:
            named = error
            if error.filename is None and error.errno is not None:
                named = OSError(error.errno, error.strerror, path)
            if self.on_error == "raise":
                raise named from None
            notices.warn(f"{type(self).__name__}: {named}; the training goes on without it")


__all__ = ["Writing", "a_folder"]
