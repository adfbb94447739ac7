"""`fastnn predict`: the predictions for the rows of a file, as CSV."""

from __future__ import annotations

import argparse
import csv
import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from fastnn.cli.arguments import EXIT_STATUS, add_data, add_reading, between, path_name
from fastnn.cli.output import amount, complain, write_data
from fastnn.cli.tables import table_of, tabular_model
from fastnn.core.files import write_atomically
from fastnn.tabular.answers import answers, names_of, renamed


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    predict = commands.add_parser(
        "predict",
        help="predict from a file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Predict each row of DATA and write the predictions as CSV in UTF-8.",
        epilog="examples:\n  fastnn predict fastnn-output/model.safetensors new.csv\n"
        "  zcat new.csv.gz | fastnn predict fastnn-output/model.safetensors - > predicted.csv\n\n"
        + EXIT_STATUS,
    )
    predict.add_argument(
        "model", metavar="MODEL", type=path_name, help="a file that `fastnn train` saved"
    )
    add_data(
        predict.add_argument,
        more="; with the columns of the training, in any order; more columns are ignored",
    )
    predict.add_argument(
        "--output",
        metavar="FILE.csv",
        type=path_name,
        default="-",
        help="default: -, the standard output",
    )
    predict.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class"
    )
    predict.add_argument(
        "--interval",
        metavar="SHARE",
        type=between,
        help="also write an interval that holds that share of the numbers, such as 0.9",
    )
    add_reading(predict.add_argument)
    predict.set_defaults(run=run, parser=predict)


def run(args: argparse.Namespace) -> int:
    """Write predictions as CSV; return the exit status."""
    model = tabular_model(args.model)
    if args.probabilities and model.target.classes is None:
        raise ValueError("--probabilities: the model predicts numbers, it has no classes")
    if args.interval is not None and model.target.classes is not None:
        raise ValueError("--interval: the model predicts classes, and an interval is of numbers")
    if args.output != "-":
        _check_output(Path(args.output), (args.model, args.data))
    name = model.target.name
    table = table_of(args, name).without(name)
    outputs = model.outputs(table)
    for column, (count, first) in model.encoding.unknown_categories(table).items():
        what = f"{amount(count, 'cell')} of no category known from the training, such as {first!r}"
        complain(args, f"column {column!r}: {what}", 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        columns = answers(model, outputs, probabilities=args.probabilities, coverage=args.interval)
    for one in caught:
        complain(args, f"warning: {one.message}", 0)
    pairs = names_of(model, probabilities=args.probabilities, interval=args.interval is not None)
    for wanted, made in pairs:
        if wanted != made:
            complain(args, renamed(wanted, made), 0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    if args.output == "-":
        write_data(text.getvalue())
    else:
        path = Path(args.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.getvalue().encode()
        try:
            write_atomically(path, content)
        except KeyboardInterrupt:
            args.is_saved = path.is_file() and path.read_bytes() == content
            raise
    return 0


def _check_output(path: Path, sources: Iterable[str]) -> None:
    """Raise ValueError if the output is not a file, or one of the files that are read."""
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"--output {path}: is not a file")
    for source in sources:
        if os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"--output {path}: would overwrite what is read")
