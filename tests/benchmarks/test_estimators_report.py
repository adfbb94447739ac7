"""The comparison of the estimators with scikit-learn: what a line of it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import estimators as benchmark


def test_a_line_has_errors_and_ratios():
    found = {
        "scikit-learn": {"score": [0.9, 0.92, 0.94], "seconds": [0.6, 0.8, 1.0]},
        "fastnn": {"score": [0.91, 0.93, 0.95], "seconds": [0.1, 0.1, 0.1]},
    }
    # The standard error is 0.02 / sqrt(3), and the mean is higher by 0.01.
    assert benchmark.line("wine", found) == (
        "| wine | 0.9200 ± 0.0115 | 0.9300 | +0.87 | 800 ms | 100 ms | 8.0 (6.0 to 10.0) |"
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_both_sides_are_measured_on_the_same_rows(monkeypatch):
    monkeypatch.setattr(benchmark, "SEEDS", 2)
    found = benchmark.measure("wine")
    assert [len(side["score"]) for side in found.values()] == [2, 2]
    assert min(found["fastnn"]["score"]) > 0.85
    assert all(seconds > 0 for side in found.values() for seconds in side["seconds"])
