"""`fastnn info`: what this build runs on, or what is in a model file."""

from __future__ import annotations

import argparse
from typing import Any

import fastnn as fnn
from fastnn.cli.arguments import path_name
from fastnn.cli.output import amount, results_as_text, say, write
from fastnn.core.printing import printable
from fastnn.tabular import TabularModel
from fastnn.tabular.columns import listed


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    info = commands.add_parser(
        "info",
        help="show what this build runs on, or what is in a model",
        allow_abbrev=False,
        description="Show what this build of fastnn runs on; with MODEL, what is in it.",
    )
    info.add_argument(
        "model", metavar="MODEL", nargs="?", type=path_name, help="a file that fastnn saved"
    )
    info.set_defaults(run=run, parser=info)


def run(args: argparse.Namespace) -> int:
    """Show the build or a model; return the exit status."""
    if args.model is None:
        fnn.show_config()
        return 0
    loaded = fnn.load(args.model)
    model = loaded.model if isinstance(loaded, TabularModel) else loaded
    model.summary(print_fn=_write_lines)
    write("\n")
    if not isinstance(loaded, TabularModel):
        say("columns", "not known: saved by Model.save, not by `fastnn train`")
        return 0
    _say_columns(loaded)
    _say_training(loaded.attachments.get("training") or {})
    return 0


def _write_lines(text: str) -> None:
    write("\n".join(map(printable, text.split("\n"))) + "\n")


def _say_columns(model: TabularModel) -> None:
    target = model.target
    say("task", f"{target.task} of {target.name}")
    if target.classes is not None:
        say("classes", listed(target.classes, 12))
    say("columns", listed(model.encoding.groups))
    for line in model.encoding.describe().splitlines():
        say("", line)


def _say_training(facts: dict[str, Any]) -> None:
    """Say how the model was trained, if the file describes it as `fastnn train` does."""
    try:
        how = amount(facts["members"], "network")
        say(
            "training",
            "{data}, {rows:,} rows, {held_out:,} held out; {how}, best epochs {best}, seed {seed}; "
            "{stop_reason}".format(
                **facts, how=how, best=", ".join(map(str, facts["best_epochs"]))
            ),
        )
        say("held out", results_as_text(facts["results"]) or "no rows")
        say("out of fold", results_as_text(facts["out_of_fold"]))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        say("training", "not known")
