"""The estimators inside scikit-learn: its checks, pipelines, searches, routing and callbacks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

import joblib
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_iris, make_regression
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fastnn as fnn
from fastnn import estimators

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# What scikit-learn does not check: there is no such method, or it needs a setting of its own.
NOT_CHECKED = {
    "check_array_api_input",
    "check_classifiers_multilabel_output_format_decision_function",
}


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True, as_frame=True)
    return x, y.map(dict(enumerate(["setosa", "versicolor", "virginica"])))


def classifier(**options):
    return fnn.MLPClassifier(**{"max_iter": 30, "random_state": 0, **options})


# Checks that hundreds of trainings go through get a network that trains in milliseconds.
LIGHT = {"recipe": {"name": "realmlp", "epochs": 12, "hidden": [16]}, "n_members": 1}
# Rows are dealt to folds, and shuffled into batches: a row of weight 2 is in one fold and one
# batch, two equal rows may be in two. (The check's 9 rows are also too few for folds.)
WEIGHTS_ARE_NOT_REPETITIONS = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is in one fold, "
    "two equal rows may be in two"
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", estimators.__all__)
def test_check_estimator_finds_nothing(name):
    is_tabular = name.startswith("Tabular")
    failures = WEIGHTS_ARE_NOT_REPETITIONS if is_tabular else {}
    estimator = getattr(fnn, name)(**(LIGHT if is_tabular else {}))
    found = check_estimator(estimator, on_skip=None, expected_failed_checks=failures)
    not_passed = {one["check_name"]: one["status"] for one in found if one["status"] != "passed"}
    assert set(not_passed) <= NOT_CHECKED | set(failures)
    assert all(not_passed[one] == "xfail" for one in failures)
    assert len(found) > 50


def test_in_a_pipeline_and_a_search(iris):
    x, y = iris
    pipeline = make_pipeline(StandardScaler(), classifier(learning_rate_init=0.02))
    assert cross_val_score(pipeline, x, y).mean() > 0.9
    grid = {"mlpclassifier__hidden_layer_sizes": [(5,), (20,)], "mlpclassifier__alpha": [0, 1e-3]}
    search = GridSearchCV(pipeline, grid, n_jobs=2).fit(x, y)
    assert search.best_score_ > 0.9
    assert set(search.predict(x)) == set(y)
    again = clone(search.best_estimator_)
    assert not hasattr(again[-1], "model_")


def test_calibration_importance_and_frames(iris):
    x, y = iris
    model = make_pipeline(StandardScaler(), classifier(learning_rate_init=0.02, max_iter=100))
    model.set_output(transform="pandas").fit(x, y)
    assert list(model[-1].feature_names_in_) == list(x.columns)
    with pytest.raises(ValueError, match="feature names"):
        model[-1].predict(x.rename(columns={x.columns[0]: "other"}))
    found = permutation_importance(model, x, y, n_repeats=3, random_state=0)
    assert found.importances_mean.argmax() in (2, 3)  # the petals
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(x, y)
    assert calibrated.predict_proba(x).shape == (150, 3)


def test_sample_weights_are_routed(iris):
    x, y = iris
    weights = np.where(y == "setosa", 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(x, y, sample_weight=weights)
        assert "setosa" not in pipeline.predict(x)
        cross_validate(pipeline, x, y, params={"sample_weight": weights}, error_score="raise")


def test_files_keep_the_estimator(iris, tmp_path):
    x, y = iris
    model = classifier(solver="adam").fit(x, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for mode in (None, "r"):
        again = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        assert_array_equal(again.predict_proba(x), model.predict_proba(x))
        again.partial_fit(x, y)
    model.partial_fit(x, y)
    assert_array_equal(again.coefs_[0], model.coefs_[0])  # with the state of Adam and of shuffling


class Recorder:
    """A callback of scikit-learn that stops `fit`."""

    def __init__(self, last):
        self.last, self.events, self.scores = last, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        self.scores.append((fitted_estimator, fitted_estimator.score(X, y)))
        return context.task_name == "iteration" and context.task_id == self.last


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn(solver, iris):
    x, y = iris
    recorder = Recorder(last=3)
    model = classifier(solver=solver).set_callbacks(recorder).fit(x, y)
    assert model.n_iter_ == 4
    iteration = ["begin iteration", "end iteration"]
    assert recorder.events == ["setup", "begin fit", *4 * iteration, "end fit", "teardown"]
    for estimator, score in recorder.scores:  # what it was told of stays as it was
        assert estimator.score(x, y) == score
    assert recorder.scores[-1][1] == model.score(x, y)
    assert recorder.scores[0][0].model_ is not model.model_


def test_monitor_and_progress_bar(iris):
    pytest.importorskip("rich")
    x, y = iris
    monitor = ScoringMonitor(scoring="accuracy")
    model = classifier(max_iter=5).set_callbacks(monitor, ProgressBar()).fit(x, y)
    log = monitor.get_logs()
    log = log[-1] if isinstance(log, list) else log
    scores = [row["accuracy"] for row in log.data if row["task_name"] == "iteration"]
    assert len(scores) == 5
    assert scores[-1] == model.score(x, y)


def test_a_search_shows_the_progress_of_its_estimators(iris):
    pytest.importorskip("rich")
    x, y = iris
    search = GridSearchCV(classifier(max_iter=3), {"alpha": [0.0, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(x, y)
    assert search.best_estimator_.n_iter_ == 3


def test_float32_stays_float32():
    x, y = make_regression(50, 3, random_state=0)
    model = fnn.MLPRegressor(max_iter=3).fit(x.astype(np.float32), y)
    assert model.predict(x.astype(np.float32)).dtype == np.float32
    assert model.model_.dtype == "float32"


# --- without scikit-learn -----------------------------------------------------------------------


def run(code):
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)


def test_import_of_fastnn_does_not_import_scikit_learn():
    done = run(
        "import sys, fastnn as fnn; from fastnn import *; fnn.estimators; dir(fnn)\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert 'MLPClassifier' in dir(fnn)\n"
        "fnn.MLPClassifier; assert 'sklearn' in sys.modules"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["sklearn", "sklearn.callback"])
def test_without_scikit_learn_the_message_names_the_extra(missing):
    done = run(f"import sys; sys.modules[{missing!r}] = None\nimport fastnn; fastnn.MLPRegressor")
    assert done.stderr.strip().endswith(
        "ImportError: MLPRegressor needs scikit-learn 1.9 or newer: "
        "pip install 'fastnn-cpu[sklearn]'"
    )


def test_a_misspelt_estimator_is_named():
    with pytest.raises(AttributeError, match="MLPRegressor"):
        fnn.MLPRegresor  # noqa: B018
