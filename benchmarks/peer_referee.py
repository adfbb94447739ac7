"""Processes, their environments, and the course of a cell: compare first, then time pairs.

Every configuration of a peer, and fastnn, has a process of its own, because two thread pools in
one process slow each other down and because threads and instruction set must be fixed before a
library is loaded. A process is blocked while another one works.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import timing
from peer_cells import FASTNN, LIBRARIES, WHEN_ASKED, Cell, Peer, peers_of
from peer_data import arrays_of
from peer_sides import difference

ATTEMPTS = 2  # at a pair that the host disturbs: blocks are long here

HERE = Path(__file__).resolve().parent

# If set by the user, these would restrict one side and not the other.
INHERITED = (
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "FASTNN_", "XLA_", "JAX_", "ATEN_", "ONEDNN_",
    "NPY_", "NPROC", "PYTHONPATH",
)  # fmt: skip

AVX2 = {
    "FASTNN_ISA": "v3",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
XLA_AVX2 = "--xla_cpu_max_isa=AVX2"

# The functions that `Worker.block` times; fastnn's and a peer's.
Block = dict[str, float]
Pair = tuple[Block, Block]


def environment(peer: Peer, isa: str = "") -> dict[str, str]:
    """Return the environment of a side's process.

    Parameters
    ----------
    peer : Peer
    isa : {"", "v3"}
    """
    made = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    made["JAX_PLATFORMS"] = "cpu"
    # torch.compile's cache accepts code made for another instruction set, which then computes
    # nonsense: each configuration has a cache of its own, kept with the peers.
    cache = Path(sys.prefix) / "torch_inductor" / f"threads-{peer.threads}-{isa or 'all'}"
    made["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    flags = []
    if peer.threads:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS")
        # XLA's pool has as many threads as NPROC says.
        made |= dict.fromkeys((*names, "NPROC"), str(peer.threads))
    if peer.threads == 1:
        flags.append("--xla_cpu_multi_thread_eigen=false")
    if isa == "v3":
        made |= AVX2
        flags.append(XLA_AVX2)
        made["NPY_DISABLE_CPU_FEATURES"] = " ".join(_numpy_beyond_avx2())
    if flags:
        made["XLA_FLAGS"] = " ".join(flags)
    return made


def _numpy_beyond_avx2() -> list[str]:
    """Names of the instruction sets beyond AVX2 to which NumPy's own loops dispatch."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    return [name for name in __cpu_dispatch__ if "AVX512" in name or name == "X86_V4"]


class Process:
    """A side's process.

    Parameters
    ----------
    peer : Peer
    isa : str
    log : file
        Receives its standard error.
    interpreter : str, optional
        Runs it; default: the running one.
    folder : Path, optional
        Holds the benchmarks that it runs.
    """

    def __init__(
        self,
        peer: Peer,
        isa: str,
        log: IO,
        interpreter: str = sys.executable,
        folder: Path = HERE,
    ) -> None:
        self.peer = peer
        self.child = subprocess.Popen(
            [interpreter, folder / "peer_worker.py", peer.library, str(peer.threads)],
            env=environment(peer, isa),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def send(self, do: str, **arguments: object) -> None:
        """Send a request."""
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # receive reports that it has ended
            self.child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.child.stdin.flush()

    def receive(self) -> Any:
        """Return the answer.

        Raises
        ------
        SideError
            The side could not do what it was asked, or has ended.
        """
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise SideError(f"its process ended with status {self.child.wait()}")
        result = json.loads(line)
        if "error" in result:
            raise SideError(result["error"])
        return result["answer"]

    def ask(self, do: str, **arguments: object) -> Any:
        """Send a request and wait for the answer."""
        self.send(do, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended without reading a request
                pipe.close()
        self.child.wait()


class SideError(RuntimeError):
    """A side could not do what it was asked."""


def rivals(cell: Cell, libraries: Collection[str] = ()) -> list[Peer]:
    """Return fastnn's competitors in a cell: those of some libraries, or fastnn itself.

    Without libraries, all but those that take part only when asked for.
    """
    wanted = libraries or [one for one in LIBRARIES if one not in WHEN_ASKED]
    return [peer for peer in peers_of(cell) if peer.library in (*wanted, "fastnn")]


class Referee:
    """Measures cells.

    Processes stay alive between cells as long as the cells need them, so that a library is
    loaded once; their caches of compiled code are emptied between cells.

    Parameters
    ----------
    log : file
        Receives the sides' standard error.
    pairs : int
    block_seconds : float
        Minimum length of a timed block, which has at least one call.
    """

    def __init__(self, log: IO, pairs: int, block_seconds: float) -> None:
        self.log, self.pairs, self.block_seconds = log, pairs, block_seconds
        self.processes: dict[tuple[Peer, str], Process] = {}
        self.facts: dict[str, str] = {}

    def close(self) -> None:
        """End all processes."""
        while self.processes:
            self.processes.popitem()[1].close()

    def _started(self, peers: list[Peer], isa: str) -> dict[Peer, Process]:
        """Return a process for each peer, and end the others."""
        for key, process in list(self.processes.items()):
            has_ended = process.child.poll() is not None
            if has_ended or key[0] not in peers or key[1] != isa:
                self.processes.pop(key).close()
        for peer in peers:
            if (peer, isa) not in self.processes:
                self.processes[peer, isa] = Process(peer, isa, self.log)
        return {peer: self.processes[peer, isa] for peer in peers}

    def measure(self, cell: Cell, libraries: Collection[str] = ()) -> dict[str, Any]:
        """Compare, then time, the sides of a cell.

        Parameters
        ----------
        cell : Cell
        libraries : collection of str
            The peers to measure; empty: all.

        Returns
        -------
        dict
            As `summary` returns it.

        Raises
        ------
        SideError
            fastnn could not do the work.
        """
        ours = Peer(FASTNN.library, cell.threads)
        theirs = rivals(cell, libraries)
        processes = self._started([ours, *theirs], cell.isa)
        differences, errors = self._compare(cell, processes, ours)
        racing = [peer for peer in theirs if peer not in errors]
        held = " held to AVX2" if cell.isa else ""
        for peer in (ours, *racing):
            try:
                processes[peer].ask("calibrate", block_seconds=self.block_seconds)
                self.facts[f"{peer}{held}"] = processes[peer].ask("facts")
            except SideError as error:
                if peer == ours:
                    raise
                errors[peer] = str(error)
        blocks = self._race(processes, ours, racing, errors)
        for process in processes.values():
            with contextlib.suppress(SideError):  # it has ended; the next cell starts another
                process.ask("release")
        return summary(blocks, differences, errors)

    def _compare(
        self, cell: Cell, processes: dict[Peer, Process], ours: Peer
    ) -> tuple[dict[Peer, float], dict[Peer, str]]:
        """Have all sides prepare and answer, and report whose answer differs from fastnn's."""
        differences, errors = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            arrays = f"{folder}/arrays.npz"
            arrays_of(cell).save(arrays)
            answers = {peer: f"{folder}/{i}.npy" for i, peer in enumerate(processes)}
            for peer, process in processes.items():  # all at once: some compile for seconds
                process.send("prepare", cell=cell.name, arrays=arrays, answer=answers[peer])
            for peer, process in processes.items():
                try:
                    process.receive()
                except SideError as error:
                    errors[peer] = str(error)
            if ours in errors:
                raise SideError(errors[ours])
            expected = np.load(answers[ours])
            for peer in processes:
                if peer == ours or peer in errors:
                    continue
                found = difference(cell, peer.library, expected, np.load(answers[peer]))
                differences[peer] = found
                if found > 1:
                    errors[peer] = f"its answer is {found:.3g} times as far off as is allowed"
        return differences, errors

    def _race(
        self,
        processes: dict[Peer, Process],
        ours: Peer,
        racing: list[Peer],
        errors: dict[Peer, str],
    ) -> dict[Peer, list[Pair]]:
        """Time pairs of blocks, fastnn and a peer, in turn; AB BA AB, so that a drift cancels."""

        def measure(order: tuple[Peer, Peer], pair: int) -> dict[Peer, Block]:
            found: dict[Peer, Block] = {}
            for side in order:
                try:
                    found[side] = processes[side].ask("block", seed=pair)
                except SideError as error:
                    if side == ours:
                        raise
                    errors[side] = str(error)
            return found

        blocks: dict[Peer, list[Pair]] = {peer: [] for peer in racing}
        for pair in range(self.pairs):
            for peer in [peer for peer in racing if peer not in errors]:
                order = (ours, peer) if pair % 2 == 0 else (peer, ours)
                found, _ = timing.undisturbed(measure, order, pair, attempts=ATTEMPTS)
                if peer not in errors:
                    blocks[peer].append((found[ours], found[peer]))
        return blocks


def summary(
    blocks: Mapping[Peer, list[Pair]], differences: Mapping[Peer, float], errors: Mapping[Peer, str]
) -> dict[str, Any]:
    """Return a summary of a cell's pairs.

    Parameters
    ----------
    blocks : mapping of Peer to list of pair
    differences : mapping of Peer to float
        Difference of each answer from fastnn's; 1 is the tolerance.
    errors : mapping of Peer to str
        The reason why a peer does not compete.

    Returns
    -------
    dict
        "best": the peer with the lowest median time, or None; "fastnn_seconds" per unit of the cell
        and "fastnn_epochs" to an accuracy, in the pairs with that peer; "peers": by name
        "seconds", "epochs", "ratio", "ratio_q1", "ratio_q3" (theirs / ours), "pairs" and
        "difference", or "error".
    """
    peers: dict[str, dict[str, Any]] = {str(peer): {"error": why} for peer, why in errors.items()}
    ours: dict[str | None, Sequence[Block]] = {None: ()}
    for peer, pairs in blocks.items():
        if peer in errors:
            continue
        ours[str(peer)], theirs = zip(*pairs, strict=True)
        sides = ([block["seconds"] for block in side] for side in (ours[str(peer)], theirs))
        peers[str(peer)] = {
            **medians(theirs),
            **timing.paired_ratios(*sides),
            "pairs": len(pairs),
            "difference": differences[peer],
        }
    fitting = [name for name, found in peers.items() if "seconds" in found]
    best = min(fitting, key=lambda name: peers[name]["seconds"], default=None)
    return {
        **{f"fastnn_{name}": value for name, value in medians(ours[best]).items()},
        "peers": peers,
        "best": best,
    }


def medians(blocks: Sequence[Block]) -> dict[str, float]:
    """Return the median of each number over some blocks."""
    names = blocks[0] if blocks else ()
    return {name: statistics.median(block[name] for block in blocks) for name in names}
