"""Scores against scikit-learn's."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.metrics as sk
from numpy.testing import assert_allclose

from fastnn.tabular import scores

OF_CLASSES = [score.name for score in scores.of_task("classification")]
OF_NUMBERS = [score.name for score in scores.of_task("regression")]


def theirs(name, y, p, weight):
    decided, two = p.argmax(axis=1), p.shape[1] == 2
    given = {"sample_weight": weight}
    if name == "log_loss":
        return sk.log_loss(y, p, **given)
    if name == "roc_auc":
        return sk.roc_auc_score(y, p[:, 1] if two else p, multi_class="ovr", **given)
    if name == "average_precision":
        return sk.average_precision_score(y, p[:, 1] if two else p, **given)
    if name == "f1":
        return sk.f1_score(y, decided, average="binary" if two else "macro", **given)
    return getattr(sk, f"{name}_score")(y, decided, **given)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_scores_of_classes(rng, name, classes, weighted):
    y = rng.integers(0, classes, 300)
    # With ties, and better than chance.
    p = rng.dirichlet(np.ones(classes), 300).round(1) + 0.3 * np.eye(classes)[y] + 0.05
    p /= p.sum(axis=1, keepdims=True)
    weight = rng.integers(0, 4, 300).astype(float) if weighted else None
    found = scores.get(name, "classification", classes)(y, p, weight)
    assert_allclose(found, theirs(name, y, p, weight), rtol=1e-12)
    assert found != pytest.approx(theirs(name, y, p[::-1], weight), rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_scores_of_numbers(rng, name, weighted):
    y = rng.normal(size=200)
    p = y + rng.normal(size=200)
    weight = rng.random(200) if weighted else None
    want = {
        "rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score,
    }[name](y, p, sample_weight=weight)  # fmt: skip
    assert_allclose(scores.get(name, "regression")(y, p, weight), want, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_pinball(rng, weighted):
    y, p, levels = rng.normal(size=100), rng.normal(size=(100, 2)), (0.1, 0.7)
    weight = rng.random(100) if weighted else None
    want = [
        sk.mean_pinball_loss(y, p[:, i], alpha=q, sample_weight=weight)
        for i, q in enumerate(levels)
    ]
    assert_allclose(scores.of_quantiles(levels)(y, p, weight), np.mean(want), rtol=1e-12)


def test_log_loss_does_not_depend_on_the_dtype():
    p = np.array([[1.0, 0.0], [0.25, 0.75]])
    score = scores.get("log_loss", "classification")
    assert score(np.array([1, 1]), p) == pytest.approx(score(np.array([1, 1]), p.astype("f4")))


def test_log_loss_of_impossible_rows_is_finite():
    p = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    score = scores.get("log_loss", "classification")
    assert score(np.array([1, 0]), p) == pytest.approx(sk.log_loss([1, 0], p, labels=[0, 1]))


@pytest.mark.parametrize("name", [*OF_CLASSES, *OF_NUMBERS])
def test_loss_falls_where_the_score_gets_better(rng, name):
    y = rng.integers(0, 2, 50)
    score = scores.SCORES[name]
    good, bad = y.astype(float), 1.0 - y
    if score.task == "classification":
        good, bad = np.eye(2)[y], np.eye(2)[1 - y]
    assert score.loss(y, good) < score.loss(y, bad)


def test_where_scores_are_defined():
    one, two = np.array([1, 1, 1]), np.array([0, 1, 1])
    for name in ("roc_auc", "average_precision"):
        score = scores.SCORES[name]
        assert not score.is_defined(one)
        assert score.is_defined(two)
        assert not score.is_defined(two, classes=3)
        assert not score.is_defined(two, np.array([0.0, 1.0, 1.0]))
    assert scores.SCORES["balanced_accuracy"].is_defined(two, classes=3)
    assert scores.SCORES["log_loss"].is_defined(one, classes=2)
    assert not scores.SCORES["r2"].is_defined(one)
    assert not scores.SCORES["rmse"].is_defined(one[:0])
    for task in ("classification", "regression"):
        assert scores.fallback(task).is_defined(one, classes=3)


def test_auto():
    assert scores.get("auto", "classification", 2).name == "roc_auc"
    assert scores.get("auto", "classification", 3).name == "log_loss"
    assert scores.get("auto", "regression").name == "rmse"


def test_wrong_names():
    with pytest.raises(ValueError, match=r"metric 'roc_auk'.*did you mean 'roc_auc'"):
        scores.get("roc_auk", "classification", 2)
    with pytest.raises(ValueError, match=r"metric must be one of a regression.*got 'f1'"):
        scores.get("f1", "regression")


@pytest.mark.parametrize("score", [*scores.SCORES.values(), scores.of_quantiles((0.5,))])
def test_scores_can_be_pickled(score):
    again = pickle.loads(pickle.dumps(score))
    y = np.array([0, 1, 1])
    given = np.eye(2)[y] if score.task == "classification" else y + 0.5
    given = given[:, np.newaxis] if score.name == "pinball" else given
    assert (again.name, again(y, given)) == (score.name, score(y, given))
