"""Scores of rows held out and of groups, predictions as text, intervals in a file, and studies."""

import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn.tabular import of
from fastnn.tabular.answers import answers, as_text, names_of
from fastnn.tabular.cells import of_array, of_texts
from fastnn.tabular.evaluation import Evaluation, by_group, evaluate
from fastnn.tabular.intervals import KEPT, Intervals
from fastnn.tabular.plan import Plan
from fastnn.tabular.progress import Bar
from fastnn.tabular.recipes import RealMLP
from fastnn.tabular.scores import defined
from fastnn.tabular.study import Study, split_groups

QUICK = {"recipe": RealMLP(epochs=5, hidden=(16,)), "members": 1}


def table(rows=120):
    g = np.random.default_rng(0)
    x, kind = g.normal(size=rows), g.choice(["a", "b", "c"], rows)
    return of(
        {"x": x, "kind": kind, "y": 5 * x + 3 * (kind == "b"), "class": np.where(x > 0, 1, 7)}
    )


def test_scores_against_plain_formulas():
    truth, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    assert defined("regression", truth, predicted, predicted) == {
        "rmse": pytest.approx((5 / 3) ** 0.5), "mae": 1.0, "r2": pytest.approx(1 - 5 / (14 / 3)),
    }  # fmt: skip
    said = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    found = defined("classification", np.array([0, 1]), said, np.array([0, 1]))
    assert found["accuracy"] == 1  # by the decisions, though 0.4 is the smaller probability
    assert found["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.4)) / 2)
    found = defined("classification", np.array([0, 0]), said, np.array([0, 0]))
    assert "roc_auc" not in found


def groups(cells):
    rows = np.arange(len(cells))
    found = Evaluation(rows * 1.0, rows * 1.0, rows * 1.0, rows[:, np.newaxis], rows, {})
    return [(group.name, group.rows) for group in by_group(found, cells, "regression")]


def test_groups():
    assert groups(of_texts(["b", "a", "b", None])) == [("b", 2), ("a", 1), ("missing", 1)]
    quarters = [("up to 24", 25), ("24 to 49", 25), ("49 to 74", 25), ("above 74", 25)]
    assert groups(of_array(np.arange(100.0))) == quarters
    assert groups(of_array(np.arange(100.0) % 3))[0] == ("0", 34)
    as_written = of_texts([f"{i},0" for i in range(100)], decimal=",")
    assert groups(as_written) == quarters
    days = np.datetime64("2024-01-01") + np.arange(40)
    assert groups(of_array(days))[:2] == [
        ("up to 2024-01-10", 10),
        ("2024-01-10 to 2024-01-20", 10),
    ]
    assert groups(of_texts([str(day) for day in days]))[0] == ("up to 2024-01-10", 10)
    many = groups(of_texts([f"town {min(i, 30)}" for i in range(60)]))
    assert many[0] == ("town 30", 30)
    assert many[-1] == ("23 others", 23)


def test_numbers_as_text():
    assert as_text(np.array([0.1 + 0.2, -5.0, 1e22]), np.array([1e-8, 1.0, 1e15])) == [
        "0.3", "-5", "1e+22",
    ]  # fmt: skip
    close = np.float32(1) + np.arange(50, dtype=np.float32) * np.spacing(np.float32(1))
    texts = as_text(close.astype(np.float64) * 1e7 + 1e9, np.spacing(close) * 1e7)
    assert len(set(texts)) == 50
    assert len(set(as_text(close.astype(np.float64) * 1e7 + 1e9, np.full(50, 1e3)))) < 50


def test_intervals_in_a_file():
    made = Intervals(0, 2, np.sort(np.random.default_rng(0).normal(size=5000)))
    again = Intervals.from_file(made.to_file())
    assert len(again.errors) == KEPT
    numbers = np.zeros((1, 3))
    for coverage in (0.5, 0.9, 0.99):
        wide, want = again.around(numbers, coverage), made.around(numbers, coverage)
        assert np.allclose(wide, want, atol=0.05)
    with pytest.raises(ValueError, match="which an interval needs"):
        Intervals.from_file(None)
    for damage in ({"errors": []}, {"errors": ["x"]}, {"low": -1}, {"high": None}):
        with pytest.raises(ValueError, match="damaged"):
            Intervals.from_file(made.to_file() | damage)


@pytest.mark.parametrize("name", ["y", "class"])
def test_the_scores_of_a_study_are_those_of_its_model(name, tmp_path):
    study = Study.of_table(table(), name, seed=3)
    result = study.fit(**QUICK)
    assert sorted([*study.train, *study.held_out]) == list(range(120))
    assert (result.evaluation.rows == study.held_out).all()
    result.fitted.model.save(tmp_path / "m.safetensors")
    model = fnn.load(tmp_path / "m.safetensors")
    again = evaluate(
        model, study.table.take(study.held_out), study.whole.cells(name).take(study.held_out)
    )
    assert again.scores == result.evaluation.scores
    columns = answers(model, again.raw, coverage=0.8 if name == "y" else None)
    assert list(columns) == ([name, "y_low", "y_high"] if name == "y" else [name])


def test_names_of_predictions_that_are_taken():
    columns = dict(table().columns)
    columns["probability_7"] = columns.pop("class")
    result = Study.of_table(of(columns), "probability_7").fit(**QUICK)
    model, raw = result.fitted.model, result.evaluation.raw
    found = answers(model, raw, probabilities=True, taken=["probability_1"])
    assert list(found) == ["probability_7", "probability_1_2", "probability_7_2"]
    assert found["probability_7"] == model.decode(raw).tolist()
    assert np.allclose(np.array(found["probability_7_2"], float), raw[:, 1])
    assert names_of(model, probabilities=True) == [
        ("probability_7", "probability_7"),
        ("probability_1", "probability_1"),
        ("probability_7", "probability_7_2"),
    ]


def test_one_quantile_is_the_prediction():
    result = Study.of_table(table(), "y").fit(**QUICK, quantiles=[0.7])
    columns = answers(result.fitted.model, result.evaluation.raw, coverage=0.8)
    assert list(columns) == ["y", "y_low", "y_high"]


def test_out_of_fold_rows_of_a_study():
    result = Study.of_table(table(), "y", held_out=0).fit(**QUICK)
    assert len(result.evaluation.rows) == 24  # a fifth, of the only member
    assert result.evaluation.scores["rmse"] == pytest.approx(
        result.fitted.learned.scores["rmse"], rel=1e-5
    )


def test_groups_of_rows_stay_together():
    groups = np.arange(200) // 4
    train, held_out = split_groups(groups, 0.3, 0)
    assert len(held_out) == 60
    assert not set(groups[train]) & set(groups[held_out])
    assert (split_groups(groups, 0.3, 1)[1] != held_out).any()


def test_a_class_that_only_rows_held_out_have():
    g = np.random.default_rng(0)
    columns = {"x": g.normal(size=60), "who": np.repeat(range(6), 10),
               "y": ["a", "b"] * 25 + ["c", "d"] * 5}  # fmt: skip
    messages = set()
    for seed in range(12):
        try:
            Study.of_table(of(columns), "y", group="who", held_out=0.34, seed=seed)
        except ValueError as error:
            messages.add(str(error).split(" is ")[1])
    assert messages == {"only among the rows held out; try another --seed, or --held-out 0"}


class Broken:
    """A stream whose reader has left."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError

    def isatty(self):
        return True

    def fileno(self):
        raise OSError


@pytest.mark.parametrize("stream", [None, Broken()], ids=["none", "broken"])
def test_a_bar_that_nobody_sees(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    bar = Bar()
    bar.begin(10, 1.0, Plan(RealMLP(), 1, 5, 2, 32, 100, 1))
    for _ in range(10):
        bar.advance(1, 0.5)
    bar.end()
