"""Every kernel against the reference formulas: sizes, dtypes, workers, NaN and infinities."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, TOLERANCE, as_tuple, assert_close, assert_same_bits
from kernel_cases import CASES, MATH, SIZES, expected

from fastnn.native import engine, kernels
from fastnn.program import ops, reference

every_case = pytest.mark.parametrize("name", CASES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def options(case, dtype):
    return {"dtype": dtype} if case.kernel == "gather" else {}


def test_every_kernel_has_a_case():
    assert {case.kernel for case in CASES.values()} == set(engine.kernel_names())
    assert {row.kernel for row in ops.OPS.values()} - {""} <= set(engine.kernel_names())


@pytest.mark.parametrize(
    ("rows", "formulas"),
    [
        (kernels.ACTIVATIONS, reference.ACTIVATION_FORMULAS),
        (kernels.LOSSES, reference.LOSS_FORMULAS),
        (kernels.OPTIMIZERS, reference.OPTIMIZER_FORMULAS),
        (kernels.MATH, MATH),
    ],
    ids=["activations", "losses", "optimizers", "math"],
)
def test_every_row_of_a_c_table_has_a_formula(rows, formulas):
    assert set(rows) == set(formulas)


@every_case
@every_dtype
def test_agrees_with_reference_at_every_size(name, dtype, rng):
    case = CASES[name]
    sizes = SIZES + [(3, 0)] * (case.least_width == 0)
    for size in sizes:
        arrays = case.make(rng, dtype, *size)
        results = as_tuple(case.call(**arrays, workers=1, **options(case, dtype)))
        wanted = as_tuple(expected(case, arrays))
        for result, want in zip(results, wanted, strict=True):
            assert_close(result, want, TOLERANCE[dtype], f"{name}, {size}")


@every_case
@every_dtype
def test_same_bits_for_any_number_of_workers_and_for_read_only_inputs(name, dtype, rng):
    case = CASES[name]
    for size in [(0, 3), (1, 1), (5, 15), (7, 257), (131, 33), (50, 97)]:
        arrays = case.make(rng, dtype, *size)
        alone = as_tuple(case.call(**arrays, workers=1, **options(case, dtype)))
        for array in arrays.values():
            array.flags.writeable = False
        for workers in (2, 3):  # even and uneven shares
            together = as_tuple(case.call(**arrays, workers=workers, **options(case, dtype)))
            for one, other in zip(alone, together, strict=True):
                assert_same_bits(other, one, f"{name}, {size}, {workers} workers")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.has_out])
@every_dtype
def test_out_is_written_and_returned(name, dtype, rng):
    case = CASES[name]
    arrays = case.make(rng, dtype, 5, 19)
    new = case.call(**arrays, **options(case, dtype))
    assert new.dtype == dtype
    padded = np.full(new.size + 32, 7, dtype)
    out = padded[16:-16].reshape(new.shape)
    assert case.call(**arrays, **options(case, dtype), out=out) is out
    assert_same_bits(out, new)
    assert (padded[:16] == 7).all(), "wrote before out"
    assert (padded[-16:] == 7).all(), "wrote after out"


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, (3, 37)) for name in CASES]
    # in narrow rows each lane of a vector holds one row
    + [(name, (19, 5)) for name in CASES if "crossentropy" in name],
    ids=str,
)
@every_dtype
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf], ids=str)
def test_nan_and_infinities_at_every_position(name, size, dtype, special, rng):
    """First element, a vector's body, the ragged tail: as in the reference, no other changes."""
    case = CASES[name]
    workers = 2 if np.isnan(special) else 1  # the ends of shares do not depend on the numbers
    clean = case.make(rng, dtype, *size)
    for argument, array in clean.items():
        if array.dtype.kind != "f" or array.size == 0 or argument in case.whole:
            continue
        for position in (0, 5, 16, 33, array.size // 2, array.size - 1):
            changed = array.copy()
            changed.flat[position % array.size] = special
            arrays = {**clean, argument: changed}
            with np.errstate(invalid="ignore"):
                results = as_tuple(case.call(**arrays, workers=workers, **options(case, dtype)))
            wanted = as_tuple(expected(case, arrays))
            for result, want in zip(results, wanted, strict=True):
                assert_close(
                    result, want, TOLERANCE[dtype], f"{name}, {argument}[{position}] = {special}"
                )


@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
@every_dtype
@pytest.mark.parametrize("size", [(7, 33, 21), (35, 3, 128)], ids=str)
def test_affine_writes_the_preactivation_that_backward_reads(name, size, dtype, rng):
    rows, inputs, units = size
    x, kernel = (rng.standard_normal(s).astype(dtype) for s in ((rows, inputs), (inputs, units)))
    z = np.empty((rows, units), dtype)
    y = kernels.affine(x, kernel, activation=name, preactivation=z, workers=2)
    assert_same_bits(z, kernels.affine(x, kernel))
    assert_same_bits(y, kernels.activation(z, name))
    assert_same_bits(y, kernels.affine(x, kernel, activation=name))


@pytest.mark.parametrize(
    "name", [name for name, (_, parameter, _) in kernels.ACTIVATIONS.items() if parameter]
)
@every_dtype
def test_activation_parameter_is_used(name, dtype, rng):
    x, grad = (rng.standard_normal((3, 21)).astype(dtype) for _ in range(2))
    forward, derivative = reference.ACTIVATION_FORMULAS[name]
    want = forward(x.astype(np.float64), 0.7)
    assert_close(kernels.activation(x, name, parameter=0.7), want, TOLERANCE[dtype])
    want = grad * derivative(x.astype(np.float64), 0.7)
    got = kernels.activation_gradient(x, grad, name, parameter=0.7)
    assert_close(got, want, TOLERANCE[dtype])


@pytest.mark.parametrize("count", range(1, engine.MAX_INPUTS_OF_CONCATENATE + 1))
def test_concatenate_takes_any_number_of_arrays(count, rng):
    arrays = [rng.standard_normal((5, 2 * i + 1)) for i in range(count)]
    assert_same_bits(kernels.concatenate(arrays), np.concatenate(arrays, axis=1))


def test_concatenate_skips_an_array_without_columns(rng):
    arrays = [rng.standard_normal((5, width)) for width in (2, 0, 3)]
    assert_same_bits(kernels.concatenate(arrays), np.concatenate(arrays, axis=1))


def test_crossentropy_of_masked_classes_is_finite():
    """A logit of -inf excludes a class; with labels the loss of the others stays finite."""
    logits = np.array([[0.0, -np.inf, 0.0], [-np.inf, 3.0, -np.inf]])
    losses, gradient = kernels.softmax_crossentropy(logits, np.array([2, 1], np.int32))
    assert_close(losses, [np.log(2), 0], 1e-15)
    assert_close(gradient, [[0.25, 0, -0.25], [0, 0, 0]], 1e-15)


def test_softmax_of_extreme_logits_neither_overflows_nor_vanishes():
    x = np.array([[1e4, 0.0, -1e4], [-1e30, -1e30, -1e30], [-np.inf, 0, 0]], np.float32)
    want = [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]]
    assert_close(kernels.softmax(x), want, 1e-6)
