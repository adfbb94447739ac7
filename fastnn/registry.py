"""Tables of named things: what a user may name by a string, with the nearest name on a typo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

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
    import difflib  # here, because `import fastnn` should be quick

    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    nearest = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {argument} {name!r}{nearest} (there are {', '.join(names)})")


def fixed(owner: object, name: str, value: object) -> AttributeError:
    """Return the error for changing what compiled programs were made of.

    Programs are kept, so a change would count for those that are not made yet, and for no other.
    """
    kind = type(owner).__name__
    return AttributeError(
        f"{kind}.{name} cannot be changed, because programs are compiled with it: "
        f"use another, {kind}({name}={value!r})"
    )


class Declaration:
    """Something that a name and a few numbers describe: its attributes are all there is.

    They are set once, by the constructor. Plain classes rather than dataclasses: thirty of those
    would take a third of the time of `import fastnn`.

    Attributes
    ----------
    name : str
        What it is called in its registry.
    """

    name: ClassVar[str] = ""

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self):
            raise fixed(self, name, value)
        super().__setattr__(name, value)

    def config(self) -> dict[str, Any]:
        """Return what makes an equal one again."""
        return {"name": self.name, **vars(self)}

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))


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
