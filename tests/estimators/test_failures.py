"""A refit that fails leaves an estimator as it was."""

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
pytest.importorskip("pandas")

import pandas as pd

import fastnn as fnn
from fastnn.estimators.failures import unchanged_on_failure

RECIPE = {"name": "realmlp", "epochs": 3, "hidden": [8]}
MADE = {
    "TabularClassifier": lambda: fnn.TabularClassifier(RECIPE, n_members=2, random_state=0),
    "TabularRegressor": lambda: fnn.TabularRegressor(RECIPE, n_members=2, random_state=0),
    "MLPClassifier": lambda: fnn.MLPClassifier(max_iter=3, random_state=0),
    "MLPRegressor": lambda: fnn.MLPRegressor(max_iter=3, random_state=0),
}
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def test_lists_that_have_grown_are_cut():
    class Made:
        @unchanged_on_failure
        def go(self):
            self.curve.append(1)
            self.curve, self.other = [], 2
            raise KeyboardInterrupt

    made = Made()
    made.curve = curve = [5, 6]
    with pytest.raises(KeyboardInterrupt):
        made.go()
    assert made.curve is curve
    assert vars(made) == {"curve": [5, 6]}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("fault", ["rows", "no target", "other columns", "weights", "a late error"])
def test_refit_that_fails(name, fault, rng, monkeypatch):
    x = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    y = x["a"] * 2 if name.endswith("Regressor") else np.where(x["a"] > 0, "p", "q")
    model = MADE[name]().fit(x, y)
    before, predicted = dict(vars(model)), model.predict(x)
    other = x.assign(c=1.0, d=2.0).to_numpy()
    target = np.arange(40.0) if name.endswith("Regressor") else np.array(["A", "B"] * 20)
    bad = {
        "rows": lambda: model.fit(other, target[:7]),
        "no target": lambda: model.fit(other, None),
        "other columns": lambda: model.fit(other, [None] * 40),
        "weights": lambda: model.fit(other, target, sample_weight=np.zeros(40)),
        "a late error": lambda: model.fit(other, target),
    }
    if fault == "a late error":

        def interrupted(*args, **kwargs):
            raise MemoryError

        monkeypatch.setattr(fnn.Model, "fit", interrupted)
    with pytest.raises((ValueError, TypeError, MemoryError)):
        bad[fault]()
    assert vars(model).keys() == before.keys()
    assert all(value is before[key] or value == before[key] for key, value in vars(model).items())
    np.testing.assert_array_equal(model.predict(x), predicted)
