"""Every kernel is timed by `make bench`, against another side that computes the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import sides_of_columns  # noqa: F401
import sides_of_layers  # noqa: F401
import sides_of_sparse  # noqa: F401
import sides_of_steps  # noqa: F401
from kernel_sides import CASES, Arrays, entries, equal

from fastnn.native import engine


def test_every_kernel_is_timed():
    assert set(CASES) == entries()
    assert set(CASES) >= set(engine.kernel_names())


@pytest.mark.parametrize("name", ["sum_of_squares", "dropout"])
def test_an_entry_without_a_case_is_noticed(name, monkeypatch):
    """One entry is a kernel of the table, and one is only an entry of kernels.pyx."""
    monkeypatch.delitem(CASES, name)
    with pytest.raises(AssertionError, match=name):
        test_every_kernel_is_timed()


@pytest.mark.parametrize("kernel", CASES)
def test_both_sides_compute_the_same(kernel):
    function, sizes, rows = CASES[kernel]
    for row in rows:
        ours, theirs, *same = function(Arrays("float32"), row, *sizes[0])
        (same[0] if same else equal)(ours(), theirs())
