"""`compare`: folds without a class, decisions of a tuned threshold, and weights of classes."""

import numpy as np
import pytest

from fastnn.tabular import comparison, of
from fastnn.tabular.evaluation import evaluate
from fastnn.tabular.fitting import fit
from fastnn.tabular.folds import folds_of
from fastnn.tabular.recipes import RealMLP
from fastnn.tabular.study import Study

pytest.importorskip("sklearn")

LINEAR, TREES, OWN = "logistic regression", "gradient boosting", "fastnn realmlp"
SIDES = {LINEAR: comparison._linear, TREES: comparison._trees}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    own = {OWN: comparison._recipe(RealMLP(hidden=(8,), epochs=4))}
    monkeypatch.setattr(comparison, "sides_of", lambda _: own | SIDES)


@pytest.fixture
def columns(rng):
    a = rng.normal(size=150)
    kind = np.where(a + rng.normal(size=150) > 1, "yes", "no").astype(object)
    return {"a": a, "b": rng.normal(size=150), "y": kind}


def compared(columns, **options):
    study = Study.of_table(of(columns), "y", held_out=0)
    rows = {}
    for row, _ in comparison.compare(study, folds=3, options={"members": 1, **options}):
        rows[row.name] = row
    return study, rows


@pytest.mark.parametrize("weight", [None, "balanced", {"once": 3, "yes": 2}])
def test_a_class_of_a_single_row(columns, weight):
    columns["y"][5] = "once"
    _, rows = compared(columns, class_weight=weight)
    for name in (OWN, LINEAR, TREES):
        assert len(rows[name].scores["log_loss"]) == 3
        assert len(rows[name].scores["accuracy"]) == 3
    with pytest.raises(ValueError, match="'never' is no class of the target"):
        compared(columns, class_weight={"never": 1})


def test_rows_besides_a_fold_of_one_class(columns):
    columns["y"][:] = "no"
    columns["y"][5] = "yes"
    with pytest.raises(ValueError, match=r"target 'y': the rows besides fold \d are all 'no'"):
        compared(columns)


def test_decisions_are_those_of_the_model(columns):
    study, rows = compared(columns, metric="f1")
    y = study.target.encode(columns["y"])
    of_row = folds_of(y, 3, 150, np.random.default_rng(0))
    want, thresholds = [], []
    for number in range(3):
        train, held = (np.flatnonzero(of_row != number), np.flatnonzero(of_row == number))
        cells = study.whole.cells("y")
        recipe = RealMLP(hidden=(8,), epochs=4)
        model = fit(study.table.take(train), cells.take(train), recipe=recipe, members=1,
                    metric="f1").model  # fmt: skip
        want.append(evaluate(model, study.table.take(held), cells.take(held)).scores["f1"])
        thresholds.append(model.threshold)
    assert set(thresholds) != {0.5}
    assert rows[OWN].scores["f1"] == pytest.approx(want)


@pytest.mark.parametrize("name", [LINEAR, TREES])
def test_weights_of_classes_reach_all_models(columns, name):
    study = Study.of_table(of(columns), "y", held_out=0)
    means = []
    for weight in (None, {"yes": 20}):
        fold = comparison._Fold(
            study, np.arange(100), np.arange(100, 150), 0, {"class_weight": weight}
        )
        outputs, decisions = SIDES[name](fold)
        assert (decisions == outputs.argmax(axis=1)).all()
        means.append(outputs[:, 1].mean())
    assert means[1] > means[0] + 0.1
