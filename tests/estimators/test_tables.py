"""TabularClassifier and TabularRegressor: tables of all kinds, options, and inside scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
pytest.importorskip("pandas")

import joblib
import pandas as pd
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import fastnn as fnn
from fastnn.tabular import of
from fastnn.tabular.answers import answers
from fastnn.tabular.evaluation import evaluate
from fastnn.tabular.intervals import Intervals
from fastnn.tabular.recipes import RealMLP

LIGHT = {"name": "realmlp", "epochs": 12, "hidden": [16]}
ROWS = 120


def classifier(**options):
    options = {"recipe": LIGHT, "n_members": 1, "random_state": 0} | options
    return fnn.TabularClassifier(**options)


def regressor(**options):
    options = {"recipe": LIGHT, "n_members": 1, "random_state": 0} | options
    return fnn.TabularRegressor(**options)


@pytest.fixture
def frame(rng):
    return pd.DataFrame(
        {
            "size": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(50, 10, ROWS)),
            "town": rng.choice(["Köln", "Nara", "Oslo"], ROWS),
            "garden": rng.random(ROWS) > 0.5,
            "sold": pd.date_range("2020-01-05", periods=ROWS, freq="17h"),
        }
    )


@pytest.fixture
def price(frame):
    towns = frame.town.map({"Köln": 0.0, "Nara": 20.0, "Oslo": 40.0})
    return (frame["size"].fillna(50) + towns + 5 * frame.garden).to_numpy(copy=True)


@pytest.fixture
def label(price):
    return np.where(price > np.median(price), "dear", "cheap")


# --- tables -------------------------------------------------------------------------------------


def test_tables_of_all_kinds_give_the_same(frame, label):
    model = classifier().fit(frame, label)
    want = model.predict_proba(frame)
    assert model.score(frame, label) > 0.8
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.n_features_in_ == 4
    others = [
        frame[["sold", "garden", "town", "size"]],
        frame.assign(more=1),
        {name: frame[name] for name in frame},
        frame.to_dict("records"),
        of(frame),
    ]
    for other in others:
        assert_array_equal(model.predict_proba(other), want)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(model.predict(frame.to_numpy(object)), model.predict(frame))
    for other in (frame.to_dict("records"), {name: frame[name].tolist() for name in frame}):
        again = classifier().fit(other, label)
        assert list(again.feature_names_in_) == list(frame.columns)
        assert again.model_.encoding.inputs == model.model_.encoding.inputs


def test_polars(frame, label):
    pl = pytest.importorskip("polars")
    model = classifier().fit(pl.from_pandas(frame), pl.Series(label))
    assert_allclose(model.predict_proba(pl.from_pandas(frame)), model.predict_proba(frame))


def test_columns_that_do_not_fit(frame, label):
    model = classifier().fit(frame, label)
    with pytest.raises(ValueError, match="needs column 'town'"):
        model.predict(frame.drop(columns="town"))
    with pytest.raises(ValueError, match="did you mean 'twon'"):
        model.predict(frame.rename(columns={"town": "twon"}))
    unnamed = classifier().fit(frame[["size"]].to_numpy(), label)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        found = unnamed.predict(frame[["size"]])
    assert_array_equal(found, unnamed.predict(frame[["size"]].to_numpy()))
    with pytest.raises(ValueError, match=r"X has 4 features.*expecting 1 features"):
        unnamed.predict(frame)
    with pytest.raises(TypeError, match="Sparse data"):
        classifier().fit(csr_array(np.eye(20)), [0, 1] * 10)
    with pytest.raises(ValueError, match="no column is left as input: 'a'"):
        classifier().fit({"a": [1] * ROWS, "b": ["x"] * ROWS}, label)


def test_columns_are_not_taken_by_position_if_they_have_other_names(frame, price):
    numbers = frame[["size", "garden"]].astype(float)
    model = regressor().fit(numbers, price)
    with pytest.raises(ValueError, match="needs column 'size', 'garden'"):
        model.predict(numbers.set_axis([0, 1], axis=1))
    years = regressor().fit(numbers.set_axis(["2020", "2021"], axis=1), price)
    want = years.predict(numbers.set_axis(["2020", "2021"], axis=1))
    swapped = numbers.set_axis([2020, 2021], axis=1)[[2021, 2020]]
    assert_array_equal(years.predict(swapped), want)


@pytest.mark.parametrize("dtype", [float, object, int])
def test_masked_cells_are_missing(rng, dtype):
    x = rng.normal(size=(ROWS, 2)) * 100
    y = np.where(x[:, 0] > 0, "a", "b")
    mask = np.zeros(x.shape, bool)
    mask[::3, 0] = True
    x[mask] = 1e6
    x = x.astype(dtype)
    masked = np.ma.MaskedArray(x, mask)
    gaps = x.astype(object)
    gaps[mask] = None
    model = classifier().fit(masked, y)
    assert "1000000" not in model.describe().replace(",", "")
    want = classifier().fit(gaps, y).predict_proba(gaps)
    assert_array_equal(model.predict_proba(masked), want)
    assert_array_equal(model.predict_proba(gaps), want)
    assert_array_equal(model.model_.predict_proba(masked).argmax(1), want.argmax(1))
    for i in range(6):
        assert model.predict_one(masked[i]) == model.predict_one(gaps[i]) == model.predict(gaps)[i]


@pytest.mark.parametrize("gap", [None, np.nan])
def test_lists_of_rows_are_read_as_tables(rng, gap):
    numbers = rng.normal(size=ROWS)
    rows = [["x" if a > 0.3 else "y" if a < -0.3 else gap, a] for a in numbers.tolist()]
    y = np.searchsorted([-0.3, 0.3], numbers)
    array = np.array(rows, object)
    model = classifier().fit(rows, y)
    assert model.describe() == classifier().fit(array, y).describe()
    want = model.predict_proba(array)
    assert_array_equal(model.predict_proba(rows), want)
    assert_array_equal(model.predict_proba([tuple(row) for row in rows]), want)
    for i in range(10):
        assert model.predict_one(rows[i]) == model.predict(rows)[i]
    named = classifier().fit(pd.DataFrame(array, columns=["a", "b"]), y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(named.predict_proba(rows), named.predict_proba(array))


def test_unknown_categories_and_missing_cells_are_values(frame, label):
    model = classifier().fit(frame, label)
    frame = frame.astype(object)
    frame.loc[0, "town"] = "Rome"
    frame.loc[1, ["size", "town", "garden", "sold"]] = None
    assert np.isfinite(model.predict_proba(frame)).all()


def test_ten_thousand_columns(rng):
    x = rng.normal(size=(40, 10_000)).astype(np.float32)
    recipe = {"name": "realmlp", "epochs": 1, "hidden": [4]}
    assert classifier(recipe=recipe).fit(x, np.arange(40) % 2).n_features_in_ == 10_000


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [["no", "yes"], [False, True], ["00501", "02139"], [3, 7], [2.0, 5.0]],
    ids=["text", "bool", "codes", "whole", "float"],
)
@pytest.mark.parametrize("made", [list, np.array, pd.Series])
def test_classes_come_back_as_they_were(frame, label, names, made):
    y = made([names[one == "dear"] for one in label])
    model = classifier().fit(frame, y)
    assert model.classes_.tolist() == names
    assert set(model.predict(frame).tolist()) == set(names)
    assert model.score(frame, y) > 0.8
    assert type(model.predict_one(frame.iloc[0].to_dict())) is type(names[0])


def labels_as(kind, codes):
    words = np.array(["1", "2", "10"])[codes]
    return {
        "text": lambda: words,
        "list": words.tolist,
        "spaces": lambda: np.array(["no", "no ", "yes "])[codes],
        "categories of whole numbers": lambda: pd.Series(codes).astype("category"),
        "categories of text": lambda: pd.Series(words).astype("category"),
        "dates": lambda: np.array(["2021-01-01", "2020-01-01", "2022-01-01"], "M8[D]")[codes],
        "large": lambda: 2**60 + codes,
        "nullable": lambda: pd.Series(codes, dtype="Int8"),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        "text", "list", "spaces", "categories of whole numbers", "categories of text", "dates",
        "large", "nullable",
    ],
)  # fmt: skip
def test_classes_are_those_of_scikit_learn(frame, price, kind, tmp_path):
    codes = np.searchsorted(np.quantile(price, [1 / 3, 2 / 3]), price)
    y = labels_as(kind, codes)
    want = np.unique(np.asarray(y))
    model = classifier().fit(frame, y)
    assert model.classes_.dtype == want.dtype
    assert_array_equal(model.classes_, want)
    assert model.predict(frame).dtype == want.dtype
    assert model.score(frame, y) > 0.7
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    for one in (model.model_, loaded):
        assert one.target.classes.dtype == want.dtype
        assert_array_equal(one.target.classes, want)
        assert_array_equal(one.predict(frame), model.predict(frame))
        found = evaluate(one, of(frame), y)
        assert found.scores["accuracy"] == pytest.approx(model.score(frame, y))
        assert one.predict_one(frame.iloc[3].to_dict()) == model.predict(frame)[3]


def test_probabilities_fit_the_scores_of_scikit_learn(frame, price):
    codes = np.searchsorted(np.quantile(price, [1 / 3, 2 / 3]), price)
    y = labels_as("text", codes)
    model = classifier().fit(frame, y)
    probabilities = model.predict_proba(frame)
    assert roc_auc_score(y, probabilities, multi_class="ovr") > 0.8
    assert log_loss(y, probabilities) < 0.9
    assert (cross_val_score(classifier(), frame, y, cv=2, scoring="neg_log_loss") > -1.1).all()


@pytest.mark.parametrize("dtype", ["Float64", "Float32", "float64[pyarrow]", "category"])
def test_continuous_labels_of_any_dtype_are_refused(frame, price, dtype):
    y = pd.Series(price.round(1)).astype(dtype)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(frame, y)


@pytest.mark.parametrize("made", [list, lambda y: np.array(y, object), pd.Series])
def test_rows_without_a_target_are_left_out(frame, label, price, made):
    y = made([None if i % 10 == 0 else one for i, one in enumerate(label)])
    model = classifier().fit(frame, y)
    assert model.classes_.tolist() == ["cheap", "dear"]
    assert model.out_of_fold_.shape == (108, 2)
    whole = pd.Series(np.arange(ROWS) % 2, dtype="Int64").where(np.arange(ROWS) > 5)
    assert classifier().fit(frame, whole).classes_.tolist() == [0, 1]
    price[:20] = np.nan
    assert regressor().fit(frame, price).out_of_fold_.shape == (100, 1)


def test_targets_that_nothing_can_be_learned_from(frame, label, price):
    for y, message in [
        (["a"] * ROWS, "only one class, 'a'"),
        ([None] * ROWS, "every row is missing"),
        ([None] * 113 + ["a"] * 7, "only one class"),
        ([None] * 113 + ["a", "b"] * 3 + ["a"], "at least 10 rows to learn from, got 7"),
        (label[:-1], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
        (np.zeros((ROWS, 2)), r"expected shape \(rows,\)"),
        (price, "Unknown label type: continuous"),
        (np.array([b"a", b"b"] * 60), r"target 'y', row 1: holds \|S1"),
        (pd.Series([*label[:-1], {}], dtype=object), "target 'y', row 120: holds dict"),
    ]:
        with pytest.raises(ValueError, match=message):
            classifier().fit(frame, y)
    with pytest.raises(ValueError, match="at least 10 rows, got n_samples = 9"):
        classifier().fit(frame[:9], label[:9])
    with pytest.raises(ValueError, match="is 1 in every row"):
        regressor().fit(frame, np.ones(ROWS))
    with pytest.raises(ValueError, match="holds text such as"):
        regressor().fit(frame, label)


def test_a_name_is_no_target(frame):
    with pytest.raises(TypeError, match="got the name 'town'; pass the column"):
        classifier().fit(frame, "town")


@pytest.mark.parametrize("members", [1, 5])
def test_class_with_a_single_row(frame, label, members):
    y = np.array([*label[:-1], "rare"], object)
    model = classifier(n_members=members).fit(frame, y)
    assert model.classes_.tolist() == ["cheap", "dear", "rare"]
    assert_allclose(model.predict_proba(frame).sum(axis=1), 1)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e150])
def test_targets_of_any_scale(frame, price, scale):
    want = regressor(n_members=5).fit(frame, price)
    model = regressor(n_members=5).fit(frame, price * scale)
    assert_allclose(model.predict(frame), want.predict(frame) * scale, rtol=1e-3)
    assert model.scores_["rmse"] == pytest.approx(want.scores_["rmse"] * scale, rel=1e-2)
    assert model.scores_["r2"] > 0.5


def test_numbers_whose_squares_are_0(frame, price):
    model = regressor(n_members=5).fit(frame, price * 1e-200)
    assert np.corrcoef(model.predict(frame) * 1e200, price)[0, 1] > 0.8
    missed = model.out_of_fold_[:, 0] * (model.model_.target.scale * 1e200) + price.mean() - price
    assert model.scores_["rmse"] == pytest.approx(np.sqrt(np.mean(missed**2)) * 1e-200, rel=1e-5)


def test_predictions_lie_in_the_range_of_the_training(rng, frame):
    y = rng.standard_cauchy(ROWS) ** 3
    model = regressor(n_members=5).fit(frame, y)
    far = pd.concat([frame.assign(size=frame["size"] * factor) for factor in (-1e6, 1e6)])
    for found in (model.predict(frame), model.predict(far)):
        assert y.min() <= found.min() <= found.max() <= y.max()
    assert np.isfinite(list(model.scores_.values())).all()


def test_whole_numbers(frame, price):
    y = price.round().astype(int)
    model = regressor(n_members=2).fit(frame, y)
    assert model.predict(frame).dtype == np.float64
    assert model.score(frame, y) > 0.5


def test_quantiles(frame, price):
    recipe = LIGHT | {"epochs": 60}
    model = regressor(recipe=recipe, n_members=5, quantiles=[0.1, 0.4, 0.9]).fit(frame, price)
    found = model.predict_quantiles(frame)
    assert found.shape == (ROWS, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    assert_array_equal(model.predict(frame), found[:, 1])
    row = frame.iloc[3].to_dict()
    assert model.predict_one(row) == pytest.approx(found[3, 1], rel=1e-6)
    assert list(model.scores_) == ["pinball"]
    assert model.permutation_importance(frame, price).metric == "pinball"
    one = regressor(quantiles=[0.9]).fit(frame, price)
    assert one.predict_quantiles(frame).shape == (ROWS, 1)
    assert one.predict(frame).mean() > price.mean()
    assert one.permutation_importance(frame, price).score > 0
    with pytest.raises(ValueError, match="give quantiles="):
        regressor().fit(frame, price).predict_quantiles(frame)


def test_intervals(frame, price):
    model = regressor(n_members=5).fit(frame, price)
    for coverage in (0.5, 0.9):
        low, high = model.predict_interval(frame, coverage).T
        assert ((low <= price) & (price <= high)).mean() > coverage - 0.1
    with pytest.raises(ValueError, match=r"coverage must be a number above 0 and below 1, got 1.5"):
        model.predict_interval(frame, 1.5)


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.9]])
def test_no_rows(frame, price, quantiles):
    model = regressor(quantiles=quantiles).fit(frame, price)
    assert model.predict(frame[:0]).shape == (0,)
    assert model.predict_interval(frame[:0]).shape == (0, 2)


def test_saved_model_has_intervals(frame, price, tmp_path):
    model = regressor(n_members=2).fit(frame, price)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    intervals = Intervals.from_file(loaded.attachments.get("intervals"))
    found = intervals.around(loaded.predict(frame), 0.9)
    assert_array_equal(found, model.predict_interval(frame, 0.9))
    columns = answers(loaded, loaded.outputs(frame[:0]), coverage=0.9)
    assert columns == {"y": [], "y_low": [], "y_high": []}


def test_booleans_are_0_and_1(frame, price):
    y = price > np.median(price)
    for truth in (y, pd.Series(y, dtype="boolean"), y.tolist()):
        found = regressor().fit(frame, truth).predict(frame)
        assert_array_equal(found, regressor().fit(frame, y.astype(float)).predict(frame))


# --- options ------------------------------------------------------------------------------------


def test_class_weight(frame, label):
    y = np.where((label == "dear") & (np.arange(ROWS) % 4 > 0), "cheap", label)
    plain = classifier(n_members=5, metric="log_loss").fit(frame, y)
    for weight in ("balanced", {"dear": 7}):
        model = classifier(n_members=5, class_weight=weight).fit(frame, y)
        assert (model.predict(frame) == "dear").sum() > (plain.predict(frame) == "dear").sum()
    never = classifier(n_members=5, class_weight={"dear": 0}).fit(frame, y)
    assert (never.predict(frame) == "cheap").all()


def test_rows_of_weight_zero_are_as_if_they_were_not_there(frame, label, price):
    weight = (np.arange(ROWS) % 3 > 0).astype(float)
    kept = weight > 0
    for made, y in ((classifier, label), (regressor, price)):
        some = made().fit(frame[kept], y[kept])
        model = made().fit(frame, y, sample_weight=weight)
        assert_array_equal(model.predict(frame), some.predict(frame))
        assert_array_equal(model.out_of_fold_, some.out_of_fold_)


@pytest.mark.parametrize("groups", [pd.Series, list])
def test_groups(frame, label, groups):
    names = [None if i % 30 == 0 else f"g{i % 7}" for i in range(ROWS)]
    model = classifier(n_members=5).fit(frame, label, groups=groups(names))
    for member in model.members_:
        held = {names[i] for i in member.held_out} - {None}
        assert not held & {names[i] for i in range(ROWS) if i not in member.held_out}


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"recipe": "realmpl"}, {}, "recipe 'realmpl'; did you mean 'realmlp'"),
        ({"recipe": 3}, {}, "'recipe' parameter of TabularClassifier.*Got 3"),
        ({"recipe": fnn.Adam()}, {}, "recipe must be a name or a Recipe, got Adam"),
        ({"recipe": {"name": "realmlp", "epoch": 3}}, {}, "did you mean 'epochs'"),
        ({"n_members": 0}, {}, "'n_members' parameter.*Got 0"),
        ({"n_members": 61}, {}, "61 networks.*at least 122 rows, got 120"),
        ({"metric": "acuracy"}, {}, "metric 'acuracy'; did you mean 'accuracy'"),
        ({"metric": "rmse"}, {}, "metric must be one of a classification.*got 'rmse'"),
        ({"class_weight": "balancd"}, {}, "'class_weight' parameter.*'balancd'"),
        ({"class_weight": {"deer": 2}}, {}, "class_weight: 'deer' is no class of the target"),
        ({"class_weight": {"dear": -2}}, {}, "class_weight of 'dear' must.*got -2"),
        ({"class_weight": {"dear": 0, "cheap": 0}}, {}, "class_weight must be above 0"),
        ({"time_budget": -1}, {}, "'time_budget' parameter.*Got -1"),
        ({"kinds": {"twon": "number"}}, {}, "kinds: 'twon' is not a column; did you mean 'town'"),
        ({"kinds": {"town": "numbr"}}, {}, "kinds.*'numbr'"),
        ({"drop": ["twon"]}, {}, "drop: 'twon' is not a column; did you mean 'town'"),
        ({}, {"sample_weight": np.ones(3)}, r"sample_weight.shape == \(3,\), expected \(120,\)"),
        ({}, {"sample_weight": np.full(ROWS, np.nan)}, "sample_weight contains NaN"),
        ({}, {"sample_weight": np.arange(ROWS) - 5.0}, "sample_weight, row 1: .* got -5"),
        ({}, {"groups": [1, 2]}, "groups must have a group for each of the 120 rows, got 2"),
        ({}, {"groups": 3}, r"groups must have shape \(rows,\), got 3"),
        ({}, {"groups": np.arange(ROWS) % 2}, "2 different groups, expected at least 5"),
    ],
)
def test_wrong_arguments(frame, label, options, fit, message):
    model = classifier(**options)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(frame, label, **fit)
    assert not hasattr(model, "model_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": [0.5, 0.1]}, "quantiles must be different numbers between 0 and 1, asc"),
        ({"quantiles": [0.5, 1.0]}, "quantiles must be different numbers between 0 and 1"),
        ({"quantiles": ["a"]}, "quantiles must be numbers between 0 and 1"),
        ({"quantiles": [0.5], "metric": "mae"}, "metric must be 'auto' or 'pinball' for quantiles"),
        ({"metric": "f1"}, "metric must be one of a regression"),
    ],
)
def test_wrong_arguments_of_the_regressor(frame, price, options, message):
    with pytest.raises(ValueError, match=message):
        regressor(**options).fit(frame, price)


def test_recipes_by_name_dict_and_object(frame, label):
    recipe = RealMLP(hidden=(16,), epochs=12)
    want = classifier().fit(frame, label).predict_proba(frame)
    assert_array_equal(classifier(recipe=recipe).fit(frame, label).predict_proba(frame), want)
    assert clone(classifier(recipe=recipe)).recipe == recipe


def test_metric_of_decisions_sets_the_threshold(frame, label):
    y = np.where((label == "dear") & (np.arange(ROWS) % 3 > 0), "cheap", label)
    model = classifier(n_members=5, metric="f1").fit(frame, y)
    threshold = model.model_.threshold
    assert threshold != 0.5
    dear = model.predict_proba(frame)[:, 1] >= threshold
    assert_array_equal(model.predict(frame), np.where(dear, "dear", "cheap"))
    for i in range(10):
        assert model.predict_one(frame.iloc[i].to_dict()) == model.predict(frame)[i]
    found = model.permutation_importance(frame, y, metric="f1")
    assert found.score == pytest.approx(2 * (dear & (y == "dear")).sum() / (
        dear.sum() + (y == "dear").sum()
    ))  # fmt: skip


def test_verbose_says_how_long_it_takes(frame, label, capsys):
    classifier(verbose=True, n_members=2).fit(frame, label)
    assert "training 2 networks for 12 epochs of 96 rows: about 1 s" in capsys.readouterr().err


def test_describe_and_importance(frame, price):
    model = regressor(n_members=2, recipe=LIGHT | {"epochs": 40}).fit(frame, price)
    assert "Köln" in model.describe()
    found = model.permutation_importance(frame, price, random_state=0)
    assert found.columns[0] == "town"
    assert found.metric == "rmse"


# --- files and copies ---------------------------------------------------------------------------


@pytest.mark.parametrize("made", [classifier, regressor])
def test_copies_and_files_predict_the_same(frame, label, price, tmp_path, made):
    model = made(n_members=2).fit(frame, label if made is classifier else price)
    want = model.predict(frame)
    joblib.dump(model, tmp_path / "model.joblib")
    model.save(tmp_path / "model.safetensors")
    copies = [
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        fnn.load(tmp_path / "model.safetensors"),
    ]
    for copy in copies:
        assert_array_equal(copy.predict(frame), want)
        row = frame.iloc[5].to_dict()
        assert copy.predict_one(row) == model.predict_one(row)
    assert len(list(tmp_path.glob("model.safetensors*"))) == 1


def test_saved_model_needs_no_scikit_learn(frame, label, tmp_path):
    classifier(metric="f1").fit(frame, label).save(tmp_path / "m.safetensors")
    row = {"size": 70.0, "town": "Oslo", "garden": True, "sold": "2020-02-01"}
    code = (
        "import sys\n"
        "for name in ('sklearn', 'scipy', 'pandas'): sys.modules[name] = None\n"
        f"import fastnn as fnn\nmodel = fnn.load({str(tmp_path / 'm.safetensors')!r})\n"
        f"print(model.predict([{row!r}])[0], model.predict_one({row!r}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["dear", "dear"], done.stderr


@pytest.mark.parametrize("made", [classifier, regressor])
def test_one_row_is_as_good_as_many(frame, label, price, made):
    model = made(n_members=3).fit(frame, label if made is classifier else price)
    found = model.predict(frame)
    for i in range(0, ROWS, 7):
        for row in (frame.iloc[i].to_dict(), frame.iloc[i].tolist()):
            one = model.predict_one(row)
            assert one == (pytest.approx(found[i], rel=1e-6) if made is regressor else found[i])


@pytest.mark.alone
def test_one_row_is_fast(frame, price):
    import timeit

    model = regressor(n_members=5).fit(frame, price)
    row = frame[["size", "town", "garden"]].iloc[5].to_dict() | {"sold": "2020-02-01"}
    assert min(timeit.repeat(lambda: model.predict_one(row), number=100, repeat=5)) / 100 < 1e-3


def test_two_trainings_at_the_same_time(frame, label):
    want = classifier(n_members=2).fit(frame, label).predict_proba(frame)
    found = [None, None]

    def train(i):
        found[i] = classifier(n_members=2).fit(frame, label).predict_proba(frame)

    running = [threading.Thread(target=train, args=(i,)) for i in range(2)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    for one in found:
        assert_array_equal(one, want)


# --- inside scikit-learn ------------------------------------------------------------------------


def test_in_a_pipeline_a_search_and_cross_validation(frame, label, price):
    same = FunctionTransformer(feature_names_out="one-to-one")
    pipeline = make_pipeline(same, classifier()).set_output(transform="pandas")
    assert cross_val_score(pipeline, frame, label, cv=3).mean() > 0.7
    grid = {"tabularclassifier__metric": ["log_loss", "accuracy"]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2).fit(frame, label)
    assert search.best_score_ > 0.7
    again = clone(search.best_estimator_)
    assert not hasattr(again[-1], "model_")
    assert cross_val_score(regressor(), frame, price, cv=3).mean() > 0.3


def test_calibration_and_importance(frame, label):
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(frame, label)
    assert calibrated.predict_proba(frame).shape == (ROWS, 2)
    model = classifier(n_members=2).fit(frame, label)
    found = permutation_importance(model, frame, label, n_repeats=3, random_state=0)
    assert found.importances_mean.argmax() in (0, 1)


def test_metadata_is_routed(frame, label):
    weight = np.where(np.arange(ROWS) % 2, 1.0, 0.0)
    groups = np.arange(ROWS) // 6
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier().set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=True)
        found = cross_validate(
            model, frame, label, cv=GroupKFold(3), return_estimator=True,
            params={"sample_weight": weight, "groups": groups},
        )  # fmt: skip
    for one in found["estimator"]:
        assert len(one.out_of_fold_) in (39, 42)  # of 13 or 14 groups, the rows with weight
        (member,) = one.members_
        assert len(member.held_out) % 3 == 0  # three of each group


def test_predictions_do_not_warn(frame, label):
    model = classifier().fit(frame, label)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict_log_proba(frame)


def test_shap_explains_rows_of_a_frame(frame, label):
    shap = pytest.importorskip("shap")
    # Its maskers subtract cells, so categories are given as numbers, and said to be categories.
    towns = frame.town.astype("category").cat.codes
    coded = pd.DataFrame({"size": frame["size"].fillna(50.0), "town": towns})
    model = classifier(kinds={"town": "category"}).fit(coded, label)
    found = shap.Explainer(model.predict_proba, coded[:30], algorithm="permutation")(coded[:5])
    assert found.values.shape == (5, 2, 2)
    total = found.values.sum(axis=1) + found.base_values
    assert_allclose(total, model.predict_proba(coded[:5]), atol=1e-6)
