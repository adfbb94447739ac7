"""Setup shared by all tests: which fastnn is tested, randomness, threads, and the options."""

from __future__ import annotations

from pathlib import Path

import installation
import numpy as np
import pytest
import skip_list
from hypothesis import settings
from skip_list import SkipRecord

import fastnn as fnn
from fastnn.analysis import machine_limits
from fastnn.core import threads as thread_limits

HERE = Path(__file__).resolve().parent

# The same examples on every run: a change is not refused for what it did not touch. New ones are
# looked for by `make test-slow`.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("search", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="also run tests marked slow")
    parser.addoption(
        "--no-unexpected-skips", action="store_true",
        help="fail where a test is skipped that tests/skips.toml does not name",
    )  # fmt: skip
    parser.addoption(
        "--workers", type=int, metavar="N",
        help="run every program by a team of N, however small it is (used by `make races`)",
    )  # fmt: skip


def pytest_configure(config):
    refusal = installation.refusal(Path(fnn.__file__), HERE.parent)
    if refusal:
        raise pytest.UsageError(refusal)
    if config.getoption("--no-unexpected-skips"):
        config.pluginmanager.register(SkipRecord(skip_list.read(HERE / "skips.toml")))


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config, items):
    for item in items:
        if {"team", "threads"} & set(item.fixturenames):
            item.add_marker("alone")
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow; use --run-slow"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Limits are kept in a folder of the tests, not in the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_limits, "folder", lambda: folder)
        yield


@pytest.fixture(autouse=True)
def _workers(request):
    """Obey --workers."""
    workers = request.config.getoption("--workers")
    if not workers:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread_limits, "WORK_PER_WORKER", 1)
        fnn.set_num_threads(workers)
        yield
        fnn.set_num_threads(None)


@pytest.fixture
def rng():
    """A separate generator for each test, with a fixed seed."""
    return np.random.default_rng(20240521)


@pytest.fixture
def threads(monkeypatch):
    """`threads(n)` sets how many workers a step may use, until the test ends.

    What OpenMP was told does not count: the tests beside PyTorch tell it that one is enough.
    """
    monkeypatch.setattr("fastnn.native.engine.openmp_threads", lambda: None)
    yield fnn.set_num_threads
    fnn.set_num_threads(None)


@pytest.fixture
def team(monkeypatch, threads):
    """Like `threads`, but every program uses all of them, however small it is."""
    monkeypatch.setattr(thread_limits, "WORK_PER_WORKER", 1)
    return threads
