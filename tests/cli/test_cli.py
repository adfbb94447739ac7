"""The command: what it prints, what it writes, and a one-line message for every mistake."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import cli
from fastnn.analysis import machine_limits
from fastnn.cli.train_report import MODEL_NAME as MODEL
from fastnn.tabular import TabularModel

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def houses(rows=200):
    g = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "size": g.normal(50, 10, rows),
            "garden": g.random(rows) > 0.5,
            "town": g.choice(["Köln", "Nara", "Oslo"], rows),
        }
    )
    price = 1e6 + 3e3 * table["size"] + 1e5 * table["garden"] + 2e5 * (table["town"] == "Nara")
    return table.assign(price=price, kind=np.where(table["garden"], "villa, big", "flat"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    houses().to_csv("houses.csv", index=False)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    """Run a command in a folder of its own; return status, standard output and error."""

    def call(*argv):
        try:
            status = cli.main([str(arg) for arg in argv])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    yield call
    fnn.set_num_threads(None)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- train ------------------------------------------------------------------------------------


def test_train_on_digits(run):
    status, out, err = run("train", "--epochs", "20")
    assert status == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line[0] != " ")
    assert lines["network"] == "61-128-10 relu, 9,226 parameters"  # 3 are always 0
    assert lines["training"] == "adam 0.001, batch 64, 20 epochs, seed 0"
    assert "samples a second" in lines["speed"]
    assert fnn.show_config("dict")["isa"] in lines["speed"]
    assert all(line[10] != " " and len(line) <= 80 for line in out.splitlines())
    assert float(out.split("accuracy ")[1].split("%")[0]) > 90
    assert sorted(os.listdir("fastnn-output")) == ["learning_curve.png", MODEL]
    assert len(err.splitlines()) == 20


def test_learning_curve_is_a_picture(run):
    run("train", "-q", "--epochs", "2")
    picture = Path("fastnn-output/learning_curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert picture[16:24] == (960).to_bytes(4) + (600).to_bytes(4)


def test_quiet_and_reproducible(run):
    first = run("train", "-q", "--epochs", "3", "--output", "a/b", "--seed", "7")
    again = run("train", "-q", "--epochs", "3", "--output", "a/b", "--seed", "7", "--threads", "1")
    other = run("train", "-q", "--epochs", "3", "--output", "a/b", "--seed", "8")
    assert first[2] == ""
    assert [line.split()[0] for line in first[1].splitlines()[:3]] == ["held", "speed", "saved"]
    held_out = [result[1].splitlines()[0] for result in (first, again, other)]
    assert held_out[0] == held_out[1] != held_out[2]


def test_options_reach_the_model(run):
    status, out, _ = run(
        "train", "houses.csv", "--target", "kind", "--drop", "price", "--hidden", "8", "4",
        "--activation", "tanh", "--dropout", "0.25", "--optimizer", "sgd", "--learning-rate",
        "0.5", "--batch-size", "16", "--epochs", "2", "--validation", "0.5",
    )  # fmt: skip
    assert status == 0
    assert "network   5-8-4-2 tanh, dropout 0.25" in out
    assert "training  sgd 0.5, batch 16, 2 epochs" in out
    assert "3 columns; left out: 'price'" in out
    assert [layer.kind for layer in fnn.load(f"fastnn-output/{MODEL}").model.layers] == [
        "dense", "dropout", "dense", "dropout", "dense",
    ]  # fmt: skip


def test_linear_model_on_all_rows(run):
    status, out, _ = run(
        "train", "houses.csv", "--target", "price", "--drop", "kind", "--hidden", "--held-out",
        "0", "--epochs", "2",
    )  # fmt: skip
    assert status == 0
    assert "200 rows to train on, 0 held out" in out
    assert "network   5-1 linear" in out
    assert "held out  no rows" in out


def test_guess_of_the_task_is_said(run):
    pandas.DataFrame({"a": range(40), "y": [0, 1] * 20}).to_csv("whole.csv", index=False)
    _, out, _ = run("train", "whole.csv", "--target", "y", "--epochs", "1")
    assert "y, 2 classes (for regression: --task regression)" in out
    _, out, _ = run("train", "whole.csv", "--target", "y", "--epochs", "1", "--task", "regression")
    assert "y, numbers from 0 to 1; loss 1 = predicting the mean" in out


@pytest.mark.parametrize(("share", "held_out"), [("0.04", 8), ("0.05", 10)])
def test_few_rows_held_out_are_warned_of(run, share, held_out):
    line = ("train", "houses.csv", "--target", "price", "--drop", "kind", "-q", "--epochs", "1")
    status, out, err = run(*line, "--held-out", share)
    assert status == 0
    assert "held out" in out
    if held_out < 10:
        assert err == (
            "fastnn train: warning: only 8 rows are held out, too few to tell how well the model "
            "does on new data; see --held-out\n"
        )
    else:
        assert err == ""


def test_one_row_held_out_is_singular(run):
    np.savez("a.npz", x=np.random.default_rng(0).normal(size=(20, 2)), y=np.arange(20) / 7)
    _, _, err = run("train", "a.npz", "-q", "--epochs", "1", "--held-out", "0.05")
    assert "only 1 row is held out" in err


def test_npz(run):
    g = np.random.default_rng(0)
    np.savez("a.npz", x=g.normal(size=(90, 3, 2)), label=np.arange(90) % 3)
    status, out, _ = run("train", "a.npz", "--target", "label", "--epochs", "2")
    assert status == 0
    assert "label, 3 classes\n" in out
    np.savez("new.npz", x=g.normal(size=(4, 3, 2)))
    status, out, _ = run("predict", f"fastnn-output/{MODEL}", "new.npz")
    assert (status, len(rows_of(out))) == (0, 4)


def test_without_matplotlib(run, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    status, out, _ = run("train", "-q", "--epochs", "1")
    assert status == 0
    last = "no learning curve: pip install 'fastnn-cpu[plot]' to get one"
    assert out.splitlines()[-1] == " " * 10 + last


def test_divergence(run):
    run("train", "-q", "--epochs", "1")
    before = Path(f"fastnn-output/{MODEL}").read_bytes()
    status, out, err = run("train", "-q", "--learning-rate", "1e30")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith("fastnn train: error: the loss is ")
    assert Path(f"fastnn-output/{MODEL}").read_bytes() == before


def test_interrupt_saves(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn", "train", "--epochs", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        for line in process.stderr:
            if " 3/1000000" in line:
                break
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "fastnn train: interrupted; saving what was reached"
    assert "held out  accuracy" in out
    assert time.perf_counter() - began < 15
    assert fnn.load(f"fastnn-output/{MODEL}").model.output_shape == (10,)


# --- predict ----------------------------------------------------------------------------------


@pytest.fixture
def regression(run):
    run("train", "houses.csv", "--target", "price", "--drop", "kind", "-q", "--epochs", "100",
        "--learning-rate", "0.01")  # fmt: skip
    return f"fastnn-output/{MODEL}"


@pytest.fixture
def classes(run):
    run("train", "houses.csv", "--target", "kind", "-q", "--epochs", "20")
    return f"fastnn-output/{MODEL}"


def test_regression_in_its_own_unit(run, regression):
    status, out, _ = run("predict", regression, "houses.csv")
    predicted = np.array([float(row["price"]) for row in rows_of(out)])
    price = houses()["price"].to_numpy()
    assert status == 0
    assert np.abs(predicted - price).mean() < 0.1 * price.std()


def test_rows_that_are_too_far_away(run, regression, here):
    far = houses(20)
    far.loc[12, "size"] = 3e39
    far.to_csv("far.csv", index=False)
    status, out, err = run("predict", regression, "far.csv")
    assert (status, err) == (0, "")
    predicted = [float(row["price"]) for row in rows_of(out)]
    assert abs(predicted[12] - np.mean(predicted)) < 4 * houses()["price"].std()


def test_predictions_replace_an_older_file(run, regression):
    Path("old.csv").write_text("old")
    assert run("predict", regression, "houses.csv", "--output", "old.csv") == (0, "", "")
    assert Path("old.csv").read_text() == run("predict", regression, "houses.csv")[1]


def test_interrupted_predictions(run, regression, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fnn.Sequential, "predict", interrupt)
    assert run("predict", regression, "houses.csv") == (
        130, "", "fastnn predict: interrupted; nothing was saved\n"
    )  # fmt: skip


def test_info_of_a_regression(run, regression):
    status, out, _ = run("info", regression)
    assert status == 0
    assert re.search(r"^task +regression of price$", out, re.M)
    assert not re.search(r"^classes", out, re.M)
    assert re.search("^training +houses.csv, 160 rows, 40 held out; adam", out, re.M)


@pytest.mark.parametrize("change", [{"rows": "many"}, {"results": 3}, {"optimizer": None}], ids=str)
def test_info_of_a_file_that_describes_its_training_otherwise(run, regression, change):
    model = fnn.load(regression)
    training = model.attachments["training"] | change
    if None in change.values():
        training.pop("optimizer")
    other = TabularModel(model.model, model.encoding, model.target, {"training": training})
    other.save("other.safetensors")
    status, out, _ = run("info", "other.safetensors")
    assert status == 0
    assert re.search(r"^training +not known$", out, re.M)


def test_training_that_ends_in_its_first_epoch_has_no_curve(run, monkeypatch):
    """Ctrl-C there saves the model at its start."""

    def interrupted(self, *_, **__):
        self.network.history = fnn.History({}, [])
        raise KeyboardInterrupt

    monkeypatch.setattr(fnn.Sequential, "fit", interrupted)
    status, out, err = run("train", "-q")
    assert status == 130
    assert err == "fastnn train: interrupted; saving what was reached\n"
    assert "no learning curve: no epoch was finished" in out
    assert fnn.load(f"fastnn-output/{MODEL}").model.output_shape == (10,)


def test_held_out_results_against_plain_formula(run):
    _, out, _ = run("train", "houses.csv", "--target", "price", "--drop", "kind", "-q",
                    "--epochs", "5")  # fmt: skip
    _, predictions, _ = run("predict", f"fastnn-output/{MODEL}", "houses.csv")
    price = houses()["price"].to_numpy()
    _, held_out = fnn.datasets.split(np.zeros(200, int), 0.2, 0)
    error = np.array([float(row["price"]) for row in rows_of(predictions)]) - price
    mae = np.abs(error[held_out]).mean()
    r2 = 1 - (error[held_out] ** 2).mean() / price[held_out].var()
    assert float(out.split("mae ")[1].split(", ")[0].replace(",", "")) == pytest.approx(mae, 1e-3)
    assert float(out.split("R² ")[1].split()[0]) == pytest.approx(r2, abs=1e-3)


def test_classes_and_probabilities(run, classes):
    status, out, _ = run("predict", classes, "houses.csv", "--probabilities")
    rows = rows_of(out)
    assert status == 0
    assert list(rows[0]) == ["kind", "probability_flat", "probability_villa, big"]
    right = [row["kind"] == kind for row, kind in zip(rows, houses()["kind"], strict=True)]
    assert np.mean(right) > 0.95
    for row in rows:
        p = {name: float(row[f"probability_{name}"]) for name in ("flat", "villa, big")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert row["kind"] == max(p, key=p.get)


def test_model_file_alone_is_enough(run, classes):
    _, want, _ = run("predict", classes, "houses.csv")
    os.rename(classes, "moved.safetensors")
    houses()[["town", "price", "garden", "size"]].assign(more="x").to_parquet("other.parquet")
    status, out, _ = run("predict", "moved.safetensors", "other.parquet")
    assert (status, out) == (0, want)


def test_output_file(run, classes):
    _, want, _ = run("predict", classes, "houses.csv")
    status, out, _ = run("predict", classes, "houses.csv", "--output", "new/räum lich.csv")
    assert (status, out) == (0, "")
    assert Path("new/räum lich.csv").read_text(encoding="utf-8") == want


EUROPEAN = {"sep": ";", "decimal": ",", "index": False}


def european(rows=120):
    """A usual export: decimal commas, dates, ids, gaps, categories called NA and None."""
    g = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "id": [f"A{i:05d}" for i in range(rows)],
            "date": [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2023" for i in range(rows)],
            "size": np.where(g.random(rows) < 0.1, np.nan, g.normal(50, 9, rows).round(2)),
            "kind": [["NA", "None", "x", ""][i % 4] for i in range(rows)],
            "rate": [f"{i % 90}%" for i in range(rows)],
            "price": np.where(np.arange(rows) == 5, np.nan, g.normal(1e9, 1e7, rows)),
        }
    )


def test_a_file_as_people_have_them(run, here, monkeypatch):
    european().to_csv("m.csv", **EUROPEAN)
    status, out, _ = run("train", "m.csv", "--target", "price", "--epochs", "5")
    assert status == 0
    assert "95 rows to train on, 24 held out, 1 row without a target left out" in out
    for text in ("cells are separated by ';'", "an id: nearly every row has a text of its own",
                 "dates as text, such as", "numbers written as text, such as",
                 "3: 'NA', 'None', 'x'"):  # fmt: skip
        assert text in out
    new = european().assign(kind="unheard of").drop(columns="id")
    content = new.to_csv(**EUROPEAN).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    status, out, _ = run("predict", f"fastnn-output/{MODEL}", "-")
    predicted = [row["price"] for row in rows_of(out)]
    assert (status, len(predicted)) == (0, 120)
    assert len(set(predicted)) > 110  # with %.9g, ten: 1e+09, 1.01e+09, ...
    assert all(repr(float(text)) == text for text in predicted)


def test_classes_keep_their_zeros(run):
    frame = pandas.DataFrame({"a": range(40), "b": [1, 2] * 20, "code": ["00501", "10115"] * 20})
    frame.to_csv("codes.csv", index=False)
    run("train", "codes.csv", "--target", "code", "-q", "--epochs", "1")
    _, out, _ = run("predict", f"fastnn-output/{MODEL}", "codes.csv", "--probabilities")
    assert set(rows_of(out)[0]) == {"code", "probability_00501", "probability_10115"}
    assert {row["code"] for row in rows_of(out)} <= {"00501", "10115"}


def test_digits_by_name(run):
    run("train", "-q", "--epochs", "30")
    _, out, _ = run("predict", f"fastnn-output/{MODEL}", "digits")
    right = [int(row["digit"]) for row in rows_of(out)] == fnn.datasets.load_digits()[1]
    assert np.mean(right) > 0.95


def test_reader_that_leaves(here):
    line = "train -q --epochs 1 >&2 && {0} predict fastnn-output/{1} digits | head -1"
    program = f"{sys.executable} -m fastnn"
    done = subprocess.run(
        f"{program} {line.format(program, MODEL)}", shell=True, capture_output=True, text=True
    )
    assert done.stdout == "digit\n"
    assert "Error" not in done.stderr


# --- info -------------------------------------------------------------------------------------


def test_info(run, classes):
    assert run("info")[1].startswith("fastnn     ")
    status, out, _ = run("info", classes)
    assert status == 0
    for text in ("(batch, 6)", "dense_1", "'flat', 'villa, big'", "3: 'Köln', 'Nara', 'Oslo'",
                 "160 rows, 40 held out", "completed 20 epochs", "accuracy"):  # fmt: skip
        assert text in out


def test_plain_model(run):
    fnn.Sequential([fnn.Dense(1)], input_shape=(3,)).save("plain.safetensors")
    status, out, _ = run("info", "plain.safetensors")
    assert status == 0
    assert "saved by Model.save" in out
    status, _, err = run("predict", "plain.safetensors", "houses.csv")
    assert status == 2
    assert "was not saved by `fastnn train`" in err


# --- bench ------------------------------------------------------------------------------------


def test_bench_measures_and_keeps(run):
    status, out, err = run("bench", "--limits", "--threads", "1")
    kept = machine_limits.load()
    assert (status, err) == (0, "")
    assert kept.threads == 1
    assert f"{kept.arithmetic['float32'][0]:.1f}  GFLOP/s" in out
    assert out.splitlines()[-1] == f"kept       in {machine_limits.path()}"
    assert all(len(line) <= 80 or "/" in line for line in out.splitlines())


def test_bench_where_nothing_can_be_written(run, here, monkeypatch):
    monkeypatch.setattr(machine_limits, "folder", lambda: here / "houses.csv" / "fastnn")
    status, out, err = run("bench", "--limits")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "kept       not: Not a directory"


# --- mistakes ---------------------------------------------------------------------------------

MISTAKES = {
    "no command": ("trian", "invalid choice: 'trian'"),
    "no file": ("train no.csv --target y", "no.csv: does not exist"),
    "no target": ("train houses.csv", "--target is missing.*'size', 'garden', 'town', 'price'"),
    "other target": ("train houses.csv --target prise",
                     r"there is no 'prise'; did you mean 'price'\? --target must"),
    "repeated names": (
        "train twice.csv --target y", "twice.csv: columns 1 and 3 are both called 'y'",
    ),
    "cut": ("train cut.csv --target y", "cut.csv: line 3 has 1 cell.*the file was cut"),
    "infinite": ("train inf.csv --target y --held-out 0", "column 'a', row 2: is infinite"),
    "one class": ("train one.csv --target y", "target 'y' has only one class, 'u'"),
    "other separator": ("train houses.csv --target price --sep ;;", "sep must be one character"),
    "digits' target": ("train --target y", "the digits' target is 'digit'"),
    "all dropped": ("train few.csv --target y --drop a", "no column is left as input"),
    "option": (
        "train houses.csv --target price --hiden 64",
        "fastnn train: error: unrecognized arguments: --hiden 64; did you mean '--hidden'?",
    ),
    "option with value": (
        "train --learing-rate=0.1",
        "unrecognized arguments: --learing-rate=0.1; did you mean '--learning-rate'?",
    ),
    "option of predict": (
        "predict m.safetensors houses.csv --probabilites",
        "fastnn predict: error: .*; did you mean '--probabilities'?",
    ),
    "option of none": ("--verison", "fastnn: error: .*; did you mean '--version'?"),
    "no option": ("train --zzz", r"unrecognized arguments: --zzz \(see"),
    "file too many": ("info a.x b.x", r"unrecognized arguments: b.x \(see"),
    "few rows": ("train few.csv --target y", "leaves 2 to train on and 0 to test with"),
    "data last": ("train --hidden 8 houses.csv", "'houses.csv'; DATA goes before the options"),
    "epochs": ("train --epochs 0", "--epochs: expected a whole number of at least 1, got '0'"),
    "rate": ("train --learning-rate nan", "--learning-rate: expected a number of at least 0"),
    "share": ("train --held-out 1", "--held-out.*up to, not including, 1, got '1'"),
    "optimizer": ("train --optimizer adan", "invalid choice: 'adan'"),
    "units": ("train --hidden 10000000000000000", "memory|too large|dimension"),
    "output": ("train --output houses.csv", "--output houses.csv: is a file"),
    "under a file": ("train --output houses.csv/a", "--output houses.csv/a: cannot write there"),
    "no model": ("predict no.safetensors houses.csv", "no model file 'no.safetensors'"),
    "not a model": ("predict houses.csv houses.csv", "'houses.csv' is not a safetensors file"),
    "no data": ("predict m.safetensors", "required: DATA"),
    "missing columns": ("predict m.safetensors few.csv", "few.csv: the model needs column 'size'"),
    "digits": ("predict m.safetensors digits", "columns without names; the model takes 4"),
    "no classes": ("predict p.safetensors houses.csv --probabilities", "it has no classes"),
    "own data": ("predict m.safetensors houses.csv --output houses.csv", "would overwrite"),
    "target of arrays": (
        "train arrays.npz --target z",
        "there is no 'z'; --target must name the array to predict; there is 'x', 'y'",
    ),
    "not a file": ("predict m.safetensors houses.csv --output .", "--output .: is not a file"),
    "no model here": ("info houses.csv", "is not a safetensors file"),
    "bench of what": ("bench", "required: --limits"),
    "no thread": ("bench --limits --threads 0", "expected a whole number of at least 1, got '0'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    houses().to_csv(folder / "houses.csv", index=False)
    for name, target in (("m", "kind"), ("p", "price")):
        cli.main(["train", str(folder / "houses.csv"), "--target", target, "-q", "--epochs", "1",
                  "--output", str(folder / name)])  # fmt: skip
    return folder


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(run, models, here, name):
    line, message = MISTAKES[name]
    (here / "few.csv").write_text("a,y\n1,1.5\n2,2.5\n")
    (here / "twice.csv").write_text("y,v,y\n1,2,3\n")
    (here / "cut.csv").write_text("a,y\n1,1.5\n2")
    (here / "inf.csv").write_text("a,y\n1,1.5\ninf,2.5\n")
    (here / "one.csv").write_text("a,y\n1,u\n2,u\n")
    np.savez(here / "arrays.npz", x=np.ones((9, 2)), y=np.arange(9.0))
    for model in "mp":
        (here / f"{model}.safetensors").write_bytes((models / model / MODEL).read_bytes())
    before = {path: path.read_bytes() for path in here.iterdir()}
    status, out, err = run(*line.split())
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(("fastnn " + line.split()[0] + ": error: ", "fastnn: error: "))
    assert re.search(message, err), err
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_no_command(run):
    status, out, err = run()
    assert (status, out) == (2, "")
    assert "COMMAND" in err


@pytest.mark.parametrize("command", [[], ["train"], ["predict"], ["info"], ["bench"]])
def test_help(run, command):
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert out.startswith("usage: fastnn")
    assert "130" in out or command in (["info"], ["bench"])


def test_version(run):
    assert run("--version")[1] == f"fastnn {fnn.__version__}\n"


def test_missing_pandas(run, monkeypatch):
    houses().to_parquet("houses.parquet")
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("train", "houses.csv", "--target", "price", "-q", "--epochs", "1")[0] == 0
    status, _, err = run("train", "houses.parquet", "--target", "price")
    assert (status, err.count("\n")) == (2, 1)
    assert "pip install 'fastnn-cpu[table]'" in err


def test_names_on_a_narrow_terminal(here):
    (here / "ö.csv").write_text("größe,y\n" + "1,ä\n2,ß\n" * 9, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "train", "ö.csv", "--target", "y", "--epochs", "1"],
        capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
