"""Threads, forks, `show_config`, the import command, and the bare source tree."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import numpy as np
import pytest
from another_python import python

import fastnn as fnn
from fastnn.core import threads as thread_limits
from fastnn.native import SPINS, engine

pytestmark = pytest.mark.alone
needs_a_team_to_be_seen = pytest.mark.skipif(
    not engine.HAS_OPENMP or not hasattr(os, "sched_getaffinity") or not Path("/proc/self").exists()
    or len(os.sched_getaffinity(0)) < 2,
    reason="no team, or no second processor to be seen",
)  # fmt: skip


# --- threads --------------------------------------------------------------------------------------

AFFINITIES_OF_A_TEAM = """
import os, threading, time
before = set(os.listdir("/proc/self/task"))
import numpy as np, fastnn as fnn
others = set(os.listdir("/proc/self/task")) - before
fnn.core.threads.WORK_PER_WORKER = 1
model = fnn.Sequential([fnn.Dense(256), fnn.Dense(8)], input_shape=(256,), seed=0)
model.compile("sgd", "mse")
x, y = np.ones((4096, 256), "float32"), np.ones((4096, 8), "float32")
allowed = os.sched_getaffinity(0)
seen, end = set(), threading.Event()

def left_out():
    team = set(os.listdir("/proc/self/task")) - before - others - watchers
    return {len(allowed - os.sched_getaffinity(int(thread))) for thread in team}

def watch():
    watchers.add(str(threading.get_native_id()))
    while not end.is_set():
        try:
            seen.update(left_out())
        except OSError:
            pass  # it has just ended
        time.sleep(0.001)

def left_out_at_the_end():
    limit = time.monotonic() + 5
    while left_out() - {0} and time.monotonic() < limit:
        time.sleep(0.01)
    end.set()
    watcher.join()
    return left_out() or None

watchers = set()
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(20):
    model.fit(x, y, batch_size=4096, epochs=2, verbose=0)
    time.sleep(0.01)
left = left_out_at_the_end()
print(sorted(seen), left)
"""


@needs_a_team_to_be_seen
@pytest.mark.parametrize(
    ("environment", "kept_off"),
    [
        ({}, "[0, 1] {0}"),
        ({"OMP_WAIT_POLICY": "passive"}, "[0, 1] {0}"),
        ({"OMP_PROC_BIND": "false"}, "[0] {0}"),
        ({"FASTNN_NUM_THREADS": "1"}, "[] None"),
    ],
)
def test_workers_keep_off_the_processor_of_who_opens_the_team(environment, kept_off, tmp_path):
    """Otherwise two of them share one; but not if the user has placed the threads.

    They may run anywhere again soon after a call: other libraries share them.
    """
    environment = {"FASTNN_NUM_THREADS": "2", **environment}
    done = python(AFFINITIES_OF_A_TEAM, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kept_off}\n"


@pytest.mark.skipif(
    not (engine.HAS_OPENMP and engine.COMPILER.startswith("GCC")), reason="another OpenMP library"
)
@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, str(SPINS)), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_idle_workers_soon_sleep_unless_the_user_has_said_how_long_they_spin(
    environment, spins, tmp_path
):
    code = "import os, fastnn; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = python(code, cwd=tmp_path, OMP_DISPLAY_ENV="verbose", **environment)
    assert done.returncode == 0, done.stderr
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
    assert done.stdout.strip() == str(environment.get("GOMP_SPINCOUNT"))


BOUND_AFTERWARDS = (
    AFFINITIES_OF_A_TEAM.partition("for _ in range(20)")[0]
    + """
for _ in range(5):
    model.fit(x, y, batch_size=4096, epochs=2, verbose=0)
os.sched_setaffinity(0, {min(allowed)})
left = left_out_at_the_end()
print(1 in seen, left)
"""
)


@needs_a_team_to_be_seen
def test_workers_are_not_bound_with_who_binds_itself_right_after_a_fit(tmp_path):
    done = python(BOUND_AFTERWARDS, cwd=tmp_path, FASTNN_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True {0}\n"


SINGLE_STEPS = (
    "import sys"
    + AFFINITIES_OF_A_TEAM.partition("for _ in range(20)")[0]
    + """
fnn.core.threads.MAYBE = 0
step = {
    "train_on_batch": lambda: model.train_on_batch(x, y),
    "predict": lambda: model.predict(x[:400]),
    "forward": lambda: model.forward(x, training=True),
}[sys.argv[1]]
for _ in range(300):
    step()
    if 1 in seen:
        break
print(1 in seen, left_out_at_the_end())
"""
)


@needs_a_team_to_be_seen
@pytest.mark.parametrize("what", ["train_on_batch", "predict", "forward"])
def test_workers_of_single_steps_may_run_anywhere_a_while_after_the_last_one(what, tmp_path):
    """Nobody says which step is the last."""
    done = python(SINGLE_STEPS, cwd=tmp_path, arguments=[what], FASTNN_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True {0}\n"


@pytest.mark.skipif(not engine.HAS_OPENMP, reason="built without OpenMP")
def test_number_of_threads_may_be_set_and_forgotten(threads):
    default = fnn.get_num_threads()
    for number in (1, 3, np.int64(2)):
        threads(number)
        assert fnn.get_num_threads() == number
        assert type(fnn.get_num_threads()) is int
    threads(None)
    assert fnn.get_num_threads() == default


@pytest.mark.parametrize(
    ("threads", "error", "message"),
    [
        (0, ValueError, "threads must lie in .*, got 0"),
        (-2, ValueError, "threads must lie in .*, got -2"),
        (1.5, TypeError, "threads must be an integer or None, got 1.5"),
        ("2", TypeError, "threads must be an integer or None, got '2'"),
        (True, TypeError, "threads must be an integer or None, got True"),
    ],
)
def test_wrong_number_of_threads(threads, error, message):
    before = fnn.get_num_threads()
    with pytest.raises(error, match=f"^{message}$"):
        fnn.set_num_threads(threads)
    assert fnn.get_num_threads() == before


@pytest.mark.skipif(not engine.HAS_OPENMP, reason="built without OpenMP")
def test_a_limit_is_that_of_its_context(threads):
    """Other threads keep theirs, an inner limit does not widen an outer one, an error ends both."""
    threads(4)

    def check():
        assert fnn.get_num_threads() == 2
        assert thread_limits.workers_for(1e15) == 2
        assert pool.submit(fnn.get_num_threads).result() == 4
        assert pool.submit(copy_context().run, fnn.get_num_threads).result() == 2
        assert thread_limits.at_most(3, fnn.get_num_threads) == 2
        with pytest.raises(ZeroDivisionError):
            thread_limits.at_most(1, lambda: 1 / 0)
        assert fnn.get_num_threads() == 2

    with ThreadPoolExecutor(1) as pool:
        thread_limits.at_most(2, check)
    assert fnn.get_num_threads() == 4


def test_small_work_is_not_shared(threads):
    threads(4)
    assert thread_limits.workers_for(0) == 1
    assert thread_limits.workers_for(1.9 * thread_limits.WORK_PER_WORKER) == 1
    if engine.HAS_OPENMP:
        assert thread_limits.workers_for(2 * thread_limits.WORK_PER_WORKER) == 2
        assert thread_limits.workers_for(1e15) == 4


SHOW_THREADS = "import fastnn; print(fastnn.get_num_threads())"


@pytest.mark.skipif(not engine.HAS_OPENMP, reason="built without OpenMP")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTNN_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"FASTNN_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
    ],
    ids=str,
)
def test_environment_sets_the_default(environment, expected, tmp_path):
    done = python(SHOW_THREADS, cwd=tmp_path, **environment)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


@pytest.mark.parametrize("text", ["0", "many", "-1", "1.5"])
def test_a_wrong_environment_is_ignored_aloud(text, tmp_path):
    done = python(SHOW_THREADS, cwd=tmp_path, FASTNN_NUM_THREADS=text)
    assert int(done.stdout) >= 1
    assert f"FASTNN_NUM_THREADS='{text}' is ignored: expected a positive integer" in done.stderr


@pytest.mark.parametrize("text", [None, "flags : avx2\n"])
def test_the_name_of_a_processor_that_linux_does_not_tell(text, monkeypatch):
    import platform

    def opened(path):
        if text is None:
            raise FileNotFoundError(path)
        return io.StringIO(text)

    monkeypatch.setattr(thread_limits, "open", opened, raising=False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert thread_limits.processor_name() == "riscv64"
    monkeypatch.setattr(platform, "processor", lambda: "a processor")
    assert thread_limits.processor_name() == "a processor"


def test_models_may_train_in_several_threads_at_once(team, rng):
    from concurrent.futures import ThreadPoolExecutor

    x, y = rng.normal(size=(200, 8)), rng.normal(size=(200, 2))
    team(2)

    def trained(seed):
        model = fnn.Sequential([fnn.Dense(9, "tanh"), fnn.Dense(2)], input_shape=(8,), seed=seed)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=5, verbose=0)
        return model.predict(x).tobytes()

    expected = [trained(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(trained, range(4))) == expected


# --- what is installed ----------------------------------------------------------------------------


def test_show_config_tells_what_runs(capsys):
    facts = fnn.show_config("dict")
    assert list(facts) == [
        "version", "processor", "isa", "isas", "lanes", "bfloat16", "openmp", "threads",
        "compiler",
    ]  # fmt: skip
    assert facts["version"] == fnn.__version__
    assert facts["isa"] in facts["isas"]
    assert facts["lanes"]["float32"] >= facts["lanes"]["float64"] >= 1
    assert fnn.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "fastnn", "processor", "ISA", "vector", "bfloat16", "OpenMP", "threads", "compiler",
    ]  # fmt: skip
    assert lines[0] == f"fastnn     {fnn.__version__}"
    assert lines[6] == f"threads    {fnn.get_num_threads()}"


def test_show_config_of_another_mode():
    with pytest.raises(ValueError, match=r"^mode must be 'stdout' or 'dict', got 'json'$"):
        fnn.show_config("json")


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert fnn.__version__ == version("fastnn-cpu")


def test_source_tree_says_what_to_do(tmp_path):
    installed = Path(fnn.__file__).parent
    compiled = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(installed, tmp_path / "fastnn", ignore=compiled)
    done = python("import fastnn", cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: fastnn is not compiled here: this is its source tree.")
    assert "`pip install .`" in last
    assert "During handling" not in done.stderr


SOURCE = Path(__file__).resolve().parents[2]
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@pytest.mark.skipif(not shutil.which("meson", path=TOOLS), reason="needs meson")
@pytest.mark.skipif(not shutil.which("cython", path=TOOLS), reason="needs cython")
@pytest.mark.skipif(engine.compiled_isas() == ["plain"], reason="plain builds need no vectors")
def test_compiler_that_cannot_shuffle_vectors_is_refused_at_once(tmp_path):
    done = subprocess.run(
        [shutil.which("meson", path=TOOLS), "setup", str(tmp_path / "build"), str(SOURCE)],
        env={**os.environ, "PATH": TOOLS, "CFLAGS": "-D__builtin_shufflevector=missing"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(
        r"ERROR: .* lacks __builtin_shufflevector: fastnn needs GCC 12, Clang 17, or newer$",
        done.stdout,
        re.MULTILINE,
    ), done.stdout


@pytest.mark.parametrize("package", ["matplotlib", "pandas", "scipy", "tqdm", "safetensors"])
def test_import_takes_only_numpy(package, tmp_path):
    done = python(f"import sys, fastnn; print({package!r} in sys.modules)", cwd=tmp_path)
    assert done.stdout == "False\n", done.stderr
