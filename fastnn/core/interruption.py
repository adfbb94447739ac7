"""Blocks of code that Ctrl-C must not interrupt halfway, or that leave nothing to put back."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

Value = TypeVar("Value")
Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # whose handlers may raise


def with_value(
    variable: ContextVar[Value], value: Value, function: Callable[..., Result], *arguments: Any
) -> Result:
    """Call a function while a context variable has another value.

    The value is set in a copy of the context, which ends with the call. A context manager would
    have to put the former value back, and is itself code that Ctrl-C may come into: the value would
    stay for the rest of the thread.

    Parameters
    ----------
    variable : ContextVar
    value : object
    function : callable
    *arguments
        Passed to it.

    Returns
    -------
    object
        What the function returns.

    Examples
    --------
    >>> from contextvars import ContextVar
    >>> speed = ContextVar("speed", default=1)
    >>> with_value(speed, 5, speed.get), speed.get()
    (5, 1)
    """
    context = copy_context()
    context.run(variable.set, value)
    return context.run(function, *arguments)


class InterruptLater:
    """Keeps Ctrl-C, and SIGTERM, from being handled between any two instructions of a block.

    The handlers are called at the end of the block, or where the block calls `look`. What belongs
    together, such as a temporary file and its name, or a sum and its count, then stays together. In
    threads other than the main one, where Python handles no signals, this does nothing.

    Examples
    --------
    >>> with InterruptLater() as interrupt:
    ...     interrupt.look()
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[tuple[Any, ...]] = []

    def __enter__(self) -> InterruptLater:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in SIGNALS:
                    handler = signal.getsignal(number)
                    if callable(handler):
                        self._handlers[number] = handler
                        with contextlib.suppress(ValueError):  # in another interpreter
                            signal.signal(number, self._take)
            except BaseException:
                self._put_back()
                raise
        return self

    def _take(self, *arguments: Any) -> None:
        self._came.append(arguments)

    def look(self) -> None:
        """Call the handlers of the signals that came; as a rule they raise."""
        while self._came:
            came = self._came.pop(0)
            self._handlers[came[0]](*came)

    def __exit__(self, *raised: object) -> None:
        self._put_back()
        self.look()

    def _put_back(self) -> None:
        """Put the handlers back; that of Ctrl-C last, since it may be called at once."""
        for number in reversed(self._handlers):
            if signal.getsignal(number) == self._take:
                signal.signal(number, self._handlers[number])
