"""The facts that a loss declares: the best constant prediction, and the decision threshold."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import losses
from fastnn.program.ops import Value

COUNTS = np.array([[0.0, 3.0], [2.0, 1.0], [5.0, 0.0], [1.0, 1.0], [9.0, 1.0]])
SHARES = np.array([[0.5, 0.5, 0.0], [0.1, 0.0, 0.9], [0.2, 0.7, 0.1]])
TARGETS = {
    **dict.fromkeys(("mse", "mae", "huber", "log_cosh", "quantile", "poisson"), COUNTS),
    "hinge": np.where(COUNTS > 1, 1.0, -1.0),
    "binary_crossentropy": COUNTS / 9,
    "crossentropy": SHARES,
    "kl_divergence": SHARES,
}
OTHERS = {
    "quantile": losses.Quantile(0.8),
    "huber": losses.Huber(0.5),
}


def loss_of(loss, prediction, targets):
    """The loss of a constant prediction, computed by a model that ends with the loss's link."""
    model = fnn.Sequential(
        [fnn.Activation(loss.link or "linear")], input_shape=prediction.shape, dtype="float64"
    )
    model.compile("sgd", loss)
    undo = {None: lambda p: p, "sigmoid": lambda p: np.log(p / (1 - p)), "softmax": np.log,
            "exponential": np.log}[loss.link]  # fmt: skip
    rows = np.tile(undo(prediction), (len(targets), 1))
    return model.evaluate(rows, targets)["loss"]


@pytest.mark.parametrize("name", list(losses.registry))
def test_the_best_constant_has_the_least_loss(name, rng):
    loss, targets = OTHERS.get(name, losses.get(name)), TARGETS[name]
    best = loss.best_constant(targets)
    assert best.prediction.shape == targets.shape[1:]
    assert loss_of(loss, best.prediction, targets) == pytest.approx(best.loss, rel=1e-9)
    for _ in range(50):
        noise = 0.3 * rng.normal(size=best.prediction.shape)
        other = best.prediction + noise if loss.link is None else best.prediction * np.exp(noise)
        other = np.minimum(other, 0.999) if loss.link == "sigmoid" else other
        other = other / other.sum() if loss.link == "softmax" else other
        assert loss_of(loss, other, targets) >= best.loss * (1 - 1e-12)


def test_the_best_constant_of_labels_is_their_shares():
    best = losses.get("crossentropy").best_constant(np.array([0, 1, 2, 2]))
    np.testing.assert_array_equal(best.prediction, [0.25, 0.25, 0.5])
    assert best.loss == pytest.approx(1.5 * np.log(2))


def test_it_is_not_known_of_every_loss():
    for cls in (losses.Crossentropy, losses.BinaryCrossentropy):
        assert cls(label_smoothing=0.1).best_constant(SHARES) is None
    own = losses.Custom(lambda t, p: (t - p) ** 2, lambda t, p: 2 * (p - t))
    assert own.best_constant(COUNTS) is None


@pytest.mark.parametrize("name", list(losses.registry))
def test_where_a_yes_begins(name):
    loss = losses.get(name)
    one, several = (Value("output", shape) for shape in ((1,), (3,)))
    number, label = Value("target", (1,)), Value("target", (), dtype="label")
    begins = {"binary_crossentropy": 0.0, "hinge": 0.0}.get(name, 0.5)
    assert loss.threshold(one, number) == begins
    assert loss.threshold(several, number) == (0.0 if name == "binary_crossentropy" else None)
    if loss.takes_labels:
        assert loss.threshold(one, label) is None


def test_hinge_says_how_to_write_its_targets():
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(2,))
    model.compile("sgd", "hinge")
    with pytest.raises(ValueError, match=r"y must be -1 or 1 for this loss, got 0; use 2 \* y - 1"):
        model.fit(np.ones((4, 2)), np.array([0, 1, 1, 0]), verbose=0)


@pytest.mark.parametrize(
    ("activation", "loss", "units"),
    [("softmax", "crossentropy", 3), ("sigmoid", "binary_crossentropy", 1)],
)
@pytest.mark.parametrize("reshape", [False, True])
def test_dropout_between_a_link_and_its_loss(activation, loss, units, reshape):
    """The loss starts from the logits, and would ignore the dropout."""
    layers = [fnn.Dense(units, activation), fnn.Dropout(0.5)]
    if reshape:
        layers.append(fnn.Reshape((units,)))
    model = fnn.Sequential(layers, input_shape=(4,))
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=f"ends with Dropout after {activation}, .* put the"):
        model.fit(np.ones((6, 4)), np.ones((6, units)) / units, verbose=0)


def test_a_reshape_between_a_link_and_its_loss_changes_nothing(rng):
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    found = []
    for more in ([], [fnn.Reshape((3,))]):
        model = fnn.Sequential([fnn.Dense(3, "softmax"), *more], input_shape=(4,), seed=0)
        model.compile("adam", "crossentropy")
        found.append((model.fit(x, y, epochs=3, verbose=0).history, model.evaluate(x, y)))
    assert found[0] == found[1]


def test_a_loss_of_numbers_takes_no_labels():
    class Labelled(losses.MeanSquaredError):
        takes_labels = True

    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    model.compile("sgd", Labelled())
    with pytest.raises(ValueError, match="loss 'mse' compares numbers, but y holds class labels"):
        model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
