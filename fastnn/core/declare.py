"""One way to declare hyper-parameters: fields with their bounds.

A class names its fields, and everything else comes from them: the constructor and its signature,
the check of each value whenever it is set, `config`, `repr`, equality, and the error for a name
that does not exist. A subclass by a user gets all of it.

Plain classes rather than dataclasses: those compile a constructor for each class, and sixty of them
would take a third of the time of `import fastnn`. Here a class costs a few microseconds, and a
signature is made when somebody asks for it. `typing.dataclass_transform` tells type checkers; it
is for them that a default is given by keyword.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, ClassVar, dataclass_transform

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


def fixed(owner: object, name: str, value: object) -> AttributeError:
    """Return the error for changing what compiled programs were made of.

    Programs are kept, so a change would count for those that are not made yet, and for no other.
    """
    cls = type(owner).__name__
    return AttributeError(
        f"{cls}.{name} cannot be changed, because programs are compiled with it: "
        f"use another, {cls}({name}={value!r})"
    )


class _Signature:
    """The signature of a class's constructor, made when somebody asks for it."""

    def __get__(self, instance: object, owner: type[Declared]) -> inspect.Signature | None:
        if instance is not None:
            raise AttributeError("__signature__")
        if not owner.is_generic():
            return None  # `inspect` looks at the constructor itself
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
    """Base of all that is made of declared fields.

    A field is an attribute of the class that one of the specifiers of this module makes, or a plain
    annotated number, True or False, or string. In a subclass a plain value is another default of
    the field that the base has.

    Notes
    -----
    A class may have an ``__init__`` of its own. What that sets is kept under any name, and checked
    where the name is that of a field; it calls ``super().__init__`` with the base's arguments.
    """

    _fields: ClassVar[dict[str, Field]] = {}
    _absent: ClassVar[dict[str, Absent]] = {}
    _positional: ClassVar[tuple[str, ...]] = ()
    _arguments: ClassVar[tuple[str, ...]] = ()  # of an __init__ of its own
    _accepted: ClassVar[set[str]] = set()  # names that an open class has been asked for
    # Whether fields are set once, by the constructor.
    _is_fixed: ClassVar[bool] = True
    # Whether objects keep what their own methods set, under any name.
    _is_open: ClassVar[bool] = False
    # Attributes that mean something, so that a name like one of them is a slip, and refused.
    _not_misspelt: ClassVar[tuple[str, ...]] = ()
    # Whether an object may have methods of its own.
    _has_hooks: ClassVar[bool] = False
    # Which keyword-only fields are positional in classes that have no positional ones.
    _else_positional: ClassVar[tuple[str, ...]] = ()

    __signature__ = _Signature()

    def __init_subclass__(cls, **options: Any) -> None:
        """Collect the fields."""
        super().__init_subclass__(**options)
        found, dropped = cls._declared()
        for name, field in found.items():
            field.name = name
            delattr(cls, name)
            if not field.init and field.factory is None:  # for who does not call super().__init__
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
        """Return the fields of the class itself, and the names of the base's that it lacks."""
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
                field = of_plain_default(annotations[name], value)
                if field is not None:
                    field.is_fixed = False if cls._is_open else None
                    found[name] = field
        return found, dropped

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls, values = type(self), vars(self)
        fields, is_whole = cls._fields, "_opening" not in values
        given = dict(zip(cls._positional, args, strict=False))
        if len(args) > len(cls._positional):
            raise TypeError(f"{cls.__name__}() takes {_counted(cls._positional)}, got {len(args)}")
        for name, value in kwargs.items():
            if name in cls._absent:
                raise ValueError(cls._absent[name].message(cls))
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
        self.set_up()
        if is_whole:
            self.check_together()

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Return the fields that the constructor takes, by name."""
        return {name: field for name, field in cls._fields.items() if field.init}

    @classmethod
    def is_generic(cls) -> bool:
        """Whether the constructor is the one that the fields make."""
        return cls.__init__ is Declared.__init__

    def set_up(self) -> None:
        """Prepare what is kept while it runs; called by the constructor when the fields are set."""

    def check_together(self) -> None:
        """Raise if fields do not fit each other; called when one has been set, and undone then."""

    def arguments(self) -> dict[str, Any]:
        """Return the values of the fields by name.

        With an ``__init__`` of its own, also those of the attributes named as its arguments.
        """
        values = vars(self)
        named = {name: values[name] for name in self.fields() if name in values}
        if self.is_generic():
            return named
        own = (name for name in self._arguments if name in values and name not in self._fields)
        return {**named, **{name: values[name] for name in own}}

    def config(self) -> dict[str, Any]:
        """Return the arguments that make an equal one again."""
        return {
            name: value.config() if isinstance(value, Declared) else value
            for name, value in self.arguments().items()
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

    def _check_settable(self, name: str, value: object) -> None:
        """Raise if nothing reads this attribute, which is not a field, or if it is fixed."""
        cls, values = type(self), vars(self)
        if name in cls._absent:
            raise ValueError(cls._absent[name].message(cls))
        if name in cls._accepted or name.startswith("_"):
            return
        if name in values and cls._is_fixed and (not cls._is_open or name in cls._arguments):
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
        """Return the attributes that may be meant by one that there is not."""
        return [name for name, field in cls._fields.items() if field.init or field.check]

    def __repr__(self) -> str:
        parts = []
        fields = self.fields()
        for position, (name, value) in enumerate(self.arguments().items()):
            field = fields.get(name)
            shown = value.shown() if isinstance(value, Declared) else repr(value)
            if position == 0 and field is not None and field.is_required:
                parts.append(shown)
            elif (
                position == 0 or field is None or field.is_required or value != field.initial(self)
            ):
                parts.append(f"{name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def shown(self) -> str:
        """Return how it is written as an argument; mostly its `repr`."""
        return repr(self)


def _is_of_class(annotations: dict[str, Any], name: str) -> bool:
    return "ClassVar" in str(annotations.get(name))


def _ordered(
    inherited: dict[str, Field], found: dict[str, Field], dropped: Collection[str]
) -> dict[str, Field]:
    """Return fields in the order of the constructor's arguments, those of the base first.

    Of keyword-only fields those of the base come last.
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
    """Return a constructor in which anything may be set, and behind which fields are checked."""

    @functools.wraps(init)
    def __init__(self: Declared, *args: Any, **kwargs: Any) -> None:
        values = vars(self)
        if "_opening" in values:  # called by that of a subclass
            init(self, *args, **kwargs)
            return
        values["_opening"] = True
        try:
            init(self, *args, **kwargs)
        finally:
            values.pop("_opening", None)
        for name, field in self.fields().items():
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
    """Something that a name and a few numbers describe: its fields are all there is.

    Attributes
    ----------
    name : str
        What it is called in its registry.
    """

    name: ClassVar[str] = ""

    def config(self) -> dict[str, Any]:
        """Return what makes an equal one again."""
        return {"name": self.name, **super().config()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))
