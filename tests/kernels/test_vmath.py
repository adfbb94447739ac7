"""Accuracy of src_c/vmath.h: at most 4 units in the last place, special values as in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_same_bits, assert_ulp
from kernel_cases import MATH
from scipy import special

from fastnn.native import kernels

LIMIT = 4  # ULP, as promised
every_function = pytest.mark.parametrize("name", kernels.MATH)
needs_wide_longdouble = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="no number type wider than float64"
)


def erf_longdouble(x):
    """erf(x) = 2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n + 1) / (2n + 1)!!: only positive terms."""
    a = np.minimum(np.abs(x), 7)
    term = total = a
    for n in range(1, 220):
        term = term * (2 * a * a / (2 * n + 1))
        total = total + term
    pi = np.longdouble("3.14159265358979323846264338327950288")
    return np.copysign(2 / np.sqrt(pi) * np.exp(-a * a) * total, x)


def sigmoid_longdouble(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus_longdouble(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


LONGDOUBLE = {
    **MATH,
    "sigmoid": sigmoid_longdouble,
    "erf": erf_longdouble,
    "softplus": softplus_longdouble,
}


def samples(rng, dtype, count=100_000):
    """All bit patterns equally likely, then numbers of every size that matters to a function."""
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        patterns = rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True)
        denormals = rng.integers(0, 2**limits.nmant, count // 10, unsigned)
        sizes = 10 ** rng.uniform(-9, np.log10(-limits.minexp), count)
        near_one = 1 + rng.uniform(-0.6, 0.6, count // 4)
        x = np.concatenate([
            patterns.view(dtype), denormals.view(dtype), -denormals.view(dtype),
            (rng.choice([-1, 1], count) * sizes).astype(dtype), near_one.astype(dtype),
            -near_one.astype(dtype),
        ])  # fmt: skip
    assert x.size >= 200_000
    return x


def native(name, x):
    return kernels.math(x[None], name, workers=1)[0]


@every_function
def test_float32_within_four_ulp(name, rng):
    x = samples(rng, "float32")
    with np.errstate(all="ignore"):
        exact = MATH[name](x.astype(np.float64))
    assert_ulp(x, native(name, x), exact, LIMIT)


@needs_wide_longdouble
@every_function
def test_float64_within_four_ulp(name, rng):
    x = samples(rng, "float64")
    with np.errstate(all="ignore"):
        exact = LONGDOUBLE[name](x.astype(np.longdouble))
    assert_ulp(x, native(name, x), exact, LIMIT)


@every_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_as_in_numpy_at_every_lane(name, dtype):
    """NaN, infinities and zeros with their signs, in a vector's body and its tail."""
    specials = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]
    with np.errstate(all="ignore"):
        want = MATH[name](np.array(specials))
        want = want.astype(dtype)
    for position in range(37):
        x = np.full(37, 0.5, dtype)
        x[position:] = np.resize(specials, 37)[: 37 - position]
        got = native(name, x)[position:]
        wanted = np.resize(want, 37)[: 37 - position]
        is_special = ~np.isfinite(wanted) | (wanted == 0)
        np.testing.assert_array_equal(got[is_special], wanted[is_special])
        zero = wanted == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(wanted[zero]))
        one = np.abs(wanted) == 1
        np.testing.assert_array_equal(got[one], wanted[one])


@every_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_gives_the_same_bits_wherever_it_stands(name, dtype, rng):
    x = rng.uniform(0.01, 5, 71).astype(dtype)
    together = native(name, x)
    for i in range(71):
        assert_same_bits(native(name, x[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_become_denormal_and_then_zero(dtype):
    limits = np.finfo(dtype)
    low = float(np.log(np.longdouble(limits.smallest_subnormal)))
    x = np.linspace(low - 2, float(np.log(limits.smallest_normal)) + 1, 50).astype(dtype)
    y = native("exp", x)
    assert y[0] == 0
    assert (np.diff(y) >= 0).all()
    assert ((y > 0) & (y < limits.smallest_normal)).sum() > 10


@every_function
def test_largest_arguments_do_not_overflow_on_the_way(name):
    x = np.array([88.7, 709.7, 1e30, 3e38], np.float64)
    for dtype in DTYPES:
        part = x.astype(dtype)
        with np.errstate(all="ignore"):
            want = MATH[name](part.astype(np.float64)).astype(dtype)
        np.testing.assert_array_equal(np.isfinite(native(name, part)), np.isfinite(want))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "erf", "log"])
def test_every_float32(name):
    """All 2^32 bit patterns."""
    step = 2**22
    for first in range(0, 2**32, step):
        x = np.arange(first, first + step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = MATH[name](x.astype(np.float64))
        assert_ulp(x, native(name, x), exact, LIMIT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_keeps_its_digits_far_below_zero(dtype):
    """x * (1 + erf) / 2 loses all digits to cancellation there; the limits are 0 and 1."""
    x = np.linspace(-12, 12, 100_001).astype(dtype)[None]
    wide = x.astype(np.float64)
    exact = wide * special.ndtr(wide)
    slack = 1 + wide**2  # the rounding of x * x / 2 is an error of the density
    error = np.abs(kernels.activation(x, "gelu") - exact) / (np.abs(exact) + 1e-300)
    assert (error <= 4 * slack * np.finfo(dtype).eps).all()
    ends = np.array([[-np.inf, -1e30, 1e30, np.inf]], dtype)
    assert kernels.activation(ends, "gelu").tolist() == [[0, 0, float(ends[0, 2]), np.inf]]
    assert kernels.activation_gradient(ends, np.ones_like(ends), "gelu").tolist() == [[0, 0, 1, 1]]
