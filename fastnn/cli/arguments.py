"""What the arguments of all commands share: the parser, its errors, and types of numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import NoReturn

from fastnn.core.registry import did_you_mean
from fastnn.tabular.reading import SUFFIXES

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
EXIT_STATUS = """exit status:
  0    done
  1    the training diverged (the loss became NaN or infinite); nothing was saved
  2    an argument or a file is not as expected
  130  interrupted by Ctrl-C; `train` saves what was reached
"""


class CommandParser(argparse.ArgumentParser):
    """A parser that names what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line, without the usage that argparse puts in front, and exit."""
        self.exit(WRONG_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Name the arguments that are too many, and the option that the first may have meant."""
        first = unknown[0].split("=")[0]
        options = [name for action in self._actions for name in action.option_strings]
        hint = did_you_mean(first, options) if first.startswith("--") else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def add_reading(add: Callable[..., argparse.Action]) -> None:
    """Add the arguments that say how a text file is written."""
    add("--sep", metavar="CHARACTER", help="between the cells of a text file (default: found)")
    add("--decimal", choices=(".", ","), help="how numbers are written (default: found)")
    add("--encoding", metavar="NAME", help="of a text file (default: found), such as latin-1")


def _number(
    what: str, least: float, below: float, convert: Callable[[str], float] = float
) -> Callable[[str], float]:
    """Return an argparse type for numbers in [least, below)."""

    def checked(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not least <= value < below:
            hint = "; DATA goes before the options" if text.endswith(SUFFIXES) else ""
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}{hint}")
        return value

    return checked


count = _number("a whole number of at least 1", 1, math.inf, int)
seed = _number("a whole number of at least 0", 0, math.inf, int)
rate = _number("a number of at least 0", 0, math.inf)
share = _number("a number from 0 up to, not including, 1", 0, 1)
