"""`--no-unexpected-skips` fails where it should, and the list itself can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import skip_list
from skip_list import Entry, SkipRecord

ENTRIES = [
    Entry("tests/a.py::test_one[*", "needs *", "There is no such thing here.", always=True),
    Entry("tests/b.py*", "needs a fork", "Some systems have none."),
]


def report(test, reason=None, **more):
    longrepr = None if reason is None else ("file.py", 3, f"Skipped: {reason}")
    return SimpleNamespace(nodeid=test, skipped=reason is not None, longrepr=longrepr, **more)


def record(*reports):
    """A run that agrees with the list, except for these additional reports."""
    made = SkipRecord(ENTRIES)
    for each in (
        report("tests/a.py::test_one[x]", "needs y"),
        report("tests/b.py::test_two"),
        *reports,
    ):
        made.pytest_runtest_logreport(each)
    return made


def test_skips_on_the_list_are_no_fault():
    assert record(report("tests/b.py::test_two", "needs a fork")).faults() == []


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("tests/c.py::test_three", "needs a fork"),
        ("tests/b.py::test_two", "could not import 'torch'"),
        ("tests/a.py::test_one", "needs y"),
    ],
    ids=["another test", "another reason", "without parameters"],
)
def test_a_skip_that_is_not_on_the_list_is_a_fault(test, reason):
    (fault,) = record(report(test, reason)).faults()
    assert fault == f"skipped, but not on the list: {test}: {reason}"


def test_a_file_that_is_skipped_whole_is_a_fault():
    made = record()
    made.pytest_collectreport(report("tests/d.py", "could not import 'scipy'"))
    assert made.faults() == ["skipped, but not on the list: tests/d.py: could not import 'scipy'"]


def test_an_expected_failure_is_not_a_skip():
    assert record(report("tests/c.py::test_three", "known", wasxfail="known")).faults() == []


def test_idle_entries_are_faults():
    made = SkipRecord(ENTRIES)
    made.pytest_runtest_logreport(report("tests/a.py::test_one[x]"))
    assert made.faults() == [
        "the list names a skip that did not happen: tests/a.py::test_one[*",
        "the list names tests that do not exist: tests/b.py*",
    ]


def test_a_fault_fails_a_run_that_would_have_passed():
    passed, failed = SimpleNamespace(exitstatus=0), SimpleNamespace(exitstatus=2)
    record().pytest_sessionfinish(passed)
    assert passed.exitstatus == 0
    made = record(report("tests/c.py::test_three", "why not"))
    made.pytest_sessionfinish(passed)
    made.pytest_sessionfinish(failed)
    assert (passed.exitstatus, failed.exitstatus) == (1, 2)


def test_every_entry_has_a_reason(tmp_path):
    path = tmp_path / "skips.toml"
    path.write_text('[[skip]]\ntests = "a"\nskipped = "b"\nbecause = " "\n')
    with pytest.raises(ValueError, match="because is missing"):
        skip_list.read(path)


CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from skip_list import Entry, SkipRecord

def pytest_configure(config):
    entries = [Entry("test_b.py::*", "no fork", "Some systems have none.")]
    config.pluginmanager.register(SkipRecord(entries))
"""
WHOLE = "import pytest; pytest.importorskip('no_such_module')"
ONE = "import pytest\n@pytest.mark.skip(reason='no fork')\ndef test_one(): pass"


def test_a_run_in_two_processes_fails(tmp_path):
    """What the processes have skipped, whole files too, arrives in the one that decides."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_a.py").write_text(WHOLE)
    (tmp_path / "test_b.py").write_text(ONE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    faults = [line for line in done.stdout.splitlines() if "not on the list" in line]
    assert len(faults) == 1
    assert "test_a.py: could not import 'no_such_module'" in faults[0]
