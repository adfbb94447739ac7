"""What the documentation shows is run: every docstring's example, and the README's first one."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastnn as fnn

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fnn.__path__, "fastnn.")
    if module.name not in ("fastnn.__main__",)
]
README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", [name for name in fnn.__all__ if not name.startswith("_")])
def test_everything_public_says_what_it_is(name):
    documentation = getattr(fnn, name).__doc__
    assert documentation
    assert len(documentation.strip()) > 20


def test_the_readmes_first_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    accuracy = names["model"].evaluate(names["x"][names["held_out"]], names["y"][names["held_out"]])
    assert accuracy["accuracy"] > 0.95
    assert (tmp_path / "digits.safetensors").exists()
