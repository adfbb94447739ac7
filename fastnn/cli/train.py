"""`fastnn train`: learn a table, test the model on rows held out, save it, write a report."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import fastnn as fnn
from fastnn import activations
from fastnn.cli import train_output
from fastnn.cli.arguments import (
    EXIT_STATUS,
    TERMINATED,
    WRONG_INPUT,
    AddArgument,
    add_columns,
    add_data,
    add_method,
    add_reading,
    between,
    class_weights_of,
    count,
    kinds_of,
    path_name,
    rate,
    share,
)
from fastnn.cli.interrupts import Interrupts, status_of
from fastnn.cli.output import amount, complain, reason, say
from fastnn.cli.tables import training_table
from fastnn.cli.train_output import MODEL_NAME, PREDICTIONS_NAME, REPORT_NAME
from fastnn.tabular import recipes
from fastnn.tabular.evaluation import Evaluation
from fastnn.tabular.recipes import Recipe
from fastnn.tabular.study import Result, Study

FEW_HELD_OUT = 10  # rows; below, one of them is worth more than a tenth of the accuracy
FIELDS = ("hidden", "activation", "dropout", "learning_rate", "epochs", "batch_size")


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="learn a table",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Learn a table, test the model on rows held out, save it, and write a report.\n"
        "The model that is saved has learned the other rows only.",
        epilog="examples:\n  fastnn train houses.csv --target price\n"
        "  fastnn train iris.csv --target species --drop id notes --output iris\n"
        "  fastnn train                     the digits that come with fastnn\n\n" + EXIT_STATUS,
    )
    data = train.add_argument_group("data")
    add_data(data.add_argument, nargs="?", default="digits", more=" (the default)")
    add_columns(data.add_argument)
    add_reading(data.add_argument)
    method = train.add_argument_group("method")
    _add_method(method.add_argument)
    add_method(method.add_argument)
    _add_network(train.add_argument_group("network, instead of what the recipe says").add_argument)
    _add_results(train.add_argument_group("results").add_argument)
    train.set_defaults(run=run, parser=train)


def _add_method(add: AddArgument) -> None:
    names = ("auto", *recipes.registry)
    add("--recipe", choices=names, default="auto", help="of network and training (default auto)")
    add(
        "--quantiles",
        metavar="Q",
        nargs="+",
        type=between,
        default=[],
        help="of numbers, to be predicted instead of their mean: 0.1 0.5 0.9",
    )
    add(
        "--held-out",
        "--validation",
        metavar="SHARE",
        type=share,
        default=0.2,
        help="of the rows, to test with instead of learning (default 0.2); 0: all rows are "
        "learned, and scores are those of out-of-fold predictions",
    )


def _add_network(add: AddArgument) -> None:
    add("--hidden", metavar="UNITS", nargs="+", type=count, help="units of each hidden layer")
    add(
        "--activation",
        metavar="NAME",
        choices=activations.NAMES,
        help=f"of the hidden layers: {', '.join(activations.NAMES)}",
    )
    add("--dropout", metavar="SHARE", type=share, help="dropped after each hidden layer")
    add("--learning-rate", metavar="RATE", type=rate, help="the largest of the schedule")
    add("--epochs", metavar="N", type=count, help="of each network")
    add("--batch-size", metavar="ROWS", type=count, help="of a step")


def _add_results(add: AddArgument) -> None:
    add(
        "--output",
        metavar="FOLDER",
        type=path_name,
        default="fastnn-output",
        help=f"gets {MODEL_NAME}, {PREDICTIONS_NAME} and {REPORT_NAME} (default fastnn-output)",
    )
    add("-q", "--quiet", action="store_true", help="print the results only")


def run(args: argparse.Namespace) -> int:
    """Learn, save, test, report; return the exit status."""
    began = time.perf_counter()
    recipe = recipe_of(args)
    weights = class_weights_of(args)
    folder = writable_folder(args.output)
    table, name = training_table(args)
    study = Study.of_table(
        table, name, task=args.task, held_out=args.held_out, group=args.group, seed=args.seed
    )
    _warn_of_few(args, len(study.held_out))
    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    path = folder / MODEL_NAME
    with Interrupts(args) as interrupts:
        result = study.fit(
            progress=train_output.Announced(args, study, interrupts),
            stop=interrupts.stop,
            recipe=recipe,
            members=args.members,
            metric=args.metric,
            class_weight=weights,
            quantiles=args.quantiles,
            drop=args.drop,
            kinds=kinds_of(args),
            time_budget=args.time_budget,
            seed=args.seed,
        )
        interrupts.save()
        _save(args, result, path)
    seconds = time.perf_counter() - began
    try:
        _tell(args, result, folder, seconds)
    except KeyboardInterrupt as error:
        status = status_of(error)
        text = "ended" if status == TERMINATED else "interrupted"
        return complain(args, f"{text}; the model is saved in {path}, the report is not", status)
    except OSError as error:
        text = f"error: the model is saved in {path}, but: {reason(error)}"
        return complain(args, text, WRONG_INPUT)
    return interrupts.status


def recipe_of(args: argparse.Namespace) -> Recipe | str:
    """Return the recipe with what the options say of its network."""
    told = {field: getattr(args, field) for field in FIELDS if getattr(args, field) is not None}
    if not told:
        return args.recipe
    name = recipes.AUTO if args.recipe == "auto" else args.recipe
    known = recipes.registry[name].fields()
    for field in told:
        if field not in known:
            option = field.replace("_", "-")
            raise ValueError(f"--{option}: the recipe {name} has no {field.replace('_', ' ')}")
    return recipes.get({"name": name, **told})


def _warn_of_few(args: argparse.Namespace, held_out: int) -> None:
    if 0 < held_out < FEW_HELD_OUT:
        rows = f"only {amount(held_out, 'row')} {'is' if held_out == 1 else 'are'}"
        text = f"warning: {rows} held out, too few to tell how well the model does on new data"
        complain(args, f"{text}; see --held-out", 0)


def _save(
    args: argparse.Namespace, result: Result, path: Path, tested: Evaluation | None = None
) -> None:
    """Save the model, with what is to be known of its training."""
    learned, study = result.fitted.learned, result.study
    result.fitted.model.attachments["training"] = {
        "data": "digits" if args.data == "digits" else Path(args.data).name,
        "rows": len(study.train),
        "held_out": len(study.held_out),
        "results": {} if tested is None else tested.scores,
        "out_of_fold": learned.scores,
        "members": len(learned.members),
        "epochs": [len(member.curve) for member in learned.members],
        "best_epochs": [member.best_epoch + 1 for member in learned.members],
        "metric": learned.score.name,
        "seed": args.seed,
        "command": args.line,
        "stop_reason": learned.stop_reason,
    }
    result.fitted.model.save(path)


def _tell(args: argparse.Namespace, result: Result, folder: Path, seconds: float) -> None:
    """Test the model, and write what there is to be known of it."""
    found = result.evaluation
    if result.has_held_out:
        _save(args, result, folder / MODEL_NAME, found)
    train_output.say_results(result, seconds)
    say("saved", str(folder / MODEL_NAME))
    notes = train_output.write_predictions(result, folder / PREDICTIONS_NAME)
    say("", str(folder / PREDICTIONS_NAME))
    for note in notes:
        say("", note)
    say("", train_output.write_report(args, result, folder / REPORT_NAME, seconds))


def writable_folder(name: str) -> Path:
    """Make the folder and try to write in it: better now than after an hour of training."""
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output {name}: is a file; expected a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"--output {name}: cannot write there ({error.strerror})") from None
    return folder
