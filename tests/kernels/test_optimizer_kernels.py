"""The update kernel: fifty steps against the reference formulas, clipping, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_same_bits
from kernel_cases import hyper_parameters

from fastnn.native import kernels
from fastnn.program import reference

COUNT = 4096 + 2 * 1024 + 13  # more than one chunk of the norm, several shares, a ragged end
CLIPPING = {
    "plain": {},
    "clipvalue": {"clipvalue": 0.4},
    "global_clipnorm": {"global_clipnorm": 5.0},
    "weight_decay": {"weight_decay": 0.03},
    "all": {"clipvalue": 0.05, "global_clipnorm": 5.0, "weight_decay": 0.03},
}
every_optimizer = pytest.mark.parametrize("name", kernels.OPTIMIZERS)


def start(name, rng, dtype="float64", count=COUNT):
    slots = int(kernels.OPTIMIZERS[name][2])
    return rng.standard_normal(count).astype(dtype), np.zeros((slots, count), dtype)


@every_optimizer
@pytest.mark.parametrize("clipping", CLIPPING)
def test_fifty_steps_agree_with_the_formulas(name, clipping, rng):
    p, state = start(name, rng)
    want_p, want_state = p.copy(), state.copy()
    for step in range(1, 51):
        g = rng.standard_normal(COUNT)
        settings = {**CLIPPING[clipping], "hyper_parameters": hyper_parameters(name)}
        rate = 0.1 / step
        kernels.update(name, p, g, state, learning_rate=rate, step=step, workers=2, **settings)
        want_p = reference.update(name, want_p, g, want_state, rate=rate, step=step, **settings)
    scale = np.abs(want_p).max()
    assert np.abs(p - want_p).max() <= 1e-12 * scale
    assert np.abs(p - want_p - 1e-10).max() > 1e-12 * scale, "the check lets a wrong answer pass"
    assert_close(state, want_state, 1e-12)


@pytest.mark.parametrize("name", ["momentum"])
def test_without_nesterov(name, rng):
    p, state = start(name, rng)
    g = rng.standard_normal(COUNT)
    for step in (1, 2):
        kernels.update(name, p, g, state, learning_rate=0.5, step=step, hyper_parameters=[0.5, 0])
    assert_close(state[0], 1.5 * g, 1e-14)


@every_optimizer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 15, 17, 1023, 1025, 4097])
def test_same_bits_for_any_number_of_workers_with_global_clipping(name, dtype, count, rng):
    p, state = start(name, rng, dtype, count)
    g = rng.standard_normal(count).astype(dtype)
    made = []
    for workers in (1, 2, 3):
        new_p, new_state = p.copy(), state.copy()
        kernels.update(
            name, new_p, g, new_state, learning_rate=0.1, step=1, global_clipnorm=0.5,
            hyper_parameters=hyper_parameters(name), workers=workers,
        )  # fmt: skip
        made.append((new_p, new_state))
    for other in made[1:]:
        assert_same_bits(other[0], made[0][0])
        assert_same_bits(other[1], made[0][1])


def test_clipping_limits_the_gradient(rng):
    g = rng.standard_normal(1000)
    for settings, want in [
        ({"clipvalue": 0.5}, np.clip(g, -0.5, 0.5)),
        ({"global_clipnorm": 2.0}, g * 2 / np.linalg.norm(g)),
        ({"global_clipnorm": 1e9}, g),
    ]:
        p = np.zeros(1000)
        kernels.update("sgd", p, g, np.zeros((0, 1000)), learning_rate=1, step=1, **settings)
        assert_close(-p, want, 1e-6)


def test_a_nan_gradient_makes_the_norm_and_so_every_parameter_nan():
    p, g = np.ones(100), np.ones(100)
    g[57] = np.nan
    kernels.update("sgd", p, g, np.zeros((0, 100)), learning_rate=1, step=1, global_clipnorm=1)
    assert np.isnan(p).all()


def test_a_nan_gradient_makes_the_norm_and_so_every_parameter_nan_in_the_reference():
    g = np.ones(100)
    g[57] = np.nan
    p = reference.update(
        "sgd", np.ones(100), g, np.zeros((0, 100)), rate=1, step=1, hyper_parameters=[],
        global_clipnorm=1,
    )  # fmt: skip
    assert np.isnan(p).all()


def test_float32_is_close_to_float64_after_fifty_steps(rng):
    gradients = rng.standard_normal((50, COUNT))
    for name in kernels.OPTIMIZERS:
        p, state = start(name, np.random.default_rng(1))
        q, state32 = p.astype(np.float32), state.astype(np.float32)
        for step, g in enumerate(gradients, 1):
            settings = {"learning_rate": 0.01, "step": step}
            settings["hyper_parameters"] = hyper_parameters(name)
            kernels.update(name, p, g, state, **settings)
            kernels.update(name, q, g.astype(np.float32), state32, **settings)
        assert_close(q, p, 2e-3, name)


def test_squares_that_overflow_a_float_are_summed_in_double():
    g = np.full(5000, 1e30, np.float32)
    assert kernels.squared_norm(g).sum() == pytest.approx(5000e60, rel=1e-6)
    p = np.zeros(5000, np.float32)
    kernels.update("sgd", p, g, np.zeros((0, 5000), np.float32), learning_rate=1.0, step=1,
                   global_clipnorm=1.0)  # fmt: skip
    assert np.linalg.norm(p) == pytest.approx(1, rel=1e-5)
