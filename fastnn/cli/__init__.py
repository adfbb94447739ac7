"""The command `fastnn`: its arguments, its exit status, its errors.

What the user got wrong is raised as ValueError, OSError or ImportError by `commands`, and becomes
one line in `main`; anything else is a defect of fastnn and keeps its traceback.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import fastnn as fnn
from fastnn import activations, optimizers
from fastnn.cli import commands
from fastnn.cli.commands import INTERRUPTED, MODEL_NAME, PICTURE_NAME
from fastnn.core.registry import did_you_mean
from fastnn.tabular.encoding import TASKS
from fastnn.tabular.table import SUFFIXES

FAILED, WRONG_INPUT = 1, 2
STATUS = """exit status:
  0    done
  1    the training diverged (the loss became NaN or infinite); nothing was saved
  2    an argument or a file is not as expected
  130  interrupted by Ctrl-C; `train` saves what was reached
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        Exit status: 0 done, 1 training diverged, 2 wrong input, 130 interrupted.

    Raises
    ------
    SystemExit
        From argparse: 2 for wrong arguments, 0 after ``--help``.
    """
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        getattr(args, "parser", parser).refuse(unknown)
    if args.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `fastnn predict ... | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return commands.complain(args, "interrupted; nothing was saved", INTERRUPTED)
    except fnn.NonFiniteLossError as error:
        return commands.complain(args, f"error: {error} (nothing was saved)", FAILED)
    except MemoryError as error:
        return commands.complain(args, f"error: not enough memory: {error}", WRONG_INPUT)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
        return commands.complain(args, f"error: {text}", WRONG_INPUT)
    except (ValueError, ImportError) as error:
        return commands.complain(args, f"error: {error}", WRONG_INPUT)


# --- arguments --------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, without the usage that argparse puts in front."""
        self.exit(WRONG_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Name the arguments that are too many, and the option that the first may have meant."""
        first = unknown[0].split("=")[0]
        options = [name for action in self._actions for name in action.option_strings]
        hint = did_you_mean(first, options) if first.startswith("--") else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _number(what: str, least: float, below: float, kind: Callable = float) -> Callable:
    """Return an argparse type for numbers in [least, below)."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value < below:
            hint = "; DATA goes before the options" if text.endswith(SUFFIXES) else ""
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}{hint}")
        return value

    return convert


_count = _number("a whole number of at least 1", 1, math.inf, int)
_seed = _number("a whole number of at least 0", 0, math.inf, int)
_rate = _number("a number of at least 0", 0, math.inf)
_share = _number("a number from 0 up to, not including, 1", 0, 1)


def _parser() -> _Parser:
    style = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="fastnn",
        description="Train and run neural networks on CPUs.",
        epilog=STATUS,
        formatter_class=style,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastnn {fnn.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_train(subparsers, style)
    _add_predict(subparsers, style)
    info = subparsers.add_parser(
        "info",
        help="show what this build runs on, or what is in a model",
        allow_abbrev=False,
        description="Show what this build of fastnn runs on; with MODEL, what is in it.",
    )
    info.add_argument("model", metavar="MODEL", nargs="?", help="a file that fastnn saved")
    info.set_defaults(run=commands.info, parser=info)
    bench = subparsers.add_parser(
        "bench",
        help="measure what this machine can do at most",
        allow_abbrev=False,
        description="Measure this machine, in less than a second, and keep the result in the "
        "user's cache for `Model.profile` to compare with.",
    )
    bench.add_argument(
        "--limits",
        action="store_true",
        required=True,
        help="multiply-adds, bytes and barriers a second, on one worker and on all",
    )
    bench.add_argument("--threads", metavar="N", type=_count, help="default: all processors")
    bench.set_defaults(run=commands.bench, parser=bench)
    return parser


def _add_train(subparsers: argparse._SubParsersAction, style: Any) -> None:
    train = subparsers.add_parser(
        "train",
        help="train a network on a table",
        formatter_class=style,
        allow_abbrev=False,
        description="Train a network on a table, test it on rows held out, and save it.",
        epilog="examples:\n  fastnn train\n  fastnn train iris.csv --target species\n"
        "  fastnn train houses.csv --target price --drop address --hidden 64 64\n\n" + STATUS,
    )
    add = train.add_argument
    add(
        "data",
        metavar="DATA",
        nargs="?",
        default="digits",
        help="a .csv, .parquet or .npz file (default: the digits that come with fastnn)",
    )
    add("--target", metavar="NAME", help="the column to predict (.npz: the array; default y)")
    add(
        "--drop",
        metavar="NAME",
        action="append",
        default=[],
        help="a column that is not an input; may be repeated",
    )
    add(
        "--task",
        choices=("auto", *TASKS),
        default="auto",
        help="auto: text, booleans and few different whole numbers are classes",
    )
    add(
        "--hidden",
        metavar="UNITS",
        nargs="*",
        type=_count,
        default=[128],
        help="units of each hidden layer (default 128; nothing: a linear model)",
    )
    add(
        "--activation",
        metavar="NAME",
        choices=activations.NAMES,
        default="relu",
        help=f"of the hidden layers (default relu): {', '.join(activations.NAMES)}",
    )
    add(
        "--dropout",
        metavar="SHARE",
        type=_share,
        default=0.0,
        help="dropped after each hidden layer (default 0)",
    )
    add(
        "--optimizer",
        metavar="NAME",
        choices=tuple(optimizers.registry),
        default="adam",
        help=f"default adam: {', '.join(optimizers.registry)}",
    )
    add(
        "--learning-rate",
        metavar="RATE",
        type=_rate,
        help="default: the optimizer's own, 0.001 for adam",
    )
    add("--epochs", metavar="N", type=_count, default=50, help="default 50")
    add(
        "--batch-size",
        metavar="ROWS",
        type=_count,
        help="default 64; all rows for gradient_descent and lbfgs",
    )
    add(
        "--held-out",
        "--validation",
        metavar="SHARE",
        type=_share,
        default=0.2,
        help="share of the rows to test with instead of training (default 0.2)",
    )
    add(
        "--seed",
        metavar="N",
        type=_seed,
        default=0,
        help="gives weights, order and the rows held out (default 0)",
    )
    add("--threads", metavar="N", type=_count, help="at most (default: all processors)")
    add(
        "--output",
        metavar="FOLDER",
        default="fastnn-output",
        help=f"gets {MODEL_NAME} and {PICTURE_NAME} (default fastnn-output)",
    )
    add("-q", "--quiet", action="store_true", help="print the results only")
    train.set_defaults(run=commands.train, parser=train)


def _add_predict(subparsers: argparse._SubParsersAction, style: Any) -> None:
    predict = subparsers.add_parser(
        "predict",
        help="predict from a file",
        formatter_class=style,
        allow_abbrev=False,
        description="Predict each row of DATA and write the predictions as CSV.",
        epilog="example:\n  fastnn predict fastnn-output/model.safetensors new.csv\n\n" + STATUS,
    )
    predict.add_argument("model", metavar="MODEL", help="a file that `fastnn train` saved")
    predict.add_argument(
        "data",
        metavar="DATA",
        help="a .csv, .parquet or .npz file with the columns of the training, or `digits`; "
        "more columns are ignored",
    )
    predict.add_argument("--output", metavar="FILE.csv", help="default: the standard output")
    predict.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class"
    )
    predict.set_defaults(run=commands.predict, parser=predict)
