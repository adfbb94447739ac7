"""A training as the arguments of `fastnn train` describe it: the data, their encoding, a model."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn.cli.output import amount, complain
from fastnn.core.hints import did_you_mean
from fastnn.tabular import Encoding, Table, Target, read
from fastnn.tabular.cells import Cells
from fastnn.tabular.columns import listed
from fastnn.tabular.reading import digits

FEW_HELD_OUT = 10  # rows; below, one of them is worth more than a tenth of the accuracy
BATCH_SIZE = 64
MOST_ONE_HOT = 1000


@dataclass(frozen=True)
class Training:
    """The data, their encoding and a compiled model: what `prepare` makes of the arguments.

    Attributes
    ----------
    args : Namespace
    cells : Table
        The table that was read.
        Its rows are those of which the target is known.
    values : Cells
        The target's.
    encoding : Encoding
    target : Target
    x, y : ndarray
        All of these rows, encoded.
    train, held_out : ndarray of int
        The rows to train on and to test with.
    model : Sequential
        Compiled.
    """

    args: argparse.Namespace
    cells: Table
    values: Cells
    encoding: Encoding
    target: Target
    x: np.ndarray
    y: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    model: fnn.Sequential

    @property
    def optimizer(self) -> fnn.optimizers.Optimizer:
        """The optimizer of the model."""
        assert self.model.optimizer is not None
        return self.model.optimizer

    @property
    def history(self) -> fnn.History:
        """The history of the model, once it is trained."""
        assert self.model.history is not None
        return self.model.history

    @property
    def batch_size(self) -> int | None:
        """The `batch_size` for `fit`; None stands for all rows."""
        if self.args.batch_size is None and not self.optimizer.full_batch:
            return BATCH_SIZE
        return self.args.batch_size

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the first step; None where the optimizer has none."""
        return self.optimizer.rate_of(0)


def prepare(args: argparse.Namespace) -> Training:
    """Read the data and build the model.

    Raises
    ------
    ValueError, OSError, ImportError
        An argument or the file is not as expected.
    """
    cells, name = _training_table(args)
    if name in args.drop:
        raise ValueError(f"{cells.where}cannot leave out {name!r}, which is the target")
    values = cells.cells(name)
    is_labels = args.task == "auto" and not cells.has_names and values.is_whole
    task = "classification" if is_labels else args.task  # whole numbers, by custom of arrays
    target = Target.fit(values, task, name=name, where=cells.where)
    if target.missing:
        present = target.present(values)
        values, cells = values.take(np.flatnonzero(present)), cells.take(present)
    y = target.encode(values, where=cells.where)
    if not set(cells.columns) - {name, *args.drop}:
        raise ValueError(f"{cells.where}no column is left as input besides {name!r}")
    train, held_out = _split(cells, target, y, args.held_out, args.seed)
    if 0 < len(held_out) < FEW_HELD_OUT:
        rows = f"only {amount(len(held_out), 'row')} {'is' if len(held_out) == 1 else 'are'}"
        text = f"warning: {rows} held out, too few to tell how well the model does on new data"
        complain(args, f"{text}; see --held-out", 0)
    inputs = cells.without(name)
    encoding = Encoding.fit(inputs.take(train), drop=args.drop, one_hot_up_to=MOST_ONE_HOT)
    for column in encoding.columns.values():
        if column.cardinality:
            raise ValueError(
                f"{cells.where}column {column.name!r} holds {column.cardinality:,} different "
                f"texts, the limit is {MOST_ONE_HOT:,}; leave it out with --drop"
            )
    x = encoding.encode(inputs)
    if args.threads is not None:
        fnn.set_num_threads(args.threads)
    model = _network(args, encoding, target)
    return Training(args, cells, values, encoding, target, x, y, train, held_out, model)


def _training_table(args: argparse.Namespace) -> tuple[Table, str]:
    """Return the table and the name of its target."""
    if args.data == "digits":
        if args.target not in (None, "digit"):
            raise ValueError(f"--target {args.target}: the digits' target is 'digit'")
        return digits(), "digit"
    is_arrays = args.data.lower().endswith(".npz")
    target = args.target or ("y" if is_arrays else None)
    cells = read(
        args.data, sep=args.sep, decimal=args.decimal, encoding=args.encoding, target=target
    )
    if target not in cells.columns:
        hint = did_you_mean(target, map(str, cells.columns)) if target else ""
        given = f"there is no {target!r}{hint}" if target else "--target is missing"
        what = "array" if is_arrays else "column"
        names = dict.fromkeys([*cells.columns, *cells.left_out])
        if is_arrays:
            names = dict.fromkeys(name.split("[")[0] for name in names)
        raise ValueError(
            f"{args.data}: {given}{' ' if hint else '; '}--target must name the {what} to predict; "
            f"there is {listed(names, 20)}"
        )
    assert target is not None
    return cells, target


def _split(
    cells: Table, target: Target, y: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and to hold out, the same share of each class."""
    if target.task == "regression":
        y = np.zeros(cells.rows, np.int64)
    train, held_out = fnn.datasets.split(y, share, seed)
    if share and not (len(train) and len(held_out)):
        raise ValueError(
            f"{cells.source}: --held-out {share:g} of {cells.rows} rows leaves {len(train)} to "
            f"train on and {len(held_out)} to test with; give more rows, or --held-out 0"
        )
    return train, held_out


def _network(args: argparse.Namespace, encoding: Encoding, target: Target) -> fnn.Sequential:
    layers: list[fnn.Layer] = []
    for units in args.hidden:
        layers.append(fnn.Dense(units, activation=args.activation))
        if args.dropout:
            layers.append(fnn.Dropout(args.dropout))
    classes = target.classes
    is_classes = classes is not None
    layers.append(
        fnn.Dense(1) if classes is None else fnn.Dense(len(classes), activation="softmax")
    )
    model = fnn.Sequential(layers, input_shape=(encoding.inputs,), seed=args.seed)
    rate = {} if args.learning_rate is None else {"learning_rate": args.learning_rate}
    model.compile(
        optimizer={"name": args.optimizer, **rate},
        loss="crossentropy" if is_classes else "mse",
        metrics=["accuracy"] if is_classes else [],
    )
    return model


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
