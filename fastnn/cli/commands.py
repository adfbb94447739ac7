"""What `fastnn train`, `fastnn predict`, `fastnn info` and `fastnn bench` do.

Each is a function of the parsed arguments (see `cli`) that returns the exit status, and raises
ValueError, OSError or ImportError for what the user got wrong.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn.core import extras
from fastnn.exchange import model_file
from fastnn.tabular import encoding, table
from fastnn.tabular.encoding import FEW, TASKS, Preprocessing
from fastnn.tabular.table import Table, listed

INTERRUPTED = 130
FEW_HELD_OUT = 10  # rows; below, one of them is worth more than a tenth of the accuracy
MODEL_NAME, PICTURE_NAME = "model.safetensors", "learning_curve.png"


def complain(args: argparse.Namespace, text: str, status: int) -> int:
    """Print one line on stderr and return the exit status."""
    line = " ".join(text.replace("error: path: ", "error: ").split())
    print(f"fastnn {args.command}: {line}", file=sys.stderr)
    return status


# --- train ------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> int:
    """Train, test, save, report; the command ``fastnn train``."""
    cells, target = _training_table(args)
    prepared = Preprocessing.plan(cells, target, task=args.task, drop=args.drop)
    train, held_out = _split(cells, prepared, args.held_out, args.seed)
    if 0 < len(held_out) < FEW_HELD_OUT:
        rows = f"only {_amount(len(held_out), 'row')} {'is' if len(held_out) == 1 else 'are'}"
        text = f"warning: {rows} held out, too few to tell how well the model does on new data"
        complain(args, f"{text}; see --held-out", 0)
    prepared.fit(cells, train)
    x, y = prepared.encode(cells), prepared.encode_target(cells)
    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    model = _network(args, prepared)
    folder = _writable_folder(args.output)
    if not args.quiet:
        _announce(args, cells, prepared, model, len(train), len(held_out))

    is_interrupted = False
    try:
        model.fit(
            x[train],
            y[train],
            batch_size=_batch_size(args, model),
            epochs=args.epochs,
            verbose=0 if args.quiet else 1,
            validation_data=(x[held_out], y[held_out]) if len(held_out) else None,
        )
    except KeyboardInterrupt:
        is_interrupted = True
        complain(args, "interrupted; saving what was reached", INTERRUPTED)
    assert model.history is not None
    truth = cells.values(target)[held_out]
    results = _test(model, prepared, x[held_out], y[held_out], truth) if len(held_out) else {}
    _save(args, folder, model, prepared, len(train), len(held_out), results)
    _report(folder, model, prepared, results, len(held_out))
    return INTERRUPTED if is_interrupted else 0


def _training_table(args: argparse.Namespace) -> tuple[Table, str]:
    if args.data == "digits":
        if args.target not in (None, "digit"):
            raise ValueError(f"--target {args.target}: the digits' target is 'digit'")
        return table.digits(), "digit"
    is_arrays = args.data.lower().endswith(".npz")
    target = args.target or ("y" if is_arrays else None)
    cells = table.read(args.data, target)
    if target not in cells.columns:
        given = f"there is no {target!r}" if target else "--target is missing"
        what = "array" if is_arrays else "column"
        names = dict.fromkeys([*cells.columns, *cells.left_out])
        if is_arrays:
            names = dict.fromkeys(name.split("[")[0] for name in names)
        raise ValueError(
            f"{args.data}: {given}; --target must name the {what} to predict; "
            f"there is {listed(names, 20)}"
        )
    assert target is not None
    return cells, target


def _split(
    cells: Table, prepared: Preprocessing, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and to hold out, of each class its share."""
    is_stratified = prepared.task == "classification"
    y = prepared.encode_target(cells) if is_stratified else np.zeros(cells.rows, np.int64)
    train, held_out = fnn.datasets.split(y, share, seed)
    if share and not (len(train) and len(held_out)):
        raise ValueError(
            f"{cells.source}: --held-out {share:g} of {cells.rows} rows leaves {len(train)} to "
            f"train on and {len(held_out)} to test with; give more rows, or --held-out 0"
        )
    return train, held_out


def _network(args: argparse.Namespace, prepared: Preprocessing) -> fnn.Sequential:
    layers: list[fnn.Layer] = []
    for units in args.hidden:
        layers.append(fnn.Dense(units, activation=args.activation))
        if args.dropout:
            layers.append(fnn.Dropout(args.dropout))
    is_classes = prepared.task == "classification"
    layers.append(
        fnn.Dense(len(prepared.classes), activation="softmax") if is_classes else fnn.Dense(1)
    )
    model = fnn.Sequential(layers, input_shape=(prepared.inputs,), seed=args.seed)
    rate = {} if args.learning_rate is None else {"learning_rate": args.learning_rate}
    model.compile(
        optimizer={"name": args.optimizer, **rate},
        loss="crossentropy" if is_classes else "mse",
        metrics=["accuracy"] if is_classes else [],
    )
    return model


def _writable_folder(name: str) -> Path:
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


def _test(
    model: fnn.Model, prepared: Preprocessing, x: np.ndarray, y: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Return the results on the rows held out, in the target's unit."""
    if prepared.task == "classification":
        results = model.evaluate(x, y)
        return {"accuracy": results["accuracy"], "loss": results["loss"]}
    error = prepared.decode(np.asarray(model.predict(x))) - truth.astype(np.float64)
    mse = float(np.mean(error**2))
    variance = float(truth.astype(np.float64).var())
    r2 = {"R²": 1 - mse / variance} if variance else {}  # not defined for one value
    return {"mse": mse, "mae": float(np.mean(np.abs(error))), **r2}


def _save(
    args: argparse.Namespace,
    folder: Path,
    model: fnn.Model,
    prepared: Preprocessing,
    train: int,
    held_out: int,
    results: dict[str, float],
) -> None:
    assert model.history is not None
    assert model.optimizer is not None
    entries, tensors = prepared.to_file()
    facts = {
        "data": "digits" if args.data == "digits" else Path(args.data).name,
        "rows": train,
        "held_out": held_out,
        "results": results,
        "optimizer": args.optimizer,
        "learning_rate": float(model.optimizer.rates(0)[0]) if model.optimizer.kernel else None,
        "batch_size": _batch_size(args, model),
        "epochs": len(model.history.epoch),
        "seed": args.seed,
        "stop_reason": model.history.stop_reason,
    }
    model_file.save(
        model,
        folder / MODEL_NAME,
        tensors=tensors,
        attachments={"table": entries, "training": facts},
    )


def _draw(folder: Path, history: fnn.History, task: str) -> str:
    """Draw the learning curve and return where it is, or why it is not."""
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
    model_file.replace_file(folder / PICTURE_NAME, png.getvalue())
    return str(folder / PICTURE_NAME)


# --- what train prints ------------------------------------------------------------------------


def _say(label: str, text: str) -> None:
    line = f"{label:<10}{text}"
    encoding = sys.stdout.encoding or "utf-8"  # a name must not end a training on an old terminal
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def _announce(
    args: argparse.Namespace,
    cells: Table,
    prepared: Preprocessing,
    model: fnn.Model,
    train: int,
    held_out: int,
) -> None:
    unused = [*args.drop, *cells.left_out]
    left_out = f"; left out: {listed(unused)}" if unused else ""
    _say("data", f"{cells.source}: {train:,} rows to train on, {held_out:,} held out")
    _say("inputs", f"{_amount(len(prepared.columns), 'column')}{left_out}")
    _say("target", _describe_target(args, cells, prepared))
    units = [prepared.inputs, *args.hidden, *model.output_shape]
    dropout = f", dropout {args.dropout:g}" if args.dropout else ""
    shape = f"{'-'.join(map(str, units))} {args.activation if args.hidden else 'linear'}"
    _say("network", f"{shape}{dropout}, {_amount(model.count_parameters(), 'parameter')}")
    assert model.optimizer is not None
    rate = float(model.optimizer.rates(0)[0]) if model.optimizer.kernel else None
    _say(
        "training",
        f"{_method(args.optimizer, rate, _batch_size(args, model))}, "
        f"{_amount(args.epochs, 'epoch')}, seed {args.seed}",
    )
    sys.stdout.flush()


def _batch_size(args: argparse.Namespace, model: fnn.Model) -> int | None:
    """Return what to tell `fit`; None is all rows."""
    assert model.optimizer is not None
    if args.batch_size is None and not model.optimizer.full_batch:
        return 64
    return args.batch_size


def _method(optimizer: str, rate: float | None, batch: int | None) -> str:
    """Return "adam 0.001, batch 64"."""
    rows = "all rows" if batch is None else f"batch {batch}"
    return f"{optimizer}{'' if rate is None else f' {rate:g}'}, {rows}"


def _amount(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _short(value: float, digits: int = 4) -> str:
    """Return a number with a few digits, without an exponent where one can read it so."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    if value.is_integer():
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _listed_results(results: dict[str, float]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in results.items())


def _describe_target(args: argparse.Namespace, cells: Table, prepared: Preprocessing) -> str:
    """Say what is learned, and how to have it otherwise where that had to be guessed."""
    values = cells.values(prepared.target)
    is_clear = not cells.has_names and len(prepared.classes) <= FEW
    is_guess = args.task == "auto" and values.dtype.kind in "iu" and not is_clear
    other = TASKS[1 - TASKS.index(prepared.task)]
    hint = f" (for {other}: --task {other})" if is_guess else ""
    if prepared.task == "classification":
        return f"{prepared.target}, {len(prepared.classes)} classes{hint}"
    low, high = _short(float(values.min())), _short(float(values.max()))
    return f"{prepared.target}, numbers from {low} to {high}{hint}; loss 1 = predicting the mean"


def _report(
    folder: Path,
    model: fnn.Model,
    prepared: Preprocessing,
    results: dict[str, float],
    held_out: int,
) -> None:
    assert model.history is not None
    if "accuracy" in results:
        right = round(results["accuracy"] * held_out)
        _say(
            "held out",
            f"accuracy {results['accuracy']:.2%} ({right:,} of {held_out:,} rows), "
            f"loss {results['loss']:.4f}",
        )
    elif results:
        _say("held out", _listed_results(results))
    else:
        _say("held out", "no rows, so nothing is known about new data")
    config = fnn.show_config("dict")
    assert config is not None
    _say(
        "speed",
        f"{model.history.samples_per_second:,.0f} samples a second, "
        f"up to {_amount(fnn.get_num_threads(), 'thread')}, ISA {config['isa']}",
    )
    _say("saved", str(folder / MODEL_NAME))
    _say("", _draw(folder, model.history, prepared.task))


# --- predict ----------------------------------------------------------------------------------


def predict(args: argparse.Namespace) -> int:
    """Write predictions as CSV; the command ``fastnn predict``."""
    model, prepared, _ = encoding.load(args.model)
    if prepared is None:
        raise ValueError(
            f"{args.model}: was not saved by `fastnn train`, so what its inputs are is not "
            "known; use fastnn.load in Python"
        )
    if args.probabilities and prepared.task != "classification":
        raise ValueError("--probabilities: the model predicts numbers, it has no classes")
    if args.output is not None:
        _check_output(Path(args.output), (args.model, args.data))
    is_digits = args.data == "digits"
    cells = (
        table.digits() if is_digits else table.read(args.data, prepared.target, prepared.categories)
    )
    outputs = np.asarray(model.predict(prepared.encode(cells)))
    if not np.isfinite(outputs).all():
        row = int(np.argmin(np.isfinite(outputs).all(axis=1))) + 1
        raise ValueError(f"{cells.source}: row {row} is too far from the training data to predict")
    text = _csv(prepared, outputs, args.probabilities)
    if args.output is None:
        sys.stdout.write(text)
    else:
        path = Path(args.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        model_file.replace_file(path, text.encode())
    return 0


def _check_output(path: Path, sources: Iterable[str]) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"--output {path}: is not a file")
    for source in sources:
        if os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"--output {path}: would overwrite what is read")


def _csv(prepared: Preprocessing, outputs: np.ndarray, has_probabilities: bool) -> str:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = prepared.classes if has_probabilities else []
    writer.writerow([prepared.target, *(f"probability_{name}" for name in names)])
    for prediction, output in zip(prepared.decode(outputs), outputs, strict=True):
        cell = prediction if isinstance(prediction, str) else f"{prediction:.9g}"
        writer.writerow([cell, *(f"{p:.6g}" for p in output[: len(names)])])
    return text.getvalue()


# --- info -------------------------------------------------------------------------------------


def info(args: argparse.Namespace) -> int:
    """Show the build or a model; the command ``fastnn info``."""
    if args.model is None:
        fnn.show_config()
        return 0
    model, prepared, attachments = encoding.load(args.model)
    model.summary()
    print()
    if prepared is None:
        _say("columns", "not known: saved by Model.save, not by `fastnn train`")
        return 0
    _say("task", f"{prepared.task} of {prepared.target}")
    if prepared.classes:
        _say("classes", listed(prepared.classes, 12))
    _say("columns", listed(prepared.columns))
    for name, known in prepared.categories.items():
        _say("", f"{name}: text, {listed(known)}")
    facts = attachments.get("training") or {}
    try:
        method = _method(facts["optimizer"], facts["learning_rate"], facts["batch_size"])
        _say(
            "training",
            "{data}, {rows:,} rows, {held_out:,} held out; {method}, seed {seed}; "
            "{stop_reason}".format(**facts, method=method),
        )
        _say("held out", _listed_results(facts["results"]) or "no rows")
    except (KeyError, TypeError, ValueError, AttributeError):
        _say("training", "not known")
    return 0


# --- bench ------------------------------------------------------------------------------------


def bench(args: argparse.Namespace) -> int:
    """Measure the limits of this machine and keep them; the command ``fastnn bench``."""
    from fastnn.analysis import machine_limits

    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    found = machine_limits.measure()
    print(found)
    try:
        kept = f"in {machine_limits.save(found)}"
    except OSError as error:
        kept = f"not: {error.strerror or error}"
    print(f"\nkept       {kept}")
    return 0
