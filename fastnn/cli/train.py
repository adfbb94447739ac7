"""`fastnn train`: train a network on a table, test it on rows held out, save it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastnn import activations, optimizers
from fastnn.cli import train_report
from fastnn.cli.arguments import (
    EXIT_STATUS,
    INTERRUPTED,
    add_reading,
    count,
    rate,
    seed,
    share,
)
from fastnn.cli.output import complain
from fastnn.cli.train_report import MODEL_NAME, PICTURE_NAME
from fastnn.cli.training import Training, prepare, writable_folder
from fastnn.tabular import TabularModel
from fastnn.tabular.target import TASKS

AddArgument = Callable[..., argparse.Action]


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="train a network on a table",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Train a network on a table, test it on rows held out, and save it.",
        epilog="examples:\n  fastnn train\n  fastnn train iris.csv --target species\n"
        "  fastnn train houses.csv --target price --drop address --hidden 64 64\n\n" + EXIT_STATUS,
    )
    for add_group in (_add_data, _add_network, _add_method, _add_conditions):
        add_group(train.add_argument)
    train.set_defaults(run=run, parser=train)


def _add_data(add: AddArgument) -> None:
    """Add the arguments that choose the data."""
    add(
        "data",
        metavar="DATA",
        nargs="?",
        default="digits",
        help="a .csv, .tsv, .txt (also .gz), .parquet, .feather or .npz file, or - for the "
        "standard input (default: the digits that come with fastnn)",
    )
    add("--target", metavar="NAME", help="the column to predict (.npz: the array; default y)")
    add(
        "--drop",
        metavar="NAME",
        action="append",
        default=[],
        help="a column that is not an input; may be repeated",
    )
    add(
        "--task",
        choices=("auto", *TASKS),
        default="auto",
        help="auto: text, booleans and few different whole numbers are classes",
    )
    add_reading(add)


def _add_network(add: AddArgument) -> None:
    """Add the arguments that choose the layers."""
    add(
        "--hidden",
        metavar="UNITS",
        nargs="*",
        type=count,
        default=[128],
        help="units of each hidden layer (default 128; nothing: a linear model)",
    )
    add(
        "--activation",
        metavar="NAME",
        choices=activations.NAMES,
        default="relu",
        help=f"of the hidden layers (default relu): {', '.join(activations.NAMES)}",
    )
    add(
        "--dropout",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="dropped after each hidden layer (default 0)",
    )


def _add_method(add: AddArgument) -> None:
    """Add the arguments that choose how the network is trained."""
    add(
        "--optimizer",
        metavar="NAME",
        choices=tuple(optimizers.registry),
        default="adam",
        help=f"default adam: {', '.join(optimizers.registry)}",
    )
    add(
        "--learning-rate",
        metavar="RATE",
        type=rate,
        help="default: the optimizer's own, 0.001 for adam",
    )
    add("--epochs", metavar="N", type=count, default=50, help="default 50")
    add(
        "--batch-size",
        metavar="ROWS",
        type=count,
        help="default 64; all rows for gradient_descent and lbfgs",
    )


def _add_conditions(add: AddArgument) -> None:
    """Add the arguments for testing, repeating and saving a training."""
    add(
        "--held-out",
        "--validation",
        metavar="SHARE",
        type=share,
        default=0.2,
        help="share of the rows to test with instead of training (default 0.2)",
    )
    add(
        "--seed",
        metavar="N",
        type=seed,
        default=0,
        help="gives weights, order and the rows held out (default 0)",
    )
    add("--threads", metavar="N", type=count, help="at most (default: all processors)")
    add(
        "--output",
        metavar="FOLDER",
        default="fastnn-output",
        help=f"gets {MODEL_NAME} and {PICTURE_NAME} (default fastnn-output)",
    )
    add("-q", "--quiet", action="store_true", help="print the results only")


def run(args: argparse.Namespace) -> int:
    """Train, test, save, report; return the exit status."""
    training = prepare(args)
    folder = writable_folder(args.output)
    if not args.quiet:
        train_report.announce(training)
    is_interrupted = _fit(training)
    results = _test(training) if len(training.held_out) else {}
    _save(training, folder / MODEL_NAME, results)
    train_report.report(training, folder, results)
    return INTERRUPTED if is_interrupted else 0


def _fit(training: Training) -> bool:
    """Train, and return whether Ctrl-C has ended it."""
    x, y, train, held_out = training.x, training.y, training.train, training.held_out
    try:
        training.model.fit(
            x[train],
            y[train],
            batch_size=training.batch_size,
            epochs=training.args.epochs,
            verbose=0 if training.args.quiet else 1,
            validation_data=(x[held_out], y[held_out]) if len(held_out) else None,
        )
    except KeyboardInterrupt:
        complain(training.args, "interrupted; saving what was reached", INTERRUPTED)
        return True
    return False


def _test(training: Training) -> dict[str, float]:
    """Return the results on the rows held out, in the target's unit."""
    model, target, held_out = training.model, training.target, training.held_out
    x, y = training.x[held_out], training.y[held_out]
    if target.task == "classification":
        results = model.evaluate(x, y)
        return {"accuracy": results["accuracy"], "loss": results["loss"]}
    truth = target.numbers(training.values)[held_out]
    error = target.decode(np.asarray(model.predict(x))) - truth
    mse = float(np.mean(error**2))
    variance = float(truth.var())
    r2 = {"R²": 1 - mse / variance} if variance else {}  # not defined for one value
    return {"mse": mse, "mae": float(np.mean(np.abs(error))), **r2}


def _save(training: Training, path: Path, results: dict[str, float]) -> None:
    args, history = training.args, training.history
    facts = {
        "data": "digits" if args.data == "digits" else Path(args.data).name,
        "rows": len(training.train),
        "held_out": len(training.held_out),
        "results": results,
        "optimizer": args.optimizer,
        "learning_rate": training.learning_rate,
        "batch_size": training.batch_size,
        "epochs": len(history.epoch),
        "seed": args.seed,
        "stop_reason": history.stop_reason,
    }
    attachments = {"training": facts}
    TabularModel(training.model, training.encoding, training.target, attachments).save(path)
