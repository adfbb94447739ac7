"""`fastnn compare`: fastnn's recipes beside scikit-learn's models, cross-validated."""

from __future__ import annotations

import argparse
import sys

import fastnn as fnn
from fastnn.cli.arguments import (
    EXIT_STATUS,
    add_columns,
    add_data,
    add_method,
    add_reading,
    class_weights_of,
    folds,
    kinds_of,
)
from fastnn.cli.output import amount, complain, say, short, show
from fastnn.cli.tables import described, training_table
from fastnn.tabular import scores
from fastnn.tabular.comparison import Row, compare, sides_of
from fastnn.tabular.study import Study


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "compare",
        help="compare kinds of models on a table",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Cross-validate fastnn's recipes, gradient boosting, and a linear model of\n"
        "scikit-learn on the same folds of a table. TabM is tried with one network of 32 members.\n"
        "Ctrl-C ends it with the scores of the folds that are done.",
        epilog="example:\n  fastnn compare houses.csv --target price\n\n" + EXIT_STATUS,
    )
    add_data(command.add_argument)
    add_columns(command.add_argument)
    add_reading(command.add_argument)
    command.add_argument("--folds", metavar="N", type=folds, default=5, help="default 5")
    add_method(command.add_argument)
    command.add_argument("-q", "--quiet", action="store_true", help="print the results only")
    command.set_defaults(run=run, parser=command)


def run(args: argparse.Namespace) -> int:
    """Print a table of scores; return the exit status."""
    table, name = training_table(args)
    study = Study.of_table(
        table, name, task=args.task, held_out=0, group=args.group, seed=args.seed
    )
    target = study.target
    classes = 0 if target.classes is None else len(target.classes)
    score = scores.get(args.metric, target.task, classes)
    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    sides = sides_of(target)
    rows = amount(table.rows - target.missing, "row")
    say("data", f"{table.source}: {rows}, {args.folds} folds")
    say("target", described(target, args.task == "auto" and target.is_guess and table.has_names))
    options = {
        "members": args.members,
        "metric": args.metric,
        "class_weight": class_weights_of(args),
        "drop": args.drop,
        "kinds": kinds_of(args),
        "time_budget": args.time_budget,
    }
    made: dict[str, Row] = {}
    try:
        for row, number in compare(study, folds=args.folds, seed=args.seed, options=options):
            made[row.name] = row
            if not args.quiet and sys.stderr is not None:
                done = f"fold {number} of {args.folds}: {row.name}, {row.seconds[-1]:.1f} s"
                complain(args, done, 0)
    except KeyboardInterrupt:
        if made:  # some have one fold more than others
            _show(list(made.values()), score)
        raise
    _show([made[side] for side in sides], score)
    return 0


def _mean(row: Row, score: str) -> str:
    if not row.scores.get(score):  # defined on no fold
        return "-"
    return f"{short(row.mean(score))} ± {short(row.deviation(score), 2)}"


def _show(rows: list[Row], score: scores.Score) -> None:
    """Show the table, the best model by the score first."""
    sign = -1 if score.is_better_high else 1
    rows = sorted(rows, key=lambda row: sign * row.mean(score.name))
    names = [score.name, *(name for name in rows[0].scores if name != score.name)]
    cells = [
        [
            row.name,
            *(_mean(row, n) for n in names),
            f"{sum(row.seconds):.1f}",
        ]
        for row in rows
    ]
    show(["model", *names, "seconds"], cells, range(1, len(names) + 2))
