"""What `fastnn train` prints and writes: columns, plan, scores, predictions, the report."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from fastnn.cli.interrupts import Interrupts
from fastnn.cli.output import amount, say, show, write
from fastnn.cli.tables import described, score_as_text, show_columns
from fastnn.core.files import write_atomically
from fastnn.report import Conditions, page
from fastnn.tabular import Encoding, Target
from fastnn.tabular.answers import answers, free_name, names_of, renamed
from fastnn.tabular.plan import Plan
from fastnn.tabular.progress import Bar, duration
from fastnn.tabular.study import Result, Study

MODEL_NAME, PREDICTIONS_NAME = "model.safetensors", "predictions.csv"
REPORT_NAME = "report.html"


class Announced(Bar):
    """Says what is learned from which columns, and shows the bar, unless it is to be quiet."""

    def __init__(self, args: argparse.Namespace, study: Study, interrupts: Interrupts) -> None:
        super().__init__()
        self._args, self._study, self._interrupts = args, study, interrupts

    def encoded(self, encoding: Encoding, target: Target) -> None:
        """Print the columns."""
        args, study = self._args, self._study
        if args.quiet:
            return
        table = study.table
        missing = study.target.missing
        without = f", {amount(missing, 'row')} without a target left out" if missing else ""
        rows = f"{len(study.train):,} rows to train on, {len(study.held_out):,} held out"
        say("data", f"{table.source}: {rows}{without}")
        for note in table.notes:
            say("", note)
        if table.left_out:
            say("", f"left out: {', '.join(table.left_out)}")
        is_guess = args.task == "auto" and study.target.is_guess and table.has_names
        say("target", described(study.target, is_guess))
        if table.has_names:
            show_columns(encoding)

    def begin(self, steps: int, seconds: float, plan: Plan) -> None:
        """Show the bar."""
        self._interrupts.begin()
        if not self._args.quiet:
            super().begin(steps, seconds, plan)


def say_results(result: Result, seconds: float) -> None:
    """Print the scores, and the time that the model took."""
    learned = result.fitted.learned
    held = result.evaluation.scores if result.has_held_out else {}
    known = int((~np.isnan(learned.out_of_fold[:, 0])).sum())
    heads = ["score", "out of fold"]
    rows = [[name, score_as_text(name, value)] for name, value in learned.scores.items()]
    if held:
        heads.insert(1, "held out")
        rows = [
            [
                name,
                score_as_text(name, held.get(name)),
                score_as_text(name, learned.scores.get(name)),
            ]
            for name in [*held, *(name for name in learned.scores if name not in held)]
        ]
    counts = [f"{len(result.evaluation.rows):,}"] if held else []
    show(heads, [*rows, ["rows", *counts, f"{known:,}"]], (1, 2))
    write("\n")
    best = ", ".join(str(member.best_epoch + 1) for member in learned.members)
    epochs = max(len(member.curve) for member in learned.members)
    what = f"{amount(len(learned.members), 'network')}, best epochs {best} of {epochs}"
    say("learned", f"{what}, by {learned.score.name}; {learned.stop_reason}")
    say("time", duration(seconds))


def write_predictions(result: Result, path: Path) -> list[str]:
    """Write the predictions of the rows held out, or else those out of fold.

    Returns
    -------
    list of str
        Which columns are called otherwise than usual.
    """
    model, found, study = result.fitted.model, result.evaluation, result.study
    target = model.target
    row = free_name("row", [target.name])
    prediction = free_name("prediction", [target.name])
    has_classes, taken = target.classes is not None, (row, prediction)
    columns = answers(model, found.raw, probabilities=has_classes, taken=taken)
    predictions = columns.pop(target.name)
    numbers = study.table.numbers
    rows = found.rows + 1 if numbers is None else numbers[found.rows]
    truth = found.truth if target.classes is None else target.classes[found.truth]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([row, target.name, prediction, *columns])
    writer.writerows(
        zip(rows.tolist(), truth.tolist(), predictions, *columns.values(), strict=True)
    )
    write_atomically(path, text.getvalue().encode())
    pairs = [("row", row), ("prediction", prediction)]
    pairs += names_of(model, probabilities=has_classes, taken=taken)
    return [renamed(wanted, made) for wanted, made in pairs if wanted != made]


def write_report(args: argparse.Namespace, result: Result, path: Path, seconds: float) -> str:
    """Write the page; return its path, or the reason why there is none."""
    try:
        made = page(result, Conditions(args.line, args.seed, seconds))
    except ImportError as error:
        return f"no report: {error}"
    write_atomically(path, made.encode())
    return str(path)
