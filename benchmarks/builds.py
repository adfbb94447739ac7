"""Two builds of fastnn, cell by cell of `peers.py`: is any work slower than it was?

    git worktree add ../before COMMIT && cd ../before && make .venv/stamps/installed && cd -
    .venv/bin/python benchmarks/builds.py ../before/.venv/bin/python ../before/benchmarks

Both builds run in processes of their own, start from the same weights and take the same rows; their
answers are compared bit for bit. Then blocks of work are timed in turn, AB BA AB. A ratio is the
time before divided by the time after, the median over the pairs: above 1 the new build is faster.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import timing
from peer_cells import CELLS, FASTNN, Cell, Peer
from peer_data import arrays_of
from peer_referee import HERE, Process, SideError

KINDS = ("step", "epoch", "predict")
BLOCK_SECONDS = 0.1


def measure(
    cell: Cell, sides: tuple[tuple[str, Path], tuple[str, Path]], log: IO, pairs: int
) -> dict[str, Any]:
    """Compare the answers of both builds in a cell, then time pairs.

    Parameters
    ----------
    cell : Cell
    sides : tuple of (interpreter, folder of benchmarks)
        Before and after.
    log : file
        Where standard error goes.
    pairs : int

    Returns
    -------
    dict
        "ratio", "ratio_q1", "ratio_q3", "before" and "after" in seconds, "same_bits".
    """
    peer = Peer(FASTNN.library, cell.threads)
    processes = [Process(peer, cell.isa, log, *side) for side in sides]
    try:
        with tempfile.TemporaryDirectory() as folder:
            arrays, answers = f"{folder}/arrays.npz", [f"{folder}/{i}.npy" for i in range(2)]
            arrays_of(cell).save(arrays)
            for process, answer in zip(processes, answers, strict=True):
                process.ask("prepare", cell=cell.name, arrays=arrays, answer=answer)
            same_bits = np.array_equal(*map(np.load, answers))
        for process in processes:
            process.ask("calibrate", block_seconds=BLOCK_SECONDS)

        def pair(number: int) -> tuple[float, float]:
            order = (0, 1) if number % 2 == 0 else (1, 0)
            found = {i: processes[i].ask("block", seed=number)["seconds"] for i in order}
            return found[0], found[1]

        times = [timing.undisturbed(pair, number, attempts=2)[0] for number in range(pairs)]
    finally:
        for process in processes:
            process.close()
    before, after = zip(*times, strict=True)
    return {
        **timing.paired_ratios(after, before),
        "before": statistics.median(before),
        "after": statistics.median(after),
        "same_bits": same_bits,
    }


def main() -> int:
    """Measure the cells that are asked for; the exit status says whether one is slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="interpreter that has the build before")
    parser.add_argument("benchmarks", type=Path, help="folder of benchmarks that suits that build")
    parser.add_argument("--cells", default="*", help="pattern of names")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("out/builds.json"))
    arguments = parser.parse_args()
    sides = (arguments.python, arguments.benchmarks.resolve()), (sys.executable, HERE)
    cells = [
        cell
        for name, cell in CELLS.items()
        if cell.kind in KINDS and cell.group != "threads" and fnmatch.fnmatch(name, arguments.cells)
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    with open(arguments.output.with_suffix(".log"), "w") as log:
        for cell in cells:
            try:
                found = measure(cell, sides, log, arguments.pairs)
            except (SideError, ImportError) as error:
                print(f"{cell.name:58} left out: {error}", flush=True)
                continue
            results[cell.name] = found
            arguments.output.write_text(json.dumps(results, indent=1))
            print(
                f"{cell.name:58} {found['ratio']:.3f} ({found['ratio_q1']:.3f} to "
                f"{found['ratio_q3']:.3f})  {1e6 * found['after']:10.2f} µs"
                f"{'' if found['same_bits'] else '  OTHER BITS'}",
                flush=True,
            )
    slower = [name for name, found in results.items() if found["ratio"] < 0.98]
    print(f"{len(results)} cells, slower by more than 2 %: {', '.join(slower) or 'none'}")
    return bool(slower)


if __name__ == "__main__":
    raise SystemExit(main())
