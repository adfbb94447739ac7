"""Folds: equal sizes, shares of classes, groups that stay together."""

import numpy as np
import pytest

from fastnn.tabular.folds import folds_of


@pytest.mark.parametrize("rows", [10, 11, 23, 500])
def test_sizes_differ_by_one_row(rng, rows):
    sizes = np.bincount(folds_of(None, 5, rows, rng), minlength=5)
    assert sizes.sum() == rows
    assert sizes.max() - sizes.min() <= 1


def test_shares_of_classes_differ_by_one_row(rng):
    classes = rng.choice(4, 300, p=[0.6, 0.3, 0.08, 0.02])
    fold = folds_of(classes, 5, 300, rng)
    for one in range(4):
        counts = np.bincount(fold[classes == one], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 1


def test_another_seed_gives_other_folds():
    made = [folds_of(np.arange(100) % 2, 5, 100, np.random.default_rng(i)) for i in (0, 0, 1)]
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_groups_stay_together_and_folds_are_even(rng):
    groups = rng.integers(0, 40, 400)
    fold = folds_of(np.arange(400) % 2, 5, 400, rng, groups)
    for one in range(40):
        assert len(set(fold[groups == one])) <= 1
    sizes = np.bincount(fold, minlength=5)
    assert sizes.min() > 70


def test_one_large_group_leaves_a_group_for_each_other_fold(rng):
    groups = np.array([0] * 90 + [1, 2, 3, 4] * 2)
    fold = folds_of(None, 5, 98, rng, groups)
    assert sorted(np.bincount(fold).tolist()) == [2, 2, 2, 2, 90]


def test_too_few_groups(rng):
    with pytest.raises(ValueError, match="groups: the rows have 3 different groups, expected at"):
        folds_of(None, 5, 30, rng, np.arange(30) % 3)
