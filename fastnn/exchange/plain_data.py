"""Python's plain data as JSON and tensors, and back: no code is stored, and none is run.

JSON's own types stand for themselves. Everything else is an object with a single key, which says
what it is: ``{"tuple": [...]}``, ``{"array": "3"}`` (the name of a tensor), ``{"float": "nan"}``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from fastnn.core.formats import brief

Tensors = dict[str, np.ndarray]

GENERATORS = ("PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937")


_KINDS = "biuf"  # of dtypes


class NotPlain(TypeError):
    """A value is not plain data; the message says what it is."""


def encode(value: Any, tensors: Tensors, classes: Mapping[str, type]) -> Any:
    """Return a value in JSON's types; its arrays are put into `tensors`.

    Parameters
    ----------
    value : object
        None, a bool, number, string, array, tuple, list, dict, set or deque of such, a NumPy
        generator, or a dataclass of `classes`.
    tensors : dict of str to ndarray
        Receives the arrays, keyed by consecutive numbers.
    classes : dict of str to type
        The dataclasses that may occur.

    Returns
    -------
    object

    Raises
    ------
    NotPlain
        It is something else.

    Examples
    --------
    >>> import numpy as np
    >>> tensors = {}
    >>> encode({"best": float("inf"), "weights": (np.zeros(3), None)}, tensors, {})
    {'dict': [['best', {'float': 'inf'}], ['weights', {'tuple': [{'array': '0'}, None]}]]}
    >>> list(tensors)
    ['0']
    """
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic):
        if value.dtype.kind not in _KINDS:
            raise NotPlain(f"a {type(value).__name__}")
        return {"number": [value.dtype.name, encode(value.item(), tensors, classes)]}
    if isinstance(value, np.ndarray):
        return {"array": _put(value, tensors)}
    if isinstance(value, np.random.Generator):
        return {"generator": encode(value.bit_generator.state, tensors, classes)}

    def each(items: Any) -> list[Any]:
        return [encode(item, tensors, classes) for item in items]

    if type(value) is list:
        return each(value)
    if type(value) is dict:
        return {"dict": [each(item) for item in value.items()]}
    if type(value) is deque:
        return {"deque": [value.maxlen, each(value)]}
    for kind in (tuple, set, frozenset):
        if type(value) is kind:
            return {kind.__name__: each(value)}
    name = type(value).__name__
    if is_dataclass(value) and classes.get(name) is type(value):
        entries = {one.name: getattr(value, one.name) for one in fields(value)}
        return {"object": [name, encode(entries, tensors, classes)]}
    raise NotPlain(f"a {name}")


def _put(array: np.ndarray, tensors: Tensors) -> str:
    if array.dtype.kind not in _KINDS:
        raise NotPlain(f"an array of {array.dtype}")
    name = str(len(tensors))
    tensors[name] = array
    return name


def decode(described: Any, tensors: Tensors, classes: Mapping[str, type]) -> Any:
    """Return the value that `encode` was given.

    Parameters
    ----------
    described : object
        What `encode` returned.
    tensors : dict of str to ndarray
    classes : dict of str to type

    Raises
    ------
    ValueError
        `encode` has not returned this.

    Examples
    --------
    >>> decode({"tuple": [1, {"float": "-inf"}]}, {}, {})
    (1, -inf)
    """
    if isinstance(described, list):
        return [decode(one, tensors, classes) for one in described]
    if not isinstance(described, dict):
        return described
    try:
        ((kind, content),) = described.items()
        return _DECODED[kind](content, tensors, classes)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not plain data: {brief(described, 80)} ({brief(error)})") from None


def _dict(content: Any, tensors: Tensors, classes: Mapping[str, type]) -> dict[Any, Any]:
    return {key: value for key, value in decode(content, tensors, classes)}


def _deque(content: Any, tensors: Tensors, classes: Mapping[str, type]) -> deque[Any]:
    longest, items = content
    return deque(decode(items, tensors, classes), longest)


def _object(content: Any, tensors: Tensors, classes: Mapping[str, type]) -> Any:
    name, entries = content
    made = classes[name](**decode(entries, tensors, classes))
    for one in fields(made):
        value, kind = getattr(made, one.name), _PLAIN.get(str(one.type))
        if kind is not None and type(value) is not kind:
            raise ValueError(f"{name}.{one.name} is {value!r}")
    return made


_PLAIN = {"float": float, "int": int, "str": str}  # annotations of fields


def _generator(content: Any, tensors: Tensors, classes: Mapping[str, type]) -> np.random.Generator:
    state = decode(content, tensors, classes)
    name = state["bit_generator"]
    if name not in GENERATORS:
        raise ValueError(f"there is no bit generator {name!r}")
    made = getattr(np.random, name)()
    made.state = state
    return np.random.Generator(made)


def _number(content: Any, tensors: Tensors, classes: Mapping[str, type]) -> np.generic:
    dtype, value = np.dtype(content[0]), decode(content[1], tensors, classes)
    if dtype.kind not in _KINDS:
        raise ValueError(f"a number has no dtype {dtype}")
    return dtype.type(value)


def _float(content: Any, *_: object) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]


_DECODED: dict[str, Callable[[Any, Tensors, Mapping[str, type]], Any]] = {
    "float": _float,
    "number": _number,
    "array": lambda content, tensors, classes: tensors[content].copy(),
    "generator": _generator,
    "dict": _dict,
    "deque": _deque,
    "tuple": lambda content, tensors, classes: tuple(decode(content, tensors, classes)),
    "set": lambda content, tensors, classes: set(decode(content, tensors, classes)),
    "frozenset": lambda content, tensors, classes: frozenset(decode(content, tensors, classes)),
    "object": _object,
}
