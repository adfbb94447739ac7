"""Forked children: one worker, the same bits, and no hang, whoever has made the fork."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest
from another_python import environ, python

import fastnn as fnn
from fastnn.native import engine

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

# What a parent and its children do. A step is shared, however small it is.
WORK = """
import os
import numpy as np
import fastnn as fnn
from fastnn.core import threads as thread_limits

thread_limits.WORK_PER_WORKER = 1
x = np.random.default_rng(0).normal(size=(100, 8))

def fitted():
    model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(2)], input_shape=(8,), seed=0)
    model.compile("adam", "mse")
    model.fit(x, x[:, :2], epochs=3, verbose=0)
    return model

def digest(model):
    import hashlib
    return hashlib.sha256(model.predict(x).tobytes()).hexdigest()
"""

# libc's fork, called past Python, which therefore runs none of its hooks.
FORKS = {
    "python": "fork = os.fork",
    "c": "import ctypes; fork = ctypes.PyDLL(None).fork",
}

IN_CHILD = """
fnn.set_num_threads(2)
model = fitted()
expected, threads = digest(model), fnn.get_num_threads()

def told_by_child(work):
    read, write = os.pipe()
    child = fork()
    if child == 0:
        try:
            os.write(write, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as told:
        found = told.read()
    os.waitpid(child, 0)
    return found

def in_child():
    again = digest(model), digest(fitted()), fnn.get_num_threads()
    return again == (expected, expected, 1) or again

def in_grandchild():
    return told_by_child(in_child)

assert told_by_child(in_child) == "True", told_by_child(in_child)
assert told_by_child(in_grandchild) == "'True'"
assert fnn.get_num_threads() == threads
assert digest(fitted()) == expected
print(threads)
"""


@pytest.mark.parametrize("fork", FORKS)
def test_a_forked_child_works_alone_and_does_not_hang(fork, tmp_path):
    done = python(WORK + FORKS[fork] + IN_CHILD, cwd=tmp_path, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{2 if engine.HAS_OPENMP else 1}\n"


WHILE_A_THREAD_HOLDS_THE_LOCKS = """
import contextlib, select, threading, time
from fastnn.runtime import runtime

fnn.set_num_threads(1)
model, held = fitted(), threading.Event()

def hold():
    with contextlib.ExitStack() as stack:
        stack.enter_context(runtime._programs_lock.own())
        for bound in model.network.runtime.programs.values():
            stack.enter_context(bound.lock.own())
        held.set()
        time.sleep(60)

threading.Thread(target=hold, daemon=True).start()
held.wait()
read, write = os.pipe()
child = fork()
if child == 0:
    digest(model), digest(fitted())
    os.write(write, b"done")
    os._exit(0)
told = select.select([read], [], [], 20)[0]
if not told:
    os.kill(child, 9)
os.waitpid(child, 0)
print("done" if told else "the child waits for a thread that has remained in the parent")
"""


@pytest.mark.parametrize("fork", FORKS)
def test_no_lock_of_another_thread_is_inherited(fork, tmp_path):
    done = python(WORK + FORKS[fork] + WHILE_A_THREAD_HOLDS_THE_LOCKS, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


TOLD_IN_A_CHILD = """
import warnings
child = fork()
if child == 0:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fnn.set_num_threads(1)
            fnn.set_num_threads(None)
            assert not caught
            fnn.set_num_threads(3)
            assert [warning.category for warning in caught] == [RuntimeWarning]
            print(caught[0].message, flush=True)
            assert fnn.get_num_threads() == 1
            os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.parametrize("fork", FORKS)
def test_a_forked_child_is_told_that_it_cannot_have_threads(fork, tmp_path):
    done = python(WORK + FORKS[fork] + TOLD_IN_A_CHILD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("set_num_threads(3) has no effect in a forked child")


# --- application servers --------------------------------------------------------------------------

APPLICATION = WORK + textwrap.dedent("""
    fnn.set_num_threads(2)
    model = fitted()
    parent, expected = os.getpid(), digest(model)

    def application(environ, start_response):
        found = {"/predict": lambda: digest(model), "/fit": lambda: digest(fitted())}
        same = found[environ["PATH_INFO"]]() == expected
        is_forked = os.getpid() != parent
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"same bits: {same}, forked: {is_forked}, {fnn.get_num_threads()}".encode()]
""")

SERVERS = {
    "uwsgi": ["--http-socket", "{address}", "--master", "--processes", "2", "--wsgi-file",
              "application.py", "--need-app", "--die-on-term"],
    "gunicorn": ["--preload", "--workers", "2", "--bind", "{address}", "application"],
}  # fmt: skip


def _free_address():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{place.getsockname()[1]}"


def _answer(address, path, server):
    for _ in range(150):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
                return answer.read().decode()
        except ConnectionError:
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
        time.sleep(0.2)
    raise AssertionError("the server does not start")


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_an_application_server_that_forks_after_a_fit(name, tmp_path):
    """Beside this Python, or in the folders of PATH; with the packages of this Python."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which(name, path=beside)
    if command is None:
        pytest.skip(f"needs {name}")
    (tmp_path / "application.py").write_text(APPLICATION)
    address = _free_address()
    options = [option.format(address=address) for option in SERVERS[name]]
    with open(tmp_path / "log", "w+") as log:
        server = subprocess.Popen(
            [command, *options], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            env=environ(PYTHONPATH=str(Path(fnn.__file__).parents[1])),
        )  # fmt: skip
        try:
            answers = {_answer(address, path, server) for path in ["/predict", "/fit"] * 6}
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)
            log.seek(0)
            print(log.read())
    assert answers == {"same bits: True, forked: True, 1"}
