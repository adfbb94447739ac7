"""Registries of classes that a user may name by a string; an error suggests the nearest name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from fastnn.core import checks, notices
from fastnn.core.hints import ELSEWHERE, did_you_mean, plain, unknown_name
from fastnn.core.interruption import Result, with_value

T = TypeVar("T")

__all__ = [
    "ELSEWHERE",
    "Registry",
    "UnknownClass",
    "did_you_mean",
    "plain",
    "unknown_name",
    "with_custom_objects",
]

_custom: ContextVar[Mapping[str, object]] = ContextVar("custom objects")


class UnknownClass(ValueError):
    """A description is of an object of a user's class that is not known."""


def with_custom_objects(
    objects: Mapping[str, object], function: Callable[..., Result], *arguments: Any
) -> Result:
    """Call a function for which registries find classes and objects of the user's by name."""
    return with_value(_custom, objects, function, *arguments)


def custom_object(name: str | None) -> object:
    """Return what the innermost `with_custom_objects` was given under a name, or None."""
    return None if name is None else _custom.get({}).get(name)


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
            return self._made(**what)
        base = self._base.__name__
        article = "an" if base[0] in "AEIOU" else "a"
        raise TypeError(
            f"{self._argument} must be a name or {article} {base}, "
            f"got {checks.shown(what, self._base, '()')}"
        )

    def _made(self, name: str, class_name: str | None = None, **arguments: Any) -> T:
        """Return the instance that `config` has described; `class_name` is that of a user's."""
        for key in (class_name, name):
            own: Any = custom_object(key)
            if isinstance(own, self._base):
                return own
            if inspect.isclass(own) and issubclass(own, self._base):
                return own(**arguments)
        cls: Any = self._classes.get(name)
        is_own = cls is not None and cls.__module__.partition(".")[0] != "fastnn"
        if class_name is None or (is_own and cls.__name__ == class_name):
            if cls is None:
                raise unknown_name(self._argument, name, self._classes)
            return cls(**arguments)
        if cls is None:
            raise UnknownClass(
                f"{self._argument} {name!r} is of the class {class_name}, which is not known here: "
                f"give custom_objects={{{class_name!r}: {class_name}}}"
            )
        notices.warn(
            f"{self._argument} {class_name} is not known here, and {cls.__name__} takes its place; "
            f"to keep it, give load custom_objects={{{class_name!r}: {class_name}}}"
        )
        known = cls.fields()
        return cls(**{key: value for key, value in arguments.items() if key in known})
