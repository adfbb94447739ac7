"""Temperature and threshold, against a search of all."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn.tabular import scores
from fastnn.tabular.calibration import best_temperature, best_threshold, decided, tempered


def drawn(rng, rows, classes, temperature):
    """Return labels that probabilities are right about, and the probabilities made too sure."""
    logits = 2 * rng.normal(size=(rows, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=classes - 1)
    return tempered(p, 1 / temperature), labels


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_temperature_against_a_fine_grid(rng, classes, weighted, dtype):
    p, labels = drawn(rng, 400, classes, 2.5)
    p = p.astype(dtype)
    weight = rng.integers(0, 3, 400).astype(float) if weighted else None
    smooth = np.eye(classes)[labels] * (400 / 401) + 1 / 401 / classes
    grid = np.geomspace(0.05, 20, 4000)
    losses = [
        np.average(-(smooth * np.log(tempered(p.astype(float), t))).sum(axis=1), weights=weight)
        for t in grid
    ]
    found = best_temperature(p, labels, weight)
    assert_allclose(found, grid[np.argmin(losses)], rtol=2e-3)
    assert 1.8 < found < 3.5


def test_temperature_of_rows_that_are_all_right_is_not_the_lowest(rng):
    """Probabilities of 0 for what comes once in 200 rows would cost more than all others gain."""
    labels = rng.integers(0, 3, 200)
    p = np.eye(3)[labels] * 0.9 + 0.1 / 3
    found = tempered(p, best_temperature(p, labels))
    assert 0.99 < found.max() < 0.9999


def test_tempered_keeps_dtype_and_sums():
    p = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], np.float32)
    for temperature in (0.05, 1.0, 20.0):
        found = tempered(p, temperature)
        assert found.dtype == np.float32
        assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert_allclose(tempered(p, 1.0), p, atol=1e-7)


@pytest.mark.parametrize("name", ["accuracy", "f1", "balanced_accuracy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_threshold_is_as_good_as_any(rng, name, weighted):
    p, labels = drawn(rng, 150, 2, 1.0)
    p[:, 1] **= 2  # the best is not 0.5
    p[:, 0] = 1 - p[:, 1]
    weight = np.where(labels == 1, 3.0, 1.0) if weighted else None
    score = scores.SCORES[name]
    every = [score.loss(labels, decided(p, t), weight) for t in np.linspace(0, 1, 2001)]
    found = best_threshold(p, labels, score, weight)
    assert score.loss(labels, decided(p, found), weight) == pytest.approx(min(every))
    assert score.loss(labels, decided(p, 0.5), weight) > min(every)


def test_threshold_of_equals_is_the_nearest_to_a_half():
    yes = np.array([0.2, 0.8])
    p = np.stack([1 - yes, yes], axis=1)
    assert best_threshold(p, np.array([0, 1]), scores.SCORES["accuracy"]) == 0.5


def test_threshold_of_many_rows_is_near_the_best(rng):
    p, labels = drawn(rng, 5000, 2, 1.0)
    score = scores.SCORES["f1"]
    every = [score.loss(labels, decided(p, t)) for t in np.linspace(0.01, 0.99, 500)]
    found = score.loss(labels, decided(p, best_threshold(p, labels, score)))
    assert found == pytest.approx(min(every), abs=2e-3)


def test_weights_of_zero_are_no_weights(rng):
    p, labels = drawn(rng, 50, 2, 1.0)
    nothing = np.zeros(50)
    assert best_temperature(p, labels, nothing) == best_temperature(p, labels)
    score = scores.SCORES["f1"]
    assert best_threshold(p, labels, score, nothing) == best_threshold(p, labels, score)
