"""Every command answers a signal with one true line and its exit status."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from fastnn.cli import compare, evaluate, explain, predict, train
from fastnn.cli import parser as commands

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LINES = {
    "evaluate": (evaluate, ["evaluate", "m", "t.csv"], ""),
    "explain": (explain, ["explain", "m", "t.csv"], ""),
    "compare": (compare, ["compare", "t.csv"], ""),
    "predict": (predict, ["predict", "m", "t.csv"], "; nothing was saved"),
    "train": (train, ["train", "t.csv"], "; nothing was saved"),
}


@pytest.fixture
def usual():
    """The handlers that a process begins with; a job in the background begins with others."""
    former = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ]
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGINT, former[0])
    signal.signal(signal.SIGTERM, former[1])


@pytest.mark.parametrize(
    ("number", "word", "status"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "ended", 143)],
)
@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("becomes", [None, ValueError, OSError, MemoryError, RuntimeError])
def test_a_signal(usual, monkeypatch, capsys, name, number, word, status, becomes):
    module, line, saved = LINES[name]

    def run(args):
        try:
            os.kill(os.getpid(), number)
            while True:
                pass
        except KeyboardInterrupt as error:
            if becomes is None:
                raise
            raise becomes("something else") from error  # as libraries do in callbacks of C

    monkeypatch.setattr(module, "run", run)
    assert commands.main(line) == status
    assert capsys.readouterr().err == f"fastnn {name}: {word}{saved}\n"


def test_a_second_signal_while_the_first_is_answered(usual, monkeypatch, capsys):
    told = commands.complain

    def run(args):
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass

    def complain(*args):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        return told(*args)

    monkeypatch.setattr(evaluate, "run", run)
    monkeypatch.setattr(commands, "complain", complain)
    assert commands.main(["evaluate", "m", "t.csv"]) == 130
    assert capsys.readouterr().err == "fastnn evaluate: interrupted\n"


def test_an_error_without_a_signal_is_told_as_before(monkeypatch, capsys):
    def run(args):
        raise ValueError("no such column")

    monkeypatch.setattr(evaluate, "run", run)
    assert commands.main(["evaluate", "m", "t.csv"]) == 2
    assert capsys.readouterr().err == "fastnn evaluate: error: no such column\n"


@pytest.mark.parametrize(
    ("number", "word", "status"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "ended", 143)],
)
def test_a_signal_while_the_report_is_written(run, usual, monkeypatch, number, word, status):
    def write(*_):
        os.kill(os.getpid(), number)
        while True:
            pass

    monkeypatch.setattr("fastnn.cli.train_output.write_report", write)
    code, _, err = run("train", "--epochs", "1", "--members", "1", "-q")
    model = os.path.join("fastnn-output", "model.safetensors")
    assert (code, os.path.exists(model)) == (status, True)
    assert err.splitlines()[-1].startswith(f"fastnn train: {word}; the model is saved in ")
