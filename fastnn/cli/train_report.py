"""The lines that `fastnn train` prints, and its picture."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import fastnn as fnn
from fastnn.cli.output import amount, method, results_as_text, say, short
from fastnn.cli.training import Training
from fastnn.core import extras
from fastnn.core.files import write_atomically
from fastnn.tabular.columns import listed
from fastnn.tabular.target import TASKS

MODEL_NAME, PICTURE_NAME = "model.safetensors", "learning_curve.png"


def announce(training: Training) -> None:
    """Print which network will be trained on which data."""
    args, cells, encoding = training.args, training.cells, training.encoding
    unused = [*args.drop, *cells.left_out]
    left_out = f"; left out: {listed(unused)}" if unused else ""
    missing = training.target.missing
    without = f", {amount(missing, 'row')} without a target left out" if missing else ""
    rows = f"{len(training.train):,} rows to train on, {len(training.held_out):,} held out"
    say("data", f"{cells.source}: {rows}{without}")
    for note in cells.notes:
        say("", note)
    say("inputs", f"{amount(len(encoding.groups), 'column')}{left_out}")
    if cells.has_names:
        for line in encoding.describe().splitlines():
            say("", line)
    say("target", _described_target(training))
    units = [encoding.inputs, *args.hidden, *training.model.output_shape]
    dropout = f", dropout {args.dropout:g}" if args.dropout else ""
    shape = f"{'-'.join(map(str, units))} {args.activation if args.hidden else 'linear'}"
    say("network", f"{shape}{dropout}, {amount(training.model.count_parameters(), 'parameter')}")
    how = method(args.optimizer, training.learning_rate, training.batch_size)
    say("training", f"{how}, {amount(args.epochs, 'epoch')}, seed {args.seed}")
    sys.stdout.flush()


def _described_target(training: Training) -> str:
    """Describe the target, with the option for the other task where the task had to be guessed."""
    cells, target = training.cells, training.target
    is_guess = training.args.task == "auto" and target.is_guess and cells.has_names
    other = TASKS[1 - TASKS.index(target.task)]
    hint = f" (for {other}: --task {other})" if is_guess else ""
    if target.classes is not None:
        return f"{target.name}, {len(target.classes)} classes{hint}"
    low, high = short(target.low), short(target.high)
    return f"{target.name}, numbers from {low} to {high}{hint}; loss 1 = predicting the mean"


def report(training: Training, folder: Path, results: dict[str, float]) -> None:
    """Print how well the model does, how fast it was trained, and where it is; draw the curve."""
    held_out = len(training.held_out)
    if "accuracy" in results:
        right = round(results["accuracy"] * held_out)
        say(
            "held out",
            f"accuracy {results['accuracy']:.2%} ({right:,} of {held_out:,} rows), "
            f"loss {results['loss']:.4f}",
        )
    elif results:
        say("held out", results_as_text(results))
    else:
        say("held out", "no rows, so nothing is known about new data")
    config = fnn.show_config("dict")
    assert config is not None
    say(
        "speed",
        f"{training.history.samples_per_second:,.0f} samples a second, "
        f"up to {amount(fnn.get_num_threads(), 'thread')}, ISA {config['isa']}",
    )
    say("saved", str(folder / MODEL_NAME))
    say("", _draw(folder, training.history, training.target.task))


def _draw(folder: Path, history: fnn.History, task: str) -> str:
    """Draw the learning curve; return its path, or the reason why there is none."""
    from fastnn import plots

    if not history.epoch:
        return "no learning curve: no epoch was finished"
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return f"no learning curve: {extras.install('plot')} to get one"
    # A Figure of its own, not pyplot's: no window, whatever backend the user has set.
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    ax = plots.learning_curve(history, ax=figure.subplots())
    if task == "regression":
        ax.set_ylabel(f"{ax.get_ylabel()}; 1 = predicting the mean")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_atomically(folder / PICTURE_NAME, png.getvalue())
    return str(folder / PICTURE_NAME)
