"""Checks of single arguments: each returns the value or raises, naming what came and was expected.

A wrong type raises TypeError if no number would be valid, and ValueError otherwise.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

from fastnn.core.printing import printable


def integer(name: str, value: object, least: int | None = 1) -> int:
    """Return an integer of at least `least`, or any integer if `least` is None."""
    if type(value) is int and (least is None or value >= least):
        return value
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or (least is not None and cast(int, value) < least):
        if least is None:
            raise ValueError(f"{name} must be an integer, got {value!r}")
        expected = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return int(cast(int, value))


LARGEST_INTEGER = 2**63 - 1


def sized_integer(name: str, value: object, least: int | None = 1) -> int:
    """Return an integer as `integer` does, if it fits in 64 bits, as codes and counts do."""
    found = integer(name, value, least)
    if not -LARGEST_INTEGER - 1 <= found <= LARGEST_INTEGER:
        raise ValueError(f"{name} must be an integer of at most 64 bits, got {str(found)[:40]}")
    return found


def number(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    below: float = math.inf,
    is_positive: bool = False,
) -> float:
    """Return a finite number in [least, below), and above 0 if `is_positive`."""
    if type(value) is float or (isinstance(value, Real) and not isinstance(value, bool)):
        try:
            result = float(value)
        except OverflowError:  # an integer too large for float
            result = math.inf
        is_inside = math.isfinite(result) and least <= result < below
        if is_inside and (result > 0 or not is_positive):
            return result
    if is_positive and below < math.inf:
        expected = f"a number above 0 and below {below:g}"
    elif is_positive:
        expected = "a positive number"
    elif below < math.inf:
        expected = f"a number in [{least:g}, {below:g})"
    elif least > -math.inf:
        expected = f"a finite number of at least {least:g}"
    else:
        expected = "a finite number"
    raise ValueError(f"{name} must be {expected}, got {value!r}")


def rows_of_share(rows: int, share: float) -> int:
    """Return a share of some rows as a whole number, rounded to the nearest; halves are rounded up.

    A product just below a whole number or a half counts as that: 0.29 of 100 rows, which is
    28.999999999999996, are 29, and 0.145 of them 15.
    """
    return math.floor(round(rows * share, 6) + 0.5)


def boolean(name: str, value: object) -> bool:
    """Return True or False."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def text(name: str, value: object) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} must be a non-empty string, got {value!r}")
    return value


def choice(name: str, value: object, among: Sequence[str]) -> str:
    """Return one of two or more strings."""
    if not isinstance(value, str) or value not in among:
        listed = f"{', '.join(map(repr, among[:-1]))} or {among[-1]!r}"
        raise ValueError(f"{name} must be {listed}, got {value!r}")
    return value


def function(name: str, value: object) -> Callable[..., Any]:
    """Return a callable."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    return value


def shape(name: str, value: object) -> tuple[int, ...]:
    """Return a tuple of positive integers; a single integer stands for a tuple of one."""
    sizes: Any = (value,) if isinstance(value, Integral) else value
    try:
        return tuple(integer(name, size) for size in sizes)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a tuple of positive integers, got {value!r}") from None


LONGEST_NAME = 10_000  # letters; it stands in messages, tables and files


def part_name(name: str, value: object) -> str:
    """Return the name of a layer, an input or a model; raise ValueError for anything else."""
    if not isinstance(value, str) or not value or "/" in value:
        raise ValueError(f"{name} must be a non-empty string without '/', got {value!r}")
    return value


def stored_name(name: str, value: object) -> str:
    """Return the name of a layer, an input or a model that may stand in a file, or raise."""
    value = part_name(name, value)
    if len(value) > LONGEST_NAME or printable(value) != value:
        raise ValueError(
            f"{name} in a file must have at most {LONGEST_NAME:,} letters and no control "
            f"characters, got {value[:40]!r} of {len(value):,} letters"
        )
    return value


def optional_name(value: object, name: str = "name") -> str | None:
    """Return a name, or None; raise ValueError for anything else."""
    return None if value is None else part_name(name, value)


def items(name: str, value: object, cls: type) -> list:
    """Return a list of instances of `cls`; None stands for an empty list."""
    if value is None:
        return []
    if isinstance(value, (cls, str)) or not hasattr(value, "__iter__"):
        raise TypeError(
            f"{name} must be a list of {cls.__name__} instances, got {shown(value, cls)}"
        )
    listed = list(cast(Iterable, value))
    for item in listed:
        if not isinstance(item, cls):
            raise TypeError(f"{name} must be {cls.__name__} instances, got {shown(item, cls)}")
    return listed


def shown(value: object, cls: type, call: str = "(...)") -> str:
    """Return the form in which a message shows what came in place of an instance of `cls`."""
    if not isinstance(value, type):
        return f"{value!r} ({type(value).__name__})"
    hint = f"; did you mean {value.__name__}{call}?" if issubclass(value, cls) else ""
    return f"the class {value.__name__}{hint}"


def file_path(value: object, name: str = "path") -> Path:
    """Return a path that names a file, whether or not it exists."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name} must be the name of a file, got {value!r}")
    if not os.fspath(value):
        raise ValueError(f"{name} must be the name of a file, got {value!r}")
    return Path(value)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 layer", "2 layers"."""
    return f"{count} {noun}" + "s" * (count != 1)
