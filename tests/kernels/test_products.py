"""The products of a dense layer, at sizes that cross every block, panel and tile."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_same_bits

from fastnn.native import kernels

# (rows, inputs, units). Sums are split at 256, panels of columns at 64 or less, tiles of rows at
# 8 or less, shares of rows at 16; B is packed if its rows are longer than 4 KiB and 48 rows of A
# use them, in pieces of about 4,000 of k, and A beyond 256 KiB. Sums of at most 4 terms have a
# separate path where panels are whole, 32 rows at a time. Of up to 8 rows and kernels from 64 KiB
# on (with AVX-512, 2 rows and 4 MiB), B is read in order, 4 rows at a time, to 24 KiB of results.
SIZES = [
    (0, 3, 2), (1, 1, 1), (1, 1031, 1), (2, 255, 3), (3, 256, 5), (5, 257, 7), (7, 513, 9),
    (6, 3, 63), (8, 3, 64), (9, 3, 65), (13, 17, 127), (23, 31, 129), (24, 1, 33), (25, 2, 48),
    (47, 5, 15), (49, 15, 16), (3, 16, 17), (1, 2, 1031), (61, 7, 515), (97, 40, 600),
    (150, 300, 521), (1031, 6, 10), (401, 390, 70), (64, 64, 64), (4, 0, 3), (3, 2, 0),
    (50, 300, 1031), (49, 4100, 1030), (37, 64, 1), (70, 128, 2), (33, 3, 192), (67, 4, 64),
    (4, 9, 128), (1, 300, 1000), (2, 517, 600), (1, 37, 7500), (2, 1030, 1021), (3, 71, 515),
    (5, 130, 300), (8, 259, 801), (7, 1100, 1030), (90, 520, 2100),
]  # fmt: skip


def arrays_of_a_layer(size, dtype, rng):
    """Return x, kernel, bias, the gradient of the output, and the previous layer's saved values."""
    rows, inputs, units = size
    shapes = (rows, inputs), (inputs, units), (units,), (rows, units), (rows, inputs)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_product(got, a, b, where):
    """Fail unless each element is as close to a @ b as a sum in its dtype must be."""
    a, b = a.astype(np.float64), b.astype(np.float64)  # their own error is within the bound
    bound = 2 * (a.shape[1] + 2) * np.finfo(got.dtype).eps * (np.abs(a) @ np.abs(b))
    assert got.shape == bound.shape, where
    error = np.abs(got - a @ b)
    assert (error <= bound).all(), f"{where}: {(error - bound).max():.3g} beyond the bound"


def test_assert_product_refuses_wrong_answers(rng):
    a, b = rng.standard_normal((3, 5)), rng.standard_normal((5, 4))
    assert_product(a @ b, a, b, "")
    for wrong in (np.zeros((3, 4)), (a @ b) * (1 + 1e-12), (a @ b)[:, :3], a @ b * np.nan):
        with pytest.raises(AssertionError):
            assert_product(wrong, a, b, "")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_every_size(size, dtype, rng):
    rows, inputs, units = size
    x = rng.standard_normal((rows, inputs)).astype(dtype)
    kernel = rng.standard_normal((inputs, units)).astype(dtype)
    grad = rng.standard_normal((rows, units)).astype(dtype)
    assert_product(kernels.affine(x, kernel, workers=1), x, kernel, "affine")
    assert_product(kernels.input_gradient(grad, kernel, workers=1), grad, kernel.T, "input")
    assert_product(kernels.kernel_gradient(x, grad, workers=1), x.T, grad, "kernel")
    ones = np.ones((1, rows), dtype)
    assert_product(kernels.bias_gradient(grad, workers=1)[None], ones, grad, "bias")


@pytest.mark.parametrize("size", [*SIZES, *((64, 1, units) for units in range(1, 6)), (9, 1, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_every_size_are_applied(size, dtype, rng):
    rows, inputs, units = size
    x = rng.standard_normal((rows, inputs)).astype(dtype)
    grad = rng.standard_normal((rows, units)).astype(dtype)
    kernel, bias = np.zeros((inputs, units), dtype), np.zeros(units, dtype)
    state = np.zeros((0, kernel.size + units), dtype)
    kernels.kernel_gradient_update("sgd", x, grad, kernel, bias, state, learning_rate=1.0, step=1)
    assert_product(-kernel, x.T, grad, "kernel")
    assert_product(-bias[None], np.ones((1, rows), dtype), grad, "bias")


@pytest.mark.parametrize("inputs", [3, 18, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_halves_of_a_product_add_up(inputs, dtype, rng):
    x = rng.standard_normal((35, inputs)).astype(dtype)
    kernel = rng.standard_normal((inputs, 128)).astype(dtype)
    halves = kernels.affine_halves(x, kernel)
    assert_product(halves[:, :128] + halves[:, 128:], x, kernel, f"halves of {inputs}")


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_activation_in_a_product_is_the_one_behind_it(size, dtype, activation, rng):
    x, kernel, bias, grad, saved = arrays_of_a_layer(size, dtype, rng)
    wanted = kernels.activation(kernels.affine(x, kernel, bias), name=activation)
    np.testing.assert_array_equal(kernels.affine(x, kernel, bias, activation=activation), wanted)
    wanted = kernels.activation_gradient(
        saved, kernels.input_gradient(grad, kernel), name=activation
    )
    got = kernels.input_gradient(grad, kernel, saved, activation=activation)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("size", [(1024, 256), (4097, 70), (65, 20000)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_gradient_that_exceeds_the_cache_is_summed_in_chunks(size, dtype, rng):
    grad = rng.standard_normal(size).astype(dtype)
    alone = kernels.bias_gradient(grad, workers=1)
    assert_product(alone[None], np.ones((1, len(grad)), dtype), grad, "bias")
    for workers in (2, 3):
        assert_same_bits(kernels.bias_gradient(grad, workers=workers), alone, f"{workers} workers")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_have_the_same_bits_for_any_number_of_workers(size, dtype, rng):
    x, kernel, bias, grad, saved = arrays_of_a_layer(size, dtype, rng)

    def results(workers):
        return [
            kernels.affine(x, kernel, bias, activation="tanh", workers=workers),
            kernels.input_gradient(grad, kernel, saved, activation="elu", workers=workers),
            kernels.kernel_gradient(x, grad, workers=workers),
            kernels.bias_gradient(grad, workers=workers),
        ]

    alone = results(1)
    for workers in (2, 3):
        for one, other in zip(alone, results(workers), strict=True):
            assert_same_bits(other, one, f"{workers} workers")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_depend_on_the_rows_beside_it(dtype, rng):
    """As a result, predict computes the same numbers for a sample alone and in a batch."""
    x = rng.standard_normal((53, 300)).astype(dtype)
    kernel = rng.standard_normal((300, 90)).astype(dtype)
    together = kernels.affine(x, kernel)
    for row in (0, 1, 23, 24, 52):
        assert_same_bits(kernels.affine(x[row : row + 1], kernel), together[row : row + 1])


@pytest.mark.parametrize("special", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_reach_their_row_and_column_and_no_other(dtype, special, rng):
    """Across blocks of the sum, packed panels and ragged tiles."""
    rows, inputs, units = 50, 270, 81
    x = np.abs(rng.standard_normal((rows, inputs))).astype(dtype) + 1
    kernel = np.abs(rng.standard_normal((inputs, units))).astype(dtype) + 1
    for k in (0, 255, 256, inputs - 1):
        for row in (0, 25, rows - 1):
            changed = x.copy()
            changed[row, k] = special
            touched = ~np.isfinite(kernels.affine(changed, kernel))
            assert touched[row].all()
            assert touched.sum() == units
            touched = ~np.isfinite(kernels.kernel_gradient(changed, x[:, :81].copy()))
            assert touched[k].all()
            assert touched.sum() == 81
        for column in (0, 63, 64, units - 1):
            changed = kernel.copy()
            changed[k, column] = special
            touched = ~np.isfinite(kernels.affine(x, changed))
            assert touched[:, column].all()
            assert touched.sum() == rows
            grad = np.ones((rows, units), dtype)
            touched = ~np.isfinite(kernels.input_gradient(grad, changed))
            assert touched[:, k].all()
            assert touched.sum() == rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [0, 1, 10, 16, 17, 32, 64, 600])
@pytest.mark.parametrize(
    ("rows", "inputs"), [(256, 785), (300, 1100), (1, 5), (0, 3), (70, 3), (20, 4100)]
)
def test_update_in_the_gradient_at_sizes_that_are_packed(dtype, units, rows, inputs, rng):
    """Blocks of a packed operand, more rows than a block, the same bits as the plain gradient."""
    x = rng.standard_normal((rows, inputs)).astype(dtype)
    grad = rng.standard_normal((rows, units)).astype(dtype)
    wanted, bias_wanted = kernels.kernel_gradient(x, grad, workers=1), grad.sum(axis=0)
    for workers in (1, 2, 3):
        kernel, bias = np.zeros((inputs, units), dtype), np.zeros(units, dtype)
        kernels.kernel_gradient_update(
            "sgd", x, grad, kernel, bias, np.zeros((0, inputs * units + units), dtype),
            learning_rate=1.0, step=1, workers=workers,
        )  # fmt: skip
        assert_same_bits(kernel, 0 - wanted)
        assert_close(bias, 0 - bias_wanted, 1e-3 if dtype == "float32" else 1e-10)
