"""The comparison of `benchmarks/peers.py`, without large peers: what it measures, how it judges.

The peer here is NumPy; it is right in one test, and wrong in the others.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import peer_cells
import peer_report
import peers
import timing
from networks import NETWORKS
from peer_cells import CELLS, GROUPS, Cell, Peer, peers_of
from peer_data import arrays_of, load
from peer_referee import Process, SideError, environment, summary
from peer_sides import MODULES, difference, make

SMALLEST = next(iter(CELLS.values()))
ONE, TWO = Peer("NumPy", 1), Peer("NumPy", 2)


def in_group(group):
    return [cell for cell in CELLS.values() if cell.group == group]


# --- cells ------------------------------------------------------------------------------------


def test_every_network_is_in_every_kind_of_cell():
    assert [cell.network for cell in in_group("adam")] == list(NETWORKS)
    for activation in ("tanh", "gelu"):
        cells = [cell for cell in in_group("activation") if cell.activation == activation]
        assert [cell.network for cell in cells] == list(NETWORKS)
    for optimizer in ("rmsprop", "momentum"):
        cells = [cell for cell in in_group("optimizer") if cell.optimizer == optimizer]
        assert [cell.network for cell in cells] == list(NETWORKS)
    for group in ("float64", "avx2"):
        assert [cell.network for cell in in_group(group)] == list(NETWORKS[:4])
    assert {cell.data for cell in in_group("epoch")} == {"digits", "mnist", "shuttle"}
    assert {cell.data for cell in in_group("accuracy")} == {"digits", "mnist", "shuttle"}
    rows = {(cell.network, cell.rows) for cell in in_group("predict") if not cell.threads}
    assert rows == {(network, rows) for network in NETWORKS for rows in (1, 32, 256, 4096)}
    assert any(cell.threads == 1 and cell.rows == 256 for cell in in_group("predict"))


def test_names_of_cells_tell_them_apart():
    assert len({replace(cell, network=cell.network) for cell in CELLS.values()}) == len(CELLS)
    assert all(cell.name == name and cell.group in GROUPS for name, cell in CELLS.items())


def test_every_cell_has_peers_at_one_thread_and_at_all():
    for cell in CELLS.values():
        found = peers_of(cell, processors=8)
        if cell.group == "threads":
            assert found == [Peer("fastnn", 1)]
            continue
        assert {peer.threads for peer in found} == ({cell.threads} if cell.threads else {1, 8})
        assert {"NumPy", "PyTorch eager", "JAX jit"} <= {peer.library for peer in found}
        assert {peer.library for peer in found} <= set(MODULES)
        assert len(peers_of(cell, processors=1)) == len({peer.library for peer in found})


@pytest.mark.parametrize("change", [{"activation": "gelu"}, {"optimizer": "rmsprop"}])
def test_scikit_learn_competes_only_where_it_has_the_same_thing(change):
    assert any(peer.library == "scikit-learn" for peer in peers_of(SMALLEST))
    other = replace(SMALLEST, **change)
    assert not any(peer.library == "scikit-learn" for peer in peers_of(other))


def test_patterns_choose_cells():
    assert peers.chosen(None) == list(CELLS.values())
    assert peers.chosen(["adam: step 4-64"]) == [SMALLEST]
    assert len(peers.chosen(["float64: *4-64-64-2", "predict*256 rows, 1 thread"])) == 2


def test_the_listing_names_every_cell(capsys):
    assert peers.main(peers.parser().parse_args(["--list"])) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in CELLS)


# --- judging ----------------------------------------------------------------------------------


def test_ratios_are_paired():
    """A drift that affects both blocks of a pair does not change the ratio."""
    ours, theirs = [1.0, 2.0, 4.0, 8.0, 16.0], [3.0, 6.0, 12.0, 24.0, 80.0]
    found = timing.paired_ratios(ours, theirs)
    assert found == {"ratio": 3.0, "ratio_q1": 3.0, "ratio_q3": 3.0}
    assert timing.paired_ratios([1, 1, 1], [1, 2, 4])["ratio_q3"] == 3.0


def pairs_of(ours, theirs):
    return [({"seconds": a}, {"seconds": b}) for a, b in zip(ours, theirs, strict=True)]


def test_the_best_peer_is_the_one_of_lowest_median_time():
    blocks = {ONE: pairs_of([5, 5, 2], [15, 5, 4]), TWO: pairs_of([1, 1, 1], [2, 2, 9])}
    found = summary(blocks, {ONE: 0.1, TWO: 0.2}, {})
    assert found["best"] == "NumPy, 2 threads"
    assert found["fastnn_seconds"] == 1  # in the pairs with the best peer
    assert found["peers"]["NumPy, 1 thread"]["ratio"] == 2


def test_a_side_that_failed_is_reported_and_does_not_win():
    blocks = {ONE: pairs_of([1, 1], [2, 2]), TWO: pairs_of([1], [1])}
    found = summary(blocks, {ONE: 0.1}, {TWO: "its answer is wrong"})
    assert found["best"] == "NumPy, 1 thread"
    assert found["peers"]["NumPy, 2 threads"] == {"error": "its answer is wrong"}
    assert summary({}, {}, {ONE: "wrong"})["best"] is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "change", [{}, {"activation": "gelu"}, {"activation": "tanh"}, {"optimizer": "rmsprop"},
               {"optimizer": "momentum"}, {"kind": "predict", "rows": 5}], ids=str
)  # fmt: skip
def test_numpy_answers_like_fastnn(change, dtype):
    cell = replace(SMALLEST, dtype=dtype, **change)
    arrays = arrays_of(cell)
    ours, theirs = (make(library, cell, arrays).answer() for library in ("fastnn", "NumPy"))
    assert difference(cell, "NumPy", ours, theirs) < 0.5


def wrong_rate(side):
    side.trained.learning_rate *= 1.01


def no_bias_gradient(side):
    update = side.trained.update

    def without(rate, step):
        for gradient in side.trained.bias_grads:
            gradient[...] = 0
        update(rate, step)

    side.trained.update = without


def wrong_activation(side):
    side.trained.activation_gradient = lambda saved, g, out, u, a: np.copyto(out, g)


def one_step_less(side):
    train = side.train
    side.train = lambda steps: train(steps - 1)


@pytest.mark.parametrize("mistake", [wrong_rate, no_bias_gradient, wrong_activation, one_step_less])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_peer_is_found_out(mistake, dtype):
    cell = replace(SMALLEST, dtype=dtype)
    ours = make("fastnn", cell, arrays_of(cell)).answer()
    side = make("NumPy", cell, arrays_of(cell))
    mistake(side)
    assert difference(cell, "NumPy", ours, side.answer()) > 10


def test_wrong_outputs_are_found_out():
    cell = next(cell for cell in in_group("predict") if cell.rows == 32)
    ours = make("fastnn", cell, arrays_of(cell)).answer()
    for wrong in (ours * 1.001, ours[:-1], np.full_like(ours, np.nan)):
        assert difference(cell, "NumPy", ours, wrong) > 10


def test_a_call_leaves_the_data_as_they_were(tmp_path):
    """NumPy's side gathers an epoch into buffers, and must not mistake a batch for one."""
    cell = next(iter(in_group("epoch")))
    arrays_of(cell).save(tmp_path / "arrays.npz")
    arrays = load(str(tmp_path / "arrays.npz"))
    expected = arrays.x.copy()
    side = make("NumPy", cell, arrays)
    side.answer()
    side.epoch()
    np.testing.assert_array_equal(arrays.x, expected)


def test_both_take_the_rows_of_an_epoch_in_the_same_order():
    cell = next(iter(in_group("epoch")))
    losses = []
    for library in ("fastnn", "NumPy"):
        side = make(library, cell, arrays_of(cell))
        side.reset(seed=7)
        side.epoch()
        losses.append(side.loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# --- processes --------------------------------------------------------------------------------


def test_threads_and_instruction_set_are_in_the_environment(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    default = environment(Peer("fastnn", 0))
    assert not {"OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "FASTNN_ISA", "XLA_FLAGS"} & set(default)
    held = environment(ONE, "v3")
    assert held["OMP_NUM_THREADS"] == "1"
    assert held["OPENBLAS_CORETYPE"] == "Haswell"
    assert "--xla_cpu_max_isa=AVX2" in held["XLA_FLAGS"]
    caches = [
        environment(*side)["TORCHINDUCTOR_CACHE_DIR"] for side in ((ONE,), (TWO,), (ONE, "v3"))
    ]
    assert len(set(caches)) == 3


def test_a_process_prepares_answers_and_times(tmp_path):
    arrays_of(SMALLEST).save(tmp_path / "arrays.npz")
    with open(tmp_path / "log", "w") as log:
        process = Process(ONE, "", log)
        try:
            paths = {"arrays": str(tmp_path / "arrays.npz"), "answer": str(tmp_path / "a.npy")}
            process.ask("prepare", cell=SMALLEST.name, **paths)
            before, after = np.load(tmp_path / "a.npy")
            assert after < before
            process.ask("calibrate", block_seconds=0.001)
            assert process.ask("block", seed=0)["seconds"] > 0
            with pytest.raises(SideError, match="AttributeError"):
                process.ask("no such thing")
        finally:
            process.close()
    assert process.child.returncode == 0


def test_a_process_that_ended_is_an_error(tmp_path):
    with open(tmp_path / "log", "w") as log:
        process = Process(Peer("no such library", 1), "", log)
        process.child.kill()
        with pytest.raises(SideError, match="ended"):
            process.ask("release")
        process.close()


# --- report -----------------------------------------------------------------------------------


def results(**cells):
    """The output of a run, with cells by name and the ratios of their peers."""
    return {
        "machine": peers.machine(),
        "settings": {"pairs": 15, "block_seconds": 0.02, "peers": [], "neighbors": 1},
        "date": "2026-01-01 00:00 UTC",
        "sides": {"NumPy, 1 thread": "OpenBLAS"},
        "cells": cells,
        "memory": {"peak": 3e8, "before": 4e7, "parameters": 1e8, "workspace": 1e7, "data": 1e6},
    }


def test_the_report_shows_lost_cells_and_failed_sides(tmp_path):
    won = summary({ONE: pairs_of([1, 1], [2, 2])}, {ONE: 0.1}, {TWO: "it is wrong"})
    lost = summary({ONE: pairs_of([2, 2], [1, 1])}, {ONE: 0.1}, {})
    names = list(CELLS)[:2]
    data = results(**dict(zip(names, (won, lost), strict=True)))
    path = tmp_path / "peers"
    peer_report.write(data, path)
    text = (tmp_path / "peers.md").read_text()
    assert "**0.50 (0.50 to 0.50)**" in text
    assert "2.00 (2.00 to 2.00)" in text
    assert f"{names[0]}: NumPy, 2 threads: it is wrong" in text
    assert f"behind in {names[1]}" in text
    assert "beside 1 busy program" in text
    assert "**2.25**" in text  # peak memory: 300 MB compared with 1.2 x 111 MB
    assert (tmp_path / "peers.svg").stat().st_size > 1000
    assert (tmp_path / "peers.png").stat().st_size > 1000


def test_results_are_resumed_only_with_the_same_settings(tmp_path):
    path = tmp_path / "peers"
    first = peers.Results(path, {"pairs": 3}, resume=False)
    first.data["cells"]["x"] = {"best": None}
    first.write()
    assert json.loads((tmp_path / "peers.json").read_text())["cells"] == {"x": {"best": None}}
    assert "x" in peers.Results(path, {"pairs": 3}, resume=True).data["cells"]
    assert not peers.Results(path, {"pairs": 3}, resume=False).data["cells"]
    with pytest.raises(SystemExit, match="another settings"):
        peers.Results(path, {"pairs": 4}, resume=True)


def test_neighbors_keep_processors_busy_until_the_end():
    with peers.neighbors(2) as started:
        assert [one.poll() for one in started] == [None, None]
    assert None not in [one.poll() for one in started]


def test_every_optimizer_of_a_cell_has_its_numbers():
    for cell in CELLS.values():
        assert cell.optimizer in peer_cells.HYPER_PARAMETERS
        assert cell.learning_rate > 0
        assert isinstance(cell, Cell)


def test_a_pair_that_the_host_disturbs_is_timed_again(monkeypatch):
    taken, results = iter([0, 5, 5, 5]), iter("ab")
    monkeypatch.setattr(timing, "stolen", lambda: next(taken))
    assert timing.undisturbed(lambda: next(results)) == ("b", 1)
    monkeypatch.setattr(timing, "stolen", iter(range(99)).__next__)  # it is always disturbed
    assert timing.undisturbed(lambda: "c") == ("c", timing.ATTEMPTS - 1)


def test_stolen_time_is_a_count():
    assert 0 <= timing.stolen() <= timing.stolen()
