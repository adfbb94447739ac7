"""Layers of members: what they refuse and when, how they learn, threads, kernels."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_same_bits, numeric_gradient

import fastnn as fnn
from fastnn.native import kernels

MEMBERS = 4
NO_MEMBER = "the number of a member is none of MemberScale or MemberDense"
LAYERS = {
    "scale": lambda: fnn.MemberScale(MEMBERS),
    "dense": lambda: fnn.MemberDense(3, MEMBERS),
}


def made(layer, dtype="float64", before=None):
    x, member = fnn.Input((3,)), fnn.Input((1,), name="member")
    h = layer([x, before(member) if before else member])
    model = fnn.Model([x, member], h, dtype=dtype, seed=0)
    model.compile(fnn.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (4, r"^x\[1\] must hold whole numbers from 0 to 3 .* layer 'member_\w+', got 4 in row 37"),
        (-1, "got -1 in row 37"),
        (0.5, "got 0.5 in row 37"),
    ],
)
def test_no_member_is_refused_before_anything_has_changed(kind, bad, match):
    model = made(LAYERS[kind]())
    before = [view.copy() for view in model.get_weights()]
    member = np.zeros((40, 1), np.array(bad).dtype)
    x, y = [np.ones((40, 3)), member.copy()], np.ones((40, 3))
    assert np.isfinite(model.evaluate(x, y)["loss"])
    x[1][37] = bad
    for call in (
        lambda: model.fit(x, y, batch_size=8, shuffle=False, verbose=0),
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert all(map(np.array_equal, before, model.get_weights()))


def test_only_the_second_input_holds_members(rng):
    """What a layer scales may be any number, though the layer checks its inputs."""
    model = made(fnn.MemberScale(MEMBERS))
    x, member = rng.normal(0, 50, (9, 3)), rng.integers(0, MEMBERS, (9, 1))
    want = x * model.layers[-1].scale[member[:, 0]]
    np.testing.assert_array_equal(model.predict([x, member]), want)
    one = fnn.Input((1,))
    same = fnn.Model(one, fnn.MemberScale(MEMBERS)([one, one]), seed=0)
    with pytest.raises(ValueError, match="must hold whole numbers from 0 to 3"):
        same.predict([[0.5]])


@pytest.mark.parametrize("kind", LAYERS)
def test_members_that_a_layer_computes_are_refused_while_it_runs(kind):
    """They cannot be checked in advance; the step is not made."""
    model = made(LAYERS[kind](), before=fnn.Activation("relu"))
    x, y = [np.ones((40, 3)), np.zeros((40, 1))], np.ones((40, 3))
    assert np.isfinite(model.train_on_batch(x, y))
    before = [view.copy() for view in model.get_weights()]
    x[1][30] = 7
    with pytest.raises(ValueError, match=NO_MEMBER):
        model.fit(x, y, batch_size=40, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("kind", LAYERS)
def test_numbers_of_members_need_no_scaling(kind, rng):
    """`diagnose` once would have had the numbers of 200 members standardised."""
    make = {"scale": lambda: fnn.MemberScale(200), "dense": lambda: fnn.MemberDense(3, 200)}[kind]
    x, member = rng.normal(size=(64, 3)), rng.integers(0, 200, (64, 1))
    y = rng.normal(size=(64, 3))
    problems = {one.problem for one in made(make()).diagnose([x, member], y).findings}
    assert "unscaled inputs" not in problems
    far = made(make()).diagnose([200 * x, member], y).findings
    assert "unscaled inputs" in {one.problem for one in far}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("shapes", [[(3,)], [(3,), (2,)], [(2, 3), (1,)], [(3,), (1,), (1,)]])
def test_inputs_that_are_not_a_row_and_a_member(kind, shapes):
    inputs = [fnn.Input(shape) for shape in shapes]
    with pytest.raises(ValueError, match=r"takes two inputs, of shapes \(columns,\) and \(1,\)"):
        LAYERS[kind]()(inputs)


def test_more_members_than_float32_can_count():
    for make in (fnn.MemberScale, lambda members: fnn.MemberDense(1, members)):
        with pytest.raises(ValueError, match="members must be at most 16,777,216"):
            make(2**24 + 1)


def test_members_learn_different_things(rng):
    """y is a multiple of x that only the member tells."""
    x, member = rng.normal(size=(400, 3)), rng.integers(0, MEMBERS, (400, 1))
    factors = rng.normal(size=(MEMBERS, 3))
    y = x * factors[member[:, 0]]
    layer = fnn.MemberScale(MEMBERS)
    model = made(layer)
    model.compile(fnn.SGD(2.0), "mse")
    model.fit([x, member], y, epochs=30, verbose=0)
    np.testing.assert_allclose(layer.scale, factors, atol=1e-6)
    dense = fnn.MemberDense(3, MEMBERS)
    other = made(dense)
    other.compile(fnn.SGD(2.0), "mse")
    other.fit([x, member], y, epochs=60, verbose=0)
    for number in range(MEMBERS):
        own = dense.kernel[:, 3 * number : 3 * number + 3]
        np.testing.assert_allclose(own, np.diag(factors[number]), atol=1e-4)


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", LAYERS)
def test_same_bits_for_any_number_of_workers(kind, dtype, workers, team, rng):
    x, y = (
        [rng.normal(size=(300, 3)), rng.integers(0, MEMBERS, (300, 1))],
        rng.normal(size=(300, 3)),
    )
    weights = []
    for size in (1, workers):
        team(size)
        model = made(LAYERS[kind](), dtype)
        model.fit(x, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        assert_same_bits(other, one)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [-1, 3, 0.5, np.nan, np.inf, -np.inf, 1e30])
def test_the_kernel_refuses_what_is_no_member(value, dtype):
    member = np.array([[0], [value], [2]], dtype)
    for is_gradient, x in ((False, np.ones((3, 6), dtype)), (True, np.ones((3, 2), dtype))):
        out = np.zeros((3, 6 if is_gradient else 2), dtype)
        with pytest.raises(ValueError, match=NO_MEMBER):
            kernels.select_member(x, member, 3, is_gradient=is_gradient, out=out)
        assert np.isnan(out[1]).all()
        assert np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("members", [0, -3, 4])
def test_the_kernel_refuses_members_that_do_not_divide_the_columns(members):
    with pytest.raises(ValueError, match="members must be a positive number that divides 6"):
        kernels.select_member(np.ones((3, 6)), np.zeros((3, 1)), members)


def test_the_kernel_s_gradient(rng):
    x, grad = rng.normal(size=(7, 12)), rng.normal(size=(7, 3))
    member = rng.integers(0, MEMBERS, (7, 1)).astype(float)
    got = kernels.select_member(grad, member, MEMBERS, is_gradient=True)
    want = numeric_gradient(lambda x: (grad * kernels.select_member(x, member, MEMBERS)).sum(), x)
    assert_close(got, want, 1e-8)
    with pytest.raises(AssertionError):
        assert_close(np.roll(got, 3, axis=1), want, 1e-8)
