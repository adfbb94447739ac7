r"""Names of the user's as they may be shown: on a terminal, in a picture.

A column, a class or a file may have any name. Control characters would move the cursor, set the
title of the window or break a line; marks of direction would turn what stands beside them.
"""

from __future__ import annotations

import re

# C0 and C1, line and paragraph separators, directions, and halves of pairs, which no font has.
_UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text with escapes for what a terminal would obey instead of showing it.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> print(printable("a\x1b[31mred\n"))
    a\x1b[31mred\n
    """
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)
