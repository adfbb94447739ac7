"""`fastnn predict`: the predictions for the rows of a file, as CSV."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fastnn.cli.arguments import EXIT_STATUS
from fastnn.core.files import write_atomically
from fastnn.tabular import files, table
from fastnn.tabular.encoding import Encoding


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
        help="a .csv, .parquet or .npz file with the columns of the training, or `digits`; "
        "more columns are ignored",
    )
    predict.add_argument("--output", metavar="FILE.csv", help="default: the standard output")
    predict.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class"
    )
    predict.set_defaults(run=run, parser=predict)


def run(args: argparse.Namespace) -> int:
    """Write predictions as CSV; return the exit status."""
    model, encoding, _ = files.load(args.model)
    if encoding is None:
        raise ValueError(
            f"{args.model}: was not saved by `fastnn train`, so what its inputs are is not "
            "known; use fastnn.load in Python"
        )
    if args.probabilities and encoding.task != "classification":
        raise ValueError("--probabilities: the model predicts numbers, it has no classes")
    if args.output is not None:
        _check_output(Path(args.output), (args.model, args.data))
    is_digits = args.data == "digits"
    cells = (
        table.digits() if is_digits else table.read(args.data, encoding.target, encoding.categories)
    )
    outputs = np.asarray(model.predict(encoding.encode(cells)))
    if not np.isfinite(outputs).all():
        row = int(np.argmin(np.isfinite(outputs).all(axis=1))) + 1
        raise ValueError(f"{cells.source}: row {row} is too far from the training data to predict")
    text = _as_csv(encoding, outputs, args.probabilities)
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


def _as_csv(encoding: Encoding, outputs: np.ndarray, has_probabilities: bool) -> str:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = encoding.classes if has_probabilities else []
    writer.writerow([encoding.target, *(f"probability_{name}" for name in names)])
    for prediction, output in zip(encoding.decode(outputs), outputs, strict=True):
        cell = prediction if isinstance(prediction, str) else f"{prediction:.9g}"
        writer.writerow([cell, *(f"{p:.6g}" for p in output[: len(names)])])
    return text.getvalue()
