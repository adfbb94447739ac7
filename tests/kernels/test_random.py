"""Dropout's random numbers: known answers, the same mask as the reference, its mean."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_same_bits

from fastnn.native import kernels
from fastnn.program import reference

# Random123's known answers for Philox4x32-10 (counter, key, numbers): kat_vectors.
KNOWN = {
    "zeros": ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": (
        (0xFFFFFFFF,) * 4, 0xFFFFFFFF_FFFFFFFF,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    "pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0_A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}  # fmt: skip


def philox_block(counter, key):
    """The reference generator at any counter, computed for a single block."""
    numbers = reference.philox(1, counter[1], counter[2] | counter[3] << 32, key)
    assert counter[0] == 0
    return tuple(int(n) for n in numbers)


def mask_bits(number, *, seed, step, stream, position=0):
    """The bits of one native number: a rate of r keeps an element where number >= r * 2^32."""
    x = np.ones((1, position + 1))

    def is_kept(threshold):
        rate = threshold / 2**32
        y = kernels.dropout(x, rate, seed=seed, step=step, stream=stream, workers=1)
        return y[0, position] != 0

    return is_kept(number) and (number == 0xFFFFFFFF or not is_kept(number + 1))


def test_reference_gives_the_known_answer_at_zero():
    counter, key, want = KNOWN["zeros"]
    assert philox_block(counter, key) == want


def test_native_gives_the_known_answer_at_zero():
    _, key, want = KNOWN["zeros"]
    for position, number in enumerate(want):
        assert mask_bits(number, seed=key, step=0, stream=0, position=position)
        assert not mask_bits(number ^ 1, seed=key, step=0, stream=0, position=position)


@pytest.mark.parametrize("name", KNOWN)
def test_reference_rounds_give_the_known_answers(name, monkeypatch):
    """`philox` counts blocks from 0; here its first word is moved to the required counter."""
    counter, key, want = KNOWN[name]
    arange = np.arange
    monkeypatch.setattr(
        np, "arange", lambda n, dtype: arange(n, dtype=dtype) + np.uint64(counter[0])
    )
    numbers = reference.philox(1, counter[1], counter[2] | counter[3] << 32, key)
    assert tuple(int(n) for n in numbers) == want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.99, 1 - 2**-40])
@pytest.mark.parametrize(
    "counter",
    [(0, 1, 0), (7, 2**32, 1), (2**64 - 1, 2**64 - 1, 2**32 - 1), (2**40 + 3, 2**40 + 5, 77)],
    ids=str,
)
def test_mask_is_the_reference_mask(dtype, rate, counter, rng):
    seed, step, stream = counter
    for shape in [(1, 1), (3, 21), (65, 67), (0, 5), (1, 64), (2, 65)]:
        x = rng.standard_normal(shape).astype(dtype)
        want = reference.dropout(x, rate, stream, step, seed)
        for workers in (1, 3):
            got = kernels.dropout(x, rate, seed=seed, step=step, stream=stream, workers=workers)
            assert_same_bits(got, want, f"{shape}")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_of_kept_elements(rate):
    y = kernels.dropout(np.ones((1000, 1000), np.float32), rate, seed=11)
    assert abs((y != 0).mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / y.size)
    assert abs(y.mean() - 1) < 0.02


def test_seed_step_stream_and_element_each_change_the_mask():
    x = np.ones((50, 50))
    masks = [
        kernels.dropout(x, 0.5, seed=seed, step=step, stream=stream).tobytes()
        for seed in (0, 1, 2**32) for step in (1, 2, 2**32 + 1) for stream in (0, 1)
    ]  # fmt: skip
    assert len(set(masks)) == len(masks)
    half = kernels.dropout(x, 0.5)
    assert not np.array_equal(half[:25], half[25:])
