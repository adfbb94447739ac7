"""The command `fastnn`: its arguments, its exit status, its errors.

The commands raise ValueError, OSError or ImportError for a mistake of the user's, and `main` turns
it into one line; anything else is a defect of fastnn and keeps its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import fastnn as fnn
from fastnn.cli import bench, info, predict, train
from fastnn.cli.arguments import (
    EXIT_STATUS,
    FAILED,
    INTERRUPTED,
    WRONG_INPUT,
    CommandParser,
)
from fastnn.cli.output import complain


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
    parser = command_parser()
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
        return complain(args, "interrupted; nothing was saved", INTERRUPTED)
    except fnn.NonFiniteLossError as error:
        return complain(args, f"error: {error} (nothing was saved)", FAILED)
    except MemoryError as error:
        return complain(args, f"error: not enough memory: {error}", WRONG_INPUT)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
        return complain(args, f"error: {text}", WRONG_INPUT)
    except (ValueError, ImportError) as error:
        return complain(args, f"error: {error}", WRONG_INPUT)


def command_parser() -> CommandParser:
    """Return the parser of all commands; each adds its own arguments."""
    parser = CommandParser(
        prog="fastnn",
        description="Train and run neural networks on CPUs.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastnn {fnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)
    for command in (train, predict, info, bench):
        command.add_arguments(commands)
    return parser
