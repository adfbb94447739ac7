"""The cells that `peers.py` measures, and the configurations of peers that compete in each.

A cell is a piece of work that every side does in the same way: steps on batches that are ready
in memory, shuffled epochs on real data, training to a given held-out accuracy, prediction. To
add one, add it to `_cells`; the tests, the command line and the report enumerate them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from networks import NETWORKS, Network

# By row of `src_c/optimizers.h`. Epsilon is added outside the square root everywhere; 1e-8 is the
# default of PyTorch, Optax and scikit-learn.
HYPER_PARAMETERS: dict[str, dict[str, float]] = {
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-8},
    "momentum": {"momentum": 0.9},
}

# For random numbers: small enough to keep the widest network stable, or rounding would make the
# sides diverge before they are compared. Real data use ten times as much.
LEARNING_RATES = {"adam": 1e-4, "rmsprop": 3e-5, "momentum": 1e-3}

# The unit in which each kind of work is measured.
UNITS = {"step": "a step", "epoch": "an epoch", "accuracy": "to the accuracy", "predict": "a call"}

# Number of steps after which losses are compared, before anything is timed.
CHECK_STEPS = 20

# Headings of the report, in order. Unless they say otherwise: relu, Adam, float32.
GROUPS = {
    "adam": "Training step: relu, Adam, float32",
    "activation": "Training step: tanh and gelu",
    "optimizer": "Training step: RMSprop, SGD with momentum",
    "float64": "Training step: float64",
    "avx2": "Training step: all sides held to AVX2",
    "epoch": "Shuffled epochs on real data",
    "accuracy": "Time to a held-out accuracy",
    "predict": "Prediction",
    "threads": "fastnn at its default threads against fastnn at one thread",
}

# fastnn may be slower than itself at one thread by this factor, in the group "threads".
THREADS_TOLERANCE = 0.95


@dataclass(frozen=True)
class Peer:
    """One way to run one library, in a process of its own.

    Attributes
    ----------
    library : str
        One of `LIBRARIES`, or "fastnn".
    threads : int
        0 stands for the library's default.
    """

    library: str
    threads: int

    def __str__(self) -> str:
        if not self.threads:
            return self.library
        return f"{self.library}, {self.threads} thread{'s' * (self.threads != 1)}"


FASTNN = Peer("fastnn", 0)

# The configurations of each peer, and the kinds of work for which each is used.
TRAINING = ("step", "epoch", "accuracy")
LIBRARIES = {
    "NumPy": (*TRAINING, "predict"),
    "scikit-learn": (*TRAINING, "predict"),
    "PyTorch eager": (*TRAINING, "predict"),
    "PyTorch compile": (*TRAINING, "predict"),
    "PyTorch autotuned": (*TRAINING, "predict"),
    "PyTorch TorchScript": ("predict",),
    "JAX jit": (*TRAINING, "predict"),
    "JAX scan": TRAINING,
    "JAX constants": ("predict",),
    "TensorFlow": (*TRAINING, "predict"),
    "tinygrad": (*TRAINING, "predict"),
    "onnxruntime": ("predict",),
    "onnxruntime spinning": ("predict",),
    "OpenVINO": ("predict",),
    "LiteRT": ("predict",),
}
# They take part when `--peers` names them: one compiles for a minute in each cell, two are heavy or
# need a compiler, and none was near the best.
WHEN_ASKED = ("PyTorch autotuned", "TensorFlow", "tinygrad")


@dataclass(frozen=True)
class Cell:
    """A piece of work.

    Attributes
    ----------
    group : str
        One of `GROUPS`.
    kind : {"step", "epoch", "accuracy", "predict"}
    network : Network
    activation : str
        After every hidden layer. gelu is the exact form, x Phi(x).
    optimizer : str
        One of `HYPER_PARAMETERS`.
    dtype : {"float32", "float64"}
    rows : int
        Number of rows of a prediction.
    data : {"", "digits", "mnist", "shuttle"}
        "" stands for random numbers.
    target : float
        Held-out accuracy to reach.
    isa : {"", "v3"}
        The instruction set to which all sides are limited; "": that of the machine.
    threads : int
        The threads to which all sides are limited; 0: fastnn's default, peers at one and at all.
    """

    group: str
    kind: str
    network: Network
    activation: str = "relu"
    optimizer: str = "adam"
    dtype: str = "float32"
    rows: int = 0
    data: str = ""
    target: float = 0.0
    isa: str = ""
    threads: int = 0

    @property
    def work(self) -> str:
        """The work in words, without the group's name."""
        if self.kind == "predict":
            return f"predict {self.network}, {self.rows} row{'s' * (self.rows != 1)}"
        words = [str(self.network), self.activation, self.optimizer, self.dtype]
        if self.data:
            words = [self.data, *words]
        if self.target:
            words.append(f"to {self.target:.3g}")
        return f"{self.kind} " + " ".join(words)

    @property
    def name(self) -> str:
        """The name of the cell on the command line."""
        held = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.group}: {self.work}{held}"

    @property
    def learning_rate(self) -> float:
        """Hyper-parameters of the optimizer."""
        return LEARNING_RATES[self.optimizer] * (10 if self.data else 1)

    @property
    def steps(self) -> int:
        """Steps per timed call; 1 if the call itself is the unit."""
        return self.network.steps if self.kind == "step" else 1


def peers_of(cell: Cell, processors: int | None = None) -> list[Peer]:
    """Return the configurations that fastnn is measured against in a cell.

    Parameters
    ----------
    cell : Cell
    The number that counts as all threads; default: the processors this process may use.
        How many threads are all of them; default: the processors this process may use.

    Returns
    -------
    list of Peer
    """
    if cell.group == "threads":
        return [Peer("fastnn", 1)]
    everything = processors or len(os.sched_getaffinity(0))
    counts = [cell.threads] if cell.threads else sorted({1, everything})
    return [
        Peer(library, threads)
        for library, kinds in LIBRARIES.items()
        if cell.kind in kinds and not _lacks(library, cell)
        for threads in counts
    ]


def _lacks(library: str, cell: Cell) -> bool:
    """Whether a library cannot do the work of a cell.

    scikit-learn's classifier for two classes has one output, which is a different network.
    """
    return library == "scikit-learn" and (
        cell.activation not in ("relu", "tanh")
        or cell.optimizer not in ("adam", "momentum")
        or (cell.network.loss == "crossentropy" and cell.network.sizes[-1] == 2)
    )


# Real data, a network for each, and the held-out accuracy to reach: after 20, 8 and 3 epochs.
REAL = (
    ("digits", NETWORKS[2], 0.95),
    ("mnist", NETWORKS[3], 0.94),
    ("shuttle", Network((9, 64, 64, 2), 256, "crossentropy"), 0.998),
)


def _cells() -> Iterator[Cell]:
    for network in NETWORKS:
        yield Cell("adam", "step", network)
    for activation in ("tanh", "gelu"):
        for network in NETWORKS:
            yield Cell("activation", "step", network, activation=activation)
    for optimizer in ("rmsprop", "momentum"):
        for network in NETWORKS:
            yield Cell("optimizer", "step", network, optimizer=optimizer)
    for network in NETWORKS[:4]:
        yield Cell("float64", "step", network, dtype="float64")
    for network in NETWORKS[:4]:
        yield Cell("avx2", "step", network, isa="v3")
    for data, network, _ in REAL:
        yield Cell("epoch", "epoch", network, data=data)
    for data, network, target in REAL:
        yield Cell("accuracy", "accuracy", network, data=data, target=target)
    for network in NETWORKS:
        for rows in (1, 32, 256, 4096):
            yield Cell("predict", "predict", network, rows=rows)
    yield Cell("predict", "predict", NETWORKS[4], rows=256, threads=1)


def _with_threads() -> Iterator[Cell]:
    for cell in _cells():
        yield cell
    for cell in _cells():
        if not cell.threads and not cell.isa:
            yield replace(cell, group="threads")


CELLS = {cell.name: cell for cell in _with_threads()}
