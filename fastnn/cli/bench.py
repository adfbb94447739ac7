"""`fastnn bench`: what this machine can do at most."""

from __future__ import annotations

import argparse

import fastnn as fnn
from fastnn.cli.arguments import count


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    bench = commands.add_parser(
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
    bench.add_argument("--threads", metavar="N", type=count, help="default: all processors")
    bench.set_defaults(run=run, parser=bench)


def run(args: argparse.Namespace) -> int:
    """Measure the limits of this machine, print and keep them; return the exit status."""
    from fastnn.analysis import machine_limits

    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    limits = machine_limits.measure()
    print(limits)
    try:
        kept = f"in {machine_limits.save(limits)}"
    except OSError as error:
        kept = f"not: {error.strerror or error}"
    print(f"\nkept       {kept}")
    return 0
