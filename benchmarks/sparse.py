"""Sparse rows compared with a dense copy of them: `fit` in turn, in one process.

Run it as `python benchmarks/sparse.py`. 20,000 columns, one in a hundred of them nonzero,
Dense(128) with relu, Dense(10), Adam, batch 256. Both sides train on the same rows in the same
order, and end with the same weights. Prints one line of a Markdown table.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from timing import QUICK, paired

import fastnn as fnn

COLUMNS, DENSITY, UNITS, BATCH = 20_000, 0.01, 128, 256
ROWS = 1024 if QUICK else 8192
PAIRS = 3 if QUICK else 9


def build() -> fnn.Sequential:
    """Return the network, compiled."""
    layers = [fnn.Dense(UNITS, activation="relu"), fnn.Dense(10)]
    model = fnn.Sequential(layers, input_shape=(COLUMNS,), seed=0)
    model.compile(fnn.Adam(1e-3), "crossentropy")
    return model


def main() -> None:
    """Print the measurements."""
    rng = np.random.default_rng(0)
    x = sparse.random_array((ROWS, COLUMNS), density=DENSITY, dtype=np.float32, rng=rng).tocsr()
    y = rng.integers(0, 10, ROWS)
    dense, ours, theirs = x.toarray(), build(), build()

    def epoch(model: fnn.Model, data: object) -> None:
        model.fit(data, y, batch_size=BATCH, verbose=0)

    epoch(ours, x)
    epoch(theirs, dense)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    found = paired(lambda: epoch(ours, x), lambda: epoch(theirs, dense), PAIRS)
    steps = -(-ROWS // BATCH)
    facts = fnn.show_config("dict")
    assert facts is not None
    print(
        f"| {COLUMNS:,} columns, {DENSITY:.0%} there, Dense({UNITS}), Adam, batch {BATCH} "
        f"| sparse {1e3 * found['fastnn_seconds'] / steps:.2f} ms a step "
        f"| dense {1e3 * found['numpy_seconds'] / steps:.2f} ms a step "
        f"| {found['ratio']:.2f} ({found['ratio_q1']:.2f} to {found['ratio_q3']:.2f}) "
        f"| {found['pairs']} pairs, {facts['processor']}, {facts['isa']}, "
        f"{facts['threads']} threads |"
    )


if __name__ == "__main__":
    main()
