"""Arrays of Python objects that are numbers: int, float, bool, Decimal, Fraction."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np


def numbers_of(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array of objects as one of numbers: int64 if all are integers, else float64.

    Raises
    ------
    TypeError, ValueError
        An object is not a number, or is one that float64 cannot hold; the message names the cell.
    """
    from decimal import Decimal  # here, because `import fastnn` should be quick

    numbers = np.empty(array.shape)
    is_whole = True
    for where, one in np.ndenumerate(array):
        is_integer = isinstance(one, (Integral, np.bool_))
        if not (is_integer or isinstance(one, (Real, Decimal))):
            what = "nothing (None)" if one is None else f"{one!r} ({type(one).__name__})"
            at = f" at [{', '.join(map(str, where))}]" if where else ""
            hint = "; collect() makes a frame of it" if hasattr(one, "collect") else ""
            raise TypeError(f"{name} must hold real numbers, got {what}{at}{hint}")
        is_whole = is_whole and is_integer
        try:
            numbers[where] = float(one)
        except OverflowError:
            raise ValueError(
                f"{name} must hold numbers that float64 can hold, got {one!r} at "
                f"[{', '.join(map(str, where))}]"
            ) from None
    if not is_whole:
        return numbers
    try:
        return array.astype(np.int64)
    except OverflowError:
        largest = max(array.flat, key=abs)
        raise TypeError(f"{name} must hold real numbers of 64 bits, got {largest!r}") from None
