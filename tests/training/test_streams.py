"""Training does not end because of the stream on which its progress is shown."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import fastnn as fnn

SCRIPT = """
import sys
import types
import numpy as np
import fastnn as fnn

x = np.zeros((40, 3), np.float32)
model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
model.compile("sgd", "mse")
for verbose in 1, 2:
    model.fit(x, x[:, :2], epochs=2, verbose=verbose)
    model.fit([(x, x[:, :2])], verbose=verbose)
    model.evaluate(x, x[:, :2], verbose=verbose)
    model.predict(x, verbose=verbose)
with open("done", "w") as file:
    file.write(model.history.stop_reason)
"""

# Python's own status where a stream does not take at the end what is left in its buffer.
FLUSH_FAILED = 120
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}

posix = pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")


@posix
@pytest.mark.parametrize(
    "streams",
    ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>&1 | true", "--none", "--closed"],
)
def test_streams_that_cannot_be_written(tmp_path, streams):
    before = {"--none": "sys.stderr = None", "--closed": "sys.stderr.close()"}.get(streams, "")
    (tmp_path / "script.py").write_text(SCRIPT.replace("\nx =", f"\n{before}\nx =", 1))
    shown = "" if before else streams
    found = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" script.py {shown}'], cwd=tmp_path, timeout=60,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=BUFFERED, check=False,
    )  # fmt: skip
    assert found.returncode in (0, FLUSH_FAILED)
    assert (tmp_path / "done").read_text() == "completed 1 epoch"


@posix
def test_a_terminal_that_goes_away(tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    code = SCRIPT.replace("epochs=2", "epochs=2000").replace('"sgd"', '"adam"', 1)
    (tmp_path / "script.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=BUFFERED,
    ) as child:
        os.close(theirs)
        assert os.read(ours, 100)  # the bar
        os.close(ours)
        assert child.wait(60) in (0, FLUSH_FAILED)
    assert (tmp_path / "done").exists()


class Plain:
    """A stream with nothing but what `print` needs."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


class Screen(Plain):
    def isatty(self):
        return True


class Broken(Screen):
    def __init__(self, error):
        super().__init__()
        self.error, self.count = error, 0

    def write(self, text):
        self.count += 1
        if self.count > 3:
            raise self.error


@pytest.fixture
def model():
    made = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    made.compile("sgd", "mse")
    return made


X = np.zeros((40, 3))


def test_a_stream_without_isatty_gets_lines(model, monkeypatch):
    stream = Plain()
    monkeypatch.setattr(sys, "stderr", stream)
    model.fit(X, X[:, :2], epochs=2)
    assert stream.text.splitlines()[1].startswith("epoch 2/2  loss")


@pytest.mark.parametrize(
    "error", [OSError(5, "gone"), BrokenPipeError(), ValueError("closed"),
              UnicodeEncodeError("ascii", "é", 0, 1, "not in range")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("verbose", [1, 2])
def test_a_stream_that_breaks_ends_no_training(model, monkeypatch, error, verbose):
    stream = Broken(error)
    monkeypatch.setattr(sys, "stderr", stream)
    history = model.fit(X, X[:, :2], epochs=200, batch_size=1, verbose=verbose)
    assert history.stop_reason == "completed 200 epochs"
    assert stream.count > 3
    model.evaluate(X, X[:, :2], verbose=verbose)
    model.predict(X, verbose=verbose)


def test_an_error_of_the_training_is_not_taken_for_one_of_the_stream(model, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(ValueError, match="y must have shape"):
        model.fit(X, X, verbose=1)


def test_a_notebook_gets_a_bar(model, monkeypatch):
    """Its stream is no terminal; the bar is one of text where ipywidgets is not installed."""
    shell = types.SimpleNamespace(kernel=object(), config={})
    for name, content in (("ipykernel", {}), ("IPython", {"get_ipython": lambda: shell})):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stream = Plain()
    monkeypatch.setattr(sys, "stderr", stream)
    model.fit(X, X[:, :2], epochs=2)
    assert "100%|" in stream.text
    assert "epoch 2/2" in stream.text


# --- places ---------------------------------------------------------------------------------------

PLACES = {
    "no home": {"HOME": None},
    "a home that is not there": {"HOME": "/nowhere"},
    "no folder for temporary files": {"TMPDIR": "/nowhere"},
    "nothing may be cached": {"PYTHONPYCACHEPREFIX": "/dev/full", "TMPDIR": "/dev/full"},
    "ASCII": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "a folder that is gone": {},
}  # fmt: skip


QUICK = "no home", "nothing may be cached", "a folder that is gone"


@posix
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in PLACES],
)
def test_places(name, tmp_path):
    environment = {**os.environ, **PLACES[name]}
    environment = {key: value for key, value in environment.items() if value is not None}
    folder = tmp_path / "gone"
    folder.mkdir()
    script = SCRIPT.replace('"done"', repr(str(tmp_path / "done"))) + (
        f"model.save({str(tmp_path / 'model')!r})\n"
        f"assert fnn.load({str(tmp_path / 'model')!r}).predict(x).shape == (40, 2)\n"
    )
    leave = "import os; os.rmdir(os.getcwd())\n" if name == "a folder that is gone" else ""
    subprocess.run(
        [sys.executable, "-P", "-c", leave + script], cwd=folder, env=environment, check=True,
        timeout=60, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert (tmp_path / "done").read_text() == "completed 1 epoch"
