"""Sample weights and class weights: compared with the loss by hand, and with copies of samples."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn

LOSSES = {
    "mse": lambda rng, n: rng.normal(size=(n, 3)),
    "crossentropy": lambda rng, n: rng.integers(0, 3, n),
    "binary_crossentropy": lambda rng, n: rng.integers(0, 2, (n, 3)),
    "kl_divergence": lambda rng, n: rng.dirichlet(np.ones(3), n),
}


def network(loss, **options):
    layers = [fnn.Dense(6, "tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(4,), dtype="float64", seed=1)
    model.compile(fnn.SGD(0.1), loss, **options)
    return model


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_that_are_whole_numbers_are_copies_of_samples(loss, rng):
    x, y = rng.normal(size=(10, 4)), LOSSES[loss](rng, 10)
    copies = rng.integers(0, 4, 10)
    once, often = network(loss), network(loss)
    # The loss is divided by the number of rows, weighted or not.
    scale = copies.sum() / 10
    weighted = once.train_on_batch(x, y, copies)
    often.optimizer.learning_rate *= scale
    assert_close(weighted, scale * often.train_on_batch(x.repeat(copies, 0), y.repeat(copies, 0)),
                 1e-12)  # fmt: skip
    for a, b in zip(once.get_weights(), often.get_weights(), strict=True):
        assert_close(a, b, 1e-12)
    plain = network(loss)
    plain.train_on_batch(x, y)
    assert weights_as_bytes(plain) != weights_as_bytes(once)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_one_leave_the_bits(loss, rng):
    x, y = rng.normal(size=(30, 4)), LOSSES[loss](rng, 30)
    weighted, plain = network(loss), network(loss)
    weighted.fit(x, y, batch_size=8, epochs=3, sample_weight=np.ones(30), verbose=0)
    plain.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert weights_as_bytes(weighted) == weights_as_bytes(plain)
    assert weighted.history.history == plain.history.history


def test_loss_of_fit_and_evaluate_is_the_weighted_mean_and_metrics_are_not(rng):
    x, y, w = rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.random(30)
    model = network("mse", metrics=["mse"])
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, sample_weight=w, batch_size=7, validation_data=(x, y, 2 * w),
                        verbose=0).history  # fmt: skip
    each = ((model.predict(x) - y) ** 2).mean(axis=1)
    assert_close(history["loss"], [(w * each).mean()], 1e-12)
    assert_close(history["val_loss"], [2 * (w * each).mean()], 1e-12)
    assert_close(history["mse"], [each.mean()], 1e-12)
    assert_close(model.evaluate(x, y, w)["loss"], (w * each).mean(), 1e-12)


def test_class_weight_is_the_weight_of_its_samples(rng):
    x, labels = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    by_class = {0: 0.5, 2: 3.0}
    w = np.array([0.5, 1.0, 3.0])[labels]
    own = rng.random(20)
    for y in (labels, np.eye(3)[labels]):
        for more in (None, own):
            one, other = network("crossentropy"), network("crossentropy")
            one.train_on_batch(x, y, more, class_weight=by_class)
            other.train_on_batch(x, y, w if more is None else w * more)
            assert weights_as_bytes(one) == weights_as_bytes(other)


def test_validation_split_takes_the_weights_along(rng):
    x, y, w = rng.normal(size=(20, 4)), rng.normal(size=(20, 3)), rng.random(20)
    one, other = network("mse"), network("mse")
    one.fit(x, y, sample_weight=w, validation_split=0.25, verbose=0)
    other.fit(x[:15], y[:15], sample_weight=w[:15], validation_data=(x[15:], y[15:], w[15:]),
              verbose=0)  # fmt: skip
    assert one.history.history == other.history.history


def test_any_number_of_workers_gives_the_same_bits(team, rng):
    x, y, w = rng.normal(size=(64, 4)), rng.normal(size=(64, 3)), rng.random(64)
    made = []
    for workers in (1, 2, 3):
        team(workers)
        model = network("mse")
        model.fit(x, y, sample_weight=w, epochs=3, verbose=0)
        made.append(weights_as_bytes(model))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sample_weight": np.ones(9)}, ValueError,
         r"sample_weight must have shape \(10,\), one for each row, got \(9,\)"),
        ({"sample_weight": np.full(10, np.nan)}, ValueError, "sample_weight must hold finite"),
        ({"sample_weight": "heavy"}, TypeError, "sample_weight must hold real numbers, got str"),
        ({"class_weight": [1, 2]}, TypeError, "class_weight must be a dict of class to weight"),
        ({"class_weight": {"a": 1}}, TypeError, "class_weight must have integers as classes"),
        ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be a finite number of"),
    ],
)  # fmt: skip
def test_bad_weights_are_refused(options, error, message, rng):
    model = network("crossentropy")
    x, y = rng.normal(size=(10, 4)), rng.integers(0, 3, 10)
    for call in (model.fit, model.train_on_batch):
        with unchanged(model), pytest.raises(error, match=message):
            call(x, y, **options)


def test_class_weight_needs_classes(rng):
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,), seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="class_weight needs classes, but y holds numbers"):
        model.fit(rng.normal(size=(5, 4)), rng.normal(size=5), class_weight={0: 2}, verbose=0)
