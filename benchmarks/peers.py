"""A fair comparison: fastnn against the best of its field, each library at its best.

NumPy, scikit-learn, PyTorch and JAX train and predict; onnxruntime, OpenVINO and LiteRT predict.

Run it as `make peers`, or as `python benchmarks/peers.py --cells 'adam: step 4-*'` where fastnn
and the extra `peers` are installed. `--list` prints the cells; README says how long they take.

- Every side starts from the same weights and takes the same batches in the same dtype. Losses
  after 20 steps (or outputs) are compared before anything is timed; a side whose answer differs
  is reported and not timed.
- Peers run at one thread and at all threads, fastnn with its defaults; every configuration has a
  process of its own. A pair is a block of fastnn's and a block of a peer's, one after the other;
  the number of a cell is the median of the paired ratios against the configuration with the
  lowest median time.
- `--neighbors 1` measures beside a program that keeps one processor busy, as on a machine that is
  shared.
- Results are written after every cell; `--resume` continues an interrupted run.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peer_report
from peer_cells import CELLS, FASTNN, LIBRARIES, Cell, peers_of
from peer_referee import HERE, Referee, SideError, environment, rivals

import fastnn as fnn

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "jax", "jaxlib", "optax", "onnxruntime", "openvino",
    "ai-edge-litert", "tensorflow-cpu", "tinygrad",
)  # fmt: skip
MEMORY_CELL = next(name for name in CELLS if name.startswith("adam: step 1024-"))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument(
        "--cells", metavar="PATTERN", action="append",
        help="only cells whose name matches, anywhere in it; may be given several times",
    )  # fmt: skip
    made.add_argument(
        "--peers", metavar="NAME", action="append", choices=LIBRARIES,
        help=f"only these: {', '.join(LIBRARIES)}; may be given several times",
    )  # fmt: skip
    made.add_argument("--pairs", type=int, default=15, help="default: 15")
    made.add_argument("--quick", action="store_true", help="three pairs of short blocks")
    made.add_argument(
        "--neighbors", metavar="N", type=int, default=0, choices=range(65),
        help="how many programs keep a processor busy meanwhile; default: 0",
    )  # fmt: skip
    made.add_argument("--list", action="store_true", help="print the cells and stop")
    made.add_argument("--resume", action="store_true", help="keep the cells measured already")
    made.add_argument("--redraw", action="store_true", help="only write the report again")
    made.add_argument(
        "--output", metavar="PATH",
        help="without suffix; default: out/peers (-neighbors-N), with -part for a part of it",
    )  # fmt: skip
    return made


def chosen(patterns: list[str] | None) -> list[Cell]:
    """Return the cells whose names match a pattern, or all if there is none."""
    return [
        cell
        for name, cell in CELLS.items()
        if not patterns or any(fnmatch.fnmatchcase(name, f"*{pattern}*") for pattern in patterns)
    ]


@contextlib.contextmanager
def neighbors(count: int) -> Iterator[list[subprocess.Popen]]:
    """Run programs beside this one, each of which keeps a processor busy."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield started
    finally:
        for one in started:
            one.kill()
            one.wait()


def machine() -> dict[str, Any]:
    """Return the facts that the numbers depend on, apart from the sides' threads."""
    config = fnn.show_config("dict")
    assert config is not None
    digest = hashlib.sha256()
    for path in sorted(Path(fnn.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".so"):
            digest.update(path.read_bytes())
    return {
        "fastnn": config,
        "build": digest.hexdigest()[:12],
        "processors": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def memory() -> dict[str, float]:
    """Return the memory in bytes that fitting the largest network took, in a process of its own."""
    command = [sys.executable, HERE / "peer_worker.py", "fastnn", "0", "--fit", MEMORY_CELL]
    run = subprocess.run(command, env=environment(FASTNN), capture_output=True, check=True)
    return json.loads(run.stdout)


class Results:
    """The results on disk, written after every cell.

    Parameters
    ----------
    path : Path
        Path without suffix.
    settings : dict
        The settings of the measurement.
    resume : bool
        Whether to keep existing results.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool) -> None:
        self.path = path.with_name(path.name + ".json")
        self.data: dict[str, Any] = {
            "machine": machine(),
            "settings": settings,
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "sides": {},
            "cells": {},
            "memory": None,
        }
        if resume and self.path.exists():
            found = json.loads(self.path.read_text())
            for what in ("machine", "settings"):
                if found[what] != self.data[what]:
                    raise SystemExit(
                        f"{self.path} was measured with another {what}, so --resume cannot add to "
                        f"it: {found[what]}, now {self.data[what]}"
                    )
            self.data = found

    def write(self) -> None:
        """Replace the file."""
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.data, indent=1))
        temporary.replace(self.path)


def main(arguments: argparse.Namespace) -> int:
    """Measure and report; the exit status is 1 if a side failed."""
    cells = chosen(arguments.cells)
    if not cells:
        raise SystemExit("no cell matches; --list names them")
    if arguments.list:
        for cell in cells:
            print(f"{cell.name}  ({len(peers_of(cell))} peers)")
        return 0
    is_part = bool(arguments.cells or arguments.peers or arguments.quick)
    name = f"peers-neighbors-{arguments.neighbors}" if arguments.neighbors else "peers"
    path = Path(arguments.output or f"out/{name}{'-part' if is_part else ''}")
    if arguments.redraw:
        peer_report.write(json.loads(path.with_name(path.name + ".json").read_text()), path)
        return 0
    pairs, block_seconds = (3, 0.005) if arguments.quick else (arguments.pairs, 0.02)
    if pairs < 2:
        raise SystemExit("--pairs must be at least 2")
    settings = {
        "pairs": pairs, "block_seconds": block_seconds, "peers": arguments.peers or [],
        "neighbors": arguments.neighbors,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    results = Results(path, settings, arguments.resume)
    cells = [cell for cell in cells if rivals(cell, settings["peers"])]
    measured = results.data["cells"]
    log_path = path.with_name(path.name + ".log")
    with open(log_path, "a") as log, neighbors(arguments.neighbors):
        referee = Referee(log, pairs, block_seconds)
        try:
            for number, cell in enumerate(cells, 1):
                if cell.name in measured and not has_failed(measured[cell.name]):
                    continue
                began = time.perf_counter()
                try:
                    found = referee.measure(cell, settings["peers"])
                except SideError as error:
                    found = {"peers": {}, "best": None, "error": str(error)}
                measured[cell.name] = found
                results.data["sides"] |= referee.facts
                results.write()
                took = time.perf_counter() - began
                said = peer_report.line(cell, found)
                print(f"[{number}/{len(cells)}] {took:.0f} s  {said}", flush=True)
        finally:
            referee.close()
    if not arguments.cells or any(cell.name == MEMORY_CELL for cell in cells):
        results.data["memory"] = memory()
        results.write()
    peer_report.write(results.data, path)
    return int(any(has_failed(measured[cell.name]) for cell in cells))


def has_failed(found: dict[str, Any]) -> bool:
    """Return whether a side of a cell could not do its work or produced another answer."""
    return "error" in found or any("error" in peer for peer in found["peers"].values())


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
