"""What a fit that fails leaves behind: the estimator as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def unchanged_on_failure(method: Method) -> Method:
    """Make a method of an estimator restore all attributes if it raises.

    scikit-learn's checks note columns and classes before others refuse the data; what was learned
    before would then answer with the names and the order of what was refused.

    Parameters
    ----------
    method : callable
        It replaces what it changes, except for lists, which it may append to.
    """

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        # Not copies: a curve grows with each call of partial_fit.
        lengths = {name: len(one) for name, one in before.items() if isinstance(one, list)}
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            for name, length in lengths.items():
                del before[name][length:]
            raise

    return call  # type: ignore[return-value]
