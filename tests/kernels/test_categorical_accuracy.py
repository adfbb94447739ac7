"""Which labels count as hits: rows of every width, equal scores, NaN and infinities anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn.native import kernels

WIDTHS = [*range(1, 36), 63, 64, 65, 70, 100, 129, 200]
KINDS = ["all different", "few values", "NaN", "infinities", "zeros of both signs", "all equal"]


def scores_of(kind, width, dtype, rng):
    """Rows that expose an error at a vector's end: the largest is in each column in turn."""
    scores = np.tile(rng.permutation(width), (width, 1)).astype(dtype)
    rows = np.arange(width)
    scores[rows, rows] = width
    if kind == "few values":
        scores = rng.integers(0, 3, (4 * width, width)).astype(dtype)
    elif kind == "NaN":
        scores = np.concatenate([scores, scores])
        scores[np.arange(2 * width), rng.integers(0, width, 2 * width)] = np.nan
        scores[np.arange(width, 2 * width), rng.integers(0, width, width)] = np.nan
    elif kind == "infinities":
        scores = rng.choice([-np.inf, 0, np.inf], (4 * width, width), p=[0.9, 0.08, 0.02])
        scores[0] = -np.inf
    elif kind == "zeros of both signs":
        scores = rng.choice([-0.0, 0.0, -1.0], (4 * width, width))
    elif kind == "all equal":
        scores[:] = -2.5
    return scores.astype(dtype)


def hits_of(scores):
    """NumPy's answer for every label of every row; the first of the largest counts."""
    return scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_hits_are_those_of_numpy(kind, dtype, rng):
    for width in WIDTHS:
        scores = scores_of(kind, width, dtype, rng)
        expected = hits_of(scores)
        for label in range(width):
            labels = np.full(len(scores), label, np.int32)
            got = kernels.categorical_accuracy(scores, labels)
            assert np.array_equal(got, expected[:, label]), (width, label)


def test_another_winner_among_equals_is_noticed():
    scores = np.ones((1, 5), np.float32)
    assert hits_of(scores).tolist() == [[True, False, False, False, False]]
    assert hits_of(scores)[:, ::-1].tolist() != hits_of(scores).tolist()
