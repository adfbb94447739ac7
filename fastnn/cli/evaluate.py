"""`fastnn evaluate`: how good the predictions for a file are, of all rows and of groups."""

from __future__ import annotations

import argparse

from fastnn.cli.arguments import EXIT_STATUS, add_data, add_reading, path_name
from fastnn.cli.output import amount, write
from fastnn.cli.tables import show_groups, show_scores, table_of, tabular_model
from fastnn.tabular.evaluation import by_group, evaluate


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "evaluate",
        help="score a model on a file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Predict each row of DATA, and compare with the target that it holds.",
        epilog="example:\n"
        "  fastnn evaluate fastnn-output/model.safetensors new.csv --group town\n\n" + EXIT_STATUS,
    )
    command.add_argument(
        "model", metavar="MODEL", type=path_name, help="a file that `fastnn train` saved"
    )
    add_data(command.add_argument, more="; with the columns of the training and its target")
    command.add_argument(
        "--group",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="columns; each of their categories, or quarter of their numbers, is scored by itself",
    )
    add_reading(command.add_argument)
    command.set_defaults(run=run, parser=command)


def run(args: argparse.Namespace) -> int:
    """Print scores; return the exit status."""
    model = tabular_model(args.model)
    name = model.target.name
    table = table_of(args, name)
    values = table.cells(name)
    groups = {one: table.cells(one) for one in args.group}
    found = evaluate(model, table.without(name), values)
    show_scores(found.scores, len(found.rows))
    left_out = table.rows - len(found.rows)
    if left_out:
        write(f"{amount(left_out, 'row')} without a target left out\n")
    for one, cells in groups.items():
        show_groups(one, by_group(found, cells, model.target.task))
    return 0
