"""`fastnn predict`: the predictions for the rows of a file, as CSV."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn.cli.arguments import EXIT_STATUS, add_reading
from fastnn.core.files import write_atomically
from fastnn.tabular import TabularModel, read
from fastnn.tabular.reading import digits
from fastnn.tabular.target import Target


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    predict = commands.add_parser(
        "predict",
        help="predict from a file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Predict each row of DATA and write the predictions as CSV.",
        epilog="example:\n  fastnn predict fastnn-output/model.safetensors new.csv\n\n"
        + EXIT_STATUS,
    )
    predict.add_argument("model", metavar="MODEL", help="a file that `fastnn train` saved")
    predict.add_argument(
        "data",
        metavar="DATA",
        help="a file with the columns of the training (see `fastnn train`), - for the standard "
        "input, or `digits`; more columns are ignored",
    )
    predict.add_argument("--output", metavar="FILE.csv", help="default: the standard output")
    predict.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class"
    )
    add_reading(predict.add_argument)
    predict.set_defaults(run=run, parser=predict)


def run(args: argparse.Namespace) -> int:
    """Write predictions as CSV; return the exit status."""
    model = fnn.load(args.model)
    if not isinstance(model, TabularModel):
        raise ValueError(
            f"{args.model}: was not saved by `fastnn train`, so what its inputs are is not "
            "known; use fastnn.load in Python"
        )
    if args.probabilities and model.target.task != "classification":
        raise ValueError("--probabilities: the model predicts numbers, it has no classes")
    if args.output is not None:
        _check_output(Path(args.output), (args.model, args.data))
    name = model.target.name
    how = {"sep": args.sep, "decimal": args.decimal, "encoding": args.encoding}
    cells = digits() if args.data == "digits" else read(args.data, target=name, **how)
    text = _as_csv(model.target, model.outputs(cells.without(name)), args.probabilities)
    if args.output is None:
        sys.stdout.write(text)
    else:
        path = Path(args.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
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


def _as_csv(target: Target, outputs: np.ndarray, has_probabilities: bool) -> str:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [] if target.classes is None or not has_probabilities else target.classes.tolist()
    writer.writerow([target.name, *(f"probability_{name}" for name in names)])
    # As Python objects: repr of a float has all its digits.
    for prediction, output in zip(target.decode(outputs).tolist(), outputs, strict=True):
        writer.writerow([prediction, *(f"{p:.6g}" for p in output[: len(names)])])
    return text.getvalue()
