"""What the arguments of all commands share: the parser, its errors, and types of numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastnn.core.hints import did_you_mean
from fastnn.core.printing import printable
from fastnn.tabular import scores
from fastnn.tabular.reading import SUFFIXES
from fastnn.tabular.recognition import KINDS
from fastnn.tabular.target import TASKS
from fastnn.tabular.texts import ORDERS

FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143
EXIT_STATUS = """exit status:
  0    done
  1    the training diverged; nothing was saved
  2    an argument or a file is not as expected
  130  interrupted by Ctrl-C; `train` saves what was reached
  143  ended by SIGTERM; `train` saves what was reached
"""

AddArgument = Callable[..., argparse.Action]


class _Once(argparse.Action):
    """Stores the name of a column; of two, which one counts would be seen late, if at all."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> None:
        """Store it."""
        seen = vars(namespace).setdefault("seen", {})
        former = seen.setdefault(self.dest, values)
        if former != values:
            raise argparse.ArgumentError(self, f"given twice, as {former!r} and {values!r}")
        setattr(namespace, self.dest, values)


class CommandParser(argparse.ArgumentParser):
    """A parser that names what is wrong in one line."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the nearest of the choices, too."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            assert action.choices is not None
            error.message += did_you_mean(value, map(str, action.choices))
            raise

    def error(self, message: str) -> NoReturn:
        """Print one line, without the usage that argparse puts in front, and exit."""
        self.exit(
            WRONG_INPUT, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n"
        )

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Name the arguments that are too many, and the option that the first may have meant."""
        first = unknown[0].split("=")[0]
        options = [name for action in self._actions for name in action.option_strings]
        hint = did_you_mean(first, options) if first.startswith("--") else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def add_data(add: AddArgument, **options: Any) -> None:
    """Add the file of the table."""
    add(
        "data",
        metavar="DATA",
        type=path_name,
        help="a .csv, .tsv, .txt (also .gz), .parquet, .feather or .npz file, - for the standard "
        "input, or `digits`, which come with fastnn" + options.pop("more", ""),
        **options,
    )


def add_reading(add: AddArgument) -> None:
    """Add the arguments that say how a text file is written."""
    add("--sep", metavar="CHARACTER", help="between the cells of a text file (default: found)")
    add("--decimal", choices=(".", ","), help="how numbers are written (default: found)")
    add("--encoding", metavar="NAME", help="of a text file (default: found), such as latin-1")


def add_columns(add: AddArgument) -> None:
    """Add the arguments that say what is learned from which columns."""
    add(
        "--target", metavar="NAME", action=_Once,
        help="the column to predict (.npz: the array; default y)",
    )  # fmt: skip
    add(
        "--task",
        choices=("auto", *TASKS),
        default="auto",
        help="auto: text, booleans and few different whole numbers are classes",
    )
    add(
        "--drop",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="columns that are not inputs",
    )
    add(
        "--kind",
        metavar="NAME=KIND",
        nargs="+",
        action="extend",
        default=[],
        type=kind,
        help=f"what a column is, where it is recognised wrongly: {', '.join(KINDS)}, "
        f"or the order of dates, {', '.join(ORDERS)}",
    )
    add(
        "--group", metavar="NAME", action=_Once,
        help="a column whose equal cells stay together: of a customer",
    )  # fmt: skip


def add_method(add: AddArgument) -> None:
    """Add the arguments for the training, those of repeating it too."""
    names = ", ".join(scores.SCORES)
    add("--members", metavar="N", type=count, help="networks of the ensemble (default: 5 or fewer)")
    add(
        "--metric",
        metavar="NAME",
        choices=("auto", *scores.SCORES),
        default="auto",
        help=f"by which the best epoch is chosen: {names} (default: roc_auc for two classes, "
        "log_loss for more or with --class-weight, rmse for numbers)",
    )
    add("--time-budget", metavar="SECONDS", type=positive, help="that a training is to take")
    add(
        "--class-weight",
        metavar="CLASS=WEIGHT",
        nargs="+",
        action="extend",
        type=class_weight,
        help="`balanced`, or the weight of classes that are not 1",
    )
    add("--seed", metavar="N", type=seed, default=0, help="of all that is random (default 0)")
    add("--threads", metavar="N", type=count, help="at most (default: all processors)")


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options for `fastnn.tabular.read`."""
    return {"sep": args.sep, "decimal": args.decimal, "encoding": args.encoding}


def kinds_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `--kind` says of columns."""
    return _unique("--kind", args.kind)


def class_weights_of(args: argparse.Namespace) -> Any:
    """Return what `--class-weight` says."""
    if args.class_weight is None:
        return None
    if "balanced" in args.class_weight:
        if len(args.class_weight) > 1:
            raise ValueError("--class-weight: give `balanced`, or a weight for each class")
        return "balanced"
    return _unique("--class-weight", args.class_weight)


def _unique(option: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of pairs, of which none may say something else of the same name."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if made.setdefault(name, value) != value:
            raise ValueError(f"{option}: {name!r} is given twice, with different values")
    return made


def path_name(text: str) -> str:
    """Return the name of a file or folder, which must not be empty: that would be the folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file or folder, got ''")
    return text


def kind(text: str) -> tuple[str, Any]:
    """Return the name and the kind of "zip=category"."""
    name, is_given, what = text.rpartition("=")
    what = what.replace("-", " ")
    if is_given and what in KINDS:
        return name, what
    if is_given and what in ORDERS:
        return name, {"kind": "date", "order": what}
    hint = did_you_mean(what, [*KINDS, *ORDERS]) if is_given else ""
    raise argparse.ArgumentTypeError(
        f"expected NAME=KIND, with one of {', '.join([*KINDS, *ORDERS])}, got {text!r}{hint}"
    )


def class_weight(text: str) -> Any:
    """Return "balanced", or the class and the weight of "yes=2"."""
    if text == "balanced":
        return text
    name, is_given, weight = text.rpartition("=")
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not is_given or not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"expected `balanced` or CLASS=WEIGHT, got {text!r}; a weight is at least 0"
        )
    return name, value


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


TINY = math.ulp(0.0)
count = _number("a whole number of at least 1", 1, math.inf, int)
folds = _number("a whole number of at least 2", 2, math.inf, int)
seed = _number("a whole number of at least 0", 0, math.inf, int)
rate = positive = _number("a number above 0", TINY, math.inf)
share = _number("a number from 0 up to, not including, 1", 0, 1)
between = _number("a number between 0 and 1", TINY, 1)
