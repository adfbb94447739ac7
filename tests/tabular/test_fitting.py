"""From a table to a model: what is left out, and arguments that do not fit."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastnn as fnn
from fastnn.tabular import of
from fastnn.tabular.evaluation import evaluate
from fastnn.tabular.fitting import fit, group_codes, taken, weights_of_classes
from fastnn.tabular.importance import permutation
from fastnn.tabular.plan import Progress
from fastnn.tabular.study import Study
from fastnn.tabular.target import Target

RECIPE = {"name": "realmlp", "epochs": 3, "hidden": [8]}


@pytest.fixture
def table(rng):
    return {"a": rng.normal(size=60), "b": [["x", "y"][i % 2] for i in range(60)]}


def test_rows_are_those_with_a_target_and_a_weight(table):
    y = [None if i < 6 else table["b"][i] for i in range(60)]
    weight = np.where(np.arange(60) % 10 == 9, 0, 2)
    fitted = fit(table, y, recipe=RECIPE, sample_weight=weight)
    want = [i for i in range(60) if i >= 6 and i % 10 != 9]
    assert fitted.rows.tolist() == want
    assert fitted.truth.tolist() == [i % 2 for i in want]
    assert len(fitted.learned.out_of_fold) == len(want)


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**-1000, 2.0**1000])
def test_weights_have_no_unit(table, rng, unit):
    weight = rng.integers(1, 4, 60).astype(float)
    options = {"recipe": RECIPE, "class_weight": {"x": 3}, "metric": "log_loss"}
    want = fit(table, table["b"], sample_weight=weight, **options).learned
    found = fit(table, table["b"], sample_weight=weight * unit, **options).learned
    assert_array_equal(found.out_of_fold, want.out_of_fold)
    assert found.members[0].losses == want.members[0].losses


def test_equal_weights_of_classes_are_none(table):
    options = {"recipe": RECIPE, "metric": "log_loss"}
    want = fit(table, table["b"], **options).learned
    found = fit(table, table["b"], class_weight={"x": 1000, "y": 1000}, **options).learned
    assert found.members[0].losses == pytest.approx(want.members[0].losses, rel=1e-5)


def test_groups_are_those_of_the_rows_that_are_left(table):
    groups = np.arange(60) // 6
    y = [None if i % 4 == 0 else table["b"][i] for i in range(60)]
    fitted = fit(table, y, recipe=RECIPE, groups=groups)
    for member in fitted.learned.members:
        held = groups[fitted.rows[member.held_out]]
        assert not set(held) & set(np.delete(groups[fitted.rows], member.held_out))


def test_quantiles_are_kept_in_the_file(table, tmp_path):
    model = fit(table, table["a"], task="regression", recipe=RECIPE, quantiles=(0.1, 0.9)).model
    model.save(tmp_path / "m.safetensors")
    assert fnn.load(tmp_path / "m.safetensors").attachments["quantiles"] == [0.1, 0.9]


def test_progress_hears_of_the_columns_first(table):
    heard = []

    class Heard(Progress):
        def encoded(self, encoding, target):
            heard.append((encoding.inputs, target.task))

        def begin(self, steps, seconds, plan):
            heard.append(plan.members)

    fit(table, table["b"], recipe=RECIPE, members=2, progress=Heard())
    assert heard == [(2, "classification"), 2]


def test_some_rows_of_targets_of_all_kinds():
    rows = np.array([0, 2])
    pd = pytest.importorskip("pandas")
    for y in ([1, 2, 3], np.array([1, 2, 3]), pd.Series([1, 2, 3], index=[5, 0, 1])):
        assert list(taken(y, rows)) == [1, 3]
    assert taken(of({"y": [1, 2, 3]}).cells("y"), rows).values.tolist() == [1, 3]
    pa = pytest.importorskip("pyarrow")
    assert taken(pa.array([1, 2, 3]), rows).to_pylist() == [1, 3]


def test_weights_of_classes():
    target = Target.fit(["a", "b", "b", "b"])
    truth = np.array([0, 1, 1, 1])
    assert_array_equal(weights_of_classes(target, truth, "balanced"), [2, 2 / 3])
    assert_array_equal(weights_of_classes(target, truth, {"b": 4}), [1, 4])
    numbers = Target.fit(np.array([0, 1]), "classification")
    assert_array_equal(weights_of_classes(numbers, truth, {1: 0.5, np.int64(0): 3}), [3, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "classes"}, "task must be 'auto', 'classification' or 'regression'"),
        ({"recipe": "realmpl"}, "did you mean 'realmlp'"),
        ({"members": 2.5}, "members must be a positive integer, got 2.5"),
        ({"members": 0}, "members must be a positive integer, got 0"),
        ({"members": 31}, "members: 31 networks.*got 60"),
        ({"metric": "auc"}, "metric 'auc'"),
        ({"metric": "r2"}, "metric must be one of a classification"),
        ({"class_weight": 3}, "class_weight must be 'balanced' or a dict, got 3"),
        ({"class_weight": {"z": 1}}, "class_weight: 'z' is no class of the target: 'x', 'y'"),
        ({"class_weight": {"x": "much"}}, "class_weight of 'x' must be"),
        ({"sample_weight": np.ones(61)}, r"sample_weight must have shape \(60,\), got \(61,\)"),
        ({"sample_weight": ["much"] * 60}, "sample_weight must hold a number for each row"),
        ({"sample_weight": np.full(60, np.inf)}, "sample_weight, row 1: expected a finite number"),
        ({"sample_weight": np.zeros(60)}, "sample_weight must have a positive sum"),
        ({"groups": "b"}, r"groups must have shape \(rows,\), got 'b'"),
        ({"groups": np.ones((60, 2))}, r"groups must have shape \(rows,\)"),
        ({"groups": np.arange(59)}, "groups must have a group for each of the 60 rows, got 59"),
        ({"quantiles": [0.5]}, "quantiles are of numbers, but the target has classes"),
        ({"quantiles": 0.5}, "quantiles must be numbers between 0 and 1, ascending, got 0.5"),
        ({"quantiles": [0.9, 0.1]}, "quantiles must be different numbers"),
        ({"drop": ["c"]}, "drop: 'c' is not a column"),
        ({"kinds": {"c": "number"}}, "kinds: 'c' is not a column"),
        ({"time_budget": -1}, "time_budget must be a positive number, got -1"),
        ({"time_budget": np.nan}, "time_budget must be"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": "x"}, "seed must be an integer of at least 0"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_trained(table, monkeypatch, options, message):
    monkeypatch.setattr(fnn.Model, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises((TypeError, ValueError), match=message):
        fit(table, table["b"], **({"recipe": RECIPE} | options))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (3, "y must be an array, series or list of targets, got 3"),
        (["x"] * 59, "y must have a target for each of the 60 rows, got 59"),
        (["x"] * 60, "only one class"),
        ([None] * 60, "every row is missing"),
    ],
)
def test_wrong_targets(table, y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(table, y, recipe=RECIPE)


def test_class_weight_of_numbers(table):
    with pytest.raises(ValueError, match="class_weight is for classes, but the target is numbers"):
        fit(table, table["a"], recipe=RECIPE, class_weight="balanced")


def test_a_dropped_column_that_no_table_can_hold(table):
    table["blob"] = [[1, 2]] * 60
    y = [None, *table["b"][1:]]
    fitted = fit(table, y, recipe=RECIPE, members=1, drop=["blob"])
    assert len(fitted.rows) == 59
    assert fitted.model.encoding.groups.keys() == {"a", "b"}
    with pytest.raises(ValueError, match="column 'blob', row 1: "):
        fit(table, y, recipe=RECIPE, members=1)
    study = Study.of_table(of(table | {"y": y}), "y")
    assert study.fit(recipe=RECIPE, members=1, drop=["blob"]).evaluation.scores


def test_messages_name_the_row_of_the_table(table):
    weight = np.where(np.arange(60) < 5, 0, 1)
    y = np.arange(60.0)
    y[10] = np.inf
    with pytest.raises(ValueError, match="target 'y', row 11: is infinite"):
        fit(table, y, recipe=RECIPE, sample_weight=weight)
    texts = [*map(str, range(20)), *["many"] * 40]
    with pytest.raises(ValueError, match=r"'many' \(row 21\)"):
        fit(table, texts, task="regression", recipe=RECIPE, sample_weight=weight)
    labels = np.array([None] * 10 + [*table["b"][10:]], object)
    model = fit(table, labels, recipe=RECIPE, members=1).model
    labels[20] = "new"
    cells = of({"y": labels}).cells("y")
    for call in (
        lambda: evaluate(model, of(table), cells),
        lambda: permutation(model, table, labels),
    ):
        with pytest.raises(ValueError, match="row 21: 'new' is no class"):
            call()
    some = of(table).take(np.arange(5, 60))
    with pytest.raises(ValueError, match="row 21: 'new' is no class"):
        permutation(model, some, labels[5:])


def test_rows_without_a_group_are_each_their_own(table):
    who = [None if i < 40 else f"g{i // 5}" for i in range(60)]
    assert len(set(group_codes(who, 60).tolist())) == 44
    study = Study.of_table(of(table | {"who": who}), "b", group="who")
    assert len(set(study.groups.tolist())) == 44
    assert len(study.held_out) == 12
