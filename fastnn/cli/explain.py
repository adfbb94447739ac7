"""`fastnn explain`: what a model takes each column for, and how much it needs it."""

from __future__ import annotations

import argparse

from fastnn.cli.arguments import EXIT_STATUS, add_data, add_reading, count, path_name, seed
from fastnn.cli.output import say, short, show
from fastnn.cli.tables import described, show_columns, table_of, tabular_model
from fastnn.tabular import TabularModel, scores
from fastnn.tabular.importance import Importance, permutation


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "explain",
        help="show what a model needs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Show what a model takes each column for; with DATA, also by how much its "
        "score\ngets worse when the cells of a column are mixed.",
        epilog="example:\n  fastnn explain fastnn-output/model.safetensors new.csv\n\n"
        + EXIT_STATUS,
    )
    command.add_argument(
        "model", metavar="MODEL", type=path_name, help="a file that `fastnn train` saved"
    )
    add_data(command.add_argument, nargs="?", more="; best rows that were not learned")
    command.add_argument(
        "--metric", metavar="NAME", choices=("auto", *scores.SCORES), default="auto",
        help=f"the score: {', '.join(scores.SCORES)}",
    )  # fmt: skip
    command.add_argument(
        "--repeats", metavar="N", type=count, default=5, help="of each column (default 5)"
    )
    command.add_argument("--seed", metavar="N", type=seed, default=0, help="default 0")
    add_reading(command.add_argument)
    command.set_defaults(run=run, parser=command)


def run(args: argparse.Namespace) -> int:
    """Print columns and their importance; return the exit status."""
    model = tabular_model(args.model)
    found = None if args.data is None else _importance(model, args)
    say("target", described(model.target, False))
    show_columns(model.encoding)
    if found is None:
        return 0
    say(found.metric, short(found.score))
    rows = [
        [column, f"{mean:.4f}", f"{std:.4f}"]
        for column, mean, std in zip(
            found.columns, found.mean.tolist(), found.std.tolist(), strict=True
        )
    ]
    show(["column", "gets worse by", "deviation"], rows, (1, 2))
    return 0


def _importance(model: TabularModel, args: argparse.Namespace) -> Importance:
    name = model.target.name
    table = table_of(args, name)
    return permutation(
        model, table.without(name), table.cells(name), metric=args.metric, repeats=args.repeats,
        seed=args.seed,
    )  # fmt: skip
