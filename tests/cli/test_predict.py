"""`fastnn predict`: answers as CSV, with their digits, from any place to any place."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_helpers import MODEL, QUICK, houses, rows_of

import fastnn as fnn

pandas = pytest.importorskip("pandas")


def test_numbers_in_their_own_unit(run, numbers):
    status, out, _ = run("predict", numbers, "houses.csv")
    predicted = np.array([float(row["price"]) for row in rows_of(out)])
    price = houses()["price"].to_numpy()
    assert status == 0
    assert np.abs(predicted - price).mean() < 0.2 * price.std()


def test_digits_that_tell_answers_apart(run):
    """Each text is the shortest that tells its float32 answer from the neighbors."""
    frame = houses()
    frame["price"] = 1e9 + frame["size"]
    frame.to_csv("large.csv", index=False)
    run("train", "large.csv", "--target", "price", "-q", *QUICK)
    _, out, _ = run("predict", MODEL, "large.csv")
    texts = [row["price"] for row in rows_of(out)]
    outputs = fnn.load(MODEL).outputs(frame)[:, 0]
    answers = fnn.load(MODEL).predict(frame)
    assert len(set(texts)) == len(np.unique(answers)) > 100
    assert max(map(len, texts)) < 22
    step = np.spacing(np.abs(outputs)) * fnn.load(MODEL).target.scale
    assert (np.abs(np.array(texts, float) - answers) <= np.maximum(step, 1e-6)).all()


def test_intervals(run, models):
    for name in ("price", "quantiles"):
        model = models / name / "model.safetensors"
        status, out, _ = run("predict", model, "houses.csv", "--interval", "0.9")
        assert status == 0
        rows = rows_of(out)
        low, high, price = (
            np.array([float(row[key]) for row in rows])
            for key in ("price_low", "price_high", "price")
        )
        assert (low < high).all()
        assert name == "quantiles" or ((low < price) & (price < high)).all()
        truth = houses()["price"].to_numpy()
        assert 0.8 < np.mean((low <= truth) & (truth <= high)) <= 1
    assert list(rows[0])[:4] == ["price", "price_0.1", "price_0.5", "price_0.9"]


def test_rows_that_are_too_far_away(run, numbers, here):
    far = houses(20)
    far.loc[12, "size"] = 3e39
    far.to_csv("far.csv", index=False)
    status, out, err = run("predict", numbers, "far.csv")
    assert (status, err) == (0, "")
    predicted = [float(row["price"]) for row in rows_of(out)]
    assert abs(predicted[12] - np.mean(predicted)) < 4 * houses()["price"].std()


def test_unknown_categories_and_missing_cells_are_values(run, numbers):
    odd = houses(20)
    odd["town"] = odd["town"].where(odd.index != 3, "Atlantis")
    odd["size"] = odd["size"].where(odd.index != 5)
    odd.to_csv("odd.csv", index=False)
    status, out, err = run("predict", numbers, "odd.csv")
    assert (status, len(rows_of(out))) == (0, 20)
    told = "column 'town': 1 cell of no category known from the training, such as 'Atlantis'"
    assert err == f"fastnn predict: {told}\n"


def test_predictions_replace_an_older_file(run, numbers):
    Path("old.csv").write_text("old")
    assert run("predict", numbers, "houses.csv", "--output", "old.csv") == (0, "", "")
    want = run("predict", numbers, "houses.csv")[1]
    assert Path("old.csv").read_text() == want
    assert run("predict", numbers, "houses.csv", "--output", "-")[1] == want


def test_interrupted_predictions(run, numbers, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fnn.Model, "predict", interrupt)
    assert run("predict", numbers, "houses.csv") == (
        130, "", "fastnn predict: interrupted; nothing was saved\n"
    )  # fmt: skip


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
    shutil.copy(classes, "moved.safetensors")
    pytest.importorskip("pyarrow")
    houses()[["town", "price", "garden", "size"]].assign(more="x").to_parquet("other.parquet")
    status, out, _ = run("predict", "moved.safetensors", "other.parquet")
    assert (status, out) == (0, want)


def test_output_file(run, classes):
    _, want, _ = run("predict", classes, "houses.csv")
    status, out, _ = run("predict", classes, "houses.csv", "--output", "new/räum lich.csv")
    assert (status, out) == (0, "")
    assert Path("new/räum lich.csv").read_text(encoding="utf-8") == want
    assert os.listdir("new") == ["räum lich.csv"]


def test_classes_keep_their_zeros(run):
    frame = pandas.DataFrame({"a": range(40), "b": [1, 2] * 20, "code": ["00501", "10115"] * 20})
    frame.to_csv("codes.csv", index=False)
    run("train", "codes.csv", "--target", "code", "-q", *QUICK)
    _, out, _ = run("predict", MODEL, "codes.csv", "--probabilities")
    assert set(rows_of(out)[0]) == {"code", "probability_00501", "probability_10115"}
    assert {row["code"] for row in rows_of(out)} <= {"00501", "10115"}


@pytest.mark.parametrize("target", ["probability_flat", "row", "prediction"])
def test_columns_whose_names_are_taken(run, target):
    frame = pandas.read_csv("houses.csv").drop(columns="price").rename(columns={"kind": target})
    frame[target] = frame[target].replace("villa, big", "villa")
    frame.to_csv("taken.csv", index=False)
    status, out, _ = run("train", "taken.csv", "--target", target, "-q", *QUICK)
    assert status == 0
    taken = f"the column {target!r} is called '{target}_2', because another one has its name"
    assert taken in out
    written = pandas.read_csv("fastnn-output/predictions.csv")
    assert len(written.columns) == len(set(written.columns)) == 5
    assert not written.columns.str.endswith(".1").any()
    assert (written[target] == frame[target][written.iloc[:, 0] - 1].to_numpy()).all()
    assert set(written.iloc[:, 2]) <= {"flat", "villa"}
    assert written["probability_villa"].between(0, 1).all()
    status, out, err = run("predict", MODEL, "taken.csv", "--probabilities")
    assert status == 0
    is_taken = target == "probability_flat"
    assert (taken in err) == is_taken
    flat = "probability_flat_2" if is_taken else "probability_flat"
    rows = rows_of(out)
    assert all((float(row[flat]) > 0.5) == (row[target] == "flat") for row in rows)


def test_an_interval_that_the_rows_do_not_support(run, numbers):
    status, out, err = run("predict", numbers, "houses.csv", "--interval", "0.999")
    assert status == 0
    assert len(rows_of(out)) == 200
    assert err.startswith("fastnn predict: warning: coverage 0.999 needs more rows: ")
    assert err.count("\n") == 1
