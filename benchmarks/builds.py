"""Two builds of fastnn, cell by cell of `peers.py`: is any work slower than it was?

    git worktree add ../before COMMIT && cd ../before && make .venv/stamps/installed && cd -
    .venv/bin/python benchmarks/builds.py ../before/.venv/bin/python ../before/benchmarks

Both builds run in processes of their own, start from the same weights and take the same rows; their
answers are compared bit for bit. Then blocks of work are timed in turn, AB BA AB. A ratio is the
time before divided by the time after, the median over the pairs: above 1 the new build is faster.

Where a process has its memory may change the times by more than the build does, and stays as it is
as long as the process. So each round starts new ones, the other build first; a cell counts as
slower if the ratio of three rounds in four is below 1, and the median of all below 0.98.
`--control` measures the first build against itself, which shows what this machine makes of no
change at all.
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
ROUNDS = 4
TOLERATED = 0.98
Sides = tuple[tuple[str, Path], tuple[str, Path]]


def measure(cell: Cell, sides: Sides, log: IO, pairs: int) -> dict[str, Any]:
    """Compare both builds in a cell, with new processes in each round.

    Parameters
    ----------
    cell : Cell
    sides : tuple of (interpreter, folder of benchmarks)
        Before and after.
    log : file
        Where standard error goes.
    pairs : int
        Of each round.

    Returns
    -------
    dict
        "ratio", and "ratio_q1" and "ratio_q3" over the rounds; "before" and "after" in seconds;
        "same_bits", "is_slower".
    """
    rounds = [measure_once(cell, sides, log, pairs, number % 2) for number in range(ROUNDS)]
    ratios = [one["ratio"] for one in rounds]
    first, ratio, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "ratio": ratio,
        "ratio_q1": first,
        "ratio_q3": third,
        "before": statistics.median(one["before"] for one in rounds),
        "after": statistics.median(one["after"] for one in rounds),
        "same_bits": all(one["same_bits"] for one in rounds),
        "is_slower": ratio < TOLERATED and sum(one < 1 for one in ratios) >= 0.75 * ROUNDS,
    }


def measure_once(cell: Cell, sides: Sides, log: IO, pairs: int, leader: int) -> dict[str, Any]:
    """Compare the answers of both builds in a cell, then time pairs; `leader` is started first.

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
    processes = {i: Process(peer, cell.isa, log, *sides[i]) for i in (leader, 1 - leader)}
    try:
        with tempfile.TemporaryDirectory() as folder:
            arrays, answers = f"{folder}/arrays.npz", [f"{folder}/{i}.npy" for i in range(2)]
            arrays_of(cell).save(arrays)
            for i, process in processes.items():
                process.ask("prepare", cell=cell.name, arrays=arrays, answer=answers[i])
            same_bits = np.array_equal(*map(np.load, answers))
        for process in processes.values():
            process.ask("calibrate", block_seconds=BLOCK_SECONDS)

        def pair(number: int) -> tuple[float, float]:
            order = (leader, 1 - leader) if number % 2 == 0 else (1 - leader, leader)
            found = {i: processes[i].ask("block", seed=number)["seconds"] for i in order}
            return found[0], found[1]

        times = [timing.undisturbed(pair, number, attempts=2)[0] for number in range(pairs)]
    finally:
        for process in processes.values():
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
    parser.add_argument("--pairs", type=int, default=8, help="of each round")
    parser.add_argument("--control", action="store_true", help="the first build against itself")
    parser.add_argument("--output", type=Path, default=Path("out/builds.json"))
    arguments = parser.parse_args()
    before = arguments.python, arguments.benchmarks.resolve()
    sides = before, before if arguments.control else (sys.executable, HERE)
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
    slower = [name for name, found in results.items() if found["is_slower"]]
    usual = statistics.geometric_mean(found["ratio"] for found in results.values())
    print(
        f"{len(results)} cells, geometric mean {usual:.3f}; slower: {', '.join(slower) or 'none'}"
    )
    return bool(slower)


if __name__ == "__main__":
    raise SystemExit(main())
