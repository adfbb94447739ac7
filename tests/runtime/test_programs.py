"""Programs of a runtime: when they are made, and which are kept."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn.program.purpose import Purpose

X = np.random.default_rng(0).normal(size=(300, 3))
Y = X[:, 0]


@pytest.fixture
def model():
    made = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(1)], input_shape=(3,), seed=0)
    made.compile("adam", "mse")
    return made


def test_batches_of_growing_size_need_few_programs(model, monkeypatch):
    runtime, made = model.network.runtime, []
    bind = type(runtime)._bind
    monkeypatch.setattr(
        type(runtime), "_bind", lambda self, *about: made.append(about[1]) or bind(self, *about)
    )
    for rows in range(10, 300, 10):  # episodes
        model.train_on_batch(X[:rows], Y[:rows])
    assert made == [10, 20, 40, 80, 160, 320]
    runtime.bound(Purpose.TRAIN, 5000)
    assert made[-1] == 5000


def test_a_larger_plan_computes_the_same(model):
    large = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(1)], input_shape=(3,), seed=0)
    large.compile("adam", "mse")
    for rows in (8, 9, 30):
        large.network.runtime.bound(Purpose.TRAIN, 300)
        assert model.train_on_batch(X[:rows], Y[:rows]) == large.train_on_batch(X[:rows], Y[:rows])
    for name, view in model.parameters.items():
        np.testing.assert_array_equal(view, large.parameters[name])
