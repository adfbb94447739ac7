"""Products in bfloat16: how operands are rounded, the order of sums, and equal bits everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_same_bits

from fastnn.native import engine, kernels
from fastnn.program import reference

# (rows, inputs, units): both sides of what tiles round themselves and of what is packed, odd and
# even sums, blocks of 512 and 256, panels of 64 columns, ragged ones, and turned products.
SIZES = [
    (1, 64, 64), (2, 65, 100), (3, 70, 129), (4, 1, 64), (5, 2, 300), (6, 255, 67), (7, 257, 64),
    (8, 513, 128), (9, 64, 65), (13, 1030, 70), (16, 129, 200), (33, 300, 521), (64, 64, 64),
    (65, 515, 130), (130, 77, 256), (131, 784, 128), (300, 65, 1031), (2, 1030, 1100),
    (4, 1537, 2049), (601, 90, 80), (12, 0, 64), (0, 64, 64), (40, 64, 1), (63, 127, 1), (13, 8, 1),
    (40, 1, 1), (40, 1, 64), (24, 3, 4), (17, 16, 2),
]  # fmt: skip
FORMS = ("bfloat16", "emulated bfloat16")

# What is compared between ISAs, each in a process of its own.
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_bfloat16 import digest
print(digest())
"""


def arrays(size, rng):
    """Return x, kernel and the gradient of the output."""
    rows, inputs, units = size
    shapes = (rows, inputs), (inputs, units), (rows, units)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def products(size, rng, **options):
    """Return what each kernel that is a product computes, by name."""
    x, kernel, grad = arrays(size, rng)
    bias, saved = kernel[:1].sum(axis=0), np.abs(x)
    changed = kernel.copy(), bias.copy(), np.zeros((2, kernel.size + bias.size), np.float32)
    kernels.kernel_gradient_update(
        "adam", x, grad, *changed, learning_rate=0.1, step=1,
        hyper_parameters=(0.9, 0.999, 1e-7), **options,
    )  # fmt: skip
    return {
        "affine": kernels.affine(x, kernel, bias, activation="relu", **options),
        "affine, gelu": kernels.affine(x, kernel, activation="gelu", **options),
        "affine_halves": kernels.affine_halves(x, kernel, **options),
        "input_gradient": kernels.input_gradient(grad, kernel, **options),
        "input_gradient, tanh": kernels.input_gradient(
            grad, kernel, saved, activation="tanh", **options
        ),
        "kernel_gradient": kernels.kernel_gradient(x, grad, **options),
        "kernel_gradient_halves": np.concatenate(
            [part.ravel() for part in kernels.kernel_gradient_halves(x, grad, **options)]
        ),
        "kernel_gradient_update": np.concatenate([part.ravel() for part in changed]),
    }


def digest():
    """Return a hash of those products in which no function of vmath.h differs between ISAs."""
    rng, found = np.random.default_rng(1), hashlib.sha256()
    for size in SIZES:
        if 0 < size[0] <= 8:  # whose gradients are not rounded, nor the same on every ISA
            continue
        for name, result in products(size, rng, precision="bfloat16", workers=1).items():
            if "," not in name and name != "kernel_gradient_update":
                found.update(result.tobytes())
    return found.hexdigest()


def rounded(x):
    """Round to bfloat16 in float64 arithmetic."""
    with np.errstate(invalid="ignore"):
        x = x.astype(np.float64)
    fraction, exponent = np.frexp(np.where(np.isfinite(x), x, 0))
    near = np.ldexp(np.rint(fraction * 256) / 256, exponent)  # rint rounds halves to even
    near = np.where(np.abs(near) >= 2.0**128, np.copysign(np.inf, x), near)
    near = np.where(np.abs(x) < 2.0**-126, np.copysign(0, x), near)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.where(np.isfinite(x), near, x).astype(np.float32)


def in_pairs(a, b, *, second_first=True):
    """Return a @ b as one chain of fused multiply-adds for each element, by pairs of k."""
    a, b = reference.to_bfloat16(a).astype(np.float64), reference.to_bfloat16(b).astype(np.float64)
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(0, a.shape[1], 2):
        pair = range(k, min(k + 2, a.shape[1]))
        for step in reversed(pair) if second_first else pair:
            # The product is exact in float64, and so is nearly every sum before it is rounded.
            total = (total + np.outer(a[:, step], b[step])).astype(np.float32)
    return total


def test_every_number_is_rounded_to_the_nearest(rng):
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, *rng.integers(0, 1 << 16, 4)]
    one = np.ones((1, 64), np.float32)
    for part in lower:
        x = (upper | np.uint32(part)).view(np.float32)
        np.testing.assert_array_equal(reference.to_bfloat16(x), rounded(x))
        for form in FORMS:
            got = kernels.affine(x[:, None], one, precision=form, workers=1)
            np.testing.assert_array_equal(got, np.repeat(rounded(x)[:, None], 64, axis=1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(59, 66, 70), (57, 127, 64), (4, 81, 130), (70, 63, 64)], ids=str)
def test_sums_take_the_second_of_a_pair_first(form, size, rng):
    x, kernel, grad = arrays(size, rng)
    pairs = {
        "affine": (kernels.affine(x, kernel, precision=form), x, kernel),
        "input": (kernels.input_gradient(grad, kernel, precision=form), grad, kernel.T),
        "kernel": (kernels.kernel_gradient(x, grad, precision=form), x.T, grad),
    }
    if size[0] <= 8:
        pairs = {"affine": pairs["affine"]}
    for name, (got, a, b) in pairs.items():
        wanted, other = in_pairs(a, b), in_pairs(a, b, second_first=False)
        assert (got == wanted).mean() > 0.999, (
            name
        )  # float64 sums are rounded twice, here and there
        assert (got == other).mean() < 0.98, f"{name}: the comparison could not fail"


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products_are_those_of_rounded_operands(size, rng):
    x, kernel, grad = arrays(size, rng)
    few = size[0] <= 8
    for call, a, b, operands, is_rounded in (
        (kernels.affine, x, kernel, (x, kernel), True),
        (kernels.input_gradient, grad, kernel.T, (grad, kernel), not few),
        (kernels.kernel_gradient, x.T, grad, (x, grad), not few),
    ):
        if is_rounded:
            a, b = reference.to_bfloat16(a), reference.to_bfloat16(b)
        a, b = a.astype(np.float64), b.astype(np.float64)
        bound = 2 * (a.shape[1] + 2) * np.finfo(np.float32).eps * (np.abs(a) @ np.abs(b))
        for form in FORMS:
            error = np.abs(call(*operands, precision=form) - a @ b)
            assert (error <= bound).all(), f"{call.__name__}, {form}: {error.max()}"


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forms_and_workers_give_the_same_bits(size):
    wanted = products(size, np.random.default_rng(2), precision="emulated bfloat16", workers=1)
    for form in FORMS:
        for workers in (1, 2, 3):
            got = products(size, np.random.default_rng(2), precision=form, workers=workers)
            for name, result in got.items():
                assert_same_bits(result, wanted[name], f"{name}, {form}, {workers} workers")


def test_a_row_has_the_same_bits_in_any_batch(rng):
    for inputs, units in ((300, 521), (2050, 1537)):
        x, kernel, _ = arrays((40, inputs, units), rng)
        wanted = kernels.affine(x, kernel, precision="bfloat16")
        for rows in (1, 2, 3, 4, 5, 6, 7, 8, 9, 33):
            got = kernels.affine(x[:rows], kernel, precision="bfloat16")
            assert_same_bits(got, wanted[:rows], f"{rows} rows of {inputs} x {units}")


def test_numbers_that_are_not_finite_and_denormals_go_through_both_forms(rng):
    x, kernel, grad = arrays((40, 129, 70), rng)
    kinds = [np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3.39e38, -3.39e38, 1e-30, 0.0, -0.0]
    for kind in kinds:
        x[rng.integers(0, 40), rng.integers(0, 129)] = kind
        kernel[rng.integers(0, 129), rng.integers(0, 70)] = kind
        grad[rng.integers(0, 40), rng.integers(0, 70)] = kind
    for call, operands in (
        (kernels.affine, (x, kernel)),
        (kernels.input_gradient, (grad, kernel)),
        (kernels.kernel_gradient, (x, grad)),
    ):
        native, emulated = (call(*operands, precision=form, workers=1) for form in FORMS)
        np.testing.assert_array_equal(native, emulated, call.__name__)
        assert np.isnan(native).any()


def test_gradients_of_few_rows_are_not_rounded(rng):
    x, kernel, grad = arrays((8, 128, 192), rng)
    for call, operands in (
        (kernels.input_gradient, (grad, kernel)),
        (kernels.kernel_gradient, (x, grad)),
    ):
        assert_same_bits(call(*operands, precision="bfloat16"), call(*operands), call.__name__)
    x, kernel, grad = arrays((9, 128, 192), rng)
    assert (kernels.kernel_gradient(x, grad, precision="bfloat16")
            != kernels.kernel_gradient(x, grad)).any()  # fmt: skip


@pytest.mark.parametrize("isa", engine.supported_isas())
def test_every_isa_gives_the_same_bits(isa):
    environment = {**os.environ, "FASTNN_ISA": isa}
    paths = os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "..", "support")
    environment["PYTHONPATH"] = paths[1]
    made = subprocess.run(
        [sys.executable, "-c", CHILD, paths[0]], env=environment, cwd="/", text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == digest()


def test_the_limit_of_arithmetic_is_measured_with_pairs(rng):
    for width in (1, 67, 1031):
        x = rng.standard_normal((3, width), np.float32)
        wanted = x + np.float32(6 * 0.80078125 * -0.6015625)
        for form in FORMS:
            for workers in (1, 2):
                got = kernels.multiply_add(
                    x, times=3, factor=0.7999, addend=-0.6, precision=form, workers=workers
                )
                np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_float64_and_unknown_precisions_are_refused(rng):
    x, kernel, _ = (array.astype(np.float64) for array in arrays((3, 64, 64), rng))
    with pytest.raises(ValueError, match="needs arrays of float32, got float64"):
        kernels.affine(x, kernel, precision="bfloat16")
    with pytest.raises(ValueError, match="unknown precision 'bfloat61'; did you mean 'bfloat16'"):
        kernels.affine(x, kernel, precision="bfloat61")
