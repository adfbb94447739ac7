"""The tests reject the bare source tree, and accept a wheel and an editable install."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import installation
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "fastnn" / "__init__.py"


@pytest.fixture
def record(monkeypatch):
    """`record(facts)` sets pip's record of where fastnn came from; None: there is no record."""

    def set_record(facts):
        class Distribution:
            def read_text(self, name):
                assert name == "direct_url.json"
                return None if facts is None else json.dumps(facts)

        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())

    return set_record


def test_an_installed_package_is_tested(record):
    record(None)
    assert not installation.refusal(
        Path("/x/lib/python3.11/site-packages/fastnn/__init__.py"), ROOT
    )


def test_an_editable_install_of_this_tree_is_tested(record):
    record({"url": f"file://{ROOT}", "dir_info": {"editable": True}})
    assert not installation.refusal(SOURCE, ROOT)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        {"url": f"file://{ROOT}", "dir_info": {}},
        {"url": f"file://{ROOT}", "dir_info": {"editable": False}},
        {"url": f"file://{ROOT}/dist/x.whl", "archive_info": {}},
        {"url": "file:///another/tree", "dir_info": {"editable": True}},
    ],
    ids=["index", "built from the tree", "not editable", "wheel", "another tree"],
)
def test_the_bare_source_tree_is_refused(facts, record):
    record(facts)
    assert "--no-build-isolation -e ." in installation.refusal(SOURCE, ROOT)


def test_the_bare_source_tree_is_refused_where_nothing_is_installed(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert "installed fastnn" in installation.refusal(SOURCE, ROOT)


def test_pytest_does_not_start_on_a_tree_that_is_not_installed(tmp_path):
    """Everything that conftest.py reads is there, but the imported package is a plain folder."""
    package = tmp_path / "fastnn"
    for folder in (package, package / "analysis", package / "core"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    (package / "analysis" / "machine_limits.py").touch()
    (package / "core" / "threads.py").touch()
    code = """if True:
        import sys, pytest
        # An editable install finds its tree before any path is looked at.
        sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in type(f).__module__]
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
    """
    run = subprocess.run(
        [sys.executable, "-c", code, ROOT / "tests/kernels"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"got {package / '__init__.py'}" in run.stdout + run.stderr
