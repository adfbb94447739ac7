"""The cases that each function of `fastnn.plots` is drawn with, in its tests and as pictures.

Everything is deterministic: trainings have seeds, and times are constants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn import plots
from fastnn.analysis.lr_finder import LearningRateFinder
from fastnn.analysis.profiling import OpProfile, Profile
from fastnn.descent import functions, minimize


def walk(function: Any = functions.ravine, optimizer: Any = None, steps: int = 30) -> Any:
    start = function.start[0] if function.variables == 1 else function.start
    return minimize(function, start, optimizer=optimizer or fnn.SGD(0.9), steps=steps)


@cache
def walks() -> dict[str, Any]:
    """Four optimizers in a ravine."""
    return {
        "gradient descent": walk(),
        "momentum": walk(optimizer=fnn.SGD(0.08, momentum=0.9)),
        "AdaGrad": walk(optimizer=fnn.Adagrad(1.5)),
        "Adam": walk(optimizer=fnn.Adam(0.3)),
    }


def history(epochs: int = 20, **more: list[float]) -> fnn.History:
    """A training whose validation loss rises at the end."""
    at = np.arange(1, epochs + 1)
    results = {
        "loss": list(2.3 * 0.8**at + 0.05),
        "val_loss": list(2.3 * 0.8**at + 0.1 + 0.01 * at),
        "accuracy": list(1 - 0.9 * 0.8**at),
        "val_accuracy": list(0.95 - 0.85 * 0.8**at),
        **more,
    }
    return fnn.History(
        results, list(range(epochs)), "EarlyStopping: val_loss has not improved for 5 epochs",
        1e5, list(0.01 * 0.7 ** (at // 5)),
    )  # fmt: skip


def histories() -> dict[str, fnn.History]:
    at = np.arange(1, 31)
    rates = {"SGD": 0.97, "momentum": 0.9, "RMSprop": 0.85, "Adam": 0.8}
    return {
        name: fnn.History({"loss": list(2.3 * rate**at + 0.02)}, list(range(30)))
        for name, rate in rates.items()
    }


def moons(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Two interlocking half circles."""
    generator = np.random.default_rng(0)
    y = np.arange(rows) % 2
    angle = np.pi * generator.random(rows)
    x = np.column_stack([np.cos(angle), np.sin(angle)]) * np.where(y, -1, 1)[:, np.newaxis]
    return x + y[:, np.newaxis] * [1.0, 0.5] + generator.normal(0, 0.1, x.shape), y


@cache
def trained(classes: int = 2) -> tuple[Any, np.ndarray, np.ndarray, fnn.Recorder]:
    """A classifier of points in the plane, its data, and its recording."""
    if classes == 2:
        x, y = moons()
        layers, loss = (
            [fnn.Dense(16, "tanh"), fnn.Dense(8, "relu"), fnn.Dense(1)],
            "binary_crossentropy",
        )
    else:
        generator = np.random.default_rng(1)
        y = np.arange(30 * classes) % classes
        turn = 2 * np.pi * y / classes
        x = np.column_stack([np.cos(turn), np.sin(turn)]) * 2 + generator.normal(
            0, 0.5, (len(y), 2)
        )
        layers, loss = [fnn.Dense(16, "tanh"), fnn.Dense(classes)], "crossentropy"
    model = fnn.Sequential(layers, input_shape=(2,), seed=3, dtype="float64")
    model.compile(fnn.Adam(0.02), loss)
    recorder = fnn.Recorder(rows=64)
    model.fit(x, y, epochs=40, batch_size=20, verbose=0, callbacks=[recorder])
    return model, x, y, recorder


def branched() -> fnn.Model:
    """A residual block, and an output of two inputs."""
    a, b = fnn.Input((16,), name="image"), fnn.Input((4,), name="table")
    h = fnn.Dense(8, "relu", name="narrow")(a)
    h = fnn.Add(name="sum")([fnn.Dense(8, name="inner")(h), h])
    both = fnn.Concatenate(name="both")([h, b])
    return fnn.Model([a, b], fnn.Dense(3, name="kind")(both), seed=0)


def profile() -> Profile:
    times = [
        ("", "gather", "rows", 1.2, 0.9), ("dense", "affine", "relu", 14.0, 0.6),
        ("dense_1", "affine", "", 3.1, 0.3), ("loss", "softmax_crossentropy", "", 2.2, 0.2),
        ("dense_1", "kernel_gradient", "", 3.5, 0.4), ("dense", "kernel_gradient", "", 12.5, 0.7),
        ("dense", "elementwise", "", 0.8, 0.5), ("all", "update", "adam", 6.0, 0.8),
    ]  # fmt: skip
    total = sum(time for *_, time, _ in times)
    rows = [
        OpProfile(**{
            **dict.fromkeys(OpProfile.__dataclass_fields__, 0),
            "layer": layer, "op": op, "what": f"{op} {what}".strip().replace("_", " "),
            "microseconds": time, "share": time / total, "of_limit": limit,
        })
        for layer, op, what, time, limit in times
    ]  # fmt: skip
    limits: Any = None
    return Profile(rows, "train", "float32", 32, 1, 100, limits)


def learning_rate_finder() -> LearningRateFinder:
    rates = np.geomspace(1e-5, 1, 80)
    smoothed = 2.3 - 1.6 / (1 + (0.01 / rates) ** 1.5) + (rates / 0.3) ** 3
    losses = smoothed + 0.15 * np.sin(37.0 * np.arange(80))
    return LearningRateFinder(
        rates, losses, smoothed, 0.0085, "the loss has become four times the least"
    )


def matrix(classes: int = 4) -> np.ndarray:
    generator = np.random.default_rng(2)
    return generator.integers(0, 6, (classes, classes)) + np.diag(
        [40, 35, 3, 28, *range(20)][:classes]
    )


def sureness() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    said = generator.random(400)
    return (generator.random(400) < said**2).astype(int), said


def said_of_classes() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Classes, and probabilities that are often right."""
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 3, 300)
    said = generator.dirichlet([1, 1, 1], 300) + 0.6 * np.eye(3)[truth]
    return truth, said / said.sum(axis=1, keepdims=True), ["oak", "pine", "a name that is too long"]


def said_of_numbers() -> tuple[np.ndarray, np.ndarray, str]:
    """Numbers, and predictions whose errors grow with them."""
    generator = np.random.default_rng(6)
    truth = generator.gamma(2, 50, 300)
    return truth, truth * (1 + 0.15 * generator.normal(size=300)), "price"


def member_scores() -> list[np.ndarray]:
    at = np.arange(1, 41)
    return [0.4 + 0.5 * 0.85**at + 0.01 * n * np.sin(at / 4 + n) for n in range(5)]


def columns() -> tuple[list[str], np.ndarray, np.ndarray]:
    names = ["capital-gain", "age", "education", "a column whose name is long", "hours-per-week"]
    mean = np.array([0.081, 0.044, 0.031, 0.008, -0.001])
    return names, mean, np.full(5, 0.004)


# Name of the picture: (function of fastnn.plots, how it is drawn with ax=). The first picture of
# each function has the function's name.
CASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "activations": ("activations", lambda ax: plots.activations(ax=ax)),
    "activations_few": (
        "activations", lambda ax: plots.activations(["relu", "gelu", "tanh"], limit=3, ax=ax)
    ),
    "calibration": ("calibration", lambda ax: plots.calibration(*sureness(), ax=ax)),
    "comparison": ("comparison", lambda ax: plots.comparison(histories(), ax=ax)),
    "confusion_matrix": ("confusion_matrix", lambda ax: plots.confusion_matrix(matrix(), ax=ax)),
    "confusion_matrix_names": (
        "confusion_matrix",
        lambda ax: plots.confusion_matrix(
            matrix(10) * 101, labels=[f"class no. {i}" for i in range(10)], ax=ax
        ),
    ),
    "convergence": ("convergence", lambda ax: plots.convergence(walks(), ax=ax)),
    "decision_boundary": (
        "decision_boundary", lambda ax: plots.decision_boundary(*trained()[:3], ax=ax)
    ),
    "decision_boundary_five": (
        "decision_boundary",
        lambda ax: plots.decision_boundary(*trained(5)[:3], names=("width", "height"), ax=ax),
    ),
    "descent": ("descent", lambda ax: plots.descent(walks(), ax=ax)),
    "descent_curve": (
        "descent",
        lambda ax: plots.descent(walk(functions.waves, fnn.SGD(0.02), 20), ax=ax),
    ),
    "descent_one": (
        "descent",
        lambda ax: plots.descent(walk(functions.rosenbrock, fnn.Adam(0.1), 100), ax=ax),
    ),
    "graph": ("graph", lambda ax: plots.graph(branched(), ax=ax)),
    "histograms": ("histograms", lambda ax: plots.histograms(trained()[3], ax=ax)),
    "histograms_gradients": (
        "histograms", lambda ax: plots.histograms(trained()[3], "gradients", ax=ax)
    ),
    "history": ("history", lambda ax: plots.history(history(), ax=ax)),
    "importance": ("importance", lambda ax: plots.importance(*columns(), "roc_auc", ax=ax)),
    "landscape": (
        "landscape",
        lambda ax: plots.landscape(*trained()[:3], recorder=trained()[3], points=15, ax=ax),
    ),
    "landscape_random": (
        "landscape", lambda ax: plots.landscape(*trained()[:3], points=9, ax=ax)
    ),
    "learning_curve": ("learning_curve", lambda ax: plots.learning_curve(history(), ax=ax)),
    "learning_rate_finder": (
        "learning_rate_finder",
        lambda ax: plots.learning_rate_finder(learning_rate_finder(), ax=ax),
    ),
    "member_curves": (
        "member_curves",
        lambda ax: plots.member_curves(
            member_scores(), [int(one.argmin()) for one in member_scores()], "log_loss", ax=ax
        ),
    ),
    "predicted_against_true": (
        "predicted_against_true",
        lambda ax: plots.predicted_against_true(*said_of_numbers(), ax=ax),
    ),
    "profile": ("profile", lambda ax: plots.profile(profile(), ax=ax)),
    "residuals": ("residuals", lambda ax: plots.residuals(*said_of_numbers(), ax=ax)),
    "roc": ("roc", lambda ax: plots.roc(*said_of_classes(), ax=ax)),
    "surface": ("surface", lambda ax: plots.surface(walks(), ax=ax)),
}  # fmt: skip

# Functions that write a file: its name, and how they are called with it.
MOVING: dict[str, Callable[[Path], Path]] = {
    "animate_descent": lambda file: plots.animate_descent(walk(), file, fps=5, frames=4),
    "animate_decision_boundary": lambda file: plots.animate_decision_boundary(
        trained()[3], *trained()[1:3], file, fps=5, frames=3
    ),
}


@cache
def drawn(name: str) -> list[Any]:
    """The axes of a picture on a figure of its own, drawn once."""
    import matplotlib.pyplot as plt

    axes = CASES[name][1](None)
    axes = axes if isinstance(axes, list) else [axes]
    plt.close(axes[0].figure)
    return axes
