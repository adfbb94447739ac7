"""Models with several outputs: losses and their weights, metrics, predict, custom loops."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn


def network(loss=("crossentropy", "mse"), dtype="float64", **options):
    """A trunk with a classifier and a regression head."""
    x = fnn.Input((5,))
    h = fnn.Dense(8, "tanh")(x)
    kind = fnn.Dense(3, "softmax", name="kind")(h)
    size = fnn.Dense(2, name="size")(h)
    model = fnn.Model(x, [kind, size], dtype=dtype, seed=3)
    model.compile(fnn.SGD(0.1), list(loss) if isinstance(loss, tuple) else loss, **options)
    return model


@pytest.fixture
def given(rng):
    return rng.normal(size=(23, 5)), [rng.integers(0, 3, 23), rng.normal(size=(23, 2))]


def by_hand(model, x, y):
    p, size = model.predict(x)
    return -np.log(p[np.arange(len(x)), y[0]]).mean(), ((size - y[1]) ** 2).mean()


def test_predict_returns_a_list_in_the_order_of_the_outputs(given):
    model = network()
    x, _ = given
    assert model.output_names == ["kind", "size"]
    assert model.output_shape == [(3,), (2,)]
    outputs = model.predict(x)
    assert [o.shape for o in outputs] == [(23, 3), (23, 2)]
    assert_close(outputs[0].sum(axis=1), np.ones(23), 1e-12)
    for one, all_rows in zip(model.predict_one(x[4]), outputs, strict=True):
        assert_same_bits(one, all_rows[4])
    for training in (False, True):
        for one, other in zip(model.forward(x, training=training), outputs, strict=True):
            assert_close(one, other, 1e-14)


def test_loss_is_the_weighted_sum_and_each_has_its_name(given):
    model = network(loss_weights=[0.5, 2.0], metrics=[["accuracy"], ["mae"]])
    x, y = given
    first, second = by_hand(model, x, y)
    results = model.evaluate(x, y)
    assert list(results) == ["loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae"]
    assert_close(results["kind_loss"], first, 1e-12)
    assert_close(results["size_loss"], second, 1e-12)
    assert_close(results["loss"], 0.5 * first + 2 * second, 1e-12)
    assert_close(results["kind_accuracy"], (model.predict(x)[0].argmax(1) == y[0]).mean(), 1e-12)
    assert_close(model.train_on_batch(x, y), 0.5 * first + 2 * second, 1e-12)


@pytest.mark.parametrize("weights", [None, [0.3, 1.7], {"size": 0.0, "kind": 1.0}])
def test_gradcheck(weights, given):
    assert fnn.gradcheck(network(loss_weights=weights), *given)


def test_output_without_weight_leaves_its_layer_alone(given):
    model = network(loss_weights={"kind": 1.0, "size": 0.0})
    before = model.layers[-1].kernel.copy()
    model.fit(*given, epochs=2, verbose=0)
    assert_same_bits(model.layers[-1].kernel, before)
    assert (model.layers[1].kernel != network().layers[1].kernel).any()


def test_lists_and_dicts_are_the_same(given):
    x, y = given
    a = network({"size": "mse", "kind": "crossentropy"}, loss_weights={"size": 2, "kind": 1},
                metrics={"kind": ["accuracy"]})  # fmt: skip
    b = network(loss_weights=[1, 2], metrics=[["accuracy"], None])
    a.fit(x, {"size": y[1], "kind": y[0]}, epochs=2, validation_split=0.3, verbose=0)
    b.fit(x, y, epochs=2, validation_split=0.3, verbose=0)
    assert a.history.history == b.history.history
    assert "val_kind_accuracy" in a.history.history
    assert weights_as_bytes(a) == weights_as_bytes(b)


def test_own_loop_makes_the_step_of_train_on_batch(given):
    x, y = given
    own, plain = network("mse"), network("mse")
    y = [np.eye(3)[y[0]], y[1]]
    outputs = own.forward(x, training=True)
    own.backward([2 * (o - t) / o.size for o, t in zip(outputs, y, strict=True)])
    own.apply_gradients()
    plain.train_on_batch(x, y)
    for a, b in zip(own.get_weights(), plain.get_weights(), strict=True):
        assert_close(a, b, 1e-12)


def test_saved_with_losses_weights_and_metrics(given, tmp_path):
    model = network(loss_weights=[1, 0.5], metrics=[["accuracy"], []])
    model.fit(*given, verbose=0)
    model.save(tmp_path / "m")
    again = fnn.load(tmp_path / "m")
    assert again.network.runtime.objective == model.network.runtime.objective
    model.fit(*given, verbose=0)
    again.fit(*given, verbose=0)
    assert weights_as_bytes(again) == weights_as_bytes(model)


def test_learn_one_goes_the_plain_way(given):
    x, y = given
    one, plain = network(), network()
    for i in range(3):
        loss = one.learn_one(x[i], [y[0][i], y[1][i]])
        assert loss == plain.train_on_batch(x[i : i + 1], [y[0][i : i + 1], y[1][i : i + 1]])
    assert weights_as_bytes(one) == weights_as_bytes(plain)


def test_one_tensor_may_be_two_outputs(rng):
    x = fnn.Input((4,))
    h = fnn.Dense(2)(x)
    model = fnn.Model(x, [h, h], dtype="float64", seed=0)
    assert model.output_names == ["dense", "dense_1"]
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(2, 6, 2))
    assert fnn.gradcheck(model, x, list(y))
    assert_same_bits(*model.predict(x))


def test_intermediate_value_may_be_an_output(rng):
    x = fnn.Input((4,))
    h = fnn.Dense(3, "relu")(x)
    model = fnn.Model(x, [h, fnn.Dense(2)(h), x], dtype="float64", seed=0)
    x = rng.normal(size=(5, 4))
    hidden, end, same = model.predict(x)
    assert_close(end, hidden @ model.layers[1].kernel, 1e-14)
    assert_same_bits(same, x)


def test_any_number_of_workers_gives_the_same_bits(given, team):
    made = []
    for workers in (1, 2, 4):
        team(workers)
        model = network(dtype="float32", loss_weights=[0.5, 2])
        model.fit(*given, batch_size=8, epochs=3, verbose=0)
        made.append(weights_as_bytes(model))
    assert made[0] == made[1] == made[2]


X, Y = np.zeros((6, 5)), [np.zeros(6, int), np.zeros((6, 2))]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.fit(X, Y[0]), ValueError,
         r"y must be a list of 2, one for each output \(kind, size\), or a dict .* got ndarray"),
        (lambda m: m.fit(X, {"kind": Y[0]}), ValueError,
         "y must have the entries kind, size, got kind"),
        (lambda m: m.fit(X, [Y[0], np.zeros((6, 3))]), ValueError,
         r"y\['size'\] must have shape \(rows, 2\), got \(6, 3\)"),
        (lambda m: m.fit(X, [Y[0], np.zeros((5, 2))]), ValueError,
         r"y\['size'\] must have as many rows as x, 6, got 5"),
        (lambda m: m.fit(X, Y, class_weight={0: 1}), ValueError, "class_weight is for models of"),
        (lambda m: m.compile("sgd", ["mse"]), ValueError, "loss must be a list of 2, one for each"),
        (lambda m: m.compile("sgd", "mse", loss_weights=[1]), ValueError, "loss_weights must be a"),
        (lambda m: m.compile("sgd", "mse", loss_weights=[1, -1]), ValueError,
         "loss_weights must be a finite number of at least 0, got -1"),
        (lambda m: m.compile("sgd", "mse", {"other": ["mae"]}), ValueError,
         "metrics must be for the outputs kind, size, got other"),
        (lambda m: m.compile("sgd", "mse", 3), TypeError, "metrics must be a metric or a list"),
        (lambda m: m.learn_one(X[0], 3), ValueError, "y must be a list of 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, message):
    model = network()
    with unchanged(model), pytest.raises(error, match=message):
        call(model)
