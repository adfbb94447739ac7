"""Limits of the machine: measured in reasonable time, cached, and never in the way."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

from fastnn.analysis import machine_limits
from fastnn.analysis.machine_limits import (  # imported before the tests get a folder of their own
    Limits,
    folder,
)
from fastnn.native import engine

pytestmark = pytest.mark.alone


def made(**changes):
    """Limits of a fictitious machine."""
    rates = {"float32": (100.0, 150.0), "float64": (50.0, 75.0), "bfloat16": (200.0, 300.0)}
    bandwidth = {"L1": (200.0, 400.0), "L2": (80.0, 160.0), "memory": (20.0, 18.0)}
    facts = {**machine_limits._machine(), "arithmetic": rates, "bandwidth": bandwidth}
    return Limits(**{**facts, "levels": {"L1": 1000, "L2": 9000}, "barrier": 1e-7, **changes})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_limits, "folder", lambda: tmp_path / "new" / "fastnn")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_measured_limits_are_within_reason(workers, threads):
    threads(workers)
    began = time.perf_counter()
    found = machine_limits.measure()
    assert time.perf_counter() - began < 5  # less than 1 on an otherwise idle machine
    assert found.threads == workers
    assert list(found.levels) == ["L1", "L2"]
    assert 0 < found.levels["L1"] < found.levels["L2"]
    for one, every in [*found.arithmetic.values(), *found.bandwidth.values()]:
        assert 0.1 < one < 1e4
        assert 0.1 < every < 1e5
    assert found.bandwidth["L1"][0] > found.bandwidth["memory"][0]
    if engine.LANES["float32"] > 1:
        assert found.arithmetic["float32"][0] > found.arithmetic["float64"][0]
    assert 0 <= found.barrier < 0.1


def test_arithmetic_is_no_slower_than_a_product(rng):
    """A loop that waits for its own results, or spills registers, would find a lower limit."""
    n = 192
    a, b = rng.normal(size=(2, n, n)).astype("f")
    out = np.empty_like(a)

    def seconds():
        began = time.perf_counter()
        machine_limits.kernels.affine(a, b, out=out, workers=1)
        return time.perf_counter() - began

    product = 2 * n**3 / min(seconds() for _ in range(50)) / 1e9
    assert machine_limits.measure().arithmetic["float32"][0] > 0.8 * product


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_barrier_meets(workers):
    assert 0 <= engine.barrier_seconds(workers, 10) < 1
    for bad in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="workers and times must be at least 1, got"):
            engine.barrier_seconds(*bad)


def test_clock_tells_short_ops_apart():
    """As a double, the seconds since 1970 would have a resolution of 238 ns."""
    times = [engine.barrier_seconds(1, 1) for _ in range(1000)]
    assert 0 < min(time for time in times if time > 0) < 2e-7


def test_teams_and_levels():
    found = made()
    assert found.arithmetic_of("float64", 1) == 50
    assert found.arithmetic_of("float64", 2) == 75
    assert found.bandwidth_of(1000, 1) == ("L1", 200)
    assert found.bandwidth_of(1001, 1) == ("L2", 80)
    assert found.bandwidth_of(2000, 2) == ("L1", 400)
    assert found.bandwidth_of(1e9, 1) == ("memory", 20)
    assert found.bandwidth_of(1e9, 2) == ("memory", 20), "a team is not slower than one worker"


def test_table():
    lines = str(made(threads=2)).splitlines()
    assert lines[3].split() == ["1", "worker", "2", "workers"]
    assert lines[4].split() == ["float32", "multiply-adds", "100.0", "150.0", "GFLOP/s"]
    assert lines[6].split() == ["bfloat16", "multiply-adds", "200.0", "300.0", "GFLOP/s"]
    assert lines[7].split() == ["L1,", "0", "KiB", "200.0", "400.0", "GB/s"]
    assert lines[-1].split() == ["barrier", "0.0", "100.0", "ns"]
    assert len({re.search("GFLOP/s|GB/s|ns$", line).start() for line in lines[4:]}) == 1
    assert "2 workers" not in str(made(threads=1))


def test_repr_names_the_machine_and_its_arithmetic():
    shown = repr(made(threads=2))
    assert re.fullmatch(
        r"<Limits of .+, ISA \w+, 2 workers: float32 150.0 GFLOP/s, float64 75.0 GFLOP/s, "
        r"bfloat16 300.0 GFLOP/s>",
        shown,
    )
    assert ", 1 worker: " in repr(made(threads=1))


# --- caching --------------------------------------------------------------------------------------


def test_kept_for_this_machine_only(here, threads):
    threads(2)
    assert machine_limits.load() is None
    found = made()
    assert machine_limits.save(found) == here / "new" / "fastnn" / "limits.json"
    assert machine_limits.load() == machine_limits.current() == found
    threads(1)
    assert machine_limits.load() is None
    other = made(barrier=3.0)
    machine_limits.save(other)
    assert machine_limits.load() == other
    threads(2)
    assert machine_limits.load() == found, "others are kept"


@pytest.mark.parametrize("what", ["version", "isa", "processor"])
def test_another_machine_or_version_measures_again(what, here, monkeypatch):
    machine_limits.save(made())
    machine = machine_limits._machine()
    monkeypatch.setattr(machine_limits, "_machine", lambda: {**machine, what: "other"})
    assert machine_limits.load() is None


def spoiled(change):
    kept = json.loads(machine_limits.path().read_text())
    for entry in kept.values():
        change(entry)
    return json.dumps(kept)


SPOILED = {
    "empty": lambda: "",
    "cut off": lambda: machine_limits.path().read_text()[:100],
    "a list": lambda: "[]",
    "not text": lambda: b"\xff\xfe",
    "entry missing": lambda: spoiled(lambda entry: entry.pop("barrier")),
    "entry more": lambda: spoiled(lambda entry: entry.update(more=1)),
    "dtype missing": lambda: spoiled(lambda entry: entry["arithmetic"].pop("float64")),
    "level missing": lambda: spoiled(lambda entry: entry["bandwidth"].pop("memory")),
    "zero": lambda: spoiled(lambda entry: entry["bandwidth"].update(L1=[0, 1])),
    "text": lambda: spoiled(lambda entry: entry["bandwidth"].update(L1=["a", "b"])),
    "one number": lambda: spoiled(lambda entry: entry["arithmetic"].update(float32=[3.0])),
    "no entry": lambda: json.dumps(dict.fromkeys(json.loads(machine_limits.path().read_text()))),
}


@pytest.mark.parametrize("case", SPOILED)
def test_file_that_is_damaged_is_measured_and_written_again(case, here, monkeypatch):
    monkeypatch.setattr(machine_limits, "measure", made)
    machine_limits.save(made())
    text = SPOILED[case]()
    machine_limits.path().write_bytes(text if isinstance(text, bytes) else text.encode())
    assert machine_limits.load() is None
    assert machine_limits.current() == made()
    assert machine_limits.load() == made()


@pytest.mark.parametrize("where", ["a file", "a folder", "read only"])
def test_cache_that_cannot_be_written_is_no_error(where, here, monkeypatch):
    monkeypatch.setattr(machine_limits, "measure", made)
    if where == "a file":
        (here / "new").write_text("in the way")
    elif where == "a folder":
        machine_limits.path().mkdir(parents=True)
    else:
        monkeypatch.setattr(machine_limits, "folder", lambda: machine_limits.Path("/proc/fastnn"))
    assert machine_limits.current() == made()
    with pytest.raises(OSError, match=r"fastnn|limits\.json"):
        machine_limits.save(made())


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "fastnn"
    monkeypatch.setenv("HOME", "/somewhere")
    for value in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert folder() == machine_limits.Path("/somewhere/.cache/fastnn")


def test_without_a_home_limits_are_measured_and_not_kept(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(machine_limits, "measure", made)
    monkeypatch.setattr(machine_limits, "folder", folder)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(machine_limits.Path, "home", no_home)
    with pytest.raises(FileNotFoundError, match="Could not determine home directory"):
        folder()
    assert machine_limits.load() is None
    assert machine_limits.current() == made()


@pytest.mark.parametrize("content", [None, "many K", "-"])
def test_caches_that_the_system_does_not_tell_have_usual_sizes(content, tmp_path, monkeypatch):
    for number, (level, size) in enumerate([("1", "48K"), ("2", "2048K")]):
        cache = tmp_path / f"index{number}"
        cache.mkdir()
        for name, text in (("type", "Data"), ("level", level), ("size", size)):
            (cache / name).write_text(text + "\n")
    monkeypatch.setattr(machine_limits, "Path", lambda _: tmp_path)
    assert machine_limits._levels() == {"L1": 48 << 10, "L2": 2048 << 10}
    if content is None:
        (tmp_path / "index1" / "size").unlink()
    else:
        (tmp_path / "index1" / "size").write_text(content)
    assert machine_limits._levels() == machine_limits.DEFAULT_LEVELS
