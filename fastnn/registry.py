"""Tables of named things: what a user may name by a string, with the nearest name on a typo."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def unknown_name(argument: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error for a name that is not in a table.

    Parameters
    ----------
    argument : str
        The argument that it was given for.
    name : object
        What came.
    known : iterable of str
        What was expected.

    Returns
    -------
    ValueError
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    nearest = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {argument} {name!r}{nearest} (there are {', '.join(names)})")


class Registry(Generic[T]):
    """Classes by name.

    Parameters
    ----------
    argument : str
        What the error messages call it: "loss", "optimizer".
    base : type
        What an instance must be.
    """

    def __init__(self, argument: str, base: type[T]) -> None:
        self._argument = argument
        self._base = base
        self._classes: dict[str, type[T]] = {}

    def add(self, cls: type[T]) -> type[T]:
        """Add a class under its ``name``."""
        self._classes[cls.name] = cls  # type: ignore[attr-defined]
        return cls

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of a name."""
        return self._classes[name]

    def get(self, what: object) -> T:
        """Return the instance that `what` stands for.

        Parameters
        ----------
        what : str, dict or instance
            A name (defaults are used), what ``config()`` returned, or an instance.

        Raises
        ------
        ValueError
            The name is unknown; the nearest one is suggested.
        TypeError
            `what` is something else.
        """
        if isinstance(what, self._base):
            return what
        if isinstance(what, str):
            what = {"name": what}
        if isinstance(what, dict) and "name" in what:
            arguments: dict[str, Any] = dict(what)
            name = arguments.pop("name")
            if name not in self._classes:
                raise unknown_name(self._argument, name, self._classes)
            return self._classes[name](**arguments)
        kind = type(what).__name__
        raise TypeError(
            f"{self._argument} must be a name or a {self._base.__name__}, got {what!r} ({kind})"
        )
