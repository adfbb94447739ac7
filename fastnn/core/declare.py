"""The common way to declare hyper-parameters: fields with their bounds.

A class names its fields, and everything else is derived from them: the constructor and its
signature, the check of each value whenever it is set, `config`, `repr`, equality, and the error for
a name that does not exist. Subclasses written by users inherit all of it.

These are plain classes rather than dataclasses, which compile a constructor for each class: sixty
of them would take a third of the time of `import fastnn`. Here a class costs a few microseconds,
and its signature is created on request. `typing.dataclass_transform` informs type checkers, which
are the reason why a default is given by keyword.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from fastnn.core import hints
from fastnn.core.fields import (
    REQUIRED,
    Absent,
    Field,
    absent,
    boolean,
    checked,
    choice,
    function,
    instance_of,
    integer,
    number,
    of_plain_default,
    state,
)
from fastnn.core.interruption import Result, with_value


def fixed(owner: object, name: str, value: object) -> AttributeError:
    """Return the error for changing a value that compiled programs depend on.

    Programs are cached, so a change would affect only those that are not compiled yet.
    """
    cls = type(owner).__name__
    return AttributeError(
        f"{cls}.{name} cannot be changed, because programs are compiled with it: "
        f"use another, {cls}({name}={value!r})"
    )


_names_classes: ContextVar[bool] = ContextVar("whether configs name classes", default=False)


def with_class_names(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that `Declaration.config` names the classes of users for, for a file."""
    return with_value(_names_classes, True, function, *arguments)


class _Signature:
    """The signature of a class's constructor, created on request."""

    def __get__(self, instance: object, owner: type[Declared]) -> inspect.Signature | None:
        if instance is not None:
            raise AttributeError("__signature__")
        if not owner.is_generic():
            return None  # `inspect` then uses the constructor itself
        annotations: dict[str, Any] = {}
        for cls in reversed(owner.__mro__):
            annotations |= vars(cls).get("__annotations__", {})
        kinds = inspect.Parameter
        return inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    kinds.KEYWORD_ONLY if field.kw_only else kinds.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if field.is_required else field.default,
                    annotation=annotations.get(name, inspect.Parameter.empty),
                )
                for name, field in owner.fields().items()
            ]
        )


@dataclass_transform(
    field_specifiers=(
        number, integer, boolean, choice, checked, instance_of, function, state, absent,
    )
)  # fmt: skip
class Declared:
    """Base class of everything that consists of declared fields.

    A field is a class attribute created by one of the field specifiers, or an annotated plain
    number, bool or string. In a subclass, a plain value is a new default for a field of the base.

    Notes
    -----
    A class may have its own ``__init__``, which calls ``super().__init__`` with the base's
    arguments. It may set any attribute; those named like a field are checked.
    """

    _fields: ClassVar[dict[str, Field]] = {}
    _absent: ClassVar[dict[str, Absent]] = {}
    _positional: ClassVar[tuple[str, ...]] = ()
    _arguments: ClassVar[tuple[str, ...]] = ()  # of the class's own __init__
    _accepted: ClassVar[set[str]] = set()  # attribute names that an open class has accepted
    # Whether fields can be set only by the constructor.
    _is_fixed: ClassVar[bool] = True
    # Whether methods of an object may set attributes of any name.
    _is_open: ClassVar[bool] = False
    # Meaningful attributes: a name similar to one of them is a typo, and rejected.
    _not_misspelt: ClassVar[tuple[str, ...]] = ()
    # Whether methods may be assigned to an object.
    _has_hooks: ClassVar[bool] = False
    # Arguments of other libraries, each with the values that would change nothing: not an error.
    _without_effect: ClassVar[dict[str, tuple[object, ...]]] = {}
    # Which keyword-only fields are positional in classes without positional ones.
    _else_positional: ClassVar[tuple[str, ...]] = ()

    __signature__ = _Signature()

    def __init_subclass__(cls, **options: Any) -> None:
        """Collect the fields."""
        super().__init_subclass__(**options)
        hints.check_methods(cls)
        found, dropped = cls._declared()
        for name, field in found.items():
            field.name = name
            delattr(cls, name)
            if not field.init and field.factory is None:  # in case super().__init__ is not called
                setattr(cls, name, field.default)
        if found or dropped:
            cls._fields = _ordered(cls._fields, found, dropped)
        init = vars(cls).get("__init__")
        if init is not None:
            cls._arguments = _arguments_of(init)
            cls.__init__ = _closing(init)  # type: ignore[method-assign]
        elif found and cls.is_generic():
            names = [name for name, field in cls.fields().items() if not field.kw_only]
            cls._positional = tuple(names) or cls._else_positional
        if cls._is_open:
            cls._accepted = set()

    @classmethod
    def _declared(cls) -> tuple[dict[str, Field], list[str]]:
        """Return the class's own fields, and the names of those of the base that it lacks."""
        annotations = cls.__annotations__
        found: dict[str, Field] = {}
        dropped: list[str] = []
        for name, value in list(vars(cls).items()):
            if isinstance(value, Field):
                found[name] = value
            elif isinstance(value, Absent):
                cls._absent = {**cls._absent, name: value}
                dropped.append(name)
            elif name in cls._fields:
                if _is_of_class(annotations, name) or hasattr(value, "__get__"):
                    dropped.append(name)
                else:
                    found[name] = cls._fields[name].with_default(value)
            elif name in annotations and name[0] != "_" and not _is_of_class(annotations, name):
                field = cls._numbered(name, value) or of_plain_default(annotations[name], value)
                if field is not None:
                    field.is_fixed = False if cls._is_open else None
                    found[name] = field
        return found, dropped

    @classmethod
    def _numbered(cls, name: str, value: Any) -> Field | None:
        """Return the field for a plain default that continues a series of the base, or None.

        With beta_1 and beta_2 in the base, beta_3 has their bounds.
        """
        stem = name.rstrip("0123456789")
        if stem == name or isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        for other, field in cls._fields.items():
            is_like = other != stem and other.rstrip("0123456789") == stem
            if is_like and field.check is not None and field.bounds:
                made = field.with_default(value)
                made.kw_only = False
                return made
        return None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls, values = type(self), vars(self)
        fields, is_whole = cls._fields, "_opening" not in values
        given = dict(zip(cls._positional, args, strict=False))
        if len(args) > len(cls._positional):
            raise TypeError(f"{cls.__name__}() takes {_counted(cls._positional)}, got {len(args)}")
        for name, value in kwargs.items():
            if name in cls._absent:
                raise ValueError(cls._absent[name].message(cls))
            if type(value) is int and value in cls._without_effect.get(name, ()):
                continue
            if name not in fields or not fields[name].init:
                raise hints.unexpected_argument(cls, name, cls.fields())
            if name in given:
                raise TypeError(f"{cls.__name__}() got multiple values for argument {name!r}")
            given[name] = value
        for name, field in fields.items():
            value = given.get(name, field.default)
            if value is REQUIRED:
                if is_whole:
                    raise _missing(cls, name)
            elif name in given and not (value is None and field.factory is not None):
                values[name] = field.checked(value)
            else:
                values[name] = field.initial(self)
        self._set_up()
        if is_whole:
            self.check_together()

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Return the fields that the constructor takes, keyed by name."""
        return {name: field for name, field in cls._fields.items() if field.init}

    @classmethod
    def is_generic(cls) -> bool:
        """Whether the constructor is the one derived from the fields."""
        return cls.__init__ is Declared.__init__

    def _set_up(self) -> None:
        """Prepare internal state; called by the constructor after the fields have been set."""

    def check_together(self) -> None:
        """Raise if fields contradict each other; called after one is set, which is then undone."""

    def arguments(self) -> dict[str, Any]:
        """Return the values of the fields, keyed by name.

        For a class with its own ``__init__``, attributes named like its arguments are included.
        """
        values = vars(self)
        named = {name: values[name] for name in type(self).fields() if name in values}
        if self.is_generic():
            return named
        own = (name for name in self._arguments if name in values and name not in self._fields)
        return {**named, **{name: values[name] for name in own}}

    def config(self) -> dict[str, Any]:
        """Return the arguments from which an equal object can be built."""
        return {
            name: value.config() if isinstance(value, Declared) else value
            for name, value in type(self).arguments(self).items()
        }

    def __setattr__(self, name: str, value: Any) -> None:
        cls, values = type(self), vars(self)
        field, is_opening = cls._fields.get(name), "_opening" in values
        if field is None:
            if not is_opening:
                self._check_settable(name, value)
            object.__setattr__(self, name, value)
            return
        is_fixed = cls._is_fixed if field.is_fixed is None else field.is_fixed
        if is_fixed and name in values and not is_opening:
            raise fixed(self, name, value)
        value = field.checked(value)
        if is_opening or name not in values:
            values[name] = value
            return
        before, values[name] = values[name], value
        try:
            self.check_together()
        except Exception:
            values[name] = before
            raise

    if not TYPE_CHECKING:  # otherwise type checkers would accept any name

        def __getattr__(self, name: str) -> Any:
            """Raise what `object` raises, or say what there is instead of a name from elsewhere."""
            cls = type(self)
            told = None if hasattr(cls, name) else hints.told_of_attribute(cls, name)
            if told is not None:
                raise AttributeError(f"{cls.__name__} has no attribute {name!r}: {told}")
            return object.__getattribute__(self, name)

    def _check_settable(self, name: str, value: object) -> None:
        """Raise if an attribute that is not a field is fixed, or would never be read."""
        cls, values = type(self), vars(self)
        if name in cls._absent:
            raise ValueError(cls._absent[name].message(cls))
        if name in cls._accepted or name.startswith("_"):
            return
        if name in values and cls._is_fixed and not cls._is_open:
            raise fixed(self, name, value)
        existing = getattr(cls, name, None)
        if isinstance(existing, property):
            if existing.fset is None:
                raise AttributeError(
                    f"{cls.__name__}.{name} cannot be set; where it is an array, write into it: "
                    f"{name}[...] = values"
                )
            return
        if name in values or (cls._has_hooks and existing is not None):
            return
        if not cls._is_open or hints.nearest(name, cls._not_misspelt, cutoff=0.87):
            raise hints.missing_attribute(cls, name, cls._settable())
        cls._accepted.add(name)

    @classmethod
    def _settable(cls) -> list[str]:
        """Return the attributes that a nonexistent name may be meant for."""
        return [name for name, field in cls._fields.items() if field.init or field.check]

    def __repr__(self) -> str:
        parts = []
        cls = type(self)  # an object may have attributes of its own under these names
        fields = cls.fields()
        for position, (name, value) in enumerate(cls.arguments(self).items()):
            field = fields.get(name)
            shown = value.shown() if isinstance(value, Declared) else repr(value)
            if position == 0 and field is not None and field.is_required:
                parts.append(shown)
            elif (
                position == 0 or field is None or field.is_required or value != field.initial(self)
            ):
                parts.append(f"{name}={shown}")
        return f"{cls.__name__}({', '.join(parts)})"

    def shown(self) -> str:
        """Return how it is written as an argument, usually its `repr`."""
        return repr(self)


def _is_of_class(annotations: dict[str, Any], name: str) -> bool:
    return "ClassVar" in str(annotations.get(name))


def _ordered(
    inherited: dict[str, Field], found: dict[str, Field], dropped: Collection[str]
) -> dict[str, Field]:
    """Return fields in the order of the constructor's arguments, those of the base first.

    Among keyword-only fields, those of the base come last.
    """
    kept = {name: found.get(name, field) for name, field in inherited.items()}
    for name in dropped:
        kept.pop(name, None)
    new = {name: field for name, field in found.items() if name not in inherited}
    every = [
        *((name, field) for name, field in kept.items() if not field.kw_only and field.init),
        *((name, field) for name, field in new.items() if not field.kw_only and field.init),
        *((name, field) for name, field in new.items() if field.kw_only or not field.init),
        *((name, field) for name, field in kept.items() if field.kw_only or not field.init),
    ]
    return dict(every)


def _arguments_of(init: Any) -> tuple[str, ...]:
    code = inspect.unwrap(init).__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def _closing(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that may set anything, and after which the fields are checked."""

    @functools.wraps(init)
    def __init__(self: Declared, *args: Any, **kwargs: Any) -> None:
        values = vars(self)
        if "_opening" in values:  # called by a subclass's constructor
            init(self, *args, **kwargs)
            return
        values["_opening"] = True
        try:
            init(self, *args, **kwargs)
        finally:
            values.pop("_opening", None)
        for name, field in type(self).fields().items():
            if name not in values:
                if field.is_required:
                    raise _missing(type(self), name)
                values[name] = field.initial(self)
        self.check_together()

    return __init__


def _missing(cls: type[Declared], name: str) -> TypeError:
    return TypeError(
        f"{cls.__name__}() is missing the argument {name!r} "
        f"(its arguments are {', '.join(cls.fields())})"
    )


def _counted(names: tuple[str, ...]) -> str:
    if not names:
        return "no positional arguments"
    plural = "s" * (len(names) > 1)
    return f"at most {len(names)} positional argument{plural}, {', '.join(names)}"


class Declaration(Declared):
    """An object that is fully described by a name and a few numbers, its fields.

    Attributes
    ----------
    name : str
        Its name in the registry.
    """

    name: ClassVar[str] = ""

    def config(self) -> dict[str, Any]:
        """Return the name and arguments from which an equal object can be built.

        Within `with_class_names`, the name of a user's class is added, because a class may
        inherit its name in the registry.
        """
        cls = type(self)
        is_named = _names_classes.get() and cls.__module__.partition(".")[0] != "fastnn"
        return {
            "name": self.name,
            **({"class_name": cls.__name__} if is_named else {}),
            **super().config(),
        }

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))
