"""`fastnn evaluate`, `explain`, `compare`, `info`, `bench`, and what holds for each command."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_helpers import houses, rows_of, score_of

import fastnn as fnn
from fastnn.analysis import machine_limits
from fastnn.cli.compare import _show as show_comparison
from fastnn.tabular import TabularModel, scores
from fastnn.tabular.comparison import Row

pandas = pytest.importorskip("pandas")


# --- evaluate ---------------------------------------------------------------------------------


def test_evaluate_numbers(run, numbers):
    status, out, _ = run("evaluate", numbers, "houses.csv")
    assert status == 0
    _, predicted, _ = run("predict", numbers, "houses.csv")
    error = np.array([float(row["price"]) for row in rows_of(predicted)]) - houses()["price"]
    assert score_of(out, "rmse") == [pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)]
    assert score_of(out, "rows") == [200]


def test_evaluate_groups(run, classes):
    frame = houses()
    frame.loc[frame["town"] == "Oslo", "kind"] = np.where(
        frame.loc[frame["town"] == "Oslo", "garden"], "flat", "villa, big"
    )  # all wrong
    frame.loc[[1, 2], "kind"] = None
    frame.to_csv("new.csv", index=False)
    status, out, _ = run("evaluate", classes, "new.csv", "--group", "town", "size")
    assert status == 0
    assert "2 rows without a target left out" in out
    by_town, by_size = out.split("\nsize")
    assert score_of(by_town, "Oslo")[2] < 0.1
    assert score_of(by_town, "Nara")[2] > 0.9
    assert len(re.findall(r"^(?:up to|above|[\d.]+ to) ", by_size, re.M)) == 4


# --- explain ----------------------------------------------------------------------------------


def test_explain(run, numbers):
    status, out, _ = run("explain", numbers)
    assert status == 0
    assert re.search(r"^town +category, one-hot +3: 'Köln', 'Nara', 'Oslo'", out, re.M)
    assert "gets worse" not in out
    status, out, _ = run("explain", numbers, "houses.csv", "--repeats", "2")
    assert status == 0
    table = out.split("gets worse by")[1]
    first, *_, last = (line.split()[0] for line in table.splitlines()[1:] if line)
    assert (first, last) == ("town", "size")


# --- compare ----------------------------------------------------------------------------------


def test_compare(run):
    pytest.importorskip("sklearn")
    status, out, err = run(
        "compare", "houses.csv", "--target", "price", "--drop", "kind", "--folds", "2",
        "--members", "1", "--time-budget", "1",
    )  # fmt: skip
    assert status == 0
    assert re.search(r"^model +rmse +mae +r2 +seconds$", out, re.M)
    names = ["linear regression", "gradient boosting", "fastnn realmlp"]
    for name in names:
        assert re.search(rf"^{name} .* ± ", out, re.M)
        assert f"fold 2 of 2: {name}" in err
    # What is linear, the linear model learns.
    (mean,) = re.findall(r"^linear regression +([\d,.]+)", out, re.M)
    assert float(mean.replace(",", "")) < 5000
    errors = re.findall(r"^\D+([\d,.]+) ± ", out, re.M)
    assert errors == sorted(errors, key=lambda text: float(text.replace(",", "")))


def test_compare_classes(run):
    pytest.importorskip("sklearn")
    status, out, err = run(
        "compare", "houses.csv", "--target", "kind", "-q", "--folds", "2", "--members", "1",
        "--time-budget", "1",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert re.search(r"^logistic regression +1 ± 0", out, re.M)


def test_compare_where_a_fold_lacks_a_class(run):
    pytest.importorskip("sklearn")
    frame = houses().drop(columns="price")
    frame.loc[7, "kind"] = "hut"
    frame.to_csv("rare.csv", index=False)
    status, out, err = run(
        "compare", "rare.csv", "--target", "kind", "-q", "--folds", "3", "--members", "1",
        "--time-budget", "1", "--metric", "roc_auc",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert re.search(r"^model +roc_auc +log_loss +accuracy", out, re.M)
    assert re.search(r"^fastnn realmlp +0\.\d+ ± 0 +[\d.]+ ± ", out, re.M), out  # of one fold


def test_compare_by_a_score_that_no_fold_defines(capsys):
    rows = [Row("a", {"accuracy": [0.5, 0.7]}, [1.0]), Row("b", {"accuracy": [0.9]}, [1.0])]
    show_comparison(rows, scores.get("roc_auc", "classification"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["a", "-", "0.6000", "±", "0.10", "1.0"]


def test_compare_without_scikit_learn(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    status, _, err = run("compare", "houses.csv", "--target", "price")
    assert status == 2
    assert "a comparison needs scikit-learn: pip install 'fastnn-cpu[table]'" in err


# --- info -------------------------------------------------------------------------------------


def test_info(run, classes):
    assert run("info")[1].startswith("fastnn     ")
    status, out, _ = run("info", classes)
    assert status == 0
    for text in ("(batch, 5)", "'flat', 'villa, big'", "3: 'Köln', 'Nara', 'Oslo'",
                 "160 rows, 40 held out", "1 network, best epochs", "accuracy"):  # fmt: skip
        assert text in out


def test_info_of_a_regression(run, numbers):
    status, out, _ = run("info", numbers)
    assert status == 0
    assert re.search(r"^task +regression of price$", out, re.M)
    assert not re.search(r"^classes", out, re.M)
    assert re.search("^training +houses.csv, 160 rows, 40 held out; 1 network", out, re.M)


@pytest.mark.parametrize("change", [{"rows": "many"}, {"results": 3}, {"members": None}], ids=str)
def test_info_of_a_file_that_describes_its_training_otherwise(run, numbers, change):
    model = fnn.load(numbers)
    training = model.attachments["training"] | change
    if None in change.values():
        training.pop("members")
    other = TabularModel(model.model, model.encoding, model.target, {"training": training})
    other.save("other.safetensors")
    status, out, _ = run("info", "other.safetensors")
    assert status == 0
    assert re.search(r"^training +not known$", out, re.M)


def test_plain_model(run):
    fnn.Sequential([fnn.Dense(1)], input_shape=(3,)).save("plain.safetensors")
    status, out, _ = run("info", "plain.safetensors")
    assert status == 0
    assert "saved by Model.save" in out
    for line in (["predict"], ["evaluate"], ["explain"]):
        status, _, err = run(*line, "plain.safetensors", "houses.csv")
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


# --- completion, tables on a screen -----------------------------------------------------------


def test_completion(run):
    pytest.importorskip("shtab")
    status, out, _ = run("--print-completion", "bash")
    assert status == 0
    assert "--class-weight" in out
    if shutil.which("bash"):
        done = subprocess.run(["bash", "-n"], input=out, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_completion_without_shtab(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    status, _, err = run("--print-completion", "zsh")
    assert status == 2
    assert "completion needs shtab: pip install 'fastnn-cpu[table]'" in err


@pytest.mark.parametrize("has_rich", [True, False])
def test_tables_on_a_screen(run, numbers, monkeypatch, has_rich):
    """No line is wider than the screen, and brackets in names are no markup."""
    from fastnn.cli import output

    if has_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(output, "_is_screen", lambda: True)
    monkeypatch.setattr(output, "_width", lambda: 60)
    frame = houses().rename(columns={"size": "[red]size[/red] " + 6 * "wide"})
    frame.to_csv("wide.csv", index=False)
    _, out, _ = run("train", "wide.csv", "--target", "kind", "--members", "1", "--epochs", "1")
    assert "[red]" in out
    table = out.split("classes\n")[1].split("learned")[0]
    assert (max(map(len, table.splitlines())) <= 60) == has_rich
