"""Each checker is given a right answer and wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, assert_ulp, numeric_gradient, ulp_error


@pytest.mark.parametrize(
    "wrong",
    [[1.0, 2.1], [1.0, np.nan], [1.0, np.inf], [0.0, 0.0], [1.0], [[1.0, 2.0]]],
    ids=str,
)
def test_assert_close_refuses_wrong_answers(wrong):
    assert_close([1.0, 2.0 + 1e-9], [1.0, 2.0], 1e-6)
    with pytest.raises(AssertionError):
        assert_close(wrong, [1.0, 2.0], 1e-6)


def test_assert_close_wants_nan_and_infinities_at_the_same_places():
    special = [np.nan, np.inf, -np.inf, 1.0]
    assert_close(special, special, 1e-6)
    for wrong in ([0, np.inf, -np.inf, 1], [np.nan, -np.inf, -np.inf, 1], [np.nan, 1, -np.inf, 1]):
        with pytest.raises(AssertionError):
            assert_close(wrong, special, 1e-6)


@pytest.mark.parametrize(
    "wrong",
    [np.array([np.nextafter(1, 2), 0.0]), np.array([1.0, -0.0]), np.array([1, 0], np.float32),
     np.array([1.0])],
    ids=["last bit", "sign of zero", "dtype", "shape"],
)  # fmt: skip
def test_assert_same_bits_refuses_wrong_answers(wrong):
    right = np.array([1.0, 0.0])
    assert_same_bits(right.copy(), right)
    with pytest.raises(AssertionError):
        assert_same_bits(wrong, right)


def test_ulp_error_counts_units_of_normal_and_denormal_numbers():
    x = np.array([1.0, 1e-40, 3.4e38, -2.5], np.float32)
    exact = x.astype(np.float64)
    off_by_two = np.nextafter(np.nextafter(x, np.float32(0)), np.float32(0))
    np.testing.assert_array_equal(ulp_error(x, exact), 0)
    np.testing.assert_allclose(ulp_error(off_by_two, exact), [1, 2, 2, 2])


def test_ulp_error_of_overflow_and_nan():
    largest = np.finfo(np.float32).max
    got = np.array([np.inf, largest, np.nan, 1, np.nan, np.inf, -np.inf], np.float32)
    exact = np.array([1e39, 1e39, np.nan, np.nan, 1.0, 1.0, np.inf])
    error = ulp_error(got, exact)
    np.testing.assert_array_equal(error[[0, 2, 3, 4]], [0, 0, np.inf, np.inf])
    assert 0.9 < error[1] < 1.1
    assert (error[5:] > 1e6).all(), error


def test_assert_ulp_refuses_a_wrong_answer():
    x = np.array([1.0, 2.0])
    assert_ulp(x, np.exp(x), np.exp(x.astype(np.longdouble)), 1)
    with pytest.raises(AssertionError, match=r"f\(.*2\.0"):
        assert_ulp(x, np.exp(x) * [1, 1 + 1e-14], np.exp(x.astype(np.longdouble)), 4)


def test_numeric_gradient_knows_a_right_derivative_from_a_wrong_one():
    x = np.array([[1.0, -2.0, 0.5]])
    found = numeric_gradient(lambda x: float((x**3).sum()), x)
    assert_close(found, 3 * x**2, 1e-8)
    with pytest.raises(AssertionError):
        assert_close(found, 3.001 * x**2, 1e-8)
