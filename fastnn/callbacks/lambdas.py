"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.callbacks.base import Callback, instead_of


class LambdaCallback(Callback):
    """A callback made of functions, which are called as Keras calls them.

    Hooks that are not given cost nothing; a batch hook makes `fit` return to Python after every
    batch.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        ``f(epoch, logs)``.
    on_train_begin, on_train_end : callable, optional
        ``f(logs)``.
    on_train_batch_begin, on_train_batch_end : callable, optional
        ``f(batch, logs)``. The logs passed to "begin" functions are empty.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> show = fnn.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, list(logs)))
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[show])
    0 ['loss']
    1 ['loss']
    """

    _is_open = False

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **others: Callable,
    ) -> None:
        for name in others:
            raise TypeError(f"LambdaCallback has no hook {name!r}{instead_of(name)}")
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        self._given = {name: hook for name, hook in given.items() if hook is not None}
        for name, function in self._given.items():
            if not callable(function):
                raise TypeError(f"{name} must be a function, got {function!r}")
            setattr(self, name, _with_logs(function) if name.endswith("begin") else function)

    def get_state(self) -> dict[str, Any]:
        """Return nothing: functions are given anew."""
        return {}

    def arguments(self) -> dict[str, Any]:
        """Return the functions that were given, keyed by the name of the hook."""
        return dict(self._given)


def _with_logs(function: Callable) -> Callable:
    """Return a hook that also passes empty logs, as Keras does for "begin" hooks."""
    return lambda *number: function(*number, {})
