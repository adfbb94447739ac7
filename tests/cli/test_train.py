"""`fastnn train`: what it prints, what it writes, and which model it keeps."""

import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from command_helpers import EUROPEAN, MODEL, QUICK, european, houses, rows_of, score_of

import fastnn as fnn

pandas = pytest.importorskip("pandas")

PRICE = ("train", "houses.csv", "--target", "price", "--drop", "kind", *QUICK)
KIND = ("train", "houses.csv", "--target", "kind", "--drop", "price", *QUICK)


def test_what_it_prints(run):
    status, out, err = run(*PRICE)
    assert status == 0
    assert re.search(r"^data +houses.csv: 160 rows to train on, 40 held out$", out, re.M)
    assert re.search(r"^target +price, numbers from [\d,]+ to [\d,]+$", out, re.M)
    assert re.search(r"^column +taken as +values +missing +inputs +why$", out, re.M)
    assert re.search(r"^town +category, one-hot +3: 'Köln', 'Nara', 'Oslo' +0 +3", out, re.M), out
    assert re.search(r"^kind +left out +0 +0 +as told$", out, re.M)
    assert re.search(r"^rows +40 +32$", out, re.M)  # one member predicts a fifth of the training
    assert re.search(r"^learned +1 network, best epochs \d of 5, by rmse; completed$", out, re.M)
    assert "training 1 network for 5 epochs of 128 rows: about 1 s" in err
    assert sorted(os.listdir("fastnn-output")) == [
        "model.safetensors", "predictions.csv", "report.html",
    ]  # fmt: skip


def test_wine_with_the_defaults(run):
    """A table of real measurements, end to end."""
    datasets = pytest.importorskip("sklearn.datasets")
    datasets.load_wine(as_frame=True).frame.to_csv("wine.csv", index=False)
    status, out, _ = run("train", "wine.csv", "--target", "target", "--output", "wine")
    assert status == 0
    held_out, out_of_fold = score_of(out, "accuracy")
    assert held_out > 0.94
    assert out_of_fold > 0.96
    assert score_of(out, "rows") == [36, 142]
    model = fnn.load("wine/model.safetensors")
    table = pandas.read_csv("wine.csv")
    assert np.mean(model.predict(table) == table["target"]) > 0.97
    assert "5 networks" in Path("wine/report.html").read_text()


def test_scores_are_those_of_the_rows_held_out(run):
    _, out, _ = run(*PRICE, "-q")
    held_out = pandas.read_csv("fastnn-output/predictions.csv")
    price = houses()["price"].to_numpy()
    _, rows = fnn.datasets.split(np.zeros(200, int), 0.2, 0)
    assert (held_out["row"] - 1 == rows).all()
    assert np.allclose(held_out["price"], price[rows])
    error = held_out["prediction"] - held_out["price"]
    r2 = 1 - (error**2).mean() / price[rows].var()
    assert score_of(out, "mae")[0] == pytest.approx(error.abs().mean(), rel=1e-3)
    assert score_of(out, "r2")[0] == pytest.approx(r2, abs=1e-3)
    _, predicted, _ = run("predict", MODEL, "houses.csv")
    again = np.array([float(row["price"]) for row in rows_of(predicted)])[rows]
    assert np.allclose(again, held_out["prediction"], rtol=1e-6)


def test_predictions_of_classes(run):
    run(*KIND, "-q", "--seed", "3")
    held_out = pandas.read_csv("fastnn-output/predictions.csv")
    assert list(held_out) == [
        "row", "kind", "prediction", "probability_flat", "probability_villa, big",
    ]  # fmt: skip
    assert (held_out["kind"].to_numpy() == houses()["kind"].to_numpy()[held_out["row"] - 1]).all()


def test_the_best_epoch_is_kept(run):
    """A rate that ruins the network later: the last epoch is worse than the best one."""
    g = np.random.default_rng(0)
    noise = pandas.DataFrame({f"x{i}": g.normal(size=120) for i in range(8)})
    noise["y"] = noise["x0"] + g.normal(size=120)
    noise.to_csv("noise.csv", index=False)
    run("train", "noise.csv", "--target", "y", "-q", "--members", "1", "--epochs", "60",
        "--held-out", "0")  # fmt: skip
    facts = fnn.load(MODEL).attachments["training"]
    assert facts["epochs"] == [60]
    assert facts["best_epochs"][0] < 40
    found = pandas.read_csv("fastnn-output/predictions.csv")
    rmse = float(np.sqrt(((found["prediction"] - found["y"]) ** 2).mean()))
    assert facts["out_of_fold"]["rmse"] == pytest.approx(rmse, rel=1e-3)
    _, out, _ = run("predict", MODEL, "noise.csv")
    again = np.array([float(row["y"]) for row in rows_of(out)])[found["row"] - 1]
    assert np.allclose(again, found["prediction"], rtol=1e-5)


def test_all_rows(run):
    status, out, _ = run(*PRICE, "--held-out", "0", "-q")
    assert status == 0
    assert re.search(r"^score +out of fold$", out, re.M)
    assert score_of(out, "rows") == [40]
    assert len(pandas.read_csv("fastnn-output/predictions.csv")) == 40
    assert "none were held out" in Path("fastnn-output/report.html").read_text()


def test_quiet_and_reproducible(run):
    first = run(*PRICE, "-q", "--output", "a/b", "--seed", "7")
    again = run(*PRICE, "-q", "--output", "a/b", "--seed", "7", "--threads", "1")
    other = run(*PRICE, "-q", "--output", "a/b", "--seed", "8")
    assert first[2] == ""
    scores = [result[1].split("learned")[0] for result in (first, again, other)]
    assert scores[0] == scores[1] != scores[2]


def test_options_reach_the_model(run):
    status, out, _ = run(
        "train", "houses.csv", "--target", "kind", "--drop", "price", "town", "--hidden", "8", "4",
        "--activation", "tanh", "--dropout", "0.25", "--learning-rate", "0.05", "--batch-size",
        "16", "--epochs", "2", "--validation", "0.5", "--members", "2", "--metric", "accuracy",
        "--class-weight", "flat=2", "--kind", "garden=category",
    )  # fmt: skip
    assert status == 0
    assert "99 rows to train on, 101 held out" in out
    assert re.search(r"^town +left out", out, re.M)
    assert re.search(r"^garden +category", out, re.M)
    assert re.search(r"2 networks, .* of 2, by accuracy", out)
    model = fnn.load(MODEL)
    assert list(model.encoding.groups) == ["size", "garden"]
    units = {layer.units for member in model.model.layers if hasattr(member, "layers")
             for layer in member.layers if hasattr(layer, "units")}  # fmt: skip
    assert {8, 4, 2} <= units < set(range(9))


def test_drop_may_be_repeated(run):
    run(*KIND, "--drop", "size", "-q")
    assert list(fnn.load(MODEL).encoding.groups) == ["garden", "town"]


def test_groups_are_held_out_together(run):
    houses().assign(owner=[f"o{i // 5}" for i in range(200)]).to_csv("owners.csv", index=False)
    status, _, _ = run("train", "owners.csv", "--target", "price", "--group", "owner", "-q", *QUICK)
    assert status == 0
    rows = pandas.read_csv("fastnn-output/predictions.csv")["row"].to_numpy() - 1
    assert len(rows) == 40
    assert (np.bincount(rows // 5)[np.unique(rows // 5)] == 5).all()
    assert "owner" not in fnn.load(MODEL).encoding.groups


def test_the_report_is_one_page(run):
    pytest.importorskip("jinja2")
    run(*KIND)
    page = Path("fastnn-output/report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', page)) == 5
    for text in ("Köln", "villa, big", "160 rows", "40 were held out", "seed", fnn.__version__,
                 "fastnn train houses.csv --target kind --drop price"):  # fmt: skip
        assert text in page
    run(*PRICE)
    page = Path("fastnn-output/report.html").read_text(encoding="utf-8")
    assert "Residuals" in page or "Predicted minus true" in page


def test_a_name_is_no_markup(run):
    frame = houses().rename(columns={"town": "<script>alert(1)</script>"})
    frame.to_csv("names.csv", index=False)
    run("train", "names.csv", "--target", "kind", "-q", *QUICK)
    page = Path("fastnn-output/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("name", ["$x^$", "価格", "\x1b[31mred", "k" * 3000])
@pytest.mark.parametrize("target", ["kind", "price"])
def test_pictures_take_any_name(run, name, target):
    """A formula that is none, letters that no font has, a name of a page: all are drawn."""
    other = {"kind": "price", "price": "kind"}[target]
    frame = houses().rename(columns={"size": name, target: f"{name} too"}).drop(columns=other)
    if target == "kind":
        frame[f"{name} too"] = np.where(frame["garden"], name, "flat")
    frame.to_csv("names.csv", index=False)
    status, _, err = run("train", "names.csv", "--target", f"{name} too", "-q", *QUICK)
    assert (status, err) == (0, "")
    page = Path("fastnn-output/report.html").read_text(encoding="utf-8")
    assert name in page
    assert "data:image/svg" in page


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_what_the_report_needs(run, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    status, out, _ = run(*PRICE, "-q")
    assert status == 0
    assert out.splitlines()[-1].strip() == (
        "no report: a report page needs jinja2 and matplotlib: pip install 'fastnn-cpu[table]'"
    )
    assert sorted(os.listdir("fastnn-output")) == ["model.safetensors", "predictions.csv"]


def test_guess_of_the_task_is_said(run):
    pandas.DataFrame({"a": np.arange(40) % 9, "y": [0, 1] * 20}).to_csv("whole.csv", index=False)
    _, out, _ = run("train", "whole.csv", "--target", "y", *QUICK)
    assert "y, 2 classes (for regression: --task regression)" in out
    _, out, _ = run("train", "whole.csv", "--target", "y", *QUICK, "--task", "regression")
    assert re.search(r"^target +y, numbers from 0 to 1$", out, re.M)


@pytest.mark.parametrize(("share", "held_out"), [("0.04", 8), ("0.05", 10)])
def test_few_rows_held_out_are_warned_of(run, share, held_out):
    status, _, err = run(*PRICE, "-q", "--held-out", share)
    assert status == 0
    if held_out < 10:
        assert err == (
            "fastnn train: warning: only 8 rows are held out, too few to tell how well the model "
            "does on new data; see --held-out\n"
        )
    else:
        assert err == ""


def test_digits_and_their_names(run):
    status, _, _ = run("train", "-q", *QUICK)
    assert status == 0
    _, out, _ = run("predict", MODEL, "digits")
    right = [int(row["digit"]) for row in rows_of(out)] == fnn.datasets.load_digits()[1]
    assert np.mean(right) > 0.9


def test_npz(run):
    g = np.random.default_rng(0)
    np.savez("a.npz", x=g.normal(size=(90, 3, 2)), label=np.arange(90) % 3)
    status, out, _ = run("train", "a.npz", "--target", "label", *QUICK)
    assert status == 0
    assert re.search(r"^target +label, 3 classes$", out, re.M)
    np.savez("new.npz", x=g.normal(size=(4, 3, 2)))
    status, out, _ = run("predict", MODEL, "new.npz")
    assert (status, len(rows_of(out))) == (0, 4)


def test_a_file_as_people_have_them(run, here, monkeypatch):
    european().to_csv("m.csv", **EUROPEAN)
    status, out, _ = run("train", "m.csv", "--target", "price", *QUICK)
    assert status == 0
    assert "95 rows to train on, 24 held out, 1 row without a target left out" in out
    for text in ("cells are separated by ';'", "an id: nearly every row has a text of its own",
                 "dates as text, such as", "numbers written as text, such as",
                 "3: 'NA', 'None', 'x'"):  # fmt: skip
        assert text in out
    new = european().assign(kind="unheard of").drop(columns="id")
    content = new.to_csv(**EUROPEAN).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    status, out, _ = run("predict", MODEL, "-")
    predicted = [row["price"] for row in rows_of(out)]
    assert (status, len(predicted)) == (0, 120)
    assert len(set(predicted)) > 110  # with %.9g, ten: 1e+09, 1.01e+09, ...


def test_a_table_from_standard_input(run, monkeypatch):
    content = Path("houses.csv").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    status, out, _ = run("train", "-", "--target", "price", *QUICK)
    assert status == 0
    assert "standard input: 160 rows to train on" in out


@pytest.mark.parametrize("rate", ["1e30", "1e9"])
@pytest.mark.parametrize("line", [PRICE, KIND], ids=["numbers", "classes"])
def test_divergence_is_an_error(run, line, rate):
    run(*line, "-q")
    before = Path(MODEL).read_bytes()
    status, out, err = run(*line, "-q", "--learning-rate", rate, "--epochs", "40")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("fastnn train: error: the ")
    assert Path(MODEL).read_bytes() == before


def test_what_counts_as_diverged():
    from types import SimpleNamespace

    from fastnn.tabular import Target
    from fastnn.tabular.study import _check_convergence

    target = Target.fit(np.arange(30.0))

    def check(*losses):
        members = [SimpleNamespace(losses=losses)]
        fitted = SimpleNamespace(
            learned=SimpleNamespace(members=members), model=SimpleNamespace(target=target)
        )
        _check_convergence(fitted, 1)

    check(1e8, 0.9, 1e8)  # the best epoch is kept
    with pytest.raises(fnn.NonFiniteLossError, match=r"its lowest loss is 1e\+08"):
        check(1e8, 2e8)


def test_ctrl_c_while_the_report_is_drawn(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.cli.train_output.page", interrupted)
    status, _, err = run(*PRICE, "-q")
    assert status == 130
    assert err == (f"fastnn train: interrupted; the model is saved in {MODEL}, the report is not\n")
    assert fnn.load(MODEL).target.name == "price"
    assert sorted(os.listdir("fastnn-output")) == ["model.safetensors", "predictions.csv"]


def test_a_disk_that_is_full_of_the_report(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastnn.cli.train_output.page", full)
    status, _, err = run(*PRICE, "-q")
    assert status == 2
    assert (
        err == f"fastnn train: error: the model is saved in {MODEL}, but: No space left on device\n"
    )


def test_time_budget(run):
    status, out, _ = run("train", "houses.csv", "--target", "price", "-q", "--time-budget", "1.5")
    assert status == 0
    assert fnn.load(MODEL).attachments["training"]["epochs"][0] <= 256
    assert score_of(out, "rows")[0] == 40


def test_quantiles(run):
    run(*PRICE, "-q", "--quantiles", "0.1", "0.9")
    _, out, _ = run("predict", MODEL, "houses.csv")
    (first, *_) = rows_of(out)
    assert list(first) == ["price", "price_0.1", "price_0.9"]
    assert float(first["price_0.1"]) <= float(first["price_0.9"])


@pytest.mark.parametrize(
    ("kinds", "more"),
    [(["flat", "villa"], ()), (["flat", "villa", "hut"], ("--metric", "roc_auc"))],
    ids=["two", "three"],
)
def test_a_report_of_rows_that_do_not_define_the_metric(run, kinds, more):
    """One class has two rows: not every fold has one of them, nor have the rows held out."""
    pytest.importorskip("jinja2")
    frame = houses().drop(columns="price")
    kind = np.array(kinds[:-1], object)[np.arange(200) % (len(kinds) - 1)]
    kind[[7, 90]] = kinds[-1]
    frame.assign(kind=kind).to_csv("rare.csv", index=False)
    line = ("--members", "5", "--epochs", "3", "--held-out", "0.1", "-q", *more)
    status, _, err = run("train", "rare.csv", "--target", "kind", *line)
    assert status == 0, err
    page = " ".join(Path("fastnn-output/report.html").read_text(encoding="utf-8").split())
    assert re.search(r"By how much the score \(log loss, [\d.]+\)", page)
    assert "These rows do not define the area under ROC curve." in page
    (others,) = re.findall(r"(\d) of them w\w+ chosen by the log loss instead", page)
    assert f"roc_auc of {5 - int(others)} networks" in page
    assert f"; {others} with another score left out" in page
    assert " nan" not in page


def test_a_dropped_column_that_no_table_can_hold(run):
    frame = houses()
    frame["blob"] = [[1, 2]] * 200
    frame.to_parquet("blob.parquet")
    drop = ("--drop", "blob", "kind")
    status, _, err = run("train", "blob.parquet", "--target", "price", *drop, "-q", *QUICK)
    assert status == 0, err
