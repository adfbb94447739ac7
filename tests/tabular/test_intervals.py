"""Intervals: their arithmetic, and how often they hold what they should."""

import numpy as np
import pytest

from fastnn.tabular.fitting import fit
from fastnn.tabular.intervals import Intervals

RECIPE = {"name": "realmlp", "epochs": 20, "hidden": [16]}


def drawn(rng, rows):
    x = rng.uniform(-2, 2, size=(rows, 2))
    noise = 0.2 + np.abs(x[:, 1])  # wide where the second column is far from 0
    return x, 100 + 30 * (np.sin(x[:, 0]) + noise * rng.normal(size=rows))


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.9), (0.4, 0.6)])
def test_coverage_on_rows_like_those_of_the_training(rng, quantiles):
    x, y = drawn(rng, 600)
    fitted = fit(x, y, recipe=RECIPE, quantiles=quantiles)
    new, truth = drawn(rng, 2000)
    numbers = fitted.model.predict(new).reshape(2000, -1)
    intervals = Intervals.fit(fitted, quantiles)
    for coverage in (0.5, 0.8, 0.95):
        low, high = intervals.around(numbers, coverage).T
        held = ((low <= truth) & (truth <= high)).mean()
        assert coverage - 0.05 < held < coverage + 0.1


def test_quantiles_make_intervals_as_wide_as_the_noise(rng):
    x, y = drawn(rng, 600)
    fitted = fit(x, y, recipe=RECIPE | {"epochs": 60}, quantiles=(0.1, 0.9))
    near, far = np.array([[0.0, 0.0]]), np.array([[0.0, 2.0]])
    intervals = Intervals.fit(fitted, (0.1, 0.9))
    widths = [np.diff(intervals.around(fitted.model.predict(at), 0.8)) for at in (near, far)]
    assert widths[1] > 2.5 * widths[0]


def test_rank_of_the_error():
    intervals = Intervals(0, 0, np.arange(1.0, 10.0))
    numbers = np.zeros((1, 1))
    for coverage, error in [(0.05, 1), (0.1, 1), (0.5, 5), (0.85, 9), (0.9, 9)]:
        assert intervals.around(numbers, coverage).tolist() == [[-error, error]]


@pytest.mark.parametrize("is_read", [False, True])
def test_a_coverage_that_the_rows_do_not_support(is_read):
    few, many = (Intervals(0, 0, np.arange(1.0, rows + 1)) for rows in (4, 5000))
    if is_read:  # the file holds 1,001 errors of the 5,000
        few, many = (Intervals.from_file(one.to_file()) for one in (few, many))
    with pytest.warns(UserWarning, match=r"0.99 needs more rows: .* of 4, .* at most 0.8$"):
        found = few.around(np.zeros((1, 1)), 0.99)
    assert found.tolist() == [[-4, 4]]
    assert many.around(np.zeros((1, 1)), 0.9995)[0, 1] >= 4990
    with pytest.warns(UserWarning, match="of 5,000, which support at most 1$"):
        many.around(np.zeros((1, 1)), 0.9999)


def test_narrowed_quantiles_do_not_cross():
    intervals = Intervals(0, 1, np.array([-5.0, -4.0, -3.0]))
    found = intervals.around(np.array([[0.0, 2.0], [0.0, 20.0]]), 0.5)
    assert found.tolist() == [[1.0, 1.0], [4.0, 16.0]]


@pytest.mark.parametrize("coverage", [0, 1, -0.5, "0.9", np.nan])
def test_wrong_coverage(coverage):
    with pytest.raises((TypeError, ValueError), match="coverage must be a number above 0"):
        Intervals(0, 0, np.ones(3)).around(np.zeros((1, 1)), coverage)
