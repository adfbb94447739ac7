"""The process of one side of `peers.py`: it waits on a pipe for requests, and answers them.

Each request and each answer is a line with a JSON object: {"do": METHOD, ...arguments}, and
{"answer": ...} or {"error": ...}. Between two requests the process sleeps in a read, and it answers
only when its library's threads sleep too, so that the other side has the processors to itself.
Whatever a library prints goes to standard error, which `peers.py` redirects to a log.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import timing
from peer_cells import CELLS, Cell, Peer
from peer_data import load
from peer_sides import MODULES, Side, make


class Worker:
    """The requests that a process accepts.

    Parameters
    ----------
    peer : Peer
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.side: Side | None = None
        self.calls, self.warm_up = 1, 0

    def prepare(self, cell: str, arrays: str, answer: str) -> None:
        """Make the side of a cell, and write its answer for comparison to an .npy file."""
        self.release()
        self.side = make(self.peer.library, CELLS[cell], load(arrays))
        np.save(answer, self.side.answer())

    def release(self) -> None:
        """Drop the cell."""
        self.side = None
        gc.collect()

    def calibrate(self, block_seconds: float) -> None:
        """Return how many calls make a block of that length."""
        assert self.side is not None
        self.side.reset()
        if self.side.cell.kind == "accuracy":
            self.warm_up = int(self.side.reach(0)[0] < timing.LONG_SECONDS)
        else:
            self.calls, self.warm_up = timing.calls_of(self.side.work(), block_seconds)

    def block(self, seed: int) -> dict[str, float]:
        """Time one block.

        Every block starts from the same weights: a network that keeps learning the same rows
        ends in denormal numbers, which are ten times slower.

        Returns
        -------
        dict
            "seconds" per unit of the cell; "epochs" needed for an accuracy.
        """
        side = self.side
        assert side is not None
        if side.cell.kind == "accuracy":
            for _ in range(self.warm_up):
                side.reach(seed)
            seconds, epochs = side.reach(seed)
            return {"seconds": seconds, "epochs": epochs}
        side.reset(seed)
        seconds = timing.seconds_a_call(side.work(), self.calls, self.warm_up)
        return {"seconds": seconds / side.cell.steps}

    def facts(self) -> str:
        """Return the library's threads and instruction set, as far as it reports them."""
        library = self.peer.library
        if library == "fastnn":
            config = sys.modules["fastnn"].show_config("dict")
            return f"ISA {config['isa']}, {config['threads']} threads at most"
        if library.startswith("PyTorch"):
            torch = sys.modules["torch"]
            capability = torch.backends.cpu.get_cpu_capability()
            return f"{capability}, {torch.get_num_threads()} threads"
        if library.startswith("JAX"):
            names = ("NPROC", "XLA_FLAGS")
            return " ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
        if MODULES[library][0] == "peer_inference":  # its threads are none of a known pool's
            return f"{self.peer.threads} thread{'s' * (self.peer.threads != 1)}"
        from threadpoolctl import threadpool_info

        pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
        texts = [
            f"OpenBLAS {pool['version']} {pool['architecture']}, {pool['num_threads']} threads"
            for pool in pools
        ]
        return "; ".join(dict.fromkeys(texts))


def largest_fit(cell: Cell) -> dict[str, float]:
    """Fit a cell's network for one epoch, in a process that does nothing else.

    Returns
    -------
    dict of str to float
        In bytes: "peak", "before" (the peak before there is a model), "parameters" (16 each),
        "workspace", "data".
    """
    from peer_data import model_of

    import fastnn as fnn
    from fastnn.runtime import Purpose

    def peak() -> int:
        # Like ru_maxrss, except that ru_maxrss starts with the peak of the process that forked.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    before = peak()
    network = cell.network
    rng = np.random.default_rng(0)
    x = rng.standard_normal((network.rows, network.sizes[0]), dtype=cell.dtype)
    y = rng.integers(0, network.sizes[-1], network.rows)
    model = model_of(cell)
    model.compile(fnn.Adam(cell.learning_rate), network.loss)
    model.fit(x, y, batch_size=network.batch, verbose=0)
    workspace = model.network.runtime.bound(
        Purpose.TRAIN, network.batch, "label"
    ).plan.workspace_bytes
    return {
        "peak": peak(),
        "before": before,
        "parameters": 16 * model.count_parameters(),
        "workspace": workspace,
        "data": x.nbytes + y.nbytes,
    }


def serve(worker: Worker) -> None:
    """Answer requests from standard input until it ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up in the answers
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = {"answer": getattr(worker, request.pop("do"))(**request)}
        except Exception as error:
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"[:500]}
        timing.wait_until_quiet()
        out.write(json.dumps(result) + "\n")
        out.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library")
    parser.add_argument("threads", type=int)
    parser.add_argument("--fit", metavar="CELL", help="fit once and print the memory it took")
    arguments = parser.parse_args()
    if arguments.fit:
        print(json.dumps(largest_fit(CELLS[arguments.fit])))
    else:
        serve(Worker(Peer(arguments.library, arguments.threads)))
