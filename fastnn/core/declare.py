"""One way to declare hyper-parameters: fields with their bounds.

A class names its fields, and everything else comes from them: the constructor and its signature,
the check of each value whenever it is set, `config`, `repr`, equality, and the error for a name
that there is not. A subclass by a user gets all of it.

Plain classes rather than dataclasses: those compile a constructor for each class, and sixty of them
would take a third of the time of `import fastnn`. Here a class costs a few microseconds, and a
signature is made when somebody asks for it. `typing.dataclass_transform` tells type checkers; it
is for them that a default is given by keyword.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Literal, dataclass_transform

from fastnn.core import checks, hints

Check = Callable[[str, Any], Any]


class _Required:
    """Stands for the default of a field that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Field:
    """A hyper-parameter: its default, the check of its values, and how it may be given.

    Attributes
    ----------
    name : str
    check : callable or None
        Of name and value; returns the value that is kept, or raises.
    default : object
        `REQUIRED` where there is none.
    bounds : dict
        Of a number: least, below and is_positive, as `checks.number` takes them.
    is_optional : bool
        Whether None is a value, which is not checked.
    kw_only : bool
        Whether it is given to the constructor by keyword alone.
    init : bool
        Whether the constructor takes it.
    is_fixed : bool or None
        Whether it is set once, by the constructor; None: as the class says.
    factory : callable or None
        Of the object, whose fields before this one are set: returns what None stands for.
    """

    __slots__ = (
        "_default_value",
        "bounds",
        "check",
        "default",
        "factory",
        "init",
        "is_fixed",
        "is_optional",
        "kw_only",
        "name",
    )

    def __init__(
        self,
        check: Check | None,
        default: Any,
        *,
        bounds: dict[str, Any] | None = None,
        is_optional: bool = False,
        kw_only: bool = False,
        init: bool = True,
        is_fixed: bool | None = None,
        factory: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = ""
        self.check = check
        self.default = default
        self.bounds = bounds or {}
        self.is_optional = is_optional
        self.kw_only = kw_only
        self.init = init
        self.is_fixed = is_fixed
        self.factory = factory
        self._default_value = REQUIRED

    def with_default(self, default: Any) -> Field:
        """Return a field that differs in its default alone."""
        return Field(
            self.check,
            default,
            bounds=self.bounds,
            is_optional=self.is_optional,
            kw_only=self.kw_only,
            init=self.init,
            is_fixed=self.is_fixed,
            factory=self.factory,
        )

    def checked(self, value: Any) -> Any:
        """Return what is kept for a value, or raise."""
        if self.check is None or (value is None and self.is_optional):
            return value
        return self.check(self.name, value)

    def initial(self, owner: object) -> Any:
        """Return what an object starts from that is not told."""
        if self.factory is not None:
            return self.checked(self.factory(owner))
        if self._default_value is REQUIRED:
            self._default_value = self.checked(self.default)
        return self._default_value


class Absent:
    """Stands in a class for a field of its base that it does not have, and says why."""

    def __init__(self, reason: str) -> None:
        self.name, self.reason = "", reason

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(self.message(owner))

    def message(self, owner: type) -> str:
        """Return what an error says."""
        return f"{owner.__name__} has no {self.name}: {self.reason}"


# --- field specifiers -----------------------------------------------------------------------------


def number(
    *,
    default: Any = REQUIRED,
    least: float = -math.inf,
    below: float = math.inf,
    is_positive: bool = False,
    is_optional: bool = False,
    kw_only: bool = False,
    init: bool = True,
    is_fixed: bool | None = None,
) -> Any:
    """Declare a finite number in [least, below), above 0 if `is_positive`; see `checks.number`."""
    bounds: dict[str, Any] = {"least": least, "below": below, "is_positive": is_positive}
    return Field(
        functools.partial(checks.number, **bounds),
        default,
        bounds=bounds,
        is_optional=is_optional,
        kw_only=kw_only,
        init=init,
        is_fixed=is_fixed,
    )


def integer(*, default: Any = REQUIRED, least: int = 1, kw_only: bool = False) -> Any:
    """Declare an integer of at least `least`."""
    check = functools.partial(checks.integer, least=least)
    return Field(check, default, bounds={"least": least}, kw_only=kw_only)


def boolean(*, default: Any = REQUIRED, kw_only: bool = False, is_fixed: bool | None = None) -> Any:
    """Declare True or False."""
    return Field(checks.boolean, default, kw_only=kw_only, is_fixed=is_fixed)


def choice(*among: str, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """Declare one of some strings."""
    return Field(functools.partial(checks.choice, among=among), default, kw_only=kw_only)


def checked(
    check: Check,
    *,
    default: Any = REQUIRED,
    default_factory: Callable[[Any], Any] | None = None,
    is_optional: bool = False,
    kw_only: bool = False,
    is_fixed: bool | None = None,
) -> Any:
    """Declare what a function of name and value checks and returns.

    Parameters
    ----------
    check : callable
    default : object, optional
    default_factory : callable, optional
        Of the object, whose fields before this one are set: returns the value that None, the
        default, stands for.
    is_optional : bool, default False
        Whether None is a value, which is not checked.
    kw_only : bool, default False
    is_fixed : bool, optional
        Whether it is set once, by the constructor; default: as the class says.
    """
    return Field(
        check,
        None if default_factory is not None else default,
        is_optional=is_optional,
        kw_only=kw_only,
        is_fixed=is_fixed,
        factory=default_factory,
    )


def instance_of(
    get: Callable[[object], Any], *, default: Any = REQUIRED, kw_only: bool = False
) -> Any:
    """Declare what a registry's `get` makes of a name, a config or an instance."""
    return Field(functools.partial(_got, get=get), default, kw_only=kw_only)


def _got(name: str, value: object, *, get: Callable[[object], Any]) -> Any:
    return get(value)


def function(*, default: Any = REQUIRED, is_optional: bool = False, kw_only: bool = False) -> Any:
    """Declare something callable."""
    return Field(checks.function, default, is_optional=is_optional, kw_only=kw_only)


def state(
    *,
    default: Any = None,
    default_factory: Callable[[], Any] | None = None,
    init: Literal[False] = False,
) -> Any:
    """Declare what an object keeps while it runs, which is no argument and may be set.

    Parameters
    ----------
    default : object, optional
        What it starts from.
    default_factory : callable, optional
        Makes it, for each object anew.
    """
    factory = None if default_factory is None else lambda _: default_factory()
    return Field(None, default, init=False, is_fixed=False, factory=factory)


def absent(reason: str, *, init: Literal[False] = False) -> Any:
    """Declare that a class has not what its base has, for a reason that errors end with."""
    return Absent(reason)


def _of_plain_default(annotation: object, value: Any) -> Field | None:
    """Return the field for a plain default, such as ``beta_3: float = 0.5``; None for none."""
    if isinstance(value, bool):
        return Field(checks.boolean, value)
    if isinstance(value, int) and annotation in (int, "int"):
        return Field(functools.partial(checks.integer, least=None), value)
    if isinstance(value, (int, float)):
        return Field(checks.number, value)
    return Field(checks.text, value) if isinstance(value, str) else None


def fixed(owner: object, name: str, value: object) -> AttributeError:
    """Return the error for changing what compiled programs were made of.

    Programs are kept, so a change would count for those that are not made yet, and for no other.
    """
    cls = type(owner).__name__
    return AttributeError(
        f"{cls}.{name} cannot be changed, because programs are compiled with it: "
        f"use another, {cls}({name}={value!r})"
    )


# --- what is declared -----------------------------------------------------------------------------


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
                    default=inspect.Parameter.empty if _is_required(field) else field.default,
                    annotation=annotations.get(name, inspect.Parameter.empty),
                )
                for name, field in owner.fields().items()
            ]
        )


def _is_required(field: Field) -> bool:
    return field.default is REQUIRED


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
    _arguments: ClassVar[Collection[str]] = ()  # of an __init__ of its own
    _accepted: ClassVar[set[str]] = set()  # names that an open class has been asked for
    # Whether fields are set once, by the constructor.
    _is_fixed: ClassVar[bool] = True
    # Whether objects keep what their own methods set, under any name.
    _is_open: ClassVar[bool] = False
    # Of those names, what is no slip of a letter or two: an attribute that means something.
    _not_misspelt: ClassVar[tuple[str, ...]] = ()
    # Whether an object may have methods of its own.
    _has_hooks: ClassVar[bool] = False
    # Whether a plain annotated default declares a field.
    _has_plain_fields: ClassVar[bool] = True
    # Which keyword-only fields are positional in classes that have no positional ones.
    _else_positional: ClassVar[tuple[str, ...]] = ()

    __signature__ = _Signature()

    def __init_subclass__(cls, **options: Any) -> None:
        """Collect the fields."""
        super().__init_subclass__(**options)
        own = vars(cls)
        annotations = cls.__annotations__
        found: dict[str, Field] = {}
        dropped: list[str] = []
        for name, value in list(own.items()):
            if isinstance(value, Field):
                value.name = name
                found[name] = value
                delattr(cls, name)
            elif isinstance(value, Absent):
                dropped.append(name)
                cls._absent = {**cls._absent, name: value}
            elif name in cls._fields:
                if hasattr(value, "__get__") or "ClassVar" in str(annotations.get(name)):
                    dropped.append(name)
                else:
                    found[name] = cls._fields[name].with_default(value)
                    found[name].name = name
                    delattr(cls, name)
            elif cls._has_plain_fields and name in annotations and not name.startswith("_"):
                annotation = annotations[name]
                field = None if "ClassVar" in str(annotation) else _of_plain_default(
                    annotation, value
                )  # fmt: skip
                if field is not None:
                    field.name = name
                    if cls._is_open:
                        field.is_fixed = False
                    found[name] = field
                    delattr(cls, name)
        if found or dropped:
            cls._fields = _ordered(cls._fields, found, dropped)
        init = own.get("__init__")
        if init is not None:
            cls._arguments = frozenset(_arguments_of(init))
            cls.__init__ = _closing(init)  # type: ignore[method-assign]
        elif found and cls.is_generic():
            names = [name for name, field in cls.fields().items() if not field.kw_only]
            cls._positional = tuple(names) or cls._else_positional
        if cls._is_open:
            cls._accepted = set()

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
        """Return the fields' values, and what an ``__init__`` of its own has set, by name."""
        values = vars(self)
        named = {name: values[name] for name in self.fields() if name in values}
        if self.is_generic():
            return named
        others = {
            name: value
            for name, value in values.items()
            if name not in self._fields and not name.startswith("_")
        }
        return {**named, **others}

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
        """Raise if nothing reads this attribute, which is no field, or if it may not change."""
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
        for number, (name, value) in enumerate(self.arguments().items()):
            field = fields.get(name)
            shown = value.shown() if isinstance(value, Declared) else repr(value)
            if number == 0 and field is not None and _is_required(field):
                parts.append(shown)
            elif (
                number == 0 or field is None or _is_required(field) or value != field.initial(self)
            ):
                parts.append(f"{name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def shown(self) -> str:
        """Return how it is written as an argument; mostly its `repr`."""
        return repr(self)


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
                if _is_required(field):
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
