"""The interface of a side of `peers.py`: one library doing the work of a cell. `Side`; `make`.

Every side starts from the same weights and sees the same batches. Whatever a library prepares
once is prepared before anything is timed: arrays of its own kind, compiled functions.
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from peer_cells import CHECK_STEPS, HYPER_PARAMETERS, Cell
from peer_data import Arrays

MOST_EPOCHS = 200


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Return the logarithms of the probabilities that correspond to logits."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


MODULES = {
    "fastnn": ("peer_fastnn", "Fastnn"),
    "NumPy": ("peer_numpy", "Numpy"),
    "scikit-learn": ("peer_sklearn", "ScikitLearn"),
    "PyTorch eager": ("peer_torch", "Eager"),
    "PyTorch compile": ("peer_torch", "Compiled"),
    "PyTorch autotuned": ("peer_torch", "Autotuned"),
    "PyTorch TorchScript": ("peer_torch", "TorchScript"),
    "JAX jit": ("peer_jax", "Jit"),
    "JAX scan": ("peer_jax", "Scan"),
    "JAX constants": ("peer_jax", "Constants"),
    "TensorFlow": ("peer_tensorflow", "TensorFlow"),
    "tinygrad": ("peer_tinygrad", "Tinygrad"),
    "onnxruntime": ("peer_inference", "OnnxRuntime"),
    "onnxruntime spinning": ("peer_inference", "SpinningOnnxRuntime"),
    "OpenVINO": ("peer_inference", "OpenVino"),
    "LiteRT": ("peer_inference", "LiteRt"),
}


class Side(ABC):
    """A library with a cell's network, ready to work.

    Parameters
    ----------
    cell : Cell
    arrays : Arrays

    Attributes
    ----------
    x, y, held_x : object
        The arrays of `arrays`, in the library's own form.
    batches : list of tuple
        x and y of each batch, prepared.
    hyper_parameters : dict of str to float
        Hyper-parameters of the optimizer, including "learning_rate".
    """

    def __init__(self, cell: Cell, arrays: Arrays) -> None:
        self.cell, self.network, self.arrays = cell, cell.network, arrays
        self.hyper_parameters = {
            "learning_rate": cell.learning_rate, **HYPER_PARAMETERS[cell.optimizer]
        }  # fmt: skip
        self.generator = np.random.default_rng(0)
        self.x, self.y, self.held_x = map(self.array, (arrays.x, arrays.y, arrays.held_x))
        batch = self.network.batch
        count = 0 if cell.kind == "predict" else len(arrays.x) // batch
        self.batches = [
            (self.array(arrays.x[i : i + batch]), self.array(arrays.y[i : i + batch]))
            for i in range(0, count * batch, batch)
        ]
        self.build()
        self.reset()

    def array(self, values: np.ndarray) -> object:
        """Return an array in the library's own form."""
        return values

    @abstractmethod
    def build(self) -> None:
        """Make the network and the compiled functions."""

    @abstractmethod
    def set_weights(self) -> None:
        """Set the weights to those of `arrays`; the optimizer starts afresh."""

    @abstractmethod
    def train(self, steps: int) -> None:
        """Make one step on each of the first batches."""

    @abstractmethod
    def epoch(self) -> None:
        """Train on all rows, in the order of ``generator.permutation(rows)``."""

    @abstractmethod
    def predict(self, x: object) -> object:
        """Return the outputs for prepared rows, in the library's own form."""

    def outputs(self, x: object) -> np.ndarray:
        """Return the outputs as a float64 array; for a classifier, logarithms of probabilities."""
        z = np.asarray(self.predict(x)).astype(np.float64)
        return log_softmax(z) if self.network.loss == "crossentropy" else z

    def reset(self, seed: int = 0) -> None:
        """Restart from the initial weights, with a row order determined by that seed."""
        self.generator = np.random.default_rng(seed)
        self.set_weights()

    def work(self) -> Callable[[], object]:
        """Return the call that is timed; not for the kind "accuracy"."""
        if self.cell.kind == "step":
            return lambda: self.train(self.network.steps)
        if self.cell.kind == "epoch":
            return self.epoch
        return lambda: self.predict(self.x)

    def reach(self, seed: int) -> tuple[float, int]:
        """Train until the held-out accuracy reaches that of the cell.

        Returns
        -------
        seconds : float
            Time of the epochs and of the predictions after each.
        epochs : int
        """
        self.reset(seed)
        began = time.perf_counter()
        for epoch in range(1, MOST_EPOCHS + 1):
            self.epoch()
            classes = np.asarray(self.predict(self.held_x)).argmax(axis=1)
            if (classes == self.arrays.held_y).mean() >= self.cell.target:
                return time.perf_counter() - began, epoch
        raise RuntimeError(f"an accuracy of {self.cell.target} is not reached: {self.cell.name}")

    def loss(self) -> float:
        """Return the loss of the first batch, from the outputs."""
        outputs = self.outputs(self.batches[0][0])
        y = self.arrays.y[: len(outputs)]
        if self.network.loss == "mse":
            return float(((outputs - y) ** 2).mean())
        return float(-outputs[np.arange(len(y)), y].mean())

    def answer(self) -> np.ndarray:
        """Return the answer that is compared with the other sides' before anything is timed.

        It is the loss before and after `CHECK_STEPS` steps, or, for predictions, the outputs.
        """
        if self.cell.kind == "predict":
            return self.outputs(self.x)
        self.reset()
        before = self.loss()
        self.train(CHECK_STEPS)
        return np.array([before, self.loss()])


def make(library: str, cell: Cell, arrays: Arrays) -> Side:
    """Return a side; only its own library is imported."""
    module, name = MODULES[library]
    return getattr(importlib.import_module(module), name)(cell, arrays)


# The tolerance for the difference of two answers, by dtype. Outputs: relative to the largest.
# Losses: relative to the change over the steps, so that a loss that hardly moves is compared as
# strictly; more than rounding, because Adam divides a gradient by its own size, however small, and
# JAX corrects its bias in float32. A learning rate that is off by 1 % differs a hundred times more.
OUTPUT_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LOSS_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
# scikit-learn's Adam adds epsilon before it corrects the bias of the square root.
OTHER_EPSILON_TOLERANCE = 1e-3


def difference(cell: Cell, library: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the difference of two answers of `Side.answer`; 1 is the tolerance.

    Parameters
    ----------
    cell : Cell
    library : str
        The library that produced `theirs`.
    ours, theirs : ndarray
    """
    if ours.shape != theirs.shape:
        return np.inf
    if cell.kind == "predict":
        allowed = OUTPUT_TOLERANCE[cell.dtype] * np.abs(ours).max()
    else:
        has_other_epsilon = library == "scikit-learn" and cell.optimizer == "adam"
        tolerance = OTHER_EPSILON_TOLERANCE if has_other_epsilon else LOSS_TOLERANCE[cell.dtype]
        allowed = tolerance * abs(ours[0] - ours[1])
    worst = np.abs(ours - theirs).max() / allowed
    return float(worst) if np.isfinite(worst) else np.inf
