"""Gather: every source dtype to every target, with and without an order, strided rows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits

from fastnn.native import kernels

SOURCES = ["float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
           "int64"]  # fmt: skip
TARGETS = ["float32", "float64", "int32"]


def source_array(rng, dtype, shape):
    if np.dtype(dtype).kind == "f":
        return (100 * rng.standard_normal(shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -(2**31)), min(limits.max, 2**31 - 1), shape, dtype)


def test_every_source_dtype_has_a_number():
    assert [kernels.source_number(dtype) for dtype in SOURCES] == list(range(len(SOURCES)))
    assert kernels.source_number("float16") is None


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_rows_are_taken_in_order_and_converted(source, target, rng):
    for rows, width in [(0, 3), (1, 1), (5, 7), (33, 17), (65, 64), (4, 0)]:
        wide = source_array(rng, source, (rows + 2, 2 * width + 1))
        order = rng.integers(0, rows + 2, rows)
        for array in (wide, wide[:, :width], wide[::2, 1 : width + 1], wide[::-1, :width]):
            for numbers in (None, order[order < len(array)]):
                taken = array if numbers is None else array[numbers]
                want = taken.astype(target)
                for workers in (1, 3):
                    got = kernels.gather(array, numbers, dtype=target, workers=workers)
                    assert_same_bits(got, want, f"{array.shape}, {workers} workers")


def test_largest_integers_are_converted(rng):
    source = np.array([[2**64 - 1, 2**63, 0]], np.uint64)
    for dtype in ("float32", "float64"):
        assert_same_bits(kernels.gather(source, None, dtype=dtype), source.astype(dtype))


def test_read_only_source_and_out(rng):
    source = rng.standard_normal((6, 5))
    source.flags.writeable = False
    order = np.array([5, 0, 0])
    order.flags.writeable = False
    out = np.empty((3, 5), np.float32)
    assert kernels.gather(source, order, dtype="float32", out=out) is out
    assert_same_bits(out, source[order].astype(np.float32))


@pytest.mark.parametrize("order", [[0, 6], [-1], [2**62]], ids=str)
def test_order_outside_the_rows_is_refused(order):
    with pytest.raises(ValueError, match=r"order must lie in \[0, 6\)"):
        kernels.gather(np.zeros((6, 5)), np.array(order), dtype="float32")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (np.zeros((2, 2), np.float16), TypeError), (np.zeros((2, 2), bool), TypeError),
        (np.zeros((2, 2), complex), TypeError), (np.zeros((2, 2), ">f4"), TypeError),
        ([[1.0]], TypeError), (None, TypeError), (np.zeros(3), ValueError),
        (np.zeros((3, 4)).T, ValueError), (np.zeros((3, 4))[:, ::2], ValueError),
        (np.zeros(33, np.uint8)[1:].view("f8").reshape(2, 2), ValueError),
    ],
    ids=["float16", "bool", "complex", "byte order", "list", "None", "1-D", "transposed",
         "every other column", "misaligned"],
)  # fmt: skip
def test_bad_source_is_refused_by_name(source, error):
    with pytest.raises(error, match="source"):
        kernels.gather(source, None, dtype="float32")


@pytest.mark.parametrize("dtype", ["float16", "int8", "int64", "complex128"])
def test_bad_target_dtype_is_refused(dtype):
    with pytest.raises((TypeError, ValueError), match="dtype"):
        kernels.gather(np.zeros((2, 2)), None, dtype=dtype)


def test_order_of_a_wrong_dtype_is_refused():
    with pytest.raises(TypeError, match="order"):
        kernels.gather(np.zeros((2, 2)), np.array([0], np.int32), dtype="float32")
