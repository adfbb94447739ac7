"""Fields of declared classes, and the functions that create them: numbers with bounds, choices.

A default is given by keyword, because type checkers expect that; see `fastnn.core.declare`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

from fastnn.core import checks

Check = Callable[[str, Any], Any]


class _Required:
    """The default of a field that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Field:
    """A hyper-parameter: its default, the check of its values, and how it may be given.

    Attributes
    ----------
    name : str
    check : callable or None
        Takes name and value; returns the value to store, or raises.
    default : object
        `REQUIRED` if there is none.
    bounds : dict
        For a number: least, below and is_positive, as `checks.number` takes them.
    is_optional : bool
        Whether None is allowed, and then not checked.
    kw_only : bool
        Whether the constructor takes it only by keyword.
    init : bool
        Whether the constructor takes it.
    is_fixed : bool or None
        Whether only the constructor can set it; None: as the class says.
    factory : callable or None
        Takes the object, whose earlier fields are set; returns the value that None stands for.
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
        """Return a field that differs only in its default."""
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

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is REQUIRED

    def checked(self, value: Any) -> Any:
        """Return the value to store, or raise."""
        if self.check is None or (value is None and self.is_optional):
            return value
        return self.check(self.name, value)

    def initial(self, owner: object) -> Any:
        """Return the value for an object that was not given one."""
        if self.factory is not None:
            return self.checked(self.factory(owner))
        if self._default_value is REQUIRED:
            self._default_value = self.checked(self.default)
        return self._default_value


class Absent:
    """Marks a field of the base that a class lacks, with the reason."""

    def __init__(self, reason: str) -> None:
        self.name, self.reason = "", reason

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(self.message(owner))

    def message(self, owner: type) -> str:
        """Return the message of the error."""
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
    """Declare a finite number in [least, below), positive if asked for; see `checks.number`."""
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


def integer(
    *,
    default: Any = REQUIRED,
    least: int = 1,
    is_optional: bool = False,
    kw_only: bool = False,
    any_size: bool = False,
) -> Any:
    """Declare an integer of at least `least`, and of 64 bits unless it may have `any_size`."""
    check = functools.partial(checks.integer if any_size else checks.sized_integer, least=least)
    bounds = {"least": least}
    return Field(check, default, bounds=bounds, is_optional=is_optional, kw_only=kw_only)


def boolean(*, default: Any = REQUIRED, kw_only: bool = False, is_fixed: bool | None = None) -> Any:
    """Declare True or False."""
    return Field(checks.boolean, default, kw_only=kw_only, is_fixed=is_fixed)


def choice(*among: str, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """Declare one of several strings."""
    return Field(functools.partial(checks.choice, among=among), default, kw_only=kw_only)


def checked(
    check: Check,
    *,
    default: Any = REQUIRED,
    default_factory: Callable[[Any], Any] | None = None,
    is_optional: bool = False,
    kw_only: bool = False,
    init: bool = True,
    is_fixed: bool | None = None,
) -> Any:
    """Declare a value that a function of name and value checks and returns.

    Parameters
    ----------
    check : callable
    default : object, optional
    default_factory : callable, optional
        Takes the object, whose earlier fields are set; returns the value that None, the default,
        stands for.
    is_optional : bool, default False
        Whether None is allowed, and then not checked.
    kw_only : bool, default False
    init : bool, default True
        Whether it is an argument of the constructor.
    is_fixed : bool, optional
        Whether only the constructor can set it; default: as the class says.
    """
    return Field(
        check,
        None if default_factory is not None else default,
        is_optional=is_optional,
        kw_only=kw_only,
        init=init,
        is_fixed=is_fixed,
        factory=default_factory,
    )


def instance_of(
    get: Callable[[object], Any], *, default: Any = REQUIRED, kw_only: bool = False
) -> Any:
    """Declare an instance that a registry's `get` returns for a name, a config or an instance."""
    return Field(functools.partial(_got, get=get), default, kw_only=kw_only)


def _got(name: str, value: object, *, get: Callable[[object], Any]) -> Any:
    return get(value)


def function(*, default: Any = REQUIRED, is_optional: bool = False, kw_only: bool = False) -> Any:
    """Declare a callable."""
    return Field(checks.function, default, is_optional=is_optional, kw_only=kw_only)


def state(
    *,
    default: Any = None,
    default_factory: Callable[[], Any] | None = None,
    init: Literal[False] = False,
) -> Any:
    """Declare internal state of an object, which is not an argument and may be set.

    Parameters
    ----------
    default : object, optional
        Initial value.
    default_factory : callable, optional
        Creates the initial value for each object.
    """
    factory = None if default_factory is None else lambda _: default_factory()
    return Field(None, default, init=False, is_fixed=False, factory=factory)


def absent(reason: str, *, init: Literal[False] = False) -> Any:
    """Declare that a class lacks a field of its base; errors end with the reason."""
    return Absent(reason)


def of_plain_default(annotation: object, value: Any) -> Field | None:
    """Return the field for a plain default, such as ``beta_3: float = 0.5``, or None."""
    if isinstance(value, bool):
        return Field(checks.boolean, value)
    if isinstance(value, int) and annotation in (int, "int"):
        return Field(functools.partial(checks.integer, least=None), value)
    if isinstance(value, (int, float)):
        return Field(checks.number, value)
    return Field(checks.text, value) if isinstance(value, str) else None
