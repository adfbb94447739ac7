"""The code in the documentation is run: every docstring's example, and the README's."""

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
README = Path(__file__).resolve().parents[2] / "README.md"


def classes_of(registry):
    """The package's own classes: other tests add theirs."""
    return [registry[n] for n in registry if registry[n].__module__.startswith("fastnn.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", [name for name in fnn.__all__ if not name.startswith("_")])
def test_everything_public_says_what_it_is(name):
    documentation = getattr(fnn, name).__doc__
    assert documentation
    assert len(documentation.strip()) > 20


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_readmes_examples(tmp_path, monkeypatch):
    """The examples run in sequence, each with the names that the previous ones defined."""
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), names)
    assert names["model"].scores_["accuracy"] > 0.96
    assert list(names["model"].predict(names["wine"].data.head())) == [0] * 5
    assert (tmp_path / "wine.safetensors").exists()
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    accuracy = names["model"].evaluate(names["x"][names["held_out"]], names["y"][names["held_out"]])
    assert accuracy["accuracy"] > 0.95
    assert (tmp_path / "digits.safetensors").exists()
    for block in BLOCKS[2:]:
        exec(compile(block, "README.md", "exec"), names)


def test_the_readmes_commands():
    """Every line of `fastnn` in the README is one that the command understands."""
    import shlex

    from fastnn.cli.parser import command_parser

    blocks = [one for one in README.read_text().split("```")[1::2] if one.startswith("\n")]
    lines = [line for block in blocks for line in re.findall(r"^fastnn (.*)$", block, re.M)]
    assert len(lines) > 10
    for line in lines:
        words = shlex.split(line.partition(">")[0], comments=True)
        if words[0].startswith("-"):
            continue
        args, unknown = command_parser().parse_known_args(words)
        assert not unknown, line
        assert args.command == words[0]


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("layers", [cls.__name__ for cls in classes_of(fnn.layers.registry)]),
        ("activations", fnn.activations.NAMES),
        ("losses", list(fnn.losses.registry)),
        ("optimizers", [cls.__name__ for cls in classes_of(fnn.optimizers.registry)]),
        ("metrics", list(fnn.metrics.registry)),
        ("regularizers", [cls.__name__ for cls in classes_of(fnn.regularizers.registry)]),
        ("schedules", [cls.__name__ for cls in classes_of(fnn.schedules.registry)]),
        ("callbacks", [name for name in fnn.callbacks.__all__ if name != "Callback"]),
    ],
)
def test_the_readme_names_what_there_is(row, names):
    (line,) = (line for line in README.read_text().splitlines() if line.startswith(f"| {row} |"))
    assert not set(names) - set(re.findall(r"\w+", line))
