"""Every kernel of `kernels.pyx` over a range of sizes, compared with NumPy.

A case says what a kernel is called with and what NumPy does for the same numbers; it has the
kernel's name, and takes rows of a registry from the registry. A kernel without a case fails
`test_every_kernel_has_a_case`; a new row of a registry is timed without a change here.
The cases are in `sides_of_*.py`, which register them on import.
"""

import numpy as np
import pytest
import sides_of_columns  # noqa: F401
import sides_of_layers  # noqa: F401
import sides_of_sparse  # noqa: F401
import sides_of_steps  # noqa: F401
import timing
from kernel_sides import CASES, Arrays, entries, equal


def cells():
    """(kernel, row, dtype, sizes) of every cell: float32 at all sizes, float64 at the third."""
    for kernel, (_, sizes, rows) in CASES.items():
        for row in rows:
            chosen = sizes[:2] if timing.QUICK else sizes
            yield from ((kernel, row, "float32", size) for size in chosen)
            if not timing.QUICK:
                yield kernel, row, "float64", sizes[-2]


def name_of(cell):
    kernel, row, dtype, size = cell
    return "-".join(filter(None, (kernel, row, dtype, "x".join(map(str, size)))))


def sides_of(cell):
    kernel, row, dtype, size = cell
    function, _, _ = CASES[kernel]
    fastnn, numpy, *same = function(Arrays(dtype), row, *size)
    return fastnn, numpy, same[0] if same else equal


def test_every_kernel_has_a_case():
    assert entries() == set(CASES)


@pytest.mark.parametrize("kernel", CASES)
def test_the_comparison_can_fail(kernel):
    """One number that is off by a thousandth of the largest is noticed."""
    _, sizes, rows = CASES[kernel]
    fastnn, numpy, same = sides_of((kernel, rows[0], "float32", sizes[1]))
    ours, theirs = fastnn(), numpy()
    same(ours, theirs)
    parts = [np.array(part) for part in (ours if isinstance(ours, tuple) else (ours,))]
    parts[0].flat[-1] += 1e-3 * max(np.abs(part).max(initial=0) for part in parts)
    with pytest.raises(AssertionError):
        same(tuple(parts) if isinstance(ours, tuple) else parts[0], theirs)


@pytest.mark.parametrize("side", ["fastnn", "numpy"])
@pytest.mark.parametrize("cell", list(cells()), ids=name_of)
def test_kernel(cell, side, timed):
    kernel, row, dtype, size = cell
    timed(
        side,
        *sides_of(cell),
        group="-".join(filter(None, (kernel, row))),
        cell={"kernel": kernel, "row": row, "dtype": dtype, "size": " x ".join(map(str, size))},
    )
