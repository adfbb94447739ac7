"""Permutation importance: what it finds, and what it says where it cannot."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn.tabular import importance, of
from fastnn.tabular.fitting import fit

RECIPE = {"name": "realmlp", "epochs": 30, "hidden": [16]}


@pytest.fixture
def table(rng):
    return {
        "noise": rng.normal(size=200),
        "town": rng.choice(["a", "b", "c"], 200).tolist(),
        "size": rng.normal(size=200),
    }


@pytest.fixture
def numbers(table):
    towns = np.array([{"a": 0, "b": 1, "c": 2}[one] for one in table["town"]])
    return 3 * table["size"] + towns


def test_columns_in_the_order_of_what_they_are_worth(table, numbers):
    fitted = fit(table, numbers, recipe=RECIPE, members=2)
    found = importance.permutation(fitted.model, table, numbers, repeats=4)
    assert found.columns == ["size", "town", "noise"]
    assert found.mean[0] > 3 * found.mean[1] > 9 * abs(found.mean[2])
    assert found.metric == "rmse"
    error = fitted.model.predict(table) - numbers
    assert found.score == pytest.approx(np.sqrt((error**2).mean()))
    lines = str(found).splitlines()
    assert lines[0].startswith("rmse 0.")
    assert lines[1].startswith("size")
    again = importance.permutation(fitted.model, table, numbers, repeats=4)
    assert_allclose(again.mean, found.mean)
    other = importance.permutation(fitted.model, table, numbers, repeats=4, seed=1)
    assert (other.mean != found.mean).any()


@pytest.mark.parametrize("metric", ["auto", "log_loss", "accuracy"])
def test_a_loss_of_score_is_positive_whatever_its_direction(table, numbers, metric):
    labels = np.where(numbers > 1, "high", "low").tolist()
    fitted = fit(table, labels, recipe=RECIPE, members=2)
    found = importance.permutation(fitted.model, table, labels, metric=metric)
    assert found.columns[0] == "size"
    assert found.mean[0] > 0.05


def test_targets_of_all_kinds(table, numbers):
    labels = np.where(numbers > 1, "high", "low").tolist()
    fitted = fit(table, labels, recipe=RECIPE, members=1)
    missing = [None, *labels[1:]]
    want = importance.permutation(fitted.model, of(table).take(np.arange(1, 200)), labels[1:])
    whole = of({**table, "y": missing})
    for y in (missing, np.array(missing, object), whole.cells("y")):
        found = importance.permutation(fitted.model, table, y)
        assert_allclose(found.mean, want.mean)


def test_what_cannot_be_scored(table, numbers):
    labels = np.where(numbers > 1, "high", "low").tolist()
    model = fit(table, labels, recipe=RECIPE, members=1).model
    for y, options, message in [
        (labels[:-1], {}, "a target for each of the 200 rows, got 199"),
        ([None] * 200, {}, "every target is missing"),
        (["high"] * 200, {}, "metric 'roc_auc' needs rows of all classes in y"),
        (["other"] * 200, {}, "'other' is no class that the model knows"),
        (labels, {"metric": "r2"}, "metric must be one of a classification"),
        (labels, {"repeats": 0}, "n_repeats must be a positive integer, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            importance.permutation(model, table, y, **options)
