"""A package that may only be read, and homes, caches and folders that are missing or not writable.

A copy of the installed package, without `__pycache__`, loses all permissions to write. Whoever runs
it owns the files but has no privileges, so that root, too, is refused by the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from another_python import environ

import fastnn as fnn

WORK = """
import os, sys
import numpy as np
import fastnn as fnn
from fastnn.cli.parser import main

own, package = sys.argv[1:3]
assert os.path.dirname(fnn.__file__) == package, fnn.__file__
x, y = fnn.datasets.load_digits()
x, y = x[:200] / 16, y[:200]
model = fnn.Sequential([fnn.Dense(8, "relu"), fnn.Dense(10)], input_shape=(64,), seed=0)
model.compile("adam", "crossentropy", ["accuracy"])
callbacks = [fnn.BackupAndRestore(os.path.join(own, "b")), fnn.CSVLogger(os.path.join(own, "log"))]
model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks, validation_split=0.2)
path = os.path.join(own, "model")
model.save(path)
assert np.array_equal(fnn.load(path).predict(x), model.predict(x))
str(model.profile(x, y))
from fastnn import plots
plots.learning_curve(model.history).figure.savefig(os.path.join(own, "curve.png"))
table = os.path.join(own, "table.csv")
with open(table, "w") as file:
    file.write("a,b,y\\n" + "".join(f"{i % 7},{i % 3},{'yes' if i % 7 > 3 else 'no'}\\n"
                                  for i in range(60)))
status = main(["train", table, "--target", "y", "--members", "1", "--epochs", "2", "-q",
               "--output", os.path.join(own, "out")])
assert not status, status
assert sorted(os.listdir(os.path.join(own, "out"))) == ["model.safetensors", "predictions.csv",
                                                       "report.html"]
print("done")
"""


def without_privileges():
    """Return what stands before a command that has to be refused what the bits of a file forbid."""
    if os.geteuid():
        return []
    found = shutil.which("setpriv")
    if found is None:
        pytest.skip("root writes everywhere, and there is no setpriv")
    return [found, "--bounding-set=-all", "--inh-caps=-all"]


def everything_in(folder):
    return sorted((str(one.relative_to(folder)), one.stat().st_mtime_ns)
                  for one in (folder, *folder.rglob("*")))  # fmt: skip


def read_only(folder):
    for one in (*folder.rglob("*"), folder):
        one.chmod(one.stat().st_mode & ~0o222)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder that holds a copy of the package that cannot be changed."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(
        Path(fnn.__file__).parent, folder / "fastnn", ignore=shutil.ignore_patterns("__pycache__")
    )
    read_only(folder)
    yield folder
    for one in (folder, *folder.rglob("*")):
        if one.is_dir():
            one.chmod(0o755)


def run(code, site, own, cwd, *arguments, before="", **environment):
    """Run code with the package of `site`; `before` is a command of the shell."""
    command = [sys.executable, "-P", "-c", code, str(own), str(site / "fastnn"), *arguments]
    given = environ(PYTHONPATH=str(site), MPLBACKEND="agg", **environment)
    given = {name: value for name, value in given.items() if value is not None}
    return subprocess.run(
        [*without_privileges(), "sh", "-c", f'{before or ":"} && exec "$@"', "sh", *command],
        cwd=cwd, env=given, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def unwritable(folder, name):
    path = folder / name
    path.mkdir()
    path.chmod(0o555)
    return str(path)


PLACES = {
    "as usual": lambda _: {},
    "no home": lambda folder: {
        "HOME": str(folder / "nowhere"), "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None,
    },
    "nothing is writable but the folder of one's own": lambda folder: {
        "HOME": unwritable(folder, "home"), "XDG_CACHE_HOME": unwritable(folder, "cache"),
        "XDG_CONFIG_HOME": unwritable(folder, "config"), "TMPDIR": str(folder / "no temporaries"),
    },
    "the folder of temporary files is not writable": lambda folder: {
        "TMPDIR": unwritable(folder, "temporary"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "places",
    [name if name.startswith("nothing") else pytest.param(name, marks=pytest.mark.slow)
     for name in PLACES],
)  # fmt: skip
def test_all_works_where_only_a_folder_of_ones_own_can_be_written(places, site, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    before, own = everything_in(site), tmp_path / "own"
    own.mkdir()
    cwd = Path(unwritable(tmp_path, "current"))
    found = run(WORK, site, own, cwd, **PLACES[places](tmp_path))
    assert found.stdout.endswith("done\n"), found.stderr[-3000:]
    assert everything_in(site) == before
    assert not list(cwd.iterdir())


@pytest.mark.slow
def test_all_works_in_a_folder_that_was_deleted(site, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    own, cwd = tmp_path / "own", tmp_path / "current"
    own.mkdir()
    cwd.mkdir()
    found = run(WORK, site, own, cwd, before=f"rmdir '{cwd}'")
    assert found.stdout.endswith("done\n"), found.stderr[-3000:]


RELATIVE = """
import fastnn as fnn
model = fnn.Sequential([fnn.Dense(1)], input_shape=(2,))
model.compile("sgd", "mse")
calls = {
    "save": lambda: model.save("m"),
    "load": lambda: fnn.load("m"),
    "backup": lambda: model.fit([[1, 2]], [1], verbose=0, callbacks=[fnn.BackupAndRestore("b")]),
    "table": lambda: model.fit([[1, 2]], [1], verbose=0, callbacks=[fnn.CSVLogger("log.csv")]),
}
for name, call in calls.items():
    try:
        call()
    except OSError as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


def test_names_that_lead_nowhere_are_errors_that_name_them(site, tmp_path):
    cwd = tmp_path / "current"
    cwd.mkdir()
    found = run(RELATIVE, site, tmp_path, cwd, before=f"rmdir '{cwd}'")
    lines = found.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["save", "load", "backup", "table"]
    assert all("FileNotFoundError" in line for line in lines)
    for line, name in zip(lines, ["'m'", "'m'", "'b'", "'log.csv'"], strict=True):
        assert name in line, lines


def test_a_folder_that_is_not_writable_is_named(site, tmp_path):
    cwd = Path(unwritable(tmp_path, "current"))
    found = run(RELATIVE, site, tmp_path, cwd)
    lines = found.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["save", "load", "backup", "table"]
    assert [line.split(":")[1] for line in lines] == [
        " PermissionError", " FileNotFoundError", " PermissionError", " PermissionError",
    ]  # fmt: skip
    for line, name in zip(lines, ["'m'", "'m'", "'b'", "'log.csv'"], strict=True):
        assert name in line, lines
