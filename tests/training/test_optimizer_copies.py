"""One optimizer object given to several models: each takes a copy."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from model_helpers import weights_as_bytes

import fastnn as fnn


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    return x, x @ [1.0, 2.0, 3.0]


def compiled(optimizer):
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), dtype="float64", seed=0)
    model.compile(optimizer, "mse")
    return model


def test_folds_begin_with_the_rate_that_was_given():
    """A plateau lowers the rate of each fold by itself."""
    x, y = data()
    optimizer, first, last = fnn.Adam(1e-2), [], []
    for _ in range(3):
        model = compiled(optimizer)
        slow = fnn.ReduceLROnPlateau("loss", patience=1, min_delta=9.0, factor=0.1)
        rates = model.fit(x, y, epochs=4, verbose=0, callbacks=[slow]).learning_rates
        first.append(rates[0])
        last.append(rates[-1])
    assert first == [1e-2] * 3
    assert last == pytest.approx([1e-4] * 3)
    assert optimizer.learning_rate == 1e-2


def test_a_model_that_is_compiled_again_begins_with_what_it_is_given():
    optimizer = fnn.SGD(0.5)
    model = compiled(optimizer)
    model.optimizer.learning_rate = 0.25
    model.compile(model.optimizer, "mse")
    assert model.optimizer.learning_rate == 0.25
    model.compile(optimizer, "mse")
    assert model.optimizer.learning_rate == 0.5


def test_models_with_one_optimizer_train_alone():
    (x, y), optimizer = data(), fnn.Adam(0.01)
    one, other, twin = compiled(optimizer), compiled(optimizer), compiled(fnn.Adam(0.01))
    one.fit(x, y, epochs=3, verbose=0)
    one.optimizer.beta_1 = 0.5
    for model in (other, twin):
        model.fit(x, y, epochs=3, verbose=0)
    assert weights_as_bytes(other) == weights_as_bytes(twin)
    assert other.optimizer == fnn.Adam(0.01)


def test_what_is_set_on_the_object_that_was_given_reaches_its_models():
    (x, y), optimizer = data(), fnn.SGD(0.1)
    models = [compiled(optimizer), compiled(optimizer)]
    for model in models:
        model.learn_one(x[0], y[0])
        model.learn_one(x[0], y[0])  # the prepared path compares the settings
    optimizer.learning_rate = 0.0
    optimizer.momentum = 0.5
    before = [weights_as_bytes(model) for model in models]
    for model in models:
        assert model.optimizer.learning_rate == 0.0
        assert model.optimizer.momentum == 0.5
    models[0].compile(optimizer, "mse")  # the state of momentum is another
    models[0].fit(x, y, verbose=0)
    assert weights_as_bytes(models[0]) == before[0]
    with pytest.raises(RuntimeError, match="keeps other state than when compile was called"):
        models[1].fit(x, y, verbose=0)


def test_a_callback_that_holds_the_optimizer_sets_the_rate():
    (x, y), optimizer = data(), fnn.SGD(0.5)

    def halve(epoch, logs):
        optimizer.learning_rate /= 2

    model = compiled(optimizer)
    history = model.fit(
        x, y, epochs=3, verbose=0, callbacks=[fnn.LambdaCallback(on_epoch_begin=halve)]
    )
    assert history.learning_rates == [0.25, 0.125, 0.0625]


def test_rates_that_are_tried_one_after_the_other():
    optimizer, seen = fnn.SGD(), []
    for rate in (0.5, 0.25):
        optimizer.learning_rate = rate
        seen.append(compiled(optimizer).optimizer.learning_rate)
    assert seen == [0.5, 0.25]


def test_what_is_set_on_a_copy_that_was_compiled_in_reaches_the_copys_copies():
    first = compiled(fnn.SGD(0.5))
    kept = first.optimizer
    second = compiled(kept)
    kept.learning_rate = 0.125
    assert (first.optimizer.learning_rate, second.optimizer.learning_rate) == (0.125, 0.125)
    second.optimizer.learning_rate = 0.25
    assert first.optimizer.learning_rate == 0.125


def test_a_wrong_value_changes_neither():
    optimizer = fnn.SGD(0.5)
    model = compiled(optimizer)
    with pytest.raises(ValueError, match="learning_rate must be"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == model.optimizer.learning_rate == 0.5
    with pytest.raises(AttributeError, match="learning_rat'; did you mean"):
        optimizer.learning_rat = 0.1


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
def test_copies_of_a_given_optimizer_are_independent(copied):
    optimizer = fnn.Adam(0.5)
    model = compiled(optimizer)
    other = copied(optimizer)
    assert other == optimizer == model.optimizer
    assert repr(other) == repr(optimizer)
    other.learning_rate = 0.25
    assert (optimizer.learning_rate, model.optimizer.learning_rate) == (0.5, 0.5)


def test_models_that_are_gone_are_forgotten():
    optimizer = fnn.SGD(0.5)
    for _ in range(20):
        compiled(optimizer)
    gc.collect()
    model = compiled(optimizer)
    optimizer.learning_rate = 0.25
    assert model.optimizer.learning_rate == 0.25
    assert len(gc.get_referrers(model.optimizer)) < 20


def test_an_optimizer_of_ones_own_and_a_schedule():
    class Mine(fnn.SGD):
        def __init__(self, rate):
            super().__init__(rate)
            self.momentum = 0.5

    schedule = fnn.schedules.CosineDecay(0.1, 10)
    optimizer = Mine(schedule)
    one, other = compiled(optimizer), compiled(optimizer)
    assert type(one.optimizer) is Mine
    assert one.optimizer.learning_rate is schedule
    one.optimizer.learning_rate = 0.5
    assert other.optimizer.learning_rate is schedule
    optimizer.momentum = 0.25
    assert (one.optimizer.momentum, other.optimizer.momentum) == (0.25, 0.25)


def test_a_model_without_a_loss_takes_a_copy_too():
    optimizer = fnn.SGD(0.5)
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,))
    model.compile(optimizer)
    model.optimizer.learning_rate = 0.1
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = 0.2
    assert model.optimizer.learning_rate == 0.2


def test_copies_that_are_made_in_several_threads_all_hear_of_what_is_set():
    """Two threads that compile models with one optimizer must not forget each other's copy."""
    optimizer, number = fnn.Adam(1e-2), 300
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            copies = list(threads.map(lambda _: optimizer.copy(), range(4 * number)))
    finally:
        sys.setswitchinterval(interval)
    optimizer.learning_rate = 0.5
    assert sum(made.learning_rate != 0.5 for made in copies) == 0
