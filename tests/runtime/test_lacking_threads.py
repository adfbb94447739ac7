"""Where threads cannot be started: one worker and a warning, and no end of the process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from another_python import python

from fastnn.native import engine

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not engine.HAS_OPENMP or not sys.platform.startswith("linux"), reason="needs Linux' limits"
    ),
]

WORK = """
import hashlib, os, resource, threading, warnings
import numpy as np
import fastnn as fnn
from fastnn.core import threads as thread_limits

thread_limits.WORK_PER_WORKER = 1
x = np.random.default_rng(0).normal(size=(600, 8))

def digest():
    model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(2)], input_shape=(8,), seed=0)
    model.compile("adam", "mse")
    model.fit(x, x[:, :2], epochs=3, verbose=0)
    return hashlib.sha256(model.predict(x).tobytes()).hexdigest()

def started():
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True

def warned(work):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    return result, [str(warning.message) for warning in caught]

fnn.set_num_threads(1)
alone = digest()
"""

# The system's stack of a thread is larger than the memory that the process may have.
NO_STACKS = """
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, resource.RLIM_INFINITY))
"""

# The limit does not bind the superuser, so it becomes nobody; the limit counts all of a user's.
NO_PROCESSES = """
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
"""

LIMITED = """
assert not started(), "the limit does not hold"
fnn.set_num_threads({number})
found, messages = warned(digest)
assert found == alone
assert len(messages) == 1, messages
assert messages[0].startswith("a team of {number} workers cannot be opened, because this process")
assert fnn.get_num_threads() == 1
assert warned(digest) == (alone, [])  # said once

fnn.set_num_threads({number})
assert fnn.get_num_threads() == {number}
found, messages = warned(digest)
assert (found, len(messages)) == (alone, 1)
"""

RAISED = """
resource.setrlimit(resource.RLIMIT_{name}, resource.getrlimit(resource.RLIMIT_{name})[1:] * 2)
fnn.set_num_threads({number})
assert warned(digest) == (alone, [])
assert fnn.get_num_threads() == {number}
"""


def _large_stacks():
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (4 * 2**30, resource.RLIM_INFINITY))


def _run(limit, name, number, tmp_path, **options):
    code = WORK + limit + LIMITED.format(number=number)
    code += RAISED.format(number=number, name=name)
    done = python(code, cwd=tmp_path, OPENBLAS_NUM_THREADS="1", **options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [2, 5])
def test_no_room_for_the_stack_of_a_thread(number, tmp_path):
    _run(NO_STACKS, "AS", number, tmp_path, preexec_fn=_large_stacks)


@pytest.mark.parametrize("number", [2, 5])
def test_a_limit_on_processes(number, tmp_path):
    _run(NO_PROCESSES, "NPROC", number, tmp_path)


A_TEAM_THAT_GROWS = """
fnn.set_num_threads(2)
assert digest() == alone
"""


def test_a_team_that_cannot_grow(tmp_path):
    """The workers that there are remain, and are used again once nobody wants more of them."""
    code = WORK + A_TEAM_THAT_GROWS + NO_PROCESSES + LIMITED.format(number=4)
    code += A_TEAM_THAT_GROWS + "assert fnn.get_num_threads() == 2"
    done = python(code, cwd=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


IN_A_THREAD = """
fnn.set_num_threads(2)
assert digest() == alone
begin, ended, found = threading.Event(), threading.Event(), []

def work():
    begin.wait()
    found.extend(warned(digest))
    ended.set()

threading.Thread(target=work, daemon=True).start()
{limit}
assert not started()
begin.set()
ended.wait()
assert found[0] == alone
assert len(found[1]) == 1, found[1]
"""


def test_each_thread_opens_a_team_of_its_own(tmp_path):
    code = WORK + IN_A_THREAD.format(limit=NO_PROCESSES)
    done = python(code, cwd=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


def test_a_warning_that_is_an_error_leaves_the_model_as_it_was(tmp_path):
    code = (
        WORK
        + NO_PROCESSES
        + """
model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(2)], input_shape=(8,), seed=0)
model.compile("adam", "mse")
before = [array.copy() for array in model.get_weights()]
fnn.set_num_threads(2)
warnings.simplefilter("error")
try:
    model.train_on_batch(x, x[:, :2])
except RuntimeWarning:
    pass
else:
    raise AssertionError("no warning")
assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights()))
"""
    )
    done = python(code, cwd=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not os.access("/sys/fs/cgroup/pids", os.W_OK) and not os.access("/sys/fs/cgroup", os.W_OK),
    reason="needs a control group that may be divided",
)
def test_a_container_with_a_limit_on_threads(tmp_path):
    parent = Path(
        "/sys/fs/cgroup/pids" if Path("/sys/fs/cgroup/pids").exists() else "/sys/fs/cgroup"
    )
    group = parent / f"fastnn-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "pids.max").write_text("1")
    except OSError as error:
        pytest.skip(f"needs a control group that may be divided: {error}")
    join = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    code = WORK + join + LIMITED.format(number=2)
    try:
        done = python(code, cwd=tmp_path, OPENBLAS_NUM_THREADS="1")
    finally:
        group.rmdir()
    assert done.returncode == 0, done.stderr
