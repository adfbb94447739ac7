"""The tool that mutates the installed code: what it changes, and when it counts as noticed."""

from __future__ import annotations

import random

import mutate
import pytest

SOURCE = b'''"""Doc 1 < 2."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LATER = 1

RATE: float = 0.25


def f(x: 1 < 2, flag: bool = True) -> 3:
    """A docstring, 4."""
    assert x > 5
    if not x or x < 6:
        return -x if flag else "\xc3\xa9" * 2
    return (x +
            x) == 0
'''


def changes():
    return {(site.kind, site.before, site.after) for site in mutate.sites(SOURCE, "f.py")}


def test_what_is_changed():
    assert changes() == {
        ("constant", "0.25", "(0.5)"),
        ("flag", "True", "(False)"),
        ("operator", "not x or x < 6", "(not x and x < 6)"),
        ("not", "not x", "(x)"),
        ("comparison", "x < 6", "(x <= 6)"),
        ("constant", "6", "(12)"),
        ("condition", '-x if flag else "é" * 2', "(-x if not flag else 'é' * 2)"),
        ("operator", "-x", "(x)"),
        ("operator", '"é" * 2', "('é' / 2)"),
        ("constant", "2", "(4)"),
        ("comparison", "(x +\n            x) == 0", "(x + x != 0)"),
        ("operator", "x +\n            x", "(x - x)"),
        ("constant", "0", "(1)"),
    }


def test_a_change_is_one_place_and_moves_no_line():
    for site in mutate.sites(SOURCE, "f.py"):
        text = mutate.changed(SOURCE, site)
        assert text.count(b"\n") == SOURCE.count(b"\n")
        assert text[: site.first] == SOURCE[: site.first]
        assert text.endswith(SOURCE[site.last :])
        compile(text, "f.py", "exec")


def test_the_file_is_put_back_whatever_happens(tmp_path):
    path = tmp_path / "f.py"
    path.write_bytes(SOURCE)

    def fail():
        with mutate.replaced(path, b"x = 1\n"):
            assert path.read_bytes() == b"x = 1\n"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == SOURCE


LINES = {1: [], 7: ["a::one", "a::two"], 9: ["b::three"]}


@pytest.mark.parametrize(
    ("line", "status", "printed", "expected", "by"),
    [
        (7, 0, "", "survived", ""),
        (7, 1, "FAILED a::two - boom", "noticed", "a::two"),
        (7, 4, "", "noticed", "pytest does not start"),
        (7, None, "", "timeout", ""),
        (8, 0, "", "not run", ""),
    ],
)
def test_outcomes(line, status, printed, expected, by):
    site = mutate.Site("f.py", line, line, 0, 1, "constant", "0", "(1)")
    found = mutate.outcome(site, LINES, lambda ids, seconds: (status, printed), random.Random(0))
    assert (found["outcome"], found["by"]) == (expected, by)


def test_a_line_that_runs_at_import_is_tested_by_all_that_use_the_file():
    asked = []
    site = mutate.Site("f.py", 1, 1, 0, 1, "constant", "0", "(1)")
    mutate.outcome(site, LINES, lambda ids, _: (asked.extend(ids), (0, ""))[1], random.Random(0))
    assert set(asked) == {"a::one", "a::two", "b::three"}


def test_many_tests_come_in_two_parts_and_all_are_run():
    ids, parts = [f"a::{i}" for i in range(2 * mutate.QUICK_TESTS)], []
    site = mutate.Site("f.py", 3, 3, 0, 1, "constant", "0", "(1)")
    run = lambda part, _: (parts.append(part), (0, ""))[1]  # noqa: E731
    found = mutate.outcome(site, {3: ids}, run, random.Random(0))
    assert [len(part) for part in parts] == [mutate.QUICK_TESTS] * 2
    assert set(parts[0]) | set(parts[1]) == set(ids)
    assert found == {"outcome": "survived", "by": "", "tests": len(ids)}


def test_a_line_of_constants_is_tested_by_those_of_its_statement():
    source = b"PAIRS = (\n    (1, 2),\n)\nif PAIRS:\n    PAIRS = [\n        3,\n    ]\n"
    found = {site.before: (site.line, site.statement) for site in mutate.sites(source, "f.py")}
    assert found == {"1": (2, 1), "2": (2, 1), "3": (6, 5)}
    asked = []
    site = mutate.Site("f.py", 8, 7, 0, 1, "constant", "0", "(1)")
    mutate.outcome(site, LINES, lambda ids, _: (asked.extend(ids), (0, ""))[1], random.Random(0))
    assert set(asked) == {"a::one", "a::two"}


def test_tests_may_have_bars_in_their_names():
    assert mutate.test_of("tests/a.py::test_b[object|str]|run") == "tests/a.py::test_b[object|str]"
