"""The command `fastnn`: its arguments, its exit status, its errors.

The commands raise ValueError, OSError or ImportError for a mistake of the user's, and `main` turns
it into one line; anything else is a defect of fastnn and keeps its traceback.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

import fastnn as fnn
from fastnn.cli import bench, compare, evaluate, explain, info, predict, train
from fastnn.cli.arguments import (
    EXIT_STATUS,
    FAILED,
    TERMINATED,
    WRONG_INPUT,
    CommandParser,
)
from fastnn.cli.completion import SHELLS, PrintCompletion
from fastnn.cli.interrupts import Noted, status_of
from fastnn.cli.output import complain, finish, lost, reason


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        Exit status: 0 done, 1 training diverged, 2 wrong input, 130 interrupted, 143 ended by
        SIGTERM.

    Raises
    ------
    SystemExit
        From argparse: 2 for wrong arguments, 0 after ``--help``.
    """
    parser = command_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        getattr(args, "parser", parser).refuse(unknown)
    if args.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    args.line = shlex.join(["fastnn", *(sys.argv[1:] if argv is None else argv)])
    lost()
    status = _run(args)
    finish()
    error = lost()
    if error is not None:
        text = f"error: standard output: {error.strerror or error}"
        return complain(args, text, status or WRONG_INPUT)
    return status


def _run(args: argparse.Namespace) -> int:
    """Run a command, and tell in a line what went wrong."""
    with Noted() as signals:
        try:
            return _complaining(args, signals)
        except KeyboardInterrupt as error:
            signals.answered()
            return _ended(args, status_of(error))


def _ended(args: argparse.Namespace, status: int) -> int:
    """Say that a signal has ended a command."""
    text = "ended" if status == TERMINATED else "interrupted"
    saves = hasattr(args, "output") and not getattr(args, "is_saved", False)
    return complain(args, text + "; nothing was saved" * saves, status)


def _complaining(args: argparse.Namespace, signals: Noted) -> int:
    try:
        return int(args.run(args))
    except Exception as error:
        if not signals.status:
            return _failed(args, error)
        signals.answered()  # of a library that Ctrl-C came into
        return _ended(args, signals.status)


def _failed(args: argparse.Namespace, failure: Exception) -> int:
    """Tell in a line what went wrong; return the exit status."""
    try:
        raise failure
    except fnn.NonFiniteLossError as error:
        return complain(args, f"error: {error} (nothing was saved)", FAILED)
    except MemoryError as error:
        return complain(args, f"error: not enough memory: {error}", WRONG_INPUT)
    except OSError as error:
        return complain(args, f"error: {reason(error)}", WRONG_INPUT)
    except (ValueError, ImportError) as error:
        return complain(args, f"error: {error}", WRONG_INPUT)


def command_parser() -> CommandParser:
    """Return the parser of all commands; each adds its own arguments."""
    parser = CommandParser(
        prog="fastnn",
        description="Learn tables, and predict from them, with neural networks on CPUs.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastnn {fnn.__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print what lets a shell complete commands and options",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)
    for command in (train, evaluate, predict, explain, compare, info, bench):
        command.add_arguments(commands)
    return parser
