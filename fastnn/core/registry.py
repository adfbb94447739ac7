"""Registries of classes that a user may name by a string; an error suggests the nearest name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from fastnn.core import checks
from fastnn.core.hints import ELSEWHERE, did_you_mean, plain, unknown_name

T = TypeVar("T")

__all__ = ["ELSEWHERE", "Registry", "did_you_mean", "plain", "unknown_name"]


class Registry(Generic[T]):
    """Classes, keyed by name.

    Parameters
    ----------
    argument : str
        Name of the argument in error messages: "loss", "optimizer".
    base : type
        The class that instances must belong to.
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
        """Return the class with a name."""
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
        base = self._base.__name__
        article = "an" if base[0] in "AEIOU" else "a"
        raise TypeError(
            f"{self._argument} must be a name or {article} {base}, "
            f"got {checks.shown(what, self._base, '()')}"
        )
