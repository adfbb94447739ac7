"""Metrics: each compared with its definition in NumPy, in training and evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn
from fastnn import metrics
from fastnn.metrics import Collected


def network(loss, units, end=None, **options):
    layers = [fnn.Dense(8, "tanh"), fnn.Dense(units, end)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype="float64", seed=1)
    model.compile(fnn.SGD(0.0), loss, **options)
    return model


def confusion(truth, said, classes):
    matrix = np.zeros((classes, classes), int)
    for i, j in zip(truth, said, strict=True):
        matrix[i, j] += 1
    return matrix


def by_class(truth, said, classes):
    """Precision, recall and F1 of each class, computed with loops."""
    matrix = confusion(truth, said, classes)
    rows = []
    for k in range(classes):
        right, there, called = matrix[k, k], matrix[k].sum(), matrix[:, k].sum()
        p, r = right / called if called else 0, right / there if there else 0
        rows.append((p, r, 2 * p * r / (p + r) if p + r else 0))
    return np.array(rows).T


def pairs_won(yes, score):
    """The area under the curve, computed by comparing all pairs."""
    a, b = score[yes][:, None], score[~yes][None, :]
    return ((a > b) + 0.5 * (a == b)).mean()


def precision_by_threshold(yes, score):
    """Precision times the gain in recall, added up over all thresholds."""
    total = recall = 0.0
    for threshold in sorted(set(score), reverse=True):
        said = score >= threshold
        now = (yes & said).sum() / yes.sum()
        total += (now - recall) * (yes & said).sum() / said.sum()
        recall = now
    return total


EVERY = {
    "classes": (
        "crossentropy", 5, ["softmax", None],
        ["accuracy", fnn.metrics.TopKAccuracy(2), "precision", "recall", "f1", "roc_auc",
         "average_precision", "balanced_accuracy", "confusion_matrix"],
    ),
    "binary": (
        "binary_crossentropy", 1, ["sigmoid", None],
        ["accuracy", "binary_accuracy", "precision", "recall", "f1", "roc_auc",
         "average_precision", "balanced_accuracy", "confusion_matrix"],
    ),
    "numbers": ("mse", 3, [None], ["mse", "rmse", "mae", "r2"]),
}  # fmt: skip


def test_every_metric_is_here():
    assert {metrics.get(m).name for case in EVERY.values() for m in case[3]} == set(
        metrics.registry
    )


def expected(kind, x, y, model, end):
    """Each metric according to its definition."""
    output = model.predict(x)
    if kind == "numbers":
        error = output - y
        return {
            "mse": (error**2).mean(),
            "rmse": np.sqrt((error**2).mean()),
            "mae": np.abs(error).mean(),
            "r2": np.mean(1 - (error**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)),
        }
    if kind == "binary":
        yes, said = y > 0.5, output[:, 0] > (0.5 if end else 0)
        p, r, f = by_class(yes.astype(int), said.astype(int), 2)[:, 1]
        hits = (yes == said).mean()
        return {
            "accuracy": hits, "binary_accuracy": hits, "precision": p, "recall": r, "f1": f,
            "roc_auc": pairs_won(yes, output[:, 0]),
            "average_precision": precision_by_threshold(yes, output[:, 0]),
            "balanced_accuracy": by_class(yes.astype(int), said.astype(int), 2)[1].mean(),
            "confusion_matrix": confusion(yes.astype(int), said.astype(int), 2),
        }  # fmt: skip
    said = output.argmax(1)
    p = np.exp(output - output.max(1, keepdims=True))
    p = output if end else p / p.sum(1, keepdims=True)
    each = by_class(y, said, 5).mean(axis=1)
    return {
        "accuracy": (y == said).mean(),
        "top_2_accuracy": (np.argsort(-output, axis=1)[:, :2] == y[:, None]).any(1).mean(),
        **dict(zip(["precision", "recall", "f1"], each, strict=True)),
        "roc_auc": np.mean([pairs_won(y == k, p[:, k]) for k in range(5)]),
        "average_precision": np.mean([precision_by_threshold(y == k, p[:, k]) for k in range(5)]),
        "balanced_accuracy": each[1],
        "confusion_matrix": confusion(y, said, 5),
    }


def data_for(kind, rng, rows=203):
    x = rng.normal(size=(rows, 4))
    y = {"classes": rng.integers(0, 5, rows), "binary": rng.integers(0, 2, rows),
         "numbers": rng.normal(size=(rows, 3))}[kind]  # fmt: skip
    return x, y


@pytest.mark.parametrize(("kind", "end"), [(k, end) for k, c in EVERY.items() for end in c[2]])
def test_every_metric_by_its_definition(kind, end, rng):
    loss, units, _, wanted = EVERY[kind]
    x, y = data_for(kind, rng)
    model = network(loss, units, end, metrics=wanted)
    want = expected(kind, x, y, model, end)
    found = model.evaluate(x, y, batch_size=50)
    trained = model.fit(x, y, batch_size=64, validation_data=(x, y), verbose=0).history
    assert list(found) == ["loss", *want]
    for name, value in want.items():
        assert_close(found[name], value, 1e-12, name)
        assert_close(trained[name][0], value, 1e-12, name)
        assert_close(trained[f"val_{name}"][0], value, 1e-12, name)
        with pytest.raises(AssertionError):
            assert_close(found[name], np.asarray(value) + 1e-3, 1e-12)


def test_probabilities_as_targets_count_as_their_largest(rng):
    x, y = data_for("classes", rng)
    model = network("crossentropy", 5, metrics=EVERY["classes"][3])
    one, other = model.evaluate(x, y), model.evaluate(x, np.eye(5)[y])
    for name in one:
        assert_close(one[name], other[name], 1e-12, name)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_averages(average, rng):
    x, y = data_for("classes", rng)
    wanted = [metrics.Precision(average), metrics.Recall(average), metrics.F1(average)]
    model = network("crossentropy", 5, metrics=wanted)
    said = model.predict(x).argmax(1)
    each, support = by_class(y, said, 5), np.bincount(y, minlength=5)
    want = {
        "macro": each.mean(1), "weighted": each @ support / support.sum(),
        "micro": np.full(3, (y == said).mean()),
    }[average]  # fmt: skip
    found = model.evaluate(x, y)
    assert_close([found[name] for name in ("precision", "recall", "f1")], want, 1e-12)


def test_thresholds_are_of_probabilities(rng):
    x, y = data_for("binary", rng)
    for end in ("sigmoid", None):
        wanted = [metrics.Precision(threshold=0.7), metrics.BinaryAccuracy(0.7)]
        model = network("binary_crossentropy", 1, end, metrics=wanted)
        output = model.predict(x)[:, 0]
        said = (output if end else 1 / (1 + np.exp(-output))) > 0.7
        found = model.evaluate(x, y)
        assert_close(found["binary_accuracy"], (said == (y > 0.5)).mean(), 1e-12)
        assert_close(found["precision"], y[said].mean() if said.any() else 0, 1e-12)


def test_function_of_the_users_sees_all_rows_once_an_epoch(rng):
    x, y = data_for("numbers", rng)
    calls = []

    def worst(y_true, y_pred):
        calls.append((y_true, y_pred))
        return np.abs(y_true - y_pred).max()

    model = network("mse", 3, metrics=[worst, "mae"])
    history = model.fit(x, y, epochs=2, batch_size=32, verbose=0).history
    want = np.abs(model.predict(x) - y).max()
    assert_close(history["worst"], [want, want], 1e-12)
    assert [call[0].shape for call in calls] == [(203, 3)] * 2
    order = np.lexsort(calls[0][0].T)  # in the order of training
    assert_close(calls[0][0][order], y[np.lexsort(y.T)], 0)


def test_labels_reach_a_function_as_they_are(rng):
    x, y = data_for("classes", rng)
    model = network("crossentropy", 5, metrics=[lambda t, p: float((t == p.argmax(1)).mean())])
    found = model.evaluate(x, y)
    assert_close(found["<lambda>"], (model.predict(x).argmax(1) == y).mean(), 1e-12)


def test_training_is_the_same_with_and_without(rng, team):
    x, y = data_for("classes", rng)
    made = []
    for workers, wanted in [(1, []), (1, EVERY["classes"][3]), (2, EVERY["classes"][3])]:
        team(workers)
        model = network("crossentropy", 5, metrics=wanted)
        model.optimizer.learning_rate = 0.1
        model.fit(x, y, epochs=3, verbose=0)
        made.append((weights_as_bytes(model), model.history.history))
    assert made[0][0] == made[1][0] == made[2][0]
    assert_close(made[0][1]["loss"], made[1][1]["loss"], 1e-14)
    for name, values in made[1][1].items():
        assert_close(made[2][1][name], values, 0, name)


def test_of_several_outputs_each_has_its_own(rng):
    x = fnn.Input((4,))
    model = fnn.Model(x, [fnn.Dense(3, name="a")(x), fnn.Dense(2, name="b")(x)], dtype="float64")
    model.compile("sgd", ["crossentropy", "mse"], [["f1", "confusion_matrix"], ["r2"]])
    rows, y = rng.normal(size=(50, 4)), [rng.integers(0, 3, 50), rng.normal(size=(50, 2))]
    found = model.evaluate(rows, y)
    a, b = model.predict(rows)
    names = ["loss", "a_loss", "b_loss", "a_f1", "a_confusion_matrix", "b_r2"]
    assert list(found) == names
    assert_close(found["a_f1"], by_class(y[0], a.argmax(1), 3)[2].mean(), 1e-12)
    error = ((b - y[1]) ** 2).sum(0) / ((y[1] - y[1].mean(0)) ** 2).sum(0)
    assert_close(found["b_r2"], 1 - error.mean(), 1e-12)


def test_batches_and_weights_and_shapes_that_are_not_flat(rng):
    x, y = data_for("numbers", rng)
    model = fnn.Sequential([fnn.Dense(6), fnn.Reshape((2, 3))], input_shape=(4,), seed=0)
    model.compile("sgd", "mse", ["r2", "rmse", lambda t, p: float(np.shape(t) == np.shape(p))])
    y = rng.normal(size=(203, 2, 3))
    whole = model.evaluate(x, y, np.ones(203))
    parts = model.evaluate([(x[:100], y[:100]), (x[100:], y[100:])])
    assert whole["<lambda>"] == 1
    for name in whole:
        assert_close(parts[name], whole[name], 1e-6, name)


def test_results_that_are_not_numbers_are_kept_and_not_printed(rng, capsys, tmp_path):
    x, y = data_for("classes", rng)
    model = network("crossentropy", 5, metrics=["confusion_matrix"])
    log = fnn.CSVLogger(tmp_path / "log.csv")
    history = model.fit(x, y, epochs=2, verbose=2, callbacks=[log])
    assert history.history["confusion_matrix"][1].shape == (5, 5)
    assert "confusion" not in capsys.readouterr().err
    assert "confusion" not in (tmp_path / "log.csv").read_text()
    assert "confusion" not in repr(history)


def test_batch_hooks_get_what_a_batch_can_tell(rng):
    seen = []

    class Watch(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            seen.append(logs)

    x, y = data_for("numbers", rng)
    model = network("mse", 3, metrics=["rmse", "r2"])
    model.fit(x, y, batch_size=100, shuffle=False, verbose=0, callbacks=[Watch()])
    assert [list(logs) for logs in seen] == [["loss", "rmse"]] * 3
    assert_close(seen[0]["rmse"], np.sqrt(seen[0]["loss"]), 1e-12)
    assert "r2" in model.history.history


def test_early_stopping_may_watch_one(rng):
    x, y = data_for("binary", rng)
    model = network("binary_crossentropy", 1, metrics=["roc_auc"])
    stop = fnn.EarlyStopping("val_roc_auc", mode="max", patience=2)
    model.fit(x, y, epochs=10, validation_data=(x, y), callbacks=[stop], verbose=0)
    assert len(model.history.epoch) == 3


def test_saved_with_those_that_have_a_name(tmp_path, rng):
    model = network("crossentropy", 5, metrics=[*EVERY["classes"][3], lambda t, p: 0.0])
    model.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="the metric function '<lambda>', which is not known"):
        found = fnn.load(tmp_path / "m").network.objective.metrics
    assert found == model.network.objective.metrics[:-1]


def test_edges():
    none = np.zeros(3, bool)
    assert np.isnan(metrics.ROCAUC().compute(Collected(none, np.ones((3, 1)), True, False)))
    assert metrics.Precision().compute(Collected(none, np.zeros((3, 1)), True, False)) == 0
    same = Collected(np.ones((3, 1)), np.ones((3, 1)), True, False)
    assert metrics.R2().compute(same) == 1
    assert metrics.R2().compute(Collected(np.ones((3, 1)), np.zeros((3, 1)), True, False)) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.compile("sgd", "mse", ["mae", "mae"]), ValueError,
         "metrics must have names of their own, got 'mae' twice"),
        (lambda m: metrics.TopKAccuracy(0), ValueError, "k must be a positive integer, got 0"),
        (lambda m: metrics.F1("mean"), ValueError, "average must be one of macro, micro, weighted"),
        (lambda m: metrics.Recall(threshold=1), ValueError, "threshold must be"),
        (lambda m: metrics.get("auc_roc"), ValueError, "unknown metric 'auc_roc'"),
        (lambda m: metrics.get(3), TypeError, "metric must be a name or a Metric, got 3"),
        (lambda m: metrics.Function(3), TypeError, r"function must be a function of \(y_true"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, message):
    model = network("mse", 3)
    with unchanged(model), pytest.raises(error, match=message):
        call(model)


@pytest.mark.parametrize(
    ("loss", "units", "metric", "message"),
    [
        ("crossentropy", 3, "r2", "'r2' compares numbers, but y holds class labels"),
        ("binary_crossentropy", 3, "confusion_matrix", "for classes or for one output, got 3"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_the_first_step(
    rng, loss, units, metric, message
):
    x, labels = rng.normal(size=(8, 4)), rng.integers(0, 2, 8)
    y = labels if loss == "crossentropy" else rng.integers(0, 2, (8, units))
    model = network(loss, units, metrics=[metric])
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)


def test_an_epoch_without_a_step_has_no_results(rng):
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))

    def stop(step, logs):
        model.stop_training = True

    for names in ([], ["r2"]):
        model = network("mse", 2, metrics=names)
        history = model.fit(
            x, y, epochs=3, verbose=0, callbacks=[fnn.LambdaCallback(on_train_batch_begin=stop)]
        )
        assert history.history == {}


def test_batches_may_bring_labels_or_probabilities(rng):
    x, y = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
    model = network("crossentropy", 3, metrics=["f1", "confusion_matrix", "accuracy"])
    mixed = [(x[:7], y[:7]), (x[7:], np.eye(3)[y[7:]])]
    want = model.evaluate(x, y)
    for batches in (mixed, mixed[::-1]):
        got = model.evaluate(batches)
        for name, value in want.items():
            assert_close(np.asarray(got[name]), np.asarray(value), 1e-12)


@pytest.mark.parametrize("result", ["as text", None, {"a": 1}, np.ones(2)])
def test_a_function_may_return_what_is_no_number(rng, result, capsys):
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))

    def mine(y_true, y_pred):
        return result

    model = network("mse", 2, metrics=[mine])
    history = model.fit(x, y, verbose=2)
    assert history.history["mine"][0] is result
    assert "mine" not in repr(history)
    assert "mine" not in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"monitor must be .* one number, but 'mine' gave a"):
        model.fit(x, y, verbose=0, callbacks=[fnn.EarlyStopping("mine", mode="min")])


def test_decisions_of_the_hinge_loss_are_those_of_the_sign():
    """Outputs -0.4, 0.2, 0.3, 0.4, 2.0 for labels -1, 1, 1, 1, 1: at 1/2 two of five are right."""
    scores = np.array([[-0.4], [0.2], [0.3], [0.4], [2.0]])
    labels = np.array([-1, 1, 1, 1, 1])
    model = fnn.Sequential([fnn.Activation("linear")], input_shape=(1,), dtype="float64")
    names = ["accuracy", "binary_accuracy", "f1", "precision", "recall", "confusion_matrix"]
    model.compile("sgd", "hinge", names)
    found = model.evaluate(scores, labels)
    np.testing.assert_array_equal(found.pop("confusion_matrix"), [[1, 0], [0, 4]])
    assert found.pop("loss") == pytest.approx((0.6 + 0.8 + 0.7 + 0.6 + 0) / 5)
    assert found == dict.fromkeys(names[:-1], 1.0)
    wrong = model.evaluate(scores, -labels)
    assert {name: wrong[name] for name in names[:-1]} == dict.fromkeys(names[:-1], 0.0)


def two_outputs():
    x = fnn.Input((3,))
    outputs = [fnn.Dense(1, name="accel")(x), fnn.Dense(4, name="digit")(x)]
    model = fnn.Model(x, outputs)

    def accuracy_of_mine(y_true, y_pred):
        return 0.0

    model.compile(
        "adam", {"accel": "mse", "digit": "crossentropy"},
        {"accel": ["mae", "r2", accuracy_of_mine],
         "digit": ["f1", "top_k_accuracy", "confusion_matrix",
                   metrics.Function(lambda y_true, y_pred: 0.0, direction="max")]},
    )  # fmt: skip
    return model


@pytest.mark.parametrize(
    ("result", "direction"),
    [
        ("loss", "min"),
        ("val_loss", "min"),
        ("accel_loss", "min"),
        ("val_accel_loss", "min"),
        ("accel_mae", "min"),
        ("val_accel_r2", "max"),
        ("accel_accuracy_of_mine", None),
        ("digit_f1", "max"),
        ("val_digit_top_5_accuracy", "max"),
        ("digit_confusion_matrix", None),
        ("digit_<lambda>", "max"),
        ("accuracy", None),
        ("learning_rate", None),
    ],
)
def test_the_direction_of_a_result_is_that_of_its_metric(result, direction):
    model = two_outputs()
    outputs = model.network.runtime.objective.outputs
    assert metrics.direction_of(result, outputs, model.output_names) == direction


def test_the_direction_of_a_result_of_one_output():
    model = fnn.Sequential([fnn.Dense(1, name="val")], input_shape=(3,))
    model.compile("adam", "mse", ["rmse", "r2"])
    for result, direction in {"loss": "min", "val_rmse": "min", "r2": "max", "val_x": None}.items():
        found = metrics.direction_of(
            result, model.network.runtime.objective.outputs, model.output_names
        )
        assert found == direction


@pytest.mark.parametrize("name", list(metrics.registry))
def test_every_metric_has_a_direction_but_the_matrix(name):
    direction = metrics.get(name).direction
    assert direction in (("min", "max") if name != "confusion_matrix" else (None,))
    with pytest.raises(ValueError, match="direction must be 'min' or 'max', got 'up'"):
        metrics.Function(np.mean, direction="up")


def test_metrics_that_do_not_suit_the_output(rng):
    x = rng.normal(size=(6, 4))
    model = network("crossentropy", 3, metrics=["binary_accuracy"])
    with pytest.raises(ValueError, match="'binary_accuracy' is for outputs that count by themselv"):
        model.evaluate(x, rng.integers(0, 3, 6))
    model = network("mse", 1, metrics=[metrics.TopKAccuracy(2)])
    with pytest.raises(ValueError, match="'top_k_accuracy' needs an output for each class"):
        model.evaluate(x, np.ones(6))
