"""A dict of arrays that are views into memory, whose entries cannot be replaced."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np


class Views(dict[str, np.ndarray]):
    """Arrays by name, to be written into: a replaced entry would be seen by nobody.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.core.views import Views
    >>> views = Views(kernel=np.zeros(2))
    >>> views["kernel"][...] = 1
    >>> views["kernel"] += 1
    >>> views["kernel"]
    array([2., 2.])
    >>> views["kernel"] = np.ones(2)
    Traceback (most recent call last):
    TypeError: 'kernel' is a view, write into it: [name][...] = values
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if self.get(name) is not value:  # `views[name] += 1` assigns what is there
            what = (
                f"{name!r} is a view" if name in self else f"there is no {name!r}, others are views"
            )
            raise TypeError(f"{what}, write into it: [name][...] = values")

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError(f"{name!r} cannot be removed")

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Raise as assigning each entry would."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise what explains that this is no method."""
        raise TypeError(
            "this is a dict of views by name: leave out the parentheses; an optimizer needs no "
            "parameters, compile gives it those of the model"
        )

    def __reduce__(self) -> tuple:
        return Views, (dict(self),)
