"""Readers that leave, disks that are full, old terminals, signals: no training is lost."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from command_helpers import MODEL, QUICK

import fastnn as fnn

FASTNN = [sys.executable, "-P", "-m", "fastnn"]
TRAIN = [*FASTNN, "train", "houses.csv", "--target", "price", "--drop", "kind", *QUICK]
FILES = ["model.safetensors", "predictions.csv", "report.html"]


def gone():
    """Return a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stdout and stderr"])
def test_a_reader_that_stops_loses_no_training(here, both):
    out = gone()
    error = out if both else subprocess.PIPE
    done = subprocess.run(TRAIN, stdout=out, stderr=error, text=True)
    os.close(out)
    assert done.returncode == 0
    assert both or "Error" not in done.stderr
    assert set(FILES[:2]) <= set(os.listdir("fastnn-output"))


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(here, closed):
    line = ["bash", "-c", f'"$@" {closed}', "bash", *TRAIN]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert fnn.load(MODEL).target.name == "price"


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "line",
    ["train - --target y", "predict M -", "evaluate M -", "explain M -", "compare - --target y"],
)
def test_a_closed_standard_input(here, numbers, line, closed):
    argv = [str(numbers) if word == "M" else word for word in line.split()]
    command = ["bash", "-c", f'"$@" {closed}', "bash", *FASTNN, *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    told = f"fastnn {argv[0]}: error: standard input: cannot be read (it is closed)\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("" if "2>&-" in closed else told)


@pytest.mark.parametrize(
    "line",
    ["predict M houses.csv", "evaluate M houses.csv", "explain M houses.csv", "info M", "info",
     "--help", "train --help", "--version", "--print-completion bash"],
)  # fmt: skip
def test_all_streams_closed(here, numbers, line):
    argv = [str(numbers) if word == "M" else word for word in line.split()]
    command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", *FASTNN, *argv]
    assert subprocess.run(command).returncode == 0


def test_a_full_disk_behind_a_file(here, numbers):
    resource = pytest.importorskip("resource")
    content = (here / "houses.csv").read_bytes()
    (here / "long.csv").write_bytes(content + content.split(b"\n", 1)[1] * 9)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    before = set(os.listdir())
    lines = {
        "out.csv": ["predict", str(numbers), "long.csv", "--output", "out.csv"],
        "m/model.safetensors": [*TRAIN[len(FASTNN) :], "-q", "--output", "m"],
    }
    for name, line in lines.items():
        command = [*FASTNN, *line]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"fastnn {line[0]}: error: {name}: File too large\n"
    assert set(os.listdir()) == before | {"m"}
    assert os.listdir("m") == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
def test_a_full_disk_behind_standard_output(here, numbers):
    with open("/dev/full", "w") as full:
        line = [*FASTNN, "predict", str(numbers), "houses.csv"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr == ("fastnn predict: error: standard output: No space left on device\n")
        done = subprocess.run([*TRAIN, "-q"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "fastnn train: error: standard output: No space left on device\n"
    assert fnn.load(MODEL).target.name == "price"


def test_predictions_for_a_reader_that_leaves(here, numbers):
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1; exit ${PIPESTATUS[0]}', "bash", *FASTNN, "predict",
         str(numbers), "houses.csv"], capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "price\n", "")


def test_from_standard_input_to_standard_output(here, numbers):
    line = [*FASTNN, "predict", str(numbers)]
    want = subprocess.run([*line, "houses.csv"], capture_output=True).stdout
    content = (here / "houses.csv").read_bytes()
    done = subprocess.run([*line, "-", "--output", "-"], input=content, capture_output=True)
    assert done.returncode == 0
    assert done.stdout == want
    assert want.count(b"\n") == 201


def test_a_named_pipe(here, numbers):
    os.mkfifo("pipe.csv")
    content = (here / "houses.csv").read_bytes()
    threading.Thread(target=lambda: (here / "pipe.csv").write_bytes(content)).start()
    done = subprocess.run([*FASTNN, "predict", str(numbers), "pipe.csv"], capture_output=True)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 201)


def test_names_on_a_narrow_terminal(here):
    (here / "ö.csv").write_text("größe,y\n" + "1,桃\n2,ß\n" * 15, encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*FASTNN, "train", "ö.csv", "--target", "y", *QUICK], capture_output=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stdout
    line = [*FASTNN, "predict", MODEL, "ö.csv", "--probabilities"]
    done = subprocess.run(line, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("utf-8").splitlines()
    assert set(lines[0].split(",")) == {"y", "probability_ß", "probability_桃"}
    assert {line.split(",")[0] for line in lines[1:]} <= {"桃", "ß"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("members", ["1", "3"])
def test_a_signal_saves_what_was_reached(here, number, status, members):
    line = [*TRAIN[:-4], "--members", members, "--epochs", "1000000"]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert "networks for" in (first := process.stderr.readline()) or "network for" in first
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert "fastnn train: interrupted; saving what was reached after this epoch" in err
    assert "; interrupted\n" in out
    assert sorted(os.listdir("fastnn-output")) == FILES
    facts = fnn.load(MODEL).attachments["training"]
    assert facts["stop_reason"] == "interrupted"
    assert all(1 <= epochs < 1000000 for epochs in facts["epochs"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_there_is_anything_to_save(run, monkeypatch, number, status):
    def signalled(*_, **__):
        signal.raise_signal(number)

    monkeypatch.setattr("fastnn.tabular.study.fit", signalled)
    own = signal.default_int_handler  # a job in the background begins with SIGINT ignored
    former = signal.signal(number, own)
    try:
        found, out, err = run("train", "houses.csv", "--target", "price", "-q")
        assert signal.getsignal(number) is own
    finally:
        signal.signal(number, former)
    assert (found, out) == (status, "")
    assert "nothing was saved" in err
