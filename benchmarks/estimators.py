"""fastnn's MLPClassifier and MLPRegressor against scikit-learn's: scores, and time of `fit`.

Run it as `python benchmarks/estimators.py`. Prints a Markdown table. Both sides have the default
arguments, the same random_state (so also the same initial weights), and the same split: 80 % of the
rows, standardized, are for training. They take turns, seed by seed, and the one that begins
alternates. The score is that of the other rows: accuracy, or R^2.
"""

from __future__ import annotations

import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from timing import QUICK, wait_until_quiet

import fastnn as fnn

SEEDS = 3 if QUICK else 10
TABLES = {
    "digits": datasets.load_digits,
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}
CLASSES = {
    "scikit-learn": (neural_network.MLPClassifier, neural_network.MLPRegressor),
    "fastnn": (fnn.MLPClassifier, fnn.MLPRegressor),
}


def parts(name: str, seed: int) -> list[np.ndarray]:
    """Return standardized x and y for training and for the score."""
    x, y = TABLES[name](return_X_y=True)
    classes = None if name == "diabetes" else y
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=0.2, random_state=seed, stratify=classes
    )
    scaler = StandardScaler().fit(x)
    return [scaler.transform(x), y, scaler.transform(x_test), y_test]


def fitted(side: str, name: str, seed: int, x: np.ndarray, y: np.ndarray) -> tuple:
    """Return an estimator and the seconds that its `fit` has taken."""
    estimator = CLASSES[side][name == "diabetes"](random_state=seed)
    wait_until_quiet(limit=0.3)
    began = time.perf_counter()
    estimator.fit(x, y)
    return estimator, time.perf_counter() - began


def measure(name: str) -> dict[str, dict[str, list[float]]]:
    """Return scores and seconds of both sides, by seed."""
    found = {side: {"score": [], "seconds": []} for side in CLASSES}
    for seed in range(SEEDS):
        x, y, x_test, y_test = parts(name, seed)
        for side in list(CLASSES)[:: 1 if seed % 2 else -1]:
            estimator, taken = fitted(side, name, seed, x, y)
            found[side]["seconds"].append(taken)
            found[side]["score"].append(estimator.score(x_test, y_test))
    return found


def line(name: str, found: dict[str, dict[str, list[float]]]) -> str:
    """Return the line of a table's results."""
    theirs, ours = found["scikit-learn"], found["fastnn"]
    mean, own = statistics.mean(theirs["score"]), statistics.mean(ours["score"])
    error = statistics.stdev(theirs["score"]) / len(theirs["score"]) ** 0.5
    ratios = [a / b for a, b in zip(theirs["seconds"], ours["seconds"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    times = [1e3 * statistics.median(side["seconds"]) for side in (theirs, ours)]
    return (
        f"| {name} | {mean:.4f} ± {error:.4f} | {own:.4f} | {(own - mean) / error:+.2f} | "
        f"{times[0]:.0f} ms | {times[1]:.0f} ms | {middle:.1f} ({low:.1f} to {high:.1f}) |"
    )


def machine() -> str:
    """Return what the figures depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = "unknown processor"
    return (
        f"{model}, {fnn.get_num_threads()} threads; fastnn {fnn.__version__}, "
        f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}; float64; {SEEDS} seeds"
    )


def main() -> None:
    """Print the measurements."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(machine(), end="\n\n")
    print(
        "| table | scikit-learn's score ± standard error | fastnn's "
        "| difference in standard errors | scikit-learn | fastnn | ratio of times (quartiles) |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in TABLES:
        print(line(name, measure(name)), flush=True)


if __name__ == "__main__":
    main()
