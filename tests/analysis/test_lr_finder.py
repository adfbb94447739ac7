"""`Model.find_learning_rate`: what it finds, what it draws, and that it changes nothing."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from model_helpers import unchanged

import fastnn as fnn
from fastnn.analysis.lr_finder import LearningRateFinder, _suggestion


def quadratic(scale=1.0, rows=256):
    """Least squares, full batches: gradient descent converges below 2 / (largest eigenvalue)."""
    rng = np.random.default_rng(0)
    x = scale * rng.normal(size=(rows, 6))
    y = x @ rng.normal(size=6)
    model = fnn.Sequential(
        [fnn.Dense(1, use_bias=False)], input_shape=(6,), dtype="float64", seed=0
    )
    model.compile("sgd", "mse")
    return model, x, y, 2 / np.linalg.eigvalsh(2 * x.T @ x / rows).max()


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_rate_lies_below_where_it_diverges(scale):
    model, x, y, limit = quadratic(scale)
    found = model.find_learning_rate(x, y, batch_size=256, max_rate=1e4)
    assert 0.003 * limit < found.suggestion < limit
    assert found.rates[-1] > limit
    assert re.fullmatch(r"the (smoothed loss exploded|loss is not finite) at .*", found.stop_reason)
    # the loss falls there, and rises at a rate that is too large
    model.optimizer.learning_rate = found.suggestion
    losses = model.fit(x, y, batch_size=256, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model, x, y, limit = quadratic(scale)
    model.optimizer.learning_rate = 1.1 * limit
    losses = model.fit(x, y, batch_size=256, epochs=40, verbose=0).history["loss"]
    assert losses[-1] > losses[20]


@pytest.mark.parametrize(
    ("optimizer", "least", "most"),
    [("adam", 1e-3, 0.05), ("sgd", 0.03, 1.0), (fnn.SGD(0.1, momentum=0.9), 3e-3, 0.2)],
)
def test_digits(optimizer, least, most):
    x, y = fnn.datasets.load_digits()
    model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(10)], input_shape=(64,), seed=0)
    model.compile(optimizer, "crossentropy")
    found = model.find_learning_rate(x / 16, y)
    assert least < found.suggestion < most


def test_the_losses_are_those_of_training_at_these_rates():
    model, x, y, _ = quadratic()
    found = model.find_learning_rate(x, y, batch_size=100, steps=20, min_rate=1e-3, max_rate=1e-2)
    np.testing.assert_allclose(found.rates, 1e-3 * 10 ** (np.arange(20) / 19), rtol=1e-12)
    generator = np.random.default_rng(0)
    order = np.concatenate([generator.permutation(256) for _ in range(8)])
    for step in range(20):
        model.optimizer.learning_rate = found.rates[step]
        rows = order[100 * step : 100 * (step + 1)]
        assert model.train_on_batch(x[rows], y[rows]) == found.losses[step]
    weights = 0.9 ** np.arange(20)[::-1]
    assert found.smoothed[-1] == pytest.approx(weights @ found.losses / weights.sum())
    assert found.stop_reason == "all 20 steps made"


def test_it_goes_on_from_the_optimizer_state_and_step():
    model, x, y, _ = quadratic()
    model.compile("adam", "mse")
    model.fit(x, y, epochs=2, verbose=0)
    found = model.find_learning_rate(x, y, batch_size=256, steps=10, min_rate=1e-4, max_rate=1e-2)
    order = np.random.default_rng(0)
    for rate, loss in zip(found.rates, found.losses, strict=True):
        rows = order.permutation(256)
        model.optimizer.learning_rate = rate
        assert model.train_on_batch(x[rows], y[rows]) == loss


def trained():
    x, y = fnn.datasets.load_digits()
    model = fnn.Sequential(
        [fnn.Dense(8, "relu"), fnn.Dropout(0.3), fnn.Dense(10)], input_shape=(64,), seed=0
    )
    model.compile("adam", "crossentropy", ["accuracy"])
    model.fit(x, y, verbose=0)
    return model, x, y


def test_nothing_is_changed():
    model, x, y = trained()
    rate = model.optimizer.learning_rate
    with unchanged(model):
        first = model.find_learning_rate(x, y)
        second = model.find_learning_rate(x, y)
    assert model.optimizer.learning_rate == rate
    np.testing.assert_array_equal(first.losses, second.losses)
    twin, _, _ = trained()
    assert model.fit(x, y, verbose=0).history == twin.fit(x, y, verbose=0).history


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_rate": 0}, "min_rate must be a positive number, got 0"),
        ({"min_rate": 1, "max_rate": 1}, "min_rate must be below max_rate, got 1 and 1"),
        ({"steps": 5}, "steps must be an integer of at least 10, got 5"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
    ],
)
def test_bad_arguments(options, message):
    model, x, y = trained()
    with unchanged(model), pytest.raises(ValueError, match=f"^{message}"):
        model.find_learning_rate(x, y, **options)


def test_an_error_on_the_way_leaves_the_model_alone(monkeypatch):
    from fastnn.runtime import Run

    model, x, y = trained()
    make, calls = Run.make, []

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return make(self, *args, **options)

    with unchanged(model):
        monkeypatch.setattr(Run, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.find_learning_rate(x, y)
        monkeypatch.undo()
        assert len(calls) == 7


def test_a_loss_that_is_not_finite_ends_it():
    model, x, y, _ = quadratic()
    found = model.find_learning_rate(x, y, batch_size=256, min_rate=1e200, max_rate=1e300)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 5
    assert found.stop_reason.startswith("the loss is not finite at 2")
    assert found.suggestion is None
    assert "no suggestion: the loss never falls" in repr(found)


@pytest.mark.parametrize("place", [60, 120, 240])
def test_suggestion_of_a_step_down(place):
    """A smooth descent with noise: the middle of the descent is the steepest."""
    rates, i = np.geomspace(1e-6, 10, 300), np.arange(300)
    losses = 1 / (1 + np.exp((i - place) / 8)) + 0.02 * np.random.default_rng(0).normal(size=300)
    found = _suggestion(rates, losses, 300)
    assert abs(np.log(found / rates[place])) < 8 * np.log(rates[1] / rates[0])
    assert _suggestion(rates, -losses[::-1] * 0 + i, 300) is None, "a rise is not a descent"


# --- display --------------------------------------------------------------------------------------


def test_repr():
    assert repr(
        LearningRateFinder(np.array([1e-6, 0.1]), np.ones(2), np.ones(2), 0.0123, "stopped")
    ) == ("<LearningRateFinder of 2 rates from 1e-06 to 0.1: suggestion 0.012; stopped>")


def test_repr_without_a_rate():
    empty = LearningRateFinder(np.empty(0), np.empty(0), np.empty(0), None, "not finite at 1")
    assert repr(empty) == (
        "<LearningRateFinder of 0 rates: no suggestion: the loss never falls; not finite at 1>"
    )


def test_plot():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    model, x, y = trained()
    found = model.find_learning_rate(x, y, steps=60)
    ax = figure.subplots()
    assert found.plot(ax=ax) is ax
    figure.canvas.draw()
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "learning rate (log scale)")
    assert ax.get_ylabel() == "loss"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:2] == ["loss of a batch", "smoothed"]
    if found.suggestion is not None:
        assert labels[2] == f"falls most steeply: {found.suggestion:.2g}"
        assert ax.lines[-1].get_xdata()[0] == found.suggestion
    empty = LearningRateFinder(np.empty(0), np.empty(0), np.empty(0), None, "not finite at 1")
    with pytest.raises(ValueError, match="no step to draw: not finite at 1"):
        empty.plot(ax=figure.subplots())
    assert math.isfinite(ax.get_ylim()[1])
