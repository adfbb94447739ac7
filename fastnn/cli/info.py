"""`fastnn info`: what this build runs on, or what is in a model file."""

from __future__ import annotations

import argparse
from typing import Any

import fastnn as fnn
from fastnn.cli.output import method, results_as_text, say
from fastnn.tabular import files
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.table import listed


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    info = commands.add_parser(
        "info",
        help="show what this build runs on, or what is in a model",
        allow_abbrev=False,
        description="Show what this build of fastnn runs on; with MODEL, what is in it.",
    )
    info.add_argument("model", metavar="MODEL", nargs="?", help="a file that fastnn saved")
    info.set_defaults(run=run, parser=info)


def run(args: argparse.Namespace) -> int:
    """Show the build or a model; return the exit status."""
    if args.model is None:
        fnn.show_config()
        return 0
    model, encoding, attachments = files.load(args.model)
    model.summary()
    print()
    if encoding is None:
        say("columns", "not known: saved by Model.save, not by `fastnn train`")
        return 0
    _say_columns(encoding)
    _say_training(attachments.get("training") or {})
    return 0


def _say_columns(encoding: Encoding) -> None:
    say("task", f"{encoding.task} of {encoding.target}")
    if encoding.classes:
        say("classes", listed(encoding.classes, 12))
    say("columns", listed(encoding.columns))
    for name, known in encoding.categories.items():
        say("", f"{name}: text, {listed(known)}")


def _say_training(facts: dict[str, Any]) -> None:
    """Say how the model was trained, if the file describes it as `fastnn train` does."""
    try:
        how = method(facts["optimizer"], facts["learning_rate"], facts["batch_size"])
        say(
            "training",
            "{data}, {rows:,} rows, {held_out:,} held out; {how}, seed {seed}; "
            "{stop_reason}".format(**facts, how=how),
        )
        say("held out", results_as_text(facts["results"]) or "no rows")
    except (KeyError, TypeError, ValueError, AttributeError):
        say("training", "not known")
