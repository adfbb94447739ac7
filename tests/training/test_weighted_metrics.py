"""Weights for each output, weighted metrics, rows of weight 0, and scikit-learn's values."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn import metrics

X = np.random.default_rng(1).normal(size=(90, 4))
Y = np.random.default_rng(2).integers(0, 3, 90)
WEIGHTS = np.random.default_rng(3).uniform(0.2, 2, 90)


def identity(units, loss, **options):
    """A model that outputs what it is given."""
    model = fnn.Sequential([fnn.Activation("linear")], input_shape=(units,), dtype="float64")
    model.compile("sgd", loss, **options)
    return model


# scikit-learn 1.9.1, zero_division=0, on these data; class 1 and 4 occur among predictions alone.
def classes_of_scikit_learn():
    rng = np.random.default_rng(7)
    y, shares = rng.choice([0, 2, 3], 60), rng.dirichlet(np.ones(5), 60).round(2)
    shares[:, [1, 4]] *= 0.2
    return y, shares / shares.sum(axis=1, keepdims=True), rng


AVERAGES = [f"{name}/{average}" for average in ("macro", "micro", "weighted")
            for name in ("precision", "recall", "f1")]  # fmt: skip
PLAIN = dict(zip(AVERAGES, [
    0.2081841432225064, 0.1892080745341615, 0.1944399460188934,
    0.31666666666666665, 0.31666666666666665, 0.31666666666666665,
    0.3618925831202046, 0.31666666666666665, 0.33223571749887537,
], strict=True)) | {"balanced_accuracy": 0.3153467908902691,
     "average_precision": 0.2332291971529464, "accuracy": 0.31666666666666665}  # fmt: skip
WEIGHTED = dict(zip(AVERAGES, [
    0.20021087410580582, 0.18535438951226474, 0.19072380018636814,
    0.317591155881126, 0.317591155881126, 0.317591155881126,
    0.3541668058528868, 0.317591155881126, 0.3325221541131141,
], strict=True)) | {"balanced_accuracy": 0.30892398252044123,
     "average_precision": 0.2379805613505928, "accuracy": 0.317591155881126}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_classes_as_scikit_learn(name):
    y, shares, rng = classes_of_scikit_learn()
    weights = rng.uniform(0.2, 2, 60)
    name, _, average = name.partition("/")
    metric = {"name": name, "average": average} if average else name
    # With "mse" the outputs are no logits, so that ties stay ties.
    model = identity(5, "mse", metrics=metric, weighted_metrics=metric)
    found = model.evaluate(shares, np.eye(5)[y], weights)
    key = f"{name}/{average}" if average else name
    assert_close(found[name], PLAIN[key], 1e-12)
    assert_close(found[f"weighted_{name}"], WEIGHTED[key], 1e-12)
    assert found[name] != found[f"weighted_{name}"]


BINARY = {
    "f1": (0.5806451612903226, 0.6493910827518686),
    "precision": (0.5625, 0.6600650044929001),
    "recall": (0.6, 0.6390568836685733),
    "balanced_accuracy": (0.5666666666666667, 0.6219276896912698),
    "average_precision": (0.5273669980812838, 0.6012436209476837),
    "roc_auc": (0.5444444444444445, 0.5680380551989709),
    "accuracy": (0.5666666666666667, 0.6234905344501429),
}
NUMBERS = {"r2": (0.7111955796797995, 0.701937779320153),
           "mae": (0.3832851526601151, 0.3724757293956328),
           "rmse": (0.48504954026626096, 0.45841204009161673)}  # fmt: skip


def test_binary_and_numbers_as_scikit_learn():
    _, _, rng = classes_of_scikit_learn()
    weights = rng.uniform(0.2, 2, 60)
    y, scores = rng.integers(0, 2, 60), rng.uniform(size=60).round(1)
    t = rng.normal(size=(60, 2))
    p = t + rng.normal(size=(60, 2)) * 0.5
    # 1/2 itself is negative in both; a number is a decision of its own with "mse"
    for loss, x, target, wanted in (("mse", scores[:, None], y, BINARY), ("mse", p, t, NUMBERS)):
        model = identity(x.shape[1], loss, metrics=list(wanted), weighted_metrics=list(wanted))
        found = model.evaluate(x, target, weights, batch_size=13)
        for name, (plain, weighted) in wanted.items():
            assert_close(found[name], plain, 1e-12, name)
            assert_close(found[f"weighted_{name}"], weighted, 1e-12, name)


def test_a_class_that_occurs_nowhere_is_not_counted():
    """Macro F1 of perfect predictions is 1, whatever outputs there are besides."""
    model = identity(5, "crossentropy", metrics=["f1", "precision", "recall", "balanced_accuracy"])
    found = model.evaluate(np.eye(5)[[0, 1, 1, 3]] * 9, [0, 1, 1, 3])
    assert [found[name] for name in ("f1", "precision", "recall", "balanced_accuracy")] == [1.0] * 4
    assert model.evaluate(np.eye(5)[[0, 1, 1, 4]] * 9, [0, 1, 1, 3])["f1"] == 0.5


def test_average_precision_of_ties_and_of_a_class_that_is_missing():
    model = identity(1, "binary_crossentropy", metrics="average_precision")
    x = np.zeros((4, 1))
    assert model.evaluate(x, [1, 0, 0, 1])["average_precision"] == 0.5
    assert model.evaluate(x, [0, 0, 0, 0])["average_precision"] == 0.0


def test_balanced_accuracy_is_for_one_decision():
    model = identity(3, "binary_crossentropy", metrics="balanced_accuracy")
    with pytest.raises(ValueError, match="'balanced_accuracy' is for classes or for one output"):
        model.evaluate(np.zeros((2, 3)), np.zeros((2, 3)))


# --- compile(weighted_metrics=...) ----------------------------------------------------------------


def classifier(**options):
    layers = [fnn.Dense(8, "tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype="float64", seed=1)
    model.compile(fnn.SGD(0.0), "crossentropy", **options)
    return model


def test_a_weighted_mean_in_fit_and_evaluate():
    model = classifier(weighted_metrics="accuracy")
    hits = model.predict(X).argmax(axis=1) == Y
    wanted = (WEIGHTS * hits).sum() / WEIGHTS.sum()
    assert_close(model.evaluate(X, Y, WEIGHTS, batch_size=7)["accuracy"], wanted, 1e-12)
    data = X, Y, WEIGHTS
    history = model.fit(*data[:2], sample_weight=WEIGHTS, validation_data=data, verbose=0).history
    assert_close(history["accuracy"][0], wanted, 1e-12)
    assert_close(history["val_accuracy"][0], wanted, 1e-12)
    assert_close(model.evaluate(X, Y)["accuracy"], hits.mean(), 1e-12)
    weights = np.where(Y == 2, 3.0, 1.0)
    found = model.fit(X, Y, class_weight={2: 3.0}, verbose=0).history["accuracy"][0]
    assert_close(found, (weights * hits).sum() / weights.sum(), 1e-12)


def test_batches_with_and_without_weights():
    model = classifier(weighted_metrics=["accuracy", "f1"])
    batches = [(X[:50], Y[:50]), (X[50:], Y[50:], WEIGHTS[50:])]
    weights = np.concatenate([np.ones(50), WEIGHTS[50:]])
    wanted = model.evaluate(X, Y, weights)
    assert_close(model.evaluate(batches)["accuracy"], wanted["accuracy"], 1e-12)
    assert_close(model.fit(batches, verbose=0).history["f1"][0], wanted["f1"], 1e-12)


def test_a_weighted_function_gets_the_weights():
    def error(y_true, y_pred, sample_weight):
        assert (y_true.dtype, sample_weight.dtype) == ("int64", "float64")
        return np.average(y_pred.argmax(axis=1) != y_true, weights=sample_weight)

    model = classifier(metrics="accuracy", weighted_metrics=[error, "accuracy"])
    found = model.evaluate(X, Y, WEIGHTS)
    assert_close(found["error"], 1 - found["weighted_accuracy"], 1e-12)

    def plain(y_true, y_pred):
        return 0.0

    with pytest.raises(TypeError, match="function 'plain' must take"):
        model.compile("sgd", "crossentropy", weighted_metrics=[plain])


def test_early_stopping_knows_the_direction_of_a_weighted_metric():
    model = classifier(metrics="accuracy", weighted_metrics="accuracy")
    stop = fnn.EarlyStopping("weighted_accuracy", patience=0)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[stop])
    assert stop.direction == "max"


def test_weighted_metrics_are_saved(tmp_path):
    model = classifier(metrics="accuracy", weighted_metrics=["accuracy", metrics.F1("micro")])
    model.save(tmp_path / "m")
    for again in (fnn.load(tmp_path / "m"), copy.deepcopy(model)):
        assert again.evaluate(X, Y, WEIGHTS) == model.evaluate(X, Y, WEIGHTS)


@pytest.mark.parametrize("given", ["accuracy", metrics.Accuracy(), ["accuracy"]])
def test_a_single_metric_needs_no_list(given):
    assert list(classifier(metrics=given).evaluate(X, Y)) == ["loss", "accuracy"]


# --- weights for each output ----------------------------------------------------------------------


def two_outputs(**options):
    x = fnn.Input((4,))
    h = fnn.Dense(5, "tanh")(x)
    ends = [fnn.Dense(3, name="kind")(h), fnn.Dense(1, name="size")(h)]
    model = fnn.Model(x, ends, dtype="float64", seed=0)
    model.compile(fnn.SGD(0.1), {"kind": "crossentropy", "size": "mse"}, **options)
    return model


TARGETS = {"kind": Y, "size": X[:, 0]}
OTHER = WEIGHTS[::-1].copy()


def expected_losses(model, kind, size):
    logits, sizes = model.predict(X)
    rows = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(90), Y]
    return (kind * rows).mean(), (size * (sizes[:, 0] - X[:, 0]) ** 2).mean()


@pytest.mark.parametrize(
    ("given", "kind", "size"),
    [
        (WEIGHTS, WEIGHTS, WEIGHTS),
        (WEIGHTS.tolist(), WEIGHTS, WEIGHTS),
        ([WEIGHTS, OTHER], WEIGHTS, OTHER),
        ({"size": OTHER, "kind": WEIGHTS}, WEIGHTS, OTHER),
        ([None, OTHER], 1.0, OTHER),
        ({"kind": WEIGHTS}, WEIGHTS, 1.0),
    ],
)
def test_weights_for_each_output(given, kind, size):
    model = two_outputs()
    wanted = expected_losses(model, kind, size)
    found = model.evaluate(X, TARGETS, given)
    assert_close([found["kind_loss"], found["size_loss"]], wanted, 1e-12)
    assert_close(found["loss"], sum(wanted), 1e-12)
    assert fnn.gradcheck(model, X, TARGETS, sample_weight=given)
    results = []
    for fit in (
        lambda m: m.fit(X, TARGETS, sample_weight=given, batch_size=90, verbose=0, shuffle=False),
        lambda m: m.fit([(X, TARGETS, given)], verbose=0),
        lambda m: m.train_on_batch(X, TARGETS, given),
    ):
        one = copy.deepcopy(model)
        fit(one)
        results.append(one.predict(X))
    for result in results[1:]:
        np.testing.assert_array_equal(result[0], results[0][0])
        np.testing.assert_array_equal(result[1], results[0][1])
    history = model.fit(X, TARGETS, sample_weight=given, validation_split=0.3, verbose=0).history
    assert np.isfinite(history["val_loss"][0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([WEIGHTS], "sample_weight must have 2 entries, one for each output"),
        ({"kinds": WEIGHTS}, "sample_weight must be for the outputs kind, size, got kinds"),
        ([WEIGHTS, OTHER[:5]], r"sample_weight\['size'\] must have shape \(90,\)"),
    ],
)
def test_bad_weights_of_outputs(given, message):
    model = two_outputs()
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, TARGETS, sample_weight=given, verbose=0)


def test_weighted_metrics_of_outputs():
    model = two_outputs(weighted_metrics={"kind": "accuracy", "size": ["mae", "r2"]})
    logits, sizes = model.predict(X)
    for given, kind, size in (
        ([WEIGHTS, OTHER], WEIGHTS, OTHER), (WEIGHTS, WEIGHTS, WEIGHTS), (None, None, None)
    ):  # fmt: skip
        found = model.evaluate(X, TARGETS, given, batch_size=32)
        hits, errors = logits.argmax(axis=1) == Y, np.abs(sizes[:, 0] - X[:, 0])
        assert_close(found["kind_accuracy"], np.average(hits, weights=kind), 1e-12)
        assert_close(found["size_mae"], np.average(errors, weights=size), 1e-12)


# --- negative weights, and rows of weight 0 -------------------------------------------------------


def test_reinforce_takes_negative_weights():
    """The gradient of each row's loss, times its advantage of either sign."""
    advantage = WEIGHTS - WEIGHTS.mean()
    assert advantage.min() < 0 < advantage.max()
    model = classifier()
    model.optimizer.learning_rate = 1.0
    logits = model.forward(X, training=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradients = model.backward((shares - np.eye(3)[Y]) * advantage[:, None] / 90)
    wanted = [view - gradients[name] for name, view in model.parameters.items()]
    for step in (
        lambda m: m.train_on_batch(X, Y, advantage),
        lambda m: m.fit(X, Y, sample_weight=advantage, batch_size=90, verbose=0),
    ):
        one = copy.deepcopy(model)
        step(one)
        for array, want in zip(one.get_weights(), wanted, strict=True):
            assert_close(array, want, 1e-12)
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    for _ in range(3):
        loss = one.learn_one(X[0], Y[0], sample_weight=-0.5)
        assert loss == other.train_on_batch(X[:1], Y[:1], [-0.5])
        assert one.learn_one(X[1], Y[1]) == other.learn_one(X[1], Y[1])
    with pytest.raises(ValueError, match="sample_weight must be a finite number, got nan"):
        one.learn_one(X[0], Y[0], sample_weight=np.nan)


@pytest.mark.parametrize(
    ("loss", "good", "bad"),
    [
        ("crossentropy", Y, -100),
        ("crossentropy", Y, 7),
        ("crossentropy", np.eye(3)[Y], np.nan),
        ("kl_divergence", np.eye(3)[Y], 5.0),
        ("mse", X[:, :3], np.nan),
        ("mse", X[:, :3], np.inf),
        ("mse", X[:, :3], 1e200),
        ("binary_crossentropy", (X[:, :3] > 0) * 1.0, np.nan),
        ("binary_crossentropy", (X[:, :3] > 0) * 1, -1),
        ("hinge", np.sign(X[:, :3]), 0.0),
        ("poisson", np.abs(X[:, :3]), -3.0),
    ],
)
def test_a_row_of_weight_0_has_no_effect_whatever_its_target(loss, good, bad):
    weights = WEIGHTS.copy()
    weights[[3, 50, 89]] = 0
    spoilt = good.copy()
    spoilt[[3, 50, 89]] = bad
    before = spoilt.copy()
    one, other = classifier(), classifier()
    for model in (one, other):
        model.compile(fnn.SGD(0.1), loss)
    for _ in range(3):
        found = one.fit(X, spoilt, sample_weight=weights, verbose=0).history
        assert found == other.fit(X, good, sample_weight=weights, verbose=0).history
    assert np.isfinite(found["loss"]).all()
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(spoilt, before)
    error = fnn.NonFiniteLossError if bad == 1e200 else ValueError  # its square is infinite
    with pytest.raises(error, match=r"^y must|the loss is inf"):
        copy.deepcopy(one).fit(X, spoilt, sample_weight=WEIGHTS, verbose=0)
    metric = "accuracy"
    one.compile("sgd", loss, metric)
    with unchanged(one), pytest.raises(ValueError, match=r"row 3, .* weighted_metrics"):
        one.fit(X, spoilt, sample_weight=weights, verbose=0)
    one.compile("sgd", loss, weighted_metrics=[metric, "precision"])
    other.compile("sgd", loss, weighted_metrics=[metric, "precision"])
    assert one.evaluate(X, spoilt, weights) == other.evaluate(X, good, weights)


# --- class_weight ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "y", "class_weight", "message"),
    [
        ("crossentropy", Y, {7: 2}, "class_weight must be for the classes 0 to 2, got 7"),
        ("crossentropy", Y, {-1: 2}, "class_weight must be for the classes 0 to 2, got -1"),
        ("crossentropy", np.eye(3)[Y], {3: 2}, "class_weight must be for the classes 0 to 2"),
        ("binary_crossentropy", np.eye(3)[Y], {1: 2}, "a row of y holds 3 numbers that are not"),
        ("mse", X[:, :3], {0: 2}, "with loss 'mse' a row of y holds 3 numbers"),
        ("mse", np.eye(3)[Y], {0: 2}, "with loss 'mse' a row of y holds 3 numbers"),
    ],
)
def test_class_weights_without_such_classes_are_refused(loss, y, class_weight, message):
    model = classifier()
    model.compile("sgd", loss)
    for call in (
        lambda: model.fit(X, y, class_weight=class_weight, verbose=0),
        lambda: model.train_on_batch(X, y, None, class_weight),
    ):
        with unchanged(model), pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("loss", "y", "class_weight", "message"),
    [
        ("binary_crossentropy", Y > 0, {2: 2}, "must be for the classes 0, 1, got 2"),
        ("hinge", 2 * (Y > 0) - 1, {0: 2}, "must be for the classes -1, 1, got 0"),
        ("mse", Y, {9: 2}, "must be for classes in y, got 9"),
        ("mse", X[:, 0], {1: 2}, "y holds numbers that are not whole"),
    ],
)
def test_class_weights_of_one_output(loss, y, class_weight, message):
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,), seed=0)
    model.compile("sgd", loss)
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, y, class_weight=class_weight, verbose=0)
    for label in {0, 1} if loss != "hinge" else {-1, 1}:
        if message != "y holds numbers that are not whole":
            model.fit(X, y, class_weight={label: 2.0}, verbose=0)


def test_lbfgs_reports_no_weights():
    pytest.importorskip("scipy")
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,), dtype="float64", seed=0)
    model.compile(fnn.LBFGS(), "crossentropy", "accuracy", weighted_metrics="accuracy")
    history = model.fit(X, Y, epochs=2, verbose=0, sample_weight=WEIGHTS).history
    assert list(history) == ["loss", "accuracy", "weighted_accuracy"]
    found = model.evaluate(X, Y, WEIGHTS)
    assert {name: values[-1] for name, values in history.items()} == pytest.approx(found)
