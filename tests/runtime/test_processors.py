"""How many workers the system and other libraries leave: quotas, affinity, OpenMP."""

from __future__ import annotations

import os

import pytest
from another_python import python

from fastnn.core import processors
from fastnn.native import engine

# --- control groups -------------------------------------------------------------------------------

V1 = "4:memory:/box\n3:cpu,cpuacct:/box/own\n1:name=systemd:/box\n"
V2 = "0::/user.slice/app.scope\n"
BOTH = "2:memory:/\n1:cpu:/box\n0::/box\n"

QUOTAS = {
    "version 2": (V2, {"cpu.max": "150000 100000"}, 2),
    "no limit": (V2, {"cpu.max": "max 100000"}, None),
    "less than one": (V2, {"cpu.max": "1000 100000"}, 1),
    "in a container's own name space": ("0::/\n", {"cpu.max": "300000 100000"}, 3),
    "of the group itself": (V2, {"user.slice/app.scope/cpu.max": "200000 100000"}, 2),
    "of a group around it": (V2, {"user.slice/cpu.max": "100000 50000"}, 2),
    "the least of all": (
        V2,
        {"cpu.max": "800000 100000", "user.slice/cpu.max": "300000 100000",
         "user.slice/app.scope/cpu.max": "500000 100000"},
        3,
    ),
    "of another group": (V2, {"system.slice/cpu.max": "100000 100000"}, None),
    "version 1": (
        V1, {"cpu,cpuacct/box/own/cpu.cfs_quota_us": "250000",
             "cpu,cpuacct/box/own/cpu.cfs_period_us": "100000"}, 3,
    ),
    "version 1, by the short name, around it": (
        V1, {"cpu/box/cpu.cfs_quota_us": "400000", "cpu/box/cpu.cfs_period_us": "100000"}, 4,
    ),
    "version 1, whose path is that outside the container": (
        V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1,
    ),
    "version 1 without a limit": (
        V1, {"cpu/box/own/cpu.cfs_quota_us": "-1", "cpu/box/own/cpu.cfs_period_us": "100000"},
        None,
    ),
    "both versions, limited by the first": (
        BOTH, {"cpu/box/cpu.cfs_quota_us": "200000", "cpu/box/cpu.cfs_period_us": "100000"}, 2,
    ),
    "both versions, limited by the second": (BOTH, {"unified/box/cpu.max": "200000 100000"}, 2),
    "a system that tells no group": (None, {"cpu.max": "200000 100000"}, 2),
    "a system that tells no group, version 1": (
        None, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2,
    ),
    "nonsense about the group": (
        "\n\n:\n::\n0:\n\x00\n7:cpu\n0::\n", {"cpu.max": "200000 100000"}, 2,
    ),
}  # fmt: skip


def _root(tmp_path, group, files):
    if group is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(group)
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_control_groups(case, tmp_path):
    group, files, expected = QUOTAS[case]
    assert processors.quota(_root(tmp_path, group, files)) == expected


@pytest.mark.parametrize(
    "content",
    ["", "3", "many few", "1 2 3", "150000 0", "0 100000", "-5 100000", "150000 -1", "1e5 1e5",
     b"\xff\xfe\x00", "9" * 5000 + " 1", "\n"],
)  # fmt: skip
def test_nonsense_is_no_quota(content, tmp_path):
    """And does not hide that of a group around it."""
    files = {"user.slice/app.scope/cpu.max": content, "cpu.max": "700000 100000"}
    assert processors.quota(_root(tmp_path, V2, files)) == 7


def test_a_folder_in_the_place_of_a_quota(tmp_path):
    root = _root(tmp_path, V2, {"cpu.max/other": "1 1"})
    assert processors.quota(root) is None
    assert processors.quota(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"), [(8, None, 8), (8, 2, 2), (2, 8, 2), (0, None, 1)]
)
def test_the_smaller_of_affinity_and_quota_counts(affinity, quota, expected, monkeypatch):
    monkeypatch.setattr(engine, "processors_allowed", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(processors, "quota_here", lambda: quota)
    monkeypatch.setattr(engine, "openmp_processors", lambda: None)
    assert processors.available() == expected


# --- affinity -------------------------------------------------------------------------------------

with_two = pytest.mark.skipif(
    not engine.HAS_OPENMP or not hasattr(os, "sched_getaffinity")
    or len(os.sched_getaffinity(0)) < 2 or (processors.quota_here() or 2) < 2,
    reason="needs OpenMP and two processors",
)  # fmt: skip

SHOW = "print(fastnn.get_num_threads(), end=' ');"


@with_two
@pytest.mark.alone
def test_affinity_is_read_when_it_matters(tmp_path):
    first, second, *_ = sorted(os.sched_getaffinity(0))
    narrow = f"os.sched_setaffinity(0, [{first}]);"
    wide = f"os.sched_setaffinity(0, [{first}, {second}]);"
    code = f"import os; {narrow} import fastnn; {SHOW} {wide} {SHOW} {narrow} {SHOW}"
    done = python(code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("1 2 1 ", "")


@with_two
@pytest.mark.alone
@pytest.mark.parametrize(
    "environment",
    [{"OMP_PROC_BIND": "true"}, {"OMP_PROC_BIND": "close"}, {"OMP_PROC_BIND": "spread"},
     {"OMP_PLACES": "cores"}, {"OMP_PLACES": "threads", "OMP_PROC_BIND": "close"},
     {"GOMP_CPU_AFFINITY": "0-1"}, {"OMP_PROC_BIND": "false"}, {}],
    ids=str,
)  # fmt: skip
def test_threads_that_openmp_has_bound(environment, tmp_path):
    """Binding leaves the thread that reads it a single processor, and the team all of them."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    environment = {
        name: value.replace("0-1", f"{first} {second}") for name, value in environment.items()
    }
    code = f"import fastnn; {SHOW}"
    done = python(code, cwd=tmp_path, **environment)
    assert int(done.stdout) >= 2, done.stderr


# --- what OpenMP was told -------------------------------------------------------------------------

TOLD = """
import threading
import fastnn as fnn
from threadpoolctl import threadpool_limits

def limited(number):
    with threadpool_limits(number):
        return fnn.get_num_threads()

def in_a_thread(work, *arguments):
    found = []
    thread = threading.Thread(target=lambda: found.append(work(*arguments)))
    thread.start()
    thread.join()
    return found[0]

assert fnn.get_num_threads() == 4
assert limited(1) == 1
assert limited(3) == 3
assert fnn.get_num_threads() == 4
assert in_a_thread(limited, 1) == 1
with threadpool_limits(1):
    assert in_a_thread(fnn.get_num_threads) == 4  # OpenMP's limits are those of a thread
fnn.set_num_threads(2)
assert limited(1) == 1
assert limited(3) == 2
assert fnn.get_num_threads() == 2
"""


@pytest.mark.skipif(not engine.HAS_OPENMP, reason="built without OpenMP")
@pytest.mark.parametrize("name", ["FASTNN_NUM_THREADS", "OMP_NUM_THREADS"])
def test_threadpoolctl_limits_the_team(name, tmp_path):
    done = python(TOLD, cwd=tmp_path, **{name: "4"})
    assert done.returncode == 0, done.stderr


TOLD_BEFORE = """
import ctypes
openmp = ctypes.CDLL("libgomp.so.1")
openmp.omp_set_num_threads(1)
import fastnn as fnn
assert fnn.get_num_threads() == 1
openmp.omp_set_num_threads(3)
assert fnn.get_num_threads() == 3
"""


@pytest.mark.skipif(not engine.HAS_OPENMP, reason="built without OpenMP")
def test_omp_set_num_threads_counts_also_before_the_import(tmp_path):
    """Where OpenMP is a library of the system, which this build may not use."""
    import threadpoolctl

    names = [info["filepath"] for info in threadpoolctl.threadpool_info()
             if info["internal_api"] == "openmp"]  # fmt: skip
    if not any(os.path.basename(name).startswith("libgomp.so.1") for name in names):
        pytest.skip("needs libgomp")
    done = python(TOLD_BEFORE, cwd=tmp_path, OMP_NUM_THREADS="4")
    assert done.returncode == 0, done.stderr


LOOKED_AT = """
import os, sys
import numpy as np
import fastnn as fnn
from threadpoolctl import threadpool_limits

fnn.core.threads.WORK_PER_WORKER = 1
x = np.ones((256, 64), "float32")
model = fnn.Sequential([fnn.Dense(64)], input_shape=(64,), seed=0)
model.compile("sgd", "mse")
before = len(os.listdir("/proc/self/task"))
with threadpool_limits(1):
    model.fit(x, x, verbose=0)
    model.predict(x)
    model.train_on_batch(x, x)
alone = len(os.listdir("/proc/self/task")) - before
model.fit(x, x, verbose=0)
print(alone, len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(
    not engine.HAS_OPENMP or not os.path.exists("/proc/self/task"), reason="needs OpenMP and /proc"
)
@pytest.mark.alone
def test_a_limited_thread_opens_no_team(tmp_path):
    done = python(LOOKED_AT, cwd=tmp_path, FASTNN_NUM_THREADS="2")
    assert done.stdout == "0 1\n", done.stderr
