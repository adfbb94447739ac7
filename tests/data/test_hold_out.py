"""`datasets.hold_out` and `datasets.split`: rows to train on and rows to hold out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from fastnn.core import checks
from fastnn.datasets import hold_out, split

X = np.arange(60.0).reshape(20, 3)
Y = np.array([0] * 12 + [1] * 5 + [2] * 3)


def as_dense(x):
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


@pytest.mark.parametrize("kind", ["array", "list", "sparse", "pandas", "polars", "several"])
@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_is_in_one_part_with_its_target(kind, stratify, shuffle):
    x, y = X, Y
    if kind == "list":
        x, y = X.tolist(), Y.tolist()
    elif kind == "sparse":
        x = sparse.coo_array(X)
    elif kind in ("pandas", "polars"):
        module = pytest.importorskip(kind)
        x, y = module.DataFrame(dict(zip("abc", X.T, strict=True))), module.Series(Y)
        x = x.set_index(np.arange(20) * 7) if kind == "pandas" else x
    elif kind == "several":
        x = [X, -X]
    parts = hold_out(x, y, 0.25, stratify=stratify, shuffle=shuffle, seed=3)
    again = hold_out(x, y, 0.25, stratify=stratify, shuffle=shuffle, seed=3)
    if kind == "several":
        for part in parts:
            assert (part[0][0] == -part[0][1]).all()
        parts, again = ([(a[0], b) for a, b in p] for p in (parts, again))
    numbers = [(as_dense(a)[:, 0] / 3).astype(int) for a, _ in parts]
    assert sorted(np.concatenate(numbers)) == list(range(20))
    for (part, target), rows, (same, _) in zip(parts, numbers, again, strict=True):
        assert (np.diff(rows) > 0).all()
        assert (np.asarray(target) == Y[rows]).all()
        assert (as_dense(part) == as_dense(same)).all()
    assert len(numbers[1]) == 5
    if stratify:
        assert np.bincount(Y[numbers[1]]).tolist() == [3, 1, 1]
    elif not shuffle:
        assert numbers[1].tolist() == list(range(15, 20))


def test_unshuffled_parts_are_views():
    (x, y), (xv, yv) = hold_out(X, Y, shuffle=False)
    for part, whole in ((x, X), (xv, X), (y, Y), (yv, Y)):
        assert np.shares_memory(part, whole)


def test_seeds_differ_and_none_is_another_each_time():
    draws = [hold_out(X, Y, seed=seed)[1][0].tobytes() for seed in (0, 1, 2, None, None, None)]
    assert len(set(draws)) > 3


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((X, Y, 0), ValueError, "share=0 leaves 20 of 20 rows to train on and 0 to hold out"),
        ((X, Y, 1), ValueError, r"share must be a number in \[0, 1\), got 1"),
        ((X[:1], Y[:1], 0.9), ValueError, "leaves 0 of 1 rows to train on"),
        ((X, Y[:5], 0.5), ValueError, "y must have as many rows as x, 20, got 5"),
        ((X[:0], Y[:0], 0.5), ValueError, "leaves 0 of 0 rows"),
        ((X, 3, 0.5), ValueError, "y must have as many rows as x, 20, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        hold_out(*arguments)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"y must have shape \(rows,\) to be stratified"):
        hold_out(X, X, stratify=True)
    with pytest.raises(TypeError, match="shuffle must be True or False"):
        hold_out(X, Y, shuffle=1)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        hold_out(X, Y, seed=-1)


@pytest.mark.parametrize(
    ("rows", "share", "expected"),
    [
        (100, 0.29, 29),  # 28.999999999999996
        (100, 0.57, 57),  # 56.99999999999999
        (10**9, 0.29, 290_000_000),
        (10, 0.25, 3),  # halves are rounded up, not to the even number
        (10, 0.35, 4),
        (100, 0.145, 15),  # 14.499999999999998
        (100, 0.144, 14),
        (7, 0.0, 0),
        (3, 0.99, 3),
    ],
)
def test_a_share_is_rounded_to_whole_rows(rows, share, expected):
    assert checks.rows_of_share(rows, share) == expected


def test_every_share_of_a_hundred_rows_is_a_whole_number_of_them():
    assert [checks.rows_of_share(100, percent / 100) for percent in range(101)] == list(range(101))


def test_all_ways_to_split_hold_out_the_same_number_of_rows():
    y = np.zeros(10, int)
    assert [len(part) for part in split(y, 0.25)] == [7, 3]
    for options in ({"stratify": True}, {"shuffle": False}, {"seed": 0}):
        train, held_out = hold_out(X[:10], y, 0.25, **options)
        assert (len(train[1]), len(held_out[1])) == (7, 3)


def test_split_stratifies_labels_of_any_kind():
    for y in (Y, Y.tolist(), Y[:, np.newaxis], Y.astype(str)):
        train, held_out = split(y, 0.25)
        assert np.bincount(Y[held_out]).tolist() == [3, 1, 1]
        assert sorted([*train, *held_out]) == list(range(20))
    assert [len(part) for part in split(Y, 0)] == [20, 0]
    assert [len(part) for part in split([], 0.5)] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((Y, 2.0), r"share must be a number in \[0, 1\), got 2.0"),
        ((Y, 1), r"share must be a number in \[0, 1\), got 1"),
        ((Y, -0.1), r"share must be a number in \[0, 1\), got -0.1"),
        ((Y, float("nan")), r"share must be a number in \[0, 1\), got nan"),
        ((Y, "0.5"), r"share must be a number in \[0, 1\), got '0.5'"),
        ((Y, 0.5, -1), "seed must be an integer of at least 0, got -1"),
        ((X, 0.5), r"y must have shape \(rows,\) to be stratified, got \(20, 3\)"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        split(*arguments)
