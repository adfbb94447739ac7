"""Valid model files with random changes: refused by `load` with the one error, or of use."""

from __future__ import annotations

import mutations
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BASES = mutations.bases()
numbers = st.integers(0, 10**6)
changes = st.lists(
    st.tuples(st.sampled_from(mutations.KINDS), st.booleans(), numbers, numbers, numbers),
    min_size=1, max_size=3,
)  # fmt: skip


def check(name, made, is_signed):
    mutations.checked(mutations.mutated(BASES[name], made, is_signed=is_signed))


@pytest.mark.parametrize("name", BASES)
def test_the_files_are_valid(name):
    assert not mutations.checked(BASES[name])


@pytest.mark.parametrize("name", BASES)
@given(made=changes, is_signed=st.booleans())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_some_changes(name, made, is_signed):
    check(name, made, is_signed)


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
@given(made=changes, is_signed=st.booleans())
@settings(max_examples=25_000, derandomize=False, suppress_health_check=list(HealthCheck))
def test_25_000_changes_of_each_file(name, made, is_signed):
    check(name, made, is_signed)
