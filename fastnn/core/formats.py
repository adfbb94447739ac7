"""Files from strangers: the one error that they raise, and JSON that is read with care.

Whatever is wrong with such a file, the message is short and holds no control characters: what is
in the file reaches a terminal only in a form that cannot steer it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from fastnn.core.printing import printable

DEEPEST = 200  # levels of JSON; a model in a model takes two, a Residual in a Residual four
LONGEST = 200  # letters of a message that come from a file
LARGEST = 2**63 - 1


class FormatError(ValueError):
    """A file is damaged, was cut, or is not of the kind that was expected.

    Examples
    --------
    >>> import fastnn as fnn, io
    >>> try:
    ...     fnn.load(io.BytesIO(b"short"))
    ... except fnn.FormatError as error:
    ...     print(error)
    path: the file object is not a safetensors file (it does not begin with the length of a header)
    """


def brief(text: object, longest: int = LONGEST) -> str:
    r"""Return a text for a message: what is not printable escaped, and not too long.

    Parameters
    ----------
    text : object
    longest : int, default 200
        Letters of the result, at most.

    Examples
    --------
    >>> brief("a\x1b[2Jb"), brief("x" * 1000, 9)
    ('a\\x1b[2Jb', 'xxxxxx...')
    """
    whole = str(text)
    cut = whole[: longest + 1]
    cut = printable(cut)
    if len(whole) > longest or len(cut) > longest:
        return cut[: longest - 3] + "..."
    return cut


def quoted(text: object, longest: int = 60) -> str:
    """Return a text as `brief` does, in quotation marks where it is a string."""
    return repr(brief(text, longest)) if isinstance(text, str) else brief(repr(text), longest)


def parsed_json(text: str | bytes, what: str, *, allows_nan: bool = False) -> Any:
    """Return what a JSON text holds.

    Parameters
    ----------
    text : str or bytes
    what : str
        What it is, for the message.
    allows_nan : bool, default False
        Whether NaN and Infinity, which Python writes into JSON, are taken.

    Raises
    ------
    FormatError
        It is not JSON, is nested too deeply, gives a key twice, or holds a number that is not
        finite.

    Examples
    --------
    >>> parsed_json('{"units": [1, 2.5]}', "the description")
    {'units': [1, 2.5]}
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        found = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_float=_finite,
            parse_constant=float if allows_nan else _constant,
        )
    except RecursionError:
        raise FormatError(f"{what} is nested too deeply") from None
    except FormatError as error:
        raise FormatError(f"{what} is damaged ({error})") from None
    except ValueError as error:  # also what is not UTF-8, and an integer of thousands of digits
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise FormatError(f"{what} is damaged ({brief(reason)})") from None
    check_depth(found, what)
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise FormatError(f"the key {quoted(twice)} is given twice")
    return found


def _constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is not a number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise FormatError(f"{brief(digits, 40)} is too large a number")
    return number


def check_depth(value: Any, what: str) -> None:
    """Raise FormatError if JSON is nested more deeply than `parsed_json` reads.

    Parameters
    ----------
    value : object
        What JSON holds.
    what : str
        What it is, for the message.
    """
    for depth, _ in enumerate(_levels(value)):
        if depth >= DEEPEST:
            raise FormatError(f"{what} is nested too deeply, more than {DEEPEST} levels")


def check_finite(value: Any, what: str) -> None:
    """Raise FormatError if there is a number in JSON that is not finite; see `check_depth`."""
    for level in _levels(value):
        for one in level:
            if isinstance(one, float) and not math.isfinite(one):
                raise FormatError(f"{what} is damaged ({one} is not a number in JSON)")


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yield what stands at each level of JSON, from the outermost on."""
    level = [value]
    while level:
        yield level
        level = [
            one
            for part in level
            if isinstance(part, (dict, list, tuple))
            for one in (part.values() if isinstance(part, dict) else part)
        ]


def whole_number(what: str, value: object, least: int = 0, most: int = LARGEST) -> int:
    """Return an integer of a file; raise FormatError if it is none within the bounds.

    Parameters
    ----------
    what : str
        What it is, for the message.
    value : object
    least, most : int, default 0 and 2**63 - 1
    """
    if type(value) is not int or not least <= value <= most:
        raise FormatError(
            f"{what} must be an integer from {least} to {most:,}, is {quoted(value, 40)}"
        )
    return value


__all__ = [
    "FormatError", "brief", "check_depth", "check_finite", "parsed_json", "quoted", "whole_number",
]  # fmt: skip
