"""Tables of named things: what a user may name by a string, with the nearest name on a typo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from fastnn.core import checks

T = TypeVar("T")

# What Keras and PyTorch call what is known here by another name; spelled as by `plain`.
ELSEWHERE = {
    "sparsecategoricalcrossentropy": "crossentropy",
    "categoricalcrossentropy": "crossentropy",
    "crossentropyloss": "crossentropy",
    "nllloss": "crossentropy",
    "bce": "binary_crossentropy",
    "bceloss": "binary_crossentropy",
    "bcewithlogitsloss": "binary_crossentropy",
    "binarycrossentropywithlogits": "binary_crossentropy",
    "meansquarederror": "mse",
    "mseloss": "mse",
    "meanabsoluteerror": "mae",
    "l1loss": "mae",
    "smoothl1loss": "huber",
    "acc": "accuracy",
    "binaryaccuracy": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "swish": "silu",
    "identity": "linear",
    "randomnormal": "normal",
    "randomuniform": "uniform",
    "xavieruniform": "glorot_uniform",
    "xaviernormal": "glorot_normal",
    "kaiminguniform": "he_uniform",
    "kaimingnormal": "he_normal",
}


def plain(name: object) -> str:
    """Return a name without what is a matter of taste: capitals, underscores, hyphens."""
    return str(name).lower().replace("_", "").replace("-", "")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'adam'?" for the nearest of the known names, or nothing."""
    import difflib  # here, because `import fastnn` should be quick

    names = {plain(one): one for one in sorted(known)}
    wanted = plain(ELSEWHERE.get(plain(name), name))
    close = difflib.get_close_matches(wanted, names, n=1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


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
    hint = did_you_mean(name, names)
    return ValueError(f"unknown {argument} {name!r}{hint} (there are {', '.join(names)})")


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
        return {
            "name": self.name,
            **{
                name: value.config() if isinstance(value, Declaration) else value
                for name, value in vars(self).items()
            },
        }

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
        base = self._base.__name__
        article = "an" if base[0] in "AEIOU" else "a"
        raise TypeError(
            f"{self._argument} must be a name or {article} {base}, "
            f"got {checks.shown(what, self._base, '()')}"
        )
